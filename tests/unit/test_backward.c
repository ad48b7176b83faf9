/* The trainer's operators: gradients against the same sums in double, from plain loops, on random
 * shapes between canaries; bit-identical for any number of threads.
 *
 *   test_backward            the tests
 *   test_backward --bench    rates of the three passes of a convolution, GF/s of the direct one */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "ops.h"

static uint32_t noise_state = 1;
static uint32_t noise(uint32_t below) {
  noise_state = noise_state * 1664525u + 1013904223u;
  return (noise_state >> 8) % below;
}
static float real(void) {
  return (float)noise(20001) / 10000 - 1;
}

/* ---- tensors with gaps and guards ---- */

enum { GUARD = 64 };
static const float CANARY = 12345.5f;

struct box {
  struct vn_tensor t;
  float *all;
  size_t elems;
};

static size_t pixels(const struct vn_tensor *t) {
  return t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W];
}

static struct box box_make(size_t n, const size_t dhw[3], size_t c, bool slice, bool fill) {
  struct box b = {.t = {.dim = {n, c, dhw[0], dhw[1], dhw[2]}, .stride = c + (slice ? 3 : 0)}};
  b.elems = n * dhw[0] * dhw[1] * dhw[2] * b.t.stride + 2 * GUARD;
  b.all = malloc(b.elems * sizeof(float));
  for (size_t i = 0; i < b.elems; i++) b.all[i] = CANARY;
  b.t.data = b.all + GUARD;
  for (size_t i = 0; i < pixels(&b.t); i++)
    for (size_t k = 0; k < c; k++) b.all[GUARD + i * b.t.stride + k] = fill ? real() : 0;
  return b;
}

static void box_free(struct box *b) {
  for (size_t i = 0; i < b->elems; i++) {
    size_t at = i - GUARD;
    bool inside =
        i >= GUARD && at < pixels(&b->t) * b->t.stride && at % b->t.stride < b->t.dim[VN_C];
    if (!inside && b->all[i] != CANARY) fail_msg("a write outside a tensor, at %zd", (ptrdiff_t)at);
  }
  free(b->all);
}

static float *at(const struct vn_tensor *t, size_t n, size_t d, size_t h, size_t w) {
  return (float *)t->data +
         (((n * t->dim[VN_D] + d) * t->dim[VN_H] + h) * t->dim[VN_W] + w) * t->stride;
}

/* Relative to the norm of what is wanted. */
static double error_of(const float *have, const double *want, size_t elems) {
  double off = 0, norm = 0;
  for (size_t i = 0; i < elems; i++) {
    off += ((double)have[i] - want[i]) * ((double)have[i] - want[i]);
    norm += want[i] * want[i];
  }
  return sqrt(off / (norm + 1e-30));
}

/* ---- convolutions ---- */

struct problem {
  size_t n, in[3], out[3], ci, co, k, s;
  bool transposed, slices, bias, add;
};

struct passes {
  double *out, *grad_in, *grad_weight;
};

/* For every pair of pixels that a tap joins: out += w x, dx += w dy, dw += dy x. */
static void reference(const struct problem *p, const struct vnt_conv_spec *s, struct passes *r) {
  size_t taps = p->k * p->k * p->k;
  const size_t *small = p->transposed ? p->in : p->out, *large = p->transposed ? p->out : p->in;
  for (size_t n = 0; n < p->n; n++)
    for (size_t i = 0; i < small[0] * small[1] * small[2]; i++)
      for (size_t tap = 0; tap < taps; tap++) {
        size_t a[3] = {i / small[2] / small[1], i / small[2] % small[1], i % small[2]}, b[3];
        size_t kk[3] = {tap / p->k / p->k, tap / p->k % p->k, tap % p->k};
        bool inside = true;
        for (int x = 0; x < 3; x++) {
          b[x] = a[x] * p->s + kk[x] - s->pad[x];
          inside = inside && b[x] < large[x];
        }
        if (!inside) continue;
        const size_t *ia = p->transposed ? a : b, *oa = p->transposed ? b : a;
        const float *x = at(&s->in, n, ia[0], ia[1], ia[2]);
        const float *dy = at(&s->grad_out, n, oa[0], oa[1], oa[2]);
        size_t ip = ((n * p->in[0] + ia[0]) * p->in[1] + ia[1]) * p->in[2] + ia[2];
        size_t op = ((n * p->out[0] + oa[0]) * p->out[1] + oa[1]) * p->out[2] + oa[2];
        for (size_t o = 0; o < p->co; o++)
          for (size_t c = 0; c < p->ci; c++) {
            size_t w = (o * taps + tap) * p->ci + c;
            r->out[op * p->co + o] += (double)s->weight[w] * (double)x[c];
            r->grad_in[ip * p->ci + c] += (double)s->weight[w] * (double)dy[o];
            r->grad_weight[w] += (double)x[c] * (double)dy[o];
          }
      }
}

