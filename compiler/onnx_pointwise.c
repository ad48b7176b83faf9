/* Operators that keep the grid: activations, sums, scaling, normalisation, softmax, argmax. */
#include "onnx_import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Appends `kind` on `node`. */
static uint32_t append(const struct vnc_op *op, enum vn_op kind, const uint32_t *args, size_t n) {
  return vnc_graph_node(op->im->g, kind, op->name, args, n);
}

static enum vn_status finish(const struct vnc_op *op, uint32_t id, const struct vnc_view *view) {
  enum vn_status status = vnc_op_infer(op, id);
  return status ? status : vnc_op_yield(op, id, view);
}

/* As finish, of a value that the model has no name for. */
static enum vn_status keep(const struct vnc_op *op, uint32_t id, const struct vnc_view *view,
                           struct vnc_value *result) {
  *result = (struct vnc_value){.name = op->name, .kind = VNC_RUNTIME, .node = id, .view = *view};
  return vnc_op_infer(op, id);
}

static enum vn_status need_runtime(const struct vnc_op *op) {
  bool there = op->n_in && op->in[0];
  if (there && op->in[0]->kind == VNC_RUNTIME) return VN_OK;
  return vnc_op_fail(op, there ? VN_E_UNSUPPORTED : VN_E_FORMAT, "its input is %s",
                     there ? "a constant" : "missing");
}

/* ---- activations ---- */

static enum vn_status activation(const struct vnc_op *op, enum vn_act kind, float alpha,
                                 uint32_t slope, uint32_t from, const struct vnc_view *view) {
  uint32_t id = append(op, VN_OP_ACT, &from, 1);
  if (op->im->g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  op->im->g->nodes[id].act[0] = (struct vnc_act){kind, alpha, slope};
  return finish(op, id, view);
}

enum vn_status vnc_import_act(const struct vnc_op *op) {
  enum vn_status status = need_runtime(op);
  const char *type = op->proto->op_type;
  if (status) return status;
  if (op->n_in != 1) return vnc_op_fail(op, VN_E_FORMAT, "one input expected");
  enum vn_act kind = VN_ACT_RELU; /* or Abs, Neg: of integers, which graph_check refuses */
  float alpha = 0;
  if (!strcmp(type, "LeakyRelu")) {
    kind = VN_ACT_LEAKY;
    alpha = vnc_op_float(op, "alpha", 0.01f);
  } else if (!strcmp(type, "Elu")) {
    kind = VN_ACT_ELU;
    alpha = vnc_op_float(op, "alpha", 1);
  } else if (!strcmp(type, "Sigmoid")) {
    kind = VN_ACT_SIGMOID;
  }
  if (!isfinite(alpha)) return vnc_op_fail(op, VN_E_FORMAT, "its alpha is not finite");
  return activation(op, kind, alpha, VN_NONE, op->in[0]->node, &op->in[0]->view);
}

/* Does a constant vary along more than one dimension? */
static bool is_field(const struct vnc_tensor *t) {
  size_t larger = 0;
  for (size_t i = 0; i < t->rank; i++) larger += t->dim[i] != 1;
  return larger > 1;
}

/* A constant that varies along one dimension at most, broadcast to x from the right: the axis of x
 * that its values go along (VN_NONE: one value). */
static enum vn_status vector_axis(const struct vnc_op *op, const struct vnc_tensor *t,
                                  const struct vnc_value *x, uint32_t *axis) {
  *axis = VN_NONE;
  if (!t->is_float || !t->elems) return vnc_op_fail(op, VN_E_UNSUPPORTED, "a constant of integers");
  if (t->rank > x->view.rank)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "a constant of more dimensions than '%.60s'", x->name);
  for (size_t i = 0; i < t->rank; i++) {
    if (t->dim[i] == 1) continue;
    size_t j = x->view.rank - t->rank + i;
    if (t->dim[i] != vnc_view_dim(op->im->g, x, j))
      return vnc_op_fail(op, VN_E_UNSUPPORTED, "a constant that does not fit '%.60s'", x->name);
    enum vn_status status = vnc_view_axis(op, x, j, axis);
    if (status) return status;
  }
  return VN_OK;
}

