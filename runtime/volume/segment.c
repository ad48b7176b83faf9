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

size_t vn_segment_classes(const struct vn_plan *plan, struct vn_exec *exec) {
  struct vn_segment segment = {.plan = plan, .exec = exec};
  bool fits = input_check(plan, exec, NULL) == VN_OK && output_choose(&segment, NULL) == VN_OK;
  return fits ? segment.classes : 1;
}

/* Does the network itself end in probabilities? A logarithm or plain scores become so by softmax.
 */
static bool ends_in_softmax(const struct vn_exec *exec) {
  static const char *const moves[] = {"argmax", "cast", "copy"};
  size_t i = vn_exec_steps(exec);
  while (i-- > 0) {
    const char *op = vn_exec_step(exec, i).op;
    bool move = false;
    for (size_t m = 0; m < sizeof moves / sizeof *moves; m++)
      move = move || strcmp(op, moves[m]) == 0;
    if (!move) return strcmp(op, "softmax") == 0;
  }
  return false;
}

/* `want` becomes the spacing along d h w, or stays untouched when the model has none. */
static enum vn_status spacing_read(const struct vn_plan *plan, double want[3], bool *present,
                                   struct vn_diag *diag) {
  const char *text = vn_plan_meta(plan, "vnet.spacing_mm");
  double xyz[3];
  *present = text != NULL;
  if (!text) return VN_OK;
  if (vn_numbers_parse(text, xyz, 3) != 3 || !(xyz[0] > 0 && xyz[1] > 0 && xyz[2] > 0))
    return vn_fail(diag, VN_E_FORMAT, "the model's vnet.spacing_mm is '%.60s', not three numbers",
                   text);
  for (int i = 0; i < 3; i++) want[i] = xyz[2 - i];
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
  size_t window =
      vn_window_bytes(&segment->grid, vn_exec_input(segment->exec, 0).dim + 2, segment->channels);
  uint64_t voxels;
  if (__builtin_mul_overflow((uint64_t)segment->scan->elems,
                             sizeof(float) + label_bytes(segment->classes), &voxels))
    return UINT64_MAX;
  uint64_t bytes = add_saturating(info.arena_bytes, info.scratch_bytes);
  return add_saturating(add_saturating(add_saturating(bytes, info.packed_bytes), window), voxels);
}

enum vn_status vn_segment_plan(const struct vn_plan *plan, struct vn_exec *exec,
                               const struct vn_scan *scan, const struct vn_segment_options *options,
                               struct vn_segment *segment, struct vn_diag *diag) {
  *segment = (struct vn_segment){.plan = plan, .exec = exec, .scan = scan};
  segment->options = options ? *options : (struct vn_segment_options){.overlap = 0.5};
  enum vn_status status = input_check(plan, exec, diag);
  if (status == VN_OK) status = output_choose(segment, diag);
  if (status) return status;
  segment->probabilities = segment->channels == 1 || ends_in_softmax(exec);
  const char *letters = vn_plan_meta(plan, "vnet.orientation");
  struct vn_view view = vn_view_plain(scan);
  double spacing_mm[3];
  bool spaced;
  if (letters && (status = vn_view_orient(scan, letters, &view, diag))) return status;
  if ((status = spacing_read(plan, spacing_mm, &spaced, diag))) return status;
  status = vn_intensity_parse(vn_plan_meta(plan, "vnet.intensity"), &segment->rule, diag);
  if (status == VN_OK)
    status = vn_grid_make(&view, spaced ? spacing_mm : NULL, &segment->grid, diag);
  if (status == VN_OK) segment->memory_bytes = memory_needed(segment);
  return status;
}

void vn_segment_close(struct vn_segment *segment) {
  if (segment) vn_grid_close(&segment->grid);
}

/* ---- scores to labels ---- */

struct labelling {
  const struct vn_segment *segment;
  struct vn_labels *labels;
};

static size_t best_class(const float *scores, size_t channels) {
  size_t best = 0;
  for (size_t c = 1; c < channels; c++)
    if (scores[c] > scores[best]) best = c;
  return best;
}

