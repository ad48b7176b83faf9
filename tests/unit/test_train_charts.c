/* The trainer's charts, read back by libpng's simplified reader: a value's stroke is where its
 * value is, resumed and torn logs are drawn as whole ones, malformed ones refused by path and
 * line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <png.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "charts.h"

static char folder[] = "/tmp/vnet-charts-XXXXXX", log_path[64], score_path[64], png_path[64];

static const uint8_t white[3] = {255, 255, 255}, blue[3] = {31, 105, 180},
                     pale_blue[3] = {186, 209, 233}, orange[3] = {217, 95, 14},
                     pale_orange[3] = {248, 192, 150}, grey[3] = {110, 110, 110},
                     target_ink[3] = {0, 190, 255}, predicted_ink[3] = {255, 120, 0},
                     both_ink[3] = {255, 255, 120};

static void text_write(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  assert_non_null(file);
  assert_true(fputs(text, file) >= 0);
  assert_int_equal(fclose(file), 0);
}

struct image {
  size_t width, height;
  unsigned char *rgb;
};

static struct image image_read(void) {
  png_image png = {.version = PNG_IMAGE_VERSION};
  assert_true(png_image_begin_read_from_file(&png, png_path));
  png.format = PNG_FORMAT_RGB;
  struct image image = {png.width, png.height, malloc(PNG_IMAGE_SIZE(png))};
  assert_true(png_image_finish_read(&png, NULL, image.rgb, 0, NULL));
  return image;
}

static void pixel_is(const struct image *image, size_t x, size_t y, const uint8_t rgb[3]) {
  const unsigned char *p = image->rgb + (y * image->width + x) * 3;
  assert_true(x < image->width && y < image->height);
  if (memcmp(p, rgb, 3) != 0)
    fail_msg("(%zu, %zu) is %d %d %d, not %d %d %d", x, y, p[0], p[1], p[2], rgb[0], rgb[1],
             rgb[2]);
}

static size_t pixels_of(const struct image *image, const uint8_t rgb[3]) {
  size_t count = 0;
  for (size_t i = 0; i < image->width * image->height; i++)
    count += memcmp(image->rgb + 3 * i, rgb, 3) == 0;
  return count;
}

static int png_create(void) {
  const int fd = open(png_path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  assert_true(fd >= 0);
  return fd;
}

static struct image curves_draw(const char *log, const char *scores) {
  struct vn_diag diag;
  text_write(log_path, log);
  if (scores) text_write(score_path, scores);
  const int fd = png_create();
  if (vnt_chart_curves(fd, log_path, scores ? score_path : NULL, NULL, &diag))
    fail_msg("%s", diag.text);
  close(fd);
  return image_read();
}

static void images_equal(struct image a, struct image b) {
  assert_int_equal(a.width, b.width);
  assert_int_equal(a.height, b.height);
  assert_memory_equal(a.rgb, b.rgb, a.width * a.height * 3);
  free(a.rgb);
  free(b.rgb);
}

/* ---- curves ---- */

/* The panels are 892 pixels wide from x 84; loss is 0 at y 258 and 1 at 62 when that is its range,
 * Dice 0 at 488 and 1 at 292. */
static const char *const plain = "step,loss,dice,rate\n"
                                 "50,1,0.75,0.001\n100,1,0.75,0.001\n";

static void strokes_are_where_values_are(void **state) {
  (void)state;
  struct image image = curves_draw(
      plain, "step,case,label,dice,hd95_mm\n"
             "50,\"one, \"\"two\"\"\",1,0.2,3\n50,three,1,0.4,nan\n100,three,1,0.6,nan\n");
  assert_true(image.width > 1000 && image.height == 640);
  pixel_is(&image, 84 + 669, 62, blue);
  pixel_is(&image, 84 + 669, 292 + 49, blue);
  pixel_is(&image, 84 + 200, 292 + 49, white); /* before the first step */
  pixel_is(&image, 84 + 669, 292 + 70, white);
  pixel_is(&image, 84 + 446, 449, pale_orange); /* 0.2, 0.4 */
  pixel_is(&image, 84 + 446, 410, pale_orange);
  pixel_is(&image, 84 + 446, 429, orange);
  pixel_is(&image, 84 + 669, 400, orange); /* halfway between 0.3 and 0.6 */
  pixel_is(&image, 84 + 669, 522, grey);
  free(image.rgb);
  image = curves_draw(plain, NULL);
  pixel_is(&image, 84 + 669, 292 + 49, blue);
  assert_int_equal(pixels_of(&image, orange), 0);
  free(image.rgb);
}

