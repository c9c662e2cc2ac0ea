#include "kernels/dropout/dropout.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/error.h"
#include "tests/support/fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

struct DropoutFunctions {
  decltype(&cpu::dropout_forward<float>) forward;
  decltype(&cpu::dropout_backward<float>) backward;
  decltype(&cpu::relu_dropout_backward<float>) relu_backward;
};

constexpr BackendTable<DropoutFunctions> kDropout = {
    .cpu = {&cpu::dropout_forward, &cpu::dropout_backward, &cpu::relu_dropout_backward},
    .cuda = {&cuda::dropout_forward, &cuda::dropout_backward, &cuda::relu_dropout_backward}};

struct DropoutCase {
  std::string name;
  DropoutShape shape;
  DropoutState state;
};

std::vector<DropoutCase> dropout_cases() {
  return {
      {"alexnet_fc6", {8, 4096, 0.5f, 1}, {504, 1000, 64}},
      {"odd_row", {7, 37, 0.3f, 2}, {1, 2, 3}},
      {"one_element", {1, 1, 0.5f, 0}, {9, 8, 7}},
      {"row_of_one", {53, 1, 0.5f, 0}, {9, 8, 1}},
      {"three_features_offset", {41, 3, 0.9f, 5}, {1110, 5, 11}},
      {"large_seed_and_step", {5, 130, 0.25f, 0xffffffff}, {0xfedcba9876543210, 0x123456789abcdef0, 5}},
      {"elements_beyond_32_bits", {3, 1000, 0.5f, 1}, {42, 1, 0x40000003}},
      {"nothing_dropped", {3, 50, 0.0f, 1}, {42, 1, 0}},
      {"nearly_all_dropped", {3, 50, 0.99999994f, 1}, {42, 1, 0}},
      {"empty_batch", {0, 10, 0.5f, 0}, {1, 1, 0}},
  };
}

class Dropout : public BackendTest<OnBackend<DropoutCase>> {
 protected:
  const DropoutFunctions& functions() const { return kDropout[backend()]; }
  const DropoutCase& value() const { return GetParam().value; }
  const DropoutShape& shape() const { return value().shape; }
  Values<DropoutState> state() const { return {value().state}; }
};

TEST_P(Dropout, DropsExactlyWhereTheDrawIsBelowP) {
  TestContext context(3);
  const auto state = this->state();
  auto x = uniform<float>(shape().size(), 1, 1.0, 2.0);
  GuardedBuffer<float> y(shape().size()), in_place(x);
  functions().forward(x.data(), y.data(), shape(), state.data(), context);
  for (int64_t i = 0; i < shape().size(); ++i) {
    const uint64_t element =
        value().state.first_sample * static_cast<uint64_t>(shape().features) + static_cast<uint64_t>(i);
    const bool dropped = dropout_uniform(value().state, shape().layer, element) < shape().p;
    ASSERT_EQ(y[i] == 0.0f, dropped) << i;
    if (!dropped) {
      ASSERT_NEAR(y[i] * (1.0 - double{shape().p}), x[static_cast<size_t>(i)], 1e-6) << i;
    }
  }
  EXPECT_TRUE(y.intact());
  functions().forward(in_place.data(), in_place.data(), shape(), state.data(), context);
  EXPECT_TRUE(all_equal(in_place, y));
  EXPECT_TRUE(in_place.intact());
}

TEST_P(Dropout, AgreesWithTheReferenceAndDropsNanToo) {
  TestContext context;
  const auto state = this->state();
  auto x = uniform<float>(shape().size(), 1);
  for (size_t i = 0; i < x.size(); i += 7) x[i] = NAN;
  GuardedBuffer<float> y(shape().size()), expected(shape().size());
  reference::dropout_forward(x.data(), expected.data(), shape(), state.data(), context);
  functions().forward(x.data(), y.data(), shape(), state.data(), context);
  EXPECT_TRUE(all_close(y, expected, {0, 2e-7}));  // a product with the rounded 1/(1 − p) for a division
  GuardedBuffer<float> dx(shape().size());
  functions().backward(x.data(), dx.data(), shape(), state.data(), context);
  EXPECT_TRUE(all_equal(dx, y));  // the backward is the same map
  EXPECT_TRUE(y.intact() && dx.intact());
}

TEST_P(Dropout, BackwardWithTheReluBeforeItNeedsOnlyTheOutput) {
  TestContext context(3);
  const auto state = this->state();
  auto x = uniform<float>(shape().size(), 1);
  const auto dy = uniform<float>(shape().size(), 2);
  if (x.size() > 5) x[2] = 0.0f, x[3] = -0.0f, x[5] = NAN;
  GuardedBuffer<float> y(shape().size()), expected(shape().size()), dx(shape().size()), in_place(dy);
  for (size_t i = 0; i < x.size(); ++i) x[i] = x[i] <= 0.0f ? 0.0f : x[i];
  functions().forward(x.data(), y.data(), shape(), state.data(), context);
  functions().backward(dy.data(), expected.data(), shape(), state.data(), context);
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] <= 0.0f) expected[static_cast<int64_t>(i)] = 0.0f;
  }
  functions().relu_backward(y.data(), dy.data(), dx.data(), shape(), context);
  EXPECT_TRUE(all_equal(dx, expected));
  functions().relu_backward(y.data(), in_place.data(), in_place.data(), shape(), context);
  EXPECT_TRUE(all_equal(in_place, expected));
  EXPECT_TRUE(dx.intact() && in_place.intact() && y.intact());
}

