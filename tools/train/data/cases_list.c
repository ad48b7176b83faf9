/* CSV to rows; see cases_list.h. Strict, because a misspelt column or split that was passed over
 * would train on what is there to be tested. */
#include "cases_list.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "channels.h"
#include "os.h"
#include "printed.h"
#include "random.h"

struct taker {
  const char *path;
  struct vnt_list *list;
  size_t image[VNT_FIELDS_MOST], images; /* fields: the columns image or image_NAME */
  size_t label, split;                   /* fields; SIZE_MAX: none */
};

static enum vn_status out_of_memory(struct vn_diag *diag) {
  return vn_fail(diag, VN_E_MEMORY, "out of memory for the list of cases");
}

/* ---- the head ---- */

/* Names between semicolons, which go into the model: its rules for them hold. */
static enum vn_status channels_name(struct vnt_list *list, const struct vnt_csv_row *row,
                                    const char *names, size_t count, struct vn_diag *diag) {
  struct vn_channels channels;
  if (count > VNT_CHANNELS_MOST)
    return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: more than %d channels", row->file, row->line,
                   VNT_CHANNELS_MOST);
  enum vn_status status = vn_channels_parse(names, NULL, NULL, count, &channels, NULL);
  if (status == VN_E_FORMAT)
    vn_fail(diag, status,
            "%s, line %zu: channels '%.100s': their names differ, have at most %d bytes and none "
            "of = and /",
            row->file, row->line, names, VN_CHANNEL_NAME_MOST);
  for (size_t c = 0; c < count && !status; c++, list->channels++) {
    list->given[c] = c;
    list->channel[c] = strdup(channels.of[c].name);
    if (!list->channel[c]) status = VN_E_MEMORY;
  }
  vn_channels_close(&channels);
  return status == VN_E_MEMORY ? out_of_memory(diag) : status;
}

/* The channels are called as the columns for images are: image_NAME each, or a single one
 * image_NAME;NAME;…. A single column may be called image alone. */
static enum vn_status channels_take(const struct taker *t, const struct vnt_csv_row *row,
                                    struct vn_diag *diag) {
  struct vn_printed text;
  size_t named = 0, count = 0;
  FILE *out = vn_printed_open(&text);
  for (size_t i = 0; i < t->images; i++) {
    const char *name = row->field[t->image[i]] + strlen("image");
    if (*name) named++, count++, name++;
    for (const char *c = name; *c; c++) count += *c == ';';
    if (out) fprintf(out, "%s%s", i ? ";" : "", name);
  }
  if (!vn_printed_close(out, &text)) return out_of_memory(diag);
  enum vn_status status = VN_OK;
  if (t->images > 1 && (named < t->images || count > t->images))
    status = vn_fail(diag, VN_E_FORMAT,
                     "%s, line %zu: of several columns for images each is one channel, image_NAME, "
                     "such as image_t1,image_t2",
                     row->file, row->line);
  else if (named)
    status = channels_name(t->list, row, text.text, count, diag);
  free(text.text);
  return status;
}

static enum vn_status head_take(struct taker *t, const struct vnt_csv_row *row,
                                struct vn_diag *diag) {
  for (size_t f = 0; f < row->fields; f++) {
    const char *name = row->field[f];
    for (size_t k = 0; k < f; k++)
      if (strcasecmp(row->field[k], name) == 0)
        return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: column '%.60s' is there twice", row->file,
                       row->line, name);
    if (strcmp(name, "label") == 0)
      t->label = f;
    else if (strcmp(name, "split") == 0)
      t->split = f, t->list->split = true;
    else if (strcmp(name, "image") == 0 || (strncmp(name, "image_", 6) == 0 && name[6]))
      t->image[t->images++] = f;
    else
      return vn_fail(diag, VN_E_FORMAT,
                     "%s, line %zu: column '%.60s' is none of image, image_NAME, label and split, "
                     "which the first line has to name, separated by commas",
                     row->file, row->line, name);
  }
  if (!t->images || t->label == SIZE_MAX)
    return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: there is no column '%s'", row->file, row->line,
                   t->images ? "label" : "image");
  return channels_take(t, row, diag);
}

