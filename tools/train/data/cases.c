/* Reading, checking and preparing cases; see cases.h. Each case is a job of its own; a job that
 * lies behind a bad case is left out, since only the first is told. */
#include "cases.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "grid.h"
#include "images.h"

struct loading {
  struct vnt_cases *cases;
  enum vn_status *status;
  struct vn_diag *diag;
  atomic_size_t first_bad;
};

/* One case on its way. */
struct pair {
  struct vnt_cases *cases;
  const struct vnt_cases_spec *spec;
  struct vnt_case *item;
  struct vnt_images images; /* the first channel's grid is the case's */
  struct vnt_scan label;
  struct vn_grid grid;
  float *planes;        /* [channels][d][h][w], of the item's block … */
  uint8_t *target;      /* … [d][h][w], likewise */
  uint8_t *voxel_label; /* of the scan's voxels along the network's axes */
  struct vn_diag *diag;
};

/* ---- checks ---- */

static const char *label_name(const struct pair *p) {
  return vnt_path_end(p->item->row->label);
}

/* A voxel whose value means nothing. */
static enum vn_status value_refuse(const struct pair *p, size_t i, float v) {
  const size_t *dim = p->label.image.dim, most = p->spec->labels->classes - 1;
  const bool whole = v == floorf(v);
  if (p->spec->labels->table)
    return vn_fail(p->diag, VN_E_FORMAT,
                   "%s: voxel %zu %zu %zu is %g, which the table of labels does not name; a row "
                   "'others' says what such values mean",
                   label_name(p), i % dim[0], i / dim[0] % dim[1], i / dim[0] / dim[1], (double)v);
  return vn_fail(p->diag, VN_E_FORMAT, "%s: voxel %zu %zu %zu is %g, %s to %zu%s", label_name(p),
                 i % dim[0], i / dim[0] % dim[1], i / dim[0] / dim[1], (double)v,
                 whole ? "and the labels are 0" : "not a whole number from 0", most,
                 whole ? ", as many as --classes and --init have; --label-table says what other "
                         "values mean"
                       : "");
}

static enum vn_status values_check(const struct pair *p) {
  const float *voxels = vnt_scan_voxels(&p->label);
  for (size_t i = 0; i < vn_image_elems(&p->label.image); i++)
    if (vnt_class_of(p->spec->labels, voxels[i]) < 0) return value_refuse(p, i, voxels[i]);
  return VN_OK;
}

/* ---- to the model's grid ---- */

static enum vn_status grid_lay(struct pair *p) {
  const struct vnt_scan *first = &p->images.channel[0];
  struct vn_view view = vn_view_plain(&first->image);
  struct vn_diag inner;
  enum vn_status status = VN_OK;
  if (*p->spec->orientation) status = vnt_scan_orient(first, p->spec->orientation, &view, &inner);
  double spacing_mm[3];
  for (int i = 0; i < 3; i++)
    spacing_mm[i] = p->spec->spacing_mm[i] > 0 ? p->spec->spacing_mm[i] : view.spacing_mm[i];
  if (!status) status = vn_grid_make(&view, spacing_mm, &p->grid, &inner);
  if (!status) return VN_OK;
  return vn_fail(p->diag, status, "%s: %.300s", vnt_path_end(p->images.path[0]), inner.text);
}

static enum vn_status out_of_memory(const struct pair *p) {
  return vn_fail(p->diag, VN_E_MEMORY, "out of memory for %s",
                 vnt_path_end(p->item->row->image[0]));
}

