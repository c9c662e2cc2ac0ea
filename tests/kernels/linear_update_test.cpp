// The optimizer's update inside the backward of a linear layer, against the passes one after another.
#include <gtest/gtest.h>

// Before Highway: the sets that the kernels are compiled for.
#include "kernels/simd_targets.h"

#include <hwy/highway.h>

#include <cstdint>
#include <type_traits>

#include "kernels/error.h"
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

/// x, dy, the weights, also rounded, and the optimizer's state of a layer.
template <typename T>
struct Layer {
  explicit Layer(const LinearShape& s)
      : x(uniform<T>(s.N * s.C, 1)),
        dy(uniform<T>(s.N * s.K, 2)),
        w(uniform<float>(s.K * s.C, 3)),
        s1(uniform<float>(s.K * s.C, 4, 0.1, 1.0)),
        s2(uniform<float>(s.K * s.C, 5, 0.1, 1.0)),
        rounded(as<bfloat16>(w.values())),
        dx(s.N * s.C),
        db(s.K, 0.25f) {}
  ParameterUpdate<float> update(const float* g) {
    return {w.data(), g, s1.data(), s2.data(), w.size(), 0.01f, rounded.data()};
  }
  /// The weights as the products take them.
  const T* weights() const {
    if constexpr (std::is_same_v<T, float>)
      return w.data();
    else
      return rounded.data();
  }
  bool intact() const {
    return w.intact() && s1.intact() && s2.intact() && rounded.intact() && dx.intact() && db.intact();
  }

  Values<T> x, dy;
  GuardedBuffer<float> w, s1, s2;
  GuardedBuffer<bfloat16> rounded;
  GuardedBuffer<T> dx;
  GuardedBuffer<float> db;
};

UpdateRule rule_of(int method) {
  if (method == 0) return {SgdOptions{0.9f, true, false}, kState};
  if (method == 1) return {AdamOptions{}, kState};
  return {RmspropOptions{0.9f, 1e-8f, 0.5f}, kState};
}

void update(int method, const ParameterUpdate<float>& parameter, Context& context) {
  if (method == 0) return cpu::sgd_update(&parameter, 1, SgdOptions{0.9f, true, false}, &kState, {}, context);
  if (method == 1) return cpu::adam_update(&parameter, 1, AdamOptions{}, &kState, {}, context);
  cpu::rmsprop_update(&parameter, 1, RmspropOptions{0.9f, 1e-8f, 0.5f}, &kState, {}, context);
}

template <typename T>
void check_update(const LinearShape& s) {
  TestContext two(2);
  for (int method = 0; method < 3; ++method) {
    Layer<T> expected(s);
    GuardedBuffer<float> dw(s.K * s.C), unused(s.K * s.C);
    const auto& e = expected;
    cpu::linear_backward_data(e.dy.data(), e.weights(), expected.dx.data(), s, two);
    cpu::linear_backward_weight(e.x.data(), e.dy.data(), dw.data(), nullptr, s, Accumulate::no, two);
    cpu::linear_backward_weight(e.x.data(), e.dy.data(), unused.data(), expected.db.data(), s, Accumulate::yes, two);
    update(method, expected.update(dw.data()), two);
    for (const int threads : {1, 2, 3}) {
      TestContext context(threads);
      ASSERT_TRUE(cpu::linear_can_update(s, context));
      for (const bool with_dx : {true, false}) {
        Layer<T> found(s);
        cpu::linear_backward_update(found.x.data(), found.dy.data(), with_dx ? found.dx.data() : nullptr,
                                    found.db.data(), Accumulate::yes, s, rule_of(method), found.update(nullptr),
                                    context);
        EXPECT_TRUE(all_equal(found.w, expected.w)) << method;
        EXPECT_TRUE(all_equal(found.s1, expected.s1)) << method;
        EXPECT_TRUE(all_equal(found.s2, expected.s2)) << method;
        EXPECT_TRUE(all_equal(found.rounded, as<bfloat16>(found.w.values()))) << method;
        EXPECT_TRUE(all_equal(found.db, expected.db)) << method;
        if (with_dx) {
          EXPECT_TRUE(all_equal(found.dx, expected.dx)) << method;
        }
        EXPECT_TRUE(found.intact());
      }
    }
  }
}

TEST_P(LinearUpdate, GivesTheBitsOfThreePassesOnEveryInstructionSet) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    choose(target);
    check_update<float>(GetParam().shape);
    check_update<bfloat16>(GetParam().shape);
  }
}

INSTANTIATE_TEST_SUITE_P(, LinearUpdate,
                         testing::Values(UpdateCase{"one_value", {1, 1, 1}}, UpdateCase{"one_row", {1, 1037, 131}},
                                         UpdateCase{"odd_rows", {3, 515, 258}}, UpdateCase{"eight_rows", {8, 100, 45}},
                                         UpdateCase{"nine_rows", {9, 77, 33}}, UpdateCase{"odd_batch", {37, 131, 67}},
                                         UpdateCase{"whole_tiles", {64, 256, 128}},
                                         UpdateCase{"one_output", {5, 2000, 1}}, UpdateCase{"one_input", {2, 1, 300}}),
                         [](const auto& c) { return std::string(c.param.name); });

TEST(LinearCanUpdate, IsForBatchesThatFitTheCaches) {
  TestContext context;
  EXPECT_TRUE(cpu::linear_can_update({1, 4, 4}, context));
  EXPECT_FALSE(cpu::linear_can_update({0, 4, 4}, context));
  EXPECT_TRUE(cpu::linear_can_update({512, 4, 4}, context));
  EXPECT_FALSE(cpu::linear_can_update({513, 4, 4}, context));
}

TEST(LinearCanUpdate, WantsTheWeightsInBfloat16WhereTheProductsAre) {
  TestContext context;
  Layer<bfloat16> layer({2, 3, 4});
  ParameterUpdate<float> update = layer.update(nullptr);
  update.rounded = nullptr;
  EXPECT_THROW(cpu::linear_backward_update(layer.x.data(), layer.dy.data(), layer.dx.data(), layer.db.data(),
                                           Accumulate::no, {2, 3, 4}, rule_of(0), update, context),
               Error);
}

}  // namespace
}  // namespace striate::test
