/* Operators element by element, spread over the pool in parts that depend on the problem alone; see
 * ops.h. */
#include "ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "os.h"

/* Parts of a sample: at most PARTS, each of at least PART_LEAST pixels. */
enum { PARTS = 64, PART_LEAST = 1024 };
/* A part that two functions go through is cut into blocks, whole ones of the kernels' 64 pixels, so
 * that the second finds in the cache what the first has written. */
enum { BLOCK_ELEMS = 4096, BLOCK_LEAST = 64 };

/* ---- the machine ---- */

enum vn_status vnt_machine_open(const char *isa, size_t threads, struct vnt_machine *machine,
                                struct vn_diag *diag) {
  *machine = (struct vnt_machine){.processes = 1};
  enum vn_status status = vn_cpu_simd(isa, &machine->forward, diag);
  if (status) return status;
  machine->backward = vn_backward_of(machine->forward);
  if (!machine->backward)
    return vn_fail(diag, VN_E_UNSUPPORTED, "no training with the instruction set %s", isa);
  status = vn_pool_open(threads, &machine->pool, diag);
  machine->threads = vn_pool_threads(machine->pool);
  return status;
}

void vnt_machine_close(struct vnt_machine *machine) {
  vn_pool_close(&machine->pool);
  *machine = (struct vnt_machine){0};
}

/* ---- memory ---- */

void *vnt_memory(size_t bytes) {
  const size_t large = (size_t)2 << 20, page = bytes < 2 * large ? 64 : large;
  bytes = (bytes / page + 1) * page;
  void *p = aligned_alloc(page, bytes);
  if (p && page > 64) vn_os_pages_large(p, bytes);
  return p;
}

/* ---- parts ---- */

static size_t pixels_of(const struct vn_tensor *t) {
  return t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W];
}

static size_t parts_of(size_t pixels) {
  const size_t parts = pixels / PART_LEAST;
  return parts < 1 ? 1 : parts > PARTS ? PARTS : parts;
}

size_t vnt_sums_bytes(const struct vn_tensor *x) {
  const size_t samples = x->dim[VN_N];
  return samples * parts_of(pixels_of(x) / samples) * 2 * x->dim[VN_C] * sizeof(double);
}

/* Calls over all pixels of `x`: `before`, if there is one, `fn` and `then`, if there is one, on
 * each block. `fn` gets its part's own sums where there is scratch. */
struct sweep;
typedef void part_fn(const struct sweep *s, const struct vn_pixels *p, double *sums);

struct sweep {
  const struct vnt_machine *m;
  const void *what; /* fn's own */
  const struct vnt_act *act;
  const struct vn_tensor *x, *y, *dy, *dx;
  const struct vn_tensor *act_y, *act_dy; /* before's */
  bool add, marked;
  double *scratch;
  size_t pixels, channels, parts; /* a sample's pixels, and its parts */
  part_fn *before, *fn, *then;
};

static void sweep_job(void *context, size_t job, size_t slot) {
  const struct sweep *s = context;
  const size_t first = job / s->parts * s->pixels, part = job % s->parts;
  (void)slot;
  const size_t begin = first + part * s->pixels / s->parts;
  const size_t end = first + (part + 1) * s->pixels / s->parts;
  const size_t lines = BLOCK_ELEMS / s->channels / BLOCK_LEAST;
  const size_t block = !s->before && !s->then ? end - begin : (lines ? lines : 1) * BLOCK_LEAST;
  double *sums = s->scratch ? s->scratch + job * 2 * s->channels : NULL;
  if (sums) memset(sums, 0, 2 * s->channels * sizeof *sums);
  for (size_t at = begin; at < end; at += block) {
    const struct vn_pixels p = {at, end - at < block ? end : at + block, s->channels};
    if (s->before) s->before(s, &p, NULL);
    s->fn(s, &p, sums);
    if (s->then) s->then(s, &p, NULL);
  }
}

