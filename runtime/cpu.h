/* What this machine offers. Used by exec.c when an exec is opened. */
#ifndef VNET_CPU_H
#define VNET_CPU_H

#include "kernels/kernels.h"

/* The kernels of the instruction set `name`, or of the best one here when NULL. *simd is NULL for
 * "ref". Errors: VN_E_ARGUMENT for an unknown name, VN_E_UNSUPPORTED for one that this CPU or
 * operating system lacks. */
enum vn_status vn_cpu_simd(const char *name, const struct vn_simd **simd, struct vn_diag *diag);

#endif
