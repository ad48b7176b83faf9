/* What is a case, what is passed over, and what results are called. See list.h. */
#include "list_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "comm.h"
#include "names.h"
#include "os.h"
#include "printed.h"
#include "vnet_scan.h"

/* ---- one of each ---- */

/* By stem, so that those of one stem are neighbours; then by path, then as they are given. */
static int by_stem(const void *a, const void *b) {
  const struct run_entry *x = *(struct run_entry *const *)a, *y = *(struct run_entry *const *)b;
  const size_t one = run_stem(x->full), other = run_stem(y->full);
  int order = strncmp(x->full, y->full, one < other ? one : other);
  if (!order) order = (one > other) - (one < other);
  if (!order) order = strcmp(x->full, y->full);
  return order ? order : (x > y) - (x < y);
}

static struct run_entry **sorted(const struct run_list *list) {
  struct run_entry **order = list_held(calloc(list->count + 1, sizeof *order));
  for (size_t i = 0; i < list->count; i++) order[i] = &list->entry[i];
  qsort(order, list->count, sizeof *order, by_stem);
  return order;
}

/* A scan that is given twice is one scan. */
static void twins_drop(struct run_list *list, const struct run_options *o) {
  struct run_entry **order = sorted(list);
  for (size_t i = list->count; i-- > 1;) {
    if (strcmp(order[i - 1]->full, order[i]->full)) continue;
    if (!o->quiet && comm_rank() == 0)
      cli_note("%s: is given twice, and taken once", order[i]->scan);
    list_entry_close(order[i]);
  }
  free(order);
  list_pack(list);
}

/* ---- names ---- */

/* Are there results of this scan under this name? Their rows say whose they are. */
static bool results_are_of(const char *name, const char *scan) {
  char *path, *line = NULL;
  size_t lines = 0, room = 0;
  bool same = false;
  struct vn_printed want;
  if (asprintf(&path, "%s.seg.csv", name) < 0) path = NULL;
  list_held(path);
  FILE *file = fopen(path, "r");
  if (!file && errno == ENOMEM) list_held(NULL);
  FILE *text = list_held(vn_printed_open(&want));
  cli_csv_text(text, scan);
  fputc(',', text);
  if (!vn_printed_close(text, &want)) list_held(NULL);
  for (; file && lines < 2 && getline(&line, &room, file) >= 0; lines++)
    same = lines == 1 && strncmp(line, want.text, want.bytes) == 0;
  if (file && lines < 2 && !feof(file))
    cli_fatal(vn_io_status(errno), "%s: %s", path, strerror(errno));
  if (file) fclose(file);
  free(line);
  free(want.text);
  free(path);
  return same;
}

/* The path of the results below DIR, whose tail begins in `full`. */
static char *name_make(const struct run_options *o, const char *tail, bool ending) {
  char *name = o->output_dir ? list_joined(o->output_dir, tail) : list_held(strdup(tail));
  if (!ending) name[run_stem(name)] = '\0';
  return name;
}

/* The name that an earlier run gave this scan's results, from whatever root; or NULL. */
static char *name_kept(const struct run_options *o, const struct run_entry *entry) {
  for (const char *tail = strrchr(entry->full, '/'); tail;) {
    for (int ending = 0; ending < 2; ending++) {
      char *name = name_make(o, tail + 1, ending);
      if (results_are_of(name, entry->scan)) return name;
      free(name);
    }
    if (tail == entry->full) break;
    for (tail--; *tail != '/';) tail--;
  }
  return NULL;
}

static bool one_stem(const struct run_entry *a, const struct run_entry *b) {
  const size_t stem = run_stem(a->full);
  return run_stem(b->full) == stem && strncmp(a->full, b->full, stem) == 0;
}

/* a.nii.nii.gz: without its ending it would be called as a.nii with its own is. */
static bool ends_twice(const char *path) {
  char *stem = list_held(strndup(path, run_stem(path)));
  const bool twice = run_stem(stem) < strlen(stem);
  free(stem);
  return twice;
}

