/* 4 floats: WebAssembly's SIMD128, with the bits of vec_portable.h (relaxed SIMD would have
 * others). A fifth faster: every lane's number is a constant here, and no two comparisons make one
 * choice. See vec.h for what each name means. */
#ifndef VNET_VEC_WASM_H
#define VNET_VEC_WASM_H

#include <stddef.h>
#include <stdint.h>
#include <wasm_simd128.h>

#define VEC_LANES 4
#define VEC_REGISTERS                                                                              \
  14 /* of x86's 16 the browser keeps one, and a product wants one until its sum */
#define VEC_INLINE static inline __attribute__((always_inline, unused))

typedef float vec __attribute__((vector_size(16)));

VEC_INLINE vec vec_zero(void) {
  return (vec){0};
}
VEC_INLINE vec vec_set1(float x) {
  return (vec)wasm_f32x4_splat(x);
}
VEC_INLINE vec vec_load(const float *p) {
  return (vec)wasm_v128_load(p);
}
VEC_INLINE void vec_store(float *p, vec x) {
  wasm_v128_store(p, (v128_t)x);
}
VEC_INLINE vec vec_load_n(const float *p, size_t k) {
  switch (k) {
  case 0:
    return vec_zero();
  case 1:
    return (vec)wasm_v128_load32_zero(p);
  case 2:
    return (vec)wasm_v128_load64_zero(p);
  default:
    return (vec)wasm_v128_load32_lane(p + 2, wasm_v128_load64_zero(p), 2);
  }
}
VEC_INLINE void vec_store_n(float *p, vec x, size_t k) {
  if (k & 2) wasm_v128_store64_lane(p, (v128_t)x, 0);
  if (k == 1) wasm_v128_store32_lane(p, (v128_t)x, 0);
  if (k == 3) wasm_v128_store32_lane(p + 2, (v128_t)x, 2);
}
VEC_INLINE vec vec_fma(vec a, vec b, vec c) {
  return a * b + c;
}
VEC_INLINE vec vec_fnma(vec a, vec b, vec c) {
  return c - a * b;
}
/* pmax(b, a) is b < a ? a : b. */
VEC_INLINE vec vec_max(vec a, vec b) {
  return (vec)wasm_f32x4_pmax((v128_t)b, (v128_t)a);
}
VEC_INLINE vec vec_min(vec a, vec b) {
  return (vec)wasm_f32x4_pmin((v128_t)b, (v128_t)a);
}
VEC_INLINE vec vec_select_gt(vec a, vec b, vec yes, vec no) {
  return (vec)wasm_v128_bitselect((v128_t)yes, (v128_t)no, (v128_t)(a > b));
}
VEC_INLINE void vec_store_i32(int32_t *p, vec x, size_t k) {
  vec_store_n((float *)p, (vec)wasm_i32x4_trunc_sat_f32x4((v128_t)x), k & 3);
  if (k == VEC_LANES) wasm_v128_store(p, wasm_i32x4_trunc_sat_f32x4((v128_t)x));
}

#endif
