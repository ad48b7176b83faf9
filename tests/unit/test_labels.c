/* Label maps after segmenting: connected pieces against a flood fill, measures against numbers
 * worked out by hand, names and colours from hostile text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fenv.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "components.h"
#include "judge.h"
#include "palette.h"
#include "soft_volume.h"
#include "tables.h"
#include "validation.h"

/* ---- pieces ---- */

struct flood {
  const uint8_t *labels;
  size_t dim[3];
  uint32_t *piece, *stack; /* [voxels]; piece 0: none yet */
};

/* Marks the piece of voxel `from` by the plainest of means; returns its size. */
static size_t flood(struct flood *f, size_t from, uint32_t mark) {
  size_t depth = 0, size = 0;
  f->stack[depth++] = (uint32_t)from;
  f->piece[from] = mark;
  while (depth) {
    size_t i = f->stack[--depth];
    long x = (long)(i % f->dim[0]), y = (long)(i / f->dim[0] % f->dim[1]),
         z = (long)(i / f->dim[0] / f->dim[1]);
    size++;
    for (long n = 0; n < 27; n++) {
      long u = x + n % 3 - 1, v = y + n / 3 % 3 - 1, w = z + n / 9 - 1;
      if (u < 0 || v < 0 || w < 0 || u >= (long)f->dim[0] || v >= (long)f->dim[1] ||
          w >= (long)f->dim[2])
        continue;
      size_t j = ((size_t)w * f->dim[1] + (size_t)v) * f->dim[0] + (size_t)u;
      if (f->piece[j] || f->labels[j] != f->labels[i]) continue;
      f->piece[j] = mark;
      f->stack[depth++] = (uint32_t)j;
    }
  }
  return size;
}

/* What must be left: pieces of at least `least` voxels, with `largest` only each label's first
 * largest. */
static void expect(const uint8_t *labels, const size_t dim[3], bool largest, uint64_t least,
                   uint8_t *left) {
  size_t elems = dim[0] * dim[1] * dim[2];
  struct flood f = {labels, {dim[0], dim[1], dim[2]}, calloc(elems, 4), calloc(elems, 4)};
  size_t *size = calloc(elems + 2, sizeof *size), best[256] = {0};
  uint32_t marks = 0;
  for (size_t i = 0; i < elems; i++) {
    if (!labels[i] || f.piece[i]) continue;
    marks++;
    size[marks] = flood(&f, i, marks);
    if (size[marks] > size[best[labels[i]]]) best[labels[i]] = marks;
  }
  for (size_t i = 0; i < elems; i++) {
    bool stays =
        labels[i] && size[f.piece[i]] >= least && (!largest || best[labels[i]] == f.piece[i]);
    left[i] = stays ? labels[i] : 0;
  }
  free(f.piece);
  free(f.stack);
  free(size);
}

static uint32_t noise_state = 7;
static uint32_t noise(uint32_t below) {
  noise_state = noise_state * 1664525u + 1013904223u;
  return (noise_state >> 8) % below;
}

static void pieces_are_floods(void **state) {
  (void)state;
  for (int round = 0; round < 400; round++) {
    size_t dim[3] = {1 + noise(12), 1 + noise(9), 1 + noise(7)};
    size_t elems = dim[0] * dim[1] * dim[2];
    uint32_t density = 2 + noise(12), classes = 2 + noise(3);
    uint8_t *map = malloc(elems), *want = malloc(elems);
    uint16_t *wide = malloc(3 * elems * sizeof *wide);
    const struct vn_image image = {.dim = {dim[0], dim[1], dim[2]}};
    for (size_t i = 0; i < elems; i++) map[i] = (uint8_t)(noise(density) ? 0 : noise(classes));
    for (int mode = 0; mode < 3; mode++) { /* the largest; no small ones; both */
      uint64_t least = mode ? 1 + noise(8) : 0, removed, count = 0;
      bool largest = mode != 1;
      uint8_t *copy = malloc(elems);
      memcpy(copy, map, elems);
      for (size_t i = 0; i < 3 * elems; i++) wide[i] = i % 3 == 1 ? map[elems - 1 - i / 3] : 9;
      /* Dense bytes; words with gaps between, stored from the last to the first. */
      const ptrdiff_t x = (ptrdiff_t)dim[0], y = x * (ptrdiff_t)dim[1];
      const struct vn_label_map both[2] = {
          {.data = copy, .elem_bytes = 1, .stride = {1, x, y}},
          {.data = wide + 3 * elems - 2, .elem_bytes = 2, .stride = {-6, -6 * x, -6 * y}}};
      struct vn_diag diag;
      expect(map, dim, largest, least, want);
      for (size_t i = 0; i < elems; i++) count += map[i] != want[i];
      for (int b = 0; b < 2; b++) {
        assert_int_equal(
            vn_labels_clean(&both[b], &image, classes, largest, least, NULL, &removed, &diag),
            VN_OK);
        assert_int_equal(removed, count);
      }
      assert_memory_equal(copy, want, elems);
      for (size_t i = 0; i < 3 * elems; i++)
        assert_int_equal(wide[i], i % 3 == 1 ? want[elems - 1 - i / 3] : 9);
      free(copy);
    }
    free(map);
    free(want);
    free(wide);
  }
}

