/* How a Winograd convolution is cut: tiles per job, places in the scratch. Depends on the problem
 * and the instruction set alone, never on the number of threads. */
#include "winograd.h"

#include "cost.h"
#include "gemm.h"

/* Tiles per job: enough to use each weight two dozen times, few enough to stay near L2. */
enum { TILES = VN_WINOGRAD_TILES, ENOUGH_JOBS = 16 };

static void set_tile(struct wino *w, const size_t tile[3]) {
  for (size_t a = 0; a < 3; a++) {
    struct wino_axis *ax = &w->axis[a];
    ax->in = w->conv.in.dim[VN_D + a];
    ax->out = w->conv.out.dim[VN_D + a];
    ax->pad = w->conv.pad[a];
    ax->dilation = w->conv.dilation[a];
    ax->m = tile[a];
    ax->t = ax->m + w->conv.kernel[a] - 1;
    ax->strand = (size_t)vn_winograd_strand(ax->out, ax->dilation, ax->m);
    ax->tiles = ax->strand * (size_t)vn_winograd_strands(ax->out, ax->dilation);
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

/* ---- where things lie ---- */

/* The pixels along an axis that a job's tiles see, at most. */
static size_t most_seen(const struct wino_axis *a) {
  const size_t first = a->strand < a->tiles ? a->strand - 1 : 0;
  return wino_seen_before(a, first, a->block - 1) + a->t;
}

/* Strides and places in the scratch; returns its size in elements. */
static size_t lay_out(struct wino *w) {
  const struct wino_axis *ax = w->axis;
  const size_t tiles = ax[0].block * ax[1].block * ax[2].block;
  const size_t inner = ax[0].m * ax[1].m * ax[2].m, acc = tiles * w->chunk_vecs * VEC_LANES;
  w->freqs = ax[1].t * ax[2].t;
  w->plane_row = most_seen(&ax[2]) * VEC_LANES;
  w->plane_vec = odd_vecs(most_seen(&ax[1]) * w->plane_row);
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
  set_tile(w, w->conv.tile);
  cut(w);
  const size_t bytes = lay_out(w) * sizeof(float);
  w->chunk_elems = w->axis[0].t * w->freqs * w->channels_in * w->chunk_vecs * (size_t)VEC_LANES;
  return ceil_div(bytes, 64) * 64;
}

/* Along depth first: a job finds half of its input planes where the one before it left them. Of
 * blocks that differ by a tile the larger come first, so that threads end together: 3 planes in
 * jobs of 1 and 2, for two chunks, were shared by two threads as 1 + 1 + 2 and 2. */
void wino_job_at(const struct wino *w, size_t index, struct wino_job *job) {
  static const size_t order[3] = {0, 2, 1};
  job->tiles = 1;
  for (size_t i = 0; i < 3; i++) {
    const size_t a = order[i];
    const struct wino_axis *ax = &w->axis[a];
    const size_t block = index % ax->blocks;
    index /= ax->blocks;
    job->first[a] = ceil_div(block * ax->tiles, ax->blocks);
    job->count[a] = ceil_div((block + 1) * ax->tiles, ax->blocks) - job->first[a];
    job->tiles *= job->count[a];
  }
  job->n = index % w->conv.in.dim[VN_N];
  job->chunk = index / w->conv.in.dim[VN_N];
  job->vec = job->chunk * w->chunk_vecs;
  job->vecs = w->vecs_out - job->vec < w->chunk_vecs ? w->vecs_out - job->vec : w->chunk_vecs;
}
