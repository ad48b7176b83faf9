/* Sliding windows over a ring of score planes; see window.h.
 *
 * Scores of all classes exist only for as many planes as a window is deep: plane d of the padded
 * scan lives in ring slot d % patch. A row of windows (same d) is blended, then the planes before
 * the next row's start are final: normalised, handed to the sink, and their slots cleared. */
#include "window.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fail.h"
#include "parallel.h"

struct run {
  const struct vn_window_job *job;
  struct vn_window_axis axis[3];
  size_t patch[3], classes;
  struct vn_buffer in, out;
  float *weights; /* [patch d][patch h][patch w] */
  float *scores;  /* [patch d, a ring][total h][total w][classes] */
  float *sums;    /* [patch d, a ring][total h][total w], of weights */
  size_t at[3];   /* the present window's start */
  size_t first;   /* first plane that is not final yet */
  _Atomic(const char *) refusal;
  atomic_bool broken; /* a score is not finite */
};

struct vn_window_axis vn_window_axis_make(size_t size, size_t patch, double overlap) {
  struct vn_window_axis axis = {.size = size, .patch = patch, .total = size > patch ? size : patch};
  axis.before = (axis.total - size) / 2;
  axis.step = (size_t)((double)patch * (1 - overlap));
  if (axis.step == 0) axis.step = 1;
  axis.count = (axis.total - patch + axis.step - 1) / axis.step + 1;
  return axis;
}

size_t vn_window_start(const struct vn_window_axis *axis, size_t index) {
  size_t start = index * axis->step, last = axis->total - axis->patch;
  return start < last ? start : last;
}

static float bell(size_t i, size_t patch) {
  double x = (double)i - 0.5 * (double)(patch - 1), sigma = 0.125 * (double)patch;
  return (float)exp(-x * x / (2 * sigma * sigma));
}

void vn_window_weights(const size_t patch[3], float *weights) {
  float least = bell(0, patch[0]) * bell(0, patch[1]) * bell(0, patch[2]);
  if (least < 1e-3f) least = 1e-3f;
  for (size_t d = 0; d < patch[0]; d++)
    for (size_t h = 0; h < patch[1]; h++) {
      float row = bell(d, patch[0]) * bell(h, patch[1]);
      float *to = weights + (d * patch[1] + h) * patch[2];
      for (size_t w = 0; w < patch[2]; w++) {
        float weight = row * bell(w, patch[2]);
        to[w] = weight > least ? weight : least;
      }
    }
}

size_t vn_window_bytes(const size_t dim[3], const size_t patch[3], size_t classes) {
  size_t ring = patch[0], window = patch[0] * patch[1] * patch[2], bytes;
  for (int i = 1; i < 3; i++)
    if (__builtin_mul_overflow(ring, dim[i] > patch[i] ? dim[i] : patch[i], &ring)) return SIZE_MAX;
  if (__builtin_mul_overflow(ring, classes + 1, &bytes) ||
      __builtin_add_overflow(bytes, window, &bytes) ||
      __builtin_mul_overflow(bytes, sizeof(float), &bytes))
    return SIZE_MAX;
  return bytes;
}

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- jobs, each on one plane ---- */

static void window_fill(void *context, size_t d) {
  const struct run *run = context;
  const struct vn_view *view = &run->job->view;
  const struct vn_window_axis *axis = run->axis;
  size_t stride = run->in.pixel_stride;
  float *to = (float *)run->in.data + d * run->patch[1] * run->patch[2] * stride;
  size_t z = run->at[0] + d - axis[0].before; /* past the end, by wrapping, in the padding before */
  for (size_t h = 0; h < run->patch[1]; h++) {
    size_t y = run->at[1] + h - axis[1].before;
    bool inside = z < axis[0].size && y < axis[1].size;
    const float *row = inside ? run->job->voxels + (ptrdiff_t)view->origin +
                                    (ptrdiff_t)z * view->step[0] + (ptrdiff_t)y * view->step[1]
                              : NULL;
    for (size_t w = 0; w < run->patch[2]; w++, to += stride) {
      size_t x = run->at[2] + w - axis[2].before;
      *to = row && x < axis[2].size
                ? vn_intensity_apply(&run->job->intensity, row[(ptrdiff_t)x * view->step[2]])
                : 0;
    }
  }
}

static size_t ring_row(const struct run *run, size_t d, size_t h) {
  return (d % run->patch[0] * run->axis[1].total + h) * run->axis[2].total;
}

static void window_blend(void *context, size_t d) {
  const struct run *run = context;
  size_t classes = run->classes, stride = run->out.pixel_stride, row = run->patch[2];
  for (size_t h = 0; h < run->patch[1]; h++) {
    size_t to = ring_row(run, run->at[0] + d, run->at[1] + h) + run->at[2];
    size_t from = (d * run->patch[1] + h) * row;
    const float *out = (const float *)run->out.data + from * stride;
    float *scores = run->scores + to * classes, *sums = run->sums + to;
    for (size_t w = 0; w < row; w++) {
      float weight = run->weights[from + w];
      for (size_t c = 0; c < classes; c++) scores[w * classes + c] += weight * out[w * stride + c];
      sums[w] += weight;
    }
  }
}

