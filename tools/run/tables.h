/* Names and colours of labels as the tables that viewers read. Called by case.c. Errors are left in
 * the stream. */
#ifndef VNET_RUN_TABLES_H
#define VNET_RUN_TABLES_H

#include "vnet_segment.h"

#include <stdio.h>

void table_itksnap(const struct vn_label_info *labels, size_t count, FILE *out);
void table_slicer(const struct vn_label_info *labels, size_t count, FILE *out);

#endif
