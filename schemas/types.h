/* The vocabulary that graph, plan and runtime share: ops, algorithms, activations, axes, types. */
#ifndef VNET_TYPES_H
#define VNET_TYPES_H

#include <stdint.h>

enum vn_op {
#define VN_OP(name, text, fewest, most) VN_OP_##name,
#include "ops.def"
#undef VN_OP
  VN_OP_COUNT
};

enum vn_algo {
#define VN_ALGO(name, text) VN_ALGO_##name,
#include "kernels.def"
#undef VN_ALGO
  VN_ALGO_COUNT
};

enum vn_map {
#define VN_MAP(name, text) VN_MAP_##name,
#include "functions.def"
#undef VN_MAP
  VN_MAP_COUNT
};

enum vn_binary {
#define VN_BINARY(name, text) VN_BINARY_##name,
#include "functions.def"
#undef VN_BINARY
  VN_BINARY_COUNT
};

/* Activations. PRELU reads one slope per channel; LEAKY is PRELU with `alpha` for every channel and
 * exists in graphs only (a plan holds the slopes). ELU: x > 0 ? x : alpha * (exp(x) - 1). */
enum vn_act {
  VN_ACT_NONE,
  VN_ACT_RELU,
  VN_ACT_PRELU,
  VN_ACT_ELU,
  VN_ACT_SIGMOID,
  VN_ACT_LEAKY,
  VN_ACT_COUNT
};

/* Every activation tensor has these five axes, whatever its rank in ONNX. */
enum vn_axis { VN_N, VN_C, VN_D, VN_H, VN_W, VN_AXES };

enum vn_dtype { VN_F32, VN_I32, VN_I64, VN_DTYPE_COUNT }; /* I64: at a plan's outputs only */

/* What an output says of a voxel (plan.md, "Ends"); vnet.h has the same for callers. */
enum vn_end {
  VN_END_UNSAID,
  VN_END_SCORES,
  VN_END_SOFTMAX,
  VN_END_LOGSOFTMAX,
  VN_END_REGIONS,
  VN_END_FOREGROUND,
  VN_END_LABELS,
  VN_END_COUNT
};

#define VN_NONE UINT32_MAX /* "no tensor", "no weight" wherever an id is expected */

static inline const char *vn_op_text(uint32_t op) {
  static const char *const text[] = {
#define VN_OP(name, text, fewest, most) text,
#include "ops.def"
#undef VN_OP
  };
  return op < VN_OP_COUNT ? text[op] : "?";
}

static inline const char *vn_algo_text(uint32_t algo) {
  static const char *const text[] = {
#define VN_ALGO(name, text) text,
#include "kernels.def"
#undef VN_ALGO
  };
  return algo < VN_ALGO_COUNT ? text[algo] : "?";
}

static inline const char *vn_map_text(uint32_t map) {
  static const char *const text[] = {
#define VN_MAP(name, text) text,
#include "functions.def"
#undef VN_MAP
  };
  return map < VN_MAP_COUNT ? text[map] : "?";
}

static inline const char *vn_binary_text(uint32_t binary) {
  static const char *const text[] = {
#define VN_BINARY(name, text) text,
#include "functions.def"
#undef VN_BINARY
  };
  return binary < VN_BINARY_COUNT ? text[binary] : "?";
}

static inline const char *vn_act_text(uint32_t act) {
  static const char *const text[] = {"none", "relu", "prelu", "elu", "sigmoid", "leaky"};
  return act < VN_ACT_COUNT ? text[act] : "?";
}

#endif
