// Vectors of numbers in the width of the instruction set (vector extensions of GCC and clang).
#pragma once
#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <utility>
#if defined(__SSE2__)
#include <immintrin.h>
#endif

#define PSFORMER_JOIN_(a, b) a##b
#define PSFORMER_JOIN(a, b) PSFORMER_JOIN_(a, b)
#define PSFORMER_NAMESPACE PSFORMER_JOIN(psformer_, PSFORMER_ISA)

#if defined(__clang__)
#define PSFORMER_SHUFFLE(ints, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define PSFORMER_SHUFFLE(ints, a, b, ...) __builtin_shuffle(a, b, ints{__VA_ARGS__})
#endif

namespace PSFORMER_NAMESPACE {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// aligned(4): rows of a tensor start anywhere; may_alias: they are read through these types
template <int N>
struct Lanes {
  typedef float Floats __attribute__((vector_size(N * 4), aligned(4), may_alias));
  typedef uint32_t Words __attribute__((vector_size(N * 4), aligned(4), may_alias));
  typedef float Value __attribute__((vector_size(N * 4)));
};
typedef Lanes<4>::Value Four;

// As many numbers as fill a vector register, with integers of the same width: masks of comparisons.
template <class A>
struct Full {
  typedef std::conditional_t<sizeof(A) == 4, int32_t, int64_t> Int;
  static constexpr int N = 4 * kLanes / int(sizeof(A));
  typedef A Value __attribute__((vector_size(4 * kLanes)));
  typedef Int Ints __attribute__((vector_size(4 * kLanes)));
  typedef int32_t Index __attribute__((vector_size(4 * N)));
};

template <class V>
__attribute__((always_inline)) inline V load(const void* from) {
  V value;
  memcpy(&value, from, sizeof value);
  return value;
}
template <class V>
__attribute__((always_inline)) inline void store(void* to, V value) {
  memcpy(to, &value, sizeof value);
}

// Store past the caches, for results larger than they are: a plain store would first read the line
// that it overwrites and evict pixels. Three times as fast for rows far apart. The vector extensions
// lack it, so it is called by name. The address must be a multiple of the size.
template <class V>
__attribute__((always_inline)) inline void stream(void* to, V value) {
#if defined(__AVX512F__)
  if constexpr (sizeof(V) == 64) return _mm512_stream_ps(static_cast<float*>(to), (__m512)value);
#endif
#if defined(__AVX2__)
  if constexpr (sizeof(V) == 32) return _mm256_stream_ps(static_cast<float*>(to), (__m256)value);
#endif
#if defined(__SSE2__)
  if constexpr (sizeof(V) == 16) return _mm_stream_ps(static_cast<float*>(to), (__m128)value);
#endif
  store(to, value);
}
template <bool Stream, class V>
__attribute__((always_inline)) inline void put_vector(void* to, V value) {
  if (Stream)
    stream(to, value);
  else
    store(to, value);
}

// Makes streamed stores visible to other threads.
inline void finish_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

template <class V, int... I>
inline void separate_lanes(V a, V b, V& even, V& odd, std::integer_sequence<int, I...>) {
  typedef decltype(a < b) Ints;
  even = PSFORMER_SHUFFLE(Ints, a, b, (2 * I)...);
  odd = PSFORMER_SHUFFLE(Ints, a, b, (2 * I + 1)...);
}
template <class V, int... I>
inline void alternate_lanes(V a, V b, V& low, V& high, std::integer_sequence<int, I...>) {
  typedef decltype(a < b) Ints;
  constexpr int n = sizeof...(I);
  low = PSFORMER_SHUFFLE(Ints, a, b, (I / 2 + I % 2 * n)...);
  high = PSFORMER_SHUFFLE(Ints, a, b, (I / 2 + I % 2 * n + n / 2)...);
}
template <class V>
using Numbered = std::make_integer_sequence<int, sizeof(V) / sizeof(V{}[0])>;

// even: lanes 0, 2, 4 ... of the pair (a, b); odd: the others.
template <class V>
inline void separate(V a, V b, V& even, V& odd) {
  separate_lanes(a, b, even, odd, Numbered<V>());
}

// The other way: the pair (low, high) alternates between lanes of a and b.
template <class V>
inline void alternate(V a, V b, V& low, V& high) {
  alternate_lanes(a, b, low, high, Numbered<V>());
}

// Sums of the lanes of four vectors, together: the shuffles of one serve all four.
inline Four sums_of_four(Four a, Four b, Four c, Four d) {
  typedef decltype(a < b) I;
  Four ab = PSFORMER_SHUFFLE(I, a, b, 0, 1, 4, 5) + PSFORMER_SHUFFLE(I, a, b, 2, 3, 6, 7);
  Four cd = PSFORMER_SHUFFLE(I, c, d, 0, 1, 4, 5) + PSFORMER_SHUFFLE(I, c, d, 2, 3, 6, 7);
  return PSFORMER_SHUFFLE(I, ab, cd, 0, 2, 4, 6) + PSFORMER_SHUFFLE(I, ab, cd, 1, 3, 5, 7);
}

typedef Lanes<8>::Value Eight;
inline Four sums_of_four(Eight a, Eight b, Eight c, Eight d) {
  typedef decltype(a < b) I;
  auto ac = PSFORMER_SHUFFLE(I, a, c, 0, 1, 8, 9, 4, 5, 12, 13) +
            PSFORMER_SHUFFLE(I, a, c, 2, 3, 10, 11, 6, 7, 14, 15);
  auto bd = PSFORMER_SHUFFLE(I, b, d, 0, 1, 8, 9, 4, 5, 12, 13) +
            PSFORMER_SHUFFLE(I, b, d, 2, 3, 10, 11, 6, 7, 14, 15);
  auto all = PSFORMER_SHUFFLE(I, ac, bd, 0, 8, 2, 10, 4, 12, 6, 14) +
             PSFORMER_SHUFFLE(I, ac, bd, 1, 9, 3, 11, 5, 13, 7, 15);
  Four halves[2];
  memcpy(halves, &all, sizeof all);
  return halves[0] + halves[1];
}

typedef Lanes<16>::Value Sixteen;
inline Four sums_of_four(Sixteen a, Sixteen b, Sixteen c, Sixteen d) {
  typedef decltype(a < b) I;
  auto ab = PSFORMER_SHUFFLE(I, a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
            PSFORMER_SHUFFLE(I, a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  auto cd = PSFORMER_SHUFFLE(I, c, d, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
            PSFORMER_SHUFFLE(I, c, d, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
  auto all =
      PSFORMER_SHUFFLE(I, ab, cd, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
      PSFORMER_SHUFFLE(I, ab, cd, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
  Four parts[4];  // four lanes of every vector are left
  memcpy(parts, &all, sizeof all);
  return sums_of_four(parts[0], parts[1], parts[2], parts[3]);
}

}  // namespace PSFORMER_NAMESPACE
