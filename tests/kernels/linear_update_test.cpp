// The optimizer's update inside the backward of a linear layer, against the passes one after another.
#include <gtest/gtest.h>

// Before Highway: the sets that the kernels are compiled for.
#include "kernels/simd_targets.h"

#include <hwy/highway.h>

#include <cstdint>

#include "kernels/linear/linear.h"
#include "kernels/optimizer/optimizer.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

struct UpdateCase {
  const char* name;
  LinearShape shape;

  friend void PrintTo(const UpdateCase& c, std::ostream* out) { *out << c.name; }
};

class LinearUpdate : public testing::TestWithParam<UpdateCase> {
 protected:
  void TearDown() override { choose(0); }
  static void choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

constexpr UpdateState kState{0.1f, 0.5f, 3};

/// x, dy, the weights and the optimizer's state of a layer.
struct Layer {
  explicit Layer(const LinearShape& s)
      : x(uniform<float>(s.N * s.C, 1)),
        dy(uniform<float>(s.N * s.K, 2)),
        w(uniform<float>(s.K * s.C, 3)),
        s1(uniform<float>(s.K * s.C, 4, 0.1, 1.0)),
        s2(uniform<float>(s.K * s.C, 5, 0.1, 1.0)),
        dx(s.N * s.C),
        db(s.K, 0.25f) {}
  ParameterUpdate<float> update(const float* g) { return {w.data(), g, s1.data(), s2.data(), w.size(), 0.01f}; }

  Values<float> x, dy;
  GuardedBuffer<float> w, s1, s2, dx, db;
};

UpdateRule rule_of(int method) {
  if (method == 0) return {SgdOptions{0.9f, true, false}, kState};
  if (method == 1) return {AdamOptions{}, kState};
  return {RmspropOptions{0.9f, 1e-8f, 0.5f}, kState};
}

void update(int method, const ParameterUpdate<float>& parameter, Context& context) {
  if (method == 0) return cpu::sgd_update(&parameter, 1, SgdOptions{0.9f, true, false}, &kState, context);
  if (method == 1) return cpu::adam_update(&parameter, 1, AdamOptions{}, &kState, context);
  cpu::rmsprop_update(&parameter, 1, RmspropOptions{0.9f, 1e-8f, 0.5f}, &kState, context);
}

void check_update(const LinearShape& s) {
  TestContext two(2);
  for (int method = 0; method < 3; ++method) {
    Layer expected(s);
    GuardedBuffer<float> dw(s.K * s.C);
    cpu::linear_backward_data(expected.dy.data(), expected.w.data(), expected.dx.data(), s, two);
    cpu::linear_backward_weight(expected.x.data(), expected.dy.data(), dw.data(), nullptr, s, Accumulate::no, two);
    GuardedBuffer<float> unused(s.K * s.C);
    cpu::linear_backward_weight(expected.x.data(), expected.dy.data(), unused.data(), expected.db.data(), s,
                                Accumulate::yes, two);
    update(method, expected.update(dw.data()), two);
    for (const int threads : {1, 2, 3}) {
      TestContext context(threads);
      ASSERT_TRUE(cpu::linear_can_update(s, context));
      for (const bool with_dx : {true, false}) {
        Layer found(s);
        cpu::linear_backward_update(found.x.data(), found.dy.data(), with_dx ? found.dx.data() : nullptr,
                                    found.db.data(), Accumulate::yes, s, rule_of(method), found.update(nullptr),
                                    context);
        EXPECT_TRUE(all_equal(found.w, expected.w)) << method;
        EXPECT_TRUE(all_equal(found.s1, expected.s1)) << method;
        EXPECT_TRUE(all_equal(found.s2, expected.s2)) << method;
        EXPECT_TRUE(all_equal(found.db, expected.db)) << method;
        if (with_dx) {
          EXPECT_TRUE(all_equal(found.dx, expected.dx)) << method;
        }
        for (const auto* buffer : {&found.w, &found.s1, &found.s2, &found.dx, &found.db}) {
          EXPECT_TRUE(buffer->intact());
        }
      }
    }
  }
}

TEST_P(LinearUpdate, GivesTheBitsOfThreePassesOnEveryInstructionSet) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    choose(target);
    check_update(GetParam().shape);
  }
}

INSTANTIATE_TEST_SUITE_P(, LinearUpdate,
                         testing::Values(UpdateCase{"one_value", {1, 1, 1}}, UpdateCase{"one_row", {1, 1037, 131}},
                                         UpdateCase{"odd_rows", {3, 515, 258}}, UpdateCase{"eight_rows", {8, 100, 45}},
                                         UpdateCase{"nine_rows", {9, 77, 33}}, UpdateCase{"odd_batch", {37, 131, 67}},
                                         UpdateCase{"whole_tiles", {64, 256, 128}},
                                         UpdateCase{"one_output", {5, 2000, 1}}, UpdateCase{"one_input", {2, 1, 300}}),
                         [](const auto& c) { return std::string(c.param.name); });

TEST(LinearCanUpdate, IsForFewRowsAloneInBfloat16) {
  TestContext context;
  EXPECT_TRUE(cpu::linear_can_update({1, 4, 4}, context));
  EXPECT_FALSE(cpu::linear_can_update({0, 4, 4}, context));
  EXPECT_FALSE(cpu::linear_can_update({513, 4, 4}, context));
  context->precision = Precision::bf16;
  EXPECT_TRUE(cpu::linear_can_update({8, 4, 4}, context));
  EXPECT_FALSE(cpu::linear_can_update({9, 4, 4}, context));
}

}  // namespace
}  // namespace striate::test
