/* Weights of the Winograd convolution: G along each axis, in double, packed for winograd_gemm.c.
 * Called by winograd.c when weights are packed. */
#include "winograd.h"

#include "gemm.h"
#include "winograd_points.h"

#include <string.h>

enum { MAX_R = 5, HALF = VEC_LANES / 2, GROUP = 4 }; /* HALF: doubles in a register */
typedef double vec_double __attribute__((vector_size(VEC_LANES * sizeof(float))));
typedef float vec_half __attribute__((vector_size(HALF * sizeof(float))));

struct taps {
  size_t t, r;
  double g[WINO_MAX_T][MAX_R];
};

/* Row j of G is scale * (1, p, p^2 …) for the finite points, and the last tap for infinity. */
static struct taps taps_of(size_t t, size_t r) {
  static const double power[WINO_PAIRS][WINO_POWERS] = WINO_POWERS_TABLE;
  static const double scale[3][1 + WINO_PAIRS] = WINO_SCALES_TABLE;
  struct taps a = {.t = t, .r = r};
  if (t == r) return a;
  a.g[0][0] = scale[t / 2 - 2][0];
  for (size_t j = 1; j + 1 < t; j++) {
    const double s = scale[t / 2 - 2][(j + 1) / 2], *p = power[(j - 1) / 2];
    for (size_t k = 0; k < r; k++) a.g[j][k] = j % 2 || k % 2 == 0 ? s * p[k] : -(s * p[k]);
  }
  return a;
}

/* y = G x; t and r are constants where this is inlined. The rows of +p and -p share their sums. */
VEC_INLINE void taps_1d(const size_t t, const size_t r, const double g[WINO_MAX_T][MAX_R],
                        const vec_double *x, vec_double *y) {
  if (t == r) {
    VEC_UNROLL for (size_t k = 0; k < r; k++) y[k] = x[k];
    return;
  }
  y[0] = x[0] * g[0][0];
  y[t - 1] = x[r - 1];
  VEC_UNROLL for (size_t j = 1; j + 1 < t; j += 2) {
    vec_double even = x[0] * g[j][0] + x[2] * g[j][2], odd = x[1] * g[j][1];
    if (r == 5) {
      even = even + x[4] * g[j][4];
      odd = odd + x[3] * g[j][3];
    }
    y[j] = even + odd;
    y[j + 1] = even - odd;
  }
}

VEC_INLINE void load_1d(const size_t r, const double *in, size_t step, vec_double *x) {
  VEC_UNROLL for (size_t k = 0; k < r; k++) memcpy(&x[k], in + k * step, sizeof x[k]);
}

/* out[before][t][after] = G in[before][r][after], each entry HALF doubles. */
VEC_INLINE void along(const size_t t, const size_t r, const double g[WINO_MAX_T][MAX_R],
                      size_t before, size_t after, const double *in, double *out) {
  after *= HALF;
  for (size_t b = 0; b < before; b++, in += r * after, out += t * after)
    for (size_t i = 0; i < after; i += HALF) {
      vec_double x[MAX_R], y[WINO_MAX_T];
      load_1d(r, in + i, after, x);
      taps_1d(t, r, g, x, y);
      VEC_UNROLL for (size_t j = 0; j < t; j++) memcpy(out + j * after + i, &y[j], sizeof y[j]);
    }
}

/* The last axis: half a vector of floats for each frequency, u_freq apart. */
VEC_INLINE void along_last(const size_t t, const size_t r, const double g[WINO_MAX_T][MAX_R],
                           size_t before, const double *in, float *u, size_t u_freq) {
  for (size_t b = 0; b < before; b++, in += r * HALF, u += t * u_freq) {
    vec_double x[MAX_R], y[WINO_MAX_T];
    load_1d(r, in, HALF, x);
    taps_1d(t, r, g, x, y);
    VEC_UNROLL for (size_t j = 0; j < t; j++) {
      const vec_half z = __builtin_convertvector(y[j], vec_half);
      memcpy(u + j * u_freq, &z, sizeof z);
    }
  }
}

#define EACH_TILE(F) F(8, 5) F(6, 5) F(5, 5) F(8, 3) F(6, 3) F(4, 3) F(3, 3)

static void along_any(const struct taps *a, size_t before, size_t after, const double *in,
                      double *out) {
  switch (a->t * 8 + a->r) {
#define CASE(T, R)                                                                                 \
  case T * 8 + R:                                                                                  \
    along(T, R, a->g, before, after, in, out);                                                     \
    break;
    EACH_TILE(CASE)
#undef CASE
  default:
    break;
  }
}

