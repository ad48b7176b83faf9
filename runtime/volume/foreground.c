/* See foreground.h. */
#include "foreground.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

static const double around_mm = 3;
enum { VOXELS = 500 }; /* of a plane: one of them has to be foreground */

enum vn_status vn_foreground_parse(const char *text, float *level, struct vn_diag *diag) {
  double number;
  *level = -INFINITY;
  if (!text) return VN_OK;
  if (vn_numbers_parse(text, &number, 1) != 1 || fabs(number) > (double)FLT_MAX)
    return vn_fail(diag, VN_E_FORMAT, "the model's vnet.foreground is '%.60s', not a number", text);
  *level = (float)number;
  return VN_OK;
}

struct search {
  const struct vn_window_channel *channel;
  const size_t *dim; /* d h w of the view */
  float level;
  uint32_t *rows, *columns; /* [d][h], [d][w]: how many voxels are foreground */
  float *row;               /* [d][w] */
};

static void plane_count(void *context, size_t d) {
  const struct search *s = context;
  const struct vn_window_channel *c = s->channel;
  const size_t *dim = s->dim;
  uint32_t *columns = s->columns + d * dim[2];
  float *row = s->row + d * dim[2];
  for (size_t h = 0; h < dim[1]; h++) {
    uint32_t count = 0;
    vn_voxels_row(c->voxels,
                  c->walk.origin + (ptrdiff_t)d * c->walk.step[0] + (ptrdiff_t)h * c->walk.step[1],
                  c->walk.step[2], dim[2], row);
    for (size_t w = 0; w < dim[2]; w++) {
      const uint32_t lit = vn_intensity_apply(&c->intensity, row[w]) > s->level;
      count += lit;
      columns[w] += lit;
    }
    s->rows[d * dim[1] + h] = count;
  }
}

static uint64_t plane_sum(const struct search *s, int axis, size_t at) {
  const size_t *dim = s->dim;
  uint64_t sum = 0;
  if (axis == 0)
    for (size_t h = 0; h < dim[1]; h++) sum += s->rows[at * dim[1] + h];
  else
    for (size_t d = 0; d < dim[0]; d++)
      sum += axis == 1 ? s->rows[d * dim[1] + at] : s->columns[d * dim[2] + at];
  return sum;
}

/* Widens the box by this channel's planes. */
static void box_widen(const struct search *s, const struct vn_grid *grid, struct vn_box *box) {
  const double elems = (double)s->dim[0] * (double)s->dim[1] * (double)s->dim[2];
  for (int i = 0; i < 3; i++) {
    const double least = elems / (double)s->dim[i] / VOXELS;
    size_t first = 0, end = s->dim[i];
    while (first < end && (double)plane_sum(s, i, first) < least) first++;
    while (end > first && (double)plane_sum(s, i, end - 1) < least) end--;
    if (first == end) continue;
    /* Both grids share their centre. */
    const double middle = 0.5 * (double)s->dim[i], mm = grid->view.spacing_mm[i];
    const double low = ((double)first - middle) * mm - around_mm;
    const double high = ((double)end - middle) * mm + around_mm;
    const double from = floor(low / grid->spacing_mm[i] + 0.5 * (double)grid->dim[i]);
    const double to = ceil(high / grid->spacing_mm[i] + 0.5 * (double)grid->dim[i]);
    const size_t begin = from > 0 ? (size_t)from : 0;
    const size_t stop = to < (double)grid->dim[i] ? (size_t)to : grid->dim[i];
    if (box->to[i] == 0 || begin < box->from[i]) box->from[i] = begin;
    if (stop > box->to[i]) box->to[i] = stop;
  }
}

enum vn_status vn_foreground_find(struct vn_window_job *job, float level, struct vn_diag *diag) {
  const size_t *dim = job->grid->view.dim;
  const size_t rows = dim[0] * dim[1], columns = dim[0] * dim[2];
  struct search s = {.dim = dim, .level = level};
  s.rows = calloc(rows, sizeof *s.rows);
  s.row = malloc(columns * sizeof *s.row);
  enum vn_status status = VN_OK;
  if (!s.rows || !s.row) status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t c = 0; c < job->count && !status; c++) {
    s.channel = &job->channels[c];
    s.columns = calloc(columns, sizeof *s.columns);
    if (!s.columns) status = vn_fail(diag, VN_E_MEMORY, "out of memory");
    vn_stage_begin(job->stage, VN_FOREGROUND_NS * (double)rows * (double)dim[2]);
    if (!status) status = vn_stage_jobs(job->stage, dim[0], plane_count, &s, diag);
    if (!status) box_widen(&s, job->grid, &job->box);
    free(s.columns);
  }
  free(s.rows);
  free(s.row);
  return status;
}
