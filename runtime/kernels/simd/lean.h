/* Winograd for few tiles: what its files share. lean.c tells the story. */
#ifndef VNET_SIMD_LEAN_H
#define VNET_SIMD_LEAN_H

#include "winograd.h"

enum {
  LEAN_M = 4, /* outputs of a tile along each axis, by points as in winograd.h */
  LEAN_T = 8,
  LEAN_TAPS = 5,
  LEAN_PLANE = LEAN_TAPS * LEAN_TAPS, /* taps along h and w */
  LEAN_GROUP = 16,                    /* input channels whose weights are in hand at a time */
  LEAN_PANEL = (LEAN_GROUP + 1) * VEC_LANES, /* floats of a frequency: an odd number of vectors */
};

struct lean {
  struct wino w;           /* as for one job with all tiles of an item, and one input vector */
  size_t items, tiles;     /* of the batch; of an item */
  size_t vecs_in;          /* of the convolution */
  size_t v_group, v_depth; /* floats of a group's frequencies along h and w, and of all groups */
  size_t panel_at, m_at, pair_at, acc_at, acc_item; /* in the scratch */
  float *v; /* shared: [frequency along d][group][h][w][item, tile][channel of the group] */
};

#define lean_pack     VN_ISA_NAME(lean_pack)
#define lean_products VN_ISA_NAME(lean_products)

/* lean_weights.c: fills w->packed from the convolution's weights, transformed along d in double:
 * [vector out][frequency along d][channel in][tap h][tap w]. False: stopped. */
bool lean_pack(const struct lean *l, struct vn_pool *pool, const float *weight, float *packed,
               struct vn_watch *watch);

/* lean_products.c: for one frequency along d the rest of the weights' transform and its products
 * with all tiles, to m[frequency along h][w][item, tile][output vector]. */
void lean_products(const struct lean *l, const struct wino_job *job, size_t freq, float *panel,
                   float *m);

/* What the rows of the transform are multiplied with: the factors of the points. */
VEC_INLINE double lean_factor(size_t freq) {
  static const double of[LEAN_T] = {-1, -8 / 9., -8 / 9., 2 / 45., 2 / 45., 2 / 45., 2 / 45., 1};
  return of[freq];
}

/* Frequencies come in pairs, 2p - 1 and 2p, of points that differ in sign; pair 0 is the first and
 * the last, of 0 and infinity. */
VEC_INLINE size_t lean_first(const size_t p) {
  return p ? 2 * p - 1 : 0;
}
VEC_INLINE size_t lean_second(const size_t p) {
  return p ? 2 * p : LEAN_T - 1;
}

#endif
