/* Data parallelism: the processes of one training, alone or as ranks under mpirun. Every rank has
 * the same weights and takes its share of each batch; gradients are added up while the backward
 * pass still runs. Sums are taken in double, in the order of the ranks: all ranks have the same
 * bits, every time, and what one process with all the samples has, but where a double's last bit
 * tips the float that it is rounded to. All that the trainer knows of MPI is in comm.c; a build
 * without MPI has only the first kind.
 *
 * Nothing here waits for ever: a rank without word for patience_s ends the program with a sentence
 * that names it (but for the start and the end, which are MPI's own). Part of the program: it
 * prints and exits. One thread, the main one, calls it. */
#ifndef VNET_TRAIN_COMM_H
#define VNET_TRAIN_COMM_H

#include "net.h"

/* First and last call; vnt_comm_open uses MPI only where mpirun (or srun) started the process. */
void vnt_comm_open(double patience_s);
void vnt_comm_close(void);
size_t vnt_comm_rank(void);
size_t vnt_comm_ranks(void);
/* The ranks of this node, itself among them. All ranks call it together. */
size_t vnt_comm_neighbours(void);
/* The node's cores over its ranks, at least 1; 0 for a process that is alone: all of them. */
size_t vnt_comm_threads(void);

/* values[count] become their sums over the ranks. The context is not used: vnt_machine's hook. */
void vnt_comm_sum(void *context, double *values, size_t count);

/* Rank 0 does work(context) while the others wait, however long it takes. */
void vnt_comm_root(void (*work)(void *context), void *context);

/* The gradients of a net, which is borrowed. `done` is what vnt_net_backward calls; `finish` is to
 * be called after it and returns when net->grad holds the sums of all grad_sum. */
struct vnt_reduce;
enum vn_status vnt_reduce_open(const struct vnt_net *net, struct vnt_reduce **reduce,
                               struct vn_diag *diag);
void vnt_reduce_done(void *reduce, size_t param);
void vnt_reduce_finish(struct vnt_reduce *reduce);
void vnt_reduce_close(struct vnt_reduce **reduce); /* accepts NULL */

#endif
