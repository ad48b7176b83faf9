/* The inner loop of matrix products: a few rows by one or two vectors of columns, kept in
 * registers. Used by the convolutions of this folder. */
#ifndef VNET_SIMD_GEMM_H
#define VNET_SIMD_GEMM_H

#include "../vec/vec.h"

/* PANEL: vectors per column panel of packed weights. ROWS: what fits the registers beside them and
 * one of a, for a panel of one vector. */
enum { GEMM_ROWS = 12, GEMM_PANEL = 2 };

/* The most rows for a panel of `vecs` vectors. */
VEC_INLINE size_t gemm_rows(size_t vecs) {
  return VEC_REGISTERS == 32 ? GEMM_ROWS : (VEC_REGISTERS - 4) / vecs;
}

/* sum[rows][vecs] += a[rows][depth] * b[depth][vecs]; rows and vecs are constants where this is
 * inlined. a's rows are a_row floats apart; b is dense, and b + ahead is prefetched (0: nothing).
 * One step of depth costs `vecs` loads of b and a broadcast per row. The rows are reached from
 * three pointers, so that only five registers hold addresses. */
VEC_INLINE void gemm_block(vec sum[GEMM_ROWS][GEMM_PANEL], const float *a, const size_t a_row,
                           const float *b, size_t depth, size_t ahead, const size_t rows,
                           const size_t vecs) {
  const float *at[3] = {a, a + 4 * a_row, a + 8 * a_row};
  for (const float *end = b + depth * vecs * VEC_LANES; b != end; b += vecs * VEC_LANES) {
    vec y[GEMM_PANEL];
    VEC_UNROLL for (size_t o = 0; o < vecs; o++) y[o] = vec_load(b + o * VEC_LANES);
    if (ahead)
      VEC_UNROLL for (size_t o = 0; o < vecs * VEC_LANES; o += 16) vec_prefetch(b + ahead + o);
    VEC_UNROLL for (size_t i = 0; i < rows; i++) {
      vec x = vec_set1(at[i / 4][i % 4 * a_row]);
      VEC_UNROLL for (size_t o = 0; o < vecs; o++) sum[i][o] = vec_fma(x, y[o], sum[i][o]);
    }
    VEC_UNROLL for (size_t i = 0; i < (rows + 3) / 4; i++) at[i]++;
  }
}

VEC_INLINE void gemm_clear(vec sum[GEMM_ROWS][GEMM_PANEL], const size_t rows, const size_t vecs) {
  VEC_UNROLL for (size_t i = 0; i < rows; i++) VEC_UNROLL for (size_t o = 0; o < vecs; o++)
      sum[i][o] = vec_zero();
}

VEC_INLINE void gemm_add(vec sum[GEMM_ROWS][GEMM_PANEL], const float *from, size_t row,
                         const size_t rows, const size_t vecs) {
  VEC_UNROLL for (size_t i = 0; i < rows; i++, from += row)
      VEC_UNROLL for (size_t o = 0; o < vecs; o++) sum[i][o] =
          sum[i][o] + vec_load(from + o * VEC_LANES);
}

VEC_INLINE void gemm_store(vec sum[GEMM_ROWS][GEMM_PANEL], float *to, size_t row, const size_t rows,
                           const size_t vecs) {
  VEC_UNROLL for (size_t i = 0; i < rows; i++, to += row)
      VEC_UNROLL for (size_t o = 0; o < vecs; o++) vec_store(to + o * VEC_LANES, sum[i][o]);
}

/* F(rows, …) for every count of rows; F(rows). */
#define GEMM_ROWS_OF(F, ...)                                                                       \
  F(1, __VA_ARGS__)                                                                                \
  F(2, __VA_ARGS__)                                                                                \
  F(3, __VA_ARGS__)                                                                                \
  F(4, __VA_ARGS__)                                                                                \
  F(5, __VA_ARGS__)                                                                                \
  F(6, __VA_ARGS__)                                                                                \
  F(7, __VA_ARGS__)                                                                                \
  F(8, __VA_ARGS__) F(9, __VA_ARGS__) F(10, __VA_ARGS__) F(11, __VA_ARGS__) F(12, __VA_ARGS__)
#define GEMM_CALL(R, F)   F(R)
#define GEMM_EACH_ROWS(F) GEMM_ROWS_OF(GEMM_CALL, F)

/* GEMM_TABLE(type, body) defines body_of[rows - 1][vecs - 1], functions of a `const type *`, each
 * of which is body(x, rows, vecs) with both as constants. */
#define GEMM_DEFINE(R, type, body)                                                                 \
  static void body##_##R##_1(const type *x) {                                                      \
    body(x, R, 1);                                                                                 \
  }                                                                                                \
  static void body##_##R##_2(const type *x) {                                                      \
    body(x, R, 2);                                                                                 \
  }
#define GEMM_ENTRY(R, body) {body##_##R##_1, body##_##R##_2},
#define GEMM_TABLE(type, body)                                                                     \
  GEMM_ROWS_OF(GEMM_DEFINE, type, body)                                                            \
  static void (*const body##_of[GEMM_ROWS][GEMM_PANEL])(const type *) = {                          \
      GEMM_ROWS_OF(GEMM_ENTRY, body)}

#endif
