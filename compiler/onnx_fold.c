/* The arithmetic that exporters leave around shapes, evaluated at compile time: operators all of
 * whose inputs are known. Weights, too, pass through Reshape, Transpose and the like. */
#include "onnx_import.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t MOST_FOLDED = (uint64_t)1 << 28; /* elements of one result */

struct fold {
  const struct vnc_op *op;
  struct vnc_tensor in[VNC_NODE_INPUTS]; /* of a CONST: borrowed; of a WEIGHT: decoded, owned */
  size_t n;
  struct vnc_tensor out;
};

static enum vn_status start(struct fold *f, bool is_float, size_t rank, const uint64_t *dim) {
  uint64_t elems = 1;
  if (rank > VNC_TENSOR_RANK) return vnc_op_fail(f->op, VN_E_UNSUPPORTED, "rank %zu", rank);
  for (size_t i = 0; i < rank; i++) {
    if (dim[i] && elems > MOST_FOLDED / dim[i])
      return vnc_op_fail(f->op, VN_E_UNSUPPORTED, "its constant result is too large");
    elems *= dim[i];
  }
  enum vn_status status = vnc_import_touch(f->op->im, elems);
  if (status) return status;
  if (!vnc_tensor_alloc(&f->out, is_float, rank, dim))
    return vnc_op_fail(f->op, VN_E_MEMORY, "out of memory for its constant result");
  return VN_OK;
}

static enum vn_status need(const struct fold *f, size_t least) {
  for (size_t i = 0; i < least; i++)
    if (i >= f->n || !f->op->in[i]) return vnc_op_fail(f->op, VN_E_FORMAT, "an input is missing");
  return VN_OK;
}

/* The first input with another shape: the result of what only regroups. */
static enum vn_status reshaped(struct fold *f, size_t rank, const uint64_t *dim) {
  enum vn_status status = vnc_value_tensor(f->op->im, f->op->in[0], &f->out);
  if (status) return status;
  f->out.rank = rank;
  memcpy(f->out.dim, dim, rank * sizeof *dim);
  return VN_OK;
}

static void copy_element(struct fold *f, uint64_t to, const struct vnc_tensor *t, uint64_t from) {
  if (t->is_float)
    f->out.f[to] = t->f[from];
  else
    f->out.i[to] = t->i[from];
}

/* Coordinates of element `index`. */
static void unravel(const struct vnc_tensor *t, uint64_t index, uint64_t at[VNC_TENSOR_RANK]) {
  for (size_t i = t->rank; i-- > 0;) {
    at[i] = index % t->dim[i];
    index /= t->dim[i];
  }
}

/* The element of t at `at`, which is of rank `rank`: broadcast from the right, repeated by modulo.
 */
static uint64_t ravel(const struct vnc_tensor *t, const uint64_t *at, size_t rank) {
  uint64_t index = 0;
  for (size_t i = 0; i < t->rank; i++)
    index = index * t->dim[i] + at[rank - t->rank + i] % t->dim[i];
  return index;
}

/* ---- elementwise ---- */

static enum vn_status broadcast_dims(struct fold *f, size_t n, size_t *rank, uint64_t *dim) {
  *rank = 0;
  for (size_t k = 0; k < n; k++)
    if (f->in[k].rank > *rank) *rank = f->in[k].rank;
  for (size_t i = 0; i < *rank; i++) dim[i] = 1;
  for (size_t k = 0; k < n; k++)
    for (size_t i = 0; i < f->in[k].rank; i++) {
      uint64_t *d = &dim[*rank - f->in[k].rank + i], other = f->in[k].dim[i];
      if (*d != other && *d != 1 && other != 1)
        return vnc_op_fail(f->op, VN_E_FORMAT, "its constant inputs do not fit each other");
      if (*d == 1) *d = other;
    }
  return VN_OK;
}

static int64_t wrapping(char what, int64_t a, int64_t b) {
  uint64_t x = (uint64_t)a, y = (uint64_t)b;
  return (int64_t)(what == '+' ? x + y : what == '-' ? x - y : x * y);
}

