/* y = act1(act0(x + bias) + residual) on vectors of channels: the end of every convolution kernel.
 *
 * A kernel opens one struct vn_epi per block of channels, outside its loop over pixels, and applies
 * it to each vector. Meaning of the fields: struct vn_epilogue in kernels.h. */
#ifndef VNET_SIMD_EPILOGUE_H
#define VNET_SIMD_EPILOGUE_H

#include "../kernels.h"
#include "../vec/vec.h"

struct vn_epi {
  vec bias, param[2];    /* param: PReLU's slopes, or ELU's alpha */
  uint32_t kind[2];      /* enum vn_act */
  uint32_t wrap;         /* residual channels are gathered one by one: c % their number */
  size_t channel, count; /* the block: channels [channel, channel + count), count <= VEC_LANES */
  const float *residual; /* pixel 0, first channel of the block; with wrap: channel 0; or NULL */
  size_t residual_stride, residual_channels;
};

VEC_INLINE struct vn_epi vn_epi_open(const struct vn_epilogue *e, size_t channel, size_t count) {
  struct vn_epi b = {.channel = channel, .count = count};
  b.bias = e->bias ? vec_load_k(e->bias + channel, count) : vec_zero();
  for (int i = 0; i < 2; i++) {
    b.kind[i] = e->act[i].kind;
    b.param[i] = b.kind[i] == VN_ACT_PRELU ? vec_load_k(e->act[i].slope + channel, count)
                                           : vec_set1(e->act[i].alpha);
  }
  b.residual_channels = e->residual.dim[VN_C];
  b.residual_stride = e->residual.stride;
  b.residual = e->residual.data;
  if (b.residual) {
    b.wrap = b.residual_channels < channel + count;
    if (!b.wrap) b.residual += channel;
  }
  return b;
}

VEC_INLINE vec vn_epi_act(uint32_t kind, vec param, vec x) {
  switch (kind) {
  case VN_ACT_RELU:
    return vec_max(vec_zero(), x);
  case VN_ACT_PRELU:
    return vec_select_gt(x, vec_zero(), x, x * param);
  case VN_ACT_ELU:
    return vec_select_gt(x, vec_zero(), x, vec_expm1(vec_min(vec_zero(), x)) * param);
  case VN_ACT_SIGMOID:
    return vec_set1(1.f) / (vec_set1(1.f) + vec_exp(vec_zero() - x));
  default:
    return x;
  }
}

/* The residual's channels for output pixel `pixel` = ((n*D + d)*H + h)*W + w. */
VEC_INLINE vec vn_epi_residual(const struct vn_epi *b, size_t pixel) {
  const float *p = b->residual + pixel * b->residual_stride;
  if (!b->wrap) return vec_load_k(p, b->count);
  if (b->residual_channels == 1) return vec_set1(*p);
  float lane[VEC_LANES] = {0};
  for (size_t i = 0; i < b->count; i++) lane[i] = p[(b->channel + i) % b->residual_channels];
  return vec_load(lane);
}

VEC_INLINE vec vn_epi_apply(const struct vn_epi *b, vec x, size_t pixel) {
  x = vn_epi_act(b->kind[0], b->param[0], x + b->bias);
  if (b->residual) x = x + vn_epi_residual(b, pixel);
  return vn_epi_act(b->kind[1], b->param[1], x);
}

#endif
