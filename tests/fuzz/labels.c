/* What a model's metadata say of labels and intensities: JSON, rules, numbers, scores. The first
 * byte says which. */
#include "fuzz.h"

#include "intensity.h"
#include "palette.h"
#include "validation.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 5 };

static void palette(const char *text) {
  struct vn_palette labels;
  struct vn_diag diag = {""};
  enum vn_status status = vn_palette_parse(text, CLASSES, &labels, &diag);
  fuzz_judge(status, &diag);
  for (size_t i = 0; !status && i < CLASSES; i++)
    for (const char *c = labels.entries[i].name; *c; c++)
      if ((unsigned char)*c < 0x20 || *c == 0x7F) fuzz_broken("a control character in a name");
  vn_palette_close(&labels);
}

static void rule(const char *text) {
  struct vn_intensity_rule rule;
  struct vn_diag diag = {""};
  enum vn_status status = vn_intensity_parse(text, &rule, &diag);
  if (!status && rule.kind >= VN_INTENSITY_PERCENTILE && !(rule.a < rule.b))
    fuzz_broken("a rule whose bounds are turned around");
  if (!status && rule.ct_a > rule.ct_b) fuzz_broken("a CT's window that is turned around");
  if (status && !diag.text[0]) fuzz_broken("a refusal without a sentence");
}

static void numbers(const char *text) {
  double number[3] = {0};
  size_t count = vn_numbers_parse(text, number, 3);
  if (count > 3 && count != SIZE_MAX) fuzz_broken("more numbers than there is room for");
  for (size_t i = 0; count != SIZE_MAX && i < count; i++)
    if (!isfinite(number[i])) fuzz_broken("a number that is not finite");
}

static void scores(const char *text) {
  double *dice;
  struct vn_diag diag = {""};
  enum vn_status status = vn_validation_parse(text, CLASSES, &dice, &diag);
  fuzz_judge(status, &diag);
  for (size_t i = 0; !status && i < CLASSES; i++)
    if (dice[i] < 0 || dice[i] > 1 || (i == 0 && !isnan(dice[i])))
      fuzz_broken("a score of %g", dice[i]);
  free(dice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static void (*const readers[])(const char *) = {palette, rule, numbers, scores};
  if (!size) return 0;
  char *text = malloc(size);
  if (!text) return 0;
  memcpy(text, data + 1, size - 1);
  text[size - 1] = '\0';
  readers[data[0] % 4](text);
  free(text);
  return 0;
}
