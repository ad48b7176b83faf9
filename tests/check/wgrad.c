/* Random weight gradients: run between fences on one to three threads, against the oracle; and a
 * batch's must be the sum of its samples'. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_MACS = 3000000, MOST_EDGE = 16, LINE = 64 };

struct problem {
  struct fenced_tensor in, grad_out;
  struct vn_wgrad_spec spec;
  size_t elems; /* of the weights */
};

/* ---- the problem ---- */

struct shape {
  size_t n, in, out;
  size_t coarse[3], fine[3]; /* the grid at the strided end, and the other */
};

static size_t shape_macs(const struct shape *s, const size_t kernel[3]) {
  size_t macs = s->n * s->in * s->out;
  for (int i = 0; i < 3; i++) macs *= kernel[i] * s->coarse[i];
  return macs;
}

static void taps_random(const struct family *f, struct random *r, struct vn_wgrad_spec *s) {
  const bool cube = !strcmp(f->name, "wgrad-winograd"), pointwise = random_below(r, 3) == 0;
  const size_t k = random_below(r, 2) ? 3 : 5;
  s->transposed = !cube && random_below(r, 2);
  for (int i = 0; i < 3; i++) {
    s->kernel[i] = cube ? k : pointwise ? 1 : random_in(r, 1, 3);
    s->stride[i] = cube ? 1 : s->kernel[i];
    s->pad[i] = !cube ? 0 : random_below(r, 3) ? k / 2 : random_below(r, k);
  }
}

static struct shape shape_random(const struct family *f, struct random *r,
                                 struct vn_wgrad_spec *spec) {
  struct shape s = {.n = random_in(r, 1, 3)};
  s.in = random_channels(r, 200);
  s.out = random_channels(r, 200);
  taps_random(f, r, spec);
  for (int i = 0; i < 3; i++) s.coarse[i] = random_in(r, 1, MOST_EDGE);
  size_t *shrinkable[] = {&s.in, &s.out, &s.coarse[0], &s.coarse[1], &s.coarse[2], &s.n};
  while (shape_macs(&s, spec->kernel) > MOST_MACS) {
    size_t *which = shrinkable[random_below(r, 6)];
    *which = random_in(r, (*which + 1) / 2, *which);
  }
  for (int i = 0; i < 3; i++) {
    const size_t k = spec->kernel[i], need = (s.coarse[i] - 1) * spec->stride[i] + k;
    size_t after = spec->stride[i] > 1 || !spec->pad[i] ? 0 : random_below(r, k);
    if (spec->pad[i] >= need) spec->pad[i] = need - 1;
    if (spec->pad[i] + after >= need) after = need - 1 - spec->pad[i];
    s.fine[i] = need - spec->pad[i] - after + random_below(r, spec->stride[i]);
  }
  return s;
}

static void fill(struct fenced_tensor *t, struct random *r) {
  for (size_t i = 0; i < tensor_elems(&t->t); i++)
    ((float *)t->t.data)[tensor_at(&t->t, i)] = random_real(r);
  fence_lock(&t->memory);
}

static void problem_random(const struct family *f, struct random *r, struct problem *p) {
  *p = (struct problem){.elems = 1};
  struct vn_wgrad_spec *spec = &p->spec;
  const struct shape s = shape_random(f, r, spec);
  const size_t *in = spec->transposed ? s.coarse : s.fine;
  const size_t *out = spec->transposed ? s.fine : s.coarse;
  tensor_open(&p->in, r, (const size_t[]){s.n, s.in, in[0], in[1], in[2]});
  tensor_open(&p->grad_out, r, (const size_t[]){s.n, s.out, out[0], out[1], out[2]});
  fill(&p->in, r);
  fill(&p->grad_out, r);
  spec->in = p->in.t;
  spec->grad_out = p->grad_out.t;
  p->elems = s.in * s.out * spec->kernel[0] * spec->kernel[1] * spec->kernel[2];
}

static void describe(const struct problem *p) {
  const struct vn_wgrad_spec *s = &p->spec;
  const size_t used = strlen(check_case), *in = s->in.dim, *out = s->grad_out.dim;
  snprintf(check_case + used, sizeof check_case - used,
           " c %zu/%zu -> %zu/%zu, n %zu %zux%zux%zu -> %zux%zux%zu, k %zux%zux%zu p %zux%zux%zu%s",
           in[VN_C], s->in.stride, out[VN_C], s->grad_out.stride, in[VN_N], in[VN_D], in[VN_H],
           in[VN_W], out[VN_D], out[VN_H], out[VN_W], s->kernel[0], s->kernel[1], s->kernel[2],
           s->pad[0], s->pad[1], s->pad[2], s->transposed ? " transposed" : "");
}

/* ---- running ---- */

/* The run's memory holds NaN when it begins, and what is left of its last line must stay. */
static const char *run_in(const struct vn_wgrad *w, struct vn_pool *pool, bool at_end) {
  struct fence memory;
  const size_t bytes = (w->bytes + LINE - 1) / LINE * LINE;
  const char *fault = NULL;
  fence_open(&memory, bytes, at_end);
  memset(memory.data, 0xff, bytes);
  w->run(w->state, pool, memory.data);
  for (size_t i = w->bytes; i < bytes; i++)
    if (memory.data[i] != 0xff) fault = "wrote behind its memory";
  fence_close(&memory);
  return fault;
}

