/* The pieces that onnx_export.c puts together: nodes, attributes, tensors of an ONNX graph in
 * protobuf-c's structures, all freed at once. A failed allocation is sticky and asked once, by
 * vnc_build_pack. */
#ifndef VNC_ONNX_BUILD_H
#define VNC_ONNX_BUILD_H

#include "fail.h"
#include "index.h"
#include "onnx.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VNC_ONNX_FLOAT = 1, VNC_ONNX_INT64 = 7, VNC_ONNX_FLOAT16 = 10 };

struct vnc_build {
  Onnx__GraphProto graph;
  void *blocks; /* everything allocated, a list */
  struct vnc_names {
    struct vnc_name {
      char *text;
      unsigned number; /* the last one that was put behind it */
    } * list;
    size_t count;
    struct vnc_index ids;
  } names, node_names; /* of values and tensors; of nodes: each once, as engines insist */
  bool failed;
};

void vnc_build_init(struct vnc_build *b, const char *graph_name);
void vnc_build_free(struct vnc_build *b);

/* Zeroed memory that lives as long as b; NULL when there is none. */
void *vnc_build_keep(struct vnc_build *b, size_t count, size_t size);
char *vnc_build_text(struct vnc_build *b, const char *text);

/* `wanted` if no value has that name yet, else the name with a number behind it; taken from now on.
 * NULL for NULL, after a failure. */
char *vnc_build_name(struct vnc_build *b, const char *wanted);

/* Appends a node that reads `inputs` and yields `output`: value names that live as long as b, NULL
 * after a failure. `name` gets a number behind it if a node has it already. */
Onnx__NodeProto *vnc_build_node(struct vnc_build *b, const char *op_type, const char *name,
                                char *const *inputs, size_t n_inputs, char *output);
/* `node` may be NULL, after a failure. */
void vnc_build_int(struct vnc_build *b, Onnx__NodeProto *node, const char *key, int64_t value);
void vnc_build_float(struct vnc_build *b, Onnx__NodeProto *node, const char *key, float value);
void vnc_build_ints(struct vnc_build *b, Onnx__NodeProto *node, const char *key,
                    const int64_t *values, size_t n);

/* Appends an initializer; borrows `data`. Returns its name, made unique. */
char *vnc_build_tensor(struct vnc_build *b, const char *wanted, int32_t type, size_t rank,
                       const uint64_t *dim, const void *data, size_t bytes);
/* A rank-1 int64 initializer, data copied. */
char *vnc_build_shape(struct vnc_build *b, const char *wanted, const int64_t *values, size_t n);

/* Appends to the graph's inputs or outputs. */
void vnc_build_port(struct vnc_build *b, bool output, char *name, int32_t type, size_t rank,
                    const uint64_t *dim);

/* Serialises the model, whose graph becomes b's; free *bytes with free(). */
enum vn_status vnc_build_pack(struct vnc_build *b, Onnx__ModelProto *model, void **bytes,
                              size_t *size, struct vn_diag *diag);

#endif
