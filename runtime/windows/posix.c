/* Calls of POSIX on Windows; see posix.h. */
#include <stdbool.h>
#include <windows.h>

enum { PIECE_MOST = 1 << 30 }; /* what one call reads or writes at most */

/* ---- names and errors ---- */

/* The last error of the system's as an errno; returns -1. */
static int failed(void) {
  static const struct {
    DWORD code;
    int number;
  } known[] = {
      {ERROR_FILE_NOT_FOUND, ENOENT},      {ERROR_PATH_NOT_FOUND, ENOENT},
      {ERROR_INVALID_NAME, ENOENT},        {ERROR_BAD_NETPATH, ENOENT},
      {ERROR_BAD_NET_NAME, ENOENT},        {ERROR_NOT_READY, ENOENT},
      {ERROR_INVALID_DRIVE, ENOENT},       {ERROR_DIRECTORY, ENOTDIR},
      {ERROR_ACCESS_DENIED, EACCES},       {ERROR_SHARING_VIOLATION, EACCES},
      {ERROR_LOCK_VIOLATION, EACCES},      {ERROR_PRIVILEGE_NOT_HELD, EACCES},
      {ERROR_WRITE_PROTECT, EROFS},        {ERROR_FILE_EXISTS, EEXIST},
      {ERROR_ALREADY_EXISTS, EEXIST},      {ERROR_DISK_FULL, ENOSPC},
      {ERROR_HANDLE_DISK_FULL, ENOSPC},    {ERROR_NOT_ENOUGH_MEMORY, ENOMEM},
      {ERROR_OUTOFMEMORY, ENOMEM},         {ERROR_NO_SYSTEM_RESOURCES, ENOMEM},
      {ERROR_COMMITMENT_LIMIT, ENOMEM},    {ERROR_FILENAME_EXCED_RANGE, ENAMETOOLONG},
      {ERROR_TOO_MANY_OPEN_FILES, EMFILE}, {ERROR_NO_UNICODE_TRANSLATION, EILSEQ},
      {ERROR_BROKEN_PIPE, EPIPE},          {ERROR_NO_DATA, EPIPE},
      {ERROR_INVALID_HANDLE, EBADF},
  };
  const DWORD code = GetLastError();
  errno = EIO;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].code == code) errno = known[i].number;
  return -1;
}

static wchar_t *utf16(const char *text) {
  const int room = MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, text, -1, NULL, 0);
  wchar_t *wide = room ? malloc((size_t)room * sizeof *wide) : NULL;
  if (wide) MultiByteToWideChar(CP_UTF8, 0, text, -1, wide, room);
  if (!room) failed();
  return wide;
}

/* With slashes, which the rest of the project knows. */
static char *utf8(const wchar_t *wide) {
  const int room = WideCharToMultiByte(CP_UTF8, 0, wide, -1, NULL, 0, NULL, NULL);
  char *text = malloc((size_t)room + 1);
  if (!text) return NULL;
  WideCharToMultiByte(CP_UTF8, 0, wide, -1, text, room, NULL, NULL);
  for (char *c = text; *c; c++)
    if (*c == '\\') *c = '/';
  return text;
}

/* Windows takes names of more than 260 characters when they are whole and say so. */
static wchar_t *wide_path(const char *path) {
  wchar_t *name = utf16(path);
  if (!name || wcslen(name) < 200) return name;
  const DWORD room = GetFullPathNameW(name, 0, NULL, NULL);
  wchar_t *full = room ? malloc((room + 8) * sizeof *full) : NULL;
  if (!room) failed();
  if (full) {
    GetFullPathNameW(name, room, full + 7, NULL);
    const bool share = full[7] == L'\\' && full[8] == L'\\' && full[9] != L'?' && full[9] != L'.';
    const bool drive = full[8] == L':';
    wchar_t *begin = full + 7;
    if (share) begin = memcpy(full + 1, L"\\\\?\\UNC", 7 * sizeof *full);
    if (drive) begin = memcpy(full + 3, L"\\\\?\\", 4 * sizeof *full);
    memmove(full, begin, (wcslen(begin) + 1) * sizeof *full);
  }
  free(name);
  return full;
}

