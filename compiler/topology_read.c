/* Reads a graph backwards, from the outputs to the scan, as stages: convolutions, their sum, the
 * way down or up. Called by topology.c, which compares; judges nothing that a stage could
 * contain. */
#include "topology.h"

#include <ctype.h>

static uint32_t arg(const struct vnc_graph *g, uint32_t id, size_t i) {
  return vnc_graph_arg(g, &g->nodes[id], i);
}

const char *vnc_topology_name(const struct vnc_graph *g, uint32_t id, char text[64]) {
  snprintf(text, 64, "%s", vnc_graph_text(g, g->nodes[id].name));
  for (char *c = text; *c; c++) {
    if (!isprint((unsigned char)*c)) *c = '?';
  }
  return text;
}

/* Does the COPY leave every axis but the channels as it is, and repeat or keep those? */
static bool copy_repeats(const struct vnc_graph *g, const struct vnc_node *node) {
  const struct vnc_node *from = &g->nodes[vnc_graph_arg(g, node, 0)];
  for (uint32_t a = 0; a < VN_AXES; a++) {
    if (node->in_axis[a] != a || node->in_start[a]) return false;
    if (a != VN_C && node->dim[a] != from->dim[a]) return false;
  }
  return node->dim[VN_C] % from->dim[VN_C] == 0;
}

uint32_t vnc_topology_peel(const struct vnc_graph *g, uint32_t id) {
  while (g->nodes[id].op == VN_OP_COPY && copy_repeats(g, &g->nodes[id]) &&
         g->nodes[id].dim[VN_C] == g->nodes[arg(g, id, 0)].dim[VN_C]) {
    id = arg(g, id, 0);
  }
  return id;
}

/* What is repeated along the channels, however that is written, to give node `id`. */
static uint32_t repeat_root(const struct vnc_graph *g, uint32_t id) {
  for (;;) {
    const struct vnc_node *node = &g->nodes[id];
    bool repeats = node->op == VN_OP_COPY && copy_repeats(g, node);
    if (node->op == VN_OP_CONCAT && node->axis == VN_C) {
      repeats = true;
      for (size_t i = 1; i < node->n_args; i++) {
        repeats =
            repeats && vnc_topology_peel(g, arg(g, id, i)) == vnc_topology_peel(g, arg(g, id, 0));
      }
    }
    if (!repeats) return id;
    id = arg(g, id, 0);
  }
}

/* Is `id` the end of a convolution with what belongs to it? */
static bool unit_read(const struct vnc_graph *g, uint32_t id, struct vnc_unit *unit) {
  *unit = (struct vnc_unit){.act = VN_ACT_NONE};
  id = vnc_topology_peel(g, id);
  if (g->nodes[id].op == VN_OP_ACT) {
    unit->act = g->nodes[id].act[0].kind;
    id = vnc_topology_peel(g, arg(g, id, 0));
  }
  while (g->nodes[id].op == VN_OP_AFFINE) {
    unit->norm = true;
    id = vnc_topology_peel(g, arg(g, id, 0));
  }
  if (g->nodes[id].op != VN_OP_CONV3D && g->nodes[id].op != VN_OP_DECONV3D) return false;
  unit->conv = id;
  unit->from = vnc_topology_peel(g, arg(g, id, 0));
  return true;
}

static bool unit_keeps_grid(const struct vnc_graph *g, const struct vnc_unit *unit) {
  const struct vnc_node *node = &g->nodes[unit->conv];
  return node->op == VN_OP_CONV3D && node->stride[0] == 1 && node->stride[1] == 1 &&
         node->stride[2] == 1;
}

/* Follows convolutions of stride 1 backwards from `id` until something else; returns that. Fills
 * `units` in order of execution; more than fit are left standing. */
