/* See fuzz.h. */
#include "fuzz.h"

#ifdef FUZZ_IN_MEMORY
#include "memory/input.h"
#endif

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void fuzz_broken(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("broken promise: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  abort();
}

size_t fuzz_dones;

void fuzz_done(void) {
  fuzz_dones++;
}

void fuzz_judge(enum vn_status status, const struct vn_diag *diag) {
  if (status == VN_OK) {
    fuzz_done();
    return;
  }
  if (status == VN_E_INTERNAL || status > VN_E_CANCELLED)
    fuzz_broken("status %d: %s", status, diag->text);
  if (!diag->text[0] || strpbrk(diag->text, "\n\r\x1b"))
    fuzz_broken("status %d without one sentence: '%s'", status, diag->text);
}

struct memory_file {
  int fd;
  char path[32];
};

static void memory_file_open(struct memory_file *file) {
  if (file->path[0]) return;
  file->fd = memfd_create("fuzz", MFD_CLOEXEC);
  if (file->fd < 0) fuzz_broken("no file in memory");
  snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", file->fd);
}

#ifdef FUZZ_IN_MEMORY /* memory/input.h */
static const char in_memory[] = "memory";
static struct {
  void *bytes;
  size_t size;
} memory;

FILE *fuzz_stream(const char *path) {
  return path == in_memory ? fmemopen(memory.bytes, memory.size, "r") : NULL;
}

const char *fuzz_file(const void *bytes, size_t size) {
  memory.bytes = (void *)(uintptr_t)bytes; /* only read */
  memory.size = size;
  return in_memory;
}
#else
const char *fuzz_file(const void *bytes, size_t size) {
  static struct memory_file file;
  memory_file_open(&file);
  if (ftruncate(file.fd, (off_t)size) || pwrite(file.fd, bytes, size, 0) != (ssize_t)size)
    fuzz_broken("no room for a file in memory");
  return file.path;
}
#endif

const char *fuzz_output(int *fd) {
  static struct memory_file file;
  memory_file_open(&file);
  if (ftruncate(file.fd, 0) || lseek(file.fd, 0, SEEK_SET)) fuzz_broken("no file in memory");
  *fd = file.fd;
  return file.path;
}

uint64_t fuzz_next(uint64_t *state) { /* splitmix64, public domain, Vigna */
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

size_t fuzz_below(uint64_t *state, size_t bound) {
  return bound ? (size_t)(fuzz_next(state) % bound) : 0;
}

size_t fuzz_take(struct fuzz_bytes *bytes, size_t bound) {
  size_t value = 0;
  for (size_t most = bound; most > 1 && bytes->left; most = (most + 255) / 256) {
    value = value << 8 | *bytes->at++;
    bytes->left--;
  }
  return bound ? value % bound : 0;
}

size_t fuzz_take_in(struct fuzz_bytes *bytes, size_t least, size_t most) {
  return least + fuzz_take(bytes, most - least + 1);
}

int64_t fuzz_odd_number(uint64_t *state) {
  static const int64_t odd[] = {0,          -1,        1,         2,         3,
                                4,          7,         8,         15,        16,
                                17,         63,        64,        127,       128,
                                255,        256,       0x7fff,    0x8000,    65535,
                                65536,      1 << 20,   INT32_MAX, INT32_MIN, 1u << 31,
                                UINT32_MAX, 1ll << 32, 1ll << 33, 1ll << 40, (1ll << 62) + 8,
                                INT64_MAX,  INT64_MIN};
  return odd[fuzz_below(state, sizeof odd / sizeof *odd)];
}