/* x so that `axis` is its channels: x itself where it is. */
static enum vn_status with_channels(const struct vnc_op *op, const struct vnc_value *x,
                                    uint32_t axis, uint32_t *node, struct vnc_view *view) {
  *node = x->node;
  *view = x->view;
  if (axis == VN_NONE || axis == VN_C) return VN_OK;
  return vnc_view_to_channels(op, x, axis, node, view);
}

enum vn_status vnc_op_binary(const struct vnc_op *op, enum vn_op kind, bool swaps,
                             struct vnc_value x, struct vnc_value y, struct vnc_value *result) {
  struct vnc_graph *g = op->im->g;
  uint64_t start[VNC_VIEW_RANK] = {0}, full[VNC_VIEW_RANK];
  uint32_t args[2] = {x.node, y.node};
  bool larger = vnc_node_elems(&g->nodes[y.node]) > vnc_node_elems(&g->nodes[x.node]);
  if ((kind == VN_OP_ADD || swaps) &&
      (y.view.rank > x.view.rank || (y.view.rank == x.view.rank && larger))) {
    struct vnc_value swap = x;
    x = y;
    y = swap;
  }
  if (y.view.rank > x.view.rank)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "an operand of higher rank than its input");
  for (size_t i = 0; i < x.view.rank; i++) {
    size_t lead = x.view.rank - y.view.rank;
    uint64_t dim = vnc_view_dim(g, &x, i), other = i < lead ? 1 : vnc_view_dim(g, &y, i - lead);
    full[i] = dim == 1 ? other : dim;
  }
  enum vn_status status = vnc_view_take(op, &x, start, full, &args[0]);
  x.node = args[0];
  if (!status) status = vnc_view_align(op, &y, &x, VNC_VIEW_RANK, VN_NONE, &args[1]);
  if (status) return status;
  uint32_t id = append(op, kind, args, 2);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  return keep(op, id, &x.view, result);
}

static enum vn_status prelu_by_tensor(const struct vnc_op *op, struct vnc_value slopes) {
  struct vnc_value y;
  enum vn_status status = vnc_op_binary(op, VN_OP_PRELU, false, *op->in[0], slopes, &y);
  return status ? status : vnc_op_yield_same(op, &y);
}

enum vn_status vnc_import_prelu(const struct vnc_op *op) {
  struct vnc_tensor t;
  bool present;
  uint32_t axis, node;
  struct vnc_view view;
  enum vn_status status = need_runtime(op);
  if (status) return status;
  if (op->n_in < 2 || !op->in[1]) return vnc_op_fail(op, VN_E_FORMAT, "it has no slope");
  if (op->in[1]->kind == VNC_RUNTIME) return prelu_by_tensor(op, *op->in[1]);
  status = vnc_op_const(op, 1, &t, &present);
  if (status) return status;
  /* Before opset 7 a slope of rank 1 belongs to the channels, afterwards to the last axis. */
  if (op->im->opset < 7 && t.rank == 1 && op->in[0]->view.rank > 1) {
    t.rank = op->in[0]->view.rank - 1;
    for (size_t i = 1; i < t.rank && i < VNC_TENSOR_RANK; i++) t.dim[i] = 1;
  }
  if (is_field(&t)) {
    struct vnc_value slopes;
    status = vnc_view_const(op, op->in[1]->name, &t, &slopes);
    return status ? status : prelu_by_tensor(op, slopes);
  }
  status = vector_axis(op, &t, op->in[0], &axis);
  if (!status) status = with_channels(op, op->in[0], axis, &node, &view);
  if (status) {
    vnc_tensor_free(&t);
    return status;
  }
  uint32_t slope = vnc_graph_const(op->im->g, op->in[1]->name, 1, &t.elems, t.f);
  return activation(op, VN_ACT_PRELU, 0, slope, node, &view);
}