static float *dense(const struct vn_tensor *t) {
  float *all = malloc(pixels(t) * t->dim[VN_C] * sizeof *all);
  for (size_t i = 0; i < pixels(t); i++)
    memcpy(all + i * t->dim[VN_C], (float *)t->data + i * t->stride, t->dim[VN_C] * sizeof *all);
  return all;
}

static void conv_try(const struct vnt_machine *m, const struct problem *p) {
  size_t weights = p->co * p->k * p->k * p->k * p->ci;
  struct box in = box_make(p->n, p->in, p->ci, p->slices, true);
  struct box out = box_make(p->n, p->out, p->co, p->slices, false);
  struct box grad_in = box_make(p->n, p->in, p->ci, p->slices, p->add);
  struct box grad_out = box_make(p->n, p->out, p->co, p->slices, true);
  float *weight = malloc(weights * 4), *grad = malloc(weights * 4), *bias = malloc(p->co * 4);
  struct vnt_conv_spec s = {.transposed = p->transposed,
                            .in = in.t,
                            .out = out.t,
                            .grad_in = grad_in.t,
                            .grad_out = grad_out.t,
                            .weight = weight,
                            .bias = p->bias ? bias : NULL,
                            .grad_weight = grad,
                            .add_grad_in = p->add};
  for (int i = 0; i < 3; i++) {
    s.kernel[i] = p->k;
    s.stride[i] = p->s;
    s.pad[i] = p->s == 1 ? p->k / 2 : 0;
  }
  struct passes r = {calloc(pixels(&out.t) * p->co, 8), calloc(pixels(&in.t) * p->ci, 8),
                     calloc(weights, 8)};
  struct vnt_conv *conv;
  struct vn_diag diag;
  for (size_t i = 0; i < p->co; i++) bias[i] = real();
  if (vnt_conv_open(m, &s, &conv, &diag)) fail_msg("%s", diag.text);
  for (size_t i = 0; i < weights; i++) weight[i] = real();
  float *before = dense(&grad_in.t);
  for (size_t i = 0; p->add && i < pixels(&in.t) * p->ci; i++) r.grad_in[i] = (double)before[i];
  for (size_t i = 0; p->bias && i < pixels(&out.t) * p->co; i++) r.out[i] = (double)bias[i % p->co];
  reference(p, &s, &r);
  void *workspace = vnt_memory(vnt_conv_bytes(conv));
  vnt_conv_forward(conv, workspace);
  vnt_conv_backward(conv, workspace);
  float *have_out = dense(&out.t), *have_in = dense(&grad_in.t);
  double e[3] = {error_of(have_out, r.out, pixels(&out.t) * p->co),
                 error_of(have_in, r.grad_in, pixels(&in.t) * p->ci),
                 error_of(grad, r.grad_weight, weights)};
  for (int i = 0; i < 3; i++)
    if (!(e[i] < 1e-4))
      fail_msg("%zu x %zux%zux%zu, %zu -> %zu, kernel %zu, stride %zu%s: pass %d is off by %g (%s)",
               p->n, p->in[0], p->in[1], p->in[2], p->ci, p->co, p->k, p->s,
               p->transposed ? ", transposed" : "", i, e[i], vnt_conv_name(conv));
  vnt_conv_close(&conv);
  box_free(&in);
  box_free(&out);
  box_free(&grad_in);
  box_free(&grad_out);
  free(workspace), free(weight), free(grad), free(bias), free(before), free(have_out),
      free(have_in);
  free(r.out), free(r.grad_in), free(r.grad_weight);
}

