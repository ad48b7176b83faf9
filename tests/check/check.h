/* The kernel checker: random problems, each kernel against an oracle written independently, memory
 * fenced in by guard pages. Shared by the files of this folder; main is vnet-check.c. */
#ifndef VNET_CHECK_H
#define VNET_CHECK_H

#include "kernels/backward/backward.h"
#include "kernels/kernels.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- random.c: the same numbers from the same seed on every machine ---- */

struct random {
  uint64_t state;
};
uint64_t random_bits(struct random *r);
size_t random_below(struct random *r, size_t n);          /* 0 … n - 1 */
size_t random_in(struct random *r, size_t lo, size_t hi); /* both included */
float random_real(struct random *r);                      /* [-1, 1) */
size_t random_channels(struct random *r, size_t most);    /* at and around lane counts */
uint64_t random_seed(uint64_t seed, const char *family, size_t index);

/* ---- memory.c: memory that ends where it ends ---- */

/* `bytes` between two pages that nobody may touch, pushed against one of them. */
struct fence {
  unsigned char *data;
  size_t bytes, map_bytes;
  unsigned char *map;
};
void fence_open(struct fence *f, size_t bytes, bool at_end);
void fence_lock(struct fence *f); /* from now on read only */
void fence_hide(struct fence *f); /* from now on nobody's */
void fence_close(struct fence *f);

/* A tensor with memory of its own. Between its channels and its stride lies what belongs to others:
 * NaN that must not be read, and must still be there afterwards. */
struct fenced_tensor {
  struct vn_tensor t;
  struct fence memory;
};
void tensor_open(struct fenced_tensor *f, struct random *r, const size_t dim[VN_AXES]);
size_t tensor_pixels(const struct vn_tensor *t);
size_t tensor_elems(const struct vn_tensor *t);
/* Element i in the order n d h w c. */
size_t tensor_at(const struct vn_tensor *t, size_t i);
/* True if nothing between channels and stride differs from `before`, a copy of the memory. */
bool tensor_gaps_equal(const struct fenced_tensor *f, const unsigned char *before);

/* ---- run.c ---- */

/* Packs a prepared step's `weight` (NULL: it has none), alone and on threads, and runs it, job by
 * job in order, again in another order, and on threads; the bits must be equal and nobody else's
 * memory changed. Runs do not see weights that have been packed. NULL: well; else what was wrong.
 * Closes the step. */
const char *run_prepared(struct vn_prepared *p, struct fence *weight, struct fenced_tensor *out,
                         struct random *r);

/* ---- oracle.c: double arithmetic, sums without any cleverness ---- */

/* Per output element, in the order n d h w c: the value, and the size of what was added up, which
 * bounds rounding; for convolutions also the sum of squares of the products, whose root is what the
 * sum would be on average, and what activations multiply an error of it with. */
struct oracle {
  double *value, *size, *squares, *gain;
};
void oracle_open(struct oracle *o, size_t elems);
void oracle_close(struct oracle *o);
/* `residual`: a copy of the residual's elements in the order n d h w c, or NULL. */
void oracle_conv(const struct vn_conv *c, bool transposed, const float *residual, struct oracle *o);
double oracle_act(uint32_t kind, double slope, double alpha, double x);
/* in1: elements of in[1] where it may be overwritten; both in the order n d h w c. */
void oracle_simple(const struct vn_simple *s, const float *in0, const float *in1, struct oracle *o);

/* Elements as the gradient has them: [out c][kd][kh][kw][in c]. */
void oracle_wgrad(const struct vn_wgrad_spec *s, struct oracle *o);

/* ---- winograd.c ---- */

/* The root mean square of a Winograd convolution's error where inputs and weights are random, for
 * each d h w of the output, at tiles of c->tile. `lean`: transforms of weights round, too. */
void winograd_error(const struct vn_conv *c, bool lean, double *error);

/* ---- conv.c, simple.c; of training wgrad.c, pixels.c, adamw.c: one random case ---- */

struct family {
  const char *name;
  bool transposed;
  vn_conv_prepare_fn *conv; /* or */
  vn_simple_prepare_fn *simple;
  vn_wgrad_fn *wgrad;
  const struct vn_backward *pixels, *adamw;
};

enum outcome { OUTCOME_RIGHT, OUTCOME_DECLINED, OUTCOME_WRONG };

/* Prints what is wrong. The case depends on the seed and the family alone. */
enum outcome check_conv(const struct family *family, uint64_t seed);
enum outcome check_simple(const struct family *family, uint64_t seed);
enum outcome check_wgrad(const struct family *family, uint64_t seed);
enum outcome check_pixels(const struct family *family, uint64_t seed);
enum outcome check_adamw(const struct family *family, uint64_t seed);

/* What is being run, for the message when it fails or crashes. */
extern char check_case[512];

/* ---- bench.c, bench_backward.c ---- */

/* Measures the machine's limits, which bench() then compares with. */
void bench_limits(const char *isa, const struct vn_simd *simd, struct vn_pool *pool);
void bench(const struct family *family, struct vn_pool *pool);
void bench_backward(const struct family *family, struct vn_pool *pool);
/* What both have: random elements in large pages; the least that some calls of `once` took; a
 * row. */
struct vn_tensor bench_tensor(const size_t dim[VN_AXES], size_t stride);
void *bench_memory(size_t bytes);
struct bench_time {
  double wall, cpu; /* seconds; cpu: of all threads */
};
struct bench_time bench_time(void (*once)(void *context), void *context);
void bench_report(const char *family, const char *kernel, const char *what, struct bench_time time,
                  double flops, double bytes);

#endif
