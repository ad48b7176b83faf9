/* Winograd for few tiles: 5x5x5, stride 1, tiles of 4x4x4 outputs.
 *
 * Where a grid has few tiles, transformed weights, four times as many as there were, pass by for
 * little work, and take memory for little time. Here they are kept transformed along d alone, and
 * transformed along h and w while they are used. The first phase transforms the input, a vector of
 * channels to a job, into memory that all share. In the second a job has one or two output vectors
 * and all tiles, so that each weight is transformed once, a group of input channels at a time. */
#include "lean.h"

#include "cost.h"

#include <stdlib.h>

/* All tiles of an item and an output chunk. */
static struct wino_job job_of(const struct lean *l, size_t item, size_t chunk) {
  const struct wino *w = &l->w;
  struct wino_job job = {.n = item, .tiles = l->tiles, .chunk = chunk};
  for (size_t a = 0; a < 3; a++) job.count[a] = w->axis[a].tiles;
  job.vec = chunk * w->chunk_vecs;
  job.vecs = smaller(w->vecs_out - job.vec, w->chunk_vecs);
  return job;
}

/* One vector of an item's channels: the convolution looks as if it had no other. */
static void transform_input(const struct lean *l, size_t item, size_t vector, float *planes) {
  const struct wino_job job = job_of(l, item, 0);
  struct wino w = l->w;
  w.conv.in.data = (float *)w.conv.in.data + vector * VEC_LANES;
  w.channels_in = smaller(w.channels_in - vector * VEC_LANES, VEC_LANES);
  wino_input_depth(&w, &job, planes);
  const size_t channel = vector * VEC_LANES;
  float *v =
      l->v + channel / LEAN_GROUP * l->v_group + item * l->tiles * w.v_row + channel % LEAN_GROUP;
  for (size_t f = 0; f < LEAN_T; f++)
    wino_input_plane(&w, &job, planes + f * w.plane_freq, v + f * l->v_depth);
}

static void chunk_run(const struct lean *l, size_t chunk, float *scratch) {
  float *m = scratch + l->m_at;
  for (size_t i = 0; i < LEAN_T; i++) {
    const size_t f = i == 0 ? 0 : i == 1 ? LEAN_T - 1 : i - 1;
    for (size_t item = 0; item < l->items; item++) {
      const struct wino_job job = job_of(l, item, chunk);
      if (item == 0) lean_products(l, &job, f, scratch + l->panel_at, m);
      wino_output(&l->w, &job, f, i == LEAN_T - 1, m + item * l->tiles * l->w.m_row,
                  scratch + l->pair_at + item * l->acc_item / LEAN_M,
                  scratch + l->acc_at + item * l->acc_item);
    }
  }
}

static size_t inputs_of(const struct lean *l) {
  return l->items * l->vecs_in;
}

static size_t lean_phase(const void *state, size_t first) {
  const struct lean *l = state;
  return first < inputs_of(l) ? inputs_of(l) : inputs_of(l) + l->w.chunks;
}

static void lean_run(const void *state, size_t index, void *scratch) {
  const struct lean *l = state;
  const size_t inputs = inputs_of(l);
  if (index < inputs)
    transform_input(l, index / l->vecs_in, index % l->vecs_in, scratch);
  else
    chunk_run(l, index - inputs, scratch);
}

static bool lean_pack_any(const void *state, struct vn_pool *pool, const float *weight,
                          void *memory, struct vn_watch *watch) {
  return lean_pack(state, pool, weight, memory, watch);
}

static void lean_use(void *state, const void *memory) {
  ((struct lean *)state)->w.packed = memory;
}

static void lean_share(void *state, void *memory) {
  ((struct lean *)state)->v = memory;
}

/* ---- opening ---- */

static bool covers(const struct vn_conv *c) {
  const uint64_t out[3] = {c->out.dim[VN_D], c->out.dim[VN_H], c->out.dim[VN_W]};
  for (size_t a = 0; a < 3; a++)
    if (c->kernel[a] != LEAN_TAPS || c->stride[a] != 1 || c->dilation[a] != 1) return false;
  return c->groups == 1 && vn_lean_tiles(c->out.dim[VN_N], out);
}

