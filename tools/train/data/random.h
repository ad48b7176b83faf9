/* Random numbers by counter: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). Every draw depends on its key and its place alone, so that samples are the
 * same whoever makes them, in whatever order, on any number of threads. */
#ifndef VNET_TRAIN_RANDOM_H
#define VNET_TRAIN_RANDOM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "elementary.h"

static inline void vnt_philox(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4]) {
  uint32_t k0 = key[0], k1 = key[1], c[4] = {counter[0], counter[1], counter[2], counter[3]};
  for (int round = 0; round < 10; round++) {
    const uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
    const uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k0, (uint32_t)b,
                              (uint32_t)(a >> 32) ^ c[3] ^ k1, (uint32_t)a};
    for (int i = 0; i < 4; i++) c[i] = next[i];
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int i = 0; i < 4; i++) out[i] = c[i];
}

/* A stream of draws: of sample `index` under `seed`, for the purpose `stream`. */
struct vnt_random {
  uint32_t key[2], counter[4], left[4];
  int have;
};

static inline struct vnt_random vnt_random_open(uint64_t seed, uint64_t index, uint32_t stream) {
  return (struct vnt_random){.key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
                             .counter = {0, stream, (uint32_t)index, (uint32_t)(index >> 32)}};
}

static inline uint32_t vnt_random_bits(struct vnt_random *r) {
  if (r->have == 0) {
    vnt_philox(r->key, r->counter, r->left);
    r->counter[0]++;
    r->have = 4;
  }
  return r->left[--r->have];
}

/* In [low, high). */
static inline double vnt_random_real(struct vnt_random *r, double low, double high) {
  return low + (high - low) * (vnt_random_bits(r) / 4294967296.0);
}

static inline size_t vnt_random_below(struct vnt_random *r, size_t count) {
  return (size_t)(((uint64_t)vnt_random_bits(r) * count) >> 32);
}

static inline double vnt_random_normal(struct vnt_random *r) {
  const double u = (vnt_random_bits(r) + 0.5) / 4294967296.0;
  const double v = vnt_random_bits(r) / 4294967296.0;
  return sqrt(-2 * vn_log(u)) * vn_cos(6.283185307179586 * v);
}

/* Eight normal numbers for place `at`, fast: the quantiles of 4096 equal parts. */
struct vnt_normals {
  float table[4096];
};
void vnt_normals_fill(struct vnt_normals *normals);

static inline void vnt_normals_at(const struct vnt_normals *n, const struct vnt_random *r,
                                  uint32_t at, float eight[8]) {
  const uint32_t counter[4] = {at, r->counter[1] | 0x80000000u, r->counter[2], r->counter[3]};
  uint32_t bits[4];
  vnt_philox(r->key, counter, bits);
  for (int i = 0; i < 4; i++) {
    eight[2 * i] = n->table[bits[i] & 4095];
    eight[2 * i + 1] = n->table[bits[i] >> 12 & 4095];
  }
}

#endif