static struct problem problem_draw(void) {
  static const size_t channels[] = {1, 2, 3, 4, 8, 12, 16, 17, 33};
  struct problem p = {.n = 1 + noise(2), .slices = noise(2), .bias = noise(2), .add = noise(2)};
  p.ci = channels[noise(9)];
  p.co = channels[noise(9)];
  int kind = (int)noise(5);
  p.k = kind == 0 ? 5 : kind == 1 ? 3 : kind == 2 ? 1 : 2;
  p.s = kind > 2 ? 2 : 1;
  p.transposed = kind == 4;
  for (int i = 0; i < 3; i++) {
    size_t size = 1 + noise(kind == 0 ? 14 : 9);
    p.in[i] = kind == 3 ? 2 * size : size;
    p.out[i] = kind == 3 ? size : kind == 4 ? 2 * size : size;
  }
  return p;
}

static void machines(void (*fn)(const struct vnt_machine *m)) {
#define NAME(isa) #isa,
  static const char *const isas[] = {VN_EACH_ISA(NAME)};
  for (size_t i = 0; i < sizeof isas / sizeof *isas; i++) {
    struct vnt_machine m;
    struct vn_diag diag;
    noise_state = 1;
    if (vnt_machine_open(isas[i], 2, &m, &diag) == VN_OK) fn(&m);
    vnt_machine_close(&m);
  }
}

static void convolutions(const struct vnt_machine *m) {
  for (int i = 0; i < 120; i++) {
    struct problem p = problem_draw();
    conv_try(m, &p);
  }
}

static void gradients_of_convolutions(void **state) {
  (void)state;
  machines(convolutions);
}

/* ---- element by element ---- */

static double act_of(const struct vnt_act *a, double x, size_t c) {
  if (x > 0) return x;
  return a->kind == VN_ACT_ELU ? (double)a->alpha * expm1(x) : (double)a->slope[c] * x;
}

static void activations(const struct vnt_machine *m) {
  for (int round = 0; round < 20; round++) {
    size_t dhw[3] = {1 + noise(9), 1 + noise(20), 1 + noise(40)}, c = 1 + noise(70);
    float slope[70];
    for (size_t i = 0; i < c; i++) slope[i] = real();
    struct vnt_act act = {round % 2 ? VN_ACT_ELU : VN_ACT_PRELU, slope, 1.25f};
    bool add = noise(2);
    struct box x = box_make(2, dhw, c, true, true), y = box_make(2, dhw, c, false, false);
    struct box dy = box_make(2, dhw, c, false, true), dx = box_make(2, dhw, c, true, true);
    float *before = dense(&dx.t), *vx = dense(&x.t), *vdy = dense(&dy.t);
    double *scratch = malloc(vnt_sums_bytes(&x.t)), bias[70], slopes[70];
    double want_bias[70] = {0}, want_slope[70] = {0};
    size_t elems = pixels(&x.t) * c;
    double *want_y = malloc(elems * 8), *want_dx = malloc(elems * 8);
    for (size_t i = 0; i < elems; i++) {
      double v = (double)vx[i], h = 1e-6;
      want_y[i] = act_of(&act, v, i % c);
      double slope_here = (act_of(&act, v + h, i % c) - act_of(&act, v - h, i % c)) / (2 * h);
      if (fabs(v) < 1e-5)
        slope_here = v > 0 ? 1 : act.kind == VN_ACT_ELU ? 1.25 : (double)slope[i % c];
      want_dx[i] = slope_here * (double)vdy[i] + (add ? (double)before[i] : 0);
      want_bias[i % c] += slope_here * (double)vdy[i];
      if (v <= 0) want_slope[i % c] += v * (double)vdy[i];
    }
    vnt_act_forward(m, &act, &x.t, &y.t);
    vnt_act_backward(m, &act, &y.t, &dy.t, &dx.t, add, scratch, bias,
                     act.kind == VN_ACT_PRELU ? slopes : NULL);
    float *vy = dense(&y.t), *vdx = dense(&dx.t);
    assert_true(error_of(vy, want_y, elems) < 1e-6 && error_of(vdx, want_dx, elems) < 1e-5);
    for (size_t i = 0; i < c; i++) {
      double scale = sqrt((double)(elems / c));
      assert_true(fabs(bias[i] - want_bias[i]) < 1e-4 * scale);
      assert_true(act.kind == VN_ACT_ELU || fabs(slopes[i] - want_slope[i]) < 1e-4 * scale);
    }
    free(before), free(vx), free(vdy), free(vy), free(vdx), free(scratch), free(want_y),
        free(want_dx);
    box_free(&x), box_free(&y), box_free(&dy), box_free(&dx);
  }
}

