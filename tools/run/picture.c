/* Slices, outlines and marks; see picture.h. */
#include "picture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "canvas.h"
#include "fail.h"
#include "font.h"
#include "intensity.h"
#include "orient.h"

enum {
  SLICES = 6,      /* in a row */
  WIDTH = 1500,    /* of the picture, at most, in pixels */
  HEIGHT = 1500,   /* likewise, but for captions */
  GAP = 6,         /* around each slice */
  CAPTION = 12,    /* below each slice, in pixels */
  MARK = 2,        /* from a slice's edge to its mark */
  TILE_LEAST = 24, /* pixels; what is thinner is not looked at */
};

/* A row of slices: view axis `across` runs to the left, `down` runs up, `through` from slice to
 * slice. Axes are 0, 1, 2: d, h, w of a view in RAS, so that the larger index is left and on top.
 */
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
  struct vn_view view;
  bool oriented;
  struct vn_intensity grey; /* to [0, 1] */
  size_t low[3], high[3];   /* of what is labelled, d h w */
  double pixel_mm;
  size_t width, height;
  struct canvas canvas;
  uint16_t *label; /* of the slice being drawn, and one pixel around it */
};

static size_t voxel_at(const struct vn_view *view, const size_t at[3]) {
  ptrdiff_t i = (ptrdiff_t)view->origin;
  for (int axis = 0; axis < 3; axis++) i += (ptrdiff_t)at[axis] * view->step[axis];
  return (size_t)i;
}

static size_t label_at(const struct vn_labels *labels, size_t i) {
  return labels->elem_bytes == 1 ? ((const uint8_t *)labels->data)[i]
                                 : (size_t)((const int16_t *)labels->data)[i];
}

/* ---- what to show ---- */

static void bounds_find(struct drawing *p) {
  const size_t *dim = p->view.dim;
  bool any = false;
  size_t at[3];
  for (at[0] = 0; at[0] < dim[0]; at[0]++)
    for (at[1] = 0; at[1] < dim[1]; at[1]++)
      for (at[2] = 0; at[2] < dim[2]; at[2]++) {
        if (!label_at(p->job->labels, voxel_at(&p->view, at))) continue;
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
    sum += weight * (double)p->job->scan->voxels[voxel_at(&p->view, at)];
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
      p->label[y * wide + x] = (uint16_t)label_at(p->job->labels, voxel_at(&p->view, at));
      canvas_dot(&p->canvas, left + x, top + y, (const uint8_t[]){grey, grey, grey});
    }
  for (size_t y = 0; y < high; y++)
    for (size_t x = 0; x < wide; x++) {
      const uint16_t *here = &p->label[y * wide + x];
      bool edge = (x && here[-1] != *here) || (x + 1 < wide && here[1] != *here) ||
                  (y && *(here - wide) != *here) || (y + 1 < high && here[wide] != *here);
      if (*here && edge)
        canvas_dot(&p->canvas, left + x, top + y, p->job->palette->entries[*here].rgb);
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

/* Where the slice's centre lies along the row's world axis, in mm; its index where that is unknown.
 */
static void caption_draw(struct drawing *p, const struct row *row, size_t slice, size_t left,
                         size_t top) {
  const struct vn_scan *scan = p->job->scan;
  size_t at[3] = {p->view.dim[0] / 2, p->view.dim[1] / 2, p->view.dim[2] / 2};
  at[row->through] = slice;
  size_t i = voxel_at(&p->view, at), world = (size_t)(row->world - 'x');
  double ijk[3] = {(double)(i % scan->dim[0]), (double)(i / scan->dim[0] % scan->dim[1]),
                   (double)(i / scan->dim[0] / scan->dim[1])};
  const double *a = scan->affine[world];
  char text[40];
  if (p->oriented)
    snprintf(text, sizeof text, "%c %.0f mm", row->world,
             a[0] * ijk[0] + a[1] * ijk[1] + a[2] * ijk[2] + a[3]);
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

enum vn_status picture_write(int fd, const struct picture_job *job, struct vn_diag *diag) {
  static const struct vn_intensity_rule rule = {VN_INTENSITY_PERCENTILE, 0.5, 99.5};
  const struct vn_scan *scan = job->scan;
  struct drawing p = {.job = job, .oriented = scan->oriented && !scan->contradictory};
  enum vn_status status = VN_OK;
  p.view = vn_view_plain(scan);
  if (p.oriented) status = vn_view_orient(scan, "RAS", &p.view, diag);
  if (status) return status;
  /* Nothing to tell apart: all of it black. */
  if (vn_intensity_fit(&rule, scan->voxels, scan->elems, NULL, &p.grey, NULL))
    p.grey = (struct vn_intensity){0, 0, 0, 1};
  bounds_find(&p);
  scale_choose(&p);
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
