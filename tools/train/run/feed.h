/* Threads that make samples ahead of the network, into a queue of a few batches. Sample i is the
 * same whoever makes it, and samples come out in order, so that the number of threads changes
 * nothing but the time. */
#ifndef VNET_TRAIN_FEED_H
#define VNET_TRAIN_FEED_H

#include "source.h"

struct vnt_feed_spec {
  const struct vnt_samples *samples; /* to outlive the feed */
  struct vn_pool *pool; /* makes the samples, when they are asked for, if threads is 0 */
  size_t threads;
  uint64_t seed, step; /* the first to be fed */
  /* Sample k of a step has the index step * batch + first + k, 0 <= k < count: a rank's share. */
  size_t batch, first, count;
};

struct vnt_feed;

/* Sets *feed, to be closed in any case. VN_E_MEMORY. */
enum vn_status vnt_feed_open(const struct vnt_feed_spec *spec, struct vnt_feed **feed,
                             struct vn_diag *diag);
/* Stops the threads, each after the sample it is at. Accepts NULL. */
void vnt_feed_close(struct vnt_feed **feed);

/* Fills image [count][d][h][w][channel] and target [count][d][h][w] with the next step's samples,
 * waiting for them where they are not ready. A sample that could not be made fails here, with its
 * sentence, when it is its turn. One thread may call this. */
enum vn_status vnt_feed_take(struct vnt_feed *feed, float *image, uint8_t *target,
                             struct vn_diag *diag);

#endif
