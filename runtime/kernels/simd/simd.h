/* The prepare functions that this folder defines, named for the instruction set being compiled, and
 * what its files count with. */
#ifndef VNET_SIMD_H
#define VNET_SIMD_H

#include "../kernels.h"
#include "../vec/vec.h"

vn_conv_prepare_fn VN_ISA_NAME(winograd), VN_ISA_NAME(lean), VN_ISA_NAME(fft);
vn_conv_prepare_fn VN_ISA_NAME(depthwise), VN_ISA_NAME(direct);
vn_conv_prepare_fn VN_ISA_NAME(pointwise), VN_ISA_NAME(pointwise_few);
vn_conv_prepare_fn VN_ISA_NAME(down), VN_ISA_NAME(up), VN_ISA_NAME(spread);
vn_simple_prepare_fn VN_ISA_NAME(elementwise), VN_ISA_NAME(softmax);
vn_simple_prepare_fn VN_ISA_NAME(norm), VN_ISA_NAME(map), VN_ISA_NAME(sample);

static inline size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}
static inline size_t ceil_div(size_t a, size_t b) {
  return (a + b - 1) / b;
}

/* Is the output so large that it should bypass the caches, and laid out so that it can? */
VEC_INLINE bool vn_wants_stream(const struct vn_tensor *out) {
  size_t bytes = out->stride * sizeof(float);
  for (size_t a = VN_D; a < VN_AXES; a++) bytes *= out->dim[a];
  const size_t line = VEC_LANES * sizeof(float);
  return VEC_STREAM && bytes >= (size_t)32 << 20 && (uintptr_t)out->data % line == 0 &&
         out->stride % VEC_LANES == 0;
}

#if VEC_LANES == 16 /* up to 8 output channels would leave half of each vector idle */
vn_conv_prepare_fn vn_winograd_avx2, vn_lean_avx2, vn_fft_avx2, vn_depthwise_avx2, vn_direct_avx2;
vn_conv_prepare_fn vn_pointwise_avx2, vn_down_avx2, vn_up_avx2, vn_spread_avx2;
vn_simple_prepare_fn vn_sample_avx2;
#endif

#endif
