/* What the network's outputs mean. Said by ends.c, before the passes; read by plan_write.c. */
#ifndef VNC_ENDS_H
#define VNC_ENDS_H

#include "graph.h"

/* Says it of every output, from the graph as the importer left it and the metadata `vnet.end`.
 * VN_E_FORMAT when that makes no sense; VN_E_UNSUPPORTED: more regions than a plan holds. */
enum vn_status vnc_ends(struct vnc_graph *g, struct vn_diag *diag);

/* The thresholds of an output that is VN_END_REGIONS, one for each of its channels. */
void vnc_end_thresholds(const struct vnc_graph *g, uint64_t channels, float *thresholds);

#endif
