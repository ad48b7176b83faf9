/* Lists that people write, as CSV: fields between commas, perhaps quoted (a quote within is
 * doubled), that end on their line. Blanks around fields, empty lines, CRLF and a byte order mark
 * are passed over. The first line is the head; every other line has as many fields. */
#ifndef VNET_TRAIN_CSV_H
#define VNET_TRAIN_CSV_H

#include "vnet_status.h"

#include <stddef.h>

enum { VNT_FIELDS_MOST = 64 };

struct vnt_csv_row {
  const char *file; /* the end of its name, for sentences */
  size_t line;      /* from 1 */
  char *field[VNT_FIELDS_MOST];
  size_t fields, columns; /* columns: the head's fields; 0: this is the head */
};

/* `what` it is ("a list of cases"), and what the head should be ("image,label"), for sentences. */
struct vnt_csv {
  const char *what, *head;
  enum vn_status (*take)(void *context, const struct vnt_csv_row *row, struct vn_diag *diag);
  void *context;
};

/* Calls take for the head and for each line, until it fails. At most 16 MiB. VN_E_IO, VN_E_FORMAT
 * (the sentence names file and line), VN_E_MEMORY. */
enum vn_status vnt_csv_read(const char *path, const struct vnt_csv *csv, struct vn_diag *diag);

/* Of a path in a sentence: its last 100 bytes, where the name is. */
const char *vnt_path_end(const char *path);

#endif
