/* Builds plans in memory for tests, legal or not: no part of the compiler is involved. */
#ifndef VNET_PLAN_BUILDER_H
#define VNET_PLAN_BUILDER_H

#include "plan.h"

#include <stddef.h>

enum { PB_MOST = 32 };

struct plan_builder {
  struct plan_buffer buffers[PB_MOST];
  struct plan_tensor tensors[PB_MOST];
  struct plan_step steps[PB_MOST];
  struct plan_weight weights[PB_MOST];
  float *weight_data[PB_MOST];
  struct plan_port ports[PB_MOST];
  struct plan_meta metas[PB_MOST];
  struct plan_end ends[PB_MOST];
  struct plan_threshold thresholds[PB_MOST];
  char strings[4096];
  size_t n_buffers, n_tensors, n_steps, n_weights, n_ports, n_metas, n_ends, n_thresholds,
      n_string_bytes;
  uint64_t arena_bytes;
};

void pb_start(struct plan_builder *b);
uint32_t pb_string(struct plan_builder *b, const char *text);

/* A buffer after all others, alive for steps first to last. */
uint32_t pb_buffer(struct plan_builder *b, size_t elems, uint32_t first, uint32_t last);
/* A tensor in it, `channel` elements from its start, `stride` elements from pixel to pixel. */
uint32_t pb_slice(struct plan_builder *b, uint32_t buffer, const size_t dim[VN_AXES],
                  size_t channel, size_t stride);
/* A tensor with a buffer of its own. */
uint32_t pb_tensor(struct plan_builder *b, const size_t dim[VN_AXES], uint32_t first,
                   uint32_t last);

/* Weights of a fixed pseudo-random sequence within +-scale; the second for vectors. */
uint32_t pb_weight(struct plan_builder *b, const size_t dim[VN_AXES], float scale);
uint32_t pb_vector(struct plan_builder *b, size_t n, float scale);

/* A step with every id none. */
struct plan_step *pb_step(struct plan_builder *b, uint32_t op, uint32_t in, uint32_t out);
/* A convolution with weights and bias. */
struct plan_step *pb_conv(struct plan_builder *b, uint32_t op, uint32_t in, uint32_t out,
                          uint32_t kernel, uint32_t stride, uint32_t pad, uint32_t groups);

void pb_port(struct plan_builder *b, const char *name, uint32_t tensor, uint32_t is_output);
/* What the next output means, REGIONS with one threshold for each of `channels`. */
void pb_end(struct plan_builder *b, uint32_t meaning, uint32_t channels, float threshold);
void pb_meta(struct plan_builder *b, const char *key, const char *value);

/* The plan's bytes, aligned to 64; free with free(). The builder is used up. */
void *pb_finish(struct plan_builder *b, size_t *size);

/* Makes size and checksum right again. */
void pb_seal(void *plan, size_t size);

/* A number in [-1, 1) that depends on `seed` and i alone; tests/unit/golden_ops.py has its twin. */
float pb_value(uint64_t seed, uint64_t i);

/* A small V-Net: residual over channels, 2x2x2 down and up, concat by slices, pointwise, softmax
 * (output 0, float) and argmax (output 1, int64), which mean just that. Input 1 x 2 x 6 x 8 x 10.
 */
void *pb_small_net(size_t *size);

#endif
