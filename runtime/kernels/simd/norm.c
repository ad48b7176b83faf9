/* INSTNORM on vectors, in three phases: the statistics of pieces of a fixed size, their sum in the
 * order of the pieces, then the normalisation with all that follows it.
 *
 * A piece is rows of `width` floats: a pixel, or, where no tensor has gaps, as many as fill vectors
 * of any width. Each float of a row has a sum of its own down the rows, so that no result depends
 * on the vector; runs of a few rows are summed in float, all else in double. */
#include "epilogue.h"
#include "simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_ELEMS = 16384, RUN_ROWS = 32, WIDE = 16, MOST_WIDTH = 1024, BLOCK = 4 };

struct norm {
  struct vn_simple s;
  size_t channels, images, pixels; /* of an image */
  size_t width, rows, last;        /* of a row; of an image; the last row's floats */
  size_t piece, pieces;            /* rows; of an image */
  size_t padded;                   /* floats of a table: a row and a vector's reach beyond it */
  double *sums;                    /* [image][piece][mean or squares][channel] */
  float *mean, *factor;            /* [image][padded] */
  float *shift, *param[2];         /* [padded]; param: slopes, or alpha */
};

/* ---- statistics ---- */

/* Sums down `rows` rows, or the squares of the departures from `mean` where there is one. */
VEC_INLINE void run_sum(const float *x, size_t step, size_t rows, size_t n, const float *mean,
                        float *to) {
  for (size_t i = 0; i < n; i += BLOCK * VEC_LANES) {
    const size_t vecs = smaller(BLOCK, ceil_div(n - i, VEC_LANES));
    for (size_t v = 0; v < vecs; v++) {
      const size_t at = i + v * VEC_LANES;
      vec sum = vec_zero();
      const vec middle = mean ? vec_load(mean + at) : vec_zero();
      for (size_t r = 0; r < rows; r++) {
        const vec value = vec_load_k(x + r * step + at, n - at);
        if (mean)
          sum = vec_fma(value - middle, value - middle, sum);
        else
          sum = sum + value;
      }
      vec_store(to + at, sum);
    }
  }
}

struct piece {
  const float *x;
  size_t step, rows, last; /* whole rows; floats of one more, or 0 */
};

static struct piece piece_of(const struct norm *k, size_t image, size_t index) {
  const size_t first = index * k->piece, end = smaller(k->rows, first + k->piece);
  const size_t row_pixels = k->width / k->channels;
  const size_t step = row_pixels * k->s.in[0].stride;
  const bool short_row = end == k->rows && k->last < k->width;
  const float *x = (const float *)k->s.in[0].data + image * k->pixels * k->s.in[0].stride;
  return (struct piece){x + first * step, step, end - first - short_row, short_row ? k->last : 0};
}

/* Floats [from, from + n) of all whole rows; total[channel]. */
static void columns_sum(const struct norm *k, const struct piece *p, size_t from, size_t n,
                        const float *mean, double *total) {
  float run[MOST_WIDTH + WIDE];
  for (size_t r = 0; r < p->rows; r += RUN_ROWS) {
    run_sum(p->x + r * p->step + from, p->step, smaller(RUN_ROWS, p->rows - r), n, mean, run);
    for (size_t i = 0, c = from % k->channels; i < n; i++) {
      total[c] += (double)run[i];
      c = c + 1 == k->channels ? 0 : c + 1;
    }
  }
}

/* total[channel] of a piece: sums, or squares of the departures from `means` where there are some.
 */
static void piece_sum(const struct norm *k, const struct piece *p, const double *means,
                      double *total) {
  float mean[MOST_WIDTH + WIDE];
  memset(total, 0, k->channels * sizeof *total);
  for (size_t from = 0; from < k->width; from += MOST_WIDTH) {
    const size_t n = smaller(MOST_WIDTH, k->width - from);
    for (size_t i = 0; means && i < n + WIDE; i++) mean[i] = (float)means[(from + i) % k->channels];
    columns_sum(k, p, from, n, means ? mean : NULL, total);
  }
  for (size_t i = 0; i < p->last; i++) {
    const size_t c = i % k->channels;
    const double away = (double)p->x[p->rows * p->step + i] - (means ? (double)(float)means[c] : 0);
    total[c] += means ? away * away : away;
  }
}

