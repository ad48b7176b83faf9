/* The vector of the instruction set that a simd/ file is being compiled for (-DVN_ISA=avx512 …),
 * and the names that must differ between instruction sets.
 *
 * Each vec_<isa>.h gives:
 *   vec, VEC_LANES (4, 8 or 16), VEC_REGISTERS, VEC_INLINE; the operators + - * / work on vec
 *   vec_zero, vec_set1(x)
 *   vec_load(p), vec_store(p, v)             any alignment
 *   vec_load_n(p, k), vec_store_n(p, v, k)   0 <= k < VEC_LANES floats; lanes from k on read as 0;
 *                                            memory from p + k on is not touched
 *   vec_fma(a, b, c) = a*b + c, vec_fnma(a, b, c) = c - a*b
 *   vec_max(a, b), vec_min(a, b)             NaN in b is kept
 *   vec_select_gt(a, b, yes, no)             a > b ? yes : no; false when either is NaN
 *   vec_store_i32(p, x, k)                   0 <= k <= VEC_LANES integral values as int32
 * ../README.md says what else an instruction set takes. */
#ifndef VNET_VEC_H
#define VNET_VEC_H

#define VN_ISA_PASTE(name, isa)  vn_##name##_##isa
#define VN_ISA_EXPAND(name, isa) VN_ISA_PASTE(name, isa)
#define VN_ISA_NAME(name)        VN_ISA_EXPAND(name, VN_ISA) /* vn_name_avx512 */
#define VN_ISA_STRING(text)      #text
#define VN_ISA_QUOTE(text)       VN_ISA_STRING(text)
#define VN_ISA_TEXT              VN_ISA_QUOTE(VN_ISA) /* "avx512" */

#define VN_ISA_HEADER_OF(isa) VN_ISA_STRING(vec_##isa.h)
#define VN_ISA_HEADER(isa)    VN_ISA_HEADER_OF(isa)
#include VN_ISA_HEADER(VN_ISA)

/* Before a loop over registers, of a constant number of turns: arrays of vec are registers only
 * when every index is a constant. */
#if defined(__clang__)
#define VEC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VEC_UNROLL _Pragma("GCC unroll 32")
#endif

/* Lane i takes lane i ^ d, a constant. */
#if VEC_LANES == 16
#define VEC_SWAP(x, d)                                                                             \
  __builtin_shufflevector(x, x, 0 ^ (d), 1 ^ (d), 2 ^ (d), 3 ^ (d), 4 ^ (d), 5 ^ (d), 6 ^ (d),     \
                          7 ^ (d), 8 ^ (d), 9 ^ (d), 10 ^ (d), 11 ^ (d), 12 ^ (d), 13 ^ (d),       \
                          14 ^ (d), 15 ^ (d))
#elif VEC_LANES == 8
#define VEC_SWAP(x, d)                                                                             \
  __builtin_shufflevector(x, x, 0 ^ (d), 1 ^ (d), 2 ^ (d), 3 ^ (d), 4 ^ (d), 5 ^ (d), 6 ^ (d),     \
                          7 ^ (d))
#else
#define VEC_SWAP(x, d) __builtin_shufflevector(x, x, 0 ^ (d), 1 ^ (d), 2 ^ (d), 3 ^ (d))
#endif

/* Of the 2 * VEC_LANES floats in a and b: every second one from the first or second on; and those
 * of a and b in turn, the lower or the upper half. */
#if VEC_LANES == 16
#define VEC_EVEN(a, b)                                                                             \
  __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define VEC_ODD(a, b)                                                                              \
  __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define VEC_ZIP_LOW(a, b)                                                                          \
  __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define VEC_ZIP_HIGH(a, b)                                                                         \
  __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif VEC_LANES == 8
#define VEC_EVEN(a, b)     __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14)
#define VEC_ODD(a, b)      __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15)
#define VEC_ZIP_LOW(a, b)  __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define VEC_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define VEC_EVEN(a, b)     __builtin_shufflevector(a, b, 0, 2, 4, 6)
#define VEC_ODD(a, b)      __builtin_shufflevector(a, b, 1, 3, 5, 7)
#define VEC_ZIP_LOW(a, b)  __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define VEC_ZIP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

/* A hint, never an access: any address will do. */
VEC_INLINE void vec_prefetch(const void *p) {
  __builtin_prefetch(p);
}
VEC_INLINE void vec_prefetch_write(const void *p) {
  __builtin_prefetch(p, 1);
}
VEC_INLINE void vec_prefetch_l2(const void *p) {
  __builtin_prefetch(p, 0, 2);
}

