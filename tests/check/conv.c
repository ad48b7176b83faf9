/* Random convolutions: a problem that the family covers, run between fences, against the oracle. */
#include "check.h"

#include "cost.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_MACS = 4000000, MOST_EDGE = 20, FFT_ROUND = VN_FFT_TILES * VN_FFT_TILE };

struct problem {
  struct fenced_tensor in, out, residual;
  struct fence weight, bias, slope[2];
  struct vn_conv conv;
  float *residual_values; /* n d h w c, or NULL */
};

/* ---- the shape ---- */

struct shape {
  size_t n, in, out; /* channels per group */
  size_t groups, kernel[3], stride[3], dilation[3], pad[3];
  size_t narrow[3], wide[3]; /* the grid at the strided end, and the other */
};

static bool is(const struct family *f, const char *name) {
  return !strcmp(f->name, name);
}

static void shape_taps(const struct family *f, struct random *r, struct shape *s) {
  const bool tiles = is(f, "winograd") || is(f, "lean") || is(f, "fft"),
             block = is(f, "down") || is(f, "up");
  const bool own = is(f, "direct") || is(f, "depthwise");
  const bool any = own || is(f, "ref") || is(f, "ref-up") || is(f, "xnnpack") || is(f, "spread");
  const size_t k = random_below(r, 2) && !is(f, "fft") && !is(f, "lean") ? 3 : 5;
  for (int i = 0; i < 3; i++) {
    s->stride[i] = s->dilation[i] = 1;
    s->pad[i] = 0;
    s->kernel[i] = is(f, "pointwise") ? 1 : tiles ? k : random_in(r, 1, block ? 3 : own ? 7 : 5);
    if (block && random_below(r, 2)) s->kernel[i] = 2;
    if (block) s->stride[i] = s->kernel[i];
    if (any) s->stride[i] = random_in(r, 1, 3);
    if (any && !is(f, "spread")) s->dilation[i] = random_in(r, 1, own ? 3 : 2);
    if (is(f, "winograd") && random_below(r, 4) == 0) s->dilation[i] = random_in(r, 2, 5);
  }
  s->groups = any && random_below(r, 3) == 0 ? random_in(r, 2, 3) : 1;
}

/* Channels per group, and groups of one channel. */
static void shape_channels(const struct family *f, struct random *r, struct shape *s) {
  s->in = random_channels(r, 300);
  s->out = random_channels(r, 300);
  if (is(f, "winograd") && random_below(r, 3) == 0) s->in = random_in(r, 1, 9);
  if (is(f, "pointwise") && random_below(r, 4) == 0) s->out = random_in(r, 1, 3);
  if (!is(f, "depthwise") && !(is(f, "direct") && random_below(r, 6) == 0)) return;
  s->groups = random_channels(r, 300);
  s->in = s->out = 1;
}

/* Padding before and after each axis decides the wide end's size; block kernels: remainders. */
static void shape_grid(const struct family *f, struct random *r, struct shape *s) {
  const bool block = is(f, "down") || is(f, "up") || is(f, "pointwise");
  for (int i = 0; i < 3; i++) {
    const size_t reach = (s->kernel[i] - 1) * s->dilation[i], most = reach + (is(f, "ref") ? 2 : 0);
    size_t need = (s->narrow[i] - 1) * s->stride[i] + reach + 1, after = 0;
    if (block) {
      s->wide[i] = need + (is(f, "down") ? random_below(r, s->stride[i]) : 0);
      continue;
    }
    s->pad[i] = random_below(r, 3) ? reach / 2 : random_in(r, 0, most);
    after = random_below(r, 3) ? reach / 2 : random_in(r, 0, most);
    if (s->pad[i] >= need) s->pad[i] = need - 1;
    if (s->pad[i] + after >= need) after = need - 1 - s->pad[i];
    s->wide[i] = need - s->pad[i] - after + random_below(r, s->stride[i]);
  }
}

static size_t shape_macs(const struct shape *s) {
  size_t macs = s->n * s->groups * s->in * s->out;
  for (int i = 0; i < 3; i++) macs *= s->kernel[i] * s->narrow[i];
  return macs;
}

