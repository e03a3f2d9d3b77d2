// Backward of a whole problem.
//
// The unit of work is one level of one head, or all levels of one head: its pixels' gradients are
// summed by one thread in the order of the queries. So no atomics are needed, and the result is the
// same to the bit for any number of threads.
#pragma once
#include "cpu_forward.h"

namespace PSFORMER_NAMESPACE {

constexpr int64_t kZeroedBytes = 1 << 16;

template <class A>
struct BackwardBlock {
  A all_attention[kBlockPoints], attention[kBlockPoints], xy[2 * kBlockPoints];
  A products[4 * kBlockPoints], grad_attention[kBlockPoints];
  Anchors<A> anchors;
  Points<A> points;
};

// Where one head is worked on: the thread's own part of the workspace.
template <class A>
struct Unit {
  int64_t b, h;
  char* packed_head;
  char* sums;  // gradients of the pixels, if they are not summed in grad_value itself
  const char* zeros;
  char* outside;      // a pixel that takes what falls outside
  A* grads;           // of the block's sums
  A* grad_attention;  // (B, Q, heads, levels, points): of the weights, where levels are divided
};

template <class A>
inline bool sums_in_place(const Plan<A>& plan) {
  return !plan.packed && plan.value_size == sizeof(A);
}

template <class A>
void write_sampling_gradient(const Plan<A>& plan, const Layout<A>& layout,
                             const Placing<A>& placing, const Anchors<A>& anchors, int64_t b,
                             int64_t h, int64_t q0, int queries, A* xy) {
  const PsformerProblem& p = plan.p;
  const int n = 2 * layout.points;
  const int64_t size = type_size(p.sampling_type),
                row_bytes = size * p.heads * p.levels * p.points * 2;
  char* to = static_cast<char*>(p.grad_sampling) +
             size * (plan.row(b, q0, h) * p.levels + layout.first) * p.points * 2;
  for (int q = 0; q < queries; q++, xy += n, to += row_bytes) {
    if (is_wide(p.sampling_type)) {
      placing.scale_gradient(anchors, q, xy, reinterpret_cast<A*>(to));
    } else {
      placing.scale_gradient(anchors, q, xy, xy);
      write_numbers(xy, to, p.sampling_type, n);
    }
  }
}

// Gradient of the weights of a block -> grad_attention, through the softmax if fused.
template <class A>
void write_attention_gradient(const Plan<A>& plan, int64_t b, int64_t h, int64_t q0, int queries,
                              const A* attention, A* grad) {
  const PsformerProblem& p = plan.p;
  int n = int(p.levels * p.points);
  if (p.components != 0) softmax_gradient(attention, grad, queries, n);
  int64_t size = type_size(p.attention_type);
  char* to = static_cast<char*>(p.grad_attention) + size * plan.row(b, q0, h) * n;
  for (int q = 0; q < queries; q++)
    write_numbers(grad + q * n, to + q * size * p.heads * n, p.attention_type, n);
}

template <class A>
void backward_block(const Plan<A>& plan, const Unit<A>& unit, const Layout<A>& layout,
                    const Placing<A>& placing, const QueryBlock& at) {
  const PsformerProblem& p = plan.p;
  const int queries = at.count, points = layout.points;
  const int64_t first = at.first;
  const int64_t b = unit.b, h = unit.h, row_bytes = p.channels * plan.value_size;
  BackwardBlock<A> block;
  read_attention(p, b, first, queries, h, block.all_attention);
  take_levels(p, layout, block.all_attention, queries, block.attention);
  placing.read_anchors(p, b, first, queries, block.anchors);
  place_points(p, layout, placing, block.anchors, b, first, queries, h, block.xy);
  locate<A, true>(layout, block.xy, block.attention, queries * points, block.points);
  plan.run.read(static_cast<const char*>(p.grad_out) + plan.row(b, first, h) * row_bytes,
                p.heads * row_bytes, queries, p.channels, unit.grads);
  GradMap to = {unit.sums, int64_t(p.channels * sizeof(A)), unit.outside};
  if (sums_in_place(plan)) {
    to.base = static_cast<char*>(p.grad_value) + (b * p.positions * p.heads + h) * row_bytes;
    to.step *= p.heads;
  }
  Scatter<A> scatter = plan.packed ? plan.run.scatter_packed : plan.run.scatter_strided;
  scatter(plan.map(b, h, unit.packed_head, unit.zeros), to, block.points, queries, points,
          p.channels, plan.ahead(b, h, at, p.grad_out), unit.grads, block.products);
  finish_points(block.points, block.products, block.grad_attention, block.xy);
  write_sampling_gradient(plan, layout, placing, block.anchors, b, h, first, queries, block.xy);
  if (unit.grad_attention == nullptr) {
    write_attention_gradient(plan, b, h, first, queries, block.all_attention, block.grad_attention);
    return;
  }
  const int64_t n = p.levels * p.points;
  A* part = unit.grad_attention + plan.row(b, first, h) * n + layout.first * p.points;
  for (int q = 0; q < queries; q++)
    copy_numbers(block.grad_attention + q * points, part + q * p.heads * n, points);
}

template <class A>
void backward_unit(const Plan<A>& plan, const Unit<A>& unit, int first_level, int last_level) {
  const PsformerProblem& p = plan.p;
  const int64_t first = p.start[first_level],
                pixels = (last_level < p.levels ? p.start[last_level] : p.positions) - first;
  const int64_t sum_pixel = p.channels * int64_t(sizeof(A));
  const Layout<A> layout(p, first_level, last_level, plan.nowhere);
  const Placing<A> placing(p, layout);
  if (plan.packed) plan.pack(unit.b, unit.h, first, first + pixels, unit.packed_head);
  if (!sums_in_place(plan)) {
    memset(unit.sums + first * sum_pixel, 0, size_t(pixels * sum_pixel));
    memset(unit.sums + p.positions * sum_pixel, 0, size_t(sum_pixel));
  }
  for (int64_t i = 0; i < plan.blocks; i++) {
    backward_block(plan, unit, layout, placing, plan.block_at(i));
  }
  if (sums_in_place(plan)) return;
  const int64_t row_bytes = p.channels * plan.value_size;
  plan.run.write(reinterpret_cast<const A*>(unit.sums + first * sum_pixel), pixels, p.channels,
                 static_cast<char*>(p.grad_value) +
                     ((unit.b * p.positions + first) * p.heads + unit.h) * row_bytes,
                 p.heads * row_bytes, plan.streams(p.grad_value, p.positions));
  finish_streams();
}

// The second step where levels were divided: the softmax needs the gradients of all of them.
template <class A>
void finish_attention(const Plan<A>& plan, int64_t b, int64_t h, const QueryBlock& at,
                      const A* all) {
  const PsformerProblem& p = plan.p;
  const int queries = at.count;
  const int64_t first = at.first, n = p.levels * p.points;
  A attention[kBlockPoints], grad[kBlockPoints];
  read_attention(p, b, first, queries, h, attention);
  for (int q = 0; q < queries; q++)
    memcpy(grad + q * n, all + plan.row(b, first + q, h) * n, size_t(n) * sizeof(A));
  write_attention_gradient(plan, b, h, first, queries, attention, grad);
}

template <class A>
int run_backward(const PsformerProblem& p) {
  const Plan<A> plan(p);
  const int64_t heads = p.batch * p.heads, threads = p.threads < 1 ? 1 : p.threads;
  // whole heads if they come out even, else single levels
  const bool divided = heads % threads != 0;
  const int64_t pixel = p.channels * int64_t(sizeof(A));
  const int64_t sums = sums_in_place(plan) ? 0 : aligned((p.positions + 1) * pixel);
  const int64_t edge = aligned(plan.packed_pixel + pixel), grads = aligned(plan.block * pixel);
  const int64_t own = plan.packed_bytes + sums + 2 * edge + grads;
  const int64_t weights = p.batch * p.queries * p.heads * p.levels * p.points;
  const int64_t all_attention = divided ? aligned(weights * int64_t(sizeof(A))) : 0;
  const size_t bytes = size_t(threads * own + all_attention);
  char* memory = static_cast<char*>(psformer_take_workspace(bytes));
  if (memory == nullptr) return 1;
  A* attention = divided ? reinterpret_cast<A*>(memory + threads * own) : nullptr;
  const int64_t units = divided ? heads * p.levels : heads;
#pragma omp parallel num_threads(int(threads))
  {
    char* mine = memory + this_team().rank * own;
    char* edges = mine + plan.packed_bytes + sums;
    A* grads_here = reinterpret_cast<A*>(edges + 2 * edge);
    Unit<A> unit = {0, 0, mine, mine + plan.packed_bytes, edges, edges + edge, grads_here, attention};
    memset(edges, 0, size_t(2 * edge));
    if (sums_in_place(plan)) {
      const int64_t all = p.batch * p.positions * p.heads * pixel;
#pragma omp for schedule(static)
      for (int64_t at = 0; at < all; at += kZeroedBytes) {
        const int64_t here = all - at < kZeroedBytes ? all - at : kZeroedBytes;
        memset(static_cast<char*>(p.grad_value) + at, 0, size_t(here));
      }
    }
#pragma omp for schedule(dynamic, 1)
    for (int64_t u = 0; u < units; u++) {
      const int64_t head = divided ? u / p.levels : u;
      const int level = int(u % p.levels);
      unit.b = head / p.heads;
      unit.h = head % p.heads;
      backward_unit(plan, unit, divided ? level : 0, divided ? level + 1 : int(p.levels));
    }
    if (divided) {
#pragma omp for schedule(static)
      for (int64_t at = 0; at < heads * plan.blocks; at++) {
        const int64_t head = at / plan.blocks;
        finish_attention(plan, head / p.heads, head % p.heads, plan.block_at(at % plan.blocks),
                         attention);
      }
    }
  }
  psformer_return_workspace(memory);
  return 0;
}

}  // namespace PSFORMER_NAMESPACE