/* ---- sums and scaling ---- */

/* y = x * scale + shift, each with one value or one for each index along `axis`. Takes both; `name`
 * is theirs. */
static enum vn_status affine(const struct vnc_op *op, const struct vnc_value *x, uint32_t axis,
                             float *scale, float *shift, const char *const name[2],
                             struct vnc_value *result) {
  struct vnc_graph *g = op->im->g;
  uint32_t node;
  struct vnc_view view;
  enum vn_status status = with_channels(op, x, axis, &node, &view);
  if (status || !scale || !shift) {
    free(scale);
    free(shift);
    return status ? status : vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  }
  uint64_t channels = g->nodes[node].dim[VN_C];
  uint32_t scale_id = vnc_graph_const(g, name[0], 1, &channels, scale);
  uint32_t shift_id = vnc_graph_const(g, name[1], 1, &channels, shift);
  uint32_t id = append(op, VN_OP_AFFINE, &node, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[id].weight = scale_id;
  g->nodes[id].bias = shift_id;
  return keep(op, id, &view, result);
}

enum vn_status vnc_op_linear(const struct vnc_op *op, const struct vnc_value *x, float scale,
                             float shift, struct vnc_value *result) {
  const uint64_t n = op->im->g->nodes[x->node].dim[VN_C];
  enum vn_status status = vnc_import_touch(op->im, n);
  if (status) return status;
  float *scales = malloc(n * sizeof *scales), *shifts = malloc(n * sizeof *shifts);
  for (uint64_t i = 0; scales && shifts && i < n; i++) {
    scales[i] = scale;
    shifts[i] = shift;
  }
  return affine(op, x, VN_NONE, scales, shifts, (const char *[]){op->name, op->name}, result);
}

/* A product, quotient or difference with a constant that varies along several dimensions. Takes t.
 */
static enum vn_status with_field(const struct vnc_op *op, const struct vnc_value *x,
                                 const char *name, struct vnc_tensor *t, const char *type,
                                 bool reversed, struct vnc_value *result) {
  struct vnc_value field;
  const uint32_t kind = *type == 'M' ? VN_BINARY_MUL : *type == 'S' ? VN_BINARY_SUB : VN_BINARY_DIV;
  enum vn_status status = vnc_view_const(op, name, t, &field);
  if (status) return status;
  return reversed ? vnc_op_function(op, kind, &field, x, result)
                  : vnc_op_function(op, kind, x, &field, result);
}

/* x op constant for Add, Sub, Mul, Div; `reversed`: constant op x. */
static enum vn_status with_constant(const struct vnc_op *op, const struct vnc_value *x,
                                    const struct vnc_value *c, const char *type, bool reversed,
                                    struct vnc_value *result) {
  struct vnc_tensor t;
  uint32_t axis;
  struct vnc_value inverse;
  enum vn_status status = vnc_value_tensor(op->im, c, &t);
  if (!status && reversed && !strcmp(type, "Div")) {
    status = vnc_op_map(op, VN_MAP_RECIPROCAL, 0, 0, x, &inverse);
    x = &inverse;
    type = "Mul";
  }
  if (status) {
    vnc_tensor_free(&t);
    return status;
  }
  bool sums = !strcmp(type, "Add") || (!strcmp(type, "Sub") && !reversed);
  if (is_field(&t) && sums) {
    struct vnc_value field;
    for (uint64_t i = 0; t.is_float && *type == 'S' && i < t.elems; i++) t.f[i] = -t.f[i];
    status = vnc_view_const(op, c->name, &t, &field);
    return status ? status : vnc_op_binary(op, VN_OP_ADD, true, *x, field, result);
  }
  if (is_field(&t)) return with_field(op, x, c->name, &t, type, reversed, result);
  status = vector_axis(op, &t, x, &axis);
  if (status) {
    vnc_tensor_free(&t);
    return status;
  }
  uint64_t n = op->im->g->nodes[x->node].dim[axis == VN_NONE ? VN_C : axis];
  if ((status = vnc_import_touch(op->im, n))) {
    vnc_tensor_free(&t);
    return status;
  }
  float *scale = malloc(n * sizeof *scale), *shift = malloc(n * sizeof *shift);
  for (uint64_t i = 0; scale && shift && i < n; i++) {
    float v = t.f[t.elems == 1 ? 0 : i];
    scale[i] = !strcmp(type, "Mul") ? v : !strcmp(type, "Div") ? 1 / v : 1;
    shift[i] = !strcmp(type, "Add") ? v : !strcmp(type, "Sub") ? (reversed ? v : -v) : 0;
    if (!strcmp(type, "Sub") && reversed) scale[i] = -1;
  }
  vnc_tensor_free(&t);
  return affine(op, x, axis, scale, shift, (const char *[]){c->name, c->name}, result);
}

enum vn_status vnc_import_scale(const struct vnc_op *op) {
  const char *type = op->proto->op_type;
  struct vnc_value y;
  enum vn_status status;
  if (op->n_in != 2 || !op->in[0] || !op->in[1])
    return vnc_op_fail(op, VN_E_FORMAT, "two inputs expected");
  if (vnc_op_attribute(op, "axis"))
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "broadcasting along an axis, as before opset 7");
  bool first = op->in[0]->kind == VNC_RUNTIME, second = op->in[1]->kind == VNC_RUNTIME;
  if (!first || !second)
    status = with_constant(op, op->in[first ? 0 : 1], op->in[first ? 1 : 0], type, !first, &y);
  else if (!strcmp(type, "Add"))
    status = vnc_op_binary(op, VN_OP_ADD, true, *op->in[0], *op->in[1], &y);
  else
    return vnc_import_two(op);
  return status ? status : vnc_op_yield_same(op, &y);
}

