/* 5x5x5 convolution by Fourier transforms of tiles, stride 1, any channels and any grid.
 *
 * The story of a job (a few strips, which are rows of tiles along w): the input is transformed
 * along d and h, into a scratch that fits the last cache; then for each of the rows of frequencies
 * it is transformed along w, multiplied by the weights, which are kept untransformed along w and
 * transformed here for all tiles of the job, and transformed back in place; then the outputs along
 * h and d are transformed back, finished and stored. Channels lie in the lanes throughout. */
#include "fft.h"

#include <stdlib.h>

static void fft_run(const void *state, size_t index, void *scratch) {
  const struct fft *f = state;
  const struct fft_job job = fft_job_at(f, index);
  float *s = scratch;
  for (size_t i = 0; i < job.count; i++) {
    const struct fft_strip at = fft_strip_at(f, &job, i);
    fft_input(f, &at, s, s + i * f->strip);
  }
  fft_products(f, &job, s);
  for (size_t i = 0; i < job.count; i++) {
    const struct fft_strip at = fft_strip_at(f, &job, i);
    fft_output(f, &at, s + i * f->strip);
  }
  if (f->stream) vec_stream_end();
}

static bool fft_pack_any(const void *state, struct vn_pool *pool, const float *weight, void *memory,
                         struct vn_watch *watch) {
  return fft_pack(state, pool, weight, memory, watch);
}

static void fft_use(void *state, const void *memory) {
  ((struct fft *)state)->packed = memory;
}

/* ---- opening ---- */

static bool covers(const struct vn_conv *c) {
  for (int a = 0; a < 3; a++)
    if (c->kernel[a] != FFT_TAPS || c->stride[a] != 1 || c->dilation[a] != 1) return false;
  return c->groups == 1;
}

enum vn_status VN_ISA_NAME(fft)(const struct vn_conv *conv, struct vn_prepared *prepared,
                                struct vn_diag *diag) {
#if VEC_LANES == 16
  if (conv->in.dim[VN_C] <= 8 && conv->out.dim[VN_C] <= 8) return vn_fft_avx2(conv, prepared, diag);
#endif
  if (!covers(conv))
    return vn_fail(diag, VN_E_UNSUPPORTED, "fft: a 5x5x5 kernel, stride 1, no dilation or groups");
  if (conv->out.dim[VN_C] <= FFT_HEAD_OUTPUTS) return fft_head(conv, prepared, diag);
  struct fft *f = calloc(1, sizeof *f);
  if (!f) return vn_fail(diag, VN_E_MEMORY, "fft: out of memory");
  f->conv = *conv;
  f->channels_in = conv->in.dim[VN_C];
  f->channels_out = conv->out.dim[VN_C];
  f->vecs_in = (f->channels_in + VEC_LANES - 1) / VEC_LANES;
  f->vecs_out = (f->channels_out + VEC_LANES - 1) / VEC_LANES;
  const size_t scratch = fft_cut(f);
  f->stream = vn_wants_stream(&conv->out);
  *prepared = (struct vn_prepared){.name = "fft " VN_ISA_TEXT,
                                   .jobs = fft_jobs(f),
                                   .scratch_bytes = scratch,
                                   .packed_bytes = FFT_ROWS * f->vecs_out * f->channels_in *
                                                   FFT_TAPS * FFT_PAIR * sizeof(float),
                                   .run = fft_run,
                                   .close = free,
                                   .pack = fft_pack_any,
                                   .use = fft_use,
                                   .state = f};
  return VN_OK;
}
