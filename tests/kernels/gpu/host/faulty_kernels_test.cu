// Small faulty kernels, each caught and named by the checking build, and beside each a twin without the fault, of which
// nothing is said. Only the preset host-race has the checks.
#if defined(STRIATE_CHECKED_HOST)

#include <vector>

#include "kernels/gpu/launch.h"
#include "kernels/gpu/shared.h"
#include "kernels/gpu/warp.h"
#include "tests/kernels/gpu/host/faulty_kernel.h"

namespace striate::gpu {
namespace {

class FaultyKernels : public FaultyKernelTest {};

// ---- a missing barrier ----

template <bool kBarrier>
__global__ void reverse_kernel(float* y) {
  STRIATE_SHARED(float, tile, [64]);
  tile[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (kBarrier) __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}

template <bool kBarrier>
void launch_reverse(float* y, Stream& stream) {
  launch(reverse_kernel<kBarrier>, 1, 64, 0, stream, y);
}

TEST_F(FaultyKernels, NameTheInstantiationThatWasLaunched) {
  EXPECT_FAULT(race, "kernel reverse_kernel<kBarrier> \\(launched at .* by .*launch_reverse.*kBarrier = false",
               launch_reverse<false>(data<float>(), stream_));
  EXPECT_CLEAN(launch_reverse<true>(data<float>(), stream_));
}

TEST_F(FaultyKernels, MissingBarrier) {
  EXPECT_FAULT(
      race,
      "kernel reverse_kernel<false> .*block \\(0,0,0\\), thread \\([0-9]+,0,0\\): at .*reads 4 bytes of shared "
      "memory, tile \\+ [0-9]+, which races: thread \\([0-9]+,0,0\\) wrote there at "
      "tests/kernels/gpu/host/faulty_kernels_test.cu:[0-9]+, with no barrier in between",
      launch(reverse_kernel<false>, 1, 64, 0, stream_, data<float>()));
  EXPECT_CLEAN(launch(reverse_kernel<true>, 1, 64, 0, stream_, data<float>()));
}

// A barrier that comes too late for what was read before it: the next turn overwrites it.
template <bool kBarrier>
__global__ void rotate_kernel(float* y) {
  float* tile = dynamic_shared<float>();
  float sum = 0;
  for (int turn = 0; turn < 3; ++turn) {
    tile[threadIdx.x] = static_cast<float>(turn);
    __syncthreads();
    sum += tile[(threadIdx.x + 1) % blockDim.x];
    if (kBarrier) __syncthreads();
  }
  y[threadIdx.x] = sum;
}

TEST_F(FaultyKernels, MissingBarrierAfterTheLastRead) {
  EXPECT_FAULT(race, "rotate_kernel<false>.*writes 4 bytes of shared memory, dynamic_shared .*read there",
               launch(rotate_kernel<false>, 1, 96, 96 * sizeof(float), stream_, data<float>()));
  EXPECT_CLEAN(launch(rotate_kernel<true>, 1, 96, 96 * sizeof(float), stream_, data<float>()));
}

// ---- __syncwarp ----

// The tail of a reduction, within one warp, without shuffles.
template <bool kSync>
__global__ void warp_tail_kernel(float* y) {
  STRIATE_SHARED(float, partial, [32]);
  partial[threadIdx.x] = 1.0f;
  for (unsigned half = 16; half > 0; half /= 2) {
    __syncwarp();
    const float other = threadIdx.x < half ? partial[threadIdx.x + half] : 0.0f;
    if (kSync) __syncwarp();
    partial[threadIdx.x] += other;
  }
  if (threadIdx.x == 0) *y = partial[0];
}

TEST_F(FaultyKernels, WarpTail) {
  EXPECT_FAULT(race, "warp_tail_kernel<false>.*shared memory, partial \\+ ",
               launch(warp_tail_kernel<false>, 1, 32, 0, stream_, data<float>()));
  EXPECT_CLEAN(launch(warp_tail_kernel<true>, 1, 32, 0, stream_, data<float>()));
  EXPECT_EQ(*data<float>(), 32.0f);
}

// A shuffle makes the lanes meet, but orders none of their accesses to memory.
template <bool kSync>
__global__ void shuffled_kernel(float* y) {
  STRIATE_SHARED(float, tile, [32]);
  tile[threadIdx.x] = 1.0f;
  const int to = __shfl_xor_sync(0xFFFFFFFFu, static_cast<int>(threadIdx.x), 1);
  if (kSync) __syncwarp();
  y[threadIdx.x] = tile[to];
}

TEST_F(FaultyKernels, ShuffleIsNoBarrier) {
  EXPECT_FAULT(race, "shuffled_kernel<false>.*tile .*, which races: thread ",
               launch(shuffled_kernel<false>, 1, 32, 0, stream_, data<float>()));
  EXPECT_CLEAN(launch(shuffled_kernel<true>, 1, 32, 0, stream_, data<float>()));
}

// __syncwarp orders its own warp's lanes and nobody else.
template <bool kOwnWarp>
__global__ void other_warp_kernel(float* y) {
  STRIATE_SHARED(float, tile, [64]);
  tile[threadIdx.x] = 1.0f;
  __syncwarp();
  y[threadIdx.x] = tile[kOwnWarp ? threadIdx.x ^ 1 : threadIdx.x ^ 32];
}

TEST_F(FaultyKernels, SyncwarpIsNoBarrierForOtherWarps) {
  EXPECT_FAULT(race, "other_warp_kernel<false>.*tile .*, which races: thread ",
               launch(other_warp_kernel<false>, 1, 64, 0, stream_, data<float>()));
  EXPECT_CLEAN(launch(other_warp_kernel<true>, 1, 64, 0, stream_, data<float>()));
}

// Half-warps that synchronise apart: each only knows its own half.
template <bool kOwnHalf>
__global__ void half_warp_kernel(float* y) {
  STRIATE_SHARED(float, tile, [32]);
  tile[threadIdx.x] = 1.0f;
  if (threadIdx.x < 16) {
    __syncwarp(0x0000FFFFu);
  } else {
    __syncwarp(0xFFFF0000u);
  }
  y[threadIdx.x] = tile[kOwnHalf ? threadIdx.x ^ 1 : threadIdx.x ^ 16];
}

TEST_F(FaultyKernels, SyncwarpOrdersOnlyItsMask) {
  EXPECT_FAULT(race, "half_warp_kernel<false>.*tile .*, which races: thread ",
               launch(half_warp_kernel<false>, 1, 32, 0, stream_, data<float>()));
  EXPECT_CLEAN(launch(half_warp_kernel<true>, 1, 32, 0, stream_, data<float>()));
}

// ---- the same value, parts of words ----

template <bool kOne>
__global__ void same_value_kernel(float* y) {
  if (!kOne || threadIdx.x == 0) *y = 1.0f;
}

TEST_F(FaultyKernels, WritingTheSameValueIsARace) {
  EXPECT_FAULT(race, "same_value_kernel<false>.*writes 4 bytes of global memory, .*thread \\(0,0,0\\) wrote there",
               launch(same_value_kernel<false>, 1, 8, 0, stream_, data<float>()));
  EXPECT_CLEAN(launch(same_value_kernel<true>, 1, 8, 0, stream_, data<float>()));
}

// Neighbouring bytes and halves of a word belong to different threads; then whole words again.
template <int kStep>
__global__ void bytes_kernel(uint8_t* y) {
  STRIATE_SHARED(uint16_t, halves, [64]);
  y[threadIdx.x * kStep / 4] = 1;
  halves[threadIdx.x] = 2;
  __syncthreads();
  if (threadIdx.x < 16) reinterpret_cast<uint32_t*>(y)[threadIdx.x] = 3;
  if (threadIdx.x >= 16 && threadIdx.x < 48) {
    y[threadIdx.x * 2 + 64] = static_cast<uint8_t>(reinterpret_cast<uint32_t*>(halves)[threadIdx.x - 16]);
  }
}

TEST_F(FaultyKernels, BytesAreToldApart) {
  EXPECT_FAULT(race, "bytes_kernel<3>.*writes 1 bytes", launch(bytes_kernel<3>, 1, 64, 0, stream_, data<uint8_t>()));
  EXPECT_CLEAN(launch(bytes_kernel<4>, 1, 64, 0, stream_, data<uint8_t>()));
}

// ---- blocks ----

template <unsigned kBlocks>
__global__ void cross_block_kernel(float* y) {
  y[blockIdx.x * blockDim.x + threadIdx.x] = 1.0f;
  __syncthreads();
  y[512 + blockIdx.x * blockDim.x + threadIdx.x] = y[(blockIdx.x * blockDim.x + threadIdx.x + 1) % (32 * kBlocks)];
}

TEST_F(FaultyKernels, CrossBlock) {
  EXPECT_FAULT(race,
               "cross_block_kernel<2>.*block \\(1,0,0\\), thread \\(31,0,0\\).*reads.*which races: block \\(0,0,0\\), "
               "thread \\(0,0,0\\) wrote there at .*nothing orders the blocks",
               launch(cross_block_kernel<2>, 2, 32, 0, stream_, data<float>()));
  EXPECT_CLEAN(launch(cross_block_kernel<1>, 1, 32, 0, stream_, data<float>()));
}

template <bool kOwn>
__global__ void read_by_all_kernel(float* y) {
  const float sum = kOwn ? y[blockIdx.x] : y[0] + y[1] + y[2];
  if (blockIdx.x == 2) y[kOwn ? 2 : 1] = sum;
}

TEST_F(FaultyKernels, WriteOfWhatOtherBlocksRead) {
  EXPECT_FAULT(race, "read_by_all_kernel<false>.*block \\(2,0,0\\).*writes.*block \\([01],0,0\\), .*read there",
               launch(read_by_all_kernel<false>, 3, 1, 0, stream_, data<float>()));
  EXPECT_CLEAN(launch(read_by_all_kernel<true>, 3, 1, 0, stream_, data<float>()));
}

// ---- atomic operations ----

template <bool kAtomic>
__global__ void count_kernel(int* count) {
  if (kAtomic || threadIdx.x > 0) {
    __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
  } else {
    *count += 1;
  }
}

TEST_F(FaultyKernels, AtomicAgainstPlain) {
  EXPECT_FAULT(race, "count_kernel<false>.*changes by an atomic operation 4 bytes",
               launch(count_kernel<false>, 3, 64, 0, stream_, data<int>()));
  EXPECT_CLEAN(launch(count_kernel<true>, 3, 64, 0, stream_, data<int>()));
}

template <bool kBarrier>
__global__ void count_shared_kernel(int* y) {
  STRIATE_SHARED(int, count, [1]);
  if (threadIdx.x == 0) count[0] = 0;
  __syncthreads();
  __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
  if (kBarrier) __syncthreads();
  if (threadIdx.x == 63) *y = count[0];
}

TEST_F(FaultyKernels, PlainReadAfterAtomics) {
  EXPECT_FAULT(race, "count_shared_kernel<false>.*count \\+ 0, which races",
               launch(count_shared_kernel<false>, 1, 64, 0, stream_, data<int>()));
  EXPECT_CLEAN(launch(count_shared_kernel<true>, 1, 64, 0, stream_, data<int>()));
  EXPECT_EQ(*data<int>(), 64);
}

// ---- bounds ----

template <int kBeyond>
__global__ void copy_kernel(const float* x, float* y, int n) {
  for (int i = static_cast<int>(threadIdx.x); i < n + kBeyond; i += static_cast<int>(blockDim.x)) {
    y[i] = x[i];
  }
}

TEST_F(FaultyKernels, OffByOne) {
  // The memory before x is y's guard.
  auto* y = static_cast<float*>(allocate(100 * sizeof(float), MemoryKind::device));
  auto* x = static_cast<float*>(allocate(100 * sizeof(float), MemoryKind::device));
  set(x, 0, 100 * sizeof(float), stream_);
  EXPECT_FAULT(out_of_bounds,
               "copy_kernel<1>.*reads 4 bytes of global memory, device memory \\+ 400 \\(it has 400 bytes\\), which is "
               "outside",
               launch(copy_kernel<1>, 1, 32, 0, stream_, x, data<float>(), 100));
  EXPECT_FAULT(out_of_bounds, "copy_kernel<1>.*writes 4 bytes of global memory, device memory \\+ 400",
               launch(copy_kernel<1>, 1, 32, 0, stream_, data<float>(), y, 100));
  EXPECT_FAULT(out_of_bounds, "copy_kernel<0>.*reads 4 bytes of global memory, device memory - 4 .*outside",
               launch(copy_kernel<0>, 1, 32, 0, stream_, x - 1, data<float>(), 100));
  EXPECT_CLEAN(launch(copy_kernel<0>, 1, 32, 0, stream_, x, y, 100));
  release(x, MemoryKind::device);
  release(y, MemoryKind::device);
}

TEST_F(FaultyKernels, HostMemory) {
  std::vector<float> x(100);
  EXPECT_FAULT(out_of_bounds, "copy_kernel<0>.*reads 4 bytes of global memory, .*which is outside",
               launch(copy_kernel<0>, 1, 32, 0, stream_, x.data(), data<float>(), 100));
}

template <int kBeyond>
__global__ void shared_bounds_kernel(float* y) {
  STRIATE_SHARED(float, fixed, [32]);
  float* tile = dynamic_shared<float>();
  tile[threadIdx.x + kBeyond] = 1.0f;
  fixed[threadIdx.x] = 1.0f;
  __syncthreads();
  y[threadIdx.x] = fixed[31 - threadIdx.x + kBeyond];
}

TEST_F(FaultyKernels, SharedBounds) {
  EXPECT_FAULT(out_of_bounds, "writes 4 bytes of shared memory, dynamic_shared \\+ 128 \\(it has 128 bytes\\)",
               launch(shared_bounds_kernel<1>, 1, 32, 32 * sizeof(float), stream_, data<float>()));
  EXPECT_FAULT(out_of_bounds, "reads 4 bytes of shared memory, fixed \\+ 128 \\(it has 128 bytes\\)",
               launch(shared_bounds_kernel<1>, 1, 32, 32 * sizeof(float), stream_, data<float>()));
  EXPECT_CLEAN(launch(shared_bounds_kernel<0>, 1, 32, 32 * sizeof(float), stream_, data<float>()));
}

// ---- shared memory that nobody wrote ----

template <bool kAll>
__global__ void uninitialised_kernel(float* y) {
  STRIATE_SHARED(float, tile, [33]);
  tile[threadIdx.x] = 1.0f;
  if (kAll && threadIdx.x == 0) tile[32] = 1.0f;
  __syncthreads();
  y[threadIdx.x] = tile[threadIdx.x + 1];
}

TEST_F(FaultyKernels, UninitialisedShared) {
  // The second block finds what the first one left: on a GPU, too, and it is as wrong.
  EXPECT_FAULT(uninitialised,
               "uninitialised_kernel<false>.*thread \\(31,0,0\\): .*reads 4 bytes of shared memory, tile \\+ 128, "
               "which holds nothing that the block has written",
               launch(uninitialised_kernel<false>, 1, 32, 0, stream_, data<float>()));
  EXPECT_CLEAN(launch(uninitialised_kernel<true>, 1, 32, 0, stream_, data<float>()));
}

// ---- by default a fault ends the process ----

TEST_F(FaultyKernels, EndTheProcessDeathTest) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(launch(same_value_kernel<false>, 1, 8, 0, stream_, data<float>()), "kernel same_value_kernel<false>");
}

}  // namespace
}  // namespace striate::gpu

#endif
