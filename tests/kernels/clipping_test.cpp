#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/optimizer/optimizer.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

constexpr BackendTable<decltype(&cpu::sgd_update)> kUpdate = {.cpu = &cpu::sgd_update, .cuda = &cuda::sgd_update};

// Weights of 0 move by −scale·g at rate 1: they tell what the gradients were multiplied by.
struct Updated {
  float norm;
  Values<float> w;  // of all parameters in a row
};

template <typename Update>
Updated update(Update&& sgd, const std::vector<Values<float>>& gradients, float gradient_scale, float max_norm,
               int threads = 2) {
  TestContext context(threads);
  int64_t all = 0;
  for (const auto& g : gradients) all += std::ssize(g);
  GuardedBuffer<float> w(all, 0.0f), norm(1);
  std::vector<ParameterUpdate<float>> updates;
  int64_t offset = 0;
  for (const auto& g : gradients) {
    updates.push_back({w.data() + offset, g.data(), nullptr, nullptr, std::ssize(g), 0});
    offset += std::ssize(g);
  }
  const Values<UpdateState> state = {{1.0f, gradient_scale, 0}};
  sgd(updates.data(), std::ssize(updates), SgdOptions{}, state.data(), Clipping{norm.data(), max_norm}, context);
  EXPECT_TRUE(w.intact() && norm.intact());
  EXPECT_EQ(state[0].gradient_scale, gradient_scale) << "the state is read only";
  return {norm[0], w.values()};
}

class Clipped : public BackendTest<Backend> {
 protected:
  auto sgd() const { return kUpdate[backend()]; }
};

TEST_P(Clipped, UpdateOfGradientsAboveTheLimitIsAsIfTheyLayOnIt) {
  const std::vector<Values<float>> gradients = {{3, 0, 0}, {0, 4}};
  struct Case {
    float max_norm, scale;
  };
  for (const auto& [max_norm, scale] : {Case{0.0f, 0.5f}, {3.0f, 0.5f}, {2.5f, 0.5f}, {1.0f, 0.2f}, {0.5f, 0.1f}}) {
    const Updated found = update(sgd(), gradients, 0.5f, max_norm);
    EXPECT_FLOAT_EQ(found.norm, 2.5f);
    EXPECT_TRUE(all_close(found.w, Values<float>{-3 * scale, 0, 0, 0, -4 * scale}, {0, 2e-7})) << max_norm;
  }
}

TEST_P(Clipped, NormOfNothingIsZero) {
  EXPECT_EQ(update(sgd(), {}, 1.0f, 1.0f).norm, 0.0f);
  EXPECT_EQ(update(sgd(), {{}, {}}, 1.0f, 1.0f).norm, 0.0f);
  EXPECT_EQ(update(sgd(), {{0, 0}}, 1.0f, 1.0f).norm, 0.0f);
}

TEST_P(Clipped, GradientsWhoseSquaresNoFloatHolds) {
  for (const float size : {1e25f, 1e-25f}) {
    const Updated found = update(sgd(), {{3 * size, 4 * size}}, 1.0f, size);
    EXPECT_FLOAT_EQ(found.norm, 5 * size);
    EXPECT_TRUE(all_close(found.w, Values<float>{-0.6f * size, -0.8f * size}, {0, 3e-7}));
  }
}

TEST_P(Clipped, NormThatIsNotFiniteShrinksNothing) {
  for (const float bad : {INFINITY, NAN}) {
    Values<float> g(100, 1.0f);
    g[77] = bad;
    const Updated found = update(sgd(), {g}, 1.0f, 1.0f);
    EXPECT_FALSE(std::isfinite(found.norm));
    EXPECT_EQ(found.w[3], -1.0f);
  }
}

TEST_P(Clipped, UpdateIsThatOfTheReferenceForAnyNumberOfThreads) {
  std::vector<Values<float>> gradients;
  for (const int64_t n : {1, 100003, 0, 16384, 37}) gradients.push_back(uniform<float>(n, static_cast<uint32_t>(n)));
  const Updated one = update(sgd(), gradients, 0.25f, 1.0f, 1), three = update(sgd(), gradients, 0.25f, 1.0f, 3);
  const Updated expected = update(&reference::sgd_update<float>, gradients, 0.25f, 1.0f);
  EXPECT_EQ(one.norm, three.norm);
  EXPECT_TRUE(all_equal(one.w, three.w));
  EXPECT_NEAR(one.norm, expected.norm, 1.2e-7 * expected.norm);
  EXPECT_TRUE(all_close(one.w, expected.w, {0, 4e-7}));
}

// More parameters than the arguments of a launch hold, whichever of them is long: every launch clips by the same norm.
TEST_P(Clipped, NormIsThatOfAllParametersHoweverManyLaunchesTheyTake) {
  std::vector<Values<float>> gradients;
  for (int64_t i = 0; i < 260; ++i)
    gradients.push_back(uniform<float>(i % 65 == 0 ? 700 : 3, static_cast<uint32_t>(i)));
  const Updated found = update(sgd(), gradients, 1.0f, 0.5f);
  const Updated expected = update(&reference::sgd_update<float>, gradients, 1.0f, 0.5f);
  EXPECT_NEAR(found.norm, expected.norm, 1.2e-7 * expected.norm);
  EXPECT_TRUE(all_close(found.w, expected.w, {0, 4e-7}));
}

INSTANTIATE_TEST_SUITE_P(, Clipped, testing::ValuesIn(backends()), backend_name);

}  // namespace
}  // namespace striate::test
