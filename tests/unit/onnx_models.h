/* Small ONNX models made in a test, line by line, and their way through the importer. */
#ifndef ONNX_MODELS_H
#define ONNX_MODELS_H

#include "compile.h"
#include "onnx_build.h"

struct made_model {
  struct vnc_build b;
  int64_t opset;
  const char *meta_key, *meta_value; /* NULL: none */
  size_t more_metas;                 /* k0, v0, k1, v1 … */
  struct vnc_import_options options;
  struct vnc_graph g; /* after model_import */
  struct vn_diag diag;
};

/* cmocka's group setup and teardown: a folder that must be empty in the end. */
int models_folder_make(void **state);
int models_folder_remove(void **state);
const char *models_folder(void);
const char *model_path(void);

void model_begin(struct made_model *m);
/* A float input; a dimension of 0 is dynamic. */
void model_input(struct made_model *m, const char *name, size_t rank, const uint64_t *dim);
void model_output(struct made_model *m, const char *name);
/* An initializer of ONNX's element type `type`; borrows data. */
Onnx__TensorProto *model_tensor(struct made_model *m, const char *name, int32_t type, size_t rank,
                                const uint64_t *dim, const void *data, size_t bytes);
void model_ints(struct made_model *m, const char *name, size_t n, const int64_t *values);
/* `inputs` are separated by spaces. Unnamed when `name` is "". */
Onnx__NodeProto *model_node(struct made_model *m, const char *type, const char *name,
                            const char *inputs, const char *output);
void file_write(const char *path, const void *bytes, size_t size);

/* Writes and imports; frees the model. */
enum vn_status model_import(struct made_model *m);
/* Both import, and free the model, model_refused the graph, too. */
void model_imported(struct made_model *m);
void model_refused(struct made_model *m, enum vn_status status, const char *sentence);
/* The graph that was imported, as text, is `text`. Frees the graph. */
void model_reads(struct made_model *m, const char *text);
/* Bytes that are no model. */
void bytes_refused(const void *bytes, size_t size, enum vn_status status, const char *sentence);

#endif
