// Reductions over a block, 16-byte accesses and CUDA's own device functions.
#include "kernels/gpu/block.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "kernels/gpu/floats.h"
#include "kernels/gpu/launch.h"
#include "tests/support/visible_memory.h"

namespace striate::gpu {
namespace {

__global__ void sum_kernel(const float* x, float* y) {
  const unsigned i = thread_in_block(), first = blockIdx.x * blockDim.x * blockDim.y;
  // Twice in a row: the second must not overwrite what the first still reads.
  const float once = block_sum(x[first + i]);
  y[first + i] = block_sum(once + static_cast<float>(i));
}

__global__ void max_kernel(const float* x, float* y) {
  y[blockIdx.x * blockDim.x + threadIdx.x] = block_max(x[blockIdx.x * blockDim.x + threadIdx.x]);
}

class BlockReduction : public testing::TestWithParam<unsigned> {};

TEST_P(BlockReduction, SumsIntegersExactlyInEveryThread) {
  const size_t threads = GetParam();
  test::Values<float> x(3 * threads), y(3 * threads, NAN);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13);
  Stream stream;
  const unsigned rows = threads % 64 == 0 ? 2 : 1;
  launch(sum_kernel, 3, dim3(GetParam() / rows, rows), 0, stream, x.data(), y.data());
  stream.synchronize();
  for (size_t block = 0; block < 3; ++block) {
    float once = 0, twice = 0;
    for (size_t i = 0; i < threads; ++i) once += x[block * threads + i];
    for (size_t i = 0; i < threads; ++i) twice += once + static_cast<float>(i);
    ASSERT_LT(twice, 0x1p24f);  // exact
    for (size_t i = 0; i < threads; ++i) ASSERT_EQ(y[block * threads + i], twice) << block << ", " << i;
  }
}

TEST_P(BlockReduction, FindsTheMaximumWhereverItIs) {
  const size_t threads = GetParam();
  test::Values<float> x(threads), y(threads);
  Stream stream;
  for (size_t at = 0; at < threads; at += 31) {
    x.assign(threads, -3.0f);
    x[at] = -1.0f;
    launch(max_kernel, 1, GetParam(), 0, stream, x.data(), y.data());
    stream.synchronize();
    ASSERT_EQ(y, test::Values<float>(threads, -1.0f)) << at;
    x[at] = NAN;
    launch(max_kernel, 1, GetParam(), 0, stream, x.data(), y.data());
    stream.synchronize();
    for (const float v : y) ASSERT_TRUE(std::isnan(v)) << at;
  }
}

INSTANTIATE_TEST_SUITE_P(Threads, BlockReduction, testing::Values(32u, 64u, 96u, 256u, 480u, 1024u),
                         testing::PrintToStringParamName());

TEST(BlockReduction, GivesTheSameBitsEveryTime) {
  std::mt19937 random(3);
  std::normal_distribution<float> values;
  test::Values<float> x(1024), y(1024), z(1024);
  for (float& v : x) v = values(random);
  Stream stream;
  launch(sum_kernel, 1, 1024, 0, stream, x.data(), y.data());
  launch(sum_kernel, 1, 1024, 0, stream, x.data(), z.data());
  stream.synchronize();
  EXPECT_EQ(y, z);
}

#if !defined(__CUDACC__)
TEST(BlockReductionDeathTest, NeedsWholeWarps) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  test::Values<float> x(48), y(48);
  Stream stream;
  EXPECT_DEATH(launch(max_kernel, 1, 48, 0, stream, x.data(), y.data()), "max_kernel.*not whole warps");
}
#endif

__global__ void vector_kernel(const float* x, float* y) {
  float4 v = load_16(x + 4 * threadIdx.x);
  const uint4 w = load_16_constant<uint4>(x + 4 * threadIdx.x);
  v.x = -v.x;
  v.w = __uint_as_float(w.y);
  store_16(y + 4 * threadIdx.x, v);
  const float2 pair = load_8(x + 2);
  if (threadIdx.x == 0) store_8(y + 4 * blockDim.x, make_float2(pair.y, pair.x));
}

