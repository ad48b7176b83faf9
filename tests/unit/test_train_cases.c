/* Pairs of scan and label map: read as nibabel and numpy read them, refused with the right
 * sentence, drawn evenly. Run by tests/e2e/run_cases.py, which writes the folder that is the
 * argument. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "cases.h"
#include "cases_list.h"
#include "grid.h"
#include "scan.h"
#include "window.h"

static const char *folder;
static const struct vn_intensity_rule percentiles = {VN_INTENSITY_PERCENTILE, 0.5, 99.5, 0, 0};
static struct vnt_cases_spec plain = {
    .orientation = "RAS", .intensity = &percentiles, .n_intensity = 1};
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
    assert_true(fabsf(image[i] - item->channel[0].image[i]) <= tolerance);
    open += target[i] == 255;
    assert_true(target[i] == 255 || target[i] == item->source.target[i]);
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
    assert_int_equal(cases.list.count, 3);
    assert_int_equal(cases.n_training, 2);
    assert_int_equal(cases.n_validation, 1);
    assert_int_equal(cases.training[1], 2);
    compare(&cases.items[0], "a", own, own ? 2e-7f : 2e-6f);
    compare(&cases.items[2], "b", own, own ? 4e-7f : 2e-6f);
    const struct vnt_list_row *row = cases.list.row;
    assert_true(row[1].validation && !cases.items[1].channel && !cases.items[1].block.data);
    assert_int_equal(row[1].line, 4);
    assert_string_equal(row[1].image[0], path_of("c.nii.gz"));
    assert_string_equal(row[2].image[0], path_of("b, 2.nii"));
    vnt_cases_close(&cases);
  }
  static const char *const more[] = {"plain.csv", "nearly.csv"};
  for (int i = 0; i < 2; i++) {
    struct vnt_cases cases = cases_open(more[i], &plain);
    compare(&cases.items[0], "a", true, 2e-7f);
    vnt_cases_close(&cases);
  }
}

/* Filling is to the trainer what it is to vnet-run: the scan's own low end, and no part of its
 * statistics. */
static void filling_is_left_out(void **state) {
  (void)state;
  struct vnt_cases_spec spec = plain;
  spec.intensity = &(struct vn_intensity_rule){VN_INTENSITY_PERCENTILE, 0, 100, 0, 0};
  spec.spacing_mm[0] = 1.3;
  struct vnt_cases low = cases_open("lowest.csv", &spec), filled = cases_open("filled.csv", &spec);
  const struct vnt_source *a = &low.items[0].source, *b = &filled.items[0].source;
  assert_memory_equal(&a->channel->intensity, &b->channel->intensity,
                      offsetof(struct vn_intensity, ct));
  assert_memory_equal(a->channel->image, b->channel->image,
                      a->dim[0] * a->dim[1] * a->dim[2] * sizeof(float));
  vnt_cases_close(&low);
  vnt_cases_close(&filled);
}

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
      struct vn_pool *pool = NULL;
      if (threads) assert_int_equal(vn_pool_open(threads, &pool, NULL), VN_OK);
      enum vn_status got = vnt_cases_open(path_of(line), &plain, pool, &cases, &diag);
      if ((int)got != atoi(status) || !strstr(diag.text, sentence))
        fail_msg("%s: status %d '%s', not %s '%s'", line, got, diag.text, status, sentence);
      vnt_cases_close(&cases);
      vn_pool_close(&pool);
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
  static const char bytes[] = "\"\"\",,\n\r \t\xFFx;";
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
      assert_true(**list.row[i].image && (!list.row[i].label || *list.row[i].label) &&
                  list.row[i].line > 1);
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
  static const struct {
    size_t classes;
    int ignored;
  } bad[] = {{1, -1}, {257, -1}, {256, 300}, {5, 4}, {5, 65536}};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct vnt_labels *labels;
    assert_int_equal(vnt_labels_plain(bad[i].classes, bad[i].ignored, &labels, &diag),
                     VN_E_ARGUMENT);
    vnt_labels_close(&labels);
  }
  spec.spacing_mm[1] = -1;
  assert_int_equal(vnt_cases_open(path_of("plain.csv"), &spec, NULL, &cases, &diag), VN_E_ARGUMENT);
  spec.spacing_mm[1] = 100;
  assert_int_equal(vnt_cases_open(path_of("plain.csv"), &spec, NULL, &cases, &diag),
                   VN_E_UNSUPPORTED);
  assert_non_null(strstr(diag.text, "line 2: "));
  vnt_cases_close(&cases);
  for (int i = 0; i < 3; i++) spec.spacing_mm[i] = 6;
  assert_int_equal(vnt_cases_open(path_of("dust.csv"), &spec, NULL, &cases, &diag), VN_E_FORMAT);
  assert_non_null(
      strstr(cases.items[0].note, "dust.nii: nothing of it is labelled at this spacing"));
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

