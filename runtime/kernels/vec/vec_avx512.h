/* 16 floats: AVX-512 F, VL, DQ, BW. See vec.h for what each name means. */
#ifndef VNET_VEC_AVX512_H
#define VNET_VEC_AVX512_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define VEC_LANES     16
#define VEC_REGISTERS 32
#define VEC_INLINE    static inline __attribute__((always_inline, unused))

typedef __m512 vec;

VEC_INLINE vec vec_zero(void) {
  return _mm512_setzero_ps();
}
VEC_INLINE vec vec_set1(float x) {
  return _mm512_set1_ps(x);
}
VEC_INLINE vec vec_load(const float *p) {
  return _mm512_loadu_ps(p);
}
VEC_INLINE void vec_store(float *p, vec x) {
  _mm512_storeu_ps(p, x);
}
VEC_INLINE vec vec_load_n(const float *p, size_t k) {
  return _mm512_maskz_loadu_ps((__mmask16)((1u << k) - 1), p);
}
VEC_INLINE void vec_store_n(float *p, vec x, size_t k) {
  _mm512_mask_storeu_ps(p, (__mmask16)((1u << k) - 1), x);
}
#define VEC_STREAM 1
VEC_INLINE void vec_stream(float *p, vec x) {
  _mm512_stream_ps(p, x);
}
VEC_INLINE void vec_stream_end(void) {
  _mm_sfence();
}
VEC_INLINE vec vec_fma(vec a, vec b, vec c) {
  return _mm512_fmadd_ps(a, b, c);
}
VEC_INLINE vec vec_fnma(vec a, vec b, vec c) {
  return _mm512_fnmadd_ps(a, b, c);
}
VEC_INLINE vec vec_max(vec a, vec b) {
  return _mm512_max_ps(a, b);
}
VEC_INLINE vec vec_min(vec a, vec b) {
  return _mm512_min_ps(a, b);
}
VEC_INLINE vec vec_select_gt(vec a, vec b, vec yes, vec no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), no, yes);
}
VEC_INLINE void vec_store_i32(int32_t *p, vec x, size_t k) {
  _mm512_mask_storeu_epi32(p, (__mmask16)((1u << k) - 1), _mm512_cvtps_epi32(x));
}

#endif
