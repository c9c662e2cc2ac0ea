#include "kernels/gpu/check.h"

#include "kernels/error.h"
#include "kernels/out_of_memory.h"

namespace striate::gpu {

void throw_cuda_error(const char* expression, const char* file, int line, const char* what) {
  throw CudaError(fmt::format("{} at {}:{}: {}", expression, file, line, what));
}

void throw_out_of_memory(size_t bytes) {
  throw OutOfMemoryError<CudaError>(fmt::format("out of GPU memory: {} bytes asked for; use a smaller batch", bytes));
}

}  // namespace striate::gpu