/* ---- channels, labels, memory ---- */

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

/* Files of several volumes, of every format that has them, alone or beside others: the same cases,
 * bit for bit, as of a file for each channel. */
static void volumes_are_channels(void **state) {
  (void)state;
  static const char *const lists[] = {"volumes.csv",      "volumes5.csv",  "volumes_mgz.csv",
                                      "volumes_nrrd.csv", "volumes_t.csv", "volumes_mixed.csv"};
  struct vnt_cases_spec spec = plain;
  memcpy(spec.spacing_mm, (double[]){2.5, 1.2, 1.7}, sizeof spec.spacing_mm);
  const struct vn_intensity_rule rules[3] = {
      percentiles, {.kind = VN_INTENSITY_ZSCORE}, {VN_INTENSITY_WINDOW, -100, 900, 0, 0}};
  spec.intensity = rules;
  spec.n_intensity = 3;
  spec.channels = "c; a; b"; /* of a model that has another order */
  struct vnt_cases apart = cases_open("apart.csv", &spec);
  for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
    struct vnt_cases cases = cases_open(lists[i], &spec);
    assert_int_equal(cases.list.channels, 3);
    assert_int_equal(cases.list.count, 2);
    assert_string_equal(cases.list.channel[0], "c");
    for (size_t k = 0; k < 2; k++) {
      const struct vnt_case *a = &apart.items[k], *b = &cases.items[k];
      assert_int_equal(a->block.bytes, b->block.bytes);
      assert_memory_equal(a->block.data, b->block.data, a->block.bytes);
      for (size_t c = 0; c < 3; c++)
        assert_memory_equal(&a->channel[c].intensity, &b->channel[c].intensity,
                            offsetof(struct vn_intensity, ct));
    }
    vnt_cases_close(&cases);
  }
  /* Without names in the head the files say how many there are, and the order is theirs. */
  spec.channels = NULL;
  struct vnt_cases bare = cases_open("bare.csv", &spec), named = cases_open("volumes.csv", &spec);
  assert_int_equal(bare.list.channels, 3);
  assert_null(bare.list.channel[0]);
  assert_memory_equal(bare.items[1].block.data, named.items[1].block.data,
                      named.items[1].block.bytes);
  vnt_cases_close(&bare);
  vnt_cases_close(&named);
  vnt_cases_close(&apart);
}

/* Several values are one class, one is ignored, and left is right in a mirror. */
static void tables_say_what_values_mean(void **state) {
  (void)state;
  enum { D = 26, H = 39, W = 44, ELEMS = D * H * W };
  static float image[ELEMS];
  static uint8_t target[ELEMS];
  struct vnt_cases_spec spec = plain;
  struct vnt_labels *table;
  struct vnt_cases cases = cases_open("plain.csv", &plain);
  static const uint8_t class_of[5] = {0, 1, 2, 2, VNT_IGNORED}, other[3] = {0, 2, 1};
  assert_int_equal(vnt_labels_read(path_of("table.csv"), &table, NULL), VN_OK);
  assert_true(table->classes == 3 && table->ignores && table->sided);
  assert_string_equal(
      table->json,
      "[{\"value\":1,\"name\":\"left\",\"colour\":\"#e6b400\",\"mirror\":2},{\"value\":2,"
      "\"name\":\"right\",\"colour\":\"#3c78d8\",\"mirror\":1}]");
  spec.labels = table;
  struct vnt_cases classes = cases_open("values.csv", &spec);
  const struct vnt_source *a = &cases.items[0].source, *b = &classes.items[0].source;
  const size_t *dim = a->dim, elems = product(dim);
  for (size_t i = 0; i < elems; i++) assert_int_equal(b->target[i], class_of[a->target[i]]);
  assert_int_equal(classes.items[0].present, 2);
  for (int sided = 0; sided < 2; sided++) {
    const struct vnt_augment flip = {
        .flip = {0, 0, 1}, .other_side = sided ? table->other_side : NULL, .side_axis = 2};
    const struct vnt_patch whole = {.size = {dim[0], dim[1], dim[2]}};
    assert_true(elems <= ELEMS);
    assert_int_equal(vnt_augment_apply(&flip, b, NULL, &whole, 1, 1, NULL, image, target, NULL),
                     VN_OK);
    for (size_t i = 0; i < elems; i++) {
      const uint8_t from = b->target[i - i % dim[2] + dim[2] - 1 - i % dim[2]];
      assert_int_equal(target[i], sided && from < 3 ? other[from] : from);
    }
  }
  vnt_cases_close(&cases);
  vnt_cases_close(&classes);
  vnt_labels_close(&table);
}

