/* How a library reads a struct that begins with its `size`: a host may have been built with an
 * older header, whose struct is shorter, or with a newer one. A struct grows from where it ended,
 * never in the padding of its end, which hosts leave as it is. Private: not installed. */
#ifndef VNET_OPTIONS_H
#define VNET_OPTIONS_H

#include "fail.h"

#include <string.h>

enum { VN_OPTIONS_MOST = 4096 }; /* bytes of a struct: more is what lay there before */

/* Copies the caller's struct (NULL: all defaults) over `mine`, which has `size` bytes; what an
 * older struct does not have is 0. VN_E_ARGUMENT: a size that no version had; VN_E_UNSUPPORTED: a
 * newer host asks for something that this library does not know. */
static inline enum vn_status vn_options_take(void *mine, size_t size, const void *theirs,
                                             const char *name, struct vn_diag *diag) {
  size_t given = 0;
  memset(mine, 0, size);
  if (theirs) memcpy(&given, theirs, sizeof given);
  if (theirs && (given < sizeof given || given > VN_OPTIONS_MOST))
    return vn_fail(diag, VN_E_ARGUMENT, "the size of a struct %s is not set", name);
  for (size_t i = size; i < given; i++)
    if (((const unsigned char *)theirs)[i])
      return vn_fail(diag, VN_E_UNSUPPORTED,
                     "a struct %s asks for something that this library is too old for", name);
  if (theirs) memcpy(mine, theirs, given < size ? given : size);
  memcpy(mine, &size, sizeof size);
  return VN_OK;
}

/* The other way: fills as much of the caller's struct as it has room for, and leaves its size. */
static inline enum vn_status vn_options_give(const void *mine, size_t size, void *theirs,
                                             const char *name, struct vn_diag *diag) {
  size_t given;
  memcpy(&given, theirs, sizeof given);
  if (given < sizeof given || given > VN_OPTIONS_MOST)
    return vn_fail(diag, VN_E_ARGUMENT, "the size of a struct %s is not set", name);
  memset(theirs, 0, given);
  memcpy(theirs, mine, given < size ? given : size);
  memcpy(theirs, &given, sizeof given);
  return VN_OK;
}

#endif
