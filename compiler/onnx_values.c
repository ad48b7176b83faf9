/* Names to values, and an ONNX node's inputs and attributes (onnx_import.h). */
#include "onnx_import.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_VALUES = 128, VALUES_MOST = 100000 };

/* ---- names ---- */

struct vnc_value *vnc_value_find(struct vnc_import *im, const char *name) {
  const uint64_t hash = vnc_index_hash(&im->names, name, strlen(name));
  uint32_t id;
  for (size_t at = 0; (id = vnc_index_next(&im->names, hash, &at)) != VN_NONE;)
    if (!strcmp(im->values[id].name, name)) return &im->values[id];
  return NULL;
}

/* Room for one more value; pointers to values do not stay valid. */
static bool grow(struct vnc_import *im) {
  if (im->n_values < im->cap_values) return true;
  const size_t cap = im->cap_values ? 2 * im->cap_values : FIRST_VALUES;
  struct vnc_value *values = realloc(im->values, cap * sizeof *values);
  if (!values) return false;
  im->values = values;
  im->cap_values = cap;
  return true;
}

enum vn_status vnc_value_add(struct vnc_import *im, const char *name, struct vnc_value **value) {
  if (vnc_value_find(im, name))
    return vn_fail(im->diag, VN_E_FORMAT, "the name '%.200s' is given twice", name);
  if (im->n_values == VALUES_MOST)
    return vn_fail(im->diag, VN_E_UNSUPPORTED, "the model has more than %d names, no V-Net has",
                   VALUES_MOST);
  if (!grow(im) || !vnc_index_add(&im->names, vnc_index_hash(&im->names, name, strlen(name)),
                                  (uint32_t)im->n_values))
    return vn_fail(im->diag, VN_E_MEMORY, "out of memory for the model");
  struct vnc_value *v = *value = &im->values[im->n_values++];
  memset(v, 0, sizeof *v);
  v->name = name;
  return VN_OK;
}

enum vn_status vnc_import_touch(struct vnc_import *im, uint64_t elems) {
  if (elems <= im->touched_most - im->touched) {
    im->touched += elems;
    return VN_OK;
  }
  return vn_fail(im->diag, VN_E_UNSUPPORTED,
                 "the model's constants unfold to far more than the model holds");
}

enum vn_status vnc_value_tensor(struct vnc_import *im, const struct vnc_value *v,
                                struct vnc_tensor *t) {
  enum vn_status status;
  memset(t, 0, sizeof *t);
  if (v->kind == VNC_WEIGHT) {
    status = vnc_tensor_decode(v->proto, &im->source, v->name, t, im->diag);
    if (!status) status = vnc_import_touch(im, t->elems);
    if (status) vnc_tensor_free(t);
    return status;
  }
  status = vnc_import_touch(im, v->tensor.elems);
  if (!status && !vnc_tensor_copy(t, &v->tensor))
    status = vn_fail(im->diag, VN_E_MEMORY, "out of memory for '%.200s'", v->name);
  return status;
}

/* ---- a node's inputs and attributes ---- */

enum vn_status vnc_op_fail(const struct vnc_op *op, enum vn_status status, const char *format,
                           ...) {
  char text[300];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return vn_fail(op->im->diag, status, "node '%.100s' (%.40s): %s", op->name, op->proto->op_type,
                 text);
}

const Onnx__AttributeProto *vnc_op_attribute(const struct vnc_op *op, const char *name) {
  for (size_t i = 0; i < op->proto->n_attribute; i++)
    if (op->proto->attribute[i]->name && !strcmp(op->proto->attribute[i]->name, name))
      return op->proto->attribute[i];
  return NULL;
}

/* A number that a file does not hold is 0 where its type is said: proto3, in which ONNX is
 * published, too, does not write zeros. */
