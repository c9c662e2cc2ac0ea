#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "benchmarks/kernels_limits.h"
#include "kernels/context.h"

namespace striate::bench {

/// Whole cache lines, as the engine's tensors have them: a vector that straddles two costs twice.
template <typename T>
struct LineAllocator {
  using value_type = T;
  LineAllocator() = default;
  template <typename U>
  LineAllocator(const LineAllocator<U>&) {}
  T* allocate(size_t count) { return static_cast<T*>(::operator new (count * sizeof(T), std::align_val_t{64})); }
  void deallocate(T* p, size_t) { ::operator delete (p, std::align_val_t{64}); }
  bool operator==(const LineAllocator&) const { return true; }
};

template <typename T>
using Lines = std::vector<T, LineAllocator<T>>;
using Floats = Lines<float>;

/// STRIATE_THREADS threads, all cores otherwise, and what they reach together.
struct Machine {
  ThreadPool threads{std::getenv("STRIATE_THREADS") ? std::atoi(std::getenv("STRIATE_THREADS")) : 0};
  HostWorkspace workspace;
  Context context{&threads, &workspace, Precision::fp32};
  Limits limits = measure_limits(context);
};

Machine& machine();

/// Deterministic values in [−1, 1).
Floats values(int64_t count, uint32_t seed);

/// Whether a and b agree within 2·10⁻⁵ of b's greatest value.
bool close(const Floats& a, const Floats& b);

}  // namespace striate::bench
