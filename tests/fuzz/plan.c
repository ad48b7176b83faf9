/* Plans, changed record by record with everything that hangs together put right again: sizes,
 * weights' shapes, the arena, the checksum. What opens is run. */
#include "fuzz.h"

#include "plan.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

static const struct {
  size_t at, bytes; /* the table's place in the header, and a record's size */
} kinds[] = {
    {offsetof(struct plan_header, buffers), sizeof(struct plan_buffer)},
    {offsetof(struct plan_header, tensors), sizeof(struct plan_tensor)},
    {offsetof(struct plan_header, steps), sizeof(struct plan_step)},
    {offsetof(struct plan_header, weights), sizeof(struct plan_weight)},
    {offsetof(struct plan_header, ports), sizeof(struct plan_port)},
    {offsetof(struct plan_header, metas), sizeof(struct plan_meta)},
    {offsetof(struct plan_header, ends), sizeof(struct plan_end)},
    {offsetof(struct plan_header, thresholds), sizeof(struct plan_threshold)},
};
enum { BUFFERS, TENSORS, STEPS, WEIGHTS, PORTS, METAS, ENDS, THRESHOLDS, KINDS };

struct plan {
  uint8_t *data;
  size_t size, most;
  uint64_t random;
};

/* ---- records: NULL where a table is empty or lies outside ---- */

static struct plan_table table_of(const struct plan *p, int kind) {
  struct plan_table t;
  memcpy(&t, p->data + kinds[kind].at, sizeof t);
  if (t.offset > p->size || t.count > (p->size - t.offset) / kinds[kind].bytes) t.count = 0;
  return t;
}

static void table_set(struct plan *p, int kind, struct plan_table t) {
  memcpy(p->data + kinds[kind].at, &t, sizeof t);
}

static uint8_t *record(const struct plan *p, int kind, size_t index) {
  struct plan_table t = table_of(p, kind);
  return index < t.count ? p->data + t.offset + index * kinds[kind].bytes : NULL;
}

/* Tables may lie over one another, and over the header: what was there may be gone. */
static void record_set(const struct plan *p, int kind, size_t index, const void *from) {
  uint8_t *to = record(p, kind, index);
  if (to) memcpy(to, from, kinds[kind].bytes);
}

static uint8_t *any_record(struct plan *p, int kind) {
  return record(p, kind, fuzz_below(&p->random, table_of(p, kind).count));
}

/* ---- one change ---- */

/* A word becomes odd, or its neighbour in value, or what another record has there. */
static void change_word(struct plan *p) {
  int kind = (int)fuzz_below(&p->random, KINDS);
  uint8_t *at = any_record(p, kind), *other = any_record(p, kind);
  if (!at) return;
  size_t width = fuzz_below(&p->random, 2) ? 8 : 4;
  size_t word = fuzz_below(&p->random, kinds[kind].bytes / width) * width;
  uint64_t value = 0;
  memcpy(&value, at + word, width);
  switch (fuzz_below(&p->random, 6)) {
  case 0:
    value = (uint64_t)fuzz_odd_number(&p->random);
    break;
  case 1:
    value++;
    break;
  case 2:
    value--;
    break;
  case 3:
    value = fuzz_below(&p->random, 24);
    break;
  case 4:
    value ^= (uint64_t)1 << fuzz_below(&p->random, 8 * width);
    break;
  default:
    memcpy(&value, other + word, width);
  }
  memcpy(at + word, &value, width);
}

static void change_header(struct plan *p) {
  size_t at = 8 + 4 * fuzz_below(&p->random, sizeof(struct plan_header) / 4 - 2);
  int64_t value = fuzz_odd_number(&p->random);
  memcpy(p->data + at, &value, 4);
}

static void exchange_records(struct plan *p) {
  uint8_t kept[sizeof(struct plan_step)];
  int kind = (int)fuzz_below(&p->random, KINDS);
  uint8_t *a = any_record(p, kind), *b = any_record(p, kind);
  if (!a || a == b) return;
  memcpy(kept, a, kinds[kind].bytes);
  memcpy(a, b, kinds[kind].bytes);
  if (fuzz_below(&p->random, 2)) memcpy(b, kept, kinds[kind].bytes);
}

/* Moves a table to the plan's end and repeats one of its records there; or cuts the last one. */
static void grow_or_cut(struct plan *p) {
  int kind = (int)fuzz_below(&p->random, KINDS);
  struct plan_table t = table_of(p, kind);
  size_t bytes = t.count * kinds[kind].bytes, to = (p->size + 7) / 8 * 8;
  if (!t.count) return;
  if (fuzz_below(&p->random, 3) == 0) {
    t.count--;
  } else if (to + bytes + kinds[kind].bytes <= p->most) {
    memset(p->data + p->size, 0, to - p->size);
    memmove(p->data + to, p->data + t.offset, bytes);
    memmove(p->data + to + bytes, any_record(p, kind), kinds[kind].bytes);
    p->size = to + bytes + kinds[kind].bytes;
    t = (struct plan_table){to, t.count + 1};
  }
  table_set(p, kind, t);
}

static bool tensor_at(const struct plan *p, uint32_t id, struct plan_tensor *t) {
  const uint8_t *at = record(p, TENSORS, id);
  if (at) memcpy(t, at, sizeof *t);
  return at != NULL;
}

/* A convolution's kernel or groups become others, and its weight's shape follows. The data may lie
 * anywhere in the file. */
