/* How this project's own code fills a struct vn_diag. Private: not installed. */
#ifndef VNET_FAIL_H
#define VNET_FAIL_H

#include "vnet_status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A sentence quotes what it refuses: names and words from files, which would otherwise bring line
 * breaks and a terminal's escape sequences (also C1's, in UTF-8) into it. */
static inline void vn_fail_plain(char *text) {
  for (unsigned char *c = (unsigned char *)text; *c; c++)
    if (*c < 0x20 || *c == 0x7F || (c[0] == 0xC2 && c[1] >= 0x80 && c[1] < 0xA0)) *c = '?';
}

/* Leaves the sentence in `diag` (which may be NULL) and returns `status`, so that a function can
 * write `return vn_fail(diag, VN_E_FORMAT, "%s: truncated", name);`. A longer sentence is cut. */
__attribute__((format(printf, 3, 4))) static inline enum vn_status
vn_fail(struct vn_diag *diag, enum vn_status status, const char *format, ...) {
  if (diag) {
    va_list args;
    va_start(args, format);
    vsnprintf(diag->text, sizeof diag->text, format, args);
    va_end(args);
    vn_fail_plain(diag->text);
  }
  return status;
}

/* Adds a sentence to those that `text` holds, behind "; "; what has no room is cut. */
__attribute__((format(printf, 3, 4))) static inline void vn_say(char *text, size_t size,
                                                                const char *format, ...) {
  size_t at = strlen(text);
  if (at) at += (size_t)snprintf(text + at, size - at, "; ");
  if (at >= size) return;
  va_list args;
  va_start(args, format);
  vsnprintf(text + at, size - at, format, args);
  va_end(args);
}

/* The status of a call of the system's that failed for `reason`, an errno. */
static inline enum vn_status vn_io_status(int reason) {
  return reason == ENOMEM ? VN_E_MEMORY : VN_E_IO;
}

#endif