static uint32_t chain_read(const struct vnc_graph *g, uint32_t id, struct vnc_unit *units,
                           size_t *n) {
  struct vnc_unit unit;
  *n = 0;
  id = vnc_topology_peel(g, id);
  while (*n < VNC_UNITS_MOST && unit_read(g, id, &unit) && unit_keeps_grid(g, &unit)) {
    units[(*n)++] = unit;
    id = unit.from;
  }
  for (size_t i = 0; i < *n / 2; i++) {
    unit = units[i];
    units[i] = units[*n - 1 - i];
    units[*n - 1 - i] = unit;
  }
  return id;
}

/* The stage that ends in node `id`: sum and activation if there are any, and the convolutions. */
static void stage_read(const struct vnc_graph *g, uint32_t id, struct vnc_stage *stage) {
  *stage = (struct vnc_stage){.out = id, .sum = VN_NONE, .residual = VN_NONE, .skip = VN_NONE};
  if (g->nodes[id].op == VN_OP_ACT) {
    uint32_t under = vnc_topology_peel(g, arg(g, id, 0));
    if (g->nodes[under].op == VN_OP_ADD) {
      stage->sum_act = g->nodes[id].act[0].kind;
      id = under;
    }
  }
  if (g->nodes[id].op != VN_OP_ADD) {
    stage->in = chain_read(g, id, stage->convs, &stage->n_convs);
    return;
  }
  stage->sum = id;
  struct vnc_unit other[VNC_UNITS_MOST];
  size_t n_other;
  uint32_t first = arg(g, id, 0), second = arg(g, id, 1);
  chain_read(g, second, other, &n_other);
  stage->in = chain_read(g, first, stage->convs, &stage->n_convs);
  if (n_other > stage->n_convs) {
    stage->in = chain_read(g, second, stage->convs, &stage->n_convs);
    second = first;
  }
  stage->residual = repeat_root(g, second);
}

/* From the outputs to the node that all of them show: through whatever reorders, normalises over
 * the classes or picks one. */
static enum vn_status tail_read(const struct vnc_graph *g, struct vnc_found *f, uint32_t *end,
                                struct vn_diag *diag) {
  *end = VN_NONE;
  for (size_t i = 0; i < g->n_outputs; i++) {
    uint32_t id = g->outputs[i].node;
    for (;;) {
      uint32_t op = g->nodes[id].op;
      if (op == VN_OP_SOFTMAX || op == VN_OP_LOGSOFTMAX) {
        f->softmax = true;
      } else if (op != VN_OP_COPY && op != VN_OP_CAST && op != VN_OP_ARGMAX &&
                 !(op == VN_OP_ACT && g->nodes[id].act[0].kind == VN_ACT_SIGMOID)) {
        break;
      }
      id = arg(g, id, 0);
    }
    if (*end != VN_NONE && *end != id) {
      char one[64], two[64];
      return vn_fail(diag, VN_E_UNSUPPORTED,
                     "outputs: one end of the network expected, two found (nodes %s, %s)",
                     vnc_topology_name(g, *end, one), vnc_topology_name(g, id, two));
    }
    *end = id;
  }
  return VN_OK;
}

/* The convolutions behind right 1, which ends in its sum. Without a sum there they are one chain
 * with right 1's own: the last one is the output's, and so is one to another channel count. */
static uint32_t head_read(const struct vnc_graph *g, struct vnc_found *f, uint32_t end) {
  uint32_t before = chain_read(g, end, f->head, &f->n_head);
  if (g->nodes[before].op != VN_OP_CONCAT) return before;
  size_t keep = f->n_head ? 1 : 0;
  for (; keep < f->n_head; keep++) {
    const struct vnc_unit *unit = &f->head[f->n_head - 1 - keep];
    if (g->nodes[unit->conv].dim[VN_C] == g->nodes[unit->from].dim[VN_C]) break;
  }
  for (size_t i = 0; i < keep; i++) f->head[i] = f->head[f->n_head - keep + i];
  f->n_head = keep;
  return keep ? f->head[0].from : end;
}

