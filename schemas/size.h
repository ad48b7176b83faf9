/* Sizes that follow from numbers in a file: sums and products that stay at UINT64_MAX instead of
 * wrapping, so that one comparison with a limit at the end refuses what is too large, wherever on
 * the way it became so. Private: not installed. */
#ifndef VNET_SIZE_H
#define VNET_SIZE_H

#include <stdint.h>

static inline uint64_t vn_plus(uint64_t a, uint64_t b) {
  return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static inline uint64_t vn_times(uint64_t a, uint64_t b) {
  uint64_t product;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

/* Up to the next multiple of `step`, a power of two. */
static inline uint64_t vn_round_up(uint64_t a, uint64_t step) {
  return a > UINT64_MAX - step ? UINT64_MAX : (a + step - 1) & ~(step - 1);
}

#endif
