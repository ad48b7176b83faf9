/* Slices, outlines and marks; see picture.h. */
#include "picture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "canvas.h"
#include "fail.h"
#include "filling.h"
#include "font.h"
#include "orient.h"

enum {
  SLICES = 6,      /* in a row */
  WIDTH = 1500,    /* of the picture, at most, in pixels */
  HEIGHT = 1500,   /* likewise, but for captions */
  GAP = 6,         /* around each slice */
  CAPTION = 12,    /* below each slice, in pixels */
  MARK = 2,        /* from a slice's edge to its mark */
  TILE_LEAST = 24, /* pixels; what is thinner is not looked at */
  GREYS = 1 << 16, /* that are told apart to choose those that are shown */
  CT_WIDTH_LEAST = 80,
};

/* A row of slices: view axis `across` runs to the left, `down` runs up, `through` from slice to
 * slice. Axes are 0, 1, 2: d, h, w of a view in RAS, so that the larger index is left and on
 * top. */
struct row {
  int across, down, through;
  char marks[4]; /* left right top bottom */
  char world;    /* what the caption counts along */
};
static const struct row rows[3] = {
    {2, 1, 0, {'R', 'L', 'A', 'P'}, 'z'},
    {2, 0, 1, {'R', 'L', 'S', 'I'}, 'y'},
    {1, 0, 2, {'A', 'P', 'S', 'I'}, 'x'},
};

struct drawing {
  const struct picture_job *job;
  struct vn_image image; /* taken, as is the map */
  struct vn_label_map map;
  struct vn_voxels voxels;
  struct vn_view view;
  struct vn_walk walk; /* of the view over the voxels */
  bool oriented;
  struct vn_intensity grey; /* to [0, 1] */
  size_t low[3], high[3];   /* of what is labelled, d h w */
  double pixel_mm;
  size_t width, height;
  struct canvas canvas;
  uint16_t *label; /* of the slice being drawn, and one pixel around it */
};

static size_t label_at(const struct drawing *p, const size_t at[3]) {
  size_t ijk[3];
  vn_view_voxel(&p->view, at, ijk);
  return vn_label_get(&p->map, vn_label_at(&p->map, ijk[0], ijk[1], ijk[2]));
}

static float value_at(const struct drawing *p, const size_t at[3]) {
  float value;
  vn_voxels_row(&p->voxels,
                p->walk.origin + (ptrdiff_t)at[0] * p->walk.step[0] +
                    (ptrdiff_t)at[1] * p->walk.step[1] + (ptrdiff_t)at[2] * p->walk.step[2],
                0, 1, &value);
  return value;
}

/* ---- what to show ---- */

static void bounds_find(struct drawing *p) {
  const size_t *dim = p->view.dim;
  bool any = false;
  size_t at[3];
  for (at[0] = 0; at[0] < dim[0]; at[0]++)
    for (at[1] = 0; at[1] < dim[1]; at[1]++)
      for (at[2] = 0; at[2] < dim[2]; at[2]++) {
        if (!label_at(p, at)) continue;
        for (int i = 0; i < 3; i++) {
          if (!any || at[i] < p->low[i]) p->low[i] = at[i];
          if (!any || at[i] > p->high[i]) p->high[i] = at[i];
        }
        any = true;
      }
  for (int i = 0; i < 3 && !any; i++) {
    p->low[i] = 0;
    p->high[i] = dim[i] - 1;
  }
}

static double extent_mm(const struct drawing *p, int axis) {
  return (double)p->view.dim[axis] * p->view.spacing_mm[axis];
}

static size_t pixels(const struct drawing *p, int axis) {
  double count = ceil(extent_mm(p, axis) / p->pixel_mm - 1e-6);
  return count < 1 ? 1 : (size_t)count;
}

static size_t tile(const struct drawing *p, int axis) {
  size_t count = pixels(p, axis);
  return count < TILE_LEAST ? TILE_LEAST : count;
}

/* One scale for all three rows; the picture is as large as its bounds allow. */
static void scale_choose(struct drawing *p) {
  double wide = 0, high = 0;
  for (int r = 0; r < 3; r++) {
    wide = fmax(wide, SLICES * extent_mm(p, rows[r].across));
    high += extent_mm(p, rows[r].down);
  }
  p->pixel_mm = fmax(wide / (WIDTH - SLICES * 2 * GAP), high / (HEIGHT - 3 * 2 * GAP));
  for (int r = 0; r < 3; r++) {
    size_t across = SLICES * (tile(p, rows[r].across) + 2 * GAP);
    p->width = across > p->width ? across : p->width;
    p->height += tile(p, rows[r].down) + 2 * GAP + CAPTION;
  }
}

/* ---- drawing ---- */

static const uint8_t ink[3] = {255, 214, 102};

