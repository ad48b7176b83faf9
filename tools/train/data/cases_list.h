/* The list of cases as a file; what it looks like is in cases.h. Private to cases.c. */
#ifndef VNET_TRAIN_CASES_LIST_H
#define VNET_TRAIN_CASES_LIST_H

#include "vnet_status.h"

#include <stdbool.h>
#include <stddef.h>

struct vnt_list_row {
  size_t line;         /* from 1 */
  char *image, *label; /* paths, with the list's folder before relative ones; owned */
  bool validation;
};

struct vnt_list {
  struct vnt_list_row *row;
  size_t count;
};

/* Of a path in a sentence: its last 100 bytes, where the name is. */
const char *vnt_path_end(const char *path);

/* At most 16 MiB. Fills *list, to be closed in any case. VN_E_IO, VN_E_FORMAT (the sentence names
 * the line), VN_E_MEMORY. */
enum vn_status vnt_list_read(const char *path, struct vnt_list *list, struct vn_diag *diag);
void vnt_list_close(struct vnt_list *list);

#endif
