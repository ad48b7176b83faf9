/* Which instruction sets have backward kernels. Called when training begins, and by vnet-check. */
#include "backward.h"

#include <string.h>

const struct vn_backward *vn_backward_of(const struct vn_simd *forward) {
#define ENTRY(isa) &vn_backward_##isa,
  static const struct vn_backward *const tables[] = {VN_EACH_ISA(ENTRY)};
  for (size_t i = 0; forward && i < sizeof tables / sizeof *tables; i++)
    if (strcmp(tables[i]->name, forward->name) == 0) return tables[i];
  return NULL;
}
