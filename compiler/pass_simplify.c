/* Drops what changes nothing: copies of a whole tensor onto itself, casts to the same type, scaling
 * by one; and with them every node and constant that no output needs. First of the passes. */
#include "passes.h"

#include <stdlib.h>
#include <string.h>

static bool all_equal(const struct vnc_const *c, float value) {
  if (!c->data) return false;
  for (uint64_t i = 0; i < vnc_const_elems(c); i++)
    if (c->data[i] != value) return false;
  return true;
}

static bool changes_nothing(const struct vnc_graph *g, const struct vnc_node *node) {
  const struct vnc_node *in = &g->nodes[vnc_graph_arg(g, node, 0)];
  switch (node->op) {
  case VN_OP_COPY:
    for (uint32_t a = 0; a < VN_AXES; a++)
      if (node->in_start[a] || node->in_axis[a] != a || node->dim[a] != in->dim[a]) return false;
    return true;
  case VN_OP_CAST:
    return node->dtype == in->dtype;
  case VN_OP_ACT:
    return node->act[0].kind == VN_ACT_NONE;
  case VN_OP_CONCAT:
    return node->n_args == 1;
  case VN_OP_AFFINE:
    return all_equal(&g->consts[node->weight], 1) && all_equal(&g->consts[node->bias], 0);
  default:
    return false;
  }
}

enum vn_status vnc_pass_simplify(struct vnc_graph *g, struct vn_diag *diag) {
  uint32_t *map = malloc((g->n_nodes + 1) * sizeof *map);
  if (!map) return vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
  for (uint32_t i = 0; i < g->n_nodes; i++)
    map[i] = g->nodes[i].n_args && changes_nothing(g, &g->nodes[i])
                 ? vnc_graph_arg(g, &g->nodes[i], 0)
                 : i;
  enum vn_status status = vnc_graph_rewrite(g, map, diag);
  free(map);
  return status;
}