static void plane_finish(void *context, size_t job) {
  struct run *run = context;
  const struct vn_window_axis *axis = run->axis;
  size_t d = run->first + job, z = d - axis[0].before, classes = run->classes;
  size_t row = axis[2].total * classes;
  float *plane = run->scores + ring_row(run, d, 0) * classes;
  float *sums = run->sums + ring_row(run, d, 0);
  if (z < axis[0].size) {
    float check = 0; /* stays 0 unless a score is infinite or NaN */
    for (size_t i = 0; i < axis[1].total * axis[2].total; i++)
      for (size_t c = 0; c < classes; c++) {
        plane[i * classes + c] /= sums[i];
        check += plane[i * classes + c] * 0.0f;
      }
    if (check != 0) atomic_store(&run->broken, true);
    const char *refusal = run->job->sink(
        run->job->sink_context, z, plane + axis[1].before * row + axis[2].before * classes, row);
    if (refusal) atomic_store(&run->refusal, refusal);
  }
  memset(plane, 0, axis[1].total * row * sizeof *plane);
  memset(sums, 0, axis[1].total * axis[2].total * sizeof *sums);
}

/* ---- the run ---- */

static enum vn_status window_run(struct run *run, struct vn_window_report *report,
                                 struct vn_diag *diag) {
  struct vn_exec *exec = run->job->exec;
  uint64_t start = now_ns();
  vn_parallel(exec, run->patch[0], window_fill, run);
  uint64_t filled = now_ns();
  enum vn_status status = vn_exec_run_in_place(exec, diag);
  if (status) return status;
  uint64_t done = now_ns();
  vn_parallel(exec, run->patch[0], window_blend, run);
  report->network_ns += done - filled;
  report->blend_ns += filled - start + now_ns() - done;
  report->windows++;
  return VN_OK;
}

/* All windows that start at plane at[0], then the planes that no later row touches. */
static enum vn_status row_run(struct run *run, size_t next, struct vn_window_report *report,
                              struct vn_diag *diag) {
  const struct vn_window_job *job = run->job;
  size_t total = run->axis[0].count * run->axis[1].count * run->axis[2].count;
  for (size_t h = 0; h < run->axis[1].count; h++)
    for (size_t w = 0; w < run->axis[2].count; w++) {
      run->at[1] = vn_window_start(&run->axis[1], h);
      run->at[2] = vn_window_start(&run->axis[2], w);
      enum vn_status status = window_run(run, report, diag);
      if (status) return status;
      if (job->progress) job->progress(job->progress_context, report->windows, total);
    }
  uint64_t start = now_ns();
  vn_parallel(job->exec, next - run->first, plane_finish, run);
  report->blend_ns += now_ns() - start;
  run->first = next;
  if (atomic_load(&run->broken))
    return vn_fail(diag, VN_E_FORMAT, "the network yields scores that are not finite numbers");
  const char *refusal = atomic_load(&run->refusal);
  return refusal ? vn_fail(diag, VN_E_UNSUPPORTED, "%s", refusal) : VN_OK;
}

enum vn_status vn_window_run(const struct vn_window_job *job, struct vn_window_report *report,
                             struct vn_diag *diag) {
  struct run run = {.job = job};
  *report = (struct vn_window_report){0};
  run.in = vn_exec_input(job->exec, 0);
  run.out = vn_exec_output(job->exec, job->output);
  run.classes = run.out.dim[1];
  for (int i = 0; i < 3; i++) {
    run.patch[i] = run.in.dim[2 + i];
    run.axis[i] = vn_window_axis_make(job->view.dim[i], run.patch[i], job->overlap);
  }
  if (vn_window_bytes(job->view.dim, run.patch, run.classes) < SIZE_MAX) {
    size_t plane = run.axis[1].total * run.axis[2].total;
    run.weights = malloc(run.patch[0] * run.patch[1] * run.patch[2] * sizeof(float));
    run.scores = calloc(run.patch[0] * plane, run.classes * sizeof(float));
    run.sums = calloc(run.patch[0] * plane, sizeof(float));
  }
  enum vn_status status = VN_OK;
  if (!run.weights || !run.scores || !run.sums)
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the scores of %zu planes", run.patch[0]);
  else
    vn_window_weights(run.patch, run.weights);
  for (size_t d = 0; d < run.axis[0].count && status == VN_OK; d++) {
    run.at[0] = vn_window_start(&run.axis[0], d);
    size_t next =
        d + 1 < run.axis[0].count ? vn_window_start(&run.axis[0], d + 1) : run.axis[0].total;
    status = row_run(&run, next, report, diag);
  }
  free(run.weights);
  free(run.scores);
  free(run.sums);
  return status;
}
