/* What must be true of every graph. compile.c runs it after each pass, so that a wrong pass is
 * named at once instead of found in a wrong segmentation. */
#include "graph.h"

#include <math.h>
#include <string.h>

struct check {
  const struct vnc_graph *g;
  const struct vnc_node *node;
  struct vn_diag *diag;
};

static enum vn_status wrong(const struct check *c, const char *what) {
  return vn_fail(c->diag, VN_E_FORMAT, "node %%%zu '%s' (%s): %s", (size_t)(c->node - c->g->nodes),
                 vnc_graph_text(c->g, c->node->name), vn_op_text(c->node->op), what);
}

static bool is_vector(const struct vnc_graph *g, uint32_t id, uint64_t elems, bool or_one) {
  if (id >= g->n_consts) return false;
  const struct vnc_const *k = &g->consts[id];
  return k->rank == 1 && (k->dim[0] == elems || (or_one && k->dim[0] == 1));
}

static enum vn_status check_ids(const struct check *c) {
  const struct vnc_graph *g = c->g;
  const struct vnc_node *node = c->node;
  static const uint32_t fewest[] = {
#define VN_OP(name, text, fewest, most) fewest,
#include "ops.def"
#undef VN_OP
  };
  static const uint32_t most[] = {
#define VN_OP(name, text, fewest, most) most,
#include "ops.def"
#undef VN_OP
  };
  if (node->op >= VN_OP_COUNT || node->op == VN_OP_GROUPNORM) return wrong(c, "no such op");
  if (node->n_args < fewest[node->op] || node->n_args > most[node->op])
    return wrong(c, "wrong number of arguments");
  if (node->first_arg > g->n_args || node->n_args > g->n_args - node->first_arg)
    return wrong(c, "arguments out of range");
  for (size_t i = 0; i < node->n_args; i++)
    if (vnc_graph_arg(g, node, i) >= (size_t)(node - g->nodes))
      return wrong(c, "reads a node that does not come before it");
  return VN_OK;
}

static enum vn_status check_consts(const struct check *c) {
  const struct vnc_graph *g = c->g;
  const struct vnc_node *node = c->node;
  uint64_t channels = node->dim[VN_C];
  bool scaled = node->op == VN_OP_AFFINE || node->op == VN_OP_INSTNORM;
  bool convolves = node->op == VN_OP_CONV3D || node->op == VN_OP_DECONV3D;
  if (scaled &&
      (!is_vector(g, node->weight, channels, false) || !is_vector(g, node->bias, channels, false)))
    return wrong(c, "scale and shift must have one value for each channel");
  if (convolves && node->bias != VN_NONE && !is_vector(g, node->bias, channels, false))
    return wrong(c, "the bias must have one value for each channel");
  bool constant = node->op == VN_OP_CONST; /* its shape has been checked against its values */
  if (!scaled && !convolves && !constant && (node->weight != VN_NONE || node->bias != VN_NONE))
    return wrong(c, "has weights that its op does not read");
  for (size_t i = 0; i < 2; i++) {
    const struct vnc_act *act = &node->act[i];
    bool allowed = convolves || node->op == VN_OP_INSTNORM || (node->op == VN_OP_ACT && !i) ||
                   (node->op == VN_OP_ADD && i);
    if (act->kind >= VN_ACT_COUNT || (act->kind && !allowed)) return wrong(c, "no such activation");
    if (act->kind == VN_ACT_PRELU && !is_vector(g, act->slope, channels, true))
      return wrong(c, "PReLU's slopes must be one, or one for each channel");
  }
  return VN_OK;
}

static enum vn_status check_copy(const struct check *c) {
  const struct vnc_node *in = &c->g->nodes[vnc_graph_arg(c->g, c->node, 0)];
  bool seen[VN_AXES] = {false};
  for (size_t a = 0; a < VN_AXES; a++) {
    uint32_t from = c->node->in_axis[a];
    if (from >= VN_AXES || seen[from] || c->node->in_start[a] >= in->dim[from])
      return wrong(c, "does not say where it copies from");
    seen[from] = true;
  }
  return VN_OK;
}

static enum vn_status check_shape(const struct check *c) {
  struct vnc_node node = *c->node;
  enum vn_status status = vnc_shape_of(c->g, &node, c->diag);
  if (status) return status;
  bool same = !memcmp(node.dim, c->node->dim, sizeof node.dim) && node.dtype == c->node->dtype;
  return same ? VN_OK : wrong(c, "its shape is not what its arguments give");
}

/* Integers are ArgMax's results and what moves or casts them; all else computes on floats. */
static enum vn_status check_types(const struct check *c) {
  const uint32_t op = c->node->op;
  for (size_t i = 0; i < c->node->n_args; i++) {
    const uint32_t dtype = c->g->nodes[vnc_graph_arg(c->g, c->node, i)].dtype;
    if (op == VN_OP_CONCAT && dtype != c->node->dtype)
      return vn_fail(c->diag, VN_E_UNSUPPORTED, "node '%.200s' joins floats and integers",
                     vnc_graph_text(c->g, c->node->name));
    if (dtype == VN_F32 || op == VN_OP_COPY || op == VN_OP_CAST || op == VN_OP_CONCAT) continue;
    return vn_fail(c->diag, VN_E_UNSUPPORTED,
                   "node '%.200s' (%s) is given integers, and computes on floats alone: put a Cast "
                   "before it",
                   vnc_graph_text(c->g, c->node->name), vn_op_text(op));
  }
  return VN_OK;
}

