/* ONNX to graph, told in order: map the file, look at its wire format, refuse what is no plain
 * model, take metadata, weights and inputs, import the nodes that outputs need, take outputs.
 * Nothing here trusts a byte. Called by tools and tests; the mirror of onnx_export.c. */
#include "onnx_import.h"

#include "onnx_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os.h"
#include "plan.h"

enum {
  OPSET_LEAST = 6,
  OPSET_MOST = 26,
  NODES_MOST = 10000,
  FUNCTIONS_MOST = 4096,
  WEIGHTS_MOST = 20000
};

/* Numbers beyond those in the model's file. */
static const uint64_t UNFOLDED_MOST = (uint64_t)1 << 26, EXTERNAL_MOST = (uint64_t)1 << 30;

#define FURTHER "%s '%.100s' is a second result of its node, and only the first is supported"

/* ---- one node ---- */

static const struct {
  const char *type;
  vnc_op_fn *import;
} operators[] = {
    {"Abs", vnc_import_act},
    {"Add", vnc_import_scale},
    {"And", vnc_import_two},
    {"ArgMax", vnc_import_argmax},
    {"AveragePool", vnc_import_pool},
    {"BatchNormalization", vnc_import_batchnorm},
    {"Cast", vnc_import_cast},
    {"Ceil", vnc_import_map},
    {"Celu", vnc_import_map},
    {"Clip", vnc_import_clip},
    {"Concat", vnc_import_concat},
    {"Conv", vnc_import_conv},
    {"ConvTranspose", vnc_import_deconv},
    {"Div", vnc_import_scale},
    {"Dropout", vnc_import_pass},
    {"Elu", vnc_import_act},
    {"Equal", vnc_import_two},
    {"Erf", vnc_import_map},
    {"Exp", vnc_import_map},
    {"Expand", vnc_import_expand},
    {"Flatten", vnc_import_reshape},
    {"Floor", vnc_import_map},
    {"Gather", vnc_import_gather},
    {"Gelu", vnc_import_map},
    {"Gemm", vnc_import_matmul},
    {"GlobalAveragePool", vnc_import_pool},
    {"GlobalMaxPool", vnc_import_pool},
    {"Greater", vnc_import_two},
    {"GreaterOrEqual", vnc_import_two},
    {"GroupNormalization", vnc_import_groupnorm},
    {"HardSigmoid", vnc_import_map},
    {"HardSwish", vnc_import_map},
    {"Identity", vnc_import_pass},
    {"InstanceNormalization", vnc_import_instancenorm},
    {"LeakyRelu", vnc_import_act},
    {"Less", vnc_import_two},
    {"LessOrEqual", vnc_import_two},
    {"Log", vnc_import_map},
    {"LogSoftmax", vnc_import_softmax},
    {"MatMul", vnc_import_matmul},
    {"Max", vnc_import_two},
    {"MaxPool", vnc_import_pool},
    {"Min", vnc_import_two},
    {"Mish", vnc_import_map},
    {"Mul", vnc_import_scale},
    {"Neg", vnc_import_act},
    {"Not", vnc_import_map},
    {"Or", vnc_import_two},
    {"PRelu", vnc_import_prelu},
    {"Pad", vnc_import_pad},
    {"Pow", vnc_import_two},
    {"Reciprocal", vnc_import_map},
    {"ReduceL2", vnc_import_reduce},
    {"ReduceMax", vnc_import_reduce},
    {"ReduceMean", vnc_import_reduce},
    {"ReduceMin", vnc_import_reduce},
    {"ReduceSum", vnc_import_reduce},
    {"ReduceSumSquare", vnc_import_reduce},
    {"Relu", vnc_import_act},
    {"Reshape", vnc_import_reshape},
    {"Resize", vnc_import_resize},
    {"Round", vnc_import_map},
    {"Selu", vnc_import_map},
    {"Shape", vnc_import_shape},
    {"Sigmoid", vnc_import_act},
    {"Sign", vnc_import_map},
    {"Slice", vnc_import_slice},
    {"Softmax", vnc_import_softmax},
    {"Softplus", vnc_import_map},
    {"Split", vnc_import_split_op},
    {"Sqrt", vnc_import_map},
    {"Squeeze", vnc_import_reshape},
    {"Sub", vnc_import_scale},
    {"Sum", vnc_import_sum},
    {"Swish", vnc_import_map},
    {"Tanh", vnc_import_map},
    {"Tile", vnc_import_tile},
    {"Transpose", vnc_import_transpose},
    {"Unsqueeze", vnc_import_reshape},
    {"Upsample", vnc_import_resize},
    {"Where", vnc_import_where},
};

