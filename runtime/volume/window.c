/* Sliding windows over a ring of score planes; see window.h.
 *
 * Scores of all classes exist only for as many planes as a window is deep: plane d of the padded
 * grid lives in ring slot d % patch. A row of windows (same d) is blended, then the planes before
 * the next row's start are final: normalised, brought to those planes of the scan that need no
 * later one, and their slots cleared. The last of them is kept for the scan's planes between it and
 * the next.
 *
 * Where the highest class is all that is asked for, most voxels lie among points of the grid that
 * agree on it, and their scores are never made. */
#include "window.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

struct work {                        /* of the parts, in the stage's unit */
  double sample, fill, blend, plane; /* of a window; to fill and blend it for a run; of a plane */
  double network;                    /* of a window's part in a run of the network */
  size_t runs;                       /* of the network in a window */
  double all;
};

struct port { /* where a channel goes */
  float *data;
  size_t stride;
};

struct place {   /* of a window */
  size_t at[3];  /* its start */
  unsigned flip; /* bit i: axis i is reversed in this run of the network */
};

struct run {
  const struct vn_window_job *job;
  struct work work;
  struct vn_window_axis axis[3];
  size_t patch[3], classes;
  struct port *in; /* [job->count] */
  struct vn_buffer out;
  float *weights;   /* [patch d][patch h][patch w] */
  float *scores;    /* [patch d, a ring][total h][total w][classes] */
  float *sums;      /* [patch d, a ring][total h][total w], of weights; of final planes: best_of */
  float *last;      /* [total h][total w][classes]: plane first - 1 */
  float *last_best; /* [total h][total w] */
  float *window;    /* [channel][patch d][patch h][patch w]: the present one, as the scan is */
  float *scratch;   /* [patch d][scratch_elems] */
  size_t scratch_elems;
  bool *lit;           /* [patch d]: something in the window's plane exceeds the background */
  struct place now;    /* the present window's */
  struct place *batch; /* [batches]: what the network gets in one run */
  size_t batches, slot, waiting; /* slot: which is filled or read; waiting: those that are filled */
  size_t first, written; /* first plane that is not final yet; the scan's that is not written */
  _Atomic(const char *) refusal;
  atomic_bool broken; /* a score is not finite */
};

/* ---- memory ---- */

struct sizes {
  size_t window, plane, ring; /* elements of a window, a padded plane, the ring */
  size_t scratch;             /* of one plane's job: to fill a window, or to leave the grid */
  size_t classes, depth;
};

static bool sizes_count(const struct vn_grid *grid, const size_t patch[3], size_t channels,
                        size_t classes, struct sizes *s, size_t *bytes) {
  size_t total[3], row, elems;
  for (int i = 0; i < 3; i++) total[i] = grid->dim[i] > patch[i] ? grid->dim[i] : patch[i];
  size_t wider = grid->view.dim[2] > total[2] ? grid->view.dim[2] : total[2];
  *s = (struct sizes){.window = patch[0] * patch[1] * patch[2], .depth = patch[0]};
  s->classes = classes;
  s->scratch = vn_grid_scratch(grid, patch);
  if (__builtin_mul_overflow(2 * classes + 2, wider, &row)) return false; /* row_hand_on */
  if (row > s->scratch) s->scratch = row;
  if (__builtin_mul_overflow(total[1], total[2], &s->plane) ||
      __builtin_mul_overflow(s->plane, patch[0], &s->ring) ||
      __builtin_mul_overflow(s->ring, classes + 1, &elems) ||
      __builtin_mul_overflow(s->plane, classes + 1, &row) ||
      __builtin_add_overflow(elems, row, &elems) ||
      __builtin_mul_overflow(s->scratch, patch[0], &row) ||
      __builtin_add_overflow(elems, row, &elems) ||
      __builtin_mul_overflow(s->window, channels + 1, &row) ||
      __builtin_add_overflow(elems, row, &elems) ||
      __builtin_mul_overflow(elems, sizeof(float), bytes))
    return false;
  return true;
}

