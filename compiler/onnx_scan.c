/* See onnx_scan.h. Called by onnx_import.c alone. */
#include "onnx_scan.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
  MOST_DEPTH = 32,
  MOST_MESSAGES = 500000,
  MOST_TEXT = 1 << 16,
  MOST_ENTRY = 1 << 26, /* some exporters keep a whole configuration there */
  LENGTH_BYTES = 5,
  RAW_DATA = 9
};
static const size_t MOST_REDUCED = (size_t)1 << 30, MOST_UNPACKED = (size_t)2 << 30;

struct scan {
  const uint8_t *file;
  size_t messages;
  uint8_t *out; /* the reduced message */
  size_t n, cap;
  struct vn_diag *diag;
  enum vn_status status;
};

static void fail(struct scan *s, enum vn_status status, const char *what) {
  if (!s->status) s->status = vn_fail(s->diag, status, "not a usable ONNX model: %s", what);
}

static void put(struct scan *s, const void *bytes, size_t size) {
  if (s->status) return;
  if (size > MOST_REDUCED - s->n) {
    fail(s, VN_E_UNSUPPORTED, "more than 1 GiB besides its raw weights");
    return;
  }
  if (s->n + size > s->cap) {
    size_t cap = 2 * s->cap + size + 4096;
    uint8_t *bigger = realloc(s->out, cap);
    if (!bigger) {
      fail(s, VN_E_MEMORY, "out of memory");
      return;
    }
    s->out = bigger;
    s->cap = cap;
  }
  if (size) memcpy(s->out + s->n, bytes, size);
  s->n += size;
}

/* Reads a varint at *at, before `end`. */
static uint64_t varint(struct scan *s, const uint8_t **at, const uint8_t *end) {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
    uint8_t byte = *(*at)++;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return value;
  }
  fail(s, VN_E_FORMAT, "truncated, or not protobuf");
  return 0;
}

