/* Finds what is equal among many in constant time: a hash table of ids whose things the caller
 * keeps, so that no number of names, strings or weights in a model makes a compile quadratic. Used
 * by graph.c, the importer, the exporter and plan_write.c. */
#ifndef VNC_INDEX_H
#define VNC_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vnc_index { /* all 0: empty */
  struct vnc_index_slot *slots;
  size_t n_slots, n;
  uint64_t seed; /* random: nobody can choose names that fall on each other */
};

/* Of a thing's bytes. With vnc_index_mix a further piece of the same thing goes in. */
uint64_t vnc_index_hash(struct vnc_index *index, const void *bytes, size_t size);
uint64_t vnc_index_mix(struct vnc_index *index, uint64_t hash, const void *bytes, size_t size);

/* Each id that was added with this hash, one after another, then VN_NONE; *at comes as 0. The
 * caller looks whether the thing is the one that it wants:
 *   for (size_t at = 0; (id = vnc_index_next(index, hash, &at)) != VN_NONE;) … */
uint32_t vnc_index_next(const struct vnc_index *index, uint64_t hash, size_t *at);

/* False: out of memory. */
bool vnc_index_add(struct vnc_index *index, uint64_t hash, uint32_t id);
void vnc_index_free(struct vnc_index *index);

#endif
