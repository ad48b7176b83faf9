/* Packed weights of a plan, a set for each instruction set; see packed.h. */
#include "packed.h"

#include "os.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct block {
  void *memory; /* NULL: not packed yet */
  size_t map_bytes;
};

struct set { /* of one instruction set */
  const struct vn_simd *simd;
  struct block *blocks; /* one for each step */
  struct set *next;
};

struct vn_packed {
  pthread_mutex_t lock;
  pthread_cond_t free;
  bool taken; /* an opening is packing */
  size_t steps;
  uint32_t *users;   /* [weights]: how many references to each the steps have */
  const char **gone; /* [weights]: whose packing took it out of the plan; NULL: it is there */
  struct set *sets;
};

static void count_use(struct vn_packed *p, uint32_t weight) {
  if (weight != VN_NONE) p->users[weight]++;
}

enum vn_status vn_packed_open(const struct vn_plan *plan, struct vn_packed **packed,
                              struct vn_diag *diag) {
  size_t weights = plan->header->weights.count;
  struct vn_packed *p = *packed = calloc(1, sizeof *p);
  if (!p) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->free, NULL);
  p->steps = plan->header->steps.count;
  p->users = calloc(weights + 1, sizeof *p->users);
  p->gone = calloc(weights + 1, sizeof *p->gone);
  if (!p->users || !p->gone) return vn_fail(diag, VN_E_MEMORY, "out of memory");
  for (size_t i = 0; i < p->steps; i++) {
    const struct plan_step *s = &plan->steps[i];
    count_use(p, s->weight);
    count_use(p, s->bias);
    for (int k = 0; k < 2; k++) count_use(p, s->slope[k]);
  }
  return VN_OK;
}

void vn_packed_close(struct vn_packed **packed) {
  struct vn_packed *p = *packed;
  if (!p) return;
  for (struct set *set = p->sets, *next; set; set = next) {
    next = set->next;
    for (size_t i = 0; i < p->steps; i++)
      vn_os_pages_free(set->blocks[i].memory, set->blocks[i].map_bytes);
    free(set->blocks);
    free(set);
  }
  pthread_cond_destroy(&p->free);
  pthread_mutex_destroy(&p->lock);
  free(p->users);
  free(p->gone);
  free(p);
  *packed = NULL;
}

/* ---- taking turns ---- */

static bool turn_take(struct vn_packed *p, const struct vn_watch *watch) {
  bool stopped = false;
  pthread_mutex_lock(&p->lock);
  while (p->taken && !(stopped = vn_watch_stopped(watch))) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 10000000; /* then to look whether it is cancelled */
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&p->free, &p->lock, &until);
  }
  if (!stopped) p->taken = true;
  pthread_mutex_unlock(&p->lock);
  return !stopped;
}

static void turn_give(struct vn_packed *p) {
  pthread_mutex_lock(&p->lock);
  p->taken = false;
  pthread_cond_signal(&p->free);
  pthread_mutex_unlock(&p->lock);
}

/* ---- packing ---- */

static struct set *set_of(struct vn_packed *p, const struct vn_simd *simd) {
  for (struct set *set = p->sets; set; set = set->next)
    if (set->simd == simd) return set;
  struct set *set = calloc(1, sizeof *set);
  if (!set) return NULL;
  set->simd = simd;
  set->blocks = calloc(p->steps + 1, sizeof *set->blocks);
  if (!set->blocks) {
    free(set);
    return NULL;
  }
  set->next = p->sets;
  return p->sets = set;
}

/* A weight that nothing else reads leaves the plan: whole pages of it become nobody's. */
static void weight_give_up(const struct vn_plan *plan, uint32_t weight, const char *isa) {
  struct vn_packed *p = plan->packed;
  if (!plan->own || p->users[weight] != 1) return;
  const struct plan_weight *w = &plan->weights[weight];
  vn_os_pages_drop((char *)plan->own + w->offset, w->bytes);
  p->gone[weight] = isa;
}

static enum vn_status step_pack(const struct vn_plan *plan, struct set *set, size_t index,
                                struct vn_prepared *prepared, struct vn_pool *pool,
                                struct vn_watch *watch, struct vn_diag *diag) {
  const struct plan_step *s = &plan->steps[index];
  struct block block;
  block.memory = vn_os_pages(prepared->packed_bytes, &block.map_bytes);
  if (!block.memory)
    return vn_fail(diag, VN_E_MEMORY, "no memory for %zu bytes of weights", prepared->packed_bytes);
  const float *weight = (const float *)(plan->bytes + plan->weights[s->weight].offset);
  if (!prepared->pack(prepared->state, pool, weight, block.memory, watch)) {
    vn_os_pages_free(block.memory, block.map_bytes);
    return vn_fail(diag, VN_E_CANCELLED, "cancelled");
  }
  set->blocks[index] = block;
  weight_give_up(plan, s->weight, set->simd->name);
  return VN_OK;
}

/* Of a step that has no packed weights: are the plan's there? */
static enum vn_status weight_check(const struct vn_plan *plan, size_t index, struct vn_diag *diag) {
  uint32_t weight = plan->steps[index].weight;
  const char *isa = weight == VN_NONE ? NULL : plan->packed->gone[weight];
  if (!isa) return VN_OK;
  return vn_fail(diag, VN_E_UNSUPPORTED,
                 "the plan has given its weights to an exec for %s: open its file again for "
                 "another instruction set",
                 isa);
}

static enum vn_status steps_use(const struct vn_plan *plan, struct set *set,
                                struct vn_prepared *prepared, struct vn_pool *pool,
                                struct vn_watch *watch, struct vn_diag *diag) {
  double all = 0, done = 0;
  for (size_t i = 0; i < plan->packed->steps; i++) all += (double)prepared[i].packed_bytes;
  for (size_t i = 0; i < plan->packed->steps; i++) {
    struct vn_prepared *p = &prepared[i];
    enum vn_status status = VN_OK;
    if (!p->pack || !set->blocks[i].memory) status = weight_check(plan, i, diag);
    if (watch) {
      watch->base = all > 0 ? done / all : 0;
      watch->share = all > 0 ? (double)p->packed_bytes / all : 0;
    }
    if (!status && p->pack && !set->blocks[i].memory)
      status = step_pack(plan, set, i, p, pool, watch, diag);
    if (status) return status;
    if (p->pack)
      p->use(p->state, set->blocks[i].memory);
    else if (plan->steps[i].weight != VN_NONE)
      plan->packed->users[plan->steps[i].weight]++; /* read in every run: never given up */
    done += (double)p->packed_bytes;
  }
  return VN_OK;
}

enum vn_status vn_packed_use(const struct vn_plan *plan, const struct vn_simd *simd,
                             struct vn_prepared *prepared, struct vn_pool *pool,
                             struct vn_watch *watch, struct vn_diag *diag) {
  struct vn_packed *p = plan->packed;
  if (!turn_take(p, watch)) return vn_fail(diag, VN_E_CANCELLED, "cancelled");
  struct set *set = set_of(p, simd);
  enum vn_status status = set ? steps_use(plan, set, prepared, pool, watch, diag)
                              : vn_fail(diag, VN_E_MEMORY, "out of memory");
  turn_give(p);
  return status;
}
