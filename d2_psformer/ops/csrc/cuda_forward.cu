// Forward kernel of multi-scale deformable attention: C interface and choice of variant.
#include "cuda_forward.cuh"
#include "cuda_launch.cuh"

namespace psformer {

template <class T, int N, int G, int L, int P>
__global__ void __launch_bounds__(MAX_THREADS)
    forward_kernel(const __grid_constant__ PsformerProblem a, int lanes, int item_bytes) {
  for_each_item<G>(a, lanes, item_bytes, [&](const Item& item, const auto& group, void* memory) {
    forward_item<T, N, L, P>(a, item, group, memory);
  });
}

template <class T>
void launch_forward(const PsformerProblem& a, cudaStream_t stream) {
  constexpr int N = 16 / sizeof(T);
  const int item_bytes =
      ForwardScratch<SumOf<T>>::bytes(static_cast<int>(a.levels * a.points));
  const bool vectors = N > 2 && fits_vectors<T>(a);
  const Plan p = plan(a, vectors ? a.channels / N : a.channels, item_bytes);
  const auto start = [&](auto kernel) {
    kernel<<<p.blocks, p.threads, p.shared_bytes(), stream>>>(a, p.lanes, item_bytes);
  };
  if constexpr (N > 2) {
    if (vectors && p.lanes == 32 / N) {  // 32 channels, or few less
      const bool done = launch_common(a, [&](auto levels, auto points) {
        start(forward_kernel<T, N, 32 / N, decltype(levels)::value, decltype(points)::value>);
      });
      if (done) return;
    }
    if (vectors) return start(forward_kernel<T, N, 0, 0, 0>);
  }
  start(forward_kernel<T, 1, 0, 0, 0>);
}

__global__ void probe_kernel() {}

}  // namespace psformer

extern "C" {

int psformer_abi_version() { return PSFORMER_ABI; }

int psformer_problem_size() { return sizeof(PsformerProblem); }

// Null if the library holds code that this device can run, else the reason.
const char* psformer_cuda_check_device(int device) {
  cudaError_t error = cudaSetDevice(device);
  cudaFuncAttributes attributes;
  if (error == cudaSuccess) error = cudaFuncGetAttributes(&attributes, psformer::probe_kernel);
  if (error != cudaSuccess) cudaGetLastError();  // so that no later call finds it
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

// Writes args->out on the stream; null, or the reason why it could not be started.
const char* psformer_cuda_forward(const PsformerProblem* args, void* stream) {
  return psformer::run_on_device(*args, [&](auto example) {
    psformer::launch_forward<decltype(example)>(*args, static_cast<cudaStream_t>(stream));
  });
}
}