/* INVALID_HANDLE_VALUE: errno. Everybody may read, write, rename and remove the file meanwhile. */
static HANDLE handle_open(const char *path, DWORD access, DWORD how, DWORD flags) {
  wchar_t *name = wide_path(path);
  if (!name) return INVALID_HANDLE_VALUE;
  HANDLE file = CreateFileW(name, access, FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
                            NULL, how, FILE_FLAG_BACKUP_SEMANTICS | flags, NULL);
  if (file == INVALID_HANDLE_VALUE) failed();
  free(name);
  return file;
}

/* ---- what a file is ---- */

static int handle_stat(HANDLE file, struct vn_windows_stat *info) {
  BY_HANDLE_FILE_INFORMATION is;
  FILE_ATTRIBUTE_TAG_INFO tag = {0};
  const DWORD type = GetFileType(file);
  *info = (struct vn_windows_stat){.st_mode = type == FILE_TYPE_PIPE ? S_IFIFO : S_IFCHR};
  if (type != FILE_TYPE_DISK) return 0;
  if (!GetFileInformationByHandle(file, &is)) return failed();
  info->st_mode = is.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY ? S_IFDIR : S_IFREG;
  if (is.dwFileAttributes & FILE_ATTRIBUTE_REPARSE_POINT &&
      GetFileInformationByHandleEx(file, FileAttributeTagInfo, &tag, sizeof tag) &&
      (tag.ReparseTag == IO_REPARSE_TAG_SYMLINK || tag.ReparseTag == IO_REPARSE_TAG_MOUNT_POINT))
    info->st_mode = S_IFLNK;
  info->st_dev = is.dwVolumeSerialNumber;
  info->st_ino = (uint64_t)is.nFileIndexHigh << 32 | is.nFileIndexLow;
  info->st_nlink = is.nNumberOfLinks;
  info->st_size = (int64_t)is.nFileSizeHigh << 32 | is.nFileSizeLow;
  info->written =
      (uint64_t)is.ftLastWriteTime.dwHighDateTime << 32 | is.ftLastWriteTime.dwLowDateTime;
  return 0;
}

static int path_stat(const char *path, struct vn_windows_stat *info, DWORD flags) {
  HANDLE file = handle_open(path, FILE_READ_ATTRIBUTES, OPEN_EXISTING, flags);
  if (file == INVALID_HANDLE_VALUE) return -1;
  const int result = handle_stat(file, info);
  CloseHandle(file);
  return result;
}

int vn_windows_stat(const char *path, struct vn_windows_stat *info) {
  return path_stat(path, info, 0);
}

int vn_windows_lstat(const char *path, struct vn_windows_stat *info) {
  return path_stat(path, info, FILE_FLAG_OPEN_REPARSE_POINT);
}

int vn_windows_fstat(int fd, struct vn_windows_stat *info) {
  return handle_stat((HANDLE)_get_osfhandle(fd), info);
}

int vn_windows_access(const char *path, int mode) {
  const DWORD writing = FILE_WRITE_DATA; /* of a folder: adding a file */
  HANDLE file = handle_open(path, mode & W_OK ? writing : FILE_READ_ATTRIBUTES, OPEN_EXISTING, 0);
  if (file == INVALID_HANDLE_VALUE) return -1;
  CloseHandle(file);
  return 0;
}

/* ---- open files ---- */

