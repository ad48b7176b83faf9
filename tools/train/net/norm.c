/* BatchNorm; see ops.h. */
#include "sweep.h"

#include <math.h>

enum { NORM_CHANNELS = 1024 };

struct norm_rows {
  float a[NORM_CHANNELS], b[NORM_CHANNELS], d[NORM_CHANNELS];
};

static void norm_part(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  const struct norm_rows *rows = s->what;
  (void)sums;
  s->m->training->affine(p, s->x, rows->a, rows->d, s->y, false);
}

static void moments_part(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  s->m->training->moments(p, s->x, s->y, s->what, sums);
}

/* Over all processes; returns how many there are. */
static double everywhere(const struct vnt_machine *m, double *a, double *b, size_t channels) {
  if (m->processes > 1) m->sum(m->sum_context, a, channels);
  if (m->processes > 1 && b) m->sum(m->sum_context, b, channels);
  return (double)m->processes;
}

/* Sums and sums of squares. Squares are taken about the first pixel of the sample, as near to its
 * mean as need be for floats, and moved in double. */
static void squares_part(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  const size_t first = p->begin / s->pixels * s->pixels;
  const float *centre = (const float *)s->x->data + first * s->x->stride;
  s->m->training->moments(p, s->x, NULL, centre, sums);
  for (size_t c = 0; c < p->channels; c++) sums[p->channels + c] += (double)centre[c] * sums[c];
}

/* This batch's mean and variance, into the norm and its running statistics. */
static void norm_observe(const struct vnt_machine *m, const struct vnt_norm *norm,
                         const struct vn_tensor *x, double *scratch) {
  const size_t channels = x->dim[VN_C];
  double sums[NORM_CHANNELS], squares[NORM_CHANNELS];
  struct vnt_sweep s = {.m = m, .x = x, .scratch = scratch, .fn = squares_part};
  vnt_sweep_run(&s, sums, squares);
  const double n = (double)vnt_pixels(x) * everywhere(m, sums, squares, channels);
  for (size_t c = 0; c < channels; c++) {
    const double mean = sums[c] / n, var = fmax(squares[c] / n - mean * mean, 0);
    norm->batch_mean[c] = (float)mean;
    norm->batch_inv_sd[c] = (float)(1 / sqrt(var + norm->epsilon));
    const double keep = 1 - norm->momentum, unbiased = n > 1 ? var * n / (n - 1) : var;
    norm->running_mean[c] =
        (float)(keep * (double)norm->running_mean[c] + norm->momentum * (double)(float)mean);
    norm->running_var[c] = (float)(keep * (double)norm->running_var[c] + norm->momentum * unbiased);
  }
}

/* What normalises: the batch's statistics, the running ones, or what lies between. */
static void norm_blend(const struct vnt_norm *norm, size_t channels) {
  const double t = norm->settled;
  for (size_t c = 0; c < channels; c++) {
    const double inv = 1 / sqrt((double)norm->running_var[c] + norm->epsilon);
    norm->mean[c] = t < 1 ? norm->batch_mean[c] : norm->running_mean[c];
    norm->inv_sd[c] = t < 1 ? norm->batch_inv_sd[c] : (float)inv;
    if (t == 0 || t == 1) continue;
    norm->mean[c] += (float)(t * ((double)norm->running_mean[c] - (double)norm->batch_mean[c]));
    norm->inv_sd[c] += (float)(t * (inv - (double)norm->batch_inv_sd[c]));
  }
}

void vnt_norm_forward(const struct vnt_machine *m, const struct vnt_norm *norm,
                      const struct vn_tensor *x, const struct vn_tensor *y,
                      const struct vnt_act *act, double *scratch) {
  struct norm_rows rows;
  if (norm->settled < 1) norm_observe(m, norm, x, scratch);
  norm_blend(norm, x->dim[VN_C]);
  for (size_t c = 0; c < x->dim[VN_C]; c++) {
    rows.a[c] = norm->scale[c] * norm->inv_sd[c];
    rows.d[c] = norm->shift[c] - norm->mean[c] * rows.a[c];
  }
  struct vnt_sweep out = {.m = m, .what = &rows, .x = x, .y = y, .fn = norm_part};
  vnt_sweep_then_act(&out, act);
  vnt_sweep_run(&out, NULL, NULL);
}

static void norm_back_part(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  const struct norm_rows *rows = s->what;
  (void)sums;
  s->m->training->affine2(p, s->dy, rows->a, s->x, rows->b, rows->d, s->dx, s->add);
}

/* What an ELU behind the norm passes on, from its result and that one's gradient, to dy. */
static void elu_before(const struct vnt_sweep *s, const struct vn_pixels *p, double *sums) {
  s->m->training->elu_back(p, s->act_y, s->act->alpha, s->act_dy, s->x, false, sums);
}

void vnt_norm_backward(const struct vnt_machine *m, const struct vnt_norm *norm,
                       const struct vn_tensor *x, const struct vn_tensor *dy,
                       const struct vn_tensor *dx, bool add, const struct vnt_norm_elu *elu,
                       double *scratch, double *grad_scale, double *grad_shift) {
  const size_t channels = x->dim[VN_C];
  struct vnt_sweep s = {
      .m = m, .what = norm->mean, .x = dy, .y = x, .scratch = scratch, .fn = moments_part};
  if (elu) {
    s.act = elu->act;
    s.act_y = elu->y;
    s.act_dy = elu->dy;
    s.before = elu_before;
  }
  double products[NORM_CHANNELS];
  vnt_sweep_run(&s, grad_shift, products);
  const double processes = everywhere(m, grad_shift, products, channels);
  const double n = (double)vnt_pixels(x) * processes;
  struct norm_rows rows;
  for (size_t c = 0; c < channels; c++) {
    const double a = (double)norm->scale[c] * (double)norm->inv_sd[c];
    grad_scale[c] = products[c] * (double)norm->inv_sd[c];
    /* Through mean and sd of the batch, as far as it is those that normalise. */
    double b = 0, d = 0;
    if (norm->settled < 1) {
      const double own = 1 - norm->settled, inv = (double)norm->batch_inv_sd[c];
      b = -(own * (double)norm->scale[c] * inv) * inv * (products[c] * inv) / n;
      d = -(own * a) * grad_shift[c] / n - b * (double)norm->batch_mean[c];
    }
    rows.a[c] = (float)a;
    rows.b[c] = (float)b;
    rows.d[c] = (float)d;
    grad_scale[c] /= processes; /* whose gradients will be added up */
    grad_shift[c] /= processes;
  }
  struct vnt_sweep back = {
      .m = m, .what = &rows, .x = x, .dy = dy, .dx = dx, .add = add, .fn = norm_back_part};
  vnt_sweep_run(&back, NULL, NULL);
}
