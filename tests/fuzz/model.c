/* ONNX models, changed as trees, so that what comes after the wire format is reached: shapes,
 * attributes, names, the order of nodes. What compiles must load, and is run. */
#include "fuzz.h"

#include "compile.h"
#include "onnx.pb-c.h"

#include <stdlib.h>
#include <string.h>

/* ---- fields ---- */

struct place { /* one field of one message in the tree */
  ProtobufCMessage *message;
  const ProtobufCFieldDescriptor *field;
};

struct walk {         /* counts places and strings, and stops at the ones that are looked for */
  size_t place, text; /* how many there were */
  size_t place_wanted, text_wanted;
  struct place found;
  const char *found_text;
};

static void *member(struct place p) {
  return (char *)p.message + p.field->offset;
}

/* How many there are, for a list; else a flag or the field that a union holds. */
static void *quantifier(struct place p) {
  return (char *)p.message + p.field->quantifier_offset;
}

static bool is_list(struct place p) {
  return p.field->label == PROTOBUF_C_LABEL_REPEATED;
}

static bool is_pointer(struct place p) {
  return p.field->type == PROTOBUF_C_TYPE_MESSAGE || p.field->type == PROTOBUF_C_TYPE_STRING;
}

static bool is_union(struct place p) {
  return (p.field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
}

static bool is_there(struct place p) {
  if (is_list(p)) return *(size_t *)quantifier(p) > 0;
  if (is_union(p)) return *(uint32_t *)quantifier(p) == p.field->id;
  if (is_pointer(p)) return *(void **)member(p) != NULL;
  return *(protobuf_c_boolean *)quantifier(p);
}

static void walk(struct walk *w, ProtobufCMessage *message) {
  for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
    struct place p = {message, &message->descriptor->fields[i]};
    if (w->place++ == w->place_wanted) w->found = p;
    if (!is_there(p) || !is_pointer(p)) continue;
    size_t n = is_list(p) ? *(size_t *)quantifier(p) : 1;
    void **items = is_list(p) ? *(void ***)member(p) : (void **)member(p);
    for (size_t k = 0; k < n; k++) {
      if (p.field->type == PROTOBUF_C_TYPE_MESSAGE)
        walk(w, items[k]);
      else if (w->text++ == w->text_wanted)
        w->found_text = items[k];
    }
  }
}

/* ---- values ---- */

static size_t size_of(ProtobufCType type) {
  switch (type) {
  case PROTOBUF_C_TYPE_INT32:
  case PROTOBUF_C_TYPE_ENUM:
  case PROTOBUF_C_TYPE_FLOAT:
    return 4;
  case PROTOBUF_C_TYPE_BYTES:
    return sizeof(ProtobufCBinaryData);
  default:
    return 8;
  }
}

static void *allocate(size_t size) {
  void *p = calloc(1, size ? size : 1);
  if (!p) fuzz_broken("out of memory");
  return p;
}

/* A copy of a message by its bytes; NULL where those are not legal. */
static ProtobufCMessage *message_copy(const ProtobufCMessage *message) {
  size_t size = protobuf_c_message_get_packed_size(message);
  uint8_t *bytes = allocate(size);
  protobuf_c_message_pack(message, bytes);
  ProtobufCMessage *copy = protobuf_c_message_unpack(message->descriptor, NULL, size, bytes);
  free(bytes);
  return copy;
}

static ProtobufCMessage *message_empty(const ProtobufCMessageDescriptor *descriptor) {
  return protobuf_c_message_unpack(descriptor, NULL, 0, NULL);
}

static void value_free(ProtobufCType type, void *at) {
  if (type == PROTOBUF_C_TYPE_MESSAGE && *(void **)at)
    protobuf_c_message_free_unpacked(*(ProtobufCMessage **)at, NULL);
  if (type == PROTOBUF_C_TYPE_STRING) free(*(char **)at);
  if (type == PROTOBUF_C_TYPE_BYTES) free(((ProtobufCBinaryData *)at)->data);
  memset(at, 0, size_of(type));
}

