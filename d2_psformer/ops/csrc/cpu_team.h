// The threads that work on a problem together.
#pragma once
#include "cpu_vector.h"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace PSFORMER_NAMESPACE {

struct Team {
  int64_t rank = 0, size = 1;
  // this thread's share of n things
  int64_t begin(int64_t n) const { return n * rank / size; }
  int64_t end(int64_t n) const { return n * (rank + 1) / size; }
};

inline Team this_team() {
  Team team;
#if defined(_OPENMP)
  team.rank = omp_get_thread_num();
  team.size = omp_get_num_threads();
#endif
  return team;
}

}  // namespace PSFORMER_NAMESPACE
