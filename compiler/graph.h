/* The graph: what the importer yields, the passes rewrite, the exporter and the plan writer read,
 * and the trainer trains.
 *
 * Flat arrays and ids. A node yields exactly one tensor, so that a node's id names its result;
 * nodes stand in topological order. Activations have five axes n c d h w, whatever their rank was
 * in ONNX: [N,C,H,W] has d = 1, [N,C] has d = h = w = 1, [C] has n = d = h = w = 1; how a port
 * looks outside is in vnc_port. All shapes are static. Weights are constants in fp32. */
#ifndef VNC_GRAPH_H
#define VNC_GRAPH_H

#include "fail.h"
#include "index.h"
#include "types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A constant: dense, C order. conv3d: [out][kd][kh][kw][in / groups]; deconv3d: the same order, out
 * being the wider side's channels it writes; bias, slope, scale, shift: [c]. */
struct vnc_const {
  uint32_t name; /* string id */
  uint32_t rank; /* 1 to 5 */
  uint64_t dim[5];
  float *data; /* owned by the graph; NULL in a graph that was parsed from text */
};

struct vnc_act {
  uint32_t kind;  /* enum vn_act */
  float alpha;    /* ELU, LEAKY */
  uint32_t slope; /* PRELU: const id [c] or [1]; else VN_NONE */
};

struct vnc_node {
  uint32_t op;   /* enum vn_op */
  uint32_t name; /* string id: the ONNX node's name, or its output's */
  uint32_t first_arg,
      n_args;            /* into graph.args; conv3d, deconv3d, instnorm: args[1] is the residual */
  uint64_t dim[VN_AXES]; /* of the result; 0 before shape inference */
  uint32_t dtype;        /* VN_F32 or VN_I32 */
  /* y = act[1](act[0](op(x) + bias) + residual). ACT uses act[0] alone, ADD act[1] alone. */
  struct vnc_act act[2];
  uint32_t weight, bias; /* const ids; AFFINE, INSTNORM: scale and shift [c]; CONST: its values
                            [n][d][h][w][c]; else VN_NONE */
  /* conv3d, deconv3d; axes d h w. pad: before, pad_end: after; deconv3d: out_pad as in ONNX. */
  uint32_t kernel[3], stride[3], pad[3], pad_end[3], dilation[3], out_pad[3], groups;
  uint32_t algo, tile[3]; /* enum vn_algo, chosen by the compiler; AUTO before */
  uint64_t predicted_ns;
  uint32_t axis, select_last; /* CONCAT, SOFTMAX, LOGSOFTMAX, ARGMAX (keeps the axis, size 1) */
  uint32_t more_axes;         /* SOFTMAX, LOGSOFTMAX: bit a for each further axis a of the sum */
  float epsilon;              /* INSTNORM */
  uint32_t span;              /* INSTNORM: channels that share their statistics; 0: each alone */
  uint32_t kind;              /* MAP: enum vn_map; BINARY: enum vn_binary; SAMPLE: 1: the largest */
  float a, b;              /* MAP: the function's numbers; SAMPLE: a is what index -1 stands for */
  uint32_t table[VN_AXES]; /* SAMPLE: const ids [size][taps][index, weight]; VN_NONE: as it is */
  /* COPY: out[out_start + e] = in[i], where i[in_axis[a]] = (in_start[a] + e[a]) mod
   * in.dim[in_axis[a]] for each output axis a and 0 <= e[a] < extent[a]. In a graph a COPY covers
   * its whole result. */
  uint32_t in_start[VN_AXES], in_axis[VN_AXES];
};

/* How an input or output looks to the ONNX world. Its logical dimensions are groups of consecutive
 * entries of `order`: dimension i is the product of the sizes of its axes. */
struct vnc_port {
  uint32_t name, node; /* string id; the INPUT node, or the node that yields the output */
  uint32_t dtype;      /* VN_F32 or VN_I64 */
  uint32_t rank;       /* 0 to PLAN_MAX_RANK */
  uint64_t dim[6];
  uint32_t order[VN_AXES]; /* axes, outermost first */
  uint32_t end;            /* enum vn_end, of outputs; said by compile.c, not printed */
};

struct vnc_meta {
  uint32_t key, value; /* string ids */
};

