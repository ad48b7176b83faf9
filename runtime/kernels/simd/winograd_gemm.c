/* The products of the Winograd convolution: for every frequency a small matrix product over the
 * input channels. Called by winograd.c.
 *
 * A block of ROWS tiles by a panel of two vectors stays in registers; each input channel costs two
 * loads of weights and one broadcast per tile. */
#include "winograd.h"

enum { GEMM_ROWS = VEC_REGISTERS == 32 ? 12 : 6 };

struct gemm {
  const float *v, *u;
  float *m;
  size_t v_row, m_row, channels;
};

VEC_INLINE void gemm_block(const struct gemm *g, const size_t rows, const size_t vecs) {
  vec sum[GEMM_ROWS][WINO_PANEL];
  const float *v = g->v, *u = g->u;
  const size_t v_row = g->v_row;
#pragma GCC unroll 16
  for (size_t i = 0; i < rows; i++)
    for (size_t o = 0; o < vecs; o++) sum[i][o] = vec_zero();
  for (size_t k = 0; k < g->channels; k++, u += vecs * VEC_LANES) {
    vec b[WINO_PANEL];
    for (size_t o = 0; o < vecs; o++) b[o] = vec_load(u + o * VEC_LANES);
#pragma GCC unroll 16
    for (size_t i = 0; i < rows; i++) {
      vec a = vec_set1(v[i * v_row + k]);
      for (size_t o = 0; o < vecs; o++) sum[i][o] = vec_fma(a, b[o], sum[i][o]);
    }
  }
#pragma GCC unroll 16
  for (size_t i = 0; i < rows; i++)
    for (size_t o = 0; o < vecs; o++) vec_store(g->m + i * g->m_row + o * VEC_LANES, sum[i][o]);
}

#define GEMM_EACH_LOW(F) F(1) F(2) F(3) F(4) F(5) F(6)
#if VEC_REGISTERS == 32
#define GEMM_EACH(F) GEMM_EACH_LOW(F) F(7) F(8) F(9) F(10) F(11) F(12)
#else
#define GEMM_EACH(F) GEMM_EACH_LOW(F)
#endif

#define GEMM_DEFINE(R)                                                                             \
  static void gemm_##R##_1(const struct gemm *g) {                                                 \
    gemm_block(g, R, 1);                                                                           \
  }                                                                                                \
  static void gemm_##R##_2(const struct gemm *g) {                                                 \
    gemm_block(g, R, 2);                                                                           \
  }
GEMM_EACH(GEMM_DEFINE)

typedef void gemm_fn(const struct gemm *g);
#define GEMM_ENTRY(R) {gemm_##R##_1, gemm_##R##_2},
static gemm_fn *const gemm_table[GEMM_ROWS][WINO_PANEL] = {GEMM_EACH(GEMM_ENTRY)};

void wino_gemm(const struct wino *w, const struct wino_job *job, const float *v, const float *u,
               float *m) {
  const size_t blocks = (job->tiles + GEMM_ROWS - 1) / GEMM_ROWS;
  const size_t rows = job->tiles / blocks, longer = job->tiles % blocks;
  for (size_t p = 0; p < w->freqs; p++, v += w->v_freq, m += w->m_freq)
    for (size_t o = 0; o < job->vecs; o += WINO_PANEL) {
      const size_t vecs = job->vecs - o < WINO_PANEL ? job->vecs - o : WINO_PANEL;
      struct gemm g = {v, u, m + o * VEC_LANES, w->v_row, w->m_row, w->channels_in};
      for (size_t b = 0; b < blocks; b++) {
        const size_t r = rows + (b < longer);
        gemm_table[r - 1][vecs - 1](&g);
        g.v += r * w->v_row;
        g.m += r * w->m_row;
      }
      u += w->channels_in * vecs * VEC_LANES;
    }
}
