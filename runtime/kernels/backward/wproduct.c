/* Weight gradient where every tap is one matrix product over pixels: 1x1x1, and kernel = stride in
 * either direction. A sample's lines of the coarser grid are shared out, each share with sums of
 * its own that are added in order; the samples' gradients are added in double. */
#include "outer.h"
#include "backward.h"

#include <stdlib.h>
#include <string.h>

enum { SHARES_MOST = 8, LINES_LEAST = 16 };

struct wproduct {
  struct vn_wgrad_spec spec;
  size_t in, out, taps;                  /* channels; of the kernel */
  size_t samples, lines, line, shares;   /* of the coarser grid: a sample's rows, pixels in one */
  size_t out_padded, sum_tap, sum_share; /* sums: [sample][share][tap][in c][out c padded] */
};

struct sums {
  const struct wproduct *p;
  float *sums;
};

/* The first element under tap (kd, kh, kw) of line `line` of all samples', in the finer tensor. */
static size_t fine_at(const struct vn_tensor *fine, const struct vn_tensor *coarse,
                      const size_t stride[3], size_t line, size_t tap) {
  const size_t h = line % coarse->dim[VN_H], d = line / coarse->dim[VN_H] % coarse->dim[VN_D];
  const size_t n = line / coarse->dim[VN_H] / coarse->dim[VN_D];
  const size_t kw = tap % stride[2], kh = tap / stride[2] % stride[1],
               kd = tap / stride[2] / stride[1];
  return (((n * fine->dim[VN_D] + d * stride[0] + kd) * fine->dim[VN_H] + h * stride[1] + kh) *
              fine->dim[VN_W] +
          kw) *
         fine->stride;
}

static void share_job(void *context, size_t job, size_t slot) {
  const struct sums *c = context;
  const struct wproduct *p = c->p;
  const size_t sample = job / p->shares, share = job % p->shares;
  const struct vn_wgrad_spec *s = &p->spec;
  const struct vn_tensor *fine = s->transposed ? &s->grad_out : &s->in;
  const struct vn_tensor *coarse = s->transposed ? &s->in : &s->grad_out;
  float *sums = c->sums + job * p->sum_share;
  (void)slot;
  memset(sums, 0, p->sum_share * sizeof *sums);
  const size_t first = sample * p->lines, begin = first + share * p->lines / p->shares,
               end = first + (share + 1) * p->lines / p->shares;
  for (size_t line = begin; line < end; line++)
    for (size_t tap = 0; tap < p->taps; tap++) {
      const float *near = (const float *)coarse->data + line * p->line * coarse->stride;
      const float *far = (const float *)fine->data + fine_at(fine, coarse, s->stride, line, tap);
      const size_t far_step = s->stride[2] * fine->stride;
      const struct outer o = {.a = s->transposed ? near : far,
                              .b = s->transposed ? far : near,
                              .a_step = s->transposed ? coarse->stride : far_step,
                              .b_step = s->transposed ? far_step : coarse->stride,
                              .count = p->line,
                              .sum = sums + tap * p->sum_tap,
                              .sum_row = p->out_padded};
      outer_any(o, p->in, p->out);
    }
}

/* The shares in order, then the samples, turned to [out c][tap][in c]. */
static void store_job(void *context, size_t tap, size_t slot) {
  const struct sums *c = context;
  const struct wproduct *p = c->p;
  (void)slot;
  for (size_t i = 0; i < p->in; i++)
    for (size_t o = 0; o < p->out; o++) {
      const float *from = c->sums + tap * p->sum_tap + i * p->out_padded + o;
      double all = 0;
      for (size_t n = 0; n < p->samples; n++, from += p->shares * p->sum_share) {
        float sum = from[0];
        for (size_t s = 1; s < p->shares; s++) sum += from[s * p->sum_share];
        all += (double)sum;
      }
      vn_wgrad_put(&p->spec, (o * p->taps + tap) * p->in + i, all);
    }
}

static void product_run(void *state, struct vn_pool *pool, void *memory) {
  const struct wproduct *p = state;
  struct sums c = {p, memory};
  vn_pool_run(pool, p->samples * p->shares, share_job, &c);
  vn_pool_run(pool, p->taps, store_job, &c);
}

static void product_close(void *state) {
  free(state);
}

vn_wgrad_fn VN_ISA_NAME(wgrad_product);

enum vn_status VN_ISA_NAME(wgrad_product)(const struct vn_wgrad_spec *spec, struct vn_wgrad *wgrad,
                                          struct vn_diag *diag) {
  const struct vn_tensor *coarse = spec->transposed ? &spec->in : &spec->grad_out;
  const struct vn_tensor *fine = spec->transposed ? &spec->grad_out : &spec->in;
  size_t taps = 1;
  for (int i = 0; i < 3; i++) {
    taps *= spec->kernel[i];
    if (spec->kernel[i] != spec->stride[i] || spec->pad[i] ||
        fine->dim[VN_D + i] < coarse->dim[VN_D + i] * spec->stride[i])
      return vn_fail(diag, VN_E_UNSUPPORTED, "weight gradient: kernel = stride without padding");
  }
  struct wproduct *p = calloc(1, sizeof *p);
  if (!p) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  p->spec = *spec;
  p->in = spec->in.dim[VN_C];
  p->out = spec->grad_out.dim[VN_C];
  p->taps = taps;
  p->line = coarse->dim[VN_W];
  p->samples = coarse->dim[VN_N];
  p->lines = coarse->dim[VN_D] * coarse->dim[VN_H];
  p->shares = p->lines / LINES_LEAST < 1             ? 1
              : p->lines / LINES_LEAST > SHARES_MOST ? SHARES_MOST
                                                     : p->lines / LINES_LEAST;
  p->out_padded = (p->out + VEC_LANES - 1) / VEC_LANES * VEC_LANES;
  p->sum_tap = p->in * p->out_padded;
  p->sum_share = taps * p->sum_tap;
  const size_t bytes = p->samples * p->shares * p->sum_share * sizeof(float);
  *wgrad = (struct vn_wgrad){bytes, product_run, product_close, p, "product " VN_ISA_TEXT};
  return VN_OK;
}
