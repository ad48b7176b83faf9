/* POSIX's calls as this project makes them, where Windows has none or others: names of files are
 * UTF-8 and of any length, files are bytes, an open file can be renamed and removed. Read before
 * every source file of a build for Windows (CMakeLists.txt), so that none of them has to ask which
 * system it is. What means something else there is in os.h instead. Answered by posix.c. */
#ifndef VNET_WINDOWS_POSIX_H
#define VNET_WINDOWS_POSIX_H

#define tell vn_windows_tell /* the C runtime's takes a good name */
#include <direct.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
#undef tell

#define O_CLOEXEC  O_NOINHERIT
#define O_NONBLOCK 0 /* nothing is waited for */
#define O_NOFOLLOW 0x1000000
#define F_SETFL    0
#ifndef NAME_MAX
#define NAME_MAX 255
#endif
#define S_IFLNK       0xA000
#define S_ISLNK(mode) (((mode)&S_IFMT) == S_IFLNK)

/* ---- files ---- */

struct vn_windows_stat {
  uint64_t st_dev, st_ino; /* the volume, the file's number on it */
  unsigned st_mode, st_nlink;
  int64_t st_size;
  uint64_t written; /* when it was last; a count of 100 ns */
};
int vn_windows_stat(const char *path, struct vn_windows_stat *info);
int vn_windows_lstat(const char *path, struct vn_windows_stat *info);
int vn_windows_fstat(int fd, struct vn_windows_stat *info);
int vn_windows_open(const char *path, int flags);
int vn_windows_dup(int fd);
FILE *vn_windows_fopen(const char *path, const char *mode);
FILE *vn_windows_fdopen(int fd, const char *mode);
ssize_t vn_windows_read(int fd, void *to, size_t bytes);
ssize_t vn_windows_write(int fd, const void *from, size_t bytes);
ssize_t vn_windows_pread(int fd, void *to, size_t bytes, int64_t from);
int vn_windows_fsync(int fd);
int vn_windows_access(const char *path, int mode);
int vn_windows_mkdir(const char *path);
int vn_windows_unlink(const char *path);
int vn_windows_rename(const char *from, const char *to);
char *vn_windows_realpath(const char *path); /* links resolved; with slashes */
char *vn_windows_getcwd(void);
char *vn_windows_getenv(const char *name); /* a folder with slashes; stays allocated */

#undef stat
#undef lstat
#undef fstat
#undef access
#define dev_t               uint64_t
#define ino_t               uint64_t
#define stat                vn_windows_stat
#define lstat               vn_windows_lstat
#define fstat               vn_windows_fstat
#define open(path, ...)     vn_windows_open(path, VN_WINDOWS_FIRST(__VA_ARGS__, 0))
#define dup(fd)             vn_windows_dup(fd)
#define fopen(path, mode)   vn_windows_fopen(path, mode)
#define fdopen(fd, mode)    vn_windows_fdopen(fd, mode)
#define read(fd, to, n)     vn_windows_read(fd, to, n)
#define write(fd, from, n)  vn_windows_write(fd, from, n)
#define pread(fd, to, n, o) vn_windows_pread(fd, to, n, o)
#define fcntl(fd, what, to) 0
#define fsync(fd)           vn_windows_fsync(fd)
#define lseek(fd, at, from) _lseeki64(fd, at, from)
#define access(path, mode)  vn_windows_access(path, mode)
#define mkdir(path, mode)   vn_windows_mkdir(path)
#define unlink(path)        vn_windows_unlink(path)
#define remove(path)        vn_windows_unlink(path)
#define rename(from, to)    vn_windows_rename(from, to)
#define realpath(path, to)  vn_windows_realpath(path)
#define getcwd(to, room)    vn_windows_getcwd()
#define getenv(name)        vn_windows_getenv(name)

#define VN_WINDOWS_FIRST(first, ...) first

/* ---- memory and text ---- */

/* That free() takes: nothing here relies on more alignment than malloc's, which is slower. */
#define aligned_alloc(alignment, bytes) malloc(bytes)

char *strndup(const char *text, size_t most);
char *strsep(char **rest, const char *ends);
void *memmem(const void *in, size_t in_bytes, const void *what, size_t what_bytes);
ssize_t getline(char **line, size_t *room, FILE *file);
void tdestroy(void *root, void (*node_free)(void *node));

#endif
