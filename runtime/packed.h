/* Weights as kernels want them, kept by the plan: made when the first exec with an instruction set
 * is opened, shared by all that follow. What was packed is taken out of a plan that owns its bytes,
 * so that no weight is held twice. Private: exec.c asks, plan_load.c opens and closes. */
#ifndef VNET_PACKED_H
#define VNET_PACKED_H

#include "kernels/kernels.h"
#include "plan_load.h"

enum vn_status vn_packed_open(const struct vn_plan *plan, struct vn_packed **packed,
                              struct vn_diag *diag);
void vn_packed_close(struct vn_packed **packed); /* accepts NULL */

/* Gives every step of `prepared` (one for each step of the plan, all made for `simd`) its weights.
 * Any thread; openings take turns. VN_E_MEMORY, VN_E_CANCELLED; VN_E_UNSUPPORTED: weights that are
 * wanted have been packed for another instruction set and are gone. What was packed before a
 * failure stays. */
enum vn_status vn_packed_use(const struct vn_plan *plan, const struct vn_simd *simd,
                             struct vn_prepared *prepared, struct vn_pool *pool,
                             struct vn_watch *watch, struct vn_diag *diag);

#endif
