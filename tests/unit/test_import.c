/* What the importer does with models that no exporter here writes: hostile ones, every kind of
 * number, views, dynamic grids; and the sentence of each refusal. Values are judged elsewhere, by
 * ONNX's vectors (conformance) and by ONNX Runtime (the fixtures). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "onnx_models.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint64_t scan[5] = {1, 2, 4, 4, 4};

/* ---- bytes ---- */

/* Wraps `size` bytes at the end of a buffer as field `field` of a message; the new beginning. */
static uint8_t *wrap(uint8_t *at, const uint8_t *end, unsigned field) {
  size_t size = (size_t)(end - at), n = 0;
  uint8_t length[10];
  do {
    length[n++] = (uint8_t)((size & 0x7f) | (size > 0x7f ? 0x80 : 0));
    size >>= 7;
  } while (size);
  at -= n;
  memcpy(at, length, n);
  *--at = (uint8_t)(field << 3 | 2);
  return at;
}

/* A graph in an attribute of a node of a graph …, as If and Loop nest them. */
static void nest(unsigned levels, const char *sentence) {
  size_t room = 64 + (size_t)levels * 64;
  uint8_t *bytes = malloc(room), *end = bytes + room, *at = end;
  for (unsigned i = 0; i < levels; i++) {
    at = wrap(at, end, 6); /* AttributeProto.g */
    at = wrap(at, end, 5); /* NodeProto.attribute */
    at = wrap(at, end, 1); /* GraphProto.node */
  }
  at = wrap(at, end, 7);
  bytes_refused(at, (size_t)(end - at), VN_E_UNSUPPORTED, sentence);
  free(bytes);
}

