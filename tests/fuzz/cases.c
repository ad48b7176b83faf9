/* The trainer's list of cases. */
#include "fuzz.h"

#include "cases_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct vnt_list list;
  struct vn_diag diag = {""};
  enum vn_status status = vnt_list_read(fuzz_file(data, size), &list, &diag);
  fuzz_judge(status, &diag);
  for (size_t i = 0; !status && i < list.count; i++)
    for (size_t c = 0; c < list.channels; c++)
      if (!list.row[i].image[c][0]) fuzz_broken("a case without a file");
  if (!status && list.count && !list.channels) fuzz_broken("no channel");
  vnt_list_close(&list);
  return 0;
}
