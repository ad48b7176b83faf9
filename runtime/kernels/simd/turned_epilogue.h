/* The end of convolutions of a few outputs that have pixels in the lanes. Bits are epilogue.h's. */
#ifndef VNET_SIMD_TURNED_EPILOGUE_H
#define VNET_SIMD_TURNED_EPILOGUE_H

#include "epilogue.h"
#include "turn.h"

/* Of 1x1x1 and transposed convolutions, at most: more fill vectors of channels well enough. */
enum { FEW_OUTPUTS = 4 };
#define EACH_FEW(CASE) CASE(1) CASE(2) CASE(3) CASE(4)

VEC_INLINE vec turned_act(const struct vn_epilogue *e, int i, size_t channel, vec x) {
  const bool prelu = e->act[i].kind == VN_ACT_PRELU;
  return vn_epi_act(e->act[i].kind, vec_set1(prelu ? e->act[i].slope[channel] : e->act[i].alpha),
                    x);
}

/* y[output], `outputs` a constant of at most TURN_MOST, for `count` pixels from `pixel` on. */
VEC_INLINE void turned_finish(const struct vn_conv *conv, const size_t outputs, size_t pixel,
                              size_t count, vec *y) {
  const struct vn_epilogue *e = &conv->epilogue;
  const size_t wrap = e->residual.dim[VN_C];
  struct vn_tensor out = conv->out;
  float results[TURN_MOST * VEC_LANES], residual[TURN_MOST * VEC_LANES];
  out.dim[VN_C] = outputs; /* a constant, which spares turn_out its question */
  if (e->residual.data) turn_in(&e->residual, pixel, count, residual);
  VEC_UNROLL for (size_t o = 0; o < outputs; o++) {
    y[o] = turned_act(e, 0, o, e->bias ? y[o] + vec_set1(e->bias[o]) : y[o] + vec_zero());
    if (e->residual.data) y[o] = y[o] + vec_load(residual + o % wrap * VEC_LANES);
    vec_store(results + o * VEC_LANES, turned_act(e, 1, o, y[o]));
  }
  turn_out(&out, pixel, count, results);
}

#endif
