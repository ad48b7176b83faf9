/* From sums at the frequencies of Winograd's tiles to a gradient by taps: A'^T along w and h, along
 * depth, and the order of the weights. Called by wgrad.c and wgrad_gather.c. */
#include "wgrad.h"

#include "kernels/simd/winograd_points.h"

/* y = A'^T x, t points to r taps; m = 1: the points are the taps. */
VEC_INLINE void taps_1d(const size_t t, const size_t r, const vec *x, vec *y) {
  static const float power[WINO_PAIRS][WINO_POWERS] = WINO_POWERS_TABLE;
  if (t == r) {
    VEC_UNROLL for (size_t k = 0; k < r; k++) y[k] = x[k];
    return;
  }
  VEC_UNROLL for (size_t k = 0; k < r; k++) {
    vec sum = vec_zero();
    VEC_UNROLL for (size_t j = 0; 2 * j + 2 < t; j++) {
      const vec half = k % 2 ? x[2 * j + 1] - x[2 * j + 2] : x[2 * j + 1] + x[2 * j + 2];
      sum = vec_fma(vec_set1(power[j][k]), half, sum);
    }
    if (k == 0) sum = sum + x[0];
    if (k == r - 1) sum = sum + x[t - 1];
    y[k] = sum;
  }
}

VEC_INLINE void taps_line(const size_t t, const size_t r, const float *in, size_t in_step,
                          float *out, size_t out_step) {
  vec x[WINO_MAX_T], y[5];
  VEC_UNROLL for (size_t k = 0; k < t; k++) x[k] = vec_load(in + k * in_step);
  taps_1d(t, r, x, y);
  VEC_UNROLL for (size_t k = 0; k < r; k++) vec_store(out + k * out_step, y[k]);
}

#define EACH_TAPS(F) F(8, 5) F(6, 5) F(5, 5) F(6, 3) F(4, 3) F(3, 3)

#define EACH_TAPS(F) F(8, 5) F(6, 5) F(5, 5) F(6, 3) F(4, 3) F(3, 3)

/* Lines of t vectors, in_step apart, become lines of r vectors, out_step apart. */
static void taps_lines(size_t t, size_t r, const float *in, size_t in_step, size_t in_next,
                       float *out, size_t out_step, size_t out_next, size_t count) {
  switch (t * 8 + r) {
#define CASE(T, R)                                                                                 \
  case T * 8 + R:                                                                                  \
    for (size_t i = 0; i < count; i++)                                                             \
      taps_line(T, R, in + i * in_next, in_step, out + i * out_next, out_step);                    \
    break;
    EACH_TAPS(CASE)
#undef CASE
  default:
    break;
  }
}

void wgrad_taps_plane(const struct wgrad *g, const float *sums, size_t freq, float *plane) {
  enum { L = VEC_LANES };
  const struct wino_axis *h = &g->w.axis[1], *w = &g->w.axis[2];
  const size_t *r = g->spec.kernel;
  float rows[WINO_MAX_T * WGRAD_MAX_R * L];
  taps_lines(w->t, r[2], sums, freq, w->t * freq, rows, L, r[2] * L, h->t);
  taps_lines(h->t, r[1], rows, r[2] * L, L, plane, r[2] * L, L, r[2]);
}

void wgrad_taps_depth(const struct wgrad *g, const float *planes, float *taps) {
  const size_t area = g->spec.kernel[1] * g->spec.kernel[2];
  taps_lines(g->w.axis[0].t, g->spec.kernel[0], planes, area * VEC_LANES, VEC_LANES, taps,
             area * VEC_LANES, VEC_LANES, area);
}

void wgrad_taps_add(const struct wgrad *g, const float *taps, bool first, double *all) {
  const size_t elems = g->taps * VEC_LANES;
  for (size_t i = 0; first && i < elems; i++) all[i] = (double)taps[i];
  for (size_t i = 0; !first && i < elems; i++) all[i] += (double)taps[i];
}

void wgrad_taps_store(const struct wgrad *g, size_t row, size_t vec, const double *all) {
  const size_t in = g->w.channels_in, first = vec * VEC_LANES;
  const size_t left = (g->lanes_in ? in : g->w.channels_out) - first;
  const size_t lanes = left < VEC_LANES ? left : VEC_LANES;
  const size_t o = g->lanes_in ? row : first, i = g->lanes_in ? first : row;
  const size_t lane = g->lanes_in ? 1 : g->taps * in, at = o * g->taps * in + i;
  if (g->lanes_in && g->spec.grad && lanes == VEC_LANES) {
    float *to = g->spec.grad + at;
    for (size_t k = 0; k < g->taps; k++, to += in, all += VEC_LANES)
      for (size_t l = 0; l < VEC_LANES; l++) to[l] = (float)all[l];
    return;
  }
  for (size_t k = 0; k < g->taps; k++)
    for (size_t l = 0; l < lanes; l++)
      vn_wgrad_put(&g->spec, at + k * in + l * lane, all[k * VEC_LANES + l]);
}
