/* Graph to plan, scans to label maps, label maps to scores; see validate.h. */
#include "validate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "fail.h"
#include "os.h"
#include "cases_list.h"
#include "scan.h"

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

/* How far apart, in mm, the farthest corner of a grid of this size lies under two affines. */
static double corners_apart_mm(const struct vn_image *a, const struct vn_image *b) {
  double most = 0;
  for (int corner = 0; corner < 8; corner++) {
    double square = 0;
    for (int w = 0; w < 3; w++) {
      double apart = a->affine[w][3] - b->affine[w][3];
      for (int i = 0; i < 3; i++)
        if (corner >> i & 1) apart += (a->affine[w][i] - b->affine[w][i]) * (double)(a->dim[i] - 1);
      square += apart * apart;
    }
    most = fmax(most, sqrt(square));
  }
  return most;
}

static enum vn_status grids_compare(const struct vn_image *scan, const char *scan_path,
                                    const struct vn_image *map, const char *map_path,
                                    struct vn_diag *diag) {
  double mm[3], map_mm[3];
  vn_image_spacing(scan, mm);
  vn_image_spacing(map, map_mm);
  if (memcmp(scan->dim, map->dim, sizeof map->dim) != 0)
    return vn_fail(diag, VN_E_FORMAT,
                   "%.180s: %zux%zux%zu voxels, but its scan %.180s has %zux%zux%zu", map_path,
                   map->dim[0], map->dim[1], map->dim[2], scan_path, scan->dim[0], scan->dim[1],
                   scan->dim[2]);
  const double least_mm = fmin(fmin(mm[0], mm[1]), mm[2]);
  if (scan->world != VN_WORLD_UNKNOWN && map->world != VN_WORLD_UNKNOWN) {
    const double apart_mm = corners_apart_mm(scan, map);
    if (!(apart_mm <= 0.1 * least_mm))
      return vn_fail(diag, VN_E_FORMAT, "%.180s: lies %.3g mm away from its scan %.180s", map_path,
                     apart_mm, scan_path);
    return VN_OK;
  }
  for (int i = 0; i < 3; i++)
    if (!(fabs(map_mm[i] - mm[i]) * (double)scan->dim[i] <= 0.1 * least_mm))
      return vn_fail(diag, VN_E_FORMAT,
                     "%.180s: voxels of %gx%gx%g mm, but its scan %.180s has %gx%gx%g", map_path,
                     map_mm[0], map_mm[1], map_mm[2], scan_path, mm[0], mm[1], mm[2]);
  return VN_OK;
}

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
                                  const struct vnt_scan *scan, uint8_t *target,
                                  struct vn_diag *diag) {
  const char *path = job->label_paths[i];
  struct vnt_scan map;
  struct vn_diag inner;
  if (!path) {
    memset(target, 0, vn_image_elems(&scan->image));
    return VN_OK;
  }
  enum vn_status status = vnt_scan_open(path, &map, diag);
  if (status == VN_OK)
    status =
        grids_compare(&scan->image, job->image_paths[i * job->channels], &map.image, path, diag);
  if (status == VN_OK) status = vnt_scan_load(&map, job->cancel, diag);
  if (status == VN_OK)
    status = of_file(values_take(&map, job->labels, target, &inner), path, &inner, diag);
  vnt_scan_close(&map);
  return status;
}

/* ---- one scan ---- */

static enum vn_status scan_segment(const struct runner *r, const struct vnt_scan *scans,
                                   uint8_t *predicted, struct vn_diag *diag) {
  const struct vn_segment_options options = {.size = sizeof options, .cancel = r->job->cancel};
  const struct vn_label_map map = {.size = sizeof map, .data = predicted, .elem_bytes = 1};
  const struct vn_image *images[VNT_CHANNELS_MOST];
  for (size_t c = 0; c < r->job->channels; c++) images[c] = &scans[c].image;
  return vn_segment(r->segmenter, images, r->job->channels, &options, &map, NULL, diag);
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

static enum vn_status map_save(const struct runner *r, size_t i, const struct vnt_scan *scan,
                               uint8_t *predicted, struct vn_diag *diag) {
  const char *path = r->job->image_paths[i * r->job->channels], *name = vn_os_name(path);
  const struct vn_label_map map = {.size = sizeof map, .data = predicted, .elem_bytes = 1};
  size_t stem;
  const char *ending = vn_scan_name(name, &stem);
  char *to;
  if (asprintf(&to, "%s/%zu-%.*s.seg%s", r->job->maps_folder, r->job->lines[i], (int)stem, name,
               ending ? ending : ".nii.gz") < 0)
    return vn_fail(diag, VN_E_MEMORY, "out of memory");
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

/* scans: [channels], the first is open. target, predicted: of its size. */
static enum vn_status maps_make(const struct runner *r, size_t i, struct vnt_scan *scans,
                                uint8_t *target, uint8_t *predicted, struct vnt_score *scores,
                                struct vn_diag *diag) {
  const size_t channels = r->job->channels;
  const char *const *paths = r->job->image_paths + i * channels;
  const struct vnt_validated one = {i, &scans[0].image, target, predicted, scores};
  struct vn_diag inner;
  enum vn_status status = target_read(r->job, i, &scans[0], target, diag);
  for (size_t c = 0; c < channels && status == VN_OK; c++) {
    if (c) status = vnt_scan_open(paths[c], &scans[c], diag);
    if (status == VN_OK && c)
      status = grids_compare(&scans[0].image, paths[0], &scans[c].image, paths[c], diag);
    if (status == VN_OK) status = vnt_scan_load(&scans[c], r->job->cancel, diag);
  }
  if (status) return status;
  status = scan_segment(r, scans, predicted, &inner);
  if (status == VN_OK && r->job->maps_folder) {
    status = map_save(r, i, &scans[0], predicted, diag);
    if (status) return status;
  }
  ignored_clear(r->job->labels, vn_image_elems(&scans[0].image), target, predicted);
  if (status == VN_OK) status = scan_score(r, &one, scores, &inner);
  return of_file(status, paths[0], &inner, diag);
}

static enum vn_status scan_validate(const struct runner *r, size_t i, struct vnt_score *scores,
                                    struct vn_diag *diag) {
  const size_t channels = r->job->channels;
  const char *path = r->job->image_paths[i * channels];
  struct vnt_scan scans[VNT_CHANNELS_MOST] = {{0}};
  enum vn_status status = vnt_scan_open(path, &scans[0], diag);
  if (status == VN_OK) {
    const size_t elems = vn_image_elems(&scans[0].image);
    uint8_t *target = malloc(elems), *predicted = malloc(elems);
    if (target && predicted)
      status = maps_make(r, i, scans, target, predicted, scores, diag);
    else
      status = vn_fail(diag, VN_E_MEMORY, "%.200s: out of memory", path);
    free(target);
    free(predicted);
  }
  for (size_t c = 0; c < channels; c++) vnt_scan_close(&scans[c]);
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
