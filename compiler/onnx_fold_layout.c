/* Operators on known values that move elements: each by the coordinates they come from
 * (onnx_fold.h). */
#include "onnx_fold.h"

#include <string.h>

enum vn_status vnc_fold_concat(struct vnc_folding *f) {
  uint64_t dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK];
  size_t axis, rank = f->n ? f->in[0].rank : 0;
  enum vn_status status = vnc_fold_need(f, f->n ? f->n : 1);
  if (!status) status = vnc_op_axis(f->op, vnc_op_int(f->op, "axis", 1), rank, &axis);
  if (status) return status;
  memcpy(dim, f->in[0].dim, sizeof dim);
  for (size_t k = 1; k < f->n; k++) {
    if (f->in[k].rank != rank || f->in[k].is_float != f->in[0].is_float)
      return vnc_op_fail(f->op, VN_E_FORMAT, "its inputs do not go together");
    for (size_t i = 0; i < rank; i++) {
      if (i == axis && dim[i] < VNC_FOLD_MOST)
        dim[i] += f->in[k].dim[i];
      else if (dim[i] != f->in[k].dim[i])
        return vnc_op_fail(f->op, VN_E_FORMAT, "its inputs do not go together");
    }
  }
  status = vnc_fold_start(f, f->in[0].is_float, rank, dim);
  for (uint64_t i = 0; !status && i < f->out.elems; i++) {
    size_t k = 0;
    vnc_fold_unravel(&f->out, i, at);
    while (at[axis] >= f->in[k].dim[axis]) at[axis] -= f->in[k++].dim[axis];
    vnc_fold_copy(f, i, &f->in[k], vnc_fold_ravel(&f->in[k], at, rank));
  }
  return status;
}

/* The sizes of Split's parts: in a list, or all the same but for the last. */
static enum vn_status split_size(const struct vnc_folding *f, size_t axis, size_t k,
                                 uint64_t *size) {
  const Onnx__AttributeProto *a = vnc_op_attribute(f->op, "split");
  const uint64_t whole = f->in[0].dim[axis], parts = f->op->proto->n_output;
  const uint64_t each = (whole + parts - 1) / parts;
  const bool listed = f->n > 1 && f->op->in[1] != NULL;
  int64_t n = (int64_t)(k + 1 < parts ? each : whole - each * (parts - 1));
  if (a && k < a->n_ints) n = a->ints[k];
  if (listed && (f->in[1].is_float || f->in[1].elems != parts))
    return vnc_op_fail(f->op, VN_E_FORMAT, "its list of sizes is none");
  if (listed) n = f->in[1].i[k];
  *size = (uint64_t)n;
  return n >= 0 ? VN_OK : vnc_op_fail(f->op, VN_E_FORMAT, "a negative size");
}

/* Part k of in[0], from `start` along the axis, becomes f->out. */
static enum vn_status split_part(struct vnc_folding *f, size_t axis, uint64_t start,
                                 uint64_t size) {
  const struct vnc_tensor *t = &f->in[0];
  uint64_t dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK];
  if (start > t->dim[axis] || size > t->dim[axis] - start)
    return vnc_op_fail(f->op, VN_E_FORMAT, "parts of more than there is");
  memcpy(dim, t->dim, sizeof dim);
  dim[axis] = size;
  enum vn_status status = vnc_fold_start(f, t->is_float, t->rank, dim);
  for (uint64_t i = 0; !status && i < f->out.elems; i++) {
    vnc_fold_unravel(&f->out, i, at);
    at[axis] += start;
    vnc_fold_copy(f, i, t, vnc_fold_ravel(t, at, t->rank));
  }
  return status;
}

/* All parts; the first is the result, the others are named here. */
enum vn_status vnc_fold_split(struct vnc_folding *f) {
  struct vnc_tensor first = {0};
  struct vnc_value *v;
  uint64_t start = 0, size = 0;
  size_t axis;
  enum vn_status status = vnc_fold_need(f, 1);
  if (!status) status = vnc_op_axis(f->op, vnc_op_int(f->op, "axis", 0), f->in[0].rank, &axis);
  for (size_t k = 0; !status && k < f->op->proto->n_output; k++, start += size) {
    status = split_size(f, axis, k, &size);
    if (!status) status = split_part(f, axis, start, size);
    if (!status && k && *f->op->proto->output[k]) {
      status = vnc_value_add(f->op->im, f->op->proto->output[k], &v);
      if (!status) v->kind = VNC_CONST;
      if (!status) v->tensor = f->out;
    } else if (!status && k) {
      vnc_tensor_free(&f->out);
    } else if (!status) {
      first = f->out;
    }
    if (!status) memset(&f->out, 0, sizeof f->out);
  }
  vnc_tensor_free(&f->out);
  f->out = first;
  return status;
}

/* ---- moving ---- */

