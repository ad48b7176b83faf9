/* A web page, by emscripten; see os.h. Memory is the one block that WebAssembly has: it grows up to
 * what the page has set, and is never given back. */
#include "os.h"

#include <emscripten.h>
#include <emscripten/threading.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES = 4096 };

/* What the page has set; without one, half of what an address can tell. */
EM_JS(double, memory_most, (void), { return Module['memoryMost'] || 0x80000000; });

uint64_t vn_os_now_ns(void) {
  return (uint64_t)(emscripten_get_now() * 1e6);
}

/* Of threads the page has made as many as it wants beforehand: they cannot start while we work. */
size_t vn_os_cores(void) {
#ifdef __EMSCRIPTEN_PTHREADS__
  return (size_t)emscripten_num_logical_cores();
#else
  return 1;
#endif
}

uint64_t vn_os_memory_free(const char *root) {
  (void)root;
  const uint64_t most = (uint64_t)memory_most(), used = (size_t)mallinfo().uordblks;
  return used < most ? most - used : 0;
}

uint64_t vn_os_process(void) {
  return 1;
}

/* ---- pages ---- */

void *vn_os_pages(size_t bytes, size_t *map_bytes) {
  if (bytes == 0) bytes = 1;
  if (bytes > SIZE_MAX - PAGE_BYTES) return NULL;
  *map_bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
  void *pages = aligned_alloc(PAGE_BYTES, *map_bytes);
  return pages ? memset(pages, 0, *map_bytes) : NULL;
}

void vn_os_pages_free(void *pages, size_t map_bytes) {
  (void)map_bytes;
  free(pages);
}

void vn_os_pages_drop(void *from, size_t bytes) {
  memset(from, 0, bytes);
}

void vn_os_pages_large(void *from, size_t bytes) {
  (void)from, (void)bytes;
}

/* There is no other locale. */
bool vn_os_numbers_plain(struct vn_os_numbers *numbers) {
  *numbers = (struct vn_os_numbers){NULL, NULL};
  return true;
}

void vn_os_numbers_restore(struct vn_os_numbers *numbers) {
  (void)numbers;
}

/* ---- files, which lie in memory and have one user ---- */

int vn_os_dup(int fd) {
  return fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

const char *vn_os_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

ptrdiff_t vn_os_folder_list(const char *folder, bool (*wanted)(const char *name), char ***names) {
  (void)folder, (void)wanted;
  *names = NULL;
  return 0;
}
