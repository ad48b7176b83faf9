/* ONNX's dimensions over our five axes (struct vnc_view): what costs nothing, and the COPY where
 * axes themselves have to move. */
#include "onnx_import.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t canonical_axis[6][5] = {
    {0},
    {VN_C},
    {VN_N, VN_C},
    {VN_N, VN_C, VN_W},
    {VN_N, VN_C, VN_H, VN_W},
    {VN_N, VN_C, VN_D, VN_H, VN_W},
};

void vnc_view_of_rank(struct vnc_view *view, size_t rank) {
  static const uint8_t counts[6][5] = {{0}, {5}, {1, 4}, {1, 1, 3}, {1, 1, 2, 1}, {1, 1, 1, 1, 1}};
  memset(view, 0, sizeof *view);
  view->rank = rank;
  for (uint8_t a = 0; a < VN_AXES; a++) view->order[a] = a;
  memcpy(view->count, counts[rank], sizeof counts[rank]);
}

static size_t group_start(const struct vnc_view *view, size_t i) {
  size_t start = 0;
  for (size_t k = 0; k < i; k++) start += view->count[k];
  return start;
}

uint64_t vnc_view_dim(const struct vnc_graph *g, const struct vnc_value *v, size_t i) {
  uint64_t dim = 1;
  size_t start = group_start(&v->view, i);
  for (size_t k = start; k < start + v->view.count[i]; k++)
    dim *= g->nodes[v->node].dim[v->view.order[k]];
  return dim;
}

enum vn_status vnc_view_axis(const struct vnc_op *op, const struct vnc_value *v, size_t i,
                             uint32_t *axis) {
  const uint64_t *dim = op->im->g->nodes[v->node].dim;
  size_t start = group_start(&v->view, i), larger = 0;
  *axis = VN_NONE;
  for (size_t k = start; k < start + v->view.count[i]; k++) {
    uint32_t a = v->view.order[k];
    if (dim[a] > 1) {
      *axis = a;
      larger++;
    } else if (!larger && *axis != VN_C) {
      *axis = a; /* of single elements c, or else the last */
    }
  }
  if (larger > 1)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "dimension %zu of '%.60s' is several axes in one", i,
                       v->name);
  if (*axis == VN_NONE)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "dimension %zu of '%.60s' has no axis of its own", i,
                       v->name);
  return VN_OK;
}

bool vnc_view_leads_with_channels(const struct vnc_graph *g, const struct vnc_value *v) {
  size_t k = 0;
  for (size_t i = 0; i < 2; i++)
    for (size_t n = v->view.count[i]; n--; k++) {
      const uint32_t a = v->view.order[k];
      if (a != (i ? VN_C : VN_N) && g->nodes[v->node].dim[a] > 1) return false;
    }
  for (; k < VN_AXES; k++) {
    const uint32_t a = v->view.order[k];
    if ((a == VN_N || a == VN_C) && g->nodes[v->node].dim[a] > 1) return false;
  }
  return v->view.rank >= 3;
}

void vnc_view_drop(struct vnc_view *view, size_t i) {
  if (view->rank > 1) /* its axes join a neighbour */
    view->count[i ? i - 1 : 1] = (uint8_t)(view->count[i ? i - 1 : 1] + view->count[i]);
  memmove(view->count + i, view->count + i + 1, view->rank - i - 1);
  view->rank--;
  view->count[view->rank] = 0;
}

/* The axes of dimension i that have more than one element, in order; how many. */
static size_t larger_axes(const struct vnc_graph *g, const struct vnc_value *v, size_t i,
                          uint32_t axes[VN_AXES]) {
  size_t start = group_start(&v->view, i), n = 0;
  for (size_t k = start; k < start + v->view.count[i]; k++)
    if (g->nodes[v->node].dim[v->view.order[k]] > 1) axes[n++] = v->view.order[k];
  return n;
}

/* Which dimension each axis becomes part of. Axes of one element may go anywhere. */
static enum vn_status regroup(const struct vnc_op *op, const struct vnc_value *v,
                              const uint64_t *dim, size_t rank, size_t owner[VN_AXES]) {
  const uint64_t *size = op->im->g->nodes[v->node].dim;
  size_t k = 0;
  for (size_t a = 0; a < VN_AXES; a++) owner[a] = VNC_VIEW_RANK;
  for (size_t i = 0; i < rank; i++) {
    uint64_t product = 1;
    for (; k < VN_AXES && product < dim[i]; k++) {
      uint32_t a = v->view.order[k];
      product *= size[a];
      if (size[a] > 1) owner[a] = i;
    }
    if (product != dim[i])
      return vnc_op_fail(op, VN_E_UNSUPPORTED, "it would split an axis of '%.60s'", v->name);
  }
  for (; k < VN_AXES; k++)
    if (size[v->view.order[k]] != 1)
      return vnc_op_fail(op, VN_E_FORMAT, "the sizes of '%.60s' and of its new shape differ",
                         v->name);
  return VN_OK;
}

