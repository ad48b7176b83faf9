/* 3D Winograd convolution, stride 1, 5x5x5 and 3x3x3, any channels and any grid.
 *
 * The story of a job (a block of tiles, a chunk of output channels): the input is transformed along
 * depth into t planes; then for each depth frequency a 2D transform, t*t small matrix products, the
 * 2D inverse, and an accumulation into the outputs along depth. Only one depth frequency's weights
 * are live at a time, so that they stay in cache for all tiles of the block. */
#include "winograd.h"

#include "gemm.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Along depth first: a job finds half of its input planes where the one before it left them. */
static void cut_job(const struct wino *w, size_t index, struct wino_job *job) {
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

static void winograd_run(const void *state, size_t index, void *scratch) {
  const struct wino *w = state;
  struct wino_job job;
  float *s = scratch;
  cut_job(w, index, &job);
  wino_input_depth(w, &job, s + w->planes_at);
  const float *u = w->packed + job.chunk * w->chunk_elems;
  const size_t t = w->axis[0].t, u_freq = w->freqs * job.vecs * w->channels_in * VEC_LANES;
  for (size_t i = 0; i < t; i++) {
    const size_t f = i == 0 ? 0 : i == 1 ? t - 1 : i - 1;
    wino_input_plane(w, &job, s + w->planes_at + f * w->plane_freq, s + w->v_at);
    wino_gemm(w, &job, s + w->v_at, u + f * u_freq, s + w->m_at);
    wino_output(w, &job, f, i == t - 1, s + w->m_at, s + w->pair_at, s + w->acc_at);
  }
}

static void winograd_close(void *state) {
  struct wino *w = state;
  if (!w) return;
  free(w->packed);
  free(w);
}

static enum vn_status check(const struct vn_conv *c, struct vn_diag *diag) {
  const size_t k = c->kernel[0];
  if (c->groups != 1 || (k != 3 && k != 5) || c->kernel[1] != k || c->kernel[2] != k)
    return vn_fail(diag, VN_E_UNSUPPORTED, "winograd: a 3x3x3 or 5x5x5 kernel without groups");
  for (size_t a = 0; a < 3; a++) {
    if (c->stride[a] != 1 || c->dilation[a] != 1)
      return vn_fail(diag, VN_E_UNSUPPORTED, "winograd: stride 1 and no dilation");
    if (c->tile[a] > 6 || c->tile[a] == 3 || c->tile[a] == 5 || (c->tile[a] == 6 && k == 5))
      return vn_fail(diag, VN_E_UNSUPPORTED, "winograd: %zu outputs per tile of a %zu-tap axis",
                     c->tile[a], k);
  }
  return VN_OK;
}

static size_t ceil_div(size_t a, size_t b) {
  return (a + b - 1) / b;
}
static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
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

static size_t wino_jobs(const struct wino *w) {
  return w->axis[0].blocks * w->axis[1].blocks * w->axis[2].blocks * w->conv.in.dim[VN_N] *
         w->chunks;
}

/* A job's fixed cost, the input's transform, is paid again for each chunk of output channels. */
static void cut(struct wino *w) {
  cut_blocks(w, 24);
  for (w->chunks = 1;; w->chunks++) {
    const size_t panels = ceil_div(ceil_div(w->vecs_out, w->chunks), GEMM_PANEL);
    w->chunk_vecs = smaller(panels * GEMM_PANEL, w->vecs_out);
    const size_t least = (wino_jobs(w) < 4 ? 32 : 64) / VEC_LANES;
    if (wino_jobs(w) >= 16 || w->chunk_vecs <= least) break;
  }
  w->chunks = ceil_div(w->vecs_out, w->chunk_vecs);
}

static int wants_stream(const struct vn_tensor *out) {
  size_t bytes = out->stride * sizeof(float);
  for (size_t a = VN_D; a < VN_AXES; a++) bytes *= out->dim[a];
  const size_t line = VEC_LANES * sizeof(float);
  return VEC_STREAM && bytes >= (size_t)32 << 20 && (uintptr_t)out->data % line == 0 &&
         out->stride % VEC_LANES == 0;
}

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

/* Large pages halve the time to fill it, and leave the TLB to the activations. */
static float *packed_alloc(size_t bytes) {
  const size_t page = bytes < ((size_t)4 << 20) ? 64 : (size_t)2 << 20;
  bytes = ceil_div(bytes, page) * page;
  float *p = aligned_alloc(page, bytes);
#ifdef MADV_HUGEPAGE
  if (p && page > 64) madvise(p, bytes, MADV_HUGEPAGE);
#endif
  return p;
}

enum vn_status VN_ISA_NAME(winograd)(const struct vn_conv *conv, pthreadpool_t pool,
                                     struct vn_prepared *prepared, struct vn_diag *diag) {
#if VEC_LANES == 16
  if (conv->out.dim[VN_C] <= 8) return vn_winograd_avx2(conv, pool, prepared, diag);
#endif
  enum vn_status status = check(conv, diag);
  if (status) return status;
  struct wino *w = calloc(1, sizeof *w);
  if (!w) return vn_fail(diag, VN_E_MEMORY, "winograd: out of memory");
  w->conv = *conv;
  w->channels_in = conv->in.dim[VN_C];
  w->channels_out = conv->out.dim[VN_C];
  w->vecs_in = ceil_div(w->channels_in, VEC_LANES);
  w->vecs_out = ceil_div(w->channels_out, VEC_LANES);
  for (size_t a = 0; a < 3; a++) {
    struct wino_axis *ax = &w->axis[a];
    ax->in = conv->in.dim[VN_D + a];
    ax->out = conv->out.dim[VN_D + a];
    ax->pad = conv->pad[a];
    ax->m = conv->tile[a] ? conv->tile[a] : 4;
    ax->t = ax->m + conv->kernel[a] - 1;
    ax->tiles = ceil_div(ax->out, ax->m);
  }
  cut(w);
  w->stream = wants_stream(&conv->out);
  const size_t scratch = lay_out(w);
  w->chunk_elems = w->axis[0].t * w->freqs * w->channels_in * w->chunk_vecs * (size_t)VEC_LANES;
  const size_t bytes = w->chunk_elems * w->chunks * sizeof(float);
  w->packed = packed_alloc(bytes);
  if (!w->packed) {
    winograd_close(w);
    return vn_fail(diag, VN_E_MEMORY, "winograd: %zu bytes for weights", bytes);
  }
  wino_pack(w, pool);
  *prepared = (struct vn_prepared){.jobs = wino_jobs(w),
                                   .scratch_bytes = (scratch * sizeof(float) + 63) / 64 * 64,
                                   .packed_bytes = bytes,
                                   .run = winograd_run,
                                   .close = winograd_close,
                                   .state = w};
  snprintf(prepared->name, sizeof prepared->name, "winograd %zux%zux%zu " VN_ISA_TEXT, w->axis[0].m,
           w->axis[1].m, w->axis[2].m);
  return VN_OK;
}