/* A curve for each class, in its colour, broken where it is in no sample; named in the legend,
 * which lies beside the panels. */
static void classes_have_curves(void **state) {
  (void)state;
  static const uint8_t red[3] = {200, 0, 0}, green[3] = {0, 160, 0};
  struct vn_palette labels;
  struct vn_diag diag;
  assert_int_equal(vn_palette_parse("[{\"value\":1,\"name\":\"a\",\"colour\":\"#c80000\"},"
                                    "{\"value\":2,\"name\":\"b\",\"colour\":\"#00a000\"}]",
                                    3, &labels, &diag),
                   VN_OK);
  text_write(log_path, "step,loss,dice,rate,dice_1,dice_2\n"
                       "25,1,0.5,0.001,0.25,0.75\n50,1,0.5,0.001,0.25,nan\n"
                       "75,1,0.5,0.001,0.25,0.75\n100,1,0.5,0.001,0.25,0.75\n");
  text_write(score_path, "step,label,dice,hd95_mm\n50,1,0.1,3\n50,2,0.9,nan\n");
  const int fd = png_create();
  if (vnt_chart_curves(fd, log_path, score_path, &labels, &diag)) fail_msg("%s", diag.text);
  close(fd);
  struct image image = image_read();
  pixel_is(&image, 84 + 334, 292 + 147, red); /* 0.25, between 25 and 50 */
  pixel_is(&image, 84 + 780, 292 + 49, green);
  pixel_is(&image, 84 + 446 + 60, 292 + 49, white); /* nothing at 50 */
  pixel_is(&image, 84 + 446, 292 + 176, red);       /* 0.1, in validation */
  pixel_is(&image, 84 + 446, 292 + 20, green);
  size_t marks[2] = {0, 0};
  for (size_t y = 0; y < image.height; y++)
    for (size_t x = 1000; x < image.width; x++) {
      const unsigned char *at = image.rgb + (y * image.width + x) * 3;
      marks[0] += memcmp(at, red, 3) == 0;
      marks[1] += memcmp(at, green, 3) == 0;
    }
  assert_true(marks[0] > 40 && marks[1] > 40);
  free(image.rgb);
  text_write(log_path, plain);
  assert_int_equal(vnt_chart_curves(-1, log_path, NULL, &labels, &diag), VN_E_FORMAT);
  assert_non_null(strstr(diag.text, "no column is named 'dice_1'"));
  vn_palette_close(&labels);
}

/* 99 steps at 0.5 and one at 1000 of 0.25: the spike leaves the panel, the mean of three
 * follows. */
static void spikes_do_not_flatten_the_rest(void **state) {
  (void)state;
  static char text[8000];
  int length = snprintf(text, sizeof text, "rate,dice,more,loss,step\n");
  for (int i = 1; i <= 100; i++)
    length += snprintf(text + length, sizeof text - (size_t)length, "0,0.5,x,%g,%d\n",
                       i == 50 ? 1000 : 0.5, i);
  struct image image = curves_draw(text, NULL);
  const size_t spike = 84 + 446;
  pixel_is(&image, 84 + 669, 62, blue); /* 0.5 is the top */
  pixel_is(&image, spike + 40, 62 + 98, white);
  pixel_is(&image, 84 + 200, 292 + 98, blue);
  free(image.rgb);
}