static vnc_op_fn *operator_of(const char *type) {
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
    if (!strcmp(type, operators[i].type)) return operators[i].import;
  return NULL;
}

static enum vn_status resolve_inputs(struct vnc_op *op) {
  op->n_in = op->proto->n_input;
  if (op->n_in > VNC_NODE_INPUTS)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "it has %zu inputs", op->n_in);
  for (size_t i = 0; i < op->n_in; i++) {
    const char *name = op->proto->input[i];
    if (op->own && i >= 3) name = "";
    op->in[i] = *name ? vnc_value_find(op->im, name) : NULL;
    if (*name && !op->in[i])
      return vnc_op_fail(op, VN_E_FORMAT,
                         "input '%.100s' is neither computed by a node nor a weight "
                         "of the model",
                         name);
    if (op->in[i] && op->in[i]->kind == VNC_NOTHING)
      return vnc_op_fail(op, VN_E_UNSUPPORTED, FURTHER, "input", name);
  }
  return VN_OK;
}

/* Results after the first are names without a value, such as Dropout's mask, but for those that the
 * importer has named itself: there were `before` values without it. */
static enum vn_status name_further_outputs(struct vnc_import *im, const Onnx__NodeProto *proto,
                                           size_t before) {
  enum vn_status status = VN_OK;
  for (size_t i = 1; !status && i < proto->n_output; i++) {
    if (!*proto->output[i]) continue;
    struct vnc_value *v = vnc_value_find(im, proto->output[i]);
    if (!v || (size_t)(v - im->values) < before) status = vnc_value_add(im, proto->output[i], &v);
  }
  return status;
}

/* Integers in the place of floats, whoever's operators they are. */
static bool is_quantised(const char *type) {
  static const char *const types[] = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
                                      "ConvInteger", "MatMulInteger"};
  for (size_t i = 0; i < sizeof types / sizeof *types; i++)
    if (!strcmp(type, types[i])) return true;
  return !strncmp(type, "QLinear", 7);
}

static bool is_onnx(const char *domain) {
  return !domain || !*domain || !strcmp(domain, "ai.onnx");
}

static bool is_function(const Onnx__ModelProto *model, const Onnx__NodeProto *node) {
  for (size_t i = 0; i < model->n_functions; i++) {
    const Onnx__FunctionProto *f = model->functions[i];
    const char *domain = f->domain ? f->domain : "", *of = node->domain ? node->domain : "";
    bool same = !strcmp(domain, of) || (is_onnx(domain) && is_onnx(of));
    if (same && f->name && !strcmp(f->name, node->op_type)) return true;
  }
  return false;
}

/* An input's integers are floats to us, so that before a Cast to float they may be moved, and no
 * more. */
static enum vn_status whole_check(const struct vnc_op *op, vnc_op_fn *import, bool *whole) {
  static vnc_op_fn *const moves[] = {vnc_import_concat, vnc_import_transpose, vnc_import_reshape,
                                     vnc_import_slice,  vnc_import_tile,      vnc_import_expand,
                                     vnc_import_pass,   vnc_import_pad,       vnc_import_gather,
                                     vnc_import_cast};
  const struct vnc_value *from = NULL;
  bool moved = import == vnc_import_shape;
  for (size_t i = 0; !from && i < op->n_in; i++)
    if (op->in[i] && op->in[i]->kind == VNC_RUNTIME && op->in[i]->whole) from = op->in[i];
  for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) moved = moved || import == moves[i];
  *whole = from && import != vnc_import_cast;
  if (!from || moved) return VN_OK;
  return vnc_op_fail(op, VN_E_UNSUPPORTED,
                     "arithmetic on the integers of '%.60s': cast the input to float first",
                     from->name);
}

