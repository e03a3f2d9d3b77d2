// The CPU kernels of multi-scale deformable attention. Compiled once for every instruction set
// (PSFORMER_ISA = generic, avx2, avx512; no intrinsics, only flags differ).
#include "cpu_backward.h"
#include "cpu_forward.h"

namespace PSFORMER_NAMESPACE {

int forward(const PsformerProblem& problem) {
  return problem.value_type == PSFORMER_F64 ? run_forward<double>(problem)
                                            : run_forward<float>(problem);
}

int backward(const PsformerProblem& problem) {
  return problem.value_type == PSFORMER_F64 ? run_backward<double>(problem)
                                            : run_backward<float>(problem);
}

}  // namespace PSFORMER_NAMESPACE
