/* Tables of labels, and their JSON; see labels.h. */
#include "labels.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "csv.h"
#include "fail.h"
#include "palette.h"
#include "printed.h"

/* ---- the JSON ---- */

/* `colour` "#rrggbb"; NULL: rgb. `mirror`: `value`, where it has none. */
static void label_print(FILE *out, bool first, size_t value, const char *name, size_t length,
                        const char *colour, const uint8_t rgb[3], size_t mirror) {
  fprintf(out, "%s{\"value\":%zu,\"name\":\"", first ? "" : ",", value);
  for (size_t i = 0; i < length; i++) {
    if (name[i] == '"' || name[i] == '\\') fputc('\\', out);
    fputc(name[i], out);
  }
  if (colour)
    fprintf(out, "\",\"colour\":\"%.7s\"", colour);
  else
    fprintf(out, "\",\"colour\":\"#%02x%02x%02x\"", rgb[0], rgb[1], rgb[2]);
  if (mirror != value) fprintf(out, ",\"mirror\":%zu", mirror);
  fputc('}', out);
}

static bool is_colour(const char *text, size_t length) {
  if (length != 7 || *text != '#') return false;
  for (size_t i = 1; i < length; i++)
    if (!isxdigit((unsigned char)text[i])) return false;
  return true;
}

static enum vn_status names_print(FILE *out, const char *names, const struct vn_palette *palette,
                                  struct vn_diag *diag) {
  size_t value = 0;
  fputc('[', out);
  for (const char *name = names;; name++) {
    const size_t length = strcspn(name, ",");
    const char *colon = memchr(name, ':', length);
    const size_t plain = colon ? (size_t)(colon - name) : length;
    if (length == 0) return vn_fail(diag, VN_E_ARGUMENT, "--label-names: an empty name");
    if (colon && !is_colour(colon + 1, length - plain - 1))
      return vn_fail(diag, VN_E_ARGUMENT,
                     "--label-names: %.*s: expected NAME or NAME:#rrggbb, such as tumour:#c83232",
                     (int)length, name);
    if (++value >= palette->count)
      return vn_fail(diag, VN_E_ARGUMENT,
                     "--label-names: more than %zu; of %zu classes the first is the background",
                     palette->count - 1, palette->count);
    label_print(out, value == 1, value, name, plain, colon ? colon + 1 : NULL,
                palette->entries[value].rgb, value);
    name += length;
    if (!*name) break;
  }
  fputc(']', out);
  return VN_OK;
}

/* Is it one that everybody reads? */
static enum vn_status json_check(const char *json, size_t classes, const char *where,
                                 struct vn_diag *diag) {
  struct vn_palette palette = {0};
  struct vn_diag inner;
  const enum vn_status status = vn_palette_parse(json, classes, &palette, &inner);
  vn_palette_close(&palette);
  if (!status) return VN_OK;
  return vn_fail(diag, status == VN_E_FORMAT ? VN_E_ARGUMENT : status, "%.200s: %.300s", where,
                 inner.text);
}

enum vn_status vnt_labels_json(const char *names, size_t classes, char **json,
                               struct vn_diag *diag) {
  struct vn_palette palette = {0};
  struct vn_printed text;
  *json = NULL;
  enum vn_status status = vn_palette_parse(NULL, classes, &palette, diag);
  if (status) return status;
  FILE *out = vn_printed_open(&text);
  if (out) status = names_print(out, names, &palette, diag);
  vn_palette_close(&palette);
  if (!vn_printed_close(out, &text) && !status)
    status = vn_fail(diag, VN_E_MEMORY, "out of memory");
  *json = text.text;
  if (!status) status = json_check(*json, classes, "--label-names", diag);
  if (status) {
    free(*json);
    *json = NULL;
  }
  return status;
}

/* ---- plain values ---- */

static enum vn_status labels_new(struct vnt_labels **labels, struct vn_diag *diag) {
  struct vnt_labels *l = *labels = calloc(1, sizeof *l);
  if (!l) return vn_fail(diag, VN_E_MEMORY, "out of memory for the labels");
  for (size_t v = 0; v < VNT_VALUES; v++) l->class_of[v] = -1;
  for (size_t c = 0; c < VNT_CLASSES_MOST; c++) l->other_side[c] = (uint8_t)c;
  return VN_OK;
}

static enum vn_status classes_check(const struct vnt_labels *l, struct vn_diag *diag) {
  const size_t most = l->ignores ? VNT_CLASSES_MOST - 1 : VNT_CLASSES_MOST;
  if (l->classes >= 2 && l->classes <= most) return VN_OK;
  return vn_fail(diag, VN_E_ARGUMENT, "%zu classes: 2 to %zu can be learnt from label maps%s",
                 l->classes, most, l->ignores ? " where voxels are ignored" : "");
}

