/* What files of scans are called, and what is called after them. All that knows the endings. */
#ifndef VNET_RUN_NAMES_H
#define VNET_RUN_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* What follows the last slash. */
const char *run_base(const char *path);

/* The length of the path without the ending of a format (.nii, .NII.GZ, .nrrd, .mgz …); all of it
 * where there is none. */
size_t run_stem(const char *path);

/* Is it called as a scan is? Of a pair, the header is. */
bool run_is_scan(const char *path);

/* Is it called as a label map that lies beside its scan is: t1.seg.nii.gz, as ours are; t1_seg,
 * t1_mask, t1-label, sub-1_dseg …? */
bool run_is_labels(const char *path);

/* The path without its ending and with another. The caller frees it; NULL: out of memory. */
char *run_name(const char *path, const char *ending);

#endif
