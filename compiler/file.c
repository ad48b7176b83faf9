/* See file.h. Called by the exporter and by compile.c; tools have their own, which knows about
 * signals, in cli.c. */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const char *bytes, size_t size) {
  while (size) {
    ssize_t wrote = write(fd, bytes, size < (1u << 30) ? size : 1u << 30);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return -1;
    bytes += wrote;
    size -= (size_t)wrote;
  }
  return fsync(fd);
}

/* A new file beside `path`; *temp (malloc) is its name. */
static int temp_open(const char *path, char **temp) {
  const char *slash = strrchr(path, '/');
  int folder = slash ? (int)(slash - path) + 1 : 0;
  for (unsigned attempt = 0; attempt < 100; attempt++) {
    if (asprintf(temp, "%.*s.%s.%ld-%u.part", folder, path, path + folder, (long)getpid(),
                 attempt) < 0) {
      *temp = NULL;
      errno = ENOMEM;
      return -1;
    }
    int fd = open(*temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return fd;
    int reason = errno;
    free(*temp);
    *temp = NULL;
    errno = reason;
    if (reason != EEXIST) return -1;
  }
  return -1;
}

enum vn_status vnc_file_write(const char *path, const void *bytes, size_t size,
                              struct vn_diag *diag) {
  struct stat there;
  if (stat(path, &there) == 0 && !S_ISREG(there.st_mode)) {
    return vn_fail(diag, VN_E_IO, "%s: exists and is not a regular file", path);
  }
  char *temp;
  int reason = 0, fd = temp_open(path, &temp);
  if (fd < 0) return vn_fail(diag, VN_E_IO, "%s: cannot write: %s", path, strerror(errno));
  if (write_all(fd, bytes, size)) reason = errno;
  if (close(fd) && !reason) reason = errno;
  if (!reason && rename(temp, path)) reason = errno;
  if (reason) unlink(temp);
  free(temp);
  return reason ? vn_fail(diag, VN_E_IO, "%s: cannot write: %s", path, strerror(reason)) : VN_OK;
}