int vn_windows_open(const char *path, int flags) {
  const bool writes = flags & (O_WRONLY | O_RDWR);
  const DWORD access = GENERIC_READ | (writes ? GENERIC_WRITE : 0) | (flags & O_CREAT ? DELETE : 0);
  const DWORD how = flags & O_EXCL    ? CREATE_NEW
                    : flags & O_TRUNC ? CREATE_ALWAYS
                    : flags & O_CREAT ? OPEN_ALWAYS
                                      : OPEN_EXISTING;
  HANDLE file =
      handle_open(path, access, how, flags & O_NOFOLLOW ? FILE_FLAG_OPEN_REPARSE_POINT : 0);
  if (file == INVALID_HANDLE_VALUE) return -1;
  const int fd =
      _open_osfhandle((intptr_t)file, O_BINARY | O_NOINHERIT | (flags & (O_APPEND | O_RDWR)));
  if (fd < 0) CloseHandle(file);
  return fd;
}

/* The C runtime's own would not keep the copy from programs that are started. */
int vn_windows_dup(int fd) {
  HANDLE copy, file = (HANDLE)_get_osfhandle(fd), self = GetCurrentProcess();
  if (!DuplicateHandle(self, file, self, &copy, 0, FALSE, DUPLICATE_SAME_ACCESS)) return failed();
  const int other = _open_osfhandle((intptr_t)copy, O_BINARY | O_NOINHERIT | O_RDWR);
  if (other < 0) CloseHandle(copy);
  return other;
}

FILE *vn_windows_fdopen(int fd, const char *mode) {
  char bytes[8];
  snprintf(bytes, sizeof bytes, "%c%sb", *mode, strchr(mode, '+') ? "+" : "");
  return _fdopen(fd, bytes);
}

FILE *vn_windows_fopen(const char *path, const char *mode) {
  const bool both = strchr(mode, '+');
  const int flags = *mode == 'r'   ? both ? O_RDWR : O_RDONLY
                    : *mode == 'w' ? O_RDWR | O_CREAT | O_TRUNC
                                   : O_RDWR | O_CREAT | O_APPEND;
  struct vn_windows_stat info;
  const int fd = vn_windows_open(path, flags);
  if (fd >= 0 && (vn_windows_fstat(fd, &info) || S_ISDIR(info.st_mode))) {
    _close(fd);
    errno = EISDIR;
    return NULL;
  }
  FILE *file = fd < 0 ? NULL : vn_windows_fdopen(fd, mode);
  if (!file && fd >= 0) _close(fd);
  return file;
}

ssize_t vn_windows_read(int fd, void *to, size_t bytes) {
  return _read(fd, to, bytes < PIECE_MOST ? (unsigned)bytes : PIECE_MOST);
}

ssize_t vn_windows_write(int fd, const void *from, size_t bytes) {
  return _write(fd, from, bytes < PIECE_MOST ? (unsigned)bytes : PIECE_MOST);
}

/* Moves the place that read() goes on from, which callers of both know. */
ssize_t vn_windows_pread(int fd, void *to, size_t bytes, int64_t from) {
  const int64_t before = _lseeki64(fd, 0, SEEK_CUR);
  if (before < 0 || _lseeki64(fd, from, SEEK_SET) < 0) return -1;
  const ssize_t got = vn_windows_read(fd, to, bytes);
  const int reason = errno;
  _lseeki64(fd, before, SEEK_SET);
  errno = reason;
  return got;
}

int vn_windows_fsync(int fd) {
  return _commit(fd);
}

/* ---- folders ---- */

int vn_windows_mkdir(const char *path) {
  wchar_t *name = wide_path(path);
  const bool good = name && CreateDirectoryW(name, NULL);
  if (name && !good) failed();
  free(name);
  return good ? 0 : -1;
}

int vn_windows_unlink(const char *path) {
  wchar_t *name = wide_path(path);
  const bool good = name && DeleteFileW(name);
  if (name && !good) failed();
  free(name);
  return good ? 0 : -1;
}

/* What is marked as read-only stays: so Windows has it, and wine does not. */
static bool is_kept(const wchar_t *path) {
  const DWORD is = GetFileAttributesW(path);
  if (is == INVALID_FILE_ATTRIBUTES || !(is & FILE_ATTRIBUTE_READONLY)) return false;
  SetLastError(ERROR_ACCESS_DENIED);
  return true;
}

