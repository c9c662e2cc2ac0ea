// The host execution of kernels itself: indices, barriers, shuffles, votes, shared memory; and that what CUDA leaves
// undefined is caught and named.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "kernels/error.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/shared.h"
#include "kernels/gpu/warp.h"

namespace striate::gpu {
namespace {

__global__ void indices_kernel(uint64_t* out) {
  const uint64_t block = blockIdx.x + uint64_t{gridDim.x} * (blockIdx.y + uint64_t{gridDim.y} * blockIdx.z);
  const uint64_t thread = threadIdx.x + uint64_t{blockDim.x} * (threadIdx.y + uint64_t{blockDim.y} * threadIdx.z);
  out[block * blockDim.count() + thread] += block * 10000 + thread;
}

TEST(HostExecution, RunsEveryThreadOnceWithItsIndices) {
  const dim3 grid(3, 2, 2), block(5, 4, 3);
  std::vector<uint64_t> out(grid.count() * block.count());
  Stream stream;
  launch(indices_kernel, grid, block, 0, stream, out.data());
  for (uint64_t i = 0; i < out.size(); ++i) EXPECT_EQ(out[i], i / block.count() * 10000 + i % block.count());
}

// A tree sum in dynamic shared memory: a barrier a level.
__global__ void block_sum_kernel(const float* x, float* y) {
  float* partial = dynamic_shared<float>();
  partial[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) partial[threadIdx.x] += partial[threadIdx.x + half];
  }
  if (threadIdx.x == 0) y[blockIdx.x] = partial[0];
}

TEST(HostExecution, BarriersOrderSharedMemory) {
  for (const unsigned threads : {1u, 32u, 256u, 1024u}) {
    std::vector<float> x(7 * threads), y(7);
    std::iota(x.begin(), x.end(), 1.0f);
    Stream stream;
    launch(block_sum_kernel, 7, threads, threads * sizeof(float), stream, x.data(), y.data());
    for (unsigned b = 0; b < 7; ++b) {
      EXPECT_EQ(y[b], std::accumulate(x.begin() + b * threads, x.begin() + (b + 1) * threads, 0.0f)) << threads;
    }
  }
}

template <int kRows>
__global__ void transpose_kernel(const float* x, float* y) {
  STRIATE_SHARED(float, tile, [kRows][kRows + 1]);
  STRIATE_SHARED(int, written, [1]);
  if (threadIdx.x == 0 && threadIdx.y == 0) written[0] = 17;
  tile[threadIdx.y][threadIdx.x] = x[threadIdx.y * kRows + threadIdx.x];
  __syncthreads();
  y[threadIdx.y * kRows + threadIdx.x] = tile[threadIdx.x][threadIdx.y] + static_cast<float>(written[0]);
}

TEST(HostExecution, StaticSharedVariablesAreTheBlocks) {
  std::vector<float> x(64), y(64);
  std::iota(x.begin(), x.end(), 0.0f);
  Stream stream;
  launch(transpose_kernel<8>, 1, dim3(8, 8), 0, stream, x.data(), y.data());
  for (int r = 0; r < 8; ++r) {
    for (int c = 0; c < 8; ++c) EXPECT_EQ(y[size_t(r * 8 + c)], x[size_t(c * 8 + r)] + 17);
  }
}

__global__ void poison_kernel(float* y) {
  STRIATE_SHARED(float, fixed, [2]);
  y[0] = dynamic_shared<float>()[0];
  y[1] = fixed[1];
}

TEST(HostExecution, SharedMemoryIsPoisonedInEveryBlock) {
  std::vector<float> y(2);
  Stream stream;
  for (int i = 0; i < 2; ++i) {
    launch(poison_kernel, 1, 1, 16, stream, y.data());
    EXPECT_TRUE(std::isnan(y[0]) && std::isnan(y[1]));
    y = {0, 0};
  }
}

__global__ void shuffle_kernel(int* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int* row = out + threadIdx.x * 8;
  row[0] = __shfl_sync(0xFFFFFFFFu, lane * 10, 5);
  row[1] = __shfl_sync(0xFFFFFFFFu, lane * 10, 5, 8);
  row[2] = __shfl_up_sync(0xFFFFFFFFu, lane, 3);
  row[3] = __shfl_down_sync(0xFFFFFFFFu, lane, 3, 16);
  row[4] = __shfl_xor_sync(0xFFFFFFFFu, lane, 9);
  row[5] = static_cast<int>(__ballot_sync(0xFFFFFFFFu, lane % 3 == 0));
  row[6] = warp_sum(lane);
  // Two halves of a warp meet apart, in lines of their own.
  if (lane < 16) {
    row[7] = __any_sync(0x0000FFFFu, lane == 40);
  } else {
    row[7] = __all_sync(0xFFFF0000u, lane >= 16);
  }
}

TEST(HostExecution, ShufflesAndVotesFollowTheProgrammingGuide) {
  std::vector<int> out(64 * 8);
  Stream stream;
  launch(shuffle_kernel, 1, 64, 0, stream, out.data());
  for (int thread = 0; thread < 64; ++thread) {
    const int lane = thread % 32;
    const int* row = out.data() + thread * 8;
    EXPECT_EQ(row[0], 50);
    EXPECT_EQ(row[1], (lane / 8 * 8 + 5) * 10);
    EXPECT_EQ(row[2], lane < 3 ? lane : lane - 3);
    EXPECT_EQ(row[3], lane % 16 > 12 ? lane : lane + 3);
    EXPECT_EQ(row[4], lane ^ 9);
    EXPECT_EQ(static_cast<unsigned>(row[5]), 0x49249249u);
    EXPECT_EQ(row[6], 31 * 32 / 2);
    EXPECT_EQ(row[7], lane < 16 ? 0 : 1);
  }
}

__global__ void warp_max_kernel(const float* x, float* y) { y[threadIdx.x] = warp_max(x[threadIdx.x]); }

TEST(HostExecution, WarpMaximumKeepsNaN) {
  std::vector<float> x(32, -2.0f), y(32);
  x[7] = 3.0f;
  Stream stream;
  launch(warp_max_kernel, 1, 32, 0, stream, x.data(), y.data());
  EXPECT_EQ(y, std::vector<float>(32, 3.0f));
  x[20] = NAN;
  launch(warp_max_kernel, 1, 32, 0, stream, x.data(), y.data());
  for (const float v : y) EXPECT_TRUE(std::isnan(v));
}

TEST(HostExecution, RefusesALaunchThatNoGpuTakes) {
  Stream stream;
  EXPECT_THROW(launch(poison_kernel, 1, 1025, 16, stream, nullptr), CudaError);
  EXPECT_THROW(launch(poison_kernel, dim3(1, 65536), 1, 16, stream, nullptr), CudaError);
  launch(poison_kernel, 0, 32, 16, stream, nullptr);  // an empty grid runs nothing
}

// ---- faulty kernels: each must be named with kernel, block and thread ----

__global__ void divergent_barrier_kernel() {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}

__global__ void early_exit_kernel() {
  if (threadIdx.x == 9) return;
  __syncthreads();
}

__global__ void late_exit_kernel() {
  if (threadIdx.x != 31) __syncthreads();
}

__global__ void mask_mismatch_kernel() { __shfl_sync(threadIdx.x < 8 ? 0x00FFFFFFu : 0xFFFFFFFFu, 1, 0); }

__global__ void own_lane_missing_kernel() { __syncwarp(0xFFFFFFFEu); }

__global__ void divergent_warp_kernel() {
  if (threadIdx.x % 2 == 0) {
    __syncwarp();
  } else {
    __ballot_sync(0xFFFFFFFFu, 1);
  }
}

__global__ void lane_left_kernel() {
  if (threadIdx.x == 3) return;
  __syncwarp();
}

__global__ void deadlock_kernel() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else if (threadIdx.x == 32) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}