/* ---- measures ---- */

static void measures_are_right(void **state) {
  (void)state;
  float voxels[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 1000001};
  uint8_t map[12] = {0, 1, 1, 0, 0, 0, 0, 1, 0, 0, 3, 3};
  /* x to -y, y to z, z to x: a determinant of -2 * 3 * 4 mm. */
  struct vn_image scan = {.size = sizeof scan,
                          .voxels = voxels,
                          .type = VN_VOXEL_F32,
                          .world = VN_WORLD_RAS,
                          .dim = {2, 3, 2},
                          .affine = {{0, 0, 4, 10}, {-2, 0, 0, 20}, {0, 3, 0, -30}}};
  const struct vn_label_map labels = {.size = sizeof labels, .data = map, .elem_bytes = 1};
  struct vn_measure m[4];
  assert_int_equal(vn_measure_labels(&scan, &labels, 4, m, NULL), VN_OK);
  assert_int_equal(m[1].voxels, 3);
  assert_true(fabs(m[1].ml - 3 * 0.024) < 1e-12);
  assert_true(fabs(m[1].mean - 13.0 / 3) < 1e-12);
  assert_true(fabs(m[1].sd - sqrt((49 / 9.0 + 16 / 9.0 + 121 / 9.0) / 3)) < 1e-12);
  /* Voxels (1 0 0), (0 1 0), (1 0 1): mean index 2/3, 1/3, 1/3. */
  const double at[3] = {10 + 4 / 3.0, 20 - 4 / 3.0, -29};
  for (int i = 0; i < 3; i++) assert_true(fabs(m[1].centroid_mm[i] - at[i]) < 1e-12);
  assert_int_equal(m[2].voxels, 0);
  assert_true(m[2].ml == 0 && isnan(m[2].mean) && isnan(m[2].sd) && isnan(m[2].centroid_mm[0]));
  assert_true(fabs(m[3].mean - 500006) < 1e-9 && fabs(m[3].sd - 499995) < 1e-9);
  /* Turned by the 3-4-5 triangle and sheared as a tilted gantry does: 2 * 3 * 4 mm again. */
  const double oblique[3][4] = {{1.2, -2.4, 0, 5}, {1.6, 1.8, 0.5, -7}, {0, 0, 4, 100}};
  memcpy(scan.affine, oblique, sizeof oblique);
  assert_int_equal(vn_measure_labels(&scan, &labels, 4, m, NULL), VN_OK);
  const double there[3] = {5, -7 + 5.5 / 3, 100 + 4 / 3.0};
  for (int i = 0; i < 3; i++) assert_true(fabs(m[1].centroid_mm[i] - there[i]) < 1e-12);
  assert_true(fabs(m[1].ml - 3 * 0.024) < 1e-12);
  /* In DICOM's world the same numbers mean another place, and come back in it. */
  scan.world = VN_WORLD_LPS;
  assert_int_equal(vn_measure_labels(&scan, &labels, 4, m, NULL), VN_OK);
  for (int i = 0; i < 3; i++) assert_true(fabs(m[1].centroid_mm[i] - there[i]) < 1e-12);
  /* Rounding that the host has set changes no bit, and stays. */
  struct vn_measure upward[4];
  fesetround(FE_UPWARD);
  assert_int_equal(vn_measure_labels(&scan, &labels, 4, upward, NULL), VN_OK);
  assert_int_equal(fegetround(), FE_UPWARD);
  fesetround(FE_TONEAREST);
  assert_memory_equal(&upward[1], &m[1], sizeof upward[1]);
  voxels[1] = NAN; /* is left out of means */
  assert_int_equal(vn_measure_labels(&scan, &labels, 4, m, NULL), VN_OK);
  assert_true(m[1].voxels == 3 && m[1].mean == 5.5 && m[1].sd == 2.5);
  assert_int_equal(vn_measure_labels(&scan, &labels, 3, m, NULL), VN_E_ARGUMENT);
  struct vn_diag diag = {""};
  scan.dim[0] = ((size_t)1 << 24) + 1; /* counts of grid points could overflow beyond */
  assert_int_equal(vn_measure_labels(&scan, &labels, 4, m, &diag), VN_E_ARGUMENT);
  assert_string_equal(diag.text, "an image of 16777217 voxels along an axis, more than 16777216");
}

