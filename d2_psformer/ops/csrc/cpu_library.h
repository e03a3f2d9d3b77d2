// What the entry points and the kernels, compiled once for every instruction set, share.
#pragma once
#include <stddef.h>

#include "problem.h"

enum PsformerIsa { PSFORMER_GENERIC = 0, PSFORMER_AVX2 = 1, PSFORMER_AVX512 = 2 };

// Memory that is kept from call to call: fresh pages cost as much as the kernel itself.
extern "C" void* psformer_take_workspace(size_t bytes);  // null: out of memory
extern "C" void psformer_return_workspace(void* memory);

// Nonzero: out of memory.
#define PSFORMER_DECLARE(isa)                     \
  namespace psformer_##isa {                      \
    int forward(const PsformerProblem& problem);  \
    int backward(const PsformerProblem& problem); \
  }
PSFORMER_DECLARE(generic)
PSFORMER_DECLARE(avx2)
PSFORMER_DECLARE(avx512)
