/* Whole-or-absent output files for the compiler's writers. */
#ifndef VNC_FILE_H
#define VNC_FILE_H

#include "fail.h"

#include <stddef.h>

/* Writes a temporary file beside `path`, flushes it to disk and renames it over `path`: a crash or
 * a full disk leaves what was there. VN_E_IO; the sentence names the file and the reason. */
enum vn_status vnc_file_write(const char *path, const void *bytes, size_t size,
                              struct vn_diag *diag);

#endif
