/* Where the net's activations and gradients lie, decided once: a concat is one tensor and its parts
 * are slices; gradients share an arena by lifetime; see net_private.h. */
#include "net_private.h"

#include <string.h>

#include "fail.h"
#include "size.h"
#include "vnet.h"

/* ---- where activations lie ---- */

enum vn_status vnt_place_concats(struct vnt_net *net, struct vn_diag *diag) {
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
        return vnt_net_refuse(net, id, "a concat of something else than layers' channels", diag);
      part->concat = id;
      part->channel = channel;
      channel += (size_t)g->nodes[vnc_graph_arg(g, node, i)].dim[VN_C];
    }
  }
  return VN_OK;
}

static bool remembered(const struct vnt_net *net, uint32_t id) {
  const uint32_t op = net->graph->nodes[id].op;
  return op != VN_OP_CONV3D && op != VN_OP_DECONV3D && op != VN_OP_AFFINE && op != VN_OP_COPY;
}

/* An activation's backward pass wants its result, a convolution's and BatchNorm's their argument, a
 * sum's nothing: what only an activation or a sum reads is overwritten unless its own step wants it
 * back. */
void vnt_place_overwrites(struct vnt_net *net) {
  struct vnt_net_private *p = net->private;
  for (uint32_t id = 0; id <= p->end; id++) p->places[id].overwritten_by = VN_NONE;
  for (size_t i = 0; i < p->n_steps; i++) {
    const struct step *s = &p->steps[i];
    const size_t args = s->kind == STEP_ADD ? 2 : s->kind == STEP_ACT ? 1 : 0;
    for (size_t k = 0; k < args; k++) {
      const uint32_t id = s->arg[k];
      struct place *arg = &p->places[id];
      const bool sum = s->kind == STEP_ACT && net->graph->nodes[id].op == VN_OP_ADD;
      if (arg->uses > 1 || arg->concat != VN_NONE || (remembered(net, id) && !sum) ||
          net->graph->nodes[id].dim[VN_C] != net->graph->nodes[s->node].dim[VN_C])
        continue;
      arg->overwritten_by = s->node;
      break;
    }
  }
}

/* Before a byte is taken: activations against the memory that is free. */
static enum vn_status values_check(const struct vnt_net *net, size_t batch, struct vn_diag *diag) {
  const uint64_t available = vn_memory_free();
  uint64_t bytes = 0;
  for (uint32_t id = 0; id <= net->private->end; id++) {
    const struct place *place = &net->private->places[id];
    if (place->overwritten_by == VN_NONE && place->concat == VN_NONE)
      bytes = vn_plus(
          bytes, vn_times(vnc_node_elems(&net->graph->nodes[id]), vn_times(batch, sizeof(float))));
  }
  if (bytes <= available) return VN_OK;
  return vn_fail(diag, VN_E_MEMORY,
                 "activations of a batch of %zu take %.0f MiB, and %.0f MiB are free: a smaller "
                 "patch or batch takes less",
                 batch, (double)bytes / 0x1p20, (double)available / 0x1p20);
}

/* Concats come after their parts: from the last node to the first, the whole is there first. */
enum vn_status vnt_place_values(struct vnt_net *net, size_t batch, struct vn_diag *diag) {
  struct vnt_net_private *p = net->private;
  const enum vn_status status = p->measured ? VN_OK : values_check(net, batch, diag);
  if (status) return status;
  for (uint32_t id = p->end + 1; id-- > 0;) {
    struct place *place = &p->places[id];
    place->value = tensor_of(&net->graph->nodes[id], batch);
    if (place->overwritten_by != VN_NONE) {
      place->value = p->places[place->overwritten_by].value;
      continue;
    }
    if (place->concat != VN_NONE) {
      const struct vn_tensor *whole = &p->places[place->concat].value;
      if (p->measured) continue;
      place->value.data = (float *)whole->data + place->channel;
      place->value.stride = whole->stride;
      continue;
    }
    size_t elems = pixels_of(&place->value) * place->value.stride;
    if (!p->measured) place->value.data = p->values[id] = floats(elems);
    if (!p->measured && !p->values[id])
      return vn_fail(diag, VN_E_MEMORY, "out of memory for activations");
    net->activation_bytes += elems * sizeof(float);
  }
  return VN_OK;
}

/* ---- where gradients lie ---- */

struct span {                        /* of a group of nodes that share a gradient */
  size_t first, last, elems, offset; /* steps, inclusive */
  uint32_t node;
};