size_t vn_window_bytes(const struct vn_grid *grid, const size_t patch[3], size_t channels,
                       size_t classes) {
  struct sizes sizes;
  size_t bytes;
  return sizes_count(grid, patch, channels, classes, &sizes, &bytes) ? bytes : SIZE_MAX;
}

static bool run_alloc(struct run *run) {
  struct sizes s;
  size_t bytes;
  const size_t channels = run->job->count;
  if (!sizes_count(run->job->grid, run->patch, channels, run->classes, &s, &bytes)) return false;
  run->scratch_elems = s.scratch;
  run->weights = vn_os_room(s.window * sizeof(float));
  run->window = vn_os_room(channels * s.window * sizeof(float));
  run->in = calloc(channels, sizeof *run->in);
  run->batch = calloc(run->batches, sizeof *run->batch);
  run->scores = vn_os_zeros(s.ring, s.classes * sizeof(float));
  run->sums = vn_os_zeros(s.ring, sizeof(float));
  run->last = calloc(s.plane, s.classes * sizeof(float));
  run->last_best = calloc(s.plane, sizeof(float));
  run->scratch = vn_os_room(s.depth * s.scratch * sizeof(float));
  run->lit = malloc(s.depth * sizeof *run->lit);
  return run->weights && run->window && run->in && run->batch && run->scores && run->sums &&
         run->last && run->last_best && run->scratch && run->lit;
}

static void run_free(struct run *run) {
  free(run->weights);
  free(run->window);
  free(run->in);
  free(run->batch);
  free(run->scores);
  free(run->sums);
  free(run->last);
  free(run->last_best);
  free(run->scratch);
  free(run->lit);
}

/* ---- into the network: jobs, each on one plane of the window ---- */

/* The part [*begin, *end) of the window's axis that lies on the grid. */
static void inside(const struct run *run, int i, size_t *begin, size_t *end) {
  const struct vn_window_axis *axis = &run->axis[i];
  size_t start = run->now.at[i], stop = axis->before + axis->size;
  *begin = start < axis->before ? axis->before - start : 0;
  *end = start + run->patch[i] < stop ? run->patch[i] : stop - start;
}

/* A plane of a window of one image on the grid, which has extent[2] points from start[2] on in its
 * plane `at`, to their place among the window's rows; the rest is NaN. Is something there? */
static bool plane_sample(const struct run *run, const struct vn_window_channel *channel, size_t at,
                         const size_t begin[3], const size_t end[3], float *scratch, float *to) {
  const size_t rows = run->patch[1], columns = run->patch[2];
  const size_t extent[2] = {end[1] - begin[1], end[2] - begin[2]};
  const size_t start[2] = {run->now.at[1] + begin[1] - run->axis[1].before,
                           run->now.at[2] + begin[2] - run->axis[2].before};
  bool lit = false;
  vn_grid_sample(run->job->grid, channel->voxels, &channel->walk, at, start, extent, scratch, to);
  for (size_t i = 0; i < extent[0] * extent[1]; i++) lit = lit || to[i] > channel->background;
  if (extent[0] == rows && extent[1] == columns) return lit;
  /* From dense rows to their place; backwards, because both share the plane. */
  for (size_t h = rows; h-- > 0;) {
    float *row = to + h * columns;
    bool covered = h >= begin[1] && h < end[1];
    if (covered) memmove(row + begin[2], to + (h - begin[1]) * extent[1], extent[1] * sizeof *row);
    for (size_t w = 0; w < columns; w++)
      if (!covered || w < begin[2] || w >= end[2]) row[w] = NAN;
  }
  return lit;
}

static float *window_plane(const struct run *run, size_t channel, size_t d) {
  return run->window + (channel * run->patch[0] + d) * run->patch[1] * run->patch[2];
}

