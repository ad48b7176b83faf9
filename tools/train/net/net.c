/* From graph to training steps; see net.h. Where tensors lie is net_place.c's business, running
 * them net_run.c's. */
#include "net_private.h"

#include <math.h>
#include <string.h>

#include "fail.h"
#include "size.h"

enum vn_status vnt_net_refuse(const struct vnt_net *net, uint32_t node, const char *what,
                              struct vn_diag *diag) {
  return vn_fail(diag, VN_E_UNSUPPORTED, "cannot train '%.100s': %s",
                 vnc_graph_text(net->graph, net->graph->nodes[node].name), what);
}

/* ---- parameters ---- */

static size_t param_add(struct vnt_net *net, uint32_t constant) {
  if (constant == VN_NONE) return SIZE_MAX;
  for (size_t i = 0; i < net->n_params; i++)
    if (net->params[i].constant == constant) return i;
  struct vnt_param *p = &net->params[net->n_params];
  *p = (struct vnt_param){
      .offset = net->elems,
      .elems = (size_t)vnc_const_elems(&net->graph->consts[constant]),
      .constant = constant,
  };
  net->elems += (p->elems + 15) / 16 * 16; /* each begins on a line; the gaps stay 0 */
  return net->n_params++;
}

/* ---- steps ---- */

static enum vn_status step_make(struct vnt_net *net, uint32_t id, struct step *step,
                                struct vn_diag *diag) {
  const struct vnc_node *node = &net->graph->nodes[id];
  *step = (struct step){.node = id, .weight = SIZE_MAX, .bias = SIZE_MAX, .bias_before = SIZE_MAX};
  for (uint32_t i = 0; i < node->n_args && i < 2; i++)
    step->arg[i] = vnc_graph_arg(net->graph, node, i);
  switch (node->op) {
  case VN_OP_CONV3D:
  case VN_OP_DECONV3D:
    if (node->n_args != 1 || node->act[0].kind || node->act[1].kind || node->groups != 1)
      return vnt_net_refuse(net, id, "the graph has been optimised", diag);
    step->kind = STEP_CONV;
    step->weight = param_add(net, node->weight);
    step->bias = param_add(net, node->bias);
    return VN_OK;
  case VN_OP_ACT:
    step->kind = STEP_ACT;
    if (node->act[0].kind != VN_ACT_PRELU && node->act[0].kind != VN_ACT_ELU)
      return vnt_net_refuse(net, id, "only PReLU and ELU are trained", diag);
    if (node->act[0].kind == VN_ACT_PRELU) step->weight = param_add(net, node->act[0].slope);
    step->act = (struct vnt_act){.kind = node->act[0].kind, .alpha = node->act[0].alpha};
    return VN_OK;
  case VN_OP_AFFINE:
    step->kind = STEP_NORM;
    step->weight = param_add(net, node->weight);
    step->bias = param_add(net, node->bias);
    return node->dim[VN_C] <= 1024 ? VN_OK
                                   : vnt_net_refuse(net, id, "more than 1024 channels", diag);
  case VN_OP_ADD:
    step->kind = STEP_ADD;
    if (node->act[1].kind) return vnt_net_refuse(net, id, "the graph has been optimised", diag);
    return VN_OK;
  case VN_OP_COPY:
    step->kind = vnt_dropout_is(net->graph, node) ? STEP_DROP : STEP_REPEAT;
    for (uint32_t a = 0; a < VN_AXES; a++)
      if (node->in_axis[a] != a || node->in_start[a])
        return vnt_net_refuse(net, id, "a copy that is not a repetition of channels", diag);
    return VN_OK;
  default:
    return vnt_net_refuse(net, id, vn_op_text((enum vn_op)node->op), diag);
  }
}

/* The node that training ends with: what comes before a Softmax or sigmoid. */
static enum vn_status end_find(struct vnt_net *net, struct vn_diag *diag) {
  const struct vnc_graph *g = net->graph;
  if (g->n_outputs != 1 || g->n_inputs != 1)
    return vn_fail(diag, VN_E_UNSUPPORTED, "a network to train has one input and one output");
  uint32_t end = g->outputs[0].node;
  const struct vnc_node *node = &g->nodes[end];
  bool softmax = node->op == VN_OP_SOFTMAX || node->op == VN_OP_LOGSOFTMAX;
  net->sigmoid = node->op == VN_OP_ACT && node->act[0].kind == VN_ACT_SIGMOID;
  if (softmax || net->sigmoid) end = vnc_graph_arg(g, node, 0);
  net->private->end = end;
  return VN_OK;
}

