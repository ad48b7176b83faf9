/* See list.h. */
#include "list.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "words.h"
#include "comm.h"
#include "input.h"
#include "names.h"
#include "os.h"
#include "printed.h"
#include "vnet_scan.h"

static void *held(void *memory) {
  if (!memory) cli_fatal(VN_E_MEMORY, "out of memory for the list of scans");
  return memory;
}

static char *joined(const char *folder, const char *name) {
  char *path;
  const char *slash = *folder && folder[strlen(folder) - 1] == '/' ? "" : "/";
  if (asprintf(&path, "%s%s%s", folder, slash, name) < 0) path = NULL;
  return held(path);
}

/* The path from /, without ".", ".." and slashes that say nothing; no link is looked at. */
static char *path_full(const char *path) {
  char *here = vn_os_is_full(path) ? NULL : held(getcwd(NULL, 0)),
       *from = joined(here ? here : "", path);
  char *full = held(malloc(strlen(from) + 2)), *end = full;
  for (const char *c = from; *c;) {
    const size_t length = strcspn(c, "/");
    if (length == 2 && strncmp(c, "..", 2) == 0) {
      while (end > full && *--end != '/') continue;
    } else if (length > 0 && !(length == 1 && *c == '.')) {
      *end++ = '/';
      memcpy(end, c, length);
      end += length;
    }
    c += length + (c[length] == '/');
  }
  *end = '\0';
  free(here);
  free(from);
  return full;
}

/* ---- collecting ---- */

static bool excluded(const struct run_options *o, const char *path) {
  for (size_t i = 0; i < o->excludes; i++)
    if (vn_os_matches(o->exclude[i], run_base(path)) || vn_os_matches(o->exclude[i], path))
      return true;
  return false;
}

static void word_add(struct run_entry *entry, const char *word) {
  entry->word = held(realloc(entry->word, (entry->words + 1) * sizeof *entry->word));
  entry->word[entry->words++] = held(strdup(word));
}

static struct run_entry *list_add(struct run_list *list, const char *word) {
  const char *scan = run_word_file(word);
  if (list->count == list->room) {
    list->room = list->room ? 2 * list->room : 64;
    list->entry = held(realloc(list->entry, list->room * sizeof *list->entry));
  }
  struct run_entry *entry = &list->entry[list->count++];
  *entry = (struct run_entry){.scan = held(strdup(scan)), .full = path_full(scan)};
  word_add(entry, word);
  return entry;
}

/* What is passed over without being asked to is said once, with an example. */
struct passed {
  char *first;
  size_t count;
};

static void passed_add(struct passed *passed, const char *path) {
  if (!passed->count++) passed->first = held(strdup(path));
}

static void passed_say(struct passed *passed, const struct run_options *o, const char *why) {
  if (passed->count && !o->quiet && comm_rank() == 0)
    cli_note("passed over as label maps, by %s: %zu, such as %s; --list takes whatever it names",
             why, passed->count, passed->first);
  free(passed->first);
}

/* A line of several columns, between tabs, is a case of several files. */
static void line_add(struct run_list *list, const struct run_options *o, char *line) {
  struct run_entry *entry = NULL;
  for (char *word; (word = strsep(&line, "\t"));) {
    size_t length = strlen(word);
    while (length > 0 && word[length - 1] == ' ') word[--length] = '\0';
    word += strspn(word, " ");
    if (*word == '\0') continue;
    if (!entry && excluded(o, word)) return;
    if (entry)
      word_add(entry, word);
    else
      entry = list_add(list, word);
  }
}

/* A case on each line, relative to the present folder; empty lines and lines that begin with # are
 * passed over. */
static void list_read(struct run_list *list, const struct run_options *o) {
  const char *reason;
  FILE *file = vn_input_open(o->list, &reason);
  char *line = NULL;
  size_t room = 0, number = 0;
  if (!file) cli_fatal(vn_io_status(errno), "%s: %s", o->list, reason);
  for (ssize_t length; (length = getline(&line, &room, file)) >= 0;) {
    number++;
    if (strlen(line) != (size_t)length)
      cli_fatal(VN_E_FORMAT, "%s: line %zu holds a zero byte: not a list of files", o->list,
                number);
    while (length > 0 && strchr("\r\n \t", line[length - 1])) line[--length] = '\0';
    vn_os_slashes(line);
    if (length > 0 && line[0] != '#') line_add(list, o, line);
  }
  if (!feof(file)) cli_fatal(vn_io_status(errno), "%s: %s", o->list, strerror(errno));
  free(line);
  fclose(file);
}

/* ---- folders ---- */

struct folder_id {
  dev_t device;
  ino_t inode;
};

/* Folders to be read: those that are links wait until no other is left, so that a folder has the
 * same name whatever links lead to it. Each is read once: links that go in circles end. */
struct walk {
  struct run_list *list;
  const struct run_options *options;
  struct {
    char **path;
    size_t next, count, room;
  } queue[2]; /* folders, links to folders */
  void *seen; /* a tree of folder_id */
};