/* *to, which holds nothing, becomes like *from. */
static void value_copy(struct place p, void *to, const void *from) {
  const ProtobufCBinaryData *bytes = from;
  ProtobufCBinaryData *copy = to;
  memcpy(to, from, size_of(p.field->type));
  if (p.field->type == PROTOBUF_C_TYPE_MESSAGE) {
    *(void **)to = message_copy(*(ProtobufCMessage *const *)from);
    if (!*(void **)to) *(void **)to = message_empty(p.field->descriptor);
  }
  if (p.field->type == PROTOBUF_C_TYPE_STRING) *(char **)to = strdup(*(char *const *)from);
  if (p.field->type == PROTOBUF_C_TYPE_BYTES) {
    copy->data = allocate(bytes->len);
    if (bytes->len) memcpy(copy->data, bytes->data, bytes->len);
  }
}

static void change_text(char **text, const char *other, uint64_t *state) {
  char *next = allocate(128);
  if (fuzz_below(state, 8)) {
    strncpy(next, other ? other : "", 127);
  } else {
    strncpy(next, *text ? *text : "", 127);
    size_t size = LLVMFuzzerMutate((uint8_t *)next, strlen(next) + 1, 127);
    next[size] = '\0';
  }
  free(*text);
  *text = next;
}

static void change_bytes(ProtobufCBinaryData *bytes, uint64_t *state) {
  size_t most = bytes->len + 32;
  uint8_t *next = allocate(most);
  if (bytes->len) memcpy(next, bytes->data, bytes->len);
  bytes->len = fuzz_below(state, 4) ? LLVMFuzzerMutate(next, bytes->len, most)
                                    : fuzz_below(state, bytes->len + 1);
  free(bytes->data);
  bytes->data = next;
}

static void change_value(struct place p, void *at, const char *text, uint64_t *state) {
  static const float reals[] = {
      0, -1, 1, 0.5f, 1e38f, -1e-38f, __builtin_inff(), __builtin_nanf("")};
  bool odd = fuzz_below(state, 2);
  int64_t number = odd ? fuzz_odd_number(state) : (int64_t)fuzz_below(state, 24) - 4;
  switch (p.field->type) {
  case PROTOBUF_C_TYPE_INT32:
  case PROTOBUF_C_TYPE_ENUM:
    *(int32_t *)at = (int32_t)(uint32_t)(uint64_t)number;
    break;
  case PROTOBUF_C_TYPE_INT64:
  case PROTOBUF_C_TYPE_UINT64:
    *(int64_t *)at = fuzz_below(state, 3) ? number : *(int64_t *)at ^ 1;
    break;
  case PROTOBUF_C_TYPE_FLOAT:
    *(float *)at = reals[fuzz_below(state, sizeof reals / sizeof *reals)];
    break;
  case PROTOBUF_C_TYPE_STRING:
    change_text(at, text, state);
    break;
  case PROTOBUF_C_TYPE_BYTES:
    change_bytes(at, state);
    break;
  case PROTOBUF_C_TYPE_MESSAGE:
    if (!*(void **)at) *(void **)at = message_empty(p.field->descriptor);
    break;
  default:
    break;
  }
}

/* ---- one change ---- */

static void list_insert(struct place p, size_t from, size_t to) {
  size_t *n = quantifier(p), size = size_of(p.field->type);
  char **items = member(p), *next = allocate((*n + 1) * size);
  memcpy(next, *items, to * size);
  memcpy(next + (to + 1) * size, *items + to * size, (*n - to) * size);
  value_copy(p, next + to * size, *items + from * size);
  free(*items);
  *items = next;
  ++*n;
}

static void list_drop(struct place p, size_t at) {
  size_t *n = quantifier(p), size = size_of(p.field->type);
  char *items = *(char **)member(p);
  value_free(p.field->type, items + at * size);
  memmove(items + at * size, items + (at + 1) * size, (*n - at - 1) * size);
  --*n;
}

static void list_start(struct place p) {
  *(void **)member(p) = allocate(size_of(p.field->type));
  *(size_t *)quantifier(p) = 1;
}

