/* From graph to training steps; see net.h. Three things are decided here, once: where activations
 * lie (a concat is one tensor, its parts are slices), where gradients lie (by lifetime, in one
 * arena), and which gradient is the first to be written, which are added. */
#include "net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

enum step_kind { STEP_CONV, STEP_ACT, STEP_ADD, STEP_NORM, STEP_REPEAT };

struct step {
  enum step_kind kind;
  uint32_t node, arg[2];
  bool add[2]; /* into the argument's gradient; else it is written */
  bool shared; /* ADD: the first argument's gradient is the result's own */
  struct vnt_conv *conv;
  struct vnt_act act;
  float *slope; /* ACT: [channels], spread from the parameter */
  struct vnt_norm norm;
  size_t weight, bias; /* parameters; SIZE_MAX: none. ACT: weight is the slope */
  bool bias_summed;    /* the activation after this convolution has summed its gradient */
};

struct place {
  struct vn_tensor value, grad;
  bool needs_grad, written;
  uint32_t uses, concat; /* concat: the node whose part this is, or VN_NONE */
  uint32_t twin;         /* the sum whose gradient is this one's, too, or VN_NONE */
  size_t channel;        /* of the concat's first */
};

struct vnt_net_private {
  struct step *steps;
  size_t n_steps;
  struct place *places; /* [n_nodes] */
  float **values;       /* [n_nodes]: what is to be freed */
  float *gradients;
  double *sums;       /* scratch of channel sums */
  double *sum_out[2]; /* [channels most] */
  uint32_t end;       /* the last node that is computed */
};

/* ---- helpers ---- */

static struct vn_tensor tensor_of(const struct vnc_node *node, size_t batch) {
  struct vn_tensor t = {.stride = (size_t)node->dim[VN_C]};
  for (int a = 0; a < VN_AXES; a++) t.dim[a] = (size_t)node->dim[a];
  t.dim[VN_N] = batch;
  return t;
}

static size_t pixels_of(const struct vn_tensor *t) {
  return t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W];
}

static float *floats(size_t elems) {
  return aligned_alloc(64, (elems * sizeof(float) + 127) / 64 * 64);
}

static enum vn_status refuse(const struct vnt_net *net, uint32_t node, const char *what,
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
      .name = vnc_graph_text(net->graph, net->graph->consts[constant].name),
      .offset = net->elems,
      .elems = (size_t)vnc_const_elems(&net->graph->consts[constant]),
      .constant = constant,
  };
  net->elems += (p->elems + 15) / 16 * 16; /* each begins on a line; the gaps stay 0 */
  return net->n_params++;
}

static float *param_of(const struct vnt_net *net, size_t param) {
  return param == SIZE_MAX ? NULL : net->param + net->params[param].offset;
}

static float *grad_of(const struct vnt_net *net, size_t param) {
  return param == SIZE_MAX ? NULL : net->grad + net->params[param].offset;
}

/* ---- steps ---- */

