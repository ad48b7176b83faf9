/* Transposed convolution: what its files share. spread.c tells the story. */
#ifndef VNET_SIMD_SPREAD_H
#define VNET_SIMD_SPREAD_H

#include "gemm.h"
#include "turned_epilogue.h"

enum { SPREAD_TAPS = 32 }; /* along d and h */

struct class { /* outputs first, first + stride … along w */
  size_t first, count, taps;
  ptrdiff_t begin;  /* the input that the first of them begins with */
  size_t weight_at; /* floats of one lane's packed weights before its own */
};

/* What the lanes hold: output channels of a group; the channels of as many groups; pixels, of a
 * convolution without groups. */
enum spread_lanes { SPREAD_OUTPUTS, SPREAD_GROUPS, SPREAD_PIXELS };

struct spread {
  struct vn_conv conv;
  enum spread_lanes lanes;
  size_t units, in_unit, out_unit; /* groups, or vectors of them, and the channels of each */
  size_t inner, vecs;              /* products for each tap; output vectors of a unit */
  size_t rows, blocks;             /* output rows of a job; jobs of a plane */
  size_t planes, in_rows;          /* of the input that a job sees, at most */
  size_t lead, zeros, width;       /* zeros before and after a row, and all of it, in pixels */
  size_t row_elems;                /* floats of a row */
  size_t lane_elems, packed_unit;  /* packed floats of each lane; of a unit */
  size_t classes;
  struct class *class;
  const float *packed; /* [unit][panel][class][tap d][tap h][tap w, inputs ascending][in][lane] */
};

/* Where a job stands, and the first input row that it holds. */
struct spread_place {
  size_t n, d, h, rows, first;
};

struct spread_row { /* of the output: what it sees */
  const float *from[SPREAD_TAPS];
  size_t tap[SPREAD_TAPS], count; /* tap: d and h as one */
};

#define spread_turn      VN_ISA_NAME(spread_turn)
#define spread_few_row   VN_ISA_NAME(spread_few_row)
#define spread_few_widen VN_ISA_NAME(spread_few_widen)

/* spread_few.c, for SPREAD_PIXELS. `lead` and `width` for whole vectors; one input row, from its
 * first pixel on, to row[channel][pixel]; one class of an output row, whose first pixel is `pixel`.
 */
void spread_few_widen(struct spread *k);
void spread_turn(const struct spread *k, const float *from, float *row);
void spread_few_row(const struct spread *k, const struct spread_row *row, const struct class *class,
                    size_t pixel);
#endif
