/* Legal plans, generated from the input's bytes. Each step of each is run by a kernel of some
 * instruction set and by plain C over the same arena: nothing may change but the step's output, and
 * both must compute the same. */
#include "fuzz.h"

#include "exec.h"
#include "plan_builder.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MOST = 4, ELEMS_MOST = 4096, TAPS_MOST = 1 << 18, MEMORY_MOST = 64 << 20 };

struct maker {
  struct plan_builder b;
  struct fuzz_bytes bytes;
};

static const struct plan_tensor *tensor(const struct maker *m, uint32_t id) {
  return &m->b.tensors[id];
}

static void dims_of(const struct maker *m, uint32_t id, size_t dim[VN_AXES]) {
  for (int a = 0; a < VN_AXES; a++) dim[a] = tensor(m, id)->dim[a];
}

static size_t elems_of(const size_t dim[VN_AXES]) {
  return dim[0] * dim[1] * dim[2] * dim[3] * dim[4];
}

/* A new tensor, of at most ELEMS_MOST elements; sometimes a slice of wider pixels. All buffers live
 * throughout: each step's neighbours are there to be spoilt. */
static uint32_t make_tensor(struct maker *m, size_t dim[VN_AXES], uint32_t dtype) {
  while (elems_of(dim) > ELEMS_MOST) {
    size_t most = 0;
    for (size_t a = 1; a < VN_AXES; a++)
      if (dim[a] > dim[most]) most = a;
    dim[most] = (dim[most] + 1) / 2;
  }
  size_t left = 0, right = 0;
  if (fuzz_take(&m->bytes, 3) == 1) {
    left = fuzz_take(&m->bytes, 18);
    right = fuzz_take(&m->bytes, 18);
  }
  size_t stride = left + dim[VN_C] + right, pixels = elems_of(dim) / dim[VN_C];
  uint32_t buffer = pb_buffer(&m->b, pixels * stride, 0, 0);
  uint32_t id = pb_slice(&m->b, buffer, dim, left, stride);
  m->b.tensors[id].dtype = dtype;
  return id;
}

static uint32_t make_like(struct maker *m, uint32_t id, uint32_t dtype) {
  size_t dim[VN_AXES];
  dims_of(m, id, dim);
  return make_tensor(m, dim, dtype);
}

/* An earlier tensor of real numbers; the first one always is. */
static uint32_t choose_input(struct maker *m) {
  uint32_t id = (uint32_t)fuzz_take(&m->bytes, m->b.n_tensors);
  return tensor(m, id)->dtype == VN_F32 ? id : 0;
}

static void make_act(struct maker *m, struct plan_step *s, int i, bool none) {
  static const uint32_t acts[] = {VN_ACT_RELU, VN_ACT_PRELU, VN_ACT_ELU, VN_ACT_SIGMOID,
                                  VN_ACT_NONE};
  s->act[i] = acts[fuzz_take(&m->bytes, none ? 5 : 4)];
  if (s->act[i] == VN_ACT_PRELU) s->slope[i] = pb_vector(&m->b, tensor(m, s->out)->dim[VN_C], 0.5f);
  if (s->act[i] == VN_ACT_ELU) s->alpha[i] = 0.75f;
}

/* What is added to a result: broadcast along any axis, or (residuals) along channels alone. */
static uint32_t make_second(struct maker *m, uint32_t out, bool channels_alone) {
  size_t dim[VN_AXES];
  dims_of(m, out, dim);
  size_t parts = fuzz_take_in(&m->bytes, 1, 4);
  if (dim[VN_C] % parts == 0) dim[VN_C] /= parts;
  for (int a = 0; a < VN_AXES && !channels_alone; a++)
    if (fuzz_take(&m->bytes, 4) == 1) dim[a] = 1;
  return make_tensor(m, dim, VN_F32);
}

/* ---- ops ---- */

struct conv_axis {
  size_t kernel, stride, dilation, pad, out;
};

