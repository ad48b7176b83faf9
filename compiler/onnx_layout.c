/* Operators that move data: where a view says it all, nothing is appended. */
#include "onnx_import.h"

#include <stdlib.h>
#include <string.h>

static enum vn_status need_runtime(const struct vnc_op *op) {
  bool there = op->n_in && op->in[0];
  if (there && op->in[0]->kind == VNC_RUNTIME) return VN_OK;
  return vnc_op_fail(op, there ? VN_E_UNSUPPORTED : VN_E_FORMAT, "its input is %s",
                     there ? "a constant" : "missing");
}

static void dims_of(const struct vnc_op *op, const struct vnc_value *v,
                    uint64_t dim[VNC_VIEW_RANK]) {
  for (size_t i = 0; i < v->view.rank; i++) dim[i] = vnc_view_dim(op->im->g, v, i);
}

/* An operand of a concat on the axes of the first one. */
static enum vn_status concat_part(const struct vnc_op *op, const struct vnc_value *v,
                                  const struct vnc_value *first, size_t along, uint32_t axis,
                                  uint32_t *node) {
  if (v->view.rank != first->view.rank)
    return vnc_op_fail(op, VN_E_FORMAT, "its inputs differ in rank");
  for (size_t i = 0; i < v->view.rank; i++)
    if (i != along && vnc_view_dim(op->im->g, v, i) != vnc_view_dim(op->im->g, first, i))
      return vnc_op_fail(op, VN_E_FORMAT,
                         "'%.50s' and '%.50s' differ in size, %llu and %llu along dimension %zu; a "
                         "grid must be a multiple of 2 for each stage below it",
                         first->name, v->name,
                         (unsigned long long)vnc_view_dim(op->im->g, first, i),
                         (unsigned long long)vnc_view_dim(op->im->g, v, i), i);
  return vnc_view_align(op, v, first, along, axis, node);
}

enum vn_status vnc_import_concat(const struct vnc_op *op) {
  struct vnc_graph *g = op->im->g;
  uint32_t args[VNC_NODE_INPUTS], axis;
  size_t along;
  for (size_t k = 0; k < op->n_in; k++)
    if (!op->in[k] || op->in[k]->kind != VNC_RUNTIME)
      return vnc_op_fail(op, VN_E_UNSUPPORTED, "one of its inputs is a constant");
  if (!op->n_in || op->n_in > 64) return vnc_op_fail(op, VN_E_UNSUPPORTED, "%zu inputs", op->n_in);
  const struct vnc_value *first = op->in[0];
  enum vn_status status = vnc_op_axis(op, vnc_op_int(op, "axis", 1), first->view.rank, &along);
  if (!status) status = vnc_view_axis(op, first, along, &axis);
  for (size_t k = 0; !status && k < op->n_in; k++)
    status = concat_part(op, op->in[k], first, along, axis, &args[k]);
  if (status) return status;
  uint32_t id = vnc_graph_node(g, VN_OP_CONCAT, op->name, args, op->n_in);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[id].axis = axis;
  status = vnc_op_infer(op, id);
  return status ? status : vnc_op_yield(op, id, &first->view);
}

enum vn_status vnc_import_transpose(const struct vnc_op *op) {
  enum vn_status status = need_runtime(op);
  if (status) return status;
  const struct vnc_value *x = op->in[0];
  if (x->groups) return vnc_import_shuffle(op);
  const Onnx__AttributeProto *perm = vnc_op_attribute(op, "perm");
  struct vnc_view view = x->view;
  size_t rank = x->view.rank, n = 0, leading = 0;
  bool seen[VNC_VIEW_RANK] = {false};
  if (perm && perm->n_ints != rank)
    return vnc_op_fail(op, VN_E_FORMAT, "its perm does not fit rank %zu", rank);
  for (size_t i = 0; i < rank; i++) {
    int64_t from = perm ? perm->ints[i] : (int64_t)(rank - 1 - i);
    if (from < 0 || from >= (int64_t)rank || seen[from])
      return vnc_op_fail(op, VN_E_FORMAT, "its perm is no permutation");
    seen[from] = true;
    leading = 0;
    for (size_t k = 0; k < (size_t)from; k++) leading += x->view.count[k];
    view.count[i] = x->view.count[from];
    for (size_t k = 0; k < x->view.count[from]; k++) view.order[n++] = x->view.order[leading + k];
  }
  return vnc_op_yield(op, x->node, &view);
}

