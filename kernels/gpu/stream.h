#pragma once

#include "kernels/gpu/platform.h"

namespace striate::gpu {

#if defined(__CUDACC__)

/// An order of work on the GPU. Move-only.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(Stream&& other) noexcept : stream_(other.stream_) { other.stream_ = nullptr; }
  Stream& operator=(Stream&&) = delete;
  /// Waits for all work in it. Throws CudaError for a failure of any of it.
  void synchronize();
  cudaStream_t native() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

#else

/// On the host a launch has run when it returns.
class Stream {
 public:
  void synchronize() {}
};

#endif

}  // namespace striate::gpu