/* ---- names and colours ---- */

static void palettes_are_read(void **state) {
  (void)state;
  struct vn_palette p;
  struct vn_diag diag;
  const char *text =
      "[{\"value\": 2, \"name\": \"left \\\"lung\\\" \\u00e9\", \"colour\": \"#0aFf10\","
      " \"more\": {\"a\": [1, null, {\"b\": true}], \"c\": \"]\"}},\n"
      "{\"color\":[1,2,255],\"value\":0}]";
  assert_int_equal(vn_palette_parse(text, 4, &p, &diag), VN_OK);
  assert_string_equal(p.entries[2].name, "left \"lung\" \xc3\xa9");
  assert_memory_equal(p.entries[2].rgb, ((uint8_t[]){10, 255, 16}), 3);
  assert_string_equal(p.entries[0].name, "background");
  assert_memory_equal(p.entries[0].rgb, ((uint8_t[]){1, 2, 255}), 3);
  assert_string_equal(p.entries[3].name, "label 3");
  char *written = NULL;
  size_t size;
  FILE *out = open_memstream(&written, &size);
  struct vn_label_info labels[4];
  for (size_t i = 0; i < 4; i++) {
    labels[i] = (struct vn_label_info){.value = i, .name = p.entries[i].name};
    memcpy(labels[i].rgb, p.entries[i].rgb, 3);
  }
  table_itksnap(labels, 4, out);
  table_slicer(labels, 4, out);
  fclose(out);
  assert_non_null(
      strstr(written, "\n    2    10  255   16        1  1  1    \"left 'lung' \xc3\xa9\"\n"));
  assert_non_null(strstr(written, "\n2 left_\"lung\"_\xc3\xa9 10 255 16 255\n"));
  free(written);
  vn_palette_close(&p);
  /* What Python's json.dumps writes for characters beyond the basic plane; and members that are
   * passed over may hold whatever JSON can. */
  text = "[{\"value\":1,\"name\":\"\\ud83e\\udde0 \xf0\x9f\xa7\xa0\",\"n\":-0.5e+3,"
         "\"note\":\"a\\n\\u0000\\b\"}]";
  assert_int_equal(vn_palette_parse(text, 4, &p, &diag), VN_OK);
  assert_string_equal(p.entries[1].name, "\xf0\x9f\xa7\xa0 \xf0\x9f\xa7\xa0");
  vn_palette_close(&p);
  /* Left is right's mirror; what is not said is its own. */
  text = "[{\"mirror\":1,\"value\":3},{\"value\":1,\"mirror\":3},{\"value\":2}]";
  assert_int_equal(vn_palette_parse(text, 4, &p, &diag), VN_OK);
  for (size_t i = 0; i < 4; i++) assert_int_equal(p.entries[i].mirror, ((int[]){0, 3, 2, 1})[i]);
  assert_true(p.sided);
  vn_palette_close(&p);
  assert_int_equal(vn_palette_parse("[{\"value\":1,\"mirror\":1}]", 4, &p, &diag), VN_OK);
  assert_false(p.sided);
  vn_palette_close(&p);
  /* Without metadata, many classes: colours of neighbours differ. */
  assert_int_equal(vn_palette_parse(NULL, 300, &p, &diag), VN_OK);
  for (size_t i = 1; i < 300; i++)
    assert_memory_not_equal(p.entries[i].rgb, p.entries[i - 1].rgb, 3);
  vn_palette_close(&p);
}

