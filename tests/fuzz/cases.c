/* The trainer's list of cases. */
#include "fuzz.h"

#include "cases_list.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct vnt_list list;
  struct vn_diag diag = {""};
  enum vn_status status = vnt_list_read(fuzz_file(data, size), &list, &diag);
  fuzz_judge(status, &diag);
  for (size_t i = 0; !status && i < list.count; i++)
    if (!list.row[i].image[0] || !list.row[i].label[0]) fuzz_broken("a case without a file");
  vnt_list_close(&list);
  return 0;
}
