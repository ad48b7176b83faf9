/* Opens a plan: reads the file, proves header and tables against the file and each other, and
 * answers questions about ports and metadata. The mirror of compiler/plan_write.c; schemas/plan.md
 * is the law. Steps are proved in plan_check.c. The file is read, not mapped: another process may
 * overwrite or shorten it at any time. */
#include "plan_load.h"

#include "os.h"
#include "packed.h"
#include "watch.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <math.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ARENA_BYTES ((uint64_t)1 << 40)
#define HASH_FROM       32 /* the checksum covers what follows itself */

static enum vn_status header_check(const struct vn_plan *p, struct vn_diag *diag) {
  const struct plan_header *h = p->header;
  if (p->size < sizeof *h || memcmp(h->magic, PLAN_MAGIC, sizeof h->magic) != 0)
    return vn_fail(diag, VN_E_FORMAT, "not a plan, which vnetc makes of an ONNX model");
  if (h->endian != PLAN_ENDIAN)
    return vn_fail(diag, VN_E_UNSUPPORTED, "the plan was made for another byte order");
  if (h->major != PLAN_MAJOR)
    return vn_fail(diag, VN_E_UNSUPPORTED,
                   "the plan has format version %u.%u, this library reads %d.x: compile the model "
                   "again with this version's vnetc",
                   h->major, h->minor, PLAN_MAJOR);
  if (h->file_bytes != p->size)
    return vn_fail(diag, VN_E_FORMAT, "the plan has %zu bytes and should have %llu: truncated?",
                   p->size, (unsigned long long)h->file_bytes);
  return VN_OK;
}

static enum vn_status table_check(const struct vn_plan *p, const struct plan_table *t,
                                  const char *name, uint64_t least, size_t record_bytes,
                                  struct vn_diag *diag) {
  const uint64_t most = t == &p->header->ports ? PLAN_MOST_PORTS : PLAN_MOST_RECORDS;
  if (t->count < least || t->count > most)
    return vn_fail(diag, VN_E_FORMAT, "the plan has %llu %s", (unsigned long long)t->count, name);
  if (t->count == 0) return VN_OK;
  if (t->offset % 8 || t->offset < sizeof *p->header || t->offset > p->size ||
      t->count * record_bytes > p->size - t->offset)
    return vn_fail(diag, VN_E_FORMAT, "the table of %s lies outside the plan", name);
  return VN_OK;
}

static enum vn_status tables_check(struct vn_plan *p, struct vn_diag *diag) {
  const struct plan_header *h = p->header;
  const struct {
    const struct plan_table *table;
    const char *name;
    uint64_t least;
    size_t record_bytes;
    const void **records;
  } row[] = {
      {&h->buffers, "buffers", 1, sizeof *p->buffers, (const void **)&p->buffers},
      {&h->tensors, "tensors", 1, sizeof *p->tensors, (const void **)&p->tensors},
      {&h->steps, "steps", 0, sizeof *p->steps, (const void **)&p->steps},
      {&h->weights, "weights", 0, sizeof *p->weights, (const void **)&p->weights},
      {&h->ports, "ports", 2, sizeof *p->ports, (const void **)&p->ports},
      {&h->metas, "metadata", 0, sizeof *p->metas, (const void **)&p->metas},
      {&h->ends, "ends", 0, sizeof *p->ends, (const void **)&p->ends},
      {&h->thresholds, "thresholds", 0, sizeof *p->thresholds, (const void **)&p->thresholds},
  };
  for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
    enum vn_status status =
        table_check(p, row[i].table, row[i].name, row[i].least, row[i].record_bytes, diag);
    if (status) return status;
    const uint64_t offset = row[i].table->count ? row[i].table->offset : 0;
    const uint64_t end = offset + row[i].table->count * row[i].record_bytes;
    *row[i].records = p->bytes + offset;
    if (end > p->tables_end) p->tables_end = end;
  }
  uint64_t at = h->strings.offset, n = h->strings.count;
  if (at < sizeof *h || at > p->size || n == 0 || n > UINT32_MAX || n > p->size - at ||
      p->bytes[at] != 0 || p->bytes[at + n - 1] != 0)
    return vn_fail(diag, VN_E_FORMAT, "the string block is damaged");
  p->strings = (const char *)p->bytes + at;
  if (at + n > p->tables_end) p->tables_end = at + n;
  if (h->topology >= n || h->producer >= n || !plan_reserved_ok(p, h->reserved, sizeof h->reserved))
    return vn_fail(diag, VN_E_FORMAT, "the plan's header is damaged");
  return VN_OK;
}