static void gradients_of_activations(void **state) {
  (void)state;
  machines(activations);
}

static void sums(const struct vnt_machine *m) {
  for (int round = 0; round < 12; round++) {
    size_t dhw[3] = {3, 1 + noise(20), 1 + noise(30)}, from = 1 + noise(4),
           to = from * (1 + noise(5));
    struct box x = box_make(1, dhw, from, true, true), y = box_make(1, dhw, to, true, true);
    struct box dx = box_make(1, dhw, from, false, true);
    float *vx = dense(&x.t), *old = dense(&y.t), *vdx = dense(&dx.t);
    vnt_add_forward(m, &x.t, &y.t, true);
    float *vy = dense(&y.t);
    for (size_t i = 0; i < pixels(&y.t) * to; i++)
      assert_true(fabsf(vy[i] - old[i] - vx[i / to * from + i % to % from]) < 1e-6f);
    vnt_add_backward(m, &y.t, &dx.t, true);
    float *new = dense(&dx.t);
    for (size_t i = 0; i < pixels(&y.t) * from; i++) {
      double want = (double)vdx[i];
      for (size_t k = i % from; k < to; k += from) want += (double)vy[i / from * to + k];
      assert_true(fabs((double)new[i] - want) < 1e-5);
    }
    free(vx), free(old), free(vdx), free(vy), free(new);
    box_free(&x), box_free(&y), box_free(&dx);
  }
}

static void gradients_of_sums(void **state) {
  (void)state;
  machines(sums);
}

/* BatchNorm as a function of everything, in double: sum of weights * output. */
static double norm_loss(const double *x, const struct vnt_norm *norm, const float *w, size_t n,
                        size_t c) {
  const float *g = norm->scale, *b = norm->shift;
  const double eps = norm->epsilon, t = norm->settled;
  double loss = 0;
  for (size_t k = 0; k < c; k++) {
    double mean = 0, var = 0;
    for (size_t i = 0; i < n; i++) mean += x[i * c + k] / (double)n;
    for (size_t i = 0; i < n; i++) var += (x[i * c + k] - mean) * (x[i * c + k] - mean) / (double)n;
    const double inv = (1 - t) / sqrt(var + eps) + t / sqrt((double)norm->running_var[k] + eps);
    mean = (1 - t) * mean + t * (double)norm->running_mean[k];
    for (size_t i = 0; i < n; i++)
      loss += (double)w[i * c + k] * ((double)g[k] * (x[i * c + k] - mean) * inv + (double)b[k]);
  }
  return loss;
}