static enum vn_status step_make(struct vnt_net *net, uint32_t id, struct step *step,
                                struct vn_diag *diag) {
  const struct vnc_node *node = &net->graph->nodes[id];
  *step = (struct step){.node = id, .weight = SIZE_MAX, .bias = SIZE_MAX};
  for (uint32_t i = 0; i < node->n_args && i < 2; i++)
    step->arg[i] = vnc_graph_arg(net->graph, node, i);
  switch (node->op) {
  case VN_OP_CONV3D:
  case VN_OP_DECONV3D:
    if (node->n_args != 1 || node->act[0].kind || node->act[1].kind || node->groups != 1)
      return refuse(net, id, "the graph has been optimised", diag);
    step->kind = STEP_CONV;
    step->weight = param_add(net, node->weight);
    step->bias = param_add(net, node->bias);
    return VN_OK;
  case VN_OP_ACT:
    step->kind = STEP_ACT;
    if (node->act[0].kind != VN_ACT_PRELU && node->act[0].kind != VN_ACT_ELU)
      return refuse(net, id, "only PReLU and ELU are trained", diag);
    if (node->act[0].kind == VN_ACT_PRELU) step->weight = param_add(net, node->act[0].slope);
    step->act = (struct vnt_act){.kind = node->act[0].kind, .alpha = node->act[0].alpha};
    return VN_OK;
  case VN_OP_AFFINE:
    step->kind = STEP_NORM;
    step->weight = param_add(net, node->weight);
    step->bias = param_add(net, node->bias);
    return node->dim[VN_C] <= 1024 ? VN_OK : refuse(net, id, "more than 1024 channels", diag);
  case VN_OP_ADD:
    step->kind = STEP_ADD;
    if (node->act[1].kind) return refuse(net, id, "the graph has been optimised", diag);
    return VN_OK;
  case VN_OP_COPY:
    step->kind = STEP_REPEAT;
    for (uint32_t a = 0; a < VN_AXES; a++)
      if (node->in_axis[a] != a || node->in_start[a])
        return refuse(net, id, "a copy that is not a repetition of channels", diag);
    return VN_OK;
  default:
    return refuse(net, id, vn_op_text((enum vn_op)node->op), diag);
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

/* ---- where activations lie ---- */

static enum vn_status concats_find(struct vnt_net *net, struct vn_diag *diag) {
  const struct vnc_graph *g = net->graph;
  struct vnt_net_private *p = net->private;
  for (uint32_t id = 0; id <= p->end; id++) p->places[id].concat = VN_NONE;
  for (uint32_t id = 0; id <= p->end; id++) {
    const struct vnc_node *node = &g->nodes[id];
    if (node->op != VN_OP_CONCAT) continue;
    size_t channel = 0;
    for (uint32_t i = 0; i < node->n_args; i++) {
      struct place *part = &p->places[vnc_graph_arg(g, node, i)];
      if (node->axis != VN_C || part->concat != VN_NONE ||
          g->nodes[vnc_graph_arg(g, node, i)].op == VN_OP_INPUT)
        return refuse(net, id, "a concat of something else than layers' channels", diag);
      part->concat = id;
      part->channel = channel;
      channel += (size_t)g->nodes[vnc_graph_arg(g, node, i)].dim[VN_C];
    }
  }
  return VN_OK;
}

/* Concats come after their parts: from the last node to the first, the whole is there first. */
static enum vn_status values_place(struct vnt_net *net, size_t batch, struct vn_diag *diag) {
  struct vnt_net_private *p = net->private;
  for (uint32_t id = p->end + 1; id-- > 0;) {
    struct place *place = &p->places[id];
    place->value = tensor_of(&net->graph->nodes[id], batch);
    if (place->concat != VN_NONE) {
      const struct vn_tensor *whole = &p->places[place->concat].value;
      place->value.data = (float *)whole->data + place->channel;
      place->value.stride = whole->stride;
      continue;
    }
    size_t elems = pixels_of(&place->value) * place->value.stride;
    place->value.data = p->values[id] = floats(elems);
    if (!p->values[id]) return vn_fail(diag, VN_E_MEMORY, "out of memory for activations");
    net->activation_bytes += elems * sizeof(float);
  }
  return VN_OK;
}

/* ---- where gradients lie ---- */

struct span {                        /* of a group of nodes that share a gradient */
  size_t first, last, elems, offset; /* steps, inclusive */
  uint32_t node;
};

/* A part's gradient lies in the concat's; a sum's first argument that nobody else reads has the
 * sum's gradient for its own. */
static void twins_find(struct vnt_net *net) {
  struct vnt_net_private *p = net->private;
  for (uint32_t id = 0; id <= p->end; id++) p->places[id].twin = VN_NONE;
  for (size_t i = 0; i < p->n_steps; i++) {
    struct step *s = &p->steps[i];
    struct place *a = &p->places[s->arg[0]];
    s->shared = s->kind == STEP_ADD && a->uses == 1 && a->concat == VN_NONE && a->needs_grad &&
                a->value.dim[VN_C] == p->places[s->node].value.dim[VN_C];
    if (s->shared) a->twin = s->node;
  }
}

/* The node whose gradient's memory this one's is, or is part of. */
static uint32_t group_of(const struct vnt_net_private *p, uint32_t id) {
  for (;;) {
    const struct place *place = &p->places[id];
    uint32_t whole = place->twin != VN_NONE ? place->twin : place->concat;
    if (whole == VN_NONE) return id;
    id = whole;
  }
}

static void span_extend(struct span *span, size_t step) {
  if (step < span->first) span->first = step;
  if (step > span->last || span->last == SIZE_MAX) span->last = step;
}

static int by_size(const void *a, const void *b) {
  const struct span *x = a, *y = b;
  return x->elems < y->elems ? 1 : x->elems > y->elems ? -1 : x->node < y->node ? -1 : 1;
}

/* First fit, the largest first. Returns the arena's elements. */
static size_t spans_place(struct span *spans, size_t count) {
  size_t total = 0;
  qsort(spans, count, sizeof *spans, by_size);
  for (size_t i = 0; i < count; i++) {
    size_t offset = 0;
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t k = 0; k < i; k++) {
        bool together = spans[k].first <= spans[i].last && spans[i].first <= spans[k].last;
        bool apart = offset + spans[i].elems <= spans[k].offset ||
                     spans[k].offset + spans[k].elems <= offset;
        if (!together || apart) continue;
        offset = spans[k].offset + spans[k].elems;
        moved = true;
      }
    }
    spans[i].offset = offset;
    if (offset + spans[i].elems > total) total = offset + spans[i].elems;
  }
  return total;
}