int vn_windows_rename(const char *from, const char *to) {
  wchar_t *old = wide_path(from), *new = wide_path(to);
  const bool good = old && new && !is_kept(new) && MoveFileExW(old, new, MOVEFILE_REPLACE_EXISTING);
  if (old && new && !good) failed();
  free(old);
  free(new);
  return good ? 0 : -1;
}

/* ---- whole names ---- */

char *vn_windows_realpath(const char *path) {
  HANDLE file = handle_open(path, 0, OPEN_EXISTING, 0);
  if (file == INVALID_HANDLE_VALUE) return NULL;
  const DWORD room = GetFinalPathNameByHandleW(file, NULL, 0, 0);
  wchar_t *wide = room ? malloc((room + 1) * sizeof *wide) : NULL;
  char *real = NULL;
  if (wide && GetFinalPathNameByHandleW(file, wide, room + 1, 0)) {
    if (wcsncmp(wide, L"\\\\?\\UNC\\", 8) == 0)
      real = utf8(wide + 6);
    else
      real = utf8(wcsncmp(wide, L"\\\\?\\", 4) == 0 ? wide + 4 : wide);
    if (real && strncmp(real, "C/", 2) == 0) *real = '/'; /* of \\?\UNC\server: //server */
  } else if (!room) {
    failed();
  }
  CloseHandle(file);
  free(wide);
  return real;
}

char *vn_windows_getcwd(void) {
  const DWORD room = GetCurrentDirectoryW(0, NULL);
  wchar_t *wide = malloc((room + 1) * sizeof *wide);
  char *folder = wide && GetCurrentDirectoryW(room + 1, wide) ? utf8(wide) : NULL;
  free(wide);
  return folder;
}

char *vn_windows_getenv(const char *name) {
  wchar_t *wide = utf16(name);
  const wchar_t *value = wide ? _wgetenv(wide) : NULL;
  free(wide);
  return value ? utf8(value) : NULL;
}

/* ---- text ---- */

char *strndup(const char *text, size_t most) {
  const size_t length = strnlen(text, most);
  char *copy = malloc(length + 1);
  if (!copy) return NULL;
  copy[length] = '\0';
  return memcpy(copy, text, length);
}

char *strsep(char **rest, const char *ends) {
  char *word = *rest, *end = word ? word + strcspn(word, ends) : NULL;
  if (!word) return NULL;
  *rest = *end ? end + 1 : NULL;
  *end = '\0';
  return word;
}

void *memmem(const void *in, size_t in_bytes, const void *what, size_t what_bytes) {
  const char *at = in, *end = at + in_bytes;
  if (what_bytes == 0) return (void *)in;
  while ((size_t)(end - at) >= what_bytes) {
    at = memchr(at, *(const char *)what, (size_t)(end - at) - what_bytes + 1);
    if (!at || memcmp(at, what, what_bytes) == 0) return (void *)at;
    at++;
  }
  return NULL;
}

ssize_t getline(char **line, size_t *room, FILE *file) {
  size_t length = 0;
  for (int c; (c = getc(file)) != EOF;) {
    if (length + 2 > *room || !*line) {
      char *more = realloc(*line, 2 * length + 128);
      if (!more) {
        errno = ENOMEM;
        return -1;
      }
      *line = more;
      *room = 2 * length + 128;
    }
    (*line)[length++] = (char)c;
    if (c == '\n') break;
  }
  if (!length) return -1;
  (*line)[length] = '\0';
  return (ssize_t)length;
}

/* As search.h of mingw-w64 lays its nodes out. */
void tdestroy(void *root, void (*node_free)(void *node)) {
  struct node {
    void *key;
    struct node *left, *right;
  } *node = root;
  if (!node) return;
  tdestroy(node->left, node_free);
  tdestroy(node->right, node_free);
  node_free(node->key);
  free(node);
}