static enum vn_status steps_make(struct vnt_net *net, struct vn_diag *diag) {
  const struct vnc_graph *g = net->graph;
  struct vnt_net_private *p = net->private;
  for (uint32_t id = 0; id <= p->end; id++) {
    const struct vnc_node *node = &g->nodes[id];
    for (uint32_t i = 0; i < node->n_args; i++) p->places[vnc_graph_arg(g, node, i)].uses++;
    if (node->op == VN_OP_INPUT || node->op == VN_OP_CONCAT) continue;
    enum vn_status status = step_make(net, id, &p->steps[p->n_steps], diag);
    if (status) return status;
    p->n_steps++;
  }
  return VN_OK;
}

/* ---- opening the steps ---- */

static enum vn_status conv_open(struct vnt_net *net, struct step *s, const struct step *act,
                                struct vn_diag *diag) {
  const struct vnc_node *node = &net->graph->nodes[s->node];
  const struct place *in = &net->private->places[s->arg[0]];
  struct vnt_conv_spec spec = {
      .transposed = node->op == VN_OP_DECONV3D,
      .in = in->value,
      .out = net->private->places[s->node].value,
      .grad_in = in->needs_grad ? in->grad : (struct vn_tensor){0},
      .grad_out = net->private->places[s->node].grad,
      .weight = param_of(net, s->weight),
      .bias = param_of(net, s->bias),
      .grad_weight = net->grad_sum ? NULL : net->grad + net->params[s->weight].offset,
      .sum_weight = net->grad_sum ? net->grad_sum + net->params[s->weight].offset : NULL,
      .add_grad_in = s->add[0],
  };
  if (act) {
    spec.act = act->act;
    spec.act.slope = act->fused_slope;
  }
  for (int i = 0; i < 3; i++) {
    spec.kernel[i] = node->kernel[i];
    spec.stride[i] = node->stride[i];
    spec.pad[i] = node->pad[i];
    if (node->dilation[i] > 1 || node->out_pad[i] || node->pad[i] != node->pad_end[i])
      return vnt_net_refuse(net, s->node, "its dilation or padding", diag);
  }
  struct vn_diag inner;
  enum vn_status status = vnt_conv_open(&net->machine, &spec, &s->conv, &inner);
  return status == VN_E_UNSUPPORTED ? vnt_net_refuse(net, s->node, inner.text, diag)
         : status                   ? vn_fail(diag, status, "%s", inner.text)
                                    : VN_OK;
}

/* Slopes; and whether the convolution just before does the activation as it writes its result. */
static enum vn_status act_open(struct vnt_net *net, struct step *s, struct vn_diag *diag) {
  const struct place *places = net->private->places;
  const size_t bytes = places[s->node].value.dim[VN_C] * sizeof(float);
  const bool behind = s > net->private->steps && s[-1].kind == STEP_CONV &&
                      s[-1].node == s->arg[0] && places[s->arg[0]].overwritten_by == s->node;
  s->act.slope = s->slope = calloc(1, bytes);
  if (behind) s->fused_slope = calloc(1, bytes);
  return s->slope && (s->fused_slope || !behind) ? VN_OK
                                                 : vn_fail(diag, VN_E_MEMORY, "out of memory");
}

static enum vn_status norm_open(struct vnt_net *net, struct step *s, float *running,
                                struct vn_diag *diag) {
  const size_t c = net->private->places[s->node].value.dim[VN_C];
  s->norm = (struct vnt_norm){.scale = param_of(net, s->weight),
                              .shift = param_of(net, s->bias),
                              .running_mean = running,
                              .running_var = running + c,
                              .batch_mean = calloc(4 * c, sizeof(float)),
                              .epsilon = 1e-5,
                              .momentum = 0.1};
  if (!s->norm.batch_mean) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  s->norm.batch_inv_sd = s->norm.batch_mean + c;
  s->norm.mean = s->norm.batch_mean + 2 * c;
  s->norm.inv_sd = s->norm.batch_mean + 3 * c;
  /* An AFFINE is what inference does: mean 0 and variance 1, but for epsilon. */
  for (size_t k = 0; k < c; k++) s->norm.running_var[k] = (float)(1 - s->norm.epsilon);
  return VN_OK;
}

