/* What the importer's files share: the values of an ONNX graph while it becomes ours. */
#ifndef VNC_ONNX_IMPORT_H
#define VNC_ONNX_IMPORT_H

#include "compile.h"
#include "onnx_tensor.h"

enum { VNC_VIEW_RANK = 6, VNC_NODE_INPUTS = 256 };

/* How ONNX sees a graph node's result: dimension i is the axes order[start] … of group i, in order.
 * Every one of the five axes is in exactly one group. Transpose permutes groups, Reshape regroups,
 * and neither moves a byte. */
struct vnc_view {
  size_t rank;
  uint8_t order[VN_AXES];
  uint8_t count[VNC_VIEW_RANK]; /* axes in each group */
};

enum vnc_value_kind { VNC_NOTHING, VNC_WEIGHT, VNC_CONST, VNC_RUNTIME };

struct vnc_value {
  const char *name;
  enum vnc_value_kind kind;
  const Onnx__TensorProto *proto; /* WEIGHT: not decoded yet; borrowed */
  struct vnc_tensor tensor;       /* CONST: owned */
  uint32_t node;                  /* RUNTIME */
  struct vnc_view view;
  bool whole;    /* RUNTIME: integers in the model, floats here */
  uint32_t bent; /* RUNTIME: 1 + which of the import's bent lines it is; 0: none */
  bool later;    /* it is none of a node yet, and `node` is the line's x */
  /* RUNTIME, groups not 0: seen as [N, groups, …], or as [N, groups, factor …, D, H, W] (with
   * `shuffled` each factor behind its axis), which splits the channels: onnx_split.c */
  uint32_t groups, factor[3];
  bool shuffled;
};

struct vnc_import {
  struct vnc_graph *g;
  const Onnx__ModelProto *model;
  struct vnc_source source;
  const struct vnc_import_options *options;
  struct vn_diag *diag;
  int64_t opset;
  struct vnc_value *values;
  size_t n_values, cap_values;
  struct vnc_index names; /* of values */
  struct vnc_bent *bents;
  size_t n_bents;
  uint64_t touched, touched_most; /* numbers decoded or computed, see vnc_import_touch */
  unsigned layout_steps;          /* taken to see how inputs lie */
};

/* The ONNX node being imported. */
struct vnc_op {
  struct vnc_import *im;
  const Onnx__NodeProto *proto;
  const char *name;                      /* the node's, or its first output's */
  struct vnc_value *in[VNC_NODE_INPUTS]; /* NULL: left out */
  size_t n_in;
  bool own; /* BatchNorm: see struct vnc_order; its running statistics are left out */
};

/* onnx_input.c: an input that is no weight becomes an INPUT node with its port. */
enum vn_status vnc_onnx_input(struct vnc_import *im, const Onnx__GraphProto *graph,
                              const Onnx__ValueInfoProto *info);

/* onnx_order.c: the nodes that the outputs need, each behind those that it reads. */
struct vnc_order {
  struct vnc_import *im;
  const Onnx__GraphProto *graph;
  uint32_t *nodes; /* n of them: indices of the file's */
  size_t n;
  bool *own; /* of each of the file's nodes: a BatchNorm by the statistics of what it gets */
  bool *needed;
  uint8_t *state;
  struct vnc_frame *stack;
  struct vnc_result *results;
  struct vnc_index ids; /* of results, by name */
};
/* Behind the weights. To be closed in any case. VN_E_FORMAT: a circle, or a name given twice. */
enum vn_status vnc_order_open(struct vnc_order *o, struct vnc_import *im,
                              const Onnx__GraphProto *graph);
void vnc_order_close(struct vnc_order *o);
uint32_t vnc_order_producer(struct vnc_order *o, const char *name); /* of a value; VN_NONE: none */
/* onnx_statistics.c: a BatchNorm that goes by the statistics of what it gets, in training mode or
 * written out. */
bool vnc_onnx_own_statistics(struct vnc_order *o, const Onnx__NodeProto *node);

