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

/* ends.c: says what each output means, from the graph as the importer left it and the metadata
 * `vnet.end`; VN_E_FORMAT when that makes no sense. */
enum vn_status vnc_ends(struct vnc_graph *g, struct vn_diag *diag);
/* The threshold of channel c of an output that is VN_END_REGIONS. */
float vnc_end_threshold(const struct vnc_graph *g, uint64_t channels, uint64_t c);

/* The passes, in the order that compile.c runs them; each leaves a graph that vnc_graph_check
 * takes. */
enum vn_status vnc_pass_simplify(struct vnc_graph *g,
                                 struct vn_diag *diag); /* no-op copies, dead nodes */
enum vn_status vnc_pass_batchnorm(struct vnc_graph *g,
                                  struct vn_diag *diag); /* affine into conv, deconv */
enum vn_status vnc_pass_fuse(struct vnc_graph *g,
                             struct vn_diag *diag); /* bias, activations, residual */
enum vn_status vnc_pass_choose(struct vnc_graph *g, const struct vnc_options *options,
                               struct vn_diag *diag); /* algorithm and tile per convolution */

enum vn_status vnc_pass_concat(struct vnc_graph *g,
                               struct vn_diag *diag); /* concats into aliases */
/* compile.c: all of them. */
enum vn_status vnc_run_passes(struct vnc_graph *g, const struct vnc_options *options,
                              struct vn_diag *diag);

/* memplan.c: buffers and offsets. Owned by the caller; free with vnc_memplan_free. */
struct vnc_place { /* for each node */
  uint32_t buffer;
  uint64_t offset;       /* bytes from the arena's start */
  uint64_t pixel_stride; /* elements */
};
struct vnc_span { /* for each buffer */
  uint64_t offset, bytes;
  uint32_t first, last; /* node ids, inclusive */
};
struct vnc_memplan {
  struct vnc_place *places; /* n_nodes */
  struct vnc_span *buffers;
  size_t n_buffers;
  uint64_t arena_bytes, bound_bytes;
};
enum vn_status vnc_memplan(const struct vnc_graph *g, struct vnc_memplan *m, struct vn_diag *diag);
enum vn_status vnc_memplan_check(const struct vnc_graph *g, const struct vnc_memplan *m,
                                 struct vn_diag *diag); /* independent of how it was made */
void vnc_memplan_free(struct vnc_memplan *m);

/* plan_write.c: graph and placement to the bytes of a plan (aligned_alloc(64); free with free()).
 */
enum vn_status vnc_plan_write(const struct vnc_graph *g, const struct vnc_memplan *m,
                              const char *topology, void **plan, size_t *plan_bytes,
                              struct vn_diag *diag);

#endif
