// cp.async: nothing is there before the wait, groups are counted from the newest, what is not valid is zero.
#include "kernels/gpu/async_copy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kernels/gpu/launch.h"
#include "kernels/gpu/shared.h"
#include "tests/support/visible_memory.h"

namespace striate::gpu {
namespace {

test::Values<float> counting(size_t count) {
  test::Values<float> x(count);
  std::iota(x.begin(), x.end(), 1.0f);
  return x;
}

#if !defined(__CUDACC__) && !defined(STRIATE_CHECKED_HOST)  // which refuses to read too early
// y: what the thread finds in shared memory before the copy, after its issue, after its commit, after the wait.
__global__ void watch_kernel(const float* x, float* y) {
  float* shared = dynamic_shared<float>();
  shared[0] = -1;
  y[0] = shared[0];
  cp_async_16(shared, x, true);
  y[1] = shared[0];
  cp_async_commit();
  y[2] = shared[0];
  cp_async_wait<0>();
  for (int i = 0; i < 4; ++i) y[3 + i] = shared[i];
}

TEST(CpAsync, ArrivesWhenWaitedForAndIsNaNUntilThen) {
  const auto x = counting(4);
  test::Values<float> y(7);
  Stream stream;
  launch(watch_kernel, 1, 1, 16, stream, x.data(), y.data());
  EXPECT_EQ(y[0], -1);
  EXPECT_TRUE(std::isnan(y[1]) && std::isnan(y[2]));
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(y[3 + i], x[i]);
}

// The fault that the host must show: a barrier alone makes nothing arrive.
__global__ void missing_wait_kernel(const float* x, float* y) {
  float* shared = dynamic_shared<float>();
  cp_async_4(shared + threadIdx.x, x + threadIdx.x, true);
  cp_async_commit();
  __syncthreads();
  y[threadIdx.x] = shared[(threadIdx.x + 1) % blockDim.x];
  __syncthreads();
  cp_async_wait<0>();
}

TEST(CpAsync, AMissingWaitShows) {
  const auto x = counting(64);
  test::Values<float> y(64);
  Stream stream;
  launch(missing_wait_kernel, 1, 64, 64 * sizeof(float), stream, x.data(), y.data());
  for (const float v : y) EXPECT_TRUE(std::isnan(v));
}
#endif

__global__ void sizes_kernel(const float* x, float* y) {
  float* shared = dynamic_shared<float>();
  cp_async_16(shared, x, true);
  cp_async_16(shared + 4, nullptr, false);
  cp_async_8(shared + 8, x + 4, true);
  cp_async_8(shared + 10, x, false);
  cp_async_4(shared + 12, x + 6, true);
  cp_async_4(shared + 13, x, false);
  cp_async_commit();
  cp_async_wait<0>();
  for (int i = 0; i < 14; ++i) y[i] = shared[i];
}

TEST(CpAsync, CopiesItsSizeAndFillsWithZeros) {
  const auto x = counting(8);
  test::Values<float> y(14);
  Stream stream;
  launch(sizes_kernel, 1, 1, 14 * sizeof(float), stream, x.data(), y.data());
  stream.synchronize();
  const test::Values<float> expected{1, 2, 3, 4, 0, 0, 0, 0, 5, 6, 0, 0, 7, 0};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(y[i], expected[i]) << i;
}

#if !defined(STRIATE_CHECKED_HOST)  // which refuses to read too early
// Groups of one copy, none, two, one; then one that is in no group. found[step] has a bit for each copy that is there.
__global__ void groups_kernel(const float* x, int* found) {
  float* shared = dynamic_shared<float>();
  const auto there = [&] {
    int mask = 0;
    for (int i = 0; i < 5; ++i) mask |= (shared[i] == x[i]) << i;
    return mask;
  };
  cp_async_4(shared, x, true);
  cp_async_commit();
  cp_async_commit();
  cp_async_4(shared + 1, x + 1, true);
  cp_async_4(shared + 2, x + 2, true);
  cp_async_commit();
  cp_async_4(shared + 3, x + 3, true);
  cp_async_commit();
  cp_async_4(shared + 4, x + 4, true);
  cp_async_wait<4>();
  found[0] = there();
  cp_async_wait<3>();
  found[1] = there();
  cp_async_wait<2>();
  found[2] = there();
  cp_async_wait<1>();
  found[3] = there();
  cp_async_wait<0>();
  found[4] = there();
  cp_async_commit();
  cp_async_wait<0>();
  found[5] = there();
}

TEST(CpAsync, WaitLeavesTheNewestGroups) {
  const auto x = counting(5);
  test::Values<int> found(6, -1);
  Stream stream;
  launch(groups_kernel, 1, 1, 5 * sizeof(float), stream, x.data(), found.data());
  stream.synchronize();
  const int must_be_there[] = {0, 0b00001, 0b00001, 0b00111, 0b01111, 0b11111};
  for (size_t i = 0; i < found.size(); ++i) {
#if defined(__CUDACC__)
    // What was not waited for may have arrived all the same.
    EXPECT_EQ(found[i] & must_be_there[i], must_be_there[i]) << i;
#else
    EXPECT_EQ(found[i], must_be_there[i]) << i;
#endif
  }
}
#endif

// Three stages: a block adds up `tiles` tiles of its own; each thread copies 16 bytes and reads another thread's.
__global__ void pipeline_kernel(const float* x, int tiles, float* y) {
  constexpr int kStages = 3;
  float* shared = dynamic_shared<float>();
  const unsigned width = blockDim.x * 4;
  const auto copy = [&](int tile) {
    if (tile < tiles) {
      cp_async_16(shared + static_cast<unsigned>(tile) % kStages * width + threadIdx.x * 4,
                  x + static_cast<unsigned>(tile) * width + threadIdx.x * 4, true);
    }
    cp_async_commit();
  };
  for (int tile = 0; tile < kStages - 1; ++tile) copy(tile);
  float sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    copy(tile + kStages - 1);
    const float* stage = shared + static_cast<unsigned>(tile) % kStages * width;
    for (unsigned i = 0; i < 4; ++i) sum += stage[(threadIdx.x * 4 + 4 + i) % width];
  }
  cp_async_wait<0>();
  y[threadIdx.x] = sum;
}

TEST(CpAsync, RunsAPipelineOfThreeStages) {
  for (const int tiles : {1, 2, 3, 7, 200}) {
    constexpr size_t kThreads = 64, kWidth = kThreads * 4;
    const auto x = counting(static_cast<size_t>(tiles) * kWidth);
    test::Values<float> y(kThreads, NAN);
    Stream stream;
    launch(pipeline_kernel, 1, kThreads, 3 * kWidth * sizeof(float), stream, x.data(), tiles, y.data());
    stream.synchronize();
    for (size_t thread = 0; thread < kThreads; ++thread) {
      float expected = 0;
      for (size_t tile = 0; tile < static_cast<size_t>(tiles); ++tile) {
        for (size_t i = 0; i < 4; ++i) expected += x[tile * kWidth + (thread * 4 + 4 + i) % kWidth];
      }
      EXPECT_EQ(y[thread], expected) << tiles << " tiles, thread " << thread;
    }
  }
}

#if !defined(__CUDACC__) && !defined(STRIATE_CHECKED_HOST)  // where host memory is the first fault
__global__ void never_waits_kernel(const float* x) {
  float* shared = dynamic_shared<float>();
  if (threadIdx.x == 5) cp_async_16(shared, x, true);
  cp_async_commit();
}
__global__ void empty_groups_kernel() {
  cp_async_commit();
  cp_async_commit();
}
__global__ void misaligned_copy_kernel(const float* x, int source, int destination) {
  cp_async_16(dynamic_shared<char>() + destination, reinterpret_cast<const char*>(x) + source, true);
  cp_async_wait<0>();
}
__global__ void copy_to_global_kernel(float* x) { cp_async_4(x, x + 1, true); }

TEST(CpAsyncDeathTest, NamesThreadAndFault) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  alignas(16) float x[8] = {};
  Stream stream;
  EXPECT_DEATH(launch(never_waits_kernel, dim3(1, 2), 32, 16, stream, x),
               "never_waits_kernel.*block .*thread \\(5,0,0\\): left the kernel with 1 cp.async copies.*"
               "async_copy_test.cu:");
  launch(empty_groups_kernel, 2, 32, 0, stream);  // nothing is on its way: no fault
  EXPECT_DEATH(launch(misaligned_copy_kernel, 1, 1, 64, stream, x, 4, 0), "cp.async of 16 bytes.*misaligned source");
  EXPECT_DEATH(launch(misaligned_copy_kernel, 1, 1, 64, stream, x, 0, 8),
               "cp.async of 16 bytes.*misaligned destination");
  EXPECT_DEATH(launch(misaligned_copy_kernel, 1, 1, 64, stream, x, 0, 64), "not in the block's shared memory");
  EXPECT_DEATH(launch(copy_to_global_kernel, 1, 1, 64, stream, x), "not in the block's shared memory");
}
#endif

}  // namespace
}  // namespace striate::gpu
