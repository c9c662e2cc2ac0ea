#pragma once

#include <cstddef>
#include <type_traits>

#include "kernels/gpu/platform.h"
#include "kernels/gpu/stream.h"
#include "kernels/gpu/work.h"

namespace striate::gpu {

/// launch(kernel, grid, block, shared_bytes, stream, args…): `kernel` on grid × block threads with that much dynamic
/// shared memory, in the stream's order. Throws CudaError where the launch is refused. A macro only so that a report
/// can name the kernel as it stands at the launch.
#define launch(...) \
  launch_kernel({#__VA_ARGS__, __FILE__, __LINE__, STRIATE_INSTRUMENTED, __PRETTY_FUNCTION__}, __VA_ARGS__)

// Whether this file's accesses are seen by the checking build. (Not asked in a function: the linker keeps one of all
// copies, from whatever file.)
#if defined(__SANITIZE_THREAD__)
#define STRIATE_INSTRUMENTED true
#else
#define STRIATE_INSTRUMENTED false
#endif

struct LaunchSite {
  const char* text;  ///< the arguments of launch() as written; the kernel comes first
  const char* file;
  int line;
  bool instrumented;
  const char* function;  ///< that launches, with its template arguments
};

}  // namespace striate::gpu

#if defined(__CUDACC__)

#include "kernels/gpu/check.h"

namespace striate::gpu {

template <typename... Params>
void launch_kernel(const LaunchSite& site, void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
                   Stream& stream, std::type_identity_t<Params>... args) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  const void* function = reinterpret_cast<const void*>(kernel);
  // Above 48 KiB dynamic shared memory is the kernel's to ask for.
  if (shared_bytes > 48 * 1024) {
    CUDA_CHECK(
        cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes)));
  }
  stream.take({Work::Kind::kernel, site.text});
  void* pointers[sizeof...(Params) + 1] = {static_cast<void*>(&args)...};
  CUDA_CHECK(
      cudaLaunchKernel(function, grid, block, pointers, shared_bytes, static_cast<cudaStream_t>(stream.native())));
}

}  // namespace striate::gpu

#else

#include <memory>
#include <tuple>

#include "kernels/gpu/graph.h"
#include "kernels/gpu/host/grid.h"
#include "kernels/gpu/host/memory.h"

namespace striate::gpu {

template <typename... Params>
void launch_kernel(const LaunchSite& site, void (*kernel)(Params...), dim3 grid, dim3 block, size_t shared_bytes,
                   Stream& stream, std::type_identity_t<Params>... args) {
  struct Call {
    void (*kernel)(Params...);
    std::tuple<Params...> args;
  } call{kernel, {args...}};
  host::Launch launch{site.text,
                      site.file,
                      site.line,
                      site.instrumented,
                      site.function,
                      grid,
                      block,
                      shared_bytes,
                      [](const void* c) {
                        const Call& target = *static_cast<const Call*>(c);
                        std::apply(target.kernel, target.args);
                      },
                      &call,
                      sizeof(call)};
  host::check_launch(launch);
  if (grid.count() == 0) return;
  if (stream.recording() == nullptr) {
    stream.take({Work::Kind::kernel, site.text});
    host::run_grid(launch);
    return;
  }
  stream.take({Work::Kind::kernel, site.text, host::bytes_behind(&call, sizeof(call))});
  stream.recording()->steps.push_back([launch, kept = std::make_shared<Call>(call)]() mutable {
    launch.call = kept.get();
    host::run_grid(launch);
  });
}

}  // namespace striate::gpu

#endif
