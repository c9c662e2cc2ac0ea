// mma, lane by lane against the PTX ISA's fragment tables ("Warp Level Matrix Instructions"), whose
// formulae stand here in its own words.
#include "kernels/gpu/matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "kernels/gpu/convert.h"
#include "kernels/gpu/launch.h"
#include "tests/support/fill.h"

namespace striate::gpu {
namespace {

uint32_t bits_of(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return bits;
}

struct Place {
  int row, column;
};

// Multiplicand A of m16n8k8, .tf32: a0…a3.
Place tf32_a(int lane, int i) {
  const int group = lane >> 2, thread_in_group = lane % 4;
  return {i == 0 || i == 2 ? group : group + 8, i == 0 || i == 1 ? thread_in_group : thread_in_group + 4};
}
// Multiplicand B of m16n8k8, .tf32: b0, b1.
Place tf32_b(int lane, int i) {
  const int group = lane >> 2, thread_in_group = lane % 4;
  return {i == 0 ? thread_in_group : thread_in_group + 4, group};
}
// Multiplicand A of m16n8k16, .bf16: a0…a7.
Place bf16_a(int lane, int i) {
  const int group = lane >> 2, thread_in_group = lane % 4;
  const bool upper = (0 <= i && i < 2) || (4 <= i && i < 6);
  return {upper ? group : group + 8, i < 4 ? thread_in_group * 2 + (i & 1) : thread_in_group * 2 + (i & 1) + 8};
}
// Multiplicand B of m16n8k16, .bf16: b0…b3.
Place bf16_b(int lane, int i) {
  const int group = lane >> 2, thread_in_group = lane % 4;
  return {i < 2 ? thread_in_group * 2 + (i & 1) : thread_in_group * 2 + (i & 1) + 8, group};
}
// Accumulators of m16n8k8 and m16n8k16: c0…c3.
Place accumulator(int lane, int i) {
  const int group = lane >> 2, thread_in_group = lane % 4;
  return {i < 2 ? group : group + 8, thread_in_group * 2 + (i & 1)};
}

struct Tf32 {
  static constexpr int kDepth = 8;
  static test::Values<uint32_t> pack_a(const test::Values<float>& m) { return pack(m, tf32_a, 4, kDepth); }
  static test::Values<uint32_t> pack_b(const test::Values<float>& m) { return pack(m, tf32_b, 2, 8); }

 private:
  static test::Values<uint32_t> pack(const test::Values<float>& m, Place (*place)(int, int), int words, int columns) {
    test::Values<uint32_t> fragments;
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < words; ++i) {
        const Place p = place(lane, i);
        fragments.push_back(bits_of(m[static_cast<size_t>(p.row * columns + p.column)]));
      }
    }
    return fragments;
  }
};

struct Bf16 {
  static constexpr int kDepth = 16;
  static test::Values<uint32_t> pack_a(const test::Values<float>& m) { return pack(m, bf16_a, 4, kDepth); }
  static test::Values<uint32_t> pack_b(const test::Values<float>& m) { return pack(m, bf16_b, 2, 8); }

 private:
  static test::Values<uint32_t> pack(const test::Values<float>& m, Place (*place)(int, int), int words, int columns) {
    test::Values<uint32_t> fragments;
    for (int lane = 0; lane < 32; ++lane) {
      for (int word = 0; word < words; ++word) {
        const Place low = place(lane, 2 * word), high = place(lane, 2 * word + 1);
        const uint32_t low_bits = bits_of(m[static_cast<size_t>(low.row * columns + low.column)]);
        const uint32_t high_bits = bits_of(m[static_cast<size_t>(high.row * columns + high.column)]);
        fragments.push_back((high_bits & 0xFFFF0000u) | low_bits >> 16);
      }
    }
    return fragments;
  }
};

__device__ void multiply(Tf32, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma_m16n8k8_tf32(d, a, b);
}
__device__ void multiply(Bf16, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  mma_m16n8k16_bf16(d, a, b);
}

