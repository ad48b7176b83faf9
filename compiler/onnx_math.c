/* Functions of one tensor and of two, element by element, and products with a matrix. */
#include "onnx_import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static enum vn_status need_runtime(const struct vnc_op *op) {
  const bool there = op->n_in && op->in[0];
  if (there && op->in[0]->kind == VNC_RUNTIME) return VN_OK;
  return vnc_op_fail(op, there ? VN_E_UNSUPPORTED : VN_E_FORMAT, "its input is %s",
                     there ? "a constant" : "missing");
}

static enum vn_status yield(const struct vnc_op *op, enum vn_status status,
                            const struct vnc_value *y) {
  return status ? status : vnc_op_yield_same(op, y);
}

/* ---- of one ---- */

enum vn_status vnc_op_map(const struct vnc_op *op, uint32_t kind, float a, float b,
                          const struct vnc_value *x, struct vnc_value *result) {
  struct vnc_graph *g = op->im->g;
  struct vnc_value y = *x;
  y.node = vnc_graph_node(g, VN_OP_MAP, op->name, &x->node, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  if (isnan(a) || isnan(b) || (kind == VN_MAP_CELU && a == 0))
    return vnc_op_fail(op, VN_E_FORMAT, "its numbers are not usable");
  g->nodes[y.node].kind = kind;
  g->nodes[y.node].a = a;
  g->nodes[y.node].b = b;
  *result = y;
  return vnc_op_infer(op, y.node);
}

static const struct {
  const char *type;
  uint32_t kind;
  const char *first, *second; /* attributes */
  float a, b;                 /* without them */
} maps[] = {
    {"Celu", VN_MAP_CELU, "alpha", NULL, 1, 0},
    {"Ceil", VN_MAP_CEIL, NULL, NULL, 0, 0},
    {"Erf", VN_MAP_ERF, NULL, NULL, 0, 0},
    {"Exp", VN_MAP_EXP, NULL, NULL, 0, 0},
    {"Floor", VN_MAP_FLOOR, NULL, NULL, 0, 0},
    {"HardSigmoid", VN_MAP_HARD_SIGMOID, "alpha", "beta", 0.2f, 0.5f},
    {"HardSwish", VN_MAP_HARD_SWISH, NULL, NULL, 0, 0},
    {"Log", VN_MAP_LOG, NULL, NULL, 0, 0},
    {"Mish", VN_MAP_MISH, NULL, NULL, 0, 0},
    {"Reciprocal", VN_MAP_RECIPROCAL, NULL, NULL, 0, 0},
    {"Round", VN_MAP_ROUND, NULL, NULL, 0, 0},
    {"Selu", VN_MAP_SELU, "alpha", "gamma", 1.67326319f, 1.05070102f},
    {"Sign", VN_MAP_SIGN, NULL, NULL, 0, 0},
    {"Softplus", VN_MAP_SOFTPLUS, NULL, NULL, 0, 0},
    {"Sqrt", VN_MAP_SQRT, NULL, NULL, 0, 0},
    {"Swish", VN_MAP_SWISH, "alpha", NULL, 1, 0},
    {"Tanh", VN_MAP_TANH, NULL, NULL, 0, 0},
};

static enum vn_status gelu(const struct vnc_op *op, struct vnc_value *y) {
  char text[32];
  vnc_op_string(op, "approximate", text);
  const bool by_tanh = !strcmp(text, "tanh");
  if (*text && !by_tanh && strcmp(text, "none"))
    return vnc_op_fail(op, VN_E_FORMAT, "approximate '%s'", text);
  return vnc_op_map(op, by_tanh ? VN_MAP_GELU_TANH : VN_MAP_GELU, 0, 0, op->in[0], y);
}

enum vn_status vnc_import_map(const struct vnc_op *op) {
  const char *type = op->proto->op_type;
  struct vnc_value y;
  enum vn_status status = need_runtime(op);
  if (status) return status;
  if (!strcmp(type, "Gelu")) return yield(op, gelu(op, &y), &y);
  if (!strcmp(type, "Not")) return yield(op, vnc_op_linear(op, op->in[0], -1, 1, &y), &y);
  size_t i = 0;
  while (strcmp(type, maps[i].type)) i++; /* the importer's table names no other */
  const float a = maps[i].first ? vnc_op_float(op, maps[i].first, maps[i].a) : 0;
  const float b = maps[i].second ? vnc_op_float(op, maps[i].second, maps[i].b) : 0;
  return yield(op, vnc_op_map(op, maps[i].kind, a, b, op->in[0], &y), &y);
}

/* A bound as attribute, before opset 11, or as input; neither: none. */
static enum vn_status bound(const struct vnc_op *op, const char *name, size_t input, float none,
                            float *value) {
  struct vnc_tensor t;
  bool present;
  *value = vnc_op_float(op, name, none);
  if (op->im->opset < 11) return VN_OK;
  enum vn_status status = vnc_op_const(op, input, &t, &present);
  if (status || !present) return status;
  if (t.elems != 1)
    status = vnc_op_fail(op, VN_E_UNSUPPORTED, "a bound that is no number");
  else
    *value = (float)vnc_tensor_at(&t, 0);
  vnc_tensor_free(&t);
  return status;
}

enum vn_status vnc_import_clip(const struct vnc_op *op) {
  struct vnc_value y;
  float low, high;
  enum vn_status status = need_runtime(op);
  if (!status) status = bound(op, "min", 1, -INFINITY, &low);
  if (!status) status = bound(op, "max", 2, INFINITY, &high);
  if (status) return status;
  return yield(op, vnc_op_map(op, VN_MAP_CLIP, low, high, op->in[0], &y), &y);
}

/* ---- of two ---- */

/* Functions that a swap of the operands leaves alone, or turns into another one. */
static uint32_t mirrored(uint32_t kind) {
  switch ((enum vn_binary)kind) {
  case VN_BINARY_MUL:
  case VN_BINARY_MIN:
  case VN_BINARY_MAX:
  case VN_BINARY_EQUAL:
    return kind;
  case VN_BINARY_GREATER:
    return VN_BINARY_LESS;
  case VN_BINARY_LESS:
    return VN_BINARY_GREATER;
  case VN_BINARY_GREATER_EQUAL:
    return VN_BINARY_LESS_EQUAL;
  case VN_BINARY_LESS_EQUAL:
    return VN_BINARY_GREATER_EQUAL;
  default:
    return VN_BINARY_COUNT;
  }
}

enum vn_status vnc_op_function(const struct vnc_op *op, uint32_t kind, const struct vnc_value *x,
                               const struct vnc_value *y, struct vnc_value *result) {
  struct vnc_graph *g = op->im->g;
  const uint32_t other = mirrored(kind);
  const uint64_t more = vnc_node_elems(&g->nodes[y->node]);
  const bool larger = y->view.rank > x->view.rank ||
                      (y->view.rank == x->view.rank && more > vnc_node_elems(&g->nodes[x->node]));
  const bool swaps = larger && other != VN_BINARY_COUNT;
  enum vn_status status = swaps ? vnc_op_binary(op, VN_OP_BINARY, false, *y, *x, result)
                                : vnc_op_binary(op, VN_OP_BINARY, false, *x, *y, result);
  if (!status) g->nodes[result->node].kind = swaps ? other : kind;
  return status;
}

/* Input i, computed; a constant becomes so. */
static enum vn_status operand(const struct vnc_op *op, size_t i, struct vnc_value *v) {
  struct vnc_tensor t;
  if (i >= op->n_in || !op->in[i]) return vnc_op_fail(op, VN_E_FORMAT, "an input is missing");
  *v = *op->in[i];
  if (v->kind == VNC_RUNTIME) return VN_OK;
  enum vn_status status = vnc_value_tensor(op->im, op->in[i], &t);
  if (status) return status;
  if (!t.rank) t.rank = t.dim[0] = 1;
  return vnc_view_const(op, op->in[i]->name, &t, v);
}

/* By an exponent that is one number. */
static enum vn_status power(const struct vnc_op *op, struct vnc_value *y) {
  struct vnc_tensor t;
  bool present;
  const struct vnc_value *x = op->in[0];
  enum vn_status status = vnc_op_const(op, 1, &t, &present);
  if (status) return status;
  const double by = present && t.elems == 1 ? vnc_tensor_at(&t, 0) : NAN;
  const bool fits = t.rank <= x->view.rank;
  vnc_tensor_free(&t);
  if (!fits)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "a constant of more dimensions than '%.60s'", x->name);
  if (by == 1) {
    *y = *x;
    return VN_OK;
  }
  if (by == 2) return vnc_op_function(op, VN_BINARY_MUL, x, x, y);
  if (by == 0.5) return vnc_op_map(op, VN_MAP_SQRT, 0, 0, x, y);
  if (by == -1) return vnc_op_map(op, VN_MAP_RECIPROCAL, 0, 0, x, y);
  struct vnc_value part;
  if (by == 3) status = vnc_op_function(op, VN_BINARY_MUL, x, x, &part);
  if (by == 3) return status ? status : vnc_op_function(op, VN_BINARY_MUL, &part, x, y);
  if (by == -0.5) status = vnc_op_map(op, VN_MAP_SQRT, 0, 0, x, &part);
  if (by == -0.5) return status ? status : vnc_op_map(op, VN_MAP_RECIPROCAL, 0, 0, &part, y);
  return vnc_op_fail(op, VN_E_UNSUPPORTED, "a power other than -1, -0.5, 0.5, 1, 2 or 3");
}