/* The view's index at the centre of pixel `i` of `count`, counted from the high end. */
static double index_at(const struct drawing *p, int axis, size_t i) {
  double count = extent_mm(p, axis) / p->pixel_mm;
  double at = (count - (double)i - 0.5) * p->pixel_mm / p->view.spacing_mm[axis] - 0.5;
  return fmin(fmax(at, 0), (double)(p->view.dim[axis] - 1));
}

/* Bilinear within the slice. */
static uint8_t grey_at(const struct drawing *p, const struct row *row, size_t slice, double a,
                       double b) {
  size_t a0 = (size_t)a, b0 = (size_t)b;
  double fa = a - (double)a0, fb = b - (double)b0, sum = 0;
  for (int i = 0; i < 4; i++) {
    double weight = (i & 1 ? fa : 1 - fa) * (i & 2 ? fb : 1 - fb);
    size_t at[3];
    if (weight == 0) continue;
    at[row->across] = a0 + (i & 1);
    at[row->down] = b0 + (i >> 1);
    at[row->through] = slice;
    sum += weight * (double)value_at(p, at);
  }
  return (uint8_t)(vn_intensity_apply(&p->grey, (float)sum) * 255 + 0.5f);
}

static void slice_draw(struct drawing *p, const struct row *row, size_t slice, size_t left,
                       size_t top) {
  size_t wide = pixels(p, row->across), high = pixels(p, row->down);
  for (size_t y = 0; y < high; y++)
    for (size_t x = 0; x < wide; x++) {
      double a = index_at(p, row->across, x), b = index_at(p, row->down, y);
      uint8_t grey = grey_at(p, row, slice, a, b);
      size_t at[3];
      at[row->across] = (size_t)(a + 0.5);
      at[row->down] = (size_t)(b + 0.5);
      at[row->through] = slice;
      p->label[y * wide + x] = (uint16_t)label_at(p, at);
      canvas_dot(&p->canvas, left + x, top + y, (const uint8_t[]){grey, grey, grey});
    }
  for (size_t y = 0; y < high; y++)
    for (size_t x = 0; x < wide; x++) {
      const uint16_t *here = &p->label[y * wide + x];
      bool edge = (x && here[-1] != *here) || (x + 1 < wide && here[1] != *here) ||
                  (y && *(here - wide) != *here) || (y + 1 < high && here[wide] != *here);
      if (*here && edge) canvas_dot(&p->canvas, left + x, top + y, p->job->labels[*here].rgb);
    }
}

static void marks_draw(struct drawing *p, const struct row *row, size_t left, size_t top) {
  static const char plain[3] = {'z', 'y', 'x'};
  size_t wide = pixels(p, row->across), high = pixels(p, row->down);
  char across = plain[row->across], down = plain[row->down];
  char marks[4] = {across, ' ', down, ' '};
  if (p->oriented) memcpy(marks, row->marks, sizeof marks);
  size_t middle_x = left + (wide > FONT_WIDTH ? (wide - FONT_WIDTH) / 2 : 0);
  size_t middle_y = top + (high > FONT_HEIGHT ? (high - FONT_HEIGHT) / 2 : 0);
  const size_t x[4] = {left + MARK, left + wide - FONT_WIDTH - MARK, middle_x, middle_x};
  const size_t y[4] = {middle_y, middle_y, top + MARK, top + high - FONT_HEIGHT - MARK};
  for (int i = 0; i < 4; i++) /* a slice too thin for two marks has one */
    if (!(i & 1) || (i < 2 ? wide : high) >= 3 * FONT_HEIGHT)
      canvas_text(&p->canvas, x[i], y[i], 1, ink, (const char[]){marks[i], '\0'});
}

/* Where the slice's centre lies along the row's world axis, in mm; its index where that is
 * unknown. */
static void caption_draw(struct drawing *p, const struct row *row, size_t slice, size_t left,
                         size_t top) {
  size_t at[3] = {p->view.dim[0] / 2, p->view.dim[1] / 2, p->view.dim[2] / 2}, ijk[3];
  at[row->through] = slice;
  vn_view_voxel(&p->view, at, ijk);
  const double *a = p->image.affine[row->world - 'x'];
  char text[40];
  if (p->oriented)
    snprintf(text, sizeof text, "%c %.0f mm", row->world,
             a[0] * (double)ijk[0] + a[1] * (double)ijk[1] + a[2] * (double)ijk[2] + a[3]);
  else
    snprintf(text, sizeof text, "%c %zu", row->world, slice);
  canvas_text(&p->canvas, left, top, 1, ink, text);
}

