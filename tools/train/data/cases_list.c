/* CSV to rows; see cases_list.h. Strict, because a misspelt column or split that was passed over
 * would train on what is there to be tested. */
#include "cases_list.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "os.h"

enum { BYTES_MOST = 16 << 20, FIELDS_MOST = 16 };
enum column { COLUMN_IMAGE, COLUMN_LABEL, COLUMN_SPLIT, COLUMNS };
static const char *const names[COLUMNS] = {"image", "label", "split"};

struct reader {
  const char *path, *shown; /* shown: its end, for sentences */
  size_t line;
  char *field[FIELDS_MOST];
  size_t fields;
  size_t at[COLUMNS], columns; /* field of each column, SIZE_MAX: none; fields of the header */
  struct vn_diag *diag;
};

const char *vnt_path_end(const char *path) {
  const size_t length = strlen(path);
  return length > 100 ? path + length - 100 : path;
}

static enum vn_status file_read(struct reader *r, char **text, size_t *bytes) {
  const char *reason;
  FILE *file = vn_input_open(r->path, &reason);
  if (!file) return vn_fail(r->diag, vn_io_status(errno), "%s: %s", r->shown, reason);
  enum vn_status status = VN_OK;
  size_t room = 0;
  for (;;) {
    if (*bytes + 2 > room) {
      char *more = realloc(*text, room = room ? 2 * room : 1 << 16);
      if (!more) {
        status = vn_fail(r->diag, VN_E_MEMORY, "out of memory for the list of cases");
        break;
      }
      *text = more;
    }
    const size_t got = fread(*text + *bytes, 1, room - *bytes - 1, file);
    *bytes += got;
    if (got == 0) break;
    if (*bytes > BYTES_MOST) {
      status = vn_fail(r->diag, VN_E_FORMAT, "%s: more than 16 MiB: not a list of cases", r->shown);
      break;
    }
  }
  if (!status && ferror(file))
    status = vn_fail(r->diag, vn_io_status(errno), "%s: %s", r->shown, strerror(errno));
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
  for (r->fields = 0;;) {
    if (r->fields == FIELDS_MOST)
      return vn_fail(r->diag, VN_E_FORMAT, "%s, line %zu: more than %d fields", r->shown, r->line,
                     FIELDS_MOST);
    at = blanks_skip(at);
    char **field = &r->field[r->fields++];
    at = *at == '"' ? quoted_take(at, field) : plain_take(at, field);
    if (!at || (*at && *at != ','))
      return vn_fail(r->diag, VN_E_FORMAT, "%s, line %zu: %s", r->shown, r->line,
                     at ? "text after a closing quote" : "a quote is not closed on its line");
    if (!*at) return VN_OK;
    *at++ = '\0';
  }
}

static enum vn_status header_take(struct reader *r) {
  for (int c = 0; c < COLUMNS; c++) r->at[c] = SIZE_MAX;
  r->columns = r->fields;
  for (size_t f = 0; f < r->fields; f++) {
    int c = 0;
    while (c < COLUMNS && strcmp(r->field[f], names[c])) c++;
    if (c == COLUMNS)
      return vn_fail(r->diag, VN_E_FORMAT,
                     "%s, line %zu: column '%.60s' is none of image, label and split, which the "
                     "first line has to name, separated by commas",
                     r->shown, r->line, r->field[f]);
    if (r->at[c] != SIZE_MAX)
      return vn_fail(r->diag, VN_E_FORMAT, "%s, line %zu: column '%s' is there twice", r->shown,
                     r->line, names[c]);
    r->at[c] = f;
  }
  for (int c = 0; c < COLUMN_SPLIT; c++)
    if (r->at[c] == SIZE_MAX)
      return vn_fail(r->diag, VN_E_FORMAT, "%s, line %zu: there is no column '%s'", r->shown,
                     r->line, names[c]);
  return VN_OK;
}

