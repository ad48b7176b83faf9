/* Text that is printed into memory, whole or not at all. (A stream of open_memstream's closes
 * without a word when there was no room for something that was printed in between.) */
#ifndef VNET_PRINTED_H
#define VNET_PRINTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct vn_printed {
  char *text; /* once closed: all of it, ended by a zero; the caller frees it */
  size_t bytes, room;
};

/* A stream to print to; NULL: out of memory. `text` must stay until it is closed. */
FILE *vn_printed_open(struct vn_printed *text);

/* Closes the stream, which may be NULL. False: not all of it found room, and there is no text. */
bool vn_printed_close(FILE *stream, struct vn_printed *text);

#endif
