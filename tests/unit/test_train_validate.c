/* What is said of a network: distances against MONAI (goldens: tests/peers/monai_distance.py) and
 * against every pair of surface voxels, whole scans through a network whose answer is its input,
 * bad scans and label maps by name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "compile.h"
#include "models/build.h"
#include "npy.h"
#include "random.h"
#include "validate.h"

#if !defined GOLDEN_DIR || !defined FIXTURES_DIR
#error "GOLDEN_DIR and FIXTURES_DIR name tests/golden and tests/fixtures"
#endif

enum { CASES = 4, CLASSES = 4 };

struct golden {
  struct vnt_map_pair maps;
  size_t elems;
  double score[CLASSES - 1][2];
  uint8_t *target, *predicted;
};

static void golden_open(int number, struct golden *g) {
  char path[256];
  struct npy file;
  struct vn_diag diag;
  snprintf(path, sizeof path, GOLDEN_DIR "/distance/case%d.npy", number);
  if (npy_read(path, &file, &diag)) fail_msg("%s", diag.text);
  const float *v = file.data;
  g->elems = 1;
  for (int a = 0; a < 3; a++) {
    g->maps.dim[a] = (size_t)v[a];
    g->maps.spacing_mm[a] = (double)v[3 + a];
    g->elems *= g->maps.dim[a];
  }
  for (int l = 0; l < CLASSES - 1; l++)
    for (int k = 0; k < 2; k++) g->score[l][k] = (double)v[6 + 2 * l + k];
  assert_int_equal(file.elems, 12 + 2 * g->elems);
  g->maps.target = g->target = malloc(g->elems);
  g->maps.predicted = g->predicted = malloc(g->elems);
  for (size_t i = 0; i < g->elems; i++) {
    g->target[i] = (uint8_t)v[12 + i];
    g->predicted[i] = (uint8_t)v[12 + g->elems + i];
  }
  npy_close(&file);
}

static void golden_close(struct golden *g) {
  free(g->target);
  free(g->predicted);
}

static void score_check(const struct vnt_score *is, const double should[2]) {
  assert_true(fabs(is->dice - should[0]) < 1e-6);
  if (isnan(should[1]))
    assert_true(isnan(is->hd95_mm));
  else
    assert_true(fabs(is->hd95_mm - should[1]) < 2e-6 * (1 + should[1]));
}

static void scores_are_monai(void **state) {
  (void)state;
  int absent = 0;
  for (int number = 0; number < CASES; number++) {
    struct golden g;
    struct vnt_score scores[CLASSES - 1];
    golden_open(number, &g);
    assert_int_equal(vnt_maps_score(&g.maps, CLASSES, NULL, scores, NULL), VN_OK);
    for (int l = 0; l < CLASSES - 1; l++) {
      size_t voxels = 0;
      for (size_t i = 0; i < g.elems; i++)
        voxels += (g.target[i] == l + 1) + (g.predicted[i] == l + 1);
      score_check(&scores[l], g.score[l]);
      assert_int_equal(scores[l].voxels, voxels);
      absent += isnan(scores[l].hd95_mm);
    }
    golden_close(&g);
  }
  assert_int_equal(absent, 1);
}

/* ---- against every pair of surface voxels ---- */

static bool surface(const uint8_t *map, const size_t dim[3], size_t i) {
  const size_t at[3] = {i / dim[2] / dim[1], i / dim[2] % dim[1], i % dim[2]};
  const size_t step[3] = {dim[1] * dim[2], dim[2], 1};
  if (map[i] != 1) return false;
  for (int a = 0; a < 3; a++)
    if (at[a] == 0 || at[a] + 1 == dim[a] || map[i - step[a]] != 1 || map[i + step[a]] != 1)
      return true;
  return false;
}

