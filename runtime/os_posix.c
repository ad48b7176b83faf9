/* Linux and its kin; see os.h. */
#include "os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
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

bool vn_os_random(uint64_t *number) {
  return getentropy(number, sizeof *number) == 0;
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

static FILE *file_under(const char *root, const char *folder, const char *name) {
  char path[512];
  const int n = snprintf(path, sizeof path, "%s%s%s", root, folder, name);
  return n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
}

/* The first number of a file. */
static bool number_read(const char *root, const char *folder, const char *name, uint64_t *number) {
  FILE *file = file_under(root, folder, name);
  const bool read = file && fscanf(file, "%" SCNu64, number) == 1;
  if (file) fclose(file);
  return read;
}

/* The number behind a key, in a file that has one on a line, perhaps beside others; 0: not
 * there. */
static uint64_t number_of(const char *root, const char *folder, const char *name, const char *key) {
  FILE *file = file_under(root, folder, name);
  uint64_t number = 0, value;
  char line[256], word[64];
  while (file && !number && fgets(line, sizeof line, file))
    if (sscanf(line, "%63s %" SCNu64, word, &value) == 2 && strcmp(word, key) == 0) number = value;
  if (file) fclose(file);
  return number;
}

/* Names in a memory control group's folder, by the version of control groups. */
static const struct group_files {
  const char *mount, *limit, *usage, *cache[2];
} group_v1 = {"/sys/fs/cgroup/memory",
              "/memory.limit_in_bytes",
              "/memory.usage_in_bytes",
              {"total_inactive_file", "total_active_file"}},
  group_v2 = {"/sys/fs/cgroup", "/memory.max", "/memory.current", {"inactive_file", "active_file"}};

/* What a group may still take: files that it has read are given up for the asking. */
static uint64_t group_free(const char *root, const struct group_files *g, const char *folder) {
  uint64_t limit, usage, cache = 0;
  if (!number_read(root, folder, g->limit, &limit) || !number_read(root, folder, g->usage, &usage))
    return UINT64_MAX;
  for (int i = 0; i < 2; i++) cache += number_of(root, folder, "/memory.stat", g->cache[i]);
  usage -= cache < usage ? cache : usage;
  return usage < limit ? limit - usage : 0;
}

/* The least of a group and those that it lies in. A container sees its own as the outermost, and
 * perhaps a path to it that is not there. */
static uint64_t groups_free(const char *root, const struct group_files *g, const char *path) {
  char folder[400];
  uint64_t least = UINT64_MAX;
  snprintf(folder, sizeof folder, "%s%s", g->mount, path);
  for (char *end; strlen(folder) >= strlen(g->mount); *end = '\0') {
    const uint64_t bytes = group_free(root, g, folder);
    if (bytes < least) least = bytes;
    end = strrchr(folder, '/');
  }
  return least;
}

/* Lines of /proc/self/cgroup: "0::/path" for version 2, "4:memory:/path" for version 1. */
static uint64_t own_groups_free(const char *root) {
  FILE *file = file_under(root, "/proc/self", "/cgroup");
  char line[400];
  uint64_t least = UINT64_MAX;
  while (file && fgets(line, sizeof line, file)) {
    char *controllers = strchr(line, ':'),
         *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path) continue;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    const bool v2 = controllers[1] == '\0';
    if (!v2 && !strstr(controllers, "memory")) continue;
    const uint64_t bytes = groups_free(root, v2 ? &group_v2 : &group_v1, path);
    if (bytes < least) least = bytes;
  }
  if (file) fclose(file);
  return least;
}

/* Below the process's own limit of address space. */
static uint64_t address_space_free(void) {
  struct rlimit limit;
  uint64_t pages, page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
  if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY ||
      !number_read("", "/proc/self", "/statm", &pages))
    return UINT64_MAX;
  return pages * page_bytes < limit.rlim_cur ? limit.rlim_cur - pages * page_bytes : 0;
}

uint64_t vn_os_memory_free(const char *root) {
  uint64_t bytes = number_of(root, "/proc", "/meminfo", "MemAvailable:") * 1024;
  const uint64_t group = own_groups_free(root), space = address_space_free();
  if (!bytes) { /* not Linux: what the machine has */
    const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
    bytes = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : UINT64_MAX;
  }
  if (group < bytes) bytes = group;
  return space < bytes ? space : bytes;
}

/* VmHWM, because getrusage's figure includes what the parent process held before exec. */
uint64_t vn_os_memory_peak(void) {
  return number_of("", "/proc/self", "/status", "VmHWM:") * 1024;
}

/* ---- threads ---- */

