#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "kernels/thread_pool.h"

namespace striate {

namespace gpu {
class Stream;
}

/// Arithmetic of the matrix products: exact float32, TensorFloat-32 (on cpu: float32) or bfloat16 inputs, all
/// accumulated in float32.
enum class Precision { fp32, tf32, bf16 };

/// Whether a gradient kernel overwrites its output (activations) or adds to it (parameters).
enum class Accumulate { no, yes };

/// Scratch memory of a device that grows to the largest request and is then reused by every kernel.
class Workspace {
 public:
  virtual ~Workspace() = default;
  /// At least `bytes` bytes, 64-byte aligned, valid until the next call. Contents are unspecified.
  virtual void* reserve(size_t bytes) = 0;

  template <typename T>
  T* get(int64_t count) {
    return static_cast<T*>(reserve(static_cast<size_t>(count) * sizeof(T)));
  }
};

/// A Workspace in host memory.
class HostWorkspace : public Workspace {
 public:
  void* reserve(size_t bytes) override;

 private:
  struct Free {
    void operator()(void* p) const;
  };
  std::unique_ptr<void, Free> memory_;
  size_t bytes_ = 0;
};

/// What a kernel may use besides its operands: threads or a stream, scratch memory (on cuda the GPU's), and the
/// precision asked for. One kernel at a time runs on a Context; kernels never allocate otherwise.
struct Context {
  ThreadPool* threads = nullptr;
  Workspace* workspace = nullptr;
  Precision precision = Precision::fp32;
  gpu::Stream* stream = nullptr;  ///< cuda: where kernels are launched
  /// cuda: the vendor's libraries working on that stream; each is opened by its first use.
  std::shared_ptr<void> cublas_handle{}, cudnn_handle{};
};

}  // namespace striate
