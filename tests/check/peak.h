/* The machine's limits, measured in the same run as the kernels. See peak.c; bench.c calls it. */
#ifndef VNET_PEAK_H
#define VNET_PEAK_H

#include <stddef.h>

/* Flops done in `turns` turns of a loop of nothing but multiply-adds. */
typedef double peak_fma_fn(size_t turns);
typedef void peak_copy_fn(float *to, const float *from, size_t n);

peak_fma_fn vn_peak_fma_portable;
peak_copy_fn vn_peak_copy_portable;
#if defined(__x86_64__)
peak_fma_fn vn_peak_fma_avx2, vn_peak_fma_avx512;
peak_copy_fn vn_peak_copy_avx2, vn_peak_copy_avx512;
#elif defined(__aarch64__)
peak_fma_fn vn_peak_fma_neon;
peak_copy_fn vn_peak_copy_neon;
#endif

#endif
