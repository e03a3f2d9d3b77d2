// Winograd's F(4x4, 3x3): convolutions with 3x3 kernels, stride 1 and zeros around the map (Lavin
// and Gray, CVPR 2016, section 4.3).
//
// The 6x6 cells that a tile of 4x4 results sees become 36 numbers, "places", and so does a kernel.
// The products of both, place by place and summed over the channels, become the 4x4 results: 36
// multiplications for a channel in place of 144. This file: the ways there and back, of one line.
#pragma once
#include "cpu_vector.h"

namespace PSFORMER_NAMESPACE {

typedef Full<float>::Value Cells;  // a cell of as many channels as fill a register

constexpr int kSide = 4, kReach = 6, kPlaces = kReach * kReach, kTaps = 9;

// 6 cells to 6 places.
inline void places_of_cells(const Cells* d, int step, Cells* out, int out_step) {
  const Cells a = d[4 * step] - 4.f * d[2 * step], b = d[3 * step] - 4.f * d[step];
  const Cells c = d[4 * step] - d[2 * step], e = 2.f * (d[3 * step] - d[step]);
  out[0] = 4.f * d[0] - 5.f * d[2 * step] + d[4 * step];
  out[out_step] = a + b;
  out[2 * out_step] = a - b;
  out[3 * out_step] = c + e;
  out[4 * out_step] = c - e;
  out[5 * out_step] = 4.f * d[step] - 5.f * d[3 * step] + d[5 * step];
}

// 3 taps of a kernel to 6 places.
inline void places_of_taps(const Cells* g, int step, Cells* out, int out_step) {
  const Cells a = (g[0] + g[2 * step]) * (-1.f / 6), b = g[step] * (1.f / 6);
  const Cells c = g[0] * (1.f / 24) + g[2 * step] * (1.f / 6), e = g[step] * (1.f / 12);
  out[0] = g[0] * 0.25f;
  out[out_step] = a - b;
  out[2 * out_step] = a + b;
  out[3 * out_step] = c + e;
  out[4 * out_step] = c - e;
  out[5 * out_step] = g[2 * step];
}

// 6 places to 4 results.
inline void results_of_places(const Cells* m, int step, Cells* out, int out_step) {
  const Cells sum = m[step] + m[2 * step], far_sum = m[3 * step] + m[4 * step];
  const Cells gap = m[step] - m[2 * step], far_gap = m[3 * step] - m[4 * step];
  out[0] = m[0] + sum + far_sum;
  out[out_step] = gap + 2.f * far_gap;
  out[2 * out_step] = sum + 4.f * far_sum;
  out[3 * out_step] = gap + 8.f * far_gap + m[5 * step];
}

// Gradients go the other way round, through the transposed matrices: of 4 results to 6 places,
inline void places_of_results(const Cells* y, int step, Cells* out, int out_step) {
  const Cells even = y[0] + y[2 * step], odd = y[step] + y[3 * step];
  const Cells far_even = y[0] + 4.f * y[2 * step], far_odd = 2.f * y[step] + 8.f * y[3 * step];
  out[0] = y[0];
  out[out_step] = even + odd;
  out[2 * out_step] = even - odd;
  out[3 * out_step] = far_even + far_odd;
  out[4 * out_step] = far_even - far_odd;
  out[5 * out_step] = y[3 * step];
}

// and of 6 places to 3 taps.
inline void taps_of_places(const Cells* u, int step, Cells* out, int out_step) {
  const Cells sum = u[step] + u[2 * step], far_sum = u[3 * step] + u[4 * step];
  const Cells gap = u[2 * step] - u[step], far_gap = u[3 * step] - u[4 * step];
  out[0] = u[0] * 0.25f - sum * (1.f / 6) + far_sum * (1.f / 24);
  out[out_step] = gap * (1.f / 6) + far_gap * (1.f / 12);
  out[2 * out_step] = (far_sum - sum) * (1.f / 6) + u[5 * step];
}

// From x From numbers to To x To: every column, then every row of what they gave.
typedef void (*OfLine)(const Cells*, int, Cells*, int);
template <int From, int To, OfLine of_line>
inline void of_square(const Cells* in, Cells* out) {
  Cells half[To * From];
  for (int j = 0; j < From; j++) of_line(in + j, From, half + j, From);
  for (int i = 0; i < To; i++) of_line(half + i * From, 1, out + i * To, 1);
}

}  // namespace PSFORMER_NAMESPACE
