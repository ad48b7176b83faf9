/* How a Winograd convolution is cut: outputs per tile, tiles per job, places in the scratch.
 * Depends on the problem and the instruction set alone, never on the number of threads. */
#include "winograd.h"

#include "gemm.h"

/* Tiles per job: enough to use each weight two dozen times, few enough to stay near L2. */
enum { TILES = 24, ENOUGH_JOBS = 16 };

static size_t ceil_div(size_t a, size_t b) {
  return (a + b - 1) / b;
}
static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}

static void set_tile(struct wino *w, const size_t tile[3]) {
  for (size_t a = 0; a < 3; a++) {
    struct wino_axis *ax = &w->axis[a];
    ax->in = w->conv.in.dim[VN_D + a];
    ax->out = w->conv.out.dim[VN_D + a];
    ax->pad = w->conv.pad[a];
    ax->m = tile[a];
    ax->t = ax->m + w->conv.kernel[a] - 1;
    ax->tiles = ceil_div(ax->out, ax->m);
  }
}

static void cut_axis(struct wino_axis *a, size_t most) {
  a->blocks = ceil_div(a->tiles, smaller(most, WINO_MAX_BLOCK));
  a->block = ceil_div(a->tiles, a->blocks);
  a->blocks = ceil_div(a->tiles, a->block);
}

/* Blocks of about `want` tiles, long along w, deep only where the plane is small. */
static void cut_blocks(struct wino *w, size_t want) {
  struct wino_axis *ax = w->axis;
  cut_axis(&ax[2], want);
  cut_axis(&ax[1], want / ax[2].block ? want / ax[2].block : 1);
  size_t plane = ax[1].block * ax[2].block;
  cut_axis(&ax[0], want / plane ? want / plane : 1);
}

size_t wino_jobs(const struct wino *w) {
  return w->axis[0].blocks * w->axis[1].blocks * w->axis[2].blocks * w->conv.in.dim[VN_N] *
         w->chunks;
}

/* A job's fixed cost, the input's transform, is paid again for each chunk of output channels. */
static void cut(struct wino *w) {
  cut_blocks(w, TILES);
  for (w->chunks = 1;; w->chunks++) {
    const size_t panels = ceil_div(ceil_div(w->vecs_out, w->chunks), GEMM_PANEL);
    w->chunk_vecs = smaller(panels * GEMM_PANEL, w->vecs_out);
    const size_t least = (wino_jobs(w) < 4 ? 32 : 64) / VEC_LANES;
    if (wino_jobs(w) >= ENOUGH_JOBS || w->chunk_vecs <= least) break;
  }
  w->chunks = ceil_div(w->vecs_out, w->chunk_vecs);
}

/* ---- which tile ---- */

/* Cycles of one thread, in units of a vector multiply-add: transforms per frequency and vector of
 * channels, products, and weights that stream past faster than they are used. PERFORMANCE.md says
 * where the constants come from. */
static double cost(const struct wino *w) {
  const struct wino_axis *ax = w->axis;
  const double freqs = (double)(ax[0].t * ax[1].t * ax[2].t);
  const double tiles = (double)(ax[0].tiles * ax[1].tiles * ax[2].tiles);
  const double in = (double)w->channels_in, out = (double)w->vecs_out;
  const double job = tiles < TILES ? tiles : TILES;
  const double weights = freqs * in * out * VEC_LANES * sizeof(float);
  const double stream = weights > 16e6 ? 12 : 5, use = 1.1 * job;
  return freqs * tiles *
         (11. * (double)w->vecs_in + 9. * out + in * out * (use > stream ? use : stream) / job);
}

/* Taps of one axis that fall on the input, summed over its outputs, per output. */
static double taps_inside(const struct vn_conv *c, size_t axis) {
  const size_t in = c->in.dim[VN_D + axis], out = c->out.dim[VN_D + axis], pad = c->pad[axis];
  double taps = 0;
  for (size_t k = 0; k < c->kernel[axis]; k++) {
    const size_t first = k < pad ? pad - k : 0, end = in + pad > k ? in + pad - k : 0;
    const size_t last = smaller(end, out);
    if (last > first) taps += (double)(last - first);
  }
  return taps / (double)out;
}

