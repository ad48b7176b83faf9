/* What the operators element by element have in common: a pass over all pixels of a tensor, spread
 * over the pool in parts that depend on the problem alone. Private to pointwise.c and norm.c. */
#ifndef VNET_TRAIN_SWEEP_H
#define VNET_TRAIN_SWEEP_H

#include "ops.h"

static inline size_t vnt_pixels(const struct vn_tensor *t) {
  return t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W];
}

/* Calls over all pixels of `x`: `before`, if there is one, `fn` and `then`, if there is one, on
 * each block. `fn` gets its part's own sums where there is scratch. */
struct vnt_sweep;
typedef void vnt_part_fn(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums);

struct vnt_sweep {
  const struct vnt_machine *m;
  const void *what; /* fn's own */
  const struct vnt_act *act;
  const struct vn_tensor *x, *y, *dy, *dx;
  const struct vn_tensor *act_y, *act_dy; /* before's */
  bool add, marked;
  double *scratch;
  size_t pixels, channels, parts; /* a sample's pixels, and its parts */
  vnt_part_fn *before, *fn, *then;
};

/* Runs it; adds the parts' sums in order to first[channels] and second[channels], where given. */
void vnt_sweep_run(struct vnt_sweep *s, double *first, double *second);

/* Are there slopes below 0, whose results carry a mark? */
bool vnt_act_marks(const struct vnt_act *act, size_t channels);
/* The activation (NULL: none) of what the sweep writes to y, block by block. */
void vnt_sweep_then_act(struct vnt_sweep *s, const struct vnt_act *act);

#endif
