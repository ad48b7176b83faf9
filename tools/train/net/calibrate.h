/* A model that comes from a file has its BatchNorms as plain scales and shifts, statistics folded
 * in. Training normalises by the batch's statistics, which would make another function of it. */
#ifndef VNET_TRAIN_CALIBRATE_H
#define VNET_TRAIN_CALIBRATE_H

#include "net.h"

/* Gives every BatchNorm the scale and shift with which, normalised by the statistics of the batch
 * in net->input, it computes what it computed without: a x + b = (a s) (x - m) / s + (b + a m). Its
 * running statistics become m and s. Layer after layer, each on what the calibrated ones before it
 * yield: a forward pass for each. */
void vnt_net_calibrate(struct vnt_net *net);

#endif
