/* Samples with outlines of what is there and what the network says; see charts.h. */
#include "charts.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "canvas.h"
#include "fail.h"
#include "font.h"
#include "scan.h"

enum {
  IGNORED = 255, /* of two labels, what is not learnt */
  TILE = 240,    /* pixels; a voxel is as many whole ones as fit, at least 2 for its outlines */
  ZOOM_LEAST = 2,
  ZOOM_MOST = 12,
  GAP = 8,
  TEXT = 2, /* scale */
  LINE = FONT_HEIGHT * TEXT + 10,
  PICTURE_WIDE = 1500, /* pixels, for as many samples side by side as fit */
};

static const uint8_t paper[3] = {24, 24, 24}, ink[3] = {235, 235, 235},
                     target_ink[3] = {0, 190, 255}, predicted_ink[3] = {255, 120, 0},
                     both_ink[3] = {255, 255, 120};

/* Across `down` is up, `across` is left, `through` is cut: axes d h w. */
static const struct cut { int across, down, through; } cuts[3] = {{2, 1, 0}, {2, 0, 1}, {1, 0, 2}};

struct sample {
  const struct vn_palette *labels; /* more than two: each has its colour; NULL: there are two */
  const float *image;
  const uint8_t *target, *predicted; /* predicted NULL: none */
  const size_t *dim;
  size_t zoom;
  struct vn_intensity grey;
};

/* The voxel at column x and row y of a cut, both in voxels from the left and top. */
static size_t voxel_at(const struct sample *s, const struct cut *cut, size_t x, size_t y) {
  size_t at[3];
  at[cut->across] = s->dim[cut->across] - 1 - x;
  at[cut->down] = s->dim[cut->down] - 1 - y;
  at[cut->through] = s->dim[cut->through] / 2;
  return (at[0] * s->dim[1] + at[1]) * s->dim[2] + at[2];
}

/* Neither background nor to be ignored. */
static bool is_label(const struct sample *s, uint8_t label) {
  return label && (s->labels ? label < s->labels->count : label != IGNORED);
}

/* Is pixel (x, y) the outermost of a label's voxel, towards a voxel of another label? */
static bool on_outline(const struct sample *s, const struct cut *cut, const uint8_t *map, size_t x,
                       size_t y) {
  const size_t z = s->zoom, u = x / z, v = y / z;
  const size_t wide = s->dim[cut->across], high = s->dim[cut->down];
  const uint8_t here = map[voxel_at(s, cut, u, v)];
  if (!is_label(s, here)) return false;
  if (x % z == 0 && u && map[voxel_at(s, cut, u - 1, v)] != here) return true;
  if (x % z == z - 1 && u + 1 < wide && map[voxel_at(s, cut, u + 1, v)] != here) return true;
  if (y % z == 0 && v && map[voxel_at(s, cut, u, v - 1)] != here) return true;
  return y % z == z - 1 && v + 1 < high && map[voxel_at(s, cut, u, v + 1)] != here;
}

/* Of two labels: where the maps say it, and where both do. */
static const uint8_t *two_ink(const struct sample *s, const struct cut *cut, size_t x, size_t y) {
  const bool is = on_outline(s, cut, s->target, x, y);
  const bool said = s->predicted && on_outline(s, cut, s->predicted, x, y);
  return is && said ? both_ink : is ? target_ink : said ? predicted_ink : NULL;
}

/* Of several: of one of the maps, in the labels' colours. */
static const uint8_t *label_ink(const struct sample *s, const struct cut *cut, const uint8_t *map,
                                size_t x, size_t y) {
  if (!on_outline(s, cut, map, x, y)) return NULL;
  return s->labels->entries[map[voxel_at(s, cut, x / s->zoom, y / s->zoom)]].rgb;
}

/* map: whose outlines are drawn where there are several labels. */
static void cut_draw(struct canvas *canvas, const struct sample *s, const struct cut *cut,
                     const uint8_t *map, size_t left, size_t top) {
  for (size_t y = 0; y < s->dim[cut->down] * s->zoom; y++)
    for (size_t x = 0; x < s->dim[cut->across] * s->zoom; x++) {
      const float value = s->image[voxel_at(s, cut, x / s->zoom, y / s->zoom)];
      const uint8_t level = (uint8_t)(vn_intensity_apply(&s->grey, value) * 255 + 0.5f);
      const uint8_t *rgb = s->labels ? label_ink(s, cut, map, x, y) : two_ink(s, cut, x, y);
      canvas_dot(canvas, left + x, top + y, rgb ? rgb : (const uint8_t[]){level, level, level});
    }
}

/* Of everything that is labelled, whatever the label: a voxel counts where both say the same. */
static double dice_of(const struct sample *s) {
  size_t both = 0, all = 0;
  for (size_t i = 0; i < s->dim[0] * s->dim[1] * s->dim[2]; i++) {
    if (s->target[i] && !is_label(s, s->target[i])) continue; /* ignored */
    all += (s->target[i] != 0) + (s->predicted[i] != 0);
    both += s->target[i] && s->target[i] == s->predicted[i];
  }
  return all ? 2 * (double)both / (double)all : 1;
}

static size_t sample_wide(const size_t dim[3], size_t zoom) {
  size_t wide = GAP;
  for (int i = 0; i < 3; i++) wide += dim[cuts[i].across] * zoom + GAP;
  return wide;
}

/* Of several labels target and prediction have a row each. */
static size_t rows_of(const struct sample *s) {
  return s->labels && s->predicted ? 2 : 1;
}

static size_t row_high(const struct sample *s) {
  const size_t high = s->dim[0] > s->dim[1] ? s->dim[0] : s->dim[1];
  return LINE + high * s->zoom + GAP;
}

