// Backward pass of one item by a group of lanes. The gradients of its points need sums over the
// channels, made inside the group; the gradient of value is added to memory that many items share.
#pragma once

#include "cuda_sums.cuh"

namespace psformer {

template <class R>
struct BackwardScratch {
  struct alignas(16) Entry {
    Point<R> point;
    R attention;
    R sample, dx, dy;  // sums over the channels of grad_out times sample, and its derivatives
  };
  Entry* entries;

  PSFORMER_FN explicit BackwardScratch(void* memory) : entries(static_cast<Entry*>(memory)) {}

  // 16 bytes more than the entries, so that items do not share memory banks
  static constexpr int bytes(int n) { return n * static_cast<int>(sizeof(Entry)) + 16; }
};

// Offsets of the four corners of a point in an array, in elements.
struct Corners {
  int64_t origin, step, down;

  PSFORMER_FN int64_t operator[](int k) const {
    return origin + (k & 1 ? step : 0) + (k & 2 ? down : 0);
  }
};

// A corner of weight 0 adds nothing, even if its pixel is not finite.
template <class R>
PSFORMER_FN R weighted(R weight, R x) {
  return weight == 0 ? R(0) : weight * x;
}

// One point, one lane's channels: adds to the gradient of value and sets `part`, this lane's part
// of the sums over channels (sample, d/dx, d/dy).
template <class T, int N, class Sums>
PSFORMER_FN void backward_point(const Point<SumOf<T>>& point, SumOf<T> attention, const T* value,
                                const Corners& from, const Sums& sums, const Corners& to,
                                const SumOf<T> (&grad)[N], SumOf<T> (&part)[3]) {
  using R = SumOf<T>;
  Pack<T, N> read[4] = {};
  R dot[4] = {};
  PSFORMER_UNROLL
  for (int k = 0; k < 4; ++k) {
    if (point.inside >> k & 1) read[k] = load<T, N>(value + from[k]);
  }
  PSFORMER_UNROLL
  for (int k = 0; k < 4; ++k) {
    PSFORMER_UNROLL
    for (int c = 0; c < N; ++c) dot[k] += grad[c] * static_cast<R>(read[k].x[c]);
    const R share = point.weight(k);
    part[0] += weighted(share, dot[k]);
    if (share == 0) continue;
    R terms[N];
    PSFORMER_UNROLL
    for (int c = 0; c < N; ++c) terms[c] = share * attention * grad[c];
    sums.template add<N>(to[k], terms);
  }
  part[1] = weighted(1 - point.fy, dot[1] - dot[0]) + weighted(point.fy, dot[3] - dot[2]);
  part[2] = weighted(1 - point.fx, dot[2] - dot[0]) + weighted(point.fx, dot[3] - dot[1]);
}

// P: number of points known to the compiler, or 0. N: channels in one load.
// All points for the N channels from `c` on, which may lie past the last one.
template <class T, int N, int P, class Group, class Sums>
PSFORMER_FN void backward_channels(const PsformerProblem& a, const Item& item, const Offsets& at,
                                   const Group& group, const BackwardScratch<SumOf<T>>& scratch,
                                   const Sums& sums, int64_t c) {
  using R = SumOf<T>;
  const int points = P ? P : static_cast<int>(a.points);
  const int levels = static_cast<int>(a.levels);
  const bool active = item.live && c < a.channels;
  R grad[N] = {};
  if (active) {
    const auto read = load<T, N>(static_cast<const T*>(a.grad_out) + at.row * a.channels + c);
    PSFORMER_UNROLL
    for (int i = 0; i < N; ++i) grad[i] = static_cast<R>(read.x[i]);
  }
  const T* value = static_cast<const T*>(a.value) + at.value + c;
  const int64_t sum_step = a.heads * a.channels;
  const int64_t sum_base = item.batch * a.positions * sum_step + item.head * a.channels + c;
  for (int level = 0; level < levels; ++level) {
    PSFORMER_UNROLL
    for (int p = 0; p < points; ++p) {
      auto& entry = scratch.entries[level * points + p];
      const int64_t position = a.start[level] + entry.point.position;
      R part[3] = {};
      if (active && entry.point.inside) {
        const Corners from{position * a.value_position, a.value_position,
                           a.width[level] * a.value_position};
        const Corners to{sum_base + position * sum_step, sum_step, a.width[level] * sum_step};
        backward_point<T, N>(entry.point, entry.attention, value, from, sums, to, grad, part);
      }
      PSFORMER_UNROLL
      for (int i = 0; i < 3; ++i) part[i] = group.sum(part[i]);
      if (group.lane() == 0) {
        entry.sample += part[0];
        entry.dx += part[1];
        entry.dy += part[2];
      }
    }
  }
}

template <class T, int P, class Group>
PSFORMER_FN void write_point_gradients(const PsformerProblem& a, const Item& item,
                                       const Offsets& at, const Group& group,
                                       const BackwardScratch<SumOf<T>>& scratch) {
  using R = SumOf<T>;
  const int points = P ? P : static_cast<int>(a.points);
  const int n = static_cast<int>(a.levels) * points;
  R mean = 0;  // of the attention weights' gradients, for the softmax
  if (a.components != 0) {
    for (int i = group.lane(); i < n; i += group.size()) {
      mean += scratch.entries[i].attention * scratch.entries[i].sample;
    }
    mean = group.sum(mean);
  }
  if (!item.live) return;
  const bool half = a.sampling_type == a.value_type;
  for (int i = group.lane(); i < n; i += group.size()) {
    const auto& entry = scratch.entries[i];
    const R grad = a.components == 0 ? entry.sample : entry.attention * (entry.sample - mean);
    write<T>(a.grad_attention, a.attention_type == a.value_type, at.row * n + i, grad);
    R x = 0, y = 0;  // outside: zero, even if the weight or the reference is not finite
    if (entry.point.inside) {
      x = entry.attention * entry.dx * coordinate<T>(a, at, i / points, 0, R(0)).scale;
      y = entry.attention * entry.dy * coordinate<T>(a, at, i / points, 1, R(0)).scale;
    }
    write<T>(a.grad_sampling, half, (at.row * n + i) * 2, x);
    write<T>(a.grad_sampling, half, (at.row * n + i) * 2 + 1, y);
  }
}

template <class T, int N, int P, class Group, class Sums>
PSFORMER_FN void backward_item(const PsformerProblem& a, const Item& item, const Group& group,
                               void* memory, const Sums& sums) {
  using R = SumOf<T>;
  const int points = P ? P : static_cast<int>(a.points);
  const int n = static_cast<int>(a.levels) * points;
  const Offsets at(a, item);
  const BackwardScratch<R> scratch(memory);
  const Attention<T> attention(a, at, n, group);
  PSFORMER_UNROLL
  for (int i = group.lane(); i < n; i += group.size()) {
    scratch.entries[i] = {point_at<T>(a, at, i / points, i), attention.weight(i), 0, 0, 0};
  }
  group.sync();
  // every lane takes part in the sums over channels, also one that has no channel left
  for (int64_t c = 0; c < a.channels; c += group.size() * N) {
    backward_channels<T, N, P>(a, item, at, group, scratch, sums, c + group.lane() * N);
  }
  group.sync();
  write_point_gradients<T, P>(a, item, at, group, scratch);
  group.sync();  // the next item may overwrite the scratch memory
}

}  // namespace psformer
