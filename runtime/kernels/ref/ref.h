/* What the plain C kernels share: element strides, activations and the epilogue of one pixel.
 * Included by ref/ and by xnnpack/, which applies the same epilogue to what XNNPACK computed. */
#ifndef VNET_REF_H
#define VNET_REF_H

#include "../kernels.h"
#include "elementary.h"

#include <math.h>
#include <string.h>

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

/* A job is one row of the output along w. */
struct vn_row {
  size_t n, d, h;
};

static inline struct vn_row vn_row_of(const struct vn_tensor *t, size_t job) {
  size_t nd = job / t->dim[VN_H];
  return (struct vn_row){nd / t->dim[VN_D], nd % t->dim[VN_D], job % t->dim[VN_H]};
}

/* The pixel of `t` that output pixel (row, w) reads: axes of size 1 broadcast. */
static inline const float *vn_pixel_of(const struct vn_tensor *t, struct vn_row row, size_t w) {
  size_t n = t->dim[VN_N] > 1 ? row.n : 0, d = t->dim[VN_D] > 1 ? row.d : 0;
  size_t h = t->dim[VN_H] > 1 ? row.h : 0;
  if (t->dim[VN_W] == 1) w = 0;
  return (const float *)t->data +
         (((n * t->dim[VN_D] + d) * t->dim[VN_H] + h) * t->dim[VN_W] + w) * t->stride;
}

/* norm_ref.c, functions_ref.c, sample_ref.c: what vn_simple_ref hands out. */
void vn_norm_run(const void *state, size_t job, void *scratch);
void vn_map_run(const void *state, size_t job, void *scratch);
void vn_binary_run(const void *state, size_t job, void *scratch);
void vn_sample_run(const void *state, size_t job, void *scratch);

#endif
