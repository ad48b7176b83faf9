/* Allocations that fail on request; see fail_alloc.h. Under LD_PRELOAD it serves: before main it
 * reads orders from a pipe and forks for each, so that a sweep starts a program but once. What is
 * allocated before main, and what the C library maps for itself, does not fail. */
#include "fail_alloc.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))

enum { FRAMES = 48, MODULES = 64, HEARD = 1 << 20, EARLY_BYTES = 1 << 16, SECONDS = 60 };

static struct {
  void *(*malloc)(size_t), *(*calloc)(size_t, size_t), *(*realloc)(void *, size_t);
  void *(*memalign)(size_t, size_t);
  void (*free)(void *);
  void *(*mmap)(void *, size_t, int, int, int, off_t);
  int (*munmap)(void *, size_t);
  int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
} real;

static struct {
  bool on; /* set and cleared while one thread runs */
  enum fail_mode mode;
  uint64_t site, *heard;
  uint32_t nth, met; /* `met`, `hit`, `count`, `live`: atomic */
  bool hit;
  size_t count;
  long live;
  int fd;
  struct {
    uintptr_t begin, end;
  } module[MODULES];
  size_t modules;
} state = {.fd = -1};

static __thread bool busy __attribute__((tls_model("initial-exec")));
static __thread int above
    __attribute__((tls_model("initial-exec"))); /* frames before fail_begin's */

/* ---- what stands behind ---- */

/* dlsym may allocate before there is anything to allocate with. */
static _Alignas(64) char early[EARLY_BYTES];
static size_t early_used;

static void *early_take(size_t bytes) {
  size_t at = early_used;
  early_used += (bytes + 63) / 64 * 64;
  return early_used <= sizeof early ? early + at : NULL;
}

static bool is_early(const void *p) {
  return (const char *)p >= early && (const char *)p < early + sizeof early;
}

/* False while the functions behind are being looked for. */
static bool ready(void) {
  static bool looking;
  if (real.pthread_create) return true;
  if (looking) return false;
  looking = true;
  *(void **)&real.malloc = dlsym(RTLD_NEXT, "malloc");
  *(void **)&real.calloc = dlsym(RTLD_NEXT, "calloc");
  *(void **)&real.realloc = dlsym(RTLD_NEXT, "realloc");
  *(void **)&real.memalign = dlsym(RTLD_NEXT, "memalign");
  *(void **)&real.free = dlsym(RTLD_NEXT, "free");
  *(void **)&real.mmap = dlsym(RTLD_NEXT, "mmap");
  *(void **)&real.munmap = dlsym(RTLD_NEXT, "munmap");
  *(void **)&real.pthread_create = dlsym(RTLD_NEXT, "pthread_create");
  looking = false;
  return true;
}

/* ---- sites ---- */

static int module_add(struct dl_phdr_info *info, size_t size, void *context) {
  (void)size, (void)context;
  for (int i = 0; i < info->dlpi_phnum && state.modules < MODULES; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
    state.module[state.modules].begin = info->dlpi_addr + part->p_vaddr;
    state.module[state.modules++].end = info->dlpi_addr + part->p_vaddr + part->p_memsz;
  }
  return 0;
}

/* Modules lie elsewhere in every process; what lies in them does not. */
static uint64_t site_of(void *const *frame, int frames) {
  uint64_t hash = 0xcbf29ce484222325;
  for (int i = 0; i < frames; i++) {
    uintptr_t at = (uintptr_t)frame[i];
    size_t m = 0;
    while (m < state.modules && !(at >= state.module[m].begin && at < state.module[m].end)) m++;
    at = m < state.modules ? at - state.module[m].begin : at % 4096;
    hash = (hash ^ at ^ (uint64_t)m << 48) * 0x9e3779b97f4a7c15;
    hash ^= hash >> 29;
  }
  return hash;
}

/* Does this allocation fail? */
static __attribute__((noinline)) bool refused(void) {
  if (!state.on || busy) return false;
  busy = true;
  const int saved = errno;
  void *frame[FRAMES];
  const int frames = backtrace(frame, FRAMES);
  const uint64_t site = site_of(frame, frames > above && frames < FRAMES ? frames - above : frames);
  const size_t at = __atomic_fetch_add(&state.count, 1, __ATOMIC_RELAXED);
  if (at < HEARD && state.heard) state.heard[at] = site;
  bool fails = state.mode == FAIL_ONWARD && __atomic_load_n(&state.hit, __ATOMIC_RELAXED);
  if (state.mode != FAIL_NONE && site == state.site &&
      __atomic_fetch_add(&state.met, 1, __ATOMIC_RELAXED) == state.nth) {
    __atomic_store_n(&state.hit, true, __ATOMIC_RELAXED);
    if (state.fd >= 0) backtrace_symbols_fd(frame, frames, state.fd);
    fails = true;
  }
  errno = fails ? ENOMEM : saved;
  busy = false;
  return fails;
}

static void *counted(void *p) {
  if (p) __atomic_fetch_add(&state.live, 1, __ATOMIC_RELAXED);
  return p;
}

/* ---- in their place ---- */

SHOWN void *malloc(size_t bytes) {
  if (!ready()) return early_take(bytes);
  return refused() ? NULL : counted(real.malloc(bytes));
}

