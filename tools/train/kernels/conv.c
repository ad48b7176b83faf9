/* A trainable convolution: the runtime's kernels forward and, with turned weights, for the gradient
 * of the input; wgrad.c or wproduct.c for the gradient of the weights. See ops.h. */
#include "ops.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

/* One of the two passes that the runtime's kernels do. */
struct pass {
  struct vn_conv conv;
  vn_conv_prepare_fn *prepare;
  struct vn_prepared prepared;
  bool ready;
};

struct vnt_conv {
  struct vnt_machine machine;
  struct vnt_conv_spec spec;
  struct pass forward, data; /* data: prepare NULL when the gradient is not needed */
  struct vnt_wgrad weights;
  float *turned;          /* weights of the data pass */
  unsigned char *scratch; /* [threads][scratch_bytes] */
  size_t scratch_bytes;
  char name[160];
};

/* ---- which kernel ---- */

static double voxels(const struct vn_tensor *t) {
  return (double)(t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W]);
}

/* As in runtime/kernels/PERFORMANCE.md, and packing, which training pays at every step: about as
 * much for each vector of weights as a hundred tiles' products with it. */
static void tile_choose(const struct vnt_machine *m, struct vn_conv *c, bool *direct) {
  static const size_t outputs[3] = {1, 2, 4};
  const double lanes = (double)m->forward->lanes, in = (double)c->in.dim[VN_C];
  const double vin = ceil(in / lanes), vout = ceil((double)c->out.dim[VN_C] / lanes);
  double inside = (double)c->kernel[2];
  for (int a = 0; a < 2; a++) {
    const double size = (double)c->out.dim[VN_D + a], k = (double)c->kernel[a], r = (k - 1) / 2;
    inside *= k - fmin(r * (r + 1) / size, k - 1);
  }
  double least = voxels(&c->out) * inside * in * vout * (1.05 + 0.3 / in);
  *direct = true;
  for (size_t i = 0; i < 27; i++) {
    const size_t tile[3] = {outputs[i / 9], outputs[i / 3 % 3], outputs[i % 3]};
    double freqs = 1, tiles = (double)c->out.dim[VN_N];
    for (int a = 0; a < 3; a++) {
      freqs *= (double)(tile[a] + c->kernel[a] - 1);
      tiles *= (double)((c->out.dim[VN_D + a] + tile[a] - 1) / tile[a]);
    }
    const double cost = freqs * (tiles * (11 * vin + 9 * vout + 1.1 * in * vout) + 100 * in * vout);
    if (cost >= least) continue;
    least = cost;
    *direct = false;
    memcpy(c->tile, tile, sizeof tile);
  }
}

static vn_conv_prepare_fn *kernel_choose(const struct vnt_machine *m, struct vn_conv *c,
                                         bool transposed) {
  bool direct;
  if (transposed) return m->forward->up;
  if (c->kernel[0] == 1 && c->kernel[1] == 1 && c->kernel[2] == 1) return m->forward->pointwise;
  if (c->stride[0] > 1) return m->forward->down;
  tile_choose(m, c, &direct);
  return direct ? m->forward->direct : m->forward->winograd;
}

/* ---- packing ---- */

/* The data pass's weights: [in c][taps][out c]; those of a stride-1 convolution back to front. */
static void weights_turn(const struct vnt_conv *conv) {
  const struct vnt_conv_spec *s = &conv->spec;
  const size_t in = s->in.dim[VN_C], out = s->out.dim[VN_C];
  const size_t taps = s->kernel[0] * s->kernel[1] * s->kernel[2];
  const bool flip = s->stride[0] == 1;
  for (size_t o = 0; o < out; o++)
    for (size_t k = 0; k < taps; k++) {
      const float *from = s->weight + (o * taps + k) * in;
      float *to = conv->turned + (flip ? taps - 1 - k : k) * out + o;
      for (size_t i = 0; i < in; i++) to[i * taps * out] = from[i];
    }
}

static enum vn_status pass_pack(struct vnt_conv *conv, struct pass *pass, struct vn_diag *diag) {
  if (!pass->prepare) return VN_OK;
  if (pass->ready && pass->prepared.repack) {
    pass->prepared.repack(pass->prepared.state, conv->machine.pool);
    return VN_OK;
  }
  if (pass->ready) pass->prepared.close(pass->prepared.state);
  pass->ready = false;
  enum vn_status status = pass->prepare(&pass->conv, conv->machine.pool, &pass->prepared, diag);
  pass->ready = status == VN_OK;
  return status;
}

enum vn_status vnt_conv_repack(struct vnt_conv *conv, struct vn_diag *diag) {
  if (conv->data.prepare) weights_turn(conv);
  enum vn_status status = pass_pack(conv, &conv->forward, diag);
  return status ? status : pass_pack(conv, &conv->data, diag);
}

/* ---- running ---- */

struct crew {
  const struct vn_prepared *prepared;
  unsigned char *scratch;
  size_t next, scratch_bytes;
};

static void crew_task(void *context, size_t slot) {
  struct crew *crew = context;
  for (;;) {
    const size_t job = __atomic_fetch_add(&crew->next, 1, __ATOMIC_RELAXED);
    if (job >= crew->prepared->jobs) return;
    crew->prepared->run(crew->prepared->state, job, crew->scratch + slot * crew->scratch_bytes);
  }
}

