/* The threads that an exec or a trainer computes with, and the one place where work is handed out.
 * Private to the runtime and to programs that link it statically.
 *
 * The calling thread works, too. Jobs are pulled one by one, so that a run ends when its jobs are
 * done: a worker that has not woken up yet, on a machine with other work, is not waited for.
 * Workers wait awake only for the moment that a next step takes to come, then sleep. Which thread
 * takes which job is chance: results must not depend on it, and nothing here depends on the number
 * of threads.
 *
 * All threads compute in float_mode.h's mode while they work. In a forked child, which has none of
 * its parent's threads, the first run starts new ones. */
#ifndef VNET_POOL_H
#define VNET_POOL_H

#include "watch.h"

struct vn_pool;

enum { VN_POOL_THREADS_MOST = 64, VN_POOL_THREADS_PER_CORE = 8 };

/* `threads`, the caller's among them; 0: one for each core, or as many as can be started. Sets
 * *pool, to be closed by the same process or a child. VN_E_ARGUMENT: more than 64 and than 8 for
 * each core; VN_E_MEMORY: a thread cannot be started. */
enum vn_status vn_pool_open(size_t threads, struct vn_pool **pool, struct vn_diag *diag);
void vn_pool_close(struct vn_pool **pool); /* accepts NULL */

/* 1 for NULL. */
size_t vn_pool_threads(const struct vn_pool *pool);

/* `slot` is below the number of threads, and no two jobs run in one slot at once: what a slot owns
 * needs no lock. */
typedef void vn_pool_fn(void *context, size_t job, size_t slot);

/* fn for every job in [0, jobs); returns when all are done. Not from two threads at once on one
 * pool, and not from within a job. `pool` NULL: on the calling thread alone. */
void vn_pool_run(struct vn_pool *pool, size_t jobs, vn_pool_fn *fn, void *context);

/* The same for a call that someone watches (`watch` may be NULL), whose progress goes from 0 to 1
 * of the work in hand. False: it was stopped, and not every job was done. */
bool vn_pool_run_watched(struct vn_pool *pool, size_t jobs, vn_pool_fn *fn, void *context,
                         struct vn_watch *watch);

/* A kernel library that brings a pool of its own keeps it here; `close` is called with ours.
 * Returns what is kept, NULL at first and in a forked child. */
void *vn_pool_guest(struct vn_pool *pool);
void vn_pool_guest_keep(struct vn_pool *pool, void *guest, void (*close)(void *guest));

#endif
