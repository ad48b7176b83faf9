/* One scan through the network, from its file to all its results. Used by vnet-run for one scan and
 * by many.c for a list; run_case never ends the program, so that one bad scan does not end a
 * list. */
#ifndef VNET_RUN_CASE_H
#define VNET_RUN_CASE_H

#include "words.h"
#include "cli.h"
#include "models.h"
#include "options.h"
#include "vnet_scan.h"

struct run_input; /* input.h */

/* What all scans share. */
struct run_session {
  const struct run_options *options;
  const struct run_models *models;
  struct vn_segmenter *segmenter;
  struct vn_segmenter_info info;
  struct vn_label_info *labels; /* [info.labels] */
  struct run_channels channels;
  struct vn_cancel *cancel; /* pressed by Ctrl-C, for all that the program does */
  bool tell;                /* what came out, on standard output */
  vn_progress_fn *progress;
  vn_progress_fn *reading; /* the same while a scan is read; NULL where scans are read ahead */
  const char *sandbox;     /* what is in force */
};

/* Files of one case; the strings are the case's own. NULL: not wanted. */
struct run_files {
  char **scan; /* [scans]; words (words.h) until run_read has put them in order */
  size_t scans;
  char *labels, *scores, *regions, *report, *csv, *picture;
};
void run_files_free(struct run_files *files);

/* Adds the scan, and all that will be written for it. Ends the program without memory. */
void run_files_add(struct cli_files *all, const struct run_session *session,
                   const struct run_files *files);

/* The names of the tables of labels, which lie beside the map; to be freed. NULL: not wanted.
 * VN_E_MEMORY. */
enum vn_status run_tables_name(const struct run_session *session, const struct run_files *files,
                               char *path[2], struct vn_diag *diag);

/* Copies of the words of a case. Ends the program without memory. */
char **run_words_copy(char *const *word, size_t words);

/* Segments and writes every file, the labels last: where they are, all is. */
enum vn_status run_case(const struct run_session *session, const struct run_files *files,
                        struct run_input *input, struct vn_diag *diag);

#endif
