/* The points at which Winograd's polynomials are taken, from which all transforms follow: 0, then
 * pairs of one number with either sign, then infinity. t points are 0, the first (t - 2) / 2 pairs
 * and infinity; see winograd.h for the choice. Tables whose every entry folds at compile time.
 *
 * Weights and, in training, gradients of outputs (m or r numbers to t points): row j is
 * scale * (1, p, p^2 …), infinity's the last number. Outputs and taps (t points to m or r): the
 * powers of the points. Inputs: what makes both a convolution, winograd_input.c: of the polynomial
 * with all points for zeros but one's own, times 1 / scale up to powers of two. */
#ifndef VNET_SIMD_WINOGRAD_POINTS_H
#define VNET_SIMD_WINOGRAD_POINTS_H

enum { WINO_PAIRS = 3, WINO_POWERS = 6 };

#define WINO_POWERS_OF(p)                                                                          \
  { 1, (p), (p) * (p), (p) * (p) * (p), (p) * (p) * (p) * (p), (p) * (p) * (p) * (p) * (p) }

/* [pair][exponent]: of the positive one of each pair. */
#define WINO_POWERS_TABLE                                                                          \
  { WINO_POWERS_OF(1.), WINO_POWERS_OF(2.), WINO_POWERS_OF(.5) }

/* For 4, 6 and 8 points: of 0, then of each pair. 1 over the differences to all other points, times
 * a power of two that keeps rows near 1. */
#define WINO_SCALES_TABLE                                                                          \
  {                                                                                                \
    {-1, 1}, {1, -4 / 3., 1 / 12.}, {                                                              \
      -1, -8 / 9., 2 / 45., 32 / 45.                                                               \
    }                                                                                              \
  }

#endif
