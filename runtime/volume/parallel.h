/* Jobs on an exec's threads, or one after another where there is no exec (tests). Private. */
#ifndef VNET_PARALLEL_H
#define VNET_PARALLEL_H

#include "vnet.h"

static inline void vn_parallel(struct vn_exec *exec, size_t jobs,
                               void (*fn)(void *context, size_t job), void *context) {
  if (exec)
    vn_exec_parallel(exec, jobs, fn, context);
  else
    for (size_t job = 0; job < jobs; job++) fn(context, job);
}

#endif
