/* schemas/onnx.proto holds only what is read and written; every field of it must be ONNX's own, as
 * Debian's libonnx-dev ships it: name, number, type, label. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx.pb-c.h"

/* One "label type name = number" of the official file; in an enum only name and number. */
struct entry {
  char scope[128], label[64], type[64], name[64];
  unsigned long number;
};

static struct entry entries[1024];
static size_t n_entries;

/* The next word or punctuation mark outside comments; false at the end. */
static bool next_token(FILE *f, char token[64]) {
  size_t n = 0;
  for (int c; (c = getc(f)) != EOF;) {
    if (c == '/' && n == 0) { /* only // occurs */
      while ((c = getc(f)) != EOF && c != '\n') continue;
    } else if (isalnum(c) || c == '_' || c == '.') {
      if (n < 63) token[n++] = (char)c;
    } else if (n) {
      ungetc(c, f);
      break;
    } else if (!isspace(c)) {
      token[n++] = (char)c;
      break;
    }
  }
  token[n] = '\0';
  return n > 0;
}

static void add_entry(const char *scope, char words[][64], size_t n, const char *number) {
  assert_true(n_entries < sizeof entries / sizeof *entries);
  struct entry *e = &entries[n_entries++];
  snprintf(e->scope, sizeof e->scope, "%s", scope);
  snprintf(e->name, sizeof e->name, "%s", words[n - 1]);
  snprintf(e->type, sizeof e->type, "%s", n > 1 ? words[n - 2] : "");
  snprintf(e->label, sizeof e->label, "%s", n > 2 ? words[n - 3] : "");
  e->number = strtoul(number, NULL, 0);
}

/* Reads statements up to the closing brace; "oneof" is no scope of its own. */
static void read_scope(FILE *f, const char *scope) {
  char words[8][64], token[64];
  size_t n = 0;
  while (next_token(f, token) && strcmp(token, "}") != 0) {
    if (!strcmp(token, "{")) {
      char inner[128];
      assert_true(n >= 2);
      bool transparent = !strcmp(words[0], "oneof");
      snprintf(inner, sizeof inner, "%.60s%s%.60s", scope, transparent ? "" : ".",
               transparent ? "" : words[1]);
      read_scope(f, inner);
      n = 0;
    } else if (!strcmp(token, "=")) {
      assert_true(n && next_token(f, token));
      if (strcmp(words[0], "syntax") != 0) add_entry(scope, words, n, token);
    } else if (!strcmp(token, ";")) {
      n = 0;
    } else if (n < 8) {
      strcpy(words[n++], token);
    }
  }
}

static int load(void **state) {
  (void)state;
  FILE *f = fopen("/usr/include/onnx/onnx.proto", "r");
  if (!f) fail_msg("libonnx-dev's onnx.proto is not there");
  read_scope(f, "onnx");
  fclose(f);
  return n_entries > 100 ? 0 : -1;
}

static const struct entry *find(const char *scope, const char *name) {
  for (size_t i = 0; i < n_entries; i++)
    if (!strcmp(entries[i].scope, scope) && !strcmp(entries[i].name, name)) return &entries[i];
  fail_msg("%s.%s is not one of ONNX's", scope, name);
  return NULL;
}

static void check_enum(const ProtobufCEnumDescriptor *type) {
  for (unsigned i = 0; i < type->n_values; i++) {
    unsigned long number = find(type->name, type->values[i].name)->number;
    assert_int_equal(type->values[i].value, number);
  }
}

static const char *type_name(const ProtobufCFieldDescriptor *field) {
  switch (field->type) {
  case PROTOBUF_C_TYPE_MESSAGE:
    return ((const ProtobufCMessageDescriptor *)field->descriptor)->short_name;
  case PROTOBUF_C_TYPE_ENUM:
    return ((const ProtobufCEnumDescriptor *)field->descriptor)->short_name;
  case PROTOBUF_C_TYPE_INT32:
    return "int32";
  case PROTOBUF_C_TYPE_INT64:
    return "int64";
  case PROTOBUF_C_TYPE_UINT64:
    return "uint64";
  case PROTOBUF_C_TYPE_FLOAT:
    return "float";
  case PROTOBUF_C_TYPE_DOUBLE:
    return "double";
  case PROTOBUF_C_TYPE_STRING:
    return "string";
  case PROTOBUF_C_TYPE_BYTES:
    return "bytes";
  default:
    return "?";
  }
}

static void check_message(const ProtobufCMessageDescriptor *type,
                          const ProtobufCMessageDescriptor **seen, size_t *n_seen) {
  for (size_t i = 0; i < *n_seen; i++)
    if (seen[i] == type) return;
  seen[(*n_seen)++] = type;
  for (unsigned i = 0; i < type->n_fields; i++) {
    const ProtobufCFieldDescriptor *field = &type->fields[i];
    const struct entry *e = find(type->name, field->name);
    if (field->id != e->number)
      fail_msg("%s.%s is %lu, not %u", type->name, field->name, e->number, field->id);
    const char *last = strrchr(e->type, '.');
    assert_string_equal(type_name(field), last ? last + 1 : e->type);
    assert_int_equal(field->label == PROTOBUF_C_LABEL_REPEATED, !strcmp(e->label, "repeated"));
    if (field->type == PROTOBUF_C_TYPE_ENUM) check_enum(field->descriptor);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) check_message(field->descriptor, seen, n_seen);
  }
}

static void test_fields(void **state) {
  (void)state;
  const ProtobufCMessageDescriptor *seen[64];
  size_t n_seen = 0;
  check_message(&onnx__model_proto__descriptor, seen, &n_seen);
  assert_int_equal(n_seen, 14); /* every message of our file hangs together */
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_fields)};
  return cmocka_run_group_tests(tests, load, NULL);
}
