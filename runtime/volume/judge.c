/* See judge.h. */
#include "judge.h"

#include <stdlib.h>
#include <string.h>

#include "components.h"

static const double PIECES_NS = 5, SURFACE_NS = 3;

double vn_judge_ns(const struct vn_expect *expect) {
  return (vn_expect_has(expect, VN_EXPECT_PIECES) ? PIECES_NS : 0) +
         (vn_expect_has(expect, VN_EXPECT_SURFACE) ? SURFACE_NS : 0);
}

enum vn_status vn_judge_open(struct vn_judge *judge, struct vn_diag *diag) {
  judge->counts = calloc(judge->labels, 2 * sizeof *judge->counts);
  judge->faces_mm2 = calloc(judge->labels, sizeof *judge->faces_mm2);
  if (!judge->counts || !judge->faces_mm2) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  judge->pieces = judge->counts + judge->labels;
  return VN_OK;
}

void vn_judge_close(struct vn_judge *judge) {
  free(judge->counts);
  free(judge->faces_mm2);
}

enum vn_status vn_judge_pieces(struct vn_judge *judge, struct vn_diag *diag) {
  if (!vn_expect_has(judge->expect, VN_EXPECT_PIECES)) return VN_OK;
  vn_stage_begin(judge->stage, PIECES_NS * (double)vn_image_elems(judge->image));
  return vn_labels_pieces(judge->map, judge->image, judge->labels, judge->stage, judge->pieces,
                          diag);
}

/* ---- voxels ---- */

/* Voxels of each label, and with `lit` those of the image above the level. */
static enum vn_status voxels_count(struct vn_judge *judge, float level, uint64_t *lit,
                                   struct vn_diag *diag) {
  const size_t *dim = judge->image->dim;
  float *row = malloc(dim[0] * sizeof *row);
  if (!row) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  bool go = true;
  for (size_t r = 0; go && r < dim[1] * dim[2]; r++) {
    const char *at = vn_label_at(judge->map, 0, r % dim[1], r / dim[1]);
    for (size_t i = 0; i < dim[0]; i++, at += judge->map->stride[0])
      judge->counts[vn_label_get(judge->map, at)]++;
    if (lit) vn_image_row(judge->image, judge->voxels, r % dim[1], r / dim[1], row);
    for (size_t i = 0; lit && i < dim[0]; i++) *lit += row[i] > level;
    if (r % 64 == 0) go = vn_stage_tell(judge->stage, 1);
  }
  free(row);
  return go ? VN_OK : vn_stage_cancelled(diag);
}

/* ---- faces ---- */

/* Where two labels meet, each of them has a face. */
static void faces_add(const uint16_t *a, const uint16_t *b, size_t count, double mm2,
                      double *faces_mm2) {
  for (size_t n = 0; n < count; n++) {
    if (a[n] == b[n]) continue;
    faces_mm2[a[n]] += mm2;
    faces_mm2[b[n]] += mm2;
  }
}

static void row_read(const struct vn_judge *judge, size_t j, size_t k, uint16_t *row) {
  const char *at = vn_label_at(judge->map, 0, j, k);
  for (size_t i = 0; i < judge->image->dim[0]; i++, at += judge->map->stride[0])
    row[i] = (uint16_t)vn_label_get(judge->map, at);
}

/* `slice` holds the one before and a frame of zeros, for label 0 lies around the image; `old` has
 * room for a row. */
static void slice_faces(struct vn_judge *judge, size_t k, const double mm2[3], uint16_t *slice,
                        uint16_t *old) {
  const size_t *dim = judge->image->dim, wide = dim[0] + 2;
  uint16_t *row = slice + 1;
  for (size_t j = 0; j < dim[1]; j++) {
    row += wide;
    memcpy(old, row, dim[0] * sizeof *old);
    if (k < dim[2])
      row_read(judge, j, k, row);
    else
      memset(row, 0, dim[0] * sizeof *row);
    faces_add(row - 1, row, dim[0] + 1, mm2[0], judge->faces_mm2);
    faces_add(row - wide, row, dim[0], mm2[1], judge->faces_mm2);
    faces_add(old, row, dim[0], mm2[2], judge->faces_mm2);
  }
  faces_add(row, row + wide, dim[0], mm2[1], judge->faces_mm2);
}

static enum vn_status faces_measure(struct vn_judge *judge, struct vn_diag *diag) {
  const size_t *dim = judge->image->dim;
  double mm[3];
  vn_image_spacing(judge->image, mm);
  const double mm2[3] = {mm[1] * mm[2], mm[0] * mm[2], mm[0] * mm[1]};
  uint16_t *slice = calloc(dim[0] + 2, (dim[1] + 3) * sizeof *slice);
  if (!slice) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  vn_stage_begin(judge->stage, SURFACE_NS * (double)vn_image_elems(judge->image));
  bool go = true;
  for (size_t k = 0; go && k <= dim[2]; k++) {
    slice_faces(judge, k, mm2, slice, slice + (dim[0] + 2) * (dim[1] + 2));
    go = vn_stage_tell(judge->stage, (double)k / (double)dim[2]);
  }
  free(slice);
  return go ? VN_OK : vn_stage_cancelled(diag);
}

/* ---- what is said ---- */

enum vn_status vn_judge_labels(struct vn_judge *judge, float level, char *warning, size_t size,
                               struct vn_diag *diag) {
  uint64_t lit = 0, labelled = 0;
  const bool share = vn_expect_has(judge->expect, VN_EXPECT_SHARE);
  enum vn_status status = voxels_count(judge, level, share ? &lit : NULL, diag);
  if (!status && vn_expect_has(judge->expect, VN_EXPECT_SURFACE))
    status = faces_measure(judge, diag);
  if (status) return status;
  for (size_t c = 1; c < judge->labels; c++) labelled += judge->counts[c];
  const struct vn_expect_facts facts = {judge->counts, judge->pieces, judge->faces_mm2,
                                        vn_image_voxel_ml(judge->image), lit};
  if (!labelled)
    vn_say(warning, size, "nothing was found: every voxel is background");
  else
    vn_expect_labels(judge->expect, &facts, judge->name, judge->context, warning, size);
  return VN_OK;
}
