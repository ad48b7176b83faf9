/* The queue of samples; see feed.h. Slot k % slots holds sample k; a thread takes the next sample
 * that has a free slot, so that no slot is ever waited for out of order. */
#include "feed.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "os.h"

struct slot {
  float *image;
  uint8_t *target;
  bool ready;
  enum vn_status status;
  struct vn_diag diag;
};

struct vnt_feed {
  struct vnt_feed_spec spec;
  pthread_t *thread;
  size_t n_threads, n_slots;
  struct slot *slots;
  pthread_mutex_t lock;
  pthread_cond_t made, freed;
  uint64_t next, taken; /* samples: to be made, given out */
  bool stop;
};

static size_t image_elems(const struct vnt_feed *f) {
  return f->spec.samples->voxels * f->spec.samples->channels;
}

static enum vn_status sample_make(const struct vnt_feed *f, uint64_t k, struct vn_pool *pool,
                                  float *image, uint8_t *target, struct vn_diag *diag) {
  const struct vnt_feed_spec *s = &f->spec;
  const uint64_t step = s->step + k / s->count, index = step * s->batch + s->first + k % s->count;
  return vnt_samples_make(s->samples, s->seed, index, pool, image, target, diag);
}

static void *work(void *context) {
  struct vnt_feed *f = context;
  pthread_mutex_lock(&f->lock);
  for (;;) {
    while (!f->stop && f->next >= f->taken + f->n_slots) pthread_cond_wait(&f->freed, &f->lock);
    if (f->stop) break;
    const uint64_t k = f->next++;
    struct slot *slot = &f->slots[k % f->n_slots];
    pthread_mutex_unlock(&f->lock);
    const enum vn_status status = sample_make(f, k, NULL, slot->image, slot->target, &slot->diag);
    pthread_mutex_lock(&f->lock);
    slot->status = status;
    slot->ready = true;
    pthread_cond_signal(&f->made);
  }
  pthread_mutex_unlock(&f->lock);
  return NULL;
}

static enum vn_status slots_open(struct vnt_feed *f, struct vn_diag *diag) {
  f->n_slots = f->spec.threads ? 2 * f->spec.count + f->spec.threads : 0;
  f->slots = calloc(f->n_slots + 1, sizeof *f->slots);
  f->thread = calloc(f->spec.threads + 1, sizeof *f->thread);
  if (!f->slots || !f->thread) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < f->n_slots; i++) {
    f->slots[i].image = malloc(image_elems(f) * sizeof(float));
    f->slots[i].target = malloc(f->spec.samples->voxels);
    if (!f->slots[i].image || !f->slots[i].target)
      return vn_fail(diag, VN_E_MEMORY, "out of memory for samples");
  }
  return VN_OK;
}

enum vn_status vnt_feed_open(const struct vnt_feed_spec *spec, struct vnt_feed **feed,
                             struct vn_diag *diag) {
  struct vnt_feed *f = *feed = calloc(1, sizeof *f);
  if (!f) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  f->spec = *spec;
  pthread_mutex_init(&f->lock, NULL);
  pthread_cond_init(&f->made, NULL);
  pthread_cond_init(&f->freed, NULL);
  enum vn_status status = slots_open(f, diag);
  while (!status && f->n_threads < spec->threads) {
    if (vn_os_thread_start(&f->thread[f->n_threads], 0, work, f))
      status = vn_fail(diag, VN_E_MEMORY, "cannot start a thread that makes samples");
    else
      f->n_threads++;
  }
  return status;
}

void vnt_feed_close(struct vnt_feed **feed) {
  struct vnt_feed *f = *feed;
  if (!f) return;
  pthread_mutex_lock(&f->lock);
  f->stop = true;
  pthread_cond_broadcast(&f->freed);
  pthread_mutex_unlock(&f->lock);
  for (size_t i = 0; i < f->n_threads; i++) pthread_join(f->thread[i], NULL);
  for (size_t i = 0; f->slots && i < f->n_slots; i++) {
    free(f->slots[i].image);
    free(f->slots[i].target);
  }
  free(f->slots);
  free(f->thread);
  pthread_cond_destroy(&f->made);
  pthread_cond_destroy(&f->freed);
  pthread_mutex_destroy(&f->lock);
  free(f);
  *feed = NULL;
}

static enum vn_status sample_take(struct vnt_feed *f, float *image, uint8_t *target,
                                  struct vn_diag *diag) {
  if (!f->n_slots) return sample_make(f, f->taken++, f->spec.pool, image, target, diag);
  struct slot *slot = &f->slots[f->taken % f->n_slots];
  pthread_mutex_lock(&f->lock);
  while (!slot->ready) pthread_cond_wait(&f->made, &f->lock);
  pthread_mutex_unlock(&f->lock);
  const enum vn_status status = slot->status;
  if (status) return vn_fail(diag, status, "%s", slot->diag.text);
  memcpy(image, slot->image, image_elems(f) * sizeof(float));
  memcpy(target, slot->target, f->spec.samples->voxels);
  pthread_mutex_lock(&f->lock);
  slot->ready = false;
  f->taken++;
  pthread_cond_signal(&f->freed);
  pthread_mutex_unlock(&f->lock);
  return VN_OK;
}

enum vn_status vnt_feed_take(struct vnt_feed *feed, float *image, uint8_t *target,
                             struct vn_diag *diag) {
  const size_t voxels = feed->spec.samples->voxels;
  for (size_t i = 0; i < feed->spec.count; i++) {
    enum vn_status status =
        sample_take(feed, image + i * image_elems(feed), target + i * voxels, diag);
    if (status) return status;
  }
  return VN_OK;
}
