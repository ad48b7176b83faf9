/* Normalisation against numpy: mean, standard deviation and percentiles of a fixed sequence, with
 * numpy's numbers (numpy.mean, std, percentile in float64) written down here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "intensity.h"

enum { ELEMS = 1001 };

/* i = arange(1001, dtype=uint32); k = (i * 2654435761) >> 16; x = (k * k % 65537) / 64 - 300 */
static void sequence(float *x) {
  for (uint32_t i = 0; i < ELEMS; i++) {
    uint64_t k = (i * 2654435761u) >> 16;
    x[i] = (float)(k * k % 65537) / 64 - 300;
  }
}

/* Backwards: no job may count on another's being done. */
enum vn_status vn_exec_parallel(struct vn_exec *exec, size_t jobs,
                                void (*fn)(void *context, size_t job), void *context,
                                const struct vn_run_options *run, struct vn_diag *diag) {
  (void)exec, (void)run, (void)diag;
  while (jobs--) fn(context, jobs);
  return VN_OK;
}

bool vn_cancel_pressed(const struct vn_cancel *cancel) {
  (void)cancel;
  return false;
}

enum vn_status vn_exec_run_with(struct vn_exec *exec, const void *const inputs[],
                                void *const outputs[], const struct vn_run_options *run,
                                struct vn_diag *diag) {
  (void)exec, (void)inputs, (void)outputs, (void)run, (void)diag;
  return VN_E_INTERNAL; /* no network here */
}

/* Of a dense row of voxels. */
static enum vn_status row_fit(const struct vn_intensity_rule *rule, const float *x, size_t elems,
                              struct vn_exec *exec, struct vn_intensity *intensity,
                              struct vn_diag *diag) {
  const struct vn_image image = {.size = sizeof image,
                                 .voxels = x,
                                 .type = VN_VOXEL_F32,
                                 .dim = {elems % 7 ? elems : elems / 7, elems % 7 ? 1 : 7, 1},
                                 .affine = {{1}, {0, 1}, {0, 0, 1}}};
  struct vn_stage stage = {.exec = exec};
  struct vn_image taken;
  struct vn_survey survey;
  enum vn_status status = vn_image_take(&image, &taken, diag);
  struct vn_voxels voxels = vn_voxels_of(&taken);
  if (!status) status = vn_survey_take(&taken, &voxels, &stage, &survey, diag);
  return status ? status
                : vn_intensity_fit(rule, &taken, &voxels, &survey, &stage, intensity, diag);
}

static struct vn_intensity fit(const char *text, const float *x, size_t elems) {
  struct vn_intensity_rule rule;
  struct vn_intensity intensity = {0};
  struct vn_diag diag;
  if (vn_intensity_parse(text, &rule, &diag) || row_fit(&rule, x, elems, NULL, &intensity, &diag))
    fail_msg("%s", diag.text);
  return intensity;
}

static bool near(double have, double want) {
  return fabs(have - want) <= 1e-6 * (1 + fabs(want));
}

static void statistics_are_numpy(void **state) {
  (void)state;
  float x[ELEMS];
  sequence(x);
  struct vn_intensity i = fit("zscore", x, ELEMS);
  assert_true(near(i.shift, 203.598964) && near(i.scale, 1 / 297.982666));
  assert_true(near(vn_intensity_apply(&i, 1000), (1000 - 203.598964) / 297.982666));
  i = fit("percentile 0.5 99.5", x, ELEMS);
  assert_true(near(i.shift, -295.546875) && near(1 / i.scale, 721.25 + 295.546875));
  i = fit("percentile  12.34\t50 ", x, ELEMS);
  assert_true(near(i.shift, -197.765625) && near(1 / i.scale, 202.09375 + 197.765625));
  i = fit("percentile 0 100", x, ELEMS);
  assert_true(near(i.shift, -300) && near(1 / i.scale, 1023.8125));
  assert_true(vn_intensity_apply(&i, -1e9f) == 0 && vn_intensity_apply(&i, 1e9f) == 1);
}

