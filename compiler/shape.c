/* Shape inference on five axes, with ONNX's rules. The importer calls it node by node; builders and
 * parsed graphs call it once. Every product is bounded, so that later arithmetic cannot
 * overflow. */
#include "graph.h"

/* What a plan can hold (plan.md). */
static const uint64_t MOST_ELEMS = (uint64_t)1 << 38, MOST_ALONG_AXIS = INT32_MAX;
static const uint32_t MOST_EXTENT = UINT16_MAX;

static const char *node_name(const struct vnc_graph *g, const struct vnc_node *node) {
  return vnc_graph_text(g, node->name);
}

static enum vn_status conv_shape(const struct vnc_graph *g, struct vnc_node *node,
                                 const struct vnc_node *in, struct vn_diag *diag) {
  bool transposed = node->op == VN_OP_DECONV3D;
  if (node->weight == VN_NONE || node->weight >= g->n_consts)
    return vn_fail(diag, VN_E_FORMAT, "node '%s' has no weights", node_name(g, node));
  const struct vnc_const *w = &g->consts[node->weight];
  if (w->rank != 5 || !node->groups || w->dim[0] % node->groups ||
      w->dim[4] != in->dim[VN_C] / node->groups || in->dim[VN_C] % node->groups)
    return vn_fail(diag, VN_E_FORMAT,
                   "node '%s': weights for %llu channels in %u groups do not fit an input of %llu",
                   node_name(g, node), (unsigned long long)w->dim[4], node->groups,
                   (unsigned long long)in->dim[VN_C]);
  node->dim[VN_N] = in->dim[VN_N];
  node->dim[VN_C] = w->dim[0];
  for (int i = 0; i < 3; i++) {
    uint64_t size = in->dim[VN_D + i], kernel = node->kernel[i], stride = node->stride[i];
    uint64_t pads = (uint64_t)node->pad[i] + node->pad_end[i], out;
    uint64_t reach = ((uint64_t)node->dilation[i]) * (kernel - 1) + 1;
    if (w->dim[1 + i] != kernel || !stride || !kernel)
      return vn_fail(diag, VN_E_FORMAT, "node '%s': kernel size and weights disagree",
                     node_name(g, node));
    if (kernel > MOST_EXTENT || stride > MOST_EXTENT || node->dilation[i] > MOST_EXTENT ||
        node->pad[i] > MOST_EXTENT || node->pad_end[i] > MOST_EXTENT ||
        node->out_pad[i] > MOST_EXTENT)
      return vn_fail(diag, VN_E_UNSUPPORTED, "node '%s': kernel, stride or pads beyond %u along %c",
                     node_name(g, node), MOST_EXTENT, "dhw"[i]);
    if (transposed) {
      out = stride * (size - 1) + node->out_pad[i] + reach;
      out = out > pads ? out - pads : 0;
    } else {
      out = size + pads >= reach ? (size + pads - reach) / stride + 1 : 0;
    }
    if (!out || out > MOST_ELEMS)
      return vn_fail(diag, VN_E_UNSUPPORTED, "node '%s': its output would have no voxel along %c",
                     node_name(g, node), "dhw"[i]);
    node->dim[VN_D + i] = out;
  }
  return VN_OK;
}

static enum vn_status concat_shape(const struct vnc_graph *g, struct vnc_node *node,
                                   struct vn_diag *diag) {
  if (node->axis >= VN_AXES)
    return vn_fail(diag, VN_E_FORMAT, "node '%s': no such axis", node_name(g, node));
  for (size_t i = 1; i < node->n_args; i++) {
    const struct vnc_node *in = &g->nodes[vnc_graph_arg(g, node, i)];
    for (size_t a = 0; a < VN_AXES; a++) {
      if (a == node->axis)
        node->dim[a] += in->dim[a];
      else if (in->dim[a] != node->dim[a])
        return vn_fail(diag, VN_E_FORMAT, "node '%s' joins tensors of different size along %c",
                       node_name(g, node), "ncdhw"[a]);
    }
  }
  return VN_OK;
}

/* The second operand repeats along axes where it has one element, along c also when its channels
 * divide the first's. */
