/* Samples of cases: the windows that the network would be given, drawn evenly, the same bits
 * however they are computed, matched as numpy matches. Run by tests/e2e/run_cases.py, which writes
 * the folder that is the argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cases_folder.h"
#include "grid.h"
#include "scan.h"
#include "window.h"

/* The bits that window.c would give the network for a window anywhere on the grid. */
static void samples_are_windows(void **state) {
  (void)state;
  struct vnt_cases_spec spec = plain;
  spec.spacing_mm[0] = 1.3;
  struct vnt_cases cases = cases_open("plain.csv", &spec);
  struct vnt_scan scan;
  struct vn_view view;
  struct vn_grid grid;
  struct vn_intensity intensity;
  assert_int_equal(vnt_scan_open(path_of("a.nii.gz"), &scan, NULL), VN_OK);
  assert_int_equal(vnt_scan_load(&scan, NULL, NULL), VN_OK);
  assert_int_equal(vnt_scan_orient(&scan, "RAS", &view, NULL), VN_OK);
  const double spacing_mm[3] = {1.3, view.spacing_mm[1], view.spacing_mm[2]};
  assert_int_equal(vn_grid_make(&view, spacing_mm, &grid, NULL), VN_OK);
  assert_int_equal(vnt_intensity_fit(spec.intensity, &scan.image, &intensity, NULL), VN_OK);
  const struct vn_voxels voxels = vn_voxels_of(&scan.image);
  const struct vn_walk walk = vn_view_walk(&grid.view, scan.image.stride);
  /* The second is longer than the scan along h, the third everywhere. */
  static const size_t patches[][3] = {{12, 20, 16}, {16, 64, 24}, {64, 64, 64}};
  static float image[64 * 64 * 64], plane[64 * 64], scratch[65 * 128];
  static uint8_t target[64 * 64 * 64];
  for (size_t p = 0; p < 3; p++)
    for (uint64_t index = 0; index < 8; index++) {
      const size_t *patch = patches[p];
      size_t begin[3], end[3], from[3], extent[3];
      struct vnt_patch place;
      vnt_cases_place(&cases, NULL, patch, 1, index, &place);
      assert_int_equal(vnt_cases_sample(&cases, NULL, patch, 1, index, NULL, image, target, NULL),
                       VN_OK);
      for (int i = 0; i < 3; i++) {
        struct vn_window_axis axis = vn_window_axis_make(grid.dim[i], patch[i], 0, 0, 0);
        if (axis.before) assert_int_equal(place.start[i], -(ptrdiff_t)axis.before);
        begin[i] = axis.before;
        from[i] = axis.before ? 0 : (size_t)place.start[i];
        extent[i] = patch[i] < grid.dim[i] ? patch[i] : grid.dim[i];
        end[i] = begin[i] + extent[i];
        assert_true(from[i] + extent[i] <= grid.dim[i]);
      }
      for (size_t d = 0, at = 0; d < patch[0]; d++) {
        const bool deep = d >= begin[0] && d < end[0];
        assert_true(vn_grid_scratch(&grid, extent) <= sizeof scratch / sizeof *scratch);
        if (deep)
          vn_grid_sample(&grid, &voxels, &walk, from[0] + d - begin[0], from + 1, extent + 1,
                         scratch, plane);
        for (size_t h = 0; h < patch[1]; h++)
          for (size_t w = 0; w < patch[2]; w++, at++) {
            const bool in = deep && h >= begin[1] && h < end[1] && w >= begin[2] && w < end[2];
            const float v = in ? vn_intensity_apply(
                                     &intensity, plane[(h - begin[1]) * extent[2] + w - begin[2]])
                               : 0;
            assert_memory_equal(&v, &image[at], sizeof v);
            if (!in) assert_int_equal(target[at], 0);
          }
      }
    }
  vn_grid_close(&grid);
  vnt_scan_close(&scan);
  vnt_cases_close(&cases);
}

/* Brute force: the middles of many patches against the label map. Patches of one voxel are not
 * moved by the scan's borders, so that the middle is the voxel drawn. */
