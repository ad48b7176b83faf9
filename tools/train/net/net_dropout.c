/* Dropout of whole channels: where it goes in a graph, and the masks of a step; see net.h. */
#include "net_private.h"

#include <stdio.h>
#include <string.h>

#include "fail.h"
#include "random.h"

static const char suffix[] = ".dropout";
enum { STREAM = 0x44500000 }; /* of the random numbers, plus the place */

bool vnt_dropout_is(const struct vnc_graph *graph, const struct vnc_node *node) {
  const char *name = vnc_graph_text(graph, node->name);
  const size_t length = strlen(name), end = sizeof suffix - 1;
  return node->op == VN_OP_COPY && length >= end && strcmp(name + length - end, suffix) == 0;
}

/* ---- places ---- */

/* A node before `reader`, which then reads it in place of its argument `arg`. */
static void place_insert(struct vnc_graph *g, uint32_t reader, uint32_t arg) {
  const uint32_t from = vnc_graph_arg(g, &g->nodes[reader], arg);
  char name[128];
  snprintf(name, sizeof name, "%.100s.%u%s", vnc_graph_text(g, g->nodes[reader].name), arg, suffix);
  const uint32_t id = vnc_graph_insert(g, reader, VN_OP_COPY, name, &from, 1);
  if (g->failed) return;
  struct vnc_node *copy = &g->nodes[id];
  copy->dtype = g->nodes[from].dtype;
  memcpy(copy->dim, g->nodes[from].dim, sizeof copy->dim);
  for (uint32_t a = 0; a < VN_AXES; a++) copy->in_axis[a] = a;
  g->args[g->nodes[id + 1].first_arg + arg] = id;
}

/* Does the value come straight from a strided convolution of at least `channels`? */
static bool is_down(const struct vnc_graph *g, uint32_t id, uint64_t channels) {
  while (g->nodes[id].op == VN_OP_ACT || g->nodes[id].op == VN_OP_AFFINE)
    id = vnc_graph_arg(g, &g->nodes[id], 0);
  const struct vnc_node *node = &g->nodes[id];
  return node->op == VN_OP_CONV3D && node->stride[0] > 1 &&
         (uint64_t)g->nodes[vnc_graph_arg(g, node, 0)].dim[VN_C] >= channels;
}

enum vn_status vnt_dropout_insert(struct vnc_graph *g, struct vn_diag *diag) {
  uint32_t *uses = calloc(g->n_nodes, sizeof *uses);
  uint64_t least = 0;
  if (!uses) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  vnc_graph_uses(g, uses);
  for (size_t i = 0; i < g->n_nodes && !least; i++)
    if (g->nodes[i].op == VN_OP_CONV3D) least = 4 * (uint64_t)g->nodes[i].dim[VN_C];
  for (uint32_t id = (uint32_t)g->n_nodes; id-- > 0 && !g->failed;) {
    const struct vnc_node node = g->nodes[id]; /* before insertions move it */
    const bool conv = node.op == VN_OP_CONV3D && node.stride[0] == 1;
    if (node.op == VN_OP_CONCAT) {
      for (uint32_t i = 0, moved = 0; i < node.n_args; i++)
        if (uses[vnc_graph_arg(g, &g->nodes[id + moved], i)] > 1) place_insert(g, id + moved++, i);
    } else if ((conv && is_down(g, vnc_graph_arg(g, &node, 0), least)) ||
               (node.op == VN_OP_DECONV3D && (uint64_t)node.dim[VN_C] >= least)) {
      place_insert(g, id, 0);
    }
  }
  free(uses);
  return g->failed ? vn_fail(diag, VN_E_MEMORY, "out of memory") : VN_OK;
}

/* ---- masks ---- */

void vnt_net_dropout(struct vnt_net *net, double probability, uint64_t seed, uint64_t step,
                     size_t first_sample) {
  uint32_t place = 0;
  for (size_t i = 0; i < net->private->n_steps; i++) {
    const struct step *s = &net->private->steps[i];
    if (s->kind != STEP_DROP) continue;
    const struct vn_tensor *t = &net->private->places[s->node].value;
    const size_t channels = t->dim[VN_C];
    struct vnt_random r = vnt_random_open(seed, step, STREAM + place++);
    for (size_t n = 0; n < t->dim[VN_N]; n++) { /* four draws for each turn of the counter */
      r.counter[0] = (uint32_t)((first_sample + n) * ((channels + 3) / 4));
      r.have = 0;
      for (size_t c = 0; c < channels; c++)
        s->mask[n * channels + c] =
            vnt_random_real(&r, 0, 1) < probability ? 0 : (float)(1 / (1 - probability));
    }
  }
}