struct vnc_graph {
  struct vnc_node *nodes;
  struct vnc_const *consts;
  uint32_t *args;
  struct vnc_port *inputs, *outputs;
  struct vnc_meta *metas;
  char *strings; /* string id: byte offset of a NUL-terminated string; id 0 is "" */
  size_t n_nodes, n_consts, n_args, n_inputs, n_outputs, n_metas, n_string_bytes;
  size_t cap_nodes, cap_consts, cap_args, cap_inputs, cap_outputs, cap_metas, cap_string_bytes;
  struct vnc_index string_ids;
  size_t batch_norms; /* by the statistics of each batch, imported as INSTNORM */
  bool failed;        /* an append ran out of memory; sticky, asked once by vnc_graph_check */
};

/* graph.c. Appends return the new id; on lack of memory they set `failed` and return 0, so that
 * builders need no check at every line. An appended node has its fields cleared to "none". */
void vnc_graph_init(struct vnc_graph *g);
void vnc_graph_free(struct vnc_graph *g);
uint32_t vnc_graph_string(struct vnc_graph *g, const char *text); /* same text, same id */
const char *vnc_graph_text(const struct vnc_graph *g, uint32_t string);
uint32_t vnc_graph_node(struct vnc_graph *g, enum vn_op op, const char *name, const uint32_t *args,
                        size_t n_args);
/* As vnc_graph_node, but the new node stands before node `at`; later ids move up by one. Only nodes
 * before `at` may be arguments. Takes time in proportion to the graph. */
uint32_t vnc_graph_insert(struct vnc_graph *g, uint32_t at, enum vn_op op, const char *name,
                          const uint32_t *args, size_t n_args);
/* Nodes in another order that is topological, too: node order[i] becomes node i. For a pass that
 * has appended many nodes which belong further up. */
enum vn_status vnc_graph_reorder(struct vnc_graph *g, const uint32_t *order, struct vn_diag *diag);
/* Appends arguments for a node that a pass gives new ones; returns its first_arg. */
uint32_t vnc_graph_args(struct vnc_graph *g, const uint32_t *args, size_t n);
/* Takes ownership of `data` (malloc), even on failure. */
uint32_t vnc_graph_const(struct vnc_graph *g, const char *name, size_t rank, const uint64_t *dim,
                         float *data);
void vnc_graph_input(struct vnc_graph *g, const struct vnc_port *port);
void vnc_graph_output(struct vnc_graph *g, const struct vnc_port *port);
void vnc_graph_meta(struct vnc_graph *g, const char *key, const char *value);
const char *vnc_graph_meta_value(const struct vnc_graph *g, const char *key); /* NULL: absent */
uint32_t vnc_graph_arg(const struct vnc_graph *g, const struct vnc_node *node, size_t i);
uint64_t vnc_const_elems(const struct vnc_const *c);
uint64_t vnc_node_elems(const struct vnc_node *node);

uint64_t vnc_node_macs(const struct vnc_graph *g, uint32_t node); /* of the direct algorithm */

/* uses[i]: how many arguments and outputs refer to node i; `uses` holds n_nodes entries. */
void vnc_graph_uses(const struct vnc_graph *g, uint32_t *uses);
/* Rewrites every argument and output from id to map[id] <= id (map[id] == id: unchanged; chains
 * are followed), drops nodes and constants that nothing uses any more (INPUT nodes stay),
 * renumbers. */
enum vn_status vnc_graph_rewrite(struct vnc_graph *g, const uint32_t *map, struct vn_diag *diag);

/* Drops what no output needs. */
enum vn_status vnc_graph_prune(struct vnc_graph *g, struct vn_diag *diag);

/* graph_check.c: ids in range, topological order, argument counts, shapes agree with the op,
 * constants fit. Run after every pass; what it finds is the importer's or a pass's bug, or a bad
 * text file. */
enum vn_status vnc_graph_check(const struct vnc_graph *g, struct vn_diag *diag);

/* graph_text.c and graph_parse.c: print and parse round-trip, but for the constants' data. */
enum vn_status vnc_graph_print(const struct vnc_graph *g, FILE *out);
enum vn_status vnc_graph_parse(const char *text, struct vnc_graph *g, struct vn_diag *diag);

/* shape.c: fills dim and dtype of every node from its arguments (nodes are in order), with ONNX's
 * rules. Used by builders and parsed graphs; the importer calls it node by node. */
enum vn_status vnc_shape_infer(struct vnc_graph *g, struct vn_diag *diag);
enum vn_status vnc_shape_of(const struct vnc_graph *g, struct vnc_node *node,
                            struct vn_diag *diag); /* of a node that need not be in the graph */
enum vn_status vnc_shape_infer_node(struct vnc_graph *g, uint32_t node, struct vn_diag *diag);

#endif
