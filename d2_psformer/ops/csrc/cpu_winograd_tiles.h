// Maps, channels last, to places of tiles and back.
#pragma once
#include "cpu_problem.h"
#include "cpu_winograd_places.h"

namespace PSFORMER_NAMESPACE {

// The tiles of all maps, those of an image after those of the one before.
struct Tiles {
  int64_t height, width, down, across, count;
  explicit Tiles(const PsformerConvolution& p)
      : height(p.height),
        width(p.width),
        down((p.height + kSide - 1) / kSide),
        across((p.width + kSide - 1) / kSide),
        count(p.batch * down * across) {}
  // Where the results of a tile are: the cells of the images before its own, its row and column.
  int64_t image(int64_t tile) const { return tile / (down * across) * height * width; }
  int64_t top(int64_t tile) const { return tile / across % down * kSide; }
  int64_t left(int64_t tile) const { return tile % across * kSide; }
};

// Side x Side cells, a register of channels each; zero outside of the map.
template <int Side>
inline void read_cells(const Tiles& tiles, const float* map, int64_t channels, int64_t top,
                       int64_t left, Cells* cells) {
  for (int i = 0; i < Side; i++) {
    for (int j = 0; j < Side; j++) {
      const int64_t y = top + i, x = left + j;
      const bool inside = y >= 0 && y < tiles.height && x >= 0 && x < tiles.width;
      cells[i * Side + j] =
          inside ? load<Cells>(map + (y * tiles.width + x) * channels) : Cells{};
    }
  }
}

// The cells of a tile, all channels: place i at to[i * stride].
inline void transform_cells(const PsformerConvolution& p, const Tiles& tiles, int64_t tile,
                            float* to, int64_t stride) {
  const float* map = static_cast<const float*>(p.x) + tiles.image(tile) * p.in;
  for (int64_t c = 0; c < p.in; c += kLanes) {
    Cells cells[kPlaces], places[kPlaces];
    read_cells<kReach>(tiles, map + c, p.in, tiles.top(tile) - 1, tiles.left(tile) - 1, cells);
    of_square<kReach, kReach, places_of_cells>(cells, places);
    for (int i = 0; i < kPlaces; i++) store(to + i * stride + c, places[i]);
  }
}

// Results of a tile in `channels` channels from `first` on: place i at from[i * stride].
inline void put_results(const PsformerConvolution& p, const Tiles& tiles, int64_t tile,
                        int64_t first, int channels, const float* from, int64_t stride) {
  float* map = static_cast<float*>(p.out) + tiles.image(tile) * p.outs + first;
  const float* bias = static_cast<const float*>(p.bias);
  const int64_t top = tiles.top(tile), left = tiles.left(tile);
  for (int k = 0; k < channels; k += kLanes) {
    Cells places[kPlaces], results[kSide * kSide];
    for (int i = 0; i < kPlaces; i++) places[i] = load<Cells>(from + i * stride + k);
    of_square<kReach, kSide, results_of_places>(places, results);
    const Cells shift = bias == nullptr ? Cells{} : load<Cells>(bias + first + k);
    for (int i = 0; i < kSide && top + i < p.height; i++)
      for (int j = 0; j < kSide && left + j < p.width; j++)
        store(map + ((top + i) * p.width + left + j) * p.outs + k, results[i * kSide + j] + shift);
  }
}

// The gradients of these results.
inline void transform_gradients(const PsformerConvolution& p, const Tiles& tiles, int64_t tile,
                                int64_t first, int channels, float* to, int64_t stride) {
  const float* map = static_cast<const float*>(p.out) + tiles.image(tile) * p.outs + first;
  for (int k = 0; k < channels; k += kLanes) {
    Cells gradients[kSide * kSide], places[kPlaces];
    read_cells<kSide>(tiles, map + k, p.outs, tiles.top(tile), tiles.left(tile), gradients);
    of_square<kSide, kReach, places_of_results>(gradients, places);
    for (int i = 0; i < kPlaces; i++) store(to + i * stride + k, places[i]);
  }
}

}  // namespace PSFORMER_NAMESPACE
