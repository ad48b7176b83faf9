/* What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput, which ends the
 * process where the product breaks a promise; clang's libFuzzer drives it (preset `fuzz`), or
 * replay.c, where there is none. README.md says which targets there are. */
#ifndef VNET_TESTS_FUZZ_H
#define VNET_TESTS_FUZZ_H

#include "vnet_status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* libFuzzer's interface. The third, a target's own way to change an input, is optional; it may call
 * the fourth, which the driver has, for plain bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

enum { FUZZ_BYTES_MOST = 1 << 16 }; /* of an input; campaign.sh knows it, too */

/* Ends the process with a sentence. */
_Noreturn __attribute__((format(printf, 1, 2))) void fuzz_broken(const char *format, ...);

/* What the input asks for was done. A corpus of which nothing is tests nothing: replay.c ends. */
void fuzz_done(void);
extern size_t fuzz_dones;

/* A status with its sentence, VN_OK, which is done, or a refusal: which has one sentence on one
 * line and is never a promise of our own that broke. */
void fuzz_judge(enum vn_status status, const struct vn_diag *diag);

/* A file in memory with these bytes, for what reads files: its path, the same at each call. */
const char *fuzz_file(const void *bytes, size_t size);
/* Another one, empty: its path, and a descriptor at its beginning, which stays open. */
const char *fuzz_output(int *fd);

/* ---- choices ---- */

/* Numbers from a seed: splitmix64. */
uint64_t fuzz_next(uint64_t *state);
size_t fuzz_below(uint64_t *state, size_t bound); /* 0 where bound is */

/* Numbers from an input's bytes, one after the other; 0 after the last. */
struct fuzz_bytes {
  const uint8_t *at;
  size_t left;
};
size_t fuzz_take(struct fuzz_bytes *bytes, size_t bound);                 /* 0 … bound - 1 */
size_t fuzz_take_in(struct fuzz_bytes *bytes, size_t least, size_t most); /* both included */

/* A whole number at which sizes and signs are known to break. */
int64_t fuzz_odd_number(uint64_t *state);

/* ---- plans: run_plan.c ---- */

/* Opens the plan; where that is done, asks it everything, and runs it on one instruction set if it
 * is small. */
enum vn_status fuzz_plan_run(const void *bytes, size_t size, struct vn_diag *diag);

#endif