/* Views of a bent line are bent lines, of one that is computed later, too; what else an operator
 * yields is none. Where a Reshape has split the channels (onnx_split.c) lines are computed. */
static enum vn_status import_plainly(const struct vnc_op *op, vnc_op_fn *import) {
  const struct vnc_value *x = op->n_in ? op->in[0] : NULL;
  const bool shows =
      !(x && x->groups) &&
      (import == vnc_import_transpose || import == vnc_import_reshape || import == vnc_import_pass);
  const struct vnc_value was = shows && x ? *x : (struct vnc_value){0};
  enum vn_status status = VN_OK;
  if (!import)
    return vn_fail(op->im->diag, VN_E_UNSUPPORTED,
                   "operator %.60s (node '%.100s') is not supported", op->proto->op_type, op->name);
  if (!shows && import != vnc_import_shape) status = vnc_bent_settle(op);
  if (!status) status = import(op);
  struct vnc_value *v = status ? NULL : vnc_value_find(op->im, op->proto->output[0]);
  if (v) v->bent = was.bent;
  if (v) v->later = was.later;
  return status;
}

/* Views have no axis for what a Reshape has split (onnx_split.c). */
static enum vn_status check_split(const struct vnc_op *op, vnc_op_fn *import) {
  if (import == vnc_import_reshape || import == vnc_import_instancenorm ||
      import == vnc_import_transpose)
    return VN_OK;
  for (size_t i = 0; i < op->n_in; i++)
    if (op->in[i] && op->in[i]->groups)
      return vnc_op_fail(op, VN_E_UNSUPPORTED,
                         "it reads '%.60s', whose channels a Reshape has split, which only "
                         "group norms and PixelShuffle may do",
                         op->in[i]->name);
  return VN_OK;
}

static enum vn_status import_node(struct vnc_import *im, const Onnx__NodeProto *proto, bool own) {
  struct vnc_op op = {.im = im, .proto = proto, .name = proto->name, .own = own};
  for (size_t i = 0; (!op.name || !*op.name) && i < proto->n_output; i++)
    op.name = proto->output[i];
  if (!op.name) op.name = "";
  if (!proto->op_type)
    return vn_fail(im->diag, VN_E_FORMAT, "node '%.100s' has no operator", op.name);
  if (is_quantised(proto->op_type))
    return vn_fail(im->diag, VN_E_UNSUPPORTED,
                   "operator %.60s (node '%.100s'): the model is quantised; export it in float32",
                   proto->op_type, op.name);
  if (is_function(im->model, proto))
    return vn_fail(im->diag, VN_E_UNSUPPORTED,
                   "node '%.100s' calls '%.60s', a function of the model's own: save the model "
                   "with its functions inlined (in Python, onnx.inliner.inline_local_functions)",
                   op.name, proto->op_type);
  if (!is_onnx(proto->domain))
    return vn_fail(
        im->diag, VN_E_UNSUPPORTED,
        "operator %.60s.%.60s (node '%.100s') is not one of ONNX's own: export the model "
        "without another engine's optimisations",
        proto->domain, proto->op_type, op.name);
  for (size_t i = 0; i < proto->n_attribute; i++) {
    const Onnx__AttributeProto *a = proto->attribute[i];
    if (a->g || a->n_graphs)
      return vnc_op_fail(&op, VN_E_UNSUPPORTED, "operators with subgraphs are not supported");
    if (a->sparse_tensor) return vnc_op_fail(&op, VN_E_UNSUPPORTED, "a sparse tensor");
  }
  enum vn_status status = resolve_inputs(&op);
  if (status) return status;
  bool known = true;
  for (size_t i = 0; i < op.n_in; i++)
    known = known && !(op.in[i] && op.in[i]->kind == VNC_RUNTIME);
  vnc_op_fn *import = operator_of(proto->op_type);
  if (known && import != vnc_import_pass && import != vnc_import_shape) import = vnc_fold;
  const size_t before = im->n_values;
  bool whole = false, done = false;
  if (import) status = whole_check(&op, import, &whole);
  if (!status && import) status = check_split(&op, import);
  if (!status && !known) status = vnc_bent_import(&op, &done);
  if (!status && !done) status = import_plainly(&op, import);
  if (!status && whole) vnc_value_find(im, proto->output[0])->whole = true;
  return status ? status : name_further_outputs(im, proto, before);
}

