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
    if (!is_initializer(graph, graph->input[i]->name)) c->inputs[c->n_inputs++] = graph->input[i];
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

/* ---- a model of known values ---- */

/* A float tensor of `rank` dimensions as the type of a graph's input or output. */
struct port {
  Onnx__ValueInfoProto info;
  Onnx__TypeProto type;
  Onnx__TypeProto__Tensor tensor;
  Onnx__TensorShapeProto shape;
  Onnx__TensorShapeProto__Dimension dim[CASE_RANK], *dims[CASE_RANK];
};

static void port_init(struct port *p, char *name, size_t rank, const size_t *dim) {
  onnx__value_info_proto__init(&p->info);
  onnx__type_proto__init(&p->type);
  onnx__type_proto__tensor__init(&p->tensor);
  onnx__tensor_shape_proto__init(&p->shape);
  for (size_t i = 0; i < rank; i++) {
    onnx__tensor_shape_proto__dimension__init(&p->dim[i]);
    p->dim[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    p->dim[i].dim_value = (int64_t)dim[i];
    p->dims[i] = &p->dim[i];
  }
  p->shape.n_dim = rank;
  p->shape.dim = p->dims;
  p->tensor.has_elem_type = 1;
  p->tensor.elem_type = 1;
  p->tensor.shape = &p->shape;
  p->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  p->type.tensor_type = &p->tensor;
  p->info.name = name;
  p->info.type = &p->type;
}

static bool write_model(const Onnx__ModelProto *model, const char *path) {
  size_t size = onnx__model_proto__get_packed_size(model);
  uint8_t *bytes = malloc(size);
  FILE *f = fopen(path, "wb");
  if (!bytes || !f) abort();
  onnx__model_proto__pack(model, bytes);
  bool good = fwrite(bytes, 1, size, f) == size;
  free(bytes);
  return fclose(f) == 0 && good;
}

bool case_write_known(const struct onnx_case *c, const struct case_tensor *want, const char *path) {
  Onnx__GraphProto *graph = c->model->graph, original = *graph;
  Onnx__NodeProto cast, add, *nodes[256];
  Onnx__AttributeProto to, *attributes[] = {&to};
  Onnx__ValueInfoProto *inputs[CASE_INPUTS + 1], *outputs[1];
  struct port zeros, sum;
  char *cast_in[] = {original.output[0]->name}, *add_in[] = {"vnet_zeros", "vnet_cast"};
  char *cast_out[] = {"vnet_cast"}, *add_out[] = {"vnet_sum"};
  if (original.n_node + 2 > 256 || original.n_input > CASE_INPUTS) return false;
  onnx__node_proto__init(&cast);
  onnx__node_proto__init(&add);
  onnx__attribute_proto__init(&to);
  to = (Onnx__AttributeProto){to.base, .name = "to", .has_i = 1, .i = 1};
  cast = (Onnx__NodeProto){.base = cast.base,
                           .n_input = 1,
                           .input = cast_in,
                           .n_output = 1,
                           .output = cast_out,
                           .op_type = "Cast",
                           .n_attribute = 1,
                           .attribute = attributes};
  add = (Onnx__NodeProto){.base = add.base,
                          .n_input = 2,
                          .input = add_in,
                          .n_output = 1,
                          .output = add_out,
                          .op_type = "Add"};
  port_init(&zeros, add_in[0], want->rank, want->dim);
  port_init(&sum, add_out[0], want->rank, want->dim);
  inputs[0] = &zeros.info;
  outputs[0] = &sum.info;
  for (size_t i = 0; i < original.n_input; i++) inputs[1 + i] = original.input[i];
  for (size_t i = 0; i < original.n_node; i++) nodes[i] = original.node[i];
  nodes[original.n_node] = &cast;
  nodes[original.n_node + 1] = &add;
  graph->n_input++;
  graph->input = inputs;
  graph->n_output = 1;
  graph->output = outputs;
  graph->n_node += 2;
  graph->node = nodes;
  bool good = write_model(c->model, path);
  *graph = original;
  return good;
}

/* ---- tensors ---- */

enum {
  FLOAT = 1,
  UINT8,
  INT8,
  UINT16,
  INT16,
  INT32,
  INT64,
  BOOL = 9,
  FLOAT16,
  DOUBLE,
  BFLOAT16 = 16
};

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
  t->type = p->data_type;
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

int32_t case_type(const Onnx__ValueInfoProto *info) {
  bool tensor = info->type && info->type->value_case == ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  return tensor ? info->type->tensor_type->elem_type : 0;
}

void case_tensor_free(struct case_tensor *t) {
  free(t->f);
  free(t->i);
  t->f = NULL;
  t->i = NULL;
}

bool case_tensor_read(const char *path, struct case_tensor *t) {
  size_t size;
  uint8_t *bytes = read_file(path, &size);
  Onnx__TensorProto *p = bytes ? onnx__tensor_proto__unpack(NULL, size, bytes) : NULL;
  memset(t, 0, sizeof *t);
  bool good = p && decode(p, t);
  if (!good) case_tensor_free(t);
  if (p) onnx__tensor_proto__free_unpacked(p, NULL);
  free(bytes);
  return good;
}