static const struct {
  const char *type;
  uint32_t kind;
} twos[] = {
    {"And", VN_BINARY_MIN},
    {"Div", VN_BINARY_DIV},
    {"Equal", VN_BINARY_EQUAL},
    {"Greater", VN_BINARY_GREATER},
    {"GreaterOrEqual", VN_BINARY_GREATER_EQUAL},
    {"Less", VN_BINARY_LESS},
    {"LessOrEqual", VN_BINARY_LESS_EQUAL},
    {"Max", VN_BINARY_MAX},
    {"Min", VN_BINARY_MIN},
    {"Mul", VN_BINARY_MUL},
    {"Or", VN_BINARY_MAX},
    {"Sub", VN_BINARY_SUB},
};

/* Max and Min take any number of operands: a chain. */
enum vn_status vnc_import_two(const struct vnc_op *op) {
  const char *type = op->proto->op_type;
  const bool any = !strcmp(type, "Max") || !strcmp(type, "Min");
  struct vnc_value x, y, result;
  size_t i = 0;
  if (!strcmp(type, "Pow")) {
    if (op->n_in != 2 || !op->in[0]) return vnc_op_fail(op, VN_E_FORMAT, "two inputs expected");
    if (op->in[0]->kind != VNC_RUNTIME)
      return vnc_op_fail(op, VN_E_UNSUPPORTED, "a power of a constant");
    return yield(op, power(op, &result), &result);
  }
  while (strcmp(type, twos[i].type)) i++;
  if (any ? !op->n_in : op->n_in != 2) return vnc_op_fail(op, VN_E_FORMAT, "two inputs expected");
  enum vn_status status = operand(op, 0, &x);
  result = x;
  for (size_t k = 1; !status && k < op->n_in; k++) {
    status = operand(op, k, &y);
    if (!status) status = vnc_op_function(op, twos[i].kind, &x, &y, &result);
    x = result;
  }
  return yield(op, status, &result);
}

