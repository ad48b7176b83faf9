/* One case of ONNX's conformance vectors: its model, and its tensors, read without the importer's
 * help. The files are Debian's and trusted. */
#ifndef ONNX_CASE_H
#define ONNX_CASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "onnx.pb-c.h"

enum { CASE_INPUTS = 32, CASE_RANK = 8 };

struct onnx_case {
  const char *folder;
  Onnx__ModelProto *model; /* owned */
  /* The graph's inputs that are no initializers: input k is input_k.pb. Borrowed from the model. */
  const Onnx__ValueInfoProto *inputs[CASE_INPUTS];
  size_t n_inputs;
};

struct case_tensor { /* integers and booleans as int64, every float type as float */
  bool is_float;
  int32_t type; /* ONNX's number */
  size_t rank, dim[CASE_RANK], elems;
  float *f; /* owned; one of the two */
  int64_t *i;
};

bool case_open(struct onnx_case *c, const char *folder);
void case_close(struct onnx_case *c);

/* "…/test_data_set_SET/input_3.pb"; `what` is "input" or "output". */
void case_path(const struct onnx_case *c, size_t set, const char *what, size_t index, char *path,
               size_t size);
bool case_exists(const char *path);

/* Writes the model with "zeros" for its only input that is computed, of want's shape, and zeros
 * plus its first output, cast to float, for its only output. With every other input known, all of
 * the original has to be evaluated when compiling. */
bool case_write_known(const struct onnx_case *c, const struct case_tensor *want, const char *path);

/* The type of a tensor's elements, 0 of anything else. */
int32_t case_type(const Onnx__ValueInfoProto *info);
/* false: not a tensor of numbers. */
bool case_tensor_read(const char *path, struct case_tensor *t);
void case_tensor_free(struct case_tensor *t);

#endif
