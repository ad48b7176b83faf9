/* 4 floats by the compiler's vector extension: any CPU. See vec.h for what each name means. */
#ifndef VNET_VEC_PORTABLE_H
#define VNET_VEC_PORTABLE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VEC_LANES     4
#define VEC_REGISTERS 16
#define VEC_INLINE    static inline __attribute__((always_inline, unused))

typedef float vec __attribute__((vector_size(16)));
typedef int32_t vec_i32 __attribute__((vector_size(16)));

VEC_INLINE vec vec_zero(void) {
  return (vec){0};
}
VEC_INLINE vec vec_set1(float x) {
  return (vec){x, x, x, x};
}
VEC_INLINE vec vec_load(const float *p) {
  vec x;
  memcpy(&x, p, sizeof x);
  return x;
}
VEC_INLINE void vec_store(float *p, vec x) {
  memcpy(p, &x, sizeof x);
}
VEC_INLINE vec vec_load_n(const float *p, size_t k) {
  vec x = {0};
  for (size_t i = 0; i < k; i++) x[i] = p[i];
  return x;
}
VEC_INLINE void vec_store_n(float *p, vec x, size_t k) {
  for (size_t i = 0; i < k; i++) p[i] = x[i];
}
VEC_INLINE vec vec_fma(vec a, vec b, vec c) {
  return a * b + c;
}
VEC_INLINE vec vec_fnma(vec a, vec b, vec c) {
  return c - a * b;
}
VEC_INLINE vec vec_choose(vec_i32 mask, vec yes, vec no) {
  return (vec)(((vec_i32)yes & mask) | ((vec_i32)no & ~mask));
}
VEC_INLINE vec vec_max(vec a, vec b) {
  return vec_choose((vec_i32)(a > b), a, b);
}
VEC_INLINE vec vec_min(vec a, vec b) {
  return vec_choose((vec_i32)(a < b), a, b);
}
VEC_INLINE vec vec_select_gt(vec a, vec b, vec yes, vec no) {
  return vec_choose((vec_i32)(a > b), yes, no);
}
VEC_INLINE void vec_store_i32(int32_t *p, vec x, size_t k) {
  for (size_t i = 0; i < k; i++) p[i] = (int32_t)x[i];
}

#endif
