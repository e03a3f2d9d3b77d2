// Sums of the gradient of value: in floating point, fast, whose last bits depend on the order in
// which threads arrive; or in fixed point, whose integer sums are the same in every order.
//
// Error of the fixed point. The caller passes a bound that no sum of absolute terms exceeds. One
// unit is 2^-k with bound < 2^(62 - k) <= 2 * bound, so a sum of n terms is off by at most half a
// unit each, n * bound * 2^-62. Where each of 2^17 terms may reach m, that is 2^-28 m; the largest
// float sum is rounded by 2^-8 m in every step.
#pragma once

#include "cuda_math.cuh"

namespace psformer {

template <class R>
PSFORMER_FN void atomic_add(R* address, R x) {
#ifdef __CUDA_ARCH__
  atomicAdd(address, x);
#else
  *address += x;
#endif
}

// Four at once, 16 bytes aligned: one request to memory from compute capability 9.0 on.
PSFORMER_FN void atomic_add4(float* address, const float* x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 && CUDART_VERSION >= 12010
  asm volatile("red.relaxed.gpu.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(
                   __cvta_generic_to_global(address)),
               "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3])
               : "memory");
#else
  for (int i = 0; i < 4; ++i) atomic_add(address + i, x[i]);
#endif
}

template <class R>
struct FloatSums {
  R* data;

  PSFORMER_FN explicit FloatSums(const PsformerProblem& a)
      : data(static_cast<R*>(a.grad_value)) {}

  template <int N>
  PSFORMER_FN void add(int64_t at, const R (&terms)[N]) const {
    if constexpr (std::is_same<R, float>::value && N % 4 == 0) {
      PSFORMER_UNROLL
      for (int i = 0; i < N; i += 4) atomic_add4(data + at + i, &terms[i]);
    } else {
      PSFORMER_UNROLL
      for (int i = 0; i < N; ++i) atomic_add(data + at + i, terms[i]);
    }
  }
};

// k of the unit 2^-k, as in cuda_kernel.py; 182 keeps both halves of the scale and the smallest floats representable.
PSFORMER_FN int fixed_point_digits(float bound) {
  int exponent;
  frexpf(bound, &exponent);  // bound < 2^exponent
  return bound > 0 && 62 - exponent < 182 ? 62 - exponent : 182;
}

template <class R>
struct FixedSums {
  unsigned long long* data;
  int* poison;
  R first, second;  // 2^k in two factors: k may exceed the exponents of a float

  PSFORMER_FN explicit FixedSums(const PsformerProblem& a)
      : data(static_cast<unsigned long long*>(a.grad_value)), poison(a.poison) {
    const int digits = fixed_point_digits(*a.bound);
    // a bound that is not finite makes every term NaN and so poisons the result
    first = *a.bound < INFINITY ? ldexpf(1.f, digits / 2) : NAN;
    second = ldexpf(1.f, digits - digits / 2);
  }

  template <int N>
  PSFORMER_FN void add(int64_t at, const R (&terms)[N]) const {
    PSFORMER_UNROLL
    for (int i = 0; i < N; ++i) {
      const R scaled = terms[i] * first * second;
      if (fabs(scaled) < R(4.7e18)) {  // about 2^62; false for NaN
        const long long units = llrint(scaled);
        atomic_add(data + at + i, static_cast<unsigned long long>(units));
      } else {
        *poison = 1;
      }
    }
  }
};

}  // namespace psformer
