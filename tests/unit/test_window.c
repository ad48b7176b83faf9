/* Sliding windows against MONAI: placement, padding, weights and blended scores, with a formula in
 * the place of the network (goldens: tests/peers/monai_window.py). This program brings its own
 * vn_exec_*, so that nothing but window.c and what it stands on is under test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "npy.h"
#include "window.h"

#ifndef GOLDEN_DIR
#error "GOLDEN_DIR names tests/golden"
#endif

/* ---- a network of two channels that is a formula; its buffers have gaps between pixels ---- */

enum { IN_STRIDE = 3, OUT_STRIDE = 5 };

struct vn_exec {
  size_t patch[3];
  float *in, *out;
  size_t runs, runs_allowed;
  float poison; /* added to every score */
  bool close;   /* the second score is the first one's next number instead */
};

/* What the formula knows of a voxel's place in the window. */
static float place_of(size_t d, size_t h, size_t w) {
  return (float)((d * 7 + h * 3 + w * 5) % 11) / 16;
}

struct vn_buffer vn_exec_input(struct vn_exec *exec, size_t index) {
  assert_int_equal(index, 0);
  const size_t *p = exec->patch;
  return (struct vn_buffer){exec->in, {1, 1, p[0], p[1], p[2]}, IN_STRIDE};
}

struct vn_buffer vn_exec_output(struct vn_exec *exec, size_t index) {
  assert_int_equal(index, 0);
  const size_t *p = exec->patch;
  return (struct vn_buffer){exec->out, {1, 2, p[0], p[1], p[2]}, OUT_STRIDE};
}

/* Backwards: no job may count on another's being done. */
enum vn_status vn_exec_parallel(struct vn_exec *exec, size_t jobs,
                                void (*fn)(void *context, size_t job), void *context,
                                const struct vn_run_options *run, struct vn_diag *diag) {
  (void)exec, (void)run, (void)diag;
  while (jobs--) fn(context, jobs);
  return VN_OK;
}

enum vn_status vn_exec_run_with(struct vn_exec *exec, const void *const inputs[],
                                void *const outputs[], const struct vn_run_options *run,
                                struct vn_diag *diag) {
  (void)diag;
  assert_true(!inputs && !outputs);
  if (exec->runs++ == exec->runs_allowed) return VN_E_CANCELLED;
  size_t i = 0;
  for (size_t d = 0; d < exec->patch[0]; d++)
    for (size_t h = 0; h < exec->patch[1]; h++)
      for (size_t w = 0; w < exec->patch[2]; w++, i++) {
        float x = exec->in[i * IN_STRIDE], place = place_of(d, h, w);
        exec->out[i * OUT_STRIDE] = x + place + exec->poison;
        exec->out[i * OUT_STRIDE + 1] = exec->close ? nextafterf(x + place, 9) : x * x - place;
      }
  return run->progress(run->progress_context, 1) ? VN_E_CANCELLED : VN_OK;
}

bool vn_cancel_pressed(const struct vn_cancel *cancel) {
  (void)cancel;
  return true;
}

/* ---- a run ---- */

struct result {
  size_t dim[3];
  float *scores;  /* c d h w, as the goldens */
  float *planes;  /* the same, of the grid itself: sums, should a plane come twice */
  uint16_t *sure; /* d h w, as they came */
  const char *refusal;
};

static const char *keep(void *context, size_t d, size_t h, const float *scores,
                        const uint16_t *sure) {
  struct result *r = context;
  const size_t *n = r->dim;
  for (size_t w = 0; w < n[2]; w++) {
    const size_t at = (d * n[1] + h) * n[2] + w;
    r->sure[at] = sure ? sure[w] : 0;
    for (size_t c = 0; c < 2 && !r->sure[at]; c++)
      r->scores[c * n[0] * n[1] * n[2] + at] = scores[w * 2 + c];
  }
  return r->refusal;
}

