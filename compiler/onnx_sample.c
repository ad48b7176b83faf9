/* Operators that take elements along axes by a table, as SAMPLE: pooling, reductions, padding,
 * slices with steps, choices by constant indices. Resizing is in onnx_resize.c. */
#include "onnx_sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW_MOST = 64, TAPS_MOST = 65535, INDEX_MOST = 1 << 24 };

static enum vn_status need_runtime(const struct vnc_op *op) {
  const bool there = op->n_in && op->in[0];
  if (there && op->in[0]->kind == VNC_RUNTIME) return VN_OK;
  return vnc_op_fail(op, there ? VN_E_UNSUPPORTED : VN_E_FORMAT, "its input is %s",
                     there ? "a constant" : "missing");
}

/* ---- tables ---- */

enum vn_status vnc_window_make(const struct vnc_op *op, struct vnc_sampling *s, uint32_t axis,
                               uint64_t out, uint64_t taps) {
  if (!out || !taps || out > INDEX_MOST || taps > TAPS_MOST)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "%llu elements of %llu taps along %c",
                       (unsigned long long)out, (unsigned long long)taps, "ncdhw"[axis]);
  enum vn_status status = vnc_import_touch(op->im, 2 * out * taps);
  if (status) return status;
  s->axis[axis] = (struct vnc_window){out, taps, calloc(2 * out * taps, sizeof(float))};
  return s->axis[axis].pairs ? VN_OK : vnc_op_fail(op, VN_E_MEMORY, "out of memory");
}

void vnc_sampling_free(struct vnc_sampling *s) {
  for (int a = 0; a < VN_AXES; a++) free(s->axis[a].pairs);
}

/* A node with the tables of the axes that `mask` names. */
static enum vn_status append_part(const struct vnc_op *op, struct vnc_sampling *s, unsigned mask,
                                  uint32_t *node) {
  struct vnc_graph *g = op->im->g;
  uint32_t table[VN_AXES] = {VN_NONE, VN_NONE, VN_NONE, VN_NONE, VN_NONE};
  for (int a = 0; a < VN_AXES; a++) {
    struct vnc_window *w = &s->axis[a];
    if (!(mask >> a & 1)) continue;
    table[a] = vnc_graph_const(g, op->name, 3, (const uint64_t[]){w->out, w->taps, 2}, w->pairs);
    w->pairs = NULL;
  }
  const uint32_t id = vnc_graph_node(g, VN_OP_SAMPLE, op->name, node, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  memcpy(g->nodes[id].table, table, sizeof table);
  g->nodes[id].kind = s->largest;
  g->nodes[id].a = s->fill;
  *node = id;
  return vnc_op_infer(op, id);
}

enum vn_status vnc_sampling_append(const struct vnc_op *op, struct vnc_sampling *s, uint32_t from,
                                   uint32_t *node) {
  static const int order[VN_AXES] = {VN_W, VN_H, VN_D, VN_C, VN_N};
  enum vn_status status = VN_OK;
  unsigned mask = 0;
  double taps = 1;
  for (int a = 0; a < VN_AXES; a++)
    if (s->axis[a].pairs) {
      mask |= 1u << a;
      taps *= (double)s->axis[a].taps;
    }
  const bool channels = mask >> VN_C & 1 && mask != 1u << VN_C;
  *node = from;
  if (mask && taps <= WINDOW_MOST && !channels) status = append_part(op, s, mask, node);
  for (int i = 0; !status && i < VN_AXES; i++)
    if (s->axis[order[i]].pairs) status = append_part(op, s, 1u << order[i], node);
  vnc_sampling_free(s);
  return status;
}

/* ---- pools ---- */

struct pool {
  bool largest, counts_pads, rounds_up;
  int64_t kernel, stride, dilation, before, after; /* along one axis */
};

static int64_t pool_size(const struct pool *p, int64_t in) {
  const int64_t reach = (p->kernel - 1) * p->dilation + 1, all = in + p->before + p->after;
  if (all < reach) return 0;
  int64_t out = (all - reach + (p->rounds_up ? p->stride - 1 : 0)) / p->stride + 1;
  if (p->rounds_up && (out - 1) * p->stride >= in + p->before) out--; /* begins in the padding */
  return out;
}

/* Taps beyond the input count where pads count; beyond those they never do. */
static enum vn_status pool_axis(const struct vnc_op *op, struct vnc_sampling *s, uint32_t axis,
                                const struct pool *p, int64_t in) {
  const int64_t out = pool_size(p, in);
  enum vn_status status =
      vnc_window_make(op, s, axis, out > 0 ? (uint64_t)out : 0, (uint64_t)p->kernel);
  if (status) return status;
  float *pair = s->axis[axis].pairs;
  for (int64_t o = 0; o < out; o++) {
    int64_t counted = 0;
    for (int64_t k = 0; k < p->kernel; k++) {
      const int64_t at = o * p->stride + k * p->dilation - p->before;
      const bool inside = at >= 0 && at < in;
      counted += inside || (p->counts_pads && at < in + p->after);
      pair[2 * k] = inside ? (float)at : -1;
    }
    for (int64_t k = 0; k < p->kernel; k++)
      pair[2 * k + 1] = p->largest || !counted ? 1 : 1.f / (float)counted;
    pair += 2 * p->kernel;
  }
  return VN_OK;
}

/* The i-th of an attribute's values. */
static enum vn_status pool_value(const struct vnc_op *op, const char *name, size_t n, size_t i,
                                 int64_t usual, int64_t *value) {
  const Onnx__AttributeProto *a = vnc_op_attribute(op, name);
  *value = usual;
  if (!a) return VN_OK;
  if (a->n_ints != n)
    return vnc_op_fail(op, VN_E_FORMAT, "'%s' has %zu values, %zu expected", name, a->n_ints, n);
  *value = a->ints[i];
  if (*value < (usual == 1 ? 1 : 0) || *value > TAPS_MOST)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "'%s' is %lld", name, (long long)*value);
  return VN_OK;
}