/* ---- choices ---- */

/* Of no more dimensions than the result has by what else is chosen by and from. */
static bool number_of(const struct vnc_op *op, size_t i, float *value) {
  const struct vnc_value *other = op->in[3 - i];
  size_t rank = op->in[0]->view.rank;
  struct vnc_tensor t;
  if (other->kind == VNC_RUNTIME && other->view.rank > rank) rank = other->view.rank;
  if (op->in[i]->kind == VNC_RUNTIME || vnc_value_tensor(op->im, op->in[i], &t)) return false;
  const bool one = t.elems == 1 && t.is_float && t.rank <= rank;
  if (one) *value = t.f[0];
  vnc_tensor_free(&t);
  return one && isfinite(*value);
}

/* x where c is not 0 and elsewhere the number, or the other way (`drop`). */
static enum vn_status choose_number(const struct vnc_op *op, const struct vnc_value *x,
                                    float number, bool drop, struct vnc_value *y) {
  struct vnc_value kept, rest;
  const struct vnc_value c = *op->in[0];
  enum vn_status status = vnc_op_function(op, drop ? VN_BINARY_DROP : VN_BINARY_KEEP, x, &c, &kept);
  *y = kept;
  if (status || number == 0) return status;
  status = vnc_op_linear(op, &c, drop ? number : -number, drop ? 0 : number, &rest);
  return status ? status : vnc_op_binary(op, VN_OP_ADD, true, kept, rest, y);
}

/* One of two numbers: c (a - b) + b where that is exact, else each by itself. */
static enum vn_status choose_numbers(const struct vnc_op *op, float a, float b,
                                     struct vnc_value *y) {
  struct vnc_value yes, no;
  const struct vnc_value c = *op->in[0];
  const float apart = a - b;
  if (apart + b == a) return vnc_op_linear(op, &c, apart, b, y);
  enum vn_status status = vnc_op_linear(op, &c, a, 0, &yes);
  if (!status) status = vnc_op_linear(op, &c, -b, b, &no);
  return status ? status : vnc_op_binary(op, VN_OP_ADD, true, yes, no, y);
}

