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

#include "expect.h"
#include "filling.h"
#include "float_mode.h"
#include "foreground.h"
#include "histogram.h"

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
  return status ? status : vn_intensity_fit(rule, &taken, &survey, &stage, intensity, diag);
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
  assert_true(vn_intensity_apply(&(struct vn_intensity){0, 1, -INFINITY, INFINITY, false}, -7) ==
              -7);
  i = fit("none", x, 2);
  assert_true(vn_intensity_apply(&i, 1e30f) == 1e30f);
  i = fit(NULL, x, 2);
  assert_true(vn_intensity_apply(&i, -1e30f) == -1e30f);
}

/* A scan is a CT by more than a hundredth of its voxels being air; others have the rule that comes
 * first, as has a CT where none for it follows. */
static void ct_has_a_window(void **state) {
  (void)state;
  enum { MANY = 1000 };
  float x[MANY];
  for (size_t air = 0; air <= 100; air++) {
    for (size_t i = 0; i < MANY; i++) x[i] = i < air ? -1000 : (float)(i % 100);
    const struct vn_intensity i = fit("percentile 0.5 99.5, ct 0 80", x, MANY);
    const struct vn_intensity plain = fit("percentile 0.5 99.5", x, MANY);
    assert_true(i.ct == (air > 10) && !plain.ct);
    if (i.ct) assert_true(i.shift == 0 && i.scale == 1.0f / 80 && i.low == 0 && i.high == 1);
    if (!i.ct) assert_true(i.shift == plain.shift && i.scale == plain.scale);
  }
  for (size_t i = 0; i < MANY; i++) x[i] = i % 2 ? -499 : -1537;
  assert_false(fit("none , ct -20\t100 ", x, MANY).ct);
  for (size_t i = 0; i < MANY; i++) x[i] = -500;
  const struct vn_intensity i = fit("zscore,ct -20 100", x, MANY); /* alone it would be refused */
  assert_true(i.ct && i.shift == -20 && i.scale == (float)(1.0 / 120));
}

/* More voxels than one chunk; the exec's threads change nothing. */
static void threads_change_nothing(void **state) {
  (void)state;
  enum { MANY = 300001 };
  float *x = malloc(MANY * sizeof *x);
  for (uint32_t i = 0; i < MANY; i++) x[i] = (float)((i * 2654435761u) >> 8) * 0x1p-20f + 1000;
  struct vn_intensity_rule rule = {.kind = VN_INTENSITY_ZSCORE};
  struct vn_intensity serial, threaded;
  assert_int_equal(row_fit(&rule, x, MANY, NULL, &serial, NULL), VN_OK);
  assert_int_equal(row_fit(&rule, x, MANY, (struct vn_exec *)x, &threaded, NULL), VN_OK);
  assert_memory_equal(&serial, &threaded, offsetof(struct vn_intensity, ct));
  assert_true(fabsf(serial.shift - 1008) < 0.01f && fabsf(1 / serial.scale - 4.6188f) < 0.01f);
  free(x);
}

