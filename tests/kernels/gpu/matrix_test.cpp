// ldmatrix and mma, lane by lane against the PTX ISA's fragment tables ("Warp Level Matrix Instructions"), whose
// formulae stand here in its own words.
#include "kernels/gpu/matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kernels/gpu/convert.h"
#include "kernels/gpu/launch.h"
#include "kernels/gpu/shared.h"
#include "kernels/gpu/warp.h"

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
  static std::vector<uint32_t> pack_a(const std::vector<float>& m) { return pack(m, tf32_a, 4, kDepth); }
  static std::vector<uint32_t> pack_b(const std::vector<float>& m) { return pack(m, tf32_b, 2, 8); }

 private:
  static std::vector<uint32_t> pack(const std::vector<float>& m, Place (*place)(int, int), int words, int columns) {
    std::vector<uint32_t> fragments;
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
  static std::vector<uint32_t> pack_a(const std::vector<float>& m) { return pack(m, bf16_a, 4, kDepth); }
  static std::vector<uint32_t> pack_b(const std::vector<float>& m) { return pack(m, bf16_b, 2, 8); }

 private:
  static std::vector<uint32_t> pack(const std::vector<float>& m, Place (*place)(int, int), int words, int columns) {
    std::vector<uint32_t> fragments;
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
std::vector<float> mma(const std::vector<float>& a, const std::vector<float>& b, const std::vector<float>& c) {
  std::vector<float> fragments(32 * 4), result(16 * 8, NAN);
  const auto at = [](int lane, int i) {
    const Place p = accumulator(lane, i);
    return static_cast<size_t>(p.row * 8 + p.column);
  };
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) fragments[static_cast<size_t>(lane * 4 + i)] = c[at(lane, i)];
  }
  const std::vector<uint32_t> a_words = Format::pack_a(a), b_words = Format::pack_b(b);
  Stream stream;
  launch(mma_kernel<Format>, 1, 32, 0, stream, a_words.data(), b_words.data(), fragments.data());
  stream.synchronize();
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) result[at(lane, i)] = fragments[static_cast<size_t>(lane * 4 + i)];
  }
  return result;
}

std::vector<float> integers(size_t count, std::mt19937& random) {
  std::uniform_int_distribution<int> values(-8, 8);
  std::vector<float> result(count);
  for (float& x : result) x = static_cast<float>(values(random));
  return result;
}

std::vector<float> reals(size_t count, std::mt19937& random) {
  std::normal_distribution<float> values;
  std::vector<float> result(count);
  for (float& x : result) x = values(random);
  return result;
}

template <typename Format>
class Mma : public testing::Test {};
using Formats = testing::Types<Tf32, Bf16>;
TYPED_TEST_SUITE(Mma, Formats);

TYPED_TEST(Mma, SmallIntegersGiveTheProductBitForBit) {
  constexpr int K = TypeParam::kDepth;
  std::mt19937 random(5);
  for (int repeat = 0; repeat < 20; ++repeat) {
    const auto a = integers(16 * K, random), b = integers(K * 8, random), c = integers(16 * 8, random);
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
      std::vector<float> a(16 * K), b(K * 8), c(16 * 8);
      a[m * K + k] = 1;
      for (size_t i = 0; i < b.size(); ++i) b[i] = static_cast<float>(i + 1);
      const auto d = mma<TypeParam>(a, b, c);
      for (size_t i = 0; i < d.size(); ++i) ASSERT_EQ(d[i], i / 8 == m ? b[k * 8 + i % 8] : 0.0f) << m << ", " << k;
    }
  }
}

// The host's own order of sums; a GPU's is not specified.
TYPED_TEST(Mma, SumsInTheOrderOfKRoundedToFloatEachTime) {
  constexpr int K = TypeParam::kDepth;
  std::mt19937 random(6);
  auto a = reals(16 * K, random), b = reals(K * 8, random);
  const auto c = reals(16 * 8, random);
  for (float& x : a) x = from_bf16(to_bf16(x));
  for (float& x : b) x = from_bf16(to_bf16(x));
  const auto d = mma<TypeParam>(a, b, c);
  for (size_t i = 0; i < d.size(); ++i) {
    float expected = c[i];
    for (size_t k = 0; k < K; ++k) expected = std::fmaf(a[i / 8 * K + k], b[k * 8 + i % 8], expected);
    EXPECT_EQ(d[i], expected);
  }
}

TYPED_TEST(Mma, NaNAndInfinityComeThroughWhereTheyBelong) {
  constexpr int K = TypeParam::kDepth;
  std::vector<float> a(16 * K, 1.0f), b(K * 8, 1.0f), c(16 * 8);
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
  std::vector<float> a(16 * 8), b(8 * 8), c(16 * 8);
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
  std::mt19937 random(7);
  const auto values = reals(64 * 8 * 4, random);
  std::vector<uint32_t> words;
  for (const float x : values) words.push_back(to_bf16x2(x, -0.5f * x));
  std::vector<float> together(64 * 60, NAN), one_by_one(64 * 60, 0.0f);
  Stream stream;
  launch(tile_kernel<TypeParam>, 1, 64, 0, stream, words.data(), together.data(), one_by_one.data());
  stream.synchronize();
  EXPECT_EQ(together, one_by_one);
  EXPECT_NE(together[1], 1.0f);
}

// Row r of matrix m lies at a place of its own, as in a swizzled tile.
__device__ int place_of_row(int m, int r) { return (m * 8 + r) * 5 % 32; }

/// How a lane loads: x4, x4.trans, x2, x2.trans.
enum class Load { x4, x4_trans, x2, x2_trans };

