#include "kernels/activation/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

struct ActivationFunctions {
  decltype(&cpu::activation_forward<float>) forward;
  decltype(&cpu::activation_backward<float>) backward;
};

constexpr BackendTable<ActivationFunctions> kActivation = {
    .cpu = {&cpu::activation_forward, &cpu::activation_backward},
    .cuda = {&cuda::activation_forward, &cuda::activation_backward}};

struct ActivationCase {
  std::string name;
  Activation activation;
  // 0 where the arithmetic is exact; else a few ulp of the exponential and of the polynomial for Φ. The absolute part
  // is for 1 − Φ(−x) and 1 − σ, exact to an ulp of 1, times |x| ≤ 20.
  Tolerance tolerance;
};

std::vector<ActivationCase> activation_cases() {
  return {{"none", Activation::none, {}},
          {"relu", Activation::relu, {}},
          {"leaky_relu", Activation::leaky_relu, {0, 1e-7}},
          {"gelu", Activation::gelu, {1e-7, 2e-6}},
          {"silu", Activation::silu, {1e-7, 2e-6}}};
}

class ActivationTest : public BackendTest<OnBackend<ActivationCase>> {
 protected:
  const ActivationFunctions& functions() const { return kActivation[backend()]; }
  Activation activation() const { return GetParam().value.activation; }

  // Values near 0 and far from it, both zeros, NaN.
  static Values<float> inputs(int64_t n, uint32_t seed) {
    auto x = uniform<float>(n, seed, -6.0, 6.0);
    for (size_t i = 0; i < x.size(); i += 5) x[i] *= 4.0f;
    for (size_t i = 1; i < x.size(); i += 13) x[i] = i % 2 == 0 ? 0.0f : -0.0f;
    for (size_t i = 3; i < x.size(); i += 41) x[i] = NAN;
    for (size_t i = 4; i < x.size(); i += 37) x[i] *= 1e-4f;
    return x;
  }
  TestContext context_;
};

TEST_P(ActivationTest, ForwardForEveryLength) {
  for (const int64_t n : {0, 1, 3, 7, 16, 17, 31, 100, 40000}) {
    const auto x = inputs(n, 1);
    GuardedBuffer<float> y(n), expected(n), in_place(x);
    reference::activation_forward(activation(), x.data(), expected.data(), n, context_);
    functions().forward(activation(), x.data(), y.data(), n, context_);
    EXPECT_TRUE(all_close(y, expected, GetParam().value.tolerance)) << n;
    functions().forward(activation(), in_place.data(), in_place.data(), n, context_);
    EXPECT_TRUE(all_equal(in_place, y));
    EXPECT_TRUE(y.intact() && in_place.intact());
  }
}

TEST_P(ActivationTest, BackwardForEveryLength) {
  for (const int64_t n : {0, 1, 3, 7, 16, 17, 31, 100, 40000}) {
    const auto saved = inputs(n, 2);
    const auto dy = uniform<float>(n, 3);
    GuardedBuffer<float> dx(n), expected(n), in_place(dy);
    reference::activation_backward(activation(), saved.data(), dy.data(), expected.data(), n, context_);
    functions().backward(activation(), saved.data(), dy.data(), dx.data(), n, context_);
    // The derivative of gelu and silu adds terms up to x·φ: an ulp of each.
    EXPECT_TRUE(all_close(dx, expected, {5 * GetParam().value.tolerance.absolute, GetParam().value.tolerance.relative}))
        << n;
    functions().backward(activation(), saved.data(), in_place.data(), in_place.data(), n, context_);
    EXPECT_TRUE(all_equal(in_place, dx));
    EXPECT_TRUE(dx.intact() && in_place.intact());
  }
}

TEST_P(ActivationTest, FarValuesNeitherOverflowNorVanish) {
  const Values<float> x = {-1e30f, -1000.0f, -105.0f, -89.0f, -20.0f, 20.0f, 89.0f, 105.0f, 1000.0f, 1e30f};
  const auto n = static_cast<int64_t>(x.size());
  const Values<float> ones(x.size(), 1.0f);
  GuardedBuffer<float> y(n), expected(n);
  reference::activation_forward(activation(), x.data(), expected.data(), n, context_);
  functions().forward(activation(), x.data(), y.data(), n, context_);
  EXPECT_TRUE(all_close(y, expected, {1e-30, 1e-5}));
  reference::activation_backward(activation(), x.data(), ones.data(), expected.data(), n, context_);
  functions().backward(activation(), x.data(), ones.data(), y.data(), n, context_);
  EXPECT_TRUE(all_close(y, expected, {1e-30, 1e-5}));
}

TEST_P(ActivationTest, PointersThatNoVectorFits) {
  constexpr int64_t n = 1003;
  auto x = inputs(n + 1, 1);
  GuardedBuffer<float> y(n + 1, 0.5f), expected(n, 0.0f);
  reference::activation_forward(activation(), x.data() + 1, expected.data(), n, context_);
  functions().forward(activation(), x.data() + 1, y.data() + 1, n, context_);
  EXPECT_EQ(y[0], 0.5f);
  EXPECT_TRUE(all_close(Values<float>(y.data() + 1, y.data() + n + 1), expected, GetParam().value.tolerance));
  EXPECT_TRUE(y.intact());
}

INSTANTIATE_TEST_SUITE_P(, ActivationTest, on_every_backend(activation_cases()), case_name);

TEST(ActivationReference, GivesKnownValues) {
  TestContext context;
  const auto value = [&](Activation activation, double x) {
    double y = 0;
    reference::activation_forward(activation, &x, &y, 1, context);
    return y;
  };
  EXPECT_EQ(value(Activation::relu, -2.0), 0.0);
  EXPECT_EQ(value(Activation::relu, 3.0), 3.0);
  EXPECT_NEAR(value(Activation::leaky_relu, -2.0), -0.02, 1e-9);
  EXPECT_NEAR(value(Activation::gelu, 1.0), 0.8413447460685429, 1e-15);  // Φ(1)
  EXPECT_NEAR(value(Activation::silu, 1.0), 0.7310585786300049, 1e-15);  // σ(1)
  EXPECT_NEAR(value(Activation::gelu, -2.0), -2.0 * 0.02275013194817921, 1e-15);
}

TEST(ActivationReference, DerivativeAtZeroIsPyTorchs) {
  TestContext context;
  const double zero = 0, dy = 1;
  double dx = -1;
  reference::activation_backward(Activation::relu, &zero, &dy, &dx, 1, context);
  EXPECT_EQ(dx, 0.0);
  reference::activation_backward(Activation::leaky_relu, &zero, &dy, &dx, 1, context);
  EXPECT_EQ(dx, double{kLeakySlope});
}

TEST(ActivationReference, GradientsAgreeWithFiniteDifferences) {
  TestContext context;
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::leaky_relu, Activation::gelu, Activation::silu}) {
    const auto x = step_round(uniform<double>(50, 1, -4, 4), 0.0), dy = uniform<double>(50, 2);
    Values<double> y(50), dx(50);
    const auto f = [&](const Values<double>& at) {
      reference::activation_forward(activation, at.data(), y.data(), 50, context);
      return dot(y, dy);
    };
    f(x);
    const auto& saved = derivative_from_output(activation) ? y : x;
    reference::activation_backward(activation, saved.data(), dy.data(), dx.data(), 50, context);
    EXPECT_TRUE(check_gradient(f, x, dx)) << static_cast<int>(activation);
  }
}

}  // namespace
}  // namespace striate::test
