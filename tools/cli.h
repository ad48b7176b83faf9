/* What the command line programs share: options, the one-line failure, output that is whole or
 * absent, progress, JSON. Used by tools/ only: unlike the libraries it prints, exits and keeps
 * state, because it owns the process. */
#ifndef VNET_CLI_H
#define VNET_CLI_H

#include "vnet_status.h"

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The last paragraph of every --help: keep in step with enum vn_status. */
#define CLI_EXIT_HELP                                                                              \
  "Exit status: 0 done, 1 internal error, 2 wrong arguments, 3 a file cannot be\n"                 \
  "read or written, 4 damaged input, 5 unsupported input, 6 out of memory or over\n"               \
  "the limit, 7 interrupted. On failure one line on standard error says why, and no\n"             \
  "unfinished file is left.\n"

/* First call of main. `name` prefixes every message. From here on SIGINT, SIGTERM and SIGHUP remove
 * unfinished outputs and end the program with VN_E_CANCELLED. */
void cli_start(const char *name);

/* Prints "name: sentence" on standard error, removes unfinished outputs and exits with `status`. */
_Noreturn __attribute__((format(printf, 2, 3))) void cli_fatal(enum vn_status status,
                                                               const char *format, ...);

/* cli_fatal with the diag's sentence when status is not VN_OK; otherwise nothing. */
void cli_check(enum vn_status status, const struct vn_diag *diag);

/* Prints "name: note: sentence" on standard error, on one line whatever the sentence holds. */
__attribute__((format(printf, 1, 2))) void cli_note(const char *format, ...);

/* The three one after the other; the caller frees it. Ends the program when memory is short. */
char *cli_joined(const char *a, const char *b, const char *c);

/* The folder that this program lies in, with a slash; NULL where that is not to be known. The
 * caller frees it. */
char *cli_program_folder(void);

/* ---- text from outside: names of files, of labels, of a model's layers, metadata ---- */

/* Prints it so that nothing in it steers a terminal or forges a line: control characters, marks of
 * direction and what is not UTF-8 appear as \x1b, \u202e. */
void cli_show(FILE *out, const char *text);

/* One line, shown as by cli_show whatever its arguments hold; adds the newline. For everything that
 * is told to a person and has a name in it. */
__attribute__((format(printf, 2, 3))) void cli_line(FILE *out, const char *format, ...);

/* A field of a CSV file, after RFC 4180, shown as by cli_show; what a spreadsheet would take for a
 * formula (=, +, -, @ at its beginning) has an apostrophe before it. */
void cli_csv_text(FILE *out, const char *text);

/* ---- options ---- */

/* getopt_long whose complaints go through cli_fatal. */
int cli_option(int argc, char *const argv[], const char *letters, const struct option *longs);

/* A decimal whole number within bounds, or cli_fatal naming the option. */
uint64_t cli_count(const char *option, const char *text, uint64_t least, uint64_t most);

/* "1500000", "800M", "4G", "1.5GiB": bytes; K, M, G, T are powers of 1024. */
uint64_t cli_size(const char *option, const char *text);

/* "64x128x128": D, H, W, each at least 1. */
void cli_shape(const char *option, const char *text, size_t dhw[3]);

/* "RAS": three letters that name each axis once. */
void cli_axes(const char *option, const char *text);

/* Does `name` end in `ending`? */
bool cli_ends(const char *name, const char *ending);

/* ---- output files ---- */

/* A file that appears under its name only when it is whole; see runtime/part.h. */
struct cli_output {
  const char *path; /* borrowed */
  int fd;           /* to write to; the output keeps it */
  size_t slot;      /* private */
};

/* Creates the temporary file, readable and writable, so that an unwritable folder shows before any
 * work is done; and removes those that killed programs left in that folder. Refuses a target that
 * exists and is not a regular file. */
enum vn_status cli_output_create(struct cli_output *output, const char *path, struct vn_diag *diag);

/* Makes it appear under its name, replacing what was there; or removes it, on failure. */
enum vn_status cli_output_publish(struct cli_output *output, struct vn_diag *diag);

/* Removes it; nothing to do after cli_output_publish or for an output whose fd is -1. */
void cli_output_drop(struct cli_output *output);

/* The first two, ending the program on failure. */
void cli_output_open(struct cli_output *output, const char *path);
void cli_output_commit(struct cli_output *output);

/* Everything that a program reads and writes, so that no result replaces an input or another
 * result: whatever the files are called, through links, too. Start from {0}. */
struct cli_files {
  struct cli_file *file;
  size_t count, room;
};
void cli_files_add(struct cli_files *files, const char *path, bool output); /* NULL: no file */

/* Ends the program where two outputs are one file, or an output an input. Empties the set. */
void cli_files_check(struct cli_files *files);

/* Flushes standard output; a full disk or closed pipe there is a failure, too. */
void cli_finish_stdout(void);

/* ---- interruption ---- */

/* While `stop` is set, the first signal calls stop(context) instead of ending the program; a second
 * one ends it. Clear it with NULL. `stop` must be safe in a signal handler. */
void cli_on_interrupt(void (*stop)(void *context), void *context);

/* While true the first signal ends the program at once: for what is short, or cannot be stopped. */
void cli_interrupt_at_once(bool at_once);

/* Ends the program with VN_E_CANCELLED if a signal came while `stop` was set. */
void cli_check_interrupt(void);

/* ---- progress ---- */

/* A bar on standard error when that is a terminal; silent otherwise. A fraction of 1 clears it. */
void cli_progress(const char *what, double fraction);

/* Its text: `passed_s` after the bar began with the fraction `first`. What is left is said when it
 * can be known, and is never nothing. */
enum { CLI_BAR_BYTES = 128 };
void cli_bar(char text[CLI_BAR_BYTES], const char *what, double fraction, double first,
             double passed_s);

/* Since cli_start. */
double cli_seconds(void);

/* ---- JSON ---- */

/* Writes an indented JSON document; commas, nesting and escapes are its business. `key` is NULL
 * inside arrays and for the outermost object. */
struct cli_json {
  FILE *out;
  unsigned depth;
  bool filled; /* the open object or array has members already */
};
void cli_json_open(struct cli_json *json, const char *key, char bracket);      /* '{' or '[' */
void cli_json_close(struct cli_json *json, char bracket);                      /* '}' or ']' */
void cli_json_text(struct cli_json *json, const char *key, const char *value); /* NULL: null */
void cli_json_count(struct cli_json *json, const char *key, uint64_t value);
void cli_json_real(struct cli_json *json, const char *key, double value, int decimals);

#endif
