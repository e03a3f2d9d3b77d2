// Launching: groups of lanes inside a warp, how many threads, and which compiled variant.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "cuda_math.cuh"

namespace psformer {

constexpr int MAX_THREADS = 256;
constexpr int SCRATCH_BYTES = 48 * 1024;  // of shared memory, what every GPU gives a block

// G neighbouring lanes of a warp; G = 0: their number is known at run time only. All groups of a
// warp run the same steps, so that the whole warp may be named in every exchange.
template <int G>
struct WarpGroup {
  int count;

  PSFORMER_FN int size() const { return G ? G : count; }
  PSFORMER_FN int lane() const { return threadIdx.x & (size() - 1); }
  PSFORMER_FN void sync() const { __syncwarp(); }

  template <class R>
  PSFORMER_FN R sum(R x) const {
    PSFORMER_UNROLL
    for (int m = size() / 2; m > 0; m /= 2) x += __shfl_xor_sync(0xffffffffu, x, m);
    return x;
  }

  template <class R>
  PSFORMER_FN R max(R x) const {
    PSFORMER_UNROLL
    for (int m = size() / 2; m > 0; m /= 2) x = fmax(x, __shfl_xor_sync(0xffffffffu, x, m));
    return x;
  }
};

// A block works on one head of neighbouring queries, which sample the same pixels repeatedly.
// Batches follow each other in the grid's second dimension. `run(item, group, scratch memory)`.
template <int G, class Run>
PSFORMER_FN void for_each_item(const PsformerProblem& a, int lanes, int item_bytes, Run run) {
  extern __shared__ uint4 shared[];
  const WarpGroup<G> group{lanes};
  const int number = threadIdx.x / group.size(), groups = blockDim.x / group.size();
  const int heads = static_cast<int>(a.heads), queries = static_cast<int>(a.queries);
  const int64_t query = static_cast<int64_t>(blockIdx.x / heads) * groups + number;
  Item item{0, static_cast<int>(query), static_cast<int>(blockIdx.x % heads), query < queries};
  if (!item.live) item.query = queries - 1;
  for (item.batch = blockIdx.y; item.batch < a.batch; item.batch += gridDim.y) {
    run(item, group, reinterpret_cast<char*>(shared) + number * item_bytes);
  }
}

struct Plan {
  dim3 blocks;
  int threads, lanes, item_bytes;

  int shared_bytes() const { return threads / lanes * item_bytes; }
};

// `vectors`: how many loads the channels of an item take. Small work gets small blocks, so that
// all multiprocessors have some.
inline Plan plan(const PsformerProblem& a, int64_t vectors, int item_bytes) {
  int lanes = 1, processors = 1;
  while (lanes < 32 && (lanes < vectors || 32 / lanes * item_bytes > SCRATCH_BYTES)) lanes *= 2;
  cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, static_cast<int>(a.device));
  int threads = MAX_THREADS;
  const int64_t all = a.batch * a.queries * a.heads * lanes;
  while (threads > 32 && (threads / lanes * item_bytes > SCRATCH_BYTES ||
                          all / threads < 4 * static_cast<int64_t>(processors))) {
    threads /= 2;
  }
  const int64_t groups = threads / lanes;
  const int64_t tiles = (a.queries + groups - 1) / groups * a.heads;
  const int64_t batches = a.batch < 65535 ? a.batch : 65535;
  return {dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(batches)), threads, lanes,
          item_bytes};
}

inline bool divisible(const void* pointer, int bytes) {
  return reinterpret_cast<uintptr_t>(pointer) % bytes == 0;
}

// Whether every item's channels can be read and written 16 bytes at a time.
template <class T>
bool fits_vectors(const PsformerProblem& a) {
  constexpr int n = 16 / sizeof(T);
  return a.channels % n == 0 && a.value_position % n == 0 && a.value_batch % n == 0 &&
         divisible(a.value, 16) && divisible(a.out, 16) && divisible(a.grad_out, 16) &&
         divisible(a.grad_value, 16);
}

template <int N>
using Number = std::integral_constant<int, N>;

// Calls launch(levels, points) with numbers known to the compiler if they are common ones.
template <class Launch>
bool launch_common(const PsformerProblem& a, Launch launch) {
  switch (a.levels * 100 + a.points) {
    case 104: launch(Number<1>(), Number<4>()); return true;
    case 304: launch(Number<3>(), Number<4>()); return true;
    case 404: launch(Number<4>(), Number<4>()); return true;
    case 504: launch(Number<5>(), Number<4>()); return true;
    case 108: launch(Number<1>(), Number<8>()); return true;
    case 408: launch(Number<4>(), Number<8>()); return true;
    default: return false;
  }
}

// Makes the device current for this copy of the CUDA runtime, calls launch(an object of value's
// type) and returns CUDA's own message of an error, or null.
template <class Launch>
const char* run_on_device(const PsformerProblem& a, Launch launch) {
  cudaError_t error = cudaSetDevice(static_cast<int>(a.device));
  if (error != cudaSuccess) return cudaGetErrorString(error);
  switch (a.value_type) {
    case PSFORMER_F32: launch(float()); break;
    case PSFORMER_F16: launch(__half()); break;
    case PSFORMER_BF16: launch(__nv_bfloat16()); break;
    case PSFORMER_F64: launch(double()); break;
  }
  error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}

}  // namespace psformer
