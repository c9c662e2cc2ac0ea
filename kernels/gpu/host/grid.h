#pragma once

#include <cstddef>
#include <string>

#include "kernels/gpu/host/block.h"

namespace striate::gpu::host {

struct Launch {
  const char* text;  ///< the launch's arguments as written; the kernel's name comes first
  const char* file;
  int line;
  bool instrumented;     ///< the kernel's accesses are seen, so that a checking build can judge them
  const char* function;  ///< that launches, with its template arguments
  Dim3 grid, block;
  size_t shared_bytes;
  void (*body)(const void* call);  ///< the kernel for the thread that is current
  const void* call;                ///< the kernel's arguments
  size_t call_bytes;
};

/// Throws CudaError for a grid, a block or shared memory that no GPU takes.
void check_launch(const Launch& launch);
/// Runs every thread of the grid, one or more, of a launch that was checked; returns when all are done.
void run_grid(const Launch& launch);

/// Runs every thread of this block of the grid.
void run_block(const Launch& launch, const Dim3& index);

/// "conv_kernel<64, 32>" out of "conv_kernel<64, 32>, grid, block, …".
std::string kernel_name(const Launch& launch);

/// "(x,y,z)".
std::string text(const Dim3& d);

}  // namespace striate::gpu::host
