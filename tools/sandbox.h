/* Giving up the rights that a program does not need, before it reads what a stranger wrote: files
 * other than the named ones (Landlock), programs, the network and most of the kernel (seccomp). A
 * hostile plan or scan that took the program over would find itself in there.
 *
 * Linux only; elsewhere, and in builds with sanitizers, which need those rights themselves, every
 * call does nothing. Used by vnet-run, vnetc and vnet-plan. Allocates nothing. */
#ifndef VNET_SANDBOX_H
#define VNET_SANDBOX_H

#include <stdint.h>

#define CLI_SANDBOX_HELP "  --no-sandbox           keep all rights while reading the inputs\n"

struct sandbox {
  int rules; /* Landlock's; -1: this kernel has none */
  uint64_t handled;
  char text[32]; /* what is in force: "landlock 7, seccomp", "none" … */
};

/* First call. From here to sandbox_enter the paths are collected; a path that cannot be opened is
 * passed over, for the program will say so when it needs it. NULL is no path. */
void sandbox_open(struct sandbox *box);

/* What may be read: a file, or a folder with all that is in it; all that is beside a file. */
void sandbox_read(struct sandbox *box, const char *path);
void sandbox_read_beside(struct sandbox *box, const char *file);

/* Where files may be made, replaced and removed, and folders made: in a folder and those in it;
 * beside a file. */
void sandbox_write(struct sandbox *box, const char *folder);
void sandbox_write_beside(struct sandbox *box, const char *file);

/* Gives up everything else, for good, for this thread and all that it starts: call it before there
 * are others. A kernel that has neither Landlock nor seccomp changes nothing and `text` says so;
 * one that has them and refuses ends the program. */
void sandbox_enter(struct sandbox *box);

#endif