enum vn_status vnc_view_reshape(const struct vnc_op *op, const struct vnc_value *v,
                                const uint64_t *dim, size_t rank, struct vnc_view *view) {
  size_t owner[VN_AXES], n = 0;
  if (rank > VNC_VIEW_RANK) return vnc_op_fail(op, VN_E_UNSUPPORTED, "a result of rank %zu", rank);
  enum vn_status status = regroup(op, v, dim, rank, owner);
  if (status) return status;
  for (size_t i = 0; i < rank; i++) { /* the axis that such a dimension usually is, if it is free */
    uint32_t a = rank <= VN_AXES ? canonical_axis[rank][i] : VN_NONE;
    if (dim[i] == 1 && a != VN_NONE && owner[a] == VNC_VIEW_RANK) owner[a] = i;
  }
  for (size_t i = 0; i < rank; i++) {
    size_t a = 0, free_axis = VN_AXES;
    for (; a < VN_AXES && owner[a] != i; a++)
      if (owner[a] == VNC_VIEW_RANK) free_axis = a;
    if (a == VN_AXES && free_axis < VN_AXES) owner[free_axis] = i;
  }
  for (size_t k = VN_AXES, next = rank ? rank - 1 : 0; k-- > 0;) { /* the rest: to what follows */
    size_t *o = &owner[v->view.order[k]];
    if (*o == VNC_VIEW_RANK) *o = next;
    next = *o;
  }
  memset(view, 0, sizeof *view);
  view->rank = rank;
  for (size_t i = 0; i < VNC_VIEW_RANK; i++)
    for (size_t k = 0; k < VN_AXES; k++) {
      uint8_t a = v->view.order[k];
      if (owner[a] != i) continue;
      view->order[n++] = a;
      if (rank) view->count[i]++;
    }
  return VN_OK;
}

/* A COPY whose axis a is v's axis from[a], VN_NONE: any that is left (they have one element). */
static enum vn_status permute(const struct vnc_op *op, uint32_t node, const uint32_t from[VN_AXES],
                              uint32_t *result) {
  struct vnc_graph *g = op->im->g;
  uint32_t in_axis[VN_AXES], next = 0;
  bool used[VN_AXES] = {false}, moves = false;
  for (size_t a = 0; a < VN_AXES; a++)
    if (from[a] != VN_NONE) used[from[a]] = true;
  for (uint32_t a = 0; a < VN_AXES; a++) {
    in_axis[a] = from[a];
    if (from[a] == VN_NONE && !used[a]) in_axis[a] = a;
    if (in_axis[a] != VN_NONE) used[in_axis[a]] = true;
  }
  for (uint32_t a = 0; a < VN_AXES; a++) {
    while (in_axis[a] == VN_NONE && used[next]) next++;
    if (in_axis[a] == VN_NONE) used[in_axis[a] = next] = true;
    moves = moves || (in_axis[a] != a && g->nodes[node].dim[in_axis[a]] != g->nodes[node].dim[a]);
    moves = moves || (in_axis[a] != a && g->nodes[node].dim[a] > 1);
  }
  *result = node;
  if (!moves) return VN_OK;
  *result = vnc_graph_node(g, VN_OP_COPY, op->name, &node, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  for (size_t a = 0; a < VN_AXES; a++) {
    g->nodes[*result].in_axis[a] = in_axis[a];
    g->nodes[*result].dim[a] = g->nodes[node].dim[in_axis[a]];
  }
  return vnc_op_infer(op, *result);
}

enum vn_status vnc_view_canonical(const struct vnc_op *op, const struct vnc_value *v,
                                  uint32_t *node) {
  uint32_t from[VN_AXES] = {VN_NONE, VN_NONE, VN_NONE, VN_NONE, VN_NONE};
  if (v->view.rank < 1 || v->view.rank > 5)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "'%.60s' has rank %zu", v->name, v->view.rank);
  for (size_t i = 0; i < v->view.rank; i++) {
    uint32_t axis;
    if (vnc_view_dim(op->im->g, v, i) == 1) continue;
    enum vn_status status = vnc_view_axis(op, v, i, &axis);
    if (status) return status;
    from[canonical_axis[v->view.rank][i]] = axis;
  }
  return permute(op, v->node, from, node);
}

enum vn_status vnc_view_to_channels(const struct vnc_op *op, const struct vnc_value *v,
                                    uint32_t axis, uint32_t *node, struct vnc_view *view) {
  uint32_t from[VN_AXES] = {VN_N, VN_C, VN_D, VN_H, VN_W};
  *view = v->view;
  from[VN_C] = axis;
  from[axis] = VN_C;
  for (size_t k = 0; k < VN_AXES; k++) {
    if (v->view.order[k] == VN_C)
      view->order[k] = (uint8_t)axis;
    else if (v->view.order[k] == axis)
      view->order[k] = VN_C;
  }
  return permute(op, v->node, from, node);
}

