/* The product behind pointwise.c, down.c and up.c: blocks of a few pixels by a panel of output
 * channels in registers, then the epilogue. Knows nothing of where lines of pixels lie. */
#include "product.h"

#include "epilogue.h"
#include "gemm.h"

#include <stdlib.h>

enum {
  FEWEST_JOBS = 32,     /* if possible */
  JOB_BYTES = 65536,    /* of inputs, in L1 or L2 */
  NARROW_BYTES = 16384, /* of weights that stay in L1 beside a line of pixels */
  LINE = 16             /* floats of a cache line */
};

static size_t smaller(size_t a, size_t b) {
  return a < b ? a : b;
}
static size_t ceil_div(size_t a, size_t b) {
  return (a + b - 1) / b;
}

struct block {
  const struct product *p;
  const float *in, *u;
  float *sum;
  size_t ahead; /* floats to the same block of the next line, to be fetched; 0: nothing */
};

/* The blocks that a strided convolution reads lie apart, which no prefetcher of the machine's sees
 * through. */
VEC_INLINE void fetch(const float *in, size_t step, size_t depth, const size_t rows) {
  VEC_UNROLL for (size_t i = 0; i < rows; i++) for (size_t k = 0; k < depth; k += LINE)
      vec_prefetch_l2(in + i * step + k);
}

VEC_INLINE void block(const struct block *b, const size_t rows, const size_t vecs) {
  vec sum[GEMM_ROWS][GEMM_PANEL];
  const size_t depth = b->p->depth, segments = b->p->segments, in_step = b->p->in_step;
  const size_t *at = b->p->segment_at;
  gemm_clear(sum, rows, vecs);
  for (size_t s = 0; s < segments; s++) {
    if (b->ahead) fetch(b->in + at[s] + b->ahead, in_step, depth, rows);
    gemm_block(sum, b->in + at[s], in_step, b->u + s * depth * vecs * VEC_LANES, depth, 0, rows,
               vecs);
  }
  gemm_store(sum, b->sum, vecs * VEC_LANES, rows, vecs);
}

typedef void block_fn(const struct block *b);
#define DEFINE(R)                                                                                  \
  static void block_##R##_1(const struct block *b) {                                               \
    block(b, R, 1);                                                                                \
  }                                                                                                \
  static void block_##R##_2(const struct block *b) {                                               \
    block(b, R, 2);                                                                                \
  }
GEMM_EACH_ROWS(DEFINE)
#define ENTRY(R) {block_##R##_1, block_##R##_2},
static block_fn *const blocks_of[GEMM_ROWS][GEMM_PANEL] = {GEMM_EACH_ROWS(ENTRY)};

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

/* One or two vectors of outputs: of one tap or of neighbours. */
struct panel {
  const float *u;
  size_t vecs, tap_at[GEMM_PANEL];
  struct vn_epi e[GEMM_PANEL];
};

static struct panel panel_of(const struct product *p, size_t index) {
  const size_t first = index * GEMM_PANEL;
  struct panel panel = {.u = p->packed + first * VEC_LANES * p->segments * p->depth,
                        .vecs = smaller(p->taps * p->vecs - first, GEMM_PANEL)};
  for (size_t o = 0; o < panel.vecs; o++) {
    const size_t channel = (first + o) % p->vecs * VEC_LANES;
    panel.tap_at[o] = p->tap_at[(first + o) / p->vecs];
    panel.e[o] = vn_epi_open(&p->conv.epilogue, channel,
                             smaller(p->conv.out.dim[VN_C] - channel, VEC_LANES));
  }
  return panel;
}

/* All pixels of a line by one panel. */
static void run_line(const struct product *p, size_t line, const struct panel *panel,
                     size_t ahead) {
  float sum[GEMM_ROWS * GEMM_PANEL * VEC_LANES];
  const size_t count = smaller(p->line, p->pixels - line * p->line), vecs = panel->vecs;
  const size_t blocks = ceil_div(count, gemm_rows(vecs));
  const size_t rows = count / blocks, longer = count % blocks;
  struct block b = {p, (const float *)p->conv.in.data + p->in_at(p, line), panel->u, sum, ahead};
  size_t pixel = p->out_at(p, line);
  for (size_t i = 0; i < blocks; i++) {
    const size_t n = rows + (i < longer);
    blocks_of[n - 1][vecs - 1](&b);
    for (size_t o = 0; o < vecs; o++)
      finish(p, &panel->e[o], sum + o * VEC_LANES, vecs * VEC_LANES, pixel + panel->tap_at[o], n);
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
  const size_t lines = ceil_div(p->pixels, p->line);
  const size_t first = job % p->line_jobs * p->lines_job, from = job / p->line_jobs * p->panels_job;
  const size_t last = smaller(lines, first + p->lines_job);
  const size_t end = smaller(p->panels, from + p->panels_job);
  const size_t lines_step = p->narrow ? 1 : last - first;
  for (size_t line = first; line < last; line += lines_step)
    for (size_t i = from; i < end; i++) {
      const struct panel panel = panel_of(p, i);
      for (size_t l = line; l < line + lines_step; l++)
        run_line(p, l, &panel, i == from ? ahead_of(p, l) : 0);
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
  const size_t first = job * GEMM_PANEL, end = smaller(p->taps * p->vecs, first + GEMM_PANEL);
  float *to = packing->to + first * VEC_LANES * depth;
  (void)slot;
  for (size_t i = 0; i < depth; i++)
    for (size_t v = first; v < end; v++)
      for (size_t l = 0; l < VEC_LANES; l++) {
        const size_t o = v % p->vecs * VEC_LANES + l, tap = v / p->vecs;
        *to++ = o < channels ? packing->weight[(o * p->taps + tap) * depth + i] : 0;
      }
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
  p->panels = ceil_div(p->taps * p->vecs, GEMM_PANEL);
  const size_t bytes = p->taps * p->vecs * VEC_LANES * p->segments * p->depth * sizeof(float);
  cut(p);
  p->narrow = bytes <= NARROW_BYTES;
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