/* Samples the scan; what lies outside is marked by NaN, which no loaded scan holds. */
static void window_sample(void *context, size_t d) {
  struct run *run = context;
  size_t begin[3], end[3], elems = run->patch[1] * run->patch[2];
  for (int i = 0; i < 3; i++) inside(run, i, &begin[i], &end[i]);
  run->lit[d] = false;
  for (size_t c = 0; c < run->job->count; c++) {
    float *to = window_plane(run, c, d);
    for (size_t i = 0; i < elems; i++) to[i] = NAN;
    if (d < begin[0] || d >= end[0]) continue;
    const bool lit =
        plane_sample(run, &run->job->channels[c], run->now.at[0] + d - run->axis[0].before, begin,
                     end, run->scratch + d * run->scratch_elems, to);
    run->lit[d] = run->lit[d] || lit;
  }
}

static size_t flipped(const struct run *run, int axis, size_t i) {
  return run->now.flip >> axis & 1 ? run->patch[axis] - 1 - i : i;
}

static void plane_fill(const struct run *run, size_t channel, size_t d) {
  const struct vn_intensity *intensity = &run->job->channels[channel].intensity;
  const size_t rows = run->patch[1], columns = run->patch[2];
  const struct port in = run->in[channel];
  const float *plane = window_plane(run, channel, d);
  const size_t plane_at = run->slot * run->patch[0] + flipped(run, 0, d);
  float *to = in.data + plane_at * rows * columns * in.stride;
  for (size_t h = 0; h < rows; h++) {
    const float *from = plane + h * columns;
    float *row = to + flipped(run, 1, h) * columns * in.stride;
    for (size_t w = 0; w < columns; w++)
      row[flipped(run, 2, w) * in.stride] =
          from[w] == from[w] ? vn_intensity_apply(intensity, from[w]) : 0;
  }
}

static void window_fill(void *context, size_t d) {
  const struct run *run = context;
  for (size_t c = 0; c < run->job->count; c++) plane_fill(run, c, d);
}

/* ---- out of the network ---- */

static size_t ring_row(const struct run *run, size_t d, size_t h) {
  return (d % run->patch[0] * run->axis[1].total + h) * run->axis[2].total;
}

static void window_blend(void *context, size_t d) {
  const struct run *run = context;
  size_t classes = run->classes, rows = run->patch[1], columns = run->patch[2];
  ptrdiff_t stride = (ptrdiff_t)run->out.pixel_stride;
  if (run->now.flip >> 2 & 1) stride = -stride;
  const size_t *sides = run->now.flip >> run->job->side_axis & 1 ? run->job->other_side : NULL;
  for (size_t h = 0; h < rows; h++) {
    size_t to = ring_row(run, run->now.at[0] + d, run->now.at[1] + h) + run->now.at[2];
    size_t plane_at = run->slot * run->patch[0] + flipped(run, 0, d);
    size_t from = (plane_at * rows + flipped(run, 1, h)) * columns + flipped(run, 2, 0);
    const float *out = (const float *)run->out.data + from * run->out.pixel_stride;
    const float *weights = run->weights + (d * rows + h) * columns;
    float *scores = run->scores + to * classes, *sums = run->sums + to;
    for (size_t w = 0; w < columns; w++, out += stride) {
      float *score = scores + w * classes;
      if (sides)
        for (size_t c = 0; c < classes; c++) score[sides[c]] += weights[w] * out[c];
      else
        for (size_t c = 0; c < classes; c++) score[c] += weights[w] * out[c];
      sums[w] += weights[w];
    }
  }
}

/* The highest class + 1, if no interpolation among points that agree on it gives another: it leads
 * by 2^-16 of the scores, and rounding costs a sum of eight no more than 2^-21 of them. Else 0. */
static float best_of(const float *scores, size_t classes) {
  size_t best = 0;
  bool leads = true;
  for (size_t c = 1; c < classes; c++)
    if (scores[c] > scores[best]) best = c;
  const float most = scores[best];
  for (size_t c = 0; c < classes; c++) {
    const float lead = most - scores[c], doubt = 0x1p-16f * (fabsf(most) + fabsf(scores[c]));
    leads = leads && (c == best || lead > doubt + 0x1p-100f); /* of which subnormals are none */
  }
  return leads ? (float)(best + 1) : 0;
}

