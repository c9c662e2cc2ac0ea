#include "kernels/gpu/check.h"

#include "kernels/error.h"

namespace striate::gpu {

void throw_cuda_error(const char* expression, const char* file, int line, const char* what) {
  throw CudaError(fmt::format("{} at {}:{}: {}", expression, file, line, what));
}

}  // namespace striate::gpu
