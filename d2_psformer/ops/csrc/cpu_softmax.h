// Softmax over the levels and points of every query of a block, and its gradient.
#pragma once
#include "cpu_placing.h"

namespace PSFORMER_NAMESPACE {

// e^x for -87 <= x <= 87, relative error below 2e-7; NaN stays NaN. Written so that it vectorises.
inline float exponential(float x) {
  float shifted = x * 1.44269504f + 128.5f;
  uint32_t power = uint32_t(int32_t(shifted));  // 128 + the nearest integer to x / ln 2
  float n = float(int32_t(power)) - 128.0f;
  float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;  // |r| <= ln 2 / 2
  float e = 1.98412698e-4f;
  e = e * r + 1.38888889e-3f;
  e = e * r + 8.33333333e-3f;
  e = e * r + 4.16666667e-2f;
  e = e * r + 1.66666667e-1f;
  e = e * r + 0.5f;
  e = e * r + 1.0f;
  e = e * r + 1.0f;
  return e * as_float((power - 1u) << 23);
}

// Every row over its sum, for rows of whole vectors. Four rows together, as their shuffles are
// shared: sums of single rows made the fused form 3 to 10 % slower.
inline void divide_by_sums(float* x, int rows, int n) {
  typedef Full<float>::Value V;
  for (int r = 0; r < rows; r += 4, x += 4 * n) {
    const int here = rows - r < 4 ? rows - r : 4;
    V sum[4];
    for (int k = 0; k < 4; k++) {
      const float* row = x + (k < here ? k : here - 1) * n;
      sum[k] = load<V>(row);
      for (int i = kLanes; i < n; i += kLanes) sum[k] += load<V>(row + i);
    }
    const Four shares = 1.0f / sums_of_four(sum[0], sum[1], sum[2], sum[3]);
    for (int k = 0; k < here; k++) {
      for (int i = k * n; i < (k + 1) * n; i += kLanes) store(x + i, load<V>(x + i) * shares[k]);
    }
  }
}

// In place, rows of n. Without a shift by the row's maximum where no exponential can overflow:
// finding it row by row would cost as much as the rest.
inline void softmax(float* x, int rows, int n) {
  int32_t largest = 0;  // magnitudes order as integers do, NaN above all
  for (int i = 0; i < rows * n; i++) {
    int32_t bits = int32_t(as_bits(x[i]) & 0x7fffffffu);
    largest = bits > largest ? bits : largest;
  }
  if (as_float(uint32_t(largest)) <= 60.0f) {
    for (int i = 0; i < rows * n; i++) x[i] = exponential(x[i]);
  } else {
    for (float* row = x; row < x + rows * n; row += n) {
      float top = row[0];
      for (int i = 1; i < n; i++) top = row[i] > top ? row[i] : top;
      for (int i = 0; i < n; i++) row[i] = row[i] - top < -87.0f ? 0.0f : exponential(row[i] - top);
    }
  }
  if (n % kLanes == 0) return divide_by_sums(x, rows, n);
  for (float* row = x; row < x + rows * n; row += n) {
    // by vectors: GCC would add number by number
    Four part = {};
    int i = 0;
    for (; i + 4 <= n; i += 4) part += load<Four>(row + i);
    for (; i < n; i++) part[0] += row[i];
    const float share = 1.0f / ((part[0] + part[1]) + (part[2] + part[3]));
    for (i = 0; i + 4 <= n; i += 4) store(row + i, load<Four>(row + i) * share);
    for (; i < n; i++) row[i] *= share;
  }
}

inline void softmax(double* x, int rows, int n) {
  for (double* row = x; row < x + rows * n; row += n) {
    double top = row[0], sum = 0;
    for (int i = 1; i < n; i++) top = row[i] > top ? row[i] : top;
    for (int i = 0; i < n; i++) sum += row[i] = exp(row[i] - top);
    for (int i = 0; i < n; i++) row[i] /= sum;
  }
}

// Gradient of the logits from that of the weights, in place in grad.
template <class A>
inline void softmax_gradient(const A* weights, A* grad, int rows, int n) {
  for (int r = 0; r < rows; r++, weights += n, grad += n) {
    A mean = 0;
    for (int i = 0; i < n; i++) mean += weights[i] * grad[i];
    for (int i = 0; i < n; i++) grad[i] = weights[i] * (grad[i] - mean);
  }
}

inline void softmax_gradient(const float* weights, float* grad, int rows, int n) {
  typedef Full<float>::Value V;
  if (n % kLanes != 0) return softmax_gradient<float>(weights, grad, rows, n);
  for (int r = 0; r < rows; r += 4, weights += 4 * n, grad += 4 * n) {
    const int here = rows - r < 4 ? rows - r : 4;
    V sum[4];
    for (int k = 0; k < 4; k++) {
      const int at = (k < here ? k : here - 1) * n;
      sum[k] = load<V>(weights + at) * load<V>(grad + at);
      for (int i = at + kLanes; i < at + n; i += kLanes)
        sum[k] += load<V>(weights + i) * load<V>(grad + i);
    }
    const Four means = sums_of_four(sum[0], sum[1], sum[2], sum[3]);
    for (int k = 0; k < here; k++) {
      for (int i = k * n; i < (k + 1) * n; i += kLanes)
        store(grad + i, load<V>(weights + i) * (load<V>(grad + i) - means[k]));
    }
  }
}

// Attention of a block, (queries, levels * points): read, and through the softmax if fused.
template <class A>
inline void read_attention(const PsformerProblem& p, int64_t b, int64_t q0, int queries,
                           int64_t head, A* to) {
  int n = int(p.levels * p.points);
  int64_t size = type_size(p.attention_type);
  const char* row = static_cast<const char*>(p.attention) +
                    size * (b * p.attention_batch + q0 * p.attention_query + head * n);
  for (int q = 0; q < queries; q++, row += size * p.attention_query)
    read_numbers(row, p.attention_type, to + q * n, n);
  if (p.components != 0) softmax(to, queries, n);
}

// The columns of some levels out of those of all, (queries, layout.points).
template <class A>
inline void take_levels(const PsformerProblem& p, const Layout<A>& layout, const A* all,
                        int queries, A* to) {
  all += layout.first * p.points;
  for (int q = 0; q < queries; q++)
    copy_numbers(all + q * p.levels * p.points, to + q * layout.points, layout.points);
}

}  // namespace PSFORMER_NAMESPACE