static void change_conv(struct plan *p) {
  struct plan_step s;
  struct plan_tensor in, out;
  struct plan_weight w;
  uint8_t *at = any_record(p, STEPS);
  if (!at) return;
  memcpy(&s, at, sizeof s);
  if (fuzz_below(&p->random, 2))
    s.u.conv.kernel[fuzz_below(&p->random, 3)] = (uint32_t)fuzz_below(&p->random, 8);
  if (fuzz_below(&p->random, 8) == 0)
    s.u.conv.kernel[fuzz_below(&p->random, 3)] = (uint32_t)fuzz_below(&p->random, 512);
  if (fuzz_below(&p->random, 4) == 0) s.u.conv.groups = (uint32_t)fuzz_below(&p->random, 20);
  s.algo = (uint32_t)fuzz_below(&p->random, VN_ALGO_COUNT);
  for (int i = 0; i < 3; i++)
    s.u.conv.tile[i] = s.algo == VN_ALGO_WINOGRAD ? (uint32_t)fuzz_below(&p->random, 9) : 0;
  memcpy(at, &s, sizeof s);
  uint8_t *weight = record(p, WEIGHTS, s.weight);
  if (!weight || !tensor_at(p, s.in[0], &in) || !tensor_at(p, s.out, &out) || !s.u.conv.groups)
    return;
  memcpy(&w, weight, sizeof w);
  const uint64_t dim[] = {out.dim[VN_C], s.u.conv.kernel[0], s.u.conv.kernel[1], s.u.conv.kernel[2],
                          in.dim[VN_C] / s.u.conv.groups};
  w.rank = 5;
  w.bytes = 4;
  for (int i = 0; i < 5; i++) w.bytes *= w.dim[i] = dim[i];
  if (w.offset + w.bytes > p->size) w.offset = PLAN_ALIGN * (4 + fuzz_below(&p->random, 4));
  memcpy(weight, &w, sizeof w);
}

/* Every axis of one size becomes one of another, everywhere. */
static void change_size(struct plan *p) {
  struct plan_tensor t;
  size_t axis = fuzz_below(&p->random, VN_AXES), count = table_of(p, TENSORS).count;
  if (!tensor_at(p, (uint32_t)fuzz_below(&p->random, count), &t)) return;
  uint64_t from = t.dim[axis], to = 1 + fuzz_below(&p->random, 20);
  for (uint32_t i = 0; tensor_at(p, i, &t); i++) {
    if (t.dim[axis] == from) t.dim[axis] = to;
    if (axis == VN_C && t.pixel_stride == from) t.pixel_stride = to;
    record_set(p, TENSORS, i, &t);
  }
}

/* ---- what hangs together ---- */

static uint64_t bytes_of(const struct plan_tensor *t) {
  uint64_t pixels = t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W];
  return 4 * ((pixels - 1) * t->pixel_stride + t->dim[VN_C]);
}

/* Buffers one after the other, each as large as its tensors, which keep their places in it. */
static void lay_out(struct plan *p) {
  uint64_t end = 0;
  for (size_t i = 0; record(p, BUFFERS, i); i++) {
    struct plan_buffer b;
    struct plan_tensor t;
    memcpy(&b, record(p, BUFFERS, i), sizeof b);
    uint64_t was = b.offset;
    b.offset = end;
    for (uint32_t k = 0; tensor_at(p, k, &t); k++) {
      if (t.buffer != i) continue;
      uint64_t into = t.offset - was;
      t.offset = end + into;
      if (into < 1 << 20 && into + bytes_of(&t) > b.bytes) b.bytes = into + bytes_of(&t);
      record_set(p, TENSORS, k, &t);
    }
    end += (b.bytes + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
    record_set(p, BUFFERS, i, &b);
  }
  for (size_t i = 0; record(p, PORTS, i); i++) {
    struct plan_port port;
    struct plan_tensor t;
    memcpy(&port, record(p, PORTS, i), sizeof port);
    for (int a = 0; a < 5 && port.rank == 5 && tensor_at(p, port.tensor, &t); a++)
      if (port.order[a] < VN_AXES) port.dim[a] = t.dim[port.order[a]];
    record_set(p, PORTS, i, &port);
  }
}

static void seal(struct plan *p) {
  struct plan_header h;
  struct plan_buffer b;
  uint64_t end = 0;
  for (size_t i = 0; record(p, BUFFERS, i); i++) {
    memcpy(&b, record(p, BUFFERS, i), sizeof b);
    if (b.offset + b.bytes > end) end = b.offset + b.bytes;
  }
  memcpy(&h, p->data, sizeof h);
  if (fuzz_below(&p->random, 32)) {
    h.arena_bytes = (end + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN;
    if (h.arena_bound_bytes > h.arena_bytes) h.arena_bound_bytes = h.arena_bytes;
    h.file_bytes = p->size;
  }
  memcpy(p->data, &h, sizeof h);
  h.checksum = XXH3_64bits(p->data + 32, p->size - 32);
  memcpy(p->data, &h, sizeof h);
}

static void change(struct plan *p) {
  switch (fuzz_below(&p->random, 16)) {
  case 0:
    change_header(p);
    break;
  case 1:
    exchange_records(p);
    break;
  case 2:
  case 3:
    grow_or_cut(p);
    break;
  case 4:
  case 5:
    change_conv(p);
    break;
  case 6:
    change_size(p);
    lay_out(p);
    break;
  case 7:
    lay_out(p);
    break;
  default:
    change_word(p);
  }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  struct plan p = {data, size, most, seed};
  if (size < sizeof(struct plan_header) || seed % 16 == 0)
    p.size = LLVMFuzzerMutate(data, size, most);
  else
    for (size_t left = 1 + fuzz_below(&p.random, 3); left; left--) change(&p);
  if (p.size >= sizeof(struct plan_header) && fuzz_below(&p.random, 32)) seal(&p);
  return p.size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct vn_diag diag = {""};
  fuzz_judge(fuzz_plan_run(data, size, &diag), &diag);
  return 0;
}
