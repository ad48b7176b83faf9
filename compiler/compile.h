/* The compiler's front door: ONNX in, plan out. Used by tools/vnetc.c, tests and the trainer. */
#ifndef VNC_COMPILE_H
#define VNC_COMPILE_H

#include "graph.h"

/* An input of the model that is to be treated as a constant (conformance vectors give weights as
 * inputs): the path of a serialised onnx TensorProto. */
struct vnc_binding {
  const char *input, *tensor_path;
};

struct vnc_import_options {
  uint64_t patch[3]; /* d h w for dynamic spatial axes; 0: the model's own or `vnet.patch` */
  uint64_t batch;    /* for a dynamic batch; 0: 1 */
  const struct vnc_binding *bindings;
  size_t n_bindings;
};

struct vnc_options {
  struct vnc_import_options import;
  const char *topology;        /* NULL: any member of the family; a member's name; "any" */
  enum vn_algo conv;           /* for stride-1 convolution; VN_ALGO_AUTO: the cost model decides */
  uint64_t memory_limit_bytes; /* 0: none */
  const char *dump_letters;    /* stages after which `dump` gets the graph; compile.c lists them */
  FILE *dump;
  /* Metadata that the plan shall have beside the model's; NULL: none. Not in dumps. */
  const char *mark_key, *mark;
};

/* What was done, for a person. */
struct vnc_report {
  char topology[256];
  uint64_t parameters, macs, arena_bytes, arena_bound_bytes, plan_bytes;
  size_t steps;
  size_t batch_norms; /* that go by each batch's statistics, and are InstanceNorm at a batch of 1 */
};

/* compile.c: from an imported or built graph to the bytes of a plan (64-byte aligned, free with
 * free()), NULL on failure. The graph is rewritten by the passes. `report` may be NULL. */
enum vn_status vnc_compile_graph(struct vnc_graph *g, const struct vnc_options *options,
                                 void **plan, size_t *plan_bytes, struct vnc_report *report,
                                 struct vn_diag *diag);

/* onnx_import.c: bytes are hostile. The graph is complete: shapes inferred, shape arithmetic
 * folded, checked. */
enum vn_status vnc_onnx_import(const char *path, const struct vnc_import_options *options,
                               struct vnc_graph *g, struct vn_diag *diag);
/* The same of a file's bytes: one that has all its weights in itself. */
enum vn_status vnc_onnx_import_memory(const void *bytes, size_t size,
                                      const struct vnc_import_options *options, struct vnc_graph *g,
                                      struct vn_diag *diag);

/* onnx_export.c: the mirror. *model (free with free()) is the file's bytes, NULL on failure.
 * `options` may be NULL. */
struct vnc_export_options {
  bool float16_weights;
  const char *graph_name, *producer_version;
};
enum vn_status vnc_onnx_export(const struct vnc_graph *g, const struct vnc_export_options *options,
                               void **model, size_t *model_bytes, struct vn_diag *diag);

/* topology.c: reads the graph as the importer left it. Writes the member with its parameters into
 * text ("vnet width=16 stages=5 in=1 classes=32 left=1,2,3,3,3 right=3,3,3,3"), or fails with the
 * first departure from the nearest member. */
enum vn_status vnc_topology(const struct vnc_graph *g, const char *wanted, char *text, size_t size,
                            struct vn_diag *diag);

#endif