/* ---- cases ---- */

/* `name` in the list's folder; NULL when out of memory. */
static char *path_make(const struct taker *t, const char *name) {
  const int folder = vn_os_is_full(name) ? 0 : (int)(vn_os_name(t->path) - t->path);
  char *path;
  if (asprintf(&path, "%.*s%s", folder, t->path, name) < 0) return NULL;
  return vn_os_slashes(path);
}

static char *trimmed(char *text) {
  size_t length = strlen(text += strspn(text, " \t"));
  while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\t')) length--;
  text[length] = '\0';
  return text;
}

/* The files of a single column, between semicolons, unless there is one file of the whole name. How
 * many there are, of which at most VNT_CHANNELS_MOST are given. */
static size_t files_cut(const struct taker *t, char *text, char *file[VNT_CHANNELS_MOST]) {
  char *whole = strchr(text, ';') ? path_make(t, text) : NULL;
  const bool one = whole && access(whole, F_OK) == 0;
  size_t count = 0;
  free(whole);
  for (char *at = text, *next; at; at = next, count++) {
    next = one ? NULL : strchr(at, ';');
    if (next) *next++ = '\0';
    if (count < VNT_CHANNELS_MOST) file[count] = trimmed(at);
  }
  return count;
}

/* How many channels they have is seen once they are open. */
static enum vn_status files_find(const struct taker *t, const struct vnt_csv_row *row,
                                 char *file[VNT_CHANNELS_MOST], size_t *count,
                                 struct vn_diag *diag) {
  const bool columns = t->images > 1;
  *count = columns ? t->images : files_cut(t, row->field[t->image[0]], file);
  if (*count > VNT_CHANNELS_MOST)
    return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: more than %d channels", row->file, row->line,
                   VNT_CHANNELS_MOST);
  for (size_t i = 0; i < *count; i++) {
    if (columns) file[i] = row->field[t->image[i]];
    if (!*file[i])
      return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: no image%s%.60s", row->file, row->line,
                     columns ? " of the channel " : "", columns ? t->list->channel[i] : "");
  }
  return VN_OK;
}

static enum vn_status fields_check(const struct taker *t, const struct vnt_csv_row *row,
                                   struct vn_diag *diag) {
  if (!*row->field[t->label])
    return vn_fail(diag, VN_E_FORMAT,
                   "%s, line %zu: no label; of a case where nothing is labelled, such as a healthy "
                   "control, it is 'none'",
                   row->file, row->line);
  const char *split = t->split == SIZE_MAX ? "train" : row->field[t->split];
  if (strcmp(split, "validation") && strcmp(split, "train"))
    return vn_fail(diag, VN_E_FORMAT,
                   "%s, line %zu: split is '%.60s', neither train nor validation", row->file,
                   row->line, split);
  return VN_OK;
}

static enum vn_status case_take(struct taker *t, const struct vnt_csv_row *row,
                                struct vn_diag *diag) {
  struct vnt_list *list = t->list;
  char *file[VNT_CHANNELS_MOST];
  size_t files;
  enum vn_status status = files_find(t, row, file, &files, diag);
  if (!status) status = fields_check(t, row, diag);
  if (status) return status;
  /* Twice the room at every power of two. */
  if ((list->count & (list->count - 1)) == 0) {
    const size_t room = list->count ? 2 * list->count : 1;
    struct vnt_list_row *more = realloc(list->row, room * sizeof *more);
    if (!more) return out_of_memory(diag);
    list->row = more;
  }
  struct vnt_list_row *item = &list->row[list->count++];
  *item = (struct vnt_list_row){.line = row->line};
  item->validation = t->split != SIZE_MAX && strcmp(row->field[t->split], "validation") == 0;
  item->image = calloc(files, sizeof *item->image);
  if (!item->image) return out_of_memory(diag);
  for (; item->files < files; item->files++)
    if (!(item->image[item->files] = path_make(t, file[item->files]))) return out_of_memory(diag);
  if (strcmp(row->field[t->label], "none") == 0) return VN_OK;
  item->label = path_make(t, row->field[t->label]);
  return item->label ? VN_OK : out_of_memory(diag);
}

