/* Gives every step its kernel. The rule, which depends on plan and instruction set alone:
 *
 *   isa "ref", or algo REF      plain C
 *   else                        the algorithm that the step names, if it can take the shape;
 *                               then the first of these that can:
 *     CONV3D    one channel per group
 *                               depthwise, direct, xnnpack, plain C
 *               1x1x1           pointwise, direct, xnnpack, plain C
 *               kernel = stride down, direct, xnnpack, plain C
 *               other           direct, xnnpack, plain C
 *     DECONV3D                  up, plain C
 *     other ops                 elementwise, softmax, plain C
 *
 * Transforms run where the step names them: which ones, and of what tile, is the compiler's choice,
 * for they decide about the last bits, which are the same on every machine.
 * DIRECT is the sum as it is written, without transforms: with one channel per group depthwise's.
 * xnnpack is there where it is built in, and is left out elsewhere.
 * A kernel declines with VN_E_UNSUPPORTED, never silently: the name in vn_step_info tells which one
 * runs. Padding beyond a kernel's own reach, which no training framework writes, is plain C's
 * alone, so that no other kernel needs to think of it. */
#include "exec.h"

#include <string.h>

#ifdef VN_XNNPACK
static vn_conv_prepare_fn *const xnnpack = vn_conv_xnnpack;
#else
static vn_conv_prepare_fn *const xnnpack = NULL; /* not built in: who asks for it gets the next */
#endif

struct candidates {
  vn_conv_prepare_fn *list[6];
  size_t count;
};

static void candidates_add(struct candidates *c, vn_conv_prepare_fn *fn) {
  for (size_t i = 0; i < c->count; i++)
    if (c->list[i] == fn) return;
  if (fn) c->list[c->count++] = fn;
}

/* Padding after an axis of a convolution; a transposed one: negated output padding. */
static ptrdiff_t pad_after(const struct vn_conv *c, bool transposed, int axis) {
  size_t in = c->in.dim[VN_D + axis], out = c->out.dim[VN_D + axis];
  size_t narrow = transposed ? out : in, wide = transposed ? in : out;
  return (ptrdiff_t)((wide - 1) * c->stride[axis] + (c->kernel[axis] - 1) * c->dilation[axis] + 1) -
         (ptrdiff_t)c->pad[axis] - (ptrdiff_t)narrow;
}

/* Does padding stay within what the kernel reaches, and does the stride leave less than itself? */
static bool conv_is_plain(const struct vn_conv *c, bool transposed) {
  for (int i = 0; i < 3; i++) {
    ptrdiff_t reach = (ptrdiff_t)((c->kernel[i] - 1) * c->dilation[i]);
    ptrdiff_t after = pad_after(c, transposed, i);
    if ((ptrdiff_t)c->pad[i] > reach || after > reach || after <= -(ptrdiff_t)c->stride[i])
      return false;
  }
  return true;
}

static bool conv_is_depthwise(const struct vn_conv *c) {
  return c->groups > 1 && c->in.dim[VN_C] == c->groups && c->out.dim[VN_C] == c->groups;
}

static bool conv_is_pointwise(const struct vn_conv *c) {
  for (int i = 0; i < 3; i++)
    if (c->kernel[i] != 1 || c->stride[i] != 1) return false;
  return true;
}

/* Kernel = stride, no padding; transposed: the output is exactly the input times the stride. */
static bool conv_is_block(const struct vn_conv *c, bool transposed) {
  for (int i = 0; i < 3; i++) {
    ptrdiff_t after = pad_after(c, transposed, i);
    if (c->kernel[i] != c->stride[i] || c->pad[i] || (transposed ? after != 0 : after > 0))
      return false;
  }
  return true;
}

static void conv_candidates(const struct vn_simd *simd, const struct vn_conv *conv, uint32_t algo,
                            struct candidates *c) {
  const bool depthwise = conv_is_depthwise(conv);
  if (algo == VN_ALGO_WINOGRAD) candidates_add(c, simd->winograd);
  if (algo == VN_ALGO_LEAN) candidates_add(c, simd->lean);
  if (algo == VN_ALGO_FFT) candidates_add(c, simd->fft);
  if (algo == VN_ALGO_DIRECT) candidates_add(c, depthwise ? simd->depthwise : simd->direct);
  if (algo == VN_ALGO_XNNPACK) candidates_add(c, xnnpack);
  if (depthwise)
    candidates_add(c, simd->depthwise);
  else if (conv_is_pointwise(conv))
    candidates_add(c, simd->pointwise);
  else if (conv_is_block(conv, false))
    candidates_add(c, simd->down);
  candidates_add(c, simd->direct);
  candidates_add(c, xnnpack);
}