/* ---- buffers alive at one step never overlap ---- */

static int first_order(const void *a, const void *b) {
  const struct plan_buffer *x = *(const struct plan_buffer *const *)a;
  const struct plan_buffer *y = *(const struct plan_buffer *const *)b;
  return (x->first_step > y->first_step) - (x->first_step < y->first_step);
}

static int last_order(const void *a, const void *b) {
  const struct plan_buffer *x = *(const struct plan_buffer *const *)a;
  const struct plan_buffer *y = *(const struct plan_buffer *const *)b;
  return (x->last_step > y->last_step) - (x->last_step < y->last_step);
}

/* Of a tree of buffers that do not overlap: one that does is equal to what it overlaps. */
static int place_order(const void *a, const void *b) {
  const struct plan_buffer *x = a, *y = b;
  if (x->offset + x->bytes <= y->offset) return -1;
  return y->offset + y->bytes <= x->offset;
}

/* From step to step: the tree holds what is alive. `first` and `last` are the buffers in the order
 * of their first and last steps. */
static enum vn_status buffers_sweep(const struct plan_buffer **first,
                                    const struct plan_buffer **last, size_t n,
                                    struct vn_diag *diag) {
  void *alive = NULL;
  enum vn_status status = VN_OK;
  for (size_t i = 0, dead = 0; i < n && !status; i++) {
    for (; last[dead]->last_step < first[i]->first_step; dead++)
      tdelete(last[dead], &alive, place_order);
    const struct plan_buffer **found = tsearch(first[i], &alive, place_order);
    if (!found)
      status = vn_fail(diag, VN_E_MEMORY, "out of memory");
    else if (*found != first[i])
      status = vn_fail(diag, VN_E_FORMAT, "two buffers of the plan overlap while both are alive");
  }
  while (alive) tdelete(*(void **)alive, &alive, place_order);
  return status;
}

static enum vn_status buffers_disjoint(const struct vn_plan *p, struct vn_diag *diag) {
  const size_t n = p->header->buffers.count;
  const struct plan_buffer **first = malloc(2 * n * sizeof *first), **last;
  if (!first) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  last = first + n;
  for (size_t i = 0; i < n; i++) first[i] = last[i] = &p->buffers[i];
  qsort(first, n, sizeof *first, first_order);
  qsort(last, n, sizeof *last, last_order);
  enum vn_status status = buffers_sweep(first, last, n, diag);
  free(first);
  return status;
}

static enum vn_status buffers_check(const struct vn_plan *p, struct vn_diag *diag) {
  const struct plan_header *h = p->header;
  uint64_t end = 0, last_step = h->steps.count ? h->steps.count - 1 : 0;
  for (size_t i = 0; i < h->buffers.count; i++) {
    const struct plan_buffer *b = &p->buffers[i];
    if (b->offset % PLAN_ALIGN || b->bytes < 4 || b->offset > MAX_ARENA_BYTES ||
        b->bytes > MAX_ARENA_BYTES - b->offset || b->first_step > b->last_step ||
        b->last_step > last_step)
      return vn_fail(diag, VN_E_FORMAT, "buffer %zu of the plan is damaged", i);
    if (b->offset + b->bytes > end) end = b->offset + b->bytes;
  }
  if (h->arena_bytes != (end + PLAN_ALIGN - 1) / PLAN_ALIGN * PLAN_ALIGN ||
      h->arena_bound_bytes > h->arena_bytes)
    return vn_fail(diag, VN_E_FORMAT, "the plan's arena size does not follow from its buffers");
  return buffers_disjoint(p, diag);
}