static bool combine(char what, const struct vnc_tensor *a, uint64_t i, const struct vnc_tensor *b,
                    uint64_t j, struct vnc_tensor *out, uint64_t k) {
  if (what == '=') {
    out->i[k] = a->is_float ? a->f[i] == b->f[j] : a->i[i] == b->i[j];
  } else if (a->is_float) {
    float x = a->f[i], y = b->f[j];
    switch (what) {
    case '+':
      out->f[k] = x + y;
      break;
    case '-':
      out->f[k] = x - y;
      break;
    case '*':
      out->f[k] = x * y;
      break;
    case '/':
      out->f[k] = x / y;
      break;
    case '<':
      out->f[k] = x < y ? x : y;
      break;
    default:
      out->f[k] = x > y ? x : y;
    }
  } else {
    int64_t x = a->i[i], y = b->i[j];
    if (what == '/' && (y == 0 || (x == INT64_MIN && y == -1))) return false;
    switch (what) {
    case '/':
      out->i[k] = x / y;
      break;
    case '<':
      out->i[k] = x < y ? x : y;
      break;
    case '>':
      out->i[k] = x > y ? x : y;
      break;
    default:
      out->i[k] = wrapping(what, x, y);
    }
  }
  return true;
}

/* Of two inputs; Sum, Min and Max: of any number. */
static enum vn_status fold_binary(struct fold *f, char what) {
  uint64_t dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK];
  size_t rank, n = f->n;
  bool any = what == '+' || what == '<' || what == '>';
  enum vn_status status = need(f, any ? (n ? n : 1) : 2);
  for (size_t j = 1; !status && j < n; j++)
    if (f->in[j].is_float != f->in[0].is_float)
      status = vnc_op_fail(f->op, VN_E_FORMAT, "its inputs differ in type");
  if (!status) status = broadcast_dims(f, n, &rank, dim);
  if (!status) status = start(f, f->in[0].is_float && what != '=', rank, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    bool good = true;
    unravel(&f->out, k, at);
    if (n == 1) copy_element(f, k, &f->in[0], k);
    for (size_t j = 1; good && j < n; j++)
      good = combine(what, j == 1 ? &f->in[0] : &f->out, j == 1 ? ravel(&f->in[0], at, rank) : k,
                     &f->in[j], ravel(&f->in[j], at, rank), &f->out, k);
    if (!good) status = vnc_op_fail(f->op, VN_E_FORMAT, "a division by zero");
  }
  return status;
}

static enum vn_status fold_where(struct fold *f) {
  uint64_t dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK];
  size_t rank;
  enum vn_status status = need(f, 3);
  if (!status && f->in[1].is_float != f->in[2].is_float)
    status = vnc_op_fail(f->op, VN_E_FORMAT, "its inputs differ in type");
  if (!status) status = broadcast_dims(f, 3, &rank, dim);
  if (!status) status = start(f, f->in[1].is_float, rank, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    unravel(&f->out, k, at);
    bool yes = vnc_tensor_at(&f->in[0], ravel(&f->in[0], at, rank)) != 0;
    const struct vnc_tensor *t = &f->in[yes ? 1 : 2];
    copy_element(f, k, t, ravel(t, at, rank));
  }
  return status;
}

static enum vn_status fold_unary(struct fold *f, double (*fn)(double)) {
  enum vn_status status = need(f, 1);
  if (!status) status = start(f, f->in[0].is_float, f->in[0].rank, f->in[0].dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++)
    vnc_tensor_set(&f->out, k, fn(vnc_tensor_at(&f->in[0], k)));
  return status;
}

static double negate(double x) {
  return -x;
}