/* A final plane of the padded grid, for whoever wants the grid's own. */
static void plane_show(const struct run *run, size_t d) {
  const struct vn_window_job *job = run->job;
  if (!job->plane || d < run->axis[0].before || d - run->axis[0].before >= run->axis[0].size)
    return;
  const size_t at =
      ring_row(run, d, 0) + run->axis[1].before * run->axis[2].total + run->axis[2].before;
  job->plane(job->plane_context, d - run->axis[0].before, run->scores + at * run->classes,
             run->axis[2].total);
}

static void plane_normalise(void *context, size_t job) {
  struct run *run = context;
  size_t at = ring_row(run, run->first + job, 0), classes = run->classes;
  float *plane = run->scores + at * classes, *sums = run->sums + at;
  float check = 0; /* stays 0 unless a score is infinite or NaN */
  for (size_t i = 0; i < run->axis[1].total * run->axis[2].total; i++)
    for (size_t c = 0; c < classes; c++) {
      float *score = &plane[i * classes + c];
      *score = sums[i] > 0 ? *score / sums[i] : run->job->idle[c];
      check += *score * 0.0f;
    }
  if (check != 0) atomic_store(&run->broken, true);
  plane_show(run, run->first + job);
  if (run->job->highest_alone)
    for (size_t i = 0; i < run->axis[1].total * run->axis[2].total; i++)
      sums[i] = best_of(plane + i * classes, classes);
}

static void plane_clear(void *context, size_t job) {
  struct run *run = context;
  size_t at = ring_row(run, run->first + job, 0), elems = run->axis[1].total * run->axis[2].total;
  memset(run->scores + at * run->classes, 0, elems * run->classes * sizeof(float));
  memset(run->sums + at, 0, elems * sizeof(float));
}

/* Where plane z of the grid begins, in points: in the ring, or in the last plane before it. */
static size_t grid_plane(const struct run *run, size_t z, bool *last) {
  const size_t d = run->axis[0].before + z;
  *last = d < run->first;
  return (*last ? 0 : ring_row(run, d, 0)) + run->axis[1].before * run->axis[2].total +
         run->axis[2].before;
}

static const float *plane_scores(const struct run *run, size_t z) {
  bool last;
  const size_t at = grid_plane(run, z, &last);
  return (last ? run->last : run->scores) + at * run->classes;
}

static const float *plane_best(const struct run *run, size_t z) {
  bool last;
  const size_t at = grid_plane(run, z, &last);
  return (last ? run->last_best : run->sums) + at;
}

/* to[w][class]: grid row `h` of the scan's plane z, the grid's columns [begin, end). */
static void row_mix(const struct run *run, size_t z, size_t h, size_t begin, size_t end,
                    float *to) {
  const struct vn_taps *td = &run->job->grid->out[0], *th = &run->job->grid->out[1];
  const size_t row = run->axis[2].total * run->classes;
  bool begun = false;
  for (size_t i = 0; i < td->count; i++)
    for (size_t j = 0; j < th->count; j++) {
      float weight = td->weight[z * td->count + i] * th->weight[h * th->count + j];
      if (weight == 0 && (begun || i + 1 < td->count || j + 1 < th->count)) continue;
      const float *from = plane_scores(run, td->first[z] + i) + (th->first[h] + j) * row;
      if (begun)
        for (size_t e = begin * run->classes; e < end * run->classes; e++)
          to[e] += weight * from[e];
      else
        for (size_t e = begin * run->classes; e < end * run->classes; e++) to[e] = weight * from[e];
      begun = true;
    }
}

