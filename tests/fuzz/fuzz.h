/* The mutation driver: what every fuzz target shares. Not coverage guided: seeds are small files of
 * every kind that the project reads, mutated by a seeded generator, so that a failure is repeated
 * by its number. */
#ifndef VNET_TESTS_FUZZ_H
#define VNET_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

struct fuzz_outcome { /* shared between the driver and the child that runs the target */
  uint64_t current, accepted, refused;
  char last_refusal[512];
};

/* Feeds `size` bytes (a private copy, exactly that large, to be changed at will) to the code under
 * test. Returns 0 when it took them, else the enum vn_status of the refusal, whose sentence is in
 * `sentence`. `folder` is a private directory that the target may write to. */
typedef int fuzz_target(uint8_t *bytes, size_t size, const char *folder, char sentence[512]);

/* argv: COUNT FIRST_SEED FILE... Runs seeds FIRST_SEED … FIRST_SEED + COUNT - 1 and returns main's
 * exit status: 1 when a seed crashed, hung, leaked, was refused without a sentence, or left files
 * in the folder. The bytes that did it are kept as fuzz-failure.bin in the working directory. */
int fuzz_main(int argc, char **argv, fuzz_target *target);

#endif
