/* Which instruction sets have backward kernels. Called when training begins, and by vnet-check. */
#include "backward.h"

#include <string.h>

const struct vn_backward *vn_backward_of(const struct vn_simd *forward) {
  static const struct vn_backward *const tables[] = {
#if defined(__x86_64__)
    &vn_backward_avx512,
    &vn_backward_avx2,
#elif defined(__aarch64__)
    &vn_backward_neon,
#endif
    &vn_backward_portable
  };
  for (size_t i = 0; forward && i < sizeof tables / sizeof *tables; i++)
    if (strcmp(tables[i]->name, forward->name) == 0) return tables[i];
  return NULL;
}
