#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <type_traits>
#include <vector>

#include "benchmarks/device_values.h"
#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/gpu/memory.h"
#include "kernels/gpu/stream.h"

// A kernel that is measured is written once, for whoever computes it: its operands lie where that side's kernels reach
// them, and choose() picks that side's function.
namespace striate::bench {

/// Whose functions compute: the oracle's, ours on the CPU, ours on the GPU, or cuDNN's and cuBLAS's.
enum class Side { reference, cpu, cuda, library };

constexpr bool on_gpu(Side side) { return side == Side::cuda || side == Side::library; }

/// What that side's functions run with; its precision is set here.
Context& side_context(Side side, Precision precision);

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

/// Deterministic values in [−1, 1), or with `integers` those of −2 … 2, which every precision multiplies exactly.
Floats values(int64_t count, uint32_t seed, bool integers = false);

/// What a kernel wrote: its outputs one after another, as floats.
using Results = std::vector<Floats>;

/// Whether each output begins with all of the expected one, within `tolerance` of the expected one's greatest value.
/// No NaN agrees.
bool agree(const Results& results, const Results& expected, double tolerance);

/// `count` values where the side's kernels reach them: in a GPU's memory, or the host's. Zeros at first.
template <typename T>
class Operand {
 public:
  Operand(Side side, int64_t count) : count_(count) {
    if (on_gpu(side)) {
      stream_ = side_context(side, Precision::fp32).stream;
      device_.emplace(count);
      gpu::set(device_->data(), 0, bytes(), *stream_);
    } else {
      host_.resize(static_cast<size_t>(count));
    }
  }
  /// Filled with values() of the seed.
  Operand(Side side, int64_t count, uint32_t seed) : Operand(side, count) { fill(seed); }
  /// With these.
  Operand(Side side, const Lines<T>& from) : Operand(side, static_cast<int64_t>(from.size())) { put(from); }

  operator T*() { return device_ ? device_->data() : host_.data(); }
  int64_t size() const { return count_; }

  /// With `kept`, zeros from that value on.
  void fill(uint32_t seed, bool integers = false, int64_t kept = -1) {
    const Floats drawn = values(count_, seed, integers);
    Lines<T> v(drawn.size());
    for (size_t i = 0; i < v.size(); ++i) {
      const float value = kept >= 0 && static_cast<int64_t>(i) >= kept ? 0.0f : drawn[i];
      if constexpr (std::is_integral_v<T>) {
        v[i] = static_cast<T>(127.0f + 127.0f * value);
      } else {
        v[i] = stored_as<T>(value);
      }
    }
    put(v);
  }

  Floats get() const {
    Lines<T> copied;
    if (device_) {
      copied.resize(static_cast<size_t>(count_));
      gpu::copy(copied.data(), device_->data(), bytes(), *stream_);
      stream_->synchronize();
    }
    const Lines<T>& from = device_ ? copied : host_;
    Floats floats(from.size());
    for (size_t i = 0; i < floats.size(); ++i) {
      if constexpr (std::is_same_v<T, bfloat16>) {
        floats[i] = to_float(from[i]);
      } else {
        floats[i] = static_cast<float>(from[i]);
      }
    }
    return floats;
  }

 private:
  size_t bytes() const { return static_cast<size_t>(count_) * sizeof(T); }
  void put(const Lines<T>& from) {
    if (device_) {
      gpu::copy(device_->data(), from.data(), bytes(), *stream_);
      stream_->synchronize();  // before what was copied goes
    } else {
      host_ = from;
    }
  }

  int64_t count_;
  gpu::Stream* stream_ = nullptr;
  Lines<T> host_;
  std::optional<DeviceMemory<T>> device_;
};

/// The outputs' contents.
template <typename... T>
Results results_of(const Operand<T>&... outputs) {
  return {outputs.get()...};
}

/// The side's function.
template <typename F>
F* choose(Side side, F* reference, F* cpu, F* cuda, F* library = nullptr) {
  switch (side) {
    case Side::reference:
      return reference;
    case Side::cpu:
      return cpu;
    case Side::cuda:
      return cuda;
    case Side::library:
      return library;
  }
  return nullptr;
}

}  // namespace striate::bench
