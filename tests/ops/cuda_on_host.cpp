// The CUDA kernels' device code in a plain C++ program: every lane of a group is a coroutine, lanes
// exchange numbers through an array, and items follow one another. Built by test_cuda_kernel.py.
#include <ucontext.h>

#include <functional>
#include <vector>

#include "cuda_backward.cuh"
#include "cuda_forward.cuh"

using namespace psformer;

// Runs body(lane) for all lanes, one at a time. A lane runs until it waits; then the next one does.
// Since all wait equally often, a lane goes on only when all others have come as far.
struct Lanes {
  static constexpr size_t STACK = 256 * 1024;
  int count, current = 0;
  std::function<void(int)> body;
  std::vector<ucontext_t> contexts;
  std::vector<char> stacks;
  ucontext_t outside;

  void run() {
    contexts.resize(count);
    stacks.resize(count * STACK);
    for (int i = 0; i < count; ++i) {
      getcontext(&contexts[i]);
      contexts[i].uc_stack.ss_sp = stacks.data() + i * STACK;
      contexts[i].uc_stack.ss_size = STACK;
      contexts[i].uc_link = i + 1 < count ? &contexts[i + 1] : &outside;
      makecontext(&contexts[i], enter, 0);
    }
    running = this;
    swapcontext(&outside, &contexts[0]);
  }

  void wait() {
    const int from = current;
    current = (current + 1) % count;
    if (current != from) swapcontext(&contexts[from], &contexts[current]);
  }

  static void enter() {
    running->body(running->current);
    ++running->current;  // the lane that uc_link names
  }

  static Lanes* running;
};
Lanes* Lanes::running = nullptr;

struct HostGroup {
  int number, count;
  Lanes* lanes;
  double* slots;

  int lane() const { return number; }
  int size() const { return count; }
  void sync() const { lanes->wait(); }

  double exchange(double x, int mask) const {
    sync();
    slots[number] = x;
    sync();
    return slots[number ^ mask];
  }

  template <class R>
  R sum(R x) const {
    for (int m = count / 2; m > 0; m /= 2) x += static_cast<R>(exchange(x, m));
    return x;
  }

  template <class R>
  R max(R x) const {
    for (int m = count / 2; m > 0; m /= 2) x = fmax(x, static_cast<R>(exchange(x, m)));
    return x;
  }
};

struct alignas(16) Aligned {
  char bytes[16];
};

template <class Run>
void for_each_item(const PsformerProblem& a, int count, int bytes, Run run) {
  std::vector<double> slots(count);
  std::vector<Aligned> scratch(bytes / 16 + 1);
  Lanes lanes;
  lanes.count = count;
  lanes.body = [&](int lane) {
    const HostGroup group{lane, count, &lanes, slots.data()};
    for (int b = 0; b < a.batch; ++b)
      for (int q = 0; q <= a.queries; ++q)  // one past the last, as in the last block
        for (int h = 0; h < a.heads; ++h) {
          const bool live = q < a.queries;
          run(Item{b, live ? q : q - 1, h, live}, group, static_cast<void*>(scratch.data()));
        }
  };
  lanes.run();
}

template <class T, int N, int L, int P>
void run_item(const PsformerProblem& a, int lanes, bool backward) {
  using R = SumOf<T>;
  const int n = static_cast<int>(a.levels * a.points);
  const int bytes = backward ? BackwardScratch<R>::bytes(n) : ForwardScratch<R>::bytes(n);
  for_each_item(a, lanes, bytes, [&](const Item& item, const auto& group, void* scratch) {
    if (!backward) {
      forward_item<T, N, L, P>(a, item, group, scratch);
    } else if (a.bound) {
      backward_item<T, N, P>(a, item, group, scratch, FixedSums<R>(a));
    } else {
      backward_item<T, N, P>(a, item, group, scratch, FloatSums<R>(a));
    }
  });
}

template <class T>
void run_type(const PsformerProblem& a, int lanes, bool backward) {
  constexpr int N = 16 / sizeof(T);
  if (a.channels % N != 0) {
    run_item<T, 1, 0, 0>(a, lanes, backward);
  } else if (a.levels == 3 && a.points == 4) {
    run_item<T, N, 3, 4>(a, lanes, backward);
  } else {
    run_item<T, N, 0, 0>(a, lanes, backward);
  }
}

extern "C" int64_t problem_bytes() { return sizeof(PsformerProblem); }

extern "C" void run_on_host(const PsformerProblem* a, int lanes, int backward) {
  switch (a->value_type) {
    case PSFORMER_F32: return run_type<float>(*a, lanes, backward);
    case PSFORMER_F64: return run_type<double>(*a, lanes, backward);
#ifdef __FLT16_MAX__
    case PSFORMER_F16: return run_type<_Float16>(*a, lanes, backward);
#endif
  }
}
