// Winograd's convolution, and the gradient of its kernels; that of its input is a convolution too.
#pragma once
#include "cpu_team.h"
#include "cpu_winograd_kernels.h"
#include "cpu_winograd_product.h"
#include "cpu_winograd_tiles.h"

namespace PSFORMER_NAMESPACE {

constexpr int64_t kChunk = 48;    // tiles whose results stay in the cache of a thread
constexpr int64_t kPadding = 16;  // keeps all places of a tile from falling onto one cache set
// What is kept of places: of kernels; of cells, for a thread; of cells and gradients, for a thread,
// more, since each portion goes over all sums.
constexpr int64_t kKernelBytes = int64_t(10) << 20;
constexpr int64_t kCellBytes = int64_t(1) << 19, kGradientBytes = int64_t(1) << 22;

// What is worked on at a time: blocks of kColumns output channels, and tiles.
struct Portions {
  int64_t threads, blocks, group, round;
  int64_t kernel_size;  // numbers of a block of transformed kernels
  Portions(const PsformerConvolution& p, const Tiles& tiles, int64_t channels, int64_t bytes)
      : threads(p.threads < 1 ? 1 : p.threads),
        blocks(p.outs / kColumns),
        group(blocks),
        round(tiles.count),
        kernel_size(kPlaces * p.in * kColumns) {
    const int64_t few_blocks = kKernelBytes / (kernel_size * int64_t(sizeof(float)));
    const int64_t few_tiles = bytes * threads / (kPlaces * channels * int64_t(sizeof(float)));
    group = at_most(group, few_blocks < 1 ? 1 : few_blocks);
    round = at_most(round, few_tiles < kChunk ? kChunk : few_tiles / kChunk * kChunk);
  }
  static int64_t at_most(int64_t x, int64_t most) { return x < most ? x : most; }
};

inline int run_convolution(const PsformerConvolution& p) {
  const Tiles tiles(p);
  const Portions portions(p, tiles, p.in, kCellBytes);
  const int64_t round = portions.round, kernel_size = portions.kernel_size;
  const int64_t stride = round * p.in + kPadding, sums_size = kPlaces * kChunk * kColumns;
  const int64_t size =
      portions.group * kernel_size + kPlaces * stride + portions.threads * sums_size;
  float* kernels = static_cast<float*>(psformer_take_workspace(sizeof(float) * size_t(size)));
  if (kernels == nullptr) return 1;
  float *cells = kernels + portions.group * kernel_size, *all_sums = cells + kPlaces * stride;
#pragma omp parallel num_threads(int(portions.threads))
  {
    float* sums = all_sums + this_team().rank * sums_size;
    for (int64_t first = 0; first < portions.blocks; first += portions.group) {
      const int64_t blocks = Portions::at_most(portions.blocks - first, portions.group);
#pragma omp for schedule(static)
      for (int64_t k = 0; k < blocks; k++)
        transform_kernels(p, (first + k) * kColumns, kernels + k * kernel_size);
      for (int64_t base = 0; base < tiles.count; base += round) {
        const int64_t here = Portions::at_most(tiles.count - base, round);
#pragma omp for schedule(static)
        for (int64_t t = 0; t < here; t++)
          transform_cells(p, tiles, base + t, cells + t * p.in, stride);
        const int64_t chunks = (here + kChunk - 1) / kChunk;
#pragma omp for schedule(static)
        for (int64_t item = 0; item < blocks * chunks; item++) {
          const int64_t k = item / chunks, t = item % chunks * kChunk;
          const int64_t count = Portions::at_most(here - t, kChunk);
          for (int i = 0; i < kPlaces; i++)
            products<false>(cells + i * stride + t * p.in, p.in,
                            kernels + k * kernel_size + i * p.in * kColumns, p.in, count, false,
                            sums + i * kChunk * kColumns);
          for (int64_t j = 0; j < count; j++)
            put_results(p, tiles, base + t + j, (first + k) * kColumns, kColumns,
                        sums + j * kColumns, kChunk * kColumns);
        }
      }
    }
  }
  psformer_return_workspace(kernels);
  return 0;
}

inline int run_kernel_gradient(const PsformerConvolution& p) {
  const Tiles tiles(p);
  const Portions portions(p, tiles, p.in + p.outs, kGradientBytes);
  const int64_t round = portions.round, kernel_size = portions.kernel_size;
  const int64_t cell_stride = round * p.in + kPadding;
  const int64_t stride = portions.group * round * kColumns + kPadding;
  const int64_t size = portions.group * kernel_size + kPlaces * (cell_stride + stride);
  float* kernels = static_cast<float*>(psformer_take_workspace(sizeof(float) * size_t(size)));
  if (kernels == nullptr) return 1;
  float* cells = kernels + portions.group * kernel_size;
  float* gradients = cells + kPlaces * cell_stride;
#pragma omp parallel num_threads(int(portions.threads))
  for (int64_t first = 0; first < portions.blocks; first += portions.group) {
    const int64_t blocks = Portions::at_most(portions.blocks - first, portions.group);
    for (int64_t base = 0; base < tiles.count; base += round) {
      const int64_t here = Portions::at_most(tiles.count - base, round);
#pragma omp for schedule(static)
      for (int64_t t = 0; t < here; t++) {
        transform_cells(p, tiles, base + t, cells + t * p.in, cell_stride);
        for (int64_t k = 0; k < blocks; k++)
          transform_gradients(p, tiles, base + t, (first + k) * kColumns, kColumns,
                              gradients + (k * round + t) * kColumns, stride);
      }
#pragma omp for schedule(static)
      for (int64_t item = 0; item < blocks * kPlaces; item++) {
        const int64_t k = item / kPlaces, i = item % kPlaces;
        products<true>(cells + i * cell_stride, p.in,
                       gradients + i * stride + k * round * kColumns, here, p.in, base > 0,
                       kernels + k * kernel_size + i * p.in * kColumns);
      }
    }
#pragma omp for schedule(static)
    for (int64_t k = 0; k < blocks; k++)
      put_kernels(p, (first + k) * kColumns, kernels + k * kernel_size);
  }
  psformer_return_workspace(kernels);
  return 0;
}

}  // namespace PSFORMER_NAMESPACE
