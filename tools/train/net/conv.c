/* A trainable convolution: the runtime's kernels forward and, with turned weights, for the gradient
 * of the input; backward/ there for the gradient of the weights. See ops.h. */
#include "ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cost.h"
#include "fail.h"

/* One of the two passes that the runtime's kernels do. */
struct pass {
  struct vn_conv conv;
  vn_conv_prepare_fn *prepare;
  struct vn_prepared prepared;
  size_t packed_bytes; /* to the next line */
};

struct vnt_conv {
  struct vnt_machine machine;
  struct vnt_conv_spec spec;
  struct pass forward, data; /* data: prepare NULL when the gradient is not needed */
  struct vn_wgrad weights;
  size_t turned_bytes; /* weights of the data pass, to the next line; 0: none */
  size_t bytes;        /* of workspace */
  char name[160];
};

/* ---- which kernel ---- */

/* For a batch of one: a sample's result must not depend on how many others this process has. */
static struct vn_cost_conv cost_conv(const struct vn_conv *c) {
  struct vn_cost_conv cost = {
      .batch = 1, .channels_in = c->in.dim[VN_C], .channels_out = c->out.dim[VN_C], .groups = 1};
  for (int i = 0; i < 3; i++) {
    cost.in[i] = c->in.dim[VN_D + i];
    cost.out[i] = c->out.dim[VN_D + i];
    cost.kernel[i] = c->kernel[i];
    cost.pad[i] = c->pad[i];
    cost.dilation[i] = 1;
  }
  return cost;
}

static bool fft_covers(const struct vn_cost_conv *c) {
  for (int i = 0; i < 3; i++)
    if (c->kernel[i] != VN_FFT_TAPS) return false;
  return true;
}

/* Of a convolution of stride 1 the cheapest, and its tile. Packing is part of the cost, for
 * training pays it at every step. */
static vn_conv_prepare_fn *cheapest(const struct vnt_machine *m, struct vn_conv *c) {
  const struct vn_cost_conv conv = cost_conv(c);
  vn_conv_prepare_fn *best = m->runtime->direct;
  double least = vn_cost_direct(&conv).cycles;
  for (size_t i = 0; i < VN_WINOGRAD_CHOICES; i++) {
    uint32_t tile[3];
    vn_winograd_choice(i, tile);
    const struct vn_cost run = vn_cost_winograd(&conv, tile);
    const double cost = run.cycles + vn_cost_winograd_pack(&conv, &run);
    if (cost >= least) continue;
    least = cost;
    best = m->runtime->winograd;
    for (int a = 0; a < 3; a++) c->tile[a] = tile[a];
  }
  struct vn_fft_cut cut;
  if (!fft_covers(&conv)) return best;
  const double run = vn_cost_fft(&conv, &cut).cycles;
  const double cost = run + vn_cost_fft_pack(&conv, cut.shared);
  return cost < least && vn_fft_enough(&cut) ? m->runtime->fft : best;
}

static vn_conv_prepare_fn *kernel_choose(const struct vnt_machine *m, struct vn_conv *c,
                                         bool transposed) {
  if (transposed) return m->runtime->up;
  if (c->kernel[0] == 1 && c->kernel[1] == 1 && c->kernel[2] == 1) return m->runtime->pointwise;
  return c->stride[0] > 1 ? m->runtime->down : cheapest(m, c);
}

/* ---- the data pass's weights ---- */

/* [in c][taps][out c], those of a stride-1 convolution back to front: TURN by TURN channels for a
 * job, a line of either. */
enum { TURN = 16 };

struct turn {
  const struct vnt_conv_spec *spec;
  float *to;
};

static size_t turns(size_t channels) {
  return (channels + TURN - 1) / TURN;
}

static void turn_job(void *context, size_t job, size_t slot) {
  const struct turn *t = context;
  const struct vnt_conv_spec *s = t->spec;
  const size_t in = s->in.dim[VN_C], out = s->out.dim[VN_C];
  const size_t in_first = job / turns(out) * TURN, out_first = job % turns(out) * TURN;
  const size_t ins = in - in_first < TURN ? in - in_first : TURN;
  const size_t outs = out - out_first < TURN ? out - out_first : TURN;
  const size_t taps = s->kernel[0] * s->kernel[1] * s->kernel[2];
  const bool flip = s->stride[0] == 1;
  (void)slot;
  for (size_t k = 0; k < taps; k++) {
    const float *from = s->weight + (out_first * taps + k) * in + in_first;
    float *to = t->to + (in_first * taps + (flip ? taps - 1 - k : k)) * out + out_first;
    for (size_t i = 0; i < ins; i++)
      for (size_t o = 0; o < outs; o++) to[i * taps * out + o] = from[o * taps * in + i];
  }
}

/* ---- running ---- */

static size_t lines(size_t bytes) {
  return (bytes + 63) / 64 * 64;
}

static size_t pass_bytes(const struct vnt_conv *conv, const struct pass *pass) {
  const struct vn_prepared *p = &pass->prepared;
  return pass->packed_bytes + p->shared_bytes + p->scratch_bytes * conv->machine.threads;
}

