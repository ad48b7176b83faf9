/* Importing, resizing, describing and exporting a model; see model_file.h. */
#include "model_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compile.h"
#include "elementary.h"
#include "ends.h"
#include "fail.h"
#include "random.h"
#include "topology.h"
#include "vnet.h"

static const uint32_t space[3] = {VN_D, VN_H, VN_W};

/* ---- sizes ---- */

/* A port's sizes follow from its node's, each axis being a dimension of its own. */
static enum vn_status port_resize(const struct vnc_graph *g, struct vnc_port *port,
                                  struct vn_diag *diag) {
  if (port->rank != VN_AXES)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the model's '%.100s' is not N C D H W",
                   vnc_graph_text(g, port->name));
  for (size_t i = 0; i < VN_AXES; i++) port->dim[i] = g->nodes[port->node].dim[port->order[i]];
  return VN_OK;
}

/* Copies state their own size: one that keeps the size of what it reads goes on doing so. */
static bool keeps_size(const struct vnc_graph *g, const struct vnc_node *copy) {
  const struct vnc_node *in = &g->nodes[vnc_graph_arg(g, copy, 0)];
  for (size_t i = 0; i < 3; i++)
    if (copy->dim[space[i]] != in->dim[space[i]] || copy->in_axis[space[i]] != space[i] ||
        copy->in_start[space[i]])
      return false;
  return true;
}

enum vn_status vnt_model_resize(struct vnc_graph *g, const size_t patch[3], struct vn_diag *diag) {
  for (size_t i = 0; i < g->n_nodes; i++)
    if (g->nodes[i].op == VN_OP_COPY && !keeps_size(g, &g->nodes[i]))
      return vn_fail(diag, VN_E_UNSUPPORTED, "the model's '%.100s' cuts or moves voxels",
                     vnc_graph_text(g, g->nodes[i].name));
  enum vn_status status = VN_OK;
  for (uint32_t i = 0; i < g->n_nodes && !status; i++) {
    struct vnc_node *node = &g->nodes[i];
    for (size_t a = 0; a < 3; a++) {
      if (node->op == VN_OP_INPUT) node->dim[space[a]] = patch[a];
      if (node->op == VN_OP_COPY)
        node->dim[space[a]] = g->nodes[vnc_graph_arg(g, node, 0)].dim[space[a]];
    }
    status = vnc_shape_infer_node(g, i, diag);
  }
  for (size_t i = 0; i < g->n_inputs && !status; i++) status = port_resize(g, &g->inputs[i], diag);
  for (size_t i = 0; i < g->n_outputs && !status; i++)
    status = port_resize(g, &g->outputs[i], diag);
  if (status) return status;
  const struct vnc_node *in = &g->nodes[g->inputs[0].node], *out = &g->nodes[g->outputs[0].node];
  for (size_t a = 0; a < 3; a++)
    if (in->dim[space[a]] != out->dim[space[a]])
      return vn_fail(diag, VN_E_ARGUMENT,
                     "a patch of %zux%zux%zu does not fit the model: every stage halves it",
                     patch[0], patch[1], patch[2]);
  return VN_OK;
}

/* ---- in ---- */

