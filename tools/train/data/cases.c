/* Reading, checking and preparing cases; see cases.h. Each case is a job of its own; a job that
 * lies behind a bad case is left out, since only the first is told. */
#include "cases.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "cases_list.h"
#include "fail.h"
#include "grid.h"
#include "scan.h"

/* Of a voxel, at the farthest corner. A quaternion near half a turn, in float32, errs by 0.03 of
 * one at the edge of a head; a label that is off by this much is off by nothing. */
static const double APART_MOST_VOX = 0.05;

struct loading {
  struct vnt_cases *cases;
  enum vn_status *status;
  struct vn_diag *diag;
  atomic_size_t first_bad;
};

/* One case on its way. */
struct pair {
  const struct vnt_cases_spec *spec;
  struct vnt_case *item;
  struct vnt_scan image, label;
  struct vn_voxels voxels; /* of the image, without filling */
  struct vn_grid grid;
  uint8_t *voxel_label; /* of the scan's voxels along the network's axes */
  struct vn_diag *diag;
};

/* ---- checks ---- */

static const char *label_name(const struct pair *p) {
  return vnt_path_end(p->item->label_path);
}

static enum vn_status grids_compare(const struct pair *p) {
  const struct vn_image *a = &p->image.image, *b = &p->label.image;
  if (memcmp(a->dim, b->dim, sizeof a->dim))
    return vn_fail(p->diag, VN_E_FORMAT, "%s has %zu x %zu x %zu voxels, its image %zu x %zu x %zu",
                   label_name(p), b->dim[0], b->dim[1], b->dim[2], a->dim[0], a->dim[1], a->dim[2]);
  double most = 0, spacing_mm[3];
  vn_image_spacing(a, spacing_mm);
  const double smallest = fmin(fmin(spacing_mm[0], spacing_mm[1]), spacing_mm[2]);
  double at[2][3] = {{0}};
  size_t voxel[3] = {0};
  for (int corner = 0; corner < 8; corner++) {
    size_t v[3];
    double world[2][3], apart = 0;
    for (int i = 0; i < 3; i++) v[i] = corner >> i & 1 ? a->dim[i] - 1 : 0;
    for (int i = 0; i < 3; i++) {
      for (int s = 0; s < 2; s++) {
        const double *row = s ? b->affine[i] : a->affine[i];
        world[s][i] =
            row[0] * (double)v[0] + row[1] * (double)v[1] + row[2] * (double)v[2] + row[3];
      }
      apart += (world[1][i] - world[0][i]) * (world[1][i] - world[0][i]);
    }
    if (sqrt(apart) / smallest <= most + 1e-6) continue; /* of equals the first */
    most = sqrt(apart) / smallest;
    memcpy(at, world, sizeof at);
    memcpy(voxel, v, sizeof voxel);
  }
  if (most <= APART_MOST_VOX) return VN_OK;
  return vn_fail(p->diag, VN_E_FORMAT,
                 "%s lies elsewhere than its image: voxel %zu %zu %zu is at %.6g %.6g %.6g mm, "
                 "the image's at %.6g %.6g %.6g mm, %.3g voxels apart",
                 label_name(p), voxel[0], voxel[1], voxel[2], at[1][0], at[1][1], at[1][2],
                 at[0][0], at[0][1], at[0][2], most);
}

static enum vn_status values_check(const struct pair *p) {
  const float *voxels = vnt_scan_voxels(&p->label);
  const size_t *dim = p->label.image.dim;
  const float most = (float)(p->spec->classes - 1);
  bool empty = true;
  for (size_t i = 0; i < vn_image_elems(&p->label.image); i++) {
    const float v = voxels[i];
    empty = empty && v == 0;
    if (v >= 0 && v <= most && v == floorf(v)) continue;
    return vn_fail(p->diag, VN_E_FORMAT, "%s: voxel %zu %zu %zu is %g, %s to %zu%s", label_name(p),
                   i % dim[0], i / dim[0] % dim[1], i / dim[0] / dim[1], (double)v,
                   v == floorf(v) ? "and the labels are 0" : "not a whole number from 0",
                   p->spec->classes - 1,
                   v == floorf(v) ? ", as many as --classes and --init have" : "");
  }
  if (!empty) return VN_OK;
  return vn_fail(p->diag, VN_E_FORMAT, "%s: nothing is labelled, every voxel is 0", label_name(p));
}

