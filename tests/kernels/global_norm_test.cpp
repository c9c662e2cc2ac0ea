#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/optimizer/optimizer.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"

namespace striate::test {
namespace {

constexpr BackendTable<decltype(&cpu::global_norm)> kGlobalNorm = {.cpu = &cpu::global_norm,
                                                                   .cuda = &cuda::global_norm};

class GlobalNorm : public BackendTest<Backend> {
 protected:
  auto global_norm() const { return kGlobalNorm[backend()]; }
};

TEST_P(GlobalNorm, ClipsByScalingTheNextUpdate) {
  TestContext context;
  const Values<float> a = {3, 0, 0}, b = {0, 4};
  const std::vector<ParameterUpdate<float>> updates = {{nullptr, a.data(), nullptr, nullptr, 3, 0},
                                                       {nullptr, b.data(), nullptr, nullptr, 2, 0}};
  Values<float> norm(1);
  Values<UpdateState> state = {{0.1f, 0.5f, 0}};
  global_norm()(updates.data(), 2, 0.0f, state.data(), norm.data(), context);
  EXPECT_FLOAT_EQ(norm[0], 2.5f);
  EXPECT_EQ(state[0].gradient_scale, 0.5f);  // off
  global_norm()(updates.data(), 2, 3.0f, state.data(), norm.data(), context);
  EXPECT_EQ(state[0].gradient_scale, 0.5f);  // below the limit
  global_norm()(updates.data(), 2, 1.0f, state.data(), norm.data(), context);
  EXPECT_FLOAT_EQ(norm[0], 2.5f);
  EXPECT_FLOAT_EQ(state[0].gradient_scale, 0.2f);
  global_norm()(updates.data(), 2, 1.0f, state.data(), norm.data(), context);
  EXPECT_FLOAT_EQ(norm[0], 1.0f);
  global_norm()(nullptr, 0, 1.0f, state.data(), norm.data(), context);
  EXPECT_EQ(norm[0], 0.0f);
}

TEST_P(GlobalNorm, OfGradientsWhoseSquaresNoFloatHolds) {
  TestContext context;
  for (const float size : {1e25f, 1e-25f}) {
    const Values<float> g = {3 * size, 4 * size};
    const ParameterUpdate<float> update{nullptr, g.data(), nullptr, nullptr, 2, 0};
    Values<float> norm(1);
    Values<UpdateState> state = {{0.1f, 1.0f, 0}};
    global_norm()(&update, 1, size, state.data(), norm.data(), context);
    EXPECT_FLOAT_EQ(norm[0], 5 * size);
    EXPECT_FLOAT_EQ(state[0].gradient_scale, 0.2f);
  }
}

TEST_P(GlobalNorm, ThatIsNotFiniteIsLeftToBeSeen) {
  TestContext context;
  for (const float bad : {INFINITY, NAN}) {
    Values<float> g(100, 1.0f);
    g[77] = bad;
    const ParameterUpdate<float> update{nullptr, g.data(), nullptr, nullptr, 100, 0};
    Values<float> norm(1);
    Values<UpdateState> state = {{0.1f, 1.0f, 0}};
    global_norm()(&update, 1, 1.0f, state.data(), norm.data(), context);
    EXPECT_FALSE(std::isfinite(norm[0]));
    EXPECT_EQ(state[0].gradient_scale, 1.0f);
  }
}

TEST_P(GlobalNorm, IsThatOfTheReferenceForAnyNumberOfThreads) {
  std::vector<Values<float>> gradients;
  std::vector<ParameterUpdate<float>> updates;
  for (const int64_t n : {1, 100003, 0, 16384, 37}) gradients.push_back(uniform<float>(n, static_cast<uint32_t>(n)));
  for (const auto& g : gradients) updates.push_back({nullptr, g.data(), nullptr, nullptr, std::ssize(g), 0});
  const auto norm_with = [&](auto&& global_norm, int threads) {
    TestContext context(threads);
    Values<float> norm(1);
    Values<UpdateState> state = {{0.1f, 0.25f, 0}};
    global_norm(updates.data(), std::ssize(updates), 1.0f, state.data(), norm.data(), context);
    return Values<float>{norm[0], state[0].gradient_scale};
  };
  const auto one = norm_with(global_norm(), 1);
  EXPECT_TRUE(all_equal(norm_with(global_norm(), 3), one));
  EXPECT_TRUE(all_close(one, norm_with(reference::global_norm<float>, 1), {0, 1.2e-7}));
}

INSTANTIATE_TEST_SUITE_P(, GlobalNorm, testing::ValuesIn(backends()), backend_name);

}  // namespace
}  // namespace striate::test
