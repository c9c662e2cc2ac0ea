// Faults of accesses that the compiler does not see: through cp.async, ldmatrix and the loads and stores of 16 bytes.
#if defined(STRIATE_CHECKED_HOST)

#include "kernels/gpu/async_copy.h"
#include "kernels/gpu/floats.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/matrix.h"
#include "kernels/gpu/shared.h"
#include "kernels/gpu/warp.h"
#include "tests/kernels/gpu/host/faulty_kernel.h"

namespace striate::gpu {
namespace {

class FaultyWrappedAccesses : public FaultyKernelTest {};

// ---- the line that is named ----

template <typename Access>
__global__ void one_access_kernel(float* p, float* q, Access access) {
  access(p, q);
}

// Each wrapper reads or writes beyond p's end, by itself or within another: the line named is the kernel's own.
TEST_F(FaultyWrappedAccesses, AreNamedByTheKernelsLine) {
  auto* p = static_cast<float*>(allocate(64, MemoryKind::device));
  float* q = data<float>();
  const auto expect_line = [&](int line, auto access) {
    CollectedFaults collected;
    launch(one_access_kernel<decltype(access)>, 1, 1, 0, stream_, p + 16, q, access);
    ASSERT_EQ(collected.faults().size(), 1u) << "line " << line;
    const FaultReport& fault = collected.faults()[0];
    EXPECT_EQ(fault.fault, Fault::out_of_bounds);
    EXPECT_EQ(fault.file, "tests/kernels/gpu/host/faulty_wrapped_accesses_test.cu");
    EXPECT_EQ(fault.line, line);
    const std::string words = "at " + fault.file + ":" + std::to_string(line) + " it ";
    EXPECT_NE(fault.text.find(words), std::string::npos) << fault.text;
  };
  expect_line(__LINE__, [](float* x, float* y) { y[0] = load_16(x).x; });
  expect_line(__LINE__, [](float* x, float* y) { y[0] = load_16_constant(x).x; });
  expect_line(__LINE__, [](float* x, float* y) { y[0] = load_8(x).x; });
  expect_line(__LINE__, [](float* x, float*) { store_16(x, make_float4(1, 2, 3, 4)); });
  expect_line(__LINE__, [](float* x, float*) { store_8(x, make_float2(1, 2)); });
  expect_line(__LINE__, [](float* x, float* y) { y[0] = Floats<4>::load(x)[1]; });
  expect_line(__LINE__, [](float* x, float* y) { y[0] = Floats<4>::load_constant(x)[1]; });
  expect_line(__LINE__, [](float* x, float* y) { y[0] = Floats<1>::load(x)[0]; });
  expect_line(__LINE__, [](float* x, float*) { Floats<4>::all(1.0f).store(x); });
  expect_line(__LINE__, [](float* x, float*) { Floats<1>::all(1.0f).store(x); });
  release(p, MemoryKind::device);
}

// ---- cp.async ----

enum class Missing { nothing, wait, barrier_after_wait, barrier_after_read };

// Each thread copies 16 bytes a tile and adds up what its neighbour copied, in a pipeline of three stages.
template <Missing kMissing>
__global__ void pipeline_kernel(const float* x, int tiles, float* y) {
  constexpr int kStages = 3;
  float4* shared = dynamic_shared<float4>();
  const auto copy = [&](int tile) {
    if (tile < tiles) {
      const unsigned width = blockDim.x;
      cp_async_16(shared + static_cast<unsigned>(tile) % kStages * width + threadIdx.x,
                  x + (static_cast<unsigned>(tile) * width + threadIdx.x) * 4, true);
    }
    cp_async_commit();
  };
  // One stage less ahead leaves one that nobody reads any more; all stages need a barrier after the last read.
  constexpr int kAhead = kMissing == Missing::barrier_after_read ? kStages : kStages - 1;
  for (int tile = 0; tile < kAhead; ++tile) copy(tile);
  float sum = 0;
  for (int tile = 0; tile < tiles; ++tile) {
    if (kMissing != Missing::wait) cp_async_wait<kStages - 2>();
    if (kMissing != Missing::barrier_after_wait) __syncthreads();
    if (kAhead < kStages) copy(tile + kAhead);
    const float4 value = load_16(&shared[static_cast<unsigned>(tile) % kStages * blockDim.x + (threadIdx.x ^ 1)]);
    sum += value.x + value.y + value.z + value.w;
    if (kAhead == kStages) copy(tile + kAhead);
  }
  cp_async_wait<0>();
  y[threadIdx.x] = sum;
}

TEST_F(FaultyWrappedAccesses, AsyncCopies) {
  float *x = data<float>(), *y = x + 2048;
  constexpr size_t kShared = 3 * 64 * sizeof(float4);
  EXPECT_FAULT(race,
               "pipeline_kernel<Missing::wait>.*reads 16 bytes of shared memory, .*which races: .* writes there by a "
               "cp.async at tests/kernels/gpu/host/faulty_wrapped_accesses_test.cu:[0-9]+, .*not been waited for",
               launch(pipeline_kernel<Missing::wait>, 1, 64, kShared, stream_, x, 2, y));
  EXPECT_FAULT(race, "pipeline_kernel<Missing::barrier_after_wait>.*dynamic_shared .*, which races: ",
               launch(pipeline_kernel<Missing::barrier_after_wait>, 1, 64, kShared, stream_, x, 2, y));
  // The copy of the tile after next goes where others may still read.
  EXPECT_FAULT(race, "pipeline_kernel<Missing::barrier_after_read>.*(writes by a cp.async 16 bytes|reads 16 bytes)",
               launch(pipeline_kernel<Missing::barrier_after_read>, 1, 64, kShared, stream_, x, 5, y));
  EXPECT_CLEAN(launch(pipeline_kernel<Missing::nothing>, 1, 64, kShared, stream_, x, 2, y));
}

// The thread itself sees its copy after the wait, and not before.
template <bool kWait>
__global__ void own_copy_kernel(const float* x, float* y) {
  float* shared = dynamic_shared<float>();
  cp_async_4(shared + threadIdx.x, x + threadIdx.x, true);
  cp_async_commit();
  if (kWait) cp_async_wait<0>();
  y[threadIdx.x] = shared[threadIdx.x];
  cp_async_wait<0>();
}

TEST_F(FaultyWrappedAccesses, OwnAsyncCopy) {
  EXPECT_FAULT(race, "own_copy_kernel<false>.*the thread itself writes there by a cp.async at .*it has not waited for",
               launch(own_copy_kernel<false>, 1, 32, 32 * sizeof(float), stream_, data<float>(), data<float>() + 64));
  EXPECT_CLEAN(launch(own_copy_kernel<true>, 1, 32, 32 * sizeof(float), stream_, data<float>(), data<float>() + 64));
}

// ---- ldmatrix ----

// Every lane writes the row that it names, yet its words go to four lanes.
template <bool kSync>
__global__ void own_row_kernel(float* y) {
  uint4* rows = dynamic_shared<uint4>();
  store_16(&rows[threadIdx.x], make_uint4(1, 2, 3, 4));
  if (kSync) __syncwarp();
  uint32_t r[4];
  ldmatrix_x4(r, &rows[threadIdx.x]);
  y[threadIdx.x] = static_cast<float>(r[0] + r[1] + r[2] + r[3]);
}

TEST_F(FaultyWrappedAccesses, LdmatrixNeedsSyncwarp) {
  EXPECT_FAULT(race, "own_row_kernel<false>.*reads 4 bytes of shared memory, dynamic_shared .*wrote there",
               launch(own_row_kernel<false>, 1, 32, 32 * sizeof(uint4), stream_, data<float>()));
  EXPECT_CLEAN(launch(own_row_kernel<true>, 1, 32, 32 * sizeof(uint4), stream_, data<float>()));
}

}  // namespace
}  // namespace striate::gpu

#endif