static void pass_run(const struct vnt_conv *conv, const struct pass *pass, const float *weight,
                     unsigned char *memory) {
  const struct vn_prepared *p = &pass->prepared;
  p->pack(p->state, conv->machine.pool, weight, memory, NULL);
  p->use(p->state, memory);
  if (p->share) p->share(p->state, memory + pass->packed_bytes);
  vn_prepared_run(p, conv->machine.pool, memory + pass->packed_bytes + p->shared_bytes,
                  p->scratch_bytes, NULL);
}

size_t vnt_conv_bytes(const struct vnt_conv *conv) {
  return conv->bytes;
}

void vnt_conv_forward(struct vnt_conv *conv, void *workspace) {
  pass_run(conv, &conv->forward, conv->spec.weight, workspace);
}

void vnt_conv_backward(struct vnt_conv *conv, void *workspace) {
  conv->weights.run(conv->weights.state, conv->machine.pool, workspace);
  if (!conv->data.prepare) return;
  struct turn turn = {&conv->spec, workspace};
  const size_t jobs = turns(conv->spec.in.dim[VN_C]) * turns(conv->spec.out.dim[VN_C]);
  vn_pool_run(conv->machine.pool, jobs, turn_job, &turn);
  pass_run(conv, &conv->data, workspace, (unsigned char *)workspace + conv->turned_bytes);
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
  conv->forward.conv.epilogue.bias = s->bias;
  conv->forward.conv.epilogue.act[0].kind = s->act.kind;
  conv->forward.conv.epilogue.act[0].slope = s->act.slope;
  conv->forward.conv.epilogue.act[0].alpha = s->act.alpha;
  conv->forward.prepare = kernel_choose(&conv->machine, &conv->forward.conv, s->transposed);
  if (!s->grad_in.data) return;
  struct vn_conv *data = &conv->data.conv;
  *data = common;
  data->in = s->grad_out;
  data->out = s->grad_in;
  if (s->stride[0] == 1)
    for (int i = 0; i < 3; i++) data->pad[i] = s->kernel[i] - 1 - s->pad[i];
  if (s->add_grad_in) data->epilogue.residual = s->grad_in;
  bool transposed = s->stride[0] > 1 && !s->transposed;
  conv->data.prepare = kernel_choose(&conv->machine, data, transposed);
}

static enum vn_status wgrad_open(struct vnt_conv *conv, struct vn_diag *diag) {
  const struct vnt_conv_spec *s = &conv->spec;
  struct vn_wgrad_spec spec = {.in = s->in,
                               .grad_out = s->grad_out,
                               .transposed = s->transposed,
                               .grad = s->grad_weight,
                               .sum = s->sum_weight,
                               .threads = conv->machine.threads};
  memcpy(spec.kernel, s->kernel, sizeof spec.kernel);
  memcpy(spec.stride, s->stride, sizeof spec.stride);
  memcpy(spec.pad, s->pad, sizeof spec.pad);
  const struct vn_backward *simd = conv->machine.training;
  bool product = s->stride[0] > 1 || s->kernel[0] == 1;
  return (product ? simd->product : simd->winograd)(&spec, &conv->weights, diag);
}

static enum vn_status pass_prepare(struct pass *pass, struct vn_diag *diag) {
  enum vn_status status = pass->prepare(&pass->conv, &pass->prepared, diag);
  pass->packed_bytes = lines(pass->prepared.packed_bytes);
  return status;
}

enum vn_status vnt_conv_open(const struct vnt_machine *machine, const struct vnt_conv_spec *spec,
                             struct vnt_conv **result, struct vn_diag *diag) {
  const size_t taps = spec->kernel[0] * spec->kernel[1] * spec->kernel[2];
  struct vnt_conv *conv = *result = calloc(1, sizeof *conv);
  if (!conv) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  conv->machine = *machine;
  conv->spec = *spec;
  enum vn_status status = wgrad_open(conv, diag);
  if (status) return status;
  passes_fill(conv);
  if ((status = pass_prepare(&conv->forward, diag))) return status;
  conv->bytes = pass_bytes(conv, &conv->forward);
  if (conv->weights.bytes > conv->bytes) conv->bytes = conv->weights.bytes;
  if (conv->data.prepare) {
    if ((status = pass_prepare(&conv->data, diag))) return status;
    conv->turned_bytes = lines(taps * spec->in.dim[VN_C] * spec->out.dim[VN_C] * sizeof(float));
    const size_t data = conv->turned_bytes + pass_bytes(conv, &conv->data);
    if (data > conv->bytes) conv->bytes = data;
  }
  snprintf(conv->name, sizeof conv->name, "%s | %s | %s", conv->forward.prepared.name,
           conv->data.prepare ? conv->data.prepared.name : "-", conv->weights.name);
  return VN_OK;
}

void vnt_conv_close(struct vnt_conv **result) {
  struct vnt_conv *conv = *result;
  if (!conv) return;
  if (conv->forward.prepared.state) conv->forward.prepared.close(conv->forward.prepared.state);
  if (conv->data.prepared.state) conv->data.prepared.close(conv->data.prepared.state);
  if (conv->weights.close) conv->weights.close(conv->weights.state);
  free(conv);
  *result = NULL;
}