enum vn_status vnc_import_where(const struct vnc_op *op) {
  struct vnc_value y, kept, dropped;
  float a = 0, b = 0;
  if (op->n_in != 3 || !op->in[0] || !op->in[1] || !op->in[2])
    return vnc_op_fail(op, VN_E_FORMAT, "three inputs expected");
  if (op->in[0]->kind != VNC_RUNTIME)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "a choice by a constant");
  const struct vnc_value c = *op->in[0], yes = *op->in[1], no = *op->in[2];
  const bool first = number_of(op, 1, &a), second = number_of(op, 2, &b);
  if (first && second) return yield(op, choose_numbers(op, a, b, &y), &y);
  if ((!first && yes.kind != VNC_RUNTIME) || (!second && no.kind != VNC_RUNTIME))
    return vnc_op_fail(op, VN_E_UNSUPPORTED,
                       "a choice from a constant that is no number, or of more "
                       "dimensions");
  if (second) return yield(op, choose_number(op, &yes, b, false, &y), &y);
  if (first) return yield(op, choose_number(op, &no, a, true, &y), &y);
  enum vn_status status = vnc_op_function(op, VN_BINARY_KEEP, &yes, &c, &kept);
  if (!status) status = vnc_op_function(op, VN_BINARY_DROP, &no, &c, &dropped);
  if (!status) status = vnc_op_binary(op, VN_OP_ADD, true, kept, dropped, &y);
  return yield(op, status, &y);
}

/* ---- matrices: a 1x1x1 convolution along the last dimension ---- */

/* [in][out] or, `turned`, [out][in], times `alpha`, as a convolution's weights. */
static uint32_t matrix(const struct vnc_op *op, const struct vnc_tensor *t, bool turned,
                       float alpha) {
  const uint64_t in = t->dim[turned], out = t->dim[!turned], dim[5] = {out, 1, 1, 1, in};
  float *data = malloc((t->elems + 1) * sizeof *data);
  if (!data) op->im->g->failed = true;
  for (uint64_t o = 0; data && o < out; o++)
    for (uint64_t i = 0; i < in; i++)
      data[o * in + i] = alpha * t->f[turned ? o * in + i : i * out + o];
  return vnc_graph_const(op->im->g, op->in[1]->name, 5, dim, data);
}

static enum vn_status bias_of(const struct vnc_op *op, uint64_t out, float beta, uint32_t *id) {
  struct vnc_tensor t;
  bool present;
  *id = VN_NONE;
  enum vn_status status = vnc_op_const(op, 2, &t, &present);
  if (status || !present) return status;
  if (!t.is_float || (t.elems != 1 && (t.elems != out || t.dim[t.rank - 1] != out)))
    status = vnc_op_fail(op, VN_E_UNSUPPORTED, "a bias that has not one value for each column");
  float *data = status ? NULL : malloc(out * sizeof *data);
  for (uint64_t i = 0; data && i < out; i++) data[i] = beta * t.f[t.elems == 1 ? 0 : i];
  vnc_tensor_free(&t);
  if (!status && !data) status = vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  if (!status) *id = vnc_graph_const(op->im->g, op->in[2]->name, 1, &out, data);
  return status;
}

static enum vn_status product(const struct vnc_op *op, const struct vnc_tensor *t, bool turned,
                              float alpha, float beta) {
  struct vnc_graph *g = op->im->g;
  struct vnc_value x = *op->in[0];
  uint32_t axis, node = x.node, bias = VN_NONE;
  struct vnc_view view = x.view;
  if (t->rank != 2 || !t->is_float || !t->elems || !x.view.rank ||
      vnc_view_dim(g, &x, x.view.rank - 1) != t->dim[turned])
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "a matrix that does not fit '%.60s'", x.name);
  enum vn_status status = vnc_view_axis(op, &x, x.view.rank - 1, &axis);
  if (!status && axis != VN_C) status = vnc_view_to_channels(op, &x, axis, &node, &view);
  if (!status) status = bias_of(op, t->dim[!turned], beta, &bias);
  if (status) return status;
  const uint32_t weight = matrix(op, t, turned, alpha);
  const uint32_t id = vnc_graph_node(g, VN_OP_CONV3D, op->name, &node, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[id].weight = weight;
  g->nodes[id].bias = bias;
  status = vnc_op_infer(op, id);
  return status ? status : vnc_op_yield(op, id, &view);
}

enum vn_status vnc_import_matmul(const struct vnc_op *op) {
  struct vnc_tensor t;
  bool present;
  enum vn_status status = need_runtime(op);
  if (status) return status;
  const bool gemm = !strcmp(op->proto->op_type, "Gemm");
  if (gemm && vnc_op_int(op, "transA", 0))
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "a turned first operand");
  status = vnc_op_const(op, 1, &t, &present);
  if (status) return status;
  if (!present) return vnc_op_fail(op, VN_E_FORMAT, "it has no matrix");
  const bool turned = gemm && vnc_op_int(op, "transB", 0);
  status = product(op, &t, turned, gemm ? vnc_op_float(op, "alpha", 1) : 1,
                   gemm ? vnc_op_float(op, "beta", 1) : 1);
  vnc_tensor_free(&t);
  return status;
}
