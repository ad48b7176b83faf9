/* What the files that evaluate operators on known values share: onnx_fold.c has the story. */
#ifndef VNC_ONNX_FOLD_H
#define VNC_ONNX_FOLD_H

#include "onnx_import.h"

enum { VNC_FOLD_MOST = 1 << 28 }; /* elements of one result */

struct vnc_folding {
  const struct vnc_op *op;
  struct vnc_tensor in[VNC_NODE_INPUTS]; /* of a CONST: borrowed; of a WEIGHT: decoded, owned */
  size_t n;
  struct vnc_tensor out;
};

/* onnx_fold.c. Makes room for the result. */
enum vn_status vnc_fold_start(struct vnc_folding *f, bool is_float, size_t rank,
                              const uint64_t *dim);
/* The first `least` inputs are there. */
enum vn_status vnc_fold_need(const struct vnc_folding *f, size_t least);
/* Sizes from a list that is a tensor. */
enum vn_status vnc_fold_sizes(const struct vnc_folding *f, const struct vnc_tensor *t,
                              uint64_t dim[VNC_TENSOR_RANK]);
/* Element `from` of t, which has the result's type, becomes element `to` of the result. */
void vnc_fold_copy(struct vnc_folding *f, uint64_t to, const struct vnc_tensor *t, uint64_t from);
/* Coordinates of element `index`. */
void vnc_fold_unravel(const struct vnc_tensor *t, uint64_t index, uint64_t at[VNC_TENSOR_RANK]);
/* The element of t at `at`, which is of rank `rank`: broadcast from the right, repeated by
 * modulo. */
uint64_t vnc_fold_ravel(const struct vnc_tensor *t, const uint64_t *at, size_t rank);

/* onnx_fold_layout.c */
typedef enum vn_status vnc_fold_fn(struct vnc_folding *f);
vnc_fold_fn vnc_fold_concat, vnc_fold_gather, vnc_fold_slice, vnc_fold_tile, vnc_fold_expand,
    vnc_fold_transpose, vnc_fold_reshape, vnc_fold_squeeze, vnc_fold_unsqueeze;

#endif
