/* Writes a graph as ONNX, the importer's mirror: opset 13, activations in NCDHW, weights in ONNX's
 * order. Called by vnet-model, the trainer and tests.
 *
 * Fused nodes come out as the operators they were made of. AFFINE becomes BatchNormalization with
 * mean 0, variance 1 and epsilon 0, which is the same arithmetic to the last bit. I32 is ONNX's
 * int64. The protobuf part is onnx_build.c's. */
#include "compile.h"
#include "onnx_build.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { OPSET = 13, IR_VERSION = 7 };

enum role { ROLE_VECTOR, ROLE_SLOPE, ROLE_CONV, ROLE_DECONV };

struct made { /* a constant that is in the model already */
  uint32_t id, role;
  char *name;
};

struct exporter {
  const struct vnc_graph *g;
  struct vnc_build b;
  char **value; /* n_nodes */
  struct made *made;
  size_t n_made;
  bool float16;
  enum vn_status status; /* the first refusal; allocations fail in b */
  struct vn_diag *diag;
};

/* ---- constants ---- */

/* Round to nearest, ties to even. Values that float16 cannot hold become infinite. */
static uint16_t float16_from(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);
  if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
  uint32_t shift = 13, mantissa = magnitude;
  if (magnitude >= 0x38800000) {
    mantissa -= (127 - 15) << 23;
  } else { /* subnormal: the exponent becomes part of the shift */
    shift = 126 - (magnitude >> 23);
    if (shift > 24) return (uint16_t)sign;
    mantissa = (magnitude & 0x7fffff) | 0x800000;
  }
  uint32_t half = mantissa >> shift, rest = mantissa & ((1u << shift) - 1);
  if (rest > 1u << (shift - 1) || (rest == 1u << (shift - 1) && (half & 1))) half++;
  return (uint16_t)(sign | half);
}

/* Appends floats as an initializer, in float16 with a Cast behind it when that is wanted. */
static char *floats_append(struct exporter *x, const char *name, size_t rank, const uint64_t *dim,
                           const float *data, size_t n) {
  struct vnc_build *b = &x->b;
  if (!x->float16 || !data) {
    return vnc_build_tensor(b, name, VNC_ONNX_FLOAT, rank, dim, data, n * sizeof *data);
  }
  uint16_t *half = vnc_build_keep(b, n, sizeof *half);
  for (size_t i = 0; half && i < n; i++) {
    half[i] = float16_from(data[i]);
    if ((half[i] & 0x7fff) == 0x7c00 && !x->status) {
      x->status = vn_fail(x->diag, VN_E_UNSUPPORTED, "weight %s: %g is too large for float16", name,
                          (double)data[i]);
    }
  }
  char *full = vnc_build_name(b, name);
  size_t size = strlen(name) + 16;
  char *stored = vnc_build_keep(b, size, 1);
  if (!stored) return NULL;
  snprintf(stored, size, "%s.f16", name);
  stored = vnc_build_tensor(b, stored, VNC_ONNX_FLOAT16, rank, dim, half, n * sizeof *half);
  vnc_build_int(b, vnc_build_node(b, "Cast", stored, &stored, 1, full), "to", VNC_ONNX_FLOAT);
  return full;
}

/* [out][k][in] to [out][in][k]; a transposed convolution's to [in][out][k], group by group. */
static float *weight_turn(struct exporter *x, const struct vnc_const *c, enum role role,
                          uint64_t groups, uint64_t dim[5]) {
  uint64_t outs = c->dim[0], taps = c->dim[1] * c->dim[2] * c->dim[3], ins = c->dim[4];
  uint64_t per_group = outs / groups;
  float *turned = vnc_build_keep(&x->b, vnc_const_elems(c), sizeof *turned);
  if (!turned) return NULL;
  for (uint64_t o = 0; o < outs; o++) {
    for (uint64_t k = 0; k < taps; k++) {
      for (uint64_t i = 0; i < ins; i++) {
        uint64_t to = role == ROLE_CONV
                          ? (o * ins + i) * taps + k
                          : ((o / per_group * ins + i) * per_group + o % per_group) * taps + k;
        turned[to] = c->data[(o * taps + k) * ins + i];
      }
    }
  }
  memcpy(dim + 2, c->dim + 1, 3 * sizeof *dim);
  dim[0] = role == ROLE_CONV ? outs : ins * groups;
  dim[1] = role == ROLE_CONV ? ins : per_group;
  return turned;
}