static enum vn_status line_take(void *context, const struct vnt_csv_row *row,
                                struct vn_diag *diag) {
  return row->columns ? case_take(context, row, diag) : head_take(context, row, diag);
}

enum vn_status vnt_list_read(const char *path, struct vnt_list *list, struct vn_diag *diag) {
  struct taker taker = {.path = path, .list = list, .label = SIZE_MAX, .split = SIZE_MAX};
  const struct vnt_csv csv = {"a list of cases", "image,label", line_take, &taker};
  *list = (struct vnt_list){.folder = path_make(&taker, "")};
  return list->folder ? vnt_csv_read(path, &csv, diag) : out_of_memory(diag);
}

const char *vnt_list_name(const struct vnt_list *list, const char *path) {
  const size_t length = strlen(list->folder);
  return path + (strncmp(path, list->folder, length) ? 0 : length);
}

void vnt_list_close(struct vnt_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    for (size_t f = 0; f < list->row[i].files; f++) free(list->row[i].image[f]);
    free(list->row[i].image);
    free(list->row[i].label);
  }
  for (size_t c = 0; c < list->channels; c++) free(list->channel[c]);
  free(list->row);
  free(list->folder);
  *list = (struct vnt_list){0};
}

/* ---- folds ---- */

enum { STREAM_FOLDS = 0x464F4C44 };

enum vn_status vnt_list_fold(struct vnt_list *list, const char *path, size_t fold, size_t folds,
                             struct vn_diag *diag) {
  if (list->split)
    return vn_fail(diag, VN_E_ARGUMENT,
                   "%s: its column 'split' says what is for validation: no --fold beside it",
                   vnt_path_end(path));
  if (list->count < folds)
    return vn_fail(diag, VN_E_ARGUMENT, "%s: cases: %zu, which are not enough for %zu folds",
                   vnt_path_end(path), list->count, folds);
  size_t *order = malloc(list->count * sizeof *order);
  if (!order) return out_of_memory(diag);
  struct vnt_random r = vnt_random_open(0, list->count, STREAM_FOLDS);
  for (size_t i = 0; i < list->count; i++) { /* Fisher and Yates */
    const size_t at = vnt_random_below(&r, i + 1);
    order[i] = order[at];
    order[at] = i;
  }
  for (size_t i = 0; i < list->count; i++) list->row[order[i]].validation = i % folds == fold;
  free(order);
  return VN_OK;
}

/* ---- the channels' order ---- */

char *vnt_list_channels(const struct vnt_list *list) {
  struct vn_printed text;
  if (!list->channel[0]) return NULL;
  FILE *out = vn_printed_open(&text);
  for (size_t c = 0; out && c < list->channels; c++)
    fprintf(out, "%s%s", c ? "; " : "", list->channel[c]);
  return vn_printed_close(out, &text) ? text.text : NULL;
}

static void channels_swap(struct vnt_list *list, size_t a, size_t b) {
  char *name = list->channel[a];
  list->channel[a] = list->channel[b];
  list->channel[b] = name;
  const size_t given = list->given[a];
  list->given[a] = list->given[b];
  list->given[b] = given;
}

enum vn_status vnt_list_order(struct vnt_list *list, const char *path, const char *channels,
                              struct vn_diag *diag) {
  if (!channels || !list->channel[0]) return VN_OK;
  for (size_t c = 0; c < list->channels; c++) {
    channels += strspn(channels, "; ");
    size_t length = strcspn(channels, ";"), found = c;
    while (length && channels[length - 1] == ' ') length--;
    while (found < list->channels &&
           (strncasecmp(list->channel[found], channels, length) || list->channel[found][length]))
      found++;
    if (!length || found == list->channels)
      return vn_fail(diag, VN_E_ARGUMENT,
                     "%s: the model of --init has the channel %.*s, which no column is named after "
                     "(image_%.*s)",
                     vnt_path_end(path), (int)length, channels, (int)length, channels);
    channels_swap(list, c, found);
    channels += strcspn(channels, ";");
  }
  return VN_OK;
}
