/* Where training samples come from: the random numbers are those of the paper, a sample depends on
 * its seed and index alone, targets are closed or the classes of a table, on their side of the
 * head, bad label maps are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "generate.h"

/* Random123's kat_vectors. */
static void philox_is_random123(void **state) {
  (void)state;
  static const uint32_t vectors[][10] = {
      {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
      {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
       0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
      {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
       0x94fdcceb, 0x5001e420, 0x24126ea1}};
  for (size_t i = 0; i < 3; i++) {
    uint32_t out[4];
    vnt_philox(vectors[i] + 4, vectors[i], out);
    assert_memory_equal(out, vectors[i] + 6, sizeof out);
  }
}

static void normals_are_normal(void **state) {
  (void)state;
  static struct vnt_normals n;
  vnt_normals_fill(&n);
  struct vnt_random r = vnt_random_open(1, 2, 3);
  double sums[2][5] = {{0}};
  for (uint32_t i = 0; i < 100000; i++) {
    float eight[8];
    vnt_normals_at(&n, &r, i, eight);
    const double x[2] = {(double)eight[i % 8], vnt_random_normal(&r)};
    for (int k = 0; k < 2; k++)
      for (int p = 1; p < 5; p++) sums[k][p] += pow(x[k], p) / 1e5;
  }
  for (int k = 0; k < 2; k++) {
    assert_true(fabs(sums[k][1]) < 0.015 && fabs(sums[k][2] - 1) < 0.02);
    assert_true(fabs(sums[k][3]) < 0.04 && fabs(sums[k][4] - 3) < 0.12);
  }
}

/* A head of balls: background 0, scalp 502, cortex 3 with a hole, white matter 2. */
static void head_write(const char *path, float strange) {
  enum { N = 64 };
  static float voxels[N * N * N];
  unsigned char head[352] = {0};
  const int32_t size = 348;
  const int16_t dim[8] = {3, N, N, N, 1, 1, 1, 1}, type[2] = {16, 32}, code = 1;
  const float pixdim[8] = {1, 3, 3, 3, 0, 0, 0, 0}, offset = 352;
  const float rows[3][4] = {{-3, 0, 0, 96}, {0, 0, 3, -96}, {0, -3, 0, 96}}; /* LIA */
  memcpy(head, &size, 4);
  memcpy(head + 40, dim, sizeof dim);
  memcpy(head + 70, type, sizeof type);
  memcpy(head + 76, pixdim, sizeof pixdim);
  memcpy(head + 108, &offset, 4);
  head[123] = 2;
  memcpy(head + 254, &code, 2);
  memcpy(head + 280, rows, sizeof rows);
  memcpy(head + 344, "n+1", 4);
  for (int i = 0; i < N * N * N; i++) {
    int x = i % N - 32, y = i / N % N - 32, z = i / N / N - 32, r = x * x + y * y + z * z;
    voxels[i] = r < 4 ? 0 : r < 200 ? 2 : r < 400 ? 3 : r < 600 ? 502 : 0;
  }
  voxels[0] = strange;
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  fwrite(head, 1, sizeof head, file);
  fwrite(voxels, sizeof *voxels, N * N * N, file);
  fclose(file);
}

static char path[] = "/tmp/vnet-labelmap-XXXXXX.nii";

static void label_maps_are_read(void **state) {
  (void)state;
  struct vnt_labelmap map;
  struct vn_diag diag;
  int fd = mkstemps(path, 4);
  assert_true(fd >= 0);
  close(fd);
  head_write(path, 0);
  if (vnt_labelmap_open(path, NULL, &map, &diag)) fail_msg("%s", diag.text);
  assert_int_equal(map.structures, 4);
  for (int a = 0; a < 3; a++) assert_true(fabs(map.centre[a] - 31.5) < 1);
  size_t hole = (32 * 64 + 32) * 64 + 32;
  assert_int_equal(map.value[map.structure[hole]], 0);
  assert_int_equal(map.target[hole], 1); /* filled */
  assert_int_equal(map.target[0], 0);
  vnt_labelmap_close(&map);
  static const float strange[] = {-1, 2.5f, 40000};
  for (size_t i = 0; i < 3; i++) {
    head_write(path, strange[i]);
    assert_int_equal(vnt_labelmap_open(path, NULL, &map, &diag), VN_E_FORMAT);
    assert_non_null(strstr(diag.text, "is not a label"));
    vnt_labelmap_close(&map);
  }
  head_write(path, 0);
}

static void parts_are_named(void **state) {
  (void)state;
  static struct vnt_labels classes = {.classes = 4, .table = true};
  struct vnt_labelmap map;
  struct vn_diag diag;
  memset(classes.class_of, 0xFF, sizeof classes.class_of);
  classes.class_of[0] = 0;
  classes.class_of[2] = 1;
  classes.class_of[3] = 3;
  assert_int_equal(vnt_labelmap_open(path, &classes, &map, &diag), VN_E_FORMAT);
  assert_non_null(strstr(diag.text, "the value 502, which the table of labels does not name"));
  vnt_labelmap_close(&map);
  classes.class_of[502] = VNT_IGNORED;
  if (vnt_labelmap_open(path, &classes, &map, &diag)) fail_msg("%s", diag.text);
  for (int a = 0; a < 3; a++) assert_true(fabs(map.centre[a] - 31.5) < 1);
  for (size_t i = 0; i < 64 * 64 * 64; i++)
    assert_int_equal(map.target[i], (uint8_t)classes.class_of[map.value[map.structure[i]]]);
  vnt_labelmap_close(&map);
}

static void samples_are_their_index(void **state) {
  (void)state;
  enum { D = 24, H = 32, W = 40, ELEMS = D * H * W };
  static struct vnt_generator g;
  static float image[3][ELEMS];
  static uint8_t target[3][ELEMS];
  struct vnt_labelmap map;
  struct vn_diag diag;
  assert_int_equal(vnt_labelmap_open(path, NULL, &map, &diag), VN_OK);
  vnt_generator_defaults(&g, (const size_t[]){D, H, W}, 4);
  size_t brains = 0;
  for (uint64_t index = 0; index < 12; index++) {
    for (size_t threads = 1; threads <= 3; threads++) {
      struct vn_pool *pool;
      assert_int_equal(vn_pool_open(threads, &pool, &diag), VN_OK);
      assert_int_equal(
          vnt_generate(&g, &map, 1, 7, index, pool, image[threads - 1], target[threads - 1], &diag),
          VN_OK);
      vn_pool_close(&pool);
    }
    assert_memory_equal(image[0], image[2], sizeof image[0]);
    assert_memory_equal(target[0], target[2], sizeof target[0]);
    for (size_t i = 0; i < ELEMS; i++) {
      assert_true(image[0][i] >= 0 && image[0][i] <= 1 && target[0][i] <= 1);
      brains += target[0][i];
    }
    uint64_t other = index + 1;
    assert_int_equal(vnt_generate(&g, &map, 1, 7, other, NULL, image[1], target[1], &diag), VN_OK);
    assert_memory_not_equal(image[0], image[1], sizeof image[0]);
  }
  /* A ball of 60 mm radius is 14137 voxels of 4 mm; scaled, cropped, but there. */
  assert_in_range(brains / 12, 6000, 20000);
  vnt_labelmap_close(&map);
  unlink(path);
}

/* Samples of 1 mm that lie as their map does, without noise and thick slices. */
static void undisturbed(struct vnt_generator *g, const size_t dim[3]) {
  vnt_generator_defaults(g, dim, 1);
  g->rotate_deg = g->scale = g->shear = g->shift_mm = g->far = g->bend_mm = g->bias = g->noise = 0;
  g->gamma = g->negative = 0;
  g->slice_mm = g->spacing_mm;
}

/* A block whose two halves are white matter of either side, the target being one of them: heads are
 * mirrored as often as not, and both sides look alike. A table that knows sides keeps the target
 * where it is. */
static void sides_are_alike_and_change(void **state) {
  (void)state;
  enum { N = 24, ELEMS = N * N * N, SAMPLES = 60 };
  static uint8_t structure[ELEMS], map_target[ELEMS], target[ELEMS];
  static float image[ELEMS];
  static struct vnt_generator g;
  struct vnt_labelmap map = {.dim = {N, N, N},
                             .spacing_mm = {1, 1, 1},
                             .structure = structure,
                             .target = map_target,
                             .value = {0, 2, 41},
                             .structures = 3,
                             .centre = {11.5, 11.5, 11.5}};
  for (size_t i = 0; i < ELEMS; i++) {
    const size_t d = i / N / N, h = i / N % N, w = i % N;
    const bool in = d > 3 && d < 20 && h > 3 && h < 20 && w > 3 && w < 20;
    structure[i] = (uint8_t)(in ? w < N / 2 ? 1 : 2 : 0);
    map_target[i] = structure[i] == 2;
  }
  undisturbed(&g, map.dim);
  static const uint8_t other_side[] = {1, 0};
  size_t high = 0, stays = 0;
  for (uint64_t index = 0; index < SAMPLES; index++) {
    double mean[2] = {0}, count[2] = {0}, place = 0;
    assert_int_equal(vnt_generate(&g, &map, 1, 5, index, NULL, image, target, NULL), VN_OK);
    for (size_t i = 0; i < ELEMS; i++) {
      const size_t d = i / N / N, h = i / N % N, w = i % N, side = w >= N / 2;
      place += target[i] ? (double)w - 11.5 : 0;
      if (d < 9 || d > 14 || h < 9 || h > 14 || w < 6 || w > 17) continue;
      mean[side] += (double)image[i];
      count[side]++;
    }
    high += place > 0;
    g.other_side = other_side;
    assert_int_equal(vnt_generate(&g, &map, 1, 5, index, NULL, image, target, NULL), VN_OK);
    g.other_side = NULL;
    stays += target[N / 2 * N * N + N / 2 * N + 18] && !target[N / 2 * N * N + N / 2 * N + 5];
    const double apart = mean[0] / count[0] - mean[1] / count[1];
    if (!(fabs(apart) < 0.12)) fail_msg("sample %d: %g apart", (int)index, apart);
  }
  assert_in_range(high, SAMPLES / 4, SAMPLES * 3 / 4);
  assert_int_equal(stays, SAMPLES);
}

/* Four slabs: fluid, grey matter, thalamus, white matter. Of three tissues' greys a thalamus lies
 * between the last two; how many scans have the order of T1 hangs on the contrast. */
static void tissues_have_three_greys(void **state) {
  (void)state;
  enum { N = 32, ELEMS = N * N * N, SAMPLES = 90 };
  static uint8_t structure[ELEMS], map_target[ELEMS], target[ELEMS];
  static float image[ELEMS];
  static struct vnt_generator g;
  struct vnt_labelmap map = {.dim = {N, N, N},
                             .spacing_mm = {1, 1, 1},
                             .structure = structure,
                             .target = map_target,
                             .value = {4, 42, 10, 2},
                             .structures = 4,
                             .centre = {15.5, 15.5, 15.5}};
  for (size_t i = 0; i < ELEMS; i++) structure[i] = (uint8_t)(i / N / N / (N / 4));
  undisturbed(&g, map.dim);
  g.flat = 0;
  const enum vnt_contrast kinds[] = {VNT_CONTRAST_ANY, VNT_CONTRAST_MRI, VNT_CONTRAST_T1};
  const double t1_share[] = {1. / 6, 0.75 * (0.5 + 0.5 / 6) + 0.25 / 6, 1};
  const double between_share[] = {1. / 3, 0.75 + 0.25 / 3, 1};
  for (int with = 0; with < 3; with++) {
    size_t t1 = 0, between = 0;
    g.negative = with ? 0.5 : 0; /* which an order of greys rules out */
    vnt_generator_contrast(&g, kinds[with]);
    for (uint64_t index = 0; index < SAMPLES; index++) {
      double mean[4] = {0};
      assert_int_equal(vnt_generate(&g, &map, 1, 5, index, NULL, image, target, NULL), VN_OK);
      for (size_t slab = 0; slab < 4; slab++)
        for (size_t i = 0; i < 2 * N * N; i++)
          mean[slab] += (double)image[(slab * (N / 4) + 3) * N * N + i] / (2 * N * N);
      t1 += mean[0] < mean[1] && mean[1] < mean[3];
      const double share = (mean[2] - mean[1]) / (mean[3] - mean[1]);
      between += share > 0 && share < 1;
    }
    if (fabs((double)t1 / SAMPLES - t1_share[with]) > 0.12) fail_msg("T1 in %zu", t1);
    if (fabs((double)between / SAMPLES - between_share[with]) > 0.12)
      fail_msg("between in %zu", between);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(philox_is_random123),      cmocka_unit_test(normals_are_normal),
      cmocka_unit_test(label_maps_are_read),      cmocka_unit_test(parts_are_named),
      cmocka_unit_test(samples_are_their_index),  cmocka_unit_test(sides_are_alike_and_change),
      cmocka_unit_test(tissues_have_three_greys),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