/* The name of constant `id` as an input of the kind that `role` says. */
static char *const_append(struct exporter *x, uint32_t id, enum role role, uint64_t groups) {
  const struct vnc_const *c = &x->g->consts[id];
  for (size_t i = 0; i < x->n_made; i++) {
    if (x->made[i].id == id && x->made[i].role == role) return x->made[i].name;
  }
  const char *name = vnc_graph_text(x->g, c->name);
  const float *data = c->data;
  uint64_t dim[5] = {vnc_const_elems(c), 1, 1, 1, 1};
  if (!data) {
    if (!x->status) {
      x->status = vn_fail(x->diag, VN_E_ARGUMENT, "weight %s: the graph holds no data", name);
    }
    return NULL;
  }
  size_t rank = 1;
  if (role == ROLE_SLOPE && dim[0] > 1) rank = 4;
  if (role == ROLE_CONV || role == ROLE_DECONV) {
    rank = 5;
    data = weight_turn(x, c, role, groups, dim);
  }
  char *made = floats_append(x, name, rank, dim, data, vnc_const_elems(c));
  /* At most three a node: the array was made that long. */
  x->made[x->n_made++] = (struct made){id, role, made};
  return made;
}

/* ---- nodes ---- */

static const char *node_name(const struct exporter *x, const struct vnc_node *node) {
  return vnc_graph_text(x->g, node->name);
}

/* "name.what": one ONNX node among several that stand for one node of ours, or its value. */
static char *label(struct exporter *x, const char *name, const char *what) {
  size_t size = strlen(name) + strlen(what) + 2;
  char *text = vnc_build_keep(&x->b, size, 1);
  if (text) snprintf(text, size, "%s.%s", name, what);
  return text;
}

static char *value_between(struct exporter *x, const char *name, const char *what) {
  return vnc_build_name(&x->b, label(x, name, what));
}

static void act_append(struct exporter *x, const struct vnc_act *act, const char *name, char *in,
                       char *out) {
  static const char *const op_type[VN_ACT_COUNT] = {
      [VN_ACT_NONE] = "Identity", [VN_ACT_RELU] = "Relu",       [VN_ACT_PRELU] = "PRelu",
      [VN_ACT_ELU] = "Elu",       [VN_ACT_SIGMOID] = "Sigmoid", [VN_ACT_LEAKY] = "LeakyRelu"};
  char *args[2] = {in, NULL};
  size_t n = 1;
  if (act->kind == VN_ACT_PRELU) args[n++] = const_append(x, act->slope, ROLE_SLOPE, 1);
  Onnx__NodeProto *node = vnc_build_node(&x->b, op_type[act->kind], name, args, n, out);
  if (act->kind == VN_ACT_ELU || act->kind == VN_ACT_LEAKY)
    vnc_build_float(&x->b, node, "alpha", act->alpha);
}

/* What ADD and residuals allow and ONNX does not: channels that repeat. */
static char *repeat_append(struct exporter *x, const struct vnc_node *node, size_t operand,
                           char *value) {
  const struct vnc_node *from = &x->g->nodes[vnc_graph_arg(x->g, node, operand)];
  if (from->dim[VN_C] == 1 || from->dim[VN_C] == node->dim[VN_C]) return value;
  const char *name = node_name(x, node);
  int64_t times[VN_AXES] = {1, (int64_t)(node->dim[VN_C] / from->dim[VN_C]), 1, 1, 1};
  char *out = value_between(x, name, "repeat");
  char *args[] = {value, vnc_build_shape(&x->b, "repeats", times, VN_AXES)};
  vnc_build_node(&x->b, "Tile", label(x, name, "repeat"), args, 2, out);
  return out;
}