static bool repeats(const struct vnc_node *in, const uint64_t dim[VN_AXES]) {
  for (size_t a = 0; a < VN_AXES; a++) {
    bool divides = a == VN_C && in->dim[a] && dim[a] % in->dim[a] == 0;
    if (in->dim[a] != dim[a] && in->dim[a] != 1 && !divides) return false;
  }
  return true;
}

static enum vn_status check_size(const struct vnc_graph *g, const struct vnc_node *node,
                                 struct vn_diag *diag) {
  uint64_t elems = 1;
  for (size_t a = 0; a < VN_AXES; a++) {
    if (!node->dim[a] || node->dim[a] > MOST_ALONG_AXIS || node->dim[a] > MOST_ELEMS / elems)
      return vn_fail(
          diag, VN_E_UNSUPPORTED,
          "node '%s': its result is empty, or beyond 2^38 elements or 2^31 along an axis",
          node_name(g, node));
    elems *= node->dim[a];
  }
  return VN_OK;
}

/* Weights with one number for each channel, which a plan writes out even where all are one. */
static bool has_vectors(const struct vnc_node *node) {
  for (size_t i = 0; i < 2; i++)
    if (node->act[i].kind == VN_ACT_PRELU || node->act[i].kind == VN_ACT_LEAKY) return true;
  return node->weight != VN_NONE;
}

static enum vn_status const_shape(const struct vnc_graph *g, struct vnc_node *node,
                                  struct vn_diag *diag) {
  static const uint32_t axis[5] = {VN_N, VN_D, VN_H, VN_W, VN_C};
  if (node->weight >= g->n_consts || g->consts[node->weight].rank != 5)
    return vn_fail(diag, VN_E_FORMAT, "node '%s' has no values", node_name(g, node));
  for (size_t i = 0; i < 5; i++) node->dim[axis[i]] = g->consts[node->weight].dim[i];
  node->dtype = VN_F32;
  return check_size(g, node, diag);
}

enum vn_status vnc_shape_of(const struct vnc_graph *g, struct vnc_node *node,
                            struct vn_diag *diag) {
  enum vn_status status = VN_OK;
  if (node->op == VN_OP_INPUT) return check_size(g, node, diag);
  if (node->op == VN_OP_CONST) return const_shape(g, node, diag);
  const struct vnc_node *in = &g->nodes[vnc_graph_arg(g, node, 0)];
  node->dtype = node->op == VN_OP_ARGMAX ? VN_I32
                : node->op == VN_OP_CAST ? node->dtype
                                         : in->dtype;
  if (node->op != VN_OP_COPY) /* a copy states its own shape */
    for (size_t a = 0; a < VN_AXES; a++) node->dim[a] = in->dim[a];
  if (node->op == VN_OP_CONV3D || node->op == VN_OP_DECONV3D)
    status = conv_shape(g, node, in, diag);
  else if (node->op == VN_OP_CONCAT)
    status = concat_shape(g, node, diag);
  else if (node->op == VN_OP_ARGMAX && node->axis < VN_AXES)
    node->dim[node->axis] = 1;
  if (status) return status;
  bool convolves = node->op == VN_OP_CONV3D || node->op == VN_OP_DECONV3D;
  if (node->n_args == 2 && (convolves || node->op == VN_OP_ADD || node->op == VN_OP_PRELU) &&
      !repeats(&g->nodes[vnc_graph_arg(g, node, 1)], node->dim))
    return vn_fail(diag, VN_E_FORMAT, "node '%s': its operands do not fit each other",
                   node_name(g, node));
  if (has_vectors(node) && node->dim[VN_C] > MOST_EXTENT)
    return vn_fail(diag, VN_E_UNSUPPORTED, "node '%s': more than %u channels", node_name(g, node),
                   MOST_EXTENT);
  return check_size(g, node, diag);
}

enum vn_status vnc_shape_infer_node(struct vnc_graph *g, uint32_t id, struct vn_diag *diag) {
  if (g->failed) return vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
  return vnc_shape_of(g, &g->nodes[id], diag);
}

enum vn_status vnc_shape_infer(struct vnc_graph *g, struct vn_diag *diag) {
  for (size_t i = 0; i < g->n_nodes; i++) {
    enum vn_status status = vnc_shape_infer_node(g, (uint32_t)i, diag);
    if (status) return status;
  }
  return VN_OK;
}
