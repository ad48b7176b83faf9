/* Where tensors and ports lie in the arena, and how a port gets there from the caller's dense array
 * and back: any order of axes, float as it is, labels widened from int32_t to int64_t. Called by
 * exec.c before and after a run. */
#include "exec.h"

#include <string.h>

/* ---- where ---- */

struct vn_tensor vn_exec_tensor(const struct vn_exec *exec, uint32_t id) {
  const struct plan_tensor *t = &exec->plan->tensors[id];
  struct vn_tensor view = {.data = exec->arena + t->offset, .stride = (size_t)t->pixel_stride};
  for (int a = 0; a < VN_AXES; a++) view.dim[a] = (size_t)t->dim[a];
  return view;
}

static struct vn_buffer port_buffer(const struct vn_exec *exec, bool is_output, size_t index) {
  const struct plan_port *port = vn_plan_port(exec->plan, is_output, index);
  struct vn_buffer buffer = {.data = NULL};
  if (!port) return buffer;
  struct vn_tensor t = vn_exec_tensor(exec, port->tensor);
  buffer = (struct vn_buffer){.data = t.data, .pixel_stride = t.stride};
  memcpy(buffer.dim, t.dim, sizeof buffer.dim);
  return buffer;
}

struct vn_buffer vn_exec_input(struct vn_exec *exec, size_t index) {
  return port_buffer(exec, false, index);
}

struct vn_buffer vn_exec_output(struct vn_exec *exec, size_t index) {
  return port_buffer(exec, true, index);
}

/* ---- there and back ---- */

struct move {
  struct vn_tensor arena;
  size_t dense[VN_AXES]; /* elements between neighbours in the caller's array */
  const void *source;
  void *target;
  size_t rows;
  bool inwards, wide; /* wide: int64_t outside */
};

enum { ROWS_PER_JOB = 16 };

/* All channels and positions along w of one (n, d, h), `dense` elements into the caller's array. */
static void row_move(const struct move *m, size_t row, size_t dense) {
  size_t width = m->arena.dim[VN_W], channels = m->arena.dim[VN_C];
  size_t dw = m->dense[VN_W], dc = m->dense[VN_C], stride = m->arena.stride;
  float *inside = (float *)m->arena.data + row * width * stride;
  if (m->wide) {
    int64_t *y = (int64_t *)m->target + dense;
    for (size_t c = 0; c < channels; c++)
      for (size_t w = 0; w < width; w++)
        y[c * dc + w * dw] = ((const int32_t *)inside)[w * stride + c];
  } else if (m->inwards) {
    const float *x = (const float *)m->source + dense;
    for (size_t c = 0; c < channels; c++)
      for (size_t w = 0; w < width; w++) inside[w * stride + c] = x[c * dc + w * dw];
  } else {
    float *y = (float *)m->target + dense;
    for (size_t c = 0; c < channels; c++)
      for (size_t w = 0; w < width; w++) y[c * dc + w * dw] = inside[w * stride + c];
  }
}

static void rows_move(void *context, size_t job, size_t slot) {
  const struct move *m = context;
  (void)slot;
  size_t end = (job + 1) * ROWS_PER_JOB < m->rows ? (job + 1) * ROWS_PER_JOB : m->rows;
  for (size_t row = job * ROWS_PER_JOB; row < end; row++) {
    size_t h = row % m->arena.dim[VN_H], nd = row / m->arena.dim[VN_H];
    size_t d = nd % m->arena.dim[VN_D], n = nd / m->arena.dim[VN_D];
    row_move(m, row, n * m->dense[VN_N] + d * m->dense[VN_D] + h * m->dense[VN_H]);
  }
}

void vn_exec_copy_port(const struct vn_exec *exec, const struct plan_port *port, const void *source,
                       void *target) {
  struct move m = {
      .arena = vn_exec_tensor(exec, port->tensor),
      .source = source,
      .target = target,
      .inwards = !port->is_output,
      .wide = port->dtype == VN_I64,
  };
  size_t step = 1;
  for (size_t i = VN_AXES; i-- > 0;) {
    m.dense[port->order[i]] = step;
    step *= m.arena.dim[port->order[i]];
  }
  m.rows = m.arena.dim[VN_N] * m.arena.dim[VN_D] * m.arena.dim[VN_H];
  vn_pool_run(exec->pool, (m.rows + ROWS_PER_JOB - 1) / ROWS_PER_JOB, rows_move, &m);
}