/* `name` in the list's folder; NULL when out of memory. */
static char *path_make(const struct reader *r, const char *name) {
  const int folder = vn_os_is_full(name) ? 0 : (int)(vn_os_name(r->path) - r->path);
  char *path;
  if (asprintf(&path, "%.*s%s", folder, r->path, name) < 0) return NULL;
  return vn_os_slashes(path);
}

static enum vn_status row_take(struct reader *r, struct vnt_list *list) {
  if (r->fields != r->columns)
    return vn_fail(r->diag, VN_E_FORMAT, "%s, line %zu: fields: %zu, but %zu columns", r->shown,
                   r->line, r->fields, r->columns);
  for (int c = 0; c < COLUMN_SPLIT; c++)
    if (!*r->field[r->at[c]])
      return vn_fail(r->diag, VN_E_FORMAT, "%s, line %zu: no %s", r->shown, r->line, names[c]);
  const char *split = r->at[COLUMN_SPLIT] == SIZE_MAX ? "train" : r->field[r->at[COLUMN_SPLIT]];
  const bool validation = strcmp(split, "validation") == 0;
  if (!validation && strcmp(split, "train"))
    return vn_fail(r->diag, VN_E_FORMAT,
                   "%s, line %zu: split is '%.60s', neither train nor validation", r->shown,
                   r->line, split);
  /* Twice the room at every power of two. */
  if ((list->count & (list->count - 1)) == 0) {
    const size_t room = list->count ? 2 * list->count : 1;
    struct vnt_list_row *more = realloc(list->row, room * sizeof *more);
    if (!more) return vn_fail(r->diag, VN_E_MEMORY, "out of memory for the list of cases");
    list->row = more;
  }
  struct vnt_list_row *row = &list->row[list->count++];
  *row = (struct vnt_list_row){.line = r->line, .validation = validation};
  row->image = path_make(r, r->field[r->at[COLUMN_IMAGE]]);
  row->label = path_make(r, r->field[r->at[COLUMN_LABEL]]);
  if (!row->image || !row->label)
    return vn_fail(r->diag, VN_E_MEMORY, "out of memory for the list of cases");
  return VN_OK;
}

static enum vn_status lines_take(struct reader *r, char *text, size_t bytes,
                                 struct vnt_list *list) {
  enum vn_status status = VN_OK;
  char *end = text + bytes, *next;
  if (strncmp(text, "\xEF\xBB\xBF", 3) == 0) text += 3; /* a byte order mark */
  for (; text < end && !status; text = next) {
    char *stop = memchr(text, '\n', (size_t)(end - text));
    next = stop ? stop + 1 : end;
    r->line++;
    if (!stop) stop = end;
    if (stop > text && stop[-1] == '\r') stop--;
    /* Nor may they get into a sentence, and from there to a terminal. */
    for (const char *c = text; c < stop; c++)
      if (((unsigned char)*c < ' ' && *c != '\t') || *c == '\x7F')
        return vn_fail(r->diag, VN_E_FORMAT,
                       "%s, line %zu: a control character: not a list of cases", r->shown, r->line);
    *stop = '\0';
    if (!*blanks_skip(text)) continue;
    status = fields_split(r, text);
    if (!status) status = r->columns ? row_take(r, list) : header_take(r);
  }
  if (!status && !r->columns)
    return vn_fail(r->diag, VN_E_FORMAT, "%s: it is empty: the first line has to be image,label",
                   r->shown);
  return status;
}

enum vn_status vnt_list_read(const char *path, struct vnt_list *list, struct vn_diag *diag) {
  struct reader r = {.path = path, .shown = vnt_path_end(path), .diag = diag};
  char *text = NULL;
  size_t bytes = 0;
  *list = (struct vnt_list){0};
  enum vn_status status = file_read(&r, &text, &bytes);
  if (!status) status = lines_take(&r, text, bytes, list);
  free(text);
  return status;
}

void vnt_list_close(struct vnt_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    free(list->row[i].image);
    free(list->row[i].label);
  }
  free(list->row);
  *list = (struct vnt_list){0};
}
