/* The picture, read back by libpng's simplified reader: the same body stored in every order of axes
 * gives the same picture, right is left, proportions are true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <math.h>
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "picture.h"

/* ---- a body of 40 x 60 x 30 mm: R half bright, one label at its right front top ---- */

static bool label_at(const double mm[3]) {
  return mm[0] > 24 && mm[0] < 36 && mm[1] > 40 && mm[1] < 54 && mm[2] > 18 && mm[2] < 28;
}

static float value_at(const double mm[3]) {
  return (float)(mm[0] > 20 ? 200 + mm[1] : 50 + mm[2]);
}

struct body {
  struct vn_image image;
  struct vn_label_map map;
  float *voxels;
};

static const struct vn_label_info labels[2] = {{0, "background", {0, 0, 0}},
                                               {1, "body", {0, 255, 0}}};

/* Scan axis i runs along world axis axes[i], from the far end where flip[i]. */
static void body_make(struct body *b, const double spacing[3], const int axes[3],
                      const bool flip[3]) {
  static const double size[3] = {40, 60, 30};
  *b = (struct body){
      .image = {.size = sizeof b->image, .type = VN_VOXEL_F32, .world = VN_WORLD_RAS}};
  for (int i = 0; i < 3; i++) {
    int w = axes[i];
    b->image.dim[i] = (size_t)(size[w] / spacing[w]);
    b->image.affine[w][i] = flip[i] ? -spacing[w] : spacing[w];
    b->image.affine[w][3] = flip[i] ? size[w] - spacing[w] / 2 : spacing[w] / 2;
  }
  size_t elems = b->image.dim[0] * b->image.dim[1] * b->image.dim[2];
  b->image.voxels = b->voxels = malloc(elems * sizeof(float));
  uint8_t *map = calloc(elems, 1);
  for (size_t i = 0; i < elems; i++) {
    double ijk[3] = {(double)(i % b->image.dim[0]), (double)(i / b->image.dim[0] % b->image.dim[1]),
                     (double)(i / b->image.dim[0] / b->image.dim[1])};
    double mm[3];
    for (int w = 0; w < 3; w++) {
      mm[w] = b->image.affine[w][3];
      for (int k = 0; k < 3; k++) mm[w] += b->image.affine[w][k] * ijk[k];
    }
    b->voxels[i] = value_at(mm);
    map[i] = label_at(mm);
  }
  b->map = (struct vn_label_map){.size = sizeof b->map, .data = map, .elem_bytes = 1};
}

static void body_free(struct body *b) {
  free(b->voxels);
  free(b->map.data);
}

struct image {
  size_t width, height;
  unsigned char *rgb;
};

static struct image image_read(const char *path) {
  png_image png = {.version = PNG_IMAGE_VERSION};
  if (!png_image_begin_read_from_file(&png, path)) fail_msg("%s: %s", path, png.message);
  png.format = PNG_FORMAT_RGB;
  struct image image = {png.width, png.height, malloc(PNG_IMAGE_SIZE(png))};
  assert_true(png_image_finish_read(&png, NULL, image.rgb, 0, NULL));
  return image;
}

static struct image draw(const struct body *b) {
  struct vn_diag diag;
  char path[] = "/tmp/vnet-picture-XXXXXX";
  int fd = mkstemp(path);
  struct picture_job job = {&b->image, &b->map, labels};
  if (picture_write(fd, &job, &diag)) fail_msg("%s", diag.text);
  close(fd);
  struct image image = image_read(path);
  unlink(path);
  return image;
}

static const double cube[3] = {1, 1, 1};