/* What follows the operator itself: y = act1(act0(x) + residual). `raw` is how to call x. */
static void epilogue_append(struct exporter *x, const struct vnc_node *node, size_t residual,
                            char *raw, char *out) {
  const char *name = node_name(x, node);
  bool sum = node->n_args > residual;
  char *value = raw;
  if (node->act[0].kind) {
    char *next = sum || node->act[1].kind ? value_between(x, name, "act0") : out;
    act_append(x, &node->act[0], label(x, name, "act0"), value, next);
    value = next;
  }
  if (sum) {
    char *next = node->act[1].kind ? value_between(x, name, "sum") : out;
    char *other = x->value[vnc_graph_arg(x->g, node, residual)];
    char *args[] = {value, repeat_append(x, node, residual, other)};
    vnc_build_node(&x->b, "Add", label(x, name, "sum"), args, 2, next);
    value = next;
  }
  if (node->act[1].kind) act_append(x, &node->act[1], label(x, name, "act1"), value, out);
}

static void conv_append(struct exporter *x, const struct vnc_node *node, char *in, char *out) {
  bool up = node->op == VN_OP_DECONV3D;
  bool fused = node->act[0].kind || node->act[1].kind || node->n_args > 1;
  char *raw = fused ? value_between(x, node_name(x, node), "conv") : out;
  char *args[3] = {in, const_append(x, node->weight, up ? ROLE_DECONV : ROLE_CONV, node->groups)};
  size_t n = 2;
  if (node->bias != VN_NONE) args[n++] = const_append(x, node->bias, ROLE_VECTOR, 1);
  Onnx__NodeProto *conv =
      vnc_build_node(&x->b, up ? "ConvTranspose" : "Conv", node_name(x, node), args, n, raw);
  int64_t pads[6];
  for (int a = 0; a < 3; a++) {
    pads[a] = node->pad[a];
    pads[a + 3] = node->pad_end[a];
  }
  const struct {
    const char *key;
    const uint32_t *of;
    bool wanted;
  } three[] = {
      {"kernel_shape", node->kernel, true},
      {"strides", node->stride, true},
      {"dilations", node->dilation, true},
      {"output_padding", node->out_pad, node->out_pad[0] || node->out_pad[1] || node->out_pad[2]}};
  for (size_t i = 0; i < 4; i++) {
    const uint32_t *of = three[i].of;
    if (three[i].wanted)
      vnc_build_ints(&x->b, conv, three[i].key, (int64_t[]){of[0], of[1], of[2]}, 3);
  }
  vnc_build_ints(&x->b, conv, "pads", pads, 6);
  vnc_build_int(&x->b, conv, "group", node->groups);
  if (fused) epilogue_append(x, node, 1, raw, out);
}

/* AFFINE and INSTNORM. */
static void norm_append(struct exporter *x, const struct vnc_node *node, char *in, char *out) {
  if (node->span || node->act[0].kind || node->n_args > 1) {
    x->status = vn_fail(x->diag, VN_E_UNSUPPORTED,
                        "node '%s': a norm over groups or with an epilogue cannot be written",
                        vnc_graph_text(x->g, node->name));
    return;
  }
  const char *name = node_name(x, node);
  char *args[5] = {in, const_append(x, node->weight, ROLE_VECTOR, 1),
                   const_append(x, node->bias, ROLE_VECTOR, 1)};
  size_t n = 3;
  if (node->op == VN_OP_AFFINE) {
    uint64_t channels = node->dim[VN_C];
    float *zeros = vnc_build_keep(&x->b, channels, sizeof *zeros);
    float *ones = vnc_build_keep(&x->b, channels, sizeof *ones);
    for (uint64_t c = 0; ones && c < channels; c++) ones[c] = 1;
    char *keys[] = {value_between(x, name, "mean"), value_between(x, name, "var")};
    for (size_t i = 0; i < 2; i++) {
      if (!keys[i]) return;
      args[n++] = floats_append(x, keys[i], 1, &channels, i ? ones : zeros, channels);
    }
  }
  bool affine = node->op == VN_OP_AFFINE;
  Onnx__NodeProto *norm = vnc_build_node(
      &x->b, affine ? "BatchNormalization" : "InstanceNormalization", name, args, n, out);
  vnc_build_float(&x->b, norm, "epsilon", affine ? 0 : node->epsilon);
}