static void names_make(struct run_list *list, const struct run_options *o) {
  struct run_entry **order = sorted(list);
  for (size_t i = 0; i < list->count; i++) {
    struct run_entry *e = order[i];
    const bool shared = (i > 0 && one_stem(order[i - 1], e)) ||
                        (i + 1 < list->count && one_stem(order[i + 1], e)) || ends_twice(e->full);
    const char *tail = o->output_dir ? e->full + strlen(list->root)
                       : e->called   ? e->called
                                     : e->scan;
    if (o->output_dir && *tail == '/') tail++; /* the root itself has none */
    if (o->output_dir && o->resume) e->name = name_kept(o, e);
    if (!e->name) e->name = name_make(o, tail, shared);
  }
  free(order);
}

/* ---- label maps ---- */

/* What is passed over without being asked to is said once, with an example. */
struct passed {
  char *first;
  size_t count;
};

static void passed_add(struct passed *passed, const char *path) {
  if (!passed->count++) passed->first = list_held(strdup(path));
}

static void passed_say(struct passed *passed, const struct run_options *o, const char *why) {
  if (passed->count && !o->quiet && comm_rank() == 0)
    cli_note("passed over as label maps, by %s: %zu, such as %s; --list takes whatever it names",
             why, passed->count, passed->first);
  free(passed->first);
}

static bool says_labels(const char *path) {
  struct vn_scan *file;
  struct vn_diag diag;
  if (vn_scan_open_series(path, &file, &diag)) return false; /* whoever runs it says why */
  const bool labels = vn_scan_is_labels(file);
  vn_scan_close(&file);
  return labels;
}

static void labels_drop(struct run_list *list, const struct run_options *o,
                        bool (*is_labels)(const char *path), const char *why) {
  struct passed passed = {0};
  for (size_t i = 0; i < list->count; i++) {
    cli_check_interrupt();
    if (!is_labels(list->entry[i].scan)) continue;
    passed_add(&passed, list->entry[i].scan);
    list_entry_close(&list->entry[i]);
  }
  list_pack(list);
  passed_say(&passed, o, why);
  if (!list->count) list_nothing_left(o);
}

/* ---- cases of several files ---- */

static bool is_series(const char *path) {
  struct vn_scan *file;
  struct vn_diag diag;
  if (vn_scan_open_series(path, &file, &diag)) return false;
  const bool series = vn_scan_volumes(file) > 1;
  vn_scan_close(&file);
  return series;
}

/* Are all that was given one case? A file for each channel, or NAME=FILE. Files whose names tell
 * that they belong to several cases are none, nor are series. */
static bool one_case(const struct run_list *list, const struct run_channels *channels) {
  bool named = false, twice = false;
  if (channels->count == 1 || list->folders || !list->words) return false;
  bool *seen = list_held(calloc(channels->count, sizeof *seen));
  for (size_t i = 0; i < list->count; i++) {
    const struct run_entry *e = &list->entry[i];
    size_t prefix;
    const size_t c = run_channel_of(channels, e->scan, &prefix);
    named = named || strcmp(e->word[0], e->scan) != 0;
    if (c == SIZE_MAX) continue;
    twice = twice || seen[c];
    seen[c] = true;
  }
  free(seen);
  return named || (list->count == channels->count && !twice && !is_series(list->entry[0].scan));
}

static void merge(struct run_entry *into, struct run_entry *from) {
  for (size_t i = 0; i < from->words; i++) list_word_add(into, from->word[i]);
  list_entry_close(from);
}

/* One file of a case, by its name. */
struct member {
  struct run_entry *entry;
  size_t channel, prefix; /* prefix: of entry->full */
};

static int by_case(const void *a, const void *b) {
  const struct member *x = a, *y = b;
  const size_t least = x->prefix < y->prefix ? x->prefix : y->prefix;
  int order = strncmp(x->entry->full, y->entry->full, least);
  if (!order) order = (x->prefix > y->prefix) - (x->prefix < y->prefix);
  if (!order) order = (x->channel > y->channel) - (x->channel < y->channel);
  return order ? order : (x->entry > y->entry) - (x->entry < y->entry);
}

static bool same_case(const struct member *a, const struct member *b) {
  return a->prefix == b->prefix && strncmp(a->entry->full, b->entry->full, a->prefix) == 0;
}

