/* Proves a memory plan right without knowing how it was made: walks the nodes in order, and asks of
 * every tensor that is still to be read whether the node writes over it. Used by compile.c for
 * every plan and by the tests for random graphs. */
#include "memplan.h"

#include "plan.h"

#include <stdlib.h>
#include <string.h>

struct extent { /* the bytes of a tensor: `count` runs of `run` bytes, `step` bytes apart */
  uint64_t begin, run, step, count;
};

static struct extent extent_of(const struct vnc_node *node, const struct vnc_place *place) {
  uint64_t channels = node->dim[VN_C];
  return (struct extent){place->offset, 4 * channels, 4 * place->pixel_stride,
                         vnc_node_elems(node) / channels};
}

static uint64_t end_of(const struct extent *e) {
  return e->begin + (e->count - 1) * e->step + e->run;
}

/* Equal steps: compare the runs' phases. Different steps: any common range counts as overlap. */
static bool overlaps(const struct extent *a, const struct extent *b) {
  if (a->begin >= end_of(b) || b->begin >= end_of(a)) return false;
  if (a->step != b->step) return true;
  uint64_t phase = b->begin >= a->begin ? (b->begin - a->begin) % a->step
                                        : (a->step - (a->begin - b->begin) % a->step) % a->step;
  return phase < a->run || phase + b->run > a->step;
}

static bool same_place(const struct vnc_place *a, const struct vnc_place *b) {
  return a->offset == b->offset && a->pixel_stride == b->pixel_stride;
}

/* What a concat along c yields is written by its parts: does each lie at its channels? */
static bool parts_in_place(const struct vnc_graph *g, const struct vnc_memplan *m, uint32_t id) {
  uint64_t channel = 0;
  for (size_t k = 0; k < g->nodes[id].n_args; k++) {
    uint32_t part = vnc_graph_arg(g, &g->nodes[id], k);
    struct vnc_place want = {.offset = m->places[id].offset + 4 * channel,
                             .pixel_stride = m->places[id].pixel_stride};
    if (!same_place(&m->places[part], &want)) return false;
    channel += g->nodes[part].dim[VN_C];
  }
  return true;
}

/* May node `id` write its result exactly over argument `arg`? */
static bool may_replace(const struct vnc_node *node, size_t k) {
  switch (node->op) {
  case VN_OP_ACT:
  case VN_OP_AFFINE:
  case VN_OP_PRELU:
  case VN_OP_MAP:
  case VN_OP_BINARY:
    return k == 0;
  case VN_OP_ADD:
  case VN_OP_INSTNORM:
    return true;
  case VN_OP_CONV3D:
  case VN_OP_DECONV3D:
    return k == 1;
  default:
    return false;
  }
}

static bool is_arg_in_place(const struct vnc_graph *g, const struct vnc_memplan *m, uint32_t id,
                            uint32_t victim, uint32_t last_read) {
  const struct vnc_node *node = &g->nodes[id];
  if (last_read != id || !same_place(&m->places[id], &m->places[victim])) return false;
  bool reads = false;
  for (size_t k = 0; k < node->n_args; k++) {
    if (vnc_graph_arg(g, node, k) != victim) continue;
    if (!may_replace(node, k) || memcmp(g->nodes[victim].dim, node->dim, sizeof node->dim))
      return false;
    reads = true;
  }
  return reads;
}

/* Is `part` read through the concats that it is part of? Then it lives as long as they do. */
static void last_reads(const struct vnc_graph *g, uint32_t *last) {
  for (uint32_t i = 0; i < g->n_nodes; i++) {
    last[i] = i;
    for (size_t k = 0; k < g->nodes[i].n_args; k++) last[vnc_graph_arg(g, &g->nodes[i], k)] = i;
  }
  for (size_t i = 0; i < g->n_outputs; i++) last[g->outputs[i].node] = UINT32_MAX;
  for (uint32_t i = (uint32_t)g->n_nodes; i-- > 0;) {
    const struct vnc_node *node = &g->nodes[i];
    if (node->op != VN_OP_CONCAT || node->axis != VN_C) continue;
    for (size_t k = 0; k < node->n_args; k++) {
      uint32_t part = vnc_graph_arg(g, node, k);
      if (last[part] < last[i]) last[part] = last[i];
    }
  }
}

static bool aliases_only(const struct vnc_node *node) {
  return node->op == VN_OP_CONCAT && node->axis == VN_C;
}

/* What lies in the arena and is still to be read; the caller's inputs from the start. */
struct living {
  uint32_t *ids, *last;
  size_t n;
};

/* Does node `id` write over any of it? What has died by then is taken off the list. */
static enum vn_status check_write(const struct vnc_graph *g, const struct vnc_memplan *m,
                                  struct living *living, uint32_t id, struct vn_diag *diag) {
  struct extent out = extent_of(&g->nodes[id], &m->places[id]);
  size_t kept = 0;
  for (size_t i = 0; i < living->n; i++) {
    const uint32_t v = living->ids[i];
    if (v < id && living->last[v] < id) continue;
    living->ids[kept++] = v;
    struct extent other = extent_of(&g->nodes[v], &m->places[v]);
    if (v == id || !overlaps(&out, &other) || is_arg_in_place(g, m, id, v, living->last[v]))
      continue;
    return vn_fail(diag, VN_E_INTERNAL, "the memory plan lets '%s' write over '%s'",
                   vnc_graph_text(g, g->nodes[id].name), vnc_graph_text(g, g->nodes[v].name));
  }
  living->n = kept;
  if (g->nodes[id].op != VN_OP_INPUT) living->ids[living->n++] = id;
  return VN_OK;
}

enum vn_status vnc_memplan_check(const struct vnc_graph *g, const struct vnc_memplan *m,
                                 struct vn_diag *diag) {
  uint32_t *last = malloc((2 * g->n_nodes + 1) * sizeof *last);
  struct living living = {.ids = last + g->n_nodes, .last = last};
  enum vn_status status = VN_OK;
  if (!last) return vn_fail(diag, VN_E_MEMORY, "out of memory for the memory plan");
  last_reads(g, last);
  for (uint32_t i = 0; i < g->n_nodes; i++)
    if (g->nodes[i].op == VN_OP_INPUT) living.ids[living.n++] = i;
  for (uint32_t i = 0; !status && i < g->n_nodes; i++) {
    struct extent e = extent_of(&g->nodes[i], &m->places[i]);
    if (end_of(&e) > m->arena_bytes || m->places[i].offset % 4 ||
        m->places[i].pixel_stride < g->nodes[i].dim[VN_C])
      status = vn_fail(diag, VN_E_INTERNAL, "the memory plan puts '%s' outside the arena",
                       vnc_graph_text(g, g->nodes[i].name));
    else if (!aliases_only(&g->nodes[i]))
      status = check_write(g, m, &living, i, diag);
    else if (!parts_in_place(g, m, i))
      status = vn_fail(diag, VN_E_INTERNAL, "the memory plan tears '%s' apart",
                       vnc_graph_text(g, g->nodes[i].name));
  }
  free(last);
  return status;
}