/* ---- the model's frame ---- */

static enum vn_status check_model(struct vnc_import *im, const Onnx__ModelProto *model) {
  if (!model->graph) return vn_fail(im->diag, VN_E_FORMAT, "not an ONNX model: it has no graph");
  if (model->graph->n_sparse_initializer)
    return vn_fail(im->diag, VN_E_UNSUPPORTED, "the model has sparse weights");
  if (model->graph->n_node > NODES_MOST)
    return vn_fail(im->diag, VN_E_UNSUPPORTED, "the model has %zu nodes, no V-Net has more than %d",
                   model->graph->n_node, NODES_MOST);
  if (model->n_functions > FUNCTIONS_MOST) /* each node looks at all of them */
    return vn_fail(im->diag, VN_E_UNSUPPORTED, "the model has %zu functions: at most %d are taken",
                   model->n_functions, FUNCTIONS_MOST);
  for (size_t i = 0; i < model->n_opset_import; i++) {
    const Onnx__OperatorSetIdProto *set = model->opset_import[i];
    if (!set->domain || !*set->domain || !strcmp(set->domain, "ai.onnx")) im->opset = set->version;
  }
  if (!im->opset)
    return vn_fail(im->diag, VN_E_UNSUPPORTED, "the model names no opset of ONNX's own operators");
  if (im->opset < OPSET_LEAST || im->opset > OPSET_MOST)
    return vn_fail(im->diag, VN_E_UNSUPPORTED, "opset %lld is not supported: %d to %d are",
                   (long long)im->opset, OPSET_LEAST, OPSET_MOST);
  return VN_OK;
}

static enum vn_status take_weights(struct vnc_import *im, const Onnx__GraphProto *graph) {
  if (graph->n_initializer > WEIGHTS_MOST)
    return vn_fail(im->diag, VN_E_UNSUPPORTED,
                   "the model has %zu weights, no V-Net has more than %d", graph->n_initializer,
                   WEIGHTS_MOST);
  bool outside = false;
  for (size_t i = 0; i < graph->n_initializer; i++) {
    const Onnx__TensorProto *proto = graph->initializer[i];
    outside = outside || vnc_tensor_outside(proto);
    if (!proto->name || !*proto->name)
      return vn_fail(im->diag, VN_E_FORMAT, "a weight has no name");
    struct vnc_value *v;
    enum vn_status status = vnc_value_add(im, proto->name, &v);
    if (status) return status;
    v->kind = VNC_WEIGHT;
    v->proto = proto;
  }
  if (outside) im->touched_most += EXTERNAL_MOST;
  return VN_OK;
}

static enum vn_status take_metas(struct vnc_import *im, const Onnx__ModelProto *model) {
  for (size_t i = 0; i < model->n_metadata_props; i++) {
    const Onnx__StringStringEntryProto *p = model->metadata_props[i];
    if (p->key && p->value) vnc_graph_meta(im->g, p->key, p->value);
  }
  return im->g->failed ? vn_fail(im->diag, VN_E_MEMORY, "out of memory for the model") : VN_OK;
}

/* ---- inputs ---- */

static const char *binding_of(const struct vnc_import *im, const char *input) {
  for (size_t i = 0; i < im->options->n_bindings; i++)
    if (!strcmp(im->options->bindings[i].input, input)) return im->options->bindings[i].tensor_path;
  return NULL;
}

/* ---- files ---- */

struct mapped {
  uint8_t *bytes;
  size_t size;
};

static enum vn_status map_file(const char *path, struct mapped *m, struct vn_diag *diag) {
  struct stat there;
  *m = (struct mapped){NULL, 0};
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
  if (fd < 0) return vn_fail(diag, vn_io_status(errno), "%.300s: %s", path, strerror(errno));
  enum vn_status status = VN_OK;
  if (fstat(fd, &there) || !S_ISREG(there.st_mode))
    status = vn_fail(diag, VN_E_IO, "%.300s: not a regular file", path);
  else if (there.st_size == 0)
    status = vn_fail(diag, VN_E_FORMAT, "%.300s: the file is empty", path);
  else {
    void *at = vn_os_map(fd, (size_t)there.st_size);
    if (!at)
      status = vn_fail(diag, vn_io_status(errno), "%.300s: %s", path, strerror(errno));
    else
      *m = (struct mapped){at, (size_t)there.st_size};
  }
  close(fd);
  return status;
}

