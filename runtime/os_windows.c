/* Windows; see os.h. */
#include "os.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>

#include <psapi.h>

/* ---- the machine ---- */

uint64_t vn_os_now_ns(void) {
  LARGE_INTEGER ticks, each_s;
  QueryPerformanceCounter(&ticks);
  QueryPerformanceFrequency(&each_s);
  const uint64_t t = (uint64_t)ticks.QuadPart, f = (uint64_t)each_s.QuadPart;
  return t / f * 1000000000u + t % f * 1000000000u / f;
}

size_t vn_os_cores(void) {
  DWORD_PTR own, all;
  if (!GetProcessAffinityMask(GetCurrentProcess(), &own, &all) || !own) return 1;
  return (size_t)__builtin_popcountll(own);
}

/* Physical memory that is free, and what may still be promised to anybody. */
uint64_t vn_os_memory_free(const char *root) {
  MEMORYSTATUSEX is = {.dwLength = sizeof is};
  (void)root;
  if (!GlobalMemoryStatusEx(&is)) return UINT64_MAX;
  return is.ullAvailPhys < is.ullAvailPageFile ? is.ullAvailPhys : is.ullAvailPageFile;
}

uint64_t vn_os_memory_peak(void) {
  PROCESS_MEMORY_COUNTERS had;
  return K32GetProcessMemoryInfo(GetCurrentProcess(), &had, sizeof had) ? had.PeakWorkingSetSize
                                                                        : 0;
}

uint64_t vn_os_process(void) {
  return GetCurrentProcessId();
}

/* RtlGenRandom, which every version of Windows exports under this name. */
BOOLEAN NTAPI SystemFunction036(PVOID to, ULONG bytes);

bool vn_os_random(uint64_t *number) {
  return SystemFunction036(number, sizeof *number);
}

/* ---- numbers ---- */

/* `before` is the locale's name, `plain` whether the thread has had one of its own. */
bool vn_os_numbers_plain(struct vn_os_numbers *numbers) {
  const int own = _configthreadlocale(_ENABLE_PER_THREAD_LOCALE);
  numbers->plain = (void *)(intptr_t)own;
  numbers->before = strdup(setlocale(LC_NUMERIC, NULL));
  if (numbers->before) setlocale(LC_NUMERIC, "C");
  if (!numbers->before) _configthreadlocale(own);
  return numbers->before;
}

void vn_os_numbers_restore(struct vn_os_numbers *numbers) {
  setlocale(LC_NUMERIC, numbers->before);
  _configthreadlocale((int)(intptr_t)numbers->plain);
  free(numbers->before);
}

/* ---- pages ---- */

enum { PAGE_BYTES = 4096 };