/* COPY: reorder the axes, repeat them, cut; whichever of these it takes. */
static void copy_append(struct exporter *x, const struct vnc_node *node, char *in, char *out) {
  const struct vnc_node *from = &x->g->nodes[vnc_graph_arg(x->g, node, 0)];
  int64_t perm[VN_AXES], times[VN_AXES], start[VN_AXES], end[VN_AXES];
  bool turns = false, repeats = false, cuts = false;
  for (uint32_t a = 0; a < VN_AXES; a++) {
    uint64_t had = from->dim[node->in_axis[a]], needs = node->in_start[a] + node->dim[a];
    perm[a] = node->in_axis[a];
    times[a] = (int64_t)((needs + had - 1) / had);
    start[a] = node->in_start[a];
    end[a] = (int64_t)needs;
    turns = turns || perm[a] != a;
    repeats = repeats || times[a] != 1;
    cuts = cuts || start[a] || (uint64_t)times[a] * had != needs;
  }
  struct vnc_build *b = &x->b;
  const char *name = node_name(x, node);
  char *value = in, *args[3];
  if (turns) {
    char *next = repeats || cuts ? value_between(x, name, "turned") : out;
    vnc_build_ints(b, vnc_build_node(b, "Transpose", name, &value, 1, next), "perm", perm, VN_AXES);
    value = next;
  }
  if (repeats) {
    char *next = cuts ? value_between(x, name, "repeated") : out;
    args[0] = value;
    args[1] = vnc_build_shape(b, "repeats", times, VN_AXES);
    vnc_build_node(b, "Tile", name, args, 2, next);
    value = next;
  }
  if (cuts) {
    args[0] = value;
    args[1] = vnc_build_shape(b, "starts", start, VN_AXES);
    args[2] = vnc_build_shape(b, "ends", end, VN_AXES);
    vnc_build_node(b, "Slice", name, args, 3, out);
  }
  if (!turns && !repeats && !cuts) vnc_build_node(b, "Identity", name, &in, 1, out);
}

static void add_append(struct exporter *x, const struct vnc_node *node, char *in, char *out) {
  char *next = node->act[1].kind ? value_between(x, node_name(x, node), "sum") : out;
  char *args[] = {in, repeat_append(x, node, 1, x->value[vnc_graph_arg(x->g, node, 1)])};
  vnc_build_node(&x->b, "Add", node_name(x, node), args, 2, next);
  if (next != out) act_append(x, &node->act[1], label(x, node_name(x, node), "act1"), next, out);
}

/* The operators that have an axis, or nothing. */
static void plain_append(struct exporter *x, const struct vnc_node *node, char *out) {
  static const char *const op_type[VN_OP_COUNT] = {
      [VN_OP_PRELU] = "PRelu",           [VN_OP_CONCAT] = "Concat", [VN_OP_SOFTMAX] = "Softmax",
      [VN_OP_LOGSOFTMAX] = "LogSoftmax", [VN_OP_ARGMAX] = "ArgMax", [VN_OP_CAST] = "Cast"};
  struct vnc_build *b = &x->b;
  if (node->more_axes) {
    x->status = vn_fail(x->diag, VN_E_UNSUPPORTED, "node '%s': softmax over several axes",
                        vnc_graph_text(x->g, node->name));
    return;
  }
  char **args = vnc_build_keep(b, node->n_args, sizeof *args);
  for (size_t i = 0; args && i < node->n_args; i++) {
    args[i] = x->value[vnc_graph_arg(x->g, node, i)];
    if (node->op == VN_OP_PRELU && i) args[i] = repeat_append(x, node, i, args[i]);
  }
  if (!args) return;
  Onnx__NodeProto *made =
      vnc_build_node(b, op_type[node->op], node_name(x, node), args, node->n_args, out);
  if (node->op == VN_OP_CAST)
    vnc_build_int(b, made, "to", node->dtype == VN_F32 ? VNC_ONNX_FLOAT : VNC_ONNX_INT64);
  else if (node->op != VN_OP_PRELU)
    vnc_build_int(b, made, "axis", node->axis);
  if (node->op != VN_OP_ARGMAX) return;
  vnc_build_int(b, made, "keepdims", 1);
  vnc_build_int(b, made, "select_last_index", node->select_last);
}

