#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/device.h"
#include "engine/kernel_call.h"
#include "kernels/gpu/stream.h"

namespace striate {

/// What a stretch of time went to.
enum class Pass { step, wait, load, copy, forward, backward, optimizer, communicate, other };
std::string to_string(Pass pass);

/// The layer at work: a module, or something that has only a name.
struct ProfileLayer {
  const void* module = nullptr;
  const char* name = nullptr;
};

/// A stretch of time: a kernel's or a copy's, or of what contains some.
struct ProfileEvent {
  std::string name;   ///< "conv2d_forward"; a layer's own: "features.0"
  std::string layer;  ///< "features.0"; empty outside of layers
  std::string size;   ///< as the shape says it, or the number of values
  Pass pass = Pass::other;
  bool is_kernel = false;  ///< or a copy: nothing is inside it
  int thread = 0;          ///< 0 for the one that profiles, others from 1 in the order in which they came
  double flops = 0.0;      ///< 0 where it is no matrix product
  double bytes = 0.0;      ///< moved at least; 0 where it is not known
  double begin = 0.0;      ///< in seconds since the profile began
  double seconds = 0.0;    ///< of the host: on cuda, of handing the work over
  bool on_gpu = false;
  bool beside = false;                        ///< a copy in a stream of its own, which kernels run beside
  double gpu_begin = 0.0, gpu_seconds = 0.0;  ///< by the GPU's clock, where on_gpu

  double kernel_seconds() const { return on_gpu ? gpu_seconds : seconds; }
};

/// What a table of a profile tells apart: a kernel at a size.
struct ProfileRow {
  std::string kernel;  ///< "conv2d_forward"
  std::string size;    ///< as the shape says it, or the number of values
  int64_t calls = 0;
  double seconds = 0.0;  ///< of all calls
  double flops = 0.0;    ///< of all calls; 0 where the kernel is no matrix product
  bool beside = false;   ///< ProfileEvent's: its time is no part of the steps'
};

/// Times every kernel and copy of the engine in this process while it lives, and the layers and phases round them, each
/// an NVTX range too where the build has NVTX. One at a time. On cuda events are recorded in the stream, which nobody
/// waits for before events() or rows().
class Profiler {
 public:
  /// Throws Error where another one lives.
  Profiler();
  ~Profiler();
  Profiler(const Profiler&) = delete;
  Profiler& operator=(const Profiler&) = delete;

  static Profiler* current() { return current_.load(std::memory_order_acquire); }

  /// From now on that module's time is told under its name; the type is for where the name is empty.
  void name_layer(const void* module, const std::string& name, const std::string& type);
  /// A step of so many seconds that ends now.
  void add_step(double seconds);
  /// Tells the current profiler, where there is one, of bytes that went between processes from `begin` till now, beside
  /// what is computed.
  static void add_exchange(const char* name, int64_t bytes, std::chrono::steady_clock::time_point begin);
  /// The profile begins now: what was seen before is forgotten.
  void clear();

  /// In order of their beginning, what contains before what is contained. Waits for the GPU's work.
  std::vector<ProfileEvent> events();
  /// Kernels and copies, the slowest first.
  std::vector<ProfileRow> rows();

 private:
  friend class ProfileScope;
  friend class KernelTimer;
  using Clock = std::chrono::steady_clock;

  /// A kernel's beginning and end in the GPU's stream, and the moment that its time is counted from.
  struct GpuSpan {
    gpu::Event begin, end;
    size_t anchor = 0;
  };
  struct Entry {
    ProfileEvent event;
    ProfileLayer layer;
    std::shared_ptr<GpuSpan> gpu;
  };

  /// In `stream`; anchors are set in the device's own, which outlives any other.
  std::shared_ptr<GpuSpan> begin_on_gpu(gpu::Stream& stream, gpu::Stream& own);
  /// Keeps what began at `begin` and ends now, where `profiler` is still the current one and had begun by then.
  static void add(const Profiler* profiler, Entry entry, Clock::time_point begin);
  void keep(Entry entry, Clock::time_point begin, Clock::time_point end);
  std::string name_of(const ProfileLayer& layer) const;
  std::string label(const char* name, const ProfileLayer& layer) const;

  static inline std::atomic<Profiler*> current_ = nullptr;
  Clock::time_point begin_;
  std::map<const void*, std::pair<std::string, std::string>> layers_;
  std::deque<Entry> entries_;
  std::map<uint64_t, int> threads_;
  // Elapsed times between events are floats of milliseconds: a fresh one to count from at every step keeps them exact.
  std::deque<gpu::Event> anchors_;
  double first_anchor_ = 0.0;  // in seconds since the profile began
  gpu::Stream* stream_ = nullptr;
};

/// While it lives, what this thread does is told as part of a pass and of a layer. Does nothing where there is no
/// Profiler. Inside a backward pass a forward one (of what is computed again) counts as backward.
class ProfileScope {
 public:
  /// A phase, which leaves the layer as it is. `name` must outlive the scope.
  ProfileScope(Pass pass, const char* name) : ProfileScope(pass, layer(), name) {}
  /// A layer at work: told under `name`, or under its own where that is null.
  ProfileScope(Pass pass, const ProfileLayer& layer, const char* name = nullptr)
      : profiler_(Profiler::current()), name_(name) {
    if (profiler_ != nullptr) enter(pass, layer);
  }
  ~ProfileScope() {
    if (profiler_ != nullptr) leave();
  }
  ProfileScope(const ProfileScope&) = delete;
  ProfileScope& operator=(const ProfileScope&) = delete;

  /// The layer that this thread is at work for; none where there is no Profiler.
  static ProfileLayer layer();

 private:
  void enter(Pass pass, const ProfileLayer& layer);
  void leave();

  Profiler* profiler_;
  const char* name_;
  ProfileLayer outer_layer_{};
  Pass outer_pass_ = Pass::other;
  std::chrono::steady_clock::time_point begin_;
};

/// A copy, for a KernelTimer; in the device's stream, or in one of its own.
struct TimedCopy {
  Device device = Device::cpu;
  const char* name = "copy";
  size_t bytes = 0;
  gpu::Stream* stream = nullptr;
};

/// Round one call of a kernel or a copy: hands its time to the current Profiler, does nothing where there is none.
class KernelTimer {
 public:
  template <typename... Arguments>
  KernelTimer(Device device, const char* kernel, const Arguments&... arguments) : profiler_(Profiler::current()) {
    if (profiler_ == nullptr) return;
    const KernelCall call(kernel, arguments...);
    start(device, kernel, call.size(), call.flops(), call.bytes(), nullptr);
  }
  explicit KernelTimer(const TimedCopy& copy);
  ~KernelTimer() {
    if (profiler_ != nullptr) stop();
  }
  KernelTimer(const KernelTimer&) = delete;
  KernelTimer& operator=(const KernelTimer&) = delete;

 private:
  void start(Device device, const char* kernel, const std::string& size, double flops, double bytes,
             gpu::Stream* stream);
  void stop();

  Profiler* profiler_;
  std::unique_ptr<Profiler::Entry> entry_;
  gpu::Stream* stream_ = nullptr;
  std::chrono::steady_clock::time_point begin_;
};

}  // namespace striate