static int ascending(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* The 95th percentile; to sums: of distances, of those within the tolerance, and their count. */
static double slow95(const struct vnt_map_pair *m, const uint8_t *from, const uint8_t *to,
                     double sums[3]) {
  static double all[4096];
  const size_t *dim = m->dim, elems = dim[0] * dim[1] * dim[2];
  size_t count = 0;
  for (size_t i = 0; i < elems; i++) {
    double best = INFINITY;
    if (!surface(from, dim, i)) continue;
    for (size_t j = 0; j < elems; j++) {
      if (!surface(to, dim, j)) continue;
      const double d = ((double)(i / dim[2] / dim[1]) - (double)(j / dim[2] / dim[1]));
      const double h = ((double)(i / dim[2] % dim[1]) - (double)(j / dim[2] % dim[1]));
      const double w = ((double)(i % dim[2]) - (double)(j % dim[2]));
      best = fmin(best,
                  hypot(hypot(d * m->spacing_mm[0], h * m->spacing_mm[1]), w * m->spacing_mm[2]));
    }
    all[count++] = best;
    sums[0] += best, sums[1] += best <= m->tolerance_mm, sums[2]++;
  }
  qsort(all, count, sizeof *all, ascending);
  const double place = 0.95 * (double)(count - 1), low = floor(place);
  const double high = fmin(low + 1, (double)(count - 1));
  return all[(size_t)low] * (1 - (place - low)) + all[(size_t)high] * (place - low);
}

static void distances_are_those_of_all_pairs(void **state) {
  (void)state;
  size_t within = 0;
  for (uint32_t trial = 0; trial < 60; trial++) {
    struct vnt_random r = vnt_random_open(5, trial, 0);
    uint8_t maps[2][12 * 12 * 12];
    struct vnt_map_pair pair = {
        .target = maps[0], .predicted = maps[1], .tolerance_mm = vnt_random_real(&r, 0, 4)};
    struct vnt_score score;
    size_t elems = 1;
    for (int a = 0; a < 3; a++) {
      pair.dim[a] = 1 + vnt_random_below(&r, 12);
      pair.spacing_mm[a] = vnt_random_real(&r, 0.3, 5);
      elems *= pair.dim[a];
    }
    const double rare = vnt_random_real(&r, 0, 1); /* from dots to a solid block */
    for (int m = 0; m < 2; m++) {
      for (size_t i = 0; i < elems; i++) maps[m][i] = vnt_random_real(&r, 0, 1) < rare;
      maps[m][vnt_random_below(&r, elems)] = 1;
    }
    assert_int_equal(vnt_maps_score(&pair, 2, NULL, &score, NULL), VN_OK);
    double sums[3] = {0};
    const double slow =
        fmax(slow95(&pair, maps[0], maps[1], sums), slow95(&pair, maps[1], maps[0], sums));
    assert_true(fabs(score.assd_mm - sums[0] / sums[2]) < 1e-9 * (1 + score.assd_mm));
    assert_true(fabs(score.nsd - sums[1] / sums[2]) < 1e-12);
    within += score.nsd > 0 && score.nsd < 1;
    if (!(fabs(score.hd95_mm - slow) <= 1e-12 * (1 + slow)))
      fail_msg("trial %u: %.17g mm, all pairs %.17g", trial, score.hd95_mm, slow);
  }
  assert_true(within > 10);
}

static void absent_labels_are_told(void **state) {
  (void)state;
  static const uint8_t none[8] = {0}, one[8] = {0, 0, 0, 1}, other[8] = {0, 3, 0, 0, 0, 0, 0, 1};
  struct vnt_map_pair maps = {none, none, {2, 2, 2}, {1, 2, 3}, 0.5};
  struct vnt_score s[2];
  assert_int_equal(vnt_maps_score(&maps, 3, NULL, s, NULL), VN_OK);
  assert_true(s[0].nsd == 1 && s[0].assd_mm == 0);
  assert_true(s[0].dice == 1 && s[0].hd95_mm == 0 && s[1].dice == 1 && s[1].hd95_mm == 0);
  maps.predicted = one;
  assert_int_equal(vnt_maps_score(&maps, 3, NULL, s, NULL), VN_OK);
  assert_true(s[0].nsd == 0 && isnan(s[0].assd_mm));
  assert_true(s[0].dice == 0 && isnan(s[0].hd95_mm) && s[1].dice == 1);
  maps.target = other; /* label 3 is nobody's business */
  assert_int_equal(vnt_maps_score(&maps, 3, NULL, s, NULL), VN_OK);
  assert_true(s[0].dice == 0 && s[0].hd95_mm == 1 && s[1].dice == 1);
}

/* ---- whole scans ---- */

static char folder[] = "/tmp/vnet-validate-XXXXXX", image_path[64], label_path[64];

/* A scan of float voxels [d][h][w], its first voxel at `shift_mm` along x. */
static void nifti_write(const char *path, const struct vnt_map_pair *m, const float *voxels,
                        float shift_mm) {
  unsigned char head[352] = {0};
  const int32_t size = 348;
  const int16_t dim[8] = {3, (int16_t)m->dim[2], (int16_t)m->dim[1], (int16_t)m->dim[0], 1, 1, 1,
                          1};
  const int16_t type[2] = {16, 32}, code = 1;
  const float mm[3] = {(float)m->spacing_mm[2], (float)m->spacing_mm[1], (float)m->spacing_mm[0]};
  const float pixdim[8] = {1, mm[0], mm[1], mm[2]}, offset = 352;
  const float rows[3][4] = {{mm[0], 0, 0, shift_mm}, {0, mm[1], 0, 0}, {0, 0, mm[2], 0}};
  memcpy(head, &size, 4);
  memcpy(head + 40, dim, sizeof dim);
  memcpy(head + 70, type, sizeof type);
  memcpy(head + 76, pixdim, sizeof pixdim);
  memcpy(head + 108, &offset, 4);
  head[123] = 2;
  memcpy(head + 254, &code, 2);
  memcpy(head + 280, rows, sizeof rows);
  memcpy(head + 344, "n+1", 4);
  FILE *file = fopen(path, "wb");
  assert_non_null(file);
  const size_t elems = m->dim[0] * m->dim[1] * m->dim[2];
  assert_int_equal(fwrite(head, 1, sizeof head, file), sizeof head);
  assert_int_equal(fwrite(voxels, sizeof *voxels, elems, file), elems);
  assert_int_equal(fclose(file), 0);
}

/* Its label is the whole number nearest to the voxel, from 0 to 3. */
static void levels_open(struct vnc_graph *model) {
  struct vn_diag diag;
  const struct vnc_import_options options = {0};
  if (vnc_onnx_import(FIXTURES_DIR "/scan/levels.onnx", &options, model, &diag))
    fail_msg("%s", diag.text);
}

static enum vn_status validate(struct vnt_validation *v, struct vnt_score *scores,
                               struct vn_diag *diag) {
  struct vnc_graph model;
  levels_open(&model);
  const enum vn_status status = vnt_validate(&model, v, scores, diag);
  vnc_graph_free(&model);
  return status;
}

static void case_write(const struct golden *g, float shift_mm, float strange) {
  float *voxels = malloc(g->elems * sizeof *voxels);
  for (size_t i = 0; i < g->elems; i++) voxels[i] = (float)g->predicted[i];
  nifti_write(image_path, &g->maps, voxels, 0);
  for (size_t i = 0; i < g->elems; i++) voxels[i] = (float)g->target[i];
  voxels[7] = strange < 0 ? voxels[7] : strange;
  nifti_write(label_path, &g->maps, voxels, shift_mm);
  free(voxels);
}

/* The same case twice. */
static char *images[] = {image_path};
static const struct vnt_list_row row = {.image = images, .files = 1, .label = label_path};
static const struct vnt_list_row *const rows[2] = {&row, &row};
static const struct vnt_list list = {.channels = 1};

/* Every value its own class; closed with the program. */
static const struct vnt_labels *classes_of(size_t classes) {
  static struct vnt_labels *all[8];
  if (!all[classes]) assert_int_equal(vnt_labels_plain(classes, -1, &all[classes], NULL), VN_OK);
  return all[classes];
}

static struct vnt_validation validation_of(size_t count, size_t classes, size_t threads) {
  return (struct vnt_validation){.list = &list,
                                 .cases = rows,
                                 .count = count,
                                 .labels = classes_of(classes),
                                 .tolerance_mm = 2,
                                 .threads = threads};
}

struct witness {
  const struct golden *golden;
  size_t seen, press_at;
  struct vn_cancel *cancel;
};

static void seen(void *context, const struct vnt_validated *one) {
  struct witness *w = context;
  assert_int_equal(one->index, w->seen++);
  assert_int_equal(one->image->dim[0] * one->image->dim[1] * one->image->dim[2], w->golden->elems);
  assert_non_null(one->image->voxels);
  assert_memory_equal(one->target, w->golden->target, w->golden->elems);
  assert_memory_equal(one->predicted, w->golden->predicted, w->golden->elems);
  score_check(&one->scores[0], w->golden->score[0]);
  if (w->seen == w->press_at) vn_cancel_press(w->cancel);
}

static void whole_scans_are_scored(void **state) {
  (void)state;
  for (int number = 0; number < CASES; number++) {
    struct golden g;
    golden_open(number, &g);
    case_write(&g, 0, -1);
    for (size_t threads = 1; threads <= 4; threads *= 2) {
      struct vnt_score scores[2][CLASSES - 1], alone[CLASSES - 1];
      struct vn_diag diag;
      struct witness witness = {.golden = &g};
      struct vnt_validation v = validation_of(2, CLASSES, threads);
      v.seen = seen;
      v.context = &witness;
      memset(scores, 0, sizeof scores);
      if (validate(&v, scores[0], &diag)) fail_msg("%s", diag.text);
      assert_int_equal(witness.seen, 2);
      for (int l = 0; l < CLASSES - 1; l++) score_check(&scores[1][l], g.score[l]);
      /* And with spacings rounded to the file's float32, the same bits as without threads. */
      for (int a = 0; a < 3; a++) g.maps.spacing_mm[a] = (double)(float)g.maps.spacing_mm[a];
      g.maps.tolerance_mm = 2;
      assert_int_equal(vnt_maps_score(&g.maps, CLASSES, NULL, alone, NULL), VN_OK);
      assert_memory_equal(scores[0], alone, sizeof alone);
      assert_memory_equal(scores[0], scores[1], sizeof alone);
    }
    golden_close(&g);
  }
}

static void validation_can_be_stopped(void **state) {
  (void)state;
  struct golden g;
  golden_open(0, &g);
  case_write(&g, 0, -1);
  struct vnt_score scores[2][CLASSES - 1];
  struct vn_diag diag;
  for (size_t at = 0; at <= 2; at++) { /* before all, between the scans, after all */
    struct witness w = {.golden = &g, .press_at = at};
    assert_int_equal(vn_cancel_create(&w.cancel, NULL), VN_OK);
    struct vnt_validation v = validation_of(2, CLASSES, 1);
    v.seen = seen;
    v.context = &w;
    v.cancel = w.cancel;
    if (at == 0) vn_cancel_press(w.cancel);
    assert_int_equal(validate(&v, scores[0], &diag), at < 2 ? VN_E_CANCELLED : VN_OK);
    assert_int_equal(w.seen, at);
    vn_cancel_close(&w.cancel);
  }
  golden_close(&g);
}

/* As the trainer has them: built, with BatchNorm, several stages; for any number of threads. */
static void built_graphs_are_validated(void **state) {
  (void)state;
  enum { SIZE = 24, ELEMS = SIZE * SIZE * SIZE };
  static float voxels[ELEMS], truth[ELEMS];
  const struct vnt_map_pair grid = {NULL, NULL, {SIZE, SIZE, SIZE}, {1, 1, 1}, 2};
  struct vnt_random r = vnt_random_open(8, 0, 0);
  for (int i = 0; i < ELEMS; i++) {
    voxels[i] = (float)vnt_random_real(&r, 0, 1);
    truth[i] = i % SIZE < SIZE / 2;
  }
  nifti_write(image_path, &grid, voxels, 0);
  nifti_write(label_path, &grid, truth, 0);
  struct vnt_score first = {0}, score;
  for (size_t threads = 1; threads <= 4; threads *= 2) {
    struct vnc_spec spec;
    struct vnc_graph model;
    struct vn_diag diag;
    assert_int_equal(vnc_spec_init(&spec, "monai", 2, &diag), VN_OK);
    spec.width = 4;
    spec.classes = 2;
    assert_int_equal(vnc_model_build(&spec, (const uint64_t[]){16, 16, 16}, 3, &model, &diag), 0);
    vnc_graph_meta(&model, "vnet.spacing_mm", "1.5 1.5 1.5");
    vnc_graph_meta(&model, "vnet.orientation", "RAS");
    vnc_graph_meta(&model, "vnet.intensity", "zscore");
    const struct vnt_validation v = validation_of(1, 2, threads);
    if (vnt_validate(&model, &v, &score, &diag)) fail_msg("%s", diag.text);
    vnc_graph_free(&model);
    if (threads == 1) first = score;
    assert_memory_equal(&first, &score, sizeof first);
    assert_true(score.dice > 0.05 && score.dice < 0.95 && score.hd95_mm > 0);
  }
}

static void refused(struct vnt_validation *v, enum vn_status status, const char *path,
                    const char *reason) {
  struct vnt_score scores[2 * 8];
  struct vn_diag diag;
  const enum vn_status is = validate(v, scores, &diag);
  if (is != status || strncmp(diag.text, path, strlen(path)) != 0 || !strstr(diag.text, reason))
    fail_msg("%d, %s", is, is ? diag.text : "not refused");
}

static void bad_cases_are_named(void **state) {
  (void)state;
  struct golden g, small;
  struct vnt_validation v = validation_of(1, CLASSES, 1);
  golden_open(0, &g);
  golden_open(1, &small);
  case_write(&g, 0, 4);
  refused(&v, VN_E_FORMAT, label_path, "is 4, labels are whole numbers from 0 to 3");
  case_write(&g, 0, 0.5f);
  refused(&v, VN_E_FORMAT, label_path, "is 0.5");
  case_write(&g, 0.2f, -1);
  refused(&v, VN_E_FORMAT, label_path, "lies elsewhere than its image");
  case_write(&g, 0.02f, -1);
  assert_int_equal(validate(&v, (struct vnt_score[CLASSES - 1]){0}, NULL), VN_OK);
  case_write(&small, 0, -1);
  float *empty = calloc(g.elems, sizeof *empty);
  nifti_write(label_path, &g.maps, empty, 0);
  free(empty);
  refused(&v, VN_E_FORMAT, label_path, "has 22 x 18 x 14 voxels, its image");
  case_write(&g, 0, -1);
  v.labels = classes_of(3);
  refused(&v, VN_E_ARGUMENT, "the network tells 4 classes apart", "3 are to be");
  v.labels = classes_of(CLASSES);
  assert_int_equal(unlink(label_path), 0);
  refused(&v, VN_E_IO, label_path, "No such file");
  assert_int_equal(truncate(image_path, 1000), 0);
  refused(&v, VN_E_FORMAT, image_path, "");
  golden_close(&g);
  golden_close(&small);
}

static int files_make(void **state) {
  (void)state;
  if (!mkdtemp(folder)) return -1;
  snprintf(image_path, sizeof image_path, "%s/image.nii", folder);
  snprintf(label_path, sizeof label_path, "%s/label.nii", folder);
  return 0;
}

static int files_remove(void **state) {
  (void)state;
  for (size_t classes = 2; classes <= CLASSES; classes++) {
    struct vnt_labels *labels_used = (struct vnt_labels *)(uintptr_t)classes_of(classes);
    vnt_labels_close(&labels_used);
  }
  unlink(image_path);
  unlink(label_path);
  return rmdir(folder);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(scores_are_monai),
      cmocka_unit_test(distances_are_those_of_all_pairs),
      cmocka_unit_test(absent_labels_are_told),
      cmocka_unit_test(whole_scans_are_scored),
      cmocka_unit_test(validation_can_be_stopped),
      cmocka_unit_test(built_graphs_are_validated),
      cmocka_unit_test(bad_cases_are_named),
  };
  return cmocka_run_group_tests(tests, files_make, files_remove);
}
