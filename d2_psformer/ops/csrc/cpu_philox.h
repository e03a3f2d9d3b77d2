// Random bits that follow from a seed and a place alone: Philox4x32 of Salmon et al., "Parallel
// random numbers: as easy as 1, 2, 3" (2011), with 7 rounds, the fewest that pass all their tests.
#pragma once
#include "cpu_vector.h"

namespace PSFORMER_NAMESPACE {

constexpr int kCounters = 16;          // that are worked on together
constexpr int kWords = 4 * kCounters;  // that they make

// The words of the counters first, first + 1, ..., first a multiple of kCounters: the first word of
// every counter, then the second ones, and so on.
inline void random_words(uint64_t seed, uint64_t first, uint32_t* words) {
  uint32_t a[kCounters], b[kCounters], c[kCounters], d[kCounters];
  for (int i = 0; i < kCounters; i++) {
    a[i] = uint32_t(first) + uint32_t(i);
    b[i] = uint32_t(first >> 32);
    c[i] = d[i] = 0;
  }
  uint32_t key = uint32_t(seed), other_key = uint32_t(seed >> 32);
#pragma GCC unroll 7  // so that the counters stay in registers
  for (int round = 0; round < 7; round++) {
    for (int i = 0; i < kCounters; i++) {
      const uint64_t of_a = uint64_t(a[i]) * 0xD2511F53u, of_c = uint64_t(c[i]) * 0xCD9E8D57u;
      a[i] = uint32_t(of_c >> 32) ^ b[i] ^ key;
      b[i] = uint32_t(of_c);
      c[i] = uint32_t(of_a >> 32) ^ d[i] ^ other_key;
      d[i] = uint32_t(of_a);
    }
    key += 0x9E3779B9u;
    other_key += 0xBB67AE85u;
  }
  for (int i = 0; i < kCounters; i++) {
    words[i] = a[i];
    words[kCounters + i] = b[i];
    words[2 * kCounters + i] = c[i];
    words[3 * kCounters + i] = d[i];
  }
}

}  // namespace PSFORMER_NAMESPACE