static void pool_auto_pad(struct pool *p, const char *how, int64_t in) {
  const bool lower = !strcmp(how, "SAME_LOWER");
  if (!strcmp(how, "VALID")) p->before = p->after = 0;
  if (!lower && strcmp(how, "SAME_UPPER")) return;
  const int64_t out = (in + p->stride - 1) / p->stride;
  int64_t all = (out - 1) * p->stride + (p->kernel - 1) * p->dilation + 1 - in;
  if (all < 0) all = 0;
  p->before = lower ? all - all / 2 : all / 2;
  p->after = all - p->before;
}

static enum vn_status pool_read(const struct vnc_op *op, size_t spatial, size_t i, int64_t in,
                                struct pool *p) {
  char how[32];
  const char *type = op->proto->op_type;
  p->largest = strstr(type, "Max") != NULL;
  p->counts_pads = vnc_op_int(op, "count_include_pad", 0) != 0;
  p->rounds_up = vnc_op_int(op, "ceil_mode", 0) != 0;
  p->kernel = in;
  p->stride = p->dilation = 1;
  p->before = p->after = 0;
  if (!strncmp(type, "Global", 6)) return VN_OK;
  if (!vnc_op_attribute(op, "kernel_shape"))
    return vnc_op_fail(op, VN_E_FORMAT, "it has no kernel_shape");
  enum vn_status status = pool_value(op, "kernel_shape", spatial, i, 1, &p->kernel);
  if (!status) status = pool_value(op, "strides", spatial, i, 1, &p->stride);
  if (!status) status = pool_value(op, "dilations", spatial, i, 1, &p->dilation);
  if (!status) status = pool_value(op, "pads", 2 * spatial, i, 0, &p->before);
  if (!status) status = pool_value(op, "pads", 2 * spatial, spatial + i, 0, &p->after);
  if (!status) pool_auto_pad(p, vnc_op_string(op, "auto_pad", how), in);
  return status;
}