static void palettes_are_doubted(void **state) {
  (void)state;
  static const char *const bad[] = {
      "",
      "{}",
      "[",
      "[]x",
      "[1]",
      "[{}]",
      "[{\"value\":4}]",
      "[{\"value\":-1}]",
      "[{\"value\":1},{\"value\":1}]",
      "[{\"value\":99999999999999999999}]",
      "[{\"value\":1,}",
      "[{\"value\":1,\"name\":\"a]",
      "[{\"value\":1,\"name\":\"\\",
      "[{\"value\":1,\"name\":\"\\u00",
      "[{\"value\":1,\"name\":\"\\u0007\"}]",
      "[{\"value\":1,\"name\":\"\\ud800\"}]",
      "[{\"value\":1,\"name\":\"line\nline\"}]",
      "[{\"value\":1,\"name\":\"line\\nline\"}]",
      "[{\"value\":1,\"name\":\"\x7f\"}]",
      "[{\"value\":1,\"name\":\"\xc2\x9b\"}]", /* a terminal's escape */
      "[{\"value\":1,\"name\":\"\\u009b\"}]",
      "[{\"value\":1,\"name\":\"\\udde0\\ud83e\"}]",
      "[{\"value\":1,\"name\":\"\\ud83e\\u0041\"}]",
      "[{\"value\":1,\"name\":\"\xff\"}]",
      "[{\"value\":1,\"name\":\"\xc3\"}]",
      "[{\"value\":1,\"name\":\"\xc0\x80\"}]",
      "[{\"value\":1,\"name\":\"\xe0\x80\xaf\"}]",
      "[{\"value\":1,\"name\":\"\xed\xa0\x80\"}]",
      "[{\"value\":1,\"name\":\"\xf4\x90\x80\x80\"}]",
      "[{\"value\":1,\"a\":\"\xff\"}]",
      "[{\"value\":1,\"a\":\"\\x\"}]",
      "[{\"value\":1,\"a\":nul}]",
      "[{\"value\":1,\"a\":NaN}]",
      "[{\"value\":1,\"a\":1.}]",
      "[{\"value\":1,\"a\":1e}]",
      "[{\"value\":1,\"a\":-01}]",
      "[{\"value\":1,\"a\":[1,]}]",
      "[{\"value\":1,}]",
      "[{\"value\":01}]",
      "[{\"value\":1.0}]",
      "[{\"value\":1,\"value\":2}]",
      "[{\"value\":1,\"mirror\":1,\"mirror\":1}]",
      "[{\"value\":1,\"mirror\":2}]",
      "[{\"value\":1,\"mirror\":2},{\"value\":2,\"mirror\":3},{\"value\":3,\"mirror\":1}]",
      "[{\"value\":1,\"mirror\":0},{\"value\":0,\"mirror\":1}]",
      "[{\"value\":1,\"mirror\":4}]",
      "[{\"value\":1,\"mirror\":\"right\"}]",
      "[{\"value\":1,\"name\":\"a\",\"name\":\"b\"}]",
      "[{\"value\":1,\"color\":\"#000000\",\"colour\":\"#000000\"}]",
      "[{\"value\":1,\"name\":7}]",
      "[{\"value\":1,\"colour\":\"#12345\"}]",
      "[{\"value\":1,\"colour\":\"#12345g\"}]",
      "[{\"value\":1,\"colour\":\"red\"}]",
      "[{\"value\":1,\"colour\":[1,2]}]",
      "[{\"value\":1,\"colour\":[1,2,3,4]}]",
      "[{\"value\":1,\"colour\":[1,2,256]}]",
      "[{\"value\":1,\"a\"}]",
      "[{\"value\":1 \"name\":\"b\"}]",
      "[{\"value\":1},]",
      "[{\"value\":1,\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}]",
      ("[{\"value\":1,\"name\":"
       "\"01234567890123456789012345678901234567890123456789012345678901234\"}]"),
  };
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    struct vn_palette p;
    struct vn_diag diag;
    if (vn_palette_parse(bad[i], 4, &p, &diag) != VN_E_FORMAT) fail_msg("accepted: %s", bad[i]);
    assert_non_null(strstr(diag.text, "vnet.labels holds "));
    vn_palette_close(&p);
  }
  /* Every beginning of a good text, and every byte of it changed: read or refused. */
  const char *good =
      "[{\"value\":1,\"name\":\"\\u00e9\\\"x\",\"colour\":[1,2,3],\"z\":{\"a\":[]}}]";
  for (size_t i = 0; i < strlen(good); i++)
    for (int byte = 0; byte < 256; byte++) {
      char text[128];
      struct vn_palette p;
      strcpy(text, good);
      text[i] = (char)byte;
      vn_palette_parse(text, 4, &p, NULL);
      vn_palette_close(&p);
    }
}