/* An input that the caller declares a constant: its tensor, decoded, with dimensions and all. */
static enum vn_status bind_input(struct vnc_import *im, const char *name, const char *path) {
  struct mapped m;
  Onnx__TensorProto *proto = NULL;
  struct vnc_tensor t;
  enum vn_status status = map_file(path, &m, im->diag);
  if (status) return status;
  const struct vnc_source source = {m.bytes, m.size, NULL};
  status = vnc_onnx_unpack_tensor(m.bytes, m.size, &proto, im->diag);
  if (!status) status = vnc_tensor_decode(proto, &source, name, &t, im->diag);
  if (proto) vnc_onnx_free_tensor(proto);
  vn_os_unmap(m.bytes, m.size);
  if (status) return status;
  struct vnc_value *v;
  status = vnc_value_add(im, name, &v);
  if (status) {
    vnc_tensor_free(&t);
    return status;
  }
  v->kind = VNC_CONST;
  v->tensor = t;
  return VN_OK;
}

static enum vn_status take_inputs(struct vnc_import *im, const Onnx__GraphProto *graph) {
  enum vn_status status = VN_OK;
  for (size_t i = 0; !status && i < graph->n_input; i++) {
    const char *name = graph->input[i]->name;
    if (!name || !*name) return vn_fail(im->diag, VN_E_FORMAT, "an input has no name");
    const struct vnc_value *taken = vnc_value_find(im, name);
    if (taken && taken->kind == VNC_WEIGHT) continue; /* a weight that is listed as an input, too */
    if (im->g->n_inputs == PLAN_MOST_PORTS)
      return vn_fail(im->diag, VN_E_UNSUPPORTED, "more than %d inputs", PLAN_MOST_PORTS);
    const char *path = binding_of(im, name);
    status = path ? bind_input(im, name, path) : vnc_onnx_input(im, graph, graph->input[i]);
  }
  return status;
}

/* ---- outputs ---- */

