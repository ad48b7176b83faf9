/* Which scans are asked for: a list's lines, folders' files, words of the command line. See list.h.
 */
#include "list_private.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "input.h"
#include "names.h"
#include "os.h"
#include "vnet_scan.h"

static bool excluded(const struct run_options *o, const char *path) {
  for (size_t i = 0; i < o->excludes; i++)
    if (vn_os_matches(o->exclude[i], run_base(path)) || vn_os_matches(o->exclude[i], path))
      return true;
  return false;
}

/* A line of several columns, between tabs or semicolons, is a case of several files. A semicolon
 * may be part of a name where there is a file of it. */
static void line_add(struct run_list *list, const struct run_options *o, char *line) {
  struct run_entry *entry = NULL;
  const char *between = access(line, F_OK) == 0 ? "\t" : "\t;";
  for (char *word; (word = strsep(&line, between));) {
    size_t length = strlen(word);
    while (length > 0 && word[length - 1] == ' ') word[--length] = '\0';
    word += strspn(word, " ");
    if (*word == '\0') continue;
    if (!entry && excluded(o, word)) return;
    if (entry)
      list_word_add(entry, word);
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
    char *text = line + (number == 1 && strncmp(line, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0);
    vn_os_slashes(text);
    if (*text && *text != '#') line_add(list, o, text);
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
  struct folder_id *id = list_held(malloc(sizeof *id));
  *id = (struct folder_id){info->st_dev, info->st_ino};
  struct folder_id **found = list_held(tsearch(id, &walk->seen, by_id));
  if (*found == id) return false;
  free(id);
  return true;
}

static void walk_push(struct walk *walk, char *path, bool link) {
  const size_t q = link;
  if (walk->queue[q].count == walk->queue[q].room) {
    walk->queue[q].room = walk->queue[q].room ? 2 * walk->queue[q].room : 64;
    walk->queue[q].path =
        list_held(realloc(walk->queue[q].path, walk->queue[q].room * sizeof *walk->queue[q].path));
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
    walk_entry(walk, list_joined(folder, names[i]));
    free(names[i]);
  }
  free(names);
}

static int by_scan(const void *a, const void *b) {
  return strcmp(((const struct run_entry *)a)->scan, ((const struct run_entry *)b)->scan);
}

static void folder_walk(struct walk *walk, const char *folder) {
  const size_t first = walk->list->count;
  walk_push(walk, list_held(strdup(folder)), false);
  for (char *path; (path = walk_pop(walk)); free(path)) folder_read(walk, path);
  if (walk->list->count > first)
    qsort(walk->list->entry + first, walk->list->count - first, sizeof *walk->list->entry, by_scan);
}

/* ---- the root ---- */

/* The root holds this path, too: cut where they part. */
static void root_widen(struct run_list *list, const char *full, size_t length) {
  if (!list->root) {
    list->root = list_held(strndup(full, length));
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
      char *full = list_path_full(o->scan[i]);
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

struct run_list run_list_open(const struct run_options *o) {
  struct run_list list = {.chosen = !o->list && (o->output_dir || o->scans > 1)};
  if (o->list)
    list_read(&list, o);
  else
    arguments_read(&list, o);
  for (size_t i = 0; o->list && i < list.count; i++) root_hold(&list, &list.entry[i]);
  if (!list.count) list_nothing_left(o);
  if (o->output_dir && mkdir(o->output_dir, 0777) && errno != EEXIST)
    cli_fatal(vn_io_status(errno), "%s: %s", o->output_dir, strerror(errno));
  return list;
}