/* Bytes from a tensor's first element to the end of its last. */
static bool tensor_span(const struct plan_tensor *t, uint64_t *bytes) {
  uint64_t n = 1;
  for (int a = 0; a < VN_AXES; a++) {
    if (t->dim[a] < 1 || t->dim[a] > INT32_MAX) return false;
    if (a != VN_C && __builtin_mul_overflow(n, t->dim[a], &n)) return false;
  }
  return t->pixel_stride >= t->dim[VN_C] && !__builtin_mul_overflow(n - 1, t->pixel_stride, &n) &&
         !__builtin_add_overflow(n, t->dim[VN_C], &n) && !__builtin_mul_overflow(n, 4, bytes);
}

static enum vn_status tensors_check(const struct vn_plan *p, struct vn_diag *diag) {
  for (size_t i = 0; i < p->header->tensors.count; i++) {
    const struct plan_tensor *t = &p->tensors[i];
    uint64_t bytes;
    bool ok = t->name < p->header->strings.count && (t->dtype == VN_F32 || t->dtype == VN_I32) &&
              t->buffer < p->header->buffers.count && t->offset % 4 == 0 && tensor_span(t, &bytes);
    if (ok) {
      const struct plan_buffer *b = &p->buffers[t->buffer];
      ok = t->offset >= b->offset && t->offset - b->offset <= b->bytes &&
           t->pixel_stride <= b->bytes / 4 && /* of a single pixel, too */
           bytes <= b->bytes - (t->offset - b->offset) &&
           plan_reserved_ok(p, &t->reserved, sizeof t->reserved);
    }
    if (!ok) return vn_fail(diag, VN_E_FORMAT, "tensor %zu of the plan is damaged", i);
  }
  return VN_OK;
}

/* Behind all tables, and each behind the one before: what has been packed is given back to the
 * system, and must not take along what was checked here; and a byte is looked at once. */
static enum vn_status weights_check(const struct vn_plan *p, struct vn_diag *diag) {
  uint64_t end = p->tables_end;
  for (size_t i = 0; i < p->header->weights.count; i++) {
    const struct plan_weight *w = &p->weights[i];
    uint64_t bytes = 4;
    bool ok = w->name < p->header->strings.count && w->dtype == VN_F32 && w->rank >= 1 &&
              w->rank <= VN_AXES && plan_reserved_ok(p, &w->reserved, sizeof w->reserved);
    for (uint32_t a = 0; ok && a < VN_AXES; a++)
      ok = w->dim[a] >= 1 && (a < w->rank || w->dim[a] == 1) &&
           !__builtin_mul_overflow(bytes, w->dim[a], &bytes);
    if (!ok || w->bytes != bytes || w->offset % PLAN_ALIGN || w->offset < end ||
        w->offset > p->size || bytes > p->size - w->offset)
      return vn_fail(diag, VN_E_FORMAT, "weight %zu of the plan is damaged", i);
    end = w->offset + bytes;
  }
  return VN_OK;
}

static bool port_ok(const struct vn_plan *p, const struct plan_port *port) {
  const struct plan_header *h = p->header;
  if (port->name >= h->strings.count || port->tensor >= h->tensors.count || port->is_output > 1 ||
      port->rank > PLAN_MAX_RANK)
    return false;
  const struct plan_tensor *t = &p->tensors[port->tensor];
  const struct plan_buffer *b = &p->buffers[t->buffer];
  if (port->dtype != (t->dtype == VN_F32 ? VN_F32 : VN_I64)) return false;
  if (!port->is_output && (port->dtype != VN_F32 || b->first_step != 0)) return false;
  if (port->is_output && h->steps.count && b->last_step != h->steps.count - 1) return false;
  uint64_t elems = 1, tensor_elems = 1;
  uint32_t seen = 0;
  for (uint32_t i = 0; i < PLAN_MAX_RANK; i++)
    if ((i >= port->rank && port->dim[i] != 1) ||
        __builtin_mul_overflow(elems, port->dim[i], &elems))
      return false;
  for (uint32_t a = 0; a < VN_AXES; a++) {
    if (port->order[a] >= VN_AXES) return false;
    seen |= 1u << port->order[a];
    tensor_elems *= t->dim[a]; /* bounded by the arena */
  }
  return seen == (1u << VN_AXES) - 1 && elems == tensor_elems;
}