static int by_id(const void *a, const void *b) {
  const struct folder_id *x = a, *y = b;
  if (x->device != y->device) return x->device < y->device ? -1 : 1;
  return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static bool seen_before(struct walk *walk, const struct stat *info) {
  struct folder_id *id = held(malloc(sizeof *id));
  *id = (struct folder_id){info->st_dev, info->st_ino};
  struct folder_id **found = held(tsearch(id, &walk->seen, by_id));
  if (*found == id) return false;
  free(id);
  return true;
}

static void walk_push(struct walk *walk, char *path, bool link) {
  const size_t q = link;
  if (walk->queue[q].count == walk->queue[q].room) {
    walk->queue[q].room = walk->queue[q].room ? 2 * walk->queue[q].room : 64;
    walk->queue[q].path =
        held(realloc(walk->queue[q].path, walk->queue[q].room * sizeof *walk->queue[q].path));
  }
  walk->queue[q].path[walk->queue[q].count++] = path;
}

static char *walk_pop(struct walk *walk) {
  for (size_t q = 0; q < 2; q++)
    if (walk->queue[q].next < walk->queue[q].count)
      return walk->queue[q].path[walk->queue[q].next++];
  return NULL;
}

static bool is_shown(const char *name) {
  return name[0] != '.';
}

/* Owns `path`. */
static void walk_entry(struct walk *walk, char *path) {
  struct stat info, own;
  const bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
  if (folder && walk->options->recursive && !excluded(walk->options, path)) {
    walk_push(walk, path, lstat(path, &own) == 0 && S_ISLNK(own.st_mode));
    return;
  }
  if (!folder && run_is_scan(path) && !excluded(walk->options, path)) list_add(walk->list, path);
  free(path);
}

static void folder_read(struct walk *walk, const char *folder) {
  char **names;
  struct stat info;
  ptrdiff_t count = -1;
  cli_check_interrupt();
  if (stat(folder, &info) == 0) {
    if (seen_before(walk, &info)) return;
    count = vn_os_folder_list(folder, is_shown, &names);
  }
  if (count < 0)
    cli_fatal(vn_io_status(errno), "%s: %s%s", folder, strerror(errno),
              walk->options->recursive ? "; --exclude passes over it" : "");
  for (ptrdiff_t i = 0; i < count; i++) {
    walk_entry(walk, joined(folder, names[i]));
    free(names[i]);
  }
  free(names);
}

static int by_scan(const void *a, const void *b) {
  return strcmp(((const struct run_entry *)a)->scan, ((const struct run_entry *)b)->scan);
}

static void folder_walk(struct walk *walk, const char *folder) {
  const size_t first = walk->list->count;
  walk_push(walk, held(strdup(folder)), false);
  for (char *path; (path = walk_pop(walk)); free(path)) folder_read(walk, path);
  if (walk->list->count > first)
    qsort(walk->list->entry + first, walk->list->count - first, sizeof *walk->list->entry, by_scan);
}

/* ---- the root ---- */

/* The root holds this path, too: cut where they part. */
static void root_widen(struct run_list *list, const char *full, size_t length) {
  if (!list->root) {
    list->root = held(strndup(full, length));
    return;
  }
  size_t same = 0;
  for (size_t i = 0;; i++) {
    const char a = list->root[i], b = i < length ? full[i] : '\0';
    if ((a == '/' || !a) && (b == '/' || !b)) same = i;
    if (a != b || !a) break;
  }
  list->root[same] = '\0';
}

static void root_hold(struct run_list *list, const struct run_entry *entry) {
  root_widen(list, entry->full, (size_t)(strrchr(entry->full, '/') - entry->full));
}

/* Folders, and scans that the shell has found by a pattern. */
static void arguments_read(struct run_list *list, const struct run_options *o) {
  struct walk walk = {.list = list, .options = o};
  struct stat info;
  for (size_t i = 0; i < o->scans; i++) {
    if (stat(o->scan[i], &info) == 0 && S_ISDIR(info.st_mode)) {
      if (!o->output_dir)
        cli_fatal(VN_E_ARGUMENT, "%s: a folder needs --output-dir, where its results go",
                  o->scan[i]);
      char *full = path_full(o->scan[i]);
      root_widen(list, full, strlen(full));
      free(full);
      list->folders = true;
      folder_walk(&walk, o->scan[i]);
      continue;
    }
    if (excluded(o, o->scan[i])) continue;
    root_hold(list, list_add(list, o->scan[i]));
    list->words++;
  }
  tdestroy(walk.seen, free);
  free(walk.queue[0].path);
  free(walk.queue[1].path);
}

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

static void entry_close(struct run_entry *entry) {
  for (size_t i = 0; i < entry->words; i++) free(entry->word[i]);
  free(entry->word);
  free(entry->scan);
  free(entry->name);
  free(entry->called);
  free(entry->full);
  *entry = (struct run_entry){0};
}

/* Entries without a path go; the order stays. */
static void list_pack(struct run_list *list) {
  size_t kept = 0;
  for (size_t i = 0; i < list->count; i++)
    if (list->entry[i].scan) list->entry[kept++] = list->entry[i];
  list->count = kept;
}

static struct run_entry **sorted(const struct run_list *list) {
  struct run_entry **order = held(calloc(list->count + 1, sizeof *order));
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
    entry_close(order[i]);
  }
  free(order);
  list_pack(list);
}

