/* Pairs of scan and label map: read as nibabel and numpy read them, refused with the right
 * sentence, drawn evenly, augmented as asked. Run by tests/e2e/run_cases.py, which writes the
 * folder that is the argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "augment_private.h"
#include "cases.h"
#include "cases_list.h"
#include "field.h"
#include "grid.h"
#include "window.h"

static const char *folder;
static const struct vnt_cases_spec plain = {
    .orientation = "RAS", .intensity = {VN_INTENSITY_PERCENTILE, 0.5, 99.5}, .classes = 5};
static struct vnt_augment augment;

static const char *path_of(const char *name) {
  static char path[2048];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return path;
}

static struct vnt_cases cases_open(const char *csv, const struct vnt_cases_spec *spec) {
  struct vnt_cases cases;
  struct vn_diag diag;
  if (vnt_cases_open(path_of(csv), spec, NULL, &cases, &diag)) fail_msg("%s", diag.text);
  return cases;
}

static void *file_read(const char *name, size_t bytes) {
  FILE *file = fopen(path_of(name), "rb");
  void *data = malloc(bytes + 1);
  assert_true(file && data);
  assert_int_equal(fread(data, 1, bytes + 1, file), bytes);
  fclose(file);
  return data;
}

static size_t product(const size_t n[3]) {
  return n[0] * n[1] * n[2];
}

/* ---- reading ---- */

static void compare(const struct vnt_case *item, const char *name, bool own, float tolerance) {
  char file[64];
  snprintf(file, sizeof file, "%s.dim", name);
  uint64_t *dim = file_read(file, 48);
  for (int i = 0; i < 3; i++) assert_int_equal(item->source.dim[i], dim[own ? i : 3 + i]);
  const size_t elems = product(item->source.dim);
  snprintf(file, sizeof file, "%s.%s.f32", name, own ? "own" : "grid");
  float *image = file_read(file, elems * sizeof *image);
  snprintf(file, sizeof file, "%s.%s.u8", name, own ? "own" : "grid");
  uint8_t *target = file_read(file, elems);
  size_t open = 0;
  for (size_t i = 0; i < elems; i++) {
    assert_true(fabsf(image[i] - item->image[i]) <= tolerance);
    open += target[i] == 255;
    assert_true(target[i] == 255 || target[i] == item->target[i]);
  }
  assert_true(open < elems / 100);
  free(dim);
  free(image);
  free(target);
}

static void scans_are_numpys(void **state) {
  (void)state;
  for (int own = 0; own < 2; own++) {
    struct vnt_cases_spec spec = plain;
    if (!own) memcpy(spec.spacing_mm, (double[]){2.5, 1.2, 1.7}, sizeof spec.spacing_mm);
    struct vnt_cases cases = cases_open("good.csv", &spec);
    assert_int_equal(cases.count, 3);
    assert_int_equal(cases.n_training, 2);
    assert_int_equal(cases.n_validation, 1);
    assert_int_equal(cases.training[1], 2);
    compare(&cases.items[0], "a", own, own ? 2e-7f : 2e-6f);
    compare(&cases.items[2], "b", own, own ? 4e-7f : 2e-6f);
    assert_true(cases.items[1].validation && !cases.items[1].image && !cases.items[1].target);
    assert_int_equal(cases.items[1].line, 4);
    assert_string_equal(cases.items[1].image_path, path_of("c.nii.gz"));
    assert_string_equal(cases.items[2].image_path, path_of("b, 2.nii"));
    vnt_cases_close(&cases);
  }
  static const char *const more[] = {"plain.csv", "nearly.csv"};
  for (int i = 0; i < 2; i++) {
    struct vnt_cases cases = cases_open(more[i], &plain);
    compare(&cases.items[0], "a", true, 2e-7f);
    vnt_cases_close(&cases);
  }
}

