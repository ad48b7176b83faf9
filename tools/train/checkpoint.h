/* Everything that a training run needs to go on as if it had never stopped: parameters, the
 * optimiser's state, running statistics and the step. The file is written beside its name and then
 * renamed; what is read is checked. */
#ifndef VNET_TRAIN_CHECKPOINT_H
#define VNET_TRAIN_CHECKPOINT_H

#include "net.h"
#include "optim.h"

/* Writes to an open file. VN_E_IO. */
enum vn_status vnt_checkpoint_write(int fd, const struct vnt_net *net,
                                    const struct vnt_optim *optim, uint64_t seed,
                                    struct vn_diag *diag);

/* Into a net and an optimiser of the same kind and size. VN_E_IO; VN_E_FORMAT: damaged, or of
 * another run: another network, optimiser or seed. Nothing is changed on failure. The net is to be
 * repacked. */
enum vn_status vnt_checkpoint_read(const char *path, struct vnt_net *net, struct vnt_optim *optim,
                                   uint64_t seed, struct vn_diag *diag);

#endif
