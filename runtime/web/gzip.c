/* zlib's place in a web page, where the browser itself unpacks what comes in and packs what goes
 * out (worker.js): no gzip stream is left for libvnet-scan, and one that turns up all the same is
 * refused. */
#include <stddef.h>
#include <unistd.h>
#include <zlib.h>

gzFile gzdopen(int fd, const char *mode) {
  static char stream; /* anything but NULL; nobody looks inside */
  (void)mode;
  close(fd); /* the stream's, from here on */
  return (gzFile)(void *)&stream;
}

int gzbuffer(gzFile file, unsigned size) {
  (void)file, (void)size;
  return 0;
}

int gzread(gzFile file, voidp to, unsigned bytes) {
  (void)file, (void)to, (void)bytes;
  return -1;
}

int gzwrite(gzFile file, voidpc from, unsigned bytes) {
  (void)file, (void)from, (void)bytes;
  return 0;
}

const char *gzerror(gzFile file, int *code) {
  (void)file;
  *code = Z_DATA_ERROR;
  return "packed in a way that this page does not unpack";
}

int gzclose(gzFile file) {
  (void)file;
  return Z_OK;
}

int gzclose_r(gzFile file) {
  return gzclose(file);
}
