/* Connected pieces as sets of runs along x, joined by union-find; see components.h. */
#include "components.h"

#include <stdlib.h>
#include <string.h>

/* Voxels [x, end) of one row, all of `label`. */
struct piece_run {
  uint32_t x, end;
  uint32_t parent; /* index of a run that comes no later; itself: the root */
  uint16_t label;
};

struct pieces {
  const size_t *dim; /* i j k */
  struct piece_run *runs;
  size_t count, room;
  size_t *row;    /* [dim y * dim z + 1]: the row's first run */
  uint64_t *size; /* [runs]: voxels, at the root */
};

static bool run_add(struct pieces *p, size_t x, size_t end, size_t label) {
  if (p->count == p->room) {
    size_t room = p->room ? 2 * p->room : 4096;
    struct piece_run *runs = room > UINT32_MAX ? NULL : realloc(p->runs, room * sizeof *runs);
    if (!runs) return false;
    p->runs = runs;
    p->room = room;
  }
  p->runs[p->count] =
      (struct piece_run){(uint32_t)x, (uint32_t)end, (uint32_t)p->count, (uint16_t)label};
  p->count++;
  return true;
}

static bool row_find(struct pieces *p, const struct vn_label_map *map, size_t width, size_t row) {
  const char *at = vn_label_at(map, 0, row % p->dim[1], row / p->dim[1]);
  for (size_t x = 0; x < width;) {
    size_t begin = x, label = vn_label_get(map, at);
    while (x < width && vn_label_get(map, at) == label) x++, at += map->stride[0];
    if (label && !run_add(p, begin, x, label)) return false;
  }
  return true;
}

static enum vn_status runs_find(struct pieces *p, const struct vn_label_map *map,
                                struct vn_stage *stage, struct vn_diag *diag) {
  size_t rows = p->dim[1] * p->dim[2];
  for (size_t row = 0; row < rows; row++) {
    p->row[row] = p->count;
    if (!row_find(p, map, p->dim[0], row))
      return vn_fail(diag, VN_E_MEMORY, "out of memory for the labels' pieces");
    if (row % 64 == 0 && !vn_stage_tell(stage, 0.4 * (double)row / (double)rows))
      return vn_stage_cancelled(diag);
  }
  p->row[rows] = p->count;
  return VN_OK;
}

static uint32_t root_of(struct pieces *p, uint32_t run) {
  while (p->runs[run].parent != run) {
    p->runs[run].parent = p->runs[p->runs[run].parent].parent;
    run = p->runs[run].parent;
  }
  return run;
}

/* The earlier root wins, so that a piece's root is its first run. */
static void join(struct pieces *p, size_t a, size_t b) {
  uint32_t first = root_of(p, (uint32_t)a), second = root_of(p, (uint32_t)b);
  if (first < second)
    p->runs[second].parent = first;
  else
    p->runs[first].parent = second;
}

/* Joins what touches between two rows, corners included; both rows' runs are in order of x. */
static void rows_join(struct pieces *p, size_t row, size_t other) {
  size_t b = p->row[other], end = p->row[other + 1];
  for (size_t a = p->row[row]; a < p->row[row + 1]; a++) {
    const struct piece_run *run = &p->runs[a];
    while (b < end && p->runs[b].end < run->x) b++;
    for (size_t k = b; k < end && p->runs[k].x <= run->end; k++)
      if (p->runs[k].label == run->label) join(p, a, k);
  }
}

static bool neighbours_join(struct pieces *p, struct vn_stage *stage) {
  const size_t *dim = p->dim;
  for (size_t z = 0; z < dim[2]; z++) {
    for (size_t y = 0; y < dim[1]; y++) {
      size_t row = z * dim[1] + y;
      if (y) rows_join(p, row, row - 1);
      if (!z) continue;
      if (y) rows_join(p, row, row - dim[1] - 1);
      rows_join(p, row, row - dim[1]);
      if (y + 1 < dim[1]) rows_join(p, row, row - dim[1] + 1);
    }
    if (!vn_stage_tell(stage, 0.4 + 0.5 * (double)z / (double)dim[2])) return false;
  }
  return true;
}

