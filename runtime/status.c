/* Names for people: the library's version and its status codes. */
#include "vnet.h"

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

const char *vn_version(void) {
  return TEXT(VN_VERSION_MAJOR) "." TEXT(VN_VERSION_MINOR) "." TEXT(VN_VERSION_PATCH);
}

const char *vn_status_text(enum vn_status status) {
  switch (status) {
  case VN_OK:
    return "ok";
  case VN_E_INTERNAL:
    return "internal error";
  case VN_E_ARGUMENT:
    return "bad argument";
  case VN_E_IO:
    return "input or output failed";
  case VN_E_FORMAT:
    return "malformed data";
  case VN_E_UNSUPPORTED:
    return "unsupported";
  case VN_E_MEMORY:
    return "not enough memory";
  case VN_E_CANCELLED:
    return "cancelled";
  }
  return "unknown status";
}
