/* Speed of each kernel on the shapes of the full-size network, beside what the machine could do:
 * multiply-adds and memory traffic are measured in the same run, on the same threads. */
#include "check.h"

#include "peak.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static struct limits { double flops, bytes; /* per second, all threads */ } limits;

static double seconds(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the machine ---- */

struct peak {
  const char *isa;
  peak_fma_fn *fma;
  peak_copy_fn *copy;
  float *from, *to;
};
enum { TURNS = 2000000, COPY_ELEMS = 1 << 25 }; /* 128 MiB each way: beyond every cache */

static void fma_job(void *context, size_t i, size_t slot) {
  (void)i, (void)slot;
  ((struct peak *)context)->fma(TURNS);
}

enum { COPY_PARTS = 64 };
static void copy_job(void *context, size_t i, size_t slot) {
  enum { PART = COPY_ELEMS / COPY_PARTS };
  const struct peak *p = context;
  (void)slot;
  p->copy(p->to + i * PART, p->from + i * PART, PART);
}

static const struct peak *peak_of(const char *isa) {
#define ENTRY(name) {.isa = #name, .fma = vn_peak_fma_##name, .copy = vn_peak_copy_##name},
  static const struct peak list[] = {VN_EACH_ISA(ENTRY)};
  size_t i = 0;
  while (strcmp(list[i].isa, isa) && strcmp(list[i].isa, "portable")) i++;
  return &list[i];
}

void bench_limits(const char *isa, const struct vn_simd *simd, struct vn_pool *pool) {
  struct peak p = *peak_of(isa);
  const size_t threads = vn_pool_threads(pool);
  limits = (struct limits){0};
  if (!simd) return; /* XNNPACK picks its own instructions */
  p.from = calloc(COPY_ELEMS, sizeof(float));
  p.to = calloc(COPY_ELEMS, sizeof(float));
  for (int turn = 0; p.from && p.to && turn < 5; turn++) {
    double begin = seconds(CLOCK_MONOTONIC);
    vn_pool_run(pool, threads, fma_job, &p);
    const double fma = seconds(CLOCK_MONOTONIC) - begin;
    limits.flops = fmax(limits.flops, p.fma(1) * TURNS * (double)threads / fma);
    begin = seconds(CLOCK_MONOTONIC);
    vn_pool_run(pool, COPY_PARTS, copy_job, &p);
    const double copy = seconds(CLOCK_MONOTONIC) - begin;
    limits.bytes = fmax(limits.bytes, 2. * COPY_ELEMS * sizeof(float) / copy);
  }
  free(p.from);
  free(p.to);
  printf("%s, %zu threads: at most %.1f GF/s by multiply-adds, %.1f GB/s by copying\n", isa,
         threads, limits.flops * 1e-9, limits.bytes * 1e-9);
}

/* ---- a prepared step ---- */

struct crew {
  const struct vn_prepared *p;
  struct vn_pool *pool;
  unsigned char *scratch;
};

static void step_once(void *context) {
  const struct crew *c = context;
  vn_prepared_run(c->p, c->pool, c->scratch, c->p->scratch_bytes, NULL);
}

/* Memory as the arena has it, in large pages. NULL: not to be had. */
void *bench_memory(size_t bytes) {
  const size_t page = (size_t)2 << 20, all = (bytes + page - 1) / page * page;
  void *memory = aligned_alloc(page, all);
  if (memory) madvise(memory, all, MADV_HUGEPAGE);
  return memory;
}

/* The least of at least three, unless they take seconds, and of half a second's worth. */
struct bench_time bench_time(void (*once)(void *context), void *context) {
  struct bench_time least = {INFINITY, INFINITY};
  double sum = 0;
  for (int i = 0; (i < 3 && sum < 3) || (sum < 0.5 && i < 1000); i++) {
    const double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    once(context);
    const double took = seconds(CLOCK_MONOTONIC) - wall;
    least.cpu = fmin(least.cpu, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    least.wall = fmin(least.wall, took);
    sum += took;
  }
  return least;
}

/* Packing left out. Closes the step. */
static struct bench_time step_time(struct vn_prepared *p, const float *weight,
                                   struct vn_pool *pool) {
  const size_t scratch_bytes = p->scratch_bytes * vn_pool_threads(pool);
  unsigned char *scratch = bench_memory(scratch_bytes + p->shared_bytes + 64);
  void *packed = p->pack ? bench_memory(p->packed_bytes) : NULL;
  bool ready = scratch && (packed || !p->pack);
  struct crew crew = {p, pool, scratch};
  if (ready && p->share) p->share(p->state, scratch + scratch_bytes);
  if (packed && ready) {
    p->pack(p->state, pool, weight, packed, NULL);
    p->use(p->state, packed);
  }
  struct bench_time least = {INFINITY, INFINITY};
  if (ready) least = bench_time(step_once, &crew);
  free(packed);
  free(scratch);
  p->close(p->state);
  return least;
}

void bench_report(const char *family, const char *kernel, const char *what, struct bench_time time,
                  double flops, double bytes) {
  const double least = fmax(flops / limits.flops, bytes / limits.bytes);
  printf("%-11s %-22s %-26s %9.3f ms, %9.3f of CPU", family, kernel, what, time.wall * 1e3,
         time.cpu * 1e3);
  if (flops > 0)
    printf(" %8.1f GF/s", flops / time.wall * 1e-9);
  else
    printf(" %13s", "");
  printf(" %6.1f GB/s", bytes / time.wall * 1e-9);
  if (limits.flops > 0) printf(" %5.0f %% of the limit", least / time.wall * 100);
  putchar('\n');
  fflush(stdout);
}

struct vn_tensor bench_tensor(const size_t dim[VN_AXES], size_t stride) {
  struct vn_tensor t = {.stride = stride};
  memcpy(t.dim, dim, sizeof t.dim);
  const size_t elems = tensor_pixels(&t) * stride;
  float *data = bench_memory(elems * sizeof *data);
  struct random r = {elems};
  for (size_t i = 0; data && i < elems; i++) data[i] = random_real(&r);
  t.data = data;
  return t;
}

/* ---- the shapes ---- */

struct shape {
  const char *family;
  size_t in, out, grid[3]; /* of the output; up: of the input */
  size_t kernel;
  bool concat;                     /* the output is half of a concat */
  size_t stride, dilation, groups; /* 0: 1, or what the family has */
};
static const char tiles[] = "winograd fft", few[] = "winograd lean direct";
static const struct shape shapes[] = {
    {"winograd fft direct", 1, 16, {64, 128, 128}, .kernel = 5},
    {"winograd fft direct", 1, 8, {96, 112, 96}, .kernel = 5},
    {"direct", 32, 32, {16, 32, 32}, .kernel = 5},
    {"direct", 256, 256, {4, 8, 8}, .kernel = 5},
    {"xnnpack", 1, 16, {64, 128, 128}, .kernel = 5},
    {"xnnpack", 32, 32, {16, 32, 32}, .kernel = 5},
    {"xnnpack", 256, 256, {4, 8, 8}, .kernel = 5},
    {"xnnpack", 32, 2, {64, 128, 128}, .kernel = 1},
    {"xnnpack", 32, 32, {64, 128, 128}, .kernel = 1},
    {tiles, 32, 32, {64, 128, 128}, .kernel = 5},
    {tiles, 64, 64, {32, 64, 64}, .kernel = 5},
    {tiles, 32, 32, {32, 64, 64}, .kernel = 5},
    {tiles, 16, 16, {96, 112, 96}, .kernel = 5},
    {tiles, 8, 8, {96, 112, 96}, .kernel = 5},
    {tiles, 32, 2, {64, 128, 128}, .kernel = 5},
    {tiles, 16, 2, {96, 112, 96}, .kernel = 5},
    {"winograd", 128, 128, {16, 32, 32}, .kernel = 5},
    {few, 256, 256, {8, 16, 16}, .kernel = 5},
    {few, 256, 256, {4, 8, 8}, .kernel = 5},
    {few, 256, 256, {4, 4, 4}, .kernel = 5},
    {few, 128, 128, {8, 8, 8}, .kernel = 5},
    {few, 128, 128, {4, 4, 4}, .kernel = 5},
    {few, 64, 64, {8, 8, 8}, .kernel = 5},
    {"winograd", 32, 32, {64, 128, 128}, .kernel = 3},
    {"pointwise", 32, 2, {64, 128, 128}, .kernel = 1},
    {"pointwise", 2, 2, {64, 128, 128}, .kernel = 1},
    {"pointwise", 1, 1, {96, 112, 96}, .kernel = 1},
    {"pointwise", 32, 32, {64, 128, 128}, .kernel = 1},
    {"down", 8, 16, {48, 56, 48}, .kernel = 2},
    {"down", 16, 32, {32, 64, 64}, .kernel = 2},
    {"down", 32, 64, {16, 32, 32}, .kernel = 2},
    {"down", 64, 128, {8, 16, 16}, .kernel = 2},
    {"down", 128, 256, {4, 8, 8}, .kernel = 2},
    {"up", 256, 128, {4, 8, 8}, .kernel = 2, .concat = true},
    {"up", 256, 64, {8, 16, 16}, .kernel = 2, .concat = true},
    {"up", 128, 32, {16, 32, 32}, .kernel = 2, .concat = true},
    {"up", 64, 16, {32, 64, 64}, .kernel = 2, .concat = true},
    {"up", 16, 8, {48, 56, 48}, .kernel = 2, .concat = true},
    {"winograd", 32, 32, {32, 64, 64}, .kernel = 3, .dilation = 2},
    {"winograd", 16, 16, {64, 64, 64}, .kernel = 3, .dilation = 2},
    {"winograd", 16, 16, {64, 64, 64}, .kernel = 3, .dilation = 16},
    {"spread", 64, 16, {16, 16, 16}, .kernel = 3, .stride = 2},
    {"spread", 32, 3, {32, 32, 32}, .kernel = 3, .stride = 2},
    {"spread", 32, 3, {16, 32, 64}, .kernel = 3, .stride = 2},
    {"spread", 32, 32, {32, 32, 32}, .kernel = 3, .stride = 2, .groups = 32},
};

/* What networks outside the family have. Each for whoever takes it, plain C included. */
static const char anyone[] = "ref xnnpack direct depthwise";
static const struct shape others[] = {
    {anyone, 32, 64, {16, 32, 32}, 3, .stride = 2},
    {anyone, 32, 32, {32, 64, 64}, 3, .dilation = 2},
    {anyone, 32, 32, {32, 64, 64}, 3, .groups = 4},
    {anyone, 16, 16, {32, 64, 64}, 3, .groups = 16},
    {anyone, 32, 32, {32, 64, 64}, 3, .groups = 32},
    {anyone, 32, 32, {32, 64, 64}, 5, .groups = 32},
    {anyone, 32, 32, {32, 64, 64}, 7, .groups = 32},
    {anyone, 64, 64, {32, 64, 64}, 3, .groups = 64},
    {anyone, 64, 64, {32, 64, 64}, 5, .groups = 64},
    {anyone, 64, 64, {32, 64, 64}, 7, .groups = 64},
};

static struct vn_conv conv_new(const struct family *f, const struct shape *s) {
  const bool block = !strcmp(s->family, "down") || !strcmp(s->family, "up");
  size_t in[VN_AXES] = {1, s->in}, out[VN_AXES] = {1, s->out};
  struct vn_conv c = {.groups = s->groups ? s->groups : 1};
  for (int i = 0; i < 3; i++) {
    c.kernel[i] = s->kernel;
    c.stride[i] = block ? s->kernel : s->stride ? s->stride : 1;
    c.dilation[i] = s->dilation ? s->dilation : 1;
    c.pad[i] = block ? 0 : s->kernel / 2 * c.dilation[i];
    c.tile[i] = i == 0 && s->in <= 4 ? 1 : 4;
    in[VN_D + i] = s->grid[i] * (f->transposed ? 1 : c.stride[i]);
    out[VN_D + i] = s->grid[i] * (f->transposed ? c.stride[i] : 1);
  }
  c.in = bench_tensor(in, s->in);
  c.out = bench_tensor(out, s->out * (s->concat ? 2 : 1));
  const size_t weights = s->in * s->out / c.groups * s->kernel * s->kernel * s->kernel;
  c.weight = bench_tensor((const size_t[]){1, weights, 1, 1, 1}, weights).data;
  c.epilogue.bias = c.weight;
  c.epilogue.act[0].kind = VN_ACT_PRELU;
  c.epilogue.act[0].slope = c.weight;
  return c;
}

static void bench_conv(const struct family *f, const struct shape *s, struct vn_pool *pool) {
  struct vn_conv c = conv_new(f, s);
  struct vn_prepared p = {0};
  char what[64];
  int used = snprintf(what, sizeof what, "%zu->%zu %zux%zux%zu k%zu", s->in, s->out, s->grid[0],
                      s->grid[1], s->grid[2], s->kernel);
  if (s->stride) used += snprintf(what + used, sizeof what - (size_t)used, " s%zu", s->stride);
  if (s->dilation) used += snprintf(what + used, sizeof what - (size_t)used, " d%zu", s->dilation);
  if (s->groups) snprintf(what + used, sizeof what - (size_t)used, " g%zu", s->groups);
  const double taps = (double)(s->kernel * s->kernel * s->kernel);
  const double pixels = (double)(s->grid[0] * s->grid[1] * s->grid[2]);
  const double weights = taps * (double)(s->in * s->out / c.groups);
  if (!f->conv(&c, &p, NULL))
    bench_report(f->name, p.name, what, step_time(&p, c.weight, pool), 2 * pixels * weights,
                 4 * ((double)(tensor_elems(&c.in) + tensor_elems(&c.out)) + weights));
  free(c.in.data);
  free(c.out.data);
  free((void *)(uintptr_t)c.weight);
}

static const struct {
  const char *family;
  uint32_t op, act;
  size_t channels, second;
} simples[] = {
    {"elementwise", VN_OP_ACT, VN_ACT_PRELU, 32, 0},
    {"elementwise", VN_OP_ACT, VN_ACT_ELU, 32, 0},
    {"elementwise", VN_OP_ACT, VN_ACT_PRELU, 2, 0},
    {"elementwise", VN_OP_AFFINE, 0, 32, 0},
    {"elementwise", VN_OP_ADD, 0, 32, 32},
    {"elementwise", VN_OP_ADD, VN_ACT_PRELU, 16, 1},
    {"softmax", VN_OP_SOFTMAX, 0, 2, 0},
    {"softmax", VN_OP_SOFTMAX, 0, 4, 0},
    {"softmax", VN_OP_SOFTMAX, 0, 32, 0},
    {"softmax", VN_OP_LOGSOFTMAX, 0, 2, 0},
    {"softmax", VN_OP_ARGMAX, 0, 2, 0},
    {"softmax", VN_OP_ARGMAX, 0, 32, 0},
};

static void bench_simple(const struct family *f, size_t i, struct vn_pool *pool) {
  const size_t c = simples[i].channels, second = simples[i].second,
               tables[VN_AXES] = {1, c, 1, 1, 1};
  const bool argmax = simples[i].op == VN_OP_ARGMAX;
  struct vn_simple s = {.op = simples[i].op, .axis = VN_C};
  struct vn_prepared p = {0};
  char what[64];
  s.in[0] = bench_tensor((const size_t[]){1, c, 64, 128, 128}, c);
  if (second) s.in[1] = bench_tensor((const size_t[]){1, second, 64, 128, 128}, second);
  s.out = bench_tensor((const size_t[]){1, argmax ? 1 : c, 64, 128, 128}, argmax ? 1 : c);
  float *table = bench_tensor(tables, c).data;
  s.scale = s.shift = table;
  for (int k = 0; k < 2; k++) {
    s.epilogue.act[k].kind = simples[i].act;
    s.epilogue.act[k].slope = table;
    s.epilogue.act[k].alpha = 1;
  }
  snprintf(what, sizeof what, "%s %s c %zu%s", vn_op_text(s.op),
           simples[i].act ? vn_act_text(simples[i].act) : "", c, second == 1 ? " + 1" : "");
  if (!f->simple(&s, &p, NULL))
    bench_report(f->name, p.name, what, step_time(&p, NULL, pool), 0,
                 4. * (double)(tensor_elems(&s.in[0]) + (second ? tensor_elems(&s.in[1]) : 0) +
                               tensor_elems(&s.out)));
  free(s.in[0].data);
  free(s.in[1].data);
  free(s.out.data);
  free(table);
}

void bench(const struct family *family, struct vn_pool *pool) {
  for (size_t i = 0; family->conv && i < sizeof shapes / sizeof *shapes; i++)
    if (strstr(shapes[i].family, family->name)) bench_conv(family, &shapes[i], pool);
  for (size_t i = 0;
       family->conv && strstr(anyone, family->name) && i < sizeof others / sizeof *others; i++)
    bench_conv(family, &others[i], pool);
  for (size_t i = 0; family->simple && i < sizeof simples / sizeof *simples; i++)
    if (!strcmp(simples[i].family, family->name)) bench_simple(family, i, pool);
}
