/* Which scans a run of many is about, and what their results are called. Used by vnet-run and
 * many.c; like them it prints, and ends the program.
 *
 * With --output-dir DIR the folders of the scans appear in DIR: a scan's results are named by its
 * path below the root, DIR/patient1/T1.seg.nii.gz. The root is the deepest folder that holds all
 * that is given: FOLDER itself, or what the listed scans have in common; so scans of one folder lie
 * flat in DIR. Scans that differ in their endings alone keep these: a.nii.seg.nii.gz. Under
 * --resume a scan that has results in DIR keeps their name, so that more scans, which may move the
 * root, change nothing. Without DIR results lie beside their scans. Paths are taken as they are
 * written, links and all; only "." and ".." are worked out. */
#ifndef VNET_RUN_LIST_H
#define VNET_RUN_LIST_H

#include "options.h"

struct run_entry {
  char *scan; /* its path, as given */
  char *name; /* of its results, without their endings */
  char *full; /* the scan's path from / */
};

struct run_list {
  struct run_entry *entry;
  size_t count, room;
  char *root;  /* from /, without a slash at its end */
  bool chosen; /* by folder or pattern: what is no scan by its header is passed over, too */
};

/* The paths of all scans that are asked for; makes the folder of their results. Reads no scan. Ends
 * the program when there are none, or a list or folder cannot be used. */
struct run_list run_list_open(const struct run_options *options);

/* Opens the headers of scans that nobody has named one by one, passes over what says that it is a
 * label map, and names the results of the rest. */
void run_list_settle(struct run_list *list, const struct run_options *options);

void run_list_close(struct run_list *list);

#endif
