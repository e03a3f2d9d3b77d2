// Geometry of a block of queries: which pixels every sampling point reads, and how they weigh.
//
// It is computed for a whole block before anything is gathered, in loops that vectorise. In one loop
// with the gathering, waiting for addresses and weights took longer than the gathering itself.
#pragma once
#include <math.h>

#include "cpu_rows.h"

namespace PSFORMER_NAMESPACE {

// A block is small: its buffers share the first-level cache with the pixels.
constexpr int kBlockQueries = 32;
constexpr int kRowPoints = PSFORMER_MAX_LEVELS * PSFORMER_MAX_POINTS;
constexpr int kBlockPoints = 1024;  // at most; a block of many points has fewer queries
constexpr int kMargin = 16;         // vectors may reach beyond the end of an array

// The points of a block as arrays, close together: at distances of 4 KiB they would evict each other
// from the first-level cache.
template <class A>
struct Points {
  int32_t indices[5 * kBlockPoints];
  A numbers[7 * kBlockPoints];
  int count, pitch;

  void resize(int n) {
    count = n;
    pitch = (n + kMargin - 1) / kMargin * kMargin;
  }
  // pixels of the corners: top left, top right, bottom left, bottom right
  int32_t* index(int corner) { return indices + corner * pitch; }
  const int32_t* index(int corner) const { return indices + corner * pitch; }
  int32_t* live() { return indices + 4 * pitch; }             // is the point on the map?
  A* weight(int corner) { return numbers + corner * pitch; }  // bilinear times attention
  const A* weight(int corner) const { return numbers + corner * pitch; }
  A* attention() { return numbers + 4 * pitch; }  // 0 or NaN where the point is not on the map
  A* right() { return numbers + 5 * pitch; }      // distance to the left pixel column, in pixels
  A* bottom() { return numbers + 6 * pitch; }     // distance to the upper pixel row
};

// Copies a few numbers: shorter than a call of memcpy.
template <class A>
inline void copy_numbers(const A* from, A* to, int n) {
  typedef typename Full<A>::Value V;
  int i = 0;
  for (; i + Full<A>::N <= n; i += Full<A>::N) store(to + i, load<V>(from + i));
  for (; i + 4 <= n; i += 4) memcpy(to + i, from + i, 4 * sizeof(A));
  for (; i < n; i++) to[i] = from[i];
}

// Whether numbers are stored in the type of the sums.
inline bool is_wide(PsformerType type) { return type == PSFORMER_F32 || type == PSFORMER_F64; }

// Numbers of sampling or attention, which are stored in half type or that of the sums.
template <class A>
inline void read_numbers(const void* from, PsformerType type, A* to, int n) {
  if (is_wide(type)) return copy_numbers(static_cast<const A*>(from), to, n);
  if (type == PSFORMER_BF16) {
    for (int i = 0; i < n; i++) to[i] = widen(static_cast<const Bf16*>(from)[i]);
  } else {
    for (int i = 0; i < n; i++) to[i] = widen(static_cast<const F16*>(from)[i]);
  }
}

template <class A>
inline void write_numbers(const A* from, void* to, PsformerType type, int n) {
  if (is_wide(type)) return copy_numbers(from, static_cast<A*>(to), n);
  if (type == PSFORMER_BF16) {
    for (int i = 0; i < n; i++) narrow(float(from[i]), static_cast<Bf16*>(to)[i]);
  } else {
    for (int i = 0; i < n; i++) narrow(float(from[i]), static_cast<F16*>(to)[i]);
  }
}

inline int64_t type_size(PsformerType type) {
  return type == PSFORMER_F64 ? 8 : type == PSFORMER_F32 ? 4 : 2;
}

// The levels [first, last) of one head, point by point.
template <class A>
struct Layout {
  int first, last;  // levels
  int points;       // of a query on these levels
  // of point i % points: vectors may begin anywhere
  A width[kRowPoints + kMargin], height[kRowPoints + kMargin];
  int32_t start[kRowPoints + kMargin];  // index of the level's first pixel
  int32_t nowhere;                      // index of pixels outside, which read as zeros

