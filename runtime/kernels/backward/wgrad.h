/* Weight gradients of 3x3x3 and 5x5x5 convolutions by Winograd: what their files share. wgrad.c
 * tells the story. */
#ifndef VNET_BACKWARD_WGRAD_H
#define VNET_BACKWARD_WGRAD_H

#include "backward.h"
#include "kernels/simd/winograd.h"

enum { WGRAD_MAX_R = 5, WGRAD_MAX_TAPS = WGRAD_MAX_R * WGRAD_MAX_R * WGRAD_MAX_R };
enum { WGRAD_GROUP = 32 }; /* channels that lie side by side when tiles are gathered */

struct wgrad {
  struct wino w; /* conv.out is the gradient of the output: its data is read */
  struct vn_wgrad_spec spec;
  size_t taps;
  /* The channels of one side lie in vectors, those of the other are the rows of the products: what
   * makes fewer of them. */
  bool lanes_in;
  size_t rows, vecs;
  /* Of each sample: blocks of tiles, and equal parts of them. A part's sums are taken in float. */
  size_t samples, blocks, parts;
  size_t y_row, y_freq, y_group, y_plane;  /* transformed dy: [group][freq][tile][channel]; a plane
                                              of depth frequencies: [tile][h][w][channel] */
  size_t v_at, y_at, y_planes_at, scratch; /* floats: of a thread */
  size_t sum_freq, sum_part;               /* sums: [part][depth freq][freq][row][vector] */
  /* wgrad_gather.c: transformed x and dy of some parts at a time, each side
   * [part][group][depth freq][freq][tile][channel]. */
  size_t together, group, x_groups, y_groups, row_blocks, vec_blocks;
  size_t planes_at, all_at;
};

#define wgrad_dy_depth   VN_ISA_NAME(wgrad_dy_depth)
#define wgrad_dy_plane   VN_ISA_NAME(wgrad_dy_plane)
#define wgrad_taps_plane VN_ISA_NAME(wgrad_taps_plane)
#define wgrad_taps_depth VN_ISA_NAME(wgrad_taps_depth)
#define wgrad_taps_add   VN_ISA_NAME(wgrad_taps_add)
#define wgrad_taps_store VN_ISA_NAME(wgrad_taps_store)
#define wgrad_gather_cut VN_ISA_NAME(wgrad_gather_cut)
#define wgrad_gather_run VN_ISA_NAME(wgrad_gather_run)

/* wgrad_dy.c: G' along depth for a whole job; then for one depth frequency along h and w. */
void wgrad_dy_depth(const struct wgrad *g, const struct wino_job *job, float *planes);
void wgrad_dy_plane(const struct wgrad *g, const struct wino_job *job, const float *plane,
                    float *y);

/* wgrad_taps.c, all for one row and one vector: A'^T of one depth frequency's sums, `freq` floats
 * apart, to plane[h][w]; of planes, one for each depth frequency, to taps[d][h][w]; their sum over
 * parts in double, all[tap][lane]; and that into the gradient. */
void wgrad_taps_plane(const struct wgrad *g, const float *sums, size_t freq, float *plane);
void wgrad_taps_depth(const struct wgrad *g, const float *planes, float *taps);
void wgrad_taps_add(const struct wgrad *g, const float *taps, bool first, double *all);
void wgrad_taps_store(const struct wgrad *g, size_t row, size_t vec, const double *all);

/* wgrad_gather.c: where the sums at all frequencies would leave the cache, transformed tiles are
 * gathered first, and each block of channels is brought to taps at once. cut: with the tile and the
 * channels known, the rest; returns the bytes of memory. */
size_t wgrad_gather_cut(struct wgrad *g);
void wgrad_gather_run(void *state, struct vn_pool *pool, void *memory);

/* The blocks [begin, end) of a part. */
static inline void wgrad_part(const struct wgrad *g, size_t part, size_t *begin, size_t *end) {
  *begin = part * g->blocks / g->parts;
  *end = (part + 1) * g->blocks / g->parts;
}

#endif
