/* Values that are known at compile time: ONNX tensors decoded, and the arithmetic that exporters
 * leave around shapes. Used by the importer alone. */
#ifndef VNC_ONNX_TENSOR_H
#define VNC_ONNX_TENSOR_H

#include "fail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "onnx.pb-c.h"

enum { VNC_TENSOR_RANK = 8 };

/* Dense, C order. Integers and booleans are int64, every float type is float. */
struct vnc_tensor {
  bool is_float;
  size_t rank;
  uint64_t dim[VNC_TENSOR_RANK], elems;
  float *f; /* owned; one of the two, by is_float */
  int64_t *i;
};

/* Where a model's weights may come from. */
struct vnc_source {
  const uint8_t *file; /* the model's bytes: raw_data is in there */
  size_t file_bytes;
  const char *folder; /* of the model, for external data; NULL: there is none */
};

/* ONNX's name of an element type, known to us or not. */
const char *vnc_onnx_type_text(int32_t type);
bool vnc_onnx_type_known(int32_t type); /* one that is decoded; bool is not of use as an input */
bool vnc_onnx_type_real(int32_t type);

void vnc_tensor_free(struct vnc_tensor *t);
/* Allocates room for the shape; false without memory or beyond 2^33 elements. */
bool vnc_tensor_alloc(struct vnc_tensor *t, bool is_float, size_t rank, const uint64_t *dim);
bool vnc_tensor_copy(struct vnc_tensor *to, const struct vnc_tensor *from);
double vnc_tensor_at(const struct vnc_tensor *t, uint64_t index);
void vnc_tensor_set(struct vnc_tensor *t, uint64_t index, double value);

bool vnc_tensor_outside(const Onnx__TensorProto *proto); /* its bytes are in another file */
/* Decodes a TensorProto: raw_data, typed fields, float16, bfloat16, external data. `what` names it
 * in messages. */
enum vn_status vnc_tensor_decode(const Onnx__TensorProto *proto, const struct vnc_source *source,
                                 const char *what, struct vnc_tensor *t, struct vn_diag *diag);

/* onnx_external.c: the bytes of external data inside the model's own folder. *bytes is owned. */
enum vn_status vnc_external_read(const Onnx__TensorProto *proto, const struct vnc_source *source,
                                 const char *what, size_t want, uint8_t **bytes,
                                 struct vn_diag *diag);

#endif