static void test_bytes(void **state) {
  (void)state;
  static const char truncated[] = "not a usable ONNX model: truncated, or not protobuf";
  bytes_refused("PK\3\4", 4, VN_E_FORMAT, "not a usable ONNX model: not protobuf");
  bytes_refused("\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 11, VN_E_FORMAT, truncated);
  bytes_refused("\x3a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 12, VN_E_FORMAT, truncated);
  bytes_refused("\x3a\5\xa", 3, VN_E_FORMAT, truncated);
  bytes_refused("\x3b\x3c", 2, VN_E_FORMAT, truncated); /* a group */
  bytes_refused("\0\0", 2, VN_E_FORMAT, "not a usable ONNX model: not protobuf");
  bytes_refused("\x38\1", 2, VN_E_FORMAT, "not a usable ONNX model: its fields are not ONNX's");
  bytes_refused("\x8\7", 2, VN_E_FORMAT, "not an ONNX model: it has no graph");
  nest(3, "the model names no opset of ONNX's own operators");
  nest(20000, "not a usable ONNX model: nested too deeply");
}

static void test_texts(void **state) {
  (void)state;
  struct made_model m;
  model_begin(&m);
  model_input(&m, "a\nb", 5, scan);
  model_refused(&m, VN_E_FORMAT, "not a usable ONNX model: control characters in a name");
  char *longer = malloc(70001);
  memset(longer, 'x', 70000);
  longer[70000] = '\0';
  model_begin(&m);
  model_input(&m, longer, 5, scan);
  model_refused(&m, VN_E_UNSUPPORTED, "not a usable ONNX model: a name of more than 64 KiB");
  free(longer);
}

static void test_files(void **state) {
  (void)state;
  char sentence[600];
  struct vnc_graph g;
  struct vn_diag diag;
  const struct vnc_import_options options = {0};
  assert_int_equal(vnc_onnx_import(models_folder(), &options, &g, &diag), VN_E_IO);
  snprintf(sentence, sizeof sentence, "%s: not a regular file", models_folder());
  assert_string_equal(diag.text, sentence);
  unlink(model_path());
  assert_int_equal(vnc_onnx_import(model_path(), &options, &g, &diag), VN_E_IO);
  snprintf(sentence, sizeof sentence, "%s: the file is empty", model_path());
  bytes_refused("", 0, VN_E_FORMAT, sentence);
  unlink(model_path());
  assert_int_equal(mkfifo(model_path(), 0600), 0); /* which nobody writes to */
  alarm(10);
  assert_int_equal(vnc_onnx_import(model_path(), &options, &g, &diag), VN_E_IO);
  alarm(0);
  snprintf(sentence, sizeof sentence, "%s: not a regular file", model_path());
  assert_string_equal(diag.text, sentence);
  unlink(model_path());
}

/* A few bytes that ask for a lot. */
static void test_bombs(void **state) {
  (void)state;
  static const char unfolds[] = "the model's constants unfold to far more than the model holds";
  struct made_model m;
  model_begin(&m);
  model_tensor(&m, "w", VNC_ONNX_FLOAT, 2, (uint64_t[]){1 << 20, 1 << 20}, "1234", 4);
  model_input(&m, "x", 5, scan);
  model_node(&m, "Add", "sum", "x w", "y");
  model_output(&m, "y");
  model_refused(&m, VN_E_FORMAT, "weight 'w' has an impossible shape");

  model_begin(&m);
  model_tensor(&m, "w", VNC_ONNX_FLOAT, 1, (uint64_t[]){1 << 30}, "1234", 4);
  model_input(&m, "x", 5, scan);
  model_node(&m, "Add", "sum", "x w", "y");
  model_output(&m, "y");
  model_refused(&m, VN_E_FORMAT, "weight 'w': its data and its shape differ in size");

  model_begin(&m);
  model_ints(&m, "shape", 3, (int64_t[]){1 << 20, 1 << 20, 1 << 20});
  model_node(&m, "ConstantOfShape", "zeros", "shape", "w");
  model_output(&m, "w");
  model_refused(&m, VN_E_UNSUPPORTED,
                "node 'zeros' (ConstantOfShape): its constant result is too large");

  model_begin(&m);
  model_ints(&m, "shape", 1, (int64_t[]){1 << 24});
  for (int i = 0; i < 100; i++) {
    char *name = vnc_build_keep(&m.b, 1, 16);
    snprintf(name, 16, "w%d", i);
    model_node(&m, "ConstantOfShape", name, "shape", name);
    model_output(&m, name);
  }
  model_refused(&m, VN_E_UNSUPPORTED, unfolds);

  model_begin(&m);
  model_input(&m, "x", 5, (uint64_t[]){1, 1, 1 << 20, 1 << 20, 1 << 20});
  model_refused(&m, VN_E_UNSUPPORTED,
                "node 'x': its result is empty, or beyond 2^38 elements or 2^31 along an axis");
}

/* ---- numbers ---- */

/* c as type `type`, added to three channels: what arrives. */
static void arrives(int32_t type, const void *raw, size_t bytes, const float want[3]) {
  struct made_model m;
  model_begin(&m);
  model_input(&m, "x", 5, (uint64_t[]){1, 3, 2, 2, 2});
  model_tensor(&m, "c", type, 4, (uint64_t[]){3, 1, 1, 1}, raw, bytes);
  vnc_build_int(&m.b, model_node(&m, "Cast", "cast", "c", "f"), "to", VNC_ONNX_FLOAT);
  model_node(&m, "Add", "sum", "x f", "y");
  model_output(&m, "y");
  model_imported(&m);
  assert_int_equal(m.g.n_consts, 2);
  assert_memory_equal(m.g.consts[1].data, want, 3 * sizeof *want);
  vnc_graph_free(&m.g);
}

static void test_numbers(void **state) {
  (void)state;
  const float whole[3] = {1, -2, 100}, small[3] = {1, 254, 100};
  arrives(1, whole, 12, whole);
  arrives(2, (uint8_t[]){1, 254, 100}, 3, small);
  arrives(3, (int8_t[]){1, -2, 100}, 3, whole);
  arrives(4, (uint16_t[]){1, 254, 65535}, 6, (float[]){1, 254, 65535});
  arrives(5, (int16_t[]){1, -2, 100}, 6, whole);
  arrives(6, (int32_t[]){1, -2, 100}, 12, whole);
  arrives(7, (int64_t[]){1, -2, 100}, 24, whole);
  arrives(9, (uint8_t[]){1, 0, 1}, 3, (float[]){1, 0, 1});
  arrives(10, (uint16_t[]){0x3c00, 0xc000, 0x5640}, 6, whole);
  arrives(10, (uint16_t[]){0x7bff, 0x0400, 0x0001}, 6, (float[]){65504, 0x1p-14f, 0x1p-24f});
  arrives(10, (uint16_t[]){0xfc00, 0x8000, 0x83ff}, 6, (float[]){-INFINITY, -0.f, -0x1.ff8p-15f});
  arrives(11, (double[]){1, -2, 100}, 24, whole);
  arrives(12, (uint32_t[]){1, 254, 100}, 12, small);
  arrives(13, (uint64_t[]){1, 254, 100}, 24, small);
  arrives(16, (uint16_t[]){0x3f80, 0xc000, 0x42c8}, 6, whole);
}

/* The same in the typed field that ONNX has for the type. */
static void typed(int32_t type, size_t n_float, size_t n_int, size_t n_long, size_t n_double,
                  enum vn_status status, const char *sentence) {
  static float floats[3] = {1, 2, 3};
  static int32_t ints[3] = {1, 2, 3};
  static int64_t longs[3] = {1, 2, 3};
  static double doubles[3] = {1, 2, 3};
  struct made_model m;
  model_begin(&m);
  model_input(&m, "x", 5, (uint64_t[]){1, 3, 2, 2, 2});
  Onnx__TensorProto *t = model_tensor(&m, "c", type, 4, (uint64_t[]){3, 1, 1, 1}, "", 0);
  t->has_raw_data = 0;
  t->float_data = floats;
  t->n_float_data = n_float;
  t->int32_data = ints;
  t->n_int32_data = n_int;
  t->int64_data = longs;
  t->n_int64_data = n_long;
  t->double_data = doubles;
  t->n_double_data = n_double;
  vnc_build_int(&m.b, model_node(&m, "Cast", "cast", "c", "f"), "to", VNC_ONNX_FLOAT);
  model_node(&m, "Add", "sum", "x f", "y");
  model_output(&m, "y");
  if (status) {
    model_refused(&m, status, sentence);
    return;
  }
  model_imported(&m);
  assert_memory_equal(m.g.consts[1].data, floats, sizeof floats);
  vnc_graph_free(&m.g);
}

static void test_typed_fields(void **state) {
  (void)state;
  static const char differ[] = "weight 'c': its data and its shape differ in size";
  typed(1, 3, 0, 0, 0, VN_OK, NULL);
  typed(3, 0, 3, 0, 0, VN_OK, NULL);
  typed(6, 0, 3, 0, 0, VN_OK, NULL);
  typed(7, 0, 0, 3, 0, VN_OK, NULL);
  typed(11, 0, 0, 0, 3, VN_OK, NULL);
  typed(1, 2, 0, 0, 0, VN_E_FORMAT, differ);
  typed(1, 0, 3, 0, 0, VN_E_FORMAT, differ); /* in another type's field */
  typed(1, 0, 0, 0, 0, VN_E_FORMAT, differ); /* no data at all */
  typed(8, 0, 0, 0, 0, VN_E_UNSUPPORTED,
        "weight 'c' is of type string; floats and integers of 8 bits and more are taken");
}

/* ---- views ---- */

static void test_views(void **state) {
  (void)state;
  struct made_model m;
  model_begin(&m); /* vnet.pytorch's tail: channels last, flat, softmax; nothing is copied */
  model_input(&m, "x", 5, (uint64_t[]){1, 2, 4, 6, 8});
  vnc_build_ints(&m.b, model_node(&m, "Transpose", "last", "x", "t"), "perm",
                 (int64_t[]){0, 2, 3, 4, 1}, 5);
  model_ints(&m, "flat", 2, (int64_t[]){-1, 2});
  model_node(&m, "Reshape", "view", "t flat", "v");
  model_node(&m, "LogSoftmax", "p", "v", "y");
  model_output(&m, "y");
  model_reads(&m, "%0 \"x\" f32[1,2,4,6,8] = input\n"
                  "%1 \"p\" f32[1,2,4,6,8] = logsoftmax %0 axis=c\n"
                  "in \"x\" %0 f32[1,2,4,6,8] order=ncdhw\n"
                  "out \"y\" %1 f32[192,2] order=ndhwc\n");

  model_begin(&m); /* axes that move for an operand that has them elsewhere */
  model_input(&m, "x", 3, (uint64_t[]){2, 3, 4});
  vnc_build_ints(&m.b, model_node(&m, "Transpose", "turn", "x", "t"), "perm", (int64_t[]){2, 1, 0},
                 3);
  model_ints(&m, "one", 1, (int64_t[]){0});
  model_node(&m, "Unsqueeze", "wrap", "t one", "u");
  model_node(&m, "Add", "sum", "u x4", "y");
  model_input(&m, "x4", 4, (uint64_t[]){5, 4, 3, 2});
  model_output(&m, "y");
  model_reads(&m, "%0 \"x\" f32[2,3,1,1,4] = input\n"
                  "%1 \"x4\" f32[5,4,1,3,2] = input\n"
                  "%2 \"sum\" f32[1,4,1,3,2] = copy %0 n=h+0 c=w+0 h=c+0 w=n+0\n"
                  "%3 \"sum\" f32[5,4,1,3,2] = add %1 %2\n"
                  "in \"x\" %0 f32[2,3,4] order=ncdhw\n"
                  "in \"x4\" %1 f32[5,4,3,2] order=ncdhw\n"
                  "out \"y\" %3 f32[5,4,3,2] order=ncdhw\n");

  model_begin(&m); /* labels: an axis less, integers outside */
  model_input(&m, "x", 5, (uint64_t[]){1, 2, 4, 6, 8});
  Onnx__NodeProto *best = model_node(&m, "ArgMax", "best", "x", "y");
  vnc_build_int(&m.b, best, "axis", -4);
  vnc_build_int(&m.b, best, "keepdims", 0);
  model_output(&m, "y");
  model_reads(&m, "%0 \"x\" f32[1,2,4,6,8] = input\n"
                  "%1 \"best\" i32[1,1,4,6,8] = argmax %0 axis=c\n"
                  "in \"x\" %0 f32[1,2,4,6,8] order=ncdhw\n"
                  "out \"y\" %1 i64[1,4,6,8] order=ncdhw\n");
}

/* ---- dynamic axes ---- */

/* An input of `dim` (0: dynamic); NULL: refused with `sentence`. */
static void grid(const uint64_t dim[5], const char *meta, const uint64_t *patch,
                 const uint64_t *want, const char *sentence) {
  struct made_model m;
  model_begin(&m);
  model_input(&m, "x", 5, dim);
  model_node(&m, "Relu", "relu", "x", "y");
  model_output(&m, "y");
  m.meta_key = meta ? "vnet.patch" : NULL;
  m.meta_value = meta;
  for (size_t i = 0; patch && i < 3; i++) m.options.patch[i] = patch[i];
  if (!want) {
    model_refused(&m, VN_E_ARGUMENT, sentence);
    return;
  }
  model_imported(&m);
  assert_memory_equal(m.g.inputs[0].dim, want, 5 * sizeof *want);
  if (meta) assert_string_equal(vnc_graph_meta_value(&m.g, "vnet.patch"), meta);
  vnc_graph_free(&m.g);
}

static void test_grids(void **state) {
  (void)state;
  static const char choose[] =
      "input 'x' has dynamic spatial axes and the model names no patch: choose one with "
      "--patch DxHxW";
  const uint64_t dynamic[5] = {0, 1, 0, 0, 0}, half[5] = {0, 1, 0, 16, 16};
  const uint64_t fixed[5] = {1, 1, 8, 8, 8}, small[5] = {1, 1, 8, 16, 16};
  const uint64_t eights[3] = {8, 8, 8}, patch[3] = {8, 16, 16};
  grid(fixed, NULL, NULL, fixed, NULL);
  grid(fixed, "8 16 16", NULL, fixed, NULL); /* the model itself knows better */
  grid(fixed, NULL, eights, fixed, NULL);
  grid(fixed, NULL, patch, NULL, "the model's grid is fixed at 8 along h, --patch asks for 16");
  grid(dynamic, NULL, patch, small, NULL);
  grid(dynamic, "8 16 16", NULL, small, NULL);
  grid(dynamic, "64 64 64", patch, small, NULL);
  grid(half, "8 4 4", NULL, small, NULL);
  grid(dynamic, NULL, NULL, NULL, choose);
  grid(dynamic, "8 16", NULL, NULL, choose);
  grid(dynamic, "8 16 -16", NULL, NULL, choose);
  grid(dynamic, "8 16 99999999", NULL, NULL, choose);
}

/* ---- refusals ---- */

/* One operator on x and, where `inputs` names it, w: one number for each of x's two channels. */
static void refused(const char *type, const char *name, const char *inputs, enum vn_status status,
                    const char *sentence) {
  struct made_model m;
  model_begin(&m);
  model_input(&m, "x", 5, scan);
  model_tensor(&m, "w", VNC_ONNX_FLOAT, 1, (uint64_t[]){2}, (float[]){1, 2}, 8);
  model_node(&m, type, name, inputs, "y");
  model_output(&m, "y");
  model_refused(&m, status, sentence);
}

static void test_refusals(void **state) {
  (void)state;
  const enum vn_status no = VN_E_UNSUPPORTED, bad = VN_E_FORMAT;
  refused("Sin", "act", "x", no, "operator Sin (node 'act') is not supported");
  refused("Sin", "", "x", no, "operator Sin (node 'y') is not supported");
  refused("Conv", "conv", "x x", no, "node 'conv' (Conv): its weight 'x' is not part of the model");
  refused("Conv", "conv", "x w", no,
          "node 'conv' (Conv): weights of rank 1 for an input of rank 5");
  refused("Conv", "conv", "x gone", bad,
          "node 'conv' (Conv): input 'gone' is neither computed by a node nor a weight of the "
          "model");
  refused("BatchNormalization", "norm", "x w w w", bad,
          "node 'norm' (BatchNormalization): input 4 does not have one value for each channel");
  refused("Mul", "gate", "x w", no, "node 'gate' (Mul): a constant that does not fit 'x'");
  refused("Pow", "power", "x w", no,
          "node 'power' (Pow): a power other than -1, -0.5, 0.5, 1, 2 or 3");
  refused("MaxPool", "pool", "x", bad, "node 'pool' (MaxPool): it has no kernel_shape");
  refused("Abs", "size", "x x", bad, "node 'size' (Abs): one input expected");
  refused("GroupNormalization", "norm", "x w w", bad, "node 'norm' (GroupNormalization): 0 groups");
  refused("Pad", "pad", "x w", bad, "node 'pad' (Pad): its pads do not fit rank 5");
  refused("Resize", "up", "x w", bad, "node 'up' (Resize): its scales or sizes do not fit rank 5");
  refused("Gather", "pick", "x w", no,
          "node 'pick' (Gather): indices that are no list of constants");
  refused("Where", "choice", "w x x", no, "node 'choice' (Where): a choice by a constant");
  refused("Add", "sum", "x w", no, "node 'sum' (Add): a constant that does not fit 'x'");
  refused("PRelu", "prelu", "x w", no, "node 'prelu' (PRelu): a constant that does not fit 'x'");
  refused("Concat", "cat", "x w", no, "node 'cat' (Concat): one of its inputs is a constant");
  refused("Identity", "same", "w", no, "output 'y' is a constant");
  refused("MatMul", "dot", "w w", no,
          "node 'dot' (MatMul): the operator is not supported on constants");
}

/* A constant of more dimensions than what it is multiplied with gives that its own; of six there is
 * no norm. */
static void test_ranks(void **state) {
  (void)state;
  struct made_model m;
  model_begin(&m);
  model_input(&m, "x", 4, scan);
  model_tensor(&m, "k", VNC_ONNX_FLOAT, 5, (uint64_t[]){1, 1, 1, 1, 1}, (float[]){2}, 4);
  model_node(&m, "Mul", "twice", "x k", "y");
  model_output(&m, "y");
  model_refused(&m, VN_E_UNSUPPORTED, "node 'twice' (Mul): a constant of more dimensions than 'x'");
  for (int groups = 0; groups < 2; groups++) {
    model_begin(&m);
    model_input(&m, "x", 5, scan);
    model_ints(&m, "front", 1, (const int64_t[]){0});
    model_tensor(&m, "w", VNC_ONNX_FLOAT, 1, (uint64_t[]){1}, (float[]){1}, 4);
    model_node(&m, "Unsqueeze", "more", "x front", "six");
    Onnx__NodeProto *turn = model_node(&m, "Transpose", "turn", "six", "turned");
    vnc_build_ints(&m.b, turn, "perm", (const int64_t[]){2, 0, 1, 3, 4, 5}, 6);
    Onnx__NodeProto *norm = model_node(&m, groups ? "GroupNormalization" : "InstanceNormalization",
                                       "norm", "turned w w", "y");
    if (groups) vnc_build_int(&m.b, norm, "num_groups", 1);
    model_output(&m, "y");
    model_refused(&m, VN_E_UNSUPPORTED,
                  groups ? "node 'norm' (GroupNormalization): 'turned' has rank 6"
                         : "node 'norm' (InstanceNormalization): 'turned' has rank 6");
  }
}

/* Nodes stand behind what they read, in the file's order where they can; what nothing needs is not
 * looked at, and a circle is one wherever it is. */
static void test_order(void **state) {
  (void)state;
  struct made_model m;
  model_begin(&m);
  model_input(&m, "x", 5, scan);
  model_node(&m, "Add", "last", "b a", "y");
  model_node(&m, "Mystery", "dead", "a gone", "nothing");
  model_node(&m, "Sigmoid", "second", "a", "b");
  model_node(&m, "Relu", "first", "x", "a");
  model_node(&m, "Elu", "apart", "x", "z");
  model_output(&m, "y");
  model_output(&m, "z");
  model_reads(&m, "%0 \"x\" f32[1,2,4,4,4] = input\n"
                  "%1 \"first\" f32[1,2,4,4,4] = act %0 act=relu\n"
                  "%2 \"second\" f32[1,2,4,4,4] = act %1 act=sigmoid\n"
                  "%3 \"last\" f32[1,2,4,4,4] = add %2 %1\n"
                  "%4 \"apart\" f32[1,2,4,4,4] = act %0 act=elu(1)\n"
                  "in \"x\" %0 f32[1,2,4,4,4] order=ncdhw\n"
                  "out \"y\" %3 f32[1,2,4,4,4] order=ncdhw\n"
                  "out \"z\" %4 f32[1,2,4,4,4] order=ncdhw\n");
  model_begin(&m);
  model_input(&m, "x", 5, scan);
  model_node(&m, "Add", "first", "x c", "a");
  model_node(&m, "Relu", "second", "a", "b");
  model_node(&m, "Relu", "third", "b", "c");
  model_output(&m, "b");
  model_refused(&m, VN_E_FORMAT, "node 'second' needs its own result");
}

/* Opset 6 has another PRelu, Dropout and BatchNormalization; below it, and beyond 26, are
 * strangers. */
static void test_opsets(void **state) {
  (void)state;
  struct made_model m;
  for (int64_t opset = 5; opset <= 27; opset++) {
    model_begin(&m);
    m.opset = opset;
    model_input(&m, "x", 5, scan);
    model_node(&m, "Relu", "relu", "x", "y");
    model_output(&m, "y");
    char sentence[64];
    snprintf(sentence, sizeof sentence, "opset %d is not supported: 6 to 26 are", (int)opset);
    if (opset < 6 || opset > 26) {
      model_refused(&m, VN_E_UNSUPPORTED, sentence);
    } else {
      model_imported(&m);
      vnc_graph_free(&m.g);
    }
  }
  for (int64_t opset = 6; opset <= 7; opset++) {
    model_begin(&m);
    m.opset = opset;
    model_input(&m, "x", 5, scan);
    model_node(&m, "Dropout", "drop", "x", "y");
    model_output(&m, "y");
    if (opset == 7) {
      model_imported(&m);
      vnc_graph_free(&m.g);
    } else {
      model_refused(&m, VN_E_UNSUPPORTED,
                    "node 'drop' (Dropout): it is in training mode; export the network in "
                    "evaluation mode");
    }
  }
}

/* ---- external data ---- */

/* x plus a constant of two channels that is kept in `location`. */
static void external_model(struct made_model *m, const char *location, const char *offset,
                           const char *length) {
  const char *const pairs[3][2] = {{"location", location}, {"offset", offset}, {"length", length}};
  model_begin(m);
  model_input(m, "x", 5, scan);
  Onnx__TensorProto *t = model_tensor(m, "w", VNC_ONNX_FLOAT, 4, (uint64_t[]){2, 1, 1, 1}, "", 0);
  t->has_raw_data = 0;
  t->has_data_location = 1;
  t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
  t->external_data = vnc_build_keep(&m->b, 3, sizeof *t->external_data);
  for (size_t i = 0; i < 3; i++) {
    if (!pairs[i][1]) continue;
    Onnx__StringStringEntryProto *pair = vnc_build_keep(&m->b, 1, sizeof *pair);
    onnx__string_string_entry_proto__init(pair);
    pair->key = vnc_build_text(&m->b, pairs[i][0]);
    pair->value = vnc_build_text(&m->b, pairs[i][1]);
    t->external_data[t->n_external_data++] = pair;
  }
  model_node(m, "Add", "sum", "x w", "y");
  model_output(m, "y");
}

static void external_taken(const char *location, const char *offset, const char *length) {
  struct made_model m;
  external_model(&m, location, offset, length);
  model_imported(&m);
  assert_memory_equal(m.g.consts[1].data, ((float[]){1, 2}), 8);
  vnc_graph_free(&m.g);
}

/* Reading anything but a file of the folder would be the hole. */
static void external_refused(const char *location, const char *offset, const char *length,
                             enum vn_status status, const char *reason) {
  struct made_model m;
  char sentence[512];
  external_model(&m, location, offset, length);
  if (*reason)
    snprintf(sentence, sizeof sentence, "weight 'w': %s", reason);
  else
    snprintf(sentence, sizeof sentence,
             "weight 'w': external data '%s' is not a file inside the model's folder", location);
  model_refused(&m, status, sentence);
}

static void in_folder(const char *name, char path[128]) {
  snprintf(path, 128, "%s/%s", models_folder(), name);
}

static void test_external(void **state) {
  (void)state;
  static const char *const made[] = {"near", "loop", "far", "pipe", "up", "data", "inner/data"};
  static const char short_of[] = "external data 'data' does not hold its 8 bytes";
  char path[128], target[160];
  in_folder("inner", path);
  assert_int_equal(mkdir(path, 0700), 0);
  for (int i = 0; i < 2; i++) {
    in_folder(i ? "inner/data" : "data", path);
    file_write(path, (float[]){9, 1, 2}, 12);
  }
  in_folder("near", path);
  assert_int_equal(symlink("inner/data", path), 0);
  in_folder("loop", path);
  assert_int_equal(symlink("loop", path), 0);
  in_folder("far", path);
  assert_int_equal(symlink("/etc/passwd", path), 0);
  in_folder("up", path);
  assert_int_equal(symlink("..", path), 0);
  in_folder("pipe", path);
  assert_int_equal(mkfifo(path, 0600), 0);

  external_taken("data", "4", "8");
  external_taken("data", "4", NULL);
  external_taken("inner/data", "4", "8");
  external_taken("inner/../data", "4", "8");
  external_taken("near", "4", "8"); /* a link, but to inside */
  snprintf(target, sizeof target, "../%s/data", strrchr(models_folder(), '/') + 1);
  external_taken(target, "4", "8"); /* out, and in again */

  external_refused("far", "0", "8", VN_E_IO, "");
  external_refused("loop", "0", "8", VN_E_IO, "");
  external_refused("gone", "0", "8", VN_E_IO, "");
  external_refused("../../etc/passwd", "0", "8", VN_E_IO, "");
  external_refused("/etc/passwd", "0", "8", VN_E_IO, "");
  external_refused("up", "0", "8", VN_E_IO, "");
  in_folder("data", path);
  external_refused(path, "4", "8", VN_E_IO, ""); /* absolute, though inside */
  external_refused("pipe", "0", "8", VN_E_FORMAT, "external data 'pipe' does not hold its 8 bytes");
  external_refused("inner", "0", "8", VN_E_FORMAT,
                   "external data 'inner' does not hold its 8 bytes");
  external_refused("data", "5", "8", VN_E_FORMAT, short_of);
  external_refused("data", "4", "7", VN_E_FORMAT, short_of);
  external_refused("data", "18446744073709551615", "8", VN_E_FORMAT, short_of);
  external_refused("data", "-4", "8", VN_E_FORMAT, "its external data has no usable place");
  external_refused("data", "99999999999999999999", "8", VN_E_FORMAT,
                   "its external data has no usable place");
  external_refused(NULL, "0", "8", VN_E_FORMAT, "its external data has no usable place");
  external_refused("", "0", "8", VN_E_FORMAT, "its external data has no usable place");

  for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
    in_folder(made[i], path);
    unlink(path);
  }
  in_folder("inner", path);
  rmdir(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_bytes),    cmocka_unit_test(test_texts),
      cmocka_unit_test(test_files),    cmocka_unit_test(test_bombs),
      cmocka_unit_test(test_numbers),  cmocka_unit_test(test_typed_fields),
      cmocka_unit_test(test_views),    cmocka_unit_test(test_grids),
      cmocka_unit_test(test_refusals), cmocka_unit_test(test_ranks),
      cmocka_unit_test(test_opsets),   cmocka_unit_test(test_external),
      cmocka_unit_test(test_order),
  };
  return cmocka_run_group_tests(tests, models_folder_make, models_folder_remove);
}