static void rows_draw(struct drawing *p) {
  size_t top = GAP;
  for (int r = 0; r < 3; r++) {
    const struct row *row = &rows[r];
    size_t first = p->low[row->through], count = p->high[row->through] - first + 1;
    size_t slices = count < SLICES ? count : SLICES;
    size_t wide = tile(p, row->across), high = tile(p, row->down);
    for (size_t i = 0; i < slices; i++) {
      size_t slice = first + (2 * i + 1) * count / (2 * slices);
      size_t left = (2 * i + 1) * p->width / (2 * SLICES) - wide / 2; /* in columns for all rows */
      slice_draw(p, row, slice, left, top);
      marks_draw(p, row, left, top);
      caption_draw(p, row, slice, left, top + high + 3);
    }
    top += high + 2 * GAP + CAPTION;
  }
}

/* Where the labelled voxels' greys lie, but for a twentieth on either side. */
static bool labelled_find(const struct drawing *p, uint32_t *counts, double *low, double *high) {
  size_t at[3], all = 0, sum, i = 0;
  for (at[0] = p->low[0]; at[0] <= p->high[0]; at[0]++)
    for (at[1] = p->low[1]; at[1] <= p->high[1]; at[1]++)
      for (at[2] = p->low[2]; at[2] <= p->high[2]; at[2]++) {
        if (!label_at(p, at)) continue;
        counts[(size_t)(vn_intensity_apply(&p->grey, value_at(p, at)) * (GREYS - 1) + 0.5f)]++;
        all++;
      }
  for (sum = counts[0]; i + 1 < GREYS && sum <= all / 20; sum += counts[i]) i++;
  *low = (double)i / GREYS;
  for (; i + 1 < GREYS && sum < all - all / 20; sum += counts[i]) i++;
  *high = (double)(i + 1) / GREYS;
  return all > 0;
}

/* A CT's greys: three times as wide as those of what is labelled, which would be nearly one grey
 * beside air and bone. */
static enum vn_status grey_narrow(struct drawing *p, struct vn_diag *diag) {
  double low, high;
  uint32_t *counts = calloc(GREYS, sizeof *counts);
  if (!counts) return vn_fail(diag, VN_E_MEMORY, "out of memory for the picture");
  if (labelled_find(p, counts, &low, &high)) {
    const double whole = 1 / (double)p->grey.scale;
    const double width = fmin(fmax(3 * (high - low) * whole, CT_WIDTH_LEAST), whole);
    p->grey.shift += (float)(0.5 * (low + high) * whole - 0.5 * width);
    p->grey.scale = (float)(1 / width);
  }
  free(counts);
  return VN_OK;
}

/* Greys between the image's percentiles; filling and what is not finite are black. */
static enum vn_status grey_choose(struct drawing *p, struct vn_diag *diag) {
  static const struct vn_intensity_rule rule = {VN_INTENSITY_PERCENTILE, 0.5, 99.5, 0, 0};
  struct vn_survey survey;
  struct vn_filling filling;
  enum vn_status status =
      vn_survey_own(&p->image, NULL, true, NULL, &p->voxels, &survey, &filling, diag);
  if (!status) status = vn_intensity_fit(&rule, &p->image, &survey, NULL, &p->grey, diag);
  if (status && status != VN_E_MEMORY) { /* nothing to tell apart: all black */
    p->grey = (struct vn_intensity){0, 0, 0, 1, false};
    p->voxels.mended = true; /* all of them: what is beyond float32 would be no number */
    p->voxels.low = p->voxels.high = p->voxels.fill = p->voxels.over = 0;
    status = VN_OK;
  } else if (!status && vn_survey_ct(&survey)) {
    status = grey_narrow(p, diag);
  }
  vn_survey_close(&survey);
  return status;
}

static enum vn_status drawing_open(struct drawing *p, struct vn_diag *diag) {
  enum vn_status status = vn_image_take(p->job->image, &p->image, diag);
  if (!status) status = vn_label_map_take(p->job->map, &p->image, &p->map, diag);
  if (status) return status;
  p->oriented = p->image.world != VN_WORLD_UNKNOWN;
  p->view = vn_view_plain(&p->image);
  if (p->oriented && (status = vn_view_orient(&p->image, "RAS", &p->view, diag))) return status;
  p->walk = vn_view_walk(&p->view, p->image.stride);
  p->voxels = vn_voxels_of(&p->image);
  bounds_find(p);
  scale_choose(p);
  return grey_choose(p, diag);
}

enum vn_status picture_write(int fd, const struct picture_job *job, struct vn_diag *diag) {
  struct drawing p = {.job = job};
  enum vn_status status = drawing_open(&p, diag);
  if (status) return status;
  size_t most = 0;
  for (int r = 0; r < 3; r++) {
    size_t area = pixels(&p, rows[r].across) * pixels(&p, rows[r].down);
    most = area > most ? area : most;
  }
  status = canvas_open(p.width, p.height, &p.canvas, diag);
  if (status == VN_OK && !(p.label = calloc(most, sizeof *p.label)))
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the picture");
  if (status == VN_OK) {
    rows_draw(&p);
    status = canvas_write(fd, &p.canvas, diag);
  }
  canvas_close(&p.canvas);
  free(p.label);
  return status;
}