template <typename Format>
__global__ void mma_kernel(const uint32_t* a, const uint32_t* b, float* d) {
  uint32_t a_fragment[4], b_fragment[2];
  float sums[4];
  for (unsigned i = 0; i < 4; ++i) a_fragment[i] = a[threadIdx.x * 4 + i];
  for (unsigned i = 0; i < 2; ++i) b_fragment[i] = b[threadIdx.x * 2 + i];
  for (unsigned i = 0; i < 4; ++i) sums[i] = d[threadIdx.x * 4 + i];
  multiply(Format(), sums, a_fragment, b_fragment);
  for (unsigned i = 0; i < 4; ++i) d[threadIdx.x * 4 + i] = sums[i];
}

/// c + a·b by one mma; all as dense matrices.
template <typename Format>
test::Values<float> mma(const test::Values<float>& a, const test::Values<float>& b, const test::Values<float>& c) {
  test::Values<float> fragments(32 * 4), result(16 * 8, NAN);
  const auto at = [](int lane, int i) {
    const Place p = accumulator(lane, i);
    return static_cast<size_t>(p.row * 8 + p.column);
  };
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) fragments[static_cast<size_t>(lane * 4 + i)] = c[at(lane, i)];
  }
  const test::Values<uint32_t> a_words = Format::pack_a(a), b_words = Format::pack_b(b);
  Stream stream;
  launch(mma_kernel<Format>, 1, 32, 0, stream, a_words.data(), b_words.data(), fragments.data());
  stream.synchronize();
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) result[at(lane, i)] = fragments[static_cast<size_t>(lane * 4 + i)];
  }
  return result;
}

test::Values<float> integers(int64_t count, uint32_t seed) { return test::small_integers<float>(count, seed, -8, 8); }

template <typename Format>
class Mma : public testing::Test {};
using Formats = testing::Types<Tf32, Bf16>;
TYPED_TEST_SUITE(Mma, Formats);

TYPED_TEST(Mma, SmallIntegersGiveTheProductBitForBit) {
  constexpr int K = TypeParam::kDepth;
  for (uint32_t seed = 0; seed < 60; seed += 3) {
    const auto a = integers(16 * K, seed), b = integers(K * 8, seed + 1), c = integers(16 * 8, seed + 2);
    const auto d = mma<TypeParam>(a, b, c);
    for (size_t m = 0; m < 16; ++m) {
      for (size_t n = 0; n < 8; ++n) {
        double expected = c[m * 8 + n];
        for (size_t k = 0; k < K; ++k) expected += double{a[m * K + k]} * b[k * 8 + n];
        ASSERT_EQ(d[m * 8 + n], expected) << m << ", " << n;
      }
    }
  }
}

// A single 1 in A picks a row of B: no permutation of k that A and B share can hide.
TYPED_TEST(Mma, EveryElementOfAAndBIsWhereTheTableSays) {
  constexpr int K = TypeParam::kDepth;
  for (size_t m = 0; m < 16; ++m) {
    for (size_t k = 0; k < K; ++k) {
      test::Values<float> a(16 * K), b(K * 8), c(16 * 8);
      a[m * K + k] = 1;
      for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i + 1);
      const auto d = mma<TypeParam>(a, b, c);
      for (size_t i = 0; i < d.size(); ++i) ASSERT_EQ(d[i], i / 8 == m ? b[k * 8 + i % 8] : 0.0f) << m << ", " << k;
    }
  }
}

#if !defined(__CUDACC__)
// The host's own order of sums; a GPU's is not specified.
TYPED_TEST(Mma, SumsInTheOrderOfKRoundedToFloatEachTime) {
  constexpr int K = TypeParam::kDepth;
  auto a = test::uniform<float>(16 * K, 1), b = test::uniform<float>(K * 8, 2);
  const auto c = test::uniform<float>(16 * 8, 3);
  for (float& x : a) x = from_bf16(to_bf16(x));
  for (float& x : b) x = from_bf16(to_bf16(x));
  const auto d = mma<TypeParam>(a, b, c);
  for (size_t i = 0; i < d.size(); ++i) {
    float expected = c[i];
    for (size_t k = 0; k < K; ++k) expected = std::fmaf(a[i / 8 * K + k], b[k * 8 + i % 8], expected);
    EXPECT_EQ(d[i], expected);
  }
}
#endif