enum vn_status vnc_view_align(const struct vnc_op *op, const struct vnc_value *v,
                              const struct vnc_value *like, size_t free_dim, uint32_t free_axis,
                              uint32_t *node) {
  const struct vnc_graph *g = op->im->g;
  uint32_t from[VN_AXES] = {VN_NONE, VN_NONE, VN_NONE, VN_NONE, VN_NONE};
  for (size_t i = 0; i < v->view.rank; i++) {
    uint32_t sources[VN_AXES], targets[VN_AXES];
    size_t n = larger_axes(g, v, i, sources), j = like->view.rank - v->view.rank + i;
    if (!n) continue;
    if (like->view.rank < v->view.rank ||
        (j != free_dim && vnc_view_dim(g, v, i) != vnc_view_dim(g, like, j)))
      return vnc_op_fail(op, VN_E_FORMAT, "the shapes of '%.60s' and '%.60s' do not fit", v->name,
                         like->name);
    bool same = j == free_dim ? n == 1 : n == larger_axes(g, like, j, targets);
    if (j == free_dim) targets[0] = free_axis;
    for (size_t k = 0; same && k < n; k++) {
      same = j == free_dim ||
             g->nodes[v->node].dim[sources[k]] == g->nodes[like->node].dim[targets[k]];
      from[targets[k]] = sources[k];
    }
    if (!same)
      return vnc_op_fail(op, VN_E_UNSUPPORTED,
                         "dimension %zu of '%.60s' and '%.60s' are several axes in one, in "
                         "different ways",
                         j, v->name, like->name);
  }
  return permute(op, v->node, from, node);
}

enum vn_status vnc_view_take(const struct vnc_op *op, const struct vnc_value *v,
                             const uint64_t *start, const uint64_t *dim, uint32_t *node) {
  struct vnc_graph *g = op->im->g;
  uint32_t axes[VNC_VIEW_RANK];
  bool same = true;
  for (size_t i = 0; i < v->view.rank; i++) {
    bool whole = start[i] == 0 && dim[i] == vnc_view_dim(g, v, i);
    same = same && whole;
    axes[i] = VN_NONE;
    if (whole) continue;
    enum vn_status status = vnc_view_axis(op, v, i, &axes[i]);
    if (status) return status;
    if (start[i] > UINT32_MAX || dim[i] > UINT32_MAX)
      return vnc_op_fail(op, VN_E_UNSUPPORTED, "more than 2^32 elements along dimension %zu", i);
  }
  *node = v->node;
  if (same) return VN_OK;
  *node = vnc_graph_node(g, VN_OP_COPY, op->name, &v->node, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  memcpy(g->nodes[*node].dim, g->nodes[v->node].dim, sizeof g->nodes[*node].dim);
  for (size_t i = 0; i < v->view.rank; i++) {
    if (axes[i] == VN_NONE) continue;
    g->nodes[*node].dim[axes[i]] = dim[i];
    g->nodes[*node].in_start[axes[i]] = (uint32_t)start[i];
  }
  return vnc_op_infer(op, *node);
}

enum vn_status vnc_view_const(const struct vnc_op *op, const char *name, struct vnc_tensor *t,
                              struct vnc_value *v) {
  static const size_t place[VN_AXES] = {0, 4, 1, 2, 3}; /* n c d h w in [n][d][h][w][c] */
  struct vnc_graph *g = op->im->g;
  uint64_t dim[5] = {1, 1, 1, 1, 1}, elems = t->elems;
  float *data = malloc((elems + 1) * sizeof *data);
  if (!t->is_float || t->rank < 1 || t->rank > 5 || !elems || !data) {
    free(data);
    vnc_tensor_free(t);
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "constant '%.60s' has no usable shape or type", name);
  }
  for (size_t i = 0; i < t->rank; i++) dim[place[canonical_axis[t->rank][i]]] = t->dim[i];
  uint64_t channels = dim[4], pixels = elems / channels;
  uint64_t n = dim[0], per_n = pixels / n;
  for (uint64_t k = 0; k < elems; k++) { /* from [n][c][pixel] to [n][pixel][c] */
    uint64_t image = k / (channels * per_n), c = k / per_n % channels, p = k % per_n;
    data[(image * per_n + p) * channels + c] = t->f[k];
  }
  memset(v, 0, sizeof *v);
  v->name = name;
  v->kind = VNC_RUNTIME;
  vnc_view_of_rank(&v->view, t->rank);
  vnc_tensor_free(t);
  uint32_t weight = vnc_graph_const(g, name, 5, dim, data);
  v->node = vnc_graph_node(g, VN_OP_CONST, name, NULL, 0);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[v->node].weight = weight;
  return vnc_op_infer(op, v->node);
}
