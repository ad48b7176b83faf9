/* y = act1(act0(x + bias) + residual) on vectors of channels: the end of every convolution kernel.
 *
 * A kernel opens one struct vn_epi per block of channels, outside its loop over pixels, and applies
 * it to each vector. Meaning of the fields: struct vn_epilogue in kernels.h. */
#ifndef VNET_SIMD_EPILOGUE_H
#define VNET_SIMD_EPILOGUE_H

#include "../kernels.h"
#include "../vec/vec.h"

enum { VN_EPI_ELU_OF_ONE = 64 }; /* beside enum vn_act: alpha is 1, as it nearly always is */

struct vn_epi {
  vec bias, param[2];    /* param: PReLU's slopes, or ELU's alpha */
  uint32_t kind[2];      /* enum vn_act, or VN_EPI_ELU_OF_ONE */
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
    if (b.kind[i] == VN_ACT_ELU && e->act[i].alpha == 1) b.kind[i] = VN_EPI_ELU_OF_ONE;
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

/* n vectors, a constant of at most VEC_CHAINS; in place. */
VEC_INLINE void vn_epi_act_each(uint32_t kind, vec param, vec *x, const size_t n) {
  vec y[VEC_CHAINS];
  switch (kind) {
  case VN_ACT_RELU:
    VEC_EACH x[i] = vec_max(vec_zero(), x[i]);
    break;
  case VN_ACT_PRELU:
    VEC_EACH x[i] = vec_select_gt(x[i], vec_zero(), x[i], x[i] * param);
    break;
  case VN_ACT_ELU:
  case VN_EPI_ELU_OF_ONE:
    VEC_EACH y[i] = x[i];
    vec_expm1_each(y, n); /* above 0 it is not asked for */
    if (kind == VN_ACT_ELU) VEC_EACH y[i] = y[i] * param;
    VEC_EACH x[i] = vec_select_gt(x[i], vec_zero(), x[i], y[i]);
    break;
  case VN_ACT_SIGMOID:
    VEC_EACH x[i] = vec_set1(1.f) / (vec_set1(1.f) + vec_exp(vec_zero() - x[i]));
    break;
  default:
    break;
  }
}

VEC_INLINE vec vn_epi_act(uint32_t kind, vec param, vec x) {
  vn_epi_act_each(kind, param, &x, 1);
  return x;
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

/* n vectors, a constant of at most VEC_CHAINS, of pixels `step` apart; in place. */
VEC_INLINE void vn_epi_apply_each(const struct vn_epi *b, vec *x, const size_t n, size_t pixel,
                                  size_t step) {
  VEC_EACH x[i] = x[i] + b->bias;
  vn_epi_act_each(b->kind[0], b->param[0], x, n);
  if (b->residual) VEC_EACH x[i] = x[i] + vn_epi_residual(b, pixel + i * step);
  vn_epi_act_each(b->kind[1], b->param[1], x, n);
}

VEC_INLINE vec vn_epi_apply(const struct vn_epi *b, vec x, size_t pixel) {
  vn_epi_apply_each(b, &x, 1, pixel, 0);
  return x;
}

/* Sums of a rectangle of pixels, for the block's channels. */
struct vn_epi_pixels {
  const float *sum;
  size_t pixel;                                 /* the first */
  size_t columns, column_step, column_sum_step; /* pixels; floats */
  size_t rows, row_step, row_sum_step;
};

/* epilogue.c: epilogue and store; `stream`: past the caches, where vectors are whole. */
#define vn_epi_finish VN_ISA_NAME(epi_finish)
void vn_epi_finish(const struct vn_epi *epi, const struct vn_tensor *out, bool stream,
                   const struct vn_epi_pixels *pixels);

#endif