/* Of the batch's statistics alone, and of those that are on their way to the running ones. */
static void norms(const struct vnt_machine *m) {
  for (int round = 0; round < 6; round++) {
    const double t = round % 3 == 0 ? 0 : round % 3 == 1 ? 0.25 : 0.9;
    size_t dhw[3] = {2, 3 + noise(3), 4 + noise(40)}, c = 1 + noise(5);
    float g[5], b[5], rm[5] = {0}, rv[5] = {1, 1, 1, 1, 1}, own[10], used[10];
    for (int i = 0; i < 5; i++) g[i] = 1 + real() / 2, b[i] = real();
    struct vnt_norm norm = {g, b, rm, rv, own, own + 5, used, used + 5, 1e-5, 0.1, t};
    struct box x = box_make(2, dhw, c, true, true), y = box_make(2, dhw, c, false, false);
    struct box dy = box_make(2, dhw, c, false, true), dx = box_make(2, dhw, c, false, false);
    for (size_t i = 0; i < pixels(&x.t); i++) /* a mean far from 0, as images have */
      for (size_t k = 0; k < c; k++) ((float *)x.t.data)[i * x.t.stride + k] += 3;
    size_t n = pixels(&x.t), elems = n * c;
    double *scratch = malloc(vnt_sums_bytes(&x.t)), gs[5], gb[5];
    float *vx = dense(&x.t), *w = dense(&dy.t);
    double *wide = malloc(elems * 8), *want = malloc(elems * 8);
    for (size_t i = 0; i < elems; i++) wide[i] = (double)vx[i];
    vnt_norm_forward(m, &norm, &x.t, &y.t, NULL, scratch);
    for (size_t i = 0; i < elems; i++) {
      double h = 1e-5, keep = wide[i];
      wide[i] = keep + h;
      double up = norm_loss(wide, &norm, w, n, c);
      wide[i] = keep - h;
      want[i] = (up - norm_loss(wide, &norm, w, n, c)) / (2 * h);
      wide[i] = keep;
    }
    vnt_norm_backward(m, &norm, &x.t, &dy.t, &dx.t, false, NULL, scratch, gs, gb);
    float *have = dense(&dx.t), *vy = dense(&y.t);
    assert_true(error_of(have, want, elems) < 1e-4);
    for (size_t k = 0; k < c; k++) {
      double mu = 0, var = 0, bias = 0, scale = 0;
      for (size_t i = 0; i < n; i++) mu += wide[i * c + k] / (double)n;
      for (size_t i = 0; i < n; i++) var += pow(wide[i * c + k] - mu, 2) / (double)n;
      const double used_mu = (1 - t) * mu + t * (double)rm[k];
      const double used_inv = (1 - t) / sqrt(var + 1e-5) + t / sqrt((double)rv[k] + 1e-5);
      for (size_t i = 0; i < n; i++) {
        double hat = (wide[i * c + k] - used_mu) * used_inv;
        bias += (double)w[i * c + k];
        scale += (double)w[i * c + k] * hat;
        assert_true(fabs((double)vy[i * c + k] - ((double)g[k] * hat + (double)b[k])) < 1e-5);
      }
      assert_true(fabs(gs[k] - scale) < 1e-3 && fabs(gb[k] - bias) < 1e-4);
      assert_true(fabs((double)rm[k] - 0.1 * mu) < 1e-6);
      assert_true(fabs((double)rv[k] - (0.9 + 0.1 * var * (double)n / (double)(n - 1))) < 1e-5);
    }
    free(scratch), free(vx), free(w), free(wide), free(want), free(have), free(vy);
    box_free(&x), box_free(&y), box_free(&dy), box_free(&dx);
  }
}