/* ---- new shapes ---- */

/* Reshape's rules: 0 copies a dimension unless allowzero, one -1 takes what is left. */
static enum vn_status reshape_dims(const struct vnc_op *op, const int64_t *list, size_t n,
                                   uint64_t *dim) {
  const struct vnc_value *x = op->in[0];
  uint64_t known = 1, total = vnc_node_elems(&op->im->g->nodes[x->node]);
  size_t open = n;
  bool keep_zero = vnc_op_int(op, "allowzero", 0) != 0;
  for (size_t i = 0; i < n; i++) {
    if (list[i] == -1 && open == n) {
      open = i;
      continue;
    }
    bool copies = list[i] == 0 && !keep_zero && i < x->view.rank;
    if (copies && x->groups && i) return vnc_op_fail(op, VN_E_UNSUPPORTED, "a copied group");
    if (list[i] <= 0 && !copies)
      return vnc_op_fail(op, list[i] ? VN_E_FORMAT : VN_E_UNSUPPORTED,
                         "a new shape with %lld in it", (long long)list[i]);
    dim[i] = copies ? vnc_view_dim(op->im->g, x, i) : (uint64_t)list[i];
    if (dim[i] > total || known > total / dim[i])
      return vnc_op_fail(op, VN_E_FORMAT, "its new shape does not fit '%.60s'", x->name);
    known *= dim[i];
  }
  if (open < n) dim[open] = total / known;
  return VN_OK;
}

static enum vn_status flatten_dims(const struct vnc_op *op, uint64_t dim[2]) {
  const struct vnc_value *x = op->in[0];
  int64_t axis = vnc_op_int(op, "axis", 1);
  if (axis < 0) axis += (int64_t)x->view.rank;
  if (axis < 0 || axis > (int64_t)x->view.rank)
    return vnc_op_fail(op, VN_E_FORMAT, "its axis is outside the tensor");
  dim[0] = dim[1] = 1;
  for (size_t i = 0; i < x->view.rank; i++) dim[i >= (size_t)axis] *= vnc_view_dim(op->im->g, x, i);
  return VN_OK;
}

static bool listed(const int64_t *list, size_t n, int64_t i, size_t rank) {
  for (size_t k = 0; k < n; k++)
    if (list[k] == i || list[k] == i - (int64_t)rank) return true;
  return false;
}

/* Squeeze and Unsqueeze: axes as an attribute before opset 13, as an input since then. */
static enum vn_status squeezed_dims(const struct vnc_op *op, bool squeeze, uint64_t *dim,
                                    size_t *rank) {
  const struct vnc_value *x = op->in[0];
  int64_t list[VNC_TENSOR_RANK];
  size_t n, from = 0;
  bool present;
  enum vn_status status = vnc_op_list(op, "axes", 1, list, &n, &present);
  if (status) return status;
  size_t in = x->view.rank, total = squeeze ? in : in + n;
  if (total > VNC_VIEW_RANK)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "a result of rank %zu", total);
  *rank = 0;
  for (size_t i = 0; i < total; i++) {
    bool named = listed(list, n, (int64_t)i, total);
    uint64_t size = squeeze ? vnc_view_dim(op->im->g, x, i) : 1;
    if (squeeze && !present) named = size == 1;
    if (squeeze && named && size != 1)
      return vnc_op_fail(op, VN_E_FORMAT, "dimension %zu has %llu elements", i,
                         (unsigned long long)size);
    if (squeeze && !named) dim[(*rank)++] = size;
    if (!squeeze) {
      if (!named && from == in) return vnc_op_fail(op, VN_E_FORMAT, "an axis is named twice");
      dim[(*rank)++] = named ? 1 : vnc_view_dim(op->im->g, x, from++);
    }
  }
  return VN_OK;
}

static enum vn_status reshape_to(const struct vnc_op *op, const uint64_t *dim, size_t rank) {
  struct vnc_value x = *op->in[0];
  if (x.groups) return vnc_import_unsplit(op, dim, rank);
  enum vn_status status = vnc_view_reshape(op, op->in[0], dim, rank, &x.view);
  if (!status || !vnc_import_split(op, dim, rank, &x))
    return status ? status : vnc_op_yield(op, op->in[0]->node, &x.view);
  return vnc_op_yield_same(op, &x);
}

