// The CPU kernels: multi-scale deformable attention, dropout, convolution. Compiled once for every
// instruction set (PSFORMER_ISA = generic, avx2, avx512; no intrinsics, only flags differ).
#include "cpu_backward.h"
#include "cpu_dropout.h"
#include "cpu_forward.h"
#include "cpu_winograd.h"

namespace PSFORMER_NAMESPACE {

int forward(const PsformerProblem& problem) {
  return problem.value_type == PSFORMER_F64 ? run_forward<double>(problem)
                                            : run_forward<float>(problem);
}

int backward(const PsformerProblem& problem) {
  return problem.value_type == PSFORMER_F64 ? run_backward<double>(problem)
                                            : run_backward<float>(problem);
}

int dropout(const PsformerDropout& problem) { return run_dropout(problem); }

int convolution(const PsformerConvolution& problem) { return run_convolution(problem); }

int kernel_gradient(const PsformerConvolution& problem) { return run_kernel_gradient(problem); }

}  // namespace PSFORMER_NAMESPACE