/* ---- what labels scored ---- */

static void scores_are_read(void **state) {
  (void)state;
  double *dice;
  struct vn_diag diag;
  assert_int_equal(vn_validation_parse(NULL, 4, &dice, &diag), VN_OK);
  assert_null(dice);
  assert_int_equal(vn_validation_parse("3 1 1 0.25", 4, &dice, &diag), VN_OK);
  assert_true(isnan(dice[0]) && dice[1] == 0.25 && isnan(dice[2]) && dice[3] == 1);
  free(dice);
  assert_int_equal(vn_validation_parse(" ", 1, &dice, &diag), VN_OK); /* of a background alone */
  assert_true(isnan(dice[0]));
  free(dice);
  static const char *const bad[] = {
      "1",        "1 0.5 2",     "0 0.5",  "4 0.5", "-1 0.5",      "1.5 0.5",
      "1e30 0.5", "1 1.01",      "1 -0.1", "1 nan", "1 0.5 1 0.5", "1 0.5 2 0.5 3 0.5 1 0.5",
      "1 0,5",    "1 0.5; 2 0.5"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    if (vn_validation_parse(bad[i], 4, &dice, &diag) != VN_E_FORMAT) fail_msg("read: %s", bad[i]);
    assert_non_null(strstr(diag.text, "vnet.validation_dice is '"));
    free(dice);
  }
}

/* ---- shares ---- */

/* A plan may say softmax of what is none: of a point with nothing above 0 the background has all,
 * and what is below 0 takes nothing from others. */
static void scores_of_nothing_are_background(void **state) {
  (void)state;
  enum { LABELS = 3, POINTS = 4 };
  static const float scores[POINTS * LABELS] = {0, 0, 0, -1, -3, -2, 1, -1, 0, 0, 0.5f, 1.5f};
  static const float want[LABELS][POINTS] = {{1, 1, 1, 0}, {0, 0, 0, 0.25f}, {0, 0, 0, 0.75f}};
  size_t side[LABELS] = {0, 1, 2};
  const struct vn_decision d = {
      .meaning = VN_MEANS_SOFTMAX, .channels = LABELS, .other_side = side};
  uint8_t labels[POINTS];
  uint16_t coded[LABELS * POINTS];
  float p[LABELS * POINTS], sum[POINTS * LABELS] = {0};
  struct vn_label_map map = {.size = sizeof map, .data = labels, .elem_bytes = 1};
  struct vn_average average = {.sum = sum, .models = 2};
  struct vn_verdict v = {.decision = &d, .own = &d, .map = &map, .width = POINTS, .elems = POINTS};
  v.label_walk.step[2] = v.index_walk.step[2] = 1;
  for (int way = 0; way < 4; way++) { /* 16 bits; 32; and a model averaged with itself */
    map.probabilities = way ? (void *)p : (void *)coded;
    map.probability = way ? VN_PROBABILITY_F32 : VN_PROBABILITY_U16;
    v.average = way > 1 ? &average : NULL;
    v.last = way == 3;
    assert_null(vn_verdict_row(&v, 0, 0, scores, NULL));
    for (size_t c = 0; c < LABELS && way != 2; c++)
      for (size_t i = 0; i < POINTS; i++) {
        const float is = way ? p[c * POINTS + i] : (float)coded[c * POINTS + i] / 65535;
        assert_true(fabsf(is - want[c][i]) < 1e-5f);
      }
  }
  const struct vn_image image = {
      .size = sizeof image, .dim = {POINTS, 1, 1}, .affine = {{1}, {0, 1}, {0, 0, 1}}};
  const struct vn_view view = vn_view_plain(&image);
  struct vn_grid grid;
  struct vn_soft_volume volume;
  double ml[LABELS] = {0};
  assert_int_equal(vn_grid_make(&view, NULL, &grid, NULL), VN_OK);
  assert_int_equal(vn_soft_volume_open(&d, &grid, &volume, NULL), VN_OK);
  vn_soft_volume_plane(&volume, 0, scores, POINTS);
  vn_soft_volume_add(&volume, 1, ml);
  assert_true(ml[0] == 3 && ml[1] == 0.25 && ml[2] == 0.75);
  vn_soft_volume_close(&volume);
  vn_grid_close(&grid);
}

