/* What the network's outputs mean. Said by ends.c, before the passes; read by plan_write.c. */
#ifndef VNC_ENDS_H
#define VNC_ENDS_H

#include "graph.h"

/* Says it of every output, from the graph as the importer left it and the metadata `vnet.end`.
 * VN_E_FORMAT when that makes no sense. */
enum vn_status vnc_ends(struct vnc_graph *g, struct vn_diag *diag);

/* The threshold of channel c of an output that is VN_END_REGIONS. */
float vnc_end_threshold(const struct vnc_graph *g, uint64_t channels, uint64_t c);

#endif