/* to[w]: what the points that row_mix mixes agree on, or 0. */
static void row_agree(const struct run *run, size_t z, size_t h, float *to) {
  const struct vn_taps *td = &run->job->grid->out[0], *th = &run->job->grid->out[1];
  const size_t columns = run->axis[2].size;
  for (size_t i = 0; i < td->count; i++)
    for (size_t j = 0; j < th->count; j++) {
      const float *from =
          plane_best(run, td->first[z] + i) + (th->first[h] + j) * run->axis[2].total;
      if (i + j == 0)
        memcpy(to, from, columns * sizeof *to);
      else
        for (size_t w = 0; w < columns; w++) to[w] = to[w] == from[w] ? to[w] : 0;
    }
}

static uint16_t taps_agree(const float *best, size_t count) {
  float all = best[0];
  for (size_t k = 1; k < count; k++) all = best[k] == all ? all : 0;
  return (uint16_t)all;
}

static void voxel_mix(const struct vn_taps *taps, size_t w, size_t classes, const float *mixed,
                      float *to) {
  const float *weight = taps->weight + w * taps->count, *from = mixed + taps->first[w] * classes;
  for (size_t c = 0; c < classes; c++) {
    float sum = weight[0] * from[c];
    for (size_t k = 1; k < taps->count; k++) sum += weight[k] * from[k * classes + c];
    to[c] = sum;
  }
}

/* Row h of the scan's plane z to the sink. Taps never go back along a row: columns from the first
 * that is needed up to `mixed` are there. */
static const char *row_hand_on(const struct run *run, size_t z, size_t h, float *scratch) {
  const struct vn_grid *grid = run->job->grid;
  const struct vn_taps *taps = &grid->out[2];
  const size_t classes = run->classes, width = grid->view.dim[2], columns = run->axis[2].size;
  const bool alone = run->job->highest_alone;
  float *row = scratch + columns * classes, *agreed = row + width * classes;
  uint16_t *sure = (uint16_t *)(agreed + columns);
  size_t mixed = 0;
  if (alone)
    row_agree(run, z, h, agreed);
  else
    row_mix(run, z, h, 0, columns, scratch);
  for (size_t w = 0; w < width; w++) {
    const size_t begin = taps->first[w], end = begin + taps->count;
    if (alone) {
      sure[w] = taps_agree(agreed + begin, taps->count);
      if (sure[w]) continue;
      if (mixed < end) row_mix(run, z, h, mixed > begin ? mixed : begin, end, scratch);
      mixed = end;
    }
    voxel_mix(taps, w, classes, scratch, row + w * classes);
  }
  return run->job->sink(run->job->sink_context, z, h, row, alone ? sure : NULL);
}

static void plane_hand_on(void *context, size_t job) {
  struct run *run = context;
  for (size_t h = 0; h < run->job->grid->view.dim[1]; h++) {
    const char *refusal =
        row_hand_on(run, run->written + job, h, run->scratch + job * run->scratch_elems);
    if (refusal) atomic_store(&run->refusal, refusal);
  }
}

/* ---- the run ---- */

/* Rough, for progress alone: nanoseconds of a thread for each voxel, and for each of its
 * classes. */
static struct work work_of(const struct vn_window_job *job, const struct run *run) {
  const double classes = (double)run->classes;
  const double window = (double)(run->patch[0] * run->patch[1] * run->patch[2]);
  const size_t *dim = job->grid->view.dim;
  double count = 1;
  const double channels = (double)job->count;
  struct work work = {.sample = 8 * channels * window, .fill = 2 * channels * window, .runs = 1};
  for (int i = 0; i < 3; i++) {
    work.runs <<= job->mirror[i];
    count *= (double)run->axis[i].count;
  }
  work.blend = (1 + classes) * window;
  work.network = job->network_work / (double)run->batches;
  work.plane = (4 + 6 * classes) * (double)(dim[1] * dim[2]);
  work.all = count * (work.sample + (double)work.runs * (work.fill + work.network + work.blend)) +
             work.plane * (double)dim[0];
  return work;
}

