/* The machine's limits, measured in the same run as the kernels. See peak.c; bench.c calls it. */
#ifndef VNET_PEAK_H
#define VNET_PEAK_H

#include "kernels/kernels.h"

#include <stddef.h>

/* Flops done in `turns` turns of a loop of nothing but multiply-adds. */
typedef double peak_fma_fn(size_t turns);
typedef void peak_copy_fn(float *to, const float *from, size_t n);

#define VN_PEAK_DECLARE(isa)                                                                       \
  peak_fma_fn vn_peak_fma_##isa;                                                                   \
  peak_copy_fn vn_peak_copy_##isa;
VN_EACH_ISA(VN_PEAK_DECLARE)

#endif
