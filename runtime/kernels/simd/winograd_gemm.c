/* The products of the Winograd convolution: for every frequency a small matrix product over the
 * input channels. Called by winograd.c. */
#include "winograd.h"

#include "gemm.h"

struct gemm {
  const float *v, *u;
  float *m;
  size_t v_row, m_row, channels;
  int more; /* m holds the sum over the channels before these */
};

/* The next weights are fetched while these are used: they follow in memory. */
VEC_INLINE void block(const struct gemm *g, const size_t rows, const size_t vecs) {
  vec sum[GEMM_ROWS][GEMM_PANEL];
  gemm_clear(sum, rows, vecs);
  gemm_block(sum, g->v, g->v_row, g->u, g->channels, g->channels * vecs * VEC_LANES, rows, vecs);
  if (g->more) gemm_add(sum, g->m, g->m_row, rows, vecs);
  gemm_store(sum, g->m, g->m_row, rows, vecs);
}

GEMM_TABLE(struct gemm, block);

/* One panel of one frequency. Channels are summed DEPTH at a time: one long chain of fp32 additions
 * would cost more accuracy than the transforms do, and the panel's part stays in L1. */
static void panel(const struct wino *w, size_t tiles, size_t vecs, const float *v, const float *u,
                  float *m) {
  enum { DEPTH = 64 };
  const size_t blocks = (tiles + gemm_rows(vecs) - 1) / gemm_rows(vecs), rows = tiles / blocks;
  const size_t parts = (w->channels_in + DEPTH - 1) / DEPTH;
  const size_t part = (w->channels_in + parts - 1) / parts;
  for (size_t k = 0; k < w->channels_in; k += part) {
    const size_t left = w->channels_in - k;
    struct gemm g = {v + k,    u + k * vecs * VEC_LANES,  m,    w->v_row,
                     w->m_row, left < part ? left : part, k > 0};
    for (size_t b = 0; b < blocks; b++) {
      const size_t r = rows + (b < tiles % blocks);
      block_of[r - 1][vecs - 1](&g);
      g.v += r * w->v_row;
      g.m += r * w->m_row;
    }
  }
}

void wino_gemm(const struct wino *w, const struct wino_job *job, const float *v, const float *u,
               float *m) {
  for (size_t p = 0; p < w->freqs; p++, v += w->v_freq, m += w->m_freq)
    for (size_t o = 0; o < job->vecs; o += GEMM_PANEL) {
      const size_t vecs = job->vecs - o < GEMM_PANEL ? job->vecs - o : GEMM_PANEL;
      panel(w, job->tiles, vecs, v, u, m + o * VEC_LANES);
      u += w->channels_in * vecs * VEC_LANES;
    }
}
