/* Batch statistics as exporters write them out: a BatchNormalization whose mean and variance are
 * computed from what it normalises. Looked for on the file's nodes, before any is imported, so that
 * the arithmetic need not be. Called by onnx_order.c. */
#include "onnx_import.h"

#include <stdlib.h>
#include <string.h>

static const Onnx__NodeProto *made_by(struct vnc_order *o, const char *name, const char *type) {
  const uint32_t id = vnc_order_producer(o, name);
  const Onnx__NodeProto *node = id == VN_NONE ? NULL : o->graph->node[id];
  return node && node->op_type && !strcmp(node->op_type, type) ? node : NULL;
}

/* The value that `name` shows in another shape or type; *moved: its axes were, too. */
static const char *origin(struct vnc_order *o, const char *name, bool *moved) {
  static const char *const shows[] = {"Identity", "Cast", "Reshape", "Transpose", "Flatten"};
  for (size_t steps = 0; steps < 8; steps++) {
    const Onnx__NodeProto *node = NULL;
    for (size_t i = 0; !node && i < sizeof shows / sizeof *shows; i++)
      node = made_by(o, name, shows[i]);
    if (!node || !node->n_input) return name;
    *moved = *moved || (*node->op_type != 'I' && *node->op_type != 'C');
    name = node->input[0];
  }
  return name;
}

static const Onnx__AttributeProto *attribute(const Onnx__NodeProto *node, const char *name) {
  for (size_t i = 0; i < node->n_attribute; i++)
    if (node->attribute[i]->name && !strcmp(node->attribute[i]->name, name))
      return node->attribute[i];
  return NULL;
}

/* The axes of a reduction, of which there may be eight; 0 where they are not to be seen. */
static size_t axes_of(struct vnc_order *o, const Onnx__NodeProto *node,
                      int64_t axes[VNC_TENSOR_RANK]) {
  const Onnx__AttributeProto *a = attribute(node, "axes");
  const Onnx__TensorProto *proto = NULL;
  struct vnc_tensor t = {0};
  size_t n = 0;
  if (a && a->n_ints <= VNC_TENSOR_RANK) {
    if (a->n_ints) memcpy(axes, a->ints, a->n_ints * sizeof *axes);
    return a->n_ints;
  }
  if (node->n_input < 2) return 0;
  const struct vnc_value *weight = vnc_value_find(o->im, node->input[1]);
  const Onnx__NodeProto *constant = made_by(o, node->input[1], "Constant");
  if (weight && weight->kind == VNC_WEIGHT) proto = weight->proto;
  if (constant && (a = attribute(constant, "value"))) proto = a->t;
  struct vn_diag unread;
  if (!proto || proto->n_dims > 1 ||
      (proto->n_dims && (proto->dims[0] < 1 || proto->dims[0] > VNC_TENSOR_RANK)) ||
      vnc_tensor_decode(proto, &o->im->source, "axes", &t, &unread))
    return 0;
  if (!t.is_float) memcpy(axes, t.i, (n = t.elems) * sizeof *axes);
  vnc_tensor_free(&t);
  return n;
}

/* All axes but the channels': the second of what is as the network has it, the last or the first of
 * what was moved for the purpose. */
static bool spares_channels(const int64_t *axes, size_t n, bool moved) {
  static const struct {
    bool moved;
    size_t n;
    int64_t axes[4];
  } known[] = {{false, 4, {0, 2, 3, 4}},
               {false, 3, {0, 2, 3}},
               {false, 4, {0, -3, -2, -1}},
               {false, 4, {0, -1, -2, -3}},
               {false, 3, {0, -2, -1}},
               {true, 2, {0, 1}},
               {true, 1, {1}},
               {true, 1, {-1}},
               {true, 4, {0, 1, 2, 3}}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].moved == moved && known[i].n == n &&
        !memcmp(known[i].axes, axes, n * sizeof *axes))
      return true;
  return false;
}

struct mean {
  const char *from; /* what it is the mean of; NULL: it is none */
  int64_t axes[VNC_TENSOR_RANK];
  size_t n;
};

static struct mean mean_of(struct vnc_order *o, const char *name) {
  struct mean m = {0};
  bool unread = false;
  const Onnx__NodeProto *node = made_by(o, origin(o, name, &unread), "ReduceMean");
  if (!node || !node->n_input) return m;
  m.from = node->input[0];
  m.n = axes_of(o, node, m.axes);
  return m;
}

/* Of x, which may have been moved, over all axes but the channels'. */
static bool is_mean(struct vnc_order *o, const struct mean *m, const char *x) {
  bool moved = false, unread = false;
  return m->from && !strcmp(origin(o, m->from, &moved), origin(o, x, &unread)) &&
         spares_channels(m->axes, m->n, moved);
}

/* d, of d d or d^2. */
static const char *root_of_square(struct vnc_order *o, const char *name) {
  const Onnx__NodeProto *product = made_by(o, name, "Mul"), *power = made_by(o, name, "Pow");
  if (product && product->n_input == 2 && !strcmp(product->input[0], product->input[1]))
    return product->input[0];
  if (!power || power->n_input != 2) return NULL;
  const struct vnc_value *exponent = vnc_value_find(o->im, power->input[1]);
  const Onnx__NodeProto *constant = made_by(o, power->input[1], "Constant");
  const Onnx__AttributeProto *a = constant ? attribute(constant, "value") : NULL;
  const Onnx__TensorProto *proto = a ? a->t : NULL;
  if (exponent && exponent->kind == VNC_WEIGHT) proto = exponent->proto;
  struct vnc_tensor t = {0};
  struct vn_diag unread;
  if (!proto || proto->n_dims > 1 || (proto->n_dims && proto->dims[0] != 1) ||
      vnc_tensor_decode(proto, &o->im->source, "2", &t, &unread))
    return NULL;
  const bool two = t.elems == 1 && vnc_tensor_at(&t, 0) == 2;
  vnc_tensor_free(&t);
  return two ? power->input[0] : NULL;
}

bool vnc_onnx_own_statistics(struct vnc_order *o, const Onnx__NodeProto *node) {
  if (!node->op_type || strcmp(node->op_type, "BatchNormalization") != 0 || node->n_input != 5)
    return false;
  const Onnx__AttributeProto *training = attribute(node, "training_mode");
  if (training && training->has_i && training->i) return true;
  const char *x = node->input[0];
  const struct mean mean = mean_of(o, node->input[3]), variance = mean_of(o, node->input[4]);
  if (!is_mean(o, &mean, x) || !variance.from) return false;
  const char *departure = root_of_square(o, variance.from);
  const Onnx__NodeProto *sub = departure ? made_by(o, departure, "Sub") : NULL;
  if (!sub || sub->n_input != 2) return false;
  const struct mean centre = mean_of(o, sub->input[1]);
  return is_mean(o, &centre, x) && !strcmp(sub->input[0], centre.from) && variance.n == centre.n &&
         !memcmp(variance.axes, centre.axes, centre.n * sizeof *centre.axes);
}
