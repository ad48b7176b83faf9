/* 3D convolution by XNNPACK's 2D convolution: stride-1 or strided, any kernel, dilation, groups.
 *
 * XNNPACK has none in 3D. In channels-last data a window of neighbours along w is contiguous, so
 * for each output position along w the 3D convolution is one 2D convolution over (d, h) whose
 * pixels are W input pixels apart and whose input channels are the whole window. Where the window
 * sticks out of the volume, an operator with a truncated kernel serves; padding of d and h is
 * XNNPACK's own.
 *
 * That reads the input in place. Where it cannot (a slice of a concat, whose window has foreign
 * channels in it; groups) or where truncated kernels would take more memory than the input, the
 * input is first copied, group by group, with zeros at both ends of w.
 *
 * XNNPACK computes on a pthreadpool alone: the pool keeps one as its guest, whose workers sleep
 * between dispatches.
 *
 * The bias is XNNPACK's; the rest of the epilogue follows on the position just written, while it is
 * in cache. XNNPACK is initialised and never shut down: the process may use it, too. */
#include "../ref/ref.h"
#include "pool.h"
#include "xnn.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
  MAX_GROUPS = 16,
  MAX_WINDOW = 128,
  MAX_VARIANTS = 256,
  SLACK_BYTES = 64 << 20,
  TAIL_ROWS = 64
};

struct variant { /* taps [lo, hi) of the window along w lie inside the volume */
  size_t lo, hi;
  xnn_operator_t *ops; /* one for each group */
};

struct state {
  struct vn_conv conv;
  size_t window; /* along w, dilation included */
  size_t n_variants;
  struct variant *variants;
  uint16_t *variant_of; /* for each output position along w */
  float *copy;          /* [group][n][d][h][copy_width][c / groups], or NULL: in place */
  size_t copy_width;
  float *position; /* [n][d][h][c]: one position of the output, when the residual lies there */
  void *workspace; /* XNNPACK's own */
};

/* ---- geometry ---- */

static size_t group_in(const struct vn_conv *c) {
  return c->in.dim[VN_C] / c->groups;
}

static size_t group_out(const struct vn_conv *c) {
  return c->out.dim[VN_C] / c->groups;
}

static ptrdiff_t pad_after(const struct vn_conv *c, int axis) {
  return (ptrdiff_t)((c->out.dim[VN_D + axis] - 1) * c->stride[axis] +
                     (c->kernel[axis] - 1) * c->dilation[axis] + 1) -
         (ptrdiff_t)c->pad[axis] - (ptrdiff_t)c->in.dim[VN_D + axis];
}

static size_t input_rows(const struct vn_conv *c) {
  return c->in.dim[VN_N] * c->in.dim[VN_D] * c->in.dim[VN_H];
}

static size_t output_rows(const struct vn_conv *c) {
  return c->out.dim[VN_N] * c->out.dim[VN_D] * c->out.dim[VN_H];
}

/* Taps inside the volume for output position w. */
static struct variant window_at(const struct state *s, size_t w) {
  const struct vn_conv *c = &s->conv;
  size_t start = w * c->stride[2], pad = c->pad[2], end = c->in.dim[VN_W] + pad;
  struct variant v = {.lo = start < pad ? pad - start : 0, .hi = s->window};
  if (s->copy_width) v.lo = 0;
  if (!s->copy_width && start + s->window > end) v.hi = end - start;
  return v;
}

static bool variant_is(const struct state *s, size_t i, struct variant v) {
  return i < s->n_variants && s->variants[i].lo == v.lo && s->variants[i].hi == v.hi;
}

/* Sets variants and variant_of; false: out of memory or too many. Neighbours mostly see the
 * same. */
static bool variants_list(struct state *s) {
  size_t width = s->conv.out.dim[VN_W];
  s->n_variants = 0;
  for (size_t w = 0; w < width; w++) {
    struct variant v = window_at(s, w);
    size_t i = w ? s->variant_of[w - 1] : 0;
    if (!variant_is(s, i, v))
      for (i = 0; i < s->n_variants && !variant_is(s, i, v); i++) continue;
    if (i == MAX_VARIANTS) return false;
    if (i == s->n_variants) s->variants[s->n_variants++] = v;
    s->variant_of[w] = (uint16_t)i;
  }
  return true;
}

static size_t kernel_bytes(const struct vn_conv *c, size_t taps) {
  size_t padded_out = (group_out(c) + 15) / 16 * 16; /* XNNPACK packs blocks of output channels */
  return c->groups * padded_out * (c->kernel[0] * c->kernel[1] * taps * group_in(c) + 1) *
         sizeof(float);
}

