/* CSV to rows; see cases_list.h. Strict, because a misspelt column or split that was passed over
 * would train on what is there to be tested. */
#include "cases_list.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "os.h"
#include "printed.h"
#include "random.h"

struct taker {
  const char *path;
  struct vnt_list *list;
  size_t image[VNT_CHANNELS_MOST], label, split; /* fields; SIZE_MAX: none */
};

static enum vn_status out_of_memory(struct vn_diag *diag) {
  return vn_fail(diag, VN_E_MEMORY, "out of memory for the list of cases");
}

/* ---- the head ---- */

/* image, or image_NAME for the channel NAME. */
static enum vn_status channel_take(struct taker *t, const struct vnt_csv_row *row, size_t field,
                                   struct vn_diag *diag) {
  struct vnt_list *list = t->list;
  const char *name = row->field[field] + strlen("image");
  if (list->channels == VNT_CHANNELS_MOST)
    return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: more than %d channels", row->file, row->line,
                   VNT_CHANNELS_MOST);
  if (list->channels && (!*name || !list->channel[0]))
    return vn_fail(diag, VN_E_FORMAT,
                   "%s, line %zu: the column 'image' is one of several: channels are called "
                   "image_NAME, such as image_t1,image_t2",
                   row->file, row->line);
  if (strpbrk(name, "=/;") || strlen(name) > 64)
    return vn_fail(
        diag, VN_E_FORMAT,
        "%s, line %zu: column '%.60s': a channel's name has at most 63 bytes and none of "
        "= / ;",
        row->file, row->line, row->field[field]);
  if (*name && !(list->channel[list->channels] = strdup(name + 1))) return out_of_memory(diag);
  t->image[list->channels++] = field;
  return VN_OK;
}

static enum vn_status head_take(struct taker *t, const struct vnt_csv_row *row,
                                struct vn_diag *diag) {
  for (size_t f = 0; f < row->fields; f++) {
    const char *name = row->field[f];
    enum vn_status status = VN_OK;
    for (size_t k = 0; k < f; k++)
      if (strcasecmp(row->field[k], name) == 0)
        return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: column '%.60s' is there twice", row->file,
                       row->line, name);
    if (strcmp(name, "label") == 0)
      t->label = f;
    else if (strcmp(name, "split") == 0)
      t->split = f, t->list->split = true;
    else if (strcmp(name, "image") == 0 || (strncmp(name, "image_", 6) == 0 && name[6]))
      status = channel_take(t, row, f, diag);
    else
      return vn_fail(diag, VN_E_FORMAT,
                     "%s, line %zu: column '%.60s' is none of image, image_NAME, label and split, "
                     "which the first line has to name, separated by commas",
                     row->file, row->line, name);
    if (status) return status;
  }
  if (!t->list->channels || t->label == SIZE_MAX)
    return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: there is no column '%s'", row->file, row->line,
                   t->list->channels ? "label" : "image");
  return VN_OK;
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

/* The files of the column image: one for each channel, between semicolons, unless there is one file
 * of the whole name. How many there are, of which at most VNT_CHANNELS_MOST are given. */
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

/* Where channels have no columns of their own, the first case says how many there are. */
static enum vn_status files_find(const struct taker *t, const struct vnt_csv_row *row,
                                 char *file[VNT_CHANNELS_MOST], struct vn_diag *diag) {
  struct vnt_list *list = t->list;
  const bool columns = list->channel[0];
  const size_t count = columns ? list->channels : files_cut(t, row->field[t->image[0]], file);
  if (count > VNT_CHANNELS_MOST)
    return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: more than %d channels", row->file, row->line,
                   VNT_CHANNELS_MOST);
  if (!list->count) list->channels = count;
  if (count != list->channels)
    return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: files of the image: %zu, and %zu before",
                   row->file, row->line, count, list->channels);
  for (size_t c = 0; c < count; c++) {
    if (columns) file[c] = row->field[t->image[c]];
    if (!*file[c])
      return vn_fail(diag, VN_E_FORMAT, "%s, line %zu: no image%s%.60s", row->file, row->line,
                     columns ? " of the channel " : "", columns ? list->channel[c] : "");
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
  enum vn_status status = files_find(t, row, file, diag);
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
  item->image = calloc(list->channels, sizeof *item->image);
  if (!item->image) return out_of_memory(diag);
  for (size_t c = 0; c < list->channels; c++)
    if (!(item->image[c] = path_make(t, file[c]))) return out_of_memory(diag);
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
  *list = (struct vnt_list){0};
  return vnt_csv_read(path, &csv, diag);
}

void vnt_list_close(struct vnt_list *list) {
  for (size_t i = 0; i < list->count; i++) {
    for (size_t c = 0; list->row[i].image && c < list->channels; c++) free(list->row[i].image[c]);
    free(list->row[i].image);
    free(list->row[i].label);
  }
  for (size_t c = 0; c < list->channels; c++) free(list->channel[c]);
  free(list->row);
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
  if (!list->channels || !list->channel[0]) return NULL;
  FILE *out = vn_printed_open(&text);
  for (size_t c = 0; out && c < list->channels; c++)
    fprintf(out, "%s%s", c ? "; " : "", list->channel[c]);
  return vn_printed_close(out, &text) ? text.text : NULL;
}

static void channels_swap(struct vnt_list *list, size_t a, size_t b) {
  char *name = list->channel[a];
  list->channel[a] = list->channel[b];
  list->channel[b] = name;
  for (size_t i = 0; i < list->count; i++) {
    char *path = list->row[i].image[a];
    list->row[i].image[a] = list->row[i].image[b];
    list->row[i].image[b] = path;
  }
}

enum vn_status vnt_list_order(struct vnt_list *list, const char *path, const char *channels,
                              struct vn_diag *diag) {
  if (!channels || !list->channels || !list->channel[0]) return VN_OK;
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
