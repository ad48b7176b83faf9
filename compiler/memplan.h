/* From a graph behind its passes to a plan: where in the arena everything lies, and the file's
 * bytes. */
#ifndef VNC_MEMPLAN_H
#define VNC_MEMPLAN_H

#include "graph.h"

struct vnc_place { /* for each node */
  uint32_t buffer;
  uint64_t offset;       /* bytes from the arena's start */
  uint64_t pixel_stride; /* elements */
};
struct vnc_span { /* for each buffer */
  uint64_t offset, bytes;
  uint32_t first, last; /* node ids, inclusive */
};
struct vnc_memplan {
  struct vnc_place *places; /* n_nodes */
  struct vnc_span *buffers;
  size_t n_buffers;
  uint64_t arena_bytes, bound_bytes;
};

/* memplan.c. Owned by the caller; free with vnc_memplan_free. */
enum vn_status vnc_memplan(const struct vnc_graph *g, struct vnc_memplan *m, struct vn_diag *diag);
void vnc_memplan_free(struct vnc_memplan *m);

/* memplan_check.c: independent of how it was made. */
enum vn_status vnc_memplan_check(const struct vnc_graph *g, const struct vnc_memplan *m,
                                 struct vn_diag *diag);

/* plan_write.c: the bytes of a plan, from aligned_alloc(64, …), to be freed with free(). */
enum vn_status vnc_plan_write(const struct vnc_graph *g, const struct vnc_memplan *m,
                              const char *topology, void **plan, size_t *plan_bytes,
                              struct vn_diag *diag);

#endif
