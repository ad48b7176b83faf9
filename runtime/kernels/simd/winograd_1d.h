/* The transforms of Winograd's input and output along one axis: winograd.h says which points they
 * have. winograd_weights.c has those of the weights. */
#ifndef VNET_SIMD_WINOGRAD_1D_H
#define VNET_SIMD_WINOGRAD_1D_H

#include "winograd.h"
#include "winograd_points.h"

/* y = B^T x for t points; t is a constant wherever this is inlined. Identity for t = 3 and 5. */
VEC_INLINE void input_1d(const size_t t, const vec *a, vec *y) {
  vec e, o;
  switch (t) {
  case 8:
    y[0] = vec_fma(vec_set1(5.25f), a[2] - a[4], a[6] - a[0]);
    e = vec_fnma(vec_set1(4.25f), a[4], a[2] + a[6]) * vec_set1(.25f);
    o = vec_fnma(vec_set1(4.25f), a[3], a[1] + a[5]);
    y[1] = vec_fma(vec_set1(.25f), o, e);
    y[2] = vec_fnma(vec_set1(.25f), o, e);
    e = vec_fma(vec_set1(.25f), a[6], vec_fnma(vec_set1(.3125f), a[4], a[2] * vec_set1(.0625f)));
    o = vec_fma(vec_set1(.5f), a[5], vec_fnma(vec_set1(.625f), a[3], a[1] * vec_set1(.125f)));
    y[3] = e + o;
    y[4] = e - o;
    e = vec_fma(vec_set1(4.f), a[2], vec_fnma(vec_set1(5.f), a[4], a[6]));
    o = vec_fma(vec_set1(2.f), a[1], vec_fnma(vec_set1(2.5f), a[3], a[5] * vec_set1(.5f)));
    y[5] = e + o;
    y[6] = e - o;
    y[7] = vec_fma(vec_set1(5.25f), a[3] - a[5], a[7] - a[1]);
    break;
  case 6:
    y[0] = vec_fma(vec_set1(.25f), a[4], vec_fnma(vec_set1(1.25f), a[2], a[0]));
    e = vec_fnma(vec_set1(4.f), a[2], a[4]) * vec_set1(.125f);
    o = vec_fnma(vec_set1(4.f), a[1], a[3]);
    y[1] = vec_fma(vec_set1(.125f), o, e);
    y[2] = vec_fnma(vec_set1(.125f), o, e);
    e = (a[4] - a[2]) * vec_set1(.5f);
    o = a[3] - a[1];
    y[3] = e + o;
    y[4] = e - o;
    y[5] = vec_fma(vec_set1(4.f), a[1], vec_fnma(vec_set1(5.f), a[3], a[5]));
    break;
  case 4:
    y[0] = a[2] - a[0];
    e = a[2] * vec_set1(.5f);
    y[1] = vec_fma(vec_set1(.5f), a[1], e);
    y[2] = vec_fnma(vec_set1(.5f), a[1], e);
    y[3] = a[3] - a[1];
    break;
  default:
    for (size_t i = 0; i < t; i++) y[i] = a[i];
  }
}

static const float point_power[WINO_PAIRS][WINO_POWERS] = WINO_POWERS_TABLE;

/* y = A^T x, t points to m outputs, both constants where this is inlined; m = 1: plain sum. */
VEC_INLINE void output_1d(const size_t t, const size_t m, const vec *x, vec *y) {
  if (m == 1) {
    y[0] = x[0];
    for (size_t k = 1; k < t; k++) y[0] = y[0] + x[k];
    return;
  }
  const size_t pairs = (t - 2) / 2;
  vec s[3], d[3];
  for (size_t k = 0; k < pairs; k++) {
    s[k] = x[2 * k + 1] + x[2 * k + 2];
    d[k] = x[2 * k + 1] - x[2 * k + 2];
  }
  VEC_UNROLL for (size_t i = 0; i < m; i++) {
    const vec *half = i % 2 ? d : s;
    vec sum = half[0];
    for (size_t k = 1; k < pairs; k++) sum = vec_fma(vec_set1(point_power[k][i]), half[k], sum);
    if (i == 0) sum = sum + x[0];
    if (i == m - 1) sum = sum + x[t - 1];
    y[i] = sum;
  }
}

#endif
