/* Every operator before every other: what the importer takes compiles to a plan that the loader
 * takes and the runtime runs; what it does not take it refuses in a sentence. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "onnx_models.h"
#include "vnet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 2, SIZE = 4, INT32 = 6 };

/* One node that reads tensor `x` and yields `y`; `tag` makes names of its weights unique. */
struct place {
  struct made_model *m;
  const char *x, *y, *tag;
};

static const char *join(const struct place *p, const char *first, const char *second) {
  char *text = vnc_build_keep(&p->m->b, strlen(first) + strlen(second) + 2, 1);
  sprintf(text, "%s %s", first, second);
  return text;
}

/* Small numbers that are no zeros. */
static const char *floats(const struct place *p, const char *name, size_t rank,
                          const uint64_t *dim) {
  size_t elems = 1;
  for (size_t i = 0; i < rank; i++) elems *= dim[i];
  float *data = vnc_build_keep(&p->m->b, elems, sizeof *data);
  for (size_t i = 0; i < elems; i++) data[i] = 0.5f + 0.01f * (float)(i % 7);
  char *own = vnc_build_keep(&p->m->b, 64, 1);
  snprintf(own, 64, "%s.%s", p->tag, name);
  return model_tensor(p->m, own, VNC_ONNX_FLOAT, rank, dim, data, elems * sizeof *data)->name;
}

static const char *vector(const struct place *p, const char *name) {
  return floats(p, name, 1, (const uint64_t[]){CHANNELS});
}

static const char *ints(const struct place *p, const char *name, size_t n, const int64_t *values) {
  char own[64];
  snprintf(own, sizeof own, "%s.%s", p->tag, name);
  return vnc_build_shape(&p->m->b, own, values, n);
}

static Onnx__NodeProto *node(const struct place *p, const char *type, const char *more) {
  return model_node(p->m, type, "", more ? join(p, p->x, more) : p->x, p->y);
}

static Onnx__NodeProto *with_ints(const struct place *p, const char *type, const char *key,
                                  const int64_t *values, size_t n) {
  Onnx__NodeProto *made = node(p, type, NULL);
  vnc_build_ints(&p->m->b, made, key, values, n);
  return made;
}

/* ---- the operators ---- */

#define PLAIN(NAME, TYPE, MORE)                                                                    \
  static void NAME(const struct place *p) {                                                        \
    node(p, TYPE, MORE);                                                                           \
  }
PLAIN(add_self, "Add", p->x)
PLAIN(add_scan, "Add", "scan")
PLAIN(add_vector, "Add", floats(p, "v", 4, (const uint64_t[]){CHANNELS, 1, 1, 1}))
PLAIN(mul_vector, "Mul", floats(p, "v", 4, (const uint64_t[]){CHANNELS, 1, 1, 1}))
PLAIN(sub_one, "Sub", floats(p, "v", 1, (const uint64_t[]){1}))
PLAIN(div_one, "Div", floats(p, "v", 1, (const uint64_t[]){1}))
PLAIN(sum_self, "Sum", join(p, p->x, p->x))
PLAIN(relu, "Relu", NULL)
PLAIN(elu, "Elu", NULL)
PLAIN(leaky, "LeakyRelu", NULL)
PLAIN(sigmoid, "Sigmoid", NULL)
PLAIN(prelu, "PRelu", floats(p, "v", 4, (const uint64_t[]){CHANNELS, 1, 1, 1}))
PLAIN(prelu_self, "PRelu", p->x)
PLAIN(prelu_scan, "PRelu", "scan")
PLAIN(identity, "Identity", NULL)
PLAIN(dropout, "Dropout", NULL)
PLAIN(flatten, "Flatten", NULL)
PLAIN(softmax, "Softmax", NULL)
PLAIN(logsoftmax, "LogSoftmax", NULL)
PLAIN(shape, "Shape", NULL)
PLAIN(norm, "BatchNormalization",
      join(p, join(p, vector(p, "a"), vector(p, "b")), join(p, vector(p, "c"), vector(p, "d"))))
