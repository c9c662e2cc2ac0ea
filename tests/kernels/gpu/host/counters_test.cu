// The counters of the checking build (preset host-race), against what the definitions give by hand.
#if defined(STRIATE_CHECKED_HOST)

#include "kernels/gpu/host/checked/counters.h"

#include <gtest/gtest.h>

#include "kernels/error.h"
#include "kernels/gpu/async_copy.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/matrix.h"
#include "kernels/gpu/memory.h"
#include "kernels/gpu/shared.h"
#include "kernels/gpu/vector.h"
#include "kernels/gpu/warp.h"

namespace striate::gpu {
namespace {

using host::checked::counters;
using host::checked::Counting;
using host::checked::KernelCounters;
using host::checked::LineCounters;

class CheckedCounters : public testing::Test {
 protected:
  CheckedCounters() { set(data_, 0, kBytes, stream_); }
  ~CheckedCounters() override { release(data_, MemoryKind::managed); }
  float* data() { return static_cast<float*>(data_); }

  static constexpr size_t kBytes = 256 << 10;
  Stream stream_;

 private:
  void* data_ = allocate(kBytes, MemoryKind::managed);
};

/// One 4-byte load a lane, `stride` floats apart, `offset` floats from a sector's start.
__global__ void strided_load_kernel(const float* x, float* y, int stride, int offset) {
  const float value = x[static_cast<int>(threadIdx.x) * stride + offset];
  if (value != 0) y[0] = value;
}

TEST_F(CheckedCounters, SectorsOfAGlobalRequest) {
  struct Case {
    int stride, offset;
    uint64_t bytes, sectors, ideal;
  };
  // An offset costs a sector; every second float twice as many; a stride of 8 and more floats a sector a lane, and that
  // is ideal for runs of 4 bytes: it is bytes / (32·sectors) that shows it. All lanes at one address: one sector.
  for (const Case& c : {Case{1, 0, 128, 4, 4}, Case{1, 3, 128, 5, 4}, Case{2, 0, 128, 8, 32}, Case{8, 0, 128, 32, 32},
                        Case{32, 0, 128, 32, 32}, Case{0, 0, 4, 1, 1}}) {
    const Counting counting;
    launch(strided_load_kernel, 2, 64, 0, stream_, data(), data(), c.stride, c.offset);
    const KernelCounters k = counters("strided_load_kernel");
    EXPECT_EQ(k.launches, 1u);
    EXPECT_EQ(k.blocks, 2u);
    EXPECT_EQ(k.global_read.requests, 4u);
    EXPECT_EQ(k.global_read.bytes, 4 * c.bytes) << c.stride;
    EXPECT_EQ(k.global_read.sectors, 4 * c.sectors) << c.stride;
    EXPECT_EQ(k.global_read.ideal_sectors, 4 * c.ideal) << c.stride;
    // Two blocks read the same.
    EXPECT_EQ(k.global_read.block_bytes, 2 * k.global_read.launch_bytes);
    EXPECT_EQ(k.global_read.launch_bytes, c.stride == 0 ? 4u : 256u);
    EXPECT_EQ(k.global_write.requests, 0u);
  }
}

// The fault "uncoalesced load": a row a thread; its twin reads column by column.
template <bool kCoalesced>
__global__ void row_sums_kernel(const float* x, float* y) {
  float sum = 0;
  for (int i = 0; i < 32; ++i) sum += kCoalesced ? x[i * 32 + threadIdx.x] : x[threadIdx.x * 32 + i];
  y[threadIdx.x] = sum;
}

TEST_F(CheckedCounters, NameTheLineOfAnUncoalescedLoad) {
  const Counting counting;
  launch(row_sums_kernel<false>, 1, 32, 0, stream_, data(), data() + 4096);
  launch(row_sums_kernel<true>, 1, 32, 0, stream_, data(), data() + 4096);
  const KernelCounters faulty = counters("row_sums_kernel<false>"), good = counters("row_sums_kernel<true>");
  EXPECT_EQ(good.global_read.sectors, 32u * 4);
  EXPECT_EQ(good.global_read.bytes, good.global_read.sectors * 32);
  EXPECT_EQ(faulty.global_read.requests, 32u);
  EXPECT_EQ(faulty.global_read.sectors, 32u * 32);
  EXPECT_EQ(faulty.global_read.bytes, 32u * 128);
  int named = 0;
  for (const LineCounters& line : faulty.lines) {
    if (line.global_read.requests == 0) continue;
    EXPECT_EQ(line.file, "tests/kernels/gpu/host/counters_test.cu");
    EXPECT_GT(line.line, 0);
    ++named;
  }
  EXPECT_EQ(named, 1);
}

/// A store and a load of 4 bytes a lane, `stride` floats apart.
__global__ void shared_stride_kernel(int stride, float* y) {
  float* tile = dynamic_shared<float>();
  tile[static_cast<int>(threadIdx.x) * stride] = 1.0f;
  const float value = tile[static_cast<int>(threadIdx.x) * stride];
  if (value != 1.0f) y[0] = value;
}

TEST_F(CheckedCounters, WavefrontsOfASharedRequest) {
  struct Case {
    int stride;
    uint64_t wavefronts;
  };
  // gcd(stride, 32) lanes share a bank.
  for (const Case& c : {Case{1, 1}, Case{2, 2}, Case{4, 4}, Case{32, 32}, Case{33, 1}, Case{3, 1}}) {
    const Counting counting;
    launch(shared_stride_kernel, 1, 32, 33 * 32 * sizeof(float), stream_, c.stride, data());
    const KernelCounters k = counters("shared_stride_kernel");
    EXPECT_EQ(k.shared_write.requests, 1u);
    EXPECT_EQ(k.shared_write.wavefronts, c.wavefronts) << c.stride;
    EXPECT_EQ(k.shared_write.ideal_wavefronts, 1u);
    EXPECT_EQ(k.shared_read.wavefronts, c.wavefronts) << c.stride;
    EXPECT_EQ(k.shared_read.ideal_wavefronts, 1u);
    EXPECT_EQ(k.shared_read.bytes, 128u);
  }
}

// The fault "stride-32 bank conflict" where it mostly is, a transposed tile; its twin has a column more.
template <int kColumns>
__global__ void transpose_kernel(const float* x, float* y) {
  STRIATE_SHARED(float, tile, [32][kColumns]);
  for (unsigned row = threadIdx.y; row < 32; row += 8) tile[row][threadIdx.x] = x[row * 32 + threadIdx.x];
  __syncthreads();
  for (unsigned row = threadIdx.y; row < 32; row += 8) y[row * 32 + threadIdx.x] = tile[threadIdx.x][row];
}

TEST_F(CheckedCounters, BankConflictOfATranspose) {
  const Counting counting;
  launch(transpose_kernel<32>, 1, dim3(32, 8), 0, stream_, data(), data() + 4096);
  launch(transpose_kernel<33>, 1, dim3(32, 8), 0, stream_, data(), data() + 4096);
  const KernelCounters faulty = counters("transpose_kernel<32>"), good = counters("transpose_kernel<33>");
  EXPECT_EQ(good.barriers, 1u);
  EXPECT_EQ(good.shared_read.requests, 32u);
  EXPECT_EQ(good.shared_read.wavefronts, good.shared_read.ideal_wavefronts);
  EXPECT_EQ(faulty.shared_read.wavefronts, 32 * faulty.shared_read.ideal_wavefronts);
  EXPECT_EQ(faulty.shared_write.wavefronts, faulty.shared_write.ideal_wavefronts);
  for (const KernelCounters* k : {&faulty, &good}) {
    EXPECT_EQ(k->global_read.sectors, k->global_read.ideal_sectors);
    EXPECT_EQ(k->global_write.sectors, 128u);
    EXPECT_EQ(k->global_read.launch_bytes, 4096u);
    EXPECT_EQ(k->global_write.launch_bytes, 4096u);
  }
}

/// 16 bytes a lane, `stride` of them apart.
__global__ void quads_kernel(const float* x, int stride, float* y) {
  float4* tile = dynamic_shared<float4>();
  const float4 value = load_16(x + 4 * threadIdx.x);
  tile[static_cast<int>(threadIdx.x) * stride] = value;
  const float4 back = load_16(&tile[static_cast<int>(threadIdx.x) * stride]);
  store_16(y + 4 * threadIdx.x, back);
}

TEST_F(CheckedCounters, QuarterWarpsOfSixteenByteAccesses) {
  for (const int stride : {1, 2, 8}) {
    const Counting counting;
    launch(quads_kernel, 1, 32, 8 * 32 * sizeof(float4), stream_, data(), stride, data() + 4096);
    const KernelCounters k = counters("quads_kernel");
    EXPECT_EQ(k.global_read.requests, 1u);
    EXPECT_EQ(k.global_read.sectors, 16u);
    EXPECT_EQ(k.global_write.sectors, 16u);
    EXPECT_EQ(k.shared_write.requests, 1u);  // a float4 is one access
    EXPECT_EQ(k.shared_write.wavefronts, 4u * static_cast<uint64_t>(stride));
    EXPECT_EQ(k.shared_read.wavefronts, 4u * static_cast<uint64_t>(stride));
    EXPECT_EQ(k.shared_read.ideal_wavefronts, 4u);
  }
}

__global__ void halves_kernel(bool same, float* y) {
  float2* tile = dynamic_shared<float2>();
  store_8(&tile[threadIdx.x], make_float2(1, 2));
  __syncwarp();
  const float2 back = load_8(&tile[same ? 0 : threadIdx.x]);
  store_8(y + 2 * threadIdx.x, back);
}

TEST_F(CheckedCounters, HalfWarpsOfEightByteAccesses) {
  for (const bool same : {false, true}) {
    const Counting counting;
    launch(halves_kernel, 1, 32, 32 * sizeof(float2), stream_, same, data());
    const KernelCounters k = counters("halves_kernel");
    EXPECT_EQ(k.shared_write.wavefronts, 2u);
    EXPECT_EQ(k.shared_write.ideal_wavefronts, 2u);
    EXPECT_EQ(k.shared_read.wavefronts, same ? 1u : 2u);
    EXPECT_EQ(k.shared_read.ideal_wavefronts, same ? 1u : 2u);
  }
}

/// 32 rows of `pitch` bytes, copied by cp.async (the upper half is padding), multiplied.
__global__ void matrix_kernel(const char* x, int pitch, float* y) {
  char* tile = dynamic_shared<char>();
  char* row = tile + static_cast<int>(threadIdx.x) * pitch;
  cp_async_16(row, x + 16 * threadIdx.x, threadIdx.x < 16);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  uint32_t a[4];
  ldmatrix_x4(a, row);
  const uint32_t b[2] = {a[0], a[1]};
  float d[4] = {};
  mma_m16n8k16_bf16(d, a, b);
  y[threadIdx.x] = d[0];
}

TEST_F(CheckedCounters, CopiesMatricesAndProducts) {
  for (const int pitch : {16, 32, 128, 144}) {
    const Counting counting;
    launch(matrix_kernel, 1, 32, 32 * 144, stream_, reinterpret_cast<const char*>(data()), pitch, data() + 4096);
    const KernelCounters k = counters("matrix_kernel");
    EXPECT_EQ(k.flops, 2u * 16 * 8 * 16);
    EXPECT_EQ(k.barriers, 1u);
    // Lanes that load padding ask for nothing.
    EXPECT_EQ(k.global_read.requests, 1u);
    EXPECT_EQ(k.global_read.bytes, 256u);
    EXPECT_EQ(k.global_read.sectors, 8u);
    EXPECT_EQ(k.shared_read.requests, 1u);
    EXPECT_EQ(k.shared_read.ideal_wavefronts, 4u);
    // Eight rows of a matrix: 16 and 144 bytes apart they fill all banks once; 32 apart, half of them twice; 128 apart
    // all are in the same four.
    const uint64_t a_matrix = pitch == 128 ? 8 : pitch == 32 ? 2 : 1;
    EXPECT_EQ(k.shared_read.wavefronts, 4 * a_matrix) << pitch;
    EXPECT_EQ(k.shared_write.wavefronts, 4 * a_matrix) << pitch;
    EXPECT_EQ(k.shared_write.ideal_wavefronts, 4u);
  }
}

// Lanes leave the loop one by one: the k-th turn's request has the lanes that are still there.
__global__ void ragged_kernel(const float* x, float* y) {
  float sum = 0;
  for (unsigned i = 0; i <= threadIdx.x; ++i) sum += x[i * 32 + threadIdx.x];
  y[threadIdx.x] = sum;
}

TEST_F(CheckedCounters, TurnsOfALoopThatLanesLeave) {
  const Counting counting;
  launch(ragged_kernel, 1, 32, 0, stream_, data(), data() + 4096);
  const KernelCounters k = counters("ragged_kernel");
  EXPECT_EQ(k.global_read.requests, 32u);
  EXPECT_EQ(k.global_read.bytes, 4u * (32 * 33 / 2));
  EXPECT_EQ(k.global_read.sectors, 8u * (1 + 2 + 3 + 4));  // of the lanes from i on: ceil((32 − i) / 8)
}

TEST_F(CheckedCounters, RunASampleOfTheBlocks) {
  const Counting counting;
  {
    const host::checked::BlockSample sample(3);
    launch(strided_load_kernel, dim3(5, 4), 32, 0, stream_, data(), data(), 1, 0);
    launch(strided_load_kernel, 2, 64, 128, stream_, data(), data(), 1, 0);
  }
  launch(shared_stride_kernel, 7, 32, 33 * 32 * sizeof(float), stream_, 1, data());
  const KernelCounters k = counters("strided_load_kernel");
  EXPECT_EQ(k.blocks, 5u);
  EXPECT_EQ(k.grid_blocks, 22u);
  EXPECT_EQ(counters("shared_stride_kernel").blocks, 7u);
  const auto& launches = host::checked::counted_launches();
  ASSERT_EQ(launches.size(), 3u);
  EXPECT_EQ(launches[0].kernel, "strided_load_kernel");
  EXPECT_EQ(launches[0].grid.count(), 20u);
  EXPECT_EQ(launches[1].threads, 64u);
  EXPECT_EQ(launches[1].shared_bytes, 128u);
  EXPECT_NE(launches[0].function.find("RunASampleOfTheBlocks"), std::string::npos);
}

TEST_F(CheckedCounters, KnowOnlyWhatWasCounted) {
  launch(ragged_kernel, 1, 32, 0, stream_, data(), data() + 4096);
  const Counting counting;
  EXPECT_THROW(counters("ragged_kernel"), Error);
  EXPECT_TRUE(host::checked::counted_kernels().empty());
}

}  // namespace
}  // namespace striate::gpu

#endif