__global__ void floats_kernel(const float* x, float* y) {
  Floats<4> sum = Floats<4>::all(0.5f);
  const Floats<4> four = Floats<4>::load(x + 4 * threadIdx.x), same = Floats<4>::load_constant(x + 4 * threadIdx.x);
  const Floats<1> one = Floats<1>::load(x + threadIdx.x), same_one = Floats<1>::load_constant(x + threadIdx.x);
  for (int i = 0; i < sum.count; ++i) sum[i] += four[i] + 10.0f * same[i];
  for (float& v : sum) v += 100.0f * one[0] + 1000.0f * same_one[0];
  sum.store(y + 4 * threadIdx.x);
  one.store(y + 4 * blockDim.x + threadIdx.x);
}

TEST(VectorAccess, FloatsAreFourOrOne) {
  test::Values<float> x(64), y(80);
  for (size_t i = 0; i < 64; ++i) x[i] = static_cast<float>(i);
  Stream stream;
  launch(floats_kernel, 1, 16, 0, stream, x.data(), y.data());
  stream.synchronize();
  for (size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(y[i], 0.5f + 11.0f * static_cast<float>(i) + 1100.0f * static_cast<float>(i / 4)) << i;
  }
  for (size_t i = 0; i < 16; ++i) EXPECT_EQ(y[64 + i], x[i]) << i;
}

TEST(VectorAccess, QuadsAreFourFloatsEachAtSixteenBytes) {
  alignas(16) float x[8] = {};
  EXPECT_TRUE(in_quads(8, {x, x + 4, nullptr}));
  EXPECT_FALSE(in_quads(6, {x}));
  EXPECT_FALSE(in_quads(8, {x, x + 2}));
  EXPECT_FALSE(in_quads(8, {x + 1, x}));
  EXPECT_TRUE(aligned_16(x, x + 4));
  EXPECT_FALSE(aligned_16(x, x + 3));
}

TEST(VectorAccess, MovesWholeVectors) {
  test::Values<float> x(64), y(66);
  for (size_t i = 0; i < 64; ++i) x[i] = static_cast<float>(i + 1);
  Stream stream;
  launch(vector_kernel, 1, 16, 0, stream, x.data(), y.data());
  stream.synchronize();
  for (size_t i = 0; i < 64; ++i) EXPECT_EQ(y[i], i % 4 == 0 ? -x[i] : i % 4 == 3 ? x[i - 2] : x[i]) << i;
  EXPECT_EQ(y[64], x[3]);
  EXPECT_EQ(y[65], x[2]);
}

#if !defined(__CUDACC__) && !defined(STRIATE_CHECKED_HOST)  // where host memory is the first fault
TEST(VectorAccessDeathTest, RefusesAMisalignedAddress) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  alignas(16) float x[12] = {}, y[12] = {};
  Stream stream;
  EXPECT_DEATH(launch(vector_kernel, 1, 1, 0, stream, x + 2, y),
               "vector_kernel.*thread \\(0,0,0\\): access of 16 bytes at .*block_test.cu:.*misaligned");
  EXPECT_DEATH(launch(floats_kernel, 1, 1, 0, stream, x + 2, y),
               "floats_kernel.*thread \\(0,0,0\\): access of 16 bytes at .*block_test.cu:.*misaligned");
}
#endif

__global__ void intrinsics_kernel(int* out) {
  out[0] = __popc(0xF0F0u);
  out[1] = __clz(1);
  out[2] = __clz(0);
  out[3] = __ffs(0);
  out[4] = __ffs(0x50);
  out[5] = static_cast<int>(__umulhi(0xFFFFFFFFu, 0xFFFFFFFFu));
  out[6] = __float_as_int(1.0f);
  out[7] = static_cast<int>(__float_as_uint(-0.0f));
  out[8] = __int_as_float(0x40000000) == 2.0f && __uint_as_float(0xC0000000u) == -2.0f;
  out[9] = min(3, -4) + max(7u, 2u) == 3;
  out[10] = fabsf(rsqrtf(4.0f) - 0.5f) <= 0x1p-24f;
  out[11] = __ldg(out);
}

TEST(Intrinsics, MeanWhatTheProgrammingGuideSays) {
  test::Values<int> out(12);
  Stream stream;
  launch(intrinsics_kernel, 1, 1, 0, stream, out.data());
  stream.synchronize();
  EXPECT_EQ(out, (test::Values<int>{8, 31, 32, 0, 5, -2, 0x3F800000, INT32_MIN, 1, 1, 1, 8}));
}

}  // namespace
}  // namespace striate::gpu