enum vn_status vnc_fold_gather(struct vnc_folding *f) {
  uint64_t dim[2 * VNC_TENSOR_RANK], at[VNC_TENSOR_RANK], from[VNC_TENSOR_RANK];
  size_t axis, n = 0;
  enum vn_status status = vnc_fold_need(f, 2);
  const struct vnc_tensor *data = &f->in[0], *index = &f->in[1];
  if (!status) status = vnc_op_axis(f->op, vnc_op_int(f->op, "axis", 0), data->rank, &axis);
  if (status) return status;
  if (index->is_float || data->rank + index->rank > VNC_TENSOR_RANK)
    return vnc_op_fail(f->op, VN_E_UNSUPPORTED, "indices of that kind");
  for (size_t i = 0; i < axis; i++) dim[n++] = data->dim[i];
  for (size_t i = 0; i < index->rank; i++) dim[n++] = index->dim[i];
  for (size_t i = axis + 1; i < data->rank; i++) dim[n++] = data->dim[i];
  status = vnc_fold_start(f, data->is_float, n, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    vnc_fold_unravel(&f->out, k, at);
    uint64_t which = 0;
    for (size_t i = 0; i < index->rank; i++) which = which * index->dim[i] + at[axis + i];
    int64_t value = index->i[which];
    if (value < 0) value += (int64_t)data->dim[axis];
    if (value < 0 || value >= (int64_t)data->dim[axis])
      return vnc_op_fail(f->op, VN_E_FORMAT, "index %lld is outside", (long long)index->i[which]);
    for (size_t i = 0; i < data->rank; i++)
      from[i] = i < axis ? at[i] : i == axis ? (uint64_t)value : at[i + index->rank - 1];
    vnc_fold_copy(f, k, data, vnc_fold_ravel(data, from, data->rank));
  }
  return status;
}

enum vn_status vnc_fold_slice(struct vnc_folding *f) {
  int64_t list[4][VNC_TENSOR_RANK], from[VNC_TENSOR_RANK] = {0}, step[VNC_TENSOR_RANK];
  static const char *const names[] = {"starts", "ends", "axes", "steps"};
  uint64_t dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK], index[VNC_TENSOR_RANK];
  size_t n[4];
  bool has[4];
  enum vn_status status = vnc_fold_need(f, 1);
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
  status = vnc_fold_start(f, t->is_float, t->rank, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    vnc_fold_unravel(&f->out, k, at);
    for (size_t i = 0; i < t->rank; i++) index[i] = (uint64_t)(from[i] + (int64_t)at[i] * step[i]);
    vnc_fold_copy(f, k, t, vnc_fold_ravel(t, index, t->rank));
  }
  return status;
}

/* Tile and Expand: every element is found by modulo. */
static enum vn_status fold_repeat(struct vnc_folding *f, bool tile) {
  uint64_t list[VNC_TENSOR_RANK], dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK];
  enum vn_status status = vnc_fold_need(f, 2);
  if (!status) status = vnc_fold_sizes(f, &f->in[1], list);
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
    if (tile && size && other > VNC_FOLD_MOST / size)
      return vnc_op_fail(f->op, VN_E_UNSUPPORTED, "its constant result is too large");
    dim[i] = tile ? size * other : size == 1 ? other : size;
  }
  status = vnc_fold_start(f, t->is_float, rank, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    vnc_fold_unravel(&f->out, k, at);
    vnc_fold_copy(f, k, t, vnc_fold_ravel(t, at, rank));
  }
  return status;
}

enum vn_status vnc_fold_tile(struct vnc_folding *f) {
  return fold_repeat(f, true);
}

enum vn_status vnc_fold_expand(struct vnc_folding *f) {
  return fold_repeat(f, false);
}

enum vn_status vnc_fold_transpose(struct vnc_folding *f) {
  const Onnx__AttributeProto *perm = vnc_op_attribute(f->op, "perm");
  uint64_t dim[VNC_TENSOR_RANK], at[VNC_TENSOR_RANK], from[VNC_TENSOR_RANK];
  size_t p[VNC_TENSOR_RANK];
  bool seen[VNC_TENSOR_RANK] = {false};
  enum vn_status status = vnc_fold_need(f, 1);
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
  status = vnc_fold_start(f, t->is_float, t->rank, dim);
  for (uint64_t k = 0; !status && k < f->out.elems; k++) {
    vnc_fold_unravel(&f->out, k, at);
    for (size_t i = 0; i < t->rank; i++) from[p[i]] = at[i];
    vnc_fold_copy(f, k, t, vnc_fold_ravel(t, from, t->rank));
  }
  return status;
}

/* ---- new shapes ---- */

/* The first input with another shape: the result of what only regroups. */
static enum vn_status reshaped(struct vnc_folding *f, size_t rank, const uint64_t *dim) {
  enum vn_status status = vnc_value_tensor(f->op->im, f->op->in[0], &f->out);
  if (status) return status;
  f->out.rank = rank;
  memcpy(f->out.dim, dim, rank * sizeof *dim);
  return VN_OK;
}

enum vn_status vnc_fold_reshape(struct vnc_folding *f) {
  uint64_t dim[VNC_TENSOR_RANK], known = 1;
  enum vn_status status = vnc_fold_need(f, 2);
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
    if (d < 0 || (known && (uint64_t)d > VNC_FOLD_MOST / known))
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

static enum vn_status fold_squeeze(struct vnc_folding *f, bool squeeze) {
  int64_t list[VNC_TENSOR_RANK];
  uint64_t dim[VNC_TENSOR_RANK];
  size_t n, rank = 0, from = 0;
  bool present;
  enum vn_status status = vnc_fold_need(f, 1);
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

enum vn_status vnc_fold_squeeze(struct vnc_folding *f) {
  return fold_squeeze(f, true);
}

enum vn_status vnc_fold_unsqueeze(struct vnc_folding *f) {
  return fold_squeeze(f, false);
}
