// ldmatrix, lane by lane against the PTX ISA's description ("Warp Level Matrix Instructions: ldmatrix"), and together
// with mma.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/gpu/launch.h"
#include "kernels/gpu/matrix.h"
#include "kernels/gpu/shared.h"
#include "kernels/gpu/warp.h"
#include "tests/support/fill.h"

namespace striate::gpu {
namespace {

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
  test::Values<uint32_t> out(32 * 4, ~0u);
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

// Several at once, as fragments of A and of B.
__global__ void several_kernel(uint32_t* out) {
  auto* shared = dynamic_shared<uint16_t>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 3 * 32 * 8; i += 32) shared[i] = static_cast<uint16_t>(i * 3);
  __syncwarp();
  const void* const rows[3] = {shared + lane * 8, shared + (32 + lane) * 8, shared + (64 + lane) * 8};
  uint32_t a[3][4], a_transposed[3][4], b[6][2], b_transposed[6][2];
  ldmatrix_x4(a, rows);
  ldmatrix_x4_trans(a_transposed, rows);
  ldmatrix_x4(b, rows);
  ldmatrix_x4_trans(b_transposed, rows);
  for (int i = 0; i < 3; ++i) {
    uint32_t one[4], one_transposed[4];
    ldmatrix_x4(one, rows[i]);
    ldmatrix_x4_trans(one_transposed, rows[i]);
    for (int word = 0; word < 4; ++word) {
      uint32_t* found = out + ((lane * 3 + i) * 4 + word) * 6;
      found[0] = one[word];
      found[1] = a[i][word];
      found[2] = b[2 * i + word / 2][word % 2];
      found[3] = one_transposed[word];
      found[4] = a_transposed[i][word];
      found[5] = b_transposed[2 * i + word / 2][word % 2];
    }
  }
}

TEST(Ldmatrix, SeveralAtOnceAreTheSameAsOneByOne) {
  test::Values<uint32_t> out(32 * 3 * 4 * 6, ~0u);
  Stream stream;
  launch(several_kernel, 1, 32, 3 * 32 * 16, stream, out.data());
  stream.synchronize();
  for (size_t i = 0; i < out.size(); i += 6) {
    EXPECT_NE(out[i], ~0u);
    EXPECT_TRUE(out[i + 1] == out[i] && out[i + 2] == out[i]) << i;
    EXPECT_TRUE(out[i + 4] == out[i + 3] && out[i + 5] == out[i + 3]) << i;
  }
}

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
  const auto a = test::small_integers<float>(16 * 8, 8), b = test::small_integers<float>(8 * 8, 9);
  test::Values<float> d(16 * 8, NAN);
  Stream stream;
  launch(tf32_tile_kernel, 1, 32, (16 + 8) * 8 * sizeof(float), stream, a.data(), b.data(), d.data());
  stream.synchronize();
  for (size_t i = 0; i < d.size(); ++i) {
    float expected = 0;
    for (size_t k = 0; k < 8; ++k) expected += a[i / 8 * 8 + k] * b[i % 8 * 8 + k];
    EXPECT_EQ(d[i], expected) << i;
  }
}

#if !defined(__CUDACC__) && !defined(STRIATE_CHECKED_HOST)  // where unwritten rows are the first fault
__global__ void misaligned_row_kernel() {
  uint32_t r[4];
  ldmatrix_x4(r, dynamic_shared<char>() + (threadIdx.x == 7 ? 8 : 0));
}
__global__ void row_outside_kernel() {
  uint32_t r[4];
  ldmatrix_x4(r, dynamic_shared<char>() + 16 * threadIdx.x);
}

TEST(LdmatrixDeathTest, NamesThreadAndFault) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  Stream stream;
  EXPECT_DEATH(launch(misaligned_row_kernel, 1, 32, 64, stream),
               "misaligned_row_kernel.*thread \\(7,0,0\\): ldmatrix_x4 at .*matrix_test.cu:.*not a multiple of 16");
  EXPECT_DEATH(launch(row_outside_kernel, 1, 32, 31 * 16, stream),
               "row_outside_kernel.*thread \\(31,0,0\\): ldmatrix_x4 .*not in the block's shared memory");
}
#endif

}  // namespace
}  // namespace striate::gpu
