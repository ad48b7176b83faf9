/* Regular files, read in calls that mean the same on every system; see os.h. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum vn_status vn_os_file_open(const char *path, struct vn_os_file *file, struct vn_diag *diag) {
  struct stat info;
  file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not block */
  if (file->fd < 0 || fstat(file->fd, &info) != 0) {
    int reason = errno;
    vn_os_file_close(file);
    return vn_fail(diag, vn_io_status(reason), "%.300s: %s", path, strerror(reason));
  }
  if (!S_ISREG(info.st_mode)) {
    vn_os_file_close(file);
    return vn_fail(diag, VN_E_IO, "%.400s: not a regular file", path);
  }
  file->bytes = (uint64_t)info.st_size;
  return VN_OK;
}

enum vn_status vn_os_file_read(const struct vn_os_file *file, void *to, size_t bytes, size_t *got,
                               struct vn_diag *diag) {
  for (*got = 0; *got < bytes;) {
    ssize_t n = read(file->fd, (char *)to + *got, bytes - *got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return vn_fail(diag, vn_io_status(errno), "cannot be read: %s", strerror(errno));
    if (n == 0) break;
    *got += (size_t)n;
  }
  return VN_OK;
}

void vn_os_file_close(struct vn_os_file *file) {
  if (file->fd >= 0) close(file->fd);
  file->fd = -1;
}
