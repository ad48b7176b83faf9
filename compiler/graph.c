/* The graph's arrays: appending, reading, rewriting (graph.h). Everyone who builds or changes a
 * graph calls this; it knows nothing of what ops mean. */
#include "graph.h"

#include "size.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 16 };

/* Room for one more element; false, and `failed` set, without memory. */
static bool grow(struct vnc_graph *g, void **array, size_t *cap, size_t count, size_t more,
                 size_t elem_bytes) {
  if (g->failed) return false;
  if (count + more <= *cap) return true;
  size_t cap_new = *cap ? *cap * 2 : FIRST_CAPACITY;
  if (cap_new < count + more) cap_new = count + more;
  void *bigger = cap_new < SIZE_MAX / elem_bytes ? realloc(*array, cap_new * elem_bytes) : NULL;
  if (!bigger || cap_new >= UINT32_MAX) {
    if (bigger) *array = bigger;
    g->failed = true;
    return false;
  }
  *array = bigger;
  *cap = cap_new;
  return true;
}

#define GROW(g, what, more)                                                                        \
  grow(g, (void **)&(g)->what, &(g)->cap_##what, (g)->n_##what, more, sizeof *(g)->what)

void vnc_graph_init(struct vnc_graph *g) {
  memset(g, 0, sizeof *g);
}

void vnc_graph_free(struct vnc_graph *g) {
  for (size_t i = 0; i < g->n_consts; i++) free(g->consts[i].data);
  free(g->nodes);
  free(g->consts);
  free(g->args);
  free(g->inputs);
  free(g->outputs);
  free(g->metas);
  free(g->strings);
  vnc_index_free(&g->string_ids);
  vnc_graph_init(g);
}

uint32_t vnc_graph_string(struct vnc_graph *g, const char *text) {
  size_t bytes = strlen(text) + 1;
  if (!g->n_string_bytes) {
    if (!grow(g, (void **)&g->strings, &g->cap_string_bytes, 0, 1, 1)) return 0;
    g->strings[g->n_string_bytes++] = '\0';
  }
  if (bytes == 1) return 0;
  const uint64_t hash = vnc_index_hash(&g->string_ids, text, bytes);
  uint32_t id;
  for (size_t at = 0; (id = vnc_index_next(&g->string_ids, hash, &at)) != VN_NONE;)
    if (!strcmp(g->strings + id, text)) return id;
  if (!grow(g, (void **)&g->strings, &g->cap_string_bytes, g->n_string_bytes, bytes, 1)) return 0;
  id = (uint32_t)g->n_string_bytes;
  if (!vnc_index_add(&g->string_ids, hash, id)) {
    g->failed = true;
    return 0;
  }
  memcpy(g->strings + id, text, bytes);
  g->n_string_bytes += bytes;
  return id;
}

const char *vnc_graph_text(const struct vnc_graph *g, uint32_t string) {
  return string < g->n_string_bytes ? g->strings + string : "";
}

uint32_t vnc_graph_args(struct vnc_graph *g, const uint32_t *args, size_t n) {
  if (!GROW(g, args, n)) return 0;
  if (n) memcpy(g->args + g->n_args, args, n * sizeof *args);
  g->n_args += n;
  return (uint32_t)(g->n_args - n);
}

uint32_t vnc_graph_node(struct vnc_graph *g, enum vn_op op, const char *name, const uint32_t *args,
                        size_t n_args) {
  struct vnc_node node = {.op = (uint32_t)op, .weight = VN_NONE, .bias = VN_NONE, .groups = 1};
  node.name = vnc_graph_string(g, name);
  node.first_arg = vnc_graph_args(g, args, n_args);
  node.n_args = (uint32_t)n_args;
  for (int i = 0; i < 2; i++) node.act[i].slope = VN_NONE;
  for (int i = 0; i < 3; i++) node.kernel[i] = node.stride[i] = node.dilation[i] = 1;
  for (uint32_t i = 0; i < VN_AXES; i++) {
    node.in_axis[i] = i;
    node.table[i] = VN_NONE;
  }
  if (!GROW(g, nodes, 1)) return 0;
  g->nodes[g->n_nodes] = node;
  return (uint32_t)g->n_nodes++;
}

uint32_t vnc_graph_insert(struct vnc_graph *g, uint32_t at, enum vn_op op, const char *name,
                          const uint32_t *args, size_t n_args) {
  uint32_t last = vnc_graph_node(g, op, name, args, n_args);
  if (g->failed) return 0;
  struct vnc_node node = g->nodes[last];
  memmove(g->nodes + at + 1, g->nodes + at, (last - at) * sizeof *g->nodes);
  g->nodes[at] = node;
  for (size_t i = 0; i < g->n_args; i++) g->args[i] += g->args[i] >= at;
  for (size_t i = 0; i < g->n_inputs; i++) g->inputs[i].node += g->inputs[i].node >= at;
  for (size_t i = 0; i < g->n_outputs; i++) g->outputs[i].node += g->outputs[i].node >= at;
  return at;
}

enum vn_status vnc_graph_reorder(struct vnc_graph *g, const uint32_t *order, struct vn_diag *diag) {
  struct vnc_node *nodes = malloc((g->n_nodes + 1) * sizeof *nodes);
  uint32_t *new_id = malloc((g->n_nodes + 1) * sizeof *new_id);
  if (!nodes || !new_id || g->failed) {
    free(nodes);
    free(new_id);
    return vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
  }
  for (uint32_t i = 0; i < g->n_nodes; i++) {
    nodes[i] = g->nodes[order[i]];
    new_id[order[i]] = i;
  }
  free(g->nodes);
  g->nodes = nodes;
  g->cap_nodes = g->n_nodes + 1;
  for (size_t i = 0; i < g->n_args; i++) g->args[i] = new_id[g->args[i]];
  for (size_t i = 0; i < g->n_inputs; i++) g->inputs[i].node = new_id[g->inputs[i].node];
  for (size_t i = 0; i < g->n_outputs; i++) g->outputs[i].node = new_id[g->outputs[i].node];
  free(new_id);
  return VN_OK;
}

uint32_t vnc_graph_const(struct vnc_graph *g, const char *name, size_t rank, const uint64_t *dim,
                         float *data) {
  struct vnc_const c = {.name = vnc_graph_string(g, name), .rank = (uint32_t)rank, .data = data};
  if (!GROW(g, consts, 1)) {
    free(data);
    return 0;
  }
  for (size_t i = 0; i < 5; i++) c.dim[i] = i < rank ? dim[i] : 1;
  g->consts[g->n_consts] = c;
  return (uint32_t)g->n_consts++;
}

void vnc_graph_input(struct vnc_graph *g, const struct vnc_port *port) {
  if (GROW(g, inputs, 1)) g->inputs[g->n_inputs++] = *port;
}

void vnc_graph_output(struct vnc_graph *g, const struct vnc_port *port) {
  if (GROW(g, outputs, 1)) g->outputs[g->n_outputs++] = *port;
}

void vnc_graph_meta(struct vnc_graph *g, const char *key, const char *value) {
  struct vnc_meta meta = {vnc_graph_string(g, key), vnc_graph_string(g, value)};
  if (GROW(g, metas, 1)) g->metas[g->n_metas++] = meta;
}

const char *vnc_graph_meta_value(const struct vnc_graph *g, const char *key) {
  for (size_t i = 0; i < g->n_metas; i++)
    if (!strcmp(vnc_graph_text(g, g->metas[i].key), key))
      return vnc_graph_text(g, g->metas[i].value);
  return NULL;
}

uint32_t vnc_graph_arg(const struct vnc_graph *g, const struct vnc_node *node, size_t i) {
  return i < node->n_args ? g->args[node->first_arg + i] : VN_NONE;
}

uint64_t vnc_const_elems(const struct vnc_const *c) {
  uint64_t n = 1;
  for (size_t i = 0; i < c->rank; i++) n = vn_times(n, c->dim[i]);
  return n;
}

uint64_t vnc_node_elems(const struct vnc_node *node) {
  uint64_t n = 1;
  for (size_t i = 0; i < VN_AXES; i++) n = vn_times(n, node->dim[i]);
  return n;
}

uint64_t vnc_node_macs(const struct vnc_graph *g, uint32_t id) {
  const struct vnc_node *node = &g->nodes[id];
  if (node->op != VN_OP_CONV3D && node->op != VN_OP_DECONV3D) return 0;
  const struct vnc_node *in = &g->nodes[vnc_graph_arg(g, node, 0)];
  const struct vnc_const *w = &g->consts[node->weight];
  uint64_t taps = vn_times(vn_times(w->dim[1], w->dim[2]), vn_times(w->dim[3], w->dim[4]));
  if (node->op == VN_OP_CONV3D) return vn_times(vnc_node_elems(node), taps);
  return vn_times(vnc_node_elems(in) / in->dim[VN_C], vn_times(w->dim[0], taps));
}

void vnc_graph_uses(const struct vnc_graph *g, uint32_t *uses) {
  memset(uses, 0, g->n_nodes * sizeof *uses);
  for (size_t i = 0; i < g->n_nodes; i++)
    for (size_t k = 0; k < g->nodes[i].n_args; k++) uses[vnc_graph_arg(g, &g->nodes[i], k)]++;
  for (size_t i = 0; i < g->n_outputs; i++) uses[g->outputs[i].node]++;
}

/* ---- rewriting ---- */

/* Where each id's chain of replacements ends. A replacement stands before what it replaces. */
static void follow(const uint32_t *map, uint32_t *end, size_t n) {
  for (size_t i = 0; i < n; i++) end[i] = map[i] < i ? end[map[i]] : (uint32_t)i;
}

static void mark_const(bool *live, uint32_t id) {
  if (id != VN_NONE) live[id] = true;
}

/* live_node, live_const: what the outputs need, and every INPUT. */
static void mark(const struct vnc_graph *g, bool *live_node, bool *live_const) {
  for (size_t i = 0; i < g->n_outputs; i++) live_node[g->outputs[i].node] = true;
  for (size_t i = g->n_nodes; i-- > 0;) {
    const struct vnc_node *node = &g->nodes[i];
    if (node->op == VN_OP_INPUT) live_node[i] = true;
    if (!live_node[i]) continue;
    for (size_t k = 0; k < node->n_args; k++) live_node[vnc_graph_arg(g, node, k)] = true;
    mark_const(live_const, node->weight);
    mark_const(live_const, node->bias);
    for (size_t k = 0; k < 2; k++) mark_const(live_const, node->act[k].slope);
    for (size_t k = 0; k < VN_AXES; k++) mark_const(live_const, node->table[k]);
  }
}

/* The n marked entries keep their order: new_id[i] for those, VN_NONE for the rest. */
static void number(const bool *live, uint32_t *new_id, size_t n) {
  uint32_t next = 0;
  for (size_t i = 0; i < n; i++) new_id[i] = live[i] ? next++ : VN_NONE;
}

static uint32_t renumbered(const uint32_t *new_id, uint32_t id) {
  return id == VN_NONE ? VN_NONE : new_id[id];
}

static void compact_nodes(struct vnc_graph *g, const bool *live, const uint32_t *node_id,
                          const uint32_t *const_id) {
  size_t n_nodes = 0, n_args = 0;
  for (size_t i = 0; i < g->n_nodes; i++) {
    if (!live[i]) continue;
    struct vnc_node node = g->nodes[i];
    uint32_t from = node.first_arg;
    node.first_arg = (uint32_t)n_args;
    for (size_t k = 0; k < node.n_args; k++) g->args[n_args++] = node_id[g->args[from + k]];
    node.weight = renumbered(const_id, node.weight);
    node.bias = renumbered(const_id, node.bias);
    for (size_t k = 0; k < 2; k++) node.act[k].slope = renumbered(const_id, node.act[k].slope);
    for (size_t k = 0; k < VN_AXES; k++) node.table[k] = renumbered(const_id, node.table[k]);
    g->nodes[n_nodes++] = node;
  }
  g->n_nodes = n_nodes;
  g->n_args = n_args;
}

static void compact_consts(struct vnc_graph *g, const bool *live) {
  size_t n = 0;
  for (size_t i = 0; i < g->n_consts; i++) {
    if (live[i])
      g->consts[n++] = g->consts[i];
    else
      free(g->consts[i].data);
  }
  g->n_consts = n;
}

enum vn_status vnc_graph_rewrite(struct vnc_graph *g, const uint32_t *map, struct vn_diag *diag) {
  bool *live = calloc(g->n_nodes + g->n_consts + 1, sizeof *live), *live_const = live + g->n_nodes;
  uint32_t *node_id = malloc((2 * g->n_nodes + g->n_consts + 1) * sizeof *node_id);
  uint32_t *const_id = node_id + g->n_nodes, *end = const_id + g->n_consts;
  /* Nodes that share arguments make n_args the smaller of the two; one copy for each is enough. */
  size_t n_args = 0;
  for (size_t i = 0; i < g->n_nodes; i++) n_args += g->nodes[i].n_args;
  uint32_t *args = malloc((n_args + 1) * sizeof *args);
  if (!live || !node_id || !args || g->failed) {
    free(live);
    free(node_id);
    free(args);
    return vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
  }
  size_t at = 0;
  follow(map, end, g->n_nodes);
  for (size_t i = 0; i < g->n_nodes; i++) {
    struct vnc_node *node = &g->nodes[i];
    for (size_t k = 0; k < node->n_args; k++) args[at + k] = end[vnc_graph_arg(g, node, k)];
    node->first_arg = (uint32_t)at;
    at += node->n_args;
  }
  free(g->args);
  g->args = args;
  g->n_args = n_args;
  g->cap_args = n_args + 1;
  for (size_t i = 0; i < g->n_outputs; i++) g->outputs[i].node = end[g->outputs[i].node];
  mark(g, live, live_const);
  number(live, node_id, g->n_nodes);
  number(live_const, const_id, g->n_consts);
  compact_nodes(g, live, node_id, const_id);
  compact_consts(g, live_const);
  for (size_t i = 0; i < g->n_inputs; i++) g->inputs[i].node = node_id[g->inputs[i].node];
  for (size_t i = 0; i < g->n_outputs; i++) g->outputs[i].node = node_id[g->outputs[i].node];
  free(live);
  free(node_id);
  return VN_OK;
}

enum vn_status vnc_graph_prune(struct vnc_graph *g, struct vn_diag *diag) {
  uint32_t *map = malloc((g->n_nodes + 1) * sizeof *map);
  if (!map) return vn_fail(diag, VN_E_MEMORY, "out of memory for the graph");
  for (uint32_t i = 0; i < g->n_nodes; i++) map[i] = i;
  enum vn_status status = vnc_graph_rewrite(g, map, diag);
  free(map);
  return status;
}