static void raw_rows_are_faint(void **state) {
  (void)state;
  static char text[20000];
  int length = snprintf(text, sizeof text, "step,loss,dice,rate\n");
  for (int i = 0; i <= 892; i++) /* a pixel each; Dice 0.25 and 0.75 in turn */
    length += snprintf(text + length, sizeof text - (size_t)length, "%d,1,%g,1\n", i,
                       i / 4 % 2 ? 0.75 : 0.25);
  struct image image = curves_draw(text, NULL);
  size_t drawn = 0;
  for (size_t y = 345; y < 435; y++) /* from top to bottom in half of the columns, and not beyond */
    for (size_t x = 90; x < 500; x++)
      drawn += memcmp(image.rgb + (y * image.width + x) * 3, white, 3) != 0;
  assert_true(drawn > 90 * 410 / 4);
  assert_true(pixels_of(&image, pale_blue) > 20);
  pixel_is(&image, 300, 320, white);
  pixel_is(&image, 300, 460, white);
  size_t strong[2] = {1000, 0}; /* the mean of 23 stays near 0.5 */
  for (size_t y = 292; y < 400; y++) {
    if (memcmp(image.rgb + (y * image.width + 400) * 3, blue, 3) != 0) continue;
    strong[0] = y < strong[0] ? y : strong[0];
    strong[1] = y;
  }
  assert_true(strong[0] >= 370 && strong[1] <= 410 && strong[1] >= strong[0]);
  free(image.rgb);
}

static void odd_logs_are_drawn_as_whole_ones(void **state) {
  (void)state;
  static const char *const same[] = {
      /* resumed from step 50; torn by a kill; from another system; other columns */
      "step,loss,dice,rate\n50,1,0.75,0.001\n60,9,0.1,0.7\n50,1,0.75,0.001\n100,1,0.75,0.001\n",
      "step,loss,dice,rate\n50,1,0.75,0.001\n100,1,0.75,0.001\n110,1,0.7",
      "step,loss,dice,rate\r\n50,1,0.75,0.001\r\n100,1,0.75,0.001\r\n",
      "loss,\"step\",case,rate,dice\n1,50,\"a, b\",1e-3,.75\n1.0,1e2,,0.001,7.5e-1\n"};
  for (size_t i = 0; i < sizeof same / sizeof *same; i++)
    images_equal(curves_draw(plain, NULL), curves_draw(same[i], NULL));
  images_equal(curves_draw(plain, NULL), curves_draw(plain, "step,label,dice,hd95_mm\n"));
  struct vn_diag diag;
  text_write(log_path, plain);
  struct image image = curves_draw(plain, NULL);
  const int fd = png_create();
  assert_int_equal(vnt_chart_curves(fd, log_path, "/nonexistent/validation.csv", NULL, &diag),
                   VN_OK);
  close(fd);
  images_equal(image, image_read());
}

static void one_row_is_drawn(void **state) {
  (void)state;
  struct image image = curves_draw("step,loss,dice,rate\n0,-1,1,0\n", NULL);
  assert_true(pixels_of(&image, blue) > 40);
  free(image.rgb);
}

static void refused(const char *log, const char *scores, enum vn_status status,
                    const char *reason) {
  struct vn_diag diag = {""};
  text_write(log_path, log);
  if (scores) text_write(score_path, scores);
  const char *path = scores ? score_path : log_path;
  const enum vn_status is = vnt_chart_curves(-1, log_path, scores ? score_path : NULL, NULL, &diag);
  if (is != status || strncmp(diag.text, path, strlen(path)) != 0 || !strstr(diag.text, reason))
    fail_msg("%d: '%s', not %s", is, diag.text, reason);
}