static void plane_keep(void *context, size_t d, const float *scores, size_t columns) {
  struct result *r = context;
  const size_t *n = r->dim;
  for (size_t h = 0; h < n[1]; h++)
    for (size_t w = 0; w < n[2]; w++)
      for (size_t c = 0; c < 2; c++)
        r->planes[((c * n[0] + d) * n[1] + h) * n[2] + w] += scores[(h * columns + w) * 2 + c];
}

struct net {
  struct vn_exec exec;
  float *voxels;
  struct result result;
  struct vn_grid grid;
  struct vn_voxels source;
  struct vn_window_channel channel;
  struct vn_stage stage;
  struct vn_window_job job;
};

static const float idle[2] = {1, -1};

static void net_open(struct net *net, const size_t size[3], const size_t patch[3]) {
  size_t elems = size[0] * size[1] * size[2], window = patch[0] * patch[1] * patch[2];
  *net = (struct net){0};
  memcpy(net->exec.patch, patch, sizeof net->exec.patch);
  memcpy(net->result.dim, size, sizeof net->result.dim);
  net->exec.runs_allowed = SIZE_MAX;
  net->exec.in = calloc(window * IN_STRIDE, sizeof(float));
  net->exec.out = calloc(window * OUT_STRIDE, sizeof(float));
  net->voxels = calloc(elems, sizeof(float));
  net->result.scores = calloc(2 * elems, sizeof(float));
  net->result.planes = calloc(2 * elems, sizeof(float));
  net->result.sure = calloc(elems, sizeof(uint16_t));
  for (uint32_t i = 0; i < elems; i++) net->voxels[i] = (float)((i * 2654435761u) >> 20) / 4096;
  struct vn_view view = {.dim = {size[0], size[1], size[2]}, .spacing_mm = {1, 1, 1}};
  net->source = (struct vn_voxels){.data = (unsigned char *)net->voxels, .type = VN_VOXEL_F32};
  net->stage = (struct vn_stage){.host_mode = vn_float_mode_get(), .exec = &net->exec};
  assert_int_equal(vn_grid_make(&view, NULL, &net->grid, NULL), VN_OK);
  net->channel = (struct vn_window_channel){
      .voxels = &net->source,
      .walk = {0, {(ptrdiff_t)(size[1] * size[2] * 4), (ptrdiff_t)size[2] * 4, 4}},
      .intensity = {0, 1, -INFINITY, INFINITY, false},
      .background = -INFINITY,
  };
  net->job = (struct vn_window_job){
      .stage = &net->stage,
      .network_work = 1,
      .channels = &net->channel,
      .count = 1,
      .grid = &net->grid,
      .idle = idle,
      .overlap = 0.5,
      .sink = keep,
      .sink_context = &net->result,
  };
}

static void net_close(struct net *net) {
  vn_grid_close(&net->grid);
  free(net->exec.in);
  free(net->exec.out);
  free(net->voxels);
  free(net->result.scores);
  free(net->result.planes);
  free(net->result.sure);
}

static struct npy golden(const char *name, size_t number) {
  char path[1024];
  struct npy array;
  struct vn_diag diag;
  snprintf(path, sizeof path, "%s/window/%s%zu.npy", GOLDEN_DIR, name, number);
  if (npy_read(path, &array, &diag)) fail_msg("%s", diag.text);
  return array;
}

static float worst(const float *a, const float *b, size_t elems) {
  float most = 0;
  for (size_t i = 0; i < elems; i++) most = fmaxf(most, fabsf(a[i] - b[i]));
  return most;
}

static const size_t cases[][2][3] = {
    {{13, 11, 9}, {6, 4, 8}}, {{5, 12, 7}, {8, 5, 9}}, {{8, 6, 7}, {8, 6, 7}},
    {{21, 7, 10}, {4, 7, 3}}, {{3, 2, 1}, {6, 5, 4}},
};
enum { CASES = sizeof cases / sizeof *cases };

