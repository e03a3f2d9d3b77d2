// The channels of one pixel or query: stored types, and how rows of them become float sums.
#pragma once
#include "cpu_library.h"
#include "cpu_vector.h"

namespace PSFORMER_NAMESPACE {

struct Bf16 {
  uint16_t bits;
};
struct F16 {
  uint16_t bits;
};

inline float as_float(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

inline uint32_t as_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return bits;
}

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(Bf16 x) { return as_float(uint32_t(x.bits) << 16); }

// Exponent and mantissa are moved to their places in a float; a product with 2^112 corrects the
// bias of the exponent, also of subnormal numbers. Infinity and NaN keep all bits of the exponent.
inline float widen(F16 x) {
  uint32_t sign = uint32_t(x.bits & 0x8000u) << 16, rest = x.bits & 0x7fffu;
  uint32_t finite = as_bits(as_float(rest << 13) * as_float(0x77800000u));
  uint32_t special = (rest << 13) | 0x7f800000u;
  return as_float(sign | (rest >= 0x7c00u ? special : finite));
}

inline void narrow(float x, float& to) { to = x; }
inline void narrow(double x, double& to) { to = x; }

// To the nearest, ties to even; NaN stays NaN.
inline uint32_t rounded_bf16(uint32_t bits) {
  uint32_t nan = (bits & 0x7fffffffu) > 0x7f800000u;
  return nan ? (bits | 0x400000u) : bits + 0x7fffu + ((bits >> 16) & 1u);
}
inline void narrow(float x, Bf16& to) { to.bits = uint16_t(rounded_bf16(as_bits(x)) >> 16); }

// Normal numbers: round the mantissa to 10 bits by integers. Subnormal ones: the addition of 0.5
// makes the hardware round at the right bit.
inline void narrow(float x, F16& to) {
  uint32_t bits = as_bits(x), sign = (bits >> 16) & 0x8000u, rest = bits & 0x7fffffffu;
  uint32_t small = as_bits(as_float(rest) + 0.5f) - 0x3f000000u;
  uint32_t normal = (rest - 0x38000000u + 0xfffu + ((rest >> 13) & 1u)) >> 13;
  uint32_t result = rest < 0x38800000u ? small : normal;
  result = rest >= 0x477ff000u ? 0x7c00u : result;  // from 65520 on
  result = rest > 0x7f800000u ? 0x7e00u : result;
  to.bits = uint16_t(sign | result);
}

// One pixel of C channels as K vectors of floats. bf16 pairs are widened without a shuffle: first
// the even channels, then the odd ones. Sums keep that order; only their end undoes it.
template <class E, int C>
struct Pixel;

template <int C>
struct Pixel<float, C> {
  static constexpr int N = C < kLanes ? C : kLanes, K = C / N;
  typedef typename Lanes<N>::Value V;
  static inline void get(const char* from, V* to) {
    for (int i = 0; i < K; i++) to[i] = reinterpret_cast<const typename Lanes<N>::Floats*>(from)[i];
  }
  template <bool Stream>
  static inline void put(const V* from, char* to) {
    for (int i = 0; i < K; i++) put_vector<Stream>(to + i * sizeof(V), from[i]);
  }
};

template <int C>
struct Pixel<Bf16, C> {
  static constexpr int N = C / 2 < kLanes ? C / 2 : kLanes, K = C / N, HALF = K / 2;
  typedef typename Lanes<N>::Value V;
  typedef typename Lanes<N>::Words Words;
  static inline void get(const char* from, V* to) {
    for (int i = 0; i < HALF; i++) {
      Words pair = reinterpret_cast<const Words*>(from)[i];
      Words even = pair << 16, odd = pair & 0xffff0000u;
      memcpy(&to[i], &even, sizeof even);
      memcpy(&to[HALF + i], &odd, sizeof odd);
    }
  }
  static inline Words rounded(V from) {
    Words bits;
    memcpy(&bits, &from, sizeof bits);
    Words up = bits + 0x7fffu + ((bits >> 16) & 1u);
    Words nan = Words((bits & 0x7fffffffu) > 0x7f800000u);
    return (nan & (bits | 0x400000u)) | (~nan & up);
  }
  template <bool Stream>
  static inline void put(const V* from, char* to) {
    for (int i = 0; i < HALF; i++) {
      Words pair = (rounded(from[i]) >> 16) | (rounded(from[HALF + i]) & 0xffff0000u);
      put_vector<Stream>(to + i * sizeof(Words), load<V>(&pair));
    }
  }
};

// Rows of channels, step bytes apart, to and from rows of sums. C = 0: any number of channels.
template <class E, int C>
struct Rows {
  typedef Pixel<E, C> P;
  static void read(const char* from, int64_t step, int64_t rows, int64_t, float* to) {
    for (int64_t r = 0; r < rows; r++, from += step, to += C) {
      typename P::V row[P::K];
      P::get(from, row);
      for (int i = 0; i < P::K; i++) store(to + i * P::N, row[i]);
    }
  }
  static void write(const float* from, int64_t rows, int64_t, char* to, int64_t step,
                    bool streamed) {
    for (int64_t r = 0; r < rows; r++, from += C, to += step) {
      typename P::V row[P::K];
      for (int i = 0; i < P::K; i++) row[i] = load<typename P::V>(from + i * P::N);
      if (streamed)
        P::template put<true>(row, to);
      else
        P::template put<false>(row, to);
    }
  }
};

template <class E>
struct Rows<E, 0> {
  template <class A>
  static void read(const char* from, int64_t step, int64_t rows, int64_t channels, A* to) {
    for (int64_t r = 0; r < rows; r++, from += step, to += channels) {
      for (int64_t c = 0; c < channels; c++) to[c] = widen(reinterpret_cast<const E*>(from)[c]);
    }
  }
  template <class A>
  static void write(const A* from, int64_t rows, int64_t channels, char* to, int64_t step, bool) {
    for (int64_t r = 0; r < rows; r++, from += channels, to += step) {
      for (int64_t c = 0; c < channels; c++) narrow(from[c], reinterpret_cast<E*>(to)[c]);
    }
  }
};

}  // namespace PSFORMER_NAMESPACE