static enum vn_status gradients_place(struct vnt_net *net, struct vn_diag *diag) {
  struct vnt_net_private *p = net->private;
  size_t nodes = p->end + 1, count = 0;
  struct span *of = calloc(nodes, sizeof *of), *spans = calloc(nodes, sizeof *spans);
  if (!of || !spans) {
    free(of);
    free(spans);
    return vn_fail(diag, VN_E_MEMORY, "out of memory");
  }
  for (uint32_t id = 0; id < nodes; id++) of[id] = (struct span){SIZE_MAX, SIZE_MAX, 0, 0, id};
  for (size_t i = 0; i < p->n_steps; i++) { /* made by its readers' steps, read by its own */
    const struct step *s = &p->steps[i];
    span_extend(&of[group_of(p, s->node)], i);
    size_t args = s->kind == STEP_ADD ? 2 : 1;
    for (size_t k = 0; k < args; k++) span_extend(&of[group_of(p, s->arg[k])], i);
  }
  span_extend(&of[group_of(p, p->end)], p->n_steps); /* the loss's */
  for (uint32_t id = 0; id < nodes; id++) {
    struct place *place = &p->places[id];
    if (group_of(p, id) != id || !place->needs_grad) continue;
    of[id].elems =
        (pixels_of(&place->value) * (size_t)net->graph->nodes[id].dim[VN_C] + 15) / 16 * 16;
    spans[count++] = of[id];
  }
  size_t total = spans_place(spans, count);
  net->gradient_bytes = total * sizeof(float);
  p->gradients = floats(total);
  for (size_t i = 0; i < count && p->gradients; i++)
    p->places[spans[i].node].grad.data = p->gradients + spans[i].offset;
  free(of);
  free(spans);
  if (!p->gradients) return vn_fail(diag, VN_E_MEMORY, "out of memory for gradients");
  for (uint32_t id = (uint32_t)nodes; id-- > 0;) { /* wholes before parts, sums before twins */
    struct place *place = &p->places[id];
    if (!place->needs_grad) continue;
    void *data = place->grad.data;
    place->grad = place->value;
    place->grad.stride = place->value.dim[VN_C];
    if (place->concat != VN_NONE) {
      const struct vn_tensor *whole = &p->places[place->concat].grad;
      data = (float *)whole->data + place->channel;
      place->grad.stride = whole->stride;
    }
    place->grad.data = data;
    if (place->twin != VN_NONE) place->grad = p->places[place->twin].grad;
  }
  return VN_OK;
}

/* Which of a gradient's contributions comes first in the backward pass; the others are added. */
static enum vn_status order_find(struct vnt_net *net, struct vn_diag *diag) {
  struct vnt_net_private *p = net->private;
  p->places[p->end].written = true;
  for (uint32_t id = p->end + 1, step = (uint32_t)p->n_steps; id-- > 0;) {
    const struct vnc_node *node = &net->graph->nodes[id];
    if (node->op == VN_OP_INPUT) continue;
    if (node->op == VN_OP_CONCAT) {
      for (uint32_t i = 0; i < node->n_args; i++) {
        struct place *part = &p->places[vnc_graph_arg(net->graph, node, i)];
        if (part->written) return refuse(net, id, "a part is read after the whole", diag);
        part->written = p->places[id].written;
      }
      continue;
    }
    struct step *s = &p->steps[--step];
    size_t args = s->kind == STEP_ADD ? 2 : 1;
    if (!p->places[id].written) return refuse(net, id, "nothing comes of it", diag);
    for (size_t i = 0; i < args; i++) {
      struct place *arg = &p->places[s->arg[i]];
      s->add[i] = arg->written;
      arg->written = true;
    }
  }
  return VN_OK;
}