static struct shape shape_random(const struct family *f, struct random *r) {
  struct shape s = {.n = random_in(r, 1, 2)};
  shape_taps(f, r, &s);
  shape_channels(f, r, &s);
  for (int i = 0; i < 3; i++) s.narrow[i] = random_in(r, 1, MOST_EDGE);
  const size_t along = is(f, "fft") ? random_below(r, 4) : 3; /* a grid of many tiles; 3: none */
  if (along < 3) s.narrow[along] = random_in(r, FFT_ROUND + 1, 18 * MOST_EDGE);
  size_t *shrinkable[] = {&s.in, &s.out, &s.narrow[0], &s.narrow[1], &s.narrow[2], &s.n, &s.groups};
  while (shape_macs(&s) > MOST_MACS) {
    const size_t i = random_below(r, s.groups > 3 ? 7 : 6);
    if (along == 2 && i == 4) continue; /* rows of few strips are what several rounds share */
    *shrinkable[i] = random_in(r, (*shrinkable[i] + 1) / 2, *shrinkable[i]);
  }
  shape_grid(f, r, &s);
  return s;
}

/* ---- the problem ---- */

static const float *values(struct fence *f, struct random *r, size_t n, float scale) {
  fence_open(f, n * sizeof(float), random_below(r, 2));
  float *v = (float *)f->data;
  for (size_t i = 0; i < n; i++) v[i] = random_real(r) * scale;
  fence_lock(f);
  return v;
}

static void fill(struct fenced_tensor *t, struct random *r) {
  for (size_t i = 0; i < tensor_elems(&t->t); i++)
    ((float *)t->t.data)[tensor_at(&t->t, i)] = random_real(r);
}

/* The residual: none, one of all channels, one that repeats, or the output itself. */
static void residual_random(struct problem *p, struct random *r) {
  size_t dim[VN_AXES];
  struct fenced_tensor *from = &p->residual;
  const size_t kind = random_below(r, 4), channels = p->out.t.dim[VN_C];
  memcpy(dim, p->out.t.dim, sizeof dim);
  if (kind == 0) return;
  if (kind == 1) do
      dim[VN_C] = random_in(r, 1, random_below(r, 2) ? 1 : channels);
    while (channels % dim[VN_C]);
  if (kind == 3)
    from = &p->out;
  else
    tensor_open(from, r, dim);
  fill(from, r);
  p->residual_values = malloc(tensor_elems(&from->t) * sizeof(float));
  for (size_t i = 0; i < tensor_elems(&from->t); i++)
    p->residual_values[i] = ((float *)from->t.data)[tensor_at(&from->t, i)];
  if (kind != 3) fence_lock(&from->memory);
  p->conv.epilogue.residual = from->t;
}

static void epilogue_random(struct problem *p, struct random *r) {
  const size_t channels = p->out.t.dim[VN_C];
  if (random_below(r, 3)) p->conv.epilogue.bias = values(&p->bias, r, channels, 1);
  for (int i = 0; i < 2; i++) {
    const uint32_t kind = (uint32_t)random_below(r, VN_ACT_LEAKY);
    p->conv.epilogue.act[i].kind = kind;
    p->conv.epilogue.act[i].alpha = kind == VN_ACT_ELU ? 0.75f : NAN;
    if (kind == VN_ACT_PRELU) p->conv.epilogue.act[i].slope = values(&p->slope[i], r, channels, 2);
  }
  residual_random(p, r);
}

