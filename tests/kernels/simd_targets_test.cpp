// The matrix products on every instruction set that this build and this machine have, not only on the best.
#include <gtest/gtest.h>

// Before Highway: the sets that the kernels are compiled for.
#include "kernels/simd_targets.h"

#include <hwy/highway.h>

#include <string>
#include <vector>

#include "kernels/conv2d/conv2d.h"
#include "kernels/gemm/micro.h"
#include "kernels/linear/linear.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

class SimdTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { choose(GetParam()); }
  void TearDown() override { choose(0); }

  static void choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

TEST_P(SimdTarget, is_the_one_that_runs) { EXPECT_STREQ(gemm::micro_kernels().target, hwy::TargetName(GetParam())); }

TEST_P(SimdTarget, convolves_exactly_on_small_integers) {
  TestContext context;
  const Conv2dShape in_place{2, 15, 17, 3, 37, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  const Conv2dShape gathered{3, 5, 4, 21, 19, 3, 3, 2, 2, 1, 1, 1, 1, 1};
  const Conv2dShape grouped{2, 13, 12, 6, 10, 3, 3, 1, 1, 2, 2, 2, 2, 2};
  for (const Conv2dShape& s : {in_place, gathered, grouped}) {
    const auto x = small_integers<float>(s.x_size(), 1), w = small_integers<float>(s.w_size(), 2);
    const auto b = small_integers<float>(s.K, 3), dy = small_integers<float>(s.y_size(), 4);
    Values<float> y(s.y_size()), dx(s.x_size()), dw(s.w_size()), db(s.K);
    reference::conv2d_forward(x.data(), w.data(), b.data(), y.data(), s, Activation::relu, context);
    reference::conv2d_backward_data(dy.data(), w.data(), dx.data(), s, context);
    reference::conv2d_backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
    GuardedBuffer<float> y2(s.y_size()), dx2(s.x_size()), dw2(s.w_size()), db2(s.K);
    cpu::conv2d_forward(x.data(), w.data(), b.data(), y2.data(), s, Activation::relu, context);
    cpu::conv2d_backward_data(dy.data(), w.data(), dx2.data(), s, context);
    cpu::conv2d_backward_weight(x.data(), dy.data(), dw2.data(), db2.data(), s, Accumulate::no, context);
    EXPECT_TRUE(all_equal(y2, y)) << s.to_string();
    EXPECT_TRUE(all_equal(dx2, dx)) << s.to_string();
    EXPECT_TRUE(all_equal(dw2, dw)) << s.to_string();
    EXPECT_TRUE(all_equal(db2, db)) << s.to_string();
    for (const auto* buffer : {&y2, &dx2, &dw2, &db2}) EXPECT_TRUE(buffer->intact());
  }
}

TEST_P(SimdTarget, multiplies_exactly_on_small_integers) {
  TestContext context;
  for (const LinearShape& s : {LinearShape{1, 131, 45}, LinearShape{7, 45, 131}, LinearShape{29, 515, 103}}) {
    const auto x = small_integers<float>(s.N * s.C, 1), w = small_integers<float>(s.K * s.C, 2);
    const auto b = small_integers<float>(s.K, 3), dy = small_integers<float>(s.N * s.K, 4);
    Values<float> y(s.N * s.K), dx(s.N * s.C), dw(s.K * s.C), db(s.K);
    reference::linear_forward(x.data(), w.data(), b.data(), y.data(), s, Activation::relu, context);
    reference::linear_backward_data(dy.data(), w.data(), dx.data(), s, context);
    reference::linear_backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
    GuardedBuffer<float> y2(s.N * s.K), dx2(s.N * s.C), dw2(s.K * s.C), db2(s.K);
    cpu::linear_forward(x.data(), w.data(), b.data(), y2.data(), s, Activation::relu, context);
    cpu::linear_backward_data(dy.data(), w.data(), dx2.data(), s, context);
    cpu::linear_backward_weight(x.data(), dy.data(), dw2.data(), db2.data(), s, Accumulate::no, context);
    EXPECT_TRUE(all_equal(y2, y)) << s.to_string();
    EXPECT_TRUE(all_equal(dx2, dx)) << s.to_string();
    EXPECT_TRUE(all_equal(dw2, dw)) << s.to_string();
    EXPECT_TRUE(all_equal(db2, db)) << s.to_string();
    for (const auto* buffer : {&y2, &dx2, &dw2, &db2}) EXPECT_TRUE(buffer->intact());
  }
}

INSTANTIATE_TEST_SUITE_P(, SimdTarget, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& c) { return std::string(hwy::TargetName(c.param)); });

}  // namespace
}  // namespace striate::test