int vn_os_thread_start(pthread_t *thread, size_t stack_bytes, void *(*run)(void *context),
                       void *context) {
  sigset_t all, before;
  pthread_attr_t attributes;
  int reason = pthread_attr_init(&attributes);
  if (reason) return reason;
  if (stack_bytes) pthread_attr_setstacksize(&attributes, stack_bytes);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  reason = pthread_create(thread, &attributes, run, context);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return reason;
}

bool vn_os_numbers_plain(struct vn_os_numbers *numbers) {
  locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
  if (!plain) return false;
  *numbers = (struct vn_os_numbers){plain, uselocale(plain)};
  return true;
}

void vn_os_numbers_restore(struct vn_os_numbers *numbers) {
  uselocale(numbers->before);
  freelocale(numbers->plain);
}

/* ---- pages ---- */

void *vn_os_pages(size_t bytes, size_t *map_bytes) {
  size_t page = bytes < HUGE_BYTES ? PAGE_BYTES : HUGE_BYTES;
  if (bytes == 0) bytes = 1;
  if (bytes > SIZE_MAX - page) return NULL;
  *map_bytes = (bytes + page - 1) / page * page;
  void *p = mmap(NULL, *map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return NULL;
  if (page == HUGE_BYTES) vn_os_pages_large(p, *map_bytes);
  return p;
}

void vn_os_pages_large(void *from, size_t bytes) {
#ifdef MADV_HUGEPAGE
  const uintptr_t begin = ((uintptr_t)from + HUGE_BYTES - 1) / HUGE_BYTES * HUGE_BYTES;
  const uintptr_t end = ((uintptr_t)from + bytes) / HUGE_BYTES * HUGE_BYTES;
  if (begin < end) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
  (void)from, (void)bytes;
#endif
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

int vn_os_dup(int fd) {
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

static void *mapped(int fd, size_t bytes, int protection, int flags) {
  void *memory = mmap(NULL, bytes, protection, flags, fd, 0);
  return memory == MAP_FAILED ? NULL : memory;
}

void *vn_os_map(int fd, size_t bytes) {
  return mapped(fd, bytes, PROT_READ, MAP_PRIVATE);
}

/* Reserved, so that a full disk shows here and not as a signal while writing. */
void *vn_os_map_new(int fd, size_t bytes) {
  errno = posix_fallocate(fd, 0, (off_t)bytes);
  return errno ? NULL : mapped(fd, bytes, PROT_READ | PROT_WRITE, MAP_SHARED);
}

void vn_os_unmap(void *memory, size_t bytes) {
  if (memory) munmap(memory, bytes);
}

bool vn_os_map_outlives(void) {
  return true;
}

enum vn_os_lock vn_os_lock(int fd, bool wait) {
  while (flock(fd, wait ? LOCK_EX : LOCK_EX | LOCK_NB))
    if (errno != EINTR) return errno == EWOULDBLOCK ? VN_OS_LOCK_BUSY : VN_OS_LOCK_NONE;
  return VN_OS_LOCK_HELD;
}

uint64_t vn_os_mark(const char *path) {
  struct stat file;
  if (stat(path, &file)) return 0;
  const uint64_t ns = (uint64_t)file.st_mtim.tv_sec * 1000000000 + (uint64_t)file.st_mtim.tv_nsec;
  return vn_os_mark_of((uint64_t)file.st_size, ns);
}

void vn_os_doom(int fd, bool doomed) {
  (void)fd, (void)doomed;
}

/* ---- names and folders ---- */

const char *vn_os_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

char *vn_os_slashes(char *path) {
  return path;
}

bool vn_os_is_full(const char *path) {
  return *path == '/';
}

bool vn_os_matches(const char *pattern, const char *text) {
  return fnmatch(pattern, text, 0) == 0;
}

static int by_bytes(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

ptrdiff_t vn_os_folder_list(const char *folder, bool (*wanted)(const char *name), char ***names) {
  DIR *dir = opendir(folder);
  size_t count = 0, room = 0;
  int reason = dir ? 0 : errno;
  *names = NULL;
  while (!reason) {
    errno = 0;
    const struct dirent *entry = readdir(dir);
    reason = errno;
    if (!entry) break;
    const char *name = entry->d_name;
    if (!strcmp(name, ".") || !strcmp(name, "..") || (wanted && !wanted(name))) continue;
    char **more = *names;
    if (count == room && (more = realloc(*names, (room = 2 * room + 64) * sizeof *more)))
      *names = more;
    if (more && ((*names)[count] = strdup(name)))
      count++;
    else
      reason = ENOMEM;
  }
  if (dir) closedir(dir);
  if (count) qsort(*names, count, sizeof **names, by_bytes);
  if (!reason) return (ptrdiff_t)count;
  while (count) free((*names)[--count]);
  free(*names);
  *names = NULL;
  errno = reason;
  return -1;
}

void vn_os_folder_sync(const char *folder) {
  const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}