static struct conv_axis conv_axis(struct maker *m, size_t in, bool transposed) {
  struct conv_axis x = {fuzz_take_in(&m->bytes, 1, 5), fuzz_take_in(&m->bytes, 1, 3), 1,
                        fuzz_take(&m->bytes, 4), 1};
  if (fuzz_take(&m->bytes, 3) == 1) x.dilation = fuzz_take_in(&m->bytes, 1, 3);
  size_t reach = (x.kernel - 1) * x.dilation + 1, after = fuzz_take(&m->bytes, 5);
  size_t wide = transposed ? (in - 1) * x.stride + reach + after : in + x.pad + after;
  if (transposed)
    x.out = wide > x.pad ? wide - x.pad : 1;
  else
    x.out = wide > reach ? (wide - reach) / x.stride + 1 : 1;
  if (x.out > 12) x.out = 12;
  return x;
}

/* The same along every axis, mostly, as the fast kernels want it. */
static void conv_axes(struct maker *m, const size_t in[VN_AXES], bool transposed,
                      struct conv_axis x[3]) {
  bool odd = fuzz_take(&m->bytes, 4) == 1;
  for (int i = 0; i < 3; i++) {
    struct fuzz_bytes again = m->bytes;
    x[i] = conv_axis(m, in[VN_D + i], transposed);
    if (!odd && i < 2) m->bytes = again;
  }
}

static void conv_algo(struct maker *m, struct plan_step *s) {
  s->algo = (uint32_t)fuzz_take(&m->bytes, VN_ALGO_COUNT);
  if (s->op == VN_OP_DECONV3D && s->algo > VN_ALGO_SIMD) s->algo = VN_ALGO_AUTO;
  for (int i = 0; i < 3 && s->algo == VN_ALGO_WINOGRAD; i++)
    s->u.conv.tile[i] = (uint32_t)fuzz_take_in(&m->bytes, 2, 6);
}

/* None, some, or a channel for each. */
static uint32_t conv_groups(struct maker *m, size_t in, size_t *out) {
  size_t kind = fuzz_take(&m->bytes, 4), groups = 1;
  if (kind == 1) groups = in;
  if (kind == 1 && fuzz_take(&m->bytes, 4)) *out = in;
  if (kind == 2) groups = fuzz_take_in(&m->bytes, 2, 16);
  if (in % groups) groups = 1;
  *out = (*out + groups - 1) / groups * groups;
  return (uint32_t)groups;
}

static void make_conv(struct maker *m, uint32_t op) {
  uint32_t in = choose_input(m);
  struct conv_axis x[3];
  size_t from[VN_AXES], to[VN_AXES], channels = fuzz_take_in(&m->bytes, 1, 36);
  dims_of(m, in, from);
  conv_axes(m, from, op == VN_OP_DECONV3D, x);
  uint32_t groups = conv_groups(m, from[VN_C], &channels);
  to[VN_N] = from[VN_N];
  to[VN_C] = channels;
  for (int i = 0; i < 3; i++) to[VN_D + i] = x[i].out;
  size_t taps = x[0].kernel * x[1].kernel * x[2].kernel * (from[VN_C] / groups);
  if (elems_of(to) > ELEMS_MOST || elems_of(to) * taps > TAPS_MOST) return;
  uint32_t out = make_tensor(m, to, VN_F32);
  struct plan_step *s = pb_step(&m->b, op, in, out);
  s->weight = pb_weight(
      &m->b, (const size_t[]){channels, x[0].kernel, x[1].kernel, x[2].kernel, from[VN_C] / groups},
      4 / sqrtf((float)taps));
  if (fuzz_take(&m->bytes, 4)) s->bias = pb_vector(&m->b, channels, 0.5f);
  for (int i = 0; i < 3; i++) {
    s->u.conv.kernel[i] = (uint32_t)x[i].kernel;
    s->u.conv.stride[i] = (uint32_t)x[i].stride;
    s->u.conv.dilation[i] = (uint32_t)x[i].dilation;
    s->u.conv.pad[i] = (uint32_t)x[i].pad;
  }
  s->u.conv.groups = groups;
  conv_algo(m, s);
  make_act(m, s, 0, true);
  make_act(m, s, 1, true);
  size_t residual = fuzz_take(&m->bytes, 4);
  if (residual == 1) s->in[1] = make_second(m, out, true);
  if (residual == 2) s->in[1] = out; /* in place */
}

