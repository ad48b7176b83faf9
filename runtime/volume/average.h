/* Do two models go together, so that their probabilities may be averaged? Called by segment.c. */
#ifndef VNET_AVERAGE_H
#define VNET_AVERAGE_H

#include "segmenter.h"

/* Of the same channels in their order, the same labels, and scores of one kind; grids, windows and
 * rules for intensities may differ. Names count where both models have them, and so do sides.
 * VN_E_ARGUMENT, and what differs in `other`. */
enum vn_status vn_average_check(const struct vn_segmenter *first, const struct vn_segmenter *other,
                                struct vn_diag *diag);

#endif
