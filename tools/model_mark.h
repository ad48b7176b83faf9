/* How a plan says which model it was made from: vnetc writes the mark into the plan's metadata, and
 * plan_find.c, which compiles models on the fly, knows by it whether a plan is still the
 * model's. */
#ifndef VNET_MODEL_MARK_H
#define VNET_MODEL_MARK_H

#include "vnet_status.h"

#include <stdbool.h>

#define MODEL_MARK_KEY "vnet.compiled_from"

/* "xxh3 0123456789abcdef, vnetc 0.2.0", the checksum being that of all bytes of the file at `path`;
 * it finds mistakes and no forgers. VN_E_IO. */
enum vn_status model_mark(const char *path, char mark[64], struct vn_diag *diag);

/* Is the file at `plan` a whole plan that bears this mark? Nothing of it is parsed but where its
 * checksum is, so that it may be asked before a program gives up its rights. */
bool model_mark_borne(const char *plan, const char *mark);

#endif
