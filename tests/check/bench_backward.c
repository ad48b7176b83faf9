/* Speed of the backward kernels, beside what the machine could do: gradients of weights on layers
 * of a training patch, what is done element by element, and the optimiser's step. */
#include "check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- gradients of weights ---- */

static const struct shape {
  const char *family;
  size_t in, out, coarse[3], kernel;
  bool transposed;
} shapes[] = {
    {"wgrad-winograd", 1, 16, {64, 64, 64}, 5, false},
    {"wgrad-winograd", 16, 16, {64, 64, 64}, 5, false},
    {"wgrad-winograd", 32, 32, {64, 64, 64}, 5, false},
    {"wgrad-winograd", 64, 64, {32, 32, 32}, 5, false},
    {"wgrad-winograd", 128, 128, {16, 16, 16}, 5, false},
    {"wgrad-winograd", 128, 128, {8, 8, 8}, 5, false},
    {"wgrad-winograd", 256, 256, {4, 4, 4}, 5, false},
    {"wgrad-winograd", 8, 8, {96, 96, 96}, 5, false},
    {"wgrad-winograd", 32, 2, {64, 64, 64}, 5, false},
    {"wgrad-winograd", 32, 32, {64, 64, 64}, 3, false},
    {"wgrad-product", 32, 2, {64, 64, 64}, 1, false},
    {"wgrad-product", 16, 32, {32, 32, 32}, 2, false},
    {"wgrad-product", 64, 128, {8, 8, 8}, 2, false},
    {"wgrad-product", 64, 16, {32, 32, 32}, 2, true},
};

struct gradient {
  struct vn_wgrad w;
  struct vn_pool *pool;
  void *memory;
};

static void gradient_once(void *context) {
  struct gradient *g = context;
  g->w.run(g->w.state, g->pool, g->memory);
}

static void bench_wgrad(const struct family *f, const struct shape *s, struct vn_pool *pool) {
  const bool cube = !strcmp(s->family, "wgrad-winograd");
  size_t coarse[VN_AXES] = {1}, fine[VN_AXES] = {1};
  struct vn_wgrad_spec spec = {.transposed = s->transposed, .threads = vn_pool_threads(pool)};
  double weights = (double)(s->in * s->out), pixels = 1;
  for (int i = 0; i < 3; i++) {
    spec.kernel[i] = s->kernel;
    spec.stride[i] = cube ? 1 : s->kernel;
    spec.pad[i] = cube ? s->kernel / 2 : 0;
    coarse[VN_D + i] = s->coarse[i];
    fine[VN_D + i] = s->coarse[i] * spec.stride[i];
    weights *= (double)s->kernel;
    pixels *= (double)s->coarse[i];
  }
  (s->transposed ? coarse : fine)[VN_C] = s->in;
  (s->transposed ? fine : coarse)[VN_C] = s->out;
  spec.in = bench_tensor(s->transposed ? coarse : fine, s->in);
  spec.grad_out = bench_tensor(s->transposed ? fine : coarse, s->out);
  spec.grad = bench_memory((size_t)weights * sizeof(float));
  struct gradient g = {.pool = pool};
  char what[64];
  snprintf(what, sizeof what, "%zu->%zu %zux%zux%zu k%zu%s", s->in, s->out, s->coarse[0],
           s->coarse[1], s->coarse[2], s->kernel, s->transposed ? " up" : "");
  if (!f->wgrad(&spec, &g.w, NULL)) {
    g.memory = bench_memory(g.w.bytes);
    const double bytes =
        4 * ((double)(tensor_elems(&spec.in) + tensor_elems(&spec.grad_out)) + weights);
    if (g.memory)
      bench_report(f->name, g.w.name, what, bench_time(gradient_once, &g), 2 * pixels * weights,
                   bytes);
    free(g.memory);
    g.w.close(g.w.state);
  }
  free(spec.in.data);
  free(spec.grad_out.data);
  free(spec.grad);
}

/* ---- element by element ---- */

enum { PARTS = 64 };
static const char *const ops[] = {"prelu",  "elu", "prelu_back", "elu_back",
                                  "affine", "sum", "affine2",    "moments"};
static const unsigned char tensors[] = {2, 2, 3, 3, 2, 3, 3, 2}; /* read and written */

struct pixels {
  const struct vn_backward *k;
  struct vn_pool *pool;
  size_t op;
  struct vn_tensor x, y, out;
  const float *row;
  double *sums; /* of each part */
};