/* ---- to the model's grid ---- */

static enum vn_status grid_lay(struct pair *p) {
  struct vn_view view = vn_view_plain(&p->image.image);
  struct vn_diag inner;
  enum vn_status status = VN_OK;
  if (*p->spec->orientation)
    status = vnt_scan_orient(&p->image, p->spec->orientation, &view, &inner);
  double spacing_mm[3];
  for (int i = 0; i < 3; i++)
    spacing_mm[i] = p->spec->spacing_mm[i] > 0 ? p->spec->spacing_mm[i] : view.spacing_mm[i];
  if (!status) status = vn_grid_make(&view, spacing_mm, &p->grid, &inner);
  if (!status) return VN_OK;
  return vn_fail(p->diag, status, "%s: %.300s", vnt_path_end(p->item->image_path), inner.text);
}

static enum vn_status out_of_memory(const struct pair *p) {
  return vn_fail(p->diag, VN_E_MEMORY, "out of memory for %s", vnt_path_end(p->item->image_path));
}

static enum vn_status image_place(struct pair *p) {
  struct vnt_source *source = &p->item->source;
  const size_t *dim = p->grid.dim, start[2] = {0}, plane = dim[1] * dim[2];
  const struct vn_walk walk = vn_view_walk(&p->grid.view, p->image.image.stride);
  float *scratch = malloc(vn_grid_scratch(&p->grid, dim) * sizeof *scratch);
  float *image = p->item->image = malloc(dim[0] * plane * sizeof *image);
  if (!scratch || !image) {
    free(scratch);
    return out_of_memory(p);
  }
  for (size_t d = 0; d < dim[0]; d++)
    vn_grid_sample(&p->grid, &p->voxels, &walk, d, start, dim + 1, scratch, image + d * plane);
  free(scratch);
  for (size_t i = 0; i < dim[0] * plane; i++)
    image[i] = vn_intensity_apply(&source->intensity, image[i]);
  source->image = image;
  memcpy(source->dim, dim, sizeof source->dim);
  memcpy(source->spacing_mm, p->grid.spacing_mm, sizeof source->spacing_mm);
  return vnt_landmarks_find(image, dim[0] * plane, &source->landmarks, p->diag);
}

/* The label with the largest weight among the taps of a grid point. */
struct ballot {
  float weight[VNT_CLASSES_MOST]; /* 0 but for the labels seen */
  uint8_t seen[VNT_CLASSES_MOST];
  size_t count;
};

static void vote(struct ballot *b, uint8_t label, float weight) {
  if (weight <= 0) return;
  if (b->weight[label] == 0) b->seen[b->count++] = label;
  b->weight[label] += weight;
}

static uint8_t ballot_close(struct ballot *b) {
  uint8_t best = b->seen[0];
  for (size_t i = 1; i < b->count; i++) {
    const uint8_t label = b->seen[i];
    const float more = b->weight[label] - b->weight[best];
    if (more > 0 || (more == 0 && label < best)) best = label;
  }
  for (size_t i = 0; i < b->count; i++) b->weight[b->seen[i]] = 0;
  b->count = 0;
  return best;
}

static void label_row(const struct pair *p, struct ballot *b, size_t d, size_t h, uint8_t *to) {
  const struct vn_taps *in = p->grid.in;
  const size_t *dim = p->grid.view.dim;
  for (size_t w = 0; w < p->grid.dim[2]; w++) {
    for (size_t i = 0; i < in[0].count; i++)
      for (size_t j = 0; j < in[1].count; j++) {
        const float rows = in[0].weight[d * in[0].count + i] * in[1].weight[h * in[1].count + j];
        const float *weight = in[2].weight + w * in[2].count;
        const uint8_t *from = p->voxel_label +
                              ((in[0].first[d] + i) * dim[1] + in[1].first[h] + j) * dim[2] +
                              in[2].first[w];
        for (size_t k = 0; k < in[2].count && rows > 0; k++) vote(b, from[k], rows * weight[k]);
      }
    to[w] = ballot_close(b);
  }
}