/* Stores that do not bring the line into the cache, for outputs larger than any cache: p aligned to
 * the vector. Only where a vector is a whole line; elsewhere plain stores. vec_stream_end() makes
 * them visible to other threads. */
#ifndef VEC_STREAM
#define VEC_STREAM 0
VEC_INLINE void vec_stream(float *p, vec x) {
  vec_store(p, x);
}
VEC_INLINE void vec_stream_end(void) {}
#endif

/* Vectors at both ends of a row: whole ones by the plain access, the last by the masked one. */
VEC_INLINE vec vec_load_k(const float *p, size_t k) {
  return k >= VEC_LANES ? vec_load(p) : vec_load_n(p, k);
}
VEC_INLINE void vec_store_k(float *p, vec x, size_t k) {
  if (k >= VEC_LANES)
    vec_store(p, x);
  else
    vec_store_n(p, x, k);
}

VEC_INLINE float vec_sum(vec x) {
  float lane[VEC_LANES], s = 0;
  vec_store(lane, x);
  for (size_t i = 0; i < VEC_LANES; i++) s += lane[i];
  return s;
}

/* Exponentials side by side: one alone is a chain of twenty operations, each of which waits for the
 * one before. */
enum { VEC_CHAINS = 4 };
#define VEC_EACH VEC_UNROLL for (size_t i = 0; i < n; i++)

/* n vectors, a constant of at most VEC_CHAINS. x = k ln 2 + r; yields e^r - 1 and 2^k. x in [-87.3,
 * 88]. The sum with 1.5 * 2^23 has no room for a fraction: its last bits are k and what was added
 * to it. The polynomial is the best of its degree, within 1.4e-8 of e^r - 1. `far`: k ln 2 in two
 * parts, or the rounding of it is 2^-24 of x. */
typedef uint32_t vec_bits __attribute__((vector_size(VEC_LANES * sizeof(uint32_t))));
VEC_INLINE void vec_exp_parts(const vec *x, const size_t n, const int far, vec *p, vec *pow2) {
  const vec whole = vec_set1(0x1.8p23f + 127), ln2 = vec_set1(far ? 0.693359375f : 0.69314718f);
  vec r[VEC_CHAINS], k[VEC_CHAINS];
  VEC_EACH k[i] = vec_fma(x[i], vec_set1(1.44269504f), whole);
  VEC_EACH pow2[i] = (vec)((vec_bits)k[i] << 23);
  VEC_EACH k[i] = k[i] - whole;
  VEC_EACH r[i] = vec_fnma(k[i], ln2, x[i]);
  if (far) VEC_EACH r[i] = vec_fnma(k[i], vec_set1(-2.12194440e-4f), r[i]);
  VEC_EACH p[i] = vec_fma(vec_set1(0.0013870611f), r[i], vec_set1(0.008366253f));
  VEC_EACH p[i] = vec_fma(p[i], r[i], vec_set1(0.041667435f));
  VEC_EACH p[i] = vec_fma(p[i], r[i], vec_set1(0.16666546f));
  VEC_EACH p[i] = vec_fma(p[i], r[i], vec_set1(0.49999997f));
  VEC_EACH p[i] = vec_fma(p[i] * r[i], r[i], r[i]);
}

/* e^x - 1 for x <= 88, to about 2 ulp up to 1, also near 0; below -80: -1. In place. */
VEC_INLINE void vec_expm1_each(vec *x, const size_t n) {
  vec p[VEC_CHAINS], s[VEC_CHAINS];
  VEC_EACH x[i] = vec_max(vec_set1(-80.f), x[i]);
  vec_exp_parts(x, n, 0, p, s);
  VEC_EACH x[i] = vec_fma(p[i], s[i], s[i] - vec_set1(1.f));
}
VEC_INLINE vec vec_expm1(vec x) {
  vec_expm1_each(&x, 1);
  return x;
}

/* e^x to about 2 ulp; from 88 on e^88, below -87.3: 0. */
VEC_INLINE vec vec_exp(vec x) {
  const vec low = vec_set1(-87.3f);
  const vec inside = vec_min(vec_set1(88.f), vec_max(low, x));
  vec s, p;
  vec_exp_parts(&inside, 1, 1, &p, &s);
  return vec_select_gt(low, x, vec_zero(), vec_fma(p, s, s));
}

#endif
