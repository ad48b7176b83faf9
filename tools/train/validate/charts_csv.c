/* Lines, fields, numbers; see charts_csv.h. */
#include "charts_csv.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "input.h"
#include "intensity.h"

enum { COLUMNS_MOST = 320 }; /* of a file */

/* The next field of a line, unquoted in place and terminated; *rest is what follows it, NULL after
 * the last one. NULL: a quote without its end. */
static char *field_next(char **rest) {
  char *at = *rest, *out = at, *field = at;
  if (*at == '"') {
    for (at++; *at && (at[0] != '"' || at[1] == '"'); at++) {
      if (*at == '"') at++;
      *out++ = *at;
    }
    if (*at++ != '"' || (*at && *at != ',')) return NULL;
  } else {
    at += strcspn(at, ",");
    out = at;
  }
  *rest = *at == ',' ? at + 1 : NULL;
  *out = '\0';
  return field;
}

/* Of one file being read. */
struct reader {
  const char *path;
  size_t line, fields;
  size_t column[COLUMNS_MOST]; /* of the table, for each field; SIZE_MAX: nobody wants it */
};

static enum vn_status header_read(struct reader *r, char *line, const char *const *names,
                                  size_t columns, struct vn_diag *diag) {
  size_t found = 0;
  for (char *rest = line; rest; r->fields++) {
    const char *name = field_next(&rest);
    if (!name || r->fields == COLUMNS_MOST)
      return vn_fail(diag, VN_E_FORMAT, "%.200s: its first line is no header", r->path);
    r->column[r->fields] = SIZE_MAX;
    for (size_t i = 0; i < columns; i++)
      if (strcmp(name, names[i]) == 0) {
        for (size_t f = 0; f < r->fields; f++)
          if (r->column[f] == i)
            return vn_fail(diag, VN_E_FORMAT, "%.200s: two columns are named '%s'", r->path, name);
        r->column[r->fields] = i;
        found++;
      }
  }
  for (size_t i = 0; i < columns && found < columns; i++) {
    bool there = false;
    for (size_t f = 0; f < r->fields; f++) there = there || r->column[f] == i;
    if (!there)
      return vn_fail(diag, VN_E_FORMAT, "%.200s: no column is named '%s'", r->path, names[i]);
  }
  return VN_OK;
}

static enum vn_status row_read(const struct reader *r, char *line, double *row,
                               struct vn_diag *diag) {
  size_t f = 0;
  for (char *rest = line; rest; f++) {
    const char *field = field_next(&rest);
    if (!field || f == r->fields) {
      f = SIZE_MAX;
      break;
    }
    if (r->column[f] == SIZE_MAX) continue;
    double value = NAN;
    if (strcmp(field, "nan") != 0 && (vn_numbers_parse(field, &value, 1) != 1 || !isfinite(value)))
      return vn_fail(diag, VN_E_FORMAT, "%.200s: line %zu: '%.40s' is not a number", r->path,
                     r->line, field);
    row[r->column[f]] = value;
  }
  return f == r->fields ? VN_OK
                        : vn_fail(diag, VN_E_FORMAT, "%.200s: line %zu does not have %zu fields",
                                  r->path, r->line, r->fields);
}

static double *row_add(struct vnt_table *table, size_t *room) {
  if (table->rows == *room) {
    *room = *room ? 2 * *room : 256;
    double *more = realloc(table->value, *room * table->columns * sizeof *more);
    if (!more) return NULL;
    table->value = more;
  }
  return table->value + table->rows++ * table->columns;
}

/* The next line that has an end, which is cut off; false: there is none. */
static bool line_next(FILE *file, char **line, size_t *room) {
  ssize_t length = getline(line, room, file);
  if (length < 1 || (*line)[length - 1] != '\n') return false;
  for (ssize_t i = 0; i < length; i++) /* a NUL would hide what follows it */
    if (!(*line)[i]) (*line)[i] = '?';
  (*line)[--length] = '\0';
  if (length && (*line)[length - 1] == '\r') (*line)[length - 1] = '\0';
  return true;
}

static enum vn_status rows_read(struct reader *r, FILE *file, const char *const *names,
                                struct vnt_table *table, struct vn_diag *diag) {
  char *line = NULL;
  size_t line_room = 0, rows_room = 0;
  enum vn_status status = VN_OK;
  bool more = line_next(file, &line, &line_room);
  if (more)
    status = header_read(r, line, names, table->columns, diag);
  else if (feof(file))
    status = vn_fail(diag, VN_E_FORMAT, "%.300s: has no header line", r->path);
  while (status == VN_OK && more && (more = line_next(file, &line, &line_room))) {
    r->line++;
    double *row = row_add(table, &rows_room);
    status = row ? row_read(r, line, row, diag) : vn_fail(diag, VN_E_MEMORY, "out of memory");
  }
  if (status == VN_OK && !feof(file))
    status = vn_fail(diag, vn_io_status(errno), "%.300s: %s", r->path, strerror(errno));
  free(line);
  return status;
}

enum vn_status vnt_table_read(const char *path, const char *const *names, size_t columns,
                              struct vnt_table *table, struct vn_diag *diag) {
  struct reader r = {.path = path, .line = 1};
  *table = (struct vnt_table){.columns = columns};
  const char *reason;
  FILE *file = vn_input_open(path, &reason);
  if (!file) return vn_fail(diag, vn_io_status(errno), "%.300s: %s", path, reason);
  enum vn_status status = rows_read(&r, file, names, table, diag);
  fclose(file);
  return status;
}

void vnt_table_close(struct vnt_table *table) {
  free(table->value);
  *table = (struct vnt_table){0};
}
