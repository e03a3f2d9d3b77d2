// How a call is carried out, decided from its sizes alone, and the functions for its types.
#pragma once
#include "cpu_scatter.h"
#include "cpu_softmax.h"

namespace PSFORMER_NAMESPACE {

constexpr int kAheadPixels = 32;

// Pixels of one head, step bytes apart, one after the other.
template <class E, int C>
void pack_pixels(const char* from, int64_t step, int64_t count, int64_t, char* to) {
  for (int64_t i = 0; i < count; i++, from += step, to += C * sizeof(E)) {
    __builtin_prefetch(from + kAheadPixels * step, 0, 2);
    if (C * sizeof(E) > 64) __builtin_prefetch(from + kAheadPixels * step + 64, 0, 2);
    memcpy(to, from, C * sizeof(E));
  }
}

template <class E, class A>  // E: stored, A: packed
void pack_any(const char* from, int64_t step, int64_t count, int64_t channels, char* to) {
  for (int64_t i = 0; i < count; i++, from += step, to += channels * sizeof(A)) {
    for (int64_t c = 0; c < channels; c++) {
      narrow(widen(reinterpret_cast<const E*>(from)[c]), reinterpret_cast<A*>(to)[c]);
    }
  }
}

template <class A>
struct Functions {
  void (*pack)(const char* from, int64_t step, int64_t count, int64_t channels, char* to);
  int64_t packed_size;  // bytes of a channel in a packed map
  void (*read)(const char* from, int64_t step, int64_t rows, int64_t channels, A* to);
  void (*write)(const A* from, int64_t rows, int64_t channels, char* to, int64_t step,
                bool streamed);
  Gather<A> gather_packed, gather_strided;
  Scatter<A> scatter_packed, scatter_strided;
};

template <class E, int C>
Functions<float> fixed_functions() {
  return {pack_pixels<E, C>,     sizeof(E),
          Rows<E, C>::read,      Rows<E, C>::write,
          gather<E, E, C, true>, gather<E, E, C, false>,
          scatter<E, C, true>,   scatter<E, C, false>};
}

template <class E, class Packed, class A>
Functions<A> any_functions() {
  return {pack_any<E, Packed>,           sizeof(Packed),           Rows<E, 0>::template read<A>,
          Rows<E, 0>::template write<A>, gather_any<Packed, E, A>, gather_any<E, E, A>,
          scatter_any<Packed, A>,        scatter_any<E, A>};
}

template <class E>
Functions<float> functions_for(int64_t channels) {
  if (channels == 16) return fixed_functions<E, 16>();
  if (channels == 32) return fixed_functions<E, 32>();
  if (channels == 64) return fixed_functions<E, 64>();
  return any_functions<E, E, float>();
}

// fp16 is widened when it is packed: from there on it is a float map like any other
template <int C>
void use_float_maps(Functions<float>& to) {
  to.gather_packed = gather<float, F16, C, true>;
  to.scatter_packed = scatter<float, C, true>;
}

inline void choose(const PsformerProblem& p, Functions<float>& to) {
  if (p.value_type == PSFORMER_F32) {
    to = functions_for<float>(p.channels);
  } else if (p.value_type == PSFORMER_BF16) {
    to = functions_for<Bf16>(p.channels);
  } else {
    to = any_functions<F16, float, float>();
    if (p.channels == 16) use_float_maps<16>(to);
    if (p.channels == 32) use_float_maps<32>(to);
    if (p.channels == 64) use_float_maps<64>(to);
  }
}

inline void choose(const PsformerProblem&, Functions<double>& to) {
  to = any_functions<double, double, double>();
}

inline int64_t aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Queries that are worked on together.
struct QueryBlock {
  int32_t first, count;
};

// Results of this size or more are stored past the caches.
constexpr int64_t kStreamedBytes = 4 << 20;

template <class A>
struct Plan {
  const PsformerProblem& p;
  Functions<A> run;
  int64_t value_size;     // bytes of a stored number
  int64_t packed_pixel;   // bytes of a packed pixel
  int64_t packed_bytes;   // of a packed head
  int64_t block, blocks;  // most queries in a block, blocks of a head
  bool packed;
  int32_t nowhere;  // index of pixels outside

  explicit Plan(const PsformerProblem& problem) : p(problem) {
    choose(p, run);
    // A copy of the map is worth it when pixels are read several times. It also lets neighbouring
    // pixels share pages and cache sets, which heads of one tensor keep apart.
    double reads = 4.0 * double(p.queries) * double(p.levels * p.points);
    packed = reads > 6.0 * double(p.positions);
    value_size = type_size(p.value_type);
    packed_pixel = p.channels * run.packed_size;
    packed_bytes = packed ? aligned((p.positions + 1) * packed_pixel) : 0;
    nowhere = packed ? int32_t(p.positions) : -1;
    int64_t fitting = kBlockPoints / (p.levels * p.points);
    block = fitting < kBlockQueries ? fitting : kBlockQueries;
    blocks = (p.queries + block - 1) / block;
  }

  const char* pixel(int64_t b, int64_t h, int64_t s) const {
    return static_cast<const char*>(p.value) +
           value_size * (b * p.value_batch + s * p.value_position + h * p.channels);
  }
  int64_t row(int64_t b, int64_t q, int64_t h) const { return (b * p.queries + q) * p.heads + h; }

  QueryBlock block_at(int64_t i) const {
    const int64_t first = i * block, rest = p.queries - first;
    return {int32_t(first), int32_t(rest < block ? rest : block)};
  }

  // The pixels [first, last) of a head into its packed map, which a pixel of zeros ends.
  void pack(int64_t b, int64_t h, int64_t first, int64_t last, char* to) const {
    run.pack(pixel(b, h, first), p.value_position * value_size, last - first, p.channels,
             to + first * packed_pixel);
    memset(to + p.positions * packed_pixel, 0, size_t(packed_pixel));
  }

  Map map(int64_t b, int64_t h, const char* packed_head, const char* zeros) const {
    if (packed) return {packed_head, packed_pixel, zeros};
    return {pixel(b, h, 0), p.value_position * value_size, zeros};
  }

  // Whether rows of a (B, n, heads, channels) result are stored past the caches.
  bool streams(const void* to, int64_t n) const {
    const int64_t row_bytes = p.channels * value_size;
    return reinterpret_cast<uintptr_t>(to) % 64 == 0 && row_bytes % 64 == 0 &&
           p.batch * n * p.heads * row_bytes >= kStreamedBytes;
  }

  // The rows that the next block will read: sampling, attention and a (B, Q, heads *
  // channels) tensor, the output or its gradient.
  Ahead ahead(int64_t b, int64_t h, const QueryBlock& at, const void* sums) const {
    Ahead result;
    const int64_t q = at.first + block, n = p.levels * p.points;
    if (q + at.count > p.queries) return result;
    const int64_t sampling = type_size(p.sampling_type), attention = type_size(p.attention_type);
    const int64_t row_bytes = p.channels * value_size;
    result.add(p.sampling, sampling * (b * p.sampling_batch + q * p.sampling_query + 2 * h * n),
               sampling * p.sampling_query, 2 * sampling * n);
    result.add(p.attention, attention * (b * p.attention_batch + q * p.attention_query + h * n),
               attention * p.attention_query, attention * n);
    if (sums != nullptr) result.add(sums, row(b, q, h) * row_bytes, p.heads * row_bytes, row_bytes);
    return result;
  }
};

}  // namespace PSFORMER_NAMESPACE
