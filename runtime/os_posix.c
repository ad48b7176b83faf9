/* Linux and its kin; see os.h. */
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_BYTES = 4096, HUGE_BYTES = 2 << 20 };

uint64_t vn_os_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t vn_os_process(void) {
  return (uint64_t)getpid();
}

/* ---- cores and memory ---- */

/* The numbers that a file of Linux's control groups v2 begins with; "max" is no number. */
static int group_numbers(const char *path, unsigned long long *first, unsigned long long *second) {
  FILE *file = fopen(path, "re");
  if (!file) return 0;
  int n = fscanf(file, "%llu %llu", first, second);
  fclose(file);
  return n;
}

/* 0: no limit. */
static size_t quota_cores(void) {
  unsigned long long quota, period; /* microseconds */
  if (group_numbers("/sys/fs/cgroup/cpu.max", &quota, &period) != 2 || !quota || !period) return 0;
  return (size_t)((quota + period - 1) / period);
}

size_t vn_os_cores(void) {
  cpu_set_t set;
  size_t cores, quota = quota_cores();
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    cores = (size_t)CPU_COUNT(&set);
  } else { /* more than 1024 processors */
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    cores = online > 0 ? (size_t)online : 1;
  }
  return quota && quota < cores ? quota : cores;
}

uint64_t vn_os_memory_bytes(void) {
  long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
  unsigned long long limit, none;
  uint64_t bytes =
      pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : UINT64_MAX;
  if (group_numbers("/sys/fs/cgroup/memory.max", &limit, &none) == 1 && limit < bytes)
    bytes = limit;
  return bytes;
}

/* ---- pages ---- */

void *vn_os_pages(size_t bytes, size_t *map_bytes) {
  size_t page = bytes < HUGE_BYTES ? PAGE_BYTES : HUGE_BYTES;
  if (bytes == 0) bytes = 1;
  if (bytes > SIZE_MAX - page) return NULL;
  *map_bytes = (bytes + page - 1) / page * page;
  void *p = mmap(NULL, *map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
#ifdef MADV_HUGEPAGE
  if (page == HUGE_BYTES) madvise(p, *map_bytes, MADV_HUGEPAGE);
#endif
  return p;
}

void vn_os_pages_free(void *pages, size_t map_bytes) {
  if (pages) munmap(pages, map_bytes);
}

void vn_os_pages_drop(void *from, size_t bytes) {
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  uintptr_t begin = ((uintptr_t)from + page - 1) / page * page;
  uintptr_t end = ((uintptr_t)from + bytes) / page * page;
  if (begin < end) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

/* ---- files ---- */

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