static void make_norm(struct maker *m, struct plan_step *s, bool in_place) {
  const size_t channels = tensor(m, s->out)->dim[VN_C];
  const size_t span = fuzz_take_in(&m->bytes, 1, channels);
  s->epsilon = 1e-2f;
  if (channels % span == 0) {
    s->op = VN_OP_GROUPNORM;
    s->u.norm.span = (uint32_t)span;
  }
  make_act(m, s, 0, true);
  make_act(m, s, 1, true);
  const size_t residual = fuzz_take(&m->bytes, 4);
  if (residual == 1) s->in[1] = make_second(m, s->out, true);
  if (residual == 2 && !in_place) s->in[1] = s->out;
}

/* Of those that amplify no difference between two kernels, with plain numbers. */
static void make_function(struct maker *m, struct plan_step *s) {
  static const uint32_t maps[] = {VN_MAP_EXP,   VN_MAP_ERF,          VN_MAP_TANH,      VN_MAP_GELU,
                                  VN_MAP_SWISH, VN_MAP_MISH,         VN_MAP_SELU,      VN_MAP_CELU,
                                  VN_MAP_CLIP,  VN_MAP_HARD_SIGMOID, VN_MAP_HARD_SWISH};
  static const uint32_t binaries[] = {VN_BINARY_MUL, VN_BINARY_SUB, VN_BINARY_MIN, VN_BINARY_MAX};
  if (s->op == VN_OP_MAP) {
    s->u.function = (struct plan_function){
        .kind = maps[fuzz_take(&m->bytes, sizeof maps / sizeof *maps)], .a = 0.5f, .b = 0.75f};
    return;
  }
  s->u.function.kind = binaries[fuzz_take(&m->bytes, sizeof binaries / sizeof *binaries)];
}

static uint32_t make_table(struct maker *m, size_t in, size_t out, size_t taps) {
  const uint32_t id = pb_weight(&m->b, (const size_t[]){out, taps, 2, 1, 1}, 1.f);
  m->b.weights[id].rank = 3;
  for (size_t i = 0; i < out * taps; i++)
    m->b.weight_data[id][2 * i] = (float)fuzz_take(&m->bytes, in + 1) - 1.f;
  return id;
}

static void make_sample(struct maker *m) {
  const uint32_t in = choose_input(m);
  size_t from[VN_AXES], to[VN_AXES];
  uint32_t table[VN_AXES];
  bool any = false;
  dims_of(m, in, from);
  for (int a = 0; a < VN_AXES; a++) {
    const bool has = (a == VN_W && !any) || fuzz_take(&m->bytes, 3) == 1;
    to[a] = has ? fuzz_take_in(&m->bytes, 1, 6) : from[a];
    any = any || has;
    table[a] = has ? 0 : VN_NONE;
  }
  if (elems_of(to) > ELEMS_MOST || m->b.n_weights + VN_AXES > PB_MOST) return;
  for (int a = 0; a < VN_AXES; a++)
    if (table[a] != VN_NONE)
      table[a] = make_table(m, from[a], to[a], fuzz_take_in(&m->bytes, 1, 3));
  struct plan_step *s = pb_step(&m->b, VN_OP_SAMPLE, in, make_tensor(m, to, VN_F32));
  s->u.sample.largest = (uint32_t)fuzz_take(&m->bytes, 2);
  s->u.sample.fill = 0.25f;
  memcpy(s->u.sample.table, table, sizeof table);
}