static void nothing_to_tell_apart(void **state) {
  (void)state;
  float x[ELEMS];
  struct vn_intensity_rule zscore = {.kind = VN_INTENSITY_ZSCORE},
                           percentile = {VN_INTENSITY_PERCENTILE, 1, 99, 0, 0};
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

/* ---- filling: statistics of a scan with it are those of the scan without ---- */

enum { CORE = 20, RIM = 4, SIDE = CORE + 2 * RIM, CORE_VOXELS = CORE * CORE * CORE };

/* Air in a frame two voxels wide, and tissue of a wide range within. */
static void scan_make(float air, float noise, float low, float high, float *x) {
  for (uint32_t i = 0; i < CORE_VOXELS; i++) {
    const uint32_t at[3] = {i % CORE, i / CORE % CORE, i / CORE / CORE};
    const float part = (float)((i * 2654435761u) >> 8) * 0x1p-24f;
    bool edge = false;
    for (int a = 0; a < 3; a++) edge = edge || at[a] < 3 || at[a] >= CORE - 3;
    x[i] = edge ? air + noise * part : low + (high - low) * part * part * part;
  }
}

/* The scan in the middle of a larger one, around which lies `filling`. */
static void scan_pad(const float *x, float filling, float *to) {
  for (size_t i = 0; i < SIDE * SIDE * SIDE; i++) to[i] = filling;
  for (size_t i = 0; i < CORE_VOXELS; i++)
    to[((i / CORE / CORE + RIM) * SIDE + i / CORE % CORE + RIM) * SIDE + i % CORE + RIM] = x[i];
}

struct found {
  struct vn_intensity intensity;
  struct vn_filling filling;
  struct vn_voxels voxels;
  enum vn_status status;
  char note[256];
};

static struct found found_in(const char *rule_text, const float *x, size_t side, bool replace_nan) {
  const struct vn_image image = {.size = sizeof image,
                                 .voxels = x,
                                 .type = VN_VOXEL_F32,
                                 .dim = {side, side, side},
                                 .affine = {{1}, {0, 1}, {0, 0, 1}}};
  struct found f = {0};
  struct vn_intensity_rule rule;
  struct vn_image taken;
  struct vn_survey survey;
  vn_intensity_parse(rule_text, &rule, NULL);
  assert_int_equal(vn_image_take(&image, &taken, NULL), VN_OK);
  f.voxels = vn_voxels_of(&taken);
  assert_int_equal(
      vn_survey_own(&taken, NULL, replace_nan, NULL, &f.voxels, &survey, &f.filling, NULL), VN_OK);
  f.status = vn_survey_finite(&taken, &survey, NULL);
  if (!f.status) f.status = vn_intensity_fit(&rule, &taken, &survey, NULL, &f.intensity, NULL);
  vn_filling_tell(&f.filling, &survey, f.note, sizeof f.note);
  vn_intensity_tell(&f.intensity, f.note, sizeof f.note);
  vn_survey_close(&survey);
  return f;
}

static void scan_and_padded(const float *x, float filling, bool untouched) {
  static float padded[SIDE * SIDE * SIDE];
  const struct vn_intensity plain = fit("percentile 0.5 99.5", x, CORE_VOXELS);
  const struct vn_intensity gauss = fit("zscore", x, CORE_VOXELS);
  scan_pad(x, filling, padded);
  struct found f = found_in("percentile 0.5 99.5", padded, SIDE, false);
  if (untouched) {
    const struct vn_intensity all = fit("percentile 0.5 99.5", padded, SIDE * SIDE * SIDE);
    assert_memory_equal(&f.intensity, &all, offsetof(struct vn_intensity, ct));
    assert_true(!f.voxels.mended && !*f.note && !vn_filling_any(&f.filling));
    return;
  }
  if (memcmp(&f.intensity, &plain, offsetof(struct vn_intensity, ct)))
    fail_msg("filling of %g", (double)filling);
  assert_true(vn_filling_any(&f.filling) && strstr(f.note, "64 % of the voxels"));
  f = found_in("zscore", padded, SIDE, false);
  if (!near(f.intensity.shift, gauss.shift) || !near(f.intensity.scale, gauss.scale))
    fail_msg("filling of %g: zscore's %g %g, not %g %g", (double)filling, (double)f.intensity.shift,
             (double)f.intensity.scale, (double)gauss.shift, (double)gauss.scale);
  float row[SIDE], least = INFINITY; /* filling reads as the scan's own smallest value */
  for (size_t i = 0; i < CORE_VOXELS; i++) least = x[i] < least ? x[i] : least;
  vn_voxels_row(&f.voxels, 0, sizeof(float), SIDE, row);
  for (int i = 0; i < SIDE; i++) assert_true(row[i] == least);
}

/* What is around a scan makes it no CT, and none of it less of one; nor do voxels that are
 * replaced. */
static void filling_is_no_air(void **state) {
  (void)state;
  static float x[CORE_VOXELS], padded[SIDE * SIDE * SIDE];
  const float filling[] = {-1000, -1536, -2000, -3024, NAN};
  for (size_t i = 0; i < sizeof filling / sizeof *filling; i++)
    for (int ct = 0; ct < 2; ct++) {
      if (ct && filling[i] > -2000) continue; /* it has no such gap */
      scan_make(ct ? -1024 : 0, ct ? 60 : 0, ct ? -100 : 10, ct ? 1900 : 250, x);
      scan_pad(x, filling[i], padded);
      const struct found f = found_in("percentile 0.5 99.5, ct 0 80", padded, SIDE, false);
      if (f.intensity.ct != ct) fail_msg("filling of %g", (double)filling[i]);
      assert_true(vn_filling_any(&f.filling) &&
                  !strstr(f.note, "a CT's: the network sees 0 to 80") == !ct);
    }
  scan_make(0, 0, 10, 250, x);
  x[(9 * CORE + 9) * CORE + 9] = -600;
  for (size_t i = 0; i < 6 * 6 * 6; i++) /* 2.7 %, none of them beside another or the border */
    x[((4 + 2 * (i / 36)) * CORE + 4 + 2 * (i / 6 % 6)) * CORE + 4 + 2 * (i % 6)] = NAN;
  const struct found f = found_in("zscore, ct 0 80", x, CORE, true);
  assert_true(f.filling.replaced_vox == 6 * 6 * 6 && !f.intensity.ct);
}

static void filling_is_left_out(void **state) {
  (void)state;
  static float x[CORE_VOXELS];
  scan_make(-1024, 60, -100, 1900, x); /* CT */
  const float ct[] = {-2000, -3024, -32768, 32767, 65535, NAN, INFINITY, -INFINITY};
  for (size_t i = 0; i < sizeof ct / sizeof *ct; i++) scan_and_padded(x, ct[i], false);
  scan_make(0, 0, 10, 250, x); /* MR */
  const float mr[] = {-2000, -1000, -32768, 4095, 32767, NAN};
  for (size_t i = 0; i < sizeof mr / sizeof *mr; i++) scan_and_padded(x, mr[i], false);
  scan_make(0, 0, 0.01f, 1, x);
  scan_and_padded(x, -10, false);
}

/* What belongs to scans: air, masked air of 0, bright air, a gap between air and tissue. */
static void scans_stay(void **state) {
  (void)state;
  static float x[CORE_VOXELS];
  scan_make(-1024, 60, -100, 1900, x);
  scan_and_padded(x, -1024, true);
  scan_make(0, 20, 60, 250, x);
  scan_and_padded(x, 0, true);
  scan_make(0, 0, 51, 130, x); /* a stripped brain */
  scan_and_padded(x, 0, true);
  scan_make(130, 0, 0, 79, x); /* the same inverted */
  scan_and_padded(x, 130, true);
  scan_make(-4096, 8192, -4096, 4095, x); /* phases */
  scan_and_padded(x, -4096, true);
  scan_make(-1000, 0, -100, 1000, x); /* a phantom without noise */
  scan_and_padded(x, -1000, true);
}

/* To floats as we compute them zeros and denormals are one value, to bins they are not: what bins
 * hold is what is left in, wherever the cut. */
static void denormals_are_zeros(void **state) {
  (void)state;
  enum { VOXELS = SIDE * SIDE * SIDE };
  static float x[VOXELS];
  for (int more = 0; more < 3; more++) {
    for (uint32_t i = 0; i < VOXELS; i++)
      x[i] = i % 83 ? -1.4e-38f - 0.6e-38f * (float)((i * 2654435761u) >> 8) * 0x1p-24f
                    : (const float[]){1e-39f, -1e-39f, 1e-42f}[i / 83 % (more + 1)];
    const vn_float_mode mode = vn_float_mode_enter(); /* not before: a denormal would be 0 above */
    const struct vn_image image = {.size = sizeof image,
                                   .voxels = x,
                                   .type = VN_VOXEL_F32,
                                   .dim = {SIDE, SIDE, SIDE},
                                   .affine = {{1}, {0, 1}, {0, 0, 1}}};
    struct vn_image taken;
    struct vn_survey survey;
    struct vn_filling filling;
    assert_int_equal(vn_image_take(&image, &taken, NULL), VN_OK);
    struct vn_voxels voxels = vn_voxels_of(&taken);
    assert_int_equal(vn_survey_own(&taken, NULL, false, NULL, &voxels, &survey, &filling, NULL),
                     VN_OK);
    uint64_t held = 0;
    for (size_t b = 0; survey.bins && b < VN_BINS; b++) held += survey.bins[b];
    assert_true(!survey.bins || held == survey.own);
    vn_survey_close(&survey);
    vn_float_mode_restore(mode);
  }
}

static void bright_voxels_are_left_out(void **state) {
  (void)state;
  static float x[CORE_VOXELS], rest[CORE_VOXELS];
  size_t n = 0;
  scan_make(0, 0, 10, 250, x);
  for (size_t i = 0; i < CORE_VOXELS; i++) {
    if (i % 143 != 7) rest[n++] = x[i];
    if (i % 143 == 7) x[i] = 1100; /* 0.7 % */
  }
  const struct vn_intensity plain = fit("percentile 0.5 99.5", rest, n);
  struct found f = found_in("percentile 0.5 99.5", x, CORE, false);
  assert_memory_equal(&f.intensity, &plain, offsetof(struct vn_intensity, ct));
  assert_true(!vn_filling_any(&f.filling) && f.filling.above_vox == CORE_VOXELS - n);
  assert_non_null(strstr(f.note, "absurdly bright"));
  const struct vn_intensity gauss = fit("zscore", rest, n);
  f = found_in("zscore", x, CORE, false);
  assert_true(near(f.intensity.shift, gauss.shift) && near(f.intensity.scale, gauss.scale));
  float seen, most = 0;
  for (size_t i = 0; i < n; i++) most = rest[i] > most ? rest[i] : most;
  vn_voxels_row(&f.voxels, 7 * sizeof(float), 0, 1, &seen);
  assert_true(seen == most);
  scan_make(0, 0, 10, 250, x); /* one voxel can undo a mean */
  x[4321] = 1e30f;
  f = found_in("zscore", x, CORE, false);
  assert_true(f.filling.above_vox == 1 && fabsf(f.intensity.shift - gauss.shift) < 1);
}

static void frames_and_holes(void **state) {
  (void)state;
  static float x[CORE_VOXELS], holed[CORE_VOXELS];
  enum { MIDDLE = (CORE / 2 * CORE + CORE / 2) * CORE + CORE / 2 };
  scan_make(0, 20, 60, 250, x);
  memcpy(holed, x, sizeof x);
  holed[MIDDLE] = NAN;
  assert_int_equal(found_in("zscore", holed, CORE, false).status, VN_E_FORMAT);
  struct found f = found_in("zscore", holed, CORE, true);
  assert_true(!f.status && f.filling.replaced_vox == 1 && !vn_filling_any(&f.filling));
  for (size_t i = 0; i < CORE * CORE * 2; i++) holed[i] = NAN; /* two planes: a frame beside it */
  assert_int_equal(found_in("zscore", holed, CORE, false).status, VN_E_FORMAT);
  for (size_t i = 0; i < CORE / 2; i++) /* a way that winds from the hole to the border */
    holed[MIDDLE - i * (CORE * CORE) + i % 2] = NAN;
  f = found_in("zscore", holed, CORE, false);
  assert_true(!f.status && f.filling.not_finite && f.filling.not_finite_vox > CORE * CORE * 2);
  for (size_t i = 0; i < CORE_VOXELS; i++) holed[i] = NAN;
  assert_int_equal(found_in("none", holed, CORE, true).status, VN_E_FORMAT);
}

/* ---- what is plausible ---- */

static const char *plain_name(const void *context, size_t label) {
  (void)context, (void)label;
  return "brain";
}

static void expectations(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",
      "ml 1 2",
      "ml 0 1 2",
      "ml 3 1 2",
      "ml 1.5 1 2",
      "ml 1 2 1",
      "ml 1 -1 2",
      "ml 1 1 2; ml 1 1 2",
      "ml 1 1 2;",
      "extent 1 2 3 4 5",
      "extent 1 2 3 4 6 5",
      "pieces 1 2 3",
      "surface 1 6 10",
      "share 1 0 nan",
      "size 1 2 3",
      "ml 1 1 2 extent 1 2 3 4 5 6",
  };
  struct vn_expect e;
  struct vn_diag diag;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    if (vn_expect_parse(bad[i], 3, &e, &diag) != VN_E_FORMAT) fail_msg("'%s' parses", bad[i]);
    vn_expect_close(&e);
  }
  assert_int_equal(vn_expect_parse(NULL, 3, &e, &diag), VN_OK);
  vn_expect_close(&e);
  assert_int_equal(vn_expect_parse("extent 100 300 100 300\t80 350 ;ml 1 800 2100; share 1 0 0.6;"
                                   " pieces 1 2; pieces 2 9; surface 1 10",
                                   3, &e, &diag),
                   VN_OK);
  char text[512] = "";
  const struct vn_view view = {.dim = {10, 217, 181}, .spacing_mm = {1, 1, 1}};
  vn_expect_extent(&e, &view, text, sizeof text);
  assert_string_equal(text,
                      "the scan shows 181 x 217 x 10 mm, and the model is for 100 to 300 x 100 "
                      "to 300 x 80 to 350 mm");
  uint64_t voxels[3] = {0, 8000, 0}, pieces[3] = {0, 3, 9};
  double faces_mm2[3] = {0, 4400, 0}; /* of 8000 mm3: eleven times 20 x 20 mm */
  const struct vn_expect_facts facts = {voxels, pieces, faces_mm2, 0.001, 10000};
  vn_expect_labels(&e, &facts, plain_name, NULL, text, sizeof text);
  assert_non_null(
      strstr(text, " mm; brain has 8 ml, and 800 to 2100 are plausible; brain is 0.8 of "));
  assert_non_null(strstr(text, "; brain is in 3 pieces, and 2 are plausible"));
  assert_non_null(strstr(text, "; brain is ragged: a surface of 11 volumes^(2/3), and 10 are"));
  char small[24] = "";
  vn_expect_labels(&e, &facts, plain_name, NULL, small, sizeof small);
  assert_int_equal(strlen(small), sizeof small - 1);
  voxels[1] = 1000000, pieces[1] = 2, faces_mm2[1] = 80000;
  const struct vn_expect_facts good = {voxels, pieces, faces_mm2, 0.001, 10000000};
  vn_expect_labels(&e, &good, plain_name, NULL, strcpy(text, ""), sizeof text);
  assert_string_equal(text, "");
  vn_expect_close(&e);
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
      "zscore,",
      "zscore, ct 0",
      "zscore, ct 80 0",
      "zscore, ct 5 5",
      "zscore, ct 0 1e308",
      "window -1e39 0",
      "zscore, ct 0 80 1",
      "zscore, ct0 80",
      "zscore, ct 0 80, ct 0 80",
      "zscore, window 0 80",
      ", ct 0 80",
      "ct 0 80",
  };
  struct vn_intensity_rule rule;
  struct vn_diag diag;
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
    if (vn_intensity_parse(bad[i], &rule, &diag) != VN_E_FORMAT) fail_msg("'%s' parses", bad[i]);
  static const char *const no_level[] = {"",      " ",    "nan",     "-inf", "1e39",
                                         "-1e39", "high", "0.1 0.2", "0.1;", "0,1"};
  float level;
  for (size_t i = 0; i < sizeof no_level / sizeof *no_level; i++) {
    if (vn_foreground_parse(no_level[i], &level, &diag) != VN_E_FORMAT)
      fail_msg("'%s' is a level", no_level[i]);
    assert_non_null(strstr(diag.text, "vnet.foreground is '"));
    assert_true(level == -INFINITY);
  }
  assert_int_equal(vn_foreground_parse(NULL, &level, &diag), VN_OK);
  assert_true(level == -INFINITY);
  assert_int_equal(vn_foreground_parse(" -0.5 ", &level, &diag), VN_OK); /* of a zscore */
  assert_true(level == -0.5f);
  double number[3];
  assert_int_equal(vn_numbers_parse(" 1 0.5\t2e1 ", number, 3), 3);
  assert_true(number[0] == 1 && number[1] == 0.5 && number[2] == 20);
  assert_true(vn_numbers_parse("1 2 3 4", number, 3) == SIZE_MAX);
  assert_int_equal(vn_numbers_parse("", number, 3), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(statistics_are_numpy),  cmocka_unit_test(windows_and_none),
      cmocka_unit_test(ct_has_a_window),       cmocka_unit_test(threads_change_nothing),
      cmocka_unit_test(nothing_to_tell_apart), cmocka_unit_test(filling_is_no_air),
      cmocka_unit_test(filling_is_left_out),   cmocka_unit_test(scans_stay),
      cmocka_unit_test(denormals_are_zeros),   cmocka_unit_test(bright_voxels_are_left_out),
      cmocka_unit_test(frames_and_holes),      cmocka_unit_test(expectations),
      cmocka_unit_test(metadata_is_doubted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
