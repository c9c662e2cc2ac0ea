#include "kernels/gpu/index.h"

#include <limits>

#include "kernels/error.h"

namespace striate::gpu {

int index_32(int64_t value, const char* what) {
  constexpr int64_t kLimit = std::numeric_limits<int>::max();
  require<ShapeError>(value <= kLimit, "{}: the CUDA kernels count up to {}, found {}; split the batch", what, kLimit,
                      value);
  return static_cast<int>(value);
}

}  // namespace striate::gpu
