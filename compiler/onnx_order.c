/* Which of an ONNX graph's nodes its outputs need, and in what order they can be imported: the
 * file's own wherever that is topological. What is not needed may be anything, and is passed over.
 * Called by onnx_import.c. */
#include "onnx_import.h"

#include <stdlib.h>
#include <string.h>

enum { UNSEEN, OPEN, DONE };

struct vnc_frame { /* a node on the way from a result to what it needs */
  uint32_t node;
  size_t next_input;
};

struct vnc_result {
  const char *name;
  uint32_t node; /* that yields it */
};

uint32_t vnc_order_producer(struct vnc_order *o, const char *name) {
  const uint64_t hash = vnc_index_hash(&o->ids, name, strlen(name));
  uint32_t id;
  for (size_t at = 0; (id = vnc_index_next(&o->ids, hash, &at)) != VN_NONE;)
    if (!strcmp(o->results[id].name, name)) return o->results[id].node;
  return VN_NONE;
}

static size_t results_count(const Onnx__GraphProto *graph) {
  size_t n = 0;
  for (size_t i = 0; i < graph->n_node; i++) n += graph->node[i]->n_output;
  return n;
}

static enum vn_status results_note(struct vnc_order *o) {
  uint32_t id = 0;
  for (uint32_t n = 0; n < o->graph->n_node; n++) {
    const Onnx__NodeProto *node = o->graph->node[n];
    for (size_t i = 0; i < node->n_output; i++) {
      const char *name = node->output[i];
      if (!*name) continue;
      if (vnc_order_producer(o, name) != VN_NONE)
        return vn_fail(o->im->diag, VN_E_FORMAT, "the name '%.200s' is given twice", name);
      o->results[id] = (struct vnc_result){name, n};
      if (!vnc_index_add(&o->ids, vnc_index_hash(&o->ids, name, strlen(name)), id++))
        return vn_fail(o->im->diag, VN_E_MEMORY, "out of memory for the model");
    }
  }
  return VN_OK;
}

/* The node that yields input i of node n, as far as that is read; else VN_NONE. */
static uint32_t need_of(struct vnc_order *o, uint32_t n, size_t i) {
  const Onnx__NodeProto *node = o->graph->node[n];
  const bool statistics = i >= 3 && o->own[n];
  return *node->input[i] && !statistics ? vnc_order_producer(o, node->input[i]) : VN_NONE;
}

/* Backwards from node n; uses the stack for what is still to be looked at. */
static void need(struct vnc_order *o, uint32_t n) {
  size_t depth = 0;
  if (n == VN_NONE || o->needed[n]) return;
  o->needed[n] = true;
  o->stack[depth++].node = n;
  while (depth) {
    n = o->stack[--depth].node;
    for (size_t i = 0; i < o->graph->node[n]->n_input; i++) {
      const uint32_t from = need_of(o, n, i);
      if (from == VN_NONE || o->needed[from]) continue;
      o->needed[from] = true;
      o->stack[depth++].node = from;
    }
  }
}

/* Node n behind all that it needs. */
static enum vn_status place(struct vnc_order *o, uint32_t n) {
  size_t depth = 0;
  if (o->state[n] == DONE) return VN_OK;
  o->stack[depth++] = (struct vnc_frame){n, 0};
  o->state[n] = OPEN;
  while (depth) {
    struct vnc_frame *top = &o->stack[depth - 1];
    const Onnx__NodeProto *node = o->graph->node[top->node];
    if (top->next_input == node->n_input) {
      o->state[top->node] = DONE;
      o->nodes[o->n++] = top->node;
      depth--;
      continue;
    }
    const uint32_t from = need_of(o, top->node, top->next_input++);
    if (from == VN_NONE || o->state[from] == DONE) continue;
    if (o->state[from] == OPEN)
      return vn_fail(o->im->diag, VN_E_FORMAT, "node '%.100s' needs its own result",
                     node->name && *node->name ? node->name : node->output[0]);
    o->state[from] = OPEN;
    o->stack[depth++] = (struct vnc_frame){from, 0};
  }
  return VN_OK;
}

enum vn_status vnc_order_open(struct vnc_order *o, struct vnc_import *im,
                              const Onnx__GraphProto *graph) {
  const size_t most = graph->n_node + 1;
  *o = (struct vnc_order){.im = im,
                          .graph = graph,
                          .own = calloc(most, sizeof *o->own),
                          .needed = calloc(most, sizeof *o->needed),
                          .state = calloc(most, sizeof *o->state),
                          .stack = calloc(most, sizeof *o->stack),
                          .nodes = calloc(most, sizeof *o->nodes),
                          .results = calloc(results_count(graph) + 1, sizeof *o->results)};
  enum vn_status status = VN_OK;
  if (!o->own || !o->needed || !o->state || !o->stack || !o->nodes || !o->results)
    return vn_fail(im->diag, VN_E_MEMORY, "out of memory for the model");
  status = results_note(o);
  for (uint32_t i = 0; !status && i < graph->n_node; i++)
    o->own[i] = vnc_onnx_own_statistics(o, graph->node[i]);
  for (size_t i = 0; !status && i < graph->n_output; i++)
    need(o, graph->output[i]->name ? vnc_order_producer(o, graph->output[i]->name) : VN_NONE);
  for (uint32_t i = 0; !status && i < graph->n_node; i++)
    if (o->needed[i]) status = place(o, i);
  return status;
}

void vnc_order_close(struct vnc_order *o) {
  vnc_index_free(&o->ids);
  free(o->own);
  free(o->needed);
  free(o->state);
  free(o->stack);
  free(o->nodes);
  free(o->results);
}