/* A concat's parts: an up-convolution and something else, in either order. */
static bool concat_read(const struct vnc_graph *g, struct vnc_stage *stage) {
  const struct vnc_node *node = &g->nodes[stage->in];
  if (node->op != VN_OP_CONCAT || node->axis != VN_C || node->n_args != 2) return false;
  for (size_t i = 0; i < 2; i++) {
    if (unit_read(g, arg(g, stage->in, i), &stage->move) &&
        g->nodes[stage->move.conv].op == VN_OP_DECONV3D) {
      stage->skip = vnc_topology_peel(g, arg(g, stage->in, 1 - i));
      return true;
    }
  }
  return false;
}

static enum vn_status misfit(const struct vnc_graph *g, const char *side, size_t number,
                             const char *expected, uint32_t id, struct vn_diag *diag) {
  char name[64];
  return vn_fail(diag, VN_E_UNSUPPORTED, "%s %zu: %s expected, %s found (node %s)", side, number,
                 expected, vn_op_text(g->nodes[id].op), vnc_topology_name(g, id, name));
}

/* The stages going down, read upwards: `f->left[0]` holds the lowest one already. */
static enum vn_status left_read(const struct vnc_graph *g, struct vnc_found *f,
                                struct vn_diag *diag) {
  size_t n = 1;
  while (repeat_root(g, f->left[n - 1].in) != g->inputs[0].node) {
    struct vnc_unit down;
    uint32_t in = f->left[n - 1].in;
    size_t number = f->n_right + 2 - (n <= f->n_right ? n : f->n_right + 1);
    if (!unit_read(g, in, &down) || g->nodes[down.conv].op != VN_OP_CONV3D ||
        unit_keeps_grid(g, &down)) {
      return misfit(g, "left", number, "the scan or a convolution down before the stage", in, diag);
    }
    if (n == VNC_STAGES_MOST) {
      return vn_fail(diag, VN_E_UNSUPPORTED, "%d stages going down at most expected, more found",
                     VNC_STAGES_MOST);
    }
    stage_read(g, down.from, &f->left[n]);
    f->left[n++].move = down;
  }
  f->input = g->inputs[0].node;
  f->n_left = n;
  for (size_t i = 0; i < n / 2; i++) {
    struct vnc_stage stage = f->left[i];
    f->left[i] = f->left[n - 1 - i];
    f->left[n - 1 - i] = stage;
  }
  return VN_OK;
}

enum vn_status vnc_topology_read(const struct vnc_graph *g, struct vnc_found *f,
                                 struct vn_diag *diag) {
  *f = (struct vnc_found){0};
  if (g->n_inputs != 1 || !g->n_outputs) {
    return vn_fail(diag, VN_E_UNSUPPORTED, "inputs: one scan expected, %zu found", g->n_inputs);
  }
  uint32_t id;
  enum vn_status status = tail_read(g, f, &id, diag);
  if (status) return status;
  id = head_read(g, f, id);
  struct vnc_stage stage;
  for (stage_read(g, id, &stage); concat_read(g, &stage); stage_read(g, stage.move.from, &stage)) {
    if (f->n_right == VNC_STAGES_MOST - 1) {
      return vn_fail(diag, VN_E_UNSUPPORTED, "%d stages coming up at most expected, more found",
                     VNC_STAGES_MOST - 1);
    }
    f->right[f->n_right++] = stage;
  }
  struct vnc_unit down;
  if (repeat_root(g, stage.in) != g->inputs[0].node &&
      (!unit_read(g, stage.in, &down) || g->nodes[down.conv].op != VN_OP_CONV3D)) {
    return misfit(g, "right", f->n_right + 1,
                  "a concat of an up-convolution and a left stage before the stage", stage.in,
                  diag);
  }
  f->left[0] = stage;
  return left_read(g, f, diag);
}
