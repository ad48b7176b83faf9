/* A reader for the little JSON of vnet.labels; see palette.h. The text comes with a model from
 * anywhere: depth and lengths are bounded. */
#include "palette.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "utf8.h"

enum { DEPTH_MOST = 16 };

struct reader {
  const char *at;
  const char *problem; /* the first; NULL: none */
};

static bool refuse(struct reader *r, const char *problem) {
  if (!r->problem) r->problem = problem;
  return false;
}

static char peek(struct reader *r) {
  while (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r') r->at++;
  return *r->at;
}

static bool take(struct reader *r, char c) {
  if (peek(r) != c) return false;
  r->at++;
  return true;
}

static int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* One character as it stands. */
static bool utf8_read(struct reader *r, uint32_t *code) {
  return vn_utf8_read(&r->at, code) || refuse(r, "a string that is not UTF-8");
}

static bool hex4_read(struct reader *r, uint32_t *code) {
  *code = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex(*r->at);
    if (digit < 0) return refuse(r, "a \\u without four hexadecimal digits");
    *code = *code * 16 + (uint32_t)digit;
    r->at++;
  }
  return true;
}

/* What follows a backslash. */
static bool escape_read(struct reader *r, uint32_t *code) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  const char *known = *r->at ? strchr(from, *r->at) : NULL;
  if (known) {
    r->at++;
    *code = (unsigned char)to[known - from];
    return true;
  }
  if (*r->at != 'u') return refuse(r, "an escape that JSON does not have");
  r->at++;
  if (!hex4_read(r, code)) return false;
  if (*code < 0xD800 || *code > 0xDFFF) return true;
  uint32_t low;
  if (*code > 0xDBFF || r->at[0] != '\\' || r->at[1] != 'u')
    return refuse(r, "half a surrogate pair");
  r->at += 2;
  if (!hex4_read(r, &low)) return false;
  if (low < 0xDC00 || low > 0xDFFF) return refuse(r, "half a surrogate pair");
  *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
  return true;
}

static size_t utf8_print(uint32_t code, char utf8[4]) {
  if (code < 0x80) {
    utf8[0] = (char)code;
    return 1;
  }
  size_t size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (size_t i = size - 1; i > 0; i--, code >>= 6) utf8[i] = (char)(0x80 | (code & 0x3F));
  utf8[0] = (char)((0xF00u >> size & 0xFF) | code);
  return size;
}

/* A string of at most `most` bytes and without control characters. With `to` NULL, any string of
 * JSON. */
static bool string_read(struct reader *r, char *to, size_t most) {
  size_t size = 0;
  if (!take(r, '"')) return refuse(r, "no string where one belongs");
  while (*r->at != '"') {
    uint32_t code;
    char part[4];
    if ((unsigned char)*r->at < 0x20)
      return refuse(r, *r->at ? "a control character" : "a string that does not end");
    bool escaped = *r->at == '\\';
    if (escaped) r->at++;
    if (!(escaped ? escape_read(r, &code) : utf8_read(r, &code))) return false;
    if (!to) continue;
    if (vn_utf8_control(code)) return refuse(r, "a control character");
    size_t bytes = utf8_print(code, part);
    if (bytes > most - size) return refuse(r, "a text that is too long");
    memcpy(to + size, part, bytes);
    size += bytes;
  }
  if (to) to[size] = '\0';
  r->at++;
  return true;
}

static size_t digits_skip(struct reader *r) {
  size_t count = strspn(r->at, "0123456789");
  r->at += count;
  return count;
}

static bool count_read(struct reader *r, size_t most, size_t *value) {
  peek(r);
  const char *from = r->at;
  size_t count = digits_skip(r), number = 0;
  if (!count || (count > 1 && *from == '0')) return refuse(r, "no whole number where one belongs");
  for (; from < r->at; from++) {
    number = number * 10 + (size_t)(*from - '0');
    if (number > most) return refuse(r, "a number that is too large");
  }
  *value = number;
  return true;
}