/* Large pages need a right that users do not have. */
void *vn_os_pages(size_t bytes, size_t *map_bytes) {
  if (bytes == 0) bytes = 1;
  if (bytes > SIZE_MAX - PAGE_BYTES) return NULL;
  *map_bytes = (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
  return VirtualAlloc(NULL, *map_bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

void vn_os_pages_free(void *pages, size_t map_bytes) {
  (void)map_bytes;
  if (pages) VirtualFree(pages, 0, MEM_RELEASE);
}

void vn_os_pages_drop(void *from, size_t bytes) {
  const uintptr_t begin = ((uintptr_t)from + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
  const uintptr_t end = ((uintptr_t)from + bytes) / PAGE_BYTES * PAGE_BYTES;
  if (begin < end && VirtualFree((void *)begin, end - begin, MEM_DECOMMIT))
    VirtualAlloc((void *)begin, end - begin, MEM_COMMIT, PAGE_READWRITE);
}

void vn_os_pages_large(void *from, size_t bytes) {
  (void)from, (void)bytes;
}

/* ---- files ---- */

int vn_os_dup(int fd) {
  return dup(fd);
}

static void *mapped(int fd, size_t bytes, DWORD protection, DWORD access) {
  const HANDLE file = (HANDLE)_get_osfhandle(fd);
  const HANDLE section = CreateFileMappingW(file, NULL, protection, (DWORD)((uint64_t)bytes >> 32),
                                            (DWORD)bytes, NULL);
  void *memory = section ? MapViewOfFile(section, access, 0, 0, bytes) : NULL;
  const DWORD reason = GetLastError();
  if (section) CloseHandle(section); /* the view keeps it */
  if (!memory) errno = reason == ERROR_DISK_FULL ? ENOSPC : ENOMEM;
  return memory;
}

void *vn_os_map(int fd, size_t bytes) {
  return mapped(fd, bytes, PAGE_READONLY, FILE_MAP_READ);
}

void *vn_os_map_new(int fd, size_t bytes) {
  return mapped(fd, bytes, PAGE_READWRITE, FILE_MAP_WRITE);
}

void vn_os_unmap(void *memory, size_t bytes) {
  (void)bytes;
  if (memory) UnmapViewOfFile(memory);
}

bool vn_os_map_outlives(void) {
  return false; /* the last handle takes a doomed file with it */
}

/* A lock keeps others from reading what it covers: it lies where no file has a byte. */
enum vn_os_lock vn_os_lock(int fd, bool wait) {
  OVERLAPPED at = {.OffsetHigh = 0x7FFFFFFF};
  const DWORD how = LOCKFILE_EXCLUSIVE_LOCK | (wait ? 0 : LOCKFILE_FAIL_IMMEDIATELY);
  if (LockFileEx((HANDLE)_get_osfhandle(fd), how, 0, 1, 0, &at)) return VN_OS_LOCK_HELD;
  const DWORD reason = GetLastError();
  return reason == ERROR_LOCK_VIOLATION || reason == ERROR_IO_PENDING ? VN_OS_LOCK_BUSY
                                                                      : VN_OS_LOCK_NONE;
}

uint64_t vn_os_mark(const char *path) {
  struct stat file;
  if (stat(path, &file)) return 0;
  return vn_os_mark_of((uint64_t)file.st_size, 100 * file.written);
}

void vn_os_doom(int fd, bool doomed) {
  FILE_DISPOSITION_INFO what = {.DeleteFile = doomed};
  SetFileInformationByHandle((HANDLE)_get_osfhandle(fd), FileDispositionInfo, &what, sizeof what);
}

/* ---- names and folders ---- */

const char *vn_os_name(const char *path) {
  const char *name = path;
  for (const char *c = path; *c; c++)
    if (*c == '/' || *c == '\\' || (*c == ':' && c == path + 1)) name = c + 1;
  return name;
}

char *vn_os_slashes(char *path) {
  for (char *c = path; *c; c++)
    if (*c == '\\') *c = '/';
  return path;
}

bool vn_os_is_full(const char *path) {
  return *path == '/' || *path == '\\' || (*path && path[1] == ':');
}

/* Behind the bracket: where the set ends, NULL: it never does. */
static const char *set_fits(const char *set, char c, bool *fits) {
  const bool not = *set == '!' || *set == '^';
  const char *begin = set += not ;
  *fits = false;
  for (; *set && (*set != ']' || set == begin); set++) {
    const bool range = set[1] == '-' && set[2] && set[2] != ']';
    if (range ? *set <= c && c <= set[2] : *set == c) *fits = true;
    if (range) set += 2;
  }
  *fits ^= not ;
  return *set ? set + 1 : NULL;
}

bool vn_os_matches(const char *pattern, const char *text) {
  const char *star = NULL, *from = text;
  while (*text) {
    bool fits = *pattern == *text || *pattern == '?', in_set = false;
    const char *next = pattern + 1;
    const char *set_end = *pattern == '[' ? set_fits(next, *text, &in_set) : NULL;
    if (set_end) {
      fits = in_set;
      next = set_end;
    }
    if (*pattern == '*') {
      star = ++pattern;
      from = text;
    } else if (*pattern && fits) {
      pattern = next;
      text++;
    } else if (star) { /* the star takes one more */
      pattern = star;
      text = ++from;
    } else {
      return false;
    }
  }
  return pattern[strspn(pattern, "*")] == '\0';
}

static int by_bytes(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* mingw-w64's own readdir takes names that are not UTF-8. */
static HANDLE folder_find(const char *folder, WIN32_FIND_DATAW *found) {
  wchar_t wide[2048];
  const int length = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, folder, -1, wide, 2040);
  if (length) wcscpy(wide + length - 1, L"/*");
  HANDLE list = length ? FindFirstFileW(wide, found) : INVALID_HANDLE_VALUE;
  if (list == INVALID_HANDLE_VALUE) errno = length ? ENOENT : ENAMETOOLONG;
  if (list == INVALID_HANDLE_VALUE && GetLastError() == ERROR_ACCESS_DENIED) errno = EACCES;
  return list;
}

ptrdiff_t vn_os_folder_list(const char *folder, bool (*wanted)(const char *name), char ***names) {
  WIN32_FIND_DATAW found;
  HANDLE list = folder_find(folder, &found);
  size_t count = 0, room = 0;
  bool good = true;
  *names = NULL;
  if (list == INVALID_HANDLE_VALUE) return -1;
  do {
    char name[3 * MAX_PATH + 1];
    if (!WideCharToMultiByte(CP_UTF8, 0, found.cFileName, -1, name, sizeof name, NULL, NULL) ||
        !strcmp(name, ".") || !strcmp(name, "..") || (wanted && !wanted(name)))
      continue;
    char **more = *names;
    if (count == room && (more = realloc(*names, (room = 2 * room + 64) * sizeof *more)))
      *names = more;
    good = more && ((*names)[count] = strdup(name));
    count += good;
  } while (good && FindNextFileW(list, &found));
  FindClose(list);
  if (count) qsort(*names, count, sizeof **names, by_bytes);
  if (good) return (ptrdiff_t)count;
  while (count) free((*names)[--count]);
  free(*names);
  *names = NULL;
  errno = ENOMEM;
  return -1;
}

void vn_os_folder_sync(const char *folder) {
  (void)folder;
}
