/* See onnx_build.h. Used by onnx_export.c alone; knows ONNX's messages, not our graph. */
#include "onnx_build.h"

#include "types.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is little-endian");

struct block {
  struct block *next;
  max_align_t data[];
};

void vnc_build_init(struct vnc_build *b, const char *graph_name) {
  *b = (struct vnc_build){0};
  onnx__graph_proto__init(&b->graph);
  b->graph.name = vnc_build_text(b, graph_name);
}

void vnc_build_free(struct vnc_build *b) {
  for (struct block *block = b->blocks, *next; block; block = next) {
    next = block->next;
    free(block);
  }
  free(b->names.list);
  free(b->node_names.list);
  vnc_index_free(&b->names.ids);
  vnc_index_free(&b->node_names.ids);
  free(b->graph.node);
  free(b->graph.initializer);
  free(b->graph.input);
  free(b->graph.output);
  *b = (struct vnc_build){0};
}

void *vnc_build_keep(struct vnc_build *b, size_t count, size_t size) {
  size_t bytes;
  struct block *block = NULL;
  if (!__builtin_mul_overflow(count, size, &bytes) &&
      !__builtin_add_overflow(bytes, sizeof *block, &bytes)) {
    block = calloc(1, bytes);
  }
  if (!block) {
    b->failed = true;
    return NULL;
  }
  block->next = b->blocks;
  b->blocks = block;
  return block->data;
}

char *vnc_build_text(struct vnc_build *b, const char *text) {
  char *copy = vnc_build_keep(b, strlen(text) + 1, 1);
  if (copy) strcpy(copy, text);
  return copy;
}

/* Appends a pointer to an array of pointers of any type, which grows whenever *n is a power of
 * two. */
static bool pointer_append(struct vnc_build *b, void *array, size_t *n, const void *item) {
  char *grown;
  memcpy(&grown, array, sizeof grown);
  if ((*n & (*n - 1)) == 0) {
    grown = realloc(grown, (*n ? *n * 2 : 1) * sizeof item);
    if (!grown) {
      b->failed = true;
      return false;
    }
    memcpy(array, &grown, sizeof grown);
  }
  memcpy(grown + *n * sizeof item, &item, sizeof item);
  ++*n;
  return true;
}

/* The place of `name` in the list, or VN_NONE. */
static uint32_t name_find(const struct vnc_names *n, uint64_t hash, const char *name) {
  uint32_t id;
  for (size_t at = 0; (id = vnc_index_next(&n->ids, hash, &at)) != VN_NONE;)
    if (!strcmp(n->list[id].text, name)) return id;
  return VN_NONE;
}

static bool name_add(struct vnc_names *n, uint64_t hash, char *name) {
  if ((n->count & (n->count - 1)) == 0) {
    struct vnc_name *list = realloc(n->list, (n->count ? n->count * 2 : 1) * sizeof *list);
    if (!list) return false;
    n->list = list;
  }
  n->list[n->count] = (struct vnc_name){name, 0};
  return vnc_index_add(&n->ids, hash, (uint32_t)n->count++);
}

/* `wanted`, or with a number behind it; appended to `names`. */
static char *name_append(struct vnc_build *b, struct vnc_names *n, const char *wanted) {
  size_t size = wanted ? strlen(wanted) + 24 : 0;
  char *name = vnc_build_keep(b, size, 1);
  if (!name || !wanted) return NULL;
  strcpy(name, wanted);
  uint64_t hash = vnc_index_hash(&n->ids, name, strlen(name));
  const uint32_t first = name_find(n, hash, name);
  unsigned none = 0, *number = first == VN_NONE ? &none : &n->list[first].number;
  while (!*name || name_find(n, hash, name) != VN_NONE) {
    snprintf(name, size, "%s_%u", wanted, ++*number);
    hash = vnc_index_hash(&n->ids, name, strlen(name));
  }
  if (name_add(n, hash, name)) return name;
  b->failed = true;
  return NULL;
}

char *vnc_build_name(struct vnc_build *b, const char *wanted) {
  return name_append(b, &b->names, wanted);
}

Onnx__NodeProto *vnc_build_node(struct vnc_build *b, const char *op_type, const char *name,
                                char *const *inputs, size_t n_inputs, char *output) {
  Onnx__NodeProto *node = vnc_build_keep(b, 1, sizeof *node);
  char **values = vnc_build_keep(b, n_inputs + 1, sizeof *values);
  if (!node || !values) return NULL;
  onnx__node_proto__init(node);
  for (size_t i = 0; i < n_inputs; i++) values[i] = inputs[i];
  values[n_inputs] = output;
  node->op_type = vnc_build_text(b, op_type);
  node->name = name_append(b, &b->node_names, name);
  node->input = values;
  node->n_input = n_inputs;
  node->output = values + n_inputs;
  node->n_output = 1;
  return pointer_append(b, &b->graph.node, &b->graph.n_node, node) ? node : NULL;
}

