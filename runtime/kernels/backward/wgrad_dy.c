/* dy's side of a weight gradient by Winograd: G' along depth, then along w and h. Called by wgrad.c
 * and wgrad_gather.c; x's side is the forward pass's (winograd_input.c). */
#include "wgrad.h"

#include "kernels/simd/winograd_points.h"

/* y = G' x, m to t points; constants where this is inlined. m = 1: the value at every point. */
VEC_INLINE void grad_1d(const size_t t, const size_t m, const vec *x, vec *y) {
  static const float power[WINO_PAIRS][WINO_POWERS] = WINO_POWERS_TABLE;
  static const float scales[3][1 + WINO_PAIRS] = WINO_SCALES_TABLE;
  if (m == 1) {
    VEC_UNROLL for (size_t j = 0; j < t; j++) y[j] = x[0];
    return;
  }
  const float *scale = scales[t / 2 - 2];
  y[0] = x[0] * vec_set1(scale[0]);
  y[t - 1] = x[m - 1];
  VEC_UNROLL for (size_t j = 1; 2 * j < t; j++) {
    const float p = power[j - 1][1], s = scale[j];
    vec even = x[0] * vec_set1(s), odd = x[1] * vec_set1(s * p);
    if (m == 4) {
      even = vec_fma(vec_set1(s * p * p), x[2], even);
      odd = vec_fma(vec_set1(s * p * p * p), x[3], odd);
    }
    y[2 * j - 1] = even + odd;
    y[2 * j] = even - odd;
  }
}

/* Lines of m vectors, in_step apart, become lines of t vectors, out_step apart. */
VEC_INLINE void grad_line(const size_t t, const size_t m, const float *in, size_t in_step,
                          float *out, size_t out_step) {
  vec x[WINO_MAX_M], y[WINO_MAX_T];
  VEC_UNROLL for (size_t k = 0; k < m; k++) x[k] = vec_load(in + k * in_step);
  grad_1d(t, m, x, y);
  VEC_UNROLL for (size_t k = 0; k < t; k++) vec_store(out + k * out_step, y[k]);
}

#define EACH_AXIS(F) F(8, 4) F(6, 2) F(5, 1) F(6, 4) F(4, 2) F(3, 1)

static void grad_lines(const struct wino_axis *a, const float *in, size_t in_step, size_t in_next,
                       float *out, size_t out_step, size_t out_next, size_t count) {
  switch (a->t * 8 + a->m) {
#define CASE(T, M)                                                                                 \
  case T * 8 + M:                                                                                  \
    for (size_t i = 0; i < count; i++)                                                             \
      grad_line(T, M, in + i * in_next, in_step, out + i * out_next, out_step);                    \
    break;
    EACH_AXIS(CASE)
#undef CASE
  default:
    break;
  }
}

/* The gradient under one tile, zeros beyond the grid: tile[d][h][w], one vector of channels. */
static void tile_load(const struct wgrad *g, size_t n, const size_t at[3], size_t channel,
                      float *tile) {
  const struct wino_axis *ax = g->w.axis;
  const struct vn_tensor *dy = &g->spec.grad_out;
  const size_t left = g->w.channels_out - channel;
  size_t have[3];
  for (int i = 0; i < 3; i++) {
    const size_t from = at[i] * ax[i].m, rest = ax[i].out - from;
    have[i] = rest < ax[i].m ? rest : ax[i].m;
  }
  const float *base = (const float *)dy->data + channel;
  for (size_t d = 0; d < ax[0].m; d++)
    for (size_t h = 0; h < ax[1].m; h++)
      for (size_t w = 0; w < ax[2].m; w++, tile += VEC_LANES) {
        vec x = vec_zero();
        if (d < have[0] && h < have[1] && w < have[2]) {
          const size_t pixel =
              ((n * ax[0].out + at[0] * ax[0].m + d) * ax[1].out + at[1] * ax[1].m + h) *
                  ax[2].out +
              at[2] * ax[2].m + w;
          x = vec_load_k(base + pixel * dy->stride, left);
        }
        vec_store(tile, x);
      }
}

/* G' along depth for all tiles of the block: planes[depth freq][tile][h][w][vec]. */
void wgrad_dy_depth(const struct wgrad *g, const struct wino_job *job, float *planes) {
  const struct wino_axis *ax = g->w.axis;
  const size_t area = ax[1].m * ax[2].m;
  float tile[WINO_MAX_M * WINO_MAX_M * WINO_MAX_M * VEC_LANES];
  size_t index = 0;
  for (size_t z = 0; z < job->count[0]; z++)
    for (size_t j = 0; j < job->count[1]; j++)
      for (size_t i = 0; i < job->count[2]; i++, index++)
        for (size_t v = 0; v < job->vecs; v++) {
          const size_t at[3] = {job->first[0] + z, job->first[1] + j, job->first[2] + i};
          tile_load(g, job->n, at, (job->vec + v) * VEC_LANES, tile);
          grad_lines(&ax[0], tile, area * VEC_LANES, VEC_LANES,
                     planes + (index * job->vecs + v) * area * VEC_LANES, g->y_plane, VEC_LANES,
                     area);
        }
}

/* G' along w and h for one depth frequency. */
void wgrad_dy_plane(const struct wgrad *g, const struct wino_job *job, const float *plane,
                    float *y) {
  const struct wino_axis *h = &g->w.axis[1], *x = &g->w.axis[2];
  const size_t area = h->m * x->m;
  float strip[WINO_MAX_M * WINO_MAX_T * VEC_LANES];
  for (size_t tile = 0; tile < job->tiles; tile++)
    for (size_t v = 0; v < job->vecs; v++) {
      const float *in = plane + (tile * job->vecs + v) * area * VEC_LANES;
      const size_t c = v * VEC_LANES;
      float *out = y + c / WGRAD_GROUP * g->y_group + tile * g->y_row + c % WGRAD_GROUP;
      grad_lines(x, in, VEC_LANES, x->m * VEC_LANES, strip, VEC_LANES, x->t * VEC_LANES, h->m);
      grad_lines(h, strip, x->t * VEC_LANES, VEC_LANES, out, x->t * g->y_freq, g->y_freq, x->t);
    }
}
