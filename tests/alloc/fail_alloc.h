/* Allocations that fail on request. fail_alloc.c puts itself before the C library's malloc and its
 * kin, mmap and pthread_create: linked into host.c, which uses what is declared here, and as a
 * library before a program (LD_PRELOAD), where sweep.py gives the orders.
 *
 * A site is the call stack of an allocation (up to the function that called fail_begin, in its
 * thread), as a number that is the same in every process. An order names the nth allocation of a
 * site, so that threads may come in any order. */
#ifndef FAIL_ALLOC_H
#define FAIL_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fail_mode {
  FAIL_NONE,   /* only listens */
  FAIL_ONE,    /* that one, and what comes after succeeds */
  FAIL_ONWARD, /* that one and all after it */
};

/* Listens from now on, and has what is ordered fail. */
void fail_begin(uint64_t site, uint32_t nth, enum fail_mode mode);
/* Listens no more. Was the ordered allocation reached? */
bool fail_end(void);

/* The sites in the order in which they were heard since fail_begin; no more than 2^20. */
const uint64_t *fail_heard(size_t *count);

/* Blocks and mappings that were taken and not given back, now. */
long fail_live(void);

/* Where the stack of the refused allocation is written to; -1: nowhere. */
void fail_tell(int fd);

#endif