static enum vn_status fold_cast(struct fold *f) {
  enum { FLOAT = 1, FLOAT16 = 10, DOUBLE = 11, BOOL = 9, BFLOAT16 = 16 };
  int64_t to = vnc_op_int(f->op, "to", 0);
  bool real = to == FLOAT || to == FLOAT16 || to == DOUBLE || to == BFLOAT16;
  enum vn_status status = need(f, 1);
  if (!status && (to < 1 || to > BFLOAT16 || to == 8))
    status = vnc_op_fail(f->op, VN_E_UNSUPPORTED, "to type %lld", (long long)to);
  if (!status) status = start(f, real, f->in[0].rank, f->in[0].dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    if (real)
      f->out.f[k] = (float)vnc_tensor_at(&f->in[0], k);
    else if (to == BOOL)
      f->out.i[k] = vnc_tensor_at(&f->in[0], k) != 0;
    else if (f->in[0].is_float)
      vnc_tensor_set(&f->out, k, trunc((double)f->in[0].f[k]));
    else
      f->out.i[k] = f->in[0].i[k];
  }
  return status;
}

/* ---- making and joining ---- */

static enum vn_status fold_constant(struct fold *f) {
  const struct vnc_op *op = f->op;
  const Onnx__AttributeProto *a;
  const uint64_t one = 1;
  if ((a = vnc_op_attribute(op, "value")) && a->t)
    return vnc_tensor_decode(a->t, &op->im->source, op->name, &f->out, op->im->diag);
  bool is_float = (a = vnc_op_attribute(op, "value_float")) != NULL;
  if (is_float || (a = vnc_op_attribute(op, "value_int"))) {
    enum vn_status status = start(f, is_float, 0, &one);
    if (!status && is_float)
      f->out.f[0] = a->f;
    else if (!status)
      f->out.i[0] = a->i;
    return status;
  }
  is_float = (a = vnc_op_attribute(op, "value_floats")) != NULL;
  if (!is_float && !(a = vnc_op_attribute(op, "value_ints")))
    return vnc_op_fail(op, VN_E_UNSUPPORTED, "a constant that is neither tensor nor number");
  const uint64_t n = is_float ? a->n_floats : a->n_ints;
  enum vn_status status = start(f, is_float, 1, &n);
  if (!status && n && is_float)
    memcpy(f->out.f, a->floats, n * sizeof *f->out.f);
  else if (!status && n)
    memcpy(f->out.i, a->ints, n * sizeof *f->out.i);
  return status;
}

static enum vn_status sizes_of(const struct fold *f, const struct vnc_tensor *t,
                               uint64_t dim[VNC_TENSOR_RANK]) {
  if (t->is_float || t->elems > VNC_TENSOR_RANK)
    return vnc_op_fail(f->op, VN_E_FORMAT, "a shape that is none");
  for (size_t i = 0; i < t->elems; i++) {
    if (t->i[i] < 0) return vnc_op_fail(f->op, VN_E_FORMAT, "a negative size");
    dim[i] = (uint64_t)t->i[i];
  }
  return VN_OK;
}

static enum vn_status fold_constant_of_shape(struct fold *f) {
  const Onnx__AttributeProto *a = vnc_op_attribute(f->op, "value");
  struct vnc_tensor value = {.is_float = true};
  uint64_t dim[VNC_TENSOR_RANK];
  enum vn_status status = need(f, 1);
  if (!status) status = sizes_of(f, &f->in[0], dim);
  if (!status && a && a->t)
    status = vnc_tensor_decode(a->t, &f->op->im->source, f->op->name, &value, f->op->im->diag);
  if (!status && value.elems > 1)
    status = vnc_op_fail(f->op, VN_E_FORMAT, "its value is no scalar");
  if (!status) status = start(f, value.is_float, f->in[0].elems, dim);
  for (uint64_t k = 0; !status && value.elems && k < f->out.elems; k++)
    copy_element(f, k, &value, 0);
  vnc_tensor_free(&value);
  return status;
}