static enum vn_status drop_open(struct vnt_net *net, struct step *s, struct vn_diag *diag) {
  const struct vn_tensor *value = &net->private->places[s->node].value;
  const size_t count = value->dim[VN_N] * value->dim[VN_C];
  s->mask = calloc(count, sizeof(float));
  if (!s->mask) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < count; i++) s->mask[i] = 1;
  return VN_OK;
}

static size_t larger(size_t a, size_t b) {
  return a > b ? a : b;
}

/* What steps use in turn. */
static enum vn_status scratch_open(struct vnt_net *net, struct vn_diag *diag) {
  struct vnt_net_private *p = net->private;
  size_t sums = 0, workspace = 0, channels = 1;
  for (size_t i = 0; i < p->n_steps; i++) {
    const struct vn_tensor *value = &p->places[p->steps[i].node].value;
    sums = larger(sums, vnt_sums_bytes(value));
    channels = larger(channels, value->dim[VN_C]);
    if (p->steps[i].conv) workspace = larger(workspace, vnt_conv_bytes(p->steps[i].conv));
  }
  p->sums = malloc(sums);
  p->workspace = vnt_memory(workspace);
  for (int i = 0; i < 2; i++) p->sum_out[i] = malloc(channels * sizeof(double));
  return p->sums && p->workspace && p->sum_out[0] && p->sum_out[1]
             ? VN_OK
             : vn_fail(diag, VN_E_MEMORY, "out of memory");
}

static enum vn_status steps_open(struct vnt_net *net, struct vn_diag *diag) {
  struct vnt_net_private *p = net->private;
  float *running = net->running;
  enum vn_status status = VN_OK;
  for (size_t i = 0; i < p->n_steps && !status; i++) {
    struct step *s = &p->steps[i];
    if (s->kind == STEP_ACT) status = act_open(net, s, diag);
    if (s->kind == STEP_DROP) status = drop_open(net, s, diag);
    if (s->kind != STEP_NORM) continue;
    status = norm_open(net, s, running, diag);
    running += 2 * p->places[s->node].value.dim[VN_C];
  }
  for (size_t i = 0; i < p->n_steps && !status; i++) {
    const struct step *next = i + 1 < p->n_steps ? &p->steps[i + 1] : NULL;
    if (p->steps[i].kind == STEP_CONV)
      status = conv_open(net, &p->steps[i], next && next->fused_slope ? next : NULL, diag);
  }
  return status ? status : scratch_open(net, diag);
}

static enum vn_status params_fill(struct vnt_net *net, struct vn_diag *diag) {
  net->param = floats(net->elems);
  net->grad = floats(net->elems);
  for (size_t i = 0; i < net->private->n_steps; i++)
    if (net->private->steps[i].kind == STEP_NORM)
      net->n_running += 2 * (size_t)net->graph->nodes[net->private->steps[i].node].dim[VN_C];
  net->running = calloc(net->n_running + 1, sizeof(float));
  const bool several = net->machine.processes > 1;
  if (several) net->grad_sum = calloc(net->elems, sizeof *net->grad_sum);
  if (!net->param || !net->grad || !net->running || (several && !net->grad_sum))
    return vn_fail(diag, VN_E_MEMORY, "out of memory for parameters");
  memset(net->param, 0, net->elems * sizeof(float));
  memset(net->grad, 0, net->elems * sizeof(float));
  for (size_t i = 0; i < net->n_params; i++)
    memcpy(net->param + net->params[i].offset, net->graph->consts[net->params[i].constant].data,
           net->params[i].elems * sizeof(float));
  return VN_OK;
}

static void needs_find(struct vnt_net *net) {
  struct vnt_net_private *p = net->private;
  for (uint32_t id = 0; id <= p->end; id++) {
    const struct vnc_node *node = &net->graph->nodes[id];
    bool needs = node->weight != VN_NONE || node->act[0].slope != VN_NONE;
    for (uint32_t i = 0; i < node->n_args; i++)
      needs = needs || p->places[vnc_graph_arg(net->graph, node, i)].needs_grad;
    p->places[id].needs_grad = needs && node->op != VN_OP_INPUT;
  }
}