/* ---- opening the steps ---- */

static enum vn_status conv_open(struct vnt_net *net, struct step *s, struct vn_diag *diag) {
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
      .grad_weight = grad_of(net, s->weight),
      .add_grad_in = s->add[0],
  };
  for (int i = 0; i < 3; i++) {
    spec.kernel[i] = node->kernel[i];
    spec.stride[i] = node->stride[i];
    spec.pad[i] = node->pad[i];
    if (node->dilation[i] > 1 || node->out_pad[i] || node->pad[i] != node->pad_end[i])
      return refuse(net, s->node, "its dilation or padding", diag);
  }
  struct vn_diag inner;
  enum vn_status status = vnt_conv_open(&net->machine, &spec, &s->conv, &inner);
  return status == VN_E_UNSUPPORTED ? refuse(net, s->node, inner.text, diag)
         : status                   ? vn_fail(diag, status, "%s", inner.text)
                                    : VN_OK;
}

static enum vn_status steps_open(struct vnt_net *net, struct vn_diag *diag) {
  struct vnt_net_private *p = net->private;
  float *running = net->running;
  size_t bytes = 0, channels = 1;
  for (size_t i = 0; i < p->n_steps; i++) {
    struct step *s = &p->steps[i];
    const struct vn_tensor *value = &p->places[s->node].value;
    size_t need = vnt_sums_bytes(pixels_of(value), value->dim[VN_C]);
    bytes = need > bytes ? need : bytes;
    channels = value->dim[VN_C] > channels ? value->dim[VN_C] : channels;
    if (s->kind == STEP_CONV) {
      enum vn_status status = conv_open(net, s, diag);
      if (status) return status;
    }
    if (s->kind == STEP_ACT) {
      s->act.slope = s->slope = calloc(value->dim[VN_C], sizeof(float));
      if (!s->slope) return vn_fail(diag, VN_E_MEMORY, "out of memory");
    }
    if (s->kind == STEP_NORM) {
      size_t c = value->dim[VN_C];
      s->norm = (struct vnt_norm){.scale = param_of(net, s->weight),
                                  .shift = param_of(net, s->bias),
                                  .running_mean = running,
                                  .running_var = running + c,
                                  .mean = calloc(c, sizeof(float)),
                                  .inv_sd = calloc(c, sizeof(float)),
                                  .epsilon = 1e-5,
                                  .momentum = 0.1};
      if (!s->norm.mean || !s->norm.inv_sd) return vn_fail(diag, VN_E_MEMORY, "out of memory");
      /* An AFFINE is what inference does: mean 0 and variance 1, but for epsilon. */
      for (size_t k = 0; k < c; k++) s->norm.running_var[k] = (float)(1 - s->norm.epsilon);
      running += 2 * c;
    }
  }
  p->sums = malloc(bytes);
  for (int i = 0; i < 2; i++) p->sum_out[i] = malloc(channels * sizeof(double));
  if (!p->sums || !p->sum_out[0] || !p->sum_out[1])
    return vn_fail(diag, VN_E_MEMORY, "out of memory");
  return VN_OK;
}

