/* The list of cases as a file; what it looks like is in cases.h. No scan is opened here: images.h
 * makes channels of a case's files. */
#ifndef VNET_TRAIN_CASES_LIST_H
#define VNET_TRAIN_CASES_LIST_H

#include "csv.h"

#include <stdbool.h>

enum { VNT_CHANNELS_MOST = 32 };

struct vnt_list_row {
  size_t line;  /* from 1 */
  char **image; /* [files] paths, with the list's folder before relative ones; owned */
  size_t files; /* each has one channel or several */
  char *label;  /* a path, too; NULL: none, nothing is labelled */
  bool validation;
};

struct vnt_list {
  char *folder; /* the list's own, with its slash: what relative paths have before them; owned */
  struct vnt_list_row *row;
  size_t count;
  bool split;                       /* it has the column */
  size_t channels;                  /* 0: the head does not say, the files do */
  char *channel[VNT_CHANNELS_MOST]; /* [channels] names; all NULL: the head has none */
  size_t given[VNT_CHANNELS_MOST];  /* [channels] which of a case's volumes each is, as listed */
};

/* Fills *list, to be closed in any case; channels are in the order of the head. VN_E_IO,
 * VN_E_FORMAT (the sentence names the line), VN_E_MEMORY. */
enum vn_status vnt_list_read(const char *path, struct vnt_list *list, struct vn_diag *diag);
void vnt_list_close(struct vnt_list *list);

/* A path of a row as seen from the list's folder, wherever that lies. */
const char *vnt_list_name(const struct vnt_list *list, const char *path);

/* Splits the cases into `folds` parts of equal size but for one, and has part `fold` for
 * validation: a permutation of the rows that depends on their number alone. VN_E_ARGUMENT: the list
 * splits them itself, or has too few. */
enum vn_status vnt_list_fold(struct vnt_list *list, const char *path, size_t fold, size_t folds,
                             struct vn_diag *diag);

/* The channels' names as the metadata `vnet.channels` has them, "t1; t2", to be freed; NULL: they
 * have none, or memory is short. */
char *vnt_list_channels(const struct vnt_list *list);
/* Brings the channels into the order of such a text; letters of either case are the same. Nothing
 * where one of the two has no names. VN_E_ARGUMENT: other channels; the sentence names file and
 * channel. */
enum vn_status vnt_list_order(struct vnt_list *list, const char *path, const char *channels,
                              struct vn_diag *diag);

#endif
