// Entry points of the CPU kernels: choice of the instruction set, and the workspace.
#include <atomic>
#include <new>
#include <stdlib.h>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "cpu_library.h"

namespace {

// Beyond this size a workspace is given back to the system after its call.
constexpr size_t kKeptBytes = size_t(128) << 20;
constexpr size_t kHugePage = size_t(2) << 20;
constexpr size_t kHeader = 64;  // holds the size; keeps what follows aligned to a cache line

std::atomic<char*> kept_workspace{nullptr};

size_t& size_of(char* block) { return *reinterpret_cast<size_t*>(block); }

char* allocate(size_t bytes) {
  size_t rounded = (bytes + kHugePage - 1) / kHugePage * kHugePage;
  void* memory = nullptr;
  if (posix_memalign(&memory, kHugePage, rounded) != 0) return nullptr;
#if defined(MADV_HUGEPAGE)
  madvise(memory, rounded, MADV_HUGEPAGE);  // fewer TLB misses when gathering; only a hint
#endif
  char* block = static_cast<char*>(memory);
  size_of(block) = rounded;
  return block;
}

bool runs_here(int isa) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  switch (isa) {
    case PSFORMER_AVX512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    case PSFORMER_AVX2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  }
#endif
  return isa == PSFORMER_GENERIC;
}

typedef int (*Kernel)(const PsformerProblem&);
#if defined(__x86_64__) || defined(__i386__)
const Kernel kForward[] = {psformer_generic::forward, psformer_avx2::forward,
                           psformer_avx512::forward};
const Kernel kBackward[] = {psformer_generic::backward, psformer_avx2::backward,
                            psformer_avx512::backward};
#else
const Kernel kForward[] = {psformer_generic::forward};
const Kernel kBackward[] = {psformer_generic::backward};
#endif

}  // namespace

// The kernels may be compiled with hidden symbols; these are visible in any case.
#pragma GCC visibility push(default)
extern "C" {

int psformer_abi_version(void) { return PSFORMER_ABI; }

int psformer_problem_size(void) { return sizeof(PsformerProblem); }

// The instruction set that serves a request (-1: the best), or -1 if this processor lacks it.
int psformer_cpu_isa(int requested) {
  if (requested >= 0) return runs_here(requested) ? requested : -1;
  if (runs_here(PSFORMER_AVX512)) return PSFORMER_AVX512;
  return runs_here(PSFORMER_AVX2) ? PSFORMER_AVX2 : PSFORMER_GENERIC;
}

// One workspace is kept for the whole process. Two calls at the same time: the second one makes
// its own, and the last to return leaves its workspace behind.
void* psformer_take_workspace(size_t bytes) {
  char* block = kept_workspace.exchange(nullptr);
  if (block != nullptr && size_of(block) < bytes + kHeader) {
    free(block);
    block = nullptr;
  }
  if (block == nullptr) block = allocate(bytes + kHeader);
  return block == nullptr ? nullptr : block + kHeader;
}

void psformer_return_workspace(void* memory) {
  char* block = static_cast<char*>(memory) - kHeader;
  if (size_of(block) <= kKeptBytes) block = kept_workspace.exchange(block);
  free(block);
}

// 0: done; 1: out of memory; 2: this processor lacks the instruction set.
int psformer_cpu_forward(const PsformerProblem* problem, int requested) {
  const int isa = psformer_cpu_isa(requested);
  return isa < 0 ? 2 : kForward[isa](*problem);
}

int psformer_cpu_backward(const PsformerProblem* problem, int requested) {
  const int isa = psformer_cpu_isa(requested);
  return isa < 0 ? 2 : kBackward[isa](*problem);
}

}  // extern "C"
#pragma GCC visibility pop
