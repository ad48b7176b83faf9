/* A convolution that is one matrix product: pixels by (taps * channels) by outputs, read from where
 * the pixels lie and written where they belong. pointwise.c, down.c and up.c fill the geometry;
 * product.c packs the weights and runs it. */
#ifndef VNET_SIMD_PRODUCT_H
#define VNET_SIMD_PRODUCT_H

#include "simd.h"

/* Pixels come in lines: neighbours in a line lie in_step apart, and so do their outputs by out_step
 * pixels. Each of `taps` sets of output channels has weights and a place of its own. */
struct product {
  struct vn_conv conv;
  size_t pixels, line;          /* in all; in one line: the last may be shorter */
  size_t in_step, out_step;     /* floats; pixels of the output */
  size_t taps, segments, depth; /* a pixel's inputs: `segments` runs of `depth` floats */
  size_t *segment_at, *tap_at;  /* where they begin, in floats; in pixels of the output */
  size_t vecs, panels;          /* vectors of output channels; panels of vectors, all taps */
  size_t lines_job, line_jobs;  /* lines in a job; jobs along lines */
  size_t panels_job;            /* panels in a job */
  bool stream;                  /* the output is too large for any cache: see vec_stream */
  const float *packed;          /* [tap][panel][segment][depth][vector] */
  size_t (*in_at)(const struct product *p, size_t line);  /* float of a line's first pixel */
  size_t (*out_at)(const struct product *p, size_t line); /* output pixel of tap_at[0] = 0 */
};

/* Allocates with tables for that many taps and segments, zeroed; NULL: out of memory. */
struct product *VN_ISA_NAME(product_new)(const struct vn_conv *conv, size_t taps, size_t segments);

/* Cuts a filled product, which becomes the state of *prepared. */
void VN_ISA_NAME(product_prepare)(struct product *p, const char *name,
                                  struct vn_prepared *prepared);

/* One tap or block of taps moved as a whole: no groups, no dilation, no padding, stride =
 * kernel. */
VEC_INLINE bool product_covers(const struct vn_conv *c) {
  for (int i = 0; i < 3; i++)
    if (c->kernel[i] != c->stride[i] || c->pad[i] || (c->kernel[i] > 1 && c->dilation[i] != 1))
      return false;
  return c->groups == 1;
}

#endif