static void node_append(struct exporter *x, const struct vnc_node *node, char *out) {
  char *in = node->n_args ? x->value[vnc_graph_arg(x->g, node, 0)] : NULL;
  switch ((enum vn_op)node->op) {
  case VN_OP_CONST: /* [n][d][h][w][c]: turned as the weights of a convolution are */
    in = const_append(x, node->weight, ROLE_CONV, 1);
    vnc_build_node(&x->b, "Identity", node_name(x, node), &in, 1, out);
    break;
  case VN_OP_INPUT:
    break;
  case VN_OP_CONV3D:
  case VN_OP_DECONV3D:
    conv_append(x, node, in, out);
    break;
  case VN_OP_ACT:
    act_append(x, &node->act[0], node_name(x, node), in, out);
    break;
  case VN_OP_AFFINE:
  case VN_OP_INSTNORM:
    norm_append(x, node, in, out);
    break;
  case VN_OP_ADD:
    add_append(x, node, in, out);
    break;
  case VN_OP_COPY:
    copy_append(x, node, in, out);
    break;
  case VN_OP_PRELU:
  case VN_OP_CONCAT:
  case VN_OP_SOFTMAX:
  case VN_OP_LOGSOFTMAX:
  case VN_OP_ARGMAX:
  case VN_OP_CAST:
    plain_append(x, node, out);
    break;
  case VN_OP_MAP:
  case VN_OP_BINARY:
  case VN_OP_SAMPLE:
  case VN_OP_GROUPNORM:
  case VN_OP_COUNT:
    x->status = vn_fail(x->diag, VN_E_UNSUPPORTED, "node '%s' (%s) cannot be written as ONNX",
                        vnc_graph_text(x->g, node->name), vn_op_text(node->op));
    break;
  }
}

/* ---- ports ---- */

/* Does the port show the node's tensor as it is? */
static bool port_plain(const struct vnc_graph *g, const struct vnc_port *port) {
  bool plain = port->rank == VN_AXES;
  for (uint32_t a = 0; a < VN_AXES && plain; a++) {
    plain = port->order[a] == a && port->dim[a] == g->nodes[port->node].dim[a];
  }
  return plain;
}

static void inputs_append(struct exporter *x) {
  for (size_t i = 0; i < x->g->n_inputs; i++) {
    const struct vnc_port *port = &x->g->inputs[i];
    const struct vnc_node *node = &x->g->nodes[port->node];
    const char *text = vnc_graph_text(x->g, port->name);
    char *name = vnc_build_name(&x->b, text);
    vnc_build_port(&x->b, false, name, VNC_ONNX_FLOAT, port->rank, port->dim);
    x->value[port->node] = name;
    if (port_plain(x->g, port)) continue;
    int64_t dim[VN_AXES], perm[VN_AXES];
    for (uint32_t a = 0; a < VN_AXES; a++) {
      dim[a] = (int64_t)node->dim[port->order[a]];
      perm[port->order[a]] = a;
    }
    char *wide = value_between(x, text, "axes"), *turned = value_between(x, text, "turned");
    char *args[] = {name, vnc_build_shape(&x->b, "shape", dim, VN_AXES)};
    vnc_build_node(&x->b, "Reshape", wide, args, 2, wide);
    vnc_build_ints(&x->b, vnc_build_node(&x->b, "Transpose", turned, &wide, 1, turned), "perm",
                   perm, VN_AXES);
    x->value[port->node] = turned;
  }
}