/* ---- faces ---- */

/* Area of the faces of voxel (i, j, k) towards other labels, or out of the image. */
static double outer_mm2(const uint8_t *labels, const size_t dim[3], const long at[3]) {
  static const double mm2[3] = {6, 3, 2}; /* of 1 x 2 x 3 mm */
  const long step[3] = {1, (long)dim[0], (long)(dim[0] * dim[1])};
  const uint8_t *voxel = labels + at[0] + at[1] * step[1] + at[2] * step[2];
  double sum = 0;
  for (int a = 0; a < 3; a++) {
    if (at[a] == 0 ? *voxel != 0 : voxel[-step[a]] != *voxel) sum += mm2[a];
    if (at[a] + 1 == (long)dim[a] ? *voxel != 0 : voxel[step[a]] != *voxel) sum += mm2[a];
  }
  return sum;
}

static const char *any_name(const void *context, size_t label) {
  (void)context, (void)label;
  return "piece";
}

static void faces_are_counted(void **state) {
  (void)state;
  enum { ELEMS = 7 * 5 * 6 };
  uint8_t labels[ELEMS];
  double want[3] = {0};
  struct vn_diag diag;
  char warning[256] = "";
  struct vn_image mine = {.size = sizeof mine,
                          .type = VN_VOXEL_U8,
                          .dim = {7, 5, 6},
                          .affine = {{1}, {0, 2}, {0, 0, -3}}},
                  image;
  struct vn_label_map theirs = {.size = sizeof theirs, .data = labels, .elem_bytes = 1}, map;
  struct vn_expect expect;
  srand(5);
  for (size_t i = 0; i < ELEMS; i++) labels[i] = (uint8_t)(rand() % 4 % 3);
  for (long i = 0; i < ELEMS; i++)
    want[labels[i]] += outer_mm2(labels, mine.dim, (long[]){i % 7, i / 7 % 5, i / 35});
  assert_int_equal(vn_image_take(&mine, &image, &diag), VN_OK);
  assert_int_equal(vn_label_map_take(&theirs, &image, &map, &diag), VN_OK);
  assert_int_equal(vn_expect_parse("surface 2 1", 3, &expect, &diag), VN_OK);
  struct vn_judge judge = {.expect = &expect, .image = &image, .map = &map, .labels = 3};
  judge.name = any_name;
  assert_int_equal(vn_judge_open(&judge, &diag), VN_OK);
  assert_int_equal(vn_judge_labels(&judge, 0, warning, sizeof warning, &diag), VN_OK);
  for (size_t c = 1; c < 3; c++) assert_true(judge.faces_mm2[c] == want[c]);
  assert_non_null(strstr(warning, "piece is ragged"));
  vn_judge_close(&judge);
  vn_expect_close(&expect);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(pieces_are_floods),
      cmocka_unit_test(measures_are_right),
      cmocka_unit_test(faces_are_counted),
      cmocka_unit_test(palettes_are_read),
      cmocka_unit_test(palettes_are_doubted),
      cmocka_unit_test(scores_are_read),
      cmocka_unit_test(scores_of_nothing_are_background),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
