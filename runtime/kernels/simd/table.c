/* What this instruction set offers; cpu.c picks one of these tables for an exec.
 * Compiled once per instruction set, like every .c file in this folder. */
#include "simd.h"

const struct vn_simd VN_ISA_NAME(simd) = {
    .name = VN_ISA_TEXT,
    .lanes = VEC_LANES,
    .winograd = VN_ISA_NAME(winograd),
    .lean = VN_ISA_NAME(lean),
    .fft = VN_ISA_NAME(fft),
    .depthwise = VN_ISA_NAME(depthwise),
    .direct = VN_ISA_NAME(direct),
    .pointwise = VN_ISA_NAME(pointwise),
    .down = VN_ISA_NAME(down),
    .up = VN_ISA_NAME(up),
    .elementwise = VN_ISA_NAME(elementwise),
    .softmax = VN_ISA_NAME(softmax),
};