static void problem_random(const struct family *f, struct random *r, struct problem *p) {
  static const size_t tiles[] = {1, 2, 4, 4, 6};
  const bool usual = random_below(r, 3) == 0; /* the tile that most layers have */
  const struct shape s = shape_random(f, r);
  const size_t *in = f->transposed ? s.narrow : s.wide, *out = f->transposed ? s.wide : s.narrow;
  const size_t in_dim[VN_AXES] = {s.n, s.in * s.groups, in[0], in[1], in[2]};
  const size_t out_dim[VN_AXES] = {s.n, s.out * s.groups, out[0], out[1], out[2]};
  const size_t taps = s.kernel[0] * s.kernel[1] * s.kernel[2];
  *p = (struct problem){.conv = {.groups = s.groups}};
  tensor_open(&p->in, r, in_dim);
  tensor_open(&p->out, r, out_dim);
  fill(&p->in, r);
  fence_lock(&p->in.memory);
  p->conv.in = p->in.t;
  p->conv.out = p->out.t;
  p->conv.weight =
      values(&p->weight, r, out_dim[VN_C] * taps * s.in, 1.7f / sqrtf((float)(taps * s.in)));
  for (int i = 0; i < 3; i++) {
    p->conv.kernel[i] = s.kernel[i];
    p->conv.stride[i] = s.stride[i];
    p->conv.dilation[i] = s.dilation[i];
    p->conv.pad[i] = s.pad[i];
    p->conv.tile[i] = usual ? 4 : tiles[random_below(r, s.kernel[0] == 3 ? 5 : 4)];
  }
  if (s.in < 10 && random_below(r, 2)) /* which has a kernel of its own up to 8 */
    for (int i = 0; i < 3; i++) p->conv.tile[i] = i ? 4 : 1;
  epilogue_random(p, r);
}

static void problem_close(struct problem *p) {
  fence_close(&p->in.memory);
  fence_close(&p->out.memory);
  fence_close(&p->residual.memory);
  fence_close(&p->weight);
  fence_close(&p->bias);
  for (int i = 0; i < 2; i++) fence_close(&p->slope[i]);
  free(p->residual_values);
}

static void describe(const struct problem *p) {
  const struct vn_conv *c = &p->conv;
  const struct vn_epilogue *e = &c->epilogue;
  const size_t used = strlen(check_case);
  snprintf(
      check_case + used, sizeof check_case - used,
      " c %zu/%zu -> %zu/%zu g %zu, n %zu %zux%zux%zu -> %zux%zux%zu, k %zux%zux%zu "
      "s %zux%zux%zu p %zux%zux%zu d %zux%zux%zu tile %zux%zux%zu%s, %s, residual %zu/%zu%s, %s",
      c->in.dim[VN_C], c->in.stride, c->out.dim[VN_C], c->out.stride, c->groups, c->in.dim[VN_N],
      c->in.dim[VN_D], c->in.dim[VN_H], c->in.dim[VN_W], c->out.dim[VN_D], c->out.dim[VN_H],
      c->out.dim[VN_W], c->kernel[0], c->kernel[1], c->kernel[2], c->stride[0], c->stride[1],
      c->stride[2], c->pad[0], c->pad[1], c->pad[2], c->dilation[0], c->dilation[1], c->dilation[2],
      c->tile[0], c->tile[1], c->tile[2], e->bias ? ", bias" : "", vn_act_text(e->act[0].kind),
      e->residual.dim[VN_C], e->residual.stride, e->residual.data == c->out.data ? " in place" : "",
      vn_act_text(e->act[1].kind));
}

/* ---- the judgement ---- */

/* Plain sums: every element within a few roundings of what was added up. */
static const char *compare_sums(const struct problem *p, const struct oracle *o) {
  for (size_t i = 0; i < tensor_elems(&p->out.t); i++) {
    const double y = (double)((float *)p->out.t.data)[tensor_at(&p->out.t, i)];
    if (!(fabs(y - o->value[i]) <= 1e-6 * o->size[i] + 1e-37)) {
      const size_t used = strlen(check_case);
      snprintf(check_case + used, sizeof check_case - used, ": [%zu] %.9g instead of %.9g", i, y,
               o->value[i]);
      return "wrong result";
    }
  }
  return NULL;
}

/* How many of the products lie inside the input. */
static double share_inside(const struct vn_conv *c) {
  double share = 1;
  for (int i = 0; i < 3; i++) {
    size_t found = 0;
    const size_t n = c->out.dim[VN_D + i] * c->kernel[i];
    for (size_t k = 0; k < n; k++) {
      const size_t at = k / c->kernel[i] + k % c->kernel[i] * c->dilation[i];
      found += at >= c->pad[i] && at - c->pad[i] < c->in.dim[VN_D + i];
    }
    share *= (double)found / (double)n;
  }
  return share;
}

/* FFT: at each pixel alike, a part of the rms that the sum has on average. What the border cuts off
 * the sum it did not cut off the error. */