static enum vn_status ports_check(const struct vn_plan *p, struct vn_diag *diag) {
  for (size_t i = 0; i < p->header->ports.count; i++)
    if (!port_ok(p, &p->ports[i]))
      return vn_fail(diag, VN_E_FORMAT, "port %zu of the plan is damaged", i);
  if (!vn_plan_inputs(p) || !vn_plan_outputs(p))
    return vn_fail(diag, VN_E_FORMAT, "the plan has no input or no output");
  for (size_t i = 0; i < p->header->metas.count; i++)
    if (p->metas[i].key >= p->header->strings.count ||
        p->metas[i].value >= p->header->strings.count)
      return vn_fail(diag, VN_E_FORMAT, "metadata entry %zu of the plan is damaged", i);
  return VN_OK;
}

static bool end_ok(const struct vn_plan *p, const struct plan_end *end,
                   const struct plan_port *port) {
  const uint64_t channels = p->tensors[port->tensor].dim[VN_C], count = p->header->thresholds.count;
  if (end->n_thresholds != (end->meaning == VN_END_REGIONS ? channels : 0) ||
      end->first_threshold > count || end->n_thresholds > count - end->first_threshold ||
      !plan_reserved_ok(p, &end->reserved, sizeof end->reserved))
    return false;
  for (uint32_t c = 0; c < end->n_thresholds; c++) {
    const struct plan_threshold *t = &p->thresholds[end->first_threshold + c];
    if (!isfinite(t->value) || !plan_reserved_ok(p, &t->reserved, sizeof t->reserved)) return false;
  }
  return true;
}

static enum vn_status ends_check(const struct vn_plan *p, struct vn_diag *diag) {
  const size_t n = p->header->ends.count;
  if (n && n != vn_plan_outputs(p))
    return vn_fail(diag, VN_E_FORMAT, "the plan says of %zu outputs what they mean, and has %zu", n,
                   vn_plan_outputs(p));
  for (size_t i = 0; i < n; i++) {
    if (p->ends[i].meaning >= VN_END_COUNT)
      return vn_fail(diag, VN_E_UNSUPPORTED,
                     "output %zu of the plan has a meaning (%u) that this library does not know", i,
                     p->ends[i].meaning);
    if (!end_ok(p, &p->ends[i], vn_plan_port(p, true, i)))
      return vn_fail(diag, VN_E_FORMAT, "the end of output %zu of the plan is damaged", i);
  }
  return VN_OK;
}

static enum vn_status plan_check(struct vn_plan *p, uint64_t checksum, struct vn_diag *diag) {
  enum vn_status status = header_check(p, diag);
  if (!status && checksum != p->header->checksum)
    status = vn_fail(diag, VN_E_FORMAT, "the plan is damaged: its checksum does not match");
  if (!status) status = tables_check(p, diag);
  if (!status) status = buffers_check(p, diag);
  if (!status) status = tensors_check(p, diag);
  if (!status) status = weights_check(p, diag);
  if (!status) status = ports_check(p, diag);
  if (!status) status = ends_check(p, diag);
  if (!status) status = vn_plan_check_steps(p, diag);
  return status;
}

/* Checks *plan, which is complete but for what its bytes say, and keeps a copy; or frees it. */
static enum vn_status plan_finish(const struct vn_plan *filled, uint64_t checksum,
                                  struct vn_plan **plan, struct vn_diag *diag) {
  struct vn_plan *p = malloc(sizeof *p);
  enum vn_status status = VN_OK;
  if (!p) {
    vn_os_pages_free(filled->own, filled->own_map_bytes);
    return vn_fail(diag, VN_E_MEMORY, "out of memory");
  }
  *p = *filled;
  p->header = (const struct plan_header *)p->bytes;
  status = plan_check(p, checksum, diag);
  if (!status) status = vn_packed_open(p, &p->packed, diag);
  if (status) vn_plan_close(&p);
  *plan = p;
  return status;
}

