/* One scan through the network, from its file to all its results. Used by vnet-run for one scan and
 * by many.c for a list; run_case never ends the program, so that one bad scan does not end a
 * list. */
#ifndef VNET_RUN_CASE_H
#define VNET_RUN_CASE_H

#include "cli.h"
#include "options.h"
#include "sandbox.h"
#include "vnet_scan.h"

/* What all scans share. */
struct run_session {
  const struct run_options *options;
  const struct vn_plan *plan;
  struct vn_segmenter *segmenter;
  struct vn_segmenter_info info;
  struct vn_label_info *labels; /* [info.labels] */
  struct vn_cancel *cancel;     /* pressed by Ctrl-C, for all that the program does */
  bool tell;                    /* what came out, on standard output */
  vn_progress_fn *progress;
  vn_progress_fn *reading; /* the same while a scan is read; NULL where scans are read ahead */
  const char *sandbox;     /* what is in force */
};

/* Files of one scan; the strings are the case's own. NULL: not wanted. */
struct run_files {
  char *scan, *labels, *scores, *report, *csv, *picture;
};
void run_files_free(struct run_files *files);

/* Adds the scan, and all that will be written for it. Ends the program without memory. */
void run_files_add(struct cli_files *all, const struct run_session *session,
                   const struct run_files *files);

/* A scan on its way: read ahead by many.c while another one computes. */
struct run_input {
  struct vn_scan *file;
  struct vn_image image;
  uint64_t
      memory_bytes; /* all that the run takes: segmenter, voxels, scores on their way, labels */
  uint64_t read_ns;
  bool warned; /* the result may be of no use, and the user was told */
};

/* Lets it be read from within the sandbox: its file, and the other half of a pair. */
void run_allow(struct sandbox *box, const char *scan);

/* Reads a scan after everything that can refuse it: header, metadata, memory. To be closed in any
 * case. */
enum vn_status run_read(const struct run_session *session, const char *path,
                        struct run_input *input, struct vn_diag *diag);
void run_input_close(struct run_input *input);

/* Segments and writes every file, the labels last: where they are, all is. */
enum vn_status run_case(const struct run_session *session, const struct run_files *files,
                        struct run_input *input, struct vn_diag *diag);

#endif
