/* See validation.h. */
#include "validation.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "fail.h"
#include "intensity.h"

/* One pair. */
static bool pair_take(const double pair[2], size_t labels, double *dice) {
  if (!(pair[0] >= 1 && pair[0] < (double)labels && pair[1] >= 0 && pair[1] <= 1)) return false;
  const size_t label = (size_t)pair[0];
  if ((double)label != pair[0] || !isnan(dice[label])) return false;
  dice[label] = pair[1];
  return true;
}

enum vn_status vn_validation_parse(const char *text, size_t labels, double **dice,
                                   struct vn_diag *diag) {
  *dice = NULL;
  if (!text) return VN_OK;
  double *number = calloc(labels, 2 * sizeof *number);
  *dice = calloc(labels, sizeof **dice);
  enum vn_status status = VN_OK;
  if (!number || !*dice) {
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for what %zu labels scored", labels);
  } else {
    const size_t count = vn_numbers_parse(text, number, 2 * (labels - 1));
    bool good = count != SIZE_MAX && count % 2 == 0;
    for (size_t i = 0; i < labels; i++) (*dice)[i] = NAN;
    for (size_t i = 0; good && i < count; i += 2) good = pair_take(number + i, labels, *dice);
    if (!good)
      status =
          vn_fail(diag, VN_E_FORMAT,
                  "the model's vnet.validation_dice is '%.60s', not LABEL DICE LABEL DICE, each "
                  "once",
                  text);
  }
  free(number);
  return status;
}
