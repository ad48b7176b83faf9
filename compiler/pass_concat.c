/* Makes every concat along c pure aliasing: each part becomes a tensor that its producer writes
 * straight into the whole, at a channel offset. A part that cannot live there (a network input, a
 * tensor that is already part of a concat, the same tensor twice) is copied first. Last of the
 * passes, so that memplan.c and plan_write.c meet no other kind. */
#include "compile.h"

#include <stdlib.h>
#include <string.h>

/* May argument i of the concat at `id` live in it? Not if an earlier argument or concat has it. */
static bool may_live(const struct vnc_graph *g, uint32_t id, size_t i) {
  uint32_t part = vnc_graph_arg(g, &g->nodes[id], i);
  if (g->nodes[part].op == VN_OP_INPUT) return false;
  for (uint32_t k = part + 1; k <= id; k++) {
    const struct vnc_node *other = &g->nodes[k];
    if (other->op != VN_OP_CONCAT || other->axis != VN_C) continue;
    size_t end = k == id ? i : other->n_args;
    for (size_t j = 0; j < end; j++)
      if (vnc_graph_arg(g, other, j) == part) return false;
  }
  return true;
}

enum vn_status vnc_pass_concat(struct vnc_graph *g, struct vn_diag *diag) {
  for (uint32_t id = 0; id < g->n_nodes; id++) {
    if (g->nodes[id].op != VN_OP_CONCAT || g->nodes[id].axis != VN_C) continue;
    for (size_t i = 0; i < g->nodes[id].n_args; i++) {
      if (may_live(g, id, i)) continue;
      uint32_t part = vnc_graph_arg(g, &g->nodes[id], i);
      const char *name = vnc_graph_text(g, g->nodes[part].name);
      vnc_graph_insert(g, id, VN_OP_COPY, name, &part, 1);
      if (g->failed) return vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
      memcpy(g->nodes[id].dim, g->nodes[part].dim, sizeof g->nodes[id].dim);
      g->nodes[id].dtype = g->nodes[part].dtype;
      g->args[g->nodes[id + 1].first_arg + i] = id;
      id++;
    }
  }
  return VN_OK;
}