static Onnx__AttributeProto *attribute(struct vnc_build *b, Onnx__NodeProto *node,
                                       const char *key) {
  enum { ATTRIBUTES_MOST = 8 };
  Onnx__AttributeProto *a = node ? vnc_build_keep(b, 1, sizeof *a) : NULL;
  if (!a) return NULL;
  if (!node->attribute)
    node->attribute = vnc_build_keep(b, ATTRIBUTES_MOST, sizeof *node->attribute);
  if (!node->attribute) return NULL;
  onnx__attribute_proto__init(a);
  a->name = vnc_build_text(b, key);
  a->has_type = 1;
  node->attribute[node->n_attribute++] = a;
  return a;
}

void vnc_build_int(struct vnc_build *b, Onnx__NodeProto *node, const char *key, int64_t value) {
  Onnx__AttributeProto *a = attribute(b, node, key);
  if (!a) return;
  a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
  a->has_i = 1;
  a->i = value;
}

void vnc_build_float(struct vnc_build *b, Onnx__NodeProto *node, const char *key, float value) {
  Onnx__AttributeProto *a = attribute(b, node, key);
  if (!a) return;
  a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
  a->has_f = 1;
  a->f = value;
}

void vnc_build_ints(struct vnc_build *b, Onnx__NodeProto *node, const char *key,
                    const int64_t *values, size_t n) {
  Onnx__AttributeProto *a = attribute(b, node, key);
  int64_t *copy = vnc_build_keep(b, n, sizeof *copy);
  if (!a || !copy) return;
  memcpy(copy, values, n * sizeof *copy);
  a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
  a->ints = copy;
  a->n_ints = n;
}

char *vnc_build_tensor(struct vnc_build *b, const char *wanted, int32_t type, size_t rank,
                       const uint64_t *dim, const void *data, size_t bytes) {
  Onnx__TensorProto *t = vnc_build_keep(b, 1, sizeof *t);
  int64_t *dims = vnc_build_keep(b, rank + 1, sizeof *dims);
  if (!t || !dims) return NULL;
  onnx__tensor_proto__init(t);
  for (size_t i = 0; i < rank; i++) dims[i] = (int64_t)dim[i];
  t->dims = dims;
  t->n_dims = rank;
  t->has_data_type = 1;
  t->data_type = type;
  t->has_raw_data = 1;
  t->raw_data.data = (uint8_t *)(uintptr_t)data; /* never written through */
  t->raw_data.len = bytes;
  t->name = vnc_build_name(b, wanted);
  pointer_append(b, &b->graph.initializer, &b->graph.n_initializer, t);
  return t->name;
}

char *vnc_build_shape(struct vnc_build *b, const char *wanted, const int64_t *values, size_t n) {
  int64_t *copy = vnc_build_keep(b, n + 1, sizeof *copy);
  if (!copy) return NULL;
  memcpy(copy, values, n * sizeof *copy);
  return vnc_build_tensor(b, wanted, VNC_ONNX_INT64, 1, (uint64_t[]){n}, copy, n * sizeof *copy);
}

void vnc_build_port(struct vnc_build *b, bool output, char *name, int32_t type, size_t rank,
                    const uint64_t *dim) {
  struct {
    Onnx__ValueInfoProto value;
    Onnx__TypeProto type;
    Onnx__TypeProto__Tensor tensor;
    Onnx__TensorShapeProto shape;
    Onnx__TensorShapeProto__Dimension dim[8], *dims[8];
  } *p = vnc_build_keep(b, 1, sizeof *p);
  if (!p) return;
  onnx__value_info_proto__init(&p->value);
  onnx__type_proto__init(&p->type);
  onnx__type_proto__tensor__init(&p->tensor);
  onnx__tensor_shape_proto__init(&p->shape);
  for (size_t i = 0; i < rank && i < 8; i++) {
    onnx__tensor_shape_proto__dimension__init(&p->dim[i]);
    p->dim[i].value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
    p->dim[i].dim_value = (int64_t)dim[i];
    p->dims[i] = &p->dim[i];
  }
  p->shape.dim = p->dims;
  p->shape.n_dim = rank;
  p->tensor.has_elem_type = 1;
  p->tensor.elem_type = type;
  p->tensor.shape = &p->shape;
  p->type.value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
  p->type.tensor_type = &p->tensor;
  p->value.name = name;
  p->value.type = &p->type;
  if (output) {
    pointer_append(b, &b->graph.output, &b->graph.n_output, &p->value);
  } else {
    pointer_append(b, &b->graph.input, &b->graph.n_input, &p->value);
  }
}

enum vn_status vnc_build_pack(struct vnc_build *b, Onnx__ModelProto *model, void **bytes,
                              size_t *size, struct vn_diag *diag) {
  *bytes = NULL;
  *size = 0;
  if (b->failed) return vn_fail(diag, VN_E_MEMORY, "no memory for the model");
  model->graph = &b->graph;
  size_t packed = onnx__model_proto__get_packed_size(model);
  if (packed > INT32_MAX) {
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "%zu bytes of model: one file holds 2 GiB at most (float16 weights take half)",
                   packed);
  }
  if (!(*bytes = malloc(packed))) return vn_fail(diag, VN_E_MEMORY, "no memory for the model");
  *size = onnx__model_proto__pack(model, *bytes);
  return VN_OK;
}