/* Whether to copy, and how wide. Needs the variants of the input in place. */
static void copy_decide(struct state *s) {
  const struct vn_conv *c = &s->conv;
  size_t width = (c->out.dim[VN_W] - 1) * c->stride[2] + s->window, truncated = 0;
  if (width < c->in.dim[VN_W] + c->pad[2]) width = c->in.dim[VN_W] + c->pad[2];
  size_t copied = input_rows(c) * width * c->in.dim[VN_C] * sizeof(float);
  for (size_t i = 0; i < s->n_variants; i++)
    truncated += kernel_bytes(c, s->variants[i].hi - s->variants[i].lo);
  if (c->in.stride != c->in.dim[VN_C] || c->groups > 1 ||
      copied + kernel_bytes(c, s->window) < truncated)
    s->copy_width = width;
}

/* ---- operators ---- */

/* [out][kd][kh][taps lo to hi][in] of one group, dilation along w filled with zeros. */
static void kernel_fill(const struct state *s, const struct variant *v, size_t group, float *to) {
  const struct vn_conv *c = &s->conv;
  size_t in = group_in(c), rows = group_out(c) * c->kernel[0] * c->kernel[1];
  const float *from = c->weight + group * rows * c->kernel[2] * in;
  for (size_t row = 0; row < rows; row++)
    for (size_t tap = v->lo; tap < v->hi; tap++, to += in) {
      if (tap % c->dilation[2])
        memset(to, 0, in * sizeof *to);
      else
        memcpy(to, from + (row * c->kernel[2] + tap / c->dilation[2]) * in, in * sizeof *to);
    }
}

static size_t output_stride(const struct state *s) {
  size_t per_pixel = s->position ? s->conv.out.dim[VN_C] : s->conv.out.stride;
  return s->position ? per_pixel : per_pixel * s->conv.out.dim[VN_W];
}

static enum xnn_status operator_create(const struct state *s, const struct variant *v, size_t group,
                                       const float *kernel, xnn_operator_t *op) {
  const struct vn_conv *c = &s->conv;
  ptrdiff_t bottom = pad_after(c, 0), right = pad_after(c, 1);
  size_t in = group_in(c), width = s->copy_width ? s->copy_width : c->in.dim[VN_W];
  const float *bias = c->epilogue.bias ? c->epilogue.bias + group * group_out(c) : NULL;
  return xnn_create_convolution2d_nhwc_f32(
      (uint32_t)c->pad[0], right > 0 ? (uint32_t)right : 0, bottom > 0 ? (uint32_t)bottom : 0,
      (uint32_t)c->pad[1], (uint32_t)c->kernel[0], (uint32_t)c->kernel[1], (uint32_t)c->stride[0],
      (uint32_t)c->stride[1], (uint32_t)c->dilation[0], (uint32_t)c->dilation[1], 1,
      (v->hi - v->lo) * in, group_out(c), width * in, output_stride(s), kernel, bias, -INFINITY,
      INFINITY, XNN_FLAG_YIELD_WORKERS, VN_XNN_CACHES op);
}

static const float *input_at(const struct state *s, size_t w, size_t lo, size_t group) {
  const struct vn_conv *c = &s->conv;
  size_t in = group_in(c), at = w * c->stride[2] + lo; /* counted from the padding's start */
  if (!s->copy_width) return (const float *)c->in.data + (at - c->pad[2]) * in;
  return s->copy + (group * input_rows(c) * s->copy_width + at) * in;
}

static float *output_at(const struct state *s, size_t w, size_t group) {
  const struct vn_conv *c = &s->conv;
  if (s->position) return s->position + group * group_out(c);
  return (float *)c->out.data + w * c->out.stride + group * group_out(c);
}

static struct xnn_place place_at(const struct state *s, size_t w, size_t group) {
  const struct vn_conv *c = &s->conv;
  return (struct xnn_place){.n = c->in.dim[VN_N],
                            .height = c->in.dim[VN_D],
                            .width = c->in.dim[VN_H],
                            .in = input_at(s, w, s->variants[s->variant_of[w]].lo, group),
                            .out = output_at(s, w, group),
                            .workspace = s->workspace};
}

/* All operators, and their first set-up, which allocates. */
static enum xnn_status operators_open(struct state *s, size_t *workspace_bytes) {
  const struct vn_conv *c = &s->conv;
  size_t largest = group_out(c) * c->kernel[0] * c->kernel[1] * s->window * group_in(c);
  float *kernel = malloc(largest * sizeof *kernel);
  enum xnn_status status = kernel ? xnn_status_success : xnn_status_out_of_memory;
  for (size_t i = 0; !status && i < s->n_variants; i++) {
    struct variant *v = &s->variants[i];
    size_t w = 0, need;
    while (s->variant_of[w] != i) w++;
    v->ops = calloc(c->groups, sizeof(xnn_operator_t));
    if (!v->ops) status = xnn_status_out_of_memory;
    for (size_t g = 0; !status && g < c->groups; g++) {
      const struct xnn_place place = place_at(s, w, g);
      kernel_fill(s, v, g, kernel);
      status = operator_create(s, v, g, kernel, &v->ops[g]);
      if (!status) status = xnn_shape(v->ops[g], &place, NULL, &need);
      if (!status && need > *workspace_bytes) *workspace_bytes = need;
    }
  }
  free(kernel);
  return status;
}