enum vn_status vn_plan_open_memory(const void *bytes, size_t size, struct vn_plan **plan,
                                   struct vn_diag *diag) {
  struct vn_plan p = {.bytes = bytes, .size = size};
  *plan = NULL;
  if (size < sizeof(struct plan_header))
    return vn_fail(diag, VN_E_FORMAT, "%zu bytes are too short for a plan", size);
  if ((uintptr_t)bytes % PLAN_ALIGN) {
    p.own = vn_os_pages(size, &p.own_map_bytes);
    if (!p.own)
      return vn_fail(diag, VN_E_MEMORY, "no memory for a copy of the plan's %zu bytes", size);
    p.bytes = memcpy(p.own, bytes, size);
  }
  return plan_finish(&p, XXH3_64bits(p.bytes + HASH_FROM, size - HASH_FROM), plan, diag);
}

/* What follows the header, and the checksum of each piece while it is in the cache. */
static enum vn_status rest_read(const struct vn_os_file *file, struct vn_plan *p,
                                uint64_t *checksum, struct vn_watch *watch, struct vn_diag *diag) {
  enum { PIECE = 4 << 20 };
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, p->bytes + HASH_FROM, sizeof *p->header - HASH_FROM);
  for (size_t at = sizeof *p->header, got; at < p->size; at += got) {
    if (vn_watch_stopped(watch)) return vn_fail(diag, VN_E_CANCELLED, "cancelled");
    size_t want = p->size - at < PIECE ? p->size - at : PIECE;
    enum vn_status status = vn_os_file_read(file, (char *)p->own + at, want, &got, diag);
    if (status) return status;
    if (got < want)
      return vn_fail(diag, VN_E_FORMAT, "became shorter while it was read: %zu of %zu bytes",
                     at + got, p->size);
    XXH3_64bits_update(&state, p->bytes + at, got);
    vn_watch_tell(watch, (double)(at + got) / (double)p->size);
  }
  *checksum = XXH3_64bits_digest(&state);
  return VN_OK;
}

/* The header first: another kind of file is not read to its end. */
static enum vn_status file_load(const struct vn_os_file *file, struct vn_watch *watch,
                                struct vn_plan **plan, struct vn_diag *diag) {
  const uint64_t limit = watch->memory_limit ? watch->memory_limit : vn_os_memory_free("");
  struct plan_header header;
  struct vn_plan p = {.size = (size_t)file->bytes, .header = &header};
  uint64_t checksum = 0;
  size_t got;
  if (file->bytes < sizeof header)
    return vn_fail(diag, VN_E_FORMAT, "too short for a plan, which vnetc makes of an ONNX model");
  enum vn_status status = vn_os_file_read(file, &header, sizeof header, &got, diag);
  if (!status && got < sizeof header)
    status = vn_fail(diag, VN_E_FORMAT, "too short for a plan, which vnetc makes of an ONNX model");
  if (!status) status = header_check(&p, diag);
  if (status) return status;
  if (file->bytes > limit)
    return vn_fail(diag, VN_E_MEMORY, "takes %.1f MiB, and %.1f MiB are %s",
                   (double)file->bytes / 0x1p20, (double)limit / 0x1p20,
                   watch->memory_limit ? "the limit" : "free");
  p.own = vn_os_pages(p.size, &p.own_map_bytes);
  if (!p.own)
    return vn_fail(diag, VN_E_MEMORY, "no memory for its %llu bytes",
                   (unsigned long long)file->bytes);
  p.bytes = memcpy(p.own, &header, sizeof header);
  status = rest_read(file, &p, &checksum, watch, diag);
  if (status) {
    vn_os_pages_free(p.own, p.own_map_bytes);
    return status;
  }
  return plan_finish(&p, checksum, plan, diag);
}