enum vn_status vnt_labels_plain(size_t classes, int ignored, struct vnt_labels **labels,
                                struct vn_diag *diag) {
  enum vn_status status = labels_new(labels, diag);
  if (status) return status;
  struct vnt_labels *l = *labels;
  l->classes = classes;
  l->ignores = ignored >= 0;
  if ((status = classes_check(l, diag))) return status;
  for (size_t v = 0; v < classes; v++) l->class_of[v] = (int16_t)v;
  if (ignored >= VNT_VALUES)
    return vn_fail(diag, VN_E_ARGUMENT, "--ignore %d: values of labels are below %d", ignored,
                   VNT_VALUES);
  if (ignored >= 0 && (size_t)ignored < classes)
    return vn_fail(diag, VN_E_ARGUMENT, "--ignore %d: that is one of the %zu classes, 0 to %zu",
                   ignored, classes, classes - 1);
  if (ignored >= 0) l->class_of[ignored] = VNT_IGNORED;
  return VN_OK;
}

enum vn_status vnt_labels_sides(struct vnt_labels *labels, const char *json, struct vn_diag *diag) {
  struct vn_palette palette;
  const enum vn_status status = vn_palette_parse(json, labels->classes, &palette, diag);
  for (size_t c = 0; !status && c < labels->classes; c++)
    labels->other_side[c] = (uint8_t)palette.entries[c].mirror;
  labels->sided = palette.sided;
  vn_palette_close(&palette);
  return status;
}

/* FNV-1a, of 32 bits. */
uint64_t vnt_labels_checksum(const struct vnt_labels *labels) {
  uint32_t sum = 2166136261u;
  for (size_t v = 0; v < VNT_VALUES; v++)
    sum = (sum ^ (uint32_t)(labels->class_of[v] + 1)) * 16777619u;
  for (size_t c = 0; c < labels->classes; c++) sum = (sum ^ labels->other_side[c]) * 16777619u;
  return sum;
}

void vnt_labels_close(struct vnt_labels **labels) {
  if (!*labels) return;
  free((*labels)->json);
  free(*labels);
  *labels = NULL;
}

/* ---- a table ---- */

enum { VALUE, CLASS, NAME, COLOUR, MIRROR, COLUMNS };
static const char *const columns[COLUMNS] = {"value", "class", "name", "colour", "mirror"};

struct reading {
  struct vnt_labels *labels;
  size_t at[COLUMNS]; /* fields; SIZE_MAX: none */
  int others;         /* class of values that are not named; -1: refused */
  bool others_said, used[VNT_CLASSES_MOST];
  char *name[VNT_CLASSES_MOST], *colour[VNT_CLASSES_MOST]; /* owned */
};

static enum vn_status bad(const struct vnt_csv_row *row, struct vn_diag *diag, const char *what,
                          const char *field, const char *expected) {
  return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: %s '%.60s': expected %s", row->file, row->line,
                 what, field, expected);
}

static enum vn_status head_take(struct reading *r, const struct vnt_csv_row *row,
                                struct vn_diag *diag) {
  for (size_t c = 0; c < COLUMNS; c++) r->at[c] = SIZE_MAX;
  for (size_t f = 0; f < row->fields; f++) {
    size_t c = 0;
    while (c < COLUMNS && strcmp(row->field[f], columns[c])) c++;
    if (c == COLUMNS || r->at[c] != SIZE_MAX)
      return bad(row, diag, "column", row->field[f],
                 "value and class, and perhaps name, colour and mirror, each once");
    r->at[c] = f;
  }
  if (r->at[VALUE] != SIZE_MAX && r->at[CLASS] != SIZE_MAX) return VN_OK;
  return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: there is no column '%s'", row->file, row->line,
                 columns[r->at[VALUE] == SIZE_MAX ? VALUE : CLASS]);
}

/* A whole number from 0 to most, or -1. */
static long whole(const char *text, long most) {
  const size_t digits = strspn(text, "0123456789");
  if (!digits || digits > 5 || text[digits]) return -1;
  const long value = strtol(text, NULL, 10);
  return value <= most ? value : -1;
}

static const char *field_of(const struct reading *r, const struct vnt_csv_row *row, int column) {
  return r->at[column] == SIZE_MAX ? "" : row->field[r->at[column]];
}

/* What a class may have only one of: kept, unless it is something else than before. */
static enum vn_status text_keep(char **kept, const struct vnt_csv_row *row, const char *what,
                                const char *text, struct vn_diag *diag) {
  if (!*text) return VN_OK;
  if (*kept && strcmp(*kept, text))
    return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: the class has the %s '%.60s' already",
                   row->file, row->line, what, *kept);
  if (!*kept && !(*kept = strdup(text)))
    return vn_fail(diag, VN_E_MEMORY, "out of memory for the labels");
  return VN_OK;
}

static enum vn_status side_take(struct reading *r, const struct vnt_csv_row *row, size_t class,
                                struct vn_diag *diag) {
  const char *text = field_of(r, row, MIRROR);
  if (!*text) return VN_OK;
  const long other = whole(text, VNT_CLASSES_MOST - 1);
  if (other < 1) return bad(row, diag, "mirror", text, "the class on the other side");
  uint8_t *sides = r->labels->other_side;
  if (r->labels->side_said[class] && sides[class] != other)
    return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: class %zu is mirrored to %d already",
                   row->file, row->line, class, sides[class]);
  sides[class] = (uint8_t)other;
  r->labels->side_said[class] = r->labels->sided = true;
  return VN_OK;
}

