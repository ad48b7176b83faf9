/* What a program asks of the operating system for itself, beside runtime/os.h; cli_posix.c and
 * cli_windows.c answer. Of the programs' common parts alone. */
#ifndef VNET_CLI_OS_H
#define VNET_CLI_OS_H

#include <stdbool.h>
#include <stddef.h>

/* Whoever stops the program (Ctrl-C, a closed terminal, a system that shuts down) calls `taken`; if
 * that returns false, then `clean`, and ends the program with VN_E_CANCELLED and a line that begins
 * with `name`. Both are called from a signal handler, or from a thread that knows no lock. A full
 * disk or a pipe that nobody reads is an error of the write that meets it. */
void cli_os_interrupts(const char *name, bool (*taken)(void), void (*clean)(void));

/* A program may be started without standard input, output or error; no file that it opens takes
 * their places then. */
void cli_os_streams(void);

/* Is standard error a terminal that knows the usual sequences? */
bool cli_os_terminal(void);

/* This program's path, links resolved; NULL: not to be known. The caller frees it. */
char *cli_os_program(void);

/* The folder in which the user's programs may keep what they can make again; NULL: there is none.
 * The caller frees it. */
char *cli_os_cache(void);

/* Runs the program at `path` (NULL, or nothing is there: argv[0], where the system looks for
 * programs), without a shell, and waits for its end: 0, with its exit status in *status and the
 * first line of its standard error in `said`, or an errno. A status of -1: it did not end by
 * itself. */
int cli_os_run(const char *path, char *const argv[], char *said, size_t room, int *status);

#endif