static void change_list(struct place p, const char *text, uint64_t *state) {
  size_t *n = quantifier(p), size = size_of(p.field->type);
  bool message = p.field->type == PROTOBUF_C_TYPE_MESSAGE;
  if (!*n) {
    free(*(void **)member(p));
    list_start(p);
    change_value(p, *(void **)member(p), text, state);
    return;
  }
  size_t i = fuzz_below(state, *n), other = fuzz_below(state, *n);
  char *items = *(char **)member(p), kept[16];
  switch (fuzz_below(state, 6)) {
  case 0:
    list_insert(p, i, other);
    break;
  case 1:
    list_drop(p, i);
    break;
  case 2:
    memcpy(kept, items + i * size, size);
    memcpy(items + i * size, items + other * size, size);
    memcpy(items + other * size, kept, size);
    break;
  default:
    if (!message) change_value(p, items + i * size, text, state);
  }
}

static void change_field(struct place p, const char *text, uint64_t *state) {
  bool there = is_there(p);
  if (there && !fuzz_below(state, 6)) { /* away with it */
    if (is_pointer(p) || p.field->type == PROTOBUF_C_TYPE_BYTES)
      value_free(p.field->type, member(p));
    if (is_union(p))
      *(uint32_t *)quantifier(p) = 0;
    else if (!is_pointer(p))
      *(protobuf_c_boolean *)quantifier(p) = 0;
    return;
  }
  if (!there && is_union(p)) {
    if (*(uint32_t *)quantifier(p)) return; /* it holds another field */
    *(uint32_t *)quantifier(p) = p.field->id;
    memset(member(p), 0, size_of(p.field->type));
  } else if (!there && !is_pointer(p)) {
    *(protobuf_c_boolean *)quantifier(p) = 1;
  }
  change_value(p, member(p), text, state);
}

static void change(Onnx__ModelProto *model, uint64_t *state) {
  struct walk all = {.place_wanted = SIZE_MAX, .text_wanted = SIZE_MAX};
  walk(&all, &model->base);
  struct walk w = {.place_wanted = fuzz_below(state, all.place),
                   .text_wanted = fuzz_below(state, all.text)};
  walk(&w, &model->base);
  char *text = w.found_text ? strdup(w.found_text) : NULL;
  if (is_list(w.found))
    change_list(w.found, text, state);
  else
    change_field(w.found, text, state);
  free(text);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed) {
  uint64_t state = seed;
  Onnx__ModelProto *model = seed % 32 ? onnx__model_proto__unpack(NULL, size, data) : NULL;
  if (!model) return LLVMFuzzerMutate(data, size, most);
  for (size_t left = 1 + fuzz_below(&state, 4); left; left--) change(model, &state);
  size_t packed = onnx__model_proto__get_packed_size(model);
  if (packed <= most) size = onnx__model_proto__pack(model, data);
  onnx__model_proto__free_unpacked(model, NULL);
  return size;
}

/* ---- the target ---- */

enum { MEMORY_MOST = 128 << 20 }; /* the compiler keeps 64 MiB for a program and its scan */

static enum vn_status import(const char *path, struct vnc_options *options, struct vnc_graph *g,
                             struct vn_diag *diag) {
  vnc_graph_init(g);
  enum vn_status status = vnc_onnx_import(path, &options->import, g, diag);
  if (status != VN_E_ARGUMENT) return status;
  for (size_t i = 0; i < 3; i++) options->import.patch[i] = 8; /* no grid of its own */
  vnc_graph_free(g);
  return vnc_onnx_import(path, &options->import, g, diag);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct vnc_options options = {.topology = "any", .memory_limit_bytes = MEMORY_MOST};
  struct vn_diag diag = {""};
  struct vnc_graph g;
  void *plan = NULL;
  size_t plan_bytes = 0;
  enum vn_status status = import(fuzz_file(data, size), &options, &g, &diag);
  if (!status) status = vnc_compile_graph(&g, &options, &plan, &plan_bytes, NULL, &diag);
  fuzz_judge(status, &diag);
  if (!status) {
    status = fuzz_plan_run(plan, plan_bytes, &diag);
    if (status && status != VN_E_MEMORY && status != VN_E_UNSUPPORTED)
      fuzz_broken("a compiled plan is refused: %s", diag.text);
  }
  free(plan);
  vnc_graph_free(&g);
  return 0;
}