static void run_measure(struct run *run, const struct vn_window_job *job) {
  const struct vn_buffer in = vn_exec_input(job->stage->exec, 0);
  run->job = job;
  run->out = vn_exec_output(job->stage->exec, job->output);
  run->classes = run->out.dim[1];
  run->batches = in.dim[0];
  for (int i = 0; i < 3; i++) {
    run->patch[i] = in.dim[2 + i];
    run->axis[i] = vn_window_axis_make(job->grid->dim[i], run->patch[i], job->overlap,
                                       job->box.from[i], job->box.to[i]);
  }
  run->work = work_of(job, run);
}

/* Channel by channel through the inputs. */
static void ports_find(struct run *run) {
  struct vn_buffer in = vn_exec_input(run->job->stage->exec, 0);
  for (size_t i = 0, input = 0, c = 0; i < run->job->count; i++, c++) {
    if (c == in.dim[1]) in = vn_exec_input(run->job->stage->exec, ++input), c = 0;
    run->in[i] = (struct port){(float *)in.data + c, in.pixel_stride};
  }
}

double vn_window_work(const struct vn_window_job *job) {
  struct vn_window_job whole = *job;
  struct run run = {0};
  whole.box = (struct vn_box){0};
  run_measure(&run, &whole);
  return run.work.all;
}

/* The network on the windows that wait for it, which are blended in the order in which they came.
 */
static enum vn_status batch_run(struct run *run, uint64_t *network_ns, struct vn_diag *diag) {
  struct vn_stage *stage = run->job->stage;
  const struct place now = run->now;
  const size_t waiting = run->waiting;
  if (!waiting) return VN_OK;
  const uint64_t filled = vn_stage_now_ns();
  vn_stage_begin(stage, run->work.network * (double)waiting);
  enum vn_status status = vn_stage_network(stage, diag);
  *network_ns += vn_stage_now_ns() - filled;
  for (run->slot = 0; run->slot < waiting && !status; run->slot++) {
    run->now = run->batch[run->slot];
    vn_stage_begin(stage, run->work.blend);
    status = vn_stage_jobs(stage, run->patch[0], window_blend, run, diag);
  }
  run->now = now;
  run->waiting = run->slot = 0;
  return status;
}

/* The present window, flipped as run->now.flip says, into the network, which runs when it is full.
 */
static enum vn_status network_run(struct run *run, uint64_t *network_ns, struct vn_diag *diag) {
  vn_stage_begin(run->job->stage, run->work.fill);
  run->slot = run->waiting;
  enum vn_status status = vn_stage_jobs(run->job->stage, run->patch[0], window_fill, run, diag);
  if (status) return status;
  run->batch[run->waiting++] = run->now;
  return run->waiting < run->batches ? VN_OK : batch_run(run, network_ns, diag);
}

static enum vn_status window_run(struct run *run, struct vn_window_report *report,
                                 struct vn_diag *diag) {
  const struct vn_window_job *job = run->job;
  unsigned mirror = 0;
  for (int i = 0; i < 3; i++) mirror |= (unsigned)job->mirror[i] << i;
  uint64_t start = vn_stage_now_ns(), network_ns = 0;
  bool lit = false;
  vn_stage_begin(job->stage, run->work.sample);
  enum vn_status status = vn_stage_jobs(job->stage, run->patch[0], window_sample, run, diag);
  for (size_t d = 0; d < run->patch[0]; d++) lit = lit || run->lit[d];
  for (run->now.flip = 0; status == VN_OK && lit && run->now.flip < 8; run->now.flip++)
    if (!(run->now.flip & ~mirror)) status = network_run(run, &network_ns, diag);
  if (status == VN_OK && !lit)
    vn_stage_begin(job->stage,
                   (double)run->work.runs * (run->work.fill + run->work.network + run->work.blend));
  report->network_ns += network_ns;
  report->outside_ns += vn_stage_now_ns() - start - network_ns;
  report->windows++;
  report->skipped += !lit;
  return status;
}