static void malformed_logs_are_refused(void **state) {
  (void)state;
#define HEAD "step,loss,dice,rate\n"
  refused("", NULL, VN_E_FORMAT, "no header");
  refused("step,loss,dice,rate", NULL, VN_E_FORMAT, "no header");
  refused("\n", NULL, VN_E_FORMAT, "no column is named 'step'");
  refused("step,loss,rate\n1,1,1\n", NULL, VN_E_FORMAT, "no column is named 'dice'");
  refused("step,loss,dice,rate,loss\n", NULL, VN_E_FORMAT, "two columns are named 'loss'");
  refused("\"step,loss,dice,rate\n", NULL, VN_E_FORMAT, "no header");
  refused(HEAD, NULL, VN_E_FORMAT, "no rows");
  refused(HEAD "1,1,1,1\n2,1,x,1\n", NULL, VN_E_FORMAT, "line 3: 'x' is not a number");
  refused(HEAD "1,1,1,\n", NULL, VN_E_FORMAT, "line 2: '' is not a number");
  refused(HEAD "1,inf,1,1\n", NULL, VN_E_FORMAT, "line 2: 'inf' is not a number");
  refused(HEAD "1,1 2,1,1\n", NULL, VN_E_FORMAT, "line 2: '1 2' is not a number");
  refused(HEAD "1,nan,1,1\n", NULL, VN_E_FORMAT, "line 2: nan");
  refused(HEAD "1,1,1\n", NULL, VN_E_FORMAT, "line 2 does not have 4 fields");
  refused(HEAD "1,1,1,1\n1,1,1,1,1\n", NULL, VN_E_FORMAT, "line 3 does not have 4 fields");
  refused(HEAD "1,1,1,1\n\n", NULL, VN_E_FORMAT, "line 3");
  refused(HEAD "1,1,1,\"1\n", NULL, VN_E_FORMAT, "line 2 does not have 4 fields");
  refused(HEAD "1.5,1,1,1\n", NULL, VN_E_FORMAT, "line 2: 1.5 is no step");
  refused(HEAD "-1,1,1,1\n", NULL, VN_E_FORMAT, "line 2: -1 is no step");
  refused(plain, "step,label,dice\n", VN_E_FORMAT, "no column is named 'hd95_mm'");
  refused(plain, "step,label,dice,hd95_mm\n1,1,nan,1\n", VN_E_FORMAT, "line 2: nan");
  refused(plain, "step,label,dice,hd95_mm\n1,1,0.5,x\n", VN_E_FORMAT, "line 2: 'x'");
  struct vn_diag diag;
  assert_int_equal(unlink(log_path), 0);
  assert_int_equal(vnt_chart_curves(-1, log_path, NULL, NULL, &diag), VN_E_IO);
  assert_non_null(strstr(diag.text, log_path));
  assert_int_equal(vnt_chart_curves(-1, "/", NULL, NULL, &diag), VN_E_IO);
}

/* ---- slices ---- */

enum {
  SIDE = 8,
  ELEMS = SIDE * SIDE * SIDE,
  ZOOM = 12,
  LEFT = 8,
  TOP = 56,
  NEXT = SIDE * ZOOM + 8
};

/* 1 in a box from low to 5, axes d h w. */
static enum vn_status slices_write(int fd, const float *image, const uint8_t *target,
                                   const uint8_t *predicted, const size_t dim[3], size_t samples,
                                   struct vn_diag *diag) {
  const struct vnt_slices slices = {image, target, predicted, dim, samples, NULL};
  return vnt_chart_slices(fd, &slices, diag);
}

static void box_fill(uint8_t *map, size_t low_d, size_t low_h, size_t low_w) {
  for (size_t i = 0; i < ELEMS; i++)
    map[i] = i / SIDE / SIDE >= low_d && i / SIDE / SIDE <= 5 && i / SIDE % SIDE >= low_h &&
             i / SIDE % SIDE <= 5 && i % SIDE >= low_w && i % SIDE <= 5;
}

static struct image slices_draw(const float *image, const uint8_t *target, const uint8_t *predicted,
                                size_t samples) {
  static const size_t dim[3] = {SIDE, SIDE, SIDE};
  struct vn_diag diag;
  const int fd = png_create();
  if (slices_write(fd, image, target, predicted, dim, samples, &diag)) fail_msg("%s", diag.text);
  close(fd);
  return image_read();
}