static void pass_run(const struct vnt_conv *conv, const struct pass *pass) {
  struct crew crew = {&pass->prepared, conv->scratch, 0, conv->scratch_bytes};
  pthreadpool_parallelize_1d(conv->machine.pool, crew_task, &crew, conv->machine.threads,
                             PTHREADPOOL_FLAG_DISABLE_DENORMALS);
}

void vnt_conv_forward(struct vnt_conv *conv) {
  pass_run(conv, &conv->forward);
}

void vnt_conv_backward(struct vnt_conv *conv) {
  conv->weights.run(conv->weights.state, conv->machine.pool);
  if (conv->data.prepare) pass_run(conv, &conv->data);
}

const char *vnt_conv_name(const struct vnt_conv *conv) {
  return conv->name;
}

/* ---- opening ---- */

static void passes_fill(struct vnt_conv *conv) {
  const struct vnt_conv_spec *s = &conv->spec;
  struct vn_conv common = {.groups = 1};
  for (int i = 0; i < 3; i++) {
    common.kernel[i] = s->kernel[i];
    common.stride[i] = s->stride[i];
    common.pad[i] = s->pad[i];
    common.dilation[i] = 1;
  }
  conv->forward.conv = common;
  conv->forward.conv.in = s->in;
  conv->forward.conv.out = s->out;
  conv->forward.conv.weight = s->weight;
  conv->forward.conv.epilogue.bias = s->bias;
  conv->forward.prepare = kernel_choose(&conv->machine, &conv->forward.conv, s->transposed);
  if (!s->grad_in.data) return;
  struct vn_conv *data = &conv->data.conv;
  *data = common;
  data->in = s->grad_out;
  data->out = s->grad_in;
  data->weight = conv->turned;
  if (s->stride[0] == 1)
    for (int i = 0; i < 3; i++) data->pad[i] = s->kernel[i] - 1 - s->pad[i];
  if (s->add_grad_in) data->epilogue.residual = s->grad_in;
  bool transposed = s->stride[0] > 1 && !s->transposed;
  conv->data.prepare = kernel_choose(&conv->machine, data, transposed);
}

static enum vn_status wgrad_open(struct vnt_conv *conv, struct vn_diag *diag) {
  const struct vnt_conv_spec *s = &conv->spec;
  struct vnt_wgrad_spec spec = {
      .in = s->in, .grad_out = s->grad_out, .transposed = s->transposed, .grad = s->grad_weight};
  memcpy(spec.kernel, s->kernel, sizeof spec.kernel);
  memcpy(spec.stride, s->stride, sizeof spec.stride);
  memcpy(spec.pad, s->pad, sizeof spec.pad);
  const struct vnt_simd *simd = conv->machine.backward;
  bool product = s->stride[0] > 1 || s->kernel[0] == 1;
  return (product ? simd->product : simd->winograd)(&spec, &conv->weights, diag);
}

enum vn_status vnt_conv_open(const struct vnt_machine *machine, const struct vnt_conv_spec *spec,
                             struct vnt_conv **result, struct vn_diag *diag) {
  const size_t taps = spec->kernel[0] * spec->kernel[1] * spec->kernel[2];
  struct vnt_conv *conv = *result = calloc(1, sizeof *conv);
  if (!conv) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  conv->machine = *machine;
  conv->spec = *spec;
  if (spec->grad_in.data) {
    conv->turned = malloc(taps * spec->in.dim[VN_C] * spec->out.dim[VN_C] * sizeof(float));
    if (!conv->turned) return vn_fail(diag, VN_E_MEMORY, "out of memory for weights");
  }
  enum vn_status status = wgrad_open(conv, diag);
  if (status) return status;
  passes_fill(conv);
  if ((status = vnt_conv_repack(conv, diag))) return status;
  conv->scratch_bytes = conv->forward.prepared.scratch_bytes;
  if (conv->data.ready && conv->data.prepared.scratch_bytes > conv->scratch_bytes)
    conv->scratch_bytes = conv->data.prepared.scratch_bytes;
  conv->scratch_bytes = (conv->scratch_bytes + 64) / 64 * 64;
  conv->scratch = aligned_alloc(64, conv->scratch_bytes * machine->threads);
  if (!conv->scratch) return vn_fail(diag, VN_E_MEMORY, "out of memory for scratch");
  snprintf(conv->name, sizeof conv->name, "%s | %s | %s", conv->forward.prepared.name,
           conv->data.ready ? conv->data.prepared.name : "-", conv->weights.name);
  return VN_OK;
}

void vnt_conv_close(struct vnt_conv **result) {
  struct vnt_conv *conv = *result;
  if (!conv) return;
  if (conv->forward.ready) conv->forward.prepared.close(conv->forward.prepared.state);
  if (conv->data.ready) conv->data.prepared.close(conv->data.prepared.state);
  if (conv->weights.close) conv->weights.close(conv->weights.state);
  free(conv->turned);
  free(conv->scratch);
  free(conv);
  *result = NULL;
}
