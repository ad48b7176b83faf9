/* vnet-train --render: what the network would see, as files: to be looked at, or, from label maps
 * that it does not train on, to validate on. Part of the program: it ends it where something is
 * wrong. */
#ifndef VNET_TRAIN_RENDER_H
#define VNET_TRAIN_RENDER_H

#include "options.h"

/* Samples 0 … options->render - 1 of options->labels in a new folder, options->output: 1.nii.gz …,
 * their label maps 1-label.nii.gz … and cases.csv, a list of both for --validation. Intensities are
 * from 0 to 1 in steps of 1/65535; a label map has the least of the values that the table gives to
 * a class, so that the same table reads it; without one, 1 is brain. Scans lie as their patch does,
 * RAS, its corner at 0. */
void vnt_render(const struct vnt_options *options);

#endif