/* Frozen, a norm is what its running statistics say, and each voxel stands alone. */
static void frozen_norms(const struct vnt_machine *m) {
  enum { CHANNELS = 5 };
  const size_t dhw[3] = {3, 4, 9};
  float g[CHANNELS], b[CHANNELS], rm[CHANNELS], rv[CHANNELS], own[2 * CHANNELS], used[2 * CHANNELS];
  for (int i = 0; i < CHANNELS; i++)
    g[i] = 1 + real() / 2, b[i] = real(), rm[i] = real(), rv[i] = 2 + real();
  struct vnt_norm norm = {g, b, rm, rv, own, own + CHANNELS, used, used + CHANNELS, 1e-5, 0.1, 1};
  struct box x = box_make(2, dhw, CHANNELS, true, true),
             y = box_make(2, dhw, CHANNELS, false, false);
  struct box dy = box_make(2, dhw, CHANNELS, false, true);
  struct box dx = box_make(2, dhw, CHANNELS, false, false);
  const size_t n = pixels(&x.t);
  double *scratch = malloc(vnt_sums_bytes(&x.t)), gs[CHANNELS], gb[CHANNELS];
  float before[2 * CHANNELS], *vx = dense(&x.t), *w = dense(&dy.t);
  memcpy(before, rm, sizeof rm), memcpy(before + CHANNELS, rv, sizeof rv);
  vnt_norm_forward(m, &norm, &x.t, &y.t, NULL, scratch);
  vnt_norm_backward(m, &norm, &x.t, &dy.t, &dx.t, false, NULL, scratch, gs, gb);
  float *vy = dense(&y.t), *have = dense(&dx.t);
  for (size_t k = 0; k < CHANNELS; k++) {
    const double by = 1 / sqrt((double)rv[k] + 1e-5);
    double bias = 0, scale = 0;
    for (size_t i = k; i < n * CHANNELS; i += CHANNELS) {
      const double hat = ((double)vx[i] - (double)rm[k]) * by;
      bias += (double)w[i];
      scale += (double)w[i] * hat;
      assert_true(fabs((double)vy[i] - ((double)g[k] * hat + (double)b[k])) < 1e-5);
      assert_true(fabs((double)have[i] - (double)w[i] * (double)g[k] * by) < 1e-5);
    }
    assert_true(fabs(gs[k] - scale) < 1e-3 && fabs(gb[k] - bias) < 1e-4);
  }
  assert_memory_equal(before, rm, sizeof rm);
  assert_memory_equal(before + CHANNELS, rv, sizeof rv);
  free(scratch), free(vx), free(w), free(vy), free(have);
  box_free(&x), box_free(&y), box_free(&dy), box_free(&dx);
}

static void gradients_of_norms(void **state) {
  (void)state;
  machines(norms);
  machines(frozen_norms);
}

/* ---- threads ---- */

static void threads_change_nothing(void **state) {
  (void)state;
  float *first = NULL;
  size_t weights = 24 * 125 * 20;
  for (size_t threads = 1; threads <= 4; threads++) {
    struct vnt_machine m;
    struct vn_diag diag;
    struct vnt_conv *conv;
    assert_int_equal(vnt_machine_open(NULL, threads, &m, &diag), VN_OK);
    noise_state = 5;
    const size_t dhw[3] = {18, 21, 33};
    struct box in = box_make(2, dhw, 20, false, true), out = box_make(2, dhw, 24, false, false);
    struct box gi = box_make(2, dhw, 20, false, false), go = box_make(2, dhw, 24, false, true);
    float *weight = malloc(weights * 4), *grad = malloc(weights * 4);
    for (size_t i = 0; i < weights; i++) weight[i] = real();
    struct vnt_conv_spec s = {.in = in.t,
                              .out = out.t,
                              .grad_in = gi.t,
                              .grad_out = go.t,
                              .kernel = {5, 5, 5},
                              .stride = {1, 1, 1},
                              .pad = {2, 2, 2},
                              .weight = weight,
                              .grad_weight = grad};
    assert_int_equal(vnt_conv_open(&m, &s, &conv, &diag), VN_OK);
    void *workspace = vnt_memory(vnt_conv_bytes(conv));
    vnt_conv_forward(conv, workspace);
    vnt_conv_backward(conv, workspace);
    free(workspace);
    size_t a = pixels(&out.t) * 24, b = pixels(&gi.t) * 20;
    float *all = malloc((a + b + weights) * 4);
    memcpy(all, out.t.data, a * 4);
    memcpy(all + a, gi.t.data, b * 4);
    memcpy(all + a + b, grad, weights * 4);
    if (first) {
      assert_memory_equal(all, first, (a + b + weights) * 4);
      free(all);
    } else {
      first = all;
    }
    vnt_conv_close(&conv);
    free(weight), free(grad);
    box_free(&in), box_free(&out), box_free(&gi), box_free(&go);
    vnt_machine_close(&m);
  }
  free(first);
}

