/* See onnx_models.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "onnx_models.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], path[96];

int models_folder_make(void **state) {
  (void)state;
  strcpy(folder, "/tmp/vnet-import-XXXXXX");
  if (!mkdtemp(folder)) return -1;
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  return 0;
}

int models_folder_remove(void **state) {
  (void)state;
  unlink(path);
  return rmdir(folder);
}

const char *models_folder(void) {
  return folder;
}

const char *model_path(void) {
  return path;
}

void model_begin(struct made_model *m) {
  memset(m, 0, sizeof *m);
  vnc_build_init(&m->b, "test");
  m->opset = 13;
}

void model_input(struct made_model *m, const char *name, size_t rank, const uint64_t *dim) {
  vnc_build_port(&m->b, false, vnc_build_text(&m->b, name), VNC_ONNX_FLOAT, rank, dim);
  const Onnx__TensorShapeProto *shape =
      m->b.graph.input[m->b.graph.n_input - 1]->type->tensor_type->shape;
  for (size_t i = 0; i < rank; i++) {
    if (dim[i]) continue;
    shape->dim[i]->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    shape->dim[i]->dim_param = vnc_build_text(&m->b, "size");
  }
}

void model_output(struct made_model *m, const char *name) {
  vnc_build_port(&m->b, true, vnc_build_text(&m->b, name), VNC_ONNX_FLOAT, 0, NULL);
}

Onnx__TensorProto *model_tensor(struct made_model *m, const char *name, int32_t type, size_t rank,
                                const uint64_t *dim, const void *data, size_t bytes) {
  vnc_build_tensor(&m->b, name, type, rank, dim, data, bytes);
  return m->b.graph.initializer[m->b.graph.n_initializer - 1];
}

void model_ints(struct made_model *m, const char *name, size_t n, const int64_t *values) {
  vnc_build_shape(&m->b, name, values, n);
}

Onnx__NodeProto *model_node(struct made_model *m, const char *type, const char *name,
                            const char *inputs, const char *output) {
  char *values[16], *text = vnc_build_text(&m->b, inputs), *rest = NULL;
  size_t n = 0;
  for (char *one = strtok_r(text, " ", &rest); one && n < 16; one = strtok_r(NULL, " ", &rest))
    values[n++] = one;
  Onnx__NodeProto *node = vnc_build_node(&m->b, type, *name ? name : "unnamed", values, n,
                                         vnc_build_text(&m->b, output));
  assert_non_null(node);
  if (!*name) node->name = NULL;
  return node;
}

void file_write(const char *where, const void *bytes, size_t size) {
  FILE *file = fopen(where, "wb");
  assert_non_null(file);
  assert_int_equal(fwrite(bytes, 1, size, file), size);
  assert_int_equal(fclose(file), 0);
}

/* The model's own pair, and as many more as it asks for; they live as long as its nodes. */
static Onnx__StringStringEntryProto **metas_make(struct made_model *m, size_t *n) {
  *n = (m->meta_key != NULL) + m->more_metas;
  Onnx__StringStringEntryProto *all = vnc_build_keep(&m->b, *n + 1, sizeof *all);
  Onnx__StringStringEntryProto **list = vnc_build_keep(&m->b, *n + 1, sizeof *list);
  for (size_t i = 0; i < *n; i++) {
    char key[32], value[32];
    snprintf(key, sizeof key, "k%zu", i);
    snprintf(value, sizeof value, "v%zu", i);
    onnx__string_string_entry_proto__init(list[i] = &all[i]);
    const bool own = m->meta_key && i == 0;
    all[i].key = vnc_build_text(&m->b, own ? m->meta_key : key);
    all[i].value = vnc_build_text(&m->b, own ? m->meta_value : value);
  }
  return list;
}

enum vn_status model_import(struct made_model *m) {
  Onnx__ModelProto model = ONNX__MODEL_PROTO__INIT;
  Onnx__OperatorSetIdProto set = ONNX__OPERATOR_SET_ID_PROTO__INIT, *sets[] = {&set};
  void *bytes;
  size_t size;
  set.has_version = 1;
  set.version = m->opset;
  model.n_opset_import = 1;
  model.opset_import = sets;
  model.metadata_props = metas_make(m, &model.n_metadata_props);
  assert_int_equal(vnc_build_pack(&m->b, &model, &bytes, &size, &m->diag), VN_OK);
  file_write(path, bytes, size);
  free(bytes);
  vnc_build_free(&m->b);
  return vnc_onnx_import(path, &m->options, &m->g, &m->diag);
}

void model_imported(struct made_model *m) {
  if (model_import(m)) fail_msg("%s", m->diag.text);
}

static void check_refusal(const struct vn_diag *diag, enum vn_status got, enum vn_status status,
                          const char *sentence) {
  if (got != status || strcmp(diag->text, sentence) != 0)
    fail_msg("status %d: '%s'; expected %d: '%s'", got, diag->text, status, sentence);
}

void model_refused(struct made_model *m, enum vn_status status, const char *sentence) {
  check_refusal(&m->diag, model_import(m), status, sentence);
  vnc_graph_free(&m->g);
}

void model_reads(struct made_model *m, const char *text) {
  char *got;
  size_t size;
  model_imported(m);
  FILE *out = open_memstream(&got, &size);
  assert_non_null(out);
  assert_int_equal(vnc_graph_print(&m->g, out), VN_OK);
  fclose(out);
  assert_string_equal(got, text);
  free(got);
  vnc_graph_free(&m->g);
}

void bytes_refused(const void *bytes, size_t size, enum vn_status status, const char *sentence) {
  struct vnc_graph g;
  struct vn_diag diag = {""};
  file_write(path, bytes, size);
  enum vn_status got = vnc_onnx_import(path, &(struct vnc_import_options){0}, &g, &diag);
  check_refusal(&diag, got, status, sentence);
  vnc_graph_free(&g);
}