/* Comparisons are 0 and 1 in float; what the model declares as booleans leaves as integers. */
static enum vn_status as_integers(struct vnc_import *im, const Onnx__ValueInfoProto *info,
                                  uint32_t *node) {
  enum { BOOL = 9 };
  const Onnx__TypeProto__Tensor *type = NULL;
  if (info->type && info->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
    type = info->type->tensor_type;
  if (!type || type->elem_type != BOOL || im->g->nodes[*node].dtype != VN_F32) return VN_OK;
  const uint32_t id = vnc_graph_node(im->g, VN_OP_CAST, info->name, node, 1);
  if (im->g->failed) return vn_fail(im->diag, VN_E_MEMORY, "out of memory for the model");
  im->g->nodes[id].dtype = VN_I32;
  *node = id;
  return vnc_shape_infer_node(im->g, id, im->diag);
}

static enum vn_status take_outputs(struct vnc_import *im, const Onnx__GraphProto *graph) {
  if (graph->n_output > PLAN_MOST_PORTS)
    return vn_fail(im->diag, VN_E_UNSUPPORTED, "%zu outputs: at most %d", graph->n_output,
                   PLAN_MOST_PORTS);
  for (size_t i = 0; i < graph->n_output; i++) {
    const char *name = graph->output[i]->name ? graph->output[i]->name : "";
    Onnx__NodeProto reader = ONNX__NODE_PROTO__INIT;
    reader.op_type = (char[]){"output"};
    struct vnc_value *v = vnc_value_find(im, name);
    if (v && v->groups)
      return vn_fail(im->diag, VN_E_UNSUPPORTED, "output '%.100s' splits an axis", name);
    enum vn_status status = vnc_bent_settle(
        &(struct vnc_op){.im = im, .proto = &reader, .name = name, .in = {v}, .n_in = 1});
    if (status) return status;
    if (v && v->kind == VNC_NOTHING)
      return vn_fail(im->diag, VN_E_UNSUPPORTED, FURTHER, "output", name);
    if (!v || v->kind != VNC_RUNTIME)
      return vn_fail(im->diag, v ? VN_E_UNSUPPORTED : VN_E_FORMAT, "output '%.100s' is %s", name,
                     v ? "a constant" : "computed by no node");
    if (v->whole)
      return vn_fail(im->diag, VN_E_UNSUPPORTED,
                     "output '%.100s' is made of an input's integers alone: cast it to float",
                     name);
    uint32_t node = v->node;
    status = as_integers(im, graph->output[i], &node);
    if (status) return status;
    struct vnc_port port = {.name = vnc_graph_string(im->g, name),
                            .node = node,
                            .dtype = im->g->nodes[node].dtype == VN_I32 ? VN_I64 : VN_F32,
                            .rank = (uint32_t)v->view.rank};
    for (size_t k = 0; k < v->view.rank; k++) port.dim[k] = vnc_view_dim(im->g, v, k);
    for (size_t a = 0; a < VN_AXES; a++) port.order[a] = v->view.order[a];
    vnc_graph_output(im->g, &port);
  }
  return VN_OK;
}

/* ---- the story ---- */

static enum vn_status import_model(struct vnc_import *im, const Onnx__ModelProto *model) {
  const Onnx__GraphProto *graph = model->graph;
  struct vnc_order order = {0};
  im->model = model;
  enum vn_status status = check_model(im, model);
  if (!status) status = take_metas(im, model);
  if (!status) status = take_weights(im, graph);
  if (!status) status = take_inputs(im, graph);
  if (!status) status = vnc_order_open(&order, im, graph);
  for (size_t i = 0; !status && i < order.n; i++)
    status = import_node(im, graph->node[order.nodes[i]], order.own[order.nodes[i]]);
  vnc_order_close(&order);
  if (!status) status = take_outputs(im, graph);
  if (!status && im->g->failed) status = vn_fail(im->diag, VN_E_MEMORY, "out of memory");
  return status ? status : vnc_graph_prune(im->g, im->diag);
}

static char *folder_of(const char *path) {
  return strndup(path, (size_t)(vn_os_name(path) - path));
}

static enum vn_status import_source(const struct vnc_source *source,
                                    const struct vnc_import_options *options, struct vnc_graph *g,
                                    struct vn_diag *diag) {
  Onnx__ModelProto *model = NULL;
  struct vnc_import im = {.g = g, .source = *source, .options = options, .diag = diag};
  im.touched_most = 4 * (uint64_t)source->file_bytes + UNFOLDED_MOST;
  enum vn_status status = vnc_onnx_unpack(source->file, source->file_bytes, &model, diag);
  if (!status) status = import_model(&im, model);
  if (!status) status = vnc_graph_check(g, diag);
  for (size_t i = 0; i < im.n_values; i++) vnc_tensor_free(&im.values[i].tensor);
  free(im.values);
  vnc_bents_free(&im);
  vnc_index_free(&im.names);
  if (model) vnc_onnx_free(model);
  return status;
}

enum vn_status vnc_onnx_import(const char *path, const struct vnc_import_options *options,
                               struct vnc_graph *g, struct vn_diag *diag) {
  struct mapped m;
  vnc_graph_init(g);
  enum vn_status status = map_file(path, &m, diag);
  if (status) return status;
  char *folder = folder_of(path);
  const struct vnc_source source = {m.bytes, m.size, folder};
  status = folder ? import_source(&source, options, g, diag)
                  : vn_fail(diag, VN_E_MEMORY, "out of memory");
  free(folder);
  vn_os_unmap(m.bytes, m.size);
  return status;
}

enum vn_status vnc_onnx_import_memory(const void *bytes, size_t size,
                                      const struct vnc_import_options *options, struct vnc_graph *g,
                                      struct vn_diag *diag) {
  const struct vnc_source source = {bytes, size, NULL};
  vnc_graph_init(g);
  return import_source(&source, options, g, diag);
}