static void probability_put(const struct vn_scores *scores, size_t at, float p) {
  p = p < 0 ? 0 : p > 1 ? 1 : p;
  if (scores->kind == VN_SCORES_F32)
    ((float *)scores->data)[at] = p;
  else
    ((uint16_t *)scores->data)[at] = (uint16_t)(p * 65535 + 0.5f);
}

/* One voxel's scores as probabilities to voxel `at` of every class. */
static void probabilities_put(const struct vn_segment *segment, size_t at, const float *from) {
  size_t channels = segment->channels, elems = segment->scan->elems;
  if (channels == 1) {
    probability_put(&segment->scores, at, 1 - *from);
    probability_put(&segment->scores, elems + at, *from);
    return;
  }
  float most = from[best_class(from, channels)], sum = 0;
  for (size_t c = 0; c < channels; c++)
    sum += segment->probabilities ? from[c] : expf(from[c] - most);
  for (size_t c = 0; c < channels; c++)
    probability_put(&segment->scores, c * elems + at,
                    (segment->probabilities ? from[c] : expf(from[c] - most)) / sum);
}

static const char *row_label(void *context, size_t d, size_t h, const float *scores) {
  const struct labelling *job = context;
  const struct vn_segment *segment = job->segment;
  const struct vn_view *view = &segment->grid.view;
  size_t channels = segment->channels;
  bool probable = true;
  ptrdiff_t at =
      (ptrdiff_t)view->origin + (ptrdiff_t)d * view->step[0] + (ptrdiff_t)h * view->step[1];
  for (size_t w = 0; w < view->dim[2]; w++, at += view->step[2], scores += channels) {
    /* A mean of numbers in [0, 1] may leave it by rounding. */
    if (channels == 1) probable = probable && *scores >= -1e-4f && *scores <= 1.0001f;
    size_t label = channels == 1 ? *scores >= 0.5f : best_class(scores, channels);
    if (job->labels->elem_bytes == 1)
      ((uint8_t *)job->labels->data)[at] = (uint8_t)label;
    else
      ((int16_t *)job->labels->data)[at] = (int16_t)label;
    if (segment->scores.data) probabilities_put(segment, (size_t)at, scores);
  }
  return probable ? NULL
                  : "the network's one channel leaves [0, 1], so it does not end in a sigmoid and "
                    "a threshold of 0.5 would be wrong";
}

/* What stands where no window was: certainty of class 0, in the network's own terms. */
static float *idle_scores(const struct vn_segment *segment) {
  float *idle = calloc(segment->channels, sizeof *idle);
  if (!idle || segment->channels == 1) return idle;
  for (size_t c = 1; c < segment->channels; c++) idle[c] = segment->probabilities ? 0 : -20;
  idle[0] = segment->probabilities ? 1 : 0;
  return idle;
}

static float background_level(const struct vn_scan *scan) {
  double sum = 0;
  float least = scan->voxels[0];
  for (size_t i = 0; i < scan->elems; i++) {
    least = scan->voxels[i] < least ? scan->voxels[i] : least;
    sum += (double)scan->voxels[i];
  }
  double above = sum / (double)scan->elems - (double)least;
  return above > 0 ? (float)((double)least + 0.05 * above) : -INFINITY;
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
  float *idle = idle_scores(segment);
  if (!labels->data || !idle) {
    free(idle);
    free(labels->data);
    labels->data = NULL;
    return vn_fail(diag, VN_E_MEMORY, "out of memory for %zu labels", labels->elems);
  }
  struct labelling labelling = {segment, labels};
  struct vn_window_job job = {
      .exec = segment->exec,
      .output = segment->output,
      .voxels = scan->voxels,
      .grid = &segment->grid,
      .intensity = report->intensity,
      .overlap = segment->options.overlap,
      .weighting = segment->options.weighting,
      .background = segment->options.every_window ? -INFINITY : background_level(scan),
      .idle = idle,
      .sink = row_label,
      .sink_context = &labelling,
      .progress = segment->progress,
      .progress_context = segment->progress_context,
  };
  memcpy(job.mirror, segment->options.mirror, sizeof job.mirror);
  status = vn_window_run(&job, &report->window, diag);
  free(idle);
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
