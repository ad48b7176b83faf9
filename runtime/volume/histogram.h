/* The voxels of an image counted by the bits of their values, which sorts them: 65536 bins of one
 * upper half each, 1/128 of a value wide. The exact ranks of percentiles (intensity.c) and the gaps
 * in a scan's range (filling.c) are read from the same count. Private. */
#ifndef VNET_HISTOGRAM_H
#define VNET_HISTOGRAM_H

#include <string.h>

#include "image.h"
#include "stage.h"

enum { VN_BINS = 1 << 16 };

/* Floats in their order as unsigned integers, and back. */
static inline uint32_t vn_key_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

static inline float vn_float_of(uint32_t key) {
  uint32_t bits = key & 0x80000000u ? key & 0x7FFFFFFFu : ~key;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* The smallest and the largest value that a bin holds. */
static inline double vn_bin_low(uint32_t bin) {
  return (double)vn_float_of(bin << 16);
}
static inline double vn_bin_high(uint32_t bin) {
  return (double)vn_float_of(bin << 16 | 0xFFFF);
}

/* Fills bins[VN_BINS] by the keys' upper halves; with `high`, by the lower halves of the keys of
 * that upper half. `row` has room for a row along i. The stage goes from `from` to `to`. False:
 * stop. */
bool vn_bins_count(const struct vn_image *image, const struct vn_voxels *voxels,
                   const uint32_t *high, struct vn_stage *stage, double from, double to, float *row,
                   uint64_t *bins);

#endif
