/* Files of one case as the network's channels: which file is which. A word is a file's name, or
 * NAME=FILE with a name of the model's channels (vnet.channels). Used by list_*.c and case.c.
 *
 * A file tells its channel by what its name ends in, before the ending of its format: nnU-Net's
 * number of four digits (case_0000.nii.gz, case_0001.nii.gz), or the channel's name, in letters of
 * either case, behind "_", "-" or "." or alone (case_T1ce.nii.gz, case/t1ce.nii.gz). */
#ifndef VNET_RUN_WORDS_H
#define VNET_RUN_WORDS_H

#include <stddef.h>
#include <stdint.h>

#include "vnet_status.h"

struct run_channels {
  size_t count;
  const char *const *name; /* [count]; NULL: nobody says */
};

/* The file of a word: behind "NAME=", unless there is a file of the whole word's name. */
const char *run_word_file(const char *word);

/* The channel that a file's name tells, and how much of the path is the case's (without what parts
 * them); SIZE_MAX: none. */
size_t run_channel_of(const struct run_channels *channels, const char *file, size_t *prefix);

/* Brings the words of one case into the network's order where they are NAME=FILE, and checks that
 * order against the files' names where they are not; words become files. VN_E_ARGUMENT, with a
 * sentence. */
enum vn_status run_words_order(const struct run_channels *channels, char **word, size_t count,
                               struct vn_diag *diag);

/* ": none is called after t2", ": several are called after t2", where the files' names say what is
 * wrong with them as one case; else "". */
void run_words_tell(const struct run_channels *channels, char *const *file, size_t count,
                    char *text, size_t size);

/* "4 channels (t1, t1ce, t2, flair)", for a sentence. */
void run_channels_tell(const struct run_channels *channels, char *text, size_t size);

#endif