static void bad_tables_are_refused(void **state) {
  (void)state;
  static const char *const bad[][2] = {
      {"value,class\n1,1\n1,2\n", "line 3: the value 1 is there twice"},
      {"value,class\n1,2\n", "no value is class 1"},
      {"value,class\n1,0\n", "no class but the background"},
      {"value,class\n1,x\n", "class 'x': expected 0 to 254, or ignore"},
      {"value,class\n-1,1\n", "value '-1': expected 0 to 65535"},
      {"value,class\n70000,1\n", "value '70000'"},
      {"value,class\nothers,0\nothers,1\n", "value 'others'"},
      {"value,class,mirror\n1,1,2\n2,2,\n", "class 1 is mirrored to 2, but 2 not to 1"},
      {"value,class,mirror\n1,1,2\n3,1,1\n", "mirrored to 2 already"},
      {"value,class,name\n1,1,a\n2,1,b\n", "the class has the name 'a' already"},
      {"value,class,colour\n1,1,red\n", "colour 'red': expected #rrggbb"},
      {"value,colour\n", "there is no column 'class'"},
      {"value,class,value\n", "column 'value'"},
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    FILE *file = fopen(path_of("bad_table.csv"), "w");
    struct vnt_labels *labels;
    struct vn_diag diag = {{0}};
    assert_non_null(file);
    fputs(bad[i][0], file);
    fclose(file);
    const enum vn_status status = vnt_labels_read(path_of("bad_table.csv"), &labels, &diag);
    if (!status || !strstr(diag.text, bad[i][1]) || !strstr(diag.text, "bad_table.csv"))
      fail_msg("%s: %d '%s'", bad[i][0], status, status ? diag.text : "");
    vnt_labels_close(&labels);
  }
}

/* What does not fit lies in files that nobody sees, and is the same. */
static void cases_lie_where_there_is_room(void **state) {
  (void)state;
  struct vnt_cases_spec spec = plain;
  char store[2048];
  snprintf(store, sizeof store, "%s", path_of("store"));
  struct vnt_cases all = cases_open("good.csv", &plain);
  spec.store_path = store;
  spec.memory_bytes = all.items[0].block.bytes; /* one of the two */
  struct vnt_cases some = cases_open("good.csv", &spec);
  assert_int_equal((some.items[0].block.fd >= 0) + (some.items[2].block.fd >= 0), 1);
  for (size_t i = 0; i < 3; i += 2)
    assert_memory_equal(all.items[i].block.data, some.items[i].block.data,
                        all.items[i].block.bytes);
  vnt_cases_close(&some);
  snprintf(store, sizeof store, "%s", path_of("absent/store"));
  struct vn_diag diag;
  assert_int_equal(vnt_cases_open(path_of("good.csv"), &spec, NULL, &some, &diag), VN_E_IO);
  assert_non_null(strstr(diag.text, "no room for a case"));
  vnt_cases_close(&some);
  vnt_cases_close(&all);
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
      cmocka_unit_test(scans_are_numpys),           cmocka_unit_test(samples_are_windows),
      cmocka_unit_test(bad_cases_are_refused),      cmocka_unit_test(mangled_lists_are_survived),
      cmocka_unit_test(specs_are_checked),          cmocka_unit_test(sampling_is_balanced),
      cmocka_unit_test(samples_are_their_index),    cmocka_unit_test(matching_is_numpys),
      cmocka_unit_test(filling_is_left_out),        cmocka_unit_test(matching_is_with_another),
      cmocka_unit_test(channels_share_their_shape), cmocka_unit_test(tables_say_what_values_mean),
      cmocka_unit_test(bad_tables_are_refused),     cmocka_unit_test(cases_lie_where_there_is_room),
      cmocka_unit_test(volumes_are_channels),
  };
  if (argc != 2) return 2;
  folder = argv[1];
  struct vnt_labels *five;
  if (vnt_labels_plain(5, -1, &five, NULL)) return 2;
  plain.labels = five;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
