// Forward: weighted sums of the pixels that the points of a query read.
#pragma once
#include "cpu_points.h"

namespace PSFORMER_NAMESPACE {

// Where the pixels of one head lie, or the sums of their gradients. Packed: one after the other.
template <class Byte>
struct MapOf {
  Byte* base;
  int64_t step;   // bytes from pixel to pixel
  Byte* nowhere;  // for negative indices: zeros are read there, sums made there are dropped
};
typedef MapOf<const char> Map;
typedef MapOf<char> GradMap;

template <int Bytes, class Byte>  // 0: not packed
inline Byte* pixel_at(const MapOf<Byte>& map, int32_t index) {
  if (Bytes != 0) return map.base + int64_t(index) * Bytes;
  return index < 0 ? map.nowhere : map.base + int64_t(index) * map.step;
}

// Rows that the next block will read, too far apart for the hardware's prefetching.
struct Ahead {
  struct Stream {
    const char* row;
    int64_t step;
    int64_t bytes;
  };
  Stream streams[3];
  int count = 0;

  void add(const void* base, int64_t first_byte, int64_t step, int64_t bytes) {
    streams[count++] = {static_cast<const char*>(base) + first_byte, step, bytes};
  }
  inline void fetch(int q) const {
    for (int i = 0; i < count; i++) {
      const Stream& s = streams[i];
      for (int64_t at = 0; at < s.bytes; at += 64)
        __builtin_prefetch(s.row + q * s.step + at, 0, 2);
    }
  }
};

// Writes the sums of every query as a row of the output, step bytes apart. scratch: channels.
template <class A>
using Gather = void (*)(const Map& map, const Points<A>& points, int queries, int per_query,
                        int64_t channels, const Ahead& ahead, A* scratch, char* out, int64_t step,
                        bool streamed);

// The sums of one row in the type of the output, which differs from that of the map for fp16.
template <class E, int C>
inline void put_row(const typename Pixel<E, C>::V* sum, E* out, bool streamed) {
  if (streamed)
    Pixel<E, C>::template put<true>(sum, reinterpret_cast<char*>(out));
  else
    Pixel<E, C>::template put<false>(sum, reinterpret_cast<char*>(out));
}
template <class E, int C>
inline void put_row(const typename Pixel<E, C>::V* sum, F16* out, bool) {
  float row[C];
  memcpy(row, sum, sizeof row);
  for (int c = 0; c < C; c++) narrow(row[c], out[c]);
}

constexpr int kAheadPoints = 8;

template <class E, class O, int C, bool Packed>
void gather(const Map& map, const Points<float>& points, int queries, int per_query, int64_t,
            const Ahead& ahead, float*, char* out, int64_t step, bool streamed) {
  typedef Pixel<E, C> P;
  typedef typename P::V V;
  constexpr int K = P::K, bytes = Packed ? C * int(sizeof(E)) : 0;
  // Two sums for every channel, where registers suffice: an addition need not wait for the last.
  constexpr int chains = K <= 4 ? 2 : 1;
  const Map from = map;
  const int pitch = points.pitch;
  const int32_t* index = points.index(0);
  const float* weight = points.weight(0);
  for (int q = 0; q < queries; q++, out += step) {
    ahead.fetch(q);
    V sum[chains][K] = {};
    for (int n = 0; n < per_query; n++, index++, weight++) {
      for (int k = 0; k < 4; k++) {
        if (!Packed && C * sizeof(E) > 64) {
          // With few queries most pixels are not cached. Behind the last point this is any address,
          // which does no harm. Pixels of one cache line do not gain.
          const char* later = pixel_at<0>(from, index[k * pitch + kAheadPoints]);
          for (int i = 0; i < C * int(sizeof(E)); i += 64) __builtin_prefetch(later + i);
        }
        V pixel[K];
        P::get(pixel_at<bytes>(from, index[k * pitch]), pixel);
        float w = weight[k * pitch];
        for (int i = 0; i < K; i++) sum[k % chains][i] += w * pixel[i];
      }
    }
    for (int i = 0; i < K && chains == 2; i++) sum[0][i] += sum[chains - 1][i];
    put_row<E, C>(sum[0], reinterpret_cast<O*>(out), streamed);
  }
}

// Any number of channels, any type. O: type of the output.
template <class E, class O, class A>
void gather_any(const Map& map, const Points<A>& points, int queries, int per_query,
                int64_t channels, const Ahead&, A* sums, char* out, int64_t step, bool) {
  for (int q = 0, n = 0; q < queries; q++, out += step) {
    memset(sums, 0, size_t(channels) * sizeof(A));
    for (int end = n + per_query; n < end; n++) {
      const E* pixel[4];
      A w[4];
      for (int k = 0; k < 4; k++) {
        pixel[k] = reinterpret_cast<const E*>(pixel_at<0>(map, points.index(k)[n]));
        w[k] = points.weight(k)[n];
      }
      for (int64_t c = 0; c < channels; c++) {
        sums[c] += (w[0] * widen(pixel[0][c]) + w[1] * widen(pixel[1][c])) +
                   (w[2] * widen(pixel[2][c]) + w[3] * widen(pixel[3][c]));
      }
    }
    for (int64_t c = 0; c < channels; c++) narrow(sums[c], reinterpret_cast<O*>(out)[c]);
  }
}

}  // namespace PSFORMER_NAMESPACE
