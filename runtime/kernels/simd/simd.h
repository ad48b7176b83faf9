/* The prepare functions that this folder defines, named for the instruction set being compiled. */
#ifndef VNET_SIMD_H
#define VNET_SIMD_H

#include "../kernels.h"
#include "../vec/vec.h"

vn_conv_prepare_fn VN_ISA_NAME(winograd), VN_ISA_NAME(direct);
vn_conv_prepare_fn VN_ISA_NAME(pointwise), VN_ISA_NAME(down), VN_ISA_NAME(up);
vn_simple_prepare_fn VN_ISA_NAME(simple);

#if VEC_LANES == 16 /* up to 8 output channels would leave half of each vector idle */
vn_conv_prepare_fn vn_winograd_avx2, vn_direct_avx2;
vn_conv_prepare_fn vn_pointwise_avx2, vn_down_avx2, vn_up_avx2;
#endif

#endif
