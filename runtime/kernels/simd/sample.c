/* SAMPLE on vectors of channels: pooling, resizing, padding and reductions along n, d, h and w; and
 * along c alone. A job is a few rows of the output along w. What a row takes along n, d and h is
 * found once for the row. */
#include "simd.h"

#include <stdlib.h>
#include <string.h>

enum { JOB_ELEMS = 16384, MOST_TAPS = 4096, BLOCK = 4 };

struct tap {
  ptrdiff_t at; /* floats from where the axis begins; OUTSIDE: the fill value */
  float weight;
};
static const ptrdiff_t OUTSIDE = PTRDIFF_MIN;

struct axis { /* [index of the output][taps] */
  struct tap *list;
  size_t taps;
};

struct sample {
  struct vn_simple s;
  struct axis axis[VN_AXES];
  size_t rows, job_rows, row_taps; /* of the output; in a job; of n, d and h together */
};

static struct tap both(struct tap a, struct tap b) {
  const bool outside = a.at == OUTSIDE || b.at == OUTSIDE;
  return (struct tap){outside ? OUTSIDE : a.at + b.at, a.weight * b.weight};
}

/* What the row takes, in the order of n, d, h. */
static void row_taps(const struct sample *k, size_t row, struct tap *to) {
  const size_t *dim = k->s.out.dim, h = row % dim[VN_H], nd = row / dim[VN_H];
  const size_t at[3] = {nd / dim[VN_D], nd % dim[VN_D], h};
  static const int axes[3] = {VN_N, VN_D, VN_H};
  const struct tap *list[3];
  for (int i = 0; i < 3; i++) list[i] = k->axis[axes[i]].list + at[i] * k->axis[axes[i]].taps;
  for (size_t a = 0; a < k->axis[VN_N].taps; a++)
    for (size_t b = 0; b < k->axis[VN_D].taps; b++)
      for (size_t c = 0; c < k->axis[VN_H].taps; c++)
        *to++ = both(both(list[0][a], list[1][b]), list[2][c]);
}

/* `vecs` vectors of channels of one pixel, from `c` on; n channels are left. */
VEC_INLINE void pixel_block(const struct sample *k, const struct tap *rows, const struct tap *along,
                            size_t c, size_t n, float *y, const size_t vecs, const bool largest) {
  const float *x = (const float *)k->s.in[0].data + c;
  vec sum[BLOCK];
  bool first = true;
  VEC_UNROLL for (size_t v = 0; v < vecs; v++) sum[v] = vec_zero();
  for (size_t r = 0; r < k->row_taps; r++)
    for (size_t t = 0; t < k->axis[VN_W].taps; t++, first = false) {
      const struct tap tap = both(rows[r], along[t]);
      const vec weight = vec_set1(tap.weight);
      VEC_UNROLL for (size_t v = 0; v < vecs; v++) {
        vec value = vec_set1(k->s.a);
        if (tap.at != OUTSIDE) value = vec_load_k(x + tap.at + v * VEC_LANES, n - v * VEC_LANES);
        if (largest)
          sum[v] = first ? value : vec_select_gt(value, sum[v], value, sum[v]);
        else
          sum[v] = vec_fma(weight, value, sum[v]);
      }
    }
  VEC_UNROLL for (size_t v = 0; v < vecs; v++)
      vec_store_k(y + v * VEC_LANES, sum[v], n - v * VEC_LANES);
}

VEC_INLINE void rows_run(const struct sample *k, size_t job, struct tap *rows, const bool largest) {
  const size_t channels = k->s.out.dim[VN_C], width = k->s.out.dim[VN_W];
  const size_t end = smaller(k->rows, (job + 1) * k->job_rows);
  for (size_t row = job * k->job_rows; row < end; row++) {
    row_taps(k, row, rows);
    for (size_t w = 0; w < width; w++) {
      const struct tap *along = k->axis[VN_W].list + w * k->axis[VN_W].taps;
      float *y = (float *)k->s.out.data + (row * width + w) * k->s.out.stride;
      for (size_t c = 0; c < channels; c += BLOCK * VEC_LANES) {
        const size_t n = channels - c;
        if (n > 3 * VEC_LANES)
          pixel_block(k, rows, along, c, n, y + c, 4, largest);
        else if (n > 2 * VEC_LANES)
          pixel_block(k, rows, along, c, n, y + c, 3, largest);
        else if (n > VEC_LANES)
          pixel_block(k, rows, along, c, n, y + c, 2, largest);
        else
          pixel_block(k, rows, along, c, n, y + c, 1, largest);
      }
    }
  }
}

static void run_sum(const void *state, size_t job, void *scratch) {
  rows_run(state, job, scratch, false);
}
static void run_largest(const void *state, size_t job, void *scratch) {
  rows_run(state, job, scratch, true);
}

/* ---- along c: one value at a time ---- */

