// Forward of a whole problem.
#pragma once
#include "cpu_plan.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace PSFORMER_NAMESPACE {

// The threads that work on a problem together.
struct Team {
  int64_t rank = 0, size = 1;
  // this thread's share of n things
  int64_t begin(int64_t n) const { return n * rank / size; }
  int64_t end(int64_t n) const { return n * (rank + 1) / size; }
};

inline Team this_team() {
#if defined(_OPENMP)
  return {omp_get_thread_num(), omp_get_num_threads()};
#else
  return {};
#endif
}

template <class A>
struct ForwardBlock {
  A attention[kBlockPoints], xy[2 * kBlockPoints];
  Anchors<A> anchors;
  Points<A> points;
};

// Queries of one block and head.
template <class A>
void forward_block(const Plan<A>& plan, const Layout<A>& layout, const Placing<A>& placing,
                   int64_t b, int64_t h, const QueryBlock& at, const char* packed_head,
                   const char* zeros, A* scratch) {
  const PsformerProblem& p = plan.p;
  const int queries = at.count;
  const int64_t first = at.first, row_bytes = p.channels * plan.value_size;
  const bool streamed = plan.streams(p.out, p.queries);
  ForwardBlock<A> block;
  read_attention(p, b, first, queries, h, block.attention);
  placing.read_anchors(p, b, first, queries, block.anchors);
  place_points(p, layout, placing, block.anchors, b, first, queries, h, block.xy);
  locate<A, false>(layout, block.xy, block.attention, queries * layout.points, block.points);
  Gather<A> gather = plan.packed ? plan.run.gather_packed : plan.run.gather_strided;
  gather(plan.map(b, h, packed_head, zeros), block.points, queries, layout.points, p.channels,
         plan.ahead(b, h, at, streamed ? nullptr : p.out), scratch,
         static_cast<char*>(p.out) + plan.row(b, first, h) * row_bytes, p.heads * row_bytes,
         streamed);
}

// Heads are packed and gathered in rounds of as many as there are threads. With as many threads as
// heads in the round every thread keeps to its own head; else they share the packing, then the
// blocks.
template <class A>
int run_forward(const PsformerProblem& p) {
  const Plan<A> plan(p);
  const int64_t heads = p.batch * p.heads, threads = p.threads < 1 ? 1 : p.threads;
  const int64_t round = !plan.packed || heads < threads ? heads : threads;
  const int64_t packed_bytes = round * plan.packed_bytes;
  const int64_t zero_bytes = aligned(plan.packed_pixel + plan.value_size * p.channels);
  const int64_t scratch_bytes = aligned(p.channels * int64_t(sizeof(A)));
  const size_t bytes = size_t(packed_bytes + zero_bytes + threads * scratch_bytes);
  char* memory = static_cast<char*>(psformer_take_workspace(bytes));
  if (memory == nullptr) return 1;
  char* zeros = memory + packed_bytes;
  memset(zeros, 0, size_t(zero_bytes));
#pragma omp parallel num_threads(int(threads))
  {
    const Team team = this_team();
    A* scratch = reinterpret_cast<A*>(zeros + zero_bytes + team.rank * scratch_bytes);
    const Layout<A> layout(p, 0, int(p.levels), plan.nowhere);
    const Placing<A> placing(p, layout);
    for (int64_t base = 0; base < heads; base += round) {
      const int64_t here = heads - base < round ? heads - base : round;
      const bool alone = round == team.size && here == round;  // one head each
      if (plan.packed) {
        if (!alone) {  // others may still read the maps of the round before
#pragma omp barrier
        }
        for (int64_t at = team.begin(here * p.positions), end = team.end(here * p.positions); at < end;) {
          const int64_t head = at / p.positions, s = at % p.positions, rest = end - head * p.positions;
          const int64_t stop = rest < p.positions ? rest : p.positions;
          plan.pack((base + head) / p.heads, (base + head) % p.heads, s, stop,
                    memory + head * plan.packed_bytes);
          at = head * p.positions + stop;
        }
        if (!alone) {
#pragma omp barrier
        }
      }
      const int64_t end = team.end(here * plan.blocks);
      for (int64_t at = team.begin(here * plan.blocks); at < end; at++) {
        const int64_t head = at / plan.blocks, unit = base + head, i = at % plan.blocks;
        forward_block<A>(plan, layout, placing, unit / p.heads, unit % p.heads, plan.block_at(i),
                         memory + head * plan.packed_bytes, zeros, scratch);
      }
    }
    finish_streams();
  }
  psformer_return_workspace(memory);
  return 0;
}

}  // namespace PSFORMER_NAMESPACE
