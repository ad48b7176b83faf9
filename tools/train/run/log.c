/* See log.h. */
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "fail.h"
#include "part.h"
#include "printed.h"

/* The rows of `from` that go on being true; a last line that was cut off is not one. */
static void rows_keep(FILE *from, const char *path, FILE *to, uint64_t step) {
  char *line = NULL;
  size_t room = 0;
  bool first = true;
  for (ssize_t length; (length = getline(&line, &room, from)) > 0; first = false) {
    char *end;
    const uint64_t row = strtoull(line, &end, 10);
    if (first || line[length - 1] != '\n' || *end != ',' || row > step) continue;
    fputs(line, to);
  }
  if (!feof(from)) cli_fatal(vn_io_status(errno), "%s: %s", path, strerror(errno));
  free(line);
}

static void rows_trim(const char *path, const char *head, uint64_t step) {
  FILE *from = fopen(path, "r");
  if (!from && errno == ENOENT) return;
  if (!from) cli_fatal(vn_io_status(errno), "%s: %s", path, strerror(errno));
  struct cli_output output;
  struct vn_diag diag;
  struct vn_printed text;
  FILE *to = vn_printed_open(&text);
  if (!to) cli_fatal(VN_E_MEMORY, "out of memory");
  fprintf(to, "%s\n", head);
  rows_keep(from, path, to, step);
  fclose(from);
  if (!vn_printed_close(to, &text)) cli_fatal(VN_E_MEMORY, "out of memory");
  cli_output_open(&output, path);
  cli_check(vn_part_write(output.fd, text.text, text.bytes, &diag), &diag);
  cli_output_commit(&output);
  free(text.text);
}

FILE *vnt_log_open(const char *path, const char *head, bool resume, uint64_t step) {
  if (resume) rows_trim(path, head, step);
  FILE *log = fopen(path, resume ? "a" : "w");
  if (!log) cli_fatal(vn_io_status(errno), "%s: %s", path, strerror(errno));
  if (fseek(log, 0, SEEK_END) || ftell(log) == 0) fprintf(log, "%s\n", head);
  vnt_log_flush(log, path);
  return log;
}

void vnt_log_flush(FILE *log, const char *path) {
  if (fflush(log) || ferror(log))
    cli_fatal(vn_io_status(errno), "%s: cannot write: %s", path, strerror(errno));
}

void vnt_log_sync(FILE *log, const char *path) {
  vnt_log_flush(log, path);
  if (fsync(fileno(log)) && errno != EINVAL) /* a pipe has nothing to sync */
    cli_fatal(vn_io_status(errno), "%s: cannot write: %s", path, strerror(errno));
}