enum vn_status vnt_model_import(const char *path, const size_t patch[3], struct vnc_graph *graph,
                                size_t window[3], char member[32], struct vn_diag *diag) {
  /* At its own size; where it has none, at ours. */
  struct vnc_import_options options = {0};
  char text[256];
  vnc_graph_init(graph);
  enum vn_status status = vnc_onnx_import(path, &options, graph, diag);
  if (status == VN_E_ARGUMENT) {
    vnc_graph_free(graph);
    vnc_graph_init(graph);
    for (size_t a = 0; a < 3; a++) options.patch[a] = patch[a];
    status = vnc_onnx_import(path, &options, graph, diag);
  }
  if (!status) status = vnc_topology(graph, NULL, text, sizeof text, diag);
  if (!status) status = vnc_ends(graph, diag);
  struct vn_diag inner = *diag;
  if (status)
    return strncmp(inner.text, path, strlen(path))
               ? vn_fail(diag, status, "%.200s: %.300s", path, inner.text)
               : status;
  const struct vnc_node *in = &graph->nodes[graph->inputs[0].node];
  if (in->dim[VN_N] != 1)
    return vn_fail(diag, VN_E_UNSUPPORTED, "%.200s: not for one scan at a time", path);
  for (size_t a = 0; a < 3; a++) window[a] = (size_t)in->dim[space[a]];
  status = vnt_model_resize(graph, patch, &inner);
  if (status == VN_E_FORMAT) /* the sides of a sum or concat no longer meet */
    return vn_fail(diag, VN_E_ARGUMENT,
                   "%.200s: a patch of %zux%zux%zu does not fit it: every stage halves it", path,
                   patch[0], patch[1], patch[2]);
  if (status) return vn_fail(diag, status, "%.200s: %s", path, inner.text);
  snprintf(member, 32, "%.*s", (int)strcspn(text, " "), text);
  return VN_OK;
}

size_t vnt_model_classes(const struct vnc_graph *graph) {
  const uint64_t channels = graph->nodes[graph->outputs[0].node].dim[VN_C];
  return channels < 2 ? 2 : (size_t)channels; /* one channel: a sigmoid's */
}

bool vnt_model_overlaps(const struct vnc_graph *graph) {
  const struct vnc_port *out = &graph->outputs[0];
  return out->end == VN_END_REGIONS && graph->nodes[out->node].dim[VN_C] > 1;
}

size_t vnt_model_channels(const struct vnc_graph *graph) {
  return (size_t)graph->nodes[graph->inputs[0].node].dim[VN_C];
}

void vnt_model_one(struct vnc_graph *graph) {
  const struct vnc_node *end = &graph->nodes[graph->outputs[0].node];
  if (end->op == VN_OP_ACT && end->act[0].kind == VN_ACT_SIGMOID) return;
  if (!vnc_graph_meta_value(graph, "vnet.end")) vnt_model_meta(graph, "vnet.end", "threshold 0");
}

/* ---- another head ---- */

/* The constant, of other dimensions and numbers from -most to most; or all `value` where most is 0.
 */
static bool const_renew(struct vnc_const *c, const uint64_t dim[5], float most, float value,
                        struct vnt_random *r) {
  memcpy(c->dim, dim, c->rank * sizeof *dim);
  const size_t elems = (size_t)vnc_const_elems(c);
  float *data = malloc(elems * sizeof *data);
  for (size_t i = 0; data && i < elems; i++)
    data[i] = most > 0 ? (float)vnt_random_real(r, -(double)most, (double)most) : value;
  if (data) free(c->data);
  if (data) c->data = data;
  return data;
}

/* One node of the head: what has a number for each class gets as many as there are now. Weights are
 * uniform with the variance that keeps their result's near the input's. */
static bool head_renew(struct vnc_graph *g, uint32_t id, size_t classes, struct vnt_random *r) {
  struct vnc_node *node = &g->nodes[id];
  const uint64_t each[5] = {classes};
  bool good = true;
  if (node->op == VN_OP_CONV3D) {
    const uint64_t in = g->nodes[vnc_graph_arg(g, node, 0)].dim[VN_C];
    const uint64_t dim[5] = {classes, node->kernel[0], node->kernel[1], node->kernel[2], in};
    const double taps = (double)(dim[1] * dim[2] * dim[3] * in);
    good = const_renew(&g->consts[node->weight], dim, (float)sqrt(3 / taps), 0, r);
  } else if (node->op == VN_OP_AFFINE) {
    good = const_renew(&g->consts[node->weight], each, 0, 1, r);
  }
  if (node->bias != VN_NONE) good = good && const_renew(&g->consts[node->bias], each, 0, 0, r);
  for (int i = 0; i < 2 && good; i++)
    if (node->act[i].slope != VN_NONE && vnc_const_elems(&g->consts[node->act[i].slope]) > 1)
      good = const_renew(&g->consts[node->act[i].slope], each, 0, 0.25f, r);
  node->dim[VN_C] = classes;
  return good;
}

