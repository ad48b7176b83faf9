/* Graph to plan, scans to label maps, label maps to scores; see validate.h. */
#include "validate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "fail.h"
#include "segment.h"

enum { CLASSES_MOST = 256 };

struct runner {
  const struct vnt_validation *job;
  void *bytes; /* of the plan */
  struct vn_plan *plan;
  struct vn_exec *exec;
  bool stopped;
};

static enum vn_status of_file(enum vn_status status, const char *path, const struct vn_diag *inner,
                              struct vn_diag *diag) {
  return status ? vn_fail(diag, status, "%.200s: %.300s", path, inner->text) : VN_OK;
}

/* ---- the label map ---- */

/* How far apart, in mm, the farthest corner of a grid of this size lies under two affines. */
static double corners_apart_mm(const struct vn_scan *a, const struct vn_scan *b) {
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

static enum vn_status grids_compare(const struct vn_scan *scan, const char *scan_path,
                                    const struct vn_scan *map, const char *map_path,
                                    struct vn_diag *diag) {
  const double *mm = scan->spacing_mm;
  if (memcmp(scan->dim, map->dim, sizeof map->dim) != 0)
    return vn_fail(diag, VN_E_FORMAT,
                   "%.180s: %zux%zux%zu voxels, but its scan %.180s has %zux%zux%zu", map_path,
                   map->dim[0], map->dim[1], map->dim[2], scan_path, scan->dim[0], scan->dim[1],
                   scan->dim[2]);
  const double least_mm = fmin(fmin(mm[0], mm[1]), mm[2]);
  if (scan->oriented && map->oriented) {
    const double apart_mm = corners_apart_mm(scan, map);
    if (!(apart_mm <= 0.1 * least_mm))
      return vn_fail(diag, VN_E_FORMAT, "%.180s: lies %.3g mm away from its scan %.180s", map_path,
                     apart_mm, scan_path);
    return VN_OK;
  }
  for (int i = 0; i < 3; i++)
    if (!(fabs(map->spacing_mm[i] - mm[i]) * (double)scan->dim[i] <= 0.1 * least_mm))
      return vn_fail(diag, VN_E_FORMAT,
                     "%.180s: voxels of %gx%gx%g mm, but its scan %.180s has %gx%gx%g", map_path,
                     map->spacing_mm[0], map->spacing_mm[1], map->spacing_mm[2], scan_path, mm[0],
                     mm[1], mm[2]);
  return VN_OK;
}

static enum vn_status values_take(const struct vn_scan *map, size_t classes, uint8_t *target,
                                  struct vn_diag *diag) {
  for (size_t i = 0; i < map->elems; i++) {
    const float v = map->voxels[i];
    if (!(v >= 0 && v < (float)classes && v == floorf(v)))
      return vn_fail(diag, VN_E_FORMAT,
                     "a voxel of it is %g, labels are whole numbers from 0 to %zu", (double)v,
                     classes - 1);
    target[i] = (uint8_t)v;
  }
  return VN_OK;
}

/* Sets *target, which the caller frees. */
static enum vn_status target_read(const struct vnt_validation *job, size_t i,
                                  const struct vn_scan *scan, uint8_t **target,
                                  struct vn_diag *diag) {
  const char *path = job->label_paths[i];
  struct vn_scan map;
  struct vn_diag inner;
  enum vn_status status = vn_scan_open(path, &map, diag);
  if (status == VN_OK) status = grids_compare(scan, job->image_paths[i], &map, path, diag);
  if (status == VN_OK) status = vn_scan_load(&map, false, diag);
  if (status == VN_OK && !(*target = malloc(map.elems)))
    status = vn_fail(diag, VN_E_MEMORY, "%.200s: out of memory", path);
  if (status == VN_OK)
    status = of_file(values_take(&map, job->classes, *target, &inner), path, &inner, diag);
  vn_scan_close(&map);
  return status;
}

/* ---- one scan ---- */

static void between_windows(void *context, size_t done, size_t total) {
  struct runner *r = context;
  (void)done, (void)total;
  if (!r->job->go_on || r->job->go_on(r->job->context)) return;
  r->stopped = true;
  vn_exec_cancel(r->exec);
}

static enum vn_status scan_segment(struct runner *r, struct vn_segment *segment,
                                   struct vn_labels *labels, struct vn_diag *diag) {
  struct vn_segment_report report;
  segment->progress = between_windows;
  segment->progress_context = r;
  enum vn_status status = vn_segment_run(segment, labels, &report, diag);
  if (status == VN_OK && r->stopped) /* after the last window */
    status = vn_fail(diag, VN_E_CANCELLED, "cancelled");
  return status;
}

static enum vn_status scan_score(const struct runner *r, size_t i, const struct vn_scan *scan,
                                 const uint8_t *target, const struct vn_labels *predicted,
                                 struct vnt_score *scores, struct vn_diag *diag) {
  struct vnt_map_pair maps = {.target = target, .predicted = predicted->data};
  for (int a = 0; a < 3; a++) {
    maps.dim[a] = scan->dim[2 - a];
    maps.spacing_mm[a] = scan->spacing_mm[2 - a];
  }
  enum vn_status status = vnt_maps_score(&maps, r->job->classes, r->exec, scores, diag);
  const struct vnt_validated one = {i, scan, target, predicted, scores};
  if (status == VN_OK && r->job->seen) r->job->seen(r->job->context, &one);
  return status;
}

static enum vn_status scan_validate(struct runner *r, size_t i, struct vnt_score *scores,
                                    struct vn_diag *diag) {
  const char *path = r->job->image_paths[i];
  struct vn_scan scan;
  struct vn_segment segment = {0};
  struct vn_labels predicted = {0};
  uint8_t *target = NULL;
  struct vn_diag inner;
  enum vn_status status = vn_scan_open(path, &scan, diag);
  if (status == VN_OK) status = target_read(r->job, i, &scan, &target, diag);
  if (status == VN_OK)
    status = of_file(vn_segment_plan(r->plan, r->exec, &scan, NULL, &segment, &inner), path, &inner,
                     diag);
  if (status == VN_OK) status = vn_scan_load(&scan, false, diag);
  if (status == VN_OK)
    status = of_file(scan_segment(r, &segment, &predicted, &inner), path, &inner, diag);
  if (status == VN_OK)
    status =
        of_file(scan_score(r, i, &scan, target, &predicted, scores, &inner), path, &inner, diag);
  free(target);
  free(predicted.data);
  vn_segment_close(&segment);
  vn_scan_close(&scan);
  return status;
}

/* ---- all of them ---- */

static enum vn_status runner_open(struct runner *r, struct vnc_graph *model, struct vn_diag *diag) {
  /* Whatever the trainer takes may be validated, in the family's list or not. */
  const struct vnc_options options = {.topology = "any"};
  const struct vn_exec_options exec = {.threads = r->job->threads, .isa = r->job->isa};
  size_t size;
  enum vn_status status = vnc_compile_graph(model, &options, &r->bytes, &size, NULL, diag);
  if (status == VN_OK) status = vn_plan_open_memory(r->bytes, size, &r->plan, diag);
  if (status == VN_OK) status = vn_exec_open(r->plan, &exec, &r->exec, diag);
  if (status) return status;
  const size_t classes = vn_segment_classes(r->plan, r->exec);
  if (classes != r->job->classes || classes < 2 || classes > CLASSES_MOST)
    return vn_fail(diag, VN_E_ARGUMENT,
                   "the network tells %zu classes apart, %zu are to be validated (2 to %d)",
                   classes, r->job->classes, CLASSES_MOST);
  return VN_OK;
}

enum vn_status vnt_validate(struct vnc_graph *model, const struct vnt_validation *validation,
                            struct vnt_score *scores, struct vn_diag *diag) {
  struct runner r = {.job = validation};
  enum vn_status status = runner_open(&r, model, diag);
  for (size_t i = 0; i < validation->count && status == VN_OK; i++)
    status = scan_validate(&r, i, scores + i * (validation->classes - 1), diag);
  vn_exec_close(&r.exec);
  vn_plan_close(&r.plan);
  free(r.bytes);
  return status;
}