static void along_last_any(const struct taps *a, size_t before, const double *in, float *u,
                           size_t u_freq) {
  switch (a->t * 8 + a->r) {
#define CASE(T, R)                                                                                 \
  case T * 8 + R:                                                                                  \
    along_last(T, R, a->g, before, in, u, u_freq);                                                 \
    break;
    EACH_TILE(CASE)
#undef CASE
  default:
    break;
  }
}

/* to[input channel from `first` on][tap][output channel from `out` on]; the weights are read in
 * their own order. Lanes beyond the last output channel are zero. */
static void gather(const struct wino *w, const float *weight, size_t out, size_t first,
                   size_t count, size_t n_taps, float *to) {
  const size_t ic = w->channels_in;
  for (size_t l = 0; l < HALF; l++) {
    if (out + l >= w->channels_out) {
      for (size_t k = 0; k < count * n_taps; k++) to[k * HALF + l] = 0;
      continue;
    }
    const float *from = weight + (out + l) * n_taps * ic + first;
    for (size_t k = 0; k < n_taps; k++, from += ic)
      for (size_t i = 0; i < count; i++) to[(i * n_taps + k) * HALF + l] = from[i];
  }
}

/* Where frequency 0 of input channel 0 of an output vector is packed, and the distances from there
 * to the next frequency and channel. */
static float *place(const struct wino *w, float *packed, size_t vec_index, size_t *freq,
                    size_t *channel) {
  const size_t chunk = vec_index / w->chunk_vecs, in_chunk = vec_index % w->chunk_vecs;
  const size_t left = w->vecs_out - chunk * w->chunk_vecs;
  const size_t vecs = left < w->chunk_vecs ? left : w->chunk_vecs;
  const size_t panel = in_chunk / GEMM_PANEL * GEMM_PANEL;
  const size_t panel_vecs = vecs - panel < GEMM_PANEL ? vecs - panel : GEMM_PANEL;
  *freq = vecs * w->channels_in * VEC_LANES;
  *channel = panel_vecs * VEC_LANES;
  return packed + chunk * w->chunk_elems +
         (panel * w->channels_in + (in_chunk - panel)) * VEC_LANES;
}

struct packing {
  const struct wino *w;
  const float *weight;
  float *packed;
};

/* Half an output vector for a few input channels: what lies on the stack is small. u: of the first
 * channel. */
static void pack_group(const struct wino *w, const struct taps a[3], const float *weight,
                       size_t out, size_t first, size_t count, float *u, size_t freq,
                       size_t channel) {
  const size_t *r = w->conv.kernel, n_taps = r[0] * r[1] * r[2];
  float weights[GROUP * MAX_R * MAX_R * MAX_R * HALF];
  double one[WINO_MAX_T * MAX_R * MAX_R * HALF], two[WINO_MAX_T * WINO_MAX_T * MAX_R * HALF];
  gather(w, weight, out, first, count, n_taps, weights);
  for (size_t i = 0; i < count; i++, u += channel) {
    for (size_t k = 0; k < n_taps * HALF; k++) two[k] = weights[i * n_taps * HALF + k];
    along_any(&a[0], 1, r[1] * r[2], two, one);
    along_any(&a[1], a[0].t, r[2], one, two);
    along_last_any(&a[2], a[0].t * a[1].t, two, u, freq);
  }
}

/* One output vector for VEC_LANES input channels. */
static void pack_task(void *context, size_t job, size_t slot) {
  const struct packing *p = context;
  const struct wino *w = p->w;
  const size_t vec_index = job / w->vecs_in, block = job % w->vecs_in * VEC_LANES;
  (void)slot;
  const struct wino_axis *ax = w->axis;
  const size_t *r = w->conv.kernel;
  const size_t left = w->channels_in - block, last = block + (left < VEC_LANES ? left : VEC_LANES);
  const struct taps a[3] = {taps_of(ax[0].t, r[0]), taps_of(ax[1].t, r[1]), taps_of(ax[2].t, r[2])};
  size_t freq, channel;
  float *u = place(w, p->packed, vec_index, &freq, &channel);
  for (size_t first = block; first < last; first += GROUP)
    for (size_t half = 0; half < VEC_LANES; half += HALF)
      pack_group(w, a, p->weight, vec_index * VEC_LANES + half, first,
                 last - first < GROUP ? last - first : GROUP, u + first * channel + half, freq,
                 channel);
}

bool wino_pack(const struct wino *w, struct vn_pool *pool, const float *weight, float *packed,
               struct vn_watch *watch) {
  struct packing packing = {w, weight, packed};
  return vn_pool_run_watched(pool, w->vecs_out * w->vecs_in, pack_task, &packing, watch);
}
