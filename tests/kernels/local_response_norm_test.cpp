#include "kernels/local_response_norm/local_response_norm.h"

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

struct LocalResponseNormFunctions {
  decltype(&cpu::local_response_norm_forward<float>) forward;
  decltype(&cpu::local_response_norm_backward<float>) backward;
};

constexpr BackendTable<LocalResponseNormFunctions> kLocalResponseNorm = {
    .cpu = {&cpu::local_response_norm_forward, &cpu::local_response_norm_backward},
    .cuda = {&cuda::local_response_norm_forward, &cuda::local_response_norm_backward}};

struct LocalResponseNormCase {
  std::string name;
  LocalResponseNormShape shape;
};

std::vector<LocalResponseNormCase> local_response_norm_cases() {
  return {
      {"paper_conv1", {2 * 13 * 13, 96}},
      {"paper_conv2", {200, 256}},
      {"caffe", {100, 64, 5, 1.0f, 1e-4f, 0.75f, true}},
      {"strong", {60, 37, 5, 1.0f, 0.5f, 0.75f}},
      {"even_window", {60, 37, 4, 2.0f, 0.5f, 0.75f}},
      {"window_of_one", {60, 21, 1, 2.0f, 0.5f, 0.75f}},
      {"window_wider_than_the_row", {60, 7, 21, 2.0f, 0.5f, 0.75f}},
      {"window_of_nine", {60, 36, 9, 2.0f, 0.5f, 0.75f}},
      {"window_of_ten", {60, 36, 10, 2.0f, 0.5f, 0.75f}},
      {"rows_longer_than_a_block", {3, 1030, 5, 2.0f, 0.5f, 0.75f}},
      {"rows_longer_than_a_block_of_vectors", {2, 4100, 4, 2.0f, 0.5f, 0.75f}},
      {"beta_half", {60, 20, 3, 2.0f, 0.5f, 0.5f}},
      {"beta_one", {60, 20, 3, 2.0f, 0.5f, 1.0f}},
      {"beta_odd", {60, 20, 3, 2.0f, 0.5f, 0.61f}},
      {"beta_zero", {60, 20, 3, 2.0f, 0.5f, 0.0f}},
      {"three_channels", {33, 3, 5, 2.0f, 0.5f, 0.75f}},
      {"size_one", {1, 1, 5, 2.0f, 0.5f, 0.75f}},
      {"many_rows", {3001, 48, 5, 2.0f, 0.5f, 0.75f}},
      {"empty_batch", {0, 48}},
  };
}

class LocalResponseNorm : public BackendTest<OnBackend<LocalResponseNormCase>> {
 protected:
  LocalResponseNorm()
      : x_(uniform<float>(shape().rows * shape().C, 1, -3.0, 3.0)), dy_(uniform<float>(shape().rows * shape().C, 2)) {}
  const LocalResponseNormFunctions& functions() const { return kLocalResponseNorm[backend()]; }
  const LocalResponseNormShape& shape() const { return GetParam().value.shape; }
  int64_t size() const { return shape().rows * shape().C; }

  Values<float> x_, dy_;
  TestContext context_;
};

// A power costs a few ulp; the sum of the gradient's terms up to ten of the greatest.
TEST_P(LocalResponseNorm, ForwardAndBackward) {
  GuardedBuffer<float> y(size()), expected(size()), dx(size()), expected_dx(size());
  reference::local_response_norm_forward(x_.data(), expected.data(), shape(), context_);
  functions().forward(x_.data(), y.data(), shape(), context_);
  EXPECT_TRUE(all_close(y, expected, {0, 1e-6}, {shape().rows, shape().C}));
  reference::local_response_norm_backward(x_.data(), dy_.data(), expected_dx.data(), shape(), context_);
  functions().backward(x_.data(), dy_.data(), dx.data(), shape(), context_);
  EXPECT_TRUE(all_close(dx, expected_dx, {1e-6, 2e-6}, {shape().rows, shape().C}));
  EXPECT_TRUE(y.intact() && dx.intact());
}

TEST_P(LocalResponseNorm, NumberOfThreadsDoesNotMatter) {
  const auto run = [&](int threads) {
    TestContext context(threads);
    Values<float> y(x_.size()), dx(x_.size());
    functions().forward(x_.data(), y.data(), shape(), context);
    functions().backward(x_.data(), dy_.data(), dx.data(), shape(), context);
    y.insert(y.end(), dx.begin(), dx.end());
    return y;
  };
  EXPECT_TRUE(all_equal(run(3), run(1)));
}

TEST_P(LocalResponseNorm, ANanStaysInItsPixel) {
  if (size() == 0) return;
  x_[x_.size() - 1] = NAN;
  Values<float> y(x_.size());
  functions().forward(x_.data(), y.data(), shape(), context_);
  EXPECT_TRUE(std::isnan(y.back()));
  for (int64_t i = 0; i < size() - shape().C; ++i) ASSERT_TRUE(std::isfinite(y[static_cast<size_t>(i)]));
}

INSTANTIATE_TEST_SUITE_P(, LocalResponseNorm, on_every_backend(local_response_norm_cases()), case_name);

class LocalResponseNormErrors : public BackendTest<Backend> {};

TEST_P(LocalResponseNormErrors, NameTheOp) {
  TestContext context;
  float x = 0, y = 0;
  EXPECT_TRUE(throws_with<ShapeError>(
      [&] {
        kLocalResponseNorm[backend()].forward(&x, &y, {1, 0}, context);
      },
      {"local_response_norm", "[1,0]"}));
}

INSTANTIATE_TEST_SUITE_P(, LocalResponseNormErrors, testing::ValuesIn(backends()), backend_name);

TEST(LocalResponseNormReference, GivesThePapersFormula) {
  TestContext context;
  const Values<double> x = {1, 2, 3, 4};
  Values<double> y(4);
  LocalResponseNormShape shape{1, 4, 3, 2.0f, 0.5f, 0.75f};
  reference::local_response_norm_forward(x.data(), y.data(), shape, context);
  EXPECT_DOUBLE_EQ(y[0], 1.0 * std::pow(2.0 + 0.5 * 5.0, -0.75));
  EXPECT_DOUBLE_EQ(y[1], 2.0 * std::pow(2.0 + 0.5 * 14.0, -0.75));
  EXPECT_DOUBLE_EQ(y[3], 4.0 * std::pow(2.0 + 0.5 * 25.0, -0.75));
  shape.divide_alpha = true;
  reference::local_response_norm_forward(x.data(), y.data(), shape, context);
  EXPECT_DOUBLE_EQ(y[1], 2.0 * std::pow(2.0 + double{0.5f / 3.0f} * 14.0, -0.75));
}

TEST(LocalResponseNormReference, GradientAgreesWithFiniteDifferences) {
  TestContext context;
  for (const int64_t window : {1, 4, 5, 30}) {
    const LocalResponseNormShape shape{3, 9, window, 1.0f, 0.5f, 0.75f, window == 5};
    const auto x = uniform<double>(27, 1, -2, 2), dy = uniform<double>(27, 2);
    Values<double> y(27), dx(27);
    reference::local_response_norm_backward(x.data(), dy.data(), dx.data(), shape, context);
    EXPECT_TRUE(check_gradient(
        [&](const Values<double>& at) {
          reference::local_response_norm_forward(at.data(), y.data(), shape, context);
          return dot(y, dy);
        },
        x, dx));
  }
}

}  // namespace
}  // namespace striate::test
