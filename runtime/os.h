/* What this project asks of the operating system; os_posix.c, os_windows.c and, for a web page,
 * os_web.c answer. Private. One file for each kind of system, so that no other file needs to know
 * which one it is. The libraries and the programs hold a copy each, which none of them exports.
 *
 * Names of files are UTF-8 everywhere. Calls that mean the same on every system are POSIX's
 * (open, stat, pthread_mutex_lock …); where a system lacks them, windows/posix.h has them. */
#ifndef VNET_OS_H
#define VNET_OS_H

#include "fail.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef _WIN32
#define VN_OS_LIST ';' /* between the folders of a list such as PATH */
#else
#define VN_OS_LIST ':'
#endif

/* ---- the machine ---- */

/* Of a clock that never goes back. */
uint64_t vn_os_now_ns(void);

/* Cores that the process may use: its affinity mask, limited by its control group's quota. */
size_t vn_os_cores(void);

/* Memory that the process may still take: what the machine has available, what its control groups
 * (both versions) and its limit of address space leave. `root` is "", or a folder that holds a
 * /proc and a /sys for a test. */
uint64_t vn_os_memory_free(const char *root);

/* The most memory that this process has had at once; 0: unknown. */
uint64_t vn_os_memory_peak(void);

/* The same number in this process alone: a forked child has another. */
uint64_t vn_os_process(void);

/* A number that nobody can guess. */
bool vn_os_random(uint64_t *number);

/* ---- threads ---- */

/* pthread_create, with a stack of so many bytes (0: the system's own). The process's signals are
 * not for these threads. Returns 0 or an errno. */
int vn_os_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *context),
                       void *context);

/* From here to vn_os_numbers_restore this thread reads and prints numbers with a point, whatever
 * the host has set. False: out of memory, and nothing to restore. */
struct vn_os_numbers {
  void *plain, *before;
};
bool vn_os_numbers_plain(struct vn_os_numbers *numbers);
void vn_os_numbers_restore(struct vn_os_numbers *numbers);

/* ---- pages ---- */

/* At least `bytes` zero-filled bytes in whole pages, large ones where the system has them and they
 * pay. Sets *map_bytes, for vn_os_pages_free. NULL: not to be had. */
void *vn_os_pages(size_t bytes, size_t *map_bytes);
void vn_os_pages_free(void *pages, size_t map_bytes); /* accepts NULL */

/* Gives the memory of the pages that lie wholly inside back to the system: they read as zero. */
void vn_os_pages_drop(void *from, size_t bytes);

/* Asks for large pages in memory, where they lie wholly inside. */
void vn_os_pages_large(void *from, size_t bytes);

/* malloc and calloc of what is large and soon written to: large pages where the system has them.
 * Every small one would be a fault, for which other threads wait. */
static inline void *vn_os_room(size_t bytes) {
  void *room = malloc(bytes);
  if (room) vn_os_pages_large(room, bytes);
  return room;
}
static inline void *vn_os_zeros(size_t count, size_t bytes) {
  void *zeros = calloc(count, bytes);
  if (zeros) vn_os_pages_large(zeros, count * bytes);
  return zeros;
}

/* ---- files ---- */

/* A regular file, to be read from its start. */
struct vn_os_file {
  int fd;
  uint64_t bytes;
};
/* VN_E_IO, with the path in the sentence. */
enum vn_status vn_os_file_open(const char *path, struct vn_os_file *file, struct vn_diag *diag);
/* The next `bytes` bytes; *got is less only where the file ends. VN_E_IO. */
enum vn_status vn_os_file_read(const struct vn_os_file *file, void *to, size_t bytes, size_t *got,
                               struct vn_diag *diag);
void vn_os_file_close(struct vn_os_file *file);

/* Another descriptor of the same file, which no program that is started inherits. -1: errno. */
int vn_os_dup(int fd);

/* The file's first bytes as memory. NULL: errno. */
void *vn_os_map(int fd, size_t bytes);
/* The same of an empty file, to be written to; the disk has room for all of it. */
void *vn_os_map_new(int fd, size_t bytes);
void vn_os_unmap(void *memory, size_t bytes); /* accepts NULL */
/* Does the memory of a file that has no name any more, or is doomed, outlive its descriptor? */
bool vn_os_map_outlives(void);

/* Keeps other processes from locking the file, until it is closed. BUSY: another one has it, which
 * `wait` waits for. NONE: the file system has no locks, so that nobody can say who has it. */
enum vn_os_lock { VN_OS_LOCK_HELD, VN_OS_LOCK_BUSY, VN_OS_LOCK_NONE };
enum vn_os_lock vn_os_lock(int fd, bool wait);

/* A number that is another one when the file has another size or time of change; 0: not to be
 * known. */
uint64_t vn_os_mark(const char *path);

/* That number: FNV-1a of both. */
static inline uint64_t vn_os_mark_of(uint64_t bytes, uint64_t changed_ns) {
  const uint64_t prime = 1099511628211u;
  uint64_t mark = 14695981039346656037u;
  for (int shift = 0; shift < 64; shift += 8) mark = (mark ^ (bytes >> shift & 255)) * prime;
  for (int shift = 0; shift < 64; shift += 8) mark = (mark ^ (changed_ns >> shift & 255)) * prime;
  return mark;
}

/* Where the system can: a file that is doomed is gone when this process is, however it ends. */
void vn_os_doom(int fd, bool doomed);

/* ---- names and folders ---- */

/* The last component of a path. */
const char *vn_os_name(const char *path);

/* `path`, where the system has other marks between folders with slashes in their place. */
char *vn_os_slashes(char *path);

/* Does the path begin at a root, and not in the present folder? */
bool vn_os_is_full(const char *path);

/* Does the whole text fit a pattern of *, ? and [a-z]? */
bool vn_os_matches(const char *pattern, const char *text);

/* The names in a folder that are `wanted` (NULL: all), in the order of their bytes; "." and ".."
 * are none. -1: errno. The caller frees each of *names, and the array. */
ptrdiff_t vn_os_folder_list(const char *folder, bool (*wanted)(const char *name), char ***names);

/* The names themselves reach the disk, where the system can be asked for that. */
void vn_os_folder_sync(const char *folder);

#endif
