/* What the network's outputs mean: read off the graph's end as the importer left it, or said by the
 * model's `vnet.end` (schemas/plan.md, "Ends"). Called by compile.c before the passes, which hide a
 * sigmoid in a convolution; plan_write.c asks for thresholds. */
#include "ends.h"

#include "plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MOST = 8, VISITS_MOST = 100000 }; /* of concats in concats; of nodes, for a model */

/* Where an output's channels lie in the node at hand. */
struct place {
  uint32_t node, axis;
  uint64_t from, count;
  uint32_t *visits; /* that are left */
};

static enum vn_end end_of(const struct vnc_graph *g, struct place at, unsigned depth);

/* To what a copy has its channels from; false: it repeats them. */
static bool through_copy(const struct vnc_graph *g, struct place *at) {
  const struct vnc_node *node = &g->nodes[at->node];
  const uint32_t axis = at->axis;
  at->node = vnc_graph_arg(g, node, 0);
  at->axis = node->in_axis[axis];
  at->from += node->in_start[axis];
  return at->from + at->count <= g->nodes[at->node].dim[at->axis];
}

/* Of probabilities all, all but the first, or one of them: that is a region. */
static enum vn_end softmax_end(const struct vnc_node *node, const struct place *at) {
  const uint64_t channels = node->dim[at->axis];
  const bool logarithm = node->op == VN_OP_LOGSOFTMAX;
  if (node->axis != at->axis || node->more_axes || channels == 1) return VN_END_SCORES;
  if (at->count == channels) return logarithm ? VN_END_LOGSOFTMAX : VN_END_SOFTMAX;
  if (logarithm) return VN_END_SCORES;
  if (at->count == 1 && at->from) return VN_END_REGIONS;
  return at->from == 1 && at->count == channels - 1 ? VN_END_FOREGROUND : VN_END_SCORES;
}

/* 1 - x, of one channel? */
static bool complements(const struct vnc_graph *g, uint32_t id, uint32_t x) {
  const struct vnc_node *node = &g->nodes[id];
  if (node->op != VN_OP_AFFINE || node->dim[VN_C] != 1 || vnc_graph_arg(g, node, 0) != x)
    return false;
  const float *scale = g->consts[node->weight].data, *shift = g->consts[node->bias].data;
  return scale && shift && scale[0] == -1 && shift[0] == 1;
}

/* Parts that all mean the same; [1 - p, p] are the probabilities of two labels. */
static enum vn_end concat_end(const struct vnc_graph *g, struct place at, unsigned depth) {
  const struct vnc_node *node = &g->nodes[at.node];
  const bool channels = node->axis == at.axis;
  enum vn_end all = VN_END_UNSAID;
  if (channels && at.count != node->dim[at.axis]) return VN_END_SCORES;
  for (size_t i = 0; i < node->n_args; i++) {
    struct place part = at;
    part.node = vnc_graph_arg(g, node, i);
    if (channels) part.count = g->nodes[part.node].dim[at.axis];
    const enum vn_end end = end_of(g, part, depth + 1);
    if (i && channels && end == VN_END_REGIONS && node->n_args == 2 &&
        complements(g, vnc_graph_arg(g, node, 0), part.node))
      return VN_END_SOFTMAX;
    if (i && end != all) return VN_END_SCORES;
    all = end;
  }
  return channels && all != VN_END_REGIONS && all != VN_END_LABELS ? VN_END_SCORES : all;
}

/* Clipped between bounds that 0.5 lies between: the order of what matters stays. */
static bool clips_ends(const struct vnc_node *node) {
  return node->kind == VN_MAP_CLIP && node->a < 0.5f && node->b > 0.5f;
}

/* Compared with a constant: 0 and 1 in each channel are regions, unless they are of labels that
 * exclude each other. */
static enum vn_end compared_end(const struct vnc_graph *g, struct place at, unsigned depth) {
  const struct vnc_node *node = &g->nodes[at.node];
  const bool upwards = node->kind == VN_BINARY_GREATER || node->kind == VN_BINARY_GREATER_EQUAL;
  if (!upwards || g->nodes[vnc_graph_arg(g, node, 1)].op != VN_OP_CONST) return VN_END_SCORES;
  at.node = vnc_graph_arg(g, node, 0);
  const enum vn_end end = end_of(g, at, depth + 1);
  return end == VN_END_FOREGROUND || end == VN_END_SOFTMAX ? end : VN_END_REGIONS;
}

/* Means of neighbours along axes that are not the channels': probabilities stay such. */
static bool averages(const struct vnc_graph *g, const struct vnc_node *node, uint32_t channels) {
  if (node->kind || node->table[channels] != VN_NONE) return false;
  for (uint32_t axis = 0; axis < VN_AXES; axis++) {
    if (node->table[axis] == VN_NONE) continue;
    const struct vnc_const *table = &g->consts[node->table[axis]];
    const float *pair = table->data;
    for (uint64_t i = 0; i < table->dim[0]; i++) {
      double sum = 0;
      for (uint64_t tap = 0; tap < table->dim[1]; tap++, pair += 2) {
        if (pair[0] < 0 || pair[1] < 0) return false; /* what lies outside; cubic */
        sum += (double)pair[1];
      }
      if (fabs(sum - 1) > 1e-4) return false;
    }
  }
  return true;
}