/* What is to be done, in which order, and where everything lies. */
static enum vn_status net_lay(struct vnt_net *net, size_t batch, struct vn_diag *diag) {
  const struct vnc_graph *graph = net->graph;
  struct vnt_net_private *p = net->private;
  enum vn_status status = end_find(net, diag);
  if (status) return status;
  p->steps = calloc(graph->n_nodes, sizeof *p->steps);
  p->places = calloc(graph->n_nodes, sizeof *p->places);
  p->values = calloc(graph->n_nodes, sizeof *p->values);
  net->params = calloc(graph->n_consts + 1, sizeof *net->params);
  if (!p->steps || !p->places || !p->values || !net->params)
    return vn_fail(diag, VN_E_MEMORY, "out of memory");
  if ((status = steps_make(net, diag)) || (status = vnt_place_concats(net, diag))) return status;
  if (!p->measured && (status = params_fill(net, diag))) return status;
  vnt_place_overwrites(net);
  if ((status = vnt_place_values(net, batch, diag))) return status;
  needs_find(net);
  vnt_place_shared_grads(net);
  if ((status = vnt_place_order(net, diag))) return status;
  vnt_place_joins(net);
  return vnt_place_gradients(net, diag);
}

enum vn_status vnt_net_measure(struct vnc_graph *graph, size_t batch, uint64_t *bytes,
                               struct vn_diag *diag) {
  struct vnt_net net = {.graph = graph};
  net.private = calloc(1, sizeof *net.private);
  if (!net.private) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  net.private->measured = true;
  const enum vn_status status = net_lay(&net, batch, diag);
  /* The tiles of convolutions take about half of what activations and gradients do, which was
   * measured; a parameter has a gradient and an optimiser's two numbers beside it. */
  *bytes = vn_plus(vn_times(net.elems, 4 * sizeof(float)),
                   vn_plus(net.activation_bytes, net.gradient_bytes) / 2 * 3);
  vnt_net_close(&net);
  return status;
}

enum vn_status vnt_net_open(const struct vnt_machine *machine, struct vnc_graph *graph,
                            size_t batch, struct vnt_net *net, struct vn_diag *diag) {
  *net = (struct vnt_net){.machine = *machine, .graph = graph};
  struct vnt_net_private *p = net->private = calloc(1, sizeof *p);
  if (!p) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  enum vn_status status = net_lay(net, batch, diag);
  if (status || (status = steps_open(net, diag))) return status;
  net->input = p->places[graph->inputs[0].node].value;
  net->output = p->places[p->end].value;
  net->grad_output = p->places[p->end].grad;
  vnt_net_changed(net);
  return VN_OK;
}

void vnt_net_close(struct vnt_net *net) {
  struct vnt_net_private *p = net->private;
  if (p) {
    for (size_t i = 0; i < p->n_steps; i++) {
      vnt_conv_close(&p->steps[i].conv);
      free(p->steps[i].slope);
      free(p->steps[i].fused_slope);
      free(p->steps[i].mask);
      free(p->steps[i].norm.batch_mean);
    }
    for (size_t i = 0; p->values && i < net->graph->n_nodes; i++) free(p->values[i]);
    free(p->values);
    free(p->steps);
    free(p->places);
    free(p->gradients);
    free(p->workspace);
    free(p->sums);
    free(p->sum_out[0]);
    free(p->sum_out[1]);
    free(p);
  }
  free(net->param);
  free(net->grad);
  free(net->grad_sum);
  free(net->params);
  free(net->running);
  *net = (struct vnt_net){0};
}

/* A slope of 0 would forget what went in; see VNT_SLOPE_LEAST. */
static float slope_of(float slope) {
  return fabsf(slope) < VNT_SLOPE_LEAST ? copysignf(VNT_SLOPE_LEAST, slope) : slope;
}

static void slopes_spread(const struct vnt_net *net, struct step *s) {
  const size_t channels = net->private->places[s->node].value.dim[VN_C];
  s->by_conv = s->fused_slope;
  for (size_t c = 0; c < channels && s->weight != SIZE_MAX; c++) {
    const struct vnt_param *slope = &net->params[s->weight];
    s->slope[c] = slope_of(net->param[slope->offset + (slope->elems == 1 ? 0 : c)]);
    if (s->slope[c] < 0) s->by_conv = false;
  }
  for (size_t c = 0; s->fused_slope && c < channels; c++)
    s->fused_slope[c] = s->by_conv ? s->slope[c] : 1;
}

void vnt_net_changed(struct vnt_net *net) {
  for (size_t i = 0; i < net->private->n_steps; i++)
    if (net->private->steps[i].kind == STEP_ACT) slopes_spread(net, &net->private->steps[i]);
}
