// One call of the operator, as the Python binding passes it to either library.
//
// It holds plain types only: this header is shared by code that is compiled for different
// instruction sets, and an inline function in it could end up in the library in the wrong one.
#pragma once
#include <stdint.h>

// The version changes with this file. The limits size fixed buffers of the kernels.
enum { PSFORMER_ABI = 5, PSFORMER_MAX_LEVELS = 16, PSFORMER_MAX_POINTS = 16 };

enum PsformerType : int64_t { PSFORMER_F32, PSFORMER_F64, PSFORMER_BF16, PSFORMER_F16 };

// Mirrored by Problem in library.py. Every field has 8 bytes; strides count elements.
struct PsformerProblem {
  const void* value;      // (batch, positions, heads, channels); the inner two are contiguous
  const void* sampling;   // (batch, queries, heads, levels, points, 2): locations or offsets
  const void* attention;  // (batch, queries, heads, levels, points): weights or logits
  const void* reference;  // (batch, queries, levels, components) or null; in the type of sums
  void* out;              // (batch, queries, heads, channels), contiguous, in the type of value
  const void* grad_out;   // as out
  void* grad_value;       // contiguous; in the type of value on a CPU, sums on a GPU
  void* grad_sampling;    // contiguous, in the type of sampling
  void* grad_attention;   // contiguous, in the type of attention
  const float* bound;     // GPU: one number that no |sum| exceeds; null: sums are floats
  int* poison;            // GPU: set to 1 where a sum does not fit into its integer

  int64_t value_batch, value_position;
  int64_t sampling_batch, sampling_query;
  int64_t attention_batch, attention_query;
  int64_t reference_batch;

  int64_t batch, positions, heads, channels, queries, levels, points;
  int64_t components;  // 0: locations and weights; 2 or 4: offsets from reference points and logits
  // Sampling and attention have the type of value or that of the sums.
  PsformerType value_type, sampling_type, attention_type;
  int64_t threads, device;

  int64_t height[PSFORMER_MAX_LEVELS], width[PSFORMER_MAX_LEVELS];
  int64_t start[PSFORMER_MAX_LEVELS];  // the level's first position
};
