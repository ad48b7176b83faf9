/* The mark of a model in its plan; see model_mark.h. */
#include "model_mark.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fail.h"

enum vn_status model_mark(const char *path, char mark[64], struct vn_diag *diag) {
  char chunk[1 << 14];
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  FILE *file = fopen(path, "re");
  if (!file) return vn_fail(diag, VN_E_IO, "%.300s: %s", path, strerror(errno));
  for (size_t got; (got = fread(chunk, 1, sizeof chunk, file)) > 0;)
    XXH3_64bits_update(&state, chunk, got);
  int reason = ferror(file) ? errno : 0;
  fclose(file);
  if (reason) return vn_fail(diag, VN_E_IO, "%.300s: %s", path, strerror(reason));
  snprintf(mark, 64, "xxh3 %016llx, vnetc " VNET_VERSION,
           (unsigned long long)XXH3_64bits_digest(&state));
  return VN_OK;
}
