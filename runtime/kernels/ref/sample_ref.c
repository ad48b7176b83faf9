/* SAMPLE in plain C: a job is one row of the output along w. Sums are held in double. */
#include "ref.h"

struct place { /* what one output element takes */
  const struct vn_simple *s;
  size_t stride[VN_AXES], at[VN_AXES];
};

struct taken {
  double sum;
  float most;
  bool any;
};

static void take(struct taken *t, double weight, float x) {
  t->sum += weight * (double)x;
  if (!t->any || x > t->most) t->most = x;
  t->any = true;
}

/* Axis by axis; `from` is the element reached so far. */
static void take_along(const struct place *p, size_t axis, size_t from, bool inside, double weight,
                       struct taken *t) {
  if (axis == VN_AXES) {
    take(t, weight, inside ? ((const float *)p->s->in[0].data)[from] : p->s->a);
    return;
  }
  const struct vn_table *table = &p->s->table[axis];
  if (!table->pairs) {
    take_along(p, axis + 1, from + p->at[axis] * p->stride[axis], inside, weight, t);
    return;
  }
  const float *pair = table->pairs + 2 * p->at[axis] * table->taps;
  for (size_t k = 0; k < table->taps; k++, pair += 2) {
    const size_t index = pair[0] < 0 ? 0 : (size_t)pair[0];
    take_along(p, axis + 1, from + index * p->stride[axis], inside && pair[0] >= 0,
               weight * (double)pair[1], t);
  }
}

void vn_sample_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  const struct vn_row row = vn_row_of(&s->out, job);
  struct place p = {s, {0}, {[VN_N] = row.n, [VN_D] = row.d, [VN_H] = row.h}};
  (void)scratch;
  vn_tensor_strides(&s->in[0], p.stride);
  for (size_t w = 0; w < s->out.dim[VN_W]; w++) {
    float *y = (float *)s->out.data + (job * s->out.dim[VN_W] + w) * s->out.stride;
    p.at[VN_W] = w;
    for (p.at[VN_C] = 0; p.at[VN_C] < s->out.dim[VN_C]; p.at[VN_C]++) {
      struct taken t = {0, 0, false};
      take_along(&p, 0, 0, true, 1, &t);
      y[p.at[VN_C]] = s->largest ? t.most : (float)t.sum;
    }
  }
}