static enum vn_status fold_concat(struct fold *f) {
  uint64_t dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK];
  size_t axis, rank = f->n ? f->in[0].rank : 0;
  enum vn_status status = need(f, f->n ? f->n : 1);
  if (!status) status = vnc_op_axis(f->op, vnc_op_int(f->op, "axis", 1), rank, &axis);
  if (status) return status;
  memcpy(dim, f->in[0].dim, sizeof dim);
  for (size_t k = 1; k < f->n; k++) {
    if (f->in[k].rank != rank || f->in[k].is_float != f->in[0].is_float)
      return vnc_op_fail(f->op, VN_E_FORMAT, "its inputs do not go together");
    for (size_t i = 0; i < rank; i++) {
      if (i == axis && dim[i] < MOST_FOLDED)
        dim[i] += f->in[k].dim[i];
      else if (dim[i] != f->in[k].dim[i])
        return vnc_op_fail(f->op, VN_E_FORMAT, "its inputs do not go together");
    }
  }
  status = start(f, f->in[0].is_float, rank, dim);
  for (uint64_t i = 0; !status && i < f->out.elems; i++) {
    size_t k = 0;
    unravel(&f->out, i, at);
    while (at[axis] >= f->in[k].dim[axis]) at[axis] -= f->in[k++].dim[axis];
    copy_element(f, i, &f->in[k], ravel(&f->in[k], at, rank));
  }
  return status;
}

static enum vn_status fold_range(struct fold *f) {
  enum vn_status status = need(f, 3);
  if (status) return status;
  for (size_t i = 0; i < 3; i++)
    if (f->in[i].elems != 1 || f->in[i].is_float != f->in[0].is_float)
      return vnc_op_fail(f->op, VN_E_FORMAT, "start, limit and step are no scalars of one type");
  double first = vnc_tensor_at(&f->in[0], 0), limit = vnc_tensor_at(&f->in[1], 0);
  double step = vnc_tensor_at(&f->in[2], 0), count = ceil((limit - first) / step);
  if (!(count < (double)MOST_FOLDED)) return vnc_op_fail(f->op, VN_E_FORMAT, "an endless range");
  const uint64_t n = count > 0 ? (uint64_t)count : 0;
  status = start(f, f->in[0].is_float, 1, &n);
  for (uint64_t k = 0; !status && k < n; k++) vnc_tensor_set(&f->out, k, first + (double)k * step);
  return status;
}

static enum vn_status fold_reduce_prod(struct fold *f) {
  int64_t axes[VNC_TENSOR_RANK];
  size_t n;
  bool present;
  enum vn_status status = need(f, 1);
  if (!status) status = vnc_op_list(f->op, "axes", 1, axes, &n, &present);
  if (!status && f->in[0].rank != 1)
    status = vnc_op_fail(f->op, VN_E_UNSUPPORTED, "a product over more than a list");
  const uint64_t one = 1;
  if (!status) status = start(f, f->in[0].is_float, vnc_op_int(f->op, "keepdims", 1) ? 1 : 0, &one);
  if (status) return status;
  double real = 1;
  int64_t whole = 1;
  for (uint64_t k = 0; k < f->in[0].elems; k++) {
    if (f->in[0].is_float)
      real *= (double)f->in[0].f[k];
    else
      whole = wrapping('*', whole, f->in[0].i[k]);
  }
  if (f->out.is_float)
    f->out.f[0] = (float)real;
  else
    f->out.i[0] = whole;
  return VN_OK;
}

/* ---- moving ---- */