static double direct_cost(const struct wino *w) {
  const struct vn_conv *c = &w->conv;
  const double in = (double)w->channels_in, out = (double)w->vecs_out;
  const double pixels = (double)(c->out.dim[VN_D] * c->out.dim[VN_H] * c->out.dim[VN_W]);
  return pixels * taps_inside(c, 0) * taps_inside(c, 1) * (double)c->kernel[2] * in * out *
         (1.05 + .3 / in);
}

/* The cheapest of tiles of 1, 2 and 4 outputs along each axis; 0: direct convolution is. */
static int choose_tile(struct wino *w) {
  size_t best[3] = {0, 0, 0};
  double least = direct_cost(w);
  for (size_t i = 0; i < 27; i++) {
    static const size_t outputs[3] = {1, 2, 4};
    const size_t tile[3] = {outputs[i / 9], outputs[i / 3 % 3], outputs[i % 3]};
    set_tile(w, tile);
    const double c = cost(w);
    if (c >= least) continue;
    least = c;
    for (size_t a = 0; a < 3; a++) best[a] = tile[a];
  }
  if (best[0]) set_tile(w, best);
  return best[0] > 0;
}

/* ---- where things lie ---- */

static size_t odd_vecs(size_t elems) {
  return (elems / VEC_LANES | 1) * VEC_LANES;
}

/* Strides and places in the scratch; returns its size in elements. */
static size_t lay_out(struct wino *w) {
  const struct wino_axis *ax = w->axis;
  const size_t tiles = ax[0].block * ax[1].block * ax[2].block;
  const size_t inner = ax[0].m * ax[1].m * ax[2].m, acc = tiles * w->chunk_vecs * VEC_LANES;
  w->freqs = ax[1].t * ax[2].t;
  w->plane_row = ((ax[2].block - 1) * ax[2].m + ax[2].t) * VEC_LANES;
  w->plane_vec = odd_vecs(((ax[1].block - 1) * ax[1].m + ax[1].t) * w->plane_row);
  w->plane_tile = w->plane_vec * w->vecs_in;
  w->plane_freq = odd_vecs(w->plane_tile * ax[0].block);
  w->v_row = w->vecs_in * VEC_LANES;
  w->v_freq = odd_vecs(w->v_row * tiles + VEC_LANES);
  w->m_row = w->chunk_vecs * VEC_LANES;
  w->m_freq = odd_vecs(w->m_row * tiles + VEC_LANES);
  w->planes_at = 0;
  w->v_at = w->planes_at + ax[0].t * w->plane_freq;
  w->m_at = w->v_at + w->freqs * w->v_freq;
  w->pair_at = w->m_at + w->freqs * w->m_freq;
  w->acc_at = w->pair_at + acc * ax[1].m * ax[2].m;
  return w->acc_at + acc * inner;
}

size_t wino_cut(struct wino *w) {
  const size_t *tile = w->conv.tile;
  if (tile[0] && tile[1] && tile[2])
    set_tile(w, tile);
  else if (!choose_tile(w))
    return 0;
  cut(w);
  const size_t bytes = lay_out(w) * sizeof(float);
  w->chunk_elems = w->axis[0].t * w->freqs * w->channels_in * w->chunk_vecs * (size_t)VEC_LANES;
  return ceil_div(bytes, 64) * 64;
}

/* Along depth first: a job finds half of its input planes where the one before it left them. */
void wino_job_at(const struct wino *w, size_t index, struct wino_job *job) {
  static const size_t order[3] = {0, 2, 1};
  job->tiles = 1;
  for (size_t i = 0; i < 3; i++) {
    const size_t a = order[i];
    const struct wino_axis *ax = &w->axis[a];
    const size_t block = index % ax->blocks;
    index /= ax->blocks;
    job->first[a] = block * ax->tiles / ax->blocks;
    job->count[a] = (block + 1) * ax->tiles / ax->blocks - job->first[a];
    job->tiles *= job->count[a];
  }
  job->n = index % w->conv.in.dim[VN_N];
  job->chunk = index / w->conv.in.dim[VN_N];
  job->vec = job->chunk * w->chunk_vecs;
  job->vecs = w->vecs_out - job->vec < w->chunk_vecs ? w->vecs_out - job->vec : w->chunk_vecs;
}
