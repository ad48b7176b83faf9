/* Between list.c, list_gather.c and list_settle.c. */
#ifndef VNET_RUN_LIST_PRIVATE_H
#define VNET_RUN_LIST_PRIVATE_H

#include "list.h"

/* `memory`, or the end of the program. */
void *list_held(void *memory);

/* To be freed. `full`: from /, without ".", ".." and slashes that say nothing; no link is looked
 * at. */
char *list_joined(const char *folder, const char *name);
char *list_path_full(const char *path);

/* A case of one file, or NAME=FILE; and one file more. */
struct run_entry *list_add(struct run_list *list, const char *word);
void list_word_add(struct run_entry *entry, const char *word);

/* An entry that is closed is gone with the next list_pack, which keeps the order. */
void list_entry_close(struct run_entry *entry);
void list_pack(struct run_list *list);

_Noreturn void list_nothing_left(const struct run_options *options);

#endif
