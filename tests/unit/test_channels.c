/* What a model says of its channels, which file is which channel's, and images on grids of their
 * own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "channels.h"
#include "match.h"
#include "run/words.h"

/* ---- metadata ---- */

static void names_and_rules(void **state) {
  (void)state;
  struct vn_channels c;
  struct vn_diag diag;
  char text[64];
  assert_int_equal(
      vn_channels_parse(" T1 ; T1ce;Fl\xC3\xA4ir", "zscore;window -1 2 ; none", NULL, 3, &c, &diag),
      VN_OK);
  assert_string_equal(c.of[0].name, "T1");
  assert_string_equal(c.of[2].name, "Fl\xC3\xA4ir");
  assert_string_equal(c.of[1].intensity, "window -1 2");
  assert_int_equal(c.of[1].rule.kind, VN_INTENSITY_WINDOW);
  assert_true(c.of[1].rule.a == -1 && c.of[1].rule.b == 2);
  assert_int_equal(c.of[2].rule.kind, VN_INTENSITY_NONE);
  vn_channels_list(&c, text, sizeof text);
  assert_string_equal(text, "T1, T1ce, Fl\xC3\xA4ir");
  vn_channels_close(&c);

  const char *const inputs[] = {"pet", "ct"}, *const same[] = {"x", "X"};
  assert_int_equal(vn_channels_parse(NULL, "zscore", inputs, 2, &c, &diag), VN_OK);
  assert_string_equal(c.of[1].name, "ct");
  assert_int_equal(c.of[1].rule.kind, VN_INTENSITY_ZSCORE);
  vn_channels_close(&c);
  assert_int_equal(vn_channels_parse(NULL, NULL, same, 2, &c, &diag), VN_OK);
  assert_null(c.of[0].name);
  assert_string_equal(c.of[0].intensity, "none");
  vn_channels_close(&c);
}

static void metadata_is_doubted(void **state) {
  (void)state;
  static const struct {
    const char *names, *intensity;
  } wrong[] = {{"a;b", NULL},
               {"a;b;c;d", NULL},
               {"a;;c", NULL},
               {"a;A;c", NULL},
               {"a;b=;c", NULL},
               {"a;b/;c", NULL},
               {"", NULL},
               {"a;\xC3;c", NULL},
               {"a;\x1B[2J;c", NULL},
               {NULL, "zscore;none"},
               {NULL, "none;none;"},
               {NULL, ";;"},
               {NULL, "none;no;none"},
               {NULL, "window 2 1"},
               {NULL, "none;none;none;none"}};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    struct vn_channels c;
    struct vn_diag diag = {""};
    assert_int_equal(vn_channels_parse(wrong[i].names, wrong[i].intensity, NULL, 3, &c, &diag),
                     VN_E_FORMAT);
    assert_non_null(strstr(diag.text, wrong[i].names ? "vnet.channels" : "vnet.intensity"));
    vn_channels_close(&c);
  }
}

/* ---- files ---- */

static const char *const four[] = {"T1", "T1ce", "T2", "t2 flair"};
static const struct run_channels named = {4, four};

static void files_tell_channels(void **state) {
  (void)state;
  static const struct {
    const char *file;
    size_t channel, prefix;
  } cases[] = {{"a/case_0002.nii.gz", 2, 6},    {"a/case_0004.nii.gz", SIZE_MAX, 0},
               {"a/case_002.nii", SIZE_MAX, 0}, {"a/_0000.nii", 0, 2},
               {"a/x_t1CE.nii.gz", 1, 3},       {"a/x-T1.nrrd", 0, 3},
               {"a/xT1.nrrd", SIZE_MAX, 0},     {"a/t2.mgz", 2, 2},
               {"p.t2 flair.nii", 3, 1},        {"a/x_t1ce_mask.nii", SIZE_MAX, 0},
               {"t1/x.nii", SIZE_MAX, 0},       {"", SIZE_MAX, 0}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    size_t prefix;
    assert_int_equal(run_channel_of(&named, cases[i].file, &prefix), cases[i].channel);
    if (cases[i].channel != SIZE_MAX) assert_int_equal(prefix, cases[i].prefix);
  }
}

static enum vn_status order(const char *const words[4], char **copy, struct vn_diag *diag) {
  for (int i = 0; i < 4; i++) copy[i] = strdup(words[i]);
  return run_words_order(&named, copy, 4, diag);
}

