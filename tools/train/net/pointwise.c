/* Activations, sums and scales; see ops.h. */
#include "sweep.h"

/* ---- activations ---- */

static void act_part(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  const struct vnt_act *act = s->what;
  (void)sums;
  if (act->kind == VN_ACT_ELU)
    s->m->training->elu(p, s->x, act->alpha, s->y);
  else
    s->m->training->prelu(p, s->x, act->slope, s->marked, s->y);
}

void vnt_act_forward(const struct vnt_machine *m, const struct vnt_act *act,
                     const struct vn_tensor *x, const struct vn_tensor *y) {
  struct vnt_sweep s = {.m = m, .what = act, .x = x, .y = y, .fn = act_part};
  s.marked = vnt_act_marks(act, x->dim[VN_C]);
  vnt_sweep_run(&s, NULL, NULL);
}

static void act_back_part(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  const struct vnt_act *act = s->what;
  if (act->kind == VN_ACT_ELU)
    s->m->training->elu_back(p, s->y, act->alpha, s->dy, s->dx, s->add, sums);
  else
    s->m->training->prelu_back(p, s->y, act->slope, s->marked, s->dy, s->dx, s->add, sums);
}

void vnt_act_backward(const struct vnt_machine *m, const struct vnt_act *act,
                      const struct vn_tensor *y, const struct vn_tensor *dy,
                      const struct vn_tensor *dx, bool add, double *scratch, double *sum_dx,
                      double *grad_slope) {
  struct vnt_sweep s = {.m = m,
                        .what = act,
                        .x = y,
                        .y = y,
                        .dy = dy,
                        .dx = dx,
                        .add = add,
                        .scratch = scratch,
                        .fn = act_back_part,
                        .marked = vnt_act_marks(act, y->dim[VN_C])};
  vnt_sweep_run(&s, sum_dx, grad_slope);
  for (size_t c = 0; act->kind == VN_ACT_PRELU && grad_slope && c < s.channels; c++)
    grad_slope[c] /= (double)act->slope[c];
}

/* ---- sums of tensors ---- */

static void add_part(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  const size_t from = s->x->dim[VN_C], to = s->y->dim[VN_C];
  (void)sums;
  struct vn_pixels part = {p->begin, p->end, from};
  for (size_t c = 0; c < to; c += from) {
    struct vn_tensor slice = *s->y;
    slice.data = (float *)s->y->data + c;
    if (to - c < from) part.channels = to - c;
    s->m->training->affine(&part, s->x, NULL, NULL, &slice, s->add);
  }
}

void vnt_add_forward(const struct vnt_machine *m, const struct vn_tensor *x,
                     const struct vn_tensor *y, bool add) {
  struct vnt_sweep s = {.m = m, .x = x, .y = y, .add = add, .fn = add_part};
  vnt_sweep_run(&s, NULL, NULL);
}

static void sum_part(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  (void)sums;
  s->m->training->sum(p, s->x, s->dy, s->y);
}

void vnt_sum_forward(const struct vnt_machine *m, const struct vn_tensor *x,
                     const struct vn_tensor *y, const struct vn_tensor *z,
                     const struct vnt_act *act) {
  struct vnt_sweep s = {.m = m, .x = x, .dy = y, .y = z, .fn = sum_part};
  vnt_sweep_then_act(&s, act);
  vnt_sweep_run(&s, NULL, NULL);
}

static void scale_part(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  const float *scale = (const float *)s->what + p->begin / s->pixels * p->channels;
  (void)sums;
  s->m->training->affine(p, s->x, scale, NULL, s->y, s->add);
}

void vnt_scale(const struct vnt_machine *m, const struct vn_tensor *x, const float *scale,
               const struct vn_tensor *y, bool add) {
  struct vnt_sweep s = {.m = m, .what = scale, .x = x, .y = y, .add = add, .fn = scale_part};
  vnt_sweep_run(&s, NULL, NULL);
}

static void add_back_part(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  const size_t to = s->x->dim[VN_C], from = s->dy->dim[VN_C];
  (void)sums;
  for (size_t i = p->begin; i < p->end; i++) {
    const float *g = (const float *)s->dy->data + i * s->dy->stride;
    float *out = (float *)s->x->data + i * s->x->stride;
    for (size_t c = 0; c < to; c++) {
      float sum = 0;
      for (size_t k = c; k < from; k += to) sum += g[k];
      out[c] = s->add ? out[c] + sum : sum;
    }
  }
}

void vnt_add_backward(const struct vnt_machine *m, const struct vn_tensor *dy,
                      const struct vn_tensor *dx, bool add) {
  if (dy->dim[VN_C] == dx->dim[VN_C]) {
    vnt_add_forward(m, dy, dx, add);
    return;
  }
  struct vnt_sweep s = {.m = m, .x = dx, .dy = dy, .add = add, .fn = add_back_part};
  vnt_sweep_run(&s, NULL, NULL);
}

static void moments_part(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  s->m->training->moments(p, s->x, s->y, s->what, sums);
}

void vnt_channel_sums(const struct vnt_machine *m, const struct vn_tensor *x, double *scratch,
                      double *sums) {
  struct vnt_sweep s = {.m = m, .x = x, .scratch = scratch, .fn = moments_part};
  vnt_sweep_run(&s, sums, NULL);
}
