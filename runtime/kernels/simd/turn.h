/* VEC_LANES pixels turned so that a vector holds one channel of them, t[channel][pixel], and back.
 * For what is narrow: vectors of channels would be mostly idle. */
#ifndef VNET_SIMD_TURN_H
#define VNET_SIMD_TURN_H

#include "simd.h"

enum { TURN_MOST = 8 };

/* Whole vectors of pixels without gaps, 1, 2, 4, 8 … channels each: sorting the floats into those
 * at even and at odd places, once for each doubling, leaves them channel by channel. */
VEC_INLINE void turn_in_dense(const size_t channels, const float *from, float *t) {
  vec v[TURN_MOST], w[TURN_MOST];
  VEC_UNROLL for (size_t c = 0; c < channels; c++) v[c] = vec_load(from + c * VEC_LANES);
  for (size_t step = channels; step > 1; step /= 2) {
    VEC_UNROLL for (size_t i = 0; i < channels / 2; i++) {
      w[i] = VEC_EVEN(v[2 * i], v[2 * i + 1]);
      w[channels / 2 + i] = VEC_ODD(v[2 * i], v[2 * i + 1]);
    }
    VEC_UNROLL for (size_t c = 0; c < channels; c++) v[c] = w[c];
  }
  VEC_UNROLL for (size_t c = 0; c < channels; c++) vec_store(t + c * VEC_LANES, v[c]);
}

VEC_INLINE void turn_out_dense(const size_t channels, float *to, const float *t) {
  vec v[TURN_MOST], w[TURN_MOST];
  VEC_UNROLL for (size_t c = 0; c < channels; c++) v[c] = vec_load(t + c * VEC_LANES);
  for (size_t step = channels; step > 1; step /= 2) {
    VEC_UNROLL for (size_t i = 0; i < channels / 2; i++) {
      w[2 * i] = VEC_ZIP_LOW(v[i], v[channels / 2 + i]);
      w[2 * i + 1] = VEC_ZIP_HIGH(v[i], v[channels / 2 + i]);
    }
    VEC_UNROLL for (size_t c = 0; c < channels; c++) v[c] = w[c];
  }
  VEC_UNROLL for (size_t c = 0; c < channels; c++) vec_store(to + c * VEC_LANES, v[c]);
}

/* VEC_LANES channels of as many pixels, `stride` apart: the same sorting turns the square. */
static inline void turn_in_square(const float *from, size_t stride, float *t) {
  vec v[VEC_LANES], w[VEC_LANES];
  VEC_UNROLL for (size_t l = 0; l < VEC_LANES; l++) v[l] = vec_load(from + l * stride);
  for (size_t step = VEC_LANES; step > 1; step /= 2) {
    VEC_UNROLL for (size_t i = 0; i < VEC_LANES / 2; i++) {
      w[i] = VEC_EVEN(v[2 * i], v[2 * i + 1]);
      w[VEC_LANES / 2 + i] = VEC_ODD(v[2 * i], v[2 * i + 1]);
    }
    VEC_UNROLL for (size_t c = 0; c < VEC_LANES; c++) v[c] = w[c];
  }
  VEC_UNROLL for (size_t c = 0; c < VEC_LANES; c++) vec_store(t + c * VEC_LANES, v[c]);
}

#define EACH_TURN(CASE) CASE(1) CASE(2) CASE(4) CASE(8)

static inline void turn_in(const struct vn_tensor *x, size_t pixel, size_t count, float *t) {
  const size_t channels = x->dim[VN_C];
  const float *from = (const float *)x->data + pixel * x->stride;
  if (count == VEC_LANES && x->stride == channels) {
    switch (channels) {
#define CASE(C)                                                                                    \
  case C:                                                                                          \
    turn_in_dense(C, from, t);                                                                     \
    return;
      EACH_TURN(CASE)
#undef CASE
    default:
      break;
    }
  }
  size_t first = 0;
  for (; count == VEC_LANES && first + VEC_LANES <= channels; first += VEC_LANES)
    turn_in_square(from + first, x->stride, t + first * VEC_LANES);
  for (size_t l = 0; l < count; l++, from += x->stride)
    for (size_t c = first; c < channels; c++) t[c * VEC_LANES + l] = from[c];
  for (size_t l = count; l < VEC_LANES; l++) /* lanes that nobody reads: no denormals, no NaN */
    for (size_t c = 0; c < channels; c++) t[c * VEC_LANES + l] = 0;
}

static inline void turn_out(const struct vn_tensor *y, size_t pixel, size_t count, const float *t) {
  const size_t channels = y->dim[VN_C];
  float *to = (float *)y->data + pixel * y->stride;
  if (count == VEC_LANES && y->stride == channels) {
    switch (channels) {
#define CASE(C)                                                                                    \
  case C:                                                                                          \
    turn_out_dense(C, to, t);                                                                      \
    return;
      EACH_TURN(CASE)
#undef CASE
    default:
      break;
    }
  }
  for (size_t l = 0; l < count; l++, to += y->stride)
    for (size_t c = 0; c < channels; c++) to[c] = t[c * VEC_LANES + l];
}

#endif
