/* CSV to fields; see csv.h. */
#include "csv.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "input.h"

enum { BYTES_MOST = 16 << 20 };

struct reader {
  const char *path;
  const struct vnt_csv *csv;
  struct vnt_csv_row row;
  struct vn_diag *diag;
};

const char *vnt_path_end(const char *path) {
  const size_t length = strlen(path);
  return length > 100 ? path + length - 100 : path;
}

static enum vn_status file_read(struct reader *r, char **text, size_t *bytes) {
  const char *reason;
  FILE *file = vn_input_open(r->path, &reason);
  if (!file) return vn_fail(r->diag, vn_io_status(errno), "%s: %s", r->row.file, reason);
  enum vn_status status = VN_OK;
  size_t room = 0;
  for (;;) {
    if (*bytes + 2 > room) {
      char *more = realloc(*text, room = room ? 2 * room : 1 << 16);
      if (!more) {
        status = vn_fail(r->diag, VN_E_MEMORY, "out of memory for %s", r->csv->what);
        break;
      }
      *text = more;
    }
    const size_t got = fread(*text + *bytes, 1, room - *bytes - 1, file);
    *bytes += got;
    if (got == 0) break;
    if (*bytes > BYTES_MOST) {
      status =
          vn_fail(r->diag, VN_E_FORMAT, "%s: more than 16 MiB: not %s", r->row.file, r->csv->what);
      break;
    }
  }
  if (!status && ferror(file))
    status = vn_fail(r->diag, vn_io_status(errno), "%s: %s", r->row.file, strerror(errno));
  fclose(file);
  if (!status) (*text)[*bytes] = '\0';
  return status;
}

static char *blanks_skip(char *at) {
  return at + strspn(at, " \t");
}

/* A quoted field in place; returns what follows it, NULL without a closing quote. */
static char *quoted_take(char *at, char **field) {
  char *to = *field = ++at;
  for (; *at && !(*at == '"' && at[1] != '"'); at++) {
    if (*at == '"') at++;
    *to++ = *at;
  }
  if (!*at) return NULL;
  *to = '\0';
  return blanks_skip(at + 1);
}

static char *plain_take(char *at, char **field) {
  *field = at;
  char *end = at + strcspn(at, ","), *last = end;
  while (last > at && (last[-1] == ' ' || last[-1] == '\t')) last--;
  if (last < end) *last = '\0';
  return end;
}

/* One line to r->field. */
static enum vn_status fields_split(struct reader *r, char *at) {
  for (r->row.fields = 0;;) {
    if (r->row.fields == VNT_FIELDS_MOST)
      return vn_fail(r->diag, VN_E_FORMAT, "%s, line %zu: more than %d fields", r->row.file,
                     r->row.line, VNT_FIELDS_MOST);
    at = blanks_skip(at);
    char **field = &r->row.field[r->row.fields++];
    at = *at == '"' ? quoted_take(at, field) : plain_take(at, field);
    if (!at || (*at && *at != ','))
      return vn_fail(r->diag, VN_E_FORMAT, "%s, line %zu: %s", r->row.file, r->row.line,
                     at ? "text after a closing quote" : "a quote is not closed on its line");
    if (!*at) return VN_OK;
    *at++ = '\0';
  }
}

/* A row of as many fields as the head has. */
static enum vn_status row_take(struct reader *r) {
  const struct vnt_csv_row *row = &r->row;
  if (row->columns && row->fields != row->columns)
    return vn_fail(r->diag, VN_E_FORMAT, "%s, line %zu: fields: %zu, but %zu columns", row->file,
                   row->line, row->fields, row->columns);
  const enum vn_status status = r->csv->take(r->csv->context, row, r->diag);
  if (!row->columns) r->row.columns = row->fields;
  return status;
}

static enum vn_status lines_take(struct reader *r, char *text, size_t bytes) {
  enum vn_status status = VN_OK;
  char *end = text + bytes, *next;
  if (strncmp(text, "\xEF\xBB\xBF", 3) == 0) text += 3; /* a byte order mark */
  for (; text < end && !status; text = next) {
    char *stop = memchr(text, '\n', (size_t)(end - text));
    next = stop ? stop + 1 : end;
    r->row.line++;
    if (!stop) stop = end;
    if (stop > text && stop[-1] == '\r') stop--;
    /* Nor may they get into a sentence, and from there to a terminal. */
    for (const char *c = text; c < stop; c++)
      if (((unsigned char)*c < ' ' && *c != '\t') || *c == '\x7F')
        return vn_fail(r->diag, VN_E_FORMAT, "%s, line %zu: a control character: not %s",
                       r->row.file, r->row.line, r->csv->what);
    *stop = '\0';
    if (!*blanks_skip(text)) continue;
    status = fields_split(r, text);
    if (!status) status = row_take(r);
  }
  if (!status && !r->row.columns)
    return vn_fail(r->diag, VN_E_FORMAT, "%s: it is empty: the first line has to be %s",
                   r->row.file, r->csv->head);
  return status;
}

enum vn_status vnt_csv_read(const char *path, const struct vnt_csv *csv, struct vn_diag *diag) {
  struct reader r = {.path = path, .csv = csv, .row.file = vnt_path_end(path), .diag = diag};
  char *text = NULL;
  size_t bytes = 0;
  enum vn_status status = file_read(&r, &text, &bytes);
  if (!status) status = lines_take(&r, text, bytes);
  free(text);
  return status;
}
