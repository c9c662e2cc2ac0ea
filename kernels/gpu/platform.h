#pragma once

// The one place that knows which compiler reads a kernel: nvcc for a GPU, or the host's C++ compiler, for which a
// kernel is a function that gpu/host/ calls once for every thread of the grid.

#if defined(__CUDACC__)

#include <cuda_runtime.h>

/// Before a loop that is to be unrolled whole on a GPU; the host's compiler decides for itself.
#define STRIATE_UNROLL _Pragma("unroll")
/// The same by so many rounds; 1: not at all.
#define STRIATE_UNROLL_BY(times) STRIATE_PRAGMA(unroll times)
#define STRIATE_PRAGMA(text) _Pragma(#text)

/// Last parameter of a function that kernels call: on the host, where in the kernel's source that call stands.
#define STRIATE_CALLER
/// Last argument of a call to such a function from another: the place in the kernel, handed on.
#define STRIATE_FOR_CALLER

#else

#include <cstdint>

#include "kernels/gpu/host/block.h"
#include "kernels/gpu/host/intrinsics.h"
#include "kernels/gpu/host/vector_types.h"

#define STRIATE_UNROLL
#define STRIATE_UNROLL_BY(times)

#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

using dim3 = striate::gpu::host::Dim3;

#define threadIdx (::striate::gpu::host::thread_index())
#define blockIdx (::striate::gpu::host::block_index())
#define blockDim (::striate::gpu::host::block_dim())
#define gridDim (::striate::gpu::host::grid_dim())

#define STRIATE_CALLER , ::striate::gpu::host::Site caller = ::striate::gpu::host::Site::here()
#define STRIATE_FOR_CALLER , caller

#define __syncthreads() ::striate::gpu::host::sync_threads({__FILE__, __LINE__})

#endif