PLAIN(instnorm, "InstanceNormalization", join(p, vector(p, "a"), vector(p, "b")))
PLAIN(expand, "Expand", ints(p, "s", 5, (const int64_t[]){1, CHANNELS, SIZE, SIZE, SIZE}))
PLAIN(tile, "Tile", ints(p, "s", 5, (const int64_t[]){1, 2, 1, 1, 1}))
PLAIN(reshape, "Reshape", ints(p, "s", 3, (const int64_t[]){1, CHANNELS, -1}))
PLAIN(squeeze, "Squeeze", ints(p, "s", 1, (const int64_t[]){0}))
PLAIN(unsqueeze, "Unsqueeze", ints(p, "s", 1, (const int64_t[]){0}))
PLAIN(slice, "Slice",
      join(p, ints(p, "s", 1, (const int64_t[]){1}), ints(p, "e", 1, (const int64_t[]){2})))

PLAIN(mul_self, "Mul", p->x)
PLAIN(mul_scan, "Mul", "scan")
PLAIN(sub_scan, "Sub", "scan")
PLAIN(greater, "Greater", floats(p, "v", 1, (const uint64_t[]){1}))
PLAIN(erf_of, "Erf", NULL)
PLAIN(mish, "Mish", NULL)
PLAIN(global_pool, "GlobalAveragePool", NULL)
PLAIN(matmul, "MatMul", floats(p, "m", 2, (const uint64_t[]){SIZE, SIZE}))
PLAIN(gather, "Gather", ints(p, "i", 1, (const int64_t[]){0}))
PLAIN(slice_back, "Slice",
      join(p,
           join(p, ints(p, "s", 1, (const int64_t[]){-1}), ints(p, "e", 1, (const int64_t[]){-9})),
           join(p, ints(p, "a", 1, (const int64_t[]){2}), ints(p, "t", 1, (const int64_t[]){-1}))))
PLAIN(pad, "Pad", ints(p, "s", 10, (const int64_t[]){0, 0, 1, 0, 0, 0, 0, 0, 2, 1}))
PLAIN(resize, "Resize",
      join(p,
           join(p, floats(p, "r", 1, (const uint64_t[]){0}),
                floats(p, "z", 1, (const uint64_t[]){0})),
           ints(p, "s", 5, (const int64_t[]){1, CHANNELS, 2 * SIZE, 2 * SIZE, 3})))

static void maxpool(const struct place *p) {
  with_ints(p, "MaxPool", "kernel_shape", (const int64_t[]){2, 3, 1}, 3);
}
static void reduce_channels(const struct place *p) {
  vnc_build_int(&p->m->b, with_ints(p, "ReduceMax", "axes", (const int64_t[]){1}, 1), "keepdims",
                0);
}
static void groupnorm(const struct place *p) {
  vnc_build_int(&p->m->b, node(p, "GroupNormalization", join(p, vector(p, "a"), vector(p, "b"))),
                "num_groups", 1);
}

static void argmax(const struct place *p, int64_t axis, int64_t keep) {
  Onnx__NodeProto *made = node(p, "ArgMax", NULL);
  vnc_build_int(&p->m->b, made, "axis", axis);
  vnc_build_int(&p->m->b, made, "keepdims", keep);
}
static void argmax_channels(const struct place *p) {
  argmax(p, 1, 1);
}
static void argmax_depth(const struct place *p) {
  argmax(p, 2, 1);
}
static void argmax_gone(const struct place *p) {
  argmax(p, 1, 0);
}

static void concat(const struct place *p, const char *more, int64_t axis) {
  vnc_build_int(&p->m->b, node(p, "Concat", more), "axis", axis);
}
static void concat_channels(const struct place *p) {
  concat(p, p->x, 1);
}
static void concat_depth(const struct place *p) {
  concat(p, p->x, 2);
}
static void concat_scan(const struct place *p) {
  concat(p, "scan", 1);
}

static void cast(const struct place *p, int64_t to) {
  vnc_build_int(&p->m->b, node(p, "Cast", NULL), "to", to);
}
static void cast_float(const struct place *p) {
  cast(p, VNC_ONNX_FLOAT);
}
static void cast_i32(const struct place *p) {
  cast(p, INT32);
}
static void cast_i64(const struct place *p) {
  cast(p, VNC_ONNX_INT64);
}

