/* Mutates seed files and feeds them to a target in a child process (fuzz.h). */
#include "fuzz.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS_PER_INPUT = 30 };

struct bytes {
  uint8_t *data;
  size_t size;
};

static uint64_t random_next(uint64_t *state) { /* splitmix64, public domain, Vigna */
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static size_t below(uint64_t *state, size_t bound) {
  return bound ? (size_t)(random_next(state) % bound) : 0;
}

static struct bytes read_file(const char *path) {
  struct bytes b = {NULL, 0};
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) {
    perror(path);
    exit(2);
  }
  b.size = (size_t)ftell(f);
  b.data = malloc(b.size + 1);
  rewind(f);
  if (!b.data || fread(b.data, 1, b.size, f) != b.size) exit(2);
  fclose(f);
  return b;
}

static void overwrite(struct bytes *b, uint64_t *state) {
  static const uint64_t odd[] = {0,          1,          0x7f,       0x80,
                                 0xff,       0x7fff,     0x8000,     0xffff,
                                 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
                                 UINT64_MAX, 1ull << 63, 1ull << 40, (1ull << 62) + 8};
  uint64_t value =
      below(state, 4) ? odd[below(state, sizeof odd / sizeof *odd)] : random_next(state);
  size_t width = (size_t)1 << below(state, 4), at = below(state, b->size);
  if (width > b->size - at) width = b->size - at;
  memcpy(b->data + at, &value, width);
}

static void cut_or_double(struct bytes *b, uint64_t *state, bool cut) {
  size_t at = below(state, b->size), n = 1 + below(state, b->size - at < 64 ? b->size - at : 64);
  if (n > b->size - at) n = b->size - at;
  if (cut) {
    memmove(b->data + at, b->data + at + n, b->size - at - n);
    b->size -= n;
    return;
  }
  uint8_t *bigger = realloc(b->data, b->size + n + 1);
  if (!bigger) exit(2);
  b->data = bigger;
  memmove(b->data + at + n, b->data + at, b->size - at);
  b->size += n;
}

static struct bytes mutate(struct bytes seed, uint64_t number) {
  uint64_t state = number * 0x2545f4914f6cdd1du + 1;
  struct bytes b = {malloc(seed.size + 1), seed.size};
  if (!b.data) exit(2);
  memcpy(b.data, seed.data, seed.size);
  for (size_t left = 1 + below(&state, 6); left && b.size; left--) {
    switch (below(&state, 8)) {
    case 0:
    case 1:
    case 2:
      b.data[below(&state, b.size)] ^= (uint8_t)(1u << below(&state, 8));
      break;
    case 3:
      b.data[below(&state, b.size)] = (uint8_t)random_next(&state);
      break;
    case 4:
      overwrite(&b, &state);
      break;
    case 5:
      cut_or_double(&b, &state, true);
      break;
    case 6:
      cut_or_double(&b, &state, false);
      break;
    default:
      if (!below(&state, 4)) b.size = below(&state, b.size);
    }
  }
  uint8_t *exact = malloc(b.size ? b.size : 1); /* so that a sanitizer sees the first byte beyond */
  if (!exact) exit(2);
  memcpy(exact, b.data, b.size);
  free(b.data);
  b.data = exact;
  return b;
}

static bool folder_empty(const char *folder) {
  DIR *d = opendir(folder);
  size_t entries = 0;
  if (!d) return false;
  while (readdir(d)) entries++;
  closedir(d);
  return entries == 2; /* . and .. */
}

static void keep(const uint8_t *data, size_t size) {
  FILE *f = fopen("fuzz-failure.bin", "wb");
  if (!f) return;
  fwrite(data, 1, size, f);
  fclose(f);
}

static int run_child(const struct bytes *seeds, size_t n_seeds, uint64_t first, uint64_t count,
                     const char *folder, fuzz_target *target, struct fuzz_outcome *outcome) {
  for (uint64_t i = first; i < first + count; i++) {
    struct bytes b = mutate(seeds[i % n_seeds], i);
    char sentence[512] = "";
    outcome->current = i;
    alarm(SECONDS_PER_INPUT);
    int status = target(b.data, b.size, folder, sentence);
    alarm(0);
    free(b.data);
    if (status) {
      outcome->refused++;
      memcpy(outcome->last_refusal, sentence, sizeof sentence);
    } else {
      outcome->accepted++;
    }
    if (status && (!sentence[0] || strchr(sentence, '\n'))) {
      fprintf(stderr, "status %d without one sentence: '%s'\n", status, sentence);
      return 1;
    }
    if (!folder_empty(folder)) {
      fprintf(stderr, "files were left behind in %s\n", folder);
      return 1;
    }
  }
  return 0;
}

int fuzz_main(int argc, char **argv, fuzz_target *target) {
  if (argc < 4) {
    fprintf(stderr, "usage: %s COUNT FIRST_SEED FILE...\n", argv[0]);
    return 2;
  }
  uint64_t count = strtoull(argv[1], NULL, 10), first = strtoull(argv[2], NULL, 10);
  size_t n_seeds = (size_t)argc - 3;
  struct bytes *seeds = malloc(n_seeds * sizeof *seeds);
  struct fuzz_outcome *outcome =
      mmap(NULL, sizeof *outcome, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  char folder[] = "fuzz-XXXXXX";
  if (!seeds || outcome == MAP_FAILED || !mkdtemp(folder)) return 2;
  for (size_t i = 0; i < n_seeds; i++) seeds[i] = read_file(argv[3 + i]);

  fflush(NULL);
  pid_t child = fork();
  if (child < 0) return 2;
  if (!child) { /* exit, not _exit: the leak check runs at exit */
    int status = run_child(seeds, n_seeds, first, count, folder, target, outcome);
    for (size_t i = 0; i < n_seeds; i++) free(seeds[i].data);
    free(seeds);
    exit(status);
  }
  int status = 0;
  waitpid(child, &status, 0);
  bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!good) {
    struct bytes b = mutate(seeds[outcome->current % n_seeds], outcome->current);
    keep(b.data, b.size);
    fprintf(stderr, "seed %llu of %s: %s %d; its bytes are in fuzz-failure.bin\n",
            (unsigned long long)outcome->current, argv[3 + outcome->current % n_seeds],
            WIFSIGNALED(status) ? "killed by signal" : "exit status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    free(b.data);
  }
  printf("seeds %llu to %llu: %llu accepted, %llu refused; the last refusal: %s\n",
         (unsigned long long)first, (unsigned long long)(first + count - 1),
         (unsigned long long)outcome->accepted, (unsigned long long)outcome->refused,
         outcome->last_refusal);
  rmdir(folder);
  for (size_t i = 0; i < n_seeds; i++) free(seeds[i].data);
  free(seeds);
  munmap(outcome, sizeof *outcome);
  return good ? 0 : 1;
}