static void epilogue_fill(const struct vn_exec *e, const struct plan_step *s,
                          struct vn_epilogue *epilogue) {
  for (int i = 0; i < 2; i++) {
    epilogue->act[i].kind = s->act[i];
    epilogue->act[i].alpha = s->alpha[i];
    if (s->slope[i] != VN_NONE)
      epilogue->act[i].slope =
          (const float *)(e->plan->bytes + e->plan->weights[s->slope[i]].offset);
  }
}

static const float *weight_data(const struct vn_exec *e, uint32_t id) {
  return id == VN_NONE ? NULL : (const float *)(e->plan->bytes + e->plan->weights[id].offset);
}

static struct vn_conv conv_of(const struct vn_exec *e, const struct plan_step *s) {
  const struct plan_conv *p = &s->u.conv;
  struct vn_conv conv = {
      .in = vn_exec_tensor(e, s->in[0]),
      .out = vn_exec_tensor(e, s->out),
      .weight = weight_data(e, s->weight),
      .groups = p->groups,
      .epilogue.bias = weight_data(e, s->bias),
  };
  for (int i = 0; i < 3; i++) {
    conv.kernel[i] = p->kernel[i];
    conv.stride[i] = p->stride[i];
    conv.pad[i] = p->pad[i];
    conv.dilation[i] = p->dilation[i];
    conv.tile[i] = s->algo == VN_ALGO_WINOGRAD ? p->tile[i] : 0;
  }
  epilogue_fill(e, s, &conv.epilogue);
  if (s->in[1] != VN_NONE) conv.epilogue.residual = vn_exec_tensor(e, s->in[1]);
  return conv;
}

static enum vn_status conv_choose(const struct vn_exec *e, const struct plan_step *s,
                                  struct vn_prepared *prepared, struct vn_diag *diag) {
  const struct vn_conv conv = conv_of(e, s);
  bool transposed = s->op == VN_OP_DECONV3D;
  struct candidates c = {.count = 0};
  if (e->simd && s->algo != VN_ALGO_REF && conv_is_plain(&conv, transposed)) {
    if (!transposed)
      conv_candidates(e->simd, &conv, s->algo, &c);
    else if (conv_is_block(&conv, true))
      candidates_add(&c, e->simd->up);
  }
  candidates_add(&c, transposed ? vn_deconv_ref : vn_conv_ref);
  enum vn_status status = VN_E_UNSUPPORTED;
  for (size_t i = 0; status == VN_E_UNSUPPORTED && i < c.count; i++)
    status = c.list[i](&conv, prepared, diag);
  return status;
}

static struct vn_simple simple_of(const struct vn_exec *e, const struct plan_step *s) {
  struct vn_simple simple = {
      .op = s->op,
      .out = vn_exec_tensor(e, s->out),
      .scale = weight_data(e, s->weight),
      .shift = weight_data(e, s->bias),
      .epsilon = s->epsilon,
  };
  if (s->in[0] != VN_NONE) simple.in[0] = vn_exec_tensor(e, s->in[0]);
  if (s->in[1] != VN_NONE) simple.in[1] = vn_exec_tensor(e, s->in[1]);
  if (s->op == VN_OP_SOFTMAX || s->op == VN_OP_LOGSOFTMAX || s->op == VN_OP_ARGMAX) {
    simple.axis = s->u.axis.axis;
    simple.select_last = s->u.axis.select_last;
    simple.more_axes = s->u.axis.more_axes;
  }
  if (s->op == VN_OP_CAST) simple.to_i32 = e->plan->tensors[s->out].dtype == VN_I32;
  for (int a = 0; s->op == VN_OP_COPY && a < VN_AXES; a++) {
    simple.copy.extent[a] = s->u.copy.extent[a];
    simple.copy.out_start[a] = s->u.copy.out_start[a];
    simple.copy.in_start[a] = s->u.copy.in_start[a];
    simple.copy.in_axis[a] = s->u.copy.in_axis[a];
  }
  epilogue_fill(e, s, &simple.epilogue);
  return simple;
}

enum vn_status vn_exec_choose(const struct vn_exec *exec, size_t index,
                              struct vn_prepared *prepared, struct vn_diag *diag) {
  const struct plan_step *s = &exec->plan->steps[index];
  memset(prepared, 0, sizeof *prepared);
  if (s->op == VN_OP_CONV3D || s->op == VN_OP_DECONV3D) return conv_choose(exec, s, prepared, diag);
  const struct vn_simple simple = simple_of(exec, s);
  const bool vectors = exec->simd && s->algo != VN_ALGO_REF;
  enum vn_status status = VN_E_UNSUPPORTED;
  if (vectors) status = exec->simd->elementwise(&simple, prepared, diag);
  if (vectors && status == VN_E_UNSUPPORTED) status = exec->simd->softmax(&simple, prepared, diag);
  return status == VN_E_UNSUPPORTED ? vn_simple_ref(&simple, prepared, diag) : status;
}
