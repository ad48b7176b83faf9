/* Random problems for every other op: with NaN, infinities and ties, in place where allowed. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct problem {
  struct vn_simple s;
  struct fenced_tensor in[2], out;
  struct fence scale, shift, slope;
  float *values[2]; /* what the inputs hold, n d h w c */
  bool second, special, in_place;
  size_t rarely; /* one problem in so many goes along other axes, or takes the last of equals */
};

/* On both sides of 1: a slope above it is legal, and no maximum. */
static const float *vector(struct fence *f, struct random *r, size_t n) {
  fence_open(f, n * sizeof(float), random_below(r, 2));
  for (size_t i = 0; i < n; i++) ((float *)f->data)[i] = 2 * random_real(r);
  fence_lock(f);
  return (float *)f->data;
}

/* Ties are frequent; special problems hold NaN and infinities, too. */
static float value(struct random *r, bool special, bool coarse) {
  static const float odd[] = {NAN, INFINITY, -INFINITY, 0.f, -0.f, 3e9f, -3e9f, 1e30f, -1e30f};
  if (special && random_below(r, 8) == 0) return odd[random_below(r, sizeof odd / sizeof *odd)];
  const float x = random_real(r) * (random_below(r, 4) ? 4.f : 40.f);
  return coarse ? roundf(x) : x;
}

static void fill(struct problem *p, struct random *r, int i, struct fenced_tensor *t) {
  const size_t n = tensor_elems(&t->t);
  const bool coarse = random_below(r, 2);
  p->values[i] = malloc(n * sizeof(float));
  for (size_t k = 0; k < n; k++) {
    float x = value(r, p->special, coarse);
    if (p->s.op == VN_OP_CAST && !p->s.to_i32) {
      const uint32_t word = (uint32_t)random_bits(r);
      memcpy(&x, &word, sizeof x);
    }
    memcpy(&p->values[i][k], &x, sizeof x);
    memcpy((float *)t->t.data + tensor_at(&t->t, k), &x, sizeof x);
  }
}

static bool has_axis(uint32_t op) {
  return op == VN_OP_SOFTMAX || op == VN_OP_LOGSOFTMAX || op == VN_OP_ARGMAX;
}

static void attributes_random(struct problem *p, struct random *r, const size_t dim[VN_AXES]) {
  struct vn_simple *s = &p->s;
  const int act = s->op == VN_OP_ADD;
  if (s->op == VN_OP_ACT) s->epilogue.act[0].kind = (uint32_t)random_in(r, 1, VN_ACT_LEAKY - 1);
  if (s->op == VN_OP_ADD) s->epilogue.act[1].kind = (uint32_t)random_below(r, VN_ACT_LEAKY);
  s->epilogue.act[act].alpha = s->epilogue.act[act].kind == VN_ACT_ELU ? 0.75f : NAN;
  if (s->epilogue.act[act].kind == VN_ACT_PRELU)
    s->epilogue.act[act].slope = vector(&p->slope, r, dim[VN_C]);
  if (s->op == VN_OP_AFFINE || s->op == VN_OP_INSTNORM) {
    s->scale = vector(&p->scale, r, dim[VN_C]);
    s->shift = vector(&p->shift, r, dim[VN_C]);
    s->epsilon = s->op == VN_OP_INSTNORM ? 1e-3f : 0;
  }
  if (has_axis(s->op)) {
    s->axis = random_below(r, p->rarely) ? VN_C : (uint32_t)random_below(r, VN_AXES);
    if (s->op == VN_OP_ARGMAX)
      s->select_last = random_below(r, p->rarely) == 0;
    else if (random_below(r, p->rarely) == 0)
      s->more_axes = (uint32_t)random_below(r, 1u << VN_AXES) & ~(1u << s->axis);
  }
}

