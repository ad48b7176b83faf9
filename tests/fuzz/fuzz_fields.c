/* Hostile ONNX that is sound protobuf: fields of real models changed one by one, so that what comes
 * after the wire format is reached: shapes, attributes, names, the order of nodes. What compiles
 * must load. The driver's bytes only say which model and which changes. */
#include "fuzz.h"

#include "compile.h"
#include "onnx.pb-c.h"
#include "vnet.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char **models;
static size_t n_models;

static uint64_t random_next(uint64_t *state) { /* splitmix64, public domain, Vigna */
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static size_t below(uint64_t *state, size_t bound) {
  return bound ? (size_t)(random_next(state) % bound) : 0;
}

/* One field of one message in the tree; texts: every string, to exchange them. */
struct place {
  ProtobufCMessage *message;
  const ProtobufCFieldDescriptor *field;
};

struct tree {
  struct place places[20000];
  const char *texts[20000];
  size_t n_places, n_texts;
};

static size_t *quantifier(struct place p) {
  return (size_t *)((char *)p.message + p.field->quantifier_offset);
}

static void *member(struct place p) {
  return (char *)p.message + p.field->offset;
}

static bool is_there(struct place p) {
  if (p.field->label == PROTOBUF_C_LABEL_REPEATED) return *quantifier(p) > 0;
  if (p.field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
    return *(uint32_t *)((char *)p.message + p.field->quantifier_offset) == p.field->id;
  if (p.field->type == PROTOBUF_C_TYPE_MESSAGE || p.field->type == PROTOBUF_C_TYPE_STRING)
    return *(void **)member(p) != NULL;
  return *(protobuf_c_boolean *)((char *)p.message + p.field->quantifier_offset);
}

static void collect(struct tree *t, ProtobufCMessage *message) {
  for (unsigned i = 0; i < message->descriptor->n_fields && t->n_places < 20000; i++) {
    struct place p = {message, &message->descriptor->fields[i]};
    if (!is_there(p)) continue;
    t->places[t->n_places++] = p;
    bool repeated = p.field->label == PROTOBUF_C_LABEL_REPEATED;
    size_t n = repeated ? *quantifier(p) : 1;
    void **items = repeated ? *(void ***)member(p) : (void **)member(p);
    for (size_t k = 0; k < n && p.field->type == PROTOBUF_C_TYPE_MESSAGE; k++) collect(t, items[k]);
    for (size_t k = 0; k < n && p.field->type == PROTOBUF_C_TYPE_STRING && t->n_texts < 20000; k++)
      t->texts[t->n_texts++] = items[k];
  }
}

static int64_t odd_integer(uint64_t *state) {
  static const int64_t odd[] = {0,         -1,        1,         2,         3,         7,
                                16,        21,        255,       65535,     65536,     1 << 20,
                                INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, 1ll << 33, 1ll << 62};
  return odd[below(state, sizeof odd / sizeof *odd)];
}

static void change_one(const struct tree *t, ProtobufCType type, void *at, uint64_t *state) {
  static const float reals[] = {0, -1, 1, 1e38f, -1e-38f, __builtin_inff(), __builtin_nanf("")};
  int64_t integer = odd_integer(state);
  ProtobufCBinaryData *bytes = at;
  switch (type) {
  case PROTOBUF_C_TYPE_INT32:
  case PROTOBUF_C_TYPE_ENUM:
    *(int32_t *)at = (int32_t)integer;
    break;
  case PROTOBUF_C_TYPE_INT64:
  case PROTOBUF_C_TYPE_UINT64:
    *(int64_t *)at = below(state, 3) ? integer : *(int64_t *)at ^ 1;
    break;
  case PROTOBUF_C_TYPE_FLOAT:
    *(float *)at = reals[below(state, sizeof reals / sizeof *reals)];
    break;
  case PROTOBUF_C_TYPE_STRING:
    free(*(char **)at);
    *(char **)at = strdup(below(state, 8) && t->n_texts ? t->texts[below(state, t->n_texts)] : "");
    break;
  case PROTOBUF_C_TYPE_BYTES:
    bytes->len = below(state, bytes->len + 1);
    break;
  default:
    break;
  }
}

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

/* Changes, exchanges or drops an element of a list. */
static void change_list(const struct tree *t, struct place p, uint64_t *state) {
  size_t *n = quantifier(p), size = size_of(p.field->type), i = below(state, *n);
  char *items = *(char **)member(p), kept[16];
  size_t other = below(state, *n);
  bool message = p.field->type == PROTOBUF_C_TYPE_MESSAGE;
  if (!message && below(state, 2)) {
    change_one(t, p.field->type, items + i * size, state);
    return;
  }
  memcpy(kept, items + i * size, size);
  memcpy(items + i * size, items + other * size, size);
  memcpy(items + other * size, kept, size);
  if (below(state, 2)) return;
  if (message) protobuf_c_message_free_unpacked(((ProtobufCMessage **)(void *)items)[*n - 1], NULL);
  if (p.field->type == PROTOBUF_C_TYPE_STRING) free(((char **)(void *)items)[*n - 1]);
  if (p.field->type == PROTOBUF_C_TYPE_BYTES)
    free(((ProtobufCBinaryData *)(void *)items)[*n - 1].data);
  --*n;
}

static void change(Onnx__ModelProto *model, uint64_t *state) {
  struct tree *t = calloc(1, sizeof *t);
  if (!t) exit(2);
  collect(t, &model->base);
  struct place p = t->places[below(state, t->n_places)];
  for (size_t i = 0; i < t->n_texts; i++) t->texts[i] = strdup(t->texts[i]);
  if (p.field->label == PROTOBUF_C_LABEL_REPEATED)
    change_list(t, p, state);
  else
    change_one(t, p.field->type, member(p), state);
  for (size_t i = 0; i < t->n_texts; i++) free((void *)(uintptr_t)t->texts[i]);
  free(t);
}

/* ---- the target ---- */

static Onnx__ModelProto *load(const char *path) {
  static uint8_t bytes[1 << 20];
  FILE *f = fopen(path, "rb");
  size_t size = f ? fread(bytes, 1, sizeof bytes, f) : 0;
  if (f) fclose(f);
  Onnx__ModelProto *model = onnx__model_proto__unpack(NULL, size, bytes);
  if (!model) exit(2);
  return model;
}

static void store(const Onnx__ModelProto *model, const char *path) {
  size_t size = onnx__model_proto__get_packed_size(model);
  uint8_t *bytes = malloc(size + 1);
  FILE *f = fopen(path, "wb");
  if (!bytes || !f) exit(2);
  onnx__model_proto__pack(model, bytes);
  if (fwrite(bytes, 1, size, f) != size || fclose(f)) exit(2);
  free(bytes);
}

static enum vn_status compile_file(const char *path, struct vn_diag *diag) {
  struct vnc_options options = {.topology = "any"};
  struct vnc_graph g;
  struct vn_plan *plan = NULL;
  void *bytes = NULL;
  size_t size = 0;
  enum vn_status status = vnc_onnx_import(path, &options.import, &g, diag);
  if (status == VN_E_ARGUMENT) { /* no grid of its own */
    for (size_t i = 0; i < 3; i++) options.import.patch[i] = 8;
    vnc_graph_free(&g);
    status = vnc_onnx_import(path, &options.import, &g, diag);
  }
  if (!status) status = vnc_compile_graph(&g, &options, &bytes, &size, NULL, diag);
  bool loads = status || !vn_plan_open_memory(bytes, size, &plan, diag);
  if (!loads || status == VN_E_INTERNAL) {
    fprintf(stderr, "%s: %s\n", loads ? "compiler" : "loader", diag->text);
    abort();
  }
  vn_plan_close(&plan);
  free(bytes);
  vnc_graph_free(&g);
  return status;
}

static int compile_changed(uint8_t *bytes, size_t size, const char *folder, char sentence[512]) {
  char path[64];
  struct vn_diag diag = {""};
  uint64_t state = 0xcbf29ce484222325u;
  for (size_t i = 0; i < size; i++) state = (state ^ bytes[i]) * 0x100000001b3u;
  snprintf(path, sizeof path, "%s/model.onnx", folder);
  Onnx__ModelProto *model = load(models[below(&state, n_models)]);
  for (size_t left = 1 + below(&state, 3); left; left--) change(model, &state);
  store(model, path);
  onnx__model_proto__free_unpacked(model, NULL);
  enum vn_status status = compile_file(path, &diag);
  unlink(path);
  memcpy(sentence, diag.text, sizeof diag.text);
  return (int)status;
}

int main(int argc, char **argv) {
  models = argv + 3;
  n_models = argc > 3 ? (size_t)argc - 3 : 0;
  return fuzz_main(argc, argv, compile_changed);
}