/* A part's gradient lies in the concat's. What goes on element by element and only here has the
 * result's gradient for its own: a sum's first argument as it is, an activation's and BatchNorm's
 * overwritten. */
void vnt_place_shared_grads(struct vnt_net *net) {
  struct vnt_net_private *p = net->private;
  for (uint32_t id = 0; id <= p->end; id++) p->places[id].grad_of = VN_NONE;
  for (size_t i = 0; i < p->n_steps; i++) {
    struct step *s = &p->steps[i];
    struct place *a = &p->places[s->arg[0]];
    const bool each = s->kind == STEP_ADD || s->kind == STEP_ACT || s->kind == STEP_NORM;
    s->shared = each && a->uses == 1 && a->concat == VN_NONE && a->needs_grad &&
                a->value.dim[VN_C] == p->places[s->node].value.dim[VN_C];
    if (s->shared) a->grad_of = s->node;
  }
}

/* The node whose gradient's memory this one's is, or is part of. */
static uint32_t group_of(const struct vnt_net_private *p, uint32_t id) {
  for (;;) {
    const struct place *place = &p->places[id];
    uint32_t whole = place->grad_of != VN_NONE ? place->grad_of : place->concat;
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

enum vn_status vnt_place_gradients(struct vnt_net *net, struct vn_diag *diag) {
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
  if (!p->measured) p->gradients = floats(total);
  for (size_t i = 0; i < count && p->gradients; i++)
    p->places[spans[i].node].grad.data = p->gradients + spans[i].offset;
  free(of);
  free(spans);
  if (p->measured) return VN_OK;
  if (!p->gradients) return vn_fail(diag, VN_E_MEMORY, "out of memory for gradients");
  for (uint32_t id = (uint32_t)nodes;
       id-- > 0;) { /* wholes before parts, sums before the arguments that share theirs */
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
    if (place->grad_of != VN_NONE) place->grad = p->places[place->grad_of].grad;
  }
  return VN_OK;
}

/* Which of a gradient's contributions comes first in the backward pass; the others are added. */
enum vn_status vnt_place_order(struct vnt_net *net, struct vn_diag *diag) {
  struct vnt_net_private *p = net->private;
  p->places[p->end].written = true;
  for (uint32_t id = p->end + 1, step = (uint32_t)p->n_steps; id-- > 0;) {
    const struct vnc_node *node = &net->graph->nodes[id];
    if (node->op == VN_OP_INPUT) continue;
    if (node->op == VN_OP_CONCAT) {
      for (uint32_t i = 0; i < node->n_args; i++) {
        struct place *part = &p->places[vnc_graph_arg(net->graph, node, i)];
        if (part->written) return vnt_net_refuse(net, id, "a part is read after the whole", diag);
        part->written = p->places[id].written;
      }
      continue;
    }
    struct step *s = &p->steps[--step];
    size_t args = s->kind == STEP_ADD ? 2 : 1;
    if (!p->places[id].written) return vnt_net_refuse(net, id, "nothing comes of it", diag);
    for (size_t i = 0; i < args; i++) {
      struct place *arg = &p->places[s->arg[i]];
      s->add[i] = arg->written;
      arg->written = true;
    }
  }
  return VN_OK;
}

/* ---- what is done in one pass over memory ---- */

/* A norm or sum whose result the activation behind it alone reads and overwrites does that one as
 * it goes; a norm's backward pass takes an ELU along that adds to nothing; and what an activation's
 * backward pass writes, if it is the gradient of a convolution's result, is summed for its bias. */
void vnt_place_joins(struct vnt_net *net) {
  struct vnt_net_private *p = net->private;
  for (size_t i = 0; i + 1 < p->n_steps; i++) {
    struct step *s = &p->steps[i], *act = s + 1;
    if (act->kind != STEP_ACT || act->arg[0] != s->node) continue;
    const struct place *place = &p->places[s->node];
    const bool same = p->places[s->arg[0]].value.dim[VN_C] == p->places[s->arg[1]].value.dim[VN_C];
    act->joined = place->overwritten_by == act->node &&
                  (s->kind == STEP_NORM || (s->kind == STEP_ADD && same));
    act->joined_back =
        act->joined && s->kind == STEP_NORM && act->act.kind == VN_ACT_ELU && !act->add[0];
    s->act_behind = act->joined ? &act->act : NULL;
    s->elu_behind = act->joined_back ? act : NULL;
    s->bias_summed = s->kind == STEP_CONV && s->bias != SIZE_MAX && place->uses == 1;
    if (s->bias_summed) act->bias_before = s->bias;
  }
}