static void conv(const struct place *p) {
  const uint64_t dim[5] = {CHANNELS, CHANNELS, 3, 3, 3};
  vnc_build_ints(&p->m->b, node(p, "Conv", join(p, floats(p, "w", 5, dim), vector(p, "b"))), "pads",
                 (const int64_t[]){1, 1, 1, 1, 1, 1}, 6);
}
static void conv_of_one(const struct place *p) {
  node(p, "Conv", floats(p, "w", 5, (const uint64_t[]){CHANNELS, 1, 1, 1, 1}));
}
static void deconv(const struct place *p) {
  const uint64_t dim[5] = {CHANNELS, CHANNELS, 2, 2, 2};
  vnc_build_ints(&p->m->b, node(p, "ConvTranspose", floats(p, "w", 5, dim)), "strides",
                 (const int64_t[]){2, 2, 2}, 3);
}
static void transpose(const struct place *p) {
  with_ints(p, "Transpose", "perm", (const int64_t[]){0, 2, 3, 4, 1}, 5);
}

typedef void operator_fn(const struct place *p);
#define EACH_OPERATOR(F)                                                                           \
  F(add_self)                                                                                      \
  F(add_scan)                                                                                      \
  F(add_vector)                                                                                    \
  F(mul_vector)                                                                                    \
  F(sub_one)                                                                                       \
  F(div_one)                                                                                       \
  F(sum_self)                                                                                      \
  F(relu)                                                                                          \
  F(elu)                                                                                           \
  F(leaky)                                                                                         \
  F(sigmoid)                                                                                       \
  F(prelu)                                                                                         \
  F(prelu_self)                                                                                    \
  F(prelu_scan)                                                                                    \
  F(identity)                                                                                      \
  F(dropout)                                                                                       \
  F(flatten)                                                                                       \
  F(softmax)                                                                                       \
  F(logsoftmax)                                                                                    \
  F(shape)                                                                                         \
  F(norm)                                                                                          \
  F(instnorm)                                                                                      \
  F(expand)                                                                                        \
  F(tile)                                                                                          \
  F(reshape)                                                                                       \
  F(squeeze)                                                                                       \
  F(unsqueeze)                                                                                     \
  F(slice)                                                                                         \
  F(mul_self)                                                                                      \
  F(mul_scan)                                                                                      \
  F(sub_scan)                                                                                      \
  F(greater)                                                                                       \
  F(erf_of)                                                                                        \
  F(mish)                                                                                          \
  F(global_pool)                                                                                   \
  F(matmul)                                                                                        \
  F(gather)                                                                                        \
  F(slice_back)                                                                                    \
  F(pad)                                                                                           \
  F(resize)                                                                                        \
  F(maxpool)                                                                                       \
  F(reduce_channels)                                                                               \
  F(groupnorm)                                                                                     \
  F(argmax_channels)                                                                               \
  F(argmax_depth)                                                                                  \
  F(argmax_gone)                                                                                   \
  F(concat_channels)                                                                               \
  F(concat_depth)                                                                                  \
  F(concat_scan)                                                                                   \
  F(cast_float)                                                                                    \
  F(cast_i32)                                                                                      \
  F(cast_i64)                                                                                      \
  F(conv)                                                                                          \
  F(conv_of_one)                                                                                   \
  F(deconv)                                                                                        \
  F(transpose)

static const struct {
  const char *name;
  operator_fn *add;
} operators[] = {
#define ENTRY(F) {#F, F},
    EACH_OPERATOR(ENTRY)};
enum { OPERATORS = sizeof operators / sizeof *operators };

/* ---- two of them ---- */

static void run(const void *bytes, size_t size, const char *what) {
  const struct vn_exec_options options = {.size = sizeof options, .threads = 1};
  struct vn_plan *plan = NULL;
  struct vn_exec *exec = NULL;
  struct vn_diag diag = {""};
  if (vn_plan_open_memory(bytes, size, &plan, &diag)) fail_msg("%s: %s", what, diag.text);
  if (vn_exec_open(plan, &options, &exec, &diag)) fail_msg("%s: %s", what, diag.text);
  if (vn_exec_run_with(exec, NULL, NULL, NULL, &diag)) fail_msg("%s: %s", what, diag.text);
  vn_exec_close(&exec);
  vn_plan_close(&plan);
}

