// A grid's blocks, several at once over the cores.
#include "kernels/gpu/host/grid.h"

#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/host/checker_events.h"
#include "kernels/gpu/host/memory.h"
#include "kernels/gpu/work.h"
#include "kernels/thread_pool.h"

namespace striate::gpu::host {

std::string text(const Dim3& d) { return fmt::format("({},{},{})", d.x, d.y, d.z); }

std::string kernel_name(const Launch& launch) { return kernel_of_launch(launch.text); }

void check_launch(const Launch& launch) {
  const Dim3 &grid = launch.grid, &threads = launch.block;
  // The limits of every GPU since compute capability 3.0 (CUDA C++ Programming Guide, table of technical
  // specifications).
  require<CudaError>(
      threads.count() >= 1 && threads.count() <= 1024 && threads.x <= 1024 && threads.y <= 1024 && threads.z <= 64,
      "launch of {}: a block of {} threads; 1 to 1024 are possible", kernel_name(launch), text(threads));
  require<CudaError>(grid.x <= 2147483647u && grid.y <= 65535 && grid.z <= 65535,
                     "launch of {}: a grid of {}; (2^31 − 1, 65535, 65535) is the largest", kernel_name(launch),
                     text(grid));
  const size_t shared_limit = properties().shared_bytes_per_block;
  require<CudaError>(launch.shared_bytes <= shared_limit, "launch of {}: {} bytes of shared memory; {} are possible",
                     kernel_name(launch), launch.shared_bytes, shared_limit);
}

void run_grid(const Launch& launch) {
  const Dim3& grid = launch.grid;
  const DeviceAccess access;
  static ThreadPool pool(events::kSerial ? 1 : 0);
  events::launch_begins(launch, kernel_name(launch).c_str());
  const uint64_t blocks = events::blocks_to_run(grid.count());
  pool.run(static_cast<int64_t>(blocks), [&](int64_t b) {
    const uint64_t i = events::block_to_run(static_cast<uint64_t>(b), blocks, grid.count());
    run_block(launch, Dim3(static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                           static_cast<unsigned>(i / grid.x / grid.y)));
  });
  events::launch_ends();
}

}  // namespace striate::gpu::host
