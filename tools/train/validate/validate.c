/* Graph to plan, scans to label maps, label maps to scores; see validate.h. */
#include "validate.h"

#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "fail.h"
#include "os.h"

struct runner {
  const struct vnt_validation *job;
  void *bytes; /* of the plan */
  struct vn_plan *plan;
  struct vn_segmenter *segmenter;
};

static enum vn_status of_file(enum vn_status status, const char *path, const struct vn_diag *inner,
                              struct vn_diag *diag) {
  return status ? vn_fail(diag, status, "%.200s: %.300s", path, inner->text) : VN_OK;
}

/* ---- the label map ---- */

static enum vn_status values_take(const struct vnt_scan *map, const struct vnt_labels *labels,
                                  uint8_t *target, struct vn_diag *diag) {
  const float *voxels = vnt_scan_voxels(map);
  for (size_t i = 0; i < vn_image_elems(&map->image); i++) {
    const int class = vnt_class_of(labels, voxels[i]);
    if (class < 0)
      return vn_fail(diag, VN_E_FORMAT,
                     labels->table ? "a voxel of it is %g, which the table of labels does not name"
                                   : "a voxel of it is %g, labels are whole numbers from 0 to %zu",
                     (double)voxels[i], labels->classes - 1);
    target[i] = (uint8_t) class;
  }
  return VN_OK;
}

/* Fills target, of the scan's size once that has been compared. */
static enum vn_status target_read(const struct vnt_validation *job, size_t i,
                                  const struct vn_image *scan, uint8_t *target,
                                  struct vn_diag *diag) {
  const char *path = job->cases[i]->label;
  struct vnt_scan map;
  struct vn_diag inner;
  if (!path) {
    memset(target, 0, vn_image_elems(scan));
    return VN_OK;
  }
  enum vn_status status = vnt_scan_open(path, &map, diag);
  if (status == VN_OK) status = vnt_grids_compare(scan, &map.image, path, diag);
  if (status == VN_OK) status = vnt_scan_load(&map, job->cancel, diag);
  if (status == VN_OK)
    status = of_file(values_take(&map, job->labels, target, &inner), path, &inner, diag);
  vnt_scan_close(&map);
  return status;
}

/* ---- one scan ---- */

static enum vn_status scan_segment(const struct runner *r, const struct vnt_images *scan,
                                   uint8_t *predicted, struct vn_diag *diag) {
  const struct vn_segment_options options = {.size = sizeof options, .cancel = r->job->cancel};
  const struct vn_label_map map = {.size = sizeof map, .data = predicted, .elem_bytes = 1};
  const struct vn_image *images[VNT_CHANNELS_MOST];
  for (size_t c = 0; c < scan->channels; c++) images[c] = &scan->channel[c].image;
  return vn_segment(r->segmenter, images, scan->channels, &options, &map, NULL, diag);
}

/* Neither map has a label where nothing is to be scored. */
static void ignored_clear(const struct vnt_labels *labels, size_t elems, uint8_t *target,
                          uint8_t *predicted) {
  for (size_t i = 0; labels->ignores && i < elems; i++)
    if (target[i] == VNT_IGNORED) target[i] = predicted[i] = 0;
}

static enum vn_status scan_score(const struct runner *r, const struct vnt_validated *one,
                                 struct vnt_score *scores, struct vn_diag *diag) {
  struct vnt_map_pair maps = {
      .target = one->target, .predicted = one->predicted, .tolerance_mm = r->job->tolerance_mm};
  double spacing_mm[3];
  vn_image_spacing(one->image, spacing_mm);
  for (int a = 0; a < 3; a++) {
    maps.dim[a] = one->image->dim[2 - a];
    maps.spacing_mm[a] = spacing_mm[2 - a];
  }
  enum vn_status status =
      vnt_maps_score(&maps, r->job->labels->classes, vn_segmenter_exec(r->segmenter), scores, diag);
  if (status == VN_OK && r->job->seen) r->job->seen(r->job->context, one);
  return status;
}

char *vnt_validation_map(const char *folder, const struct vnt_list_row *row) {
  const char *name = vn_os_name(row->image[0]);
  size_t stem;
  const char *ending = vn_scan_name(name, &stem);
  char *path;
  const int length = asprintf(&path, "%s/%zu-%.*s.seg%s", folder, row->line, (int)stem, name,
                              ending ? ending : ".nii.gz");
  return length < 0 ? NULL : path;
}

