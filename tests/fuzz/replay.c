/* The driver of a target where there is no libFuzzer, in the ordinary tests: replays a corpus, then
 * as many inputs as asked for that are made of it by a seeded generator, the same on every machine.
 *
 *   TARGET COUNT PATH...     PATH: an input, or a folder of them
 *
 * A child process runs them. When it crashes, hangs or leaks, the bytes that did it are left as
 * fuzz-failure.bin in the working directory: `TARGET 0 fuzz-failure.bin` repeats it. */
#include "fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECONDS_PER_INPUT = 30 };

__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most,
                                                     unsigned seed);

struct input {
  uint8_t *data;
  size_t size;
};

struct corpus {
  struct input *inputs;
  size_t count;
};

struct current { /* what the child is at, for its parent */
  size_t size, number;
  uint8_t data[FUZZ_BYTES_MOST];
};

/* ---- the corpus ---- */

static void file_add(struct corpus *corpus, const char *path) {
  struct input *more = realloc(corpus->inputs, (corpus->count + 1) * sizeof *more);
  FILE *file = fopen(path, "rb");
  uint8_t *data = malloc(FUZZ_BYTES_MOST + 1);
  if (!file || !more || !data) fuzz_broken("%s: cannot be read", path);
  size_t size = fread(data, 1, FUZZ_BYTES_MOST + 1, file);
  fclose(file);
  if (size > FUZZ_BYTES_MOST) fuzz_broken("%s: more than %d bytes", path, FUZZ_BYTES_MOST);
  corpus->inputs = more;
  corpus->inputs[corpus->count++] = (struct input){data, size};
}

static int is_shown(const struct dirent *entry) {
  return entry->d_name[0] != '.';
}

static void path_add(struct corpus *corpus, const char *path) {
  struct dirent **entries;
  int count = scandir(path, &entries, is_shown, alphasort);
  if (count < 0) {
    file_add(corpus, path);
    return;
  }
  for (int i = 0; i < count; i++) {
    char file[4096];
    snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);
    file_add(corpus, file);
    free(entries[i]);
  }
  free(entries);
}

/* ---- changes ---- */

static uint64_t mutate_state;

static size_t bytes_cut(uint8_t *data, size_t size, uint64_t *state) {
  size_t at = fuzz_below(state, size), left = size - at;
  size_t n = 1 + fuzz_below(state, left < 64 ? left : 64);
  if (n > left) n = left;
  memmove(data + at, data + at + n, left - n);
  return size - n;
}

static size_t bytes_double(uint8_t *data, size_t size, size_t most, uint64_t *state) {
  size_t at = fuzz_below(state, size), left = size - at;
  size_t n = 1 + fuzz_below(state, left < 64 ? left : 64);
  if (n > left) n = left;
  if (n > most - size) n = most - size;
  memmove(data + at + n, data + at, left);
  return size + n;
}

static void bytes_overwrite(uint8_t *data, size_t size, uint64_t *state) {
  int64_t value = fuzz_odd_number(state);
  size_t width = (size_t)1 << fuzz_below(state, 4), at = fuzz_below(state, size);
  memcpy(data + at, &value, width < size - at ? width : size - at);
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most) {
  uint64_t *state = &mutate_state;
  for (size_t left = 1 + fuzz_below(state, 4); left && size; left--) {
    size_t at = fuzz_below(state, size);
    switch (fuzz_below(state, 8)) {
    case 0:
    case 1:
    case 2:
      data[at] ^= (uint8_t)(1u << fuzz_below(state, 8));
      break;
    case 3:
      data[at] = (uint8_t)fuzz_next(state);
      break;
    case 4:
      bytes_overwrite(data, size, state);
      break;
    case 5:
      size = bytes_cut(data, size, state);
      break;
    case 6:
      size = bytes_double(data, size, most, state);
      break;
    default:
      if (!fuzz_below(state, 4)) size = at;
    }
  }
  return size;
}

/* ---- running ---- */

/* Of processor time: a busy machine, or one that was held, is no hang. What sleeps is ctest's. */
static void timer_set(long seconds) {
  const struct itimerval timer = {.it_value.tv_sec = seconds};
  setitimer(ITIMER_PROF, &timer, NULL);
}

/* A private copy of just that size, so that a sanitizer sees the first byte beyond. */
static void run_one(struct current *current) {
  uint8_t *exact = malloc(current->size ? current->size : 1);
  if (!exact) fuzz_broken("out of memory");
  memcpy(exact, current->data, current->size);
  timer_set(SECONDS_PER_INPUT);
  LLVMFuzzerTestOneInput(exact, current->size);
  timer_set(0);
  free(exact);
}

static void run_all(const struct corpus *corpus, size_t count, struct current *current) {
  for (size_t i = 0; i < corpus->count + count; i++) {
    const struct input *from = &corpus->inputs[i % corpus->count];
    current->number = i;
    current->size = from->size;
    memcpy(current->data, from->data, from->size);
    mutate_state = i;
    if (i >= corpus->count)
      current->size =
          LLVMFuzzerCustomMutator
              ? LLVMFuzzerCustomMutator(current->data, current->size, FUZZ_BYTES_MOST, (unsigned)i)
              : LLVMFuzzerMutate(current->data, current->size, FUZZ_BYTES_MOST);
    run_one(current);
    if (i + 1 == corpus->count && count && !fuzz_dones)
      fuzz_broken("every input of the corpus is refused");
  }
}

static void keep(const struct current *current) {
  FILE *file = fopen("fuzz-failure.bin", "wb");
  if (!file) return;
  fwrite(current->data, 1, current->size, file);
  fclose(file);
}

static void corpus_free(struct corpus *corpus) {
  for (size_t i = 0; i < corpus->count; i++) free(corpus->inputs[i].data);
  free(corpus->inputs);
}

int main(int argc, char **argv) {
  struct corpus corpus = {0};
  size_t count = argc > 1 ? strtoull(argv[1], NULL, 10) : 0;
  struct current *current =
      mmap(NULL, sizeof *current, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  for (int i = 2; i < argc; i++) path_add(&corpus, argv[i]);
  if (!corpus.count || current == MAP_FAILED) {
    fprintf(stderr, "usage: %s COUNT PATH...\n", argv[0]);
    return 2;
  }
  pid_t child = fork();
  if (child < 0) return 2;
  if (!child) { /* exit, not _exit: the leak check runs at exit */
    run_all(&corpus, count, current);
    corpus_free(&corpus);
    exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  if (!good) {
    keep(current);
    fprintf(stderr, "input %zu of %zu: %s %d; its bytes are in fuzz-failure.bin\n", current->number,
            corpus.count + count, WIFSIGNALED(status) ? "killed by signal" : "exit status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  }
  printf("%zu inputs of the corpus, %zu made of it\n", corpus.count, count);
  corpus_free(&corpus);
  munmap(current, sizeof *current);
  return good ? 0 : 1;
}
