// Backward kernels of multi-scale deformable attention: C interface and choice of variant.
#include "cuda_backward.cuh"
#include "cuda_launch.cuh"

namespace psformer {

template <class T, int N, int G, int P, class Sums>
__global__ void __launch_bounds__(MAX_THREADS)
    backward_kernel(const __grid_constant__ PsformerProblem a, int lanes, int item_bytes) {
  const Sums sums(a);
  for_each_item<G>(a, lanes, item_bytes, [&](const Item& item, const auto& group, void* memory) {
    backward_item<T, N, P>(a, item, group, memory, sums);
  });
}

template <class T>
void launch_backward(const PsformerProblem& a, cudaStream_t stream) {
  using R = SumOf<T>;
  constexpr int N = 16 / sizeof(T);
  const int item_bytes = BackwardScratch<R>::bytes(static_cast<int>(a.levels * a.points));
  const bool vectors = N > 2 && fits_vectors<T>(a);
  const Plan p = plan(a, vectors ? a.channels / N : a.channels, item_bytes);
  const auto start = [&](auto kernel) {
    kernel<<<p.blocks, p.threads, p.shared_bytes(), stream>>>(a, p.lanes, item_bytes);
  };
  const bool fixed_point = a.bound != nullptr;
  if constexpr (N > 2) {
    if (vectors && !fixed_point && p.lanes == 32 / N) {  // 32 channels, or few less
      if (a.points == 4) return start(backward_kernel<T, N, 32 / N, 4, FloatSums<R>>);
      if (a.points == 8) return start(backward_kernel<T, N, 32 / N, 8, FloatSums<R>>);
    }
    if (vectors) {
      return fixed_point ? start(backward_kernel<T, N, 0, 0, FixedSums<R>>)
                         : start(backward_kernel<T, N, 0, 0, FloatSums<R>>);
    }
  }
  fixed_point ? start(backward_kernel<T, 1, 0, 0, FixedSums<R>>)
              : start(backward_kernel<T, 1, 0, 0, FloatSums<R>>);
}

}  // namespace psformer

extern "C" {

// Adds to args->grad_value (zeroed by the caller), writes args->grad_sampling and grad_attention.
const char* psformer_cuda_backward(const PsformerProblem* args, void* stream) {
  return psformer::run_on_device(*args, [&](auto example) {
    psformer::launch_backward<decltype(example)>(*args, static_cast<cudaStream_t>(stream));
  });
}
}