/* The bits that window.c would give the network for a window anywhere on the grid. */
static void samples_are_windows(void **state) {
  (void)state;
  struct vnt_cases_spec spec = plain;
  spec.spacing_mm[0] = 1.3;
  struct vnt_cases cases = cases_open("plain.csv", &spec);
  struct vn_scan scan;
  struct vn_view view;
  struct vn_grid grid;
  struct vn_intensity intensity;
  assert_int_equal(vn_scan_open(path_of("a.nii.gz"), &scan, NULL), VN_OK);
  assert_int_equal(vn_scan_load(&scan, false, NULL), VN_OK);
  assert_int_equal(vn_view_orient(&scan, "RAS", &view, NULL), VN_OK);
  const double spacing_mm[3] = {1.3, view.spacing_mm[1], view.spacing_mm[2]};
  assert_int_equal(vn_grid_make(&view, spacing_mm, &grid, NULL), VN_OK);
  assert_int_equal(
      vn_intensity_fit(&spec.intensity, scan.voxels, scan.elems, NULL, &intensity, NULL), VN_OK);
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
        struct vn_window_axis axis = vn_window_axis_make(grid.dim[i], patch[i], 0);
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
          vn_grid_sample(&grid, scan.voxels, from[0] + d - begin[0], from + 1, extent + 1, scratch,
                         plane);
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
  vn_scan_close(&scan);
  vnt_cases_close(&cases);
}

static void bad_cases_are_refused(void **state) {
  (void)state;
  FILE *table = fopen(path_of("refused.txt"), "r");
  assert_non_null(table);
  char line[1024];
  size_t lines = 0;
  for (; fgets(line, sizeof line, table); lines++) {
    line[strcspn(line, "\n")] = '\0';
    char *status = strchr(line, '\t'), *sentence = strchr(status + 1, '\t');
    *status++ = *sentence++ = '\0';
    for (size_t threads = 0; threads <= 4; threads += 2) {
      struct vnt_cases cases;
      struct vn_diag diag = {{0}};
      pthreadpool_t pool = threads ? pthreadpool_create(threads) : NULL;
      enum vn_status got = vnt_cases_open(path_of(line), &plain, pool, &cases, &diag);
      if ((int)got != atoi(status) || !strstr(diag.text, sentence))
        fail_msg("%s: status %d '%s', not %s '%s'", line, got, diag.text, status, sentence);
      vnt_cases_close(&cases);
      if (pool) pthreadpool_destroy(pool);
    }
  }
  fclose(table);
  assert_true(lines > 30);
}

/* Lists with bytes changed, doubled and left out: rows that make sense, or a sentence. */
static void mangled_lists_are_survived(void **state) {
  (void)state;
  static const char good[] = "\xEF\xBB\xBFlabel, \"split\" ,image\r\na,train,\"b, \"\"2\"\r\n\nc,"
                             "validation,d\n\"f\",train,e";
  static const char bytes[] = "\"\"\",,\n\r \t\xFFx";
  char text[2 * sizeof good], path[2048];
  size_t accepted = 0;
  snprintf(path, sizeof path, "%s", path_of("mangled.csv"));
  for (uint64_t index = 0; index < 3000; index++) {
    struct vnt_random r = vnt_random_open(1, index, 0);
    size_t length = 0, most = vnt_random_below(&r, 8);
    for (size_t i = 0; i + 1 < sizeof good; i++) {
      const size_t chance = vnt_random_below(&r, 200);
      if (chance < most) text[length++] = bytes[vnt_random_below(&r, sizeof bytes - 1)];
      if (chance + 1 != 2 * most) text[length++] = good[i];
    }
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(text, 1, length, file);
    fclose(file);
    struct vnt_list list;
    struct vn_diag diag = {{0}};
    const enum vn_status status = vnt_list_read(path, &list, &diag);
    assert_true(status == VN_OK || (status == VN_E_FORMAT && strstr(diag.text, "mangled.csv")));
    for (size_t i = 0; i < list.count && status == VN_OK; i++)
      assert_true(*list.row[i].image && *list.row[i].label && list.row[i].line > 1);
    accepted += status == VN_OK;
    vnt_list_close(&list);
  }
  assert_in_range(accepted, 375, 2900); /* an eighth is unchanged */
}