/* Runs it; adds the parts' sums in order to first[channels] and second[channels]. */
static void sweep_run(struct sweep *s, double *first, double *second) {
  const size_t samples = s->x->dim[VN_N];
  s->pixels = pixels_of(s->x) / samples;
  s->channels = s->channels ? s->channels : s->x->dim[VN_C];
  s->parts = parts_of(s->pixels);
  vn_pool_run(s->m->pool, samples * s->parts, sweep_job, s);
  double *to[2] = {first, second};
  for (int k = 0; k < 2; k++)
    for (size_t c = 0; to[k] && c < s->channels; c++) {
      to[k][c] = 0;
      for (size_t part = 0; part < samples * s->parts; part++)
        to[k][c] += s->scratch[(part * 2 + (size_t)k) * s->channels + c];
    }
}

/* ---- activations ---- */

static bool marked(const struct vnt_act *act, size_t channels) {
  for (size_t c = 0; act->kind == VN_ACT_PRELU && c < channels; c++)
    if (act->slope[c] < 0) return true;
  return false;
}

/* Of y, in place: the end of a sweep that writes it. */
static void act_in_place(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  (void)sums;
  if (s->act->kind == VN_ACT_ELU)
    s->m->backward->elu(p, s->y, s->act->alpha, s->y);
  else
    s->m->backward->prelu(p, s->y, s->act->slope, s->marked, s->y);
}

static void sweep_then_act(struct sweep *s, const struct vnt_act *act) {
  if (!act) return;
  s->act = act;
  s->marked = marked(act, s->x->dim[VN_C]);
  s->then = act_in_place;
}

static void act_part(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  const struct vnt_act *act = s->what;
  (void)sums;
  if (act->kind == VN_ACT_ELU)
    s->m->backward->elu(p, s->x, act->alpha, s->y);
  else
    s->m->backward->prelu(p, s->x, act->slope, s->marked, s->y);
}

void vnt_act_forward(const struct vnt_machine *m, const struct vnt_act *act,
                     const struct vn_tensor *x, const struct vn_tensor *y) {
  struct sweep s = {.m = m, .what = act, .x = x, .y = y, .fn = act_part};
  s.marked = marked(act, x->dim[VN_C]);
  sweep_run(&s, NULL, NULL);
}

static void act_back_part(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  const struct vnt_act *act = s->what;
  if (act->kind == VN_ACT_ELU)
    s->m->backward->elu_back(p, s->y, act->alpha, s->dy, s->dx, s->add, sums);
  else
    s->m->backward->prelu_back(p, s->y, act->slope, s->marked, s->dy, s->dx, s->add, sums);
}

void vnt_act_backward(const struct vnt_machine *m, const struct vnt_act *act,
                      const struct vn_tensor *y, const struct vn_tensor *dy,
                      const struct vn_tensor *dx, bool add, double *scratch, double *sum_dx,
                      double *grad_slope) {
  struct sweep s = {.m = m,
                    .what = act,
                    .x = y,
                    .y = y,
                    .dy = dy,
                    .dx = dx,
                    .add = add,
                    .scratch = scratch,
                    .fn = act_back_part,
                    .marked = marked(act, y->dim[VN_C])};
  sweep_run(&s, sum_dx, grad_slope);
  for (size_t c = 0; act->kind == VN_ACT_PRELU && grad_slope && c < s.channels; c++)
    grad_slope[c] /= (double)act->slope[c];
}

/* ---- sums of tensors ---- */

static void add_part(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  const size_t from = s->x->dim[VN_C], to = s->y->dim[VN_C];
  (void)sums;
  struct vn_pixels part = {p->begin, p->end, from};
  for (size_t c = 0; c < to; c += from) {
    struct vn_tensor slice = *s->y;
    slice.data = (float *)s->y->data + c;
    if (to - c < from) part.channels = to - c;
    s->m->backward->affine(&part, s->x, NULL, NULL, &slice, s->add);
  }
}

void vnt_add_forward(const struct vnt_machine *m, const struct vn_tensor *x,
                     const struct vn_tensor *y, bool add) {
  struct sweep s = {.m = m, .x = x, .y = y, .add = add, .fn = add_part};
  sweep_run(&s, NULL, NULL);
}

