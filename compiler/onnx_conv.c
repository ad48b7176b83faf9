/* Conv and ConvTranspose of one to three spatial axes, lifted to three. */
#include "onnx_import.h"

#include <stdlib.h>
#include <string.h>

struct geometry { /* of the spatial axes that ONNX names, s of them */
  size_t s;
  uint64_t in[3];
  int64_t kernel[3], stride[3], dilation[3], pad[3], pad_end[3], out_pad[3], out[3];
  int64_t groups;
  bool has_out;
};

/* Attribute `name` with n values into list; `n` values of `usual` without it. */
static enum vn_status values(const struct vnc_op *op, const char *name, size_t n, int64_t usual,
                             int64_t most, int64_t *list) {
  const Onnx__AttributeProto *a = vnc_op_attribute(op, name);
  for (size_t i = 0; i < n; i++) list[i] = usual;
  if (!a) return VN_OK;
  if (a->n_ints != n)
    return vnc_op_fail(op, VN_E_FORMAT, "'%s' has %zu values, %zu expected", name, a->n_ints, n);
  for (size_t i = 0; i < n; i++) {
    list[i] = a->ints[i];
    if (list[i] < (usual == 1 ? 1 : 0) || list[i] > most)
      return vnc_op_fail(op, VN_E_UNSUPPORTED, "'%s' is %lld", name, (long long)list[i]);
  }
  return VN_OK;
}

/* Pads by auto_pad or by output_shape: `total` of them on axis i, the odd one after or before. */
static void share(struct geometry *q, size_t i, int64_t total, bool more_before) {
  if (total < 0) total = 0;
  q->pad[i] = more_before ? total - total / 2 : total / 2;
  q->pad_end[i] = total - q->pad[i];
}

static enum vn_status auto_pads(const struct vnc_op *op, struct geometry *q, bool transposed) {
  char text[32];
  vnc_op_string(op, "auto_pad", text);
  bool upper = !strcmp(text, "SAME_UPPER"), lower = !strcmp(text, "SAME_LOWER");
  if (*text && !upper && !lower && strcmp(text, "NOTSET") && strcmp(text, "VALID"))
    return vnc_op_fail(op, VN_E_FORMAT, "auto_pad '%s'", text);
  if (!strcmp(text, "VALID")) {
    memset(q->pad, 0, sizeof q->pad);
    memset(q->pad_end, 0, sizeof q->pad_end);
  }
  for (size_t i = 0; i < q->s; i++) {
    int64_t in = (int64_t)q->in[i], reach = (q->kernel[i] - 1) * q->dilation[i] + 1;
    if (transposed && (q->has_out || upper || lower)) {
      int64_t out = q->has_out ? q->out[i] : in * q->stride[i];
      int64_t total = q->stride[i] * (in - 1) + q->out_pad[i] + reach - out;
      if (total < 0) q->out_pad[i] -= total; /* a larger output than the kernels reach */
      share(q, i, total, lower || (q->has_out && !upper));
    } else if (upper || lower) {
      int64_t out = (in + q->stride[i] - 1) / q->stride[i];
      share(q, i, (out - 1) * q->stride[i] + reach - in, lower);
    }
  }
  return VN_OK;
}

static enum vn_status geometry(const struct vnc_op *op, const struct vnc_tensor *w, bool transposed,
                               struct geometry *q) {
  enum { MOST = UINT16_MAX };
  int64_t pads[6];
  const Onnx__AttributeProto *out = vnc_op_attribute(op, "output_shape");
  enum vn_status status = values(op, "strides", q->s, 1, MOST, q->stride);
  if (!status) status = values(op, "dilations", q->s, 1, MOST, q->dilation);
  if (!status) status = values(op, "pads", 2 * q->s, 0, MOST, pads);
  if (!status) status = values(op, "output_padding", q->s, 0, MOST, q->out_pad);
  if (!status && out && transposed) {
    q->has_out = true;
    status = values(op, "output_shape", q->s, 1, 1 << 20, q->out);
  }
  if (status) return status;
  for (size_t i = 0; i < q->s; i++) {
    const Onnx__AttributeProto *k = vnc_op_attribute(op, "kernel_shape");
    q->kernel[i] = (int64_t)w->dim[2 + i];
    q->pad[i] = pads[i];
    q->pad_end[i] = pads[q->s + i];
    if ((k && (k->n_ints != q->s || k->ints[i] != q->kernel[i])) || q->kernel[i] < 1 ||
        q->kernel[i] > MOST)
      return vnc_op_fail(op, VN_E_FORMAT, "its kernel_shape and its weights disagree");
  }
  q->groups = vnc_op_int(op, "group", 1);
  if (q->groups < 1 || q->groups > (int64_t)UINT16_MAX * 16)
    return vnc_op_fail(op, VN_E_FORMAT, "%lld groups", (long long)q->groups);
  return auto_pads(op, q, transposed);
}

/* ONNX's weights to [out][taps][in / groups]. Conv: [out][in/g][taps]; ConvTranspose:
 * [in][out/g][taps]. */