enum vn_status vnc_import_pool(const struct vnc_op *op) {
  struct vnc_graph *g = op->im->g;
  struct vnc_sampling s = {.largest = strstr(op->proto->op_type, "Max") != NULL};
  uint32_t node = 0;
  enum vn_status status = need_runtime(op);
  if (status) return status;
  struct vnc_value x = *op->in[0];
  if (x.view.rank < 3 || x.view.rank > 5)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "of rank %zu", x.view.rank);
  if (s.largest) s.fill = -INFINITY;
  const size_t spatial = x.view.rank - 2;
  status = vnc_view_canonical(op, &x, &node);
  for (size_t i = 0; !status && i < spatial; i++) {
    const uint32_t axis = (uint32_t)(VN_AXES - spatial + i);
    struct pool p;
    const int64_t in = (int64_t)g->nodes[node].dim[axis];
    status = pool_read(op, spatial, i, in, &p);
    if (!status) status = pool_axis(op, &s, axis, &p, in);
  }
  if (status) {
    vnc_sampling_free(&s);
    return status;
  }
  status = vnc_sampling_append(op, &s, node, &node);
  vnc_view_of_rank(&x.view, x.view.rank);
  return status ? status : vnc_op_yield(op, node, &x.view);
}

/* ---- reductions ---- */

/* All elements of an axis as one. */
static enum vn_status whole_axis(const struct vnc_op *op, struct vnc_sampling *s, uint32_t axis,
                                 uint64_t in, bool mean) {
  enum vn_status status = vnc_window_make(op, s, axis, 1, in);
  for (uint64_t k = 0; !status && k < in; k++) {
    s->axis[axis].pairs[2 * k] = (float)k;
    s->axis[axis].pairs[2 * k + 1] = mean ? 1.f / (float)in : 1;
  }
  return status;
}

/* Which dimensions: listed, or all of them. */
static enum vn_status reduced(const struct vnc_op *op, size_t rank, bool gone[VNC_VIEW_RANK]) {
  int64_t axes[VNC_TENSOR_RANK];
  size_t n;
  bool present;
  enum vn_status status = vnc_op_list(op, "axes", 1, axes, &n, &present);
  const bool none = !n && vnc_op_int(op, "noop_with_empty_axes", 0);
  for (size_t i = 0; i < rank; i++) gone[i] = !n && !none;
  for (size_t k = 0; !status && k < n; k++) {
    size_t i;
    status = vnc_op_axis(op, axes[k], rank, &i);
    if (!status) gone[i] = true;
  }
  return status;
}

/* What is done before and after, by the operator's name. */
static enum vn_status reduce_before(const struct vnc_op *op, const char *type,
                                    struct vnc_value *x) {
  const struct vnc_value given = *x;
  if (!strcmp(type, "ReduceMin")) return vnc_op_linear(op, &given, -1, 0, x);
  if (strcmp(type, "ReduceL2") && strcmp(type, "ReduceSumSquare")) return VN_OK;
  return vnc_op_function(op, VN_BINARY_MUL, &given, &given, x);
}

static enum vn_status reduce_after(const struct vnc_op *op, const char *type, struct vnc_value *x) {
  const struct vnc_value given = *x;
  if (!strcmp(type, "ReduceMin")) return vnc_op_linear(op, &given, -1, 0, x);
  return strcmp(type, "ReduceL2") ? VN_OK : vnc_op_map(op, VN_MAP_SQRT, 0, 0, &given, x);
}

