/* Text that is printed into memory, on Windows; see printed.h. Its streams are files' alone: the
 * text passes through a temporary file, which the system removes. */
#include "printed.h"

#include <windows.h>

FILE *vn_printed_open(struct vn_printed *text) {
  wchar_t folder[MAX_PATH + 1], name[MAX_PATH + 1];
  *text = (struct vn_printed){0};
  if (!GetTempPathW(MAX_PATH + 1, folder) || !GetTempFileNameW(folder, L"vn", 0, name)) return NULL;
  HANDLE file = CreateFileW(name, GENERIC_READ | GENERIC_WRITE | DELETE, 0, NULL, CREATE_ALWAYS,
                            FILE_ATTRIBUTE_TEMPORARY | FILE_FLAG_DELETE_ON_CLOSE, NULL);
  const int fd = file == INVALID_HANDLE_VALUE
                     ? -1
                     : _open_osfhandle((intptr_t)file, O_BINARY | O_NOINHERIT | O_RDWR);
  FILE *stream = fd < 0 ? NULL : fdopen(fd, "w+");
  if (!stream && fd >= 0) _close(fd);
  if (fd < 0 && file != INVALID_HANDLE_VALUE) CloseHandle(file);
  return stream;
}

bool vn_printed_close(FILE *stream, struct vn_printed *text) {
  const bool bad = !stream || ferror(stream) || fflush(stream);
  const int64_t bytes = bad ? -1 : _ftelli64(stream);
  text->text = bytes < 0 ? NULL : malloc((size_t)bytes + 1);
  if (text->text) rewind(stream);
  const bool whole = text->text && fread(text->text, 1, (size_t)bytes, stream) == (size_t)bytes;
  if (stream) fclose(stream);
  if (whole) {
    text->bytes = (size_t)bytes;
    text->text[text->bytes] = '\0';
    return true;
  }
  free(text->text);
  *text = (struct vn_printed){0};
  return false;
}
