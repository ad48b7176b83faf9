/* Weights of the Winograd convolution: G along each axis, in double, packed for winograd_gemm.c.
 * Called by winograd.c once, when an exec is opened. */
#include "winograd.h"

#include "gemm.h"

#include <string.h>

/* Row j of G is scale[j] * (1, p, p^2 …) for the finite points, and the last tap for infinity. */
static void taps(size_t t, size_t r, double g[WINO_MAX_T][5]) {
  static const double point[7] = {0, 1, -1, 2, -2, .5, -.5};
  static const double scale4[] = {-1, 1, 1}, scale6[] = {1, -4 / 3., -4 / 3., 1 / 12., 1 / 12.};
  static const double scale8[] = {-1, -8 / 9., -8 / 9., 2 / 45., 2 / 45., 32 / 45., 32 / 45.};
  const double *scale = t == 4 ? scale4 : t == 6 ? scale6 : scale8;
  memset(g, 0, WINO_MAX_T * sizeof *g);
  if (t == r) {
    for (size_t j = 0; j < t; j++) g[j][j] = 1;
    return;
  }
  for (size_t j = 0; j + 1 < t; j++) {
    g[j][0] = scale[j];
    for (size_t k = 1; k < r; k++) g[j][k] = g[j][k - 1] * point[j];
  }
  g[t - 1][r - 1] = 1;
}

/* out[before][t][after] = G in[before][r][after], each entry VEC_LANES doubles. */
static void along(size_t t, size_t r, double g[WINO_MAX_T][5], size_t before, size_t after,
                  const double *in, double *out) {
  after *= VEC_LANES;
  for (size_t b = 0; b < before; b++)
    for (size_t j = 0; j < t; j++)
      for (size_t i = 0; i < after; i += VEC_LANES) {
        double sum[VEC_LANES] = {0};
        for (size_t k = 0; k < r; k++)
          for (size_t l = 0; l < VEC_LANES; l++)
            sum[l] += g[j][k] * in[(b * r + k) * after + i + l];
        memcpy(out + (b * t + j) * after + i, sum, sizeof sum);
      }
}

/* Output vector `vec` for the VEC_LANES input channels from `first` on. */
static void pack_block(const struct wino *w, size_t vec_index, size_t first) {
  const struct wino_axis *ax = w->axis;
  const size_t *r = w->conv.kernel, n_taps = r[0] * r[1] * r[2], ic = w->channels_in;
  const size_t chunk = vec_index / w->chunk_vecs, in_chunk = vec_index % w->chunk_vecs;
  const size_t chunk_first = chunk * w->chunk_vecs, left = w->vecs_out - chunk_first;
  const size_t vecs = left < w->chunk_vecs ? left : w->chunk_vecs;
  const size_t panel = in_chunk / GEMM_PANEL * GEMM_PANEL;
  const size_t panel_vecs = vecs - panel < GEMM_PANEL ? vecs - panel : GEMM_PANEL;
  float *to = w->packed + chunk * w->chunk_elems +
              (panel * ic + (in_chunk - panel)) * VEC_LANES; /* of frequency 0, channel 0 */
  double g[3][WINO_MAX_T][5];
  for (size_t a = 0; a < 3; a++) taps(ax[a].t, r[a], g[a]);
  double one[125 * VEC_LANES], two[512 * VEC_LANES], three[512 * VEC_LANES];
  for (size_t i = first; i < ic && i < first + VEC_LANES; i++) {
    for (size_t l = 0; l < VEC_LANES; l++) {
      const size_t o = vec_index * VEC_LANES + l;
      for (size_t k = 0; k < n_taps; k++)
        one[k * VEC_LANES + l] =
            o < w->channels_out ? w->conv.weight[(o * n_taps + k) * ic + i] : 0;
    }
    along(ax[0].t, r[0], g[0], 1, r[1] * r[2], one, two);
    along(ax[1].t, r[1], g[1], ax[0].t, r[2], two, three);
    along(ax[2].t, r[2], g[2], ax[0].t * ax[1].t, 1, three, two);
    for (size_t f = 0; f < ax[0].t * w->freqs; f++) {
      float *u = to + (f * vecs * ic + i * panel_vecs) * VEC_LANES;
      for (size_t l = 0; l < VEC_LANES; l++) u[l] = (float)two[f * VEC_LANES + l];
    }
  }
}

static void pack_task(void *context, size_t vec_index, size_t block) {
  pack_block(context, vec_index, block * VEC_LANES);
}

void wino_pack(const struct wino *w, pthreadpool_t pool) {
  pthreadpool_parallelize_2d(pool, pack_task, (void *)w, w->vecs_out, w->vecs_in, 0);
}
