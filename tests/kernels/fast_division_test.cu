#include "kernels/gemm/fast_division.h"

#include <gtest/gtest.h>

#include "kernels/gpu/launch.h"
#include "tests/support/backend.h"

namespace striate::test {
namespace {

struct Division {
  int n, quotient, remainder;
};

__global__ void divide_kernel(Division* divisions, tile::FastDivision by, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) divisions[i].quotient = by.divide(divisions[i].n, divisions[i].remainder);
}

TEST(FastDivision, AgreesWithDivision) {
  if (!can_run(Backend::cuda)) GTEST_SKIP() << "no GPU here";
  TestContext context;
  constexpr int kLargest = 2147483647;
  for (const int d :
       {1,   2,   3,   5,    6,     7,     11,    13,       27,         33,         55,         64,
        169, 363, 641, 3025, 65535, 65536, 65537, 16777213, 1073741823, 1073741824, 1073741825, kLargest}) {
    Values<Division> divisions;
    // Around multiples of d, where a quotient changes, small ones and the largest.
    for (const int multiple : {0, 1, 2, 1000, kLargest / d / 2, kLargest / d - 1, kLargest / d}) {
      for (const int64_t off : {-1, 0, 1}) {
        const int64_t n = int64_t{multiple} * d + off;
        if (multiple >= 0 && n >= 0 && n <= kLargest) divisions.push_back({static_cast<int>(n), -1, -1});
      }
    }
    divisions.push_back({kLargest, -1, -1});
    const int count = static_cast<int>(divisions.size());
    gpu::launch(divide_kernel, dim3(1), dim3(32), 0, *context->stream, divisions.data(), tile::FastDivision(d), count);
    for (const Division& division : divisions) {
      EXPECT_EQ(division.quotient, division.n / d) << division.n << " / " << d;
      EXPECT_EQ(division.remainder, division.n % d) << division.n << " / " << d;
    }
  }
}

}  // namespace
}  // namespace striate::test