static size_t piece_pixels(const struct norm *k, const struct piece *p) {
  return (p->rows * k->width + p->last) / k->channels;
}

/* Means, then squares about the piece's own mean: nothing is lost to a mean far from zero. */
static void statistics(const struct norm *k, size_t job) {
  const struct piece p = piece_of(k, job / k->pieces, job % k->pieces);
  const double pixels = (double)piece_pixels(k, &p);
  double *mean = k->sums + job * 2 * k->channels, *squares = mean + k->channels;
  piece_sum(k, &p, NULL, mean);
  for (size_t c = 0; c < k->channels; c++) mean[c] /= pixels;
  piece_sum(k, &p, mean, squares);
  for (size_t c = 0; c < k->channels; c++) { /* about what the mean was rounded to */
    const double off = mean[c] - (double)(float)mean[c];
    squares[c] -= pixels * off * off;
  }
}

/* Of one group of an image, over the pieces in their order. */
static void group_join(const struct norm *k, size_t image, size_t first) {
  const size_t span = k->s.span;
  const double all = (double)k->pixels * (double)span;
  double sum = 0, squares = 0;
  for (size_t i = 0; i < k->pieces; i++) {
    const struct piece p = piece_of(k, image, i);
    const double pixels = (double)piece_pixels(k, &p);
    for (size_t c = first; c < first + span; c++)
      sum += pixels * k->sums[(image * k->pieces + i) * 2 * k->channels + c];
  }
  const double mean = sum / all;
  for (size_t i = 0; i < k->pieces; i++) {
    const struct piece p = piece_of(k, image, i);
    const double pixels = (double)piece_pixels(k, &p);
    const double *s = k->sums + (image * k->pieces + i) * 2 * k->channels;
    for (size_t c = first; c < first + span; c++) {
      const double away = s[c] - mean;
      squares += s[k->channels + c] + pixels * away * away;
    }
  }
  const double root = sqrt(squares / all + (double)k->s.epsilon);
  for (size_t c = first; c < first + span; c++) {
    k->mean[image * k->padded + c] = (float)mean;
    k->factor[image * k->padded + c] = (float)((double)k->s.scale[c] / root);
  }
}

static void image_join(const struct norm *k, size_t image) {
  float *mean = k->mean + image * k->padded, *factor = k->factor + image * k->padded;
  for (size_t c = 0; c < k->channels; c += k->s.span) group_join(k, image, c);
  for (size_t i = k->channels; i < k->padded; i++) {
    mean[i] = mean[i - k->channels];
    factor[i] = factor[i - k->channels];
  }
}

/* ---- normalisation ---- */

VEC_INLINE void row_finish(const struct norm *k, const float *mean, const float *factor,
                           const float *x, const float *r, float *y, size_t n) {
  const uint32_t first = k->s.epilogue.act[0].kind, second = k->s.epilogue.act[1].kind;
  for (size_t i = 0; i < n; i += VEC_LANES) {
    vec v = vec_load_k(x + i, n - i) - vec_load(mean + i);
    v = vec_fma(v, vec_load(factor + i), vec_load(k->shift + i));
    v = vn_epi_act(first, vec_load(k->param[0] + i), v);
    if (r) v = v + vec_load_k(r + i, n - i);
    v = vn_epi_act(second, vec_load(k->param[1] + i), v);
    vec_store_k(y + i, v, n - i);
  }
}

static void normalise(const struct norm *k, size_t job) {
  const size_t image = job / k->pieces, first = job % k->pieces * k->piece;
  const size_t end = smaller(k->rows, first + k->piece), pixels = k->width / k->channels;
  const struct vn_tensor *in = &k->s.in[0], *out = &k->s.out, *more = &k->s.epilogue.residual;
  const float *mean = k->mean + image * k->padded, *factor = k->factor + image * k->padded;
  for (size_t row = first; row < end; row++) {
    const size_t pixel = image * k->pixels + row * pixels;
    const float *r = more->data ? (const float *)more->data + pixel * more->stride : NULL;
    row_finish(k, mean, factor, (const float *)in->data + pixel * in->stride, r,
               (float *)out->data + pixel * out->stride, row + 1 == k->rows ? k->last : k->width);
  }
}

