/* See part.h. */
#include "part.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os.h"

enum { RANDOM_DIGITS = 16, ENDING = 6 + RANDOM_DIGITS + 5 }; /* ".vnet-", ".part" */

static size_t folder_length(const char *path) {
  return (size_t)(vn_os_name(path) - path);
}

/* Of a file: to be freed, NULL: out of memory. */
static char *folder_of(const char *path) {
  const size_t length = folder_length(path);
  return length ? strndup(path, length) : strdup(".");
}

/* A long name is cut, so that the hidden one is none too long for the file system. */
static char *name_make(const char *path) {
  const size_t folder = folder_length(path), room = strlen(path) + ENDING + 2;
  const int kept = NAME_MAX - 1 - ENDING;
  uint64_t random;
  char *name = malloc(room);
  if (!name || !vn_os_random(&random)) {
    free(name);
    return NULL;
  }
  snprintf(name, room, "%.*s.%.*s.vnet-%016llx.part", (int)folder, path, kept, path + folder,
           (unsigned long long)random);
  return name;
}

static void name_forget(struct vn_part *part) {
  char *name = part->name;
  part->name = NULL;
  free(name);
}

/* Another process may have swept the file between its making and its locking. */
static bool locked(int fd) {
  struct stat info;
  return vn_os_lock(fd, true) != VN_OS_LOCK_BUSY && fstat(fd, &info) == 0 && info.st_nlink > 0;
}

static enum vn_status cannot_create(const char *path, int reason, struct vn_diag *diag) {
  struct stat info;
  int length = (int)folder_length(path);
  char *folder = strndup(path, (size_t)length);
  bool absent = folder && length && stat(folder, &info) && errno == ENOENT;
  free(folder);
  if (absent)
    return vn_fail(diag, VN_E_IO, "%.200s: cannot write: there is no folder %.*s", path,
                   length < 200 ? length : 200, path);
  bool ours = reason != EACCES && reason != EROFS && reason != EPERM;
  return vn_fail(diag, vn_io_status(reason), "%.300s: cannot write: %s%s", path, strerror(reason),
                 ours ? "" : "; choose a place in a folder of yours");
}

enum vn_status vn_part_create(struct vn_part *part, const char *path, struct vn_diag *diag) {
  struct stat there;
  *part = (struct vn_part){.fd = -1};
  if (stat(path, &there) && errno == ENAMETOOLONG) /* the hidden name would fit */
    return vn_fail(diag, vn_io_status(errno), "%.300s: cannot write: %s", path, strerror(errno));
  for (int tries = 0; part->fd < 0 && tries < 100; tries++) {
    name_forget(part);
    if (!(part->name = name_make(path)))
      return vn_fail(diag, VN_E_MEMORY, "%.400s: out of memory", path);
    part->fd = open(part->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (part->fd < 0 && errno != EEXIST) break;
    if (part->fd < 0 || locked(part->fd)) continue;
    close(part->fd);
    part->fd = -1;
  }
  if (part->fd >= 0) {
    vn_os_doom(part->fd, true);
    return VN_OK;
  }
  const int reason = errno;
  name_forget(part);
  return cannot_create(path, reason, diag);
}

enum vn_status vn_part_write(int fd, const void *bytes, size_t size, struct vn_diag *diag) {
  for (const char *from = bytes; size;) {
    ssize_t done = write(fd, from, size);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return vn_fail(diag, vn_io_status(errno), "cannot write: %s", strerror(errno));
    from += done;
    size -= (size_t)done;
  }
  return VN_OK;
}

/* close reports what a network file system found out late; the lock stays with the other one. */
static bool flushed(int fd) {
  if (fsync(fd)) return false;
  const int copy = vn_os_dup(fd);
  return copy >= 0 && close(copy) == 0;
}

enum vn_status vn_part_publish(struct vn_part *part, const char *path, struct vn_diag *diag) {
  bool good = flushed(part->fd);
  vn_os_doom(part->fd, !good);
  if (!good || rename(part->name, path)) {
    const int reason = errno;
    vn_part_drop(part);
    return vn_fail(diag, vn_io_status(reason), "%.300s: cannot write: %s", path, strerror(reason));
  }
  char *folder = folder_of(path);
  if (folder) vn_os_folder_sync(folder);
  free(folder);
  close(part->fd);
  part->fd = -1;
  name_forget(part);
  return VN_OK;
}

void vn_part_drop(struct vn_part *part) {
  if (part->fd < 0) return;
  unlink(part->name);
  close(part->fd);
  part->fd = -1;
  name_forget(part);
}

/* ---- what is left over ---- */

static bool is_part(const char *name) {
  const size_t length = strlen(name);
  const char *ending = name + length - ENDING;
  return name[0] == '.' && length > ENDING && strncmp(ending, ".vnet-", 6) == 0 &&
         strspn(ending + 6, "0123456789abcdef") == RANDOM_DIGITS &&
         strcmp(ending + 6 + RANDOM_DIGITS, ".part") == 0;
}

static void leftover_remove(const char *folder, const char *name) {
  struct stat info;
  char *path = malloc(strlen(folder) + strlen(name) + 2);
  if (!path) return;
  sprintf(path, "%s/%s", folder, name);
  const int fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd >= 0) { /* else another user's, for one */
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && vn_os_lock(fd, false) == VN_OS_LOCK_HELD)
      unlink(path);
    close(fd);
  }
  free(path);
}

void vn_part_sweep(const char *path) {
  char *folder = folder_of(path), **names = NULL;
  const ptrdiff_t count = folder ? vn_os_folder_list(folder, is_part, &names) : 0;
  for (ptrdiff_t i = 0; i < count; i++) {
    leftover_remove(folder, names[i]);
    free(names[i]);
  }
  free(names);
  free(folder);
}