static void weights_are_monai(void **state) {
  (void)state;
  for (size_t i = 0; i < CASES; i++) {
    struct npy want = golden("weights", i);
    assert_int_equal(want.rank, 3);
    assert_memory_equal(want.dim, cases[i][1], sizeof cases[i][1]);
    float *have = calloc(want.elems, sizeof *have);
    vn_window_weights(VN_WEIGHTING_GAUSSIAN, cases[i][1], have);
    assert_true(worst(have, want.data, want.elems) < 1e-6f);
    free(have);
    npy_close(&want);
  }
}

static void scores_are_monai(void **state) {
  (void)state;
  for (size_t i = 0; i < CASES; i++) {
    struct npy want = golden("scores", i);
    struct net net;
    struct vn_window_report report;
    struct vn_diag diag;
    net_open(&net, cases[i][0], cases[i][1]);
    net.job.plane = plane_keep;
    net.job.plane_context = &net.result;
    assert_int_equal(vn_window_run(&net.job, &report, &diag), VN_OK);
    assert_int_equal(report.windows, net.exec.runs);
    float error = worst(net.result.scores, want.data, want.elems);
    if (!(error < 1e-6f)) fail_msg("case %zu: off by %g", i, error);
    error = worst(net.result.planes, want.data, want.elems);
    if (!(error < 1e-6f)) fail_msg("case %zu: the grid's planes are off by %g", i, error);
    net_close(&net);
    npy_close(&want);
  }
}

/* The same voxels stored the other way round, seen through a flipped view. */
static void view_is_followed(void **state) {
  (void)state;
  const size_t *n = cases[0][0];
  struct npy want = golden("scores", 0);
  struct net net;
  struct vn_window_report report;
  net_open(&net, n, cases[0][1]);
  size_t elems = n[0] * n[1] * n[2];
  float *flipped = calloc(elems, sizeof *flipped);
  for (size_t d = 0; d < n[0]; d++)
    for (size_t h = 0; h < n[1]; h++)
      for (size_t w = 0; w < n[2]; w++)
        flipped[(h * n[2] + (n[2] - 1 - w)) * n[0] + d] = net.voxels[(d * n[1] + h) * n[2] + w];
  net.source.data = (unsigned char *)flipped;
  net.channel.walk = (struct vn_walk){(ptrdiff_t)((n[2] - 1) * n[0] * 4),
                                      {4, (ptrdiff_t)(n[2] * n[0] * 4), -(ptrdiff_t)n[0] * 4}};
  assert_int_equal(vn_window_run(&net.job, &report, NULL), VN_OK);
  assert_true(worst(net.result.scores, want.data, want.elems) < 1e-6f);
  free(flipped);
  net_close(&net);
  npy_close(&want);
}

/* Normalisation comes before padding: padding is 0 whatever the intensities. */
static void intensity_is_applied(void **state) {
  (void)state;
  struct npy want = golden("scores", 4);
  struct net net;
  struct vn_window_report report;
  net_open(&net, cases[4][0], cases[4][1]);
  for (size_t i = 0; i < 6; i++) net.voxels[i] = net.voxels[i] * 512 - 100;
  net.channel.intensity = (struct vn_intensity){-100, 1.0f / 512, 0, 1, false};
  assert_int_equal(vn_window_run(&net.job, &report, NULL), VN_OK);
  assert_true(worst(net.result.scores, want.data, want.elems) < 1e-5f);
  net_close(&net);
  npy_close(&want);
}

/* Along each choice of axes: the mean over the window and its mirrored twins, of which the network
 * sees the voxels at other places. */