/* Room for what is kept of the case. */
static enum vn_status source_open(struct pair *p) {
  struct vnt_case *item = p->item;
  const size_t *dim = p->grid.dim, elems = dim[0] * dim[1] * dim[2], n = p->images.channels;
  item->channel = calloc(n, sizeof *item->channel);
  if (!item->channel) return out_of_memory(p);
  const enum vn_status status =
      vnt_store_take(&p->cases->store, elems * (n * sizeof(float) + 1), &item->block, p->diag);
  if (status) return status;
  p->planes = item->block.data;
  p->target = (uint8_t *)(p->planes + n * elems);
  item->source = (struct vnt_source){.channel = item->channel,
                                     .channels = n,
                                     .target = p->target,
                                     .dim = {dim[0], dim[1], dim[2]}};
  memcpy(item->source.spacing_mm, p->grid.spacing_mm, sizeof item->source.spacing_mm);
  return VN_OK;
}

/* `voxels` are the channel's without filling. */
static enum vn_status image_place(struct pair *p, size_t c, const struct vn_voxels *voxels) {
  struct vnt_channel *channel = &p->item->channel[c];
  const size_t *dim = p->grid.dim, start[2] = {0}, plane = dim[1] * dim[2];
  const struct vn_walk walk = vn_view_walk(&p->grid.view, p->images.channel[c].image.stride);
  float *scratch = malloc(vn_grid_scratch(&p->grid, dim) * sizeof *scratch);
  if (!scratch) return out_of_memory(p);
  float *image = p->planes + c * dim[0] * plane;
  for (size_t d = 0; d < dim[0]; d++)
    vn_grid_sample(&p->grid, voxels, &walk, d, start, dim + 1, scratch, image + d * plane);
  free(scratch);
  for (size_t i = 0; i < dim[0] * plane; i++)
    image[i] = vn_intensity_apply(&channel->intensity, image[i]);
  channel->image = image;
  return vnt_landmarks_find(image, dim[0] * plane, &channel->landmarks, p->diag);
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
  const struct vn_view *view = &p->grid.view;
  const size_t *dim = p->grid.dim;
  const float *voxels = vnt_scan_voxels(&p->label);
  const struct vn_walk walk = vnt_scan_walk(&p->label, view);
  uint8_t *from = p->voxel_label = malloc(vn_image_elems(&p->label.image));
  if (!from) return out_of_memory(p);
  for (size_t d = 0; d < view->dim[0]; d++)
    for (size_t h = 0; h < view->dim[1]; h++)
      for (size_t w = 0; w < view->dim[2]; w++)
        *from++ = (uint8_t)vnt_class_of(
            p->spec->labels, voxels[walk.origin + (ptrdiff_t)d * walk.step[0] +
                                    (ptrdiff_t)h * walk.step[1] + (ptrdiff_t)w * walk.step[2]]);
  struct ballot ballot = {0};
  for (size_t d = 0; d < dim[0]; d++)
    for (size_t h = 0; h < dim[1]; h++)
      label_row(p, &ballot, d, h, p->target + (d * dim[1] + h) * dim[2]);
  return VN_OK;
}

/* What the sampler draws from. */
static enum vn_status target_count(struct pair *p) {
  struct vnt_case *item = p->item;
  const size_t planes = p->grid.dim[0], plane = p->grid.dim[1] * p->grid.dim[2];
  const size_t classes = p->spec->labels->classes;
  item->before = calloc(classes * (planes + 1), sizeof *item->before);
  item->label = malloc(classes);
  if (!item->before || !item->label) return out_of_memory(p);
  for (size_t i = 0; i < planes * plane; i++)
    if (p->target[i] < classes) item->before[p->target[i] * (planes + 1) + i / plane + 1]++;
  for (size_t c = 0; c < classes; c++) {
    uint64_t *before = item->before + c * (planes + 1);
    for (size_t d = 0; d < planes; d++) before[d + 1] += before[d];
    if (c && before[planes]) item->label[item->present++] = (uint8_t)c;
  }
  if (!item->present && item->row->label)
    vn_say(item->note, sizeof item->note, "%.100s: nothing of it is labelled at this spacing",
           label_name(p));
  return VN_OK;
}

/* ---- a case ---- */