static void make_pointwise(struct maker *m, uint32_t op) {
  uint32_t in = choose_input(m);
  bool in_place = fuzz_take(&m->bytes, 3) == 1;
  uint32_t out = in_place ? in : make_like(m, in, VN_F32);
  size_t channels = tensor(m, in)->dim[VN_C];
  struct plan_step *s = pb_step(&m->b, op, in, out);
  if (op == VN_OP_ACT) make_act(m, s, 0, false);
  if (op == VN_OP_AFFINE || op == VN_OP_INSTNORM) {
    s->weight = pb_vector(&m->b, channels, 1.f);
    s->bias = pb_vector(&m->b, channels, 0.5f);
  }
  if (op == VN_OP_INSTNORM) make_norm(m, s, in_place);
  if (op == VN_OP_MAP || op == VN_OP_BINARY) make_function(m, s);
  if (op == VN_OP_ADD || op == VN_OP_PRELU || op == VN_OP_BINARY) {
    bool other_in_place = op == VN_OP_ADD && !in_place && fuzz_take(&m->bytes, 4) == 1;
    s->in[1] = other_in_place ? out : make_second(m, out, false);
  }
  if (op == VN_OP_ADD) make_act(m, s, 1, true);
}

static void make_softmax(struct maker *m, uint32_t op) {
  uint32_t in = choose_input(m);
  struct plan_step *s = pb_step(&m->b, op, in, make_like(m, in, VN_F32));
  s->u.axis.axis = (uint32_t)fuzz_take(&m->bytes, VN_AXES);
  if (fuzz_take(&m->bytes, 4) == 1)
    s->u.axis.more_axes = (uint32_t)fuzz_take(&m->bytes, 32) & ~(1u << s->u.axis.axis);
}

static void make_argmax(struct maker *m) {
  uint32_t in = choose_input(m);
  size_t dim[VN_AXES];
  uint32_t axis = (uint32_t)fuzz_take(&m->bytes, VN_AXES);
  dims_of(m, in, dim);
  dim[axis] = 1;
  struct plan_step *s = pb_step(&m->b, VN_OP_ARGMAX, in, make_tensor(m, dim, VN_I32));
  s->u.axis.axis = axis;
  s->u.axis.select_last = (uint32_t)fuzz_take(&m->bytes, 2);
}

static void make_copy(struct maker *m) {
  uint32_t in = (uint32_t)fuzz_take(&m->bytes, m->b.n_tensors), axes[VN_AXES] = {0, 1, 2, 3, 4};
  size_t dim[VN_AXES];
  struct plan_copy c = {.extent = {0}};
  for (uint32_t a = 0; a < VN_AXES; a++) {
    size_t other = a + fuzz_take(&m->bytes, VN_AXES - a);
    uint32_t axis = axes[other];
    axes[other] = axes[a];
    c.in_axis[a] = axis;
    size_t from = tensor(m, in)->dim[axis];
    c.in_start[a] = (uint32_t)fuzz_take(&m->bytes, from);
    c.extent[a] = (uint32_t)fuzz_take_in(&m->bytes, 1, from + 2);
    c.out_start[a] = (uint32_t)fuzz_take(&m->bytes, 3);
    dim[a] = c.out_start[a] + c.extent[a] + fuzz_take(&m->bytes, 2);
  }
  if (elems_of(dim) > ELEMS_MOST) return;
  uint32_t out = make_tensor(m, dim, tensor(m, in)->dtype);
  pb_step(&m->b, VN_OP_COPY, in, out)->u.copy = c;
}

static void make_const(struct maker *m) {
  uint32_t out = make_like(m, choose_input(m), VN_F32);
  const uint64_t *d = tensor(m, out)->dim;
  const size_t shape[] = {d[VN_N], d[VN_D], d[VN_H], d[VN_W], d[VN_C]};
  pb_step(&m->b, VN_OP_CONST, VN_NONE, out)->weight = pb_weight(&m->b, shape, 1.f);
}

static void make_cast(struct maker *m) {
  uint32_t in = (uint32_t)fuzz_take(&m->bytes, m->b.n_tensors);
  uint32_t to = tensor(m, in)->dtype == VN_F32 ? VN_I32 : VN_F32;
  pb_step(&m->b, VN_OP_CAST, in, make_like(m, in, to));
}

