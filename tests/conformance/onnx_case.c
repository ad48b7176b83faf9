/* See onnx_case.h. Used by conformance.c alone. */
#include "onnx_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint8_t *read_file(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  uint8_t *bytes = NULL;
  size_t cap = 0;
  *size = 0;
  while (f && !feof(f) && !ferror(f)) {
    if (*size == cap) bytes = realloc(bytes, cap = 2 * cap + 65536);
    if (!bytes) abort();
    *size += fread(bytes + *size, 1, cap - *size, f);
  }
  if (f) fclose(f);
  return bytes;
}

static bool is_initializer(const Onnx__GraphProto *graph, const char *name) {
  for (size_t i = 0; i < graph->n_initializer; i++)
    if (!strcmp(graph->initializer[i]->name, name)) return true;
  return false;
}

bool case_open(struct onnx_case *c, const char *folder) {
  char path[1024];
  size_t size;
  *c = (struct onnx_case){.folder = folder};
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  uint8_t *bytes = read_file(path, &size);
  if (bytes) c->model = onnx__model_proto__unpack(NULL, size, bytes);
  free(bytes);
  if (!c->model || !c->model->graph) return false;
  const Onnx__GraphProto *graph = c->model->graph;
  for (size_t i = 0; i < graph->n_input && c->n_inputs < CASE_INPUTS; i++)
    if (!is_initializer(graph, graph->input[i]->name))
      c->inputs[c->n_inputs++] = graph->input[i]->name;
  return true;
}

void case_close(struct onnx_case *c) {
  if (c->model) onnx__model_proto__free_unpacked(c->model, NULL);
  c->model = NULL;
}

void case_path(const struct onnx_case *c, size_t set, const char *what, size_t index, char *path,
               size_t size) {
  snprintf(path, size, "%s/test_data_set_%zu/%s_%zu.pb", c->folder, set, what, index);
}

bool case_exists(const char *path) {
  return access(path, R_OK) == 0;
}

/* ---- tensors ---- */

enum { FLOAT = 1, UINT8, INT8, UINT16, INT16, INT32, INT64, BOOL = 9, FLOAT16, DOUBLE };

static size_t width(int32_t type) {
  static const size_t bytes[] = {0, 4, 1, 1, 2, 2, 4, 8, 0, 1, 2, 8};
  return type >= 0 && type <= DOUBLE ? bytes[type] : 0;
}

static double half(uint16_t h) {
  int exponent = h >> 10 & 31;
  double fraction = (h & 1023) / 1024.0, sign = h & 0x8000 ? -1 : 1;
  if (exponent == 31) return fraction > 0 ? __builtin_nan("") : sign * __builtin_inf();
  return sign * (exponent ? (1 + fraction) * __builtin_ldexp(1, exponent - 15)
                          : fraction * __builtin_ldexp(1, -14));
}

static void set_raw(struct case_tensor *t, int32_t type, const uint8_t *at, size_t k) {
  union {
    float f;
    double d;
    uint8_t u8;
    int8_t i8;
    uint16_t u16;
    int16_t i16;
    int32_t i32;
    int64_t i64;
  } v;
  memcpy(&v, at, width(type));
  if (type == FLOAT) t->f[k] = v.f;
  if (type == DOUBLE) t->f[k] = (float)v.d;
  if (type == FLOAT16) t->f[k] = (float)half(v.u16);
  if (type == UINT8 || type == BOOL) t->i[k] = v.u8;
  if (type == INT8) t->i[k] = v.i8;
  if (type == UINT16) t->i[k] = v.u16;
  if (type == INT16) t->i[k] = v.i16;
  if (type == INT32) t->i[k] = v.i32;
  if (type == INT64) t->i[k] = v.i64;
}

static bool set_typed(struct case_tensor *t, const Onnx__TensorProto *p) {
  if (p->data_type == FLOAT && p->n_float_data == t->elems) {
    memcpy(t->f, p->float_data, t->elems * sizeof *t->f);
  } else if (p->data_type == INT64 && p->n_int64_data == t->elems) {
    memcpy(t->i, p->int64_data, t->elems * sizeof *t->i);
  } else if (p->data_type == INT32 && p->n_int32_data == t->elems) {
    for (size_t k = 0; k < t->elems; k++) t->i[k] = p->int32_data[k];
  } else {
    return t->elems == 0;
  }
  return true;
}

static bool decode(const Onnx__TensorProto *p, struct case_tensor *t) {
  size_t bytes = width(p->data_type);
  if (!bytes || p->n_dims > CASE_RANK) return false;
  t->is_float = p->data_type == FLOAT || p->data_type >= FLOAT16;
  t->rank = p->n_dims;
  t->elems = 1;
  for (size_t i = 0; i < t->rank; i++) t->elems *= t->dim[i] = (size_t)p->dims[i];
  if (t->is_float)
    t->f = calloc(t->elems + 1, sizeof *t->f);
  else
    t->i = calloc(t->elems + 1, sizeof *t->i);
  if (!t->f && !t->i) abort();
  if (!p->has_raw_data) return set_typed(t, p);
  if (p->raw_data.len != t->elems * bytes) return false;
  for (size_t k = 0; k < t->elems; k++) set_raw(t, p->data_type, p->raw_data.data + k * bytes, k);
  return true;
}

bool case_tensor_read(const char *path, struct case_tensor *t) {
  size_t size;
  uint8_t *bytes = read_file(path, &size);
  Onnx__TensorProto *p = bytes ? onnx__tensor_proto__unpack(NULL, size, bytes) : NULL;
  memset(t, 0, sizeof *t);
  bool good = p && decode(p, t);
  if (p) onnx__tensor_proto__free_unpacked(p, NULL);
  free(bytes);
  return good;
}

void case_tensor_free(struct case_tensor *t) {
  free(t->f);
  free(t->i);
  memset(t, 0, sizeof *t);
}
