/* 3D Winograd convolution, stride 1, 5x5x5 and 3x3x3, any dilation, any channels and any grid.
 *
 * The story of a job (a block of tiles, a chunk of output channels): the input is transformed along
 * depth into t planes; then for each depth frequency a 2D transform, t*t small matrix products, the
 * 2D inverse, and an accumulation into the outputs along depth. Only one depth frequency's weights
 * are live at a time, so that they stay in cache for all tiles of the block. */
#include "winograd.h"

#include "cost.h"

#include <stdlib.h>

static void winograd_run(const void *state, size_t index, void *scratch) {
  const struct wino *w = state;
  struct wino_job job;
  float *s = scratch;
  wino_job_at(w, index, &job);
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

static bool winograd_pack(const void *state, struct vn_pool *pool, const float *weight,
                          void *memory, struct vn_watch *watch) {
  return wino_pack(state, pool, weight, memory, watch);
}

static void winograd_use(void *state, const void *memory) {
  ((struct wino *)state)->packed = memory;
}

static enum vn_status check(const struct vn_conv *c, struct vn_diag *diag) {
  const size_t k = c->kernel[0];
  if (c->groups != 1 || (k != 3 && k != 5) || c->kernel[1] != k || c->kernel[2] != k)
    return vn_fail(diag, VN_E_UNSUPPORTED, "winograd: a 3x3x3 or 5x5x5 kernel without groups");
  for (size_t a = 0; a < 3; a++) {
    if (c->stride[a] != 1) return vn_fail(diag, VN_E_UNSUPPORTED, "winograd: stride 1");
    if (!c->tile[a] || c->tile[a] > 6 || c->tile[a] == 3 || c->tile[a] == 5 ||
        (c->tile[a] == 6 && k == 5))
      return vn_fail(diag, VN_E_UNSUPPORTED, "winograd: %zu outputs per tile of a %zu-tap axis",
                     c->tile[a], k);
  }
  return VN_OK;
}

enum vn_status VN_ISA_NAME(winograd)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                     struct vn_diag *diag) {
#if VEC_LANES == 16
  if (conv->out.dim[VN_C] <= 8) return vn_winograd_avx2(conv, prepared, diag);
#endif
  enum vn_status status = check(conv, diag);
  if (status) return status;
  struct wino *w = calloc(1, sizeof *w);
  if (!w) return vn_fail(diag, VN_E_MEMORY, "winograd: out of memory");
  w->conv = *conv;
  w->channels_in = conv->in.dim[VN_C];
  w->channels_out = conv->out.dim[VN_C];
  w->vecs_in = (w->channels_in + VEC_LANES - 1) / VEC_LANES;
  w->vecs_out = (w->channels_out + VEC_LANES - 1) / VEC_LANES;
  const uint32_t tile[3] = {(uint32_t)conv->tile[0], (uint32_t)conv->tile[1],
                            (uint32_t)conv->tile[2]};
  const size_t *d = conv->dilation;
  if (vn_winograd_few(w->channels_in, tile, d[0] > 1 || d[1] > 1 || d[2] > 1)) {
    status = wino_few(w, prepared, diag);
    free(w);
    return status;
  }
  const size_t scratch = wino_cut(w);
  w->stream = vn_wants_stream(&conv->out);
  *prepared = (struct vn_prepared){.jobs = wino_jobs(w),
                                   .scratch_bytes = scratch,
                                   .packed_bytes = w->chunk_elems * w->chunks * sizeof(float),
                                   .run = winograd_run,
                                   .close = free,
                                   .pack = winograd_pack,
                                   .use = winograd_use,
                                   .state = w};
  snprintf(prepared->name, sizeof prepared->name, "winograd %zux%zux%zu " VN_ISA_TEXT, w->axis[0].m,
           w->axis[1].m, w->axis[2].m);
  return VN_OK;
}
