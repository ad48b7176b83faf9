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

#include "words.h"
#include "options.h"

struct run_entry {
  char *scan;   /* the path of its first file, as given */
  char **word;  /* [words], as given: the case's files, or NAME=FILE (words.h) */
  size_t words; /* 1, unless the network has several channels */
  char *name;   /* of its results, without their endings */
  char *full;   /* the scan's path from /; of several files, what their names have in common */
  char *called; /* the same of the path as given, or NULL: the scan's */
};

struct run_list {
  struct run_entry *entry;
  size_t count, room;
  size_t words; /* that are files, of the command line's */
  char *root;   /* from /, without a slash at its end */
  bool chosen;  /* by folder or pattern: what is no scan by its name or header is passed over */
  bool folders; /* there was one among them */
  bool single;  /* one case, whose results are named one by one */
};

/* The paths of all scans that are asked for; makes the folder of their results. Reads no scan. Ends
 * the program when there are none, or a list or folder cannot be used. */
struct run_list run_list_open(const struct run_options *options);

/* Makes cases of them, passes over label maps that nobody has named one by one, by their names and
 * their headers, and names the results of the rest. For a network of several channels one case is
 *   - a line of several columns of a list;
 *   - all words of the command line, as many as channels, or NAME=FILE each;
 *   - files whose names tell their channels (words.h) and are the same otherwise; its results
 *     are called after what is the same, or after its first file where that is another case's
 *     name. case_0000.nii.gz alone stands for all of its case;
 *   - a file of several volumes. */
void run_list_settle(struct run_list *list, const struct run_options *options,
                     const struct run_channels *channels);

void run_list_close(struct run_list *list);

#endif
