/* Text that is printed into memory; see printed.h. */
#include "printed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Room for one byte more than there is, for the zero. */
static ssize_t text_write(void *cookie, const char *bytes, size_t size) {
  struct vn_printed *text = cookie;
  if (text->room - text->bytes <= size) {
    const size_t room = 2 * text->room + size + 1;
    char *more = realloc(text->text, room);
    if (!more) {
      errno = ENOMEM;
      return 0; /* makes it an error of the stream */
    }
    text->text = more;
    text->room = room;
  }
  memcpy(text->text + text->bytes, bytes, size);
  text->bytes += size;
  return (ssize_t)size;
}

FILE *vn_printed_open(struct vn_printed *text) {
  *text = (struct vn_printed){0};
  return fopencookie(text, "w", (cookie_io_functions_t){.write = text_write});
}

bool vn_printed_close(FILE *stream, struct vn_printed *text) {
  const bool bad = !stream || ferror(stream);
  const bool whole = !(stream && fclose(stream)) && !bad && text_write(text, "", 0) == 0;
  if (whole && text->text) {
    text->text[text->bytes] = '\0';
    return true;
  }
  free(text->text);
  *text = (struct vn_printed){0};
  return false;
}