/* ---- speed ---- */

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void bench(void) {
  static const size_t cases[][4] = {{1, 96, 8, 8},    {1, 96, 16, 16},   {2, 64, 16, 16},
                                    {2, 64, 32, 32},  {1, 48, 16, 16},   {1, 48, 32, 32},
                                    {1, 24, 64, 64},  {1, 12, 128, 128}, {1, 6, 128, 128},
                                    {2, 4, 256, 256}, {2, 64, 1, 16}};
  struct vnt_machine m;
  struct vn_diag diag;
  vnt_machine_open(NULL, 2, &m, &diag);
  printf("  n  grid   in  out   forward         data           weight (GF/s of direct "
         "convolution, packing included)\n");
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    const size_t *c = cases[i], dhw[3] = {c[1], c[1], c[1]}, weights = c[3] * 125 * c[2];
    struct box in = box_make(c[0], dhw, c[2], false, true),
               out = box_make(c[0], dhw, c[3], false, false);
    struct box gi = box_make(c[0], dhw, c[2], false, false),
               go = box_make(c[0], dhw, c[3], false, true);
    float *weight = calloc(weights, 4), *grad = malloc(weights * 4);
    struct vnt_conv_spec s = {.in = in.t,
                              .out = out.t,
                              .grad_in = gi.t,
                              .grad_out = go.t,
                              .kernel = {5, 5, 5},
                              .stride = {1, 1, 1},
                              .pad = {2, 2, 2},
                              .weight = weight,
                              .grad_weight = grad};
    struct vnt_conv *conv;
    double best[2] = {1e9, 1e9};
    if (vnt_conv_open(&m, &s, &conv, &diag)) printf("%s\n", diag.text);
    void *workspace = vnt_memory(vnt_conv_bytes(conv));
    double macs = (double)pixels(&in.t) * 125 * (double)(c[2] * c[3]) * 2e-9;
    for (int turn = 0; turn < 5; turn++) {
      double t0 = now();
      vnt_conv_forward(conv, workspace);
      double t1 = now();
      vnt_conv_backward(conv, workspace);
      double t2 = now();
      best[0] = fmin(best[0], t1 - t0);
      best[1] = fmin(best[1], t2 - t1);
    }
    s.grad_in.data = NULL;
    struct vnt_conv *alone;
    vnt_conv_open(&m, &s, &alone, &diag);
    double weight_only = 1e9;
    for (int turn = 0; turn < 5; turn++) {
      double t0 = now();
      vnt_conv_backward(alone, workspace);
      weight_only = fmin(weight_only, now() - t0);
    }
    printf("%3zu %4zu^3 %4zu %4zu %6.0f %4.1fms %6.0f %4.1fms %6.0f %4.1fms  %s\n", c[0], c[1],
           c[2], c[3], macs / best[0], best[0] * 1e3, macs / (best[1] - weight_only),
           (best[1] - weight_only) * 1e3, macs / weight_only, weight_only * 1e3,
           vnt_conv_name(conv));
    free(workspace);
    vnt_conv_close(&conv);
    vnt_conv_close(&alone);
    free(weight), free(grad);
    box_free(&in), box_free(&out), box_free(&gi), box_free(&go);
  }
  vnt_machine_close(&m);
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "--bench") == 0) {
    bench();
    return 0;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(gradients_of_convolutions), cmocka_unit_test(gradients_of_activations),
      cmocka_unit_test(gradients_of_sums),         cmocka_unit_test(gradients_of_norms),
      cmocka_unit_test(threads_change_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