static void sampling_is_balanced(void **state) {
  (void)state;
  enum { SAMPLES = 40000 };
  struct vnt_cases cases = cases_open("plain.csv", &plain);
  const struct vnt_source *source = &cases.items[0].source;
  const size_t *dim = source->dim, elems = product(dim), one[3] = {1, 1, 1};
  uint32_t *drawn = calloc(elems, sizeof *drawn);
  double count[5] = {0}, got[5] = {0}, spread = 0;
  for (size_t i = 0; i < elems; i++) count[source->target[i]]++;
  assert_true(count[3] == 2);
  struct vnt_augment half = {.foreground = 0.5};
  for (uint64_t index = 0; index < SAMPLES; index++) {
    struct vnt_patch place;
    vnt_cases_place(&cases, &half, one, 3, index, &place);
    const size_t at = ((size_t)place.start[0] * dim[1] + (size_t)place.start[1]) * dim[2] +
                      (size_t)place.start[2];
    drawn[at]++;
    got[source->target[at]]++;
  }
  for (int c = 0; c < 5; c++) {
    const double want = SAMPLES * (0.5 * count[c] / (double)elems + (c ? 0.5 / 4 : 0));
    assert_true(fabs(got[c] - want) < 4.5 * sqrt(want));
  }
  /* Within a label every voxel is as likely: chi-squared over label 1's. */
  const double want = got[1] / count[1];
  for (size_t i = 0; i < elems; i++)
    if (source->target[i] == 1) spread += pow((double)drawn[i] - want, 2) / want;
  assert_true(fabs(spread - count[1]) < 5 * sqrt(2 * count[1]));
  free(drawn);
  /* A larger patch holds the voxel it was drawn for. */
  struct vnt_augment all = {.foreground = 1};
  static float image[20 * 12 * 16];
  static uint8_t target[20 * 12 * 16];
  const size_t patch[3] = {20, 12, 16};
  for (uint64_t index = 0; index < 200; index++) {
    size_t labelled = 0;
    assert_int_equal(vnt_cases_sample(&cases, &all, patch, 3, index, NULL, image, target, NULL),
                     VN_OK);
    for (size_t i = 0; i < sizeof target; i++) labelled += target[i] != 0;
    assert_true(labelled > 0);
  }
  vnt_cases_close(&cases);
}

/* Everything at once, however it is computed. */
static void samples_are_their_index(void **state) {
  (void)state;
  enum { D = 20, H = 36, W = 44, ELEMS = D * H * W };
  static float image[5][ELEMS];
  static uint8_t target[5][ELEMS];
  const size_t patch[3] = {D, H, W}, threads[] = {0, 1, 2, 4};
  struct vnt_cases cases = cases_open("good.csv", &plain);
  struct vnt_augment augment;
  vnt_augment_defaults(&augment, patch);
  for (int sure = 0; sure < 2; sure++) {
    if (sure)
      augment.affine_p = augment.bend_p = augment.match_p = augment.gamma_p = augment.bias_p =
          augment.blur_p = augment.slices_p = augment.noise_p = 1;
    for (uint64_t index = 0; index < 6; index++) {
      for (int t = 0; t < 4; t++) {
        struct vn_pool *pool = NULL;
        if (threads[t]) assert_int_equal(vn_pool_open(threads[t], &pool, NULL), VN_OK);
        memset(image[t], t, sizeof image[t]);
        assert_int_equal(
            vnt_cases_sample(&cases, &augment, patch, 7, index, pool, image[t], target[t], NULL),
            VN_OK);
        vn_pool_close(&pool);
        assert_memory_equal(image[0], image[t], sizeof image[0]);
        assert_memory_equal(target[0], target[t], sizeof target[0]);
      }
      for (size_t i = 0; i < ELEMS; i++)
        assert_true(image[0][i] >= 0 && image[0][i] <= 1 && target[0][i] < 5);
      assert_int_equal(
          vnt_cases_sample(&cases, &augment, patch, 7, index + 1, NULL, image[4], target[4], NULL),
          VN_OK);
      assert_memory_not_equal(image[0], image[4], sizeof image[0]);
      assert_int_equal(
          vnt_cases_sample(&cases, &augment, patch, 8, index, NULL, image[4], target[4], NULL),
          VN_OK);
      assert_memory_not_equal(image[0], image[4], sizeof image[0]);
    }
  }
  struct vn_diag diag;
  assert_int_equal(vnt_cases_sample(&cases, &augment, (const size_t[]){1, 1, 513}, 0, 0, NULL,
                                    image[0], target[0], &diag),
                   VN_E_UNSUPPORTED);
  vnt_cases_close(&cases);
}

/* The second channel is the first one's negative, before and after any change of shape: that is
 * common to both. What is done to intensities is not. */
