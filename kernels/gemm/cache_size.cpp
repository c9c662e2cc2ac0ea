#include "kernels/gemm/cache_size.h"

#include <unistd.h>

#include <algorithm>

namespace striate::gemm {

int64_t second_level_cache() {
  static const int64_t bytes = [] {
#if defined(_SC_LEVEL2_CACHE_SIZE)
    const int64_t told = sysconf(_SC_LEVEL2_CACHE_SIZE);
#else
    const int64_t told = 0;
#endif
    // Beyond 2 MB it is shared by several cores.
    return told > 0 ? std::clamp<int64_t>(told, 256 << 10, 2 << 20) : 512 << 10;
  }();
  return bytes;
}

}  // namespace striate::gemm