/* Planes of the scan that need none from `next` on. */
static enum vn_status planes_hand_on(struct run *run, size_t next, struct vn_diag *diag) {
  const struct vn_window_job *job = run->job;
  const struct vn_taps *td = &job->grid->out[0];
  size_t before = run->axis[0].before, depth = job->grid->view.dim[0];
  for (size_t ready = run->written; run->written < depth; run->written = ready) {
    while (ready < depth && ready - run->written < run->patch[0] &&
           before + td->first[ready] + td->count <= next)
      ready++;
    if (ready == run->written) break;
    vn_stage_begin(job->stage, run->work.plane * (double)(ready - run->written));
    enum vn_status status =
        vn_stage_jobs(job->stage, ready - run->written, plane_hand_on, run, diag);
    if (status) return status;
  }
  return VN_OK;
}

/* Planes up to `next`, no more than the ring has, are final: on to the scan. */
static enum vn_status ring_finish(struct run *run, size_t next, struct vn_diag *diag) {
  struct vn_stage *stage = run->job->stage;
  vn_stage_begin(stage, 0);
  enum vn_status status = vn_stage_jobs(stage, next - run->first, plane_normalise, run, diag);
  if (status) return status;
  if (atomic_load(&run->broken))
    return vn_fail(diag, VN_E_FORMAT, "the network yields scores that are not finite numbers");
  status = planes_hand_on(run, next, diag);
  if (status) return status;
  const size_t at = ring_row(run, next - 1, 0), plane = run->axis[1].total * run->axis[2].total;
  memcpy(run->last, run->scores + at * run->classes, plane * run->classes * sizeof(float));
  memcpy(run->last_best, run->sums + at, plane * sizeof(float));
  vn_stage_begin(stage, 0);
  status = vn_stage_jobs(stage, next - run->first, plane_clear, run, diag);
  run->first = next;
  const char *refusal = atomic_load(&run->refusal);
  return refusal ? vn_fail(diag, VN_E_UNSUPPORTED, "%s", refusal) : status;
}

/* Planes up to `next` are final; those beyond the windows' are more than the ring has at a time. */
static enum vn_status planes_finish(struct run *run, size_t next, struct vn_diag *diag) {
  enum vn_status status = VN_OK;
  while (run->first < next && !status) {
    const size_t end = run->first + run->patch[0];
    status = ring_finish(run, end < next ? end : next, diag);
  }
  return status;
}

/* All windows that start at plane at[0], then the planes that no later row touches. */
static enum vn_status row_run(struct run *run, size_t next, struct vn_window_report *report,
                              struct vn_diag *diag) {
  for (size_t h = 0; h < run->axis[1].count; h++)
    for (size_t w = 0; w < run->axis[2].count; w++) {
      run->now.at[1] = vn_window_start(&run->axis[1], h);
      run->now.at[2] = vn_window_start(&run->axis[2], w);
      enum vn_status status = window_run(run, report, diag);
      if (status) return status;
    }
  uint64_t start = vn_stage_now_ns(), network_ns = 0;
  enum vn_status status = batch_run(run, &network_ns, diag);
  if (!status) status = planes_finish(run, next, diag);
  report->network_ns += network_ns;
  report->outside_ns += vn_stage_now_ns() - start - network_ns;
  return status;
}

enum vn_status vn_window_run(const struct vn_window_job *job, struct vn_window_report *report,
                             struct vn_diag *diag) {
  struct run run = {0};
  *report = (struct vn_window_report){0};
  run_measure(&run, job);
  enum vn_status status = VN_OK;
  if (!run_alloc(&run)) {
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for the scores of %zu planes", run.patch[0]);
  } else {
    ports_find(&run);
    vn_window_weights(job->weighting, run.patch, run.weights);
    vn_stage_begin(job->stage, vn_window_work(job) - run.work.all); /* what the box saves */
    status = planes_finish(&run, run.axis[0].first, diag);
  }
  for (size_t d = 0; d < run.axis[0].count && status == VN_OK; d++) {
    run.now.at[0] = vn_window_start(&run.axis[0], d);
    size_t next =
        d + 1 < run.axis[0].count ? vn_window_start(&run.axis[0], d + 1) : run.axis[0].total;
    status = row_run(&run, next, report, diag);
  }
  run_free(&run);
  return status;
}
