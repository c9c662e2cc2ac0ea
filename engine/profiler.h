#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "engine/device.h"

namespace striate {

/// What a profile tells apart: a kernel at a size.
struct ProfileRow {
  std::string kernel;  ///< "conv2d_forward"
  std::string size;    ///< as the shape says it, or the number of values
  int64_t calls = 0;
  double seconds = 0.0;  ///< of all calls
  double flops = 0.0;    ///< of all calls; 0 where the kernel is no matrix product
};

/// Times every kernel that the engine calls in this process while it lives, the slowest first. One at a time. On cuda
/// the device is waited for round each call, so that kernels do not overlap.
class Profiler {
 public:
  /// Throws Error where another one lives.
  Profiler();
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  static Profiler* current() { return current_; }
  void add(const char* kernel, std::string size, double seconds, double flops);
  void clear() { rows_.clear(); }
  std::vector<ProfileRow> rows() const;

 private:
  static inline Profiler* current_ = nullptr;
  std::map<std::pair<std::string, std::string>, ProfileRow> rows_;
};

/// Round one call of a kernel: hands its time to the current Profiler, does nothing where there is none. The size is
/// the first argument that tells its own, or the first number.
class KernelTimer {
 public:
  template <typename... Arguments>
  KernelTimer(Device device, const char* kernel, const Arguments&... arguments)
      : profiler_(Profiler::current()), device_(device), kernel_(kernel) {
    if (profiler_ == nullptr) return;
    (describe(arguments), ...);
    start();
  }
  ~KernelTimer() {
    if (profiler_ != nullptr) stop();
  }
  KernelTimer(const KernelTimer&) = delete;
  KernelTimer& operator=(const KernelTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;

  template <typename T>
  void describe(const T& argument) {
    if constexpr (requires {
                    { argument.to_string() } -> std::convertible_to<std::string>;
                  }) {
      size_ = argument.to_string();
      if constexpr (requires { argument.macs(); }) flops_ = 2.0 * static_cast<double>(argument.macs());
    } else if constexpr (std::is_same_v<T, int64_t>) {
      if (size_.empty()) size_ = std::to_string(argument);
    }
  }
  void start();
  void stop();

  Profiler* profiler_;
  Device device_;
  const char* kernel_;
  std::string size_;
  double flops_ = 0.0;
  Clock::time_point start_;
};

}  // namespace striate
