/* Where a scan shows anything: the box that a model's `vnet.foreground` asks for, outside of which
 * no window lies. A head in the middle of a large field of view then costs what a head costs.
 *
 * Foreground is what the network would see above that level, intensities as `vnet.intensity` has
 * them. Along each axis the box goes from the first to the last plane in which at least one voxel
 * of 500 is foreground, and 3 mm further: noise and ghosts in the air are no reason to look there,
 * and the vertex above such a plane is a fraction of a millimetre. Of several channels, the
 * box holds that of each. A scan that has no such plane is looked at whole. */
#ifndef VNET_FOREGROUND_H
#define VNET_FOREGROUND_H

#include "window.h"

/* `text` is the metadata's; NULL (absent): no level, -INFINITY. VN_E_FORMAT. */
enum vn_status vn_foreground_parse(const char *text, float *level, struct vn_diag *diag);

/* Sets job->box by its channels, whose intensities are fitted. VN_E_MEMORY, VN_E_CANCELLED. */
enum vn_status vn_foreground_find(struct vn_window_job *job, float level, struct vn_diag *diag);

/* Rough, for progress alone: nanoseconds of a thread for a voxel of a channel. */
#define VN_FOREGROUND_NS 2.0

#endif
