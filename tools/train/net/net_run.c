/* Forward, backward, and back to the graph; see net.h. */
#include "net_private.h"

#include <math.h>
#include <string.h>

/* ---- running ---- */

static void add_forward(struct vnt_net *net, const struct vn_tensor *a, const struct vn_tensor *b,
                        const struct vn_tensor *y, const struct vnt_act *act) {
  if (a->dim[VN_C] == b->dim[VN_C]) {
    vnt_sum_forward(&net->machine, a, b, y, act);
    return;
  }
  const bool second = b->data == y->data; /* whose place the sum takes */
  if (!second && a->data != y->data) vnt_add_forward(&net->machine, a, y, false);
  vnt_add_forward(&net->machine, second ? a : b, y, true);
}

static void step_forward(struct vnt_net *net, const struct step *s) {
  const struct vnt_machine *m = &net->machine;
  const struct place *places = net->private->places;
  const struct vn_tensor *x = &places[s->arg[0]].value, *y = &places[s->node].value;
  switch (s->kind) {
  case STEP_CONV:
    vnt_conv_forward(s->conv, net->private->workspace);
    break;
  case STEP_ACT:
    if (!s->by_conv && !s->joined) vnt_act_forward(m, &s->act, x, y);
    break;
  case STEP_NORM:
    vnt_norm_forward(m, &s->norm, x, y, s->act_behind, net->private->sums);
    break;
  case STEP_REPEAT:
    vnt_add_forward(m, x, y, false);
    break;
  case STEP_DROP:
    vnt_scale(m, x, s->mask, y, false);
    break;
  case STEP_ADD:
    add_forward(net, x, &places[s->arg[1]].value, y, s->act_behind);
    break;
  }
}

void vnt_net_norms(struct vnt_net *net, double momentum, double settled) {
  for (size_t i = 0; i < net->private->n_steps; i++) {
    net->private->steps[i].norm.momentum = momentum;
    net->private->steps[i].norm.settled = settled;
  }
}

void vnt_net_forward(struct vnt_net *net) {
  for (size_t i = 0; i < net->private->n_steps; i++) step_forward(net, &net->private->steps[i]);
}

static void grad_store(const struct vnt_net *net, size_t param, const double *sums,
                       size_t channels) {
  if (param == SIZE_MAX) return;
  const struct vnt_param *p = &net->params[param];
  double all = 0; /* one slope for the layer */
  for (size_t c = 0; c < channels; c++) all += sums[c];
  for (size_t i = 0; i < p->elems; i++) {
    const double sum = p->elems == channels ? sums[i] : all;
    if (net->grad_sum)
      net->grad_sum[p->offset + i] = sum;
    else
      net->grad[p->offset + i] = (float)sum;
  }
}

static void act_backward(struct vnt_net *net, const struct step *s) {
  const struct place *x = &net->private->places[s->arg[0]], *y = &net->private->places[s->node];
  double **sums = net->private->sum_out;
  vnt_act_backward(&net->machine, &s->act, &y->value, &y->grad, &x->grad, s->add[0],
                   net->private->sums, sums[0], sums[1]);
  grad_store(net, s->weight, sums[1], x->value.dim[VN_C]);
  grad_store(net, s->bias_before, sums[0], x->value.dim[VN_C]);
}

static void norm_backward(struct vnt_net *net, const struct step *s) {
  const struct place *x = &net->private->places[s->arg[0]], *y = &net->private->places[s->node];
  const struct step *act = s->elu_behind;
  const struct place *end = &net->private->places[act ? act->node : s->node];
  const struct vnt_norm_elu elu = {
      .act = act ? &act->act : NULL, .y = &end->value, .dy = &end->grad};
  double **sums = net->private->sum_out;
  vnt_norm_backward(&net->machine, &s->norm, &x->value, &y->grad, &x->grad, s->add[0],
                    act ? &elu : NULL, net->private->sums, sums[0], sums[1]);
  grad_store(net, s->weight, sums[0], x->value.dim[VN_C]);
  grad_store(net, s->bias, sums[1], x->value.dim[VN_C]);
}

static void step_backward(struct vnt_net *net, const struct step *s) {
  const struct place *places = net->private->places;
  const struct place *y = &places[s->node], *x = &places[s->arg[0]];
  double **sums = net->private->sum_out;
  switch (s->kind) {
  case STEP_CONV:
    if (s->bias != SIZE_MAX && !s->bias_summed) {
      vnt_channel_sums(&net->machine, &y->grad, net->private->sums, sums[0]);
      grad_store(net, s->bias, sums[0], y->value.dim[VN_C]);
    }
    vnt_conv_backward(s->conv, net->private->workspace);
    break;
  case STEP_ACT:
    if (!s->joined_back) act_backward(net, s);
    break;
  case STEP_NORM:
    norm_backward(net, s);
    break;
  case STEP_REPEAT:
    if (x->needs_grad) vnt_add_backward(&net->machine, &y->grad, &x->grad, s->add[0]);
    break;
  case STEP_DROP:
    if (x->needs_grad) vnt_scale(&net->machine, &y->grad, s->mask, &x->grad, s->add[0]);
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
    step_backward(net, s);
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
