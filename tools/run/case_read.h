/* The files of a case, read: from what the user named to images that can be segmented. Used by
 * case.c, by vnet-run.c for one scan, and by many.c, which reads ahead. */
#ifndef VNET_RUN_CASE_READ_H
#define VNET_RUN_CASE_READ_H

#include "case.h"
#include "sandbox.h"

/* A case on its way: read ahead by many.c while another one computes. */
struct run_input {
  struct vn_scan **file;          /* [files]; the first one's grid and geometry are the results' */
  struct vn_image *image;         /* [count]: a channel each */
  const struct vn_image **images; /* where these are */
  size_t files, count;
  /* All that the run takes: segmenter, voxels, scores on their way, labels. */
  uint64_t memory_bytes;
  uint64_t read_ns;
  bool warned; /* the result may be of no use, and the user was told */
};

/* Lets it be read from within the sandbox: its file, the other half of a pair, and what its name
 * says is beside it. */
void run_allow(struct sandbox *box, const char *scan);
/* Adds the file, and the other half of a pair. Ends the program without memory. */
void run_scan_add(struct cli_files *all, const char *scan);

/* Reads the files of a case after everything that can refuse them: order, headers, metadata,
 * memory. To be closed in any case. */
enum vn_status run_read(const struct run_session *session, struct run_files *files,
                        struct run_input *input, struct vn_diag *diag);
void run_input_close(struct run_input *input);

/* Voxels of the results, and bytes of each of their labels. */
static inline size_t run_elems(const struct run_input *input) {
  return input->image[0].dim[0] * input->image[0].dim[1] * input->image[0].dim[2];
}
static inline size_t run_label_bytes(const struct run_session *session) {
  return session->info.labels > 256 ? 2 : 1;
}

/* A failure's sentence behind the file that it is about. */
enum vn_status run_of_file(enum vn_status status, const char *path, const struct vn_diag *inner,
                           struct vn_diag *diag);

#endif
