/* The mark of a model in its plan; see model_mark.h. */
#include "model_mark.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "fail.h"
#include "plan.h"

enum { CHECKED_FROM = 32 }; /* plan.md: the checksum is that of bytes [32, file_bytes) */

enum vn_status model_mark(const char *path, char mark[64], struct vn_diag *diag) {
  char chunk[1 << 14];
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  FILE *file = fopen(path, "re");
  if (!file) return vn_fail(diag, vn_io_status(errno), "%.300s: %s", path, strerror(errno));
  for (size_t got; (got = fread(chunk, 1, sizeof chunk, file)) > 0;)
    XXH3_64bits_update(&state, chunk, got);
  int reason = ferror(file) ? errno : 0;
  fclose(file);
  if (reason) return vn_fail(diag, vn_io_status(reason), "%.300s: %s", path, strerror(reason));
  snprintf(mark, 64, "xxh3 %016llx, vnetc " VNET_VERSION,
           (unsigned long long)XXH3_64bits_digest(&state));
  return VN_OK;
}

/* Is it a whole plan of this format with the mark among its strings? */
static bool bytes_bear(const char *bytes, size_t size, const char *mark) {
  struct plan_header header;
  if (size < sizeof header) return false;
  memcpy(&header, bytes, sizeof header);
  return !memcmp(header.magic, PLAN_MAGIC, sizeof header.magic) && header.major == PLAN_MAJOR &&
         header.file_bytes == size &&
         header.checksum == XXH3_64bits(bytes + CHECKED_FROM, size - CHECKED_FROM) &&
         memmem(bytes, size, mark, strlen(mark) + 1);
}

bool model_mark_borne(const char *plan, const char *mark) {
  struct stat there;
  FILE *file = stat(plan, &there) == 0 && S_ISREG(there.st_mode) ? fopen(plan, "re") : NULL;
  if (!file) return false;
  size_t size = (size_t)there.st_size;
  char *bytes = malloc(size ? size : 1);
  bool borne = bytes && fread(bytes, 1, size, file) == size && bytes_bear(bytes, size, mark);
  free(bytes);
  fclose(file);
  return borne;
}
