/* The product behind pointwise.c, down.c and up.c: blocks of a few pixels by a panel of output
 * channels in registers, then the epilogue. Knows nothing of where lines of pixels lie. */
#include "product.h"

#include "epilogue.h"
#include "gemm.h"

#include <stdlib.h>

enum { FEWEST_JOBS = 32, JOB_BYTES = 65536 }; /* if possible; of inputs, in L1 or L2 */
enum { LINE = 16 };                           /* floats of a cache line */

struct block {
  const struct product *p;
  const float *in, *u;
  float *sum;
};

VEC_INLINE void block(const struct block *b, const size_t rows, const size_t vecs) {
  vec sum[GEMM_ROWS][GEMM_PANEL];
  const size_t depth = b->p->depth, segments = b->p->segments, in_step = b->p->in_step;
  const size_t *at = b->p->segment_at;
  gemm_clear(sum, rows, vecs);
  for (size_t s = 0; s < segments; s++)
    gemm_block(sum, b->in + at[s], in_step, b->u + s * depth * vecs * VEC_LANES, depth, 0, rows,
               vecs);
  gemm_store(sum, b->sum, vecs * VEC_LANES, rows, vecs);
}

GEMM_TABLE(struct block, block);

/* Epilogue and store of `count` pixels, one vector of channels. */
static void finish(const struct product *p, const struct vn_epi *epi, const float *sum,
                   size_t sum_step, size_t pixel, size_t count) {
  const struct vn_epi e = *epi;
  const size_t stride = p->conv.out.stride, step = p->out_step;
  float *out = (float *)p->conv.out.data + pixel * stride + e.channel;
  if (p->stream && e.count == VEC_LANES) {
    for (; count--; pixel += step, out += step * stride, sum += sum_step)
      vec_stream(out, vn_epi_apply(&e, vec_load(sum), pixel));
    return;
  }
  for (; count--; pixel += step, out += step * stride, sum += sum_step)
    vec_store_k(out, vn_epi_apply(&e, vec_load(sum), pixel), e.count);
}

/* `count` pixels' inputs. Those of a strided convolution lie apart, which no prefetcher of the
 * machine's sees through. */
static void fetch(const struct product *p, const float *in, size_t count) {
  for (size_t s = 0; s < p->segments; s++) {
    if (s && p->segment_at[s] < p->segment_at[s - 1] + LINE) continue;
    const float *from = in + p->segment_at[s];
    for (size_t i = 0; i < count; i++, from += p->in_step)
      for (size_t k = 0; k < p->depth; k += LINE) vec_prefetch_l2(from + k);
  }
}

/* All pixels of a line by one panel. `pixel`: the output of the first; ahead: floats to the next
 * line's input, which is fetched meanwhile, or 0. */
static void run_line(const struct product *p, const float *in, size_t count, size_t ahead,
                     const float *u, const struct vn_epi *e, size_t vecs, size_t pixel) {
  float sum[GEMM_ROWS * GEMM_PANEL * VEC_LANES];
  const size_t blocks = ceil_div(count, gemm_rows(vecs));
  const size_t rows = count / blocks, longer = count % blocks;
  struct block b = {p, in, u, sum};
  for (size_t i = 0; i < blocks; i++) {
    const size_t n = rows + (i < longer);
    if (ahead) fetch(p, b.in + ahead, n);
    block_of[n - 1][vecs - 1](&b);
    for (size_t o = 0; o < vecs; o++)
      finish(p, &e[o], sum + o * VEC_LANES, vecs * VEC_LANES, pixel, n);
    b.in += n * p->in_step;
    pixel += n * p->out_step;
  }
}

/* How far the next line's input is, where it should be fetched. */
static size_t ahead_of(const struct product *p, size_t line) {
  if (p->segments == 1 || line + 1 == ceil_div(p->pixels, p->line)) return 0;
  return p->in_at(p, line + 1) - p->in_at(p, line);
}

