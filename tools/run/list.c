/* What list_gather.c and list_settle.c share: entries, and paths as they are compared. */
#include "list_private.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "os.h"

void *list_held(void *memory) {
  if (!memory) cli_fatal(VN_E_MEMORY, "out of memory for the list of scans");
  return memory;
}

char *list_joined(const char *folder, const char *name) {
  char *path;
  const char *slash = *folder && folder[strlen(folder) - 1] == '/' ? "" : "/";
  if (asprintf(&path, "%s%s%s", folder, slash, name) < 0) path = NULL;
  return list_held(path);
}

/* The path from /, without ".", ".." and slashes that say nothing; no link is looked at. */
char *list_path_full(const char *path) {
  char *here = vn_os_is_full(path) ? NULL : list_held(getcwd(NULL, 0)),
       *from = list_joined(here ? here : "", path);
  char *full = list_held(malloc(strlen(from) + 2)), *end = full;
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

void list_word_add(struct run_entry *entry, const char *word) {
  entry->word = list_held(realloc(entry->word, (entry->words + 1) * sizeof *entry->word));
  entry->word[entry->words++] = list_held(strdup(word));
}

struct run_entry *list_add(struct run_list *list, const char *word) {
  const char *scan = run_word_file(word);
  if (list->count == list->room) {
    list->room = list->room ? 2 * list->room : 64;
    list->entry = list_held(realloc(list->entry, list->room * sizeof *list->entry));
  }
  struct run_entry *entry = &list->entry[list->count++];
  *entry = (struct run_entry){.scan = list_held(strdup(scan)), .full = list_path_full(scan)};
  list_word_add(entry, word);
  return entry;
}

void list_entry_close(struct run_entry *entry) {
  for (size_t i = 0; i < entry->words; i++) free(entry->word[i]);
  free(entry->word);
  free(entry->scan);
  free(entry->name);
  free(entry->called);
  free(entry->full);
  *entry = (struct run_entry){0};
}

/* Entries without a path go; the order stays. */
void list_pack(struct run_list *list) {
  size_t kept = 0;
  for (size_t i = 0; i < list->count; i++)
    if (list->entry[i].scan) list->entry[kept++] = list->entry[i];
  list->count = kept;
}

_Noreturn void list_nothing_left(const struct run_options *o) {
  struct stat info;
  if (o->list) cli_fatal(VN_E_ARGUMENT, "%s: there is no scan in it", o->list);
  if (o->scans > 1 || stat(o->scan[0], &info) || !S_ISDIR(info.st_mode))
    cli_fatal(VN_E_ARGUMENT, "no scan is left: --list takes what is passed over otherwise");
  cli_fatal(VN_E_ARGUMENT, "%s: there is no scan in it%s", o->scan[0],
            o->recursive ? "" : "; --recursive looks into its folders, too");
}

void run_list_close(struct run_list *list) {
  for (size_t i = 0; i < list->count; i++) list_entry_close(&list->entry[i]);
  free(list->entry);
  free(list->root);
  *list = (struct run_list){0};
}