static void reorder(const struct vnc_tensor *w, float *to, uint64_t out, uint64_t in_g,
                    uint64_t groups, bool transposed) {
  uint64_t taps = w->elems / (w->dim[0] * w->dim[1]), out_g = out / groups;
  for (uint64_t o = 0; o < out; o++)
    for (uint64_t c = 0; c < in_g; c++) {
      uint64_t row = transposed ? (o / out_g * in_g + c) * out_g + o % out_g : o * in_g + c;
      for (uint64_t t = 0; t < taps; t++) to[(o * taps + t) * in_g + c] = w->f[row * taps + t];
    }
}

static enum vn_status weights(const struct vnc_op *op, struct vnc_tensor *w,
                              const struct geometry *q, bool transposed, uint64_t channels,
                              uint32_t *id) {
  uint64_t groups = (uint64_t)q->groups, dim[5] = {0, 1, 1, 1, 0};
  bool fits = transposed ? w->dim[0] == channels && channels % groups == 0
                         : w->dim[1] * groups == channels && w->dim[0] % groups == 0;
  if (!fits || !w->elems)
    return vnc_op_fail(op, VN_E_FORMAT, "its weights do not fit an input of %llu channels",
                       (unsigned long long)channels);
  dim[0] = transposed ? w->dim[1] * groups : w->dim[0];
  dim[4] = transposed ? w->dim[0] / groups : w->dim[1];
  for (size_t i = 0; i < q->s; i++) dim[4 - q->s + i] = w->dim[2 + i];
  float *data = malloc(w->elems * sizeof *data);
  if (!data) return vnc_op_fail(op, VN_E_MEMORY, "out of memory for its weights");
  reorder(w, data, dim[0], dim[4], groups, transposed);
  *id = vnc_graph_const(op->im->g, op->in[1]->name, 5, dim, data);
  return op->im->g->failed ? vnc_op_fail(op, VN_E_MEMORY, "out of memory") : VN_OK;
}

static enum vn_status bias(const struct vnc_op *op, uint64_t channels, uint32_t *id) {
  struct vnc_tensor t;
  bool present;
  enum vn_status status = vnc_op_const(op, 2, &t, &present);
  *id = VN_NONE;
  if (status || !present) return status;
  if (!t.is_float || t.elems != channels) {
    status = vnc_op_fail(op, VN_E_FORMAT, "its bias does not have one value for each channel");
    vnc_tensor_free(&t);
    return status;
  }
  *id = vnc_graph_const(op->im->g, op->in[2]->name, 1, &channels, t.f);
  return VN_OK;
}

static enum vn_status append(const struct vnc_op *op, struct vnc_tensor *w, bool transposed) {
  struct vnc_graph *g = op->im->g;
  struct vnc_value *x = op->in[0];
  struct geometry q = {.s = x->view.rank - 2};
  uint32_t in = 0, w_id = 0, b_id = VN_NONE;
  for (size_t i = 0; i < q.s; i++) q.in[i] = vnc_view_dim(g, x, 2 + i);
  enum vn_status status = geometry(op, w, transposed, &q);
  if (!status) status = vnc_view_canonical(op, x, &in);
  if (!status) status = weights(op, w, &q, transposed, g->nodes[in].dim[VN_C], &w_id);
  if (!status) status = bias(op, g->consts[w_id].dim[0], &b_id);
  if (status) return status;
  uint32_t id = vnc_graph_node(g, transposed ? VN_OP_DECONV3D : VN_OP_CONV3D, op->name, &in, 1);
  if (g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  struct vnc_node *node = &g->nodes[id];
  node->weight = w_id;
  node->bias = b_id;
  node->groups = (uint32_t)q.groups;
  for (size_t i = 0; i < q.s; i++) {
    size_t a = 3 - q.s + i;
    node->kernel[a] = (uint32_t)q.kernel[i];
    node->stride[a] = (uint32_t)q.stride[i];
    node->dilation[a] = (uint32_t)q.dilation[i];
    node->pad[a] = (uint32_t)q.pad[i];
    node->pad_end[a] = (uint32_t)q.pad_end[i];
    node->out_pad[a] = transposed ? (uint32_t)q.out_pad[i] : 0;
  }
  status = vnc_op_infer(op, id);
  if (status) return status;
  struct vnc_view view;
  vnc_view_of_rank(&view, x->view.rank);
  return vnc_op_yield(op, id, &view);
}

static enum vn_status import(const struct vnc_op *op, bool transposed) {
  struct vnc_tensor w;
  bool present;
  if (!op->n_in || !op->in[0] || op->in[0]->kind != VNC_RUNTIME)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "its input is a constant");
  if (op->n_in > 1 && op->in[1] && op->in[1]->kind == VNC_RUNTIME)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "its weight '%.60s' is not part of the model",
                       op->in[1]->name);
  enum vn_status status = vnc_op_const(op, 1, &w, &present);
  if (status) return status;
  size_t rank = op->in[0]->view.rank;
  if (!present || !w.is_float || rank < 3 || rank > 5 || w.rank != rank)
    status = vnc_op_fail(op, VN_E_UNSUPPORTED, "weights of rank %zu for an input of rank %zu",
                         present ? w.rank : 0, rank);
  else
    status = append(op, &w, transposed);
  vnc_tensor_free(&w);
  return status;
}

enum vn_status vnc_import_conv(const struct vnc_op *op) {
  return import(op, false);
}

enum vn_status vnc_import_deconv(const struct vnc_op *op) {
  return import(op, true);
}