static enum vn_status params_fill(struct vnt_net *net, struct vn_diag *diag) {
  net->param = floats(net->elems);
  net->grad = floats(net->elems);
  for (size_t i = 0; i < net->private->n_steps; i++)
    if (net->private->steps[i].kind == STEP_NORM)
      net->n_running += 2 * (size_t)net->graph->nodes[net->private->steps[i].node].dim[VN_C];
  net->running = calloc(net->n_running + 1, sizeof(float));
  if (!net->param || !net->grad || !net->running)
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

enum vn_status vnt_net_open(const struct vnt_machine *machine, struct vnc_graph *graph,
                            size_t batch, struct vnt_net *net, struct vn_diag *diag) {
  *net = (struct vnt_net){.machine = *machine, .graph = graph};
  struct vnt_net_private *p = net->private = calloc(1, sizeof *p);
  if (!p) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  enum vn_status status = end_find(net, diag);
  if (status) return status;
  p->steps = calloc(graph->n_nodes, sizeof *p->steps);
  p->places = calloc(graph->n_nodes, sizeof *p->places);
  p->values = calloc(graph->n_nodes, sizeof *p->values);
  net->params = calloc(graph->n_consts + 1, sizeof *net->params);
  if (!p->steps || !p->places || !p->values || !net->params)
    return vn_fail(diag, VN_E_MEMORY, "out of memory");
  if ((status = steps_make(net, diag)) || (status = concats_find(net, diag)) ||
      (status = params_fill(net, diag)) || (status = values_place(net, batch, diag)))
    return status;
  needs_find(net);
  twins_find(net);
  if ((status = order_find(net, diag)) || (status = gradients_place(net, diag)) ||
      (status = steps_open(net, diag)))
    return status;
  net->input = p->places[graph->inputs[0].node].value;
  net->output = p->places[p->end].value;
  net->grad_output = p->places[p->end].grad;
  return vnt_net_repack(net, diag);
}

void vnt_net_close(struct vnt_net *net) {
  struct vnt_net_private *p = net->private;
  if (p) {
    for (size_t i = 0; i < p->n_steps; i++) {
      vnt_conv_close(&p->steps[i].conv);
      free(p->steps[i].slope);
      free(p->steps[i].norm.mean);
      free(p->steps[i].norm.inv_sd);
    }
    for (size_t i = 0; p->values && i < net->graph->n_nodes; i++) free(p->values[i]);
    free(p->values);
    free(p->steps);
    free(p->places);
    free(p->gradients);
    free(p->sums);
    free(p->sum_out[0]);
    free(p->sum_out[1]);
    free(p);
  }
  free(net->param);
  free(net->grad);
  free(net->params);
  free(net->running);
  *net = (struct vnt_net){0};
}

enum vn_status vnt_net_repack(struct vnt_net *net, struct vn_diag *diag) {
  for (size_t i = 0; i < net->private->n_steps; i++) {
    struct step *s = &net->private->steps[i];
    enum vn_status status = s->conv ? vnt_conv_repack(s->conv, diag) : VN_OK;
    if (status) return status;
    if (s->kind != STEP_ACT || s->weight == SIZE_MAX) continue;
    const struct vnt_param *slope = &net->params[s->weight];
    size_t channels = net->private->places[s->node].value.dim[VN_C];
    for (size_t c = 0; c < channels; c++)
      s->slope[c] = net->param[slope->offset + (slope->elems == 1 ? 0 : c)];
  }
  return VN_OK;
}

/* ---- running ---- */

static void step_forward(struct vnt_net *net, const struct step *s) {
  const struct place *places = net->private->places;
  const struct vn_tensor *x = &places[s->arg[0]].value, *y = &places[s->node].value;
  switch (s->kind) {
  case STEP_CONV:
    vnt_conv_forward(s->conv);
    break;
  case STEP_ACT:
    vnt_act_forward(&net->machine, &s->act, x, y);
    break;
  case STEP_NORM:
    vnt_norm_forward(&net->machine, &s->norm, x, y, net->private->sums);
    break;
  case STEP_REPEAT:
    vnt_add_forward(&net->machine, x, y, false);
    break;
  case STEP_ADD:
    vnt_add_forward(&net->machine, x, y, false);
    vnt_add_forward(&net->machine, &places[s->arg[1]].value, y, true);
    break;
  }
}

void vnt_net_forward(struct vnt_net *net) {
  for (size_t i = 0; i < net->private->n_steps; i++) step_forward(net, &net->private->steps[i]);
}

static void grad_store(const struct vnt_net *net, size_t param, const double *sums,
                       size_t channels) {
  if (param == SIZE_MAX) return;
  float *to = grad_of(net, param);
  if (net->params[param].elems == channels) {
    for (size_t c = 0; c < channels; c++) to[c] = (float)sums[c];
    return;
  }
  double sum = 0; /* one slope for the layer */
  for (size_t c = 0; c < channels; c++) sum += sums[c];
  to[0] = (float)sum;
}

/* The step before, if it is a convolution with a bias whose output only this activation reads: its
 * gradient is what the activation's backward pass writes, and that can be summed there. */
static struct step *bias_before(struct vnt_net *net, size_t index) {
  const struct step *s = &net->private->steps[index];
  struct step *conv =
      index ? s[-1].kind == STEP_CONV ? &net->private->steps[index - 1] : NULL : NULL;
  bool joined = conv && conv->node == s->arg[0] && conv->bias != SIZE_MAX &&
                net->private->places[conv->node].uses == 1;
  return joined ? conv : NULL;
}

static void act_backward(struct vnt_net *net, size_t index) {
  const struct step *s = &net->private->steps[index];
  const struct place *x = &net->private->places[s->arg[0]], *y = &net->private->places[s->node];
  struct step *conv = bias_before(net, index);
  double **sums = net->private->sum_out;
  vnt_act_backward(&net->machine, &s->act, &x->value, &y->value, &y->grad, &x->grad, s->add[0],
                   net->private->sums, sums[0], sums[1]);
  grad_store(net, s->weight, sums[1], x->value.dim[VN_C]);
  if (!conv) return;
  grad_store(net, conv->bias, sums[0], x->value.dim[VN_C]);
  conv->bias_summed = true;
}

static void step_backward(struct vnt_net *net, size_t index) {
  struct step *s = &net->private->steps[index];
  const struct place *places = net->private->places;
  const struct place *y = &places[s->node], *x = &places[s->arg[0]];
  double **sums = net->private->sum_out;
  switch (s->kind) {
  case STEP_CONV:
    if (s->bias != SIZE_MAX && !s->bias_summed) {
      vnt_channel_sums(&net->machine, &y->grad, net->private->sums, sums[0]);
      grad_store(net, s->bias, sums[0], y->value.dim[VN_C]);
    }
    s->bias_summed = false;
    vnt_conv_backward(s->conv);
    break;
  case STEP_ACT:
    act_backward(net, index);
    break;
  case STEP_NORM:
    vnt_norm_backward(&net->machine, &s->norm, &x->value, &y->grad, &x->grad, s->add[0],
                      net->private->sums, sums[0], sums[1]);
    grad_store(net, s->weight, sums[0], x->value.dim[VN_C]);
    grad_store(net, s->bias, sums[1], x->value.dim[VN_C]);
    break;
  case STEP_REPEAT:
    if (x->needs_grad) vnt_add_backward(&net->machine, &y->grad, &x->grad, s->add[0]);
    break;
  case STEP_ADD:
    for (int i = s->shared ? 1 : 0; i < 2; i++)
      if (places[s->arg[i]].needs_grad)
        vnt_add_backward(&net->machine, &y->grad, &places[s->arg[i]].grad, s->add[i]);
    break;
  }
}

void vnt_net_backward(struct vnt_net *net, void (*done)(void *context, size_t param),
                      void *context) {
  for (size_t i = net->private->n_steps; i-- > 0;) {
    const struct step *s = &net->private->steps[i];
    step_backward(net, i);
    if (done && s->weight != SIZE_MAX) done(context, s->weight);
    if (done && s->bias != SIZE_MAX) done(context, s->bias);
  }
}

/* ---- back to the graph ---- */

static void norm_store(const struct vnt_net *net, const struct step *s) {
  const struct vnc_node *node = &net->graph->nodes[s->node];
  float *scale = net->graph->consts[node->weight].data;
  float *shift = net->graph->consts[node->bias].data;
  for (size_t c = 0; c < (size_t)node->dim[VN_C]; c++) {
    double inv = 1 / sqrt((double)s->norm.running_var[c] + s->norm.epsilon);
    double a = (double)s->norm.scale[c] * inv;
    scale[c] = (float)a;
    shift[c] = (float)((double)s->norm.shift[c] - (double)s->norm.running_mean[c] * a);
  }
}

void vnt_net_store(const struct vnt_net *net) {
  for (size_t i = 0; i < net->n_params; i++)
    memcpy(net->graph->consts[net->params[i].constant].data, net->param + net->params[i].offset,
           net->params[i].elems * sizeof(float));
  for (size_t i = 0; i < net->private->n_steps; i++)
    if (net->private->steps[i].kind == STEP_NORM) norm_store(net, &net->private->steps[i]);
}