/* ---- run ---- */

static void copy_row(void *state, size_t row, size_t slot) {
  const struct state *s = state;
  (void)slot;
  const struct vn_conv *c = &s->conv;
  size_t in = group_in(c), width = c->in.dim[VN_W];
  const float *from = (const float *)c->in.data + row * width * c->in.stride;
  for (size_t g = 0; g < c->groups; g++) {
    float *to =
        s->copy + ((g * input_rows(c) + row) * s->copy_width + c->pad[2]) * in; /* zeros before */
    for (size_t w = 0; w < width; w++)
      memcpy(to + w * in, from + w * c->in.stride + g * in, in * sizeof *to);
  }
}

struct tail { /* the epilogue of one position along w */
  const struct state *state;
  size_t w;
};

static void epilogue_rows(void *context, size_t job, size_t slot) {
  const struct tail *t = context;
  const struct vn_conv *c = &t->state->conv;
  size_t channels = c->out.dim[VN_C], rows = output_rows(c), first = job * TAIL_ROWS;
  (void)slot;
  for (size_t row = first; row < first + TAIL_ROWS && row < rows; row++) {
    size_t pixel = row * c->out.dim[VN_W] + t->w;
    float *y = (float *)c->out.data + pixel * c->out.stride, *sum = y;
    if (t->state->position) sum = t->state->position + row * channels;
    vn_epilogue_pixel(&c->epilogue, sum, channels, pixel);
    if (sum != y) memcpy(y, sum, channels * sizeof *y);
  }
}

static void guest_close(void *guest) {
  pthreadpool_destroy(guest);
}

static void *turn_await(void *lock) {
  pthread_mutex_lock(lock);
  pthread_mutex_unlock(lock);
  return NULL;
}

/* Can so many threads be alive together? A pthreadpool waits for ever for one that did not
 * start. */
static bool threads_start(size_t count) {
  pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  pthread_t *list = malloc(count * sizeof *list);
  size_t n = 0;
  pthread_mutex_lock(&lock);
  while (list && n < count && pthread_create(&list[n], NULL, turn_await, &lock) == 0) n++;
  pthread_mutex_unlock(&lock);
  for (size_t i = 0; i < n; i++) pthread_join(list[i], NULL);
  free(list);
  return n == count;
}

/* NULL, one thread alone, where others are not wanted or not to be had. */
static pthreadpool_t guest_of(struct vn_pool *pool) {
  const size_t threads = vn_pool_threads(pool);
  if (threads == 1) return NULL;
  pthreadpool_t guest = vn_pool_guest(pool);
  if (!guest && threads_start(threads - 1) && (guest = pthreadpool_create(threads)))
    vn_pool_guest_keep(pool, guest, guest_close);
  return guest;
}

static enum vn_status run_pool(void *state, struct vn_pool *pool, struct vn_watch *watch) {
  struct state *s = state;
  pthreadpool_t guest = guest_of(pool);
  const struct vn_conv *c = &s->conv;
  const struct vn_epilogue *e = &c->epilogue;
  bool plain = !e->act[0].kind && !e->act[1].kind && !e->residual.data;
  enum xnn_status status = xnn_status_success;
  if (s->copy) vn_pool_run(pool, input_rows(c), copy_row, s);
  for (size_t w = 0; !status && w < c->out.dim[VN_W] && !vn_watch_stopped(watch); w++) {
    struct tail tail = {s, w};
    for (size_t g = 0; !status && g < c->groups; g++) {
      xnn_operator_t op = s->variants[s->variant_of[w]].ops[g];
      const struct xnn_place place = place_at(s, w, g);
      status = xnn_point(op, &place, guest);
      if (!status) status = xnn_run_operator(op, guest);
    }
    if (!plain)
      vn_pool_run(pool, (output_rows(c) + TAIL_ROWS - 1) / TAIL_ROWS, epilogue_rows, &tail);
    vn_watch_tell(watch, (double)(w + 1) / (double)c->out.dim[VN_W]);
  }
  return status ? VN_E_INTERNAL : VN_OK;
}

/* ---- open and close ---- */

static void state_close(void *state) {
  struct state *s = state;
  if (!s) return;
  for (size_t i = 0; s->variants && i < s->n_variants; i++) {
    for (size_t g = 0; s->variants[i].ops && g < s->conv.groups; g++)
      if (s->variants[i].ops[g]) xnn_delete_operator(s->variants[i].ops[g]);
    free(s->variants[i].ops);
  }
  free(s->variants);
  free(s->variant_of);
  free(s->copy);
  free(s->position);
  free(s->workspace);
  free(s);
}