static enum vn_status value_take(struct reading *r, const struct vnt_csv_row *row, int class,
                                 struct vn_diag *diag) {
  const char *text = field_of(r, row, VALUE);
  const long value = whole(text, VNT_VALUES - 1);
  if (strcmp(text, "others") == 0 && !r->others_said) {
    r->others = class;
    r->others_said = true;
    return VN_OK;
  }
  if (value < 0) return bad(row, diag, "value", text, "0 to 65535, or once others");
  if (r->labels->class_of[value] >= 0)
    return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: the value %ld is there twice", row->file,
                   row->line, value);
  r->labels->class_of[value] = (int16_t) class;
  return VN_OK;
}

static enum vn_status row_take(struct reading *r, const struct vnt_csv_row *row,
                               struct vn_diag *diag) {
  const char *text = field_of(r, row, CLASS), *colour = field_of(r, row, COLOUR);
  const bool ignored = strcmp(text, "ignore") == 0;
  const long class = ignored ? VNT_IGNORED : whole(text, VNT_CLASSES_MOST - 2);
  if (class < 0) return bad(row, diag, "class", text, "0 to 254, or ignore");
  if (*colour && !is_colour(colour, strlen(colour)))
    return bad(row, diag, "colour", colour, "#rrggbb, such as #c83232");
  enum vn_status status = value_take(r, row, (int)class, diag);
  if (status) return status;
  if (ignored) {
    r->labels->ignores = true;
    return VN_OK;
  }
  r->used[class] = true;
  if ((size_t) class >= r->labels->classes) r->labels->classes = (size_t) class + 1;
  status = text_keep(&r->name[class], row, "name", field_of(r, row, NAME), diag);
  if (!status) status = text_keep(&r->colour[class], row, "colour", colour, diag);
  return status || !class ? status : side_take(r, row, (size_t) class, diag);
}

static enum vn_status line_take(void *context, const struct vnt_csv_row *row,
                                struct vn_diag *diag) {
  return row->columns ? row_take(context, row, diag) : head_take(context, row, diag);
}

/* What only the whole table can say. */
static enum vn_status table_check(struct reading *r, const char *file, struct vn_diag *diag) {
  struct vnt_labels *l = r->labels;
  if (l->classes < 2)
    return vn_fail(diag, VN_E_FORMAT, "%s: there is no class but the background", file);
  for (size_t c = 1; c < l->classes; c++) {
    const size_t other = l->other_side[c];
    if (!r->used[c])
      return vn_fail(diag, VN_E_FORMAT, "%s: the classes are 0 to %zu, and no value is class %zu",
                     file, l->classes - 1, c);
    if (other >= l->classes || l->other_side[other] != c)
      return vn_fail(diag, VN_E_FORMAT, "%s: class %zu is mirrored to %zu, but %zu not to %zu",
                     file, c, other, other, c);
  }
  if (l->class_of[0] < 0) l->class_of[0] = 0;
  for (size_t v = 0; v < VNT_VALUES; v++)
    if (l->class_of[v] < 0) l->class_of[v] = (int16_t)r->others;
  return VN_OK;
}

static enum vn_status table_json(struct reading *r, struct vn_diag *diag) {
  struct vnt_labels *l = r->labels;
  struct vn_palette palette = {0};
  struct vn_printed text;
  bool first = true;
  const enum vn_status status = vn_palette_parse(NULL, l->classes, &palette, diag);
  if (status) return status;
  FILE *out = vn_printed_open(&text);
  if (out) fputc('[', out);
  for (size_t c = 1; out && c < l->classes; c++) {
    const char *name = r->name[c] ? r->name[c] : palette.entries[c].name;
    label_print(out, first, c, name, strlen(name), r->colour[c], palette.entries[c].rgb,
                l->other_side[c]);
    first = false;
  }
  if (out) fputc(']', out);
  vn_palette_close(&palette);
  const bool whole = vn_printed_close(out, &text);
  l->json = text.text;
  return whole ? VN_OK : vn_fail(diag, VN_E_MEMORY, "out of memory");
}

enum vn_status vnt_labels_read(const char *path, struct vnt_labels **labels, struct vn_diag *diag) {
  enum vn_status status = labels_new(labels, diag);
  if (status) return status;
  struct reading r = {.labels = *labels, .others = -1};
  const struct vnt_csv csv = {"a table of labels", "value,class", line_take, &r};
  (*labels)->table = true;
  status = vnt_csv_read(path, &csv, diag);
  if (!status && r.others == VNT_IGNORED) (*labels)->ignores = true;
  if (!status) status = table_check(&r, vnt_path_end(path), diag);
  if (!status) status = table_json(&r, diag);
  if (!status) status = json_check((*labels)->json, (*labels)->classes, vnt_path_end(path), diag);
  for (size_t c = 0; c < VNT_CLASSES_MOST; c++) {
    free(r.name[c]);
    free(r.colour[c]);
  }
  return status;
}
