/* Text that is printed into memory; see text.h. */
#include "text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Room for one byte more than there is, for the zero. */
static ssize_t text_write(void *cookie, const char *bytes, size_t size) {
  struct cli_text *text = cookie;
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

FILE *cli_text_open(struct cli_text *text) {
  *text = (struct cli_text){0};
  return fopencookie(text, "w", (cookie_io_functions_t){.write = text_write});
}

bool cli_text_close(FILE *stream, struct cli_text *text) {
  const bool bad = !stream || ferror(stream);
  const bool whole = !(stream && fclose(stream)) && !bad && text_write(text, "", 0) == 0;
  if (whole && text->text) {
    text->text[text->bytes] = '\0';
    return true;
  }
  free(text->text);
  *text = (struct cli_text){0};
  return false;
}
