/* Random problems for what training does element by element, on some of a tensor's pixels: between
 * fences, in place where allowed, against the same in double. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum op { PRELU, ELU, PRELU_BACK, ELU_BACK, AFFINE, SUM, AFFINE2, MOMENTS, OPS };
static const char *const names[OPS] = {"prelu",  "elu", "prelu_back", "elu_back",
                                       "affine", "sum", "affine2",    "moments"};

/* in: x and y as backward.h names what is read, in its order; out: what is written, perhaps in the
 * place of one of them. */
struct problem {
  enum op op;
  struct fenced_tensor in[2], out;
  struct fence row[3], sums;
  struct vn_pixels p;
  const float *rows[3]; /* one float for each channel, or NULL */
  float alpha;
  bool add, marked, alone; /* alone: moments of x, without y */
  size_t in_place;         /* in[in_place - 1]; 0: not */
  float *values[3];        /* what in and out hold, n d h w c */
};

/* ---- the problem ---- */

static bool sums_up(enum op op) {
  return op == PRELU_BACK || op == ELU_BACK || op == MOMENTS;
}

static size_t inputs(enum op op) {
  return op == PRELU || op == ELU || op == AFFINE ? 1 : 2;
}

static float *row_open(struct problem *p, struct random *r, int i) {
  fence_open(&p->row[i], p->p.channels * sizeof(float), random_below(r, 2));
  float *row = (float *)p->row[i].data;
  for (size_t c = 0; c < p->p.channels; c++) {
    row[c] = 2 * random_real(r);
    if (fabsf(row[c]) < 0.01f) row[c] = 0.5f;
  }
  p->rows[i] = row;
  return row;
}

static void rows_random(struct problem *p, struct random *r) {
  const bool prelu = p->op == PRELU || p->op == PRELU_BACK;
  if (prelu) {
    float *slope = row_open(p, r, 0);
    p->marked = random_below(r, 2);
    for (size_t c = 0; c < p->p.channels && !p->marked; c++) slope[c] = fabsf(slope[c]);
  }
  if (p->op == AFFINE || p->op == MOMENTS)
    for (int i = 0; i < (p->op == AFFINE ? 2 : 1); i++)
      if (random_below(r, 3)) row_open(p, r, i);
  if (p->op == AFFINE2)
    for (int i = 0; i < 3; i++) row_open(p, r, i);
  for (int i = 0; i < 3; i++)
    if (p->rows[i]) fence_lock(&p->row[i]);
}

