// Mathematics of the sampling points of one item, that is of one head of one query.
// An item belongs to a group of lanes (threads); `group` gives the lane its number and sums over the
// lanes. The same code runs in the kernels and, compiled by a plain C++ compiler, in the tests.
#pragma once

#include <math.h>
#include <string.h>

#include <type_traits>

#include "problem.h"

#ifdef __CUDACC__
#define PSFORMER_FN __device__ __forceinline__
#define PSFORMER_UNROLL _Pragma("unroll")
#else
#define PSFORMER_FN inline
#define PSFORMER_UNROLL
#endif

namespace psformer {

// Sums of half precision numbers are made in float, those of doubles in double.
template <class T>
using SumOf = std::conditional_t<std::is_same<T, double>::value, double, float>;

template <class T, int N>
struct alignas(N * sizeof(T)) Pack {
  T x[N];
};

template <class T, int N>
PSFORMER_FN Pack<T, N> load(const T* source) {
#ifdef __CUDA_ARCH__
  if constexpr (sizeof(Pack<T, N>) == 16) {
    const uint4 raw = __ldg(reinterpret_cast<const uint4*>(source));
    Pack<T, N> pack;
    memcpy(&pack, &raw, sizeof(pack));
    return pack;
  }
#endif
  return *reinterpret_cast<const Pack<T, N>*>(source);
}

// Sampling, attention and their gradients are stored in the type of value (`half`) or of the sums.
template <class T>
PSFORMER_FN SumOf<T> read(const void* data, bool half, int64_t i) {
  if (half) return static_cast<SumOf<T>>(static_cast<const T*>(data)[i]);
  return static_cast<const SumOf<T>*>(data)[i];
}

template <class T>
PSFORMER_FN void write(void* data, bool half, int64_t i, SumOf<T> x) {
  if (half) {
    static_cast<T*>(data)[i] = static_cast<T>(x);
  } else {
    static_cast<SumOf<T>*>(data)[i] = x;
  }
}

struct Item {
  int batch, query, head;
  bool live;  // false: past the last query; computes as the others do, but writes nothing
};

// Where the numbers of one item begin, in elements.
struct Offsets {
  int64_t sampling, attention, reference, value;
  int64_t row;  // of (batch, queries, heads)

  PSFORMER_FN Offsets(const PsformerProblem& a, const Item& item) {
    const int64_t b = item.batch, q = item.query, h = item.head, n = a.levels * a.points;
    sampling = b * a.sampling_batch + q * a.sampling_query + h * n * 2;
    attention = b * a.attention_batch + q * a.attention_query + h * n;
    reference = b * a.reference_batch + q * a.levels * a.components;
    value = b * a.value_batch + h * a.channels;
    row = (b * a.queries + q) * a.heads + h;
  }
};

// One coordinate in pixels, and its derivative with respect to the number that was read.
template <class R>
struct Coordinate {
  R pixel, scale;
};

template <class T>
PSFORMER_FN Coordinate<SumOf<T>> coordinate(const PsformerProblem& a, const Offsets& at, int level,
                                            int axis, SumOf<T> raw) {
  using R = SumOf<T>;
  const R size = static_cast<R>(axis == 0 ? a.width[level] : a.height[level]);
  if (a.components == 0) return {raw * size - R(0.5), size};
  const R* reference = static_cast<const R*>(a.reference) + at.reference + level * a.components;
  const R scale = a.components == 2 ? R(1) : reference[2 + axis] * size * R(0.5) / R(a.points);
  return {reference[axis] * size + raw * scale - R(0.5), scale};
}

// The four pixels around a point: corner k is (x0 + (k & 1), y0 + (k >> 1)).
template <class R>
struct Point {
  R fx = 0, fy = 0;  // distance from x0 and y0, in [0, 1]
  int position = 0;  // of corner 0 in its level; corners outside have no memory
  int inside = 0;    // bit k: corner k lies in the map

  Point() = default;

  PSFORMER_FN Point(R x, R y, int width, int height) {
    // written so that NaN fails
    if (!(x > -1 && y > -1 && x < width && y < height)) return;
    const int x0 = static_cast<int>(floor(x)), y0 = static_cast<int>(floor(y));
    fx = x - R(x0);
    fy = y - R(y0);
    position = y0 * width + x0;
    const int columns = (x0 >= 0 ? 1 : 0) | (x0 + 1 < width ? 2 : 0);
    inside = (y0 >= 0 ? columns : 0) | (y0 + 1 < height ? columns << 2 : 0);
  }

  // Zero for a corner outside: what weighs nothing is not read.
  PSFORMER_FN R weight(int corner) const {
    const R w = (corner & 1 ? fx : R(1) - fx) * (corner & 2 ? fy : R(1) - fy);
    return inside >> corner & 1 ? w : R(0);
  }
};

template <class T>
PSFORMER_FN Point<SumOf<T>> point_at(const PsformerProblem& a, const Offsets& at, int level,
                                     int i) {
  const bool half = a.sampling_type == a.value_type;
  const SumOf<T> raw_x = read<T>(a.sampling, half, at.sampling + 2 * i);
  const SumOf<T> raw_y = read<T>(a.sampling, half, at.sampling + 2 * i + 1);
  return {coordinate<T>(a, at, level, 0, raw_x).pixel, coordinate<T>(a, at, level, 1, raw_y).pixel,
          static_cast<int>(a.width[level]), static_cast<int>(a.height[level])};
}

// Attention weights of one item: as given, or the softmax over its n logits.
template <class T>
struct Attention {
  using R = SumOf<T>;
  const PsformerProblem& a;
  const Offsets& at;
  R top = 0, factor = 1;

  template <class Group>
  PSFORMER_FN Attention(const PsformerProblem& args, const Offsets& offsets, int n,
                        const Group& group)
      : a(args), at(offsets) {
    if (a.components == 0) return;
    R highest = -INFINITY, total = 0;
    PSFORMER_UNROLL
    for (int i = group.lane(); i < n; i += group.size()) highest = fmax(highest, number(i));
    top = group.max(highest);
    PSFORMER_UNROLL
    for (int i = group.lane(); i < n; i += group.size()) total += exp(number(i) - top);
    factor = R(1) / group.sum(total);
  }

  PSFORMER_FN R number(int i) const {
    return read<T>(a.attention, a.attention_type == a.value_type, at.attention + i);
  }

  PSFORMER_FN R weight(int i) const {
    return a.components == 0 ? number(i) : exp(number(i) - top) * factor;
  }
};

}  // namespace psformer