static enum vn_status fold_gather(struct fold *f) {
  uint64_t dim[2 * VNC_TENSOR_RANK], at[VNC_TENSOR_RANK], from[VNC_TENSOR_RANK];
  size_t axis, n = 0;
  enum vn_status status = need(f, 2);
  const struct vnc_tensor *data = &f->in[0], *index = &f->in[1];
  if (!status) status = vnc_op_axis(f->op, vnc_op_int(f->op, "axis", 0), data->rank, &axis);
  if (status) return status;
  if (index->is_float || data->rank + index->rank > VNC_TENSOR_RANK)
    return vnc_op_fail(f->op, VN_E_UNSUPPORTED, "indices of that kind");
  for (size_t i = 0; i < axis; i++) dim[n++] = data->dim[i];
  for (size_t i = 0; i < index->rank; i++) dim[n++] = index->dim[i];
  for (size_t i = axis + 1; i < data->rank; i++) dim[n++] = data->dim[i];
  status = start(f, data->is_float, n, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    unravel(&f->out, k, at);
    uint64_t which = 0;
    for (size_t i = 0; i < index->rank; i++) which = which * index->dim[i] + at[axis + i];
    int64_t value = index->i[which];
    if (value < 0) value += (int64_t)data->dim[axis];
    if (value < 0 || value >= (int64_t)data->dim[axis])
      return vnc_op_fail(f->op, VN_E_FORMAT, "index %lld is outside", (long long)index->i[which]);
    for (size_t i = 0; i < data->rank; i++)
      from[i] = i < axis ? at[i] : i == axis ? (uint64_t)value : at[i + index->rank - 1];
    copy_element(f, k, data, ravel(data, from, data->rank));
  }
  return status;
}

static enum vn_status fold_slice(struct fold *f) {
  int64_t list[4][VNC_TENSOR_RANK], from[VNC_TENSOR_RANK] = {0}, step[VNC_TENSOR_RANK];
  static const char *const names[] = {"starts", "ends", "axes", "steps"};
  uint64_t dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK], index[VNC_TENSOR_RANK];
  size_t n[4];
  bool has[4];
  enum vn_status status = need(f, 1);
  const struct vnc_tensor *t = &f->in[0];
  for (size_t k = 0; !status && k < 4; k++)
    status = vnc_op_list(f->op, names[k], 1 + k, list[k], &n[k], &has[k]);
  if (status) return status;
  if (!has[0] || n[1] != n[0] || (has[2] && n[2] != n[0]) || (has[3] && n[3] != n[0]))
    return vnc_op_fail(f->op, VN_E_FORMAT, "its starts, ends, axes and steps do not go together");
  memcpy(dim, t->dim, sizeof dim);
  for (size_t i = 0; i < VNC_TENSOR_RANK; i++) step[i] = 1;
  for (size_t k = 0; k < n[0]; k++) {
    size_t a;
    status = vnc_op_axis(f->op, has[2] ? list[2][k] : (int64_t)k, t->rank, &a);
    int64_t size = status ? 0 : (int64_t)t->dim[a], by = has[3] ? list[3][k] : 1;
    if (status) return status;
    if (!by || by < -(1 << 30) || by > 1 << 30)
      return vnc_op_fail(f->op, VN_E_FORMAT, "a step of %lld", (long long)by);
    int64_t first = list[0][k], last = list[1][k], least = by < 0 ? -1 : 0;
    int64_t most = by < 0 ? size - 1 : size;
    if (first < 0) first = first < -size ? least : first + size;
    if (last < 0) last = last < -size ? least : last + size;
    first = first > most ? most : first < 0 ? 0 : first;
    last = last > most ? most : last;
    int64_t count = by > 0 ? (last - first + by - 1) / by : (first - last - by - 1) / -by;
    from[a] = first;
    step[a] = by;
    dim[a] = count > 0 ? (uint64_t)count : 0;
  }
  status = start(f, t->is_float, t->rank, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    unravel(&f->out, k, at);
    for (size_t i = 0; i < t->rank; i++) index[i] = (uint64_t)(from[i] + (int64_t)at[i] * step[i]);
    copy_element(f, k, t, ravel(t, index, t->rank));
  }
  return status;
}