static void specs_are_checked(void **state) {
  (void)state;
  struct vnt_cases cases;
  struct vn_diag diag;
  struct vnt_cases_spec spec = plain;
  spec.classes = 1;
  assert_int_equal(vnt_cases_open(path_of("plain.csv"), &spec, NULL, &cases, &diag), VN_E_ARGUMENT);
  spec.classes = 257;
  assert_int_equal(vnt_cases_open(path_of("plain.csv"), &spec, NULL, &cases, &diag), VN_E_ARGUMENT);
  spec = plain;
  spec.spacing_mm[1] = -1;
  assert_int_equal(vnt_cases_open(path_of("plain.csv"), &spec, NULL, &cases, &diag), VN_E_ARGUMENT);
  spec.spacing_mm[1] = 100;
  assert_int_equal(vnt_cases_open(path_of("plain.csv"), &spec, NULL, &cases, &diag),
                   VN_E_UNSUPPORTED);
  assert_non_null(strstr(diag.text, "line 2: "));
  vnt_cases_close(&cases);
  for (int i = 0; i < 3; i++) spec.spacing_mm[i] = 6;
  assert_int_equal(vnt_cases_open(path_of("dust.csv"), &spec, NULL, &cases, &diag),
                   VN_E_UNSUPPORTED);
  assert_non_null(strstr(diag.text, "dust.nii: nothing of its labels is left"));
  vnt_cases_close(&cases);
}