enum vn_status vnc_import_reduce(const struct vnc_op *op) {
  const struct vnc_graph *g = op->im->g;
  const char *type = op->proto->op_type;
  const bool mean = !strcmp(type, "ReduceMean");
  struct vnc_sampling s = {.largest = !strcmp(type, "ReduceMax") || !strcmp(type, "ReduceMin")};
  bool gone[VNC_VIEW_RANK];
  enum vn_status status = need_runtime(op);
  if (status) return status;
  struct vnc_value x = *op->in[0];
  status = reduced(op, x.view.rank, gone);
  if (!status) status = reduce_before(op, type, &x);
  for (size_t i = 0, k = 0; !status && i < x.view.rank; i++)
    for (size_t end = k + x.view.count[i]; !status && k < end; k++) {
      const uint32_t axis = x.view.order[k];
      const uint64_t in = g->nodes[x.node].dim[axis];
      if (gone[i] && in > 1) status = whole_axis(op, &s, axis, in, mean);
    }
  if (status) {
    vnc_sampling_free(&s);
    return status;
  }
  status = vnc_sampling_append(op, &s, x.node, &x.node);
  if (!status) status = reduce_after(op, type, &x);
  for (size_t i = x.view.rank; i-- > 0;)
    if (gone[i] && !vnc_op_int(op, "keepdims", 1)) vnc_view_drop(&x.view, i);
  return status ? status : vnc_op_yield_same(op, &x);
}

/* ---- padding ---- */

enum pad_mode { PAD_CONSTANT, PAD_EDGE, PAD_REFLECT, PAD_WRAP };

/* The element that lies at `at`, -1: none. */
static int64_t pad_source(enum pad_mode mode, int64_t at, int64_t in) {
  if (at >= 0 && at < in) return at;
  if (mode == PAD_CONSTANT) return -1;
  if (mode == PAD_EDGE) return at < 0 ? 0 : in - 1;
  if (mode == PAD_WRAP) return (at % in + in) % in;
  const int64_t period = in > 1 ? 2 * (in - 1) : 1, back = (at % period + period) % period;
  return back < in ? back : period - back;
}

static enum vn_status pad_axis(const struct vnc_op *op, struct vnc_sampling *s,
                               const struct vnc_value *x, size_t i, enum pad_mode mode,
                               int64_t before, int64_t after) {
  uint32_t axis;
  const int64_t in = (int64_t)vnc_view_dim(op->im->g, x, i), most = INDEX_MOST;
  if (!before && !after) return VN_OK;
  if (before < -most || after < -most || before > most || after > most || in > most ||
      in + before + after < 1)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "pads of %lld and %lld", (long long)before,
                       (long long)after);
  enum vn_status status = vnc_view_axis(op, x, i, &axis);
  if (!status) status = vnc_window_make(op, s, axis, (uint64_t)(in + before + after), 1);
  if (status) return status;
  for (int64_t o = 0; o < in + before + after; o++) {
    s->axis[axis].pairs[2 * o] = (float)pad_source(mode, o - before, in);
    s->axis[axis].pairs[2 * o + 1] = 1;
  }
  return VN_OK;
}

/* Attribute `value` before opset 11, then an input, which a number may be left out of. */
static enum vn_status pad_fill(const struct vnc_op *op, float *fill) {
  struct vnc_tensor t;
  bool present;
  *fill = vnc_op_float(op, "value", 0);
  if (op->im->opset < 11) return VN_OK;
  enum vn_status status = vnc_op_const(op, 2, &t, &present);
  if (status || !present) return status;
  if (t.elems) *fill = (float)vnc_tensor_at(&t, 0);
  vnc_tensor_free(&t);
  return isnan(*fill) ? vnc_op_fail(op, VN_E_UNSUPPORTED, "a padding of NaN") : VN_OK;
}

static enum vn_status pad_mode(const struct vnc_op *op, enum pad_mode *mode) {
  static const char *const names[] = {"constant", "edge", "reflect", "wrap"};
  char text[32];
  vnc_op_string(op, "mode", text);
  *mode = PAD_CONSTANT;
  for (int i = 0; i < 4; i++)
    if (!strcmp(text, names[i])) *mode = (enum pad_mode)i;
  if (!*text || !strcmp(text, names[*mode])) return VN_OK;
  return vnc_op_fail(op, VN_E_UNSUPPORTED, "mode '%s'", text);
}