/* Tile and Expand: every element is found by modulo. */
static enum vn_status fold_repeat(struct fold *f, bool tile) {
  uint64_t list[VNC_TENSOR_RANK], dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK];
  enum vn_status status = need(f, 2);
  if (!status) status = sizes_of(f, &f->in[1], list);
  if (status) return status;
  const struct vnc_tensor *t = &f->in[0];
  size_t n = f->in[1].elems, rank = n > t->rank ? n : t->rank;
  if (tile && n != t->rank)
    return vnc_op_fail(f->op, VN_E_FORMAT, "one repeat a dimension expected");
  for (size_t i = 0; i < rank; i++) {
    uint64_t size = i + t->rank < rank ? 1 : t->dim[i + t->rank - rank];
    uint64_t other = i + n < rank ? 1 : list[i + n - rank];
    if (!tile && size != other && size != 1 && other != 1)
      return vnc_op_fail(f->op, VN_E_FORMAT, "its shape does not fit its input");
    if (tile && size && other > MOST_FOLDED / size)
      return vnc_op_fail(f->op, VN_E_UNSUPPORTED, "its constant result is too large");
    dim[i] = tile ? size * other : size == 1 ? other : size;
  }
  status = start(f, t->is_float, rank, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    unravel(&f->out, k, at);
    copy_element(f, k, t, ravel(t, at, rank));
  }
  return status;
}

static enum vn_status fold_transpose(struct fold *f) {
  const Onnx__AttributeProto *perm = vnc_op_attribute(f->op, "perm");
  uint64_t dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK], from[VNC_TENSOR_RANK];
  size_t p[VNC_TENSOR_RANK];
  bool seen[VNC_TENSOR_RANK] = {false};
  enum vn_status status = need(f, 1);
  if (status) return status;
  const struct vnc_tensor *t = &f->in[0];
  if (perm && perm->n_ints != t->rank)
    return vnc_op_fail(f->op, VN_E_FORMAT, "its perm does not fit");
  for (size_t i = 0; i < t->rank; i++) {
    int64_t axis = perm ? perm->ints[i] : (int64_t)(t->rank - 1 - i);
    if (axis < 0 || axis >= (int64_t)t->rank || seen[axis])
      return vnc_op_fail(f->op, VN_E_FORMAT, "its perm is no permutation");
    seen[axis] = true;
    p[i] = (size_t)axis;
    dim[i] = t->dim[axis];
  }
  status = start(f, t->is_float, t->rank, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    unravel(&f->out, k, at);
    for (size_t i = 0; i < t->rank; i++) from[p[i]] = at[i];
    copy_element(f, k, t, ravel(t, from, t->rank));
  }
  return status;
}

/* ---- new shapes ---- */

static enum vn_status fold_reshape(struct fold *f) {
  uint64_t dim[VNC_TENSOR_RANK], known = 1;
  enum vn_status status = need(f, 2);
  if (status) return status;
  const struct vnc_tensor *t = &f->in[0], *shape = &f->in[1];
  size_t open = VNC_TENSOR_RANK, n = shape->elems;
  if (shape->is_float || n > VNC_TENSOR_RANK) return vnc_op_fail(f->op, VN_E_FORMAT, "no shape");
  for (size_t i = 0; i < n; i++) {
    int64_t d = shape->i[i];
    if (d == 0 && !vnc_op_int(f->op, "allowzero", 0) && i < t->rank) d = (int64_t)t->dim[i];
    if (d == -1 && open == VNC_TENSOR_RANK) {
      open = i;
      continue;
    }
    if (d < 0 || (known && (uint64_t)d > MOST_FOLDED / known))
      return vnc_op_fail(f->op, VN_E_FORMAT, "an impossible new shape");
    dim[i] = (uint64_t)d;
    known *= dim[i];
  }
  if (open < n) {
    dim[open] = known ? t->elems / known : 0;
    known *= dim[open];
  }
  if (known != t->elems) return vnc_op_fail(f->op, VN_E_FORMAT, "the sizes of its shapes differ");
  return reshaped(f, n, dim);
}

