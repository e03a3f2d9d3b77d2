// Forward pass of one item by a group of lanes: first the geometry of all its points, shared out
// among the lanes and kept in scratch memory, then the sums, every lane for its own channels.
#pragma once

#include "cuda_math.cuh"

namespace psformer {

// Weights and position of every point of one item. A power of two between items would put them all
// into the same memory banks: one weight more than points keeps them apart.
template <class R>
struct ForwardScratch {
  struct alignas(16) Weights {
    R corner[4];
  };
  Weights* weights;
  int* position;

  PSFORMER_FN ForwardScratch(void* memory, int n)
      : weights(static_cast<Weights*>(memory)), position(reinterpret_cast<int*>(weights + n + 1)) {}

  static constexpr int bytes(int n) {
    return (n + 1) * static_cast<int>(sizeof(Weights)) + (n + 3) / 4 * 16;
  }
};

// L, P: numbers of levels and points known to the compiler, or 0.
// N: channels in one load. Sums that are not read (weight 0) stay out: 0 * inf would be NaN.
template <class T, int N, int P>
PSFORMER_FN void sum_points(const PsformerProblem& a, const T* value,
                            const ForwardScratch<SumOf<T>>& scratch, SumOf<T> (&sum)[N]) {
  const int points = P ? P : static_cast<int>(a.points);
  const int levels = static_cast<int>(a.levels);
  for (int level = 0; level < levels; ++level) {
    const T* map = value + a.start[level] * a.value_position;
    const int64_t down = a.width[level] * a.value_position;
    PSFORMER_UNROLL
    for (int p = 0; p < points; ++p) {
      const auto weights = scratch.weights[level * points + p];
      const T* corner = map + scratch.position[level * points + p] * a.value_position;
      Pack<T, N> read[4] = {};
      PSFORMER_UNROLL
      for (int k = 0; k < 4; ++k) {
        if (weights.corner[k] != 0) {
          read[k] = load<T, N>(corner + (k & 2 ? down : 0) + (k & 1 ? a.value_position : 0));
        }
      }
      PSFORMER_UNROLL
      for (int k = 0; k < 4; ++k) {
        PSFORMER_UNROLL
        for (int c = 0; c < N; ++c) {
          sum[c] += weights.corner[k] * static_cast<SumOf<T>>(read[k].x[c]);
        }
      }
    }
  }
}

template <class T, int N, int L, int P, class Group>
PSFORMER_FN void forward_item(const PsformerProblem& a, const Item& item, const Group& group,
                              void* memory) {
  using R = SumOf<T>;
  const int points = P ? P : static_cast<int>(a.points);
  const int n = (L ? L : static_cast<int>(a.levels)) * points;
  const Offsets at(a, item);
  const ForwardScratch<R> scratch(memory, n);
  const Attention<T> attention(a, at, n, group);
  PSFORMER_UNROLL
  for (int i = group.lane(); i < n; i += group.size()) {
    const Point<R> point = point_at<T>(a, at, i / points, i);
    const R weight = attention.weight(i);
    PSFORMER_UNROLL
    for (int k = 0; k < 4; ++k) {
      const R share = point.weight(k);
      scratch.weights[i].corner[k] = share == 0 ? R(0) : share * weight;
    }
    if (!point.inside) scratch.weights[i].corner[0] = R(0) * weight;  // 0 * NaN is NaN
    scratch.position[i] = point.position;
  }
  group.sync();

  const T* value = static_cast<const T*>(a.value) + at.value;
  T* out = static_cast<T*>(a.out) + at.row * a.channels;
  for (int64_t c = group.lane() * N; c < a.channels; c += group.size() * N) {
    R sum[N] = {};
    sum_points<T, N, P>(a, value + c, scratch, sum);
    Pack<T, N> result;
    PSFORMER_UNROLL
    for (int i = 0; i < N; ++i) result.x[i] = static_cast<T>(sum[i]);
    if (item.live) *reinterpret_cast<Pack<T, N>*>(out + c) = result;
  }
  group.sync();  // the next item may overwrite the scratch memory
}

}  // namespace psformer
