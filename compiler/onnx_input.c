/* A model's inputs: their type, sizes that are left open, and the order of their axes, which is n c
 * d h w for most exporters and n d h w c for TensorFlow's. Called by onnx_import.c. */
#include "onnx_import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LAST_CHANNEL = 4 };

/* Axis of each dimension, by rank. */
static const uint32_t canonical[VN_AXES + 1][VN_AXES] = {{0},
                                                         {VN_C},
                                                         {VN_N, VN_C},
                                                         {VN_N, VN_C, VN_W},
                                                         {VN_N, VN_C, VN_H, VN_W},
                                                         {VN_N, VN_C, VN_D, VN_H, VN_W}};

struct input {
  struct vnc_import *im;
  const char *name;
  const Onnx__TensorShapeProto *shape;
  uint32_t axis[VN_AXES]; /* of each dimension */
};

/* The size of dimension i; 0: open. */
static uint64_t size_of(const struct input *in, size_t i) {
  const Onnx__TensorShapeProto__Dimension *d = in->shape->dim[i];
  bool fixed = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
  return fixed && d->dim_value > 0 ? (uint64_t)d->dim_value : 0;
}

/* ---- the order of axes ---- */

enum layout { UNKNOWN, CHANNELS_FIRST, CHANNELS_LAST };

static bool is_one_of(const char *type, const char *const *list) {
  for (; *list; list++)
    if (!strcmp(type, *list)) return true;
  return false;
}

/* n d h w c becomes n c d h w there, the order of d h w being the network's affair. */
static bool brings_channels_first(struct input *in, const Onnx__NodeProto *node) {
  for (size_t i = 0; i < node->n_attribute; i++) {
    const Onnx__AttributeProto *a = node->attribute[i];
    if (!a->name || strcmp(a->name, "perm") != 0 || a->n_ints != VN_AXES || a->ints[0] ||
        a->ints[1] != LAST_CHANNEL)
      continue;
    uint32_t seen = 0;
    for (size_t k = 0; k < VN_AXES; k++)
      seen |= a->ints[k] >= 0 && a->ints[k] < VN_AXES ? 1u << a->ints[k] : 0;
    if (seen != (1u << VN_AXES) - 1) return false;
    for (uint32_t k = 0; k < VN_AXES; k++) in->axis[a->ints[k]] = k;
    return true;
  }
  return false;
}

/* What a node that reads the input, as it is or scaled, takes it for. */
static enum layout layout_of_node(struct input *in, const Onnx__NodeProto *node) {
  static const char *const first[] = {"Conv",    "ConvTranspose", "BatchNormalization",
                                      "MaxPool", "AveragePool",   "InstanceNormalization",
                                      "Resize",  "Upsample",      NULL};
  if (!strcmp(node->op_type, "Transpose"))
    return brings_channels_first(in, node) ? CHANNELS_LAST : UNKNOWN;
  /* With a single channel, exporters write that as a new shape. */
  if (!strcmp(node->op_type, "Reshape"))
    return size_of(in, LAST_CHANNEL) == 1 && size_of(in, 1) != 1 ? CHANNELS_LAST : UNKNOWN;
  return is_one_of(node->op_type, first) ? CHANNELS_FIRST : UNKNOWN;
}

enum { LAYOUT_STEPS_MOST = 256 }; /* for a model */

/* Follows `name` through what keeps its axes. */
static enum layout layout_follow(struct input *in, const Onnx__GraphProto *graph, const char *name,
                                 unsigned depth) {
  static const char *const keeps[] = {
      "Add",  "Sub",    "Mul",   "Div",  "Cast",      "Identity", "Neg",   "Clip",    "Concat",
      "Tile", "Expand", "Pad",   "Min",  "Max",       "Relu",     "Abs",   "Dropout", "Sqrt",
      "Pow",  "Sum",    "PRelu", "Mean", "LeakyRelu", "Gather",   "Slice", NULL};
  if (!depth || in->im->layout_steps >= LAYOUT_STEPS_MOST) return UNKNOWN;
  in->im->layout_steps++;
  for (size_t n = 0; n < graph->n_node; n++) {
    const Onnx__NodeProto *node = graph->node[n];
    bool reads = false;
    for (size_t i = 0; i < node->n_input; i++) reads = reads || !strcmp(node->input[i], name);
    if (!reads || !node->op_type) continue;
    enum layout found = layout_of_node(in, node);
    if (found == UNKNOWN && node->n_output && *node->output[0] && is_one_of(node->op_type, keeps))
      found = layout_follow(in, graph, node->output[0], depth - 1);
    if (found != UNKNOWN) return found;
  }
  return UNKNOWN;
}

static void axes_find(struct input *in, const Onnx__GraphProto *graph) {
  static const uint32_t last[VN_AXES] = {VN_N, VN_D, VN_H, VN_W, VN_C};
  enum { DEPTH_MOST = 16 };
  memcpy(in->axis, canonical[in->shape->n_dim], sizeof in->axis);
  if (in->shape->n_dim != VN_AXES) return;
  enum layout layout = layout_follow(in, graph, in->name, DEPTH_MOST);
  if (layout == UNKNOWN && !size_of(in, 1) && size_of(in, LAST_CHANNEL)) layout = CHANNELS_LAST;
  if (layout == CHANNELS_LAST && in->axis[LAST_CHANNEL] != VN_C)
    memcpy(in->axis, last, sizeof last);
}

/* ---- sizes ---- */

