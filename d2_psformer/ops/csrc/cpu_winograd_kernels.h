// Kernels to places and back, kColumns output channels at a time: place i and input channel c at
// [(i * in + c) * kColumns].
#pragma once
#include "cpu_problem.h"
#include "cpu_winograd_product.h"

namespace PSFORMER_NAMESPACE {

// The strides of a weight tensor are arbitrary, and powers of two more often than not: only as many
// channels at once as the ways of a cache.
constexpr int kAtOnce = 8;

typedef float Taps[kAtOnce][kTaps][kColumns];

// f(taps in memory, the same in order) of kAtOnce input and kColumns output channels.
template <class F>
inline void for_taps(const PsformerConvolution& p, int64_t k, int64_t c, Taps& taps, F f) {
  float* corner = static_cast<float*>(p.weight) + k * p.weight_out + c * p.weight_in;
  for (int tap = 0; tap < kTaps; tap++) {
    float* at = corner + tap / 3 * p.weight_row + tap % 3 * p.weight_column;
    for (int j = 0; j < kColumns; j++)
      for (int i = 0; i < kAtOnce; i++)
        f(at[j * p.weight_out + i * p.weight_in], taps[i][tap][j]);
  }
}

// Output channels from `first` on.
inline void transform_kernels(const PsformerConvolution& p, int64_t first, float* to) {
  Taps taps;
  for (int64_t base = 0; base < p.in; base += kAtOnce) {
    for_taps(p, first, base, taps, [](float& stored, float& tap) { tap = stored; });
    for (int c = 0; c < kAtOnce; c++) {
      for (int k = 0; k < kColumns; k += kLanes) {
        Cells kernel[kTaps], places[kPlaces];
        for (int i = 0; i < kTaps; i++) kernel[i] = load<Cells>(&taps[c][i][k]);
        of_square<3, kReach, places_of_taps>(kernel, places);
        for (int i = 0; i < kPlaces; i++)
          store(to + (i * p.in + base + c) * kColumns + k, places[i]);
      }
    }
  }
}

// The gradients of these kernels from those of their places.
inline void put_kernels(const PsformerConvolution& p, int64_t first, const float* from) {
  Taps taps;
  for (int64_t base = 0; base < p.in; base += kAtOnce) {
    for (int c = 0; c < kAtOnce; c++) {
      for (int k = 0; k < kColumns; k += kLanes) {
        Cells places[kPlaces], kernel[kTaps];
        for (int i = 0; i < kPlaces; i++)
          places[i] = load<Cells>(from + (i * p.in + base + c) * kColumns + k);
        of_square<kReach, 3, taps_of_places>(places, kernel);
        for (int i = 0; i < kTaps; i++) store(&taps[c][i][k], kernel[i]);
      }
    }
    for_taps(p, first, base, taps, [](float& stored, float& tap) { stored = tap; });
  }
}

}  // namespace PSFORMER_NAMESPACE
