/* Execs: ops alone against PyTorch's numbers, whole small networks bit for bit over threads and
 * runs, dead memory poisoned, ports in any order, limits. What a host does with execs is in
 * test_exec_host.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "exec.h"
#include "small_net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAME(isa) #isa,
static const char *const isas[] = {"ref", VN_EACH_ISA(NAME)};
enum { N_ISAS = sizeof isas / sizeof *isas };

/* ---- single ops against PyTorch ---- */

struct golden {
  const char *name;
  double weighted, scale;
};
static const struct golden goldens[] = {
#include "golden_ops.inc"
};

struct conv_case {
  size_t out[4]; /* c d h w */
  uint32_t op, kernel, stride, pad, dilation, groups;
};
static const struct conv_case conv_cases[] = {
    {{8, 5, 6, 7}, VN_OP_CONV3D, 3, 1, 1, 1, 1},
    {{6, 5, 6, 7}, VN_OP_CONV3D, 5, 1, 2, 1, 1},
    {{6, 3, 3, 4}, VN_OP_CONV3D, 3, 2, 1, 1, 2},
    {{8, 5, 6, 7}, VN_OP_CONV3D, 3, 1, 2, 2, 1},
    {{3, 4, 5, 6}, VN_OP_CONV3D, 2, 1, 0, 1, 1},
    {{4, 5, 6, 7}, VN_OP_CONV3D, 3, 1, 1, 1, 4},
    {{4, 9, 10, 11}, VN_OP_CONV3D, 1, 1, 2, 1, 1},
    {{6, 10, 12, 14}, VN_OP_DECONV3D, 2, 2, 0, 1, 1},
    {{6, 10, 12, 14}, VN_OP_DECONV3D, 3, 2, 1, 1, 2},
    {{4, 7, 8, 9}, VN_OP_DECONV3D, 3, 1, 1, 2, 1},
};

struct simple_case {
  uint32_t op, act, axis;
};
static const struct simple_case simple_cases[] = {
    {VN_OP_ACT, VN_ACT_RELU, 0},    {VN_OP_ACT, VN_ACT_PRELU, 0}, {VN_OP_ACT, VN_ACT_ELU, 0},
    {VN_OP_ACT, VN_ACT_SIGMOID, 0}, {VN_OP_AFFINE, 0, 0},         {VN_OP_INSTNORM, 0, 0},
    {VN_OP_SOFTMAX, 0, VN_C},       {VN_OP_SOFTMAX, 0, VN_D},     {VN_OP_LOGSOFTMAX, 0, VN_W},
    {VN_OP_LOGSOFTMAX, 0, VN_C},    {VN_OP_ARGMAX, 0, VN_C},      {VN_OP_ARGMAX, 0, VN_H},
    {VN_OP_ADD, VN_ACT_RELU, 0},    {VN_OP_PRELU, 0, 0},          {VN_OP_COPY, 0, 0},
};
enum { N_CONV = sizeof conv_cases / sizeof *conv_cases };
enum { N_CASES = N_CONV + sizeof simple_cases / sizeof *simple_cases };

static const size_t x_dim[VN_AXES] = {2, 4, 5, 6, 7}, grid_dim[VN_AXES] = {1, 4, 1, 6, 1};

static void conv_build(struct plan_builder *b, const struct conv_case *c, uint32_t algo) {
  const size_t dim[VN_AXES] = {2, c->out[0], c->out[1], c->out[2], c->out[3]};
  uint32_t x = pb_tensor(b, x_dim, 0, 0), y = pb_tensor(b, dim, 0, 0);
  struct plan_step *s = pb_conv(b, c->op, x, y, c->kernel, c->stride, c->pad, c->groups);
  for (int i = 0; i < 3; i++) s->u.conv.dilation[i] = c->dilation;
  if (c->op == VN_OP_CONV3D) s->algo = algo;
  pb_port(b, "x", x, 0);
  pb_port(b, "y", y, 1);
}

static void copy_fill(struct plan_copy *c, const size_t out[VN_AXES]) {
  static const uint32_t axis[VN_AXES] = {VN_N, VN_D, VN_C, VN_W, VN_H};
  for (int a = 0; a < VN_AXES; a++) {
    c->extent[a] = (uint32_t)out[a];
    c->in_axis[a] = axis[a];
  }
  c->in_start[VN_W] = 3;
}

