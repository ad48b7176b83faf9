/* External data: a hole for path traversal again and again (CVE-2022-25882, CVE-2024-27318 and
 * later). Only regular files inside the model's own folder are read, with links resolved, and only
 * the bytes that the tensor needs. */
#include "onnx_tensor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
  const char *location;
  uint64_t offset, length;
  bool has_length;
};

static bool decimal(const char *text, uint64_t *value) {
  char *end;
  errno = 0;
  if (*text < '0' || *text > '9') return false;
  unsigned long long v = strtoull(text, &end, 10);
  *value = v;
  return !errno && !*end;
}

static bool place_of(const Onnx__TensorProto *p, struct place *place) {
  enum { ENTRIES_MOST = 16 }; /* four are known */
  memset(place, 0, sizeof *place);
  if (p->n_external_data > ENTRIES_MOST) return false;
  for (size_t i = 0; i < p->n_external_data; i++) {
    const char *key = p->external_data[i]->key, *value = p->external_data[i]->value;
    if (!key || !value) return false;
    if (!strcmp(key, "location")) place->location = value;
    if (!strcmp(key, "offset") && !decimal(value, &place->offset)) return false;
    if (!strcmp(key, "length")) {
      if (!decimal(value, &place->length)) return false;
      place->has_length = true;
    }
  }
  return place->location && *place->location;
}

/* Opens the file if it is inside the folder after every link is resolved; else -1. */
static int open_inside(const char *folder, const char *location) {
  char *path = NULL, *base = realpath(*folder ? folder : ".", NULL), *real = NULL;
  int fd = -1;
  if (base && asprintf(&path, "%s/%s", base, location) >= 0) real = realpath(path, NULL);
  size_t n = base ? strlen(base) : 0;
  if (n == 1) n = 0; /* the root folder */
  if (real && *location != '/' && !strncmp(real, base, n) && real[n] == '/')
    fd = open(real, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  free(base);
  free(path);
  free(real);
  return fd;
}

static bool read_all(int fd, uint8_t *bytes, size_t size, uint64_t offset) {
  while (size) {
    ssize_t got = pread(fd, bytes, size < (1u << 30) ? size : 1u << 30, (off_t)offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    size -= (size_t)got;
    offset += (uint64_t)got;
  }
  return true;
}

enum vn_status vnc_external_read(const Onnx__TensorProto *p, const struct vnc_source *source,
                                 const char *what, size_t want, uint8_t **bytes,
                                 struct vn_diag *diag) {
  struct place place;
  struct stat there;
  *bytes = NULL;
  if (!source->folder)
    return vn_fail(diag, VN_E_UNSUPPORTED, "'%.100s' is external data, in another file", what);
  if (!place_of(p, &place))
    return vn_fail(diag, VN_E_FORMAT, "weight '%.100s': its external data has no usable place",
                   what);
  int fd = open_inside(source->folder, place.location);
  if (fd < 0)
    return vn_fail(
        diag, VN_E_IO,
        "weight '%.100s': external data '%.100s' is not a file inside the model's folder", what,
        place.location);
  enum vn_status status = VN_OK;
  if (fstat(fd, &there) || !S_ISREG(there.st_mode) || (place.has_length && place.length != want) ||
      place.offset > (uint64_t)there.st_size || want > (uint64_t)there.st_size - place.offset)
    status = vn_fail(diag, VN_E_FORMAT,
                     "weight '%.100s': external data '%.100s' does not hold its %" PRIu64 " bytes",
                     what, place.location, (uint64_t)want);
  if (!status && !(*bytes = malloc(want + 1)))
    status = vn_fail(diag, VN_E_MEMORY, "out of memory for weight '%.100s'", what);
  if (!status && !read_all(fd, *bytes, want, place.offset))
    status = vn_fail(diag, VN_E_IO, "external data '%.100s' cannot be read", place.location);
  close(fd);
  if (status) {
    free(*bytes);
    *bytes = NULL;
  }
  return status;
}