static uint32_t bits_of(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/* What an activation may have yielded; with `marked`, the last bit tells the side. */
static float yielded(const struct problem *p, size_t channel, float x) {
  if (p->op == ELU_BACK) return x > 0 ? x : p->alpha * expm1f(x);
  const float slope = p->rows[0][channel], y = x > 0 ? x : slope * x;
  const uint32_t bits = (bits_of(y) & ~1u) | !(x > 0);
  float marked;
  memcpy(&marked, &bits, sizeof marked);
  return p->marked && slope < 0 ? marked : y;
}

static void fill(struct problem *p, struct random *r, int i, struct fenced_tensor *t) {
  const size_t n = tensor_elems(&t->t), channels = t->t.dim[VN_C];
  p->values[i] = malloc(n * sizeof(float));
  for (size_t k = 0; k < n; k++) {
    float x = 4 * random_real(r);
    if (random_below(r, 40) == 0) x = 0;
    if (i == 0 && (p->op == PRELU_BACK || p->op == ELU_BACK)) x = yielded(p, k % channels, x);
    ((float *)t->t.data)[tensor_at(&t->t, k)] = p->values[i][k] = x;
  }
}

/* Where the result goes: in backward passes of activations dx may be dy. */
static void place(struct problem *p, struct random *r, const size_t dim[VN_AXES]) {
  const bool back = p->op == PRELU_BACK || p->op == ELU_BACK;
  const bool may = p->op != AFFINE2 && p->op != MOMENTS;
  if (may && random_below(r, 3) == 0) {
    p->in_place = back ? 2 : random_in(r, 1, inputs(p->op));
    p->out = p->in[p->in_place - 1];
    p->in[p->in_place - 1].memory = (struct fence){0};
    return;
  }
  tensor_open(&p->out, r, dim);
  if (p->add) fill(p, r, 2, &p->out);
}

static void problem_random(struct random *r, struct problem *p) {
  const size_t dim[VN_AXES] = {random_in(r, 1, 2), random_channels(r, 200), random_in(r, 1, 6),
                               random_in(r, 1, 6), random_in(r, 1, 20)};
  const size_t pixels = dim[VN_N] * dim[VN_D] * dim[VN_H] * dim[VN_W];
  *p = (struct problem){.op = (enum op)random_below(r, OPS), .alpha = 0.75f};
  p->p.channels = dim[VN_C];
  p->p.begin = random_below(r, 2) ? 0 : random_below(r, pixels);
  p->p.end = random_below(r, 2) ? pixels : random_in(r, p->p.begin, pixels);
  p->alone = p->op == MOMENTS && random_below(r, 2);
  p->add = p->op != PRELU && p->op != ELU && p->op != SUM && p->op != MOMENTS && random_below(r, 2);
  rows_random(p, r);
  for (size_t i = 0; i < inputs(p->op); i++) {
    tensor_open(&p->in[i], r, dim);
    fill(p, r, (int)i, &p->in[i]);
  }
  place(p, r, dim);
  for (int i = 0; i < 2; i++)
    if (p->in[i].memory.map) fence_lock(&p->in[i].memory);
  fence_open(&p->sums, 2 * dim[VN_C] * sizeof(double), random_below(r, 2));
}

static void problem_close(struct problem *p) {
  for (int i = 0; i < 3; i++) {
    fence_close(&p->row[i]);
    free(p->values[i]);
  }
  fence_close(&p->in[0].memory);
  fence_close(&p->in[1].memory);
  fence_close(&p->out.memory);
  fence_close(&p->sums);
}

static void describe(const struct problem *p) {
  const size_t used = strlen(check_case), *a = p->in[0].t.dim;
  snprintf(
      check_case + used, sizeof check_case - used,
      " %s %zux%zux%zux%zux%zu/%zu, second /%zu, out /%zu, in place %zu, pixels %zu to %zu%s%s",
      names[p->op], a[0], a[1], a[2], a[3], a[4], p->in[0].t.stride, p->in[1].t.stride,
      p->out.t.stride, p->in_place, p->p.begin, p->p.end, p->add ? ", added" : "",
      p->marked ? ", marked" : "");
}

/* ---- the run ---- */

static void run(const struct vn_backward *k, const struct problem *p) {
  const struct vn_tensor *x = &p->in[0].t, *y = &p->in[1].t, *out = &p->out.t;
  double *sums = (double *)p->sums.data;
  const float *const *row = p->rows;
  memset(sums, 0, p->sums.bytes);
  if (p->op == PRELU) k->prelu(&p->p, x, row[0], p->marked, out);
  if (p->op == ELU) k->elu(&p->p, x, p->alpha, out);
  if (p->op == PRELU_BACK) k->prelu_back(&p->p, x, row[0], p->marked, y, out, p->add, sums);
  if (p->op == ELU_BACK) k->elu_back(&p->p, x, p->alpha, y, out, p->add, sums);
  if (p->op == AFFINE) k->affine(&p->p, x, row[0], row[1], out, p->add);
  if (p->op == SUM) k->sum(&p->p, x, y, out);
  if (p->op == AFFINE2) k->affine2(&p->p, x, row[0], y, row[1], row[2], out, p->add);
  if (p->op == MOMENTS) k->moments(&p->p, x, p->alone ? NULL : y, row[0], sums);
}

/* ---- the oracle ---- */

/* Element (i, c): its value and size, and what it adds to the channel's two sums. */
struct element {
  double value, size, first, first_size, second, second_size;
};

static double row_of(const struct problem *p, int i, size_t c, double otherwise) {
  return p->rows[i] ? (double)p->rows[i][c] : otherwise;
}

static struct element element(const struct problem *p, size_t i, size_t c) {
  const size_t at = i * p->p.channels + c;
  const double x = (double)p->values[0][at];
  const double y = p->alone || !p->values[1] ? x : (double)p->values[1][at];
  const double row = row_of(p, 0, c, 1), alpha = (double)p->alpha;
  struct element e = {.value = 0};
  if (p->op == PRELU) e.value = oracle_act(VN_ACT_PRELU, row, 0, x);
  if (p->op == ELU) e.value = oracle_act(VN_ACT_ELU, 0, alpha, x);
  if (p->op == PRELU_BACK) { /* x: what came out */
    const bool told = p->marked && row < 0;
    const bool high = told ? !(bits_of(p->values[0][at]) & 1) : x > 0;
    e.value = e.first = high ? y : row * y;
    e.second = high ? 0 : x * y;
  }
  if (p->op == ELU_BACK) e.value = e.first = x > 0 ? y : (x + alpha) * y;
  if (p->op == ELU_BACK && x <= 0) e.size = (fabs(x) + alpha) * fabs(y);
  if (p->op == AFFINE) e.value = row * x + row_of(p, 1, c, 0);
  if (p->op == AFFINE) e.size = fabs(row * x) + fabs(row_of(p, 1, c, 0));
  if (p->op == SUM) e.value = x + y;
  if (p->op == AFFINE2) {
    const double b = row_of(p, 1, c, 0) * y, d = row_of(p, 2, c, 0);
    e.value = row * x + b + d;
    e.size = fabs(row * x) + fabs(b) + fabs(d);
  }
  if (p->op == MOMENTS) {
    const double centre = row_of(p, 0, c, 0);
    e.first = x;
    e.second = x * (y - centre);
    e.second_size = fabs(x) * (fabs(y) + fabs(centre));
  }
  e.size += fabs(e.value);
  e.first_size = e.size + fabs(e.first);
  e.second_size += fabs(e.second);
  if (p->add) {
    const double before = (double)p->values[p->in_place ? p->in_place - 1 : 2][at];
    e.value += before;
    e.size += fabs(before);
  }
  return e;
}

/* ---- the judgement ---- */

static const char *wrong(size_t i, size_t c, double y, double x) {
  const size_t used = strlen(check_case);
  snprintf(check_case + used, sizeof check_case - used, ": [%zu][%zu] %.9g instead of %.9g", i, c,
           y, x);
  return "wrong result";
}

static const char *compare_values(const struct problem *p) {
  for (size_t i = p->p.begin; i < p->p.end && p->op != MOMENTS; i++)
    for (size_t c = 0; c < p->p.channels; c++) {
      const struct element e = element(p, i, c);
      const float y = ((float *)p->out.t.data)[i * p->out.t.stride + c];
      if (!(fabs((double)y - e.value) <= 1e-6 * e.size + 1e-37))
        return wrong(i, c, (double)y, e.value);
      const float x = p->values[0][i * p->p.channels + c];
      if (p->op == PRELU && p->marked && p->rows[0][c] < 0 && (bits_of(y) & 1) != !(x > 0))
        return "the mark is wrong";
    }
  return NULL;
}

static const char *compare_sums(const struct problem *p) {
  const double *sums = (double *)p->sums.data;
  for (size_t c = 0; c < p->p.channels && sums_up(p->op); c++) {
    double first = 0, second = 0, first_size = 0, second_size = 0;
    for (size_t i = p->p.begin; i < p->p.end; i++) {
      const struct element e = element(p, i, c);
      first += e.first;
      second += e.second;
      first_size += e.first_size;
      second_size += e.second_size;
    }
    if (!(fabs(sums[c] - first) <= 1e-6 * first_size + 1e-37)) return wrong(0, c, sums[c], first);
    const double y = sums[p->p.channels + c];
    if (!(fabs(y - second) <= 1e-6 * second_size + 1e-37)) return wrong(1, c, y, second);
  }
  return NULL;
}

/* Nothing but the channels of these pixels has changed. */
static bool rest_equal(const struct problem *p, const unsigned char *before) {
  const size_t words = p->out.memory.bytes / sizeof(uint32_t);
  for (size_t k = 0; k < words; k++) {
    const size_t i = k / p->out.t.stride, c = k % p->out.t.stride;
    const bool ours = p->op != MOMENTS && i >= p->p.begin && i < p->p.end && c < p->p.channels;
    if (!ours && memcmp(p->out.memory.data + 4 * k, before + 4 * k, 4)) return false;
  }
  return true;
}

static const char *run_twice(const struct vn_backward *k, struct problem *p) {
  const size_t bytes = p->out.memory.bytes;
  unsigned char *before = malloc(bytes + 1), *first = malloc(bytes + 1);
  double *sums = malloc(p->sums.bytes);
  const char *fault = NULL;
  memcpy(before, p->out.memory.data, bytes);
  run(k, p);
  memcpy(first, p->out.memory.data, bytes);
  memcpy(sums, p->sums.data, p->sums.bytes);
  memcpy(p->out.memory.data, before, bytes);
  run(k, p);
  if (memcmp(first, p->out.memory.data, bytes) || memcmp(sums, p->sums.data, p->sums.bytes))
    fault = "two runs differ";
  if (!rest_equal(p, before)) fault = "wrote beside the pixels";
  free(before);
  free(first);
  free(sums);
  return fault;
}

enum outcome check_pixels(const struct family *family, uint64_t seed) {
  struct random r = {seed};
  struct problem p;
  problem_random(&r, &p);
  describe(&p);
  const char *fault = run_twice(family->pixels, &p);
  if (!fault) fault = compare_values(&p);
  if (!fault) fault = compare_sums(&p);
  problem_close(&p);
  if (fault) printf("FAIL %s: %s\n", check_case, fault);
  return fault ? OUTCOME_WRONG : OUTCOME_RIGHT;
}
