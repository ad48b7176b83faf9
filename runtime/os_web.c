/* A web page, by emscripten; see os.h. Memory is the one block that WebAssembly has: it grows up to
 * what the page has set, and is never given back. */
#include "os.h"

#include <emscripten.h>
#include <emscripten/threading.h>
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

/* ---- files ---- */

enum vn_status vn_os_file_open(const char *path, struct vn_os_file *file, struct vn_diag *diag) {
  *file = (struct vn_os_file){.fd = -1};
  return vn_fail(diag, VN_E_UNSUPPORTED, "%.300s: a web page opens plans from memory", path);
}

enum vn_status vn_os_file_read(const struct vn_os_file *file, void *to, size_t bytes, size_t *got,
                               struct vn_diag *diag) {
  (void)file, (void)to, (void)bytes;
  *got = 0;
  return vn_fail(diag, VN_E_INTERNAL, "a web page has no files");
}

void vn_os_file_close(struct vn_os_file *file) {
  (void)file;
}
