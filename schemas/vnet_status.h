/* Status codes and the diagnostic sentence, shared by every floor of the project.
 *
 * Every fallible function returns an enum vn_status and takes an optional, caller-owned
 * struct vn_diag in which it leaves one sentence for a person. This header has no object file:
 * compiler and runtime never link each other, and both use it. Installed beside vnet.h. */
#ifndef VNET_STATUS_H
#define VNET_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* The programs exit with the value of the status that stopped them. */
enum vn_status {
  VN_OK = 0,
  VN_E_INTERNAL = 1,    /* a broken promise of our own */
  VN_E_ARGUMENT = 2,    /* the caller asked for something that makes no sense */
  VN_E_IO = 3,          /* a file cannot be opened, read or written */
  VN_E_FORMAT = 4,      /* bytes from outside are not what they claim to be */
  VN_E_UNSUPPORTED = 5, /* well formed, but outside what this project does */
  VN_E_MEMORY = 6,      /* out of memory, or a stated memory limit would be broken */
  VN_E_CANCELLED = 7    /* stopped on request */
};

/* One sentence, no newline, always terminated. Filled only when a function fails. */
struct vn_diag {
  char text[512];
};

#ifdef __cplusplus
}
#endif

#endif
