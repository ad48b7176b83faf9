/* Plan, scan and metadata put together, and scores turned into labels; see segment.h. */
#include "segment.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fail.h"

enum { CLASSES_MOST = INT16_MAX + 1 };

/* ---- does the network take a scan? ---- */

static enum vn_status input_check(const struct vn_plan *plan, struct vn_exec *exec,
                                  struct vn_diag *diag) {
  if (vn_plan_inputs(plan) != 1)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the network has %zu inputs, a scan is one",
                   vn_plan_inputs(plan));
  struct vn_port port = vn_plan_input(plan, 0);
  if (port.type != VN_TYPE_F32 || port.rank != 5)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the network's input '%.60s' is not float n c d h w",
                   port.name);
  const size_t *dim = vn_exec_input(exec, 0).dim;
  if (dim[0] != 1)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the plan is for batches of %zu: compile it for 1",
                   dim[0]);
  if (dim[1] != 1)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the network takes %zu channels, a scan has one",
                   dim[1]);
  return VN_OK;
}

static enum vn_status output_choose(struct vn_segment *segment, struct vn_diag *diag) {
  const size_t *in = vn_exec_input(segment->exec, 0).dim;
  bool integer = false;
  for (size_t i = 0; i < vn_plan_outputs(segment->plan); i++) {
    struct vn_buffer out = vn_exec_output(segment->exec, i);
    bool fits = out.dim[0] == 1 && memcmp(out.dim + 2, in + 2, 3 * sizeof *in) == 0;
    bool scores = vn_plan_output(segment->plan, i).type == VN_TYPE_F32;
    integer = integer || (fits && !scores);
    if (!fits || !scores) continue;
    segment->output = i;
    segment->channels = out.dim[1];
    segment->classes = out.dim[1] == 1 ? 2 : out.dim[1];
    if (segment->classes > CLASSES_MOST)
      return vn_fail(diag, VN_E_UNSUPPORTED, "%zu classes: a label map holds %d at most",
                     segment->classes, CLASSES_MOST);
    return VN_OK;
  }
  if (integer)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "the network ends in ArgMax, and windows of labels cannot be blended: export it "
                   "without");
  return vn_fail(diag, VN_E_UNSUPPORTED, "no output of the network has the grid of its input");
}

static enum vn_status spacing_check(const struct vn_plan *plan, const struct vn_view *view,
                                    struct vn_diag *diag) {
  const char *text = vn_plan_meta(plan, "vnet.spacing_mm");
  double want[3];
  if (!text) return VN_OK;
  if (vn_numbers_parse(text, want, 3) != 3 || !(want[0] > 0 && want[1] > 0 && want[2] > 0))
    return vn_fail(diag, VN_E_FORMAT, "the model's vnet.spacing_mm is '%.60s', not three numbers",
                   text);
  const double *have = view->spacing_mm;
  for (int i = 0; i < 3; i++)
    if (!(fabs(have[2 - i] - want[i]) <= 0.01 * want[i]))
      return vn_fail(diag, VN_E_UNSUPPORTED,
                     "the model wants voxels of %g x %g x %g mm, the scan has %.4g x %.4g x %.4g: "
                     "resample it first",
                     want[0], want[1], want[2], have[2], have[1], have[0]);
  return VN_OK;
}

static size_t label_bytes(size_t classes) {
  return classes > 256 ? 2 : 1;
}

static uint64_t add_saturating(uint64_t a, uint64_t b) {
  return a + b < a ? UINT64_MAX : a + b;
}

static uint64_t memory_needed(const struct vn_segment *segment) {
  struct vn_exec_info info = vn_exec_info(segment->exec);
  size_t window = vn_window_bytes(segment->view.dim, vn_exec_input(segment->exec, 0).dim + 2,
                                  segment->channels);
  uint64_t voxels;
  if (__builtin_mul_overflow((uint64_t)segment->scan->elems,
                             sizeof(float) + label_bytes(segment->classes), &voxels))
    return UINT64_MAX;
  uint64_t bytes = add_saturating(info.arena_bytes, info.scratch_bytes);
  return add_saturating(add_saturating(add_saturating(bytes, info.packed_bytes), window), voxels);
}