/* case_0000.nii.gz alone stands for its siblings. */
static void siblings_add(struct run_entry *entry, size_t channels) {
  const size_t stem = run_stem(entry->scan);
  if (!run_has_siblings(entry->scan)) return;
  for (size_t c = 1; c < channels; c++) {
    char *word;
    if (asprintf(&word, "%.*s%04zu%s", (int)stem - 4, entry->scan, c, entry->scan + stem) < 0)
      list_held(NULL);
    list_word_add(entry, word);
    free(word);
  }
}

/* Its results are called after what its files' names have in common. */
static void case_call(struct run_entry *entry, size_t prefix) {
  char *called;
  const size_t cut = strlen(entry->full) - prefix, scan = strlen(entry->scan) - cut;
  const char *ending = entry->full + run_stem(entry->full);
  if (prefix == 0 || entry->full[prefix - 1] == '/') return;
  if (asprintf(&called, "%.*s%s", (int)scan, entry->scan, ending) < 0) list_held(NULL);
  entry->called = called;
  if (asprintf(&called, "%.*s%s", (int)prefix, entry->full, ending) < 0) list_held(NULL);
  free(entry->full);
  entry->full = called;
}

static void case_uncall(struct run_entry *entry) {
  free(entry->called);
  free(entry->full);
  entry->called = NULL;
  entry->full = list_path_full(entry->scan);
}

/* What several files' names have in common may be another case's name: a-T1.nii and a-T2.nii beside
 * a.nii. Such cases are called after their first file. */
static void cases_part(struct run_list *list) {
  for (bool again = true; again;) {
    struct run_entry **order = sorted(list);
    again = false;
    for (size_t i = 1; i < list->count; i++) {
      if (strcmp(order[i - 1]->full, order[i]->full)) continue;
      for (size_t e = i - 1; e <= i; e++) {
        if (!order[e]->called) continue;
        case_uncall(order[e]);
        again = true;
      }
    }
    free(order);
  }
}

static size_t members_find(struct run_list *list, const struct run_channels *channels,
                           struct member *member) {
  size_t count = 0;
  for (size_t i = 0; i < list->count; i++) {
    struct run_entry *e = &list->entry[i];
    size_t prefix;
    if (e->words > 1 || strcmp(e->word[0], e->scan) != 0) continue;
    const size_t c = run_channel_of(channels, e->full, &prefix);
    if (c != SIZE_MAX && !is_series(e->scan)) member[count++] = (struct member){e, c, prefix};
  }
  return count;
}

/* Files whose names tell so become one case, which stands where its first channel's file stood. A
 * series is a case by itself, whatever it is called. */
static void cases_group(struct run_list *list, const struct run_channels *channels) {
  struct member *member = list_held(calloc(list->count + 1, sizeof *member));
  const size_t count = members_find(list, channels, member);
  qsort(member, count, sizeof *member, by_case);
  for (size_t i = 0, end; i < count; i = end) {
    struct run_entry *first = member[i].entry;
    for (end = i + 1; end < count && same_case(&member[i], &member[end]);) end++;
    if (end == i + 1) siblings_add(first, channels->count);
    for (size_t m = i + 1; m < end; m++) merge(first, member[m].entry);
    if (first->words > 1) case_call(first, member[i].prefix);
  }
  free(member);
  list_pack(list);
  cases_part(list);
}

void run_list_settle(struct run_list *list, const struct run_options *o,
                     const struct run_channels *channels) {
  if (one_case(list, channels)) {
    for (size_t i = 1; i < list->count; i++) merge(&list->entry[0], &list->entry[i]);
    list_pack(list);
    list->single = !o->output_dir;
  } else {
    if (list->chosen) labels_drop(list, o, run_is_labels, "their names");
    twins_drop(list, o);
    if (list->chosen) labels_drop(list, o, says_labels, "their headers");
    if (channels->count > 1) cases_group(list, channels);
    list->single =
        !o->output_dir && !o->list && (o->scans == 1 || (channels->count > 1 && list->count == 1));
  }
  names_make(list, o);
}