static void order_of_axes_is_undone(void **state) {
  (void)state;
  static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                   {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  struct image first = {0};
  for (int o = 0; o < 6; o++)
    for (int f = 0; f < 8; f++) {
      struct body b;
      body_make(&b, cube, orders[o], (const bool[]){f & 1, f & 2, f & 4});
      struct image image = draw(&b);
      if (first.rgb) {
        assert_int_equal(image.width, first.width);
        assert_int_equal(image.height, first.height);
        assert_memory_equal(image.rgb, first.rgb, image.width * image.height * 3);
        free(image.rgb);
      } else {
        first = image;
      }
      body_free(&b);
    }
  free(first.rgb);
}

/* Where the outline is in the first (axial, lowest labelled) slice. */
static void outline_find(const struct image *image, size_t right, size_t bottom, size_t box[4]) {
  box[0] = box[2] = SIZE_MAX;
  box[1] = box[3] = 0;
  for (size_t y = 0; y < bottom; y++)
    for (size_t x = 0; x < right; x++) {
      const unsigned char *p = image->rgb + (y * image->width + x) * 3;
      if (p[0] || p[1] != 255 || p[2]) continue;
      box[0] = x < box[0] ? x : box[0];
      box[1] = x > box[1] ? x : box[1];
      box[2] = y < box[2] ? y : box[2];
      box[3] = y > box[3] ? y : box[3];
    }
  assert_true(box[1] > box[0] && box[3] > box[2]);
}

static void right_is_left_and_true(void **state) {
  (void)state;
  static const double thick[3] = {1, 1, 5};
  size_t boxes[2][4];
  for (int i = 0; i < 2; i++) {
    struct body b;
    body_make(&b, i ? thick : cube, (const int[]){0, 1, 2}, (const bool[]){false, false, false});
    struct image image = draw(&b);
    size_t column = image.width / 6,
           slice = column; /* the widest slice is as long as this one is high */
    outline_find(&image, column, slice, boxes[i]);
    size_t middle = column / 2;
    assert_true(boxes[i][1] < middle + 2);          /* the patient's right, on the left */
    assert_true(boxes[i][2] + boxes[i][3] < slice); /* in front: above the middle */
    const unsigned char *bright = image.rgb + (slice / 2 * image.width + column / 4) * 3;
    const unsigned char *dark = image.rgb + (slice / 2 * image.width + 3 * column / 4) * 3;
    assert_true(bright[0] > dark[0] + 50);
    double ratio = (double)(boxes[i][3] - boxes[i][2]) / (double)(boxes[i][1] - boxes[i][0]);
    assert_true(ratio > 14 / 12.0 * 0.85 && ratio < 14 / 12.0 * 1.15);
    free(image.rgb);
    body_free(&b);
  }
  assert_memory_equal(boxes[0], boxes[1], sizeof boxes[0]); /* thicker slices, same proportions */
}

/* Marks, captions, outlines, greys: all as on the picture that was looked at. */
static void picture_is_as_seen(void **state) {
  (void)state;
  struct body b;
  body_make(&b, cube, (const int[]){0, 1, 2}, (const bool[]){false, false, false});
  struct image have = draw(&b), want = image_read(GOLDEN_DIR "/picture/body.png");
  assert_int_equal(have.width, want.width);
  assert_int_equal(have.height, want.height);
  for (size_t i = 0; i < want.width * want.height * 3; i++)
    assert_in_range(have.rgb[i] + 2, want.rgb[i], want.rgb[i] + 4); /* but for rounding */
  free(have.rgb);
  free(want.rgb);
  body_free(&b);
}

/* Between air and bone 14 units of the label's are told apart in a CT; in what is none they are
 * hardly. */
static void ct_has_a_window(void **state) {
  (void)state;
  for (int ct = 0; ct < 2; ct++) {
    struct body b;
    size_t box[4];
    body_make(&b, cube, (const int[]){0, 1, 2}, (const bool[]){false, false, false});
    const size_t elems = b.image.dim[0] * b.image.dim[1] * b.image.dim[2];
    for (size_t i = 0; i < elems; i++) {
      if (!((uint8_t *)b.map.data)[i]) b.voxels[i] = i % 2 ? -1000 : 1500;
      b.voxels[i] += ct ? 0 : 1000;
    }
    if (!ct) b.voxels[0] = -600;
    struct image image = draw(&b);
    const size_t column = image.width / 6;
    outline_find(&image, column, column, box);
    const unsigned char *top = image.rgb + ((box[2] + 3) * image.width + box[0] + 8) * 3;
    const unsigned char *bottom = image.rgb + ((box[3] - 3) * image.width + box[0] + 8) * 3;
    if (ct) assert_in_range(top[0] - bottom[0], 25, 45);
    if (!ct) assert_in_range(top[0] - bottom[0], 0, 3);
    free(image.rgb);
    body_free(&b);
  }
}

static void odd_scans_are_drawn(void **state) {
  (void)state;
  static const double spacings[][3] = {{40, 60, 30}, {1, 60, 30}, {40, 1, 1}, {0.5, 20, 15}};
  for (size_t i = 0; i < sizeof spacings / sizeof *spacings; i++)
    for (int lost = 0; lost < 2; lost++) {
      struct body b;
      body_make(&b, spacings[i], (const int[]){2, 0, 1}, (const bool[]){true, false, false});
      if (lost) b.image.world = VN_WORLD_UNKNOWN;
      b.voxels[0] = lost ? NAN : b.voxels[0];
      if (i == 0) memset(b.map.data, 0, b.image.dim[0] * b.image.dim[1] * b.image.dim[2]);
      struct image image = draw(&b);
      assert_true(image.width <= 2000 && image.height <= 2000);
      free(image.rgb);
      body_free(&b);
    }
}

static void full_disks_are_told(void **state) {
  (void)state;
  struct body b;
  struct vn_diag diag;
  body_make(&b, cube, (const int[]){0, 1, 2}, (const bool[]){false, false, false});
  struct picture_job job = {&b.image, &b.map, labels};
  int fd = open("/dev/full", O_WRONLY);
  assert_int_equal(picture_write(fd, &job, &diag), VN_E_IO);
  assert_non_null(strstr(diag.text, "No space left"));
  close(fd);
  body_free(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(order_of_axes_is_undone), cmocka_unit_test(right_is_left_and_true),
      cmocka_unit_test(picture_is_as_seen),      cmocka_unit_test(odd_scans_are_drawn),
      cmocka_unit_test(full_disks_are_told),     cmocka_unit_test(ct_has_a_window),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