/* A chain of Adds, from the first computed input on. */
enum vn_status vnc_import_sum(const struct vnc_op *op) {
  size_t first = 0;
  for (size_t i = 0; i < op->n_in; i++)
    if (!op->in[i]) return vnc_op_fail(op, VN_E_FORMAT, "an input is missing");
  while (op->in[first]->kind != VNC_RUNTIME) first++; /* there is one, or it would be folded */
  struct vnc_value sum = *op->in[first], x;
  for (size_t i = 0; i < op->n_in; i++) {
    if (i == first) continue;
    x = sum;
    enum vn_status status = op->in[i]->kind == VNC_RUNTIME
                                ? vnc_op_binary(op, VN_OP_ADD, true, x, *op->in[i], &sum)
                                : with_constant(op, &x, op->in[i], "Add", false, &sum);
    if (status) return status;
  }
  return vnc_op_yield_same(op, &sum);
}

/* ---- normalisation ---- */

/* Inputs 1 … n as vectors with one float for each of `channels`. The caller frees them all. */
static enum vn_status vectors(const struct vnc_op *op, size_t n, uint64_t channels,
                              struct vnc_tensor *t) {
  for (size_t i = 0; i < n; i++) {
    bool present;
    enum vn_status status = vnc_op_const(op, 1 + i, &t[i], &present);
    if (status) return status;
    if (!present || !t[i].is_float || t[i].elems != channels)
      return vnc_op_fail(op, VN_E_FORMAT, "input %zu does not have one value for each channel",
                         1 + i);
  }
  return VN_OK;
}

static bool batch_statistics(const struct vnc_op *op) {
  size_t used = 0;
  for (size_t i = 0; i < op->proto->n_output; i++) used += *op->proto->output[i] != '\0';
  bool old = op->im->opset < 7 && !vnc_op_int(op, "is_test", 0);
  return op->own || used > 1 || old;
}