static enum vn_status fold_squeeze(struct fold *f, bool squeeze) {
  int64_t list[VNC_TENSOR_RANK];
  uint64_t dim[VNC_TENSOR_RANK];
  size_t n, rank = 0, from = 0;
  bool present;
  enum vn_status status = need(f, 1);
  if (!status) status = vnc_op_list(f->op, "axes", 1, list, &n, &present);
  if (status) return status;
  const struct vnc_tensor *t = &f->in[0];
  size_t total = squeeze ? t->rank : t->rank + n;
  if (total > VNC_TENSOR_RANK) return vnc_op_fail(f->op, VN_E_UNSUPPORTED, "rank %zu", total);
  for (size_t i = 0; i < total; i++) {
    bool named = squeeze && !present ? t->dim[i] == 1 : false;
    for (size_t k = 0; k < n; k++)
      named = named || list[k] == (int64_t)i || list[k] == (int64_t)i - (int64_t)total;
    if (squeeze && named && t->dim[i] != 1) return vnc_op_fail(f->op, VN_E_FORMAT, "a wrong axis");
    if (squeeze && !named) dim[rank++] = t->dim[i];
    if (!squeeze && !named && from == t->rank)
      return vnc_op_fail(f->op, VN_E_FORMAT, "a wrong axis");
    if (!squeeze) dim[rank++] = named ? 1 : t->dim[from++];
  }
  return reshaped(f, rank, dim);
}

/* ---- by name ---- */

static enum vn_status evaluate(struct fold *f) {
  static const struct {
    const char *type;
    char binary;
    double (*unary)(double);
    enum vn_status (*fold)(struct fold *f);
  } table[] = {{"Add", '+', NULL, NULL},
               {"Sum", '+', NULL, NULL},
               {"Sub", '-', NULL, NULL},
               {"Mul", '*', NULL, NULL},
               {"Div", '/', NULL, NULL},
               {"Min", '<', NULL, NULL},
               {"Max", '>', NULL, NULL},
               {"Equal", '=', NULL, NULL},
               {"Neg", 0, negate, NULL},
               {"Abs", 0, fabs, NULL},
               {"Floor", 0, floor, NULL},
               {"Ceil", 0, ceil, NULL},
               {"Sqrt", 0, sqrt, NULL},
               {"Constant", 0, NULL, fold_constant},
               {"ConstantOfShape", 0, NULL, fold_constant_of_shape},
               {"Where", 0, NULL, fold_where},
               {"Cast", 0, NULL, fold_cast},
               {"Concat", 0, NULL, fold_concat},
               {"Range", 0, NULL, fold_range},
               {"ReduceProd", 0, NULL, fold_reduce_prod},
               {"Gather", 0, NULL, fold_gather},
               {"Slice", 0, NULL, fold_slice},
               {"Transpose", 0, NULL, fold_transpose},
               {"Reshape", 0, NULL, fold_reshape}};
  const char *type = f->op->proto->op_type;
  if (!strcmp(type, "Tile") || !strcmp(type, "Expand")) return fold_repeat(f, *type == 'T');
  if (!strcmp(type, "Squeeze") || !strcmp(type, "Unsqueeze")) return fold_squeeze(f, *type == 'S');
  for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
    if (strcmp(type, table[i].type)) continue;
    if (table[i].binary) return fold_binary(f, table[i].binary);
    return table[i].unary ? fold_unary(f, table[i].unary) : table[i].fold(f);
  }
  return vnc_op_fail(f->op, VN_E_UNSUPPORTED, "the operator is not supported on constants");
}

enum vn_status vnc_fold(const struct vnc_op *op) {
  struct fold *f = calloc(1, sizeof *f);
  enum vn_status status = VN_OK;
  if (!f) return vnc_op_fail(op, VN_E_MEMORY, "out of memory");
  f->op = op;
  f->n = op->n_in;
  for (size_t i = 0; !status && i < op->n_in; i++) {
    if (op->in[i] && op->in[i]->kind == VNC_CONST)
      f->in[i] = op->in[i]->tensor;
    else if (op->in[i])
      status = vnc_value_tensor(op->im, op->in[i], &f->in[i]);
  }
  if (!status) status = evaluate(f);
  for (size_t i = 0; i < f->n; i++)
    if (op->in[i] && op->in[i]->kind == VNC_WEIGHT) vnc_tensor_free(&f->in[i]);
  if (status)
    vnc_tensor_free(&f->out);
  else
    status = vnc_op_yield_const(op, &f->out);
  free(f);
  return status;
}
