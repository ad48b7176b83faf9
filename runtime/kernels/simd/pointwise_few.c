/* Convolution 1x1x1 to a few outputs, with pixels in the lanes: one or two outputs would leave most
 * of a vector of channels idle. Sums are in the order of product.c's, and so are the bits. */
#include "turned_epilogue.h"

#include <stdlib.h>
#include <string.h>

enum {
  CHANNELS = 16,    /* turned at a time */
  JOB_ELEMS = 16384 /* of the input in a job */
};

struct few {
  struct vn_conv conv;
  size_t pixels, job_pixels; /* in all; in a job: whole vectors */
  const float *weight;       /* [out][in] */
};

/* The sums of `outputs` outputs, a constant, for `count` pixels from `pixel` on. */
VEC_INLINE void sums(const struct few *k, const size_t outputs, size_t pixel, size_t count,
                     vec *sum) {
  const size_t channels = k->conv.in.dim[VN_C];
  struct vn_tensor part = k->conv.in; /* some of its channels */
  float turned[CHANNELS * VEC_LANES];
  VEC_UNROLL for (size_t o = 0; o < outputs; o++) sum[o] = vec_zero();
  for (size_t first = 0; first < channels; first += CHANNELS) {
    part.data = (float *)k->conv.in.data + first;
    part.dim[VN_C] = smaller(channels - first, CHANNELS);
    turn_in(&part, pixel, count, turned);
    for (size_t c = 0; c < part.dim[VN_C]; c++) {
      const vec x = vec_load(turned + c * VEC_LANES);
      VEC_UNROLL for (size_t o = 0; o < outputs; o++) sum[o] =
          vec_fma(x, vec_set1(k->weight[o * channels + first + c]), sum[o]);
    }
  }
}

VEC_INLINE void block(const struct few *k, const size_t outputs, size_t pixel, size_t count) {
  vec y[FEW_OUTPUTS];
  sums(k, outputs, pixel, count, y);
  turned_finish(&k->conv, outputs, pixel, count, y);
}

static void few_run(const void *state, size_t job, void *scratch) {
  const struct few *k = state;
  const size_t first = job * k->job_pixels, end = smaller(k->pixels, first + k->job_pixels);
  (void)scratch;
  for (size_t i = first; i < end; i += VEC_LANES) switch (k->conv.out.dim[VN_C]) {
#define CASE(O)                                                                                    \
  case O:                                                                                          \
    block(k, O, i, smaller(VEC_LANES, end - i));                                                   \
    break;
      EACH_FEW(CASE)
#undef CASE
    default:
      break;
    }
}

struct packing {
  const float *from;
  float *to;
  size_t bytes;
};

static void pack(void *context, size_t job, size_t slot) {
  const struct packing *p = context;
  (void)job, (void)slot;
  memcpy(p->to, p->from, p->bytes);
}

static bool few_pack(const void *state, struct vn_pool *pool, const float *weight, void *memory,
                     struct vn_watch *watch) {
  const struct few *k = state;
  struct packing packing = {weight, memory,
                            k->conv.out.dim[VN_C] * k->conv.in.dim[VN_C] * sizeof *weight};
  return vn_pool_run_watched(pool, 1, pack, &packing, watch);
}

static void few_use(void *state, const void *memory) {
  ((struct few *)state)->weight = memory;
}

/* Vectors of channels would be mostly idle, and the input is turned whole vectors at a time. */
static bool worth(const struct vn_tensor *in, size_t outputs) {
  const size_t channels = in->dim[VN_C];
  const bool dense = channels == 1 || channels == 2 || channels == 4 || channels == 8;
  if (dense && in->stride == channels) return outputs <= FEW_OUTPUTS;
  return channels % VEC_LANES == 0 && outputs <= VEC_LANES / 4;
}

/* Takes what pointwise.c does, or declines. */
enum vn_status VN_ISA_NAME(pointwise_few)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                          struct vn_diag *diag) {
  const size_t *dim = conv->out.dim, channels = conv->in.dim[VN_C];
  if (!worth(&conv->in, dim[VN_C]))
    return vn_fail(diag, VN_E_UNSUPPORTED, "pointwise: fewer outputs, or inputs easier to turn");
  struct few *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "pointwise: out of memory");
  k->conv = *conv;
  k->pixels = dim[VN_N] * dim[VN_D] * dim[VN_H] * dim[VN_W];
  const size_t vecs = JOB_ELEMS / VEC_LANES / (channels < CHANNELS ? CHANNELS : channels);
  k->job_pixels = (vecs ? vecs : 1) * VEC_LANES;
  *prepared = (struct vn_prepared){.name = "pointwise few " VN_ISA_TEXT,
                                   .jobs = (k->pixels + k->job_pixels - 1) / k->job_pixels,
                                   .packed_bytes = dim[VN_C] * channels * sizeof(float),
                                   .run = few_run,
                                   .close = free,
                                   .pack = few_pack,
                                   .use = few_use,
                                   .state = k};
  return VN_OK;
}