/* BatchNorm by the statistics of what it gets: of a single image those of its channels. */
static enum vn_status batch_norm(const struct vnc_op *op) {
  const struct vnc_value *x = op->in[0];
  const uint64_t batch = x->view.rank ? vnc_view_dim(op->im->g, x, 0) : 1;
  if (batch != 1)
    return vnc_op_fail(op, VN_E_UNSUPPORTED,
                       "it normalises by the statistics of a whole batch, which is taken for a "
                       "batch of 1 alone, and this one is of %llu: export with a batch of 1, or "
                       "with running statistics, in evaluation mode (model.eval())",
                       (unsigned long long)batch);
  op->im->g->batch_norms++;
  return vnc_import_instancenorm(op);
}

enum vn_status vnc_import_batchnorm(const struct vnc_op *op) {
  struct vnc_tensor t[4] = {0}; /* scale, shift, mean, variance */
  uint32_t axis = VN_NONE;
  enum vn_status status = need_runtime(op);
  if (status) return status;
  if (!vnc_op_int(op, "spatial", 1))
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "statistics for each voxel, not for each channel");
  if (batch_statistics(op)) return batch_norm(op);
  const struct vnc_value x = *op->in[0];
  if (x.view.rank < 2) status = vnc_op_fail(op, VN_E_FORMAT, "an input without channels");
  if (!status) status = vnc_view_axis(op, &x, 1, &axis);
  uint64_t n = status ? 0 : vnc_view_dim(op->im->g, &x, 1);
  if (!status) status = vectors(op, 4, n, t);
  float *scale = NULL, *shift = NULL;
  if (!status) {
    double epsilon = (double)vnc_op_float(op, "epsilon", 1e-5f);
    scale = malloc(n * sizeof *scale);
    shift = malloc(n * sizeof *shift);
    for (uint64_t i = 0; scale && shift && i < n; i++) {
      double s = (double)t[0].f[i] / sqrt((double)t[3].f[i] + epsilon);
      scale[i] = (float)s;
      shift[i] = (float)((double)t[1].f[i] - (double)t[2].f[i] * s);
      if (!isfinite(scale[i]) || !isfinite(shift[i]))
        status = vnc_op_fail(op, VN_E_FORMAT, "its variances are not usable");
    }
  }
  for (size_t i = 0; i < 4; i++) vnc_tensor_free(&t[i]);
  if (status) {
    free(scale);
    free(shift);
    return status;
  }
  struct vnc_value y;
  status =
      affine(op, &x, axis, scale, shift, (const char *[]){op->in[1]->name, op->in[2]->name}, &y);
  return status ? status : vnc_op_yield_same(op, &y);
}

/* ---- along an axis ---- */

/* An axis of one element, c if that is one; VN_NONE: all are larger. */
static uint32_t single_axis(const struct vnc_node *node) {
  uint32_t axis = VN_NONE;
  for (uint32_t a = 0; a < VN_AXES; a++)
    if (node->dim[a] == 1 && axis != VN_C) axis = a;
  return axis;
}

/* Along a dimension of one element that is none of our axes: 1 or, as a logarithm, 0, and NaN of
 * what is not finite. */
static enum vn_status softmax_of_one(const struct vnc_op *op, bool log) {
  const uint64_t channels = op->im->g->nodes[op->in[0]->node].dim[VN_C];
  struct vnc_value y;
  enum vn_status status = vnc_import_touch(op->im, channels);
  if (status) return status;
  float *scale = calloc(channels, sizeof *scale), *shift = calloc(channels, sizeof *shift);
  for (uint64_t c = 0; shift && !log && c < channels; c++) shift[c] = 1;
  status = affine(op, op->in[0], VN_NONE, scale, shift, (const char *[]){op->name, op->name}, &y);
  return status ? status : vnc_op_yield_same(op, &y);
}

/* Before opset 13 softmax takes everything from `axis` on as one axis (default 1), since then one
 * axis alone (default the last). */