static void sum_part(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  (void)sums;
  s->m->backward->sum(p, s->x, s->dy, s->y);
}

void vnt_sum_forward(const struct vnt_machine *m, const struct vn_tensor *x,
                     const struct vn_tensor *y, const struct vn_tensor *z,
                     const struct vnt_act *act) {
  struct sweep s = {.m = m, .x = x, .dy = y, .y = z, .fn = sum_part};
  sweep_then_act(&s, act);
  sweep_run(&s, NULL, NULL);
}

static void scale_part(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  const float *scale = (const float *)s->what + p->begin / s->pixels * p->channels;
  (void)sums;
  s->m->backward->affine(p, s->x, scale, NULL, s->y, s->add);
}

void vnt_scale(const struct vnt_machine *m, const struct vn_tensor *x, const float *scale,
               const struct vn_tensor *y, bool add) {
  struct sweep s = {.m = m, .what = scale, .x = x, .y = y, .add = add, .fn = scale_part};
  sweep_run(&s, NULL, NULL);
}

static void add_back_part(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  const size_t to = s->x->dim[VN_C], from = s->dy->dim[VN_C];
  (void)sums;
  for (size_t i = p->begin; i < p->end; i++) {
    const float *g = (const float *)s->dy->data + i * s->dy->stride;
    float *out = (float *)s->x->data + i * s->x->stride;
    for (size_t c = 0; c < to; c++) {
      float sum = 0;
      for (size_t k = c; k < from; k += to) sum += g[k];
      out[c] = s->add ? out[c] + sum : sum;
    }
  }
}

void vnt_add_backward(const struct vnt_machine *m, const struct vn_tensor *dy,
                      const struct vn_tensor *dx, bool add) {
  if (dy->dim[VN_C] == dx->dim[VN_C]) {
    vnt_add_forward(m, dy, dx, add);
    return;
  }
  struct sweep s = {.m = m, .x = dx, .dy = dy, .add = add, .fn = add_back_part};
  sweep_run(&s, NULL, NULL);
}

static void moments_part(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  s->m->backward->moments(p, s->x, s->y, s->what, sums);
}

void vnt_channel_sums(const struct vnt_machine *m, const struct vn_tensor *x, double *scratch,
                      double *sums) {
  struct sweep s = {.m = m, .x = x, .scratch = scratch, .fn = moments_part};
  sweep_run(&s, sums, NULL);
}

/* ---- BatchNorm ---- */

enum { NORM_CHANNELS = 1024 };

struct norm_rows {
  float a[NORM_CHANNELS], b[NORM_CHANNELS], d[NORM_CHANNELS];
};

static void norm_part(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  const struct norm_rows *rows = s->what;
  (void)sums;
  s->m->backward->affine(p, s->x, rows->a, rows->d, s->y, false);
}

/* Over all processes; returns how many there are. */
static double everywhere(const struct vnt_machine *m, double *a, double *b, size_t channels) {
  if (m->processes > 1) m->sum(m->sum_context, a, channels);
  if (m->processes > 1 && b) m->sum(m->sum_context, b, channels);
  return (double)m->processes;
}

/* Sums and sums of squares. Squares are taken about the first pixel of the sample, as near to its
 * mean as need be for floats, and moved in double. */
static void squares_part(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  const size_t first = p->begin / s->pixels * s->pixels;
  const float *centre = (const float *)s->x->data + first * s->x->stride;
  s->m->backward->moments(p, s->x, NULL, centre, sums);
  for (size_t c = 0; c < p->channels; c++) sums[p->channels + c] += (double)centre[c] * sums[c];
}

