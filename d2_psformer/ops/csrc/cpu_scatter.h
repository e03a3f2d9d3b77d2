// Backward: gradients of the pixels, and the products that give those of points and attention.
#pragma once
#include "cpu_gather.h"

namespace PSFORMER_NAMESPACE {

// grads (queries, channels): gradient of the sums. products (points, 4): grads times every corner.
template <class A>
using Scatter = void (*)(const Map& map, const GradMap& to, const Points<A>& points, int queries,
                         int per_query, int64_t channels, const Ahead& ahead, const A* grads,
                         A* products);

template <class E, int C, bool Packed>
void scatter(const Map& map, const GradMap& grad_map, const Points<float>& points, int queries,
             int per_query, int64_t, const Ahead& ahead, const float* grads, float* products) {
  typedef Pixel<E, C> P;
  typedef typename P::V V;
  constexpr int K = P::K, bytes = Packed ? C * int(sizeof(E)) : 0, grad_bytes = Packed ? C * 4 : 0;
  const Map from = map;
  const GradMap to = grad_map;
  int n = 0;
  for (int q = 0; q < queries; q++, grads += C) {
    ahead.fetch(q);
    V grad[K];
    for (int i = 0; i < K; i++) grad[i] = load<V>(grads + i * P::N);
    for (int end = n + per_query; n < end; n++) {
      V product[4];
      for (int k = 0; k < 4; k++) {
        int32_t index = points.index(k)[n];
        float w = points.weight(k)[n];
        V pixel[K];
        P::get(pixel_at<bytes>(from, index), pixel);
        typename Lanes<P::N>::Floats* sums =
            reinterpret_cast<typename Lanes<P::N>::Floats*>(pixel_at<grad_bytes>(to, index));
        product[k] = grad[0] * pixel[0];
        for (int i = 1; i < K; i++) product[k] += grad[i] * pixel[i];
        for (int i = 0; i < K; i++) sums[i] += w * grad[i];
      }
      Four dots = sums_of_four(product[0], product[1], product[2], product[3]);
      memcpy(products + 4 * n, &dots, sizeof dots);
    }
  }
}

template <class E, class A>
void scatter_any(const Map& map, const GradMap& to, const Points<A>& points, int queries,
                 int per_query, int64_t channels, const Ahead&, const A* grads, A* products) {
  int n = 0;
  for (int q = 0; q < queries; q++, grads += channels) {
    for (int end = n + per_query; n < end; n++) {
      for (int k = 0; k < 4; k++) {
        int32_t index = points.index(k)[n];
        const E* pixel = reinterpret_cast<const E*>(pixel_at<0>(map, index));
        A* sums = reinterpret_cast<A*>(pixel_at<0>(to, index));
        A w = points.weight(k)[n], product = 0;
        for (int64_t c = 0; c < channels; c++) {
          product += grads[c] * widen(pixel[c]);
          sums[c] += w * grads[c];
        }
        products[4 * n + k] = product;
      }
    }
  }
}

// Gradients of attention and of the pixel coordinates, xy alternating, from the products.
// A corner of no weight is no part of the sum: its pixel may be Inf or NaN.
template <class A>
inline void finish_points(Points<A>& points, const A* products, A* grad_attention, A* grad_xy) {
  typedef typename Full<A>::Value V;
  typedef typename Full<A>::Ints I;
  typedef typename Full<A>::Index Index;
  constexpr int N = Full<A>::N;
  for (int i = 0; i < points.count; i += N) {
    const A* four = products + 4 * i;
    V d[4], even[2], odd[2];
    separate(load<V>(four), load<V>(four + N), even[0], odd[0]);
    separate(load<V>(four + 2 * N), load<V>(four + 3 * N), even[1], odd[1]);
    separate(even[0], even[1], d[0], d[2]);
    separate(odd[0], odd[1], d[1], d[3]);
    const V lx = load<V>(points.right() + i), ly = load<V>(points.bottom() + i),
            a = load<V>(points.attention() + i);
    const I live = __builtin_convertvector(load<Index>(points.live() + i), I);
    const V none = {}, hx = 1 - lx, hy = 1 - ly;
    const V weight[4] = {hy * hx, hy * lx, ly * hx, ly * lx};
    V sum = none, low, high;
    for (int k = 0; k < 4; k++) sum += weight[k] != 0 ? weight[k] * d[k] : none;
    sum = live ? sum : none;
    const V gx = a * (hy * (d[1] - d[0]) + ly * (d[3] - d[2])),
            gy = a * (hx * (d[2] - d[0]) + lx * (d[3] - d[1]));
    alternate(live ? gx : none, live ? gy : none, low, high);
    store(grad_xy + 2 * i, low);
    store(grad_xy + 2 * i + N, high);
    store(grad_attention + i, sum);
  }
}

}  // namespace PSFORMER_NAMESPACE