/* "64 128 128"; false when absent or something else. */
static bool meta_patch(const struct vnc_graph *g, uint64_t patch[3]) {
  const char *text = vnc_graph_meta_value(g, "vnet.patch");
  for (int i = 0; text && i < 3; i++) {
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (end == text || errno || !v || v > UINT16_MAX || (i < 2 && *end != ' ')) return false;
    patch[i] = v;
    text = end;
  }
  return text && !*text;
}

static enum vn_status spatial_dim(const struct input *in, size_t axis, uint64_t *dim) {
  uint64_t patch[3] = {0};
  const uint64_t *asked = in->im->options->patch;
  bool has_asked = asked[0] && asked[1] && asked[2];
  if (!has_asked && !meta_patch(in->im->g, patch))
    return vn_fail(
        in->im->diag, VN_E_ARGUMENT,
        "input '%.100s' has dynamic spatial axes and the model names no patch: choose one "
        "with --patch DxHxW",
        in->name);
  *dim = has_asked ? asked[axis] : patch[axis];
  return VN_OK;
}

/* What the caller asks for, where the model leaves it open or agrees. */
static enum vn_status size_decide(const struct input *in, size_t i, uint64_t *dim) {
  const struct vnc_import_options *options = in->im->options;
  const uint32_t axis = in->axis[i];
  bool spatial = in->shape->n_dim == VN_AXES && axis >= VN_D;
  *dim = size_of(in, i);
  if (*dim && spatial && options->patch[axis - VN_D] && options->patch[axis - VN_D] != *dim)
    return vn_fail(in->im->diag, VN_E_ARGUMENT,
                   "the model's grid is fixed at %llu along %c, --patch asks for %llu",
                   (unsigned long long)*dim, "ncdhw"[axis],
                   (unsigned long long)options -> patch[axis - VN_D]);
  if (*dim && axis == VN_N && options->batch && options->batch != *dim)
    return vn_fail(in->im->diag, VN_E_ARGUMENT,
                   "the model's batch is fixed at %llu, --batch asks for %llu",
                   (unsigned long long)*dim, (unsigned long long)options->batch);
  if (*dim) return VN_OK;
  if (spatial) return spatial_dim(in, axis - VN_D, dim);
  if (axis != VN_N)
    return vn_fail(in->im->diag, VN_E_UNSUPPORTED,
                   "input '%.100s': dimension %zu is dynamic, which only batch and the spatial "
                   "axes of a 3D scan can be",
                   in->name, i);
  *dim = options->batch ? options->batch : 1;
  return VN_OK;
}

/* ---- the input ---- */

static enum vn_status type_check(struct vnc_import *im, const Onnx__ValueInfoProto *info,
                                 const Onnx__TypeProto__Tensor **type) {
  *type = info->type ? info->type->tensor_type : NULL;
  if (info->type && info->type->value_case != ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE) *type = NULL;
  if (!*type || !(*type)->shape)
    return vn_fail(im->diag, VN_E_UNSUPPORTED, "input '%.100s' is %s", info->name,
                   *type ? "a tensor without a shape" : "no tensor");
  if (!vnc_onnx_type_known((*type)->elem_type))
    return vn_fail(im->diag, VN_E_UNSUPPORTED,
                   "input '%.100s' is of type %s; floats and integers are taken", info->name,
                   vnc_onnx_type_text((*type)->elem_type));
  const size_t rank = (*type)->shape->n_dim;
  if (rank < 1 || rank > VN_AXES)
    return vn_fail(im->diag, VN_E_UNSUPPORTED, "input '%.100s' has rank %zu", info->name, rank);
  return VN_OK;
}

enum vn_status vnc_onnx_input(struct vnc_import *im, const Onnx__GraphProto *graph,
                              const Onnx__ValueInfoProto *info) {
  struct vnc_port port = {.order = {VN_N, VN_C, VN_D, VN_H, VN_W}};
  const Onnx__TypeProto__Tensor *type;
  struct vnc_value *v;
  enum vn_status status = type_check(im, info, &type);
  if (status) return status;
  struct input in = {.im = im, .name = info->name, .shape = type->shape};
  axes_find(&in, graph);
  port.rank = (uint32_t)type->shape->n_dim;
  for (size_t i = 0; !status && i < port.rank; i++) status = size_decide(&in, i, &port.dim[i]);
  if (!status) status = vnc_value_add(im, info->name, &v);
  if (status) return status;
  v->kind = VNC_RUNTIME;
  v->whole = !vnc_onnx_type_real(type->elem_type);
  v->node = port.node = vnc_graph_node(im->g, VN_OP_INPUT, info->name, NULL, 0);
  port.name = vnc_graph_string(im->g, info->name);
  if (im->g->failed) return vn_fail(im->diag, VN_E_MEMORY, "out of memory for the model");
  vnc_view_of_rank(&v->view, port.rank);
  struct vnc_node *node = &im->g->nodes[v->node];
  for (size_t a = 0; a < VN_AXES; a++) node->dim[a] = 1;
  for (size_t i = 0; i < port.rank; i++) {
    node->dim[in.axis[i]] = port.dim[i];
    if (port.rank == VN_AXES) port.order[i] = in.axis[i];
    if (port.rank == VN_AXES) v->view.order[i] = (uint8_t)in.axis[i];
  }
  vnc_graph_input(im->g, &port);
  return vnc_shape_infer_node(im->g, v->node, im->diag);
}
