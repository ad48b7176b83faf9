/* Hostile .npy: read, and written again when it reads. */
#include "fuzz.h"

#include "npy.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_bytes(uint8_t *bytes, size_t size, const char *folder, char sentence[512]) {
  char path[64];
  snprintf(path, sizeof path, "%s/array.npy", folder);
  FILE *f = fopen(path, "wb");
  if (!f || fwrite(bytes, 1, size, f) != size || fclose(f)) exit(2);
  struct vn_diag diag = {""};
  struct npy array;
  enum vn_status status = npy_read(path, &array, &diag);
  if (!status) {
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0) exit(2);
    status = npy_write(fd, &array, &diag);
    close(fd);
  }
  npy_close(&array);
  unlink(path);
  memcpy(sentence, diag.text, sizeof diag.text);
  return (int)status;
}

int main(int argc, char **argv) {
  return fuzz_main(argc, argv, read_bytes);
}