SHOWN void *calloc(size_t count, size_t bytes) {
  if (!ready()) return early_take(count * bytes); /* zero, as static memory is */
  return refused() ? NULL : counted(real.calloc(count, bytes));
}

SHOWN void *realloc(void *old, size_t bytes) {
  if (!old) return malloc(bytes);
  if (is_early(old) || !ready()) abort();
  if (bytes && refused()) return NULL;
  void *p = real.realloc(old, bytes);
  if (!bytes) __atomic_fetch_sub(&state.live, 1, __ATOMIC_RELAXED);
  return p;
}

SHOWN void *memalign(size_t alignment, size_t bytes) {
  return !ready() || refused() ? NULL : counted(real.memalign(alignment, bytes));
}

SHOWN void *aligned_alloc(size_t alignment, size_t bytes) {
  return !ready() || refused() ? NULL : counted(real.memalign(alignment, bytes));
}

SHOWN int posix_memalign(void **p, size_t alignment, size_t bytes) {
  void *taken = !ready() || refused() ? NULL : counted(real.memalign(alignment, bytes));
  if (!taken) return ENOMEM;
  *p = taken;
  return 0;
}

SHOWN void free(void *p) {
  if (!p || is_early(p) || !ready()) return;
  __atomic_fetch_sub(&state.live, 1, __ATOMIC_RELAXED);
  real.free(p);
}

SHOWN void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t from) {
  if (!ready() || refused()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void *p = real.mmap(at, bytes, protection, flags, fd, from);
  if (p != MAP_FAILED) counted(p);
  return p;
}

SHOWN int munmap(void *at, size_t bytes) {
  if (!ready()) return -1;
  __atomic_fetch_sub(&state.live, 1, __ATOMIC_RELAXED);
  return real.munmap(at, bytes);
}

SHOWN int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                         void *context) {
  if (!ready() || refused()) return EAGAIN;
  return real.pthread_create(thread, attributes, run, context);
}

/* Whether results outlive the machine is not what is looked at, and waiting for a disk takes
 * long. */
SHOWN int fsync(int fd) {
  (void)fd;
  return 0;
}

/* ---- orders from within ---- */

void fail_begin(uint64_t site, uint32_t nth, enum fail_mode mode) {
  void *frame[FRAMES];
  above = backtrace(frame, FRAMES) - 2;
  state.site = site;
  state.nth = nth;
  state.mode = mode;
  state.met = 0;
  state.count = 0;
  state.hit = false;
  state.on = true;
}

bool fail_end(void) {
  state.on = false;
  return state.hit;
}

const uint64_t *fail_heard(size_t *count) {
  *count = state.count < HEARD ? state.count : HEARD;
  return state.heard;
}

long fail_live(void) {
  return __atomic_load_n(&state.live, __ATOMIC_RELAXED);
}

void fail_tell(int fd) {
  state.fd = fd;
}

/* ---- orders from without ---- */

struct order { /* as sweep.py packs it */
  uint64_t site;
  uint32_t nth, mode;
  char folder[496]; /* to run in; beside it FOLDER.out, .err, .site, .heard */
};

/* Open from the start: the program may give up its right to open files. */
static int heard_fd = -1;

static int beside(const char *folder, const char *ending) {
  char path[512];
  snprintf(path, sizeof path, "%s%s", folder, ending);
  return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
}

static void obey(const struct order *order) {
  const int out = beside(order->folder, ".out"), err = beside(order->folder, ".err");
  if (chdir(order->folder) || dup2(out, 1) < 0 || dup2(err, 2) < 0) _exit(125);
  close(out);
  close(err);
  fail_tell(beside(order->folder, ".site"));
  if (order->mode == FAIL_NONE) heard_fd = beside(order->folder, ".heard");
  alarm(SECONDS); /* one that hangs is found, too */
  fail_begin(order->site, order->nth, (enum fail_mode)order->mode);
  above = 0; /* what leads here does not lead to main */
}

static void serve(int in, int out) {
  struct order order;
  while (read(in, &order, sizeof order) == (ssize_t)sizeof order) {
    int status = -1;
    const pid_t child = fork();
    if (child == 0) {
      close(in);
      close(out);
      obey(&order);
      return;
    }
    waitpid(child, &status, 0);
    if (write(out, &status, sizeof status) != (ssize_t)sizeof status) break;
  }
  _exit(0);
}

__attribute__((constructor)) static void open_up(void) {
  void *frame[FRAMES];
  if (!ready()) abort();
  backtrace(frame, FRAMES); /* loads what it needs */
  state.heard = real.mmap(NULL, HEARD * sizeof *state.heard, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (state.heard == MAP_FAILED) abort();
  dl_iterate_phdr(module_add, NULL);
  int in, out;
  const char *pipes = getenv("FAIL_ALLOC_PIPES");
  if (!pipes || sscanf(pipes, "%d,%d", &in, &out) != 2) return;
  unsetenv("FAIL_ALLOC_PIPES");
  unsetenv("LD_PRELOAD"); /* what the program starts is left in peace */
  serve(in, out);
}

__attribute__((destructor)) static void close_up(void) {
  state.on = false;
  size_t count;
  const uint64_t *heard = fail_heard(&count);
  if (heard_fd >= 0 && write(heard_fd, heard, count * sizeof *heard) < 0) abort();
}
