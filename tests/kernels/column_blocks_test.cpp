#include "kernels/column_blocks/column_blocks.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/error.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/error.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

template <typename T>
struct ColumnBlocksFunctions {
  decltype(&cpu::columns_to_blocks<T>) to_blocks;
  decltype(&cpu::blocks_to_columns<T>) to_columns;
};

template <typename T>
constexpr BackendTable<ColumnBlocksFunctions<T>> kColumnBlocks = {
    .cpu = {&cpu::columns_to_blocks, &cpu::blocks_to_columns},
    .cuda = {&cuda::columns_to_blocks, &cuda::blocks_to_columns}};

struct ColumnBlocksCase {
  std::string name;
  ColumnBlocksShape shape;
};

std::vector<ColumnBlocksCase> column_blocks_cases() {
  return {{"alexnet_fc6_of_4", {6, 4096, 4}},
          {"alexnet_fc6_third_of_4", {6, 4096, 4, 2, 3}},
          {"parts_of_unequal_size", {5, 10, 3}},
          {"last_of_unequal_size", {5, 10, 4, 3, 4}},
          {"middle_two_of_unequal_size", {9, 37, 4, 1, 3}},
          {"one_part", {7, 33, 1}},
          {"fewer_columns_than_parts", {3, 2, 4}},
          {"one_value", {1, 1, 1}},
          {"many_rows", {3001, 24, 3}},
          {"no_part", {3, 24, 3, 1, 1}},
          {"empty_batch", {0, 12, 3}}};
}

class ColumnBlocks : public BackendTest<OnBackend<ColumnBlocksCase>> {
 protected:
  template <typename T>
  void check() const {
    const ColumnBlocksShape& shape = GetParam().value.shape;
    const auto& functions = kColumnBlocks<T>[backend()];
    TestContext context;
    Values<T> x;
    for (const float value : uniform<float>(shape.N * shape.K, 1)) x.push_back(stored_as<T>(value));
    GuardedBuffer<T> blocks(shape.size()), y(shape.N * shape.K);
    for (int64_t i = 0; i < shape.N * shape.K; ++i) y[i] = stored_as<T>(3.0f);
    functions.to_blocks(x.data(), blocks.data(), shape, context);
    functions.to_columns(blocks.data(), y.data(), shape, context);
    int64_t i = 0;
    for (int64_t part = shape.first; part < shape.last; ++part) {
      for (int64_t n = 0; n < shape.N; ++n) {
        for (int64_t c = shape.begin(part); c < shape.begin(part + 1); ++c) {
          ASSERT_EQ(to_float(blocks[i++]), to_float(x[static_cast<size_t>(n * shape.K + c)])) << n << ", " << c;
        }
      }
    }
    for (int64_t at = 0; at < shape.N * shape.K; ++at) {
      const int64_t c = at % shape.K;
      const bool is_copied = c >= shape.begin(shape.first) && c < shape.begin(shape.last);
      ASSERT_EQ(to_float(y[at]), is_copied ? to_float(x[static_cast<size_t>(at)]) : 3.0f) << at;
    }
    EXPECT_TRUE(blocks.intact() && y.intact());
  }
};

TEST_P(ColumnBlocks, LieOneBehindTheOtherAndGoBackToTheirColumns) {
  check<float>();
  check<bfloat16>();
}

INSTANTIATE_TEST_SUITE_P(, ColumnBlocks, on_every_backend(column_blocks_cases()), case_name);

TEST(ColumnBlocksShape, EveryColumnBelongsToThePartThatHoldsIt) {
  for (const int64_t K : {1, 2, 3, 7, 10, 64, 1000}) {
    for (const int64_t parts : {1, 2, 3, 4, 7, 16}) {
      const ColumnBlocksShape shape{1, K, parts};
      for (int64_t c = 0; c < K; ++c) {
        const int64_t part = shape.part_of_column(c);
        EXPECT_TRUE(shape.begin(part) <= c && c < shape.begin(part + 1)) << K << " in " << parts << ": " << c;
      }
    }
  }
}

TEST(ColumnBlocksShape, RefusesPartsThatAreNotThere) {
  EXPECT_TRUE(throws_with<ShapeError>([] { ColumnBlocksShape{1, 8, 2, 1, 3}.check(); }, {"column blocks", "1 to 3"}));
}

}  // namespace
}  // namespace striate::test
