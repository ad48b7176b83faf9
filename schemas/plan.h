/* The plan file, record by record. plan.md says what each field means and which values are legal.
 *
 * Written by compiler/plan_write.c, read by runtime/plan_load.c, byte for byte: fixed-width fields,
 * no implicit padding, offsets from the start of the file, little-endian in practice (`endian`
 * tells). Changing a record raises PLAN_MAJOR; giving meaning to a reserved field that an old
 * reader may ignore raises PLAN_MINOR. */
#ifndef VNET_PLAN_H
#define VNET_PLAN_H

#include "types.h"

#include <assert.h>
#include <stdint.h>

#define PLAN_MAGIC  "VNETPLAN"
#define PLAN_ENDIAN 0x01020304u
enum { PLAN_MAJOR = 1, PLAN_MINOR = 1, PLAN_ALIGN = 64, PLAN_MAX_RANK = 6 };
enum { PLAN_MOST_RECORDS = 65536, PLAN_MOST_PORTS = 256 }; /* in a table */

struct plan_table { /* `count` records from byte `offset`; strings: `count` bytes */
  uint64_t offset, count;
};

struct plan_header {
  uint8_t magic[8];
  uint32_t endian;
  uint16_t major, minor;
  uint64_t file_bytes;
  uint64_t checksum;          /* XXH3-64, seed 0, of bytes [32, file_bytes) */
  uint64_t arena_bytes;       /* the planner's arena; scratch is not part of it */
  uint64_t arena_bound_bytes; /* largest sum of buffer sizes alive at one step */
  struct plan_table buffers, tensors, steps, weights, ports, metas, strings;
  uint32_t topology;                  /* string: "vnet width=16 …", or "any" */
  uint32_t producer;                  /* string: compiler name and version */
  struct plan_table ends, thresholds; /* since minor 1 */
  uint8_t reserved[56];
};

/* A region of the arena with one lifetime; tensors that share it (the parts of a concat, an
 * in-place result) point to the same buffer. Buffers alive at the same step never overlap. */
struct plan_buffer {
  uint64_t offset, bytes;         /* in the arena; offset is a multiple of PLAN_ALIGN */
  uint32_t first_step, last_step; /* inclusive; inputs are alive from step 0 */
};

/* Element (n, c, d, h, w) lives at offset + 4 * ((((n*D + d)*H + h)*W + w) * pixel_stride + c). */
struct plan_tensor {
  uint32_t name, dtype; /* VN_F32 or VN_I32 */
  uint32_t buffer, reserved;
  uint64_t dim[VN_AXES]; /* n c d h w, each at least 1 */
  uint64_t offset;       /* bytes from the start of the arena */
  uint64_t pixel_stride; /* elements; at least dim[VN_C] */
};

struct plan_conv {                                    /* CONV3D, DECONV3D; axes d, h, w */
  uint32_t kernel[3], stride[3], pad[3], dilation[3]; /* pad: before each axis */
  uint32_t groups;
  uint32_t tile[3]; /* WINOGRAD: outputs per tile and axis; else 0 */
  uint32_t reserved[8];
};

struct plan_copy { /* COPY; axes n c d h w of the output */
  uint32_t extent[VN_AXES], out_start[VN_AXES], in_start[VN_AXES], in_axis[VN_AXES];
  uint32_t reserved[4];
};

struct plan_axis {            /* SOFTMAX, LOGSOFTMAX, ARGMAX */
  uint32_t axis, select_last; /* select_last: ARGMAX's rule on ties */
  uint32_t more_axes;         /* SOFTMAX, LOGSOFTMAX: bit a for each further axis a of the sum */
  uint32_t reserved[21];
};

struct plan_norm { /* GROUPNORM */
  uint32_t span;   /* neighbouring channels that share mean and variance */
  uint32_t reserved[23];
};

struct plan_function { /* MAP, BINARY */
  uint32_t kind;       /* enum vn_map, enum vn_binary */
  float a, b;          /* MAP: the function's numbers, 0 where it has none */
  uint32_t reserved[21];
};

struct plan_sample {       /* SAMPLE; axes n c d h w */
  uint32_t largest;        /* 0: the weighted sum; 1: the largest */
  float fill;              /* what index -1 stands for */
  uint32_t table[VN_AXES]; /* weights: [out's size][taps][index, weight]; VN_NONE: as it is */
  uint32_t reserved[17];
};

struct plan_step {
  uint32_t op, algo, name, out;
  uint32_t in[2];            /* tensors; in[1]: residual or second operand, or VN_NONE */
  uint32_t weight, bias;     /* weights; AFFINE and norms: scale and shift */
  uint32_t act[2], slope[2]; /* y = act1(act0(x) + residual); PRELU: slopes, one per channel */
  float alpha[2];            /* ELU */
  float epsilon;             /* norms */
  uint32_t reserved;
  uint64_t macs;         /* multiply-adds of the direct algorithm */
  uint64_t predicted_ns; /* the compiler's guess for this step, 0: none */
  union {
    struct plan_conv conv;
    struct plan_copy copy;
    struct plan_axis axis;
    struct plan_norm norm;
    struct plan_function function;
    struct plan_sample sample;
    uint32_t word[24];
  } u;
};

struct plan_weight {    /* dense, C order, offset a multiple of PLAN_ALIGN */
  uint32_t name, dtype; /* VN_F32 */
  uint64_t offset, bytes;
  uint32_t rank, reserved;
  uint64_t dim[VN_AXES]; /* unused: 1 */
};

/* An input or output as ONNX knows it. The logical tensor, flattened in C order, is the plan tensor
 * walked with order[0] outermost … order[4] innermost. */
struct plan_port {
  uint32_t name, tensor;
  uint32_t is_output, dtype; /* dtype at the interface: VN_F32 or VN_I64 */
  uint32_t rank, order[VN_AXES];
  uint64_t dim[PLAN_MAX_RANK];
};

struct plan_end {                         /* what an output means */
  uint32_t meaning;                       /* enum vn_end */
  uint32_t first_threshold, n_thresholds; /* REGIONS: one for each channel */
  uint32_t reserved;
};

struct plan_threshold {
  float value;
  uint32_t reserved;
};

struct plan_meta { /* one metadata pair, both strings */
  uint32_t key, value;
};

static_assert(sizeof(struct plan_header) == 256, "plan_header");
static_assert(sizeof(struct plan_buffer) == 24, "plan_buffer");
static_assert(sizeof(struct plan_tensor) == 72, "plan_tensor");
static_assert(sizeof(struct plan_step) == 176, "plan_step");
static_assert(sizeof(struct plan_weight) == 72, "plan_weight");
static_assert(sizeof(struct plan_port) == 88, "plan_port");
static_assert(sizeof(struct plan_end) == 16, "plan_end");
static_assert(sizeof(struct plan_threshold) == 8, "plan_threshold");
static_assert(sizeof(struct plan_meta) == 8, "plan_meta");

#endif