static enum vn_status pieces_make(struct pieces *p, const struct vn_label_map *map,
                                  struct vn_stage *stage, struct vn_diag *diag) {
  p->row = calloc(p->dim[1] * p->dim[2] + 1, sizeof *p->row);
  if (!p->row || p->dim[0] > UINT32_MAX)
    return vn_fail(diag, VN_E_MEMORY, "out of memory for the labels' pieces");
  enum vn_status status = runs_find(p, map, stage, diag);
  if (status) return status;
  p->size = calloc(p->count + 1, sizeof *p->size);
  if (!p->size) return vn_fail(diag, VN_E_MEMORY, "out of memory for the labels' pieces");
  if (!neighbours_join(p, stage)) return vn_stage_cancelled(diag);
  for (size_t i = 0; i < p->count; i++)
    p->size[root_of(p, (uint32_t)i)] += p->runs[i].end - p->runs[i].x;
  return VN_OK;
}

static void pieces_free(struct pieces *p) {
  free(p->runs);
  free(p->row);
  free(p->size);
}

/* keep[label]: the root of its largest piece, the first of equals; `keep` comes as UINT32_MAX. */
static void largest_find(const struct pieces *p, uint32_t *keep) {
  for (uint32_t i = 0; i < p->count; i++) {
    uint32_t *best = &keep[p->runs[i].label];
    if (*best == UINT32_MAX || p->size[i] > p->size[*best]) *best = i;
  }
}

/* Removes the pieces below `least_vox` and, with `keep`, those that are not a label's chosen
 * one. */
static uint64_t pieces_remove(struct pieces *p, const struct vn_label_map *map, uint64_t least_vox,
                              const uint32_t *keep) {
  uint64_t removed = 0;
  for (size_t row = 0; row < p->dim[1] * p->dim[2]; row++)
    for (size_t i = p->row[row]; i < p->row[row + 1]; i++) {
      const struct piece_run *run = &p->runs[i];
      uint32_t root = root_of(p, (uint32_t)i);
      if (p->size[root] >= least_vox && (!keep || keep[run->label] == root)) continue;
      for (size_t x = run->x; x < run->end; x++)
        vn_label_put(map, vn_label_at(map, x, row % p->dim[1], row / p->dim[1]), 0);
      removed += run->end - run->x;
    }
  return removed;
}

enum vn_status vn_labels_clean(const struct vn_label_map *map, const struct vn_image *image,
                               size_t labels, bool largest, uint64_t least_vox,
                               struct vn_stage *stage, uint64_t *removed_vox,
                               struct vn_diag *diag) {
  struct pieces p = {.dim = image->dim};
  enum vn_status status = pieces_make(&p, map, stage, diag);
  uint32_t *keep = malloc(labels * sizeof *keep);
  if (status == VN_OK && !keep) status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  if (status == VN_OK) {
    memset(keep, 0xFF, labels * sizeof *keep);
    if (largest) largest_find(&p, keep);
    *removed_vox = pieces_remove(&p, map, least_vox, largest ? keep : NULL);
  }
  free(keep);
  pieces_free(&p);
  return status;
}

enum vn_status vn_labels_pieces(const struct vn_label_map *map, const struct vn_image *image,
                                size_t labels, struct vn_stage *stage, uint64_t *pieces,
                                struct vn_diag *diag) {
  struct pieces p = {.dim = image->dim};
  enum vn_status status = pieces_make(&p, map, stage, diag);
  uint64_t *whole = calloc(labels, sizeof *whole);
  if (status == VN_OK && !whole) status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  if (status == VN_OK) {
    memset(pieces, 0, labels * sizeof *pieces);
    for (size_t i = 0; i < p.count; i++) whole[p.runs[i].label] += p.size[i];
    for (size_t i = 0; i < p.count; i++) /* what is no root has no size */
      pieces[p.runs[i].label] += p.size[i] && 100 * p.size[i] >= whole[p.runs[i].label];
  }
  free(whole);
  pieces_free(&p);
  return status;
}
