/* vnet-train --plan: looks at the cases of a list and prints the command that would train on them,
 * with the reasons as comments, for a person to read and change. Part of the program: it prints and
 * ends it where a case cannot be read. */
#ifndef VNET_TRAIN_PLAN_H
#define VNET_TRAIN_PLAN_H

#include "options.h"

/* - Spacing: the median of the cases' along each axis; where slices are three times as thick as
 *   voxels are wide, the tenth percentile along that axis (as nnU-Net), so that few scans lose
 *   detail.
 * - Intensities, channel by channel: where a scan is a CT (intensity.h; filling counts, too), the
 *   window from the 0.5th to the 99.5th percentile of what is labelled, of all cases together; else
 *   zscore.
 * - Patch and width: what fits the memory limit (half of what is free), a patch of at most the
 *   median scan and of 128 voxels along each axis; the axis that shows the largest part of its
 *   length shrinks first. Width 16 where half of the median scan fits along each axis, else 8. */
void vnt_plan_print(const struct vnt_options *options);

#endif