static void outlines_are_where_labels_are(void **state) {
  (void)state;
  static float image[2 * ELEMS];
  static uint8_t target[2 * ELEMS], predicted[2 * ELEMS];
  for (size_t i = 0; i < 2 * ELEMS; i++) image[i] = (float)(i % SIDE); /* brighter with w */
  box_fill(target, 2, 2, 2);
  box_fill(predicted, 2, 3, 1);
  box_fill(target + ELEMS, 2, 2, 2);
  box_fill(predicted + ELEMS, 2, 2, 2);
  struct image p = slices_draw(image, target, predicted, 2);
  const size_t far = 3 * NEXT + LEFT; /* to the next sample */
  /* w grows to the left: column of w is 7 - w, row of h is 7 - h. */
  pixel_is(&p, LEFT + 2 * ZOOM, TOP + 3 * ZOOM, both_ink);                     /* w 5 */
  pixel_is(&p, LEFT + 6 * ZOOM - 1, TOP + 3 * ZOOM, target_ink);               /* w 2 */
  pixel_is(&p, LEFT + 7 * ZOOM - 1, TOP + 3 * ZOOM, predicted_ink);            /* w 1 */
  pixel_is(&p, LEFT + 4 * ZOOM, TOP + 2 * ZOOM, both_ink);                     /* h 5 */
  pixel_is(&p, LEFT + 4 * ZOOM, TOP + 6 * ZOOM - 1, target_ink);               /* h 2 */
  pixel_is(&p, LEFT + 4 * ZOOM, TOP + 5 * ZOOM - 1, predicted_ink);            /* h 3 */
  pixel_is(&p, LEFT + 2 * NEXT + 5 * ZOOM - 1, TOP + 4 * ZOOM, predicted_ink); /* across d: h 3 */
  pixel_is(&p, LEFT + 2 * ZOOM, TOP, (const uint8_t[]){182, 182, 182});        /* w 5 of 7 */
  pixel_is(&p, LEFT + 7 * ZOOM, TOP, (const uint8_t[]){0, 0, 0});
  pixel_is(&p, far + LEFT + 6 * ZOOM - 1, TOP + 3 * ZOOM, both_ink);
  for (size_t y = TOP; y < p.height; y++)
    for (size_t x = far; x < p.width; x++) {
      assert_memory_not_equal(p.rgb + (y * p.width + x) * 3, target_ink, 3);
      assert_memory_not_equal(p.rgb + (y * p.width + x) * 3, predicted_ink, 3);
    }
  images_equal(p, slices_draw(image, target, predicted, 2));
  p = slices_draw(image, target, NULL, 1);
  pixel_is(&p, LEFT + 6 * ZOOM - 1, TOP + 3 * ZOOM, target_ink);
  assert_int_equal(pixels_of(&p, both_ink) + pixels_of(&p, predicted_ink), 0);
  free(p.rgb);
  for (size_t i = 0; i < ELEMS; i++) target[i] = i % SIDE < 4; /* as far as the grid goes */
  p = slices_draw(image, target, NULL, 1);
  pixel_is(&p, LEFT + 4 * ZOOM, TOP + 5, target_ink);
  assert_int_equal(pixels_of(&p, target_ink), 24 * 6 + 2 * SIDE * ZOOM); /* and the legend */
  free(p.rgb);
  memset(image, 0, sizeof image); /* nothing to see */
  p = slices_draw(image, target, predicted, 1);
  pixel_is(&p, LEFT, TOP, (const uint8_t[]){0, 0, 0});
  free(p.rgb);
}

/* Of several labels each has its colour, the target in a row above the prediction, and the legend
 * has a name for each; what is ignored is neither. */
