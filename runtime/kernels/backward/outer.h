/* The inner loop of weight gradients: a sum of outer products kept in registers. Compiled once per
 * instruction set, as all of this folder. */
#ifndef VNET_BACKWARD_OUTER_H
#define VNET_BACKWARD_OUTER_H

#include "kernels/simd/gemm.h"

#include <stdbool.h>

/* sum[rows][vecs] += sum over count of a[rows] (x) b[vecs]; rows and vecs are constants where this
 * is inlined. Successive a and b lie a_step and b_step floats apart; of the last vector of b only
 * `lanes` floats exist. */
VEC_INLINE void outer_block(vec sum[GEMM_ROWS][GEMM_PANEL], const float *a, size_t a_step,
                            const float *b, size_t b_step, size_t count, size_t lanes,
                            const size_t rows, const size_t vecs) {
  for (size_t n = 0; n < count; n++, a += a_step, b += b_step) {
    vec y[GEMM_PANEL];
    VEC_UNROLL for (size_t o = 0; o + 1 < vecs; o++) y[o] = vec_load(b + o * VEC_LANES);
    y[vecs - 1] = vec_load_k(b + (vecs - 1) * VEC_LANES, lanes);
    VEC_UNROLL for (size_t i = 0; i < rows; i++) {
      vec x = vec_set1(a[i]);
      VEC_UNROLL for (size_t o = 0; o < vecs; o++) sum[i][o] = vec_fma(x, y[o], sum[i][o]);
    }
  }
}

struct outer {
  const float *a, *b;
  size_t a_step, b_step, count, lanes; /* lanes: of the last vector of b */
  float *sum;                          /* [rows][vecs], dense vectors: added to */
  size_t sum_row;
  bool fresh; /* the first sum: what is there counts as 0 */
};

VEC_INLINE void outer_run(const struct outer *g, const size_t rows, const size_t vecs) {
  vec sum[GEMM_ROWS][GEMM_PANEL];
  gemm_clear(sum, rows, vecs);
  if (!g->fresh) gemm_add(sum, g->sum, g->sum_row, rows, vecs);
  outer_block(sum, g->a, g->a_step, g->b, g->b_step, g->count, g->lanes, rows, vecs);
  gemm_store(sum, g->sum, g->sum_row, rows, vecs);
}

/* sum[rows][out] += the outer products, for any number of rows and vectors: sum's rows are sum_row
 * floats apart and padded to whole vectors, `out` counts b's floats. */
static void outer_any(struct outer g, size_t rows, size_t out);

GEMM_TABLE(struct outer, outer_run);

static void outer_any(struct outer g, size_t rows, size_t out) {
  const struct outer all = g;
  for (size_t o = 0; o < out; o += GEMM_PANEL * VEC_LANES) {
    const size_t left = out - o, vecs = left > VEC_LANES ? 2 : 1;
    const size_t most = gemm_rows(vecs), blocks = (rows + most - 1) / most;
    g.b = all.b + o;
    g.lanes = left >= vecs * VEC_LANES ? VEC_LANES : left - (vecs - 1) * VEC_LANES;
    for (size_t k = 0, i = 0; k < blocks; k++) {
      const size_t r = rows / blocks + (k < rows % blocks);
      g.a = all.a + i;
      g.sum = all.sum + i * all.sum_row + o;
      outer_run_of[r - 1][vecs - 1](&g);
      i += r;
    }
  }
}

#endif