static void mirrored_twins_are_averaged(void **state) {
  (void)state;
  const size_t n[3] = {4, 5, 6};
  for (unsigned mirror = 0; mirror < 8; mirror++) {
    struct net net;
    struct vn_window_report report;
    net_open(&net, n, n);
    for (int a = 0; a < 3; a++) net.job.mirror[a] = mirror >> a & 1;
    assert_int_equal(vn_window_run(&net.job, &report, NULL), VN_OK);
    assert_int_equal(net.exec.runs, 1 << __builtin_popcount(mirror));
    for (size_t i = 0; i < 4 * 5 * 6; i++) {
      const size_t at[3] = {i / 30, i / 6 % 5, i % 6};
      float x = net.voxels[i], place = 0;
      for (unsigned flip = 0; flip < 8; flip++) {
        if (flip & ~mirror) continue;
        size_t to[3];
        for (int a = 0; a < 3; a++) to[a] = flip >> a & 1 ? n[a] - 1 - at[a] : at[a];
        place += place_of(to[0], to[1], to[2]) / (float)net.exec.runs;
      }
      assert_float_equal(net.result.scores[i], x + place, 1e-5);
      assert_float_equal(net.result.scores[4 * 5 * 6 + i], x * x - place, 1e-5);
    }
    net_close(&net);
  }
}

/* Along the axis that has sides, and no other, the two channels change places in mirrored windows.
 */
static void twins_change_sides(void **state) {
  (void)state;
  static const size_t other_side[2] = {1, 0};
  const size_t n[3] = {4, 5, 6}, elems = 4 * 5 * 6;
  for (unsigned mirror = 0; mirror < 8; mirror++)
    for (int side = 0; side < 3; side++) {
      struct net net;
      struct vn_window_report report;
      net_open(&net, n, n);
      for (int a = 0; a < 3; a++) net.job.mirror[a] = mirror >> a & 1;
      net.job.other_side = other_side;
      net.job.side_axis = side;
      assert_int_equal(vn_window_run(&net.job, &report, NULL), VN_OK);
      for (size_t i = 0; i < elems; i++) {
        const float x = net.voxels[i], runs = (float)net.exec.runs;
        float want[2] = {0, 0};
        for (unsigned flip = 0; flip < 8; flip++) {
          if (flip & ~mirror) continue;
          size_t at[3] = {i / 30, i / 6 % 5, i % 6};
          for (int a = 0; a < 3; a++) at[a] = flip >> a & 1 ? n[a] - 1 - at[a] : at[a];
          const float place = place_of(at[0], at[1], at[2]);
          want[flip >> side & 1] += (x + place) / runs;
          want[!(flip >> side & 1)] += (x * x - place) / runs;
        }
        for (size_t c = 0; c < 2; c++)
          assert_float_equal(net.result.scores[c * elems + i], want[c], 1e-5);
      }
      net_close(&net);
    }
}

/* Voxels whose highest class is all that is asked for: those that are sure have the class that
 * their scores would give, the others the same scores, on finer, coarser and equal grids. */
static void sure_is_highest(const double spacing_mm[3], bool close) {
  const size_t size[3] = {13, 21, 30}, patch[3] = {8, 8, 8}, elems = 13 * 21 * 30;
  struct net full, alone;
  struct vn_window_report report;
  size_t sure = 0, first = 0;
  for (struct net *net = &full; net; net = net == &full ? &alone : NULL) {
    net_open(net, size, patch);
    struct vn_view view = net->grid.view;
    vn_grid_close(&net->grid);
    assert_int_equal(vn_grid_make(&view, spacing_mm, &net->grid, NULL), VN_OK);
    for (size_t i = 0; i < elems; i++) /* class 1 in two quarters, but where close */
      if ((i < elems / 2) == (i % size[2] < size[2] / 2)) net->voxels[i] += 2;
    net->exec.close = close;
    net->job.highest_alone = net == &alone;
    assert_int_equal(vn_window_run(&net->job, &report, NULL), VN_OK);
  }
  for (size_t i = 0; i < elems; i++) {
    const float a = full.result.scores[i], b = full.result.scores[elems + i];
    assert_int_equal(full.result.sure[i], 0);
    first += a >= b;
    sure += alone.result.sure[i] != 0;
    if (alone.result.sure[i])
      assert_int_equal(alone.result.sure[i], b > a ? 2 : 1);
    else
      assert_true(alone.result.scores[i] == a && alone.result.scores[elems + i] == b);
  }
  assert_in_range(first, 1, elems - 1); /* of close scores, too: rounding makes some equal */
  assert_in_range(sure, close ? 0 : elems / 2, close ? 0 : elems - (spacing_mm ? 1 : 0));
  net_close(&full);
  net_close(&alone);
}