static void note_take(struct pair *p, const struct vn_scan *file, const char *path) {
  const char *note = vn_scan_note(file);
  if (note) vn_say(p->item->note, sizeof p->item->note, "%.100s: %s", vnt_path_end(path), note);
}

static enum vn_status channel_refuse(const struct pair *p, size_t c, enum vn_status status,
                                     const struct vn_diag *inner) {
  const char *path = vnt_path_end(p->images.path[c]);
  const struct vnt_scan *channel = &p->images.channel[c];
  const size_t volumes = vn_scan_volumes(channel->file);
  if (volumes == 1) return vn_fail(p->diag, status, "%s: %.300s", path, inner->text);
  return vn_fail(p->diag, status, "%s: volume %zu of %zu: %.300s", path, channel->volume + 1,
                 volumes, inner->text);
}

static enum vn_status channel_load(struct pair *p, size_t c) {
  struct vnt_case *item = p->item;
  const struct vnt_cases_spec *spec = p->spec;
  struct vnt_scan *channel = &p->images.channel[c];
  struct vn_intensity intensity;
  struct vn_voxels voxels;
  struct vn_diag inner;
  enum vn_status status = vnt_scan_load(channel, NULL, p->diag);
  if (status) return status;
  status = vnt_scan_fit(&spec->intensity[spec->n_intensity > 1 ? c : 0], channel, &voxels,
                        &intensity, item->note, sizeof item->note, &inner);
  if (status) return channel_refuse(p, c, status, &inner);
  if (!item->row->validation) {
    item->channel[c].intensity = intensity;
    status = image_place(p, c, &voxels);
  }
  vnt_images_drop(&p->images, c); /* its voxels, before those of the next and of the labels */
  return status;
}

static enum vn_status labels_load(struct pair *p) {
  const struct vnt_case *item = p->item;
  const bool kept = !item->row->validation;
  enum vn_status status = VN_OK;
  if (item->row->label) {
    note_take(p, p->label.file, item->row->label);
    status = vnt_scan_load(&p->label, NULL, p->diag);
    if (!status) status = values_check(p);
    if (!status && kept) status = target_place(p);
  } else if (kept) {
    memset(p->target, 0, p->grid.dim[0] * p->grid.dim[1] * p->grid.dim[2]);
  }
  return status || !kept ? status : target_count(p);
}

static enum vn_status pair_load(struct pair *p) {
  struct vnt_case *item = p->item;
  const struct vnt_list_row *row = item->row;
  enum vn_status status = vnt_images_open(&p->cases->list, row, &p->images, p->diag);
  if (!status && row->label) status = vnt_scan_open(row->label, &p->label, p->diag);
  if (!status && row->label)
    status = vnt_grids_compare(&p->images.channel[0].image, &p->label.image, row->label, p->diag);
  if (!status) status = grid_lay(p);
  if (!status && !row->validation) status = source_open(p);
  for (size_t f = 0; f < row->files && !status; f++) note_take(p, p->images.file[f], row->image[f]);
  for (size_t c = 0; c < p->images.channels && !status; c++) status = channel_load(p, c);
  return status ? status : labels_load(p);
}

static void case_load(void *context, size_t index, size_t slot) {
  struct loading *loading = context;
  (void)slot;
  if (index > atomic_load(&loading->first_bad)) return;
  struct vn_diag inner = {{0}};
  struct pair p = {.cases = loading->cases,
                   .spec = &loading->cases->spec,
                   .item = &loading->cases->items[index],
                   .diag = &inner};
  const enum vn_status status = pair_load(&p);
  vnt_images_close(&p.images);
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
  for (int i = 0; i < 3; i++)
    if (!(spec->spacing_mm[i] >= 0 && isfinite(spec->spacing_mm[i])))
      return vn_fail(diag, VN_E_ARGUMENT, "a spacing of %g mm", spec->spacing_mm[i]);
  return VN_OK;
}