int64_t vnc_op_int(const struct vnc_op *op, const char *name, int64_t otherwise) {
  const Onnx__AttributeProto *a = vnc_op_attribute(op, name);
  const bool said = a && (a->has_i || a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
  return said ? a->i : otherwise;
}

float vnc_op_float(const struct vnc_op *op, const char *name, float otherwise) {
  const Onnx__AttributeProto *a = vnc_op_attribute(op, name);
  const bool said = a && (a->has_f || a->type == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
  return said ? a->f : otherwise;
}

const char *vnc_op_string(const struct vnc_op *op, const char *name, char text[32]) {
  const Onnx__AttributeProto *a = vnc_op_attribute(op, name);
  size_t n = a && a->has_s ? a->s.len : 0;
  if (n > 31) n = 31;
  if (n) memcpy(text, a->s.data, n);
  text[n] = '\0';
  return text;
}

enum vn_status vnc_op_const(const struct vnc_op *op, size_t i, struct vnc_tensor *t,
                            bool *present) {
  memset(t, 0, sizeof *t);
  *present = i < op->n_in && op->in[i];
  if (!*present) return VN_OK;
  if (op->in[i]->kind == VNC_RUNTIME)
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "input %zu ('%.60s') is no weight but computed", i,
                       op->in[i]->name);
  return vnc_value_tensor(op->im, op->in[i], t);
}

enum vn_status vnc_op_list(const struct vnc_op *op, const char *name, size_t i,
                           int64_t list[VNC_TENSOR_RANK], size_t *n, bool *present) {
  const Onnx__AttributeProto *a = vnc_op_attribute(op, name);
  struct vnc_tensor t;
  *n = 0;
  *present = a != NULL;
  if (a) {
    if (a->n_ints > VNC_TENSOR_RANK)
      return vnc_op_fail(op, VN_E_UNSUPPORTED, "'%s' is too long", name);
    *n = a->n_ints;
    if (*n) memcpy(list, a->ints, *n * sizeof *list);
    return VN_OK;
  }
  enum vn_status status = vnc_op_const(op, i, &t, present);
  if (status || !*present) return status;
  if (t.is_float || t.rank > 1 || t.elems > VNC_TENSOR_RANK)
    status = vnc_op_fail(op, VN_E_UNSUPPORTED, "'%s' is no short list of integers", name);
  else
    memcpy(list, t.i, (*n = t.elems) * sizeof *list);
  vnc_tensor_free(&t);
  return status;
}

enum vn_status vnc_op_axis(const struct vnc_op *op, int64_t axis, size_t rank, size_t *out) {
  if (axis < -(int64_t)rank || axis >= (int64_t)rank)
    return vnc_op_fail(op, VN_E_FORMAT, "axis %lld of a tensor of rank %zu", (long long)axis, rank);
  *out = (size_t)(axis < 0 ? axis + (int64_t)rank : axis);
  return VN_OK;
}

/* ---- a node's result ---- */

static enum vn_status yield(const struct vnc_op *op, struct vnc_value **v) {
  if (!op->proto->n_output || !*op->proto->output[0])
    return vnc_op_fail(op, VN_E_FORMAT, "it has no output");
  return vnc_value_add(op->im, op->proto->output[0], v);
}

enum vn_status vnc_op_yield(const struct vnc_op *op, uint32_t node, const struct vnc_view *view) {
  struct vnc_value *v = NULL;
  struct vnc_view kept = *view; /* adding may move what `view` is part of */
  enum vn_status status = yield(op, &v);
  if (status) return status;
  v->kind = VNC_RUNTIME;
  v->node = node;
  v->view = kept;
  return VN_OK;
}

enum vn_status vnc_op_yield_const(const struct vnc_op *op, struct vnc_tensor *t) {
  struct vnc_value *v = NULL;
  enum vn_status status = yield(op, &v);
  if (status) {
    vnc_tensor_free(t);
    return status;
  }
  v->kind = VNC_CONST;
  v->tensor = *t;
  memset(t, 0, sizeof *t);
  return VN_OK;
}

enum vn_status vnc_op_yield_same(const struct vnc_op *op, const struct vnc_value *x) {
  struct vnc_value like = *x, *v = NULL; /* adding moves x */
  enum vn_status status = VN_OK;
  if (like.kind == VNC_CONST) status = vnc_value_tensor(op->im, x, &like.tensor);
  if (status) return status;
  status = yield(op, &v);
  if (status) {
    vnc_tensor_free(&like.tensor);
    return status;
  }
  like.name = v->name;
  *v = like;
  return VN_OK;
}

enum vn_status vnc_op_infer(const struct vnc_op *op, uint32_t node) {
  if (op->im->g->failed) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  return vnc_shape_infer_node(op->im->g, node, op->im->diag);
}