/* true, false, null or a number. */
static bool scalar_skip(struct reader *r) {
  static const char *const words[] = {"true", "false", "null"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strncmp(r->at, words[i], strlen(words[i])) == 0) {
      r->at += strlen(words[i]);
      return true;
    }
  if (*r->at == '-') r->at++;
  bool zero = *r->at == '0';
  size_t whole = digits_skip(r);
  bool fine = whole == 1 || (whole > 1 && !zero);
  if (fine && *r->at == '.') {
    r->at++;
    fine = digits_skip(r) > 0;
  }
  if (fine && (*r->at == 'e' || *r->at == 'E')) {
    r->at++;
    if (*r->at == '+' || *r->at == '-') r->at++;
    fine = digits_skip(r) > 0;
  }
  return fine || refuse(r, "no value where one belongs");
}

/* Any value, of no interest. */
static bool value_skip(struct reader *r, int depth) {
  char c = peek(r);
  if (c == '"') return string_read(r, NULL, 0);
  if (c != '[' && c != '{') return scalar_skip(r);
  if (depth == DEPTH_MOST) return refuse(r, "nesting that is too deep");
  char end = c == '[' ? ']' : '}';
  r->at++;
  if (take(r, end)) return true;
  do {
    if (c == '{' && (!string_read(r, NULL, 0) || !take(r, ':')))
      return refuse(r, "an object without ':'");
    if (!value_skip(r, depth + 1)) return false;
  } while (take(r, ','));
  return take(r, end) || refuse(r, "a list that does not end");
}

static bool colour_read(struct reader *r, uint8_t rgb[3]) {
  if (peek(r) == '"') {
    char text[8];
    if (!string_read(r, text, 7)) return false;
    if (text[0] != '#' || strlen(text) != 7 || strspn(text + 1, "0123456789abcdefABCDEF") != 6)
      return refuse(r, "a colour that is not #rrggbb");
    for (int i = 0; i < 3; i++)
      rgb[i] = (uint8_t)(hex(text[1 + 2 * i]) * 16 + hex(text[2 + 2 * i]));
    return true;
  }
  if (!take(r, '[')) return refuse(r, "a colour that is neither \"#rrggbb\" nor [r, g, b]");
  for (int i = 0; i < 3; i++) {
    size_t part;
    if (i && !take(r, ',')) return refuse(r, "a colour of fewer than three numbers");
    if (!count_read(r, 255, &part)) return false;
    rgb[i] = (uint8_t)part;
  }
  return take(r, ']') || refuse(r, "a colour of more than three numbers");
}

struct entry {
  struct vn_palette_entry is;
  size_t value; /* SIZE_MAX: not yet */
  bool named, coloured, mirrored;
};

/* One member of an entry, of interest or not. */
static bool member_read(struct reader *r, struct entry *entry) {
  char key[16];
  peek(r);
  const char *start = r->at;
  if (!string_read(r, NULL, 0)) return false;
  size_t length = (size_t)(r->at - start) - 2;
  snprintf(key, sizeof key, "%.*s", length < sizeof key ? (int)length : 0, start + 1);
  if (!take(r, ':')) return refuse(r, "an object without ':'");
  bool value = strcmp(key, "value") == 0, name = strcmp(key, "name") == 0;
  bool colour = strcmp(key, "colour") == 0 || strcmp(key, "color") == 0;
  bool mirror = strcmp(key, "mirror") == 0;
  if ((value && entry->value != SIZE_MAX) || (name && entry->named) ||
      (colour && entry->coloured) || (mirror && entry->mirrored))
    return refuse(r, "an entry that says something twice");
  entry->named |= name;
  entry->coloured |= colour;
  entry->mirrored |= mirror;
  return value    ? count_read(r, 1 << 20, &entry->value)
         : name   ? string_read(r, entry->is.name, sizeof entry->is.name - 1)
         : colour ? colour_read(r, entry->is.rgb)
         : mirror ? count_read(r, 1 << 20, &entry->is.mirror)
                  : value_skip(r, 0);
}

