/* Makes every concat along c pure aliasing: each part becomes a tensor that its producer writes
 * straight into the whole, at a channel offset. A part that cannot live there (a network input, a
 * tensor that is already part of a concat, the same tensor twice) is copied first. Runs when
 * nothing rewires the graph any more, so that memplan.c and plan_write.c meet no other kind. */
#include "passes.h"

#include <stdlib.h>
#include <string.h>

/* Copies are appended, and stand before their concat in `order`, which goes from new ids to old. */
struct housing {
  struct vnc_graph *g;
  bool *housed; /* by an earlier argument or concat */
  uint32_t *order;
  size_t n;
};

static void part_house(struct housing *h, uint32_t id, size_t i) {
  struct vnc_graph *g = h->g;
  const uint32_t part = vnc_graph_arg(g, &g->nodes[id], i);
  if (g->nodes[part].op != VN_OP_INPUT && !h->housed[part]) {
    h->housed[part] = true;
    return;
  }
  const char *name = vnc_graph_text(g, g->nodes[part].name);
  const uint32_t copy = vnc_graph_node(g, VN_OP_COPY, name, &part, 1);
  if (g->failed) return;
  memcpy(g->nodes[copy].dim, g->nodes[part].dim, sizeof g->nodes[copy].dim);
  g->nodes[copy].dtype = g->nodes[part].dtype;
  g->args[g->nodes[id].first_arg + i] = copy;
  h->order[h->n++] = copy;
}

/* Arguments of all concats: as many copies at most. */
static size_t parts_count(const struct vnc_graph *g) {
  size_t n = 0;
  for (size_t i = 0; i < g->n_nodes; i++)
    if (g->nodes[i].op == VN_OP_CONCAT) n += g->nodes[i].n_args;
  return n;
}

enum vn_status vnc_pass_concat(struct vnc_graph *g, struct vn_diag *diag) {
  const size_t n_nodes = g->n_nodes;
  struct housing h = {.g = g};
  h.housed = calloc(n_nodes + 1, sizeof *h.housed);
  h.order = malloc((n_nodes + parts_count(g) + 1) * sizeof *h.order);
  enum vn_status status = VN_OK;
  if (!h.housed || !h.order) status = vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
  for (uint32_t id = 0; !status && id < n_nodes; id++) {
    if (g->nodes[id].op == VN_OP_CONCAT && g->nodes[id].axis == VN_C)
      for (size_t i = 0; i < g->nodes[id].n_args; i++) part_house(&h, id, i);
    h.order[h.n++] = id;
  }
  if (!status) status = vnc_graph_reorder(g, h.order, diag);
  free(h.housed);
  free(h.order);
  return status;
}
