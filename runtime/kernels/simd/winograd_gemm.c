/* The products of the Winograd convolution: for every frequency a small matrix product over the
 * input channels. Called by winograd.c. */
#include "winograd.h"

#include "gemm.h"

struct gemm {
  const float *v, *u;
  float *m;
  size_t v_row, m_row, channels;
};

/* The next panel is fetched while this one is used: it follows in memory. */
VEC_INLINE void block(const struct gemm *g, const size_t rows, const size_t vecs) {
  vec sum[GEMM_ROWS][GEMM_PANEL];
  gemm_clear(sum, rows, vecs);
  gemm_block(sum, g->v, g->v_row, g->u, g->channels, g->channels * vecs * VEC_LANES, rows, vecs);
  gemm_store(sum, g->m, g->m_row, rows, vecs);
}

typedef void block_fn(const struct gemm *g);
#define DEFINE(R)                                                                                  \
  static void block_##R##_1(const struct gemm *g) {                                                \
    block(g, R, 1);                                                                                \
  }                                                                                                \
  static void block_##R##_2(const struct gemm *g) {                                                \
    block(g, R, 2);                                                                                \
  }
GEMM_EACH_ROWS(DEFINE)
#define ENTRY(R) {block_##R##_1, block_##R##_2},
static block_fn *const blocks_of[GEMM_ROWS][GEMM_PANEL] = {GEMM_EACH_ROWS(ENTRY)};

void wino_gemm(const struct wino *w, const struct wino_job *job, const float *v, const float *u,
               float *m) {
  const size_t blocks = (job->tiles + GEMM_ROWS - 1) / GEMM_ROWS;
  const size_t rows = job->tiles / blocks, longer = job->tiles % blocks;
  for (size_t p = 0; p < w->freqs; p++, v += w->v_freq, m += w->m_freq)
    for (size_t o = 0; o < job->vecs; o += GEMM_PANEL) {
      const size_t vecs = job->vecs - o < GEMM_PANEL ? job->vecs - o : GEMM_PANEL;
      struct gemm g = {v, u, m + o * VEC_LANES, w->v_row, w->m_row, w->channels_in};
      for (size_t b = 0; b < blocks; b++) {
        const size_t r = rows + (b < longer);
        blocks_of[r - 1][vecs - 1](&g);
        g.v += r * w->v_row;
        g.m += r * w->m_row;
      }
      u += w->channels_in * vecs * VEC_LANES;
    }
}