static size_t norm_phase(const void *state, size_t first) {
  const struct norm *k = state;
  const size_t pieces = k->images * k->pieces;
  return first < pieces               ? pieces
         : first < pieces + k->images ? pieces + k->images
                                      : 2 * pieces + k->images;
}

static void norm_run(const void *state, size_t job, void *scratch) {
  const struct norm *k = state;
  const size_t pieces = k->images * k->pieces;
  (void)scratch;
  if (job < pieces)
    statistics(k, job);
  else if (job < pieces + k->images)
    image_join(k, job - pieces);
  else
    normalise(k, job - pieces - k->images);
}

/* ---- the cut ---- */

static void norm_close(void *state) {
  struct norm *k = state;
  if (!k) return;
  free(k->sums);
  free(k->mean);
  free(k->shift);
  free(k);
}

static bool dense(const struct vn_tensor *t, size_t channels) {
  return !t->data || (t->stride == channels && t->dim[VN_C] == channels);
}

/* Pixels in a row: as few as fill the widest vector. */
static size_t row_pixels(const struct norm *k) {
  size_t n = 1;
  if (!dense(&k->s.in[0], k->channels) || !dense(&k->s.out, k->channels) ||
      !dense(&k->s.epilogue.residual, k->channels))
    return 1;
  while (n * k->channels % WIDE) n *= 2;
  return n * k->channels <= MOST_WIDTH && n <= k->pixels ? n : 1;
}

static void measure(struct norm *k) {
  const size_t *dim = k->s.in[0].dim;
  k->channels = dim[VN_C];
  k->images = dim[VN_N];
  k->pixels = dim[VN_D] * dim[VN_H] * dim[VN_W];
  const size_t pixels = row_pixels(k);
  k->width = pixels * k->channels;
  k->rows = ceil_div(k->pixels, pixels);
  k->last = (k->pixels - (k->rows - 1) * pixels) * k->channels;
  k->piece = k->width < PIECE_ELEMS ? PIECE_ELEMS / k->width : 1;
  k->pieces = ceil_div(k->rows, k->piece);
  k->padded = k->width + WIDE;
}

static bool tables_make(struct norm *k) {
  k->sums = malloc(k->images * k->pieces * 2 * k->channels * sizeof *k->sums);
  k->mean = malloc(2 * k->images * k->padded * sizeof *k->mean);
  k->shift = malloc(3 * k->padded * sizeof *k->shift);
  if (!k->sums || !k->mean || !k->shift) return false;
  k->factor = k->mean + k->images * k->padded;
  for (size_t i = 0; i < k->padded; i++) k->shift[i] = k->s.shift[i % k->channels];
  for (int a = 0; a < 2; a++) {
    k->param[a] = k->shift + (1 + (size_t)a) * k->padded;
    const bool sloped = k->s.epilogue.act[a].kind == VN_ACT_PRELU;
    for (size_t i = 0; i < k->padded; i++)
      k->param[a][i] =
          sloped ? k->s.epilogue.act[a].slope[i % k->channels] : k->s.epilogue.act[a].alpha;
  }
  return true;
}

enum vn_status VN_ISA_NAME(norm)(const struct vn_simple *s, struct vn_prepared *prepared,
                                 struct vn_diag *diag) {
  if (s->epilogue.residual.data && s->epilogue.residual.dim[VN_C] != s->in[0].dim[VN_C])
    return vn_fail(diag, VN_E_UNSUPPORTED, "norm: a residual of as many channels");
  struct norm *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "norm: out of memory");
  k->s = *s;
  measure(k);
  if (!tables_make(k)) {
    norm_close(k);
    return vn_fail(diag, VN_E_MEMORY, "norm: out of memory");
  }
  *prepared = (struct vn_prepared){.name = "norm " VN_ISA_TEXT,
                                   .state_bytes = k->images * k->pieces * 2 * k->channels * 8 +
                                                  (2 * k->images + 3) * k->padded * 4,
                                   .jobs = 2 * k->images * k->pieces + k->images,
                                   .phase = norm_phase,
                                   .run = norm_run,
                                   .close = norm_close,
                                   .state = k};
  return VN_OK;
}