__global__ void small_block_kernel() { __syncwarp(); }

class FaultyKernel : public testing::Test {
 protected:
  void SetUp() override { testing::FLAGS_gtest_death_test_style = "threadsafe"; }
  Stream stream_;
};
using FaultyKernelDeathTest = FaultyKernel;

TEST_F(FaultyKernelDeathTest, DivergentBarrier) {
  EXPECT_DEATH(launch(divergent_barrier_kernel, 1, 32, 0, stream_),
               "kernel divergent_barrier_kernel .*block \\(0,0,0\\), thread \\(16,0,0\\): divergent barrier.*thread "
               "\\(0,0,0\\) waits");
}

TEST_F(FaultyKernelDeathTest, ExitBeforeABarrier) {
  EXPECT_DEATH(launch(early_exit_kernel, 1, 32, 0, stream_),
               "early_exit_kernel.*thread \\(9,0,0\\): left the kernel while thread \\(0,0,0\\) waits in "
               "__syncthreads");
  EXPECT_DEATH(launch(late_exit_kernel, 1, 32, 0, stream_), "late_exit_kernel.*thread \\(31,0,0\\): left the kernel");
}

TEST_F(FaultyKernelDeathTest, MaskMismatch) {
  EXPECT_DEATH(launch(mask_mismatch_kernel, 1, 32, 0, stream_),
               "mask_mismatch_kernel.*thread \\(8,0,0\\): mask mismatch: __shfl_sync.*0xffffffff.*0x00ffffff");
  EXPECT_DEATH(launch(own_lane_missing_kernel, 1, 32, 0, stream_), "leaves out its own lane 0");
}

TEST_F(FaultyKernelDeathTest, DivergentWarp) {
  EXPECT_DEATH(launch(divergent_warp_kernel, 1, 32, 0, stream_), "divergent warp: __ballot_sync.*wait in __syncwarp");
}

TEST_F(FaultyKernelDeathTest, LaneThatLeftOrIsNotThere) {
  EXPECT_DEATH(launch(lane_left_kernel, 1, 32, 0, stream_), "lane_left_kernel.*thread \\(3,0,0\\): left the kernel");
  EXPECT_DEATH(launch(small_block_kernel, 1, 20, 0, stream_), "lane 20 is not in the block");
}

TEST_F(FaultyKernelDeathTest, Deadlock) {
  EXPECT_DEATH(launch(deadlock_kernel, 1, 64, 0, stream_), "deadlock_kernel.*(deadlock|divergent barrier)");
}

}  // namespace
}  // namespace striate::gpu