/* onnx_values.c */
struct vnc_value *vnc_value_find(struct vnc_import *im, const char *name);
/* Moves the values that are there. VN_E_FORMAT: the name is taken; VN_E_UNSUPPORTED: too many. */
enum vn_status vnc_value_add(struct vnc_import *im, const char *name, struct vnc_value **value);
/* Counts numbers before they are made, against what a model of this size can need: a few bytes can
 * otherwise ask for terabytes. */
enum vn_status vnc_import_touch(struct vnc_import *im, uint64_t elems);
/* Decodes a WEIGHT or copies a CONST into *t, which the caller frees. */
enum vn_status vnc_value_tensor(struct vnc_import *im, const struct vnc_value *v,
                                struct vnc_tensor *t);
enum vn_status vnc_op_fail(const struct vnc_op *op, enum vn_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
const Onnx__AttributeProto *vnc_op_attribute(const struct vnc_op *op, const char *name);
int64_t vnc_op_int(const struct vnc_op *op, const char *name, int64_t otherwise);
float vnc_op_float(const struct vnc_op *op, const char *name, float otherwise);
const char *vnc_op_string(const struct vnc_op *op, const char *name, char text[32]);
/* Input i as a known tensor. present: false when it is left out. */
enum vn_status vnc_op_const(const struct vnc_op *op, size_t i, struct vnc_tensor *t, bool *present);
/* A list of integers from attribute `name`, or from input i (opset-dependent). */
enum vn_status vnc_op_list(const struct vnc_op *op, const char *name, size_t i,
                           int64_t list[VNC_TENSOR_RANK], size_t *n, bool *present);
/* -rank … rank - 1 to 0 … rank - 1. */
enum vn_status vnc_op_axis(const struct vnc_op *op, int64_t axis, size_t rank, size_t *out);
/* Names the node's first output. */
enum vn_status vnc_op_yield(const struct vnc_op *op, uint32_t node, const struct vnc_view *view);
enum vn_status vnc_op_yield_const(const struct vnc_op *op, struct vnc_tensor *t); /* takes t */
enum vn_status vnc_op_yield_same(const struct vnc_op *op, const struct vnc_value *x);

/* onnx_view.c */
void vnc_view_of_rank(struct vnc_view *view, size_t rank);
uint64_t vnc_view_dim(const struct vnc_graph *g, const struct vnc_value *v, size_t i);
/* The axis that dimension i is; with several larger than 1 in the group, it fails. */
enum vn_status vnc_view_axis(const struct vnc_op *op, const struct vnc_value *v, size_t i,
                             uint32_t *axis);
/* Regroups for new dimensions (no 0, no -1); VN_E_UNSUPPORTED where an axis would be split. A
 * dimension of one element gets an axis of its own while there are any. */
enum vn_status vnc_view_reshape(const struct vnc_op *op, const struct vnc_value *v,
                                const uint64_t *dim, size_t rank, struct vnc_view *view);
/* The node whose axes are those that ONNX's N C D H W order means for this rank, by a COPY if need
 * be: what convolutions read. */
enum vn_status vnc_view_canonical(const struct vnc_op *op, const struct vnc_value *v,
                                  uint32_t *node);
/* v with axis `axis` exchanged for c, so that one constant for each index along it becomes one for
 * each channel. */
enum vn_status vnc_view_to_channels(const struct vnc_op *op, const struct vnc_value *v,
                                    uint32_t axis, uint32_t *node, struct vnc_view *view);
/* v on the axes of `like`, by ONNX's rules of broadcasting: dimensions counted from the right, each
 * of one element or as large as like's. Only `free_dim` (VNC_VIEW_RANK: none) may have any size; it
 * comes to lie on `free_axis`. */
enum vn_status vnc_view_align(const struct vnc_op *op, const struct vnc_value *v,
                              const struct vnc_value *like, size_t free_dim, uint32_t free_axis,
                              uint32_t *node);
/* A constant of up to five dimensions as a computed value. Takes t. */
enum vn_status vnc_view_const(const struct vnc_op *op, const char *name, struct vnc_tensor *t,
                              struct vnc_value *v);
/* A COPY of v with dimensions `dim`, each read modulo its size, from `start` on. */
enum vn_status vnc_view_take(const struct vnc_op *op, const struct vnc_value *v,
                             const uint64_t *start, const uint64_t *dim, uint32_t *node);

/* Dimension i leaves the view; its axes have one element each. */
void vnc_view_drop(struct vnc_view *view, size_t i);

/* onnx_pointwise.c: appends `kind`, ADD, PRELU or BINARY, of two computed operands, broadcast. Of
 * ADD and, where `swaps`, of others, either may be the larger one. */
enum vn_status vnc_op_binary(const struct vnc_op *op, enum vn_op kind, bool swaps,
                             struct vnc_value x, struct vnc_value y, struct vnc_value *result);
/* x * scale + shift, the same for all. */
enum vn_status vnc_op_linear(const struct vnc_op *op, const struct vnc_value *x, float scale,
                             float shift, struct vnc_value *result);

/* Is dimension 0 n and dimension 1 c, or of one element? */
bool vnc_view_leads_with_channels(const struct vnc_graph *g, const struct vnc_value *v);

/* onnx_split.c: may the first input be read as [N, groups, …]? And what ends that: yields the
 * value, or refuses. */
bool vnc_import_split(const struct vnc_op *op, const uint64_t *dim, size_t rank,
                      struct vnc_value *result);
enum vn_status vnc_import_unsplit(const struct vnc_op *op, const uint64_t *dim, size_t rank);

/* onnx_math.c: a function of two computed operands, enum vn_binary. */
enum vn_status vnc_op_function(const struct vnc_op *op, uint32_t kind, const struct vnc_value *x,
                               const struct vnc_value *y, struct vnc_value *result);
/* A function of one, enum vn_map. */
enum vn_status vnc_op_map(const struct vnc_op *op, uint32_t kind, float a, float b,
                          const struct vnc_value *x, struct vnc_value *result);

/* onnx_sample.c: elements start, start + step … of dimension i, `count` of them. */
enum vn_status vnc_op_stride(const struct vnc_op *op, const struct vnc_value *x, size_t i,
                             int64_t start, int64_t step, uint64_t count, struct vnc_value *result);

/* Each importer of an operator: onnx_conv.c, onnx_pointwise.c, onnx_layout.c, onnx_fold.c,
 * onnx_norm.c, onnx_math.c, onnx_sample.c, onnx_resize.c. */
typedef enum vn_status vnc_op_fn(const struct vnc_op *op);
vnc_op_fn vnc_import_conv, vnc_import_deconv;
vnc_op_fn vnc_import_act, vnc_import_prelu, vnc_import_sum, vnc_import_scale, vnc_import_batchnorm,
    vnc_import_instancenorm, vnc_import_softmax, vnc_import_argmax, vnc_import_cast,
    vnc_import_pass;
vnc_op_fn vnc_import_concat, vnc_import_transpose, vnc_import_reshape, vnc_import_slice,
    vnc_import_tile, vnc_import_expand, vnc_import_shape;
vnc_op_fn vnc_import_groupnorm, vnc_import_shuffle;
vnc_op_fn vnc_import_map, vnc_import_clip, vnc_import_two, vnc_import_where, vnc_import_matmul;
vnc_op_fn vnc_import_pool, vnc_import_reduce, vnc_import_pad, vnc_import_gather,
    vnc_import_split_op, vnc_import_resize;
/* Evaluates an operator whose inputs are all known. VN_E_UNSUPPORTED: not one of those. */
vnc_op_fn vnc_fold;

/* onnx_bent.c: tries the node as arithmetic that makes an activation; *done: it is imported. */
enum vn_status vnc_bent_import(const struct vnc_op *op, bool *done);
/* Inputs that are computed later become nodes, for an operator that needs them now. */
enum vn_status vnc_bent_settle(const struct vnc_op *op);
void vnc_bents_free(struct vnc_import *im);

/* A node with shape inferred. */
enum vn_status vnc_op_infer(const struct vnc_op *op, uint32_t node);

#endif