static void simple_build(struct plan_builder *b, const struct simple_case *c) {
  size_t dim[VN_AXES];
  memcpy(dim, x_dim, sizeof dim);
  if (c->op == VN_OP_ARGMAX) dim[c->axis] = 1;
  if (c->op == VN_OP_COPY) memcpy(dim, (const size_t[]){2, 5, 8, 7, 6}, sizeof dim);
  uint32_t x = pb_tensor(b, x_dim, 0, 0), y = pb_tensor(b, dim, 0, 0);
  struct plan_step *s = pb_step(b, c->op, x, y);
  pb_port(b, "x", x, 0);
  if (c->op == VN_OP_ARGMAX) b->tensors[y].dtype = VN_I32;
  if (c->op == VN_OP_ACT) s->act[0] = c->act;
  if (c->op == VN_OP_ADD) s->act[1] = c->act;
  if (c->act == VN_ACT_PRELU) s->slope[0] = pb_vector(b, 4, 1.f);
  if (c->act == VN_ACT_ELU) s->alpha[0] = 0.75f;
  if (c->op == VN_OP_AFFINE || c->op == VN_OP_INSTNORM) {
    s->weight = pb_vector(b, 4, 1.f);
    s->bias = pb_vector(b, 4, 0.5f);
    s->epsilon = c->op == VN_OP_INSTNORM ? 1e-3f : 0.f;
  }
  if (c->op == VN_OP_SOFTMAX || c->op == VN_OP_LOGSOFTMAX || c->op == VN_OP_ARGMAX)
    s->u.axis.axis = c->axis;
  if (c->op == VN_OP_ADD || c->op == VN_OP_PRELU) {
    s->in[1] = pb_tensor(b, grid_dim, 0, 0);
    pb_port(b, "grid", s->in[1], 0);
  }
  if (c->op == VN_OP_COPY) copy_fill(&s->u.copy, dim);
  pb_port(b, "y", y, 1);
}

static void golden_compare(struct vn_exec *exec, const struct vn_plan *plan,
                           const struct golden *golden, const char *isa) {
  struct vn_port port = vn_plan_output(plan, 0);
  size_t element = port.type == VN_TYPE_I64 ? sizeof(int64_t) : sizeof(float);
  float *x = values(1000, vn_plan_input(plan, 0).elems), *grid = values(1001, 24);
  void *y = malloc(port.elems * element);
  const void *in[] = {x, grid};
  double weighted = 0;
  assert_int_equal(vn_exec_run(exec, in, &y, NULL), VN_OK);
  for (size_t i = 0; i < port.elems; i++)
    weighted += (element == 8 ? (double)((int64_t *)y)[i] : (double)((float *)y)[i]) *
                (double)pb_value(99, i);
  if (!(fabs(weighted - golden->weighted) <= 1e-6 * golden->scale))
    fail_msg("%s, %s (%s): %.9g instead of %.9g", golden->name, isa, vn_exec_step(exec, 0).kernel,
             weighted, golden->weighted);
  free(x);
  free(grid);
  free(y);
}

static void test_ops(void **state) {
  (void)state;
  static const uint32_t algos[] = {VN_ALGO_AUTO, VN_ALGO_REF, VN_ALGO_DIRECT, VN_ALGO_XNNPACK};
  assert_int_equal(sizeof goldens / sizeof *goldens, N_CASES);
  for (size_t i = 0; i < N_CASES; i++)
    for (size_t a = 0; a < (i < N_CONV ? 4 : 1); a++) {
      struct plan_builder b;
      size_t size;
      pb_start(&b);
      if (i < N_CONV)
        conv_build(&b, &conv_cases[i], algos[a]);
      else
        simple_build(&b, &simple_cases[i - N_CONV]);
      void *bytes = pb_finish(&b, &size);
      struct vn_plan *plan = plan_open(bytes, size);
      for (size_t k = 0; k < N_ISAS; k++) {
        struct vn_exec *exec = exec_open(plan, isas[k], 1);
        if (exec) golden_compare(exec, plan, &goldens[i], isas[k]);
        vn_exec_close(&exec);
      }
      vn_plan_close(&plan);
      free(bytes);
    }
}

