/* 4 floats: AArch64 Advanced SIMD. See vec.h for what each name means. */
#ifndef VNET_VEC_NEON_H
#define VNET_VEC_NEON_H

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VEC_LANES     4
#define VEC_REGISTERS 32
#define VEC_INLINE    static inline __attribute__((always_inline, unused))

typedef float32x4_t vec;

VEC_INLINE vec vec_zero(void) {
  return vdupq_n_f32(0);
}
VEC_INLINE vec vec_set1(float x) {
  return vdupq_n_f32(x);
}
VEC_INLINE vec vec_load(const float *p) {
  return vld1q_f32(p);
}
VEC_INLINE void vec_store(float *p, vec x) {
  vst1q_f32(p, x);
}
VEC_INLINE vec vec_load_n(const float *p, size_t k) {
  float lane[4] = {0};
  for (size_t i = 0; i < k; i++) lane[i] = p[i];
  return vld1q_f32(lane);
}
VEC_INLINE void vec_store_n(float *p, vec x, size_t k) {
  float lane[4];
  vst1q_f32(lane, x);
  for (size_t i = 0; i < k; i++) p[i] = lane[i];
}
VEC_INLINE vec vec_fma(vec a, vec b, vec c) {
  return vfmaq_f32(c, a, b);
}
VEC_INLINE vec vec_fnma(vec a, vec b, vec c) {
  return vfmsq_f32(c, a, b);
}
VEC_INLINE vec vec_max(vec a, vec b) {
  return vmaxq_f32(a, b);
}
VEC_INLINE vec vec_min(vec a, vec b) {
  return vminq_f32(a, b);
}
VEC_INLINE vec vec_select_gt(vec a, vec b, vec yes, vec no) {
  return vbslq_f32(vcgtq_f32(a, b), yes, no);
}
VEC_INLINE void vec_store_i32(int32_t *p, vec x, size_t k) {
  int32_t lane[4];
  vst1q_s32(lane, vcvtnq_s32_f32(x));
  for (size_t i = 0; i < k; i++) p[i] = lane[i];
}

#endif
