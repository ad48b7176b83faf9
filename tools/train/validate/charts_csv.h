/* Numbers out of a CSV file, by the names of their columns. For charts_curves.c. */
#ifndef VNET_TRAIN_CHARTS_CSV_H
#define VNET_TRAIN_CHARTS_CSV_H

#include "vnet_status.h"

#include <stddef.h>

struct vnt_table {
  double *value; /* [rows][columns], owned */
  size_t rows, columns;
};

/* Fills the table with columns names[0] to names[columns - 1], in this order. Fields may be quoted
 * as in RFC 4180, but for line breaks. Every value is a finite number, or nan. VN_E_IO; VN_E_FORMAT
 * with path and line; VN_E_MEMORY. To be closed in any case. */
enum vn_status vnt_table_read(const char *path, const char *const *names, size_t columns,
                              struct vnt_table *table, struct vn_diag *diag);
void vnt_table_close(struct vnt_table *table);

#endif
