/* What the plain C kernels share: element strides, activations and the epilogue of one pixel.
 * Included by ref/ and by xnnpack/, which applies the same epilogue to what XNNPACK computed. */
#ifndef VNET_REF_H
#define VNET_REF_H

#include "../kernels.h"
#include "elementary.h"

#include <math.h>

/* Elements between neighbours along each axis. */
static inline void vn_tensor_strides(const struct vn_tensor *t, size_t stride[VN_AXES]) {
  stride[VN_C] = 1;
  stride[VN_W] = t->stride;
  stride[VN_H] = stride[VN_W] * t->dim[VN_W];
  stride[VN_D] = stride[VN_H] * t->dim[VN_H];
  stride[VN_N] = stride[VN_D] * t->dim[VN_D];
}

static inline void vn_act_row(uint32_t kind, const float *slope, float alpha, float *y, size_t n) {
  switch (kind) {
  case VN_ACT_RELU:
    for (size_t c = 0; c < n; c++) y[c] = y[c] < 0.f ? 0.f : y[c];
    break;
  case VN_ACT_PRELU:
    for (size_t c = 0; c < n; c++) y[c] = y[c] > 0.f ? y[c] : slope[c] * y[c];
    break;
  case VN_ACT_ELU:
    for (size_t c = 0; c < n; c++) y[c] = y[c] > 0.f ? y[c] : alpha * (float)vn_expm1((double)y[c]);
    break;
  case VN_ACT_SIGMOID:
    for (size_t c = 0; c < n; c++) y[c] = 1.f / (1.f + (float)vn_exp(-(double)y[c]));
    break;
  default:
    break;
  }
}

/* y[c] = act1(act0(y[c]) + residual) for all channels of the output's pixel number `pixel`; the
 * bias is in y already. */
static inline void vn_epilogue_pixel(const struct vn_epilogue *e, float *y, size_t channels,
                                     size_t pixel) {
  vn_act_row(e->act[0].kind, e->act[0].slope, e->act[0].alpha, y, channels);
  if (e->residual.data) {
    const float *r = (const float *)e->residual.data + pixel * e->residual.stride;
    size_t wrap = e->residual.dim[VN_C];
    for (size_t first = 0; first < channels; first += wrap)
      for (size_t c = 0; c < wrap; c++) y[first + c] += r[c];
  }
  vn_act_row(e->act[1].kind, e->act[1].slope, e->act[1].alpha, y, channels);
}

#endif
