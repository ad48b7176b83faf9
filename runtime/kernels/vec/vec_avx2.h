/* 8 floats: AVX2 and FMA. See vec.h for what each name means. */
#ifndef VNET_VEC_AVX2_H
#define VNET_VEC_AVX2_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define VEC_LANES     8
#define VEC_REGISTERS 16
#define VEC_INLINE    static inline __attribute__((always_inline, unused))

typedef __m256 vec;

VEC_INLINE __m256i vec_mask_n(size_t k) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)k), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
VEC_INLINE vec vec_zero(void) {
  return _mm256_setzero_ps();
}
VEC_INLINE vec vec_set1(float x) {
  return _mm256_set1_ps(x);
}
VEC_INLINE vec vec_load(const float *p) {
  return _mm256_loadu_ps(p);
}
VEC_INLINE void vec_store(float *p, vec x) {
  _mm256_storeu_ps(p, x);
}
VEC_INLINE vec vec_load_n(const float *p, size_t k) {
  return _mm256_maskload_ps(p, vec_mask_n(k));
}
/* In pieces: a masked store of this width takes a dozen cycles on some CPUs. */
VEC_INLINE void vec_store_n(float *p, vec x, size_t k) {
  __m128 part = _mm256_castps256_ps128(x);
  if (k & 4) {
    _mm_storeu_ps(p, part);
    part = _mm256_extractf128_ps(x, 1);
    p += 4;
  }
  if (k & 2) {
    _mm_storel_pi((__m64 *)p, part);
    part = _mm_movehl_ps(part, part);
    p += 2;
  }
  if (k & 1) _mm_store_ss(p, part);
}
VEC_INLINE vec vec_fma(vec a, vec b, vec c) {
  return _mm256_fmadd_ps(a, b, c);
}
VEC_INLINE vec vec_fnma(vec a, vec b, vec c) {
  return _mm256_fnmadd_ps(a, b, c);
}
VEC_INLINE vec vec_max(vec a, vec b) {
  return _mm256_max_ps(a, b);
}
VEC_INLINE vec vec_min(vec a, vec b) {
  return _mm256_min_ps(a, b);
}
VEC_INLINE vec vec_select_gt(vec a, vec b, vec yes, vec no) {
  return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
VEC_INLINE void vec_store_i32(int32_t *p, vec x, size_t k) {
  _mm256_maskstore_epi32(p, vec_mask_n(k), _mm256_cvtps_epi32(x));
}

#endif
