/* The trainer's table of what values of label maps mean. */
#include "fuzz.h"

#include "labels.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct vnt_labels *labels;
  struct vn_diag diag = {""};
  const enum vn_status status = vnt_labels_read(fuzz_file(data, size), &labels, &diag);
  fuzz_judge(status, &diag);
  for (size_t v = 0; !status && v < VNT_VALUES; v++) {
    const int class = labels->class_of[v];
    if (class >= (int)labels->classes && !(labels->ignores && class == VNT_IGNORED))
      fuzz_broken("a value of a class that is not there");
  }
  for (size_t c = 0; !status && c < labels->classes; c++)
    if (labels->other_side[labels->other_side[c]] != c) fuzz_broken("a mirror that shows another");
  vnt_labels_close(&labels);
  return 0;
}