/* Into `to`, floats or doubles, on so many threads. VN_E_UNSUPPORTED: *fault says nothing. */
static enum vn_status run_on(const struct family *f, struct vn_wgrad_spec spec, size_t threads,
                             struct fence *to, struct random *r, const char **fault) {
  struct vn_wgrad w = {0};
  struct vn_pool *pool = NULL;
  struct vn_diag diag = {""};
  spec.threads = threads;
  spec.grad = spec.sum ? NULL : (float *)to->data;
  if (spec.sum) spec.sum = (double *)to->data;
  memset(to->data, 0xff, to->bytes);
  const enum vn_status status = f->wgrad(&spec, &w, &diag);
  if (status) return status;
  memset(&spec, 0xff, sizeof spec); /* kernels keep pointers, not the struct */
  if (!w.name[0]) *fault = "it has no name";
  if (threads > 1 && vn_pool_open(threads, &pool, NULL)) *fault = "no pool";
  if (!*fault) *fault = run_in(&w, pool, random_below(r, 2));
  vn_pool_close(&pool);
  w.close(w.state);
  return VN_OK;
}

/* The samples one by one, their sums added in order: what several processes do. */
static const char *samples_add(const struct family *f, const struct problem *p, struct random *r,
                               const double *whole) {
  static double mark;
  const size_t samples = p->spec.in.dim[VN_N];
  const char *fault = NULL;
  double *all = calloc(p->elems, sizeof *all);
  for (size_t n = 0; n < samples && !fault; n++) {
    struct vn_wgrad_spec one = p->spec;
    struct vn_tensor *t[2] = {&one.in, &one.grad_out};
    struct fence to;
    for (int i = 0; i < 2; i++) {
      const size_t pixels = tensor_pixels(t[i]) / samples;
      t[i]->dim[VN_N] = 1;
      t[i]->data = (float *)t[i]->data + n * pixels * t[i]->stride;
    }
    one.sum = &mark;
    fence_open(&to, p->elems * sizeof(double), random_below(r, 2));
    if (run_on(f, one, 1, &to, r, &fault)) fault = "declines a single sample";
    for (size_t i = 0; i < p->elems; i++) all[i] += ((double *)to.data)[i];
    fence_close(&to);
  }
  for (size_t i = 0; i < p->elems && !fault; i++)
    if (all[i] != whole[i]) fault = "a batch is not the sum of its samples";
  free(all);
  return fault;
}

static const char *runs_equal(const struct family *f, struct problem *p, struct random *r,
                              struct fence *grad) {
  static double mark;
  const char *fault = NULL;
  struct fence other, sum;
  fence_open(&other, grad->bytes, random_below(r, 2));
  fence_open(&sum, p->elems * sizeof(double), random_below(r, 2));
  for (size_t threads = 2; threads <= 3 && !fault; threads++) {
    run_on(f, p->spec, threads, &other, r, &fault);
    if (!fault && memcmp(other.data, grad->data, grad->bytes)) fault = "bits depend on threads";
  }
  struct vn_wgrad_spec summed = p->spec;
  summed.sum = &mark;
  if (!fault) run_on(f, summed, 1, &sum, r, &fault);
  for (size_t i = 0; i < p->elems && !fault; i++)
    if ((float)((double *)sum.data)[i] != ((float *)grad->data)[i]) fault = "sums are others";
  if (!fault) fault = samples_add(f, p, r, (double *)sum.data);
  fence_close(&other);
  fence_close(&sum);
  return fault;
}

/* ---- the judgement ---- */

static const char *wrong(size_t i, double y, double x) {
  const size_t used = strlen(check_case);
  snprintf(check_case + used, sizeof check_case - used, ": [%zu] %.9g instead of %.9g", i, y, x);
  return "wrong result";
}

/* Products: a few roundings of what was added up. Winograd: the error's rms against the rms that
 * the sum has where no tap is cut off, for the error is not cut off. */
static const char *compare(const struct family *f, const struct problem *p, const float *grad,
                           const struct oracle *o) {
  const bool winograd = !strcmp(f->name, "wgrad-winograd");
  double error = 0, usual = 0, worst = 0;
  for (size_t i = 0; i < p->elems; i++) {
    const double y = (double)grad[i], away = fabs(y - o->value[i]);
    if (isnan(away)) return wrong(i, y, o->value[i]);
    if (!winograd && away > 1e-6 * o->size[i] + 1e-37) return wrong(i, y, o->value[i]);
    error += away * away;
    usual = fmax(usual, o->squares[i]);
    worst = fmax(worst, away);
  }
  error = sqrt(error / (double)p->elems);
  usual = sqrt(usual);
  if (!winograd || (error <= 2e-5 * usual + 1e-7 && worst <= 2e-4 * usual + 1e-6)) return NULL;
  const size_t used = strlen(check_case);
  snprintf(check_case + used, sizeof check_case - used, ": error rms %.3g, worst %.3g of the sum",
           error / usual, worst / usual);
  return "inexact";
}

enum outcome check_wgrad(const struct family *family, uint64_t seed) {
  struct random r = {seed};
  struct problem p;
  struct fence grad;
  const char *fault = NULL;
  problem_random(family, &r, &p);
  describe(&p);
  fence_open(&grad, p.elems * sizeof(float), random_below(&r, 2));
  const enum vn_status status = run_on(family, p.spec, 1, &grad, &r, &fault);
  if (status && status != VN_E_UNSUPPORTED) fault = "cannot be opened";
  if (!status && !fault) {
    struct oracle o;
    oracle_open(&o, p.elems);
    oracle_wgrad(&p.spec, &o);
    fault = compare(family, &p, (float *)grad.data, &o);
    oracle_close(&o);
  }
  if (!status && !fault) fault = runs_equal(family, &p, &r, &grad);
  fence_close(&grad);
  fence_close(&p.in.memory);
  fence_close(&p.grad_out.memory);
  if (fault) printf("FAIL %s: %s\n", check_case, fault);
  return fault ? OUTCOME_WRONG : status ? OUTCOME_DECLINED : OUTCOME_RIGHT;
}