static enum vn_status target_place(struct pair *p) {
  struct vnt_case *item = p->item;
  const struct vn_view *view = &p->grid.view;
  const size_t *dim = p->grid.dim;
  const float *voxels = vnt_scan_voxels(&p->label);
  const struct vn_walk walk = vnt_scan_walk(&p->label, view);
  uint8_t *from = p->voxel_label = malloc(vn_image_elems(&p->label.image));
  item->target = malloc(dim[0] * dim[1] * dim[2]);
  if (!from || !item->target) return out_of_memory(p);
  for (size_t d = 0; d < view->dim[0]; d++)
    for (size_t h = 0; h < view->dim[1]; h++)
      for (size_t w = 0; w < view->dim[2]; w++)
        *from++ = (uint8_t)voxels[walk.origin + (ptrdiff_t)d * walk.step[0] +
                                  (ptrdiff_t)h * walk.step[1] + (ptrdiff_t)w * walk.step[2]];
  struct ballot ballot = {0};
  for (size_t d = 0; d < dim[0]; d++)
    for (size_t h = 0; h < dim[1]; h++)
      label_row(p, &ballot, d, h, item->target + (d * dim[1] + h) * dim[2]);
  item->source.target = item->target;
  return VN_OK;
}

/* What the sampler draws from. */
static enum vn_status target_count(struct pair *p) {
  struct vnt_case *item = p->item;
  const size_t planes = p->grid.dim[0], plane = p->grid.dim[1] * p->grid.dim[2];
  item->before = calloc(p->spec->classes * (planes + 1), sizeof *item->before);
  item->label = malloc(p->spec->classes);
  if (!item->before || !item->label) return out_of_memory(p);
  for (size_t i = 0; i < planes * plane; i++)
    item->before[item->target[i] * (planes + 1) + i / plane + 1]++;
  for (size_t c = 0; c < p->spec->classes; c++) {
    uint64_t *before = item->before + c * (planes + 1);
    for (size_t d = 0; d < planes; d++) before[d + 1] += before[d];
    if (c && before[planes]) item->label[item->present++] = (uint8_t)c;
  }
  if (item->present) return VN_OK;
  return vn_fail(p->diag, VN_E_UNSUPPORTED,
                 "%s: nothing of its labels is left at the model's spacing", label_name(p));
}

/* ---- a case ---- */

static void note_take(struct pair *p, const struct vnt_scan *scan, const char *path) {
  const char *note = vn_scan_note(scan->file);
  if (note) vn_say(p->item->note, sizeof p->item->note, "%.100s: %s", vnt_path_end(path), note);
}

static enum vn_status pair_load(struct pair *p) {
  struct vnt_case *item = p->item;
  enum vn_status status = vnt_scan_open(item->image_path, &p->image, p->diag);
  if (!status) status = vnt_scan_open(item->label_path, &p->label, p->diag);
  if (status) return status;
  note_take(p, &p->image, item->image_path);
  note_take(p, &p->label, item->label_path);
  status = grids_compare(p);
  if (!status) status = grid_lay(p);
  if (!status) status = vnt_scan_load(&p->image, NULL, p->diag);
  if (status) return status;
  struct vn_diag inner;
  status = vnt_scan_fit(&p->spec->intensity, &p->image, &p->voxels, &item->source.intensity,
                        item->note, sizeof item->note, &inner);
  if (status)
    return vn_fail(p->diag, status, "%s: %.300s", vnt_path_end(item->image_path), inner.text);
  if (!item->validation) status = image_place(p);
  vnt_scan_close(&p->image); /* its voxels, before those of the labels */
  if (!status) status = vnt_scan_load(&p->label, NULL, p->diag);
  if (!status) status = values_check(p);
  if (!status && !item->validation) status = target_place(p);
  if (!status && !item->validation) status = target_count(p);
  return status;
}