enum vn_status vnc_import_reshape(const struct vnc_op *op) {
  uint64_t dim[VNC_TENSOR_RANK];
  int64_t list[VNC_TENSOR_RANK];
  size_t rank = 0;
  bool present;
  const char *type = op->proto->op_type;
  enum vn_status status = need_runtime(op);
  if (status) return status;
  if (!strcmp(type, "Flatten")) {
    rank = 2;
    status = flatten_dims(op, dim);
  } else if (!strcmp(type, "Squeeze") || !strcmp(type, "Unsqueeze")) {
    status = squeezed_dims(op, *type == 'S', dim, &rank);
  } else {
    status = vnc_op_list(op, "shape", 1, list, &rank, &present);
    if (!status && !present) status = vnc_op_fail(op, VN_E_FORMAT, "it has no shape");
    if (!status) status = reshape_dims(op, list, rank, dim);
  }
  return status ? status : reshape_to(op, dim, rank);
}

/* ---- parts and repeats ---- */

static enum vn_status take(const struct vnc_op *op, const struct vnc_value *x,
                           const uint64_t *start, const uint64_t *dim) {
  uint32_t node;
  enum vn_status status = vnc_view_take(op, x, start, dim, &node);
  return status ? status : vnc_op_yield(op, node, &x->view);
}

/* Whole dimensions and steps of one by a COPY, what is left by the table of each axis. */
static enum vn_status slice_steps(const struct vnc_op *op, const int64_t *axes, bool has_axes,
                                  const int64_t *starts, const int64_t *ends, const int64_t *steps,
                                  size_t n, struct vnc_value *x) {
  for (size_t k = 0; k < n; k++) {
    size_t i;
    enum vn_status status = vnc_op_axis(op, has_axes ? axes[k] : (int64_t)k, x->view.rank, &i);
    if (status) return status;
    const int64_t size = (int64_t)vnc_view_dim(op->im->g, x, i), by = steps[k];
    int64_t from = starts[k], to = ends[k];
    if (!by || by < -(1 << 30) || by > 1 << 30)
      return vnc_op_fail(op, VN_E_FORMAT, "a step of %lld", (long long)by);
    const int64_t least = by < 0 ? -1 : 0, most = by < 0 ? size - 1 : size;
    if (from < 0) from = from < -size ? least : from + size;
    if (to < 0) to = to < -size ? least : to + size;
    from = from > most ? most : from < 0 ? 0 : from;
    to = to > most ? most : to;
    const int64_t count = by > 0 ? (to - from + by - 1) / by : (from - to - by - 1) / -by;
    if (count < 1) return vnc_op_fail(op, VN_E_UNSUPPORTED, "its result is empty");
    struct vnc_value part;
    status = vnc_op_stride(op, x, i, from, by, (uint64_t)count, &part);
    if (status) return status;
    *x = part;
  }
  return vnc_op_yield_same(op, x);
}

enum vn_status vnc_import_slice(const struct vnc_op *op) {
  int64_t starts[VNC_TENSOR_RANK], ends[VNC_TENSOR_RANK], axes[VNC_TENSOR_RANK],
      steps[VNC_TENSOR_RANK];
  uint64_t start[VNC_VIEW_RANK] = {0}, dim[VNC_VIEW_RANK];
  size_t n, n_ends, n_axes, n_steps;
  bool has_starts, has_ends, has_axes, has_steps;
  enum vn_status status = need_runtime(op);
  if (!status) status = vnc_op_list(op, "starts", 1, starts, &n, &has_starts);
  if (!status) status = vnc_op_list(op, "ends", 2, ends, &n_ends, &has_ends);
  if (!status) status = vnc_op_list(op, "axes", 3, axes, &n_axes, &has_axes);
  if (!status) status = vnc_op_list(op, "steps", 4, steps, &n_steps, &has_steps);
  if (status) return status;
  if (!has_starts || n_ends != n || (has_axes && n_axes != n) || (has_steps && n_steps != n))
    return vnc_op_fail(op, VN_E_FORMAT, "its starts, ends, axes and steps do not go together");
  struct vnc_value x = *op->in[0];
  for (size_t k = 0; has_steps && k < n; k++)
    if (steps[k] != 1) return slice_steps(op, axes, has_axes, starts, ends, steps, n, &x);
  dims_of(op, op->in[0], dim);
  for (size_t k = 0; k < n; k++) {
    size_t i;
    status = vnc_op_axis(op, has_axes ? axes[k] : (int64_t)k, op->in[0]->view.rank, &i);
    if (status) return status;
    int64_t size = (int64_t)dim[i], from = starts[k], to = ends[k];
    if (from < 0) from = from < -size ? 0 : from + size;
    if (to < 0) to = to < -size ? 0 : to + size;
    if (to > size) to = size;
    if (from >= to) return vnc_op_fail(op, VN_E_UNSUPPORTED, "its result is empty");
    start[i] = (uint64_t)from;
    dim[i] = (uint64_t)(to - from);
  }
  return take(op, op->in[0], start, dim);
}