/* ---- drawing ---- */

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
  vnt_augment_defaults(&augment, patch);
  for (int sure = 0; sure < 2; sure++) {
    if (sure)
      augment.affine_p = augment.bend_p = augment.match_p = augment.gamma_p = augment.bias_p =
          augment.blur_p = augment.slices_p = augment.noise_p = 1;
    for (uint64_t index = 0; index < 6; index++) {
      for (int t = 0; t < 4; t++) {
        pthreadpool_t pool = threads[t] ? pthreadpool_create(threads[t]) : NULL;
        memset(image[t], t, sizeof image[t]);
        assert_int_equal(
            vnt_cases_sample(&cases, &augment, patch, 7, index, pool, image[t], target[t], NULL),
            VN_OK);
        if (pool) pthreadpool_destroy(pool);
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

/* ---- what is done to a sample ---- */

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

enum { N = 40, CUBE = N * N * N };
static float ramp[3][CUBE], image[3][CUBE];
static uint8_t halves[3][CUBE], target[3][CUBE];

/* Scans that hold their own coordinate along an axis, label 1 from 20 on: what is sampled from them
 * is where it was sampled. */
static struct vnt_source ramp_source(int axis) {
  struct vnt_source source = {.image = ramp[axis],
                              .target = halves[axis],
                              .dim = {N, N, N},
                              .spacing_mm = {1, 1, 1},
                              .intensity = {0, 1, -INFINITY, INFINITY}};
  for (size_t i = 0; i < CUBE; i++) {
    const size_t at = axis == 0 ? i / N / N : axis == 1 ? i / N % N : i % N;
    ramp[axis][i] = (float)at;
    halves[axis][i] = at >= N / 2;
  }
  assert_int_equal(vnt_landmarks_find(ramp[axis], CUBE, &source.landmarks, NULL), VN_OK);
  return source;
}

static void ramps_sample(const struct vnt_augment *a, const struct vnt_patch *patch,
                         const double *spacing_mm, uint64_t index) {
  for (int axis = 0; axis < 3; axis++) {
    struct vnt_source source = ramp_source(axis);
    if (spacing_mm) memcpy(source.spacing_mm, spacing_mm, sizeof source.spacing_mm);
    assert_int_equal(vnt_augment_apply(a, &source, NULL, patch, 11, index, NULL, image[axis],
                                       target[axis], NULL),
                     VN_OK);
  }
}

/* Lengths and angles in mm are what a rotation leaves and a scale multiplies; flips mirror; labels
 * go where the image goes. */
static void affines_are_in_mm(void **state) {
  (void)state;
  static const double spacing_mm[3] = {2, 1, 0.5};
  const struct vnt_patch patch = {{8, 8, 8}, {16, 16, 16}};
  double least = 2, most = 0;
  size_t mirrored = 0;
  for (uint64_t index = 0; index < 60; index++)
    for (int scaled = 0; scaled < 2; scaled++) {
      struct vnt_augment a = {
          .affine_p = 1, .rotate_deg = 30, .scale = scaled ? 0.3 : 0, .flip = {0, 0, 0.5}};
      ramps_sample(&a, &patch, spacing_mm, index);
      static const size_t step[3] = {64, 8, 1};
      double column[3][3], length = 0, m;
      for (int j = 0; j < 3; j++)
        for (int i = 0; i < 3; i++)
          column[j][i] =
              (double)(image[i][step[j] * 7] - image[i][0]) / 7 * spacing_mm[i] / spacing_mm[j];
      for (int j = 0; j < 3; j++)
        for (int k = 0; k <= j; k++) {
          double dot = 0;
          for (int i = 0; i < 3; i++) dot += column[j][i] * column[k][i];
          if (j == 0) length = sqrt(dot);
          assert_true(fabs(dot / length / length - (j == k)) < 2e-5);
        }
      m = column[0][0] * (column[1][1] * column[2][2] - column[1][2] * column[2][1]) -
          column[0][1] * (column[1][0] * column[2][2] - column[1][2] * column[2][0]) +
          column[0][2] * (column[1][0] * column[2][1] - column[1][1] * column[2][0]);
      mirrored += m < 0;
      if (!scaled) assert_true(fabs(length - 1) < 1e-5);
      least = fmin(least, length);
      most = fmax(most, length);
      for (int i = 0; i < 3; i++)
        for (size_t v = 0; v < 512; v++) {
          const float x = image[i][v] - 19.5f;
          if (fabsf(x) > 1e-4f) assert_int_equal(target[i][v], x > 0);
        }
      /* The middle stays. */
      for (int i = 0; i < 3; i++)
        assert_true(fabsf((image[i][0] + image[i][511]) / 2 - 19.5f) < 1e-4f);
    }
  assert_true(least > 1 / 1.301 && least < 0.85 && most < 1.301 && most > 1.15);
  assert_in_range(mirrored, 30, 90);
}

static void flips_are_exact(void **state) {
  (void)state;
  const struct vnt_patch patch = {{6, 7, 8}, {3, 5, 32}};
  struct vnt_augment a = {.flip = {1, 0, 1}};
  ramps_sample(&a, &patch, NULL, 1);
  for (size_t d = 0, i = 0; d < 6; d++)
    for (size_t h = 0; h < 7; h++)
      for (size_t w = 0; w < 8; w++, i++)
        assert_true(image[0][i] == (float)(8 - d) && image[1][i] == (float)(5 + h) &&
                    image[2][i] == (float)(39 - w));
}

/* The recursion that defines B-splines, on knots one apart. */
static double basis(int k, int degree, double x) {
  if (degree == 0) return x >= k && x < k + 1;
  return (x - k) / degree * basis(k, degree - 1, x) +
         (k + degree + 1 - x) / degree * basis(k + 1, degree - 1, x);
}

static void fields_are_splines(void **state) {
  (void)state;
  const size_t patch[3] = {9, 14, 30};
  const double step[3] = {4.5, 7, 4.3};
  struct vnt_random r = vnt_random_open(1, 2, 3);
  struct vnt_field f;
  float row[30];
  assert_true(vnt_field_make(&f, patch, step, 2, &r));
  for (size_t d = 0; d < 9; d++)
    for (size_t h = 0; h < 14; h++) {
      vnt_field_row(&f, d, h, 30, row);
      for (size_t w = 0; w < 30; w++) {
        double sum = 0;
        for (size_t i = 0; i < f.dim[0]; i++)
          for (size_t j = 0; j < f.dim[1]; j++)
            for (size_t k = 0; k < f.dim[2]; k++)
              sum += (double)f.value[(i * f.dim[1] + j) * f.dim[2] + k] *
                     basis((int)i - 3, 3, (double)d / step[0]) *
                     basis((int)j - 3, 3, (double)h / step[1]) *
                     basis((int)k - 3, 3, (double)w / step[2]);
        assert_true(fabs(sum - (double)row[w]) < 1e-5);
      }
    }
  vnt_field_close(&f);
  /* Too many control points for a row are refused. */
  assert_false(vnt_field_make(&f, patch, (const double[]){4, 4, 0.1}, 2, &r));
  vnt_field_close(&f);
}

/* The paper's: at a control point the displacement is normal with sd 15 / sqrt(8). */
static void bends_are_the_papers(void **state) {
  (void)state;
  const struct vnt_patch patch = {{16, 16, 16}, {12, 12, 12}};
  const size_t middle = (8 * 16 + 8) * 16 + 8;
  vnt_augment_paper(&augment);
  assert_true(augment.bend_vox == 15 && augment.bend_p == 1 && augment.match_p == 1);
  augment.bend_vox = 4; /* so that it stays within the ramps */
  double sum = 0;
  for (uint64_t index = 0; index < 300; index++) {
    ramps_sample(&augment, &patch, NULL, index);
    for (int i = 0; i < 3; i++) {
      sum += pow((double)image[i][middle] - 20, 2);
      for (size_t v = 0; v < 4096; v += 7) {
        const float x = image[i][v] - 19.5f;
        if (fabsf(x) > 1e-4f && image[0][v] > 0 && image[1][v] > 0 && image[2][v] > 0)
          assert_int_equal(target[i][v], x > 0);
      }
    }
  }
  assert_true(fabs(sqrt(sum / 900) / (4 / sqrt(8)) - 1) < 0.1);
}

/* What lies beyond the scan is 0 with label 0, whatever is done to intensities. */
static void outside_is_padding(void **state) {
  (void)state;
  struct vnt_source source = ramp_source(2);
  for (size_t i = 0; i < CUBE; i++) {
    ramp[2][i] = 5 + (float)(i % 7);
    halves[2][i] = 1;
  }
  assert_int_equal(vnt_landmarks_find(ramp[2], CUBE, &source.landmarks, NULL), VN_OK);
  const struct vnt_patch patch = {{44, 24, 20}, {-2, 20, 30}};
  vnt_augment_defaults(&augment, patch.size);
  augment.affine_p = augment.bend_p = 0;
  for (int i = 0; i < 3; i++) augment.flip[i] = 0;
  augment.gamma_p = augment.bias_p = augment.blur_p = augment.slices_p = augment.noise_p = 1;
  float *to = malloc(44 * 24 * 20 * sizeof *to);
  uint8_t labels[44 * 24 * 20];
  assert_int_equal(vnt_augment_apply(&augment, &source, NULL, &patch, 1, 1, NULL, to, labels, NULL),
                   VN_OK);
  for (size_t d = 0, i = 0; d < 44; d++)
    for (size_t h = 0; h < 24; h++)
      for (size_t w = 0; w < 20; w++, i++) {
        const bool in = d >= 2 && d < 42 && h < 20 && w < 10;
        assert_int_equal(labels[i], in);
        assert_true(in ? to[i] > 2 : to[i] == 0);
      }
  free(to);
}

/* Gamma keeps the percentiles and the order; noise has its sd; one kind does not change another. */
static void intensities_are_as_asked(void **state) {
  (void)state;
  struct vnt_source source = ramp_source(2);
  const struct vnt_patch patch = {{N, N, N}, {0, 0, 0}};
  double darker = 0;
  for (uint64_t index = 0; index < 40; index++) {
    struct vnt_augment a = {.gamma_p = 1, .gamma = 0.3};
    vnt_augment_apply(&a, &source, NULL, &patch, 5, index, NULL, image[0], target[0], NULL);
    const float *v = image[0];
    for (size_t w = 1; w < N; w++) assert_true(v[w] > v[w - 1]);
    assert_true(fabsf(v[0]) < 1e-6f);
    /* The ramp's 1st percentile is 0.4 of the way to 1, its 99th 38.6: y = x^g between them. */
    const double low = (double)source.landmarks.low, high = (double)source.landmarks.high;
    const double g = log(((double)v[20] - low) / (high - low)) / log((20 - low) / (high - low));
    for (size_t w = 1; w < N; w++)
      assert_true(fabs(low + (high - low) * pow(((double)w - low) / (high - low), g) -
                       (double)v[w]) < 5e-3);
    darker += g > 1;
  }
  assert_true(darker > 8 && darker < 32);
  vnt_augment_defaults(&augment, patch.size);
  struct vnt_augment noisy = {.noise_p = 1, .noise = 0.1, .normals = augment.normals};
  double square = 0, sum = 0;
  for (uint64_t index = 0; index < 60; index++) {
    double now = 0;
    vnt_augment_apply(&noisy, &source, NULL, &patch, 5, index, NULL, image[0], target[0], NULL);
    for (size_t i = 0; i < CUBE; i++) {
      const double off = (double)image[0][i] - (double)ramp[2][i];
      now += off * off / CUBE;
      sum += off / CUBE / 60;
    }
    assert_true(sqrt(now) < 0.1 * 39);
    square += now / 60; /* sd uniform up to 0.1 of the range of 38.2: mean square a third */
  }
  assert_true(fabs(sum) < 0.01 && fabs(sqrt(square * 3) / 3.9 - 1) < 0.2);
  /* With noise on top, the shape of sample 3 is the same. */
  noisy.affine_p = 1, noisy.rotate_deg = 20, noisy.flip[0] = 0.5;
  vnt_augment_apply(&noisy, &source, NULL, &patch, 5, 3, NULL, image[0], target[0], NULL);
  noisy.noise_p = 0;
  vnt_augment_apply(&noisy, &source, NULL, &patch, 5, 3, NULL, image[1], target[1], NULL);
  assert_memory_equal(target[0], target[1], sizeof target[0]);
  assert_memory_not_equal(image[0], image[1], sizeof image[0]);
}

/* Filters against what defines them: a constant stays, an impulse becomes a Gaussian of this sd,
 * slices hold means. */
static void filters_are_as_defined(void **state) {
  (void)state;
  for (int axis = 0; axis < 3; axis++) {
    const size_t dim[3] = {axis == 0 ? 24 : 3, axis == 1 ? 24 : 3, axis == 2 ? 24 : 3};
    const size_t step = axis == 0 ? 9 : axis == 1 ? 3 : 1;
    for (int kind = 0; kind < 2; kind++) {
      static float from[24 * 9], to[24 * 9];
      struct vn_taps taps;
      assert_true(kind ? vnt_taps_slices(&taps, 24, 3) : vnt_taps_blur(&taps, 24, 1.3));
      for (size_t i = 0; i < 24 * 9; i++) from[i] = 2;
      vnt_taps_run(&taps, axis, dim, from, to, NULL);
      for (size_t i = 0; i < 24 * 9; i++) assert_true(fabsf(to[i] - 2) < 1e-6f);
      memset(from, 0, sizeof from);
      from[10 * step] = 1; /* the line at 0 0 along the axis */
      vnt_taps_run(&taps, axis, dim, from, to, NULL);
      double sum = 0, square = 0;
      for (size_t k = 0; k < 24; k++) {
        sum += (double)to[k * step];
        square += (double)to[k * step] * pow((double)k - 10, 2);
        from[10 * step] = 0;
      }
      assert_true(fabs(sum - 1) < 1e-6);
      if (kind == 0) assert_true(fabs(square - 1.69) < 0.06);
      /* Slice 3 is voxels 9 to 11: 1/3 at its middle, and straight down to the next ones'. */
      static const float tent[] = {0, 1, 2, 3, 2, 1, 0};
      for (size_t k = 0; k < 7 && kind; k++)
        assert_true(fabsf(to[(7 + k) * step] - tent[k] / 9) < 1e-6f);
      double other = 0; /* other lines see none of it */
      for (size_t i = 0; i < 24 * 9; i++) other += (double)to[i];
      assert_true(fabs(other - sum) < 1e-6);
      vnt_taps_close(&taps);
    }
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scans_are_numpys),        cmocka_unit_test(samples_are_windows),
      cmocka_unit_test(bad_cases_are_refused),   cmocka_unit_test(mangled_lists_are_survived),
      cmocka_unit_test(specs_are_checked),       cmocka_unit_test(sampling_is_balanced),
      cmocka_unit_test(samples_are_their_index), cmocka_unit_test(matching_is_numpys),
      cmocka_unit_test(affines_are_in_mm),       cmocka_unit_test(flips_are_exact),
      cmocka_unit_test(fields_are_splines),      cmocka_unit_test(bends_are_the_papers),
      cmocka_unit_test(outside_is_padding),      cmocka_unit_test(intensities_are_as_asked),
      cmocka_unit_test(filters_are_as_defined),
  };
  if (argc != 2) return 2;
  folder = argv[1];
  return cmocka_run_group_tests(tests, NULL, NULL);
}