/* Returns whether the pair runs. both: the first one's result is an output, too. */
static bool pair(size_t a, size_t b, bool both) {
  struct made_model m;
  const struct vnc_options options = {.topology = "any"};
  void *plan;
  size_t plan_bytes;
  char what[96];
  snprintf(what, sizeof what, "%s, then %s", operators[a].name, operators[b].name);
  model_begin(&m);
  model_input(&m, "scan", 5, (const uint64_t[]){1, CHANNELS, SIZE, SIZE, SIZE});
  operators[a].add(&(struct place){&m, "scan", "middle", "first"});
  operators[b].add(&(struct place){&m, "middle", "end", "second"});
  if (both) model_output(&m, "middle");
  model_output(&m, "end");
  enum vn_status status = model_import(&m);
  if (!status) status = vnc_compile_graph(&m.g, &options, &plan, &plan_bytes, NULL, &m.diag);
  vnc_graph_free(&m.g);
  if (status) {
    if (status != VN_E_UNSUPPORTED && status != VN_E_FORMAT)
      fail_msg("%s: status %d, %s", what, status, m.diag.text);
    if (!m.diag.text[0]) fail_msg("%s: refused without a word", what);
    return false;
  }
  run(plan, plan_bytes, what);
  free(plan);
  return true;
}

static void test_pairs(void **state) {
  (void)state;
  size_t good = 0;
  for (size_t a = 0; a < OPERATORS; a++)
    for (size_t b = 0; b < OPERATORS; b++)
      for (int both = 0; both < 2; both++) good += pair(a, b, both);
  printf("%zu of %d pairs run\n", good, 2 * OPERATORS * OPERATORS);
  assert_true(good > OPERATORS * OPERATORS); /* or the models would be wrong */
}

/* ---- what others do not compute right ---- */

/* Compiles the model, which is freed, and runs it: of `in` it makes `want`, within rounding. */
static void computes(struct made_model *m, const float *in, const float *want, size_t elems) {
  const struct vnc_options options = {.topology = "any"};
  const struct vn_exec_options one = {.size = sizeof one, .threads = 1};
  struct vn_plan *plan = NULL;
  struct vn_exec *exec = NULL;
  void *bytes;
  size_t size;
  float have[64];
  assert_true(elems <= 64);
  model_imported(m);
  if (vnc_compile_graph(&m->g, &options, &bytes, &size, NULL, &m->diag))
    fail_msg("%s", m->diag.text);
  vnc_graph_free(&m->g);
  assert_int_equal(vn_plan_open_memory(bytes, size, &plan, NULL), VN_OK);
  assert_int_equal(vn_exec_open(plan, &one, &exec, NULL), VN_OK);
  assert_int_equal(vn_exec_run(exec, (const void *[]){in}, (void *[]){have}, NULL), VN_OK);
  for (size_t i = 0; i < elems; i++)
    if (!(fabsf(have[i] - want[i]) <= 1e-5f * fabsf(want[i])))
      fail_msg("%zu: %g, not %g", i, (double)have[i], (double)want[i]);
  vn_exec_close(&exec);
  vn_plan_close(&plan);
  free(bytes);
}

/* Numbers of any size apart, either way. */
static void test_choices(void **state) {
  (void)state;
  static const float x[4] = {-1, 2, -3, 4},
                     number[][2] = {{1e-8f, 1}, {1, -1e9f}, {3e38f, -3e38f}, {2, 1}, {0, 0.3f}};
  for (size_t i = 0; i < 2 * sizeof number / sizeof *number; i++) {
    const float a = number[i / 2][i % 2], b = number[i / 2][1 - i % 2];
    struct made_model m;
    model_begin(&m);
    model_input(&m, "x", 5, (const uint64_t[]){1, 1, 1, 2, 2});
    model_tensor(&m, "zero", VNC_ONNX_FLOAT, 0, NULL, (float[]){0}, 4);
    model_tensor(&m, "a", VNC_ONNX_FLOAT, 0, NULL, &a, 4);
    model_tensor(&m, "b", VNC_ONNX_FLOAT, 0, NULL, &b, 4);
    model_node(&m, "Greater", "", "x zero", "above");
    model_node(&m, "Where", "", "above a b", "y");
    model_output(&m, "y");
    computes(&m, x, (const float[]){b, a, b, a}, 4);
  }
}

/* By a condition of fewer dimensions, beside a number of as many as the result. */
static void test_wide_choice(void **state) {
  (void)state;
  static const float x[4] = {-1, 2, -3, 4};
  struct made_model m;
  model_begin(&m);
  model_input(&m, "x", 5, (const uint64_t[]){1, 1, 1, 2, 2});
  model_tensor(&m, "zero", VNC_ONNX_FLOAT, 0, NULL, (float[]){0}, 4);
  model_tensor(&m, "k", VNC_ONNX_FLOAT, 5, (const uint64_t[]){1, 1, 1, 1, 1}, (float[]){9}, 4);
  model_ints(&m, "plane", 3, (const int64_t[]){1, 2, 2});
  model_node(&m, "Reshape", "", "x plane", "flat");
  model_node(&m, "Greater", "", "flat zero", "above");
  model_node(&m, "Where", "", "above x k", "y");
  model_output(&m, "y");
  computes(&m, x, (const float[]){9, 2, 9, 4}, 4);
}