/* A length in five bytes, whatever its value: room can be left for it before it is known. */
static void store_length(uint8_t *at, size_t length) {
  for (int i = 0; i < LENGTH_BYTES; i++, length >>= 7)
    at[i] = (uint8_t)((length & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
}

static void put_bytes(struct scan *s, const void *bytes, size_t size) {
  uint8_t length[LENGTH_BYTES];
  store_length(length, size);
  put(s, length, sizeof length);
  put(s, bytes, size);
}

static void scan_message(struct scan *s, const ProtobufCMessageDescriptor *type, const uint8_t *at,
                         const uint8_t *end, unsigned depth);

/* Names appear in messages and in the plan; what comes as key and value may have several lines. */
static void check_text(struct scan *s, const ProtobufCMessageDescriptor *type, const uint8_t *at,
                       size_t size) {
  const bool entry = type == &onnx__string_string_entry_proto__descriptor;
  if (size > (entry ? MOST_ENTRY : MOST_TEXT))
    fail(s, VN_E_UNSUPPORTED,
         entry ? "metadata of more than 64 MiB" : "a name of more than 64 KiB");
  if (entry) return;
  for (size_t i = 0; i < size; i++)
    if (at[i] < 0x20 || at[i] == 0x7f) fail(s, VN_E_FORMAT, "control characters in a name");
}

static void scan_delimited(struct scan *s, const ProtobufCMessageDescriptor *type,
                           const ProtobufCFieldDescriptor *field, const uint8_t *at, size_t size,
                           unsigned depth) {
  if (field && field->type == PROTOBUF_C_TYPE_MESSAGE) {
    uint8_t room[LENGTH_BYTES] = {0};
    size_t before = s->n;
    put(s, room, sizeof room);
    scan_message(s, field->descriptor, at, at + size, depth + 1);
    if (!s->status) store_length(s->out + before, s->n - before - LENGTH_BYTES);
  } else if (field && type == &onnx__tensor_proto__descriptor && field->id == RAW_DATA) {
    struct vnc_raw raw = {(uint64_t)(at - s->file), size};
    put_bytes(s, &raw, sizeof raw);
  } else {
    if (field && field->type == PROTOBUF_C_TYPE_STRING) check_text(s, type, at, size);
    put_bytes(s, at, field ? size : 0); /* unknown fields keep their tag alone */
  }
}

/* Where a value of `size` bytes ends, or NULL beyond the message. */
static const uint8_t *skip(const uint8_t *at, const uint8_t *end, uint64_t size) {
  return size <= (uint64_t)(end - at) ? at + size : NULL;
}

static const uint8_t *scan_field(struct scan *s, const ProtobufCMessageDescriptor *type,
                                 const uint8_t *at, const uint8_t *end, unsigned depth) {
  const uint8_t *start = at;
  uint64_t tag = varint(s, &at, end), size = 0;
  const uint8_t *value = at;
  if (!s->status && (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)) fail(s, VN_E_FORMAT, "not protobuf");
  if (s->status) return end;
  const ProtobufCFieldDescriptor *field =
      protobuf_c_message_descriptor_get_field(type, (unsigned)(tag >> 3));
  switch (tag & 7) {
  case 0:
    varint(s, &at, end);
    break;
  case 1:
    at = skip(at, end, 8);
    break;
  case 5:
    at = skip(at, end, 4);
    break;
  case 2:
    size = varint(s, &at, end);
    if (s->status) return end;
    at = skip(at, end, size);
    break;
  default:
    at = NULL;
  }
  if (!at) fail(s, VN_E_FORMAT, "truncated, or not protobuf");
  if (s->status) return end;
  if ((tag & 7) != 2) {
    put(s, start, (size_t)(at - start));
  } else {
    put(s, start, (size_t)(value - start));
    scan_delimited(s, type, field, at - size, (size_t)size, depth);
  }
  return at;
}

static void scan_message(struct scan *s, const ProtobufCMessageDescriptor *type, const uint8_t *at,
                         const uint8_t *end, unsigned depth) {
  if (depth > MOST_DEPTH) fail(s, VN_E_UNSUPPORTED, "nested too deeply");
  if (++s->messages > MOST_MESSAGES) fail(s, VN_E_UNSUPPORTED, "more than half a million messages");
  while (!s->status && at < end) at = scan_field(s, type, at, end, depth);
}

/* ---- protobuf-c on what is left ---- */

struct budget {
  size_t left;
  bool short_of_memory; /* not over the budget, and not for the file's sake */
};

static void *budget_alloc(void *data, size_t size) {
  struct budget *b = data;
  if (size > b->left) return NULL;
  b->left -= size;
  void *block = malloc(size);
  if (!block) b->short_of_memory = true;
  return block;
}

static void budget_free(void *data, void *block) {
  (void)data;
  free(block);
}

static enum vn_status unpack(const uint8_t *bytes, size_t size,
                             const ProtobufCMessageDescriptor *type, ProtobufCMessage **message,
                             struct vn_diag *diag) {
  struct scan s = {.file = bytes, .diag = diag};
  struct budget budget = {.left = MOST_UNPACKED};
  ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
  *message = NULL;
  scan_message(&s, type, bytes, bytes + size, 0);
  if (!s.status) {
    *message = protobuf_c_message_unpack(type, &allocator, s.n, s.out);
    if (!*message && budget.short_of_memory) fail(&s, VN_E_MEMORY, "no memory for its fields");
    if (!*message) fail(&s, VN_E_FORMAT, "its fields are not ONNX's");
  }
  free(s.out);
  return s.status;
}

enum vn_status vnc_onnx_unpack(const uint8_t *bytes, size_t size, Onnx__ModelProto **model,
                               struct vn_diag *diag) {
  return unpack(bytes, size, &onnx__model_proto__descriptor, (ProtobufCMessage **)model, diag);
}

enum vn_status vnc_onnx_unpack_tensor(const uint8_t *bytes, size_t size, Onnx__TensorProto **tensor,
                                      struct vn_diag *diag) {
  return unpack(bytes, size, &onnx__tensor_proto__descriptor, (ProtobufCMessage **)tensor, diag);
}

void vnc_onnx_free(Onnx__ModelProto *model) {
  onnx__model_proto__free_unpacked(model, NULL);
}

void vnc_onnx_free_tensor(Onnx__TensorProto *tensor) {
  onnx__tensor_proto__free_unpacked(tensor, NULL);
}