template <Load kLoad>
__global__ void ldmatrix_kernel(uint32_t* out) {
  auto* shared = dynamic_shared<uint16_t>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int column = 0; column < 8; ++column) {
    shared[place_of_row(lane / 8, lane % 8) * 8 + column] =
        static_cast<uint16_t>(lane / 8 * 1000 + lane % 8 * 10 + column);
  }
  __syncwarp();
  const uint16_t* row = shared + place_of_row(lane / 8, lane % 8) * 8;
  uint32_t r[4] = {};
  if constexpr (kLoad == Load::x4) ldmatrix_x4(r, row);
  if constexpr (kLoad == Load::x4_trans) ldmatrix_x4_trans(r, row);
  uint32_t pair[2] = {};
  if constexpr (kLoad == Load::x2) ldmatrix_x2(pair, lane < 16 ? row : nullptr);
  if constexpr (kLoad == Load::x2_trans) ldmatrix_x2_trans(pair, lane < 16 ? row : nullptr);
  for (int i = 0; i < 4; ++i) {
    out[lane * 4 + i] = kLoad == Load::x4 || kLoad == Load::x4_trans ? r[i] : i < 2 ? pair[i] : 0;
  }
}

template <Load kLoad>
void expect_table() {
  constexpr bool kTransposed = kLoad == Load::x4_trans || kLoad == Load::x2_trans;
  constexpr int kMatrices = kLoad == Load::x4 || kLoad == Load::x4_trans ? 4 : 2;
  std::vector<uint32_t> out(32 * 4, ~0u);
  Stream stream;
  launch(ldmatrix_kernel<kLoad>, 1, 32, 512, stream, out.data());
  stream.synchronize();
  for (int lane = 0; lane < 32; ++lane) {
    for (int matrix = 0; matrix < kMatrices; ++matrix) {
      for (int half = 0; half < 2; ++half) {
        // "each thread i holds elements (i / 4, 2·(i % 4)) and the next of the row"; of the columns with .trans.
        const int outer = lane / 4, inner = lane % 4 * 2 + half;
        const int row = kTransposed ? inner : outer, column = kTransposed ? outer : inner;
        EXPECT_EQ(out[static_cast<size_t>(lane * 4 + matrix)] >> (16 * half) & 0xFFFFu,
                  static_cast<uint32_t>(matrix * 1000 + row * 10 + column))
            << "lane " << lane << ", matrix " << matrix;
      }
    }
  }
}

TEST(Ldmatrix, FourMatrices) { expect_table<Load::x4>(); }
TEST(Ldmatrix, FourTransposedMatrices) { expect_table<Load::x4_trans>(); }
TEST(Ldmatrix, TwoMatricesIgnoreTheUpperLanesAddresses) { expect_table<Load::x2>(); }
TEST(Ldmatrix, TwoTransposedMatrices) { expect_table<Load::x2_trans>(); }

// Both operands by ldmatrix: A [16][8] and B as [n][k], rows of 32 bytes.
__global__ void tf32_tile_kernel(const float* a, const float* b_by_column, float* d) {
  float* shared = dynamic_shared<float>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 16 * 8; i += 32) shared[i] = a[i];
  for (int i = lane; i < 8 * 8; i += 32) shared[16 * 8 + i] = b_by_column[i];
  __syncwarp();
  uint32_t a_fragment[4], b_fragment[2];
  float sums[4] = {};
  ldmatrix_x4(a_fragment, shared + (lane % 16) * 8 + lane / 16 * 4);
  ldmatrix_x2(b_fragment, shared + 16 * 8 + lane % 8 * 8 + lane / 8 % 2 * 4);
  mma_m16n8k8_tf32(sums, a_fragment, b_fragment);
  for (int i = 0; i < 4; ++i) d[(lane / 4 + 8 * (i / 2)) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

TEST(Ldmatrix, GivesTheFragmentsThatMmaTakes) {
  std::mt19937 random(8);
  const auto a = integers(16 * 8, random), b = integers(8 * 8, random);
  std::vector<float> d(16 * 8, NAN);
  Stream stream;
  launch(tf32_tile_kernel, 1, 32, (16 + 8) * 8 * sizeof(float), stream, a.data(), b.data(), d.data());
  stream.synchronize();
  for (size_t i = 0; i < d.size(); ++i) {
    float expected = 0;
    for (size_t k = 0; k < 8; ++k) expected += a[i / 8 * 8 + k] * b[i % 8 * 8 + k];
    EXPECT_EQ(d[i], expected) << i;
  }
}

__global__ void misaligned_row_kernel() {
  uint32_t r[4];
  ldmatrix_x4(r, dynamic_shared<char>() + (threadIdx.x == 7 ? 8 : 0));
}
__global__ void row_outside_kernel() {
  uint32_t r[4];
  ldmatrix_x4(r, dynamic_shared<char>() + 16 * threadIdx.x);
}
__global__ void half_warp_kernel() {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x < 16) mma_m16n8k8_tf32(d, a, b);
}

TEST(MatrixDeathTest, NamesThreadAndFault) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  Stream stream;
  EXPECT_DEATH(launch(misaligned_row_kernel, 1, 32, 64, stream),
               "misaligned_row_kernel.*thread \\(7,0,0\\): ldmatrix.x4 at .*matrix_test.cpp:.*not a multiple of 16");
  EXPECT_DEATH(launch(row_outside_kernel, 1, 32, 31 * 16, stream),
               "row_outside_kernel.*thread \\(31,0,0\\): ldmatrix.x4 .*not in the block's shared memory");
  EXPECT_DEATH(launch(half_warp_kernel, 1, 32, 0, stream), "left the kernel while lanes 0x0000ffff .*mma.m16n8k8.tf32");
}

}  // namespace
}  // namespace striate::gpu