  Layout(const PsformerProblem& p, int first_level, int last_level, int32_t outside)
      : first(first_level), last(last_level), nowhere(outside) {
    points = int(p.points) * (last - first);
    for (int i = 0; i < points + kMargin; i++) {
      const int level = first + i % points / int(p.points);
      width[i] = A(p.width[level]);
      height[i] = A(p.height[level]);
      start[i] = int32_t(p.start[level]);
    }
  }
};

// Corners and weights of points at the pixel coordinates xy, with the attention of every point.
// A corner outside gets the index `nowhere`; when gathering, so does a corner of bilinear weight 0,
// whose product with Inf or NaN would be NaN. Gradients of the coordinates need such corners.
//
// Written with vectors: GCC does not vectorise the plain loop, which took longer than the
// gathering. The arrays hold a whole number of vectors.
template <class A, bool Gradients>
inline void locate(const Layout<A>& layout, A* xy, A* attention, int count, Points<A>& to) {
  typedef typename Full<A>::Value V;
  typedef typename Full<A>::Ints I;
  typedef typename Full<A>::Index Index;
  constexpr int N = Full<A>::N;
  to.resize(count);
  for (int i = count; i < to.pitch; i++) xy[2 * i] = xy[2 * i + 1] = attention[i] = 0;
  int32_t *index = to.index(0), *on_map = to.live();
  A *weight = to.weight(0), *kept = to.attention(), *right_of = to.right(), *below = to.bottom();
  const int pitch = to.pitch, points = layout.points;
  const I nowhere = I{} + layout.nowhere;
  const V none = {};
  for (int i = 0, point = 0; i < pitch; i += N) {
    const V end_x = load<V>(layout.width + point), end_y = load<V>(layout.height + point);
    const I width = __builtin_convertvector(end_x, I), height = __builtin_convertvector(end_y, I);
    const I start = __builtin_convertvector(load<Index>(layout.start + point), I);
    V x, y, a = load<V>(attention + i);
    separate(load<V>(xy + 2 * i), load<V>(xy + 2 * i + N), x, y);
    // comparisons with NaN are false
    I live = (x > -1) & (x < end_x) & (y > -1) & (y < end_y);
    x = live ? x : none;
    y = live ? y : none;
    a = live ? a : a * none;  // outside all samples are 0, and 0 * NaN is NaN
    I column = __builtin_convertvector(x, I), row = __builtin_convertvector(y, I);
    column += __builtin_convertvector(column, V) > x;  // towards minus infinity: true is -1
    row += __builtin_convertvector(row, V) > y;
    V lx = x - __builtin_convertvector(column, V), ly = y - __builtin_convertvector(row, V);
    V hx = 1 - lx, hy = 1 - ly;
    I at = start + row * width + column;
    I left = live & (column >= 0), right = live & (column < width - 1);
    I top = row >= 0, bottom = row < height - 1;
    if (!Gradients) {  // hx and hy are 0 for corners outside only
      right &= lx != 0;
      bottom &= ly != 0;
    }
    const I corners[4] = {(top & left) ? at : nowhere, (top & right) ? at + 1 : nowhere,
                          (bottom & left) ? at + width : nowhere,
                          (bottom & right) ? at + width + 1 : nowhere};
    for (point += N; point >= points;) point -= points;
    const V upper = a * hy, lower = a * ly,
            weights[4] = {upper * hx, upper * lx, lower * hx, lower * lx};
    for (int k = 0; k < 4; k++) {
      store(index + k * pitch + i, __builtin_convertvector(corners[k], Index));
      store(weight + k * pitch + i, weights[k]);
    }
    if (Gradients) {
      store(on_map + i, __builtin_convertvector(live, Index));
      store(kept + i, a);
      store(right_of + i, lx);
      store(below + i, ly);
    }
  }
}

}  // namespace PSFORMER_NAMESPACE