/* Resized or pooled by means. */
static enum vn_end sampled_end(const struct vnc_graph *g, struct place at, unsigned depth) {
  const struct vnc_node *node = &g->nodes[at.node];
  if (!averages(g, node, at.axis)) return VN_END_SCORES;
  at.node = vnc_graph_arg(g, node, 0);
  const enum vn_end end = end_of(g, at, depth + 1);
  const bool probable = end == VN_END_SOFTMAX || end == VN_END_FOREGROUND || end == VN_END_REGIONS;
  return probable ? end : VN_END_SCORES;
}

static enum vn_end end_of(const struct vnc_graph *g, struct place at, unsigned depth) {
  while (*at.visits) {
    --*at.visits;
    const struct vnc_node *node = &g->nodes[at.node];
    switch (node->op) {
    case VN_OP_COPY:
      if (!through_copy(g, &at)) return VN_END_SCORES;
      break;
    case VN_OP_CAST:
      at.node = vnc_graph_arg(g, node, 0);
      break;
    case VN_OP_ARGMAX:
      return VN_END_LABELS;
    case VN_OP_SOFTMAX:
    case VN_OP_LOGSOFTMAX:
      return softmax_end(node, &at);
    case VN_OP_ACT:
      return node->act[0].kind == VN_ACT_SIGMOID ? VN_END_REGIONS : VN_END_SCORES;
    case VN_OP_MAP:
      if (!clips_ends(node)) return VN_END_SCORES;
      at.node = vnc_graph_arg(g, node, 0);
      break;
    case VN_OP_BINARY:
      return depth < DEPTH_MOST ? compared_end(g, at, depth) : VN_END_SCORES;
    case VN_OP_SAMPLE:
      return depth < DEPTH_MOST ? sampled_end(g, at, depth) : VN_END_SCORES;
    case VN_OP_CONCAT:
      return depth < DEPTH_MOST ? concat_end(g, at, depth) : VN_END_SCORES;
    default:
      return VN_END_SCORES;
    }
  }
  return VN_END_SCORES;
}

/* ---- vnet.end ---- */

enum { WANTS_NOTHING, WANTS_ARGMAX, WANTS_THRESHOLDS, WANTS_NONSENSE };

/* What the metadata wants, and of how many channels. */
static int wanted(const struct vnc_graph *g, uint64_t *count, const char **numbers) {
  static const char word[] = "threshold";
  const char *text = vnc_graph_meta_value(g, "vnet.end");
  *count = 0;
  if (!text) return WANTS_NOTHING;
  if (!strcmp(text, "argmax")) return WANTS_ARGMAX;
  if (strncmp(text, word, sizeof word - 1) != 0 || text[sizeof word - 1] != ' ')
    return WANTS_NONSENSE;
  *numbers = text + sizeof word;
  for (const char *at = *numbers;; (*count)++) {
    char *end;
    while (*at == ' ') at++;
    if (!*at) break;
    if (!isfinite(strtof(at, &end)) || end == at || (*end && *end != ' ')) return WANTS_NONSENSE;
    at = end;
  }
  return *count ? WANTS_THRESHOLDS : WANTS_NONSENSE;
}

void vnc_end_thresholds(const struct vnc_graph *g, uint64_t channels, float *thresholds) {
  const char *numbers;
  uint64_t count;
  const bool said = wanted(g, &count, &numbers) == WANTS_THRESHOLDS;
  for (uint64_t c = 0; c < channels; c++) {
    char *end;
    thresholds[c] = 0.5f;
    if (!said || (count != 1 && count != channels)) continue;
    thresholds[c] = c && count == 1 ? thresholds[0] : strtof(numbers, &end);
    if (!c || count > 1) numbers = end;
  }
}

enum vn_status vnc_ends(struct vnc_graph *g, struct vn_diag *diag) {
  const char *numbers;
  uint64_t count;
  uint32_t visits = VISITS_MOST;
  bool taken = false;
  const int want = wanted(g, &count, &numbers);
  if (want == WANTS_NONSENSE)
    return vn_fail(diag, VN_E_FORMAT,
                   "the model's vnet.end is '%.60s', and neither 'argmax' nor 'threshold' with "
                   "numbers",
                   vnc_graph_meta_value(g, "vnet.end"));
  for (size_t i = 0; i < g->n_outputs; i++) {
    struct vnc_port *port = &g->outputs[i];
    const uint64_t channels = g->nodes[port->node].dim[VN_C];
    port->end = end_of(g, (struct place){port->node, VN_C, 0, channels, &visits}, 0);
    if (port->end == VN_END_LABELS) continue;
    if (want == WANTS_ARGMAX && port->end == VN_END_REGIONS && channels > 1)
      port->end = VN_END_SCORES;
    if (want != WANTS_THRESHOLDS || (count != 1 && count != channels)) continue;
    port->end = VN_END_REGIONS;
    taken = true;
  }
  for (size_t i = 0; i < g->n_outputs; i++) {
    const uint64_t channels = g->nodes[g->outputs[i].node].dim[VN_C];
    if (g->outputs[i].end == VN_END_REGIONS && channels > PLAN_MOST_RECORDS)
      return vn_fail(diag, VN_E_UNSUPPORTED, "an output of %llu regions: a plan holds at most %d",
                     (unsigned long long)channels, PLAN_MOST_RECORDS);
  }
  if (want == WANTS_THRESHOLDS && !taken)
    return vn_fail(diag, VN_E_FORMAT,
                   "the model's vnet.end has %llu thresholds, and no output has as many channels",
                   (unsigned long long)count);
  return VN_OK;
}