static void make_step(struct maker *m) {
  static const uint32_t ops[] = {VN_OP_CONV3D,   VN_OP_CONV3D, VN_OP_CONV3D,  VN_OP_CONV3D,
                                 VN_OP_DECONV3D, VN_OP_ACT,    VN_OP_AFFINE,  VN_OP_INSTNORM,
                                 VN_OP_ADD,      VN_OP_PRELU,  VN_OP_SOFTMAX, VN_OP_LOGSOFTMAX,
                                 VN_OP_ARGMAX,   VN_OP_COPY,   VN_OP_CAST,    VN_OP_CONST,
                                 VN_OP_MAP,      VN_OP_BINARY, VN_OP_SAMPLE};
  uint32_t op = ops[fuzz_take(&m->bytes, sizeof ops / sizeof *ops)];
  if (op == VN_OP_CONV3D || op == VN_OP_DECONV3D)
    make_conv(m, op);
  else if (op == VN_OP_SOFTMAX || op == VN_OP_LOGSOFTMAX)
    make_softmax(m, op);
  else if (op == VN_OP_ARGMAX)
    make_argmax(m);
  else if (op == VN_OP_COPY)
    make_copy(m);
  else if (op == VN_OP_CONST)
    make_const(m);
  else if (op == VN_OP_CAST)
    make_cast(m);
  else if (op == VN_OP_SAMPLE)
    make_sample(m);
  else
    make_pointwise(m, op);
}

static void *make_plan(struct maker *m, size_t *size) {
  size_t dim[VN_AXES] = {1};
  pb_start(&m->b);
  if (fuzz_take(&m->bytes, 8) == 1) dim[VN_N] = 2;
  dim[VN_C] = fuzz_take_in(&m->bytes, 1, 36);
  for (int a = VN_D; a < VN_AXES; a++) dim[a] = fuzz_take_in(&m->bytes, 1, 12);
  uint32_t x = make_tensor(m, dim, VN_F32);
  for (size_t i = 0; i < STEPS_MOST && m->bytes.left; i++) make_step(m);
  for (size_t i = 0; i < m->b.n_buffers && m->b.n_steps; i++)
    m->b.buffers[i].last_step = (uint32_t)m->b.n_steps - 1;
  pb_port(&m->b, "in", x, 0);
  pb_port(&m->b, "out", (uint32_t)m->b.n_tensors - 1, 1);
  return pb_finish(&m->b, size);
}

/* ---- running ---- */

/* Numbers where tensors lie, NaN between them. */
static void arena_fill(const struct vn_exec *e) {
  float *arena = (float *)e->arena;
  for (size_t i = 0; i < e->plan->header->arena_bytes / 4; i++) arena[i] = NAN;
  for (uint32_t id = 0; id < e->plan->header->tensors.count; id++) {
    struct vn_tensor t = vn_exec_tensor(e, id);
    size_t pixels = t.dim[VN_N] * t.dim[VN_D] * t.dim[VN_H] * t.dim[VN_W];
    for (size_t i = 0; i < pixels * t.dim[VN_C]; i++) {
      size_t at = i / t.dim[VN_C] * t.stride + i % t.dim[VN_C];
      if (e->plan->tensors[id].dtype == VN_F32)
        ((float *)t.data)[at] = pb_value(id, i);
      else
        ((int32_t *)t.data)[at] = (int32_t)(i % 7);
    }
  }
}

/* With a scratch of just its size, so that a sanitizer sees its end. */
static void step_run(const struct vn_exec *e, size_t step) {
  const struct vn_prepared *p = &e->prepared[step];
  void *scratch;
  if (p->run_pool) {
    struct vn_watch watch;
    if (vn_watch_open(&watch, NULL, NULL) || p->run_pool(p->state, e->pool, &watch))
      fuzz_broken("step %zu, %s: failed", step, p->name);
    return;
  }
  void *shared;
  if (posix_memalign(&scratch, 64, p->scratch_bytes ? p->scratch_bytes : 64) ||
      posix_memalign(&shared, 64, p->shared_bytes ? p->shared_bytes : 64))
    fuzz_broken("out of memory");
  if (p->share) p->share(p->state, shared);
  for (size_t job = 0; job < p->jobs; job++) p->run(p->state, job, scratch);
  free(scratch);
  free(shared);
}

