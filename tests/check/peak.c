/* What one thread of this machine can do at most: multiply-adds and bytes, with the vectors of one
 * instruction set. Compiled once per instruction set, as the kernels are. */
#include "peak.h"

#include "kernels/vec/vec.h"

/* Twelve sums, enough to hide the latency of every CPU's FMA and to fit sixteen registers. */
double VN_ISA_NAME(peak_fma)(size_t turns) {
  enum { SUMS = 12 };
  vec sum[SUMS];
  const vec x = vec_set1(0.999f), y = vec_set1(0.001f);
  VEC_UNROLL for (size_t i = 0; i < SUMS; i++) sum[i] = vec_set1((float)i);
  for (size_t t = 0; t < turns; t++) {
    VEC_UNROLL for (size_t i = 0; i < SUMS; i++) sum[i] = vec_fma(sum[i], x, y);
  }
  vec all = vec_zero();
  VEC_UNROLL for (size_t i = 0; i < SUMS; i++) all = all + sum[i];
  volatile float sink = vec_sum(all);
  (void)sink;
  return 2. * SUMS * VEC_LANES * (double)turns;
}

void VN_ISA_NAME(peak_copy)(float *to, const float *from, size_t n) {
  for (size_t i = 0; i + VEC_LANES <= n; i += VEC_LANES) vec_store(to + i, vec_load(from + i));
}
