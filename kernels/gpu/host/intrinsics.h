#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

// CUDA's device functions that kernels use and C++ does not have. expf, fmaf, fminf, fmaxf, sqrtf and their like are
// the C library's here: a GPU's differ from them in the last places (CUDA C++ Programming Guide, "Mathematical
// Functions").

inline int min(int a, int b) { return b < a ? b : a; }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline long long min(long long a, long long b) { return b < a ? b : a; }
inline long long max(long long a, long long b) { return a < b ? b : a; }
inline long min(long a, long b) { return b < a ? b : a; }
inline long max(long a, long b) { return a < b ? b : a; }

namespace striate::gpu::host {
/// On a GPU within 2 units of the last place.
inline float reciprocal_sqrt(float x) { return 1.0f / sqrtf(x); }
}  // namespace striate::gpu::host
// A macro, because newer C libraries have a function of this name.
#define rsqrtf(x) ::striate::gpu::host::reciprocal_sqrt(x)

inline int __popc(unsigned x) { return std::popcount(x); }
/// 32 for 0.
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
/// One more than the index of the lowest set bit; 0 for 0.
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
/// The upper half of the product.
inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(uint64_t{a} * b >> 32); }

inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }

/// A load of what no kernel writes while this one runs.
template <typename T>
inline __attribute__((always_inline)) T __ldg(const T* p) {
  return *p;
}