enum vn_status vn_segment_plan(const struct vn_plan *plan, struct vn_exec *exec,
                               const struct vn_scan *scan, struct vn_segment *segment,
                               struct vn_diag *diag) {
  *segment = (struct vn_segment){.plan = plan, .exec = exec, .scan = scan, .overlap = 0.5};
  enum vn_status status = input_check(plan, exec, diag);
  if (status == VN_OK) status = output_choose(segment, diag);
  if (status) return status;
  const char *letters = vn_plan_meta(plan, "vnet.orientation");
  segment->view = vn_view_plain(scan);
  if (letters && (status = vn_view_orient(scan, letters, &segment->view, diag))) return status;
  if ((status = spacing_check(plan, &segment->view, diag))) return status;
  status = vn_intensity_parse(vn_plan_meta(plan, "vnet.intensity"), &segment->rule, diag);
  segment->memory_bytes = memory_needed(segment);
  return status;
}

/* ---- scores to labels ---- */

struct labelling {
  const struct vn_view *view;
  struct vn_labels *labels;
  size_t channels;
};

static size_t best_class(const float *scores, size_t channels) {
  size_t best = 0;
  for (size_t c = 1; c < channels; c++)
    if (scores[c] > scores[best]) best = c;
  return best;
}

static const char *plane_label(void *context, size_t d, const float *scores, size_t row_elems) {
  const struct labelling *job = context;
  const struct vn_view *view = job->view;
  bool probable = true;
  for (size_t h = 0; h < view->dim[1]; h++) {
    ptrdiff_t at =
        (ptrdiff_t)view->origin + (ptrdiff_t)d * view->step[0] + (ptrdiff_t)h * view->step[1];
    const float *from = scores + h * row_elems;
    for (size_t w = 0; w < view->dim[2]; w++, at += view->step[2], from += job->channels) {
      /* A mean of numbers in [0, 1] may leave it by rounding. */
      if (job->channels == 1) probable = probable && *from >= -1e-4f && *from <= 1.0001f;
      size_t label = job->channels == 1 ? *from >= 0.5f : best_class(from, job->channels);
      if (job->labels->elem_bytes == 1)
        ((uint8_t *)job->labels->data)[at] = (uint8_t)label;
      else
        ((int16_t *)job->labels->data)[at] = (int16_t)label;
    }
  }
  return probable ? NULL
                  : "the network's one channel leaves [0, 1], so it does not end in a sigmoid and "
                    "a threshold of 0.5 would be wrong";
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

enum vn_status vn_segment_run(const struct vn_segment *segment, struct vn_labels *labels,
                              struct vn_segment_report *report, struct vn_diag *diag) {
  const struct vn_scan *scan = segment->scan;
  *report = (struct vn_segment_report){0};
  *labels = (struct vn_labels){.elem_bytes = label_bytes(segment->classes),
                               .elems = scan->elems,
                               .classes = segment->classes};
  uint64_t start = now_ns();
  enum vn_status status = vn_intensity_fit(&segment->rule, scan->voxels, scan->elems, segment->exec,
                                           &report->intensity, diag);
  report->normalize_ns = now_ns() - start;
  if (status) return status;
  labels->data = malloc(labels->elems * labels->elem_bytes);
  if (!labels->data)
    return vn_fail(diag, VN_E_MEMORY, "out of memory for %zu labels", labels->elems);
  struct labelling labelling = {&segment->view, labels, segment->channels};
  struct vn_window_job job = {
      .exec = segment->exec,
      .output = segment->output,
      .voxels = scan->voxels,
      .view = segment->view,
      .intensity = report->intensity,
      .overlap = segment->overlap,
      .sink = plane_label,
      .sink_context = &labelling,
      .progress = segment->progress,
      .progress_context = segment->progress_context,
  };
  status = vn_window_run(&job, &report->window, diag);
  if (status) {
    free(labels->data);
    labels->data = NULL;
  }
  return status;
}

void vn_labels_count(const struct vn_labels *labels, uint64_t *voxels) {
  memset(voxels, 0, labels->classes * sizeof *voxels);
  if (labels->elem_bytes == 1)
    for (size_t i = 0; i < labels->elems; i++) voxels[((const uint8_t *)labels->data)[i]]++;
  else
    for (size_t i = 0; i < labels->elems; i++) voxels[((const int16_t *)labels->data)[i]]++;
}
