/* How this project's programs open a file that a user names. Private: not installed. */
#ifndef VNET_INPUT_H
#define VNET_INPUT_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens a regular file for reading, and never waits: a FIFO that nobody writes to is refused like a
 * folder or a device. A pipe that the shell hands over ("--list <(find …)", /dev/stdin) is taken.
 * NULL: *reason says why, and so does errno. */
static inline FILE *vn_input_open(const char *path, const char **reason) {
  struct stat info;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  FILE *file = NULL;
  *reason = NULL;
  if (fd >= 0 && fstat(fd, &info) == 0) {
    const int handed_over = S_ISFIFO(info.st_mode) && strncmp(path, "/dev/", 5) == 0;
    if (S_ISDIR(info.st_mode))
      *reason = "a folder, not a file";
    else if (!S_ISREG(info.st_mode) && !handed_over)
      *reason = "not a regular file";
    else if (fcntl(fd, F_SETFL, 0) == 0)
      file = fdopen(fd, "r");
  }
  if (file) return file;
  const int number = *reason ? EINVAL : errno;
  if (!*reason) *reason = strerror(number);
  if (fd >= 0) close(fd);
  errno = number;
  return NULL;
}

#endif
