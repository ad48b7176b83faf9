/* The passes, in the order that compile.c runs them. Each rewrites the graph, and leaves one that
 * vnc_graph_check takes. */
#ifndef VNC_PASSES_H
#define VNC_PASSES_H

#include "compile.h"

typedef enum vn_status vnc_pass_fn(struct vnc_graph *g, struct vn_diag *diag);

vnc_pass_fn vnc_pass_simplify;  /* no-op copies, dead nodes */
vnc_pass_fn vnc_pass_name;      /* functions that are written as arithmetic */
vnc_pass_fn vnc_pass_batchnorm; /* affine into conv, deconv */
vnc_pass_fn vnc_pass_fuse;      /* bias, activations, residual */
vnc_pass_fn vnc_pass_concat;    /* concats into aliases */

/* Algorithm and tile of each convolution. */
enum vn_status vnc_pass_choose(struct vnc_graph *g, const struct vnc_options *options,
                               struct vn_diag *diag);

/* compile.c: all of them. */
enum vn_status vnc_run_passes(struct vnc_graph *g, const struct vnc_options *options,
                              struct vn_diag *diag);

#endif
