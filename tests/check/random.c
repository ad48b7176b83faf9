/* Pseudo-random numbers for the checker: SplitMix64, and sizes that matter to kernels. */
#include "check.h"

uint64_t random_bits(struct random *r) {
  uint64_t x = r->state += 0x9e3779b97f4a7c15u;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

size_t random_below(struct random *r, size_t n) {
  return (size_t)((random_bits(r) >> 32) * n >> 32);
}

size_t random_in(struct random *r, size_t lo, size_t hi) {
  return lo + random_below(r, hi - lo + 1);
}

float random_real(struct random *r) {
  return (float)(random_bits(r) >> 40) / 8388608.f - 1.f;
}

size_t random_channels(struct random *r, size_t most) {
  static const size_t round[] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 128};
  size_t n = round[random_below(r, sizeof round / sizeof *round)];
  n += random_below(r, 3);
  n -= n > 2 ? random_below(r, 2) * 2 : 0;
  return n < most ? n : random_in(r, 1, most);
}

uint64_t random_seed(uint64_t seed, const char *family, size_t index) {
  struct random r = {seed};
  for (; *family; family++) r.state = random_bits(&r) ^ (unsigned char)*family;
  r.state ^= index * 0xd1342543de82ef95u;
  return random_bits(&r);
}
