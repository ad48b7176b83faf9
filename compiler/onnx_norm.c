/* InstanceNormalization and GroupNormalization, and the way in which exporters that lack the second
 * write it by the first: Reshape to [N, groups, …], InstanceNormalization, Reshape back
 * (onnx_split.c). */
#include "onnx_import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An input with a value for each group or for each channel, as one for each channel. */
static uint32_t spread(const struct vnc_op *op, size_t input, uint64_t groups, uint64_t channels,
                       enum vn_status *status) {
  struct vnc_tensor t;
  bool present;
  *status = vnc_op_const(op, input, &t, &present);
  if (*status) return VN_NONE;
  if (!present || !t.is_float || (t.elems != groups && t.elems != channels)) {
    vnc_tensor_free(&t);
    *status =
        vnc_op_fail(op, VN_E_FORMAT, "input %zu does not have one value for each channel", input);
    return VN_NONE;
  }
  *status = vnc_import_touch(op->im, channels);
  float *data = *status ? NULL : malloc(channels * sizeof *data);
  for (uint64_t c = 0; data && c < channels; c++) data[c] = t.f[c / (channels / t.elems)];
  vnc_tensor_free(&t);
  if (!data && !*status) *status = vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  return *status ? VN_NONE : vnc_graph_const(op->im->g, op->in[input]->name, 1, &channels, data);
}

static enum vn_status append(const struct vnc_op *op, uint32_t in, uint64_t groups,
                             uint32_t *result) {
  struct vnc_graph *g = op->im->g;
  const uint64_t channels = g->nodes[in].dim[VN_C];
  enum vn_status status;
  if (!groups || channels % groups)
    return vnc_op_fail(op, VN_E_FORMAT, "%llu channels do not fall into %llu groups",
                       (unsigned long long)channels, (unsigned long long)groups);
  const uint32_t scale = spread(op, 1, groups, channels, &status);
  const uint32_t shift = status ? VN_NONE : spread(op, 2, groups, channels, &status);
  if (status) return status;
  const uint32_t id = *result = vnc_graph_node(g, VN_OP_INSTNORM, op->name, &in, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  g->nodes[id].weight = scale;
  g->nodes[id].bias = shift;
  g->nodes[id].span = groups == channels ? 0 : (uint32_t)(channels / groups);
  g->nodes[id].epsilon = vnc_op_float(op, "epsilon", 1e-5f);
  if (!(g->nodes[id].epsilon >= 0) || !isfinite(g->nodes[id].epsilon))
    return vnc_op_fail(op, VN_E_FORMAT, "its epsilon is not usable");
  return vnc_op_infer(op, id);
}

static enum vn_status need(const struct vnc_op *op) {
  if (op->n_in < 3 || !op->in[0] || !op->in[1] || !op->in[2])
    return vnc_op_fail(op, VN_E_FORMAT, "an input is missing");
  if (op->in[0]->kind != VNC_RUNTIME) return vnc_op_fail(op, VN_E_UNSUPPORTED, "of a constant");
  return op->in[0]->view.rank < 3 ? vnc_op_fail(op, VN_E_UNSUPPORTED, "of rank below 3") : VN_OK;
}

/* One group of everything: [N, 1, …] in which the channels are part of what is normalised. */
static bool is_whole(const struct vnc_graph *g, const struct vnc_value *x) {
  size_t k = x->view.count[0] + (size_t)x->view.count[1];
  bool has_channels = false;
  for (; k < VN_AXES; k++) has_channels = has_channels || x->view.order[k] == VN_C;
  for (k = 0; k < x->view.count[0]; k++)
    if (x->view.order[k] != VN_N && g->nodes[x->node].dim[x->view.order[k]] > 1) return false;
  return has_channels && vnc_view_dim(g, x, 1) == 1 &&
         vnc_view_dim(g, x, 0) == g->nodes[x->node].dim[VN_N];
}

enum vn_status vnc_import_instancenorm(const struct vnc_op *op) {
  const struct vnc_graph *g = op->im->g;
  enum vn_status status = need(op);
  if (status) return status;
  struct vnc_value x = *op->in[0];
  const uint64_t channels = g->nodes[x.node].dim[VN_C];
  const bool whole = !x.groups && is_whole(g, &x);
  uint64_t groups = x.groups ? x.groups : whole ? 1 : channels;
  uint32_t node = x.node;
  if (!x.groups && !whole && !vnc_view_leads_with_channels(g, &x)) {
    status = vnc_view_canonical(op, &x, &node);
    if (!status) vnc_view_of_rank(&x.view, x.view.rank);
    groups = status ? 0 : g->nodes[node].dim[VN_C];
  }
  if (!status) status = append(op, node, groups, &x.node);
  return status ? status : vnc_op_yield_same(op, &x);
}

enum vn_status vnc_import_groupnorm(const struct vnc_op *op) {
  enum vn_status status = need(op);
  if (status) return status;
  struct vnc_value x = *op->in[0];
  uint32_t node = x.node;
  const int64_t groups = vnc_op_int(op, "num_groups", 0);
  if (groups < 1) return vnc_op_fail(op, VN_E_FORMAT, "%lld groups", (long long)groups);
  if (!vnc_view_leads_with_channels(op->im->g, &x)) {
    status = vnc_view_canonical(op, &x, &node);
    if (!status) vnc_view_of_rank(&x.view, x.view.rank);
  }
  if (!status) status = append(op, node, (uint64_t)groups, &x.node);
  return status ? status : vnc_op_yield_same(op, &x);
}
