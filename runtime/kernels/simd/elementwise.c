/* Activations, scaling and sums, element by element. Other broadcasts than along c are left to
 * ref/, whose results these equal within rounding, NaN alike.
 *
 * Work lies in rows of `width` floats. A row is a pixel, or, where no tensor has gaps, a long run
 * of them: narrow pixels would leave lanes idle. What belongs to channels is laid out in tables for
 * the whole row. */
#include "epilogue.h"
#include "simd.h"

#include <stdlib.h>

enum { JOB_ELEMS = 16384 };

static size_t pixels_of(const struct vn_tensor *t) {
  return t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W];
}

struct rows {
  struct vn_simple s;
  size_t count, width, last; /* rows; floats in each, and in the last one */
  size_t group;              /* channels of in[1] where it has fewer than in[0]: a row's part */
  size_t job_rows;
  size_t step[3];  /* floats from row to row: in[0], in[1], out */
  float *table[2]; /* PRELU's slopes, or scale and shift; padded by a vector */
};

/* n floats at x, y and b, the row's elements from `at` on. `one`: b is one value for all. */
VEC_INLINE void row_part(const struct rows *k, const uint32_t op, const uint32_t kind,
                         const bool one, const float *x, const float *b, float *y, size_t at,
                         size_t n) {
  const vec alpha = vec_set1(k->s.epilogue.act[op == VN_OP_ADD].alpha);
  for (size_t i = 0; i < n; i += VEC_LANES) {
    vec v = vec_load_k(x + i, n - i);
    if (op == VN_OP_AFFINE) v = v * vec_load(k->table[0] + at + i) + vec_load(k->table[1] + at + i);
    if (op == VN_OP_ADD) v = v + (one ? vec_set1(*b) : vec_load_k(b + i, n - i));
    v = vn_epi_act(kind, kind == VN_ACT_PRELU ? vec_load(k->table[0] + at + i) : alpha, v);
    vec_store_k(y + i, v, n - i);
  }
}

VEC_INLINE void rows_run(const struct rows *k, size_t job, const uint32_t op, const uint32_t kind,
                         const bool one) {
  const size_t first = job * k->job_rows, end = smaller(k->count, first + k->job_rows);
  for (size_t r = first; r < end; r++) {
    const size_t n = r + 1 == k->count ? k->last : k->width, part = smaller(k->group, n);
    const float *x = (const float *)k->s.in[0].data + r * k->step[0];
    const float *b = op == VN_OP_ADD ? (const float *)k->s.in[1].data + r * k->step[1] : NULL;
    float *y = (float *)k->s.out.data + r * k->step[2];
    for (size_t at = 0; at < n; at += part) row_part(k, op, kind, one, x + at, b, y + at, at, part);
  }
}

#define EACH_ROWS(F)                                                                               \
  F(AFFINE, NONE, 0)                                                                               \
  F(ACT, RELU, 0)                                                                                  \
  F(ACT, PRELU, 0)                                                                                 \
  F(ACT, ELU, 0)                                                                                   \
  F(ACT, SIGMOID, 0)                                                                               \
  F(ADD, NONE, 0)                                                                                  \
  F(ADD, RELU, 0)                                                                                  \
  F(ADD, PRELU, 0)                                                                                 \
  F(ADD, ELU, 0)                                                                                   \
  F(ADD, SIGMOID, 0)                                                                               \
  F(ADD, NONE, 1)                                                                                  \
  F(ADD, RELU, 1)                                                                                  \
  F(ADD, PRELU, 1)                                                                                 \
  F(ADD, ELU, 1)                                                                                   \
  F(ADD, SIGMOID, 1)

#define DEFINE(OP, KIND, ONE)                                                                      \
  static void run_##OP##_##KIND##_##ONE(const void *state, size_t job, void *scratch) {            \
    (void)scratch;                                                                                 \
    rows_run(state, job, VN_OP_##OP, VN_ACT_##KIND, ONE);                                          \
  }
EACH_ROWS(DEFINE)

static void rows_close(void *state) {
  struct rows *k = state;
  if (!k) return;
  free(k->table[0]);
  free(k->table[1]);
  free(k);
}