/* From the list's rows to empty cases. */
static enum vn_status rows_take(struct vnt_cases *cases, const char *csv, struct vn_diag *diag) {
  const struct vnt_list *list = &cases->list;
  cases->items = calloc(list->count + 1, sizeof *cases->items);
  cases->training = malloc((list->count + 1) * sizeof *cases->training);
  if (!cases->items || !cases->training)
    return vn_fail(diag, VN_E_MEMORY, "out of memory for the list of cases");
  for (size_t i = 0; i < list->count; i++) {
    cases->items[i] = (struct vnt_case){.row = &list->row[i], .block.fd = -1};
    if (!list->row[i].validation) cases->training[cases->n_training++] = i;
  }
  cases->n_validation = list->count - cases->n_training;
  if (cases->spec.n_intensity > 1 && cases->spec.n_intensity != list->channels)
    return vn_fail(diag, VN_E_ARGUMENT, "%s: rules for intensities: %zu, but %zu channels",
                   vnt_path_end(csv), cases->spec.n_intensity, list->channels);
  if (cases->n_training || (cases->spec.validation && list->count)) return VN_OK;
  return vn_fail(diag, VN_E_FORMAT, "%s: there is no case to %s on", vnt_path_end(csv),
                 cases->spec.validation ? "validate" : "train");
}

static enum vn_status cases_load(struct vnt_cases *cases, const char *csv, struct vn_pool *pool,
                                 struct vn_diag *diag) {
  struct loading loading = {.cases = cases, .first_bad = SIZE_MAX};
  loading.status = calloc(cases->list.count, sizeof *loading.status);
  loading.diag = calloc(cases->list.count, sizeof *loading.diag);
  enum vn_status status = VN_OK;
  if (!loading.status || !loading.diag)
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the list of cases");
  else
    vn_pool_run(pool, cases->list.count, case_load, &loading);
  const size_t bad = atomic_load(&loading.first_bad);
  if (!status && bad != SIZE_MAX)
    status = vn_fail(diag, loading.status[bad], "%s, line %zu: %.380s", vnt_path_end(csv),
                     cases->items[bad].row->line, loading.diag[bad].text);
  free(loading.status);
  free(loading.diag);
  return status;
}

enum vn_status vnt_cases_open(const char *csv, const struct vnt_cases_spec *spec,
                              struct vn_pool *pool, struct vnt_cases *cases, struct vn_diag *diag) {
  *cases = (struct vnt_cases){.spec = *spec};
  struct vnt_list *list = &cases->list;
  cases->store.path = spec->store_path;
  cases->store.limit_bytes = spec->memory_bytes;
  enum vn_status status = spec_check(spec, diag);
  if (!status) status = vnt_list_read(csv, list, diag);
  for (size_t i = 0; i < list->count && spec->validation; i++) list->row[i].validation = true;
  if (!status && spec->folds) status = vnt_list_fold(list, csv, spec->fold, spec->folds, diag);
  if (!status) status = vnt_list_order(list, csv, spec->channels, diag);
  if (!status) status = vnt_images_count(list, csv, diag);
  if (!status) status = rows_take(cases, csv, diag);
  if (!status) status = cases_load(cases, csv, pool, diag);
  if (!status && spec->validation) return VN_OK;
  for (size_t i = 0; i < cases->n_training && !status; i++)
    if (cases->items[cases->training[i]].present) return VN_OK;
  return status ? status
                : vn_fail(diag, VN_E_FORMAT, "%s: nothing is labelled in any case to train on",
                          vnt_path_end(csv));
}

void vnt_cases_close(struct vnt_cases *cases) {
  if (!cases) return;
  for (size_t i = 0; cases->items && i < cases->list.count; i++) {
    struct vnt_case *item = &cases->items[i];
    free(item->channel);
    vnt_block_free(&item->block);
    free(item->before);
    free(item->label);
  }
  vnt_list_close(&cases->list);
  free(cases->items);
  free(cases->training);
  *cases = (struct vnt_cases){0};
}