static float channel_value(const struct sample *k, const float *x, size_t c) {
  const struct axis *a = &k->axis[VN_C];
  const struct tap *t = a->list + c * a->taps;
  float sum = 0, most = 0;
  for (size_t i = 0; i < a->taps; i++) {
    const float value = t[i].at == OUTSIDE ? k->s.a : x[t[i].at];
    sum += t[i].weight * value;
    if (i == 0 || value > most) most = value;
  }
  return k->s.largest ? most : sum;
}

static void run_channels(const void *state, size_t job, void *scratch) {
  const struct sample *k = state;
  const size_t width = k->s.out.dim[VN_W], end = smaller(k->rows, (job + 1) * k->job_rows) * width;
  (void)scratch;
  for (size_t pixel = job * k->job_rows * width; pixel < end; pixel++) {
    const float *x = (const float *)k->s.in[0].data + pixel * k->s.in[0].stride;
    float *y = (float *)k->s.out.data + pixel * k->s.out.stride;
    for (size_t c = 0; c < k->s.out.dim[VN_C]; c++) y[c] = channel_value(k, x, c);
  }
}

/* ---- the tables ---- */

static void sample_close(void *state) {
  struct sample *k = state;
  if (!k) return;
  for (int a = 0; a < VN_AXES; a++) free(k->axis[a].list);
  free(k);
}

static bool axis_make(struct sample *k, int axis, size_t stride) {
  const struct vn_table *table = &k->s.table[axis];
  struct axis *a = &k->axis[axis];
  const size_t size = k->s.out.dim[axis];
  a->taps = table->pairs ? table->taps : 1;
  a->list = malloc(size * a->taps * sizeof *a->list);
  for (size_t i = 0; a->list && i < size * a->taps; i++) {
    const float *pair = table->pairs ? table->pairs + 2 * i : NULL;
    const bool outside = pair && pair[0] < 0;
    const size_t index = outside ? 0 : pair ? (size_t)pair[0] : i;
    a->list[i] =
        (struct tap){outside ? OUTSIDE : (ptrdiff_t)(index * stride), pair ? pair[1] : 1.f};
  }
  return a->list;
}

static bool tables_make(struct sample *k) {
  const struct vn_tensor *in = &k->s.in[0];
  static const int axes[4] = {VN_W, VN_H, VN_D, VN_N};
  size_t stride = in->stride;
  for (int i = 0; i < 4; i++) {
    if (!axis_make(k, axes[i], stride)) return false;
    stride *= in->dim[axes[i]];
  }
  return axis_make(k, VN_C, 1);
}

static size_t tables_bytes(const struct sample *k) {
  size_t bytes = sizeof *k;
  for (int a = 0; a < VN_AXES; a++)
    bytes += k->s.out.dim[a] * k->axis[a].taps * sizeof *k->axis[a].list;
  return bytes;
}

/* The fewest taps along c and along all other axes; both are more than one: ref's. */
static bool covers(const struct vn_simple *s) {
  double others = 1;
  bool any = false;
  for (int a = 0; a < VN_AXES; a++) {
    if (a == VN_C || !s->table[a].pairs) continue;
    any = true;
    if (a != VN_W) others *= (double)s->table[a].taps;
  }
  return s->table[VN_C].pairs ? !any : others <= MOST_TAPS;
}

enum vn_status VN_ISA_NAME(sample)(const struct vn_simple *s, struct vn_prepared *prepared,
                                   struct vn_diag *diag) {
  if (!covers(s))
    return vn_fail(diag, VN_E_UNSUPPORTED, "sample: along c alone, or %d rows at most", MOST_TAPS);
#if VEC_LANES == 16
  if (s->out.dim[VN_C] <= 8 && !s->table[VN_C].pairs) return vn_sample_avx2(s, prepared, diag);
#endif
  struct sample *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "sample: out of memory");
  k->s = *s;
  if (!tables_make(k)) {
    sample_close(k);
    return vn_fail(diag, VN_E_MEMORY, "sample: out of memory");
  }
  const size_t *out = s->out.dim, row = out[VN_W] * out[VN_C];
  k->rows = out[VN_N] * out[VN_D] * out[VN_H];
  k->row_taps = k->axis[VN_N].taps * k->axis[VN_D].taps * k->axis[VN_H].taps;
  k->job_rows = row < JOB_ELEMS ? JOB_ELEMS / row : 1;
  if (k->rows < 32 * k->job_rows) k->job_rows = ceil_div(k->rows, 32);
  *prepared =
      (struct vn_prepared){.name = "sample " VN_ISA_TEXT,
                           .jobs = ceil_div(k->rows, k->job_rows),
                           .scratch_bytes = ceil_div(k->row_taps * sizeof(struct tap), 64) * 64,
                           .state_bytes = tables_bytes(k),
                           .run = s->table[VN_C].pairs ? run_channels
                                  : s->largest         ? run_largest
                                                       : run_sum,
                           .close = sample_close,
                           .state = k};
  return VN_OK;
}
