// Dropout: half a random word decides about every number.
#pragma once
#include "cpu_philox.h"
#include "cpu_rows.h"

namespace PSFORMER_NAMESPACE {

constexpr int64_t kTile = 2 * kWords;         // numbers that one draw decides about
constexpr int64_t kDrawn = 8 * kTile;         // numbers whose fate is in the cache
constexpr int64_t kShare = int64_t(1) << 14;  // numbers that are worth a thread

// Of the numbers of whole tiles: all bits set for those that stay, none for the others.
inline void draw(uint64_t seed, int64_t tile, int64_t tiles, int32_t threshold, int32_t* stays) {
  for (int64_t last = tile + tiles; tile < last; tile++, stays += kTile) {
    uint32_t words[kWords];
    random_words(seed, uint64_t(tile) * kCounters, words);
    for (int i = 0; i < kWords; i++) {
      stays[i] = -int32_t(int32_t(words[i] & 0xffffu) >= threshold);
      stays[kWords + i] = -int32_t(int32_t(words[i] >> 16) >= threshold);
    }
  }
}

inline float masked(float x, int32_t mask) { return as_float(as_bits(x) & uint32_t(mask)); }
inline double masked(double x, int32_t mask) {
  uint64_t bits;
  memcpy(&bits, &x, 8);
  bits &= uint64_t(int64_t(mask));
  memcpy(&x, &bits, 8);
  return x;
}

// The numbers [at, end) of a tensor. Its own buffers tell the compiler that nothing overlaps.
template <class E, class A>
void drop(const PsformerDropout& p, int64_t at, int64_t end) {
  const E* x = static_cast<const E*>(p.x);
  E* out = static_cast<E*>(p.out);
  const A scale = A(p.scale);
  int32_t stays[kDrawn];
  A scaled[kDrawn];
  while (at < end) {
    const int64_t tile = at / kTile, skipped = at % kTile;
    const int64_t room = kDrawn - skipped, count = end - at < room ? end - at : room;
    draw(p.seed, tile, (skipped + count + kTile - 1) / kTile, int32_t(p.threshold), stays);
    for (int64_t i = 0; i < count; i++) scaled[i] = widen(x[at + i]) * scale;
    for (int64_t i = 0; i < count; i++) narrow(masked(scaled[i], stays[skipped + i]), out[at + i]);
    at += count;
  }
}

inline int run_dropout(const PsformerDropout& p) {
  const auto drop_some = p.type == PSFORMER_F64    ? drop<double, double>
                         : p.type == PSFORMER_F32  ? drop<float, float>
                         : p.type == PSFORMER_BF16 ? drop<Bf16, float>
                                                   : drop<F16, float>;
  const int64_t most = p.count / kShare, wanted = p.threads < most ? p.threads : most;
  const int64_t shares = wanted < 1 ? 1 : wanted;
#if defined(_OPENMP)
#pragma omp parallel for schedule(static) num_threads(int(shares)) if (shares > 1)
#endif
  for (int64_t i = 0; i < shares; i++) {
    drop_some(p, p.count * i / shares, p.count * (i + 1) / shares);
  }
  return 0;
}

}  // namespace PSFORMER_NAMESPACE
