/* What a model's author found when it was validated: `vnet.validation_dice`, the mean Dice score of
 * each label over cases that were not trained on, as "LABEL DICE LABEL DICE …". A case counts for a
 * label where its reference or the model has it; a label that is found where it is not has 0 there.
 * One that is in neither of any case is left out. The trainer writes it (run_save.c).
 *
 *   1 0.814 2 0.816 3 0.707 */
#ifndef VNET_VALIDATION_H
#define VNET_VALIDATION_H

#include "vnet_status.h"

#include <stddef.h>

/* *dice is [labels], to be freed in any case, NaN where the text has none of a label; NULL where
 * `text` is NULL. VN_E_FORMAT: anything else, a label twice, or one that is not 1 … labels - 1;
 * VN_E_MEMORY. */
enum vn_status vn_validation_parse(const char *text, size_t labels, double **dice,
                                   struct vn_diag *diag);

#endif