/* One object of the array; its members may come in any order. */
static bool entry_read(struct reader *r, struct vn_palette *palette) {
  struct entry entry = {.value = SIZE_MAX};
  if (!take(r, '{')) return refuse(r, "an entry that is not an object");
  if (!take(r, '}')) {
    do {
      if (!member_read(r, &entry)) return false;
    } while (take(r, ','));
    if (!take(r, '}')) return refuse(r, "an object that does not end");
  }
  if (entry.value == SIZE_MAX) return refuse(r, "an entry without a value");
  if (entry.value >= palette->count || (entry.mirrored && entry.is.mirror >= palette->count))
    return refuse(r, "a label that the network does not have");
  struct vn_palette_entry *to = &palette->entries[entry.value];
  if (to->listed) return refuse(r, "a label that stands there twice");
  to->listed = true;
  palette->order[palette->listed++] = entry.value;
  if (*entry.is.name) memcpy(to->name, entry.is.name, sizeof to->name);
  if (entry.coloured) memcpy(to->rgb, entry.is.rgb, sizeof to->rgb);
  if (entry.mirrored) to->mirror = entry.is.mirror;
  palette->sided |= to->mirror != entry.value;
  return true;
}

/* Left is right's mirror, and right left's; nothing is the background's. */
static bool mirrors_check(struct reader *r, const struct vn_palette *palette) {
  for (size_t i = 0; i < palette->count; i++) {
    const size_t mirror = palette->entries[i].mirror;
    if (palette->entries[mirror].mirror != i || (i > 0 && mirror == 0))
      return refuse(r, "a mirror that is not the other one's");
  }
  return true;
}

static bool entries_read(struct reader *r, struct vn_palette *palette) {
  if (!take(r, '[')) return refuse(r, "no array");
  if (!take(r, ']')) {
    do {
      if (!entry_read(r, palette)) return false;
    } while (take(r, ','));
    if (!take(r, ']')) return refuse(r, "an array that does not end");
  }
  if (peek(r) != '\0') return refuse(r, "something after the array");
  return mirrors_check(r, palette);
}

/* Twelve colours that people tell apart, and beyond them the golden angle around the hues. */
static void default_colour(size_t label, uint8_t rgb[3]) {
  static const uint8_t first[][3] = {
      {0, 0, 0},      {230, 180, 0},   {60, 120, 216}, {220, 60, 50},   {70, 170, 80},
      {150, 90, 200}, {240, 130, 40},  {60, 190, 200}, {220, 100, 170}, {150, 190, 50},
      {150, 100, 60}, {110, 130, 150}, {200, 170, 230}};
  enum { FIRST = sizeof first / sizeof *first };
  if (label < FIRST) {
    memcpy(rgb, first[label], 3);
    return;
  }
  unsigned hue = (unsigned)(label * 949 % 1536), part = hue % 256; /* 949 = 0.618 * 1536 */
  uint8_t up = (uint8_t)part, down = (uint8_t)(255 - part);
  const uint8_t wheel[6][3] = {{255, up, 0},   {down, 255, 0}, {0, 255, up},
                               {0, down, 255}, {up, 0, 255},   {255, 0, down}};
  memcpy(rgb, wheel[hue / 256], 3);
}

enum vn_status vn_palette_parse(const char *text, size_t classes, struct vn_palette *palette,
                                struct vn_diag *diag) {
  *palette = (struct vn_palette){.count = classes};
  palette->entries = calloc(classes, sizeof *palette->entries);
  palette->order = calloc(classes, sizeof *palette->order);
  enum vn_status status = VN_OK;
  if (!palette->entries || !palette->order) {
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for %zu labels' names", classes);
  } else {
    for (size_t i = 0; i < classes; i++) {
      snprintf(palette->entries[i].name, sizeof palette->entries[i].name, "label %zu", i);
      default_colour(i, palette->entries[i].rgb);
      palette->entries[i].mirror = i;
    }
    strcpy(palette->entries[0].name, "background");
    struct reader reader = {.at = text};
    if (text && !entries_read(&reader, palette))
      status = vn_fail(diag, VN_E_FORMAT, "the model's vnet.labels holds %s (byte %zu)",
                       reader.problem, (size_t)(reader.at - text));
  }
  return status;
}

void vn_palette_close(struct vn_palette *palette) {
  if (!palette) return;
  free(palette->entries);
  free(palette->order);
  *palette = (struct vn_palette){0};
}