static void fft_error(const struct problem *p, const struct oracle *o, double *error) {
  const double inside = share_inside(&p->conv); /* 0: all that is seen is padding */
  const size_t n = tensor_elems(&p->out.t), pixels = tensor_pixels(&p->out.t) / p->out.t.dim[VN_N];
  double usual = 0;
  for (size_t i = 0; i < n; i++) usual += o->squares[i];
  usual = inside > 0 ? sqrt(usual / (double)n / inside) : 0;
  for (size_t i = 0; i < pixels; i++) error[i] = 1e-7 * usual;
}

/* Winograd, FFT: the error's rms, and the largest error, against what they should be, given for
 * each pixel of an item: half of it as a rule. Few outputs are not like the mean, nor is the one of
 * many for which all that is added up happens to be large; and epilogues round, too. */
static const char *compare_rms(const struct problem *p, const struct oracle *o,
                               const double *expected) {
  const size_t n = tensor_elems(&p->out.t), pixels = tensor_pixels(&p->out.t) / p->out.t.dim[VN_N];
  double error = 0, usual = 0, worst = 0, most = 0;
  for (size_t i = 0; i < n; i++) {
    const double y = (double)((float *)p->out.t.data)[tensor_at(&p->out.t, i)];
    const double away = fabs(y - o->value[i]);
    const double should = expected[i / p->out.t.dim[VN_C] % pixels] * o->gain[i];
    if (isnan(away)) return "NaN";
    error += away * away / (double)n;
    usual += should * should / (double)n;
    worst = fmax(worst, away);
    most = fmax(most, should);
  }
  if (sqrt(error) <= 1.5 * sqrt(usual) + 1e-7 && worst <= 16 * most + 1e-6) return NULL;
  const size_t used = strlen(check_case);
  snprintf(check_case + used, sizeof check_case - used,
           ": error rms %.3g where %.3g is usual, worst %.3g where %.3g", sqrt(error), sqrt(usual),
           worst, most);
  return "inexact";
}

/* These get their weights when they pack. */
static bool packs(const struct family *f) {
  return !is(f, "ref") && !is(f, "ref-up") && !is(f, "xnnpack");
}

/* Against the oracle, by what a kernel of that name can do. */
static const char *compare(const struct problem *p, const struct oracle *o, const char *name) {
  const bool winograd = !strncmp(name, "winograd", 8), lean = !strncmp(name, "lean", 4);
  struct vn_conv used = p->conv;
  if (!winograd && !lean && strncmp(name, "fft", 3)) return compare_sums(p, o);
  for (int i = 0; i < 3; i++)
    if (lean) used.tile[i] = 4;
  double *error = malloc(tensor_pixels(&p->out.t) * sizeof *error);
  if (winograd || lean)
    winograd_error(&used, lean, error);
  else
    fft_error(p, o, error);
  const char *fault = compare_rms(p, o, error);
  free(error);
  return fault;
}

static enum outcome judge(const struct family *family, struct problem *p, struct random *r) {
  struct vn_prepared prepared = {0};
  struct vn_diag diag = {""};
  struct vn_conv used = p->conv;
  if (packs(family)) used.weight = NULL;
  const enum vn_status status = family->conv(&used, &prepared, &diag);
  if (status == VN_E_UNSUPPORTED && diag.text[0]) return OUTCOME_DECLINED;
  if (status) {
    printf("FAIL %s: status %d (%s)\n", check_case, status, diag.text);
    return OUTCOME_WRONG;
  }
  memset(&used, 0xff, sizeof used); /* kernels keep pointers, not the struct */
  const char *fault = run_prepared(&prepared, &p->weight, &p->out, r);
  if (!fault) {
    struct oracle o;
    oracle_open(&o, tensor_elems(&p->out.t));
    oracle_conv(&p->conv, family->transposed, p->residual_values, &o);
    fault = compare(p, &o, prepared.name);
    oracle_close(&o);
  }
  if (fault) printf("FAIL %s: %s\n", check_case, fault);
  return fault ? OUTCOME_WRONG : OUTCOME_RIGHT;
}

enum outcome check_conv(const struct family *family, uint64_t seed) {
  struct random r = {seed};
  struct problem p;
  problem_random(family, &r, &p);
  describe(&p);
  const enum outcome outcome = judge(family, &p, &r);
  problem_close(&p);
  return outcome;
}
