/* What files of scans are called, and what is called after them. vn_scan_name knows the endings. */
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

/* Is it called as the first file of nnU-Net's cases: case_0000.nii.gz? */
bool run_has_siblings(const char *path);

/* What a label map's name ends in that is written in the scan's own format: .seg.nii.gz, .seg.nrrd
 * or .seg.mgz. */
const char *run_labels_ending(const char *scan);

/* The path without its ending and with another. The caller frees it; NULL: out of memory. */
char *run_name(const char *path, const char *ending);

#endif