/* This batch's mean and variance, into the norm and its running statistics. */
static void norm_observe(const struct vnt_machine *m, const struct vnt_norm *norm,
                         const struct vn_tensor *x, double *scratch) {
  const size_t channels = x->dim[VN_C];
  double sums[NORM_CHANNELS], squares[NORM_CHANNELS];
  struct sweep s = {.m = m, .x = x, .scratch = scratch, .fn = squares_part};
  sweep_run(&s, sums, squares);
  const double n = (double)pixels_of(x) * everywhere(m, sums, squares, channels);
  for (size_t c = 0; c < channels; c++) {
    const double mean = sums[c] / n, var = fmax(squares[c] / n - mean * mean, 0);
    norm->mean[c] = (float)mean;
    norm->inv_sd[c] = (float)(1 / sqrt(var + norm->epsilon));
    const double keep = 1 - norm->momentum, unbiased = n > 1 ? var * n / (n - 1) : var;
    norm->running_mean[c] =
        (float)(keep * (double)norm->running_mean[c] + norm->momentum * (double)norm->mean[c]);
    norm->running_var[c] = (float)(keep * (double)norm->running_var[c] + norm->momentum * unbiased);
  }
}

void vnt_norm_forward(const struct vnt_machine *m, const struct vnt_norm *norm,
                      const struct vn_tensor *x, const struct vn_tensor *y,
                      const struct vnt_act *act, double *scratch) {
  struct norm_rows rows;
  if (!norm->frozen) norm_observe(m, norm, x, scratch);
  for (size_t c = 0; c < x->dim[VN_C]; c++) {
    if (norm->frozen) {
      norm->mean[c] = norm->running_mean[c];
      norm->inv_sd[c] = (float)(1 / sqrt((double)norm->running_var[c] + norm->epsilon));
    }
    rows.a[c] = norm->scale[c] * norm->inv_sd[c];
    rows.d[c] = norm->shift[c] - norm->mean[c] * rows.a[c];
  }
  struct sweep out = {.m = m, .what = &rows, .x = x, .y = y, .fn = norm_part};
  sweep_then_act(&out, act);
  sweep_run(&out, NULL, NULL);
}

static void norm_back_part(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  const struct norm_rows *rows = s->what;
  (void)sums;
  s->m->backward->affine2(p, s->dy, rows->a, s->x, rows->b, rows->d, s->dx, s->add);
}

/* What an ELU behind the norm passes on, from its result and that one's gradient, to dy. */
static void elu_before(const struct sweep *s, const struct vn_pixels *p, double *sums) {
  s->m->backward->elu_back(p, s->act_y, s->act->alpha, s->act_dy, s->x, false, sums);
}

void vnt_norm_backward(const struct vnt_machine *m, const struct vnt_norm *norm,
                       const struct vn_tensor *x, const struct vn_tensor *dy,
                       const struct vn_tensor *dx, bool add, const struct vnt_norm_elu *elu,
                       double *scratch, double *grad_scale, double *grad_shift) {
  const size_t channels = x->dim[VN_C];
  struct sweep s = {
      .m = m, .what = norm->mean, .x = dy, .y = x, .scratch = scratch, .fn = moments_part};
  if (elu) {
    s.act = elu->act;
    s.act_y = elu->y;
    s.act_dy = elu->dy;
    s.before = elu_before;
  }
  double products[NORM_CHANNELS];
  sweep_run(&s, grad_shift, products);
  const double processes = everywhere(m, grad_shift, products, channels);
  const double n = (double)pixels_of(x) * processes;
  struct norm_rows rows;
  for (size_t c = 0; c < channels; c++) {
    const double inv = (double)norm->inv_sd[c], a = (double)norm->scale[c] * inv;
    grad_scale[c] = products[c] * inv;
    /* Statistics that do not depend on x pass no gradient to it. */
    const double b = norm->frozen ? 0 : -a * inv * grad_scale[c] / n;
    const double d = norm->frozen ? 0 : -a * grad_shift[c] / n - b * (double)norm->mean[c];
    rows.a[c] = (float)a;
    rows.b[c] = (float)b;
    rows.d[c] = (float)d;
    grad_scale[c] /= processes; /* whose gradients will be added up */
    grad_shift[c] /= processes;
  }
  struct sweep back = {
      .m = m, .what = &rows, .x = x, .dy = dy, .dx = dx, .add = add, .fn = norm_back_part};
  sweep_run(&back, NULL, NULL);
}