static bool covered(const struct vn_conv *c) {
  for (int i = 0; i < 3; i++) {
    ptrdiff_t reach = (ptrdiff_t)((c->kernel[i] - 1) * c->dilation[i]), after = pad_after(c, i);
    if ((ptrdiff_t)c->pad[i] > reach || after > reach || after <= -(ptrdiff_t)c->stride[i])
      return false;
  }
  return c->groups <= MAX_GROUPS && (c->kernel[2] - 1) * c->dilation[2] < MAX_WINDOW;
}

/* Memory that the operators hold: packed kernels, and a pointer for each output pixel and tap. A
 * double, because nothing bounds it yet. */
static double operators_bytes(const struct state *s) {
  const struct vn_conv *c = &s->conv;
  double taps = (double)(c->kernel[0] * c->kernel[1]), bytes = 0;
  for (size_t i = 0; i < s->n_variants; i++)
    bytes += (double)kernel_bytes(c, s->variants[i].hi - s->variants[i].lo);
  return bytes + (double)(s->n_variants * c->groups * sizeof(void *)) *
                     (double)(c->out.dim[VN_D] * c->out.dim[VN_H]) * taps;
}

/* Not out of proportion to the tensors and weights themselves? */
static bool affordable(const struct state *s) {
  const struct vn_conv *c = &s->conv;
  double tensors = (double)(input_rows(c) * c->in.dim[VN_W] * c->in.dim[VN_C]) +
                   (double)(output_rows(c) * c->out.dim[VN_W] * c->out.dim[VN_C]);
  return operators_bytes(s) <=
         4 * (4 * tensors + (double)kernel_bytes(c, c->kernel[2])) + (double)SLACK_BYTES;
}

static enum vn_status state_fill(struct state *s, size_t *bytes, struct vn_diag *diag) {
  const struct vn_conv *c = &s->conv;
  s->variants = calloc(MAX_VARIANTS, sizeof *s->variants);
  s->variant_of = calloc(c->out.dim[VN_W], sizeof *s->variant_of);
  if (!s->variants || !s->variant_of) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  if (!variants_list(s)) return vn_fail(diag, VN_E_UNSUPPORTED, "xnnpack: kernel too wide");
  copy_decide(s);
  if (s->copy_width) {
    size_t copied = input_rows(c) * s->copy_width * c->in.dim[VN_C] * sizeof(float);
    *bytes += copied;
    s->copy = calloc(1, copied + XNN_EXTRA_BYTES);
    memset(s->variants, 0, MAX_VARIANTS * sizeof *s->variants);
    variants_list(s);
  }
  if (!affordable(s)) return vn_fail(diag, VN_E_UNSUPPORTED, "xnnpack: would take much memory");
  if (c->epilogue.residual.data && c->epilogue.residual.data == c->out.data) {
    size_t position = output_rows(c) * c->out.dim[VN_C] * sizeof(float);
    *bytes += position;
    s->position = malloc(position);
    if (!s->position) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  }
  if (s->copy_width && !s->copy) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  size_t workspace_bytes = 0;
  enum xnn_status status = operators_open(s, &workspace_bytes);
  if (!status && workspace_bytes) {
    s->workspace = aligned_alloc(64, (workspace_bytes + 63) / 64 * 64);
    if (!s->workspace) status = xnn_status_out_of_memory;
  }
  *bytes += (size_t)operators_bytes(s) + workspace_bytes;
  if (status == xnn_status_out_of_memory) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  return status ? vn_fail(diag, VN_E_UNSUPPORTED, "xnnpack declines (status %d)", (int)status)
                : VN_OK;
}

enum vn_status vn_conv_xnnpack(const struct vn_conv *conv, struct vn_prepared *prepared,
                               struct vn_diag *diag) {
  if (!covered(conv))
    return vn_fail(diag, VN_E_UNSUPPORTED, "xnnpack: padding, window or groups out of range");
  if (xnn_initialize(NULL) != xnn_status_success)
    return vn_fail(diag, VN_E_UNSUPPORTED, "xnnpack does not know this machine");
  struct state *s = calloc(1, sizeof *s);
  size_t bytes = sizeof *s;
  if (!s) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  s->conv = *conv;
  s->window = (conv->kernel[2] - 1) * conv->dilation[2] + 1;
  enum vn_status status = state_fill(s, &bytes, diag);
  if (status) {
    state_close(s);
    return status;
  }
  *prepared = (struct vn_prepared){
      .state_bytes = bytes,
      .run_pool = run_pool,
      .close = state_close,
      .state = s,
  };
  snprintf(prepared->name, sizeof prepared->name, "xnnpack %s", s->copy ? "copied" : "zero-copy");
  return VN_OK;
}