static void pixels_job(void *context, size_t job, size_t slot) {
  const struct pixels *b = context;
  const size_t all = tensor_pixels(&b->x), channels = b->x.dim[VN_C];
  const struct vn_pixels p = {job * all / PARTS, (job + 1) * all / PARTS, channels};
  double *sums = b->sums + job * 2 * channels;
  (void)slot;
  if (b->op == 0) b->k->prelu(&p, &b->x, b->row, false, &b->out);
  if (b->op == 1) b->k->elu(&p, &b->x, 1, &b->out);
  if (b->op == 2) b->k->prelu_back(&p, &b->x, b->row, false, &b->y, &b->out, false, sums);
  if (b->op == 3) b->k->elu_back(&p, &b->x, 1, &b->y, &b->out, false, sums);
  if (b->op == 4) b->k->affine(&p, &b->x, b->row, b->row, &b->out, false);
  if (b->op == 5) b->k->sum(&p, &b->x, &b->y, &b->out);
  if (b->op == 6) b->k->affine2(&p, &b->x, b->row, &b->y, b->row, b->row, &b->out, false);
  if (b->op == 7) b->k->moments(&p, &b->x, &b->y, b->row, sums);
}

static void pixels_once(void *context) {
  struct pixels *b = context;
  vn_pool_run(b->pool, PARTS, pixels_job, b);
}

static void bench_pixels(const struct family *f, size_t channels, struct vn_pool *pool) {
  const size_t dim[VN_AXES] = {1, channels, 64, 128, 128};
  struct pixels b = {.k = f->pixels, .pool = pool};
  struct vn_tensor row = bench_tensor((const size_t[]){1, channels, 1, 1, 1}, channels);
  b.x = bench_tensor(dim, channels);
  b.y = bench_tensor(dim, channels);
  b.out = bench_tensor(dim, channels);
  b.row = row.data;
  b.sums = calloc(PARTS * 2 * channels, sizeof *b.sums);
  for (b.op = 0; b.sums && b.op < sizeof ops / sizeof *ops; b.op++) {
    char what[64];
    snprintf(what, sizeof what, "%s c %zu", ops[b.op], channels);
    bench_report(f->name, f->pixels->name, what, bench_time(pixels_once, &b), 0,
                 4. * tensors[b.op] * (double)tensor_elems(&b.x));
  }
  free(b.sums);
  free(b.x.data);
  free(b.y.data);
  free(b.out.data);
  free(row.data);
}

/* ---- the optimiser ---- */

enum { ADAMW_ELEMS = 1 << 23 }; /* in parts, as above */

struct optimiser {
  const struct vn_backward *k;
  struct vn_pool *pool;
  struct vn_adamw step;
};

static void adamw_job(void *context, size_t job, size_t slot) {
  const struct optimiser *o = context;
  (void)slot;
  o->k->adamw(&o->step, job * (ADAMW_ELEMS / PARTS), (job + 1) * (ADAMW_ELEMS / PARTS));
}

static void adamw_once(void *context) {
  struct optimiser *o = context;
  vn_pool_run(o->pool, PARTS, adamw_job, o);
}

static void bench_adamw(const struct family *f, struct vn_pool *pool) {
  const size_t dim[VN_AXES] = {1, ADAMW_ELEMS, 1, 1, 1};
  float *array[4];
  for (int k = 0; k < 4; k++) array[k] = bench_tensor(dim, ADAMW_ELEMS).data;
  for (size_t i = 0; i < ADAMW_ELEMS; i++) array[1][i] *= array[1][i];
  struct optimiser o = {f->adamw,
                        pool,
                        {.scale = 1,
                         .keep_first = 0.9f,
                         .keep_second = 0.999f,
                         .keep = 1,
                         .step = 1e-4f,
                         .root = 1,
                         .epsilon = 1e-8f,
                         .first = array[0],
                         .second = array[1],
                         .param = array[2],
                         .grad = array[3]}};
  bench_report(f->name, f->adamw->name, "8 M weights", bench_time(adamw_once, &o), 0,
               7. * sizeof(float) * ADAMW_ELEMS);
  for (int k = 0; k < 4; k++) free(array[k]);
}

void bench_backward(const struct family *family, struct vn_pool *pool) {
  for (size_t i = 0; family->wgrad && i < sizeof shapes / sizeof *shapes; i++)
    if (!strcmp(shapes[i].family, family->name)) bench_wgrad(family, &shapes[i], pool);
  for (size_t channels = 16; family->pixels && channels <= 32; channels *= 2)
    bench_pixels(family, channels, pool);
  if (family->adamw) bench_adamw(family, pool);
}
