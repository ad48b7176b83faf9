/* Pictures of a training, as PNG: how it went, and what the network makes of its samples. Called by
 * vnet-train. The same bytes for the same input on the same machine.
 *
 * The logs are CSV with a header line; columns are found by their names and others are passed over.
 * A last line without its newline is one that is still being written, and is passed over, too. */
#ifndef VNET_TRAIN_CHARTS_H
#define VNET_TRAIN_CHARTS_H

#include "palette.h"

#include <stddef.h>
#include <stdint.h>

/* Loss, Dice and learning rate against the step: 1000 x 640 pixels, and a legend beside them.
 *
 * `log_csv` is a path, its columns step, loss, dice, rate; steps are whole and grow, except where a
 * run was resumed: a row then replaces what was logged from its step on. Every row is drawn
 * faintly, the running mean over a fortieth of them strongly.
 * `validation_csv` is a path with columns step, label, dice, hd95_mm, a row for each case and
 * label; NULL, or a file that does not exist (yet): there is none. Each row is a point, the mean of
 * a step's rows a line; the legend has the last step's mean distance over rows that have one.
 * `labels`, where there are more of them than two, gives each class from 1 on a curve of its colour
 * for training, from the log's columns dice_1, dice_2 … (which may hold nan), and one with dots for
 * validation; NULL: none.
 *
 * VN_E_IO: cannot be read or written; VN_E_FORMAT, with path and line: a column is missing, a field
 * is no finite number (hd95_mm may be nan), a row has too few or too many fields, there is no row
 * (the validation's may have none); VN_E_MEMORY. */
enum vn_status vnt_chart_curves(int fd, const char *log_csv, const char *validation_csv,
                                const struct vn_palette *labels, struct vn_diag *diag);

enum { VNT_SLICES_SIDE_MOST = 1024 }; /* voxels */

/* Three slices (across d, h and w) through the middle of each sample, outlines between labels:
 * target, prediction, and where the two agree. Of more labels than two each has its colour, and
 * target and prediction a row each. As in picture.h the larger index is left and on top, so that
 * samples in RAS appear in the radiological convention. Grey is from the 0.5th to the 99.5th
 * percentile of the sample. */
struct vnt_slices {
  const float *image;                /* [samples][d][h][w], as are … */
  const uint8_t *target, *predicted; /* … these; predicted may be NULL */
  const size_t *dim;                 /* d h w, each from 1 to VNT_SLICES_SIDE_MOST */
  size_t samples;                    /* at least one */
  const struct vn_palette *labels;   /* NULL: there are two */
};

/* VN_E_ARGUMENT, VN_E_IO, VN_E_MEMORY. */
enum vn_status vnt_chart_slices(int fd, const struct vnt_slices *slices, struct vn_diag *diag);

#endif
