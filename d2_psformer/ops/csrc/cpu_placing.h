// Pixel coordinates of a block of queries: anchor + sampling * scale, for classic locations and for
// offsets alike. The gradient of the sampling is that of the pixel coordinate times the same scale.
#pragma once
#include "cpu_points.h"

namespace PSFORMER_NAMESPACE {

// Of every query and level of a block: anchor x and y in pixels, for boxes scale x and y too. Stored
// for every point instead of every level, they made the fused form 4 % slower.
template <class A>
struct Anchors {
  A numbers[kBlockQueries * PSFORMER_MAX_LEVELS * 4 + kMargin];
};

// Four points of a level: what a level usually has.
template <class A>
struct FourPoints {
  typedef A Numbers __attribute__((vector_size(8 * sizeof(A))));
};

// A pair of floats four times: one load instead of two and three shuffles.
inline void repeat_pair(const float* from, FourPoints<float>::Numbers& to) {
  typedef int64_t Pairs __attribute__((vector_size(32)));
  int64_t pair;
  memcpy(&pair, from, sizeof pair);
  to = (FourPoints<float>::Numbers)(Pairs{} + pair);
}
inline void repeat_pair(const double* from, FourPoints<double>::Numbers& to) {
  const double x = from[0], y = from[1];
  to = FourPoints<double>::Numbers{x, y, x, y, x, y, x, y};
}

template <class A>
class Placing {
  typedef typename Full<A>::Value V;
  typedef typename FourPoints<A>::Numbers Numbers;
  static constexpr int N = Full<A>::N;
  int kind;  // components of the reference
  int per_level, points, first;
  int entries;  // of a query in the anchors
  A scale[2 * kRowPoints + kMargin];  // classic: of every point, x and y alternating
  // anchor = reference * factor + shift, entry by entry
  A factor[4 * PSFORMER_MAX_LEVELS], shift[4 * PSFORMER_MAX_LEVELS];

 public:
  Placing(const PsformerProblem& p, const Layout<A>& layout)
      : kind(int(p.components)), per_level(int(p.points)), points(layout.points),
        first(layout.first), entries(kind * (layout.last - layout.first)) {
    for (int i = 0; i < points; i++) {
      scale[2 * i] = layout.width[i];
      scale[2 * i + 1] = layout.height[i];
    }
    const A share = A(0.5) / A(per_level);
    for (int i = 0; i < entries; i++) {
      const int at = i / kind * per_level;
      factor[i] = (i % 2 == 0 ? layout.width : layout.height)[at] * (i % kind < 2 ? A(1) : share);
      shift[i] = i % kind < 2 ? A(-0.5) : A(0);
    }
  }

  void read_anchors(const PsformerProblem& p, int64_t b, int64_t q0, int queries,
                    Anchors<A>& to) const {
    A* row = to.numbers;
    for (int q = 0; q < queries && kind != 0; q++, row += entries) {
      const int64_t at = b * p.reference_batch + ((q0 + q) * p.levels + first) * kind;
      const A* from = static_cast<const A*>(p.reference) + at;
      for (int i = 0; i < entries; i++) row[i] = from[i] * factor[i] + shift[i];
    }
  }

  // sampling (points, 2) of query q of the block -> xy.
  void place(const Anchors<A>& anchors, int q, const A* sampling, A* xy) const {
    const int n = 2 * points, run = 2 * per_level;
    int i = 0;
    if (kind == 0) {
      for (; i + N <= n; i += N)
        store(xy + i, load<V>(sampling + i) * load<V>(scale + i) - A(0.5));
      for (; i < n; i++) xy[i] = sampling[i] * scale[i] - A(0.5);
      return;
    }
    const A* entry = anchors.numbers + q * entries;
    if (kind == 2 && per_level == 4) {  // the usual case, in a loop as short as can be
      for (; i < n; i += 8, entry += 2) {
        Numbers anchor;
        repeat_pair(entry, anchor);
        store(xy + i, anchor + load<Numbers>(sampling + i));
      }
      return;
    }
    for (; i < n; i += run, entry += kind) {
      const A x = entry[0], y = entry[1];
      const A sx = kind == 4 ? entry[2] : 1, sy = kind == 4 ? entry[3] : 1;
      const A scales[2] = {sx, sy};
      Numbers anchor, by;
      repeat_pair(entry, anchor);
      repeat_pair(scales, by);
      int k = i;
      for (; k + 8 <= i + run; k += 8) store(xy + k, anchor + load<Numbers>(sampling + k) * by);
      for (; k < i + run; k += 2) {
        xy[k] = x + sampling[k] * sx;
        xy[k + 1] = y + sampling[k + 1] * sy;
      }
    }
  }

  // Gradient of the pixel coordinates of query q -> that of the sampling; both may be the same.
  void scale_gradient(const Anchors<A>& anchors, int q, const A* xy, A* to) const {
    const int n = 2 * points, run = 2 * per_level;
    if (kind == 0) {
      int i = 0;
      for (; i + N <= n; i += N) store(to + i, load<V>(xy + i) * load<V>(scale + i));
      for (; i < n; i++) to[i] = xy[i] * scale[i];
    } else if (kind == 2) {
      if (to != xy) copy_numbers(xy, to, n);
    } else {
      const A* entry = anchors.numbers + q * entries;
      for (int i = 0; i < n; i += run, entry += kind) {
        for (int k = i; k < i + run; k++) to[k] = xy[k] * entry[2 + k % 2];
      }
    }
  }
};

// Pixel coordinates of a block: xy (queries, points, 2).
template <class A>
inline void place_points(const PsformerProblem& p, const Layout<A>& layout,
                         const Placing<A>& placing, const Anchors<A>& anchors, int64_t b,
                         int64_t q0, int queries, int64_t head, A* xy) {
  const int n = 2 * layout.points;
  const int64_t size = type_size(p.sampling_type);
  const char* row = static_cast<const char*>(p.sampling) +
                    size * (b * p.sampling_batch + q0 * p.sampling_query +
                            (head * p.levels + layout.first) * p.points * 2);
  A converted[2 * kRowPoints];
  for (int q = 0; q < queries; q++, row += size * p.sampling_query, xy += n) {
    const A* sampling = reinterpret_cast<const A*>(row);
    if (!is_wide(p.sampling_type)) {
      read_numbers(row, p.sampling_type, converted, n);
      sampling = converted;
    }
    placing.place(anchors, q, sampling, xy);
  }
}

}  // namespace PSFORMER_NAMESPACE