INSTANTIATE_TEST_SUITE_P(, Dropout, on_every_backend(dropout_cases()), case_name);

class DropoutMask : public BackendTest<Backend> {
 protected:
  Values<float> mask(const DropoutShape& shape, const DropoutState& state, int threads = 1) const {
    TestContext context(threads);
    const Values<float> ones(static_cast<size_t>(shape.size()), 1.0f);
    Values<float> y(ones.size());
    const Values<DropoutState> states = {state};
    kDropout[backend()].forward(ones.data(), y.data(), shape, states.data(), context);
    return y;
  }
};

TEST_P(DropoutMask, IsTheSameForAnyNumberOfThreads) {
  const DropoutShape shape{13, 4099, 0.5f, 3};
  const auto one = mask(shape, {7, 1, 5}, 1);
  EXPECT_TRUE(all_equal(mask(shape, {7, 1, 5}, 2), one));
  EXPECT_TRUE(all_equal(mask(shape, {7, 1, 5}, 3), one));
}

TEST_P(DropoutMask, OfABatchIsThatOfItsPartsInTurn) {
  const auto whole = mask({9, 101, 0.4f, 2}, {7, 1, 0});
  auto parts = mask({4, 101, 0.4f, 2}, {7, 1, 0});
  const auto rest = mask({5, 101, 0.4f, 2}, {7, 1, 4});
  parts.insert(parts.end(), rest.begin(), rest.end());
  EXPECT_TRUE(all_equal(parts, whole));
}

TEST_P(DropoutMask, RowsMayBeCountedFromAnyPlaceBeforeOrBehindTheFirstSample) {
  const auto expected = mask({4, 101, 0.4f, 2}, {7, 1, 6});
  EXPECT_TRUE(all_equal(mask({4, 101, 0.4f, 2, 5}, {7, 1, 1}), expected));
  EXPECT_TRUE(all_equal(mask({4, 101, 0.4f, 2, -3}, {7, 1, 9}), expected));
}

TEST_P(DropoutMask, IsTheSameBitsOnEveryBackend) {
  // A row whose length is no multiple of four, from every place within a block of draws.
  for (const uint64_t first_sample : {0, 1, 2, 3}) {
    const DropoutShape shape{5, 333, 0.4f, 2};
    const DropoutState state{7, 1, first_sample};
    TestContext context;
    const Values<float> ones(static_cast<size_t>(shape.size()), 1.0f);
    Values<float> y(ones.size());
    cpu::dropout_forward(ones.data(), y.data(), shape, &state, context);
    EXPECT_TRUE(all_equal(mask(shape, state), y)) << first_sample;
  }
}

TEST_P(DropoutMask, PointersThatNoVectorFits) {
  TestContext context;
  const DropoutShape shape{3, 52, 0.5f, 1};
  const Values<DropoutState> state = {{7, 1, 2}};
  const auto x = uniform<float>(shape.size() + 1, 1, 1.0, 2.0);
  GuardedBuffer<float> y(shape.size() + 1, 0.5f), expected(shape.size() + 1, 0.5f);
  cpu::dropout_forward(x.data() + 1, expected.data() + 1, shape, state.data(), context);
  kDropout[backend()].forward(x.data() + 1, y.data() + 1, shape, state.data(), context);
  EXPECT_TRUE(all_equal(y, expected));
  EXPECT_TRUE(y.intact());
}

TEST_P(DropoutMask, ChangesWithSeedStepAndLayerAndKeepsTheRightShare) {
  const DropoutShape shape{100, 1000, 0.3f, 1};
  const auto base = mask(shape, {7, 1, 0});
  double kept = 0;
  for (const float v : base) kept += v != 0.0f;
  // 100,000 draws: a standard deviation of 0.0015; five of them.
  EXPECT_NEAR(kept / 1e5, 0.7, 0.0075);
  EXPECT_FALSE(all_equal(mask(shape, {8, 1, 0}), base));
  EXPECT_FALSE(all_equal(mask(shape, {7 + (uint64_t{1} << 32), 1, 0}), base));
  EXPECT_FALSE(all_equal(mask(shape, {7, 2, 0}), base));
  EXPECT_FALSE(all_equal(mask(shape, {7, 1 + (uint64_t{1} << 32), 0}), base));
  EXPECT_FALSE(all_equal(mask({100, 1000, 0.3f, 2}, {7, 1, 0}), base));
}

TEST_P(DropoutMask, RefusesAProbabilityOfOne) {
  EXPECT_TRUE(throws_with<ShapeError>([&] { mask({1, 4, 1.0f, 0}, {}); }, {"dropout", "[0, 1)"}));
}

INSTANTIATE_TEST_SUITE_P(, DropoutMask, testing::ValuesIn(backends()), backend_name);

TEST(DropoutReference, GradientAgreesWithFiniteDifferences) {
  TestContext context;
  const DropoutShape shape{6, 7, 0.5f, 1};
  const DropoutState state{3, 4, 5};
  const auto x = uniform<double>(42, 1), dy = uniform<double>(42, 2);
  Values<double> y(42), dx(42);
  reference::dropout_backward(dy.data(), dx.data(), shape, &state, context);
  EXPECT_TRUE(check_gradient(
      [&](const Values<double>& at) {
        reference::dropout_forward(at.data(), y.data(), shape, &state, context);
        return dot(y, dy);
      },
      x, dx));
}

}  // namespace
}  // namespace striate::test