/* A sigmoid tells two classes apart and no more. */
static void tail_renew(struct vnc_node *node) {
  if (node->op != VN_OP_ACT || node->act[0].kind != VN_ACT_SIGMOID) return;
  node->op = VN_OP_SOFTMAX;
  node->act[0].kind = 0;
  node->axis = VN_C;
}

enum vn_status vnt_model_head(struct vnc_graph *g, size_t classes, uint64_t seed,
                              struct vn_diag *diag) {
  struct vnc_found found;
  struct vnt_random r = vnt_random_open(seed, 0, 0x48454144);
  enum vn_status status = vnc_topology_read(g, &found, diag);
  if (status) return status;
  bool good = true;
  for (uint32_t id = found.head[0].conv; id < g->n_nodes && good; id++)
    good = head_renew(g, id, classes, &r);
  if (!good) return vn_fail(diag, VN_E_MEMORY, "out of memory for the head");
  tail_renew(&g->nodes[g->outputs[0].node]);
  for (uint32_t id = found.head[0].conv; id < g->n_nodes && !status; id++)
    status = vnc_shape_infer_node(g, id, diag);
  if (!status) status = port_resize(g, &g->outputs[0], diag);
  vnt_model_meta(g, "vnet.labels", NULL);
  vnt_model_meta(g, "vnet.expect", NULL);
  vnt_model_meta(g, "vnet.end", NULL);
  return status;
}

/* ---- out ---- */

enum vn_status vnt_model_odds(struct vnc_graph *g, double odds, struct vn_diag *diag) {
  uint32_t id = g->outputs[0].node;
  const struct vnc_node *end = &g->nodes[id];
  if (end->op == VN_OP_SOFTMAX || end->op == VN_OP_LOGSOFTMAX ||
      (end->op == VN_OP_ACT && end->act[0].kind == VN_ACT_SIGMOID))
    id = vnc_graph_arg(g, end, 0);
  const struct vnc_node *node = &g->nodes[id];
  if (node->op == VN_OP_ACT)
    return vn_fail(
        diag, VN_E_UNSUPPORTED,
        "--odds: the network has an activation behind its scores, which would bend them");
  if ((node->op != VN_OP_CONV3D && node->op != VN_OP_AFFINE) || node->bias == VN_NONE)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the model's scores have no biases that --odds changes");
  float *bias = g->consts[node->bias].data;
  const size_t channels = (size_t)node->dim[VN_C];
  for (size_t c = channels > 1; c < channels; c++) bias[c] += (float)vn_log(odds);
  return VN_OK;
}

void vnt_model_meta(struct vnc_graph *graph, const char *key, const char *value) {
  size_t kept = 0;
  for (size_t i = 0; i < graph->n_metas; i++)
    if (strcmp(vnc_graph_text(graph, graph->metas[i].key), key))
      graph->metas[kept++] = graph->metas[i];
  graph->n_metas = kept;
  if (value) vnc_graph_meta(graph, key, value);
}

enum vn_status vnt_model_bytes(struct vnc_graph *graph, const struct vnt_model_export *options,
                               void **bytes, size_t *size, struct vn_diag *diag) {
  const struct vnc_export_options onnx = {.float16_weights = options->float16,
                                          .graph_name = options->name,
                                          .producer_version = vn_version()};
  *bytes = NULL;
  enum vn_status status = vnt_model_resize(graph, options->model_patch, diag);
  if (!status) status = vnc_onnx_export(graph, &onnx, bytes, size, diag);
  if (!status) status = vnt_model_resize(graph, options->patch, diag);
  if (status) {
    free(*bytes);
    *bytes = NULL;
  }
  return status;
}
