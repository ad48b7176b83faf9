/* The trainer's list of cases. */
#include "fuzz.h"

#include "cases_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct vnt_list list;
  struct vn_diag diag = {""};
  enum vn_status status = vnt_list_read(fuzz_file(data, size), &list, &diag);
  fuzz_judge(status, &diag);
  for (size_t i = 0; !status && i < list.count; i++)
    for (size_t f = 0; f < list.row[i].files || f == 0; f++)
      if (!list.row[i].files || !list.row[i].image[f][0]) fuzz_broken("a case without a file");
  for (size_t c = 0; !status && c < list.channels; c++)
    if (!list.channel[c] || list.given[c] != c) fuzz_broken("a channel without a name");
  vnt_list_close(&list);
  return 0;
}
