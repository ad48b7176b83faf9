/* What the importers of SAMPLE share: onnx_sample.c has the story. */
#ifndef VNC_ONNX_SAMPLE_H
#define VNC_ONNX_SAMPLE_H

#include "onnx_import.h"

/* One axis of a SAMPLE: for each of `out` indices `taps` pairs of index and weight. */
struct vnc_window {
  uint64_t out, taps;
  float *pairs; /* NULL: the axis stays as it is */
};

struct vnc_sampling {
  struct vnc_window axis[VN_AXES];
  bool largest;
  float fill;
};

/* Room for the axis's pairs. */
enum vn_status vnc_window_make(const struct vnc_op *op, struct vnc_sampling *s, uint32_t axis,
                               uint64_t out, uint64_t taps);
void vnc_sampling_free(struct vnc_sampling *s);
/* Appends one SAMPLE, or one for each axis where a window is large. Takes the tables. */
enum vn_status vnc_sampling_append(const struct vnc_op *op, struct vnc_sampling *s, uint32_t from,
                                   uint32_t *node);

#endif