static void case_load(void *context, size_t index, size_t slot) {
  struct loading *loading = context;
  (void)slot;
  if (index > atomic_load(&loading->first_bad)) return;
  struct vn_diag inner = {{0}};
  struct pair p = {
      .spec = &loading->cases->spec, .item = &loading->cases->items[index], .diag = &inner};
  const enum vn_status status = pair_load(&p);
  vnt_scan_close(&p.image);
  vnt_scan_close(&p.label);
  vn_grid_close(&p.grid);
  free(p.voxel_label);
  loading->status[index] = status;
  if (!status) return;
  loading->diag[index] = inner;
  size_t first = atomic_load(&loading->first_bad);
  while (index < first && !atomic_compare_exchange_weak(&loading->first_bad, &first, index)) {
  }
}

/* ---- all of them ---- */

static enum vn_status spec_check(const struct vnt_cases_spec *spec, struct vn_diag *diag) {
  if (spec->classes < 2 || spec->classes > VNT_CLASSES_MOST)
    return vn_fail(diag, VN_E_ARGUMENT, "%zu classes: 2 to %d can be learnt from label maps",
                   spec->classes, VNT_CLASSES_MOST);
  for (int i = 0; i < 3; i++)
    if (!(spec->spacing_mm[i] >= 0 && isfinite(spec->spacing_mm[i])))
      return vn_fail(diag, VN_E_ARGUMENT, "a spacing of %g mm", spec->spacing_mm[i]);
  return VN_OK;
}

/* From the list's rows to empty cases. */
static enum vn_status rows_take(struct vnt_list *list, const char *csv, struct vnt_cases *cases,
                                struct vn_diag *diag) {
  cases->items = calloc(list->count + 1, sizeof *cases->items);
  cases->training = malloc((list->count + 1) * sizeof *cases->training);
  if (!cases->items || !cases->training)
    return vn_fail(diag, VN_E_MEMORY, "out of memory for the list of cases");
  cases->count = list->count;
  for (size_t i = 0; i < list->count; i++) {
    struct vnt_list_row *row = &list->row[i];
    cases->items[i] = (struct vnt_case){.image_path = row->image,
                                        .label_path = row->label,
                                        .line = row->line,
                                        .validation = row->validation};
    row->image = row->label = NULL;
    if (!row->validation) cases->training[cases->n_training++] = i;
  }
  cases->n_validation = list->count - cases->n_training;
  if (cases->n_training) return VN_OK;
  return vn_fail(diag, VN_E_FORMAT, "%s: there is no case to train on", vnt_path_end(csv));
}

static enum vn_status cases_load(struct vnt_cases *cases, const char *csv, struct vn_pool *pool,
                                 struct vn_diag *diag) {
  struct loading loading = {.cases = cases, .first_bad = SIZE_MAX};
  loading.status = calloc(cases->count, sizeof *loading.status);
  loading.diag = calloc(cases->count, sizeof *loading.diag);
  enum vn_status status = VN_OK;
  if (!loading.status || !loading.diag)
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the list of cases");
  else
    vn_pool_run(pool, cases->count, case_load, &loading);
  const size_t bad = atomic_load(&loading.first_bad);
  if (!status && bad != SIZE_MAX)
    status = vn_fail(diag, loading.status[bad], "%s, line %zu: %.380s", vnt_path_end(csv),
                     cases->items[bad].line, loading.diag[bad].text);
  free(loading.status);
  free(loading.diag);
  return status;
}

enum vn_status vnt_cases_open(const char *csv, const struct vnt_cases_spec *spec,
                              struct vn_pool *pool, struct vnt_cases *cases, struct vn_diag *diag) {
  struct vnt_list list = {0};
  *cases = (struct vnt_cases){.spec = *spec};
  enum vn_status status = spec_check(spec, diag);
  if (!status) status = vnt_list_read(csv, &list, diag);
  if (!status) status = rows_take(&list, csv, cases, diag);
  vnt_list_close(&list);
  if (!status) status = cases_load(cases, csv, pool, diag);
  return status;
}

void vnt_cases_close(struct vnt_cases *cases) {
  if (!cases) return;
  for (size_t i = 0; i < cases->count; i++) {
    struct vnt_case *item = &cases->items[i];
    free(item->image_path);
    free(item->label_path);
    free(item->image);
    free(item->target);
    free(item->before);
    free(item->label);
  }
  free(cases->items);
  free(cases->training);
  *cases = (struct vnt_cases){0};
}
