/* See index.h. Open addressing, linear probing, never more than half full. */
#include "index.h"

#include "os.h"
#include "types.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>
#include <string.h>

enum { FIRST_SLOTS = 64 };

struct vnc_index_slot {
  uint32_t hash, id; /* id VN_NONE: free */
};

/* 0 is "not drawn yet". Without randomness the table is as right, and only easier to attack. */
static uint64_t seed_of(struct vnc_index *index) {
  while (!index->seed)
    if (!vn_os_random(&index->seed)) index->seed = (uintptr_t)index;
  return index->seed;
}

uint64_t vnc_index_hash(struct vnc_index *index, const void *bytes, size_t size) {
  return XXH3_64bits_withSeed(bytes, size, seed_of(index));
}

uint64_t vnc_index_mix(struct vnc_index *index, uint64_t hash, const void *bytes, size_t size) {
  return XXH3_64bits_withSeed(bytes, size, seed_of(index) ^ hash);
}

uint32_t vnc_index_next(const struct vnc_index *index, uint64_t hash, size_t *at) {
  for (; *at < index->n_slots; ++*at) {
    const struct vnc_index_slot *slot = &index->slots[(hash + *at) & (index->n_slots - 1)];
    if (slot->id == VN_NONE) break;
    if (slot->hash != (uint32_t)hash) continue;
    ++*at;
    return slot->id;
  }
  return VN_NONE;
}

static void put(struct vnc_index *index, uint32_t hash, uint32_t id) {
  size_t at = hash & (index->n_slots - 1);
  while (index->slots[at].id != VN_NONE) at = (at + 1) & (index->n_slots - 1);
  index->slots[at] = (struct vnc_index_slot){hash, id};
}

static bool grow(struct vnc_index *index) {
  struct vnc_index_slot *old = index->slots;
  const size_t n_old = index->n_slots, n = n_old ? 2 * n_old : FIRST_SLOTS;
  struct vnc_index_slot *slots = malloc(n * sizeof *slots);
  if (!slots) return false;
  memset(slots, 0xff, n * sizeof *slots); /* VN_NONE */
  index->slots = slots;
  index->n_slots = n;
  for (size_t i = 0; i < n_old; i++)
    if (old[i].id != VN_NONE) put(index, old[i].hash, old[i].id);
  free(old);
  return true;
}

bool vnc_index_add(struct vnc_index *index, uint64_t hash, uint32_t id) {
  if (2 * (index->n + 1) > index->n_slots && !grow(index)) return false;
  put(index, (uint32_t)hash, id);
  index->n++;
  return true;
}

void vnc_index_free(struct vnc_index *index) {
  free(index->slots);
  *index = (struct vnc_index){0};
}