static void copy_random(struct vn_simple *s, struct random *r, size_t dim[VN_AXES]) {
  size_t axis[VN_AXES] = {0, 1, 2, 3, 4}, out[VN_AXES];
  for (size_t a = VN_AXES; a-- > 1;) {
    const size_t j = random_below(r, a + 1), swap = axis[a];
    axis[a] = axis[j];
    axis[j] = swap;
  }
  for (int a = 0; a < VN_AXES; a++) {
    s->copy.in_axis[a] = axis[a];
    s->copy.in_start[a] = random_below(r, dim[axis[a]]);
    s->copy.extent[a] = random_in(r, 1, dim[axis[a]] + random_below(r, 3));
    s->copy.out_start[a] = random_below(r, 3);
    out[a] = s->copy.out_start[a] + s->copy.extent[a] + random_below(r, 2);
  }
  memcpy(dim, out, sizeof out);
}

static void second_random(struct problem *p, struct random *r, const size_t dim[VN_AXES]) {
  size_t small[VN_AXES];
  memcpy(small, dim, sizeof small);
  if (random_below(r, 4) == 0)
    for (int a = 0; a < VN_AXES; a++)
      if (random_below(r, 2)) small[a] = 1;
  if (random_below(r, 3) == 0) do
      small[VN_C] = random_in(r, 1, dim[VN_C]);
    while (dim[VN_C] % small[VN_C]);
  tensor_open(&p->in[1], r, small);
  fill(p, r, 1, &p->in[1]);
  p->s.in[1] = p->in[1].t;
}

/* The output in the place of in[0], or, for a sum of equals, of in[1]. */
static bool place(struct problem *p, struct random *r, const size_t dim[VN_AXES]) {
  const uint32_t op = p->s.op;
  const bool may = op == VN_OP_ACT || op == VN_OP_AFFINE || op == VN_OP_ADD || op == VN_OP_PRELU;
  if (!may || random_below(r, 2)) {
    tensor_open(&p->out, r, dim);
    return false;
  }
  int which = 0;
  if (op == VN_OP_ADD && random_below(r, 2) && !memcmp(p->in[1].t.dim, dim, sizeof p->in[1].t.dim))
    which = 1;
  p->out = p->in[which];
  p->in[which].memory = (struct fence){0};
  return true;
}

static void problem_random(const struct family *f, struct random *r, struct problem *p) {
  static const uint32_t ops[] = {VN_OP_ACT,     VN_OP_AFFINE,     VN_OP_ADD,     VN_OP_ADD,
                                 VN_OP_SOFTMAX, VN_OP_LOGSOFTMAX, VN_OP_ARGMAX,  VN_OP_PRELU,
                                 VN_OP_COPY,    VN_OP_CAST,       VN_OP_INSTNORM};
  const bool all = !strcmp(f->name, "ref-simple"), softmax = !strcmp(f->name, "softmax");
  const size_t first = softmax ? 4 : 0, behind = softmax ? 7 : all ? 11 : 4;
  size_t dim[VN_AXES] = {random_in(r, 1, 2), random_channels(r, 130), random_in(r, 1, 5),
                         random_in(r, 1, 6), random_in(r, 1, 20)};
  *p = (struct problem){.s.op = ops[random_in(r, first, behind - 1)],
                        .special = random_below(r, 2),
                        .rarely = all ? 4 : 12};
  if (all || p->s.op == VN_OP_SOFTMAX || p->s.op == VN_OP_LOGSOFTMAX) /* whose oracle is slow */
    for (int a = VN_D; a < VN_AXES; a++) dim[a] = (dim[a] + 1) / 2;
  p->special = p->special && p->s.op != VN_OP_INSTNORM;
  p->second = p->s.op == VN_OP_ADD || p->s.op == VN_OP_PRELU;
  p->s.to_i32 = p->s.op == VN_OP_CAST && random_below(r, 2);
  attributes_random(p, r, dim);
  tensor_open(&p->in[0], r, dim);
  fill(p, r, 0, &p->in[0]);
  p->s.in[0] = p->in[0].t;
  if (p->second) second_random(p, r, dim);
  if (p->s.op == VN_OP_COPY) copy_random(&p->s, r, dim);
  if (p->s.op == VN_OP_ARGMAX) dim[p->s.axis] = 1;
  p->in_place = place(p, r, dim);
  p->s.out = p->out.t;
  for (int i = 0; i < 2; i++)
    if (p->in[i].memory.map) fence_lock(&p->in[i].memory);
}