static void labels_have_colours(void **state) {
  (void)state;
  static const uint8_t red[3] = {200, 0, 0}, green[3] = {0, 160, 0};
  static float image[ELEMS];
  static uint8_t target[ELEMS], predicted[ELEMS];
  const size_t dim[3] = {SIDE, SIDE, SIDE};
  struct vn_palette labels;
  struct vn_diag diag;
  assert_int_equal(vn_palette_parse("[{\"value\":1,\"name\":\"a\",\"colour\":\"#c80000\"},"
                                    "{\"value\":2,\"name\":\"b\",\"colour\":\"#00a000\"}]",
                                    3, &labels, &diag),
                   VN_OK);
  box_fill(target, 2, 2, 2);
  for (size_t i = 0; i < ELEMS; i++) predicted[i] = (uint8_t)(2 * target[i]);
  target[0] = 255;
  const struct vnt_slices slices = {image, target, predicted, dim, 1, &labels};
  const int fd = png_create();
  assert_int_equal(vnt_chart_slices(fd, &slices, &diag), VN_OK);
  close(fd);
  struct image p = image_read();
  const size_t below = TOP + SIDE * ZOOM + (TOP - 8) / 2 + 8; /* a gap and a line of text further */
  pixel_is(&p, LEFT + 2 * ZOOM, TOP + 3 * ZOOM, red);
  pixel_is(&p, LEFT + 2 * ZOOM, below + 3 * ZOOM, green);
  const size_t outline = 3 * (4 * 4 * ZOOM - 4); /* of a square of four voxels, in three cuts */
  assert_int_equal(pixels_of(&p, red), 24 * 6 + outline);
  assert_int_equal(pixels_of(&p, green), 24 * 6 + outline);
  free(p.rgb);
  vn_palette_close(&labels);
}

static void slices_of_nothing_are_refused(void **state) {
  (void)state;
  static const float image[1] = {0};
  static const uint8_t map[1] = {0};
  struct vn_diag diag;
  const size_t wide[3] = {1, 1025, 1}, flat[3] = {1, 0, 1}, one[3] = {1, 1, 1};
  assert_int_equal(slices_write(-1, image, map, map, wide, 1, &diag), VN_E_ARGUMENT);
  assert_int_equal(slices_write(-1, image, map, map, flat, 1, &diag), VN_E_ARGUMENT);
  assert_int_equal(slices_write(-1, image, map, map, one, 0, &diag), VN_E_ARGUMENT);
  const int fd = png_create();
  assert_int_equal(slices_write(fd, image, map, map, one, 1, &diag), VN_OK);
  close(fd);
}

static void full_disks_are_told(void **state) {
  (void)state;
  static const float image[1] = {0};
  static const uint8_t map[1] = {0};
  struct vn_diag diag = {""};
  const int fd = open("/dev/full", O_WRONLY);
  text_write(log_path, plain);
  assert_int_equal(vnt_chart_curves(fd, log_path, NULL, NULL, &diag), VN_E_IO);
  assert_non_null(strstr(diag.text, "No space left"));
  assert_int_equal(slices_write(fd, image, map, map, (const size_t[]){1, 1, 1}, 1, &diag), VN_E_IO);
  close(fd);
}

static int files_make(void **state) {
  (void)state;
  if (!mkdtemp(folder)) return -1;
  snprintf(log_path, sizeof log_path, "%s/log.csv", folder);
  snprintf(score_path, sizeof score_path, "%s/scores.csv", folder);
  snprintf(png_path, sizeof png_path, "%s/chart.png", folder);
  return 0;
}

static int files_remove(void **state) {
  (void)state;
  unlink(log_path);
  unlink(score_path);
  unlink(png_path);
  return rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(strokes_are_where_values_are),
      cmocka_unit_test(classes_have_curves),
      cmocka_unit_test(spikes_do_not_flatten_the_rest),
      cmocka_unit_test(raw_rows_are_faint),
      cmocka_unit_test(odd_logs_are_drawn_as_whole_ones),
      cmocka_unit_test(one_row_is_drawn),
      cmocka_unit_test(malformed_logs_are_refused),
      cmocka_unit_test(outlines_are_where_labels_are),
      cmocka_unit_test(labels_have_colours),
      cmocka_unit_test(slices_of_nothing_are_refused),
      cmocka_unit_test(full_disks_are_told),
  };
  return cmocka_run_group_tests(tests, files_make, files_remove);
}
