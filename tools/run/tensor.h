/* Tensor mode of vnet-run: arrays in, the network's raw output out, no scan logic. */
#ifndef VNET_RUN_TENSOR_H
#define VNET_RUN_TENSOR_H

#include "models.h"
#include "options.h"

/* Ends the program on failure. */
void tensors_run(const struct run_options *options, const struct run_models *models,
                 struct vn_cancel *cancel);

#endif