/* pads of dimension i, both ends; `axes`: which dimensions are listed, from opset 18 on. */
static enum vn_status pads_read(const struct vnc_op *op, size_t rank,
                                int64_t pads[2][VNC_VIEW_RANK]) {
  struct vnc_tensor list = {0}, axes = {0};
  bool has_list, has_axes;
  enum vn_status status = vnc_op_const(op, 1, &list, &has_list);
  const Onnx__AttributeProto *a = vnc_op_attribute(op, "pads");
  if (!status) status = vnc_op_const(op, 3, &axes, &has_axes);
  const size_t n = status ? 0 : has_axes ? axes.elems : rank;
  memset(pads, 0, 2 * sizeof *pads);
  if (!status && (n > rank || (a ? a->n_ints != 2 * n : !has_list || list.elems != 2 * n)))
    status = vnc_op_fail(op, VN_E_FORMAT, "its pads do not fit rank %zu", rank);
  if (!status && ((has_list && list.is_float) || (has_axes && axes.is_float)))
    status = vnc_op_fail(op, VN_E_FORMAT, "its pads are no integers");
  for (size_t k = 0; !status && k < n; k++) {
    size_t i;
    status = vnc_op_axis(op, has_axes ? axes.i[k] : (int64_t)k, rank, &i);
    for (size_t end = 0; !status && end < 2; end++)
      pads[end][i] = a ? a->ints[end * n + k] : list.i[end * n + k];
  }
  vnc_tensor_free(&list);
  vnc_tensor_free(&axes);
  return status;
}

enum vn_status vnc_import_pad(const struct vnc_op *op) {
  struct vnc_sampling s = {.largest = false};
  int64_t pads[2][VNC_VIEW_RANK];
  enum pad_mode mode;
  enum vn_status status = need_runtime(op);
  if (status) return status;
  struct vnc_value x = *op->in[0];
  status = pads_read(op, x.view.rank, pads);
  if (!status) status = pad_mode(op, &mode);
  if (!status) status = pad_fill(op, &s.fill);
  for (size_t i = 0; !status && i < x.view.rank; i++)
    status = pad_axis(op, &s, &x, i, mode, pads[0][i], pads[1][i]);
  if (status) {
    vnc_sampling_free(&s);
    return status;
  }
  status = vnc_sampling_append(op, &s, x.node, &x.node);
  return status ? status : vnc_op_yield_same(op, &x);
}

/* ---- choices ---- */

enum vn_status vnc_op_stride(const struct vnc_op *op, const struct vnc_value *x, size_t i,
                             int64_t start, int64_t step, uint64_t count,
                             struct vnc_value *result) {
  struct vnc_sampling s = {.largest = false};
  uint32_t axis;
  *result = *x;
  if (start == 0 && step == 1 && count == vnc_view_dim(op->im->g, x, i)) return VN_OK;
  enum vn_status status = vnc_view_axis(op, x, i, &axis);
  if (!status) status = vnc_window_make(op, &s, axis, count, 1);
  for (uint64_t k = 0; !status && k < count; k++) {
    s.axis[axis].pairs[2 * k] = (float)(start + (int64_t)k * step);
    s.axis[axis].pairs[2 * k + 1] = 1;
  }
  if (status) {
    vnc_sampling_free(&s);
    return status;
  }
  return vnc_sampling_append(op, &s, x->node, &result->node);
}

/* Elements `index` of dimension i. */
static enum vn_status pick(const struct vnc_op *op, const struct vnc_value *x, size_t i,
                           const struct vnc_tensor *index, struct vnc_value *result) {
  struct vnc_sampling s = {.largest = false};
  const int64_t in = (int64_t)vnc_view_dim(op->im->g, x, i);
  uint32_t axis;
  *result = *x;
  enum vn_status status = vnc_view_axis(op, x, i, &axis);
  if (!status) status = vnc_window_make(op, &s, axis, index->elems, 1);
  for (uint64_t k = 0; !status && k < index->elems; k++) {
    const int64_t at = index->i[k] < 0 ? index->i[k] + in : index->i[k];
    if (at < 0 || at >= in) status = vnc_op_fail(op, VN_E_FORMAT, "an index outside of it");
    s.axis[axis].pairs[2 * k] = (float)at;
    s.axis[axis].pairs[2 * k + 1] = 1;
  }
  if (status) {
    vnc_sampling_free(&s);
    return status;
  }
  return vnc_sampling_append(op, &s, x->node, &result->node);
}