/* ---- the small network ---- */

/* Threads, repeats and poison leave every bit as it is. */
static void test_same_bits(void **state) {
  (void)state;
  size_t size;
  void *bytes = pb_small_net(&size);
  struct vn_plan *plan = plan_open(bytes, size);
  struct result reference, first, again;
  struct vn_exec *exec = exec_open(plan, "ref", 1);
  small_run(exec, &reference);
  vn_exec_close(&exec);
  for (size_t k = 0; k < N_ISAS; k++)
    for (size_t threads = 1; threads <= 64; threads += threads < 4 ? 1 : 20) {
      exec = exec_open(plan, isas[k], threads);
      if (!exec) continue;
      assert_string_equal(vn_exec_info(exec).isa, isas[k]);
      assert_int_equal(vn_exec_info(exec).threads, threads);
      if (threads == 1) small_run(exec, &first);
      vn_exec_poison(exec, true);
      for (int run = 0; run < 3; run++) {
        small_run(exec, &again);
        assert_memory_equal(&first, &again, sizeof first);
      }
      vn_exec_close(&exec);
      for (size_t i = 0; i < sizeof reference.odds / sizeof(float); i++)
        assert_true(fabsf(first.odds[i] - reference.odds[i]) <= 1e-5f);
    }
  vn_plan_close(&plan);
  free(bytes);
}

/* Every algorithm that a plan can name for a convolution agrees with plain C. */
static void test_algorithms(void **state) {
  (void)state;
  struct result reference, other;
  for (uint32_t algo = VN_ALGO_AUTO; algo < VN_ALGO_COUNT; algo++) {
    size_t size;
    uint8_t *bytes = pb_small_net(&size);
    struct plan_header *h = (void *)bytes;
    struct plan_step *s = (void *)(bytes + h->steps.offset);
    for (size_t i = 0; i < h->steps.count; i++) {
      if (s[i].op != VN_OP_CONV3D) continue;
      s[i].algo = algo;
      for (int k = 0; k < 3; k++) s[i].u.conv.tile[k] = algo == VN_ALGO_WINOGRAD ? 4 : 0;
    }
    pb_seal(bytes, size);
    struct vn_plan *plan = plan_open(bytes, size);
    struct vn_exec *exec = exec_open(plan, algo == VN_ALGO_AUTO ? "ref" : NULL, 2);
    small_run(exec, algo == VN_ALGO_AUTO ? &reference : &other);
    if (algo == VN_ALGO_REF) assert_string_equal(vn_exec_step(exec, 4).kernel, "ref");
#ifdef VN_XNNPACK
    if (algo == VN_ALGO_XNNPACK) {
      assert_string_equal(vn_exec_step(exec, 2).kernel, "xnnpack copied");
      assert_string_equal(vn_exec_step(exec, 4).kernel, "xnnpack copied");
    }
#endif
    for (size_t i = 0; algo && i < sizeof reference.odds / sizeof(float); i++)
      assert_true(fabsf(other.odds[i] - reference.odds[i]) <= 1e-5f);
    vn_exec_close(&exec);
    vn_plan_close(&plan);
    free(bytes);
  }
}

/* A volume that is large beside its kernel is read in place. */
static void test_zero_copy(void **state) {
  (void)state;
#ifdef VN_XNNPACK
  static const size_t dim[VN_AXES] = {1, 2, 20, 24, 28};
  float *y[2], *x = values(3, 2 * 20 * 24 * 28);
  for (int k = 0; k < 2; k++) {
    struct plan_builder b;
    size_t size;
    pb_start(&b);
    uint32_t in = pb_tensor(&b, dim, 0, 0), out = pb_tensor(&b, dim, 0, 0);
    struct plan_step *s = pb_conv(&b, VN_OP_CONV3D, in, out, 5, 1, 2, 1);
    s->algo = k ? VN_ALGO_XNNPACK : VN_ALGO_REF;
    s->in[1] = in;
    s->act[1] = VN_ACT_RELU;
    pb_port(&b, "x", in, 0);
    pb_port(&b, "y", out, 1);
    void *bytes = pb_finish(&b, &size);
    struct vn_plan *plan = plan_open(bytes, size);
    struct vn_exec *exec = exec_open(plan, NULL, 2);
    y[k] = values(0, 2 * 20 * 24 * 28);
    const void *ins[] = {x};
    void *outs[] = {y[k]};
    assert_string_equal(vn_exec_step(exec, 0).kernel, k ? "xnnpack zero-copy" : "ref");
    assert_int_equal(vn_exec_run(exec, ins, outs, NULL), VN_OK);
    vn_exec_close(&exec);
    vn_plan_close(&plan);
    free(bytes);
  }
  for (size_t i = 0; i < 2 * 20 * 24 * 28; i++) assert_true(fabsf(y[0][i] - y[1][i]) <= 1e-5f);
  free(x);
  free(y[0]);
  free(y[1]);
#endif
}