static void product_run(const void *state, size_t job, void *scratch) {
  const struct product *p = state;
  (void)scratch;
  const size_t lines = ceil_div(p->pixels, p->line), per_tap = p->panels / p->taps;
  const size_t first = job % p->line_jobs * p->lines_job, from = job / p->line_jobs * p->panels_job;
  const size_t last = smaller(lines, first + p->lines_job);
  for (size_t i = from; i < smaller(p->panels, from + p->panels_job); i++) {
    const size_t v = i % per_tap * GEMM_PANEL, vecs = smaller(p->vecs - v, GEMM_PANEL);
    const float *u = p->packed + (i / per_tap * p->vecs + v) * VEC_LANES * p->segments * p->depth;
    struct vn_epi e[GEMM_PANEL];
    for (size_t o = 0; o < vecs; o++) {
      const size_t channel = (v + o) * VEC_LANES;
      e[o] = vn_epi_open(&p->conv.epilogue, channel,
                         smaller(p->conv.out.dim[VN_C] - channel, VEC_LANES));
    }
    for (size_t l = first; l < last; l++)
      run_line(p, (const float *)p->conv.in.data + p->in_at(p, l),
               smaller(p->line, p->pixels - l * p->line), i == from ? ahead_of(p, l) : 0, u, e,
               vecs, p->out_at(p, l) + p->tap_at[i / per_tap]);
  }
  if (p->stream) vec_stream_end();
}

static void product_close(void *state) {
  struct product *p = state;
  if (!p) return;
  free(p->segment_at);
  free(p->tap_at);
  free(p);
}

struct product *VN_ISA_NAME(product_new)(const struct vn_conv *conv, size_t taps, size_t segments) {
  struct product *p = calloc(1, sizeof *p);
  if (!p) return NULL;
  p->conv = *conv;
  p->taps = taps;
  p->segments = segments;
  p->tap_at = calloc(taps, sizeof *p->tap_at);
  p->segment_at = calloc(segments, sizeof *p->segment_at);
  if (p->tap_at && p->segment_at) return p;
  product_close(p);
  return NULL;
}

struct packing {
  const struct product *p;
  const float *weight;
  float *to;
};

static void pack_panel(void *context, size_t job, size_t slot) {
  const struct packing *packing = context;
  const struct product *p = packing->p;
  const size_t depth = p->segments * p->depth, channels = p->conv.out.dim[VN_C];
  const size_t per_tap = p->panels / p->taps, tap = job / per_tap;
  const size_t v = job % per_tap * GEMM_PANEL, vecs = smaller(p->vecs - v, GEMM_PANEL);
  float *to = packing->to + (tap * p->vecs + v) * VEC_LANES * depth;
  (void)slot;
  for (size_t i = 0; i < depth; i++)
    for (size_t o = v * VEC_LANES; o < (v + vecs) * VEC_LANES; o++)
      *to++ = o < channels ? packing->weight[(o * p->taps + tap) * depth + i] : 0;
}

static bool product_pack(const void *state, struct vn_pool *pool, const float *weight, void *memory,
                         struct vn_watch *watch) {
  struct packing packing = {state, weight, memory};
  return vn_pool_run_watched(pool, packing.p->panels, pack_panel, &packing, watch);
}

static void product_use(void *state, const void *memory) {
  ((struct product *)state)->packed = memory;
}

/* Few inputs per job, so that they stay in cache from panel to panel; all weights pass by in each.
 * Where that leaves too few jobs, panels are shared out as well. */
static void cut(struct product *p) {
  const size_t lines = ceil_div(p->pixels, p->line);
  const size_t bytes = p->line * p->segments * p->depth * sizeof(float);
  p->lines_job = smaller(lines, bytes < JOB_BYTES ? JOB_BYTES / bytes : 1);
  p->panels_job = p->panels;
  p->line_jobs = ceil_div(lines, p->lines_job);
  if (p->line_jobs < FEWEST_JOBS)
    p->panels_job = ceil_div(p->panels, ceil_div(FEWEST_JOBS, p->line_jobs));
  while (p->lines_job > 1 && p->line_jobs * ceil_div(p->panels, p->panels_job) < FEWEST_JOBS) {
    p->lines_job = ceil_div(p->lines_job, 2);
    p->line_jobs = ceil_div(lines, p->lines_job);
  }
}

void VN_ISA_NAME(product_prepare)(struct product *p, const char *name,
                                  struct vn_prepared *prepared) {
  p->vecs = ceil_div(p->conv.out.dim[VN_C], VEC_LANES);
  p->panels = p->taps * ceil_div(p->vecs, GEMM_PANEL);
  const size_t bytes = p->taps * p->vecs * VEC_LANES * p->segments * p->depth * sizeof(float);
  cut(p);
  p->stream = vn_wants_stream(&p->conv.out);
  *prepared = (struct vn_prepared){.jobs = p->line_jobs * ceil_div(p->panels, p->panels_job),
                                   .packed_bytes = bytes,
                                   .state_bytes = (p->taps + p->segments) * sizeof(size_t),
                                   .run = product_run,
                                   .close = product_close,
                                   .pack = product_pack,
                                   .use = product_use,
                                   .state = p};
  snprintf(prepared->name, sizeof prepared->name, "%s " VN_ISA_TEXT, name);
}