static void windows_and_none(void **state) {
  (void)state;
  const float x[2] = {3, 4};
  struct vn_intensity i = fit("window -160 240", x, 2);
  assert_true(near(vn_intensity_apply(&i, 40), 0.5) && vn_intensity_apply(&i, -161) == 0 &&
              vn_intensity_apply(&i, 241) == 1);
  assert_true(vn_intensity_apply(&(struct vn_intensity){0, 1, -INFINITY, INFINITY}, -7) == -7);
  i = fit("none", x, 2);
  assert_true(vn_intensity_apply(&i, 1e30f) == 1e30f);
  i = fit(NULL, x, 2);
  assert_true(vn_intensity_apply(&i, -1e30f) == -1e30f);
}

/* More voxels than one chunk; the exec's threads change nothing. */
static void threads_change_nothing(void **state) {
  (void)state;
  enum { MANY = 300001 };
  float *x = malloc(MANY * sizeof *x);
  for (uint32_t i = 0; i < MANY; i++) x[i] = (float)((i * 2654435761u) >> 8) * 0x1p-20f + 1000;
  struct vn_intensity_rule rule = {VN_INTENSITY_ZSCORE, 0, 0};
  struct vn_intensity serial, threaded;
  assert_int_equal(row_fit(&rule, x, MANY, NULL, &serial, NULL), VN_OK);
  assert_int_equal(row_fit(&rule, x, MANY, (struct vn_exec *)x, &threaded, NULL), VN_OK);
  assert_memory_equal(&serial, &threaded, sizeof serial);
  assert_true(fabsf(serial.shift - 1008) < 0.01f && fabsf(1 / serial.scale - 4.6188f) < 0.01f);
  free(x);
}

static void nothing_to_tell_apart(void **state) {
  (void)state;
  float x[ELEMS];
  struct vn_intensity_rule zscore = {VN_INTENSITY_ZSCORE, 0, 0},
                           percentile = {VN_INTENSITY_PERCENTILE, 1, 99};
  struct vn_intensity i;
  struct vn_diag diag;
  for (int k = 0; k < ELEMS; k++) x[k] = 0.1f;
  assert_int_equal(row_fit(&zscore, x, ELEMS, NULL, &i, &diag), VN_E_UNSUPPORTED);
  assert_int_equal(row_fit(&percentile, x, ELEMS, NULL, &i, &diag), VN_E_UNSUPPORTED);
  x[3] = 7;
  assert_int_equal(row_fit(&zscore, x, ELEMS, NULL, &i, &diag), VN_OK);
  assert_int_equal(row_fit(&percentile, x, ELEMS, NULL, &i, &diag), VN_E_UNSUPPORTED);
  assert_int_equal(row_fit(&zscore, x, 1, NULL, &i, &diag), VN_E_UNSUPPORTED);
}

static void metadata_is_doubted(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",
      "zscores",
      "zscore 1",
      "window",
      "window 1",
      "window 2 1",
      "window 1 2 3",
      "window 1,5 2",
      "window a b",
      "window nan 1",
      "window 0 inf",
      "percentile 5 5",
      "percentile -1 99",
      "percentile 1 101",
      "none 0",
  };
  struct vn_intensity_rule rule;
  struct vn_diag diag;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (vn_intensity_parse(bad[i], &rule, &diag) != VN_E_FORMAT) fail_msg("'%s' parses", bad[i]);
  double number[3];
  assert_int_equal(vn_numbers_parse(" 1 0.5\t2e1 ", number, 3), 3);
  assert_true(number[0] == 1 && number[1] == 0.5 && number[2] == 20);
  assert_true(vn_numbers_parse("1 2 3 4", number, 3) == SIZE_MAX);
  assert_int_equal(vn_numbers_parse("", number, 3), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(statistics_are_numpy),   cmocka_unit_test(windows_and_none),
      cmocka_unit_test(threads_change_nothing), cmocka_unit_test(nothing_to_tell_apart),
      cmocka_unit_test(metadata_is_doubted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