enum vn_status vn_plan_open_with(const char *path, const struct vn_run_options *run,
                                 struct vn_plan **plan, struct vn_diag *diag) {
  struct vn_os_file file;
  struct vn_watch watch;
  struct vn_diag reason = {""};
  *plan = NULL;
  enum vn_status status = vn_watch_open(&watch, run, diag);
  if (!status) status = vn_os_file_open(path, &file, diag);
  if (status) return status;
  status = file_load(&file, &watch, plan, &reason);
  vn_os_file_close(&file);
  if (status == VN_OK) status = vn_watch_close(&watch, &reason);
  if (status) vn_plan_close(plan);
  return status ? vn_fail(diag, status, "%.200s: %.300s", path, reason.text) : VN_OK;
}

enum vn_status vn_plan_open(const char *path, struct vn_plan **plan, struct vn_diag *diag) {
  return vn_plan_open_with(path, NULL, plan, diag);
}

void vn_plan_close(struct vn_plan **plan) {
  if (!plan || !*plan) return;
  vn_packed_close(&(*plan)->packed);
  vn_os_pages_free((*plan)->own, (*plan)->own_map_bytes);
  free(*plan);
  *plan = NULL;
}

/* ---- questions ---- */

static size_t ports_count(const struct vn_plan *plan, bool is_output) {
  size_t n = 0;
  for (size_t i = 0; i < plan->header->ports.count; i++) n += plan->ports[i].is_output == is_output;
  return n;
}

size_t vn_plan_inputs(const struct vn_plan *plan) {
  return ports_count(plan, false);
}

size_t vn_plan_outputs(const struct vn_plan *plan) {
  return ports_count(plan, true);
}

const struct plan_port *vn_plan_port(const struct vn_plan *plan, bool is_output, size_t index) {
  for (size_t i = 0; i < plan->header->ports.count; i++)
    if (plan->ports[i].is_output == is_output && index-- == 0) return &plan->ports[i];
  return NULL;
}

static struct vn_port port_view(const struct vn_plan *plan, bool is_output, size_t index) {
  const struct plan_port *port = vn_plan_port(plan, is_output, index);
  struct vn_port view = {.elems = 1};
  if (!port) return (struct vn_port){.name = ""};
  view.name = plan->strings + port->name;
  view.type = port->dtype == VN_I64 ? VN_TYPE_I64 : VN_TYPE_F32;
  view.rank = port->rank;
  for (size_t i = 0; i < PLAN_MAX_RANK; i++) {
    view.dim[i] = (size_t)port->dim[i];
    view.elems *= view.dim[i];
  }
  return view;
}

struct vn_port vn_plan_input(const struct vn_plan *plan, size_t index) {
  return port_view(plan, false, index);
}

struct vn_port vn_plan_output(const struct vn_plan *plan, size_t index) {
  return port_view(plan, true, index);
}

const char *vn_plan_meta(const struct vn_plan *plan, const char *key) {
  for (size_t i = 0; i < plan->header->metas.count; i++)
    if (!strcmp(plan->strings + plan->metas[i].key, key))
      return plan->strings + plan->metas[i].value;
  return NULL;
}

static_assert((int)VN_MEANS_UNSAID == (int)VN_END_UNSAID &&
                  (int)VN_MEANS_LABELS == (int)VN_END_LABELS,
              "vnet.h and types.h name the same meanings");

enum vn_meaning vn_plan_meaning(const struct vn_plan *plan, size_t output) {
  if (output >= plan->header->ends.count) return VN_MEANS_UNSAID;
  return (enum vn_meaning)plan->ends[output].meaning;
}

float vn_plan_threshold(const struct vn_plan *plan, size_t output, size_t channel) {
  const struct plan_end *end = output < plan->header->ends.count ? &plan->ends[output] : NULL;
  if (!end || channel >= end->n_thresholds) return 0.5f;
  return plan->thresholds[end->first_threshold + channel].value;
}

const char *vn_plan_topology(const struct vn_plan *plan) {
  return plan->strings + plan->header->topology;
}

uint64_t vn_plan_checksum(const struct vn_plan *plan) {
  return plan->header->checksum;
}

const void *vn_plan_bytes(const struct vn_plan *plan, size_t *size) {
  *size = plan->size;
  return plan->bytes;
}