static void words_are_ordered(void **state) {
  (void)state;
  struct vn_diag diag;
  char *copy[4];
  assert_int_equal(
      order((const char *const[]){"T2=c", "t1=a", "T2 FLAIR=d", "t1CE=b"}, copy, &diag), VN_OK);
  for (int i = 0; i < 4; i++) {
    assert_true(strlen(copy[i]) == 1 && copy[i][0] == "abcd"[i]);
    free(copy[i]);
  }
  static const char *const wrong[][4] = {
      {"T1=a", "T1=b", "T2=c", "t2 flair=d"}, {"T1=a", "T3=b", "T2=c", "t2 flair=d"},
      {"T1=a", "b", "T2=c", "t2 flair=d"},    {"x_t1ce.nii", "x_t1.nii", "c", "d"},
      {"x_0001.nii", "b", "c", "d"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    assert_int_equal(order(wrong[i], copy, &diag), VN_E_ARGUMENT);
    for (int w = 0; w < 4; w++) free(copy[w]);
  }
  assert_int_equal(order((const char *const[]){"p/=", "q/r=s", "=t", "u"}, copy, &diag), VN_OK);
  for (int w = 0; w < 4; w++) free(copy[w]);
}

/* ---- grids ---- */

enum { N = 12 };

static struct vn_image image_of(const float *voxels, size_t n, double mm, double offset) {
  struct vn_image theirs = {.size = sizeof theirs,
                            .voxels = voxels,
                            .type = VN_VOXEL_F32,
                            .world = VN_WORLD_RAS,
                            .dim = {n, n, n}},
                  image;
  for (int i = 0; i < 3; i++) theirs.affine[i][i] = mm, theirs.affine[i][3] = offset;
  assert_int_equal(vn_image_take(&theirs, &image, NULL), VN_OK);
  return image;
}

static void grids_are_compared(void **state) {
  (void)state;
  const struct vn_image first = image_of(NULL, N, 2, 0);
  struct vn_image other = image_of(NULL, N, 2, 0.05);
  char text[160];
  assert_true(vn_grids_match(&other, &first)); /* 0.087 mm, and a twentieth is 0.1 */
  other = image_of(NULL, N, 2, 0.07);
  assert_false(vn_grids_match(&other, &first));
  vn_grids_tell(&other, &first, text, sizeof text);
  assert_string_equal(text, "lies up to 0.121 mm from the first image's grid");
  other = image_of(NULL, N, 2.02, 0); /* off by 0.38 mm at the far corner alone */
  assert_false(vn_grids_match(&other, &first));
  other = image_of(NULL, N, 2, 0);
  other.world = VN_WORLD_UNKNOWN;
  assert_false(vn_grids_match(&other, &first));
  assert_int_equal(vn_match_check(&other, &first, NULL), VN_E_UNSUPPORTED);
  other = image_of(NULL, N, 2, 2 * N + 1);
  assert_int_equal(vn_match_check(&other, &first, NULL), VN_E_UNSUPPORTED);
  other = image_of(NULL, N, 2, 2 * N - 2);
  assert_int_equal(vn_match_check(&other, &first, NULL), VN_OK);
  other = image_of(NULL, N, 70, 0);
  assert_int_equal(vn_match_check(&other, &first, NULL), VN_E_UNSUPPORTED);
}

/* A value of its own for each voxel, small enough for sums to be exact. */
static float value_of(size_t i, size_t j, size_t k) {
  return (float)((i * 31 + j * 17 + k * 7 + i * j * k) % 64);
}

static void fill(float *to, size_t n) {
  for (size_t k = 0; k < n; k++)
    for (size_t j = 0; j < n; j++)
      for (size_t i = 0; i < n; i++) *to++ = value_of(i, j, k);
}

static void values_are_brought(void **state) {
  (void)state;
  static float from[2 * N * 2 * N * 2 * N], to[N * N * N];
  struct vn_diag diag;
  /* Shifted by a voxel: the same values, and what it does not show. */
  fill(from, N);
  struct vn_image image = image_of(from, N, 2, -2), onto = image_of(NULL, N, 2, 0);
  struct vn_voxels voxels = vn_voxels_of(&image);
  assert_int_equal(vn_match_sample(&image, &voxels, &onto, -9, NULL, to, &diag), VN_OK);
  for (size_t k = 0, at = 0; k < N; k++)
    for (size_t j = 0; j < N; j++)
      for (size_t i = 0; i < N; i++, at++) {
        const bool shown = i + 1 < N && j + 1 < N && k + 1 < N;
        assert_true(to[at] == (shown ? value_of(i + 1, j + 1, k + 1) : -9));
      }
  /* By half a voxel: the mean of eight. */
  image = image_of(from, N, 2, -1);
  assert_int_equal(vn_match_sample(&image, &voxels, &onto, -9, NULL, to, &diag), VN_OK);
  float sum = 0;
  for (size_t c = 0; c < 8; c++) sum += value_of(3 + (c & 1), 4 + (c >> 1 & 1), 5 + (c >> 2));
  assert_true(fabsf(to[(5 * N + 4) * N + 3] - sum / 8) < 1e-5f);
  /* Of half the size: the mean of the eight in a voxel. */
  fill(from, 2 * N);
  image = image_of(from, 2 * N, 1, -0.5);
  voxels = vn_voxels_of(&image);
  assert_int_equal(vn_match_sample(&image, &voxels, &onto, -9, NULL, to, &diag), VN_OK);
  for (size_t n = 0; n < N; n++) {
    sum = 0;
    for (size_t c = 0; c < 8; c++)
      sum += value_of(2 * n + (c & 1), 2 * (N - 1 - n) + (c >> 1 & 1), 2 * n + (c >> 2));
    assert_true(fabsf(to[(n * N + N - 1 - n) * N + n] - sum / 8) < 1e-4f);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(names_and_rules),     cmocka_unit_test(metadata_is_doubted),
      cmocka_unit_test(files_tell_channels), cmocka_unit_test(words_are_ordered),
      cmocka_unit_test(grids_are_compared),  cmocka_unit_test(values_are_brought),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