/* ---- which kernel runs ---- */

static const struct choice {
  size_t in, out, edge, out_edge;
  uint32_t kernel, stride, pad, dilation, groups, algo;
  const char *kernel_name;
} choices[] = {
    {4, 4, 6, 6, 3, 1, 1, 1, 4, VN_ALGO_AUTO, "depthwise portable"},
    {4, 4, 6, 6, 3, 1, 1, 1, 4, VN_ALGO_DIRECT, "depthwise portable"},
    {6, 6, 6, 6, 1, 1, 0, 1, 6, VN_ALGO_AUTO, "depthwise portable"},
    {4, 4, 6, 3, 2, 2, 0, 1, 4, VN_ALGO_AUTO, "depthwise portable"},
    {1, 1, 6, 6, 7, 1, 3, 1, 1, VN_ALGO_AUTO, "direct portable"},
    {4, 8, 6, 6, 3, 1, 1, 1, 4, VN_ALGO_AUTO, "direct portable"},
    {4, 6, 7, 3, 3, 2, 0, 1, 2, VN_ALGO_AUTO, "direct portable"},
    {2, 3, 9, 3, 3, 3, 2, 2, 1, VN_ALGO_SIMD, "direct portable"},
    {1, 2, 37, 3, 35, 1, 0, 1, 1, VN_ALGO_AUTO, "direct portable"}, /* 1225 rows of taps */
    {2, 3, 6, 6, 3, 1, 1, 1, 1, VN_ALGO_DIRECT, "direct portable"},
    {2, 3, 6, 3, 2, 2, 0, 1, 1, VN_ALGO_AUTO, "down portable"},
    {2, 3, 6, 6, 1, 1, 0, 1, 1, VN_ALGO_AUTO, "pointwise few portable"},
    {3, 5, 6, 6, 1, 1, 0, 1, 1, VN_ALGO_AUTO, "pointwise portable"},
    {2, 3, 6, 6, 5, 1, 2, 1, 1, VN_ALGO_FFT, "fft portable"},
    {2, 1, 6, 6, 5, 1, 2, 1, 1, VN_ALGO_FFT, "fft head portable"},
    {2, 3, 9, 3, 5, 2, 0, 1, 1, VN_ALGO_FFT, "direct portable"},
    {2, 3, 6, 6, 5, 1, 2, 1, 1, VN_ALGO_LEAN, "lean portable"},
    {40, 3, 4, 4, 5, 1, 2, 1, 1, VN_ALGO_LEAN, "lean portable"},
    {1, 2, 20, 20, 5, 1, 2, 1, 1, VN_ALGO_LEAN, "direct portable"}, /* 125 tiles */
    {4, 4, 6, 6, 5, 1, 2, 1, 4, VN_ALGO_FFT, "depthwise portable"},
    {16, 16, 9, 9, 3, 1, 1, 1, 1, VN_ALGO_FFT, "direct portable"},
    {4, 4, 6, 6, 2, 1, 30000, 60000, 1, VN_ALGO_AUTO, "direct portable"},
    {2, 3, 9, 9, 3, 1, 2, 2, 1, VN_ALGO_WINOGRAD, "winograd 4x4x4 portable"},
    {2, 3, 9, 9, 3, 1, 30, 30, 1, VN_ALGO_WINOGRAD, "winograd 4x4x4 portable"},
    {2, 3, 9, 5, 3, 2, 1, 1, 1, VN_ALGO_WINOGRAD, "direct portable"},
    {4, 4, 6, 6, 2, 1, 30000, 60000, 4, VN_ALGO_AUTO, "depthwise portable"},
    {300, 1, 6, 6, 2, 1, 30000, 60000, 1, VN_ALGO_AUTO, "ref"}, /* too much scratch */
    {2, 3, 4, 6, 1, 1, 1, 1, 1, VN_ALGO_AUTO, "ref"}, /* padding beyond the kernel's reach */
#ifdef VN_XNNPACK
    {2, 3, 6, 6, 3, 1, 1, 1, 1, VN_ALGO_XNNPACK, "xnnpack copied"},
    {4, 4, 7, 3, 3, 2, 0, 1, 4, VN_ALGO_XNNPACK, "xnnpack copied"},
#else
    {2, 3, 6, 6, 3, 1, 1, 1, 1, VN_ALGO_XNNPACK, "direct portable"},
    {4, 4, 7, 3, 3, 2, 0, 1, 4, VN_ALGO_XNNPACK, "depthwise portable"},
#endif
};