/* A norm takes dimension 0 for the batch, wherever that came from: here each channel is normalised
 * over both samples. */
static void test_moved_batch(void **state) {
  (void)state;
  enum { N = 2, C = 3, HW = 4 };
  float x[N][C][HW], want[C][N][HW];
  for (int i = 0; i < N * C * HW; i++) (&x[0][0][0])[i] = (float)(i * i % 17) + (i >= C * HW) * 9.f;
  for (int c = 0; c < C; c++) {
    double mean = 0, square = 0;
    for (int n = 0; n < N; n++)
      for (int k = 0; k < HW; k++) mean += (double)x[n][c][k] / (N * HW);
    for (int n = 0; n < N; n++)
      for (int k = 0; k < HW; k++) square += pow((double)x[n][c][k] - mean, 2) / (N * HW);
    for (int n = 0; n < N; n++)
      for (int k = 0; k < HW; k++)
        want[c][n][k] = (float)(((double)x[n][c][k] - mean) / sqrt(square + 1e-5));
  }
  struct made_model m;
  model_begin(&m);
  model_input(&m, "x", 5, (const uint64_t[]){N, C, 1, 2, 2});
  model_tensor(&m, "one", VNC_ONNX_FLOAT, 1, (const uint64_t[]){C}, (float[]){1, 1, 1}, 12);
  model_tensor(&m, "none", VNC_ONNX_FLOAT, 1, (const uint64_t[]){C}, (float[]){0, 0, 0}, 12);
  Onnx__NodeProto *turn = model_node(&m, "Transpose", "", "x", "turned");
  vnc_build_ints(&m.b, turn, "perm", (const int64_t[]){2, 1, 0, 3, 4}, 5);
  model_node(&m, "InstanceNormalization", "", "turned one none", "y");
  model_output(&m, "y");
  computes(&m, &x[0][0][0], &want[0][0][0], N * C * HW);
}

static void test_integers(void **state) {
  (void)state;
  struct made_model m;
  model_begin(&m);
  model_input(&m, "scan", 5, (const uint64_t[]){1, CHANNELS, SIZE, SIZE, SIZE});
  argmax_channels(&(struct place){&m, "scan", "labels", "first"});
  relu(&(struct place){&m, "labels", "end", "second"});
  model_output(&m, "end");
  model_refused(&m, VN_E_UNSUPPORTED,
                "node 'end' (act) is given integers, and computes on floats alone: put a Cast "
                "before it");
}

/* Proto3, in which ONNX is published, too, writes no zeros: a type that is said makes one of what
 * is not there. */
static void test_zeros(void **state) {
  (void)state;
  struct made_model m;
  for (int said = 0; said < 2; said++) {
    model_begin(&m);
    model_input(&m, "x", 5, (const uint64_t[]){1, 2, 4, 4, 4});
    Onnx__NodeProto *node = model_node(&m, "LeakyRelu", "leak", "x", "r");
    vnc_build_float(&m.b, node, "alpha", 0);
    node->attribute[0]->has_f = said;
    node = model_node(&m, "Concat", "both", "r r", "y");
    vnc_build_int(&m.b, node, "axis", 0);
    node->attribute[0]->has_i = said;
    model_output(&m, "y");
    model_imported(&m);
    assert_int_equal(m.g.outputs[0].dim[0], 2 * m.g.inputs[0].dim[0]);
    for (size_t i = 0; i < m.g.n_nodes; i++)
      if (m.g.nodes[i].op == VN_OP_ACT) assert_true(m.g.nodes[i].act[0].alpha == 0);
    vnc_graph_free(&m.g);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_integers),    cmocka_unit_test(test_zeros),
      cmocka_unit_test(test_choices),     cmocka_unit_test(test_wide_choice),
      cmocka_unit_test(test_moved_batch), cmocka_unit_test(test_pairs)};
  return cmocka_run_group_tests(tests, models_folder_make, models_folder_remove);
}