/* Is this word of the arena an element of the tensor? */
static bool is_element(const struct plan_tensor *t, size_t word) {
  size_t first = t->offset / 4;
  size_t pixels = t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W];
  return word >= first && (word - first) / t->pixel_stride < pixels &&
         (word - first) % t->pixel_stride < t->dim[VN_C];
}

static void writes_check(const struct vn_exec *e, size_t step, const uint32_t *before) {
  const uint32_t *after = (const uint32_t *)e->arena;
  const struct plan_step *s = &e->plan->steps[step];
  for (size_t i = 0; i < e->plan->header->arena_bytes / 4; i++)
    if (after[i] != before[i] && !is_element(&e->plan->tensors[s->out], i))
      fuzz_broken("step %zu, %s, %s: writes to word %zu, outside of its output", step,
                  vn_op_text(s->op), e->prepared[step].name, i);
}

static void results_check(const struct vn_exec *a, const struct vn_exec *ref, size_t step) {
  const struct plan_step *s = &a->plan->steps[step];
  const struct plan_tensor *t = &a->plan->tensors[s->out];
  const uint32_t *x = (const uint32_t *)a->arena, *y = (const uint32_t *)ref->arena;
  float most = 1;
  for (size_t i = 0; i < a->plan->header->arena_bytes / 4; i++)
    if (t->dtype == VN_F32 && is_element(t, i)) most = fmaxf(most, fabsf(((const float *)y)[i]));
  for (size_t i = 0; i < a->plan->header->arena_bytes / 4; i++) {
    if (x[i] == y[i] || !is_element(t, i)) continue;
    float off = fabsf(((const float *)x)[i] - ((const float *)y)[i]);
    if (t->dtype == VN_F32 && off <= 1e-3f * most) continue;
    fuzz_broken("step %zu, %s, %s: word %zu is %g, should be %g (%" PRIu32 ", %" PRIu32 ")", step,
                vn_op_text(s->op), a->prepared[step].name, i, (double)((const float *)x)[i],
                (double)((const float *)y)[i], x[i], y[i]);
  }
}

static void run_both(const struct vn_exec *a, const struct vn_exec *ref) {
  size_t bytes = a->plan->header->arena_bytes;
  uint32_t *before = malloc(bytes);
  if (!before) fuzz_broken("out of memory");
  arena_fill(ref);
  for (size_t step = 0; step < a->n_prepared; step++) {
    memcpy(before, ref->arena, bytes);
    memcpy(a->arena, ref->arena, bytes);
    step_run(a, step);
    writes_check(a, step, before);
    step_run(ref, step);
    writes_check(ref, step, before);
    results_check(a, ref, step);
  }
  free(before);
}

static struct vn_exec *exec_open(const struct vn_plan *plan, const char *isa) {
  struct vn_exec *exec;
  struct vn_diag diag = {""};
  const struct vn_exec_options options = {
      .size = sizeof options, .threads = 1, .isa = isa, .memory_limit_bytes = MEMORY_MOST};
  enum vn_status status = vn_exec_open(plan, &options, &exec, &diag);
  if (status && status != VN_E_UNSUPPORTED && status != VN_E_ARGUMENT)
    fuzz_broken("a legal plan is refused: %s", diag.text);
  return exec; /* NULL: not on this machine */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
#define NAME(isa) #isa,
  static const char *const isas[] = {VN_EACH_ISA(NAME) NULL};
  struct maker m = {.bytes = {data, size}};
  struct vn_plan *plan = NULL;
  struct vn_diag diag = {""};
  size_t plan_bytes;
  const char *isa = isas[fuzz_take(&m.bytes, sizeof isas / sizeof *isas)];
  void *bytes = make_plan(&m, &plan_bytes);
  if (vn_plan_open_memory(bytes, plan_bytes, &plan, &diag))
    fuzz_broken("a legal plan is refused: %s", diag.text);
  struct vn_exec *exec = exec_open(plan, isa), *ref = exec ? exec_open(plan, "ref") : NULL;
  if (exec && ref) {
    run_both(exec, ref);
    fuzz_done();
  }
  vn_exec_close(&exec);
  vn_exec_close(&ref);
  vn_plan_close(&plan);
  free(bytes);
  return 0;
}