static enum vn_status check_axes(const struct check *c) {
  const struct vnc_node *node = c->node;
  bool softmax = node->op == VN_OP_SOFTMAX || node->op == VN_OP_LOGSOFTMAX;
  if (node->axis >= VN_AXES) return wrong(c, "no such axis");
  if (node->more_axes && (!softmax || node->more_axes >= 1u << VN_AXES))
    return wrong(c, "goes along axes that its op does not have");
  if (node->more_axes >> node->axis & 1) return wrong(c, "goes along one axis twice");
  return VN_OK;
}

/* Its indices lie inside the input. */
static bool table_fits(const struct vnc_graph *g, const struct vnc_node *node, size_t axis) {
  const struct vnc_const *t = &g->consts[node->table[axis]];
  const uint64_t in = g->nodes[vnc_graph_arg(g, node, 0)].dim[axis];
  for (uint64_t i = 0; t->data && i < t->dim[0] * t->dim[1]; i++) {
    const float index = t->data[2 * i];
    if (!(index >= -1 && index < (float)in) || index != floorf(index)) return false;
    if (!isfinite(t->data[2 * i + 1])) return false;
  }
  return true;
}

static enum vn_status check_function(const struct check *c) {
  const struct vnc_node *node = c->node;
  bool any = false;
  if (node->op == VN_OP_MAP && node->kind >= VN_MAP_COUNT) return wrong(c, "no such function");
  if (node->op == VN_OP_BINARY && node->kind >= VN_BINARY_COUNT)
    return wrong(c, "no such function");
  if (isnan(node->a) || isnan(node->b)) return wrong(c, "its function's numbers are none");
  if (node->span && (node->op != VN_OP_INSTNORM || node->dim[VN_C] % node->span))
    return wrong(c, "its channels do not fall into such groups");
  for (size_t a = 0; a < VN_AXES; a++) {
    if (node->table[a] == VN_NONE) continue;
    any = true;
    if (node->op != VN_OP_SAMPLE || !table_fits(c->g, node, a))
      return wrong(c, "a table that does not fit");
  }
  return node->op == VN_OP_SAMPLE && (!any || node->kind > 1) ? wrong(c, "it has no table") : VN_OK;
}

static enum vn_status check_node(const struct check *c) {
  enum vn_status status = check_ids(c);
  if (!status && (c->node->weight != VN_NONE && c->node->weight >= c->g->n_consts))
    status = wrong(c, "weights out of range");
  if (!status && (c->node->bias != VN_NONE && c->node->bias >= c->g->n_consts))
    status = wrong(c, "bias out of range");
  if (!status) status = check_shape(c);
  if (!status) status = check_types(c);
  if (!status) status = check_consts(c);
  if (!status && c->node->op == VN_OP_COPY) status = check_copy(c);
  if (!status) status = check_axes(c);
  if (!status) status = check_function(c);
  return status;
}

static enum vn_status check_port(const struct vnc_graph *g, const struct vnc_port *port,
                                 struct vn_diag *diag) {
  const char *name = vnc_graph_text(g, port->name);
  if (port->node >= g->n_nodes || port->rank > 6)
    return vn_fail(diag, VN_E_FORMAT, "port '%s' refers to nothing", name);
  uint64_t elems = 1;
  unsigned seen = 0;
  for (size_t i = 0; i < port->rank; i++) {
    if (!port->dim[i] || port->dim[i] > UINT64_MAX / elems)
      return vn_fail(diag, VN_E_FORMAT, "port '%s' has an impossible shape", name);
    elems *= port->dim[i];
  }
  for (size_t i = 0; i < VN_AXES; i++) seen |= port->order[i] < VN_AXES ? 1u << port->order[i] : 0;
  if (seen != 31 || elems != vnc_node_elems(&g->nodes[port->node]))
    return vn_fail(diag, VN_E_FORMAT, "port '%s' and its tensor differ in shape", name);
  return VN_OK;
}

enum vn_status vnc_graph_check(const struct vnc_graph *g, struct vn_diag *diag) {
  enum vn_status status = VN_OK;
  if (g->failed) return vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
  if (!g->n_inputs || !g->n_outputs)
    return vn_fail(diag, VN_E_FORMAT, "the graph has no input or no output");
  for (size_t i = 0; !status && i < g->n_nodes; i++)
    status = check_node(&(struct check){g, &g->nodes[i], diag});
  for (size_t i = 0; !status && i < g->n_inputs; i++) {
    status = check_port(g, &g->inputs[i], diag);
    if (!status && g->nodes[g->inputs[i].node].op != VN_OP_INPUT)
      status = vn_fail(diag, VN_E_FORMAT, "input '%s' is computed",
                       vnc_graph_text(g, g->inputs[i].name));
  }
  for (size_t i = 0; !status && i < g->n_outputs; i++) status = check_port(g, &g->outputs[i], diag);
  return status;
}