static enum vn_status sample_draw(struct canvas *canvas, struct sample *s, size_t number,
                                  size_t left, size_t top, struct vn_diag *diag) {
  static const struct vn_intensity_rule rule = {VN_INTENSITY_PERCENTILE, 0.5, 99.5, 0, 0};
  const struct vn_image image = vnt_array_image(s->image, s->dim);
  char text[2][64] = {"", ""};
  const enum vn_status status = vnt_intensity_fit(&rule, &image, &s->grey, diag);
  if (status == VN_E_MEMORY) return status;
  if (status)
    s->grey = (struct vn_intensity){0, 0, 0, 1, false}; /* nothing to tell apart: all black */
  const bool two = rows_of(s) == 2;
  int length = snprintf(text[0], sizeof text[0], "sample %zu%s", number + 1, two ? "  target" : "");
  if (two)
    snprintf(text[1], sizeof text[1], "prediction  Dice %.3f", dice_of(s));
  else if (s->predicted)
    snprintf(text[0] + length, sizeof text[0] - (size_t)length, "  Dice %.3f", dice_of(s));
  for (size_t row = 0; row < rows_of(s); row++, top += row_high(s)) {
    size_t x = left + GAP;
    canvas_text(canvas, x, top + 2, TEXT, ink, text[row]);
    for (int i = 0; i < 3; i++) {
      cut_draw(canvas, s, &cuts[i], row ? s->predicted : s->target, x, top + LINE);
      x += s->dim[cuts[i].across] * s->zoom + GAP;
    }
  }
  return VN_OK;
}

/* ---- the legend ---- */

struct entry {
  const char *name;
  const uint8_t *rgb;
};

static struct entry entry_at(const struct vn_palette *labels, size_t i) {
  static const char *const names[] = {"target", "prediction", "both"};
  const uint8_t *const inks[] = {target_ink, predicted_ink, both_ink};
  if (labels) return (struct entry){labels->entries[i + 1].name, labels->entries[i + 1].rgb};
  return (struct entry){names[i], inks[i]};
}

/* Entries side by side, as many lines as it takes. Returns how many; canvas NULL: draws nothing. */
static size_t legend_draw(struct canvas *canvas, const struct vn_palette *labels, size_t count,
                          size_t wide) {
  size_t x = GAP, lines = 1;
  for (size_t i = 0; i < count; i++) {
    const struct entry entry = entry_at(labels, i);
    const size_t long_ = 32 + canvas_text_width(TEXT, entry.name) + 24;
    if (x > GAP && x + long_ > wide) x = GAP, lines++;
    const size_t top = GAP + (lines - 1) * LINE;
    if (canvas) canvas_fill(canvas, x, top + 4, 24, 6, entry.rgb);
    if (canvas) canvas_text(canvas, x + 32, top, TEXT, ink, entry.name);
    x += long_;
  }
  return lines;
}

static enum vn_status sides_check(const size_t dim[3], size_t samples, struct vn_diag *diag) {
  for (int i = 0; i < 3; i++)
    if (dim[i] < 1 || dim[i] > VNT_SLICES_SIDE_MOST)
      return vn_fail(diag, VN_E_ARGUMENT, "a sample of %zu voxels along an axis cannot be drawn",
                     dim[i]);
  return samples ? VN_OK : vn_fail(diag, VN_E_ARGUMENT, "there is no sample to draw");
}

static size_t zoom_choose(const size_t dim[3]) {
  size_t most = dim[0] > dim[1] ? dim[0] : dim[1];
  if (dim[2] > most) most = dim[2];
  const size_t zoom = TILE / most;
  return zoom < ZOOM_LEAST ? ZOOM_LEAST : zoom > ZOOM_MOST ? ZOOM_MOST : zoom;
}

enum vn_status vnt_chart_slices(int fd, const struct vnt_slices *slices, struct vn_diag *diag) {
  enum { LEGEND_WIDE = 440 };
  const size_t *dim = slices->dim, samples = slices->samples, elems = dim[0] * dim[1] * dim[2];
  const struct vn_palette *labels = slices->labels;
  enum vn_status status = sides_check(dim, samples, diag);
  if (status) return status;
  if (labels && labels->count <= 2) labels = NULL;
  struct sample s = {
      .labels = labels, .predicted = slices->predicted, .dim = dim, .zoom = zoom_choose(dim)};
  const size_t wide = sample_wide(dim, s.zoom), high = rows_of(&s) * row_high(&s);
  size_t across = PICTURE_WIDE / wide ? PICTURE_WIDE / wide : 1;
  across = across < samples ? across : samples;
  const size_t total = across * wide > LEGEND_WIDE ? across * wide : LEGEND_WIDE;
  const size_t entries = labels ? labels->count - 1 : slices->predicted ? 3 : 1;
  const size_t below = GAP + legend_draw(NULL, labels, entries, total) * LINE;
  struct canvas canvas;
  status = canvas_open(total, (samples + across - 1) / across * high + below, &canvas, diag);
  if (status) return status;
  canvas_fill(&canvas, 0, 0, canvas.width, canvas.height, paper);
  legend_draw(&canvas, labels, entries, total);
  for (size_t i = 0; i < samples && !status; i++) {
    s.image = slices->image + i * elems;
    s.target = slices->target + i * elems;
    if (slices->predicted) s.predicted = slices->predicted + i * elems;
    status = sample_draw(&canvas, &s, i, i % across * wide, below + i / across * high, diag);
  }
  if (!status) status = canvas_write(fd, &canvas, diag);
  canvas_close(&canvas);
  return status;
}