enum vn_status vnc_import_softmax(const struct vnc_op *op) {
  bool one_axis = op->im->opset >= 13, log = !strcmp(op->proto->op_type, "LogSoftmax");
  enum vn_status status = need_runtime(op);
  if (status) return status;
  const struct vnc_value *x = op->in[0];
  struct vnc_graph *g = op->im->g;
  size_t first;
  status = vnc_op_axis(op, vnc_op_int(op, "axis", one_axis ? -1 : 1), x->view.rank, &first);
  uint32_t axis = VN_NONE, more = 0;
  size_t k = 0, end = 0;
  for (size_t i = 0; !status && i < x->view.rank; i++, k = end) {
    end = k + x->view.count[i];
    if (i < first || (one_axis && i > first)) continue;
    for (; k < end; k++) {
      uint32_t a = x->view.order[k];
      if (g->nodes[x->node].dim[a] > 1) {
        if (axis == VN_NONE)
          axis = a;
        else
          more |= 1u << a;
      }
    }
  }
  if (status) return status;
  if (axis == VN_NONE) axis = single_axis(&g->nodes[x->node]);
  if (axis == VN_NONE) return softmax_of_one(op, log);
  uint32_t id = append(op, log ? VN_OP_LOGSOFTMAX : VN_OP_SOFTMAX, &x->node, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[id].axis = axis;
  g->nodes[id].more_axes = more;
  return finish(op, id, &x->view);
}

enum vn_status vnc_import_argmax(const struct vnc_op *op) {
  enum vn_status status = need_runtime(op);
  if (status) return status;
  const struct vnc_value *x = op->in[0];
  struct vnc_graph *g = op->im->g;
  size_t i;
  uint32_t axis;
  status = vnc_op_axis(op, vnc_op_int(op, "axis", 0), x->view.rank, &i);
  if (!status) status = vnc_view_axis(op, x, i, &axis);
  if (status) return status;
  struct vnc_view view = x->view;
  if (!vnc_op_int(op, "keepdims", 1)) vnc_view_drop(&view, i);
  uint32_t id = append(op, VN_OP_ARGMAX, &x->node, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[id].axis = axis;
  g->nodes[id].select_last = vnc_op_int(op, "select_last_index", 0) != 0;
  return finish(op, id, &view);
}

/* ---- what changes types, or nothing ---- */

enum vn_status vnc_import_cast(const struct vnc_op *op) {
  enum { FLOAT = 1, FLOAT16 = 10, DOUBLE = 11, BOOL = 9 };
  int64_t to = vnc_op_int(op, "to", 0);
  enum vn_status status = need_runtime(op);
  if (status) return status;
  const struct vnc_value *x = op->in[0];
  struct vnc_graph *g = op->im->g;
  bool real = to == FLOAT || to == FLOAT16 || to == DOUBLE;
  if (!real && (to < 2 || to > 13 || to == 8 || to == BOOL))
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "to type %lld", (long long)to);
  uint32_t wanted = real ? VN_F32 : VN_I32;
  if (g->nodes[x->node].dtype == wanted) return vnc_op_yield(op, x->node, &x->view);
  uint32_t id = append(op, VN_OP_CAST, &x->node, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[id].dtype = wanted;
  return finish(op, id, &x->view);
}

/* Identity, and Dropout, which does nothing at inference. */
enum vn_status vnc_import_pass(const struct vnc_op *op) {
  struct vnc_tensor t;
  bool present;
  if (!op->n_in || !op->in[0]) return vnc_op_fail(op, VN_E_FORMAT, "its input is missing");
  if (!strcmp(op->proto->op_type, "Dropout")) {
    enum vn_status status = vnc_op_const(op, 2, &t, &present);
    if (status) return status;
    bool training = present && t.elems && vnc_tensor_at(&t, 0) != 0;
    training = training || (op->im->opset < 7 && !vnc_op_int(op, "is_test", 0));
    vnc_tensor_free(&t);
    if (training)
      return vnc_op_fail(op, VN_E_UNSUPPORTED,
                         "it is in training mode; export the network in evaluation mode");
  }
  return vnc_op_yield_same(op, op->in[0]);
}