static void problem_close(struct problem *p) {
  fence_close(&p->in[0].memory);
  fence_close(&p->in[1].memory);
  fence_close(&p->out.memory);
  fence_close(&p->scale);
  fence_close(&p->shift);
  fence_close(&p->slope);
  free(p->values[0]);
  free(p->values[1]);
}

static void describe(const struct problem *p) {
  const struct vn_simple *s = &p->s;
  const size_t used = strlen(check_case), *a = s->in[0].dim, *b = s->in[1].dim;
  snprintf(check_case + used, sizeof check_case - used,
           " %s %s, %zux%zux%zux%zux%zu/%zu, second %zux%zux%zux%zux%zu/%zu, out /%zu%s, axis %u "
           "more %u last %u%s",
           vn_op_text(s->op), vn_act_text(s->epilogue.act[s->op == VN_OP_ADD].kind), a[0], a[1],
           a[2], a[3], a[4], s->in[0].stride, b[0], b[1], b[2], b[3], b[4], s->in[1].stride,
           s->out.stride, p->in_place ? " in place" : "", s->axis, s->more_axes, s->select_last,
           p->special ? ", special values" : "");
}

/* The output's element as a number: its word for COPY, an integer where it is one. */
static double output(const struct problem *p, size_t i) {
  const void *at = (const float *)p->s.out.data + tensor_at(&p->s.out, i);
  float real;
  int32_t integer;
  memcpy(&real, at, sizeof real);
  memcpy(&integer, at, sizeof integer);
  if (p->s.op == VN_OP_COPY) return (double)(uint32_t)integer;
  return p->s.op == VN_OP_ARGMAX || (p->s.op == VN_OP_CAST && p->s.to_i32) ? integer : (double)real;
}

static const char *compare(const struct problem *p, const struct oracle *o) {
  for (size_t i = 0; i < tensor_elems(&p->s.out); i++) {
    const double y = output(p, i), x = o->value[i];
    const double float_x = (double)(float)x; /* beyond the type: infinite */
    if (isnan(x) ? isnan(y) : y == float_x || fabs(y - x) <= 1e-6 * o->size[i] + 1e-37) continue;
    const size_t used = strlen(check_case);
    snprintf(check_case + used, sizeof check_case - used, ": [%zu] %.9g instead of %.9g", i, y, x);
    return "wrong result";
  }
  return NULL;
}

static enum outcome judge(const struct family *family, struct problem *p, struct random *r) {
  struct vn_prepared prepared = {0};
  struct vn_diag diag = {""};
  struct vn_simple used = p->s;
  struct oracle o;
  const enum vn_status status = family->simple(&used, &prepared, &diag);
  if (status == VN_E_UNSUPPORTED && diag.text[0]) return OUTCOME_DECLINED;
  if (status) {
    printf("FAIL %s: status %d (%s)\n", check_case, status, diag.text);
    return OUTCOME_WRONG;
  }
  memset(&used, 0xff, sizeof used);
  oracle_open(&o, tensor_elems(&p->s.out));
  if (p->s.op == VN_OP_COPY) /* the rest keeps what it held */
    for (size_t i = 0; i < tensor_elems(&p->s.out); i++) o.value[i] = output(p, i);
  oracle_simple(&p->s, p->values[0], p->values[1], &o);
  const char *fault = run_prepared(&prepared, NULL, &p->out, r);
  if (!fault) fault = compare(p, &o);
  oracle_close(&o);
  if (fault) printf("FAIL %s: %s\n", check_case, fault);
  return fault ? OUTCOME_WRONG : OUTCOME_RIGHT;
}

enum outcome check_simple(const struct family *family, uint64_t seed) {
  struct random r = {seed};
  struct problem p;
  problem_random(family, &r, &p);
  describe(&p);
  const enum outcome outcome = judge(family, &p, &r);
  problem_close(&p);
  return outcome;
}
