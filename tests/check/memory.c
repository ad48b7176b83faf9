/* Fenced memory for the checker: a stray access faults, a stray write between pixels shows. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void fence_open(struct fence *f, size_t bytes, bool at_end) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE), inside = (bytes + page - 1) / page * page;
  f->map_bytes = inside + 2 * page;
  f->map = mmap(NULL, f->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (f->map == MAP_FAILED || mprotect(f->map + page, inside, PROT_READ | PROT_WRITE)) {
    fputs("vnet-check: out of memory\n", stderr);
    exit(6);
  }
  f->bytes = bytes;
  f->data = f->map + page + (at_end ? inside - bytes : 0);
}

static void fence_protect(struct fence *f, int how) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  mprotect(f->map + page, f->map_bytes - 2 * page, how);
}

void fence_lock(struct fence *f) {
  fence_protect(f, PROT_READ);
}

void fence_hide(struct fence *f) {
  fence_protect(f, PROT_NONE);
}

void fence_close(struct fence *f) {
  if (f->map) munmap(f->map, f->map_bytes);
  *f = (struct fence){0};
}

size_t tensor_pixels(const struct vn_tensor *t) {
  return t->dim[VN_N] * t->dim[VN_D] * t->dim[VN_H] * t->dim[VN_W];
}

size_t tensor_elems(const struct vn_tensor *t) {
  return tensor_pixels(t) * t->dim[VN_C];
}

size_t tensor_at(const struct vn_tensor *t, size_t i) {
  return i / t->dim[VN_C] * t->stride + i % t->dim[VN_C];
}

void tensor_open(struct fenced_tensor *f, struct random *r, const size_t dim[VN_AXES]) {
  memcpy(f->t.dim, dim, sizeof f->t.dim);
  f->t.stride = dim[VN_C] + (random_below(r, 2) ? 0 : random_in(r, 1, 20));
  const size_t elems = (tensor_pixels(&f->t) - 1) * f->t.stride + dim[VN_C];
  fence_open(&f->memory, elems * sizeof(float), random_below(r, 2));
  f->t.data = f->memory.data;
  uint32_t *word = f->t.data;
  for (size_t i = 0; i < elems; i++) word[i] = 0x7fc00000u + (uint32_t)(i & 0xfffff); /* NaN */
}

bool tensor_gaps_equal(const struct fenced_tensor *f, const unsigned char *before) {
  const size_t pixel = f->t.stride * sizeof(float), own = f->t.dim[VN_C] * sizeof(float);
  for (size_t at = own; at < f->memory.bytes; at += pixel)
    if (memcmp(f->memory.data + at, before + at, pixel - own)) return false;
  return true;
}
