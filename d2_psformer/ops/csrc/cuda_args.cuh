// What the Python binding passes to the CUDA library: one plain struct, mirrored in cuda_kernel.py.
// Every field has 8 bytes, so that its layout is the same for every compiler.
#pragma once

#include <cstdint>

constexpr int PSFORMER_CUDA_ABI = 1;
constexpr int PSFORMER_MAX_LEVELS = 16;
constexpr int PSFORMER_MAX_POINTS = 16;

enum PsformerDtype : int64_t { PSFORMER_F32, PSFORMER_F16, PSFORMER_BF16, PSFORMER_F64 };

struct PsformerCudaArgs {
  const void* value;      // (batch, positions, heads, channels), inner two contiguous
  const void* sampling;   // (batch, queries, heads, levels, points, 2): locations or offsets
  const void* attention;  // (batch, queries, heads, levels, points): weights or logits
  const void* reference;  // (batch, queries, levels, components) or null
  void* out;              // (batch, queries, heads, channels), contiguous
  const void* grad_out;   // as out
  void* grad_value;       // sums, contiguous as value: float (double for double), or int64
  void* grad_sampling;    // contiguous, dtype of sampling
  void* grad_attention;   // contiguous, dtype of attention
  const float* bound;     // one number that no |sum| exceeds; null: sums are floats
  int* poison;            // set to 1 where a sum does not fit into its integer

  // Strides in elements; what has none is contiguous.
  int64_t value_batch, value_position;
  int64_t sampling_batch, sampling_query;
  int64_t attention_batch, attention_query;
  int64_t reference_batch;

  int64_t batch, positions, heads, channels, queries, levels, points;
  int64_t components;  // 0: locations and weights; 2 or 4: offsets from reference points and logits
  int64_t dtype;       // of value, out and grad_out
  int64_t half_sampling, half_attention;  // 1: stored in value's dtype; 0: in the dtype of sums
  int64_t device;

  int64_t height[PSFORMER_MAX_LEVELS];
  int64_t width[PSFORMER_MAX_LEVELS];
  int64_t start[PSFORMER_MAX_LEVELS];  // the level's first position
};