static void highest_alone_is_highest(void **state) {
  (void)state;
  const double coarse[3] = {1.5, 2, 1.3}, fine[3] = {0.8, 1, 0.7};
  sure_is_highest(NULL, false);
  sure_is_highest(coarse, false);
  sure_is_highest(fine, false);
  sure_is_highest(coarse, true);
  sure_is_highest(fine, true);
}

static void failures_end_the_run(void **state) {
  (void)state;
  struct net net;
  struct vn_window_report report;
  struct vn_diag diag;
  net_open(&net, cases[0][0], cases[0][1]);
  net.exec.runs_allowed = 3;
  assert_int_equal(vn_window_run(&net.job, &report, &diag), VN_E_CANCELLED);
  assert_int_equal(net.exec.runs, 4);
  net.exec.runs_allowed = SIZE_MAX;
  net.exec.poison = NAN;
  assert_int_equal(vn_window_run(&net.job, &report, &diag), VN_E_FORMAT);
  net.exec.poison = 0;
  net.result.refusal = "no such thing";
  assert_int_equal(vn_window_run(&net.job, &report, &diag), VN_E_UNSUPPORTED);
  assert_string_equal(diag.text, "no such thing");
  net_close(&net);
}

static int stop_at(void *context, double fraction) {
  double *told = context;
  assert_true(fraction > told[0] && fraction <= 1);
  told[0] = fraction;
  return fraction > told[1];
}

/* What is told grows to 1, where all of it was counted beforehand; a refusal and a pressed button
 * end the run before the next window. */
static void progress_is_told(void **state) {
  (void)state;
  for (int k = 0; k < 3; k++) {
    struct net net;
    struct vn_window_report report;
    struct vn_diag diag;
    double told[2] = {-1, k == 1 ? 0 : 2};
    net_open(&net, cases[0][0], cases[0][1]);
    net.stage.progress = stop_at;
    net.stage.context = told;
    if (k == 2) net.stage.cancel = (struct vn_cancel *)told;
    net.stage.all = vn_window_work(&net.job);
    enum vn_status status = vn_window_run(&net.job, &report, &diag);
    assert_int_equal(status, k ? VN_E_CANCELLED : VN_OK);
    vn_stage_begin(&net.stage, 0);
    if (k == 0) assert_true(fabs(net.stage.done / net.stage.all - 1) < 1e-9);
    if (k) assert_true(net.exec.runs <= 1);
    net_close(&net);
  }
}

/* Every voxel of every extent is under a window, the last window ends with the scan. */
static void axes_are_covered(void **state) {
  (void)state;
  for (size_t patch = 1; patch < 20; patch++)
    for (size_t size = 1; size < 70; size++)
      for (double overlap = 0; overlap < 0.95; overlap += 0.3) {
        struct vn_window_axis axis = vn_window_axis_make(size, patch, overlap, 0, 0);
        size_t covered = 0;
        for (size_t i = 0; i < axis.count; i++) {
          size_t start = vn_window_start(&axis, i);
          assert_true(start <= covered && (i == 0 || start + patch > covered));
          covered = start + patch;
        }
        assert_int_equal(covered, axis.total);
        assert_true(axis.before + size <= axis.total);
      }
}

/* Windows cover the part, from its first point to its last or around its middle, on the padded
 * grid. */
static void parts_are_covered(void **state) {
  (void)state;
  for (size_t patch = 1; patch < 12; patch++)
    for (size_t size = 1; size < 30; size++)
      for (size_t from = 0; from < size; from++)
        for (size_t to = from + 1; to <= size; to++) {
          const struct vn_window_axis axis = vn_window_axis_make(size, patch, 0.5, from, to);
          const size_t begin = axis.before + from, end = axis.before + to;
          const size_t last = vn_window_start(&axis, axis.count - 1);
          assert_true(vn_window_start(&axis, 0) <= begin && last + patch >= end);
          assert_true(last + patch <= axis.total);
          for (size_t i = 1; i < axis.count; i++)
            assert_true(vn_window_start(&axis, i) <= vn_window_start(&axis, i - 1) + patch);
          if (to - from >= patch) assert_true(axis.first == begin && last + patch == end);
          if (to - from <= patch) assert_int_equal(axis.count, 1);
        }
}