static void set_axes(struct wino *w) {
  for (size_t a = 0; a < 3; a++) {
    const size_t out = w->conv.out.dim[VN_D + a], tiles = ceil_div(out, LEAN_M);
    w->axis[a] = (struct wino_axis){.in = w->conv.in.dim[VN_D + a],
                                    .out = out,
                                    .pad = w->conv.pad[a],
                                    .dilation = 1,
                                    .m = LEAN_M,
                                    .t = LEAN_T,
                                    .strand = tiles,
                                    .tiles = tiles,
                                    .block = tiles,
                                    .blocks = 1};
  }
}

/* Places in the scratch; returns its bytes. */
static size_t lay_out(struct lean *l) {
  struct wino *w = &l->w;
  const struct wino_axis *ax = w->axis;
  const size_t rows = l->items * l->tiles, frequencies = LEAN_T * LEAN_T;
  w->freqs = frequencies;
  w->plane_row = (ax[2].tiles * LEAN_M + LEAN_TAPS - 1) * VEC_LANES;
  w->plane_vec = w->plane_tile = odd_vecs((ax[1].tiles * LEAN_M + LEAN_TAPS - 1) * w->plane_row);
  w->plane_freq = odd_vecs(w->plane_tile * ax[0].tiles);
  w->v_row = LEAN_GROUP;
  w->v_freq = odd_vecs(w->v_row * rows);
  w->m_row = w->chunk_vecs * VEC_LANES;
  w->m_freq = odd_vecs(w->m_row * rows);
  l->v_group = frequencies * w->v_freq;
  l->v_depth = ceil_div(w->channels_in, LEAN_GROUP) * l->v_group;
  l->m_at = l->panel_at + 2 * LEAN_T * LEAN_PANEL;
  l->acc_item = l->tiles * w->chunk_vecs * VEC_LANES * LEAN_M * LEAN_M * LEAN_M;
  l->pair_at = l->m_at + frequencies * w->m_freq;
  l->acc_at = l->pair_at + l->items * l->acc_item / LEAN_M;
  const size_t products = l->acc_at + l->items * l->acc_item;
  const size_t planes = LEAN_T * w->plane_freq;
  return ceil_div((products > planes ? products : planes) * sizeof(float), 64) * 64;
}

enum vn_status VN_ISA_NAME(lean)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                 struct vn_diag *diag) {
  enum { MANY_TILES = 16, ENOUGH_JOBS = 8 };
#if VEC_LANES == 16
  if (conv->out.dim[VN_C] <= 8) return vn_lean_avx2(conv, prepared, diag);
#endif
  if (!covers(conv))
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "lean: a 5x5x5 kernel, stride 1, up to %d tiles of 4x4x4", VN_LEAN_TILES);
  struct lean *l = calloc(1, sizeof *l);
  if (!l) return vn_fail(diag, VN_E_MEMORY, "lean: out of memory");
  struct wino *w = &l->w;
  w->conv = *conv;
  w->channels_in = conv->in.dim[VN_C];
  w->channels_out = conv->out.dim[VN_C];
  w->vecs_in = 1;
  w->vecs_out = ceil_div(w->channels_out, VEC_LANES);
  set_axes(w);
  l->vecs_in = ceil_div(w->channels_in, VEC_LANES);
  l->items = conv->out.dim[VN_N];
  l->tiles = w->axis[0].tiles * w->axis[1].tiles * w->axis[2].tiles;
  w->chunk_vecs = l->items * l->tiles < MANY_TILES || w->vecs_out < 2 * ENOUGH_JOBS ? 1 : 2;
  w->chunks = ceil_div(w->vecs_out, w->chunk_vecs);
  const size_t scratch = lay_out(l);
  *prepared = (struct vn_prepared){.name = "lean " VN_ISA_TEXT,
                                   .jobs = inputs_of(l) + w->chunks,
                                   .scratch_bytes = scratch,
                                   .shared_bytes = LEAN_T * l->v_depth * sizeof(float),
                                   .packed_bytes = w->vecs_out * w->channels_in * LEAN_T *
                                                   LEAN_PLANE * VEC_LANES * sizeof(float),
                                   .run = lean_run,
                                   .phase = lean_phase,
                                   .close = free,
                                   .pack = lean_pack_any,
                                   .use = lean_use,
                                   .share = lean_share,
                                   .state = l};
  return VN_OK;
}
