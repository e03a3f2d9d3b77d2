// What the Python binding hands over: pointers, sizes and strides of one call.
//
// Only plain types stand here: this header is shared by code that is compiled for different
// instruction sets, and an inline function in it could end up in the library in the wrong one.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum PsformerType { PSFORMER_F32 = 0, PSFORMER_F64 = 1, PSFORMER_BF16 = 2, PSFORMER_F16 = 3 };

enum PsformerIsa { PSFORMER_GENERIC = 0, PSFORMER_AVX2 = 1, PSFORMER_AVX512 = 2 };

// The limits of the compiled kernel: a block of queries must fit into its fixed buffers.
enum { PSFORMER_MAX_LEVELS = 16, PSFORMER_MAX_POINTS = 16 };

// Mirrored by _Problem in cpu_kernel.py. Strides count elements.
struct PsformerProblem {
  int64_t batch, length, heads, channels, queries, levels, points;
  int64_t shapes[2 * PSFORMER_MAX_LEVELS];  // height, width of every level
  int64_t value_batch, value_pixel;         // strides; heads and channels are contiguous
  int64_t sampling_batch, sampling_query;   // strides; heads, levels, points, xy are contiguous
  int64_t attention_batch, attention_query;
  int64_t reference_batch;  // queries, levels, components are contiguous
  int64_t value_type, sampling_type, attention_type, reference_type;
  int64_t reference_size;  // 0: locations and weights; 2 or 4: offsets, logits and these components
  int64_t threads;
  const void *value, *sampling, *attention, *reference;
  void* out;             // forward: (B, Q, H * C) contiguous, in the type of value
  const void* grad_out;  // backward: the same layout
  void* grad_value;      // (B, S, H, C) contiguous, in the type of value
  void* grad_sampling;   // contiguous, in the type of sampling
  void* grad_attention;  // contiguous, in the type of attention
};

// Memory that is kept from call to call: fresh pages cost as much as the kernel itself.
extern "C" void* psformer_take_workspace(size_t bytes);  // null: out of memory
extern "C" void psformer_return_workspace(void* memory);

// One copy of the kernel for every instruction set; nonzero: out of memory.
#define PSFORMER_DECLARE(isa)                     \
  namespace psformer_##isa {                      \
    int forward(const PsformerProblem& problem);  \
    int backward(const PsformerProblem& problem); \
  }
PSFORMER_DECLARE(generic)
PSFORMER_DECLARE(avx2)
PSFORMER_DECLARE(avx512)