/* A box's scores are those of a scan of its voxels alone; outside of it they are idle. Planes
 * before and after it are more than the ring holds. */
static void boxes_are_scans(void **state) {
  (void)state;
  static const size_t n[3] = {40, 13, 17}, patch[3] = {6, 4, 8};
  static const struct vn_box box = {{14, 3, 0}, {23, 9, 11}};
  size_t part[3], told = 0;
  struct net whole, alone;
  struct vn_window_report report;
  for (int a = 0; a < 3; a++) part[a] = box.to[a] - box.from[a];
  net_open(&whole, n, patch);
  net_open(&alone, part, patch);
  for (size_t d = 0; d < part[0]; d++)
    for (size_t h = 0; h < part[1]; h++)
      memcpy(alone.voxels + (d * part[1] + h) * part[2],
             whole.voxels + ((d + box.from[0]) * n[1] + h + box.from[1]) * n[2] + box.from[2],
             part[2] * sizeof(float));
  whole.stage.all = vn_window_work(&whole.job);
  whole.job.box = box;
  assert_int_equal(vn_window_run(&whole.job, &report, NULL), VN_OK);
  vn_stage_begin(&whole.stage, 0);
  assert_true(fabs(whole.stage.done / whole.stage.all - 1) < 1e-9);
  assert_int_equal(vn_window_run(&alone.job, &report, NULL), VN_OK);
  assert_int_equal(whole.exec.runs, alone.exec.runs);
  for (size_t c = 0; c < 2; c++)
    for (size_t d = 0; d < n[0]; d++)
      for (size_t h = 0; h < n[1]; h++)
        for (size_t w = 0; w < n[2]; w++) {
          const size_t at[3] = {d - box.from[0], h - box.from[1], w - box.from[2]};
          const bool in = at[0] < part[0] && at[1] < part[1] && at[2] < part[2];
          const size_t from = ((c * part[0] + at[0]) * part[1] + at[1]) * part[2] + at[2];
          assert_true(whole.result.scores[((c * n[0] + d) * n[1] + h) * n[2] + w] ==
                      (in ? alone.result.scores[from] : idle[c]));
          told += in;
        }
  assert_int_equal(told, 2 * part[0] * part[1] * part[2]);
  net_close(&whole);
  net_close(&alone);
}

static void bytes_are_counted(void **state) {
  (void)state;
  const size_t patch[3] = {64, 128, 128};
  struct vn_view view = {.dim = {300, 512, 512}, .spacing_mm = {1, 1, 1}};
  struct vn_grid grid;
  assert_int_equal(vn_grid_make(&view, NULL, &grid, NULL), VN_OK);
  size_t bytes = vn_window_bytes(&grid, patch, 1, 5), ring = (size_t)64 * 512 * 512 * 6 * 4;
  assert_in_range(bytes, ring, ring + ring / 20);
  assert_int_equal(vn_window_bytes(&grid, patch, 1, SIZE_MAX / 2), SIZE_MAX);
  vn_grid_close(&grid);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(weights_are_monai),    cmocka_unit_test(scores_are_monai),
      cmocka_unit_test(view_is_followed),     cmocka_unit_test(intensity_is_applied),
      cmocka_unit_test(failures_end_the_run), cmocka_unit_test(axes_are_covered),
      cmocka_unit_test(parts_are_covered),    cmocka_unit_test(boxes_are_scans),
      cmocka_unit_test(bytes_are_counted),    cmocka_unit_test(highest_alone_is_highest),
      cmocka_unit_test(progress_is_told),     cmocka_unit_test(mirrored_twins_are_averaged),
      cmocka_unit_test(twins_change_sides),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
