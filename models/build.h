/* From a specification (compiler/family.h) to an untrained graph. Used by vnet-model, the trainer
 * and tests. */
#ifndef VNC_MODELS_BUILD_H
#define VNC_MODELS_BUILD_H

#include "family.h"
#include "graph.h"

/* Builds the network that `spec` describes on 1 x in_channels x patch (d h w, multiples of
 * 2^(stages - 1)) into *g, which this function initialises and the caller frees, also after a
 * failure. Layers are named left1.conv1, left1.sum, down1, right4.up, right4.concat, head, out,
 * softmax; what follows a convolution left1.conv1.norm, left1.conv1.act; constants left1.conv1.w,
 * .b, .a. The graph is as an importer leaves it: one node for each operation, BatchNorm as AFFINE.
 *
 * The weights are the same on every platform for the same seed: uniform, zero mean, with the
 * variance (after He et al., ICCV 2015) that keeps every convolution's output near unit variance
 * when the input has it; biases, slopes and BatchNorm's scale and shift vary a little around 0,
 * 0.25, 1 and 0, so that no mix-up of theirs goes unseen. */
enum vn_status vnc_model_build(const struct vnc_spec *spec, const uint64_t patch[3], uint64_t seed,
                               struct vnc_graph *g, struct vn_diag *diag);

#endif
