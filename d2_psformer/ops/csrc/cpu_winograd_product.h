// Matrix products at the core of Winograd's convolution.
#pragma once
#include "cpu_winograd_places.h"

namespace PSFORMER_NAMESPACE {

// A block of sums: as many as registers hold, and few enough to divide every number of channels.
constexpr int kRows = kLanes == 16 ? 8 : 4, kColumns = 2 * kLanes;

// R x kColumns sums over `depth` products of a number on the left with a row on the right. Either
// the numbers of one sum lie side by side and the R of them `stride` apart, or (Across) the other
// way round.
template <int R, bool Across>
void product(const float* left, int64_t stride, const float* right, int64_t depth, bool adds,
             float* out) {
  Cells sums[R][2];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
    sums[r][0] = adds ? load<Cells>(out + r * kColumns) : Cells{};
    sums[r][1] = adds ? load<Cells>(out + r * kColumns + kLanes) : Cells{};
  }
  for (int64_t i = 0; i < depth; i++, left += Across ? stride : 1, right += kColumns) {
    const Cells low = load<Cells>(right), high = load<Cells>(right + kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const float number = left[Across ? r : r * stride];
      sums[r][0] += number * low;
      sums[r][1] += number * high;
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
    store(out + r * kColumns, sums[r][0]);
    store(out + r * kColumns + kLanes, sums[r][1]);
  }
}

// The same with any number of rows.
template <bool Across>
void products(const float* left, int64_t stride, const float* right, int64_t depth, int64_t rows,
              bool adds, float* out) {
  const int64_t next = Across ? 1 : stride;
  for (; rows >= kRows; rows -= kRows, left += kRows * next, out += kRows * kColumns)
    product<kRows, Across>(left, stride, right, depth, adds, out);
  for (; rows >= 2; rows -= 2, left += 2 * next, out += 2 * kColumns)
    product<2, Across>(left, stride, right, depth, adds, out);
  if (rows) product<1, Across>(left, stride, right, depth, adds, out);
}

}  // namespace PSFORMER_NAMESPACE
