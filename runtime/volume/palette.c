/* A reader for the little JSON of vnet.labels, and two writers; see palette.h. The text comes with
 * a model from anywhere: depth and lengths are bounded. */
#include "palette.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

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

/* \uXXXX of the basic plane as UTF-8; names need no more. */
static bool escape_read(struct reader *r, char utf8[4]) {
  unsigned code = 0;
  for (int i = 0; i < 4; i++) {
    int digit = hex(r->at[i]);
    if (digit < 0) return refuse(r, "a \\u without four hexadecimal digits");
    code = code * 16 + (unsigned)digit;
  }
  r->at += 4;
  if (code < 0x20 || (code >= 0xD800 && code < 0xE000))
    return refuse(r, "a control character or surrogate in a string");
  char *to = utf8;
  if (code >= 0x800) *to++ = (char)(0xE0 | code >> 12);
  if (code >= 0x80) *to++ = (char)((code >= 0x800 ? 0x80 : 0xC0) | (code >> 6 & 0x3F));
  *to++ = (char)(code >= 0x80 ? 0x80 | (code & 0x3F) : code);
  *to = '\0';
  return true;
}

/* A string of at most `most` bytes; `to` may be NULL. */
static bool string_read(struct reader *r, char *to, size_t most) {
  size_t size = 0;
  if (!take(r, '"')) return refuse(r, "a string is missing");
  while (*r->at != '"') {
    char part[4] = {*r->at, '\0'};
    if ((unsigned char)*r->at < 0x20) return refuse(r, "a string that does not end");
    r->at++;
    if (part[0] == '\\') {
      char c = *r->at++;
      if (c == '\0') return refuse(r, "a string that does not end");
      if (c == 'u') {
        if (!escape_read(r, part)) return false;
      } else if (strchr("\"\\/", c)) {
        part[0] = c;
      } else {
        return refuse(r, "an escape that names cannot hold");
      }
    }
    for (const char *c = part; *c; c++) {
      if (to && size == most) return refuse(r, "a name that is too long");
      if (to) to[size++] = *c;
    }
  }
  if (to) to[size] = '\0';
  r->at++;
  return true;
}

static bool count_read(struct reader *r, size_t most, size_t *value) {
  char first = peek(r);
  size_t number = 0;
  if (first < '0' || first > '9') return refuse(r, "a whole number is missing");
  while (*r->at >= '0' && *r->at <= '9') {
    number = number * 10 + (size_t)(*r->at++ - '0');
    if (number > most) return refuse(r, "a number that is too large");
  }
  *value = number;
  return true;
}

/* Any value, of no interest. */
static bool value_skip(struct reader *r, int depth) {
  char c = peek(r);
  if (c == '"') return string_read(r, NULL, 0);
  if (c != '[' && c != '{') {
    const char *from = r->at;
    while (*r->at && !strchr(",]} \t\r\n", *r->at)) r->at++;
    return r->at > from || refuse(r, "a value is missing");
  }
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

/* One object of the array; its parts may come in any order. */
static bool entry_read(struct reader *r, struct vn_palette *palette, bool *seen) {
  struct vn_palette_entry entry = {0};
  size_t value = SIZE_MAX;
  bool named = false, coloured = false;
  if (!take(r, '{')) return refuse(r, "an entry that is not an object");
  while (!take(r, '}')) {
    char key[16];
    const char *start = (peek(r), r->at);
    if (!string_read(r, NULL, 0)) return false;
    size_t length = (size_t)(r->at - start) - 2;
    snprintf(key, sizeof key, "%.*s", length < 16 ? (int)length : 0, start + 1);
    if (!take(r, ':')) return refuse(r, "an object without ':'");
    bool fine = strcmp(key, "value") == 0 ? count_read(r, 1 << 20, &value)
                : strcmp(key, "name") == 0
                    ? (named = string_read(r, entry.name, sizeof entry.name - 1))
                : strcmp(key, "colour") == 0 || strcmp(key, "color") == 0
                    ? (coloured = colour_read(r, entry.rgb))
                    : value_skip(r, 0);
    if (!fine) return false;
    if (!take(r, ',') && peek(r) != '}') return refuse(r, "an object that does not end");
  }
  if (value == SIZE_MAX) return refuse(r, "an entry without a value");
  if (value >= palette->count) return refuse(r, "a label that the network does not have");
  if (seen[value]) return refuse(r, "a label that stands there twice");
  seen[value] = true;
  struct vn_palette_entry *to = &palette->entries[value];
  if (named && *entry.name) memcpy(to->name, entry.name, sizeof to->name);
  if (coloured) memcpy(to->rgb, entry.rgb, sizeof to->rgb);
  return true;
}

static bool entries_read(struct reader *r, struct vn_palette *palette, bool *seen) {
  if (!take(r, '[')) return refuse(r, "no array");
  if (!take(r, ']')) {
    do {
      if (!entry_read(r, palette, seen)) return false;
    } while (take(r, ','));
    if (!take(r, ']')) return refuse(r, "an array that does not end");
  }
  return peek(r) == '\0' || refuse(r, "something after the array");
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
  bool *seen = calloc(classes, sizeof *seen);
  enum vn_status status = VN_OK;
  if (!palette->entries || !seen) {
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for %zu labels' names", classes);
  } else {
    for (size_t i = 0; i < classes; i++) {
      snprintf(palette->entries[i].name, sizeof palette->entries[i].name, "label %zu", i);
      default_colour(i, palette->entries[i].rgb);
    }
    strcpy(palette->entries[0].name, "background");
    struct reader reader = {.at = text};
    if (text && !entries_read(&reader, palette, seen))
      status = vn_fail(diag, VN_E_FORMAT, "the model's vnet.labels holds %s (byte %zu)",
                       reader.problem, (size_t)(reader.at - text));
  }
  free(seen);
  return status;
}

void vn_palette_close(struct vn_palette *palette) {
  if (!palette) return;
  free(palette->entries);
  *palette = (struct vn_palette){0};
}

void vn_palette_itksnap(const struct vn_palette *palette, FILE *out) {
  fputs("################################################\n"
        "# ITK-SnAP Label Description File\n"
        "# File format:\n"
        "# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL\n"
        "################################################\n",
        out);
  for (size_t i = 0; i < palette->count; i++) {
    const struct vn_palette_entry *e = &palette->entries[i];
    fprintf(out, "%5zu  %4u %4u %4u  %7d  %d  %d    \"", i, e->rgb[0], e->rgb[1], e->rgb[2], i > 0,
            i > 0, i > 0);
    for (const char *c = e->name; *c; c++) fputc(*c == '"' ? '\'' : *c, out);
    fputs("\"\n", out);
  }
}

void vn_palette_slicer(const struct vn_palette *palette, FILE *out) {
  fprintf(out, "# Color table file\n# %zu values\n", palette->count);
  for (size_t i = 0; i < palette->count; i++) {
    const struct vn_palette_entry *e = &palette->entries[i];
    fprintf(out, "%zu ", i);
    for (const char *c = e->name; *c; c++) fputc(*c == ' ' ? '_' : *c, out);
    fprintf(out, " %u %u %u %d\n", e->rgb[0], e->rgb[1], e->rgb[2], i > 0 ? 255 : 0);
  }
}