static _Noreturn void nothing_left(const struct run_options *o) {
  struct stat info;
  if (o->list) cli_fatal(VN_E_ARGUMENT, "%s: there is no scan in it", o->list);
  if (o->scans > 1 || stat(o->scan[0], &info) || !S_ISDIR(info.st_mode))
    cli_fatal(VN_E_ARGUMENT, "no scan is left: --list takes what is passed over otherwise");
  cli_fatal(VN_E_ARGUMENT, "%s: there is no scan in it%s", o->scan[0],
            o->recursive ? "" : "; --recursive looks into its folders, too");
}

struct run_list run_list_open(const struct run_options *o) {
  struct run_list list = {.chosen = !o->list && (o->output_dir || o->scans > 1)};
  if (o->list)
    list_read(&list, o);
  else
    arguments_read(&list, o);
  for (size_t i = 0; o->list && i < list.count; i++) root_hold(&list, &list.entry[i]);
  if (!list.count) nothing_left(o);
  if (o->output_dir && mkdir(o->output_dir, 0777) && errno != EEXIST)
    cli_fatal(vn_io_status(errno), "%s: %s", o->output_dir, strerror(errno));
  return list;
}

/* ---- names ---- */

/* Are there results of this scan under this name? Their rows say whose they are. */
static bool results_are_of(const char *name, const char *scan) {
  char *path, *line = NULL;
  size_t lines = 0, room = 0;
  bool same = false;
  struct vn_printed want;
  if (asprintf(&path, "%s.seg.csv", name) < 0) path = NULL;
  held(path);
  FILE *file = fopen(path, "r");
  if (!file && errno == ENOMEM) held(NULL);
  FILE *text = held(vn_printed_open(&want));
  cli_csv_text(text, scan);
  fputc(',', text);
  if (!vn_printed_close(text, &want)) held(NULL);
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
  char *name = o->output_dir ? joined(o->output_dir, tail) : held(strdup(tail));
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
  char *stem = held(strndup(path, run_stem(path)));
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
    entry_close(&list->entry[i]);
  }
  list_pack(list);
  passed_say(&passed, o, why);
  if (!list->count) nothing_left(o);
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
  bool *seen = held(calloc(channels->count, sizeof *seen));
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
  for (size_t i = 0; i < from->words; i++) word_add(into, from->word[i]);
  entry_close(from);
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
      held(NULL);
    word_add(entry, word);
    free(word);
  }
}

/* Its results are called after what its files' names have in common. */
static void case_call(struct run_entry *entry, size_t prefix) {
  char *called;
  const size_t cut = strlen(entry->full) - prefix, scan = strlen(entry->scan) - cut;
  const char *ending = entry->full + run_stem(entry->full);
  if (prefix == 0 || entry->full[prefix - 1] == '/') return;
  if (asprintf(&called, "%.*s%s", (int)scan, entry->scan, ending) < 0) held(NULL);
  entry->called = called;
  if (asprintf(&called, "%.*s%s", (int)prefix, entry->full, ending) < 0) held(NULL);
  free(entry->full);
  entry->full = called;
}

static size_t members_find(struct run_list *list, const struct run_channels *channels,
                           struct member *member) {
  size_t count = 0;
  for (size_t i = 0; i < list->count; i++) {
    struct run_entry *e = &list->entry[i];
    size_t prefix;
    if (e->words > 1 || strcmp(e->word[0], e->scan) != 0) continue;
    const size_t c = run_channel_of(channels, e->full, &prefix);
    if (c != SIZE_MAX) member[count++] = (struct member){e, c, prefix};
  }
  return count;
}

/* Files whose names tell so become one case, which stands where its first channel's file stood. A
 * series is a case by itself, whatever it is called. */
static void cases_group(struct run_list *list, const struct run_channels *channels) {
  struct member *member = held(calloc(list->count + 1, sizeof *member));
  const size_t count = members_find(list, channels, member);
  qsort(member, count, sizeof *member, by_case);
  for (size_t i = 0, end; i < count; i = end) {
    struct run_entry *first = member[i].entry;
    for (end = i + 1; end < count && same_case(&member[i], &member[end]);) end++;
    if (end == i + 1 && !is_series(first->scan)) siblings_add(first, channels->count);
    for (size_t m = i + 1; m < end; m++) merge(first, member[m].entry);
    if (first->words > 1) case_call(first, member[i].prefix);
  }
  free(member);
  list_pack(list);
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

void run_list_close(struct run_list *list) {
  for (size_t i = 0; i < list->count; i++) entry_close(&list->entry[i]);
  free(list->entry);
  free(list->root);
  *list = (struct run_list){0};
}
