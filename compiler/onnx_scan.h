/* The first look at a model: its protobuf wire format, before protobuf-c sees a byte.
 *
 * protobuf-c recurses without a limit and multiplies sizes unchecked, and would copy every weight.
 * So the file is walked once with a depth limit and bounds, and rewritten without its weights: each
 * TensorProto.raw_data becomes a struct vnc_raw that says where in the file the bytes are. What is
 * left is small, whatever the size of the model. */
#ifndef VNC_ONNX_SCAN_H
#define VNC_ONNX_SCAN_H

#include "fail.h"

#include <stddef.h>
#include <stdint.h>

#include "onnx.pb-c.h"

struct vnc_raw { /* what raw_data holds after the scan */
  uint64_t offset, bytes;
};

/* Parses `bytes` as a ModelProto; *model is freed with vnc_onnx_free. VN_E_FORMAT: not protobuf;
 * VN_E_UNSUPPORTED: nested or large beyond any model of a V-Net. */
enum vn_status vnc_onnx_unpack(const uint8_t *bytes, size_t size, Onnx__ModelProto **model,
                               struct vn_diag *diag);
/* A lone TensorProto, the same way. */
enum vn_status vnc_onnx_unpack_tensor(const uint8_t *bytes, size_t size, Onnx__TensorProto **tensor,
                                      struct vn_diag *diag);
void vnc_onnx_free(Onnx__ModelProto *model);
void vnc_onnx_free_tensor(Onnx__TensorProto *tensor);

#endif