static float *choice_run(const struct vn_plan *plan, const struct choice *c, const char *isa,
                         const char *name) {
  const size_t elems = c->out * c->out_edge * c->out_edge * c->out_edge;
  struct vn_exec *exec = exec_open(plan, isa, 2);
  float *x = values(3, c->in * c->edge * c->edge * c->edge), *y = values(0, elems);
  const void *ins[] = {x};
  void *outs[] = {y};
  assert_string_equal(vn_exec_step(exec, 0).kernel, name);
  assert_int_equal(vn_exec_run(exec, ins, outs, NULL), VN_OK);
  vn_exec_close(&exec);
  free(x);
  return y;
}

static void test_choice(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
    const struct choice *c = &choices[i];
    const size_t from[VN_AXES] = {1, c->in, c->edge, c->edge, c->edge};
    const size_t to[VN_AXES] = {1, c->out, c->out_edge, c->out_edge, c->out_edge};
    struct plan_builder b;
    size_t size;
    pb_start(&b);
    const uint32_t in = pb_tensor(&b, from, 0, 0), out = pb_tensor(&b, to, 0, 0);
    struct plan_step *s =
        pb_conv(&b, VN_OP_CONV3D, in, out, c->kernel, c->stride, c->pad, c->groups);
    for (int a = 0; a < 3; a++) s->u.conv.dilation[a] = c->dilation;
    s->algo = c->algo;
    for (int a = 0; s->algo == VN_ALGO_WINOGRAD && a < 3; a++) s->u.conv.tile[a] = 4;
    pb_port(&b, "x", in, 0);
    pb_port(&b, "y", out, 1);
    void *bytes = pb_finish(&b, &size);
    struct vn_plan *plan = plan_open(bytes, size);
    float *y = choice_run(plan, c, "portable", c->kernel_name);
    float *want = choice_run(plan, c, "ref", "ref");
    for (size_t k = 0; k < c->out * c->out_edge * c->out_edge * c->out_edge; k++)
      assert_true(fabsf(y[k] - want[k]) <= 1e-5f);
    vn_plan_close(&plan);
    free(bytes);
    free(y);
    free(want);
  }
}

/* ---- ports, limits ---- */

/* Channels last outside, and a tensor that is input and output with no step between. */
static void test_port_order(void **state) {
  (void)state;
  static const size_t dim[VN_AXES] = {2, 3, 2, 4, 5};
  struct plan_builder b;
  size_t size, n = 2 * 3 * 2 * 4 * 5;
  pb_start(&b);
  uint32_t x = pb_tensor(&b, dim, 0, 0);
  pb_port(&b, "ncdhw", x, 0);
  pb_port(&b, "n(dhw)c", x, 1);
  static const uint32_t order[VN_AXES] = {VN_N, VN_D, VN_H, VN_W, VN_C};
  memcpy(b.ports[1].order, order, sizeof order);
  b.ports[1].rank = 3;
  memcpy(b.ports[1].dim, (const uint64_t[]){2, 40, 3, 1, 1, 1}, sizeof b.ports[1].dim);
  void *bytes = pb_finish(&b, &size);
  struct vn_plan *plan = plan_open(bytes, size);
  struct vn_exec *exec = exec_open(plan, NULL, 3);
  float *in = values(1, n), *out = values(2, n);
  const void *ins[] = {in};
  void *outs[] = {out};
  assert_int_equal(vn_exec_steps(exec), 0);
  assert_int_equal(vn_exec_run(exec, ins, outs, NULL), VN_OK);
  for (size_t k = 0; k < n; k++) {
    size_t c = k % 3, pixel = k / 3 % 40, image = k / 120;
    assert_true(out[k] == in[(image * 3 + c) * 40 + pixel]);
  }
  vn_exec_close(&exec);
  vn_plan_close(&plan);
  free(bytes);
  free(in);
  free(out);
}

