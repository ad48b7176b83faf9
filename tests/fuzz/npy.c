/* .npy arrays: read, and written again when they read, to the same array. */
#include "fuzz.h"

#include "npy.h"

#include <string.h>

static void write_again(const struct npy *array) {
  struct vn_diag diag = {""};
  struct npy again;
  int fd;
  const char *path = fuzz_output(&fd);
  fuzz_judge(npy_write(fd, array, &diag), &diag);
  if (npy_read(path, &again, &diag)) fuzz_broken("does not read what it wrote: %s", diag.text);
  size_t bytes = array->elems * (array->type == VN_TYPE_F32 ? 4 : 8);
  if (again.elems != array->elems || again.type != array->type || again.rank != array->rank ||
      memcmp(again.dim, array->dim, sizeof again.dim) || memcmp(again.data, array->data, bytes))
    fuzz_broken("wrote another array");
  npy_close(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct vn_diag diag = {""};
  struct npy array;
  enum vn_status status = npy_read(fuzz_file(data, size), &array, &diag);
  fuzz_judge(status, &diag);
  if (!status) write_again(&array);
  npy_close(&array);
  return 0;
}