TYPED_TEST(Mma, NaNAndInfinityComeThroughWhereTheyBelong) {
  constexpr int K = TypeParam::kDepth;
  test::Values<float> a(16 * K, 1.0f), b(K * 8, 1.0f), c(16 * 8);
  a[3 * K + 2] = NAN;
  b[1 * 8 + 5] = INFINITY;
  const auto d = mma<TypeParam>(a, b, c);
  for (size_t i = 0; i < d.size(); ++i) {
    if (i / 8 == 3) {
      EXPECT_TRUE(std::isnan(d[i]));
    } else {
      EXPECT_EQ(d[i], i % 8 == 5 ? INFINITY : static_cast<float>(K));
    }
  }
}

TEST(MmaTf32, CutsOffTheLowerThirteenBits) {
  test::Values<float> a(16 * 8), b(8 * 8), c(16 * 8);
  const uint32_t one = 0x3F800000u;
  for (const uint32_t low : {0u, 1u, 0x1000u, 0x1FFFu, 0x2000u}) {
    const uint32_t bits = one | low;
    std::memcpy(&a[0], &bits, sizeof(bits));
    b[0] = 1;
    EXPECT_EQ(mma<Tf32>(a, b, c)[0], low == 0x2000u ? 1 + 0x1p-10f : 1.0f) << low;
    b[0] = a[0];
    a[0] = 1;
    EXPECT_EQ(mma<Tf32>(a, b, c)[0], low == 0x2000u ? 1 + 0x1p-10f : 1.0f) << low;
  }
}

__device__ void multiply_all(Tf32, float (&d)[3][5][4], const uint32_t (&a)[3][4], const uint32_t (&b)[5][2]) {
  mma_m16n8k8_tf32(d, a, b);
}
__device__ void multiply_all(Bf16, float (&d)[3][5][4], const uint32_t (&a)[3][4], const uint32_t (&b)[5][2]) {
  mma_m16n8k16_bf16(d, a, b);
}

template <typename Format>
__global__ void tile_kernel(const uint32_t* words, float* together, float* one_by_one) {
  uint32_t a[3][4], b[5][2];
  float d[3][5][4], e[3][5][4];
  const unsigned thread = threadIdx.x;
  for (unsigned m = 0; m < 3; ++m) {
    for (unsigned i = 0; i < 4; ++i) a[m][i] = words[(thread * 8 + m) * 4 + i];
  }
  for (unsigned n = 0; n < 5; ++n) {
    for (unsigned i = 0; i < 2; ++i) b[n][i] = words[(thread * 8 + 3 + n) * 4 + i];
  }
  for (unsigned i = 0; i < 60; ++i) d[i / 20][i / 4 % 5][i % 4] = e[i / 20][i / 4 % 5][i % 4] = static_cast<float>(i);
  multiply_all(Format(), d, a, b);
  for (unsigned m = 0; m < 3; ++m) {
    for (unsigned n = 0; n < 5; ++n) multiply(Format(), e[m][n], a[m], b[n]);
  }
  for (unsigned i = 0; i < 60; ++i) together[thread * 60 + i] = d[i / 20][i / 4 % 5][i % 4];
  for (unsigned i = 0; i < 60; ++i) one_by_one[thread * 60 + i] = e[i / 20][i / 4 % 5][i % 4];
}

TYPED_TEST(Mma, ATileIsItsProductsOneByOne) {
  const auto values = test::uniform<float>(64 * 8 * 4, 7);
  test::Values<uint32_t> words;
  for (const float x : values) words.push_back(to_bf16x2(x, -0.5f * x));
  test::Values<float> together(64 * 60, NAN), one_by_one(64 * 60, 0.0f);
  Stream stream;
  launch(tile_kernel<TypeParam>, 1, 64, 0, stream, words.data(), together.data(), one_by_one.data());
  stream.synchronize();
  EXPECT_EQ(together, one_by_one);
  EXPECT_NE(together[1], 1.0f);
}

#if !defined(__CUDACC__)
__global__ void half_warp_kernel() {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x < 16) mma_m16n8k8_tf32(d, a, b);
}

TEST(MmaDeathTest, NeedsTheWholeWarp) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  Stream stream;
  EXPECT_DEATH(launch(half_warp_kernel, 1, 32, 0, stream), "left the kernel while lanes 0x0000ffff .*mma_m16n8k8_tf32");
}
#endif

}  // namespace
}  // namespace striate::gpu