static void test_limits(void **state) {
  (void)state;
  size_t size;
  void *bytes = pb_small_net(&size);
  struct vn_plan *plan = plan_open(bytes, size);
  struct vn_exec *exec = NULL;
  struct vn_diag diag = {""};
  struct vn_exec_options options = {
      .size = sizeof options, .threads = 2, .memory_limit_bytes = 100000};
  assert_int_equal(vn_exec_open(plan, &options, &exec, &diag), VN_E_MEMORY);
  assert_null(exec);
  const char *figure = strstr(diag.text, "limit to ");
  assert_non_null(figure);
  options.memory_limit_bytes = strtoull(figure + 9, NULL, 10);
  assert_int_equal(vn_exec_open(plan, &options, &exec, &diag), VN_OK);
  struct vn_exec_info info = vn_exec_info(exec);
  assert_int_equal(info.arena_bytes + info.scratch_bytes + info.packed_bytes,
                   options.memory_limit_bytes);
  vn_exec_close(&exec);
  options.memory_limit_bytes--;
  assert_int_equal(vn_exec_open(plan, &options, &exec, &diag), VN_E_MEMORY);
  options = (struct vn_exec_options){.size = sizeof options, .isa = "mmx"};
  assert_int_equal(vn_exec_open(plan, &options, &exec, &diag), VN_E_ARGUMENT);
  options = (struct vn_exec_options){.size = sizeof options, .threads = 1u << 30};
  assert_int_equal(vn_exec_open(plan, &options, &exec, &diag), VN_E_ARGUMENT);
  assert_int_equal(vn_exec_open(plan, NULL, &exec, &diag), VN_OK);
  assert_true(vn_exec_info(exec).threads >= 1);
  vn_exec_close(&exec);
  vn_exec_close(NULL);
  vn_plan_close(&plan);
  free(bytes);
}

static void test_in_place(void **state) {
  (void)state;
  size_t size;
  void *bytes = pb_small_net(&size);
  struct vn_plan *plan = plan_open(bytes, size);
  struct vn_exec *exec = exec_open(plan, NULL, 2);
  struct vn_buffer in = vn_exec_input(exec, 0), odds = vn_exec_output(exec, 0);
  struct result r;
  small_run(exec, &r);
  float *x = values(7, 2 * 480);
  assert_null(vn_exec_output(exec, 2).data);
  assert_int_equal(in.dim[VN_C], 2);
  for (size_t p = 0; p < 480; p++)
    for (size_t c = 0; c < 2; c++) ((float *)in.data)[p * in.pixel_stride + c] = x[c * 480 + p];
  assert_int_equal(vn_exec_run_with(exec, NULL, NULL, NULL, NULL), VN_OK);
  for (size_t p = 0; p < 480; p++)
    for (size_t c = 0; c < 3; c++)
      assert_true(((float *)odds.data)[p * odds.pixel_stride + c] == r.odds[c * 480 + p]);
  free(x);
  vn_exec_close(&exec);
  vn_plan_close(&plan);
  free(bytes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_ops),        cmocka_unit_test(test_same_bits),
      cmocka_unit_test(test_algorithms), cmocka_unit_test(test_zero_copy),
      cmocka_unit_test(test_choice),     cmocka_unit_test(test_port_order),
      cmocka_unit_test(test_limits),     cmocka_unit_test(test_in_place),
  };
  return cmocka_run_group_tests_name("exec", tests, NULL, NULL);
}
