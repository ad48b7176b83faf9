/* Weights of the lean Winograd convolution: transformed along d alone, in double. Called by lean.c
 * when weights are packed. */
#include "lean.h"

struct packing {
  const struct lean *l;
  const float *weight;
  float *packed;
};

/* Rows of the frequencies of pair p, without their factor; for 1/2 times 16, as for 2. */
static void pair_of_taps(size_t p, const double x[LEAN_TAPS], double *a, double *b) {
  const double square = p == 1 ? 1 : 4;
  const double low = p == 3 ? x[4] : x[0], high = p == 3 ? x[0] : x[4];
  const double even = low + square * x[2] + square * square * high;
  const double odd = p == 1 ? x[1] + x[3] : p == 2 ? 2 * x[1] + 8 * x[3] : 8 * x[1] + 2 * x[3];
  *a = p ? even + odd : x[0];
  *b = p ? even - odd : x[4];
}

/* One output vector. Lanes beyond the last output channel are zero. */
static void pack_vector(void *context, size_t vector, size_t slot) {
  const struct packing *p = context;
  const size_t in = p->l->w.channels_in, out = p->l->w.channels_out, first = vector * VEC_LANES;
  const size_t lanes = out - first < VEC_LANES ? out - first : VEC_LANES;
  const size_t tap = LEAN_PLANE * in, depth = tap * VEC_LANES; /* floats: from one d to the next */
  float *to = p->packed + vector * LEAN_T * depth;
  (void)slot;
  for (size_t k = 0; k < LEAN_PLANE; k++)
    for (size_t i = 0; i < in; i++)
      for (size_t o = 0; o < VEC_LANES; o++) {
        double x[LEAN_TAPS], a, b;
        const float *from = p->weight + (first + o) * LEAN_TAPS * tap + k * in + i;
        for (size_t d = 0; d < LEAN_TAPS; d++) x[d] = o < lanes ? (double)from[d * tap] : 0;
        for (size_t q = 0; q < LEAN_T / 2; q++) {
          const size_t f = lean_first(q), g = lean_second(q);
          pair_of_taps(q, x, &a, &b);
          to[f * depth + (i * LEAN_PLANE + k) * VEC_LANES + o] = (float)(a * lean_factor(f));
          to[g * depth + (i * LEAN_PLANE + k) * VEC_LANES + o] = (float)(b * lean_factor(g));
        }
      }
}

bool lean_pack(const struct lean *l, struct vn_pool *pool, const float *weight, float *packed,
               struct vn_watch *watch) {
  struct packing packing = {l, weight, packed};
  return vn_pool_run_watched(pool, l->w.vecs_out, pack_vector, &packing, watch);
}