static void channels_share_their_shape(void **state) {
  (void)state;
  enum { D = 12, H = 20, W = 24, ELEMS = D * H * W };
  static float image[2 * ELEMS], alone[ELEMS];
  static uint8_t target[ELEMS], alone_target[ELEMS];
  const size_t patch[3] = {D, H, W};
  struct vnt_cases both = cases_open("channels.csv", &plain), one = cases_open("plain.csv", &plain);
  assert_int_equal(both.list.channels, 2);
  assert_string_equal(both.list.channel[0], "t1");
  assert_string_equal(both.list.channel[1], "T2");
  assert_int_equal(both.items[1].present, 0);
  both.n_training = 1; /* as in the other list */
  struct vnt_augment shape = {.flip = {0.5, 0.5, 0.5}, .affine_p = 1, .rotate_deg = 20};
  vnt_normals_fill(&shape.normals);
  for (uint64_t index = 0; index < 10; index++) {
    shape.noise_p = index == 9 ? 1 : 0;
    shape.noise = 0.1;
    assert_int_equal(vnt_cases_sample(&both, &shape, patch, 7, index, NULL, image, target, NULL),
                     VN_OK);
    assert_int_equal(
        vnt_cases_sample(&one, &shape, patch, 7, index, NULL, alone, alone_target, NULL), VN_OK);
    assert_memory_equal(target, alone_target, sizeof target);
    double apart = 0;
    for (size_t i = 0; i < ELEMS; i++) {
      assert_true(image[2 * i] == alone[i]);
      const double sum = (double)image[2 * i] + (double)image[2 * i + 1];
      if (sum != 0) apart = fmax(apart, fabs(sum - 1)); /* 0 and 0 is outside */
    }
    assert_true(index == 9 ? apart > 0.01 : apart < 1e-3);
  }
  vnt_cases_close(&one);
  struct vnt_cases_spec spec = plain;
  spec.channels = "t2; T1"; /* a model's order */
  struct vnt_cases turned = cases_open("channels.csv", &spec);
  assert_string_equal(turned.list.channel[0], "T2");
  assert_memory_equal(turned.items[0].channel[1].image, both.items[0].channel[0].image,
                      ELEMS * sizeof(float));
  vnt_cases_close(&turned);
  struct vnt_cases fields = cases_open("fields.csv", &spec); /* without names: as they are given */
  assert_int_equal(fields.list.channels, 2);
  assert_null(fields.list.channel[0]);
  for (size_t c = 0; c < 2; c++)
    assert_memory_equal(fields.items[0].channel[c].image, both.items[0].channel[c].image,
                        ELEMS * sizeof(float));
  vnt_cases_close(&fields);
  fields = cases_open("semicolon.csv", &plain);
  assert_int_equal(fields.list.channels, 1);
  vnt_cases_close(&fields);
  vnt_cases_close(&both);
  struct vn_diag diag;
  spec.channels = "t1; flair";
  assert_int_equal(vnt_cases_open(path_of("channels.csv"), &spec, NULL, &turned, &diag),
                   VN_E_ARGUMENT);
  assert_non_null(strstr(diag.text, "the channel flair"));
  vnt_cases_close(&turned);
}

static void matching_is_numpys(void **state) {
  (void)state;
  struct vnt_cases cases = cases_open("good.csv", &plain);
  const struct vnt_source *a = &cases.items[0].source, *b = &cases.items[2].source;
  const size_t elems = product(a->dim);
  float *want = file_read("matched.f32", elems * sizeof *want);
  float *image = malloc(elems * sizeof *image);
  uint8_t *target = malloc(elems);
  struct vnt_patch whole = {.start = {0}};
  memcpy(whole.size, a->dim, sizeof whole.size);
  struct vnt_augment match = {.match_p = 1};
  assert_int_equal(vnt_augment_apply(&match, a, b, &whole, 0, 0, NULL, image, target, NULL), VN_OK);
  double worst = 0, sum = 0;
  for (size_t i = 0; i < elems; i++) {
    const double off = fabs((double)image[i] - (double)want[i]);
    worst = off > worst ? off : worst;
    sum += off / (double)elems;
  }
  assert_memory_equal(target, a->target, elems);
  /* Of a range of 1, with gaps between the intensities of tissues, where a curve is steep. */
  if (worst > 0.02 || sum > 3e-4) fail_msg("matched: off by %g, mean %g", worst, sum);
  free(want);
  free(image);
  free(target);
  vnt_cases_close(&cases);
}

/* Never with the case itself, which would leave it as it is. */
static void matching_is_with_another(void **state) {
  (void)state;
  enum { D = 12, H = 20, W = 24, ELEMS = D * H * W };
  static float plain_image[ELEMS], image[ELEMS];
  static uint8_t target[ELEMS];
  const size_t patch[3] = {D, H, W};
  struct vnt_cases cases = cases_open("good.csv", &plain);
  const struct vnt_augment none = {.foreground = 1}, match = {.foreground = 1, .match_p = 1};
  for (uint64_t index = 0; index < 40; index++) {
    double sum = 0;
    assert_int_equal(
        vnt_cases_sample(&cases, &none, patch, 7, index, NULL, plain_image, target, NULL), VN_OK);
    assert_int_equal(vnt_cases_sample(&cases, &match, patch, 7, index, NULL, image, target, NULL),
                     VN_OK);
    for (size_t i = 0; i < ELEMS; i++)
      sum += fabs((double)image[i] - (double)plain_image[i]) / ELEMS;
    if (!(sum > 1e-3)) fail_msg("sample %d was moved by %g", (int)index, sum);
  }
  vnt_cases_close(&cases);
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(samples_are_windows),     cmocka_unit_test(sampling_is_balanced),
      cmocka_unit_test(samples_are_their_index), cmocka_unit_test(channels_share_their_shape),
      cmocka_unit_test(matching_is_numpys),      cmocka_unit_test(matching_is_with_another),
  };
  if (argc != 2 || !cases_folder_open(argv[1])) return 2;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