/* The channels' values over and over, for a whole row and a vector's reach beyond it. */
static float *table_new(const struct rows *k, const float *values) {
  const size_t channels = k->s.out.dim[VN_C];
  float *table = malloc((k->width + VEC_LANES) * sizeof *table);
  for (size_t i = 0; table && i < k->width + VEC_LANES; i++) table[i] = values[i % channels];
  return table;
}

/* Rows by pixel; longer ones where every tensor is dense. */
static void rows_measure(struct rows *k) {
  const struct vn_tensor *t[3] = {&k->s.in[0], &k->s.in[1], &k->s.out};
  const size_t channels = k->s.out.dim[VN_C], all = pixels_of(&k->s.out);
  const bool second = k->s.op == VN_OP_ADD;
  size_t pixels = channels < JOB_ELEMS / 16 ? JOB_ELEMS / 16 / channels : 1;
  for (int i = 0; i < 3; i++)
    if ((i != 1 || second) && (t[i]->stride != channels || t[i]->dim[VN_C] != channels)) pixels = 1;
  k->width = pixels * channels;
  k->count = ceil_div(all, pixels);
  k->last = (all - (k->count - 1) * pixels) * channels;
  k->job_rows = k->width < JOB_ELEMS ? JOB_ELEMS / k->width : 1;
  k->group = second && k->s.in[1].dim[VN_C] > 1 ? k->s.in[1].dim[VN_C] : channels;
  if (k->group == channels) k->group = k->width;
  for (int i = 0; i < 3; i++) k->step[i] = t[i]->stride * pixels;
}

enum vn_status VN_ISA_NAME(elementwise)(const struct vn_simple *s, struct vn_prepared *prepared,
                                        struct vn_diag *diag) {
  static const struct {
    uint32_t op, kind;
    bool one;
    void (*run)(const void *, size_t, void *);
  } runs[] = {
#define ENTRY(OP, KIND, ONE) {VN_OP_##OP, VN_ACT_##KIND, ONE, run_##OP##_##KIND##_##ONE},
      EACH_ROWS(ENTRY)};
  const bool add = s->op == VN_OP_ADD;
  const bool one = add && s->in[1].dim[VN_C] == 1 && s->out.dim[VN_C] > 1;
  const uint32_t kind = s->op == VN_OP_AFFINE ? VN_ACT_NONE : s->epilogue.act[add].kind;
  size_t f = 0;
  while (f < sizeof runs / sizeof *runs &&
         (runs[f].op != s->op || runs[f].kind != kind || runs[f].one != one))
    f++;
  if (f == sizeof runs / sizeof *runs)
    return vn_fail(diag, VN_E_UNSUPPORTED, "elementwise: no vector body for this");
  for (int a = 0; add && a < VN_AXES; a++)
    if (a != VN_C && s->in[1].dim[a] != s->out.dim[a])
      return vn_fail(diag, VN_E_UNSUPPORTED, "elementwise: a sum that broadcasts along c alone");
  struct rows *k = calloc(1, sizeof *k);
  if (!k) return vn_fail(diag, VN_E_MEMORY, "elementwise: out of memory");
  k->s = *s;
  rows_measure(k);
  const float *values[2] = {s->op == VN_OP_AFFINE  ? s->scale
                            : kind == VN_ACT_PRELU ? s->epilogue.act[add].slope
                                                   : NULL,
                            s->op == VN_OP_AFFINE ? s->shift : NULL};
  for (int i = 0; i < 2; i++)
    if (values[i] && !(k->table[i] = table_new(k, values[i]))) {
      rows_close(k);
      return vn_fail(diag, VN_E_MEMORY, "elementwise: out of memory");
    }
  *prepared = (struct vn_prepared){.name = "elementwise " VN_ISA_TEXT,
                                   .jobs = ceil_div(k->count, k->job_rows),
                                   .state_bytes = sizeof *k + 2 * k->width * sizeof(float),
                                   .run = runs[f].run,
                                   .close = rows_close,
                                   .state = k};
  return VN_OK;
}