/* Outputs whose node already carries their name need nothing but the declaration. */
static void outputs_append(struct exporter *x, char *const *names) {
  for (size_t i = 0; i < x->g->n_outputs; i++) {
    const struct vnc_port *port = &x->g->outputs[i];
    int32_t type = port->dtype == VN_F32 ? VNC_ONNX_FLOAT : VNC_ONNX_INT64;
    char *value = x->value[port->node], *name = names[i];
    vnc_build_port(&x->b, true, name, type, port->rank, port->dim);
    if (!name || value == name) continue;
    if (port_plain(x->g, port)) {
      vnc_build_node(&x->b, "Identity", name, &value, 1, name);
      continue;
    }
    int64_t dim[6], perm[VN_AXES];
    for (uint32_t a = 0; a < VN_AXES; a++) perm[a] = port->order[a];
    for (uint32_t a = 0; a < port->rank; a++) dim[a] = (int64_t)port->dim[a];
    char *turned = value_between(x, name, "turned");
    vnc_build_ints(&x->b, vnc_build_node(&x->b, "Transpose", turned, &value, 1, turned), "perm",
                   perm, VN_AXES);
    char *args[] = {turned, vnc_build_shape(&x->b, "shape", dim, port->rank)};
    vnc_build_node(&x->b, "Reshape", name, args, 2, name);
  }
}

/* ---- the model ---- */

static void graph_append(struct exporter *x) {
  const struct vnc_graph *g = x->g;
  char **outputs = vnc_build_keep(&x->b, g->n_outputs, sizeof *outputs);
  x->value = vnc_build_keep(&x->b, g->n_nodes, sizeof *x->value);
  x->made = vnc_build_keep(&x->b, 4 * g->n_nodes, sizeof *x->made);
  if (x->b.failed) return;
  inputs_append(x);
  for (size_t i = 0; i < g->n_outputs; i++) {
    const struct vnc_port *port = &g->outputs[i];
    outputs[i] = vnc_build_name(&x->b, vnc_graph_text(g, port->name));
    if (port_plain(g, port) && !x->value[port->node]) x->value[port->node] = outputs[i];
  }
  for (size_t i = 0; i < g->n_nodes && !x->b.failed && !x->status; i++) {
    if (!x->value[i]) x->value[i] = vnc_build_name(&x->b, node_name(x, &g->nodes[i]));
    node_append(x, &g->nodes[i], x->value[i]);
  }
  outputs_append(x, outputs);
}

enum vn_status vnc_onnx_export(const struct vnc_graph *g, const struct vnc_export_options *options,
                               void **bytes, size_t *size, struct vn_diag *diag) {
  static const struct vnc_export_options none;
  if (!options) options = &none;
  *bytes = NULL;
  struct exporter x = {.g = g, .float16 = options->float16_weights, .diag = diag};
  vnc_build_init(&x.b, options->graph_name ? options->graph_name : "vnet");
  graph_append(&x);

  Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
  Onnx__OperatorSetIdProto opset = ONNX__OPERATOR_SET_ID_PROTO__INIT, *opsets[] = {&opset};
  opset.domain = "";
  opset.has_version = 1;
  opset.version = OPSET;
  model.has_ir_version = 1;
  model.ir_version = IR_VERSION;
  model.opset_import = opsets;
  model.n_opset_import = 1;
  model.producer_name = "vnet";
  model.producer_version = (char *)(uintptr_t)options->producer_version; /* never written through */

  Onnx__StringStringEntryProto *metas = vnc_build_keep(&x.b, g->n_metas + 1, sizeof *metas);
  Onnx__StringStringEntryProto **list = vnc_build_keep(&x.b, g->n_metas + 1, sizeof *list);
  for (size_t i = 0; metas && list && i < g->n_metas; i++) {
    onnx__string_string_entry_proto__init(&metas[i]);
    metas[i].key = vnc_build_text(&x.b, vnc_graph_text(g, g->metas[i].key));
    metas[i].value = vnc_build_text(&x.b, vnc_graph_text(g, g->metas[i].value));
    list[i] = &metas[i];
    model.n_metadata_props = i + 1;
  }
  model.metadata_props = list;
  enum vn_status status = x.status ? x.status : vnc_build_pack(&x.b, &model, bytes, size, diag);
  vnc_build_free(&x.b);
  return status;
}
