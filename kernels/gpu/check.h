#pragma once

#include <cstddef>

namespace striate::gpu {

/// Throws CudaError: "expression at file:line: what". Apart from the macro, because nvcc 13 does not compile fmt 9.
[[noreturn]] void throw_cuda_error(const char* expression, const char* file, int line, const char* what);
/// Throws CudaError naming the size that was asked for and what to do.
[[noreturn]] void throw_out_of_memory(size_t bytes);

}  // namespace striate::gpu

/// Throws CudaError with the expression, the place and the library's own words unless the call succeeds.
#define CUDA_CHECK(expression)                                                                               \
  do {                                                                                                       \
    const cudaError_t striate_status = (expression);                                                         \
    if (striate_status != cudaSuccess) {                                                                     \
      ::striate::gpu::throw_cuda_error(#expression, __FILE__, __LINE__, cudaGetErrorString(striate_status)); \
    }                                                                                                        \
  } while (false)

#define CUBLAS_CHECK(expression)                                                                                \
  do {                                                                                                          \
    const cublasStatus_t striate_status = (expression);                                                         \
    if (striate_status != CUBLAS_STATUS_SUCCESS) {                                                              \
      ::striate::gpu::throw_cuda_error(#expression, __FILE__, __LINE__, cublasGetStatusString(striate_status)); \
    }                                                                                                           \
  } while (false)

#define CUDNN_CHECK(expression)                                                                               \
  do {                                                                                                        \
    const cudnnStatus_t striate_status = (expression);                                                        \
    if (striate_status != CUDNN_STATUS_SUCCESS) {                                                             \
      ::striate::gpu::throw_cuda_error(#expression, __FILE__, __LINE__, cudnnGetErrorString(striate_status)); \
    }                                                                                                         \
  } while (false)