enum vn_status vnc_import_gather(const struct vnc_op *op) {
  struct vnc_tensor t;
  bool present;
  size_t i;
  enum vn_status status = need_runtime(op);
  if (status) return status;
  struct vnc_value x = *op->in[0], y;
  status = vnc_op_axis(op, vnc_op_int(op, "axis", 0), x.view.rank, &i);
  if (!status) status = vnc_op_const(op, 1, &t, &present);
  if (status) return status;
  if (!present || t.is_float || t.rank > 1 || !t.elems)
    status = vnc_op_fail(op, VN_E_UNSUPPORTED, "indices that are no list of constants");
  if (!status && op->im->g->nodes[x.node].dtype != VN_F32)
    status = vnc_op_fail(op, VN_E_UNSUPPORTED, "of integers");
  if (!status) status = pick(op, &x, i, &t, &y);
  if (!status && t.rank == 0) vnc_view_drop(&y.view, i);
  vnc_tensor_free(&t);
  return status ? status : vnc_op_yield_same(op, &y);
}

/* Names result `k` of the node. */
static enum vn_status name_part(const struct vnc_op *op, size_t k, uint32_t node,
                                const struct vnc_view *view) {
  struct vnc_value *v;
  if (!*op->proto->output[k]) return VN_OK;
  enum vn_status status = vnc_value_add(op->im, op->proto->output[k], &v);
  if (status) return status;
  v->kind = VNC_RUNTIME;
  v->node = node;
  v->view = *view;
  return VN_OK;
}

/* How many elements each part has. */
static enum vn_status split_sizes(const struct vnc_op *op, uint64_t in, uint64_t *size) {
  struct vnc_tensor t = {0};
  bool present;
  const size_t n = op->proto->n_output;
  const Onnx__AttributeProto *a = vnc_op_attribute(op, "split");
  enum vn_status status = vnc_op_const(op, 1, &t, &present);
  uint64_t all = 0;
  if (!status && (a ? a->n_ints != n : present && (t.is_float || t.elems != n)))
    status = vnc_op_fail(op, VN_E_FORMAT, "its sizes and its results differ in number");
  for (size_t k = 0; !status && k < n; k++) {
    const uint64_t even = (in + n - 1) / n, rest = all < in ? in - all : 0;
    const int64_t given = a ? a->ints[k] : present ? t.i[k] : 0;
    size[k] = a || present ? (uint64_t)given : even < rest ? even : rest;
    if (!size[k] || size[k] > in) status = vnc_op_fail(op, VN_E_UNSUPPORTED, "a part of no size");
    all += size[k];
  }
  vnc_tensor_free(&t);
  return status || all == in ? status : vnc_op_fail(op, VN_E_FORMAT, "parts of another size");
}

enum vn_status vnc_import_split_op(const struct vnc_op *op) {
  uint64_t size[VNC_NODE_INPUTS], start[VNC_VIEW_RANK] = {0}, dim[VNC_VIEW_RANK];
  size_t i;
  enum vn_status status = need_runtime(op);
  if (status) return status;
  const struct vnc_value x = *op->in[0]; /* naming moves values */
  if (op->proto->n_output > VNC_NODE_INPUTS || !op->proto->n_output)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "%zu results", op->proto->n_output);
  status = vnc_op_axis(op, vnc_op_int(op, "axis", 0), x.view.rank, &i);
  if (!status) status = split_sizes(op, vnc_view_dim(op->im->g, &x, i), size);
  for (size_t k = 0; !status && k < x.view.rank; k++) dim[k] = vnc_view_dim(op->im->g, &x, k);
  for (size_t k = 0; !status && k < op->proto->n_output; k++) {
    uint32_t node;
    dim[i] = size[k];
    status = vnc_view_take(op, &x, start, dim, &node);
    if (!status) status = name_part(op, k, node, &x.view);
    start[i] += size[k];
  }
  return status;
}
