/* How this project's own code fills a struct vn_diag. Private: not installed. */
#ifndef VNET_FAIL_H
#define VNET_FAIL_H

#include "vnet_status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

/* Leaves the sentence in `diag` (which may be NULL) and returns `status`, so that a function can
 * write `return vn_fail(diag, VN_E_FORMAT, "%s: truncated", name);`. A longer sentence is cut. */
__attribute__((format(printf, 3, 4))) static inline enum vn_status
vn_fail(struct vn_diag *diag, enum vn_status status, const char *format, ...) {
  if (diag) {
    va_list args;
    va_start(args, format);
    vsnprintf(diag->text, sizeof diag->text, format, args);
    va_end(args);
  }
  return status;
}

/* The status of a call of the system's that failed for `reason`, an errno. */
static inline enum vn_status vn_io_status(int reason) {
  return reason == ENOMEM ? VN_E_MEMORY : VN_E_IO;
}

#endif