enum vn_status vnc_import_tile(const struct vnc_op *op) {
  int64_t repeats[VNC_TENSOR_RANK];
  uint64_t start[VNC_VIEW_RANK] = {0}, dim[VNC_VIEW_RANK];
  size_t n;
  bool present;
  enum vn_status status = need_runtime(op);
  if (!status) status = vnc_op_list(op, "repeats", 1, repeats, &n, &present);
  if (status) return status;
  if (n != op->in[0]->view.rank)
    return vnc_op_fail(op, VN_E_FORMAT, "one repeat for each dimension expected");
  dims_of(op, op->in[0], dim);
  for (size_t i = 0; i < n; i++) {
    if (repeats[i] < 1 || repeats[i] > 1 << 20)
      return vnc_op_fail(op, VN_E_UNSUPPORTED, "%lld repeats", (long long)repeats[i]);
    dim[i] *= (uint64_t)repeats[i];
  }
  return take(op, op->in[0], start, dim);
}

enum vn_status vnc_import_expand(const struct vnc_op *op) {
  int64_t shape[VNC_TENSOR_RANK];
  uint64_t start[VNC_VIEW_RANK] = {0}, dim[VNC_VIEW_RANK];
  size_t n;
  bool present;
  enum vn_status status = need_runtime(op);
  if (!status) status = vnc_op_list(op, "shape", 1, shape, &n, &present);
  if (status) return status;
  struct vnc_value x = *op->in[0];
  if (n > VNC_VIEW_RANK) return vnc_op_fail(op, VN_E_UNSUPPORTED, "a result of rank %zu", n);
  if (n > x.view.rank) { /* new dimensions come first */
    for (size_t i = 0; i < n; i++)
      dim[i] = i < n - x.view.rank ? 1 : vnc_view_dim(op->im->g, &x, i - (n - x.view.rank));
    status = vnc_view_reshape(op, op->in[0], dim, n, &x.view);
    if (status) return status;
  }
  size_t rank = x.view.rank;
  dims_of(op, &x, dim);
  for (size_t i = 0; i < n; i++) {
    uint64_t *d = &dim[rank - n + i];
    if (shape[i] < 1 || (shape[i] != 1 && *d != 1 && (uint64_t)shape[i] != *d))
      return vnc_op_fail(op, VN_E_FORMAT, "its shape does not fit '%.60s'", op->in[0]->name);
    if (*d == 1) *d = (uint64_t)shape[i];
  }
  return take(op, &x, start, dim);
}

/* Shapes are static: known here, even of what is computed at run time. */
enum vn_status vnc_import_shape(const struct vnc_op *op) {
  struct vnc_tensor t;
  if (!op->n_in || !op->in[0]) return vnc_op_fail(op, VN_E_FORMAT, "its input is missing");
  const struct vnc_value *x = op->in[0];
  uint64_t dim[VNC_TENSOR_RANK];
  size_t rank;
  if (x->kind == VNC_RUNTIME) {
    rank = x->view.rank;
    dims_of(op, x, dim);
  } else {
    enum vn_status status = vnc_value_tensor(op->im, x, &t);
    if (status) return status;
    rank = t.rank;
    memcpy(dim, t.dim, sizeof dim);
    vnc_tensor_free(&t);
  }
  int64_t start = vnc_op_int(op, "start", 0), end = vnc_op_int(op, "end", (int64_t)rank);
  if (start < 0) start += (int64_t)rank;
  if (end < 0) end += (int64_t)rank;
  if (start < 0) start = 0;
  if (end > (int64_t)rank) end = (int64_t)rank;
  uint64_t n = end > start ? (uint64_t)(end - start) : 0;
  if (!vnc_tensor_alloc(&t, false, 1, &n)) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  for (uint64_t i = 0; i < n; i++) t.i[i] = (int64_t)dim[(uint64_t)start + i];
  return vnc_op_yield_const(op, &t);
}
