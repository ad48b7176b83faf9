/* INSTNORM in plain C: a job is one n and group of channels. Sums are held in double. */
#include "ref.h"

struct moments {
  double mean, variance;
};

static struct moments moments_of(const float *x, size_t stride, size_t pixels, size_t span) {
  struct moments m = {0, 0};
  for (size_t i = 0; i < pixels; i++)
    for (size_t c = 0; c < span; c++) m.mean += (double)x[i * stride + c];
  m.mean /= (double)(pixels * span);
  for (size_t i = 0; i < pixels; i++)
    for (size_t c = 0; c < span; c++) {
      const double away = (double)x[i * stride + c] - m.mean;
      m.variance += away * away;
    }
  m.variance /= (double)(pixels * span);
  return m;
}

/* act1(act0(y) + residual) of the channels from `first` on of a pixel. */
static void epilogue_part(const struct vn_epilogue *e, float *y, size_t first, size_t n,
                          size_t pixel) {
  const float *slope[2];
  for (int i = 0; i < 2; i++) slope[i] = e->act[i].slope ? e->act[i].slope + first : NULL;
  vn_act_row(e->act[0].kind, slope[0], e->act[0].alpha, y, n);
  if (e->residual.data) {
    const float *r = (const float *)e->residual.data + pixel * e->residual.stride;
    for (size_t c = 0; c < n; c++) y[c] += r[(first + c) % e->residual.dim[VN_C]];
  }
  vn_act_row(e->act[1].kind, slope[1], e->act[1].alpha, y, n);
}

void vn_norm_run(const void *state, size_t job, void *scratch) {
  const struct vn_simple *s = state;
  const size_t *dim = s->in[0].dim, span = s->span, groups = dim[VN_C] / span;
  const size_t pixels = dim[VN_D] * dim[VN_H] * dim[VN_W], n = job / groups;
  const size_t first = job % groups * span, stride = s->in[0].stride;
  const float *x = (const float *)s->in[0].data + n * pixels * stride + first;
  float *y = (float *)s->out.data + n * pixels * s->out.stride + first, *row = scratch;
  const struct moments m = moments_of(x, stride, pixels, span);
  const double root = sqrt(m.variance + (double)s->epsilon);
  for (size_t i = 0; i < pixels; i++) {
    for (size_t c = 0; c < span; c++)
      row[c] = (float)(((double)x[i * stride + c] - m.mean) / root * (double)s->scale[first + c] +
                       (double)s->shift[first + c]);
    epilogue_part(&s->epilogue, row, first, span, n * pixels + i);
    memcpy(y + i * s->out.stride, row, span * sizeof *row);
  }
}