static enum vn_status map_save(const struct runner *r, size_t i, const struct vnt_scan *scan,
                               uint8_t *predicted, struct vn_diag *diag) {
  const struct vn_label_map map = {.size = sizeof map, .data = predicted, .elem_bytes = 1};
  char *to = vnt_validation_map(r->job->maps_folder, r->job->cases[i]);
  if (!to) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  const struct vn_scan_result result = {.size = sizeof result,
                                        .like = scan->file,
                                        .image = &scan->image,
                                        .map = &map,
                                        .labels = r->job->labels->classes,
                                        .description = "validation of vnet-train",
                                        .cancel = r->job->cancel};
  const enum vn_status status = vn_scan_save_labels(to, &result, diag);
  free(to);
  return status;
}

/* target, predicted: of the scan's size. */
static enum vn_status maps_make(const struct runner *r, size_t i, struct vnt_images *scan,
                                uint8_t *target, uint8_t *predicted, struct vnt_score *scores,
                                struct vn_diag *diag) {
  struct vnt_scan *first = &scan->channel[0];
  const struct vnt_validated one = {i, &first->image, target, predicted, scores};
  struct vn_diag inner;
  enum vn_status status = target_read(r->job, i, &first->image, target, diag);
  for (size_t c = 0; c < scan->channels && status == VN_OK; c++)
    status = vnt_scan_load(&scan->channel[c], r->job->cancel, diag);
  if (status) return status;
  status = scan_segment(r, scan, predicted, &inner);
  if (status == VN_OK && r->job->maps_folder) {
    status = map_save(r, i, first, predicted, diag);
    if (status) return status;
  }
  ignored_clear(r->job->labels, vn_image_elems(&first->image), target, predicted);
  if (status == VN_OK) status = scan_score(r, &one, scores, &inner);
  return of_file(status, scan->path[0], &inner, diag);
}

static enum vn_status scan_validate(const struct runner *r, size_t i, struct vnt_score *scores,
                                    struct vn_diag *diag) {
  struct vnt_images scan;
  enum vn_status status = vnt_images_open(r->job->list, r->job->cases[i], &scan, diag);
  if (status == VN_OK) {
    const size_t elems = vn_image_elems(&scan.channel[0].image);
    uint8_t *target = malloc(elems), *predicted = malloc(elems);
    if (target && predicted)
      status = maps_make(r, i, &scan, target, predicted, scores, diag);
    else
      status = vn_fail(diag, VN_E_MEMORY, "%.200s: out of memory", scan.path[0]);
    free(target);
    free(predicted);
  }
  vnt_images_close(&scan);
  return status;
}

/* ---- all of them ---- */

static enum vn_status runner_open(struct runner *r, struct vnc_graph *model, struct vn_diag *diag) {
  /* Whatever the trainer takes may be validated, in the family's list or not. */
  const struct vnc_options options = {.topology = "any"};
  const struct vn_exec_options exec = {.size = sizeof exec,
                                       .threads = r->job->threads,
                                       .isa = r->job->isa,
                                       .cancel = r->job->cancel};
  struct vn_segmenter_info info = {.size = sizeof info};
  size_t size;
  enum vn_status status = vnc_compile_graph(model, &options, &r->bytes, &size, NULL, diag);
  if (status == VN_OK) status = vn_plan_open_memory(r->bytes, size, &r->plan, diag);
  if (status == VN_OK) status = vn_segmenter_open(r->plan, &exec, &r->segmenter, diag);
  if (status == VN_OK) status = vn_segmenter_info(r->segmenter, &info, diag);
  if (status) return status;
  if (info.labels != r->job->labels->classes)
    return vn_fail(diag, VN_E_ARGUMENT,
                   "the network tells %zu classes apart, %zu are to be validated", info.labels,
                   r->job->labels->classes);
  return VN_OK;
}

enum vn_status vnt_validate(struct vnc_graph *model, const struct vnt_validation *validation,
                            struct vnt_score *scores, struct vn_diag *diag) {
  struct runner r = {.job = validation};
  enum vn_status status = runner_open(&r, model, diag);
  for (size_t i = 0; i < validation->count && status == VN_OK; i++)
    status = scan_validate(&r, i, scores + i * (validation->labels->classes - 1), diag);
  vn_segmenter_close(&r.segmenter);
  vn_plan_close(&r.plan);
  free(r.bytes);
  return status;
}
