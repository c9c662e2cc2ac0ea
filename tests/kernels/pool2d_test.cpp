#include "kernels/pool2d/pool2d.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/error.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/error.h"
#include "tests/support/fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

struct PoolFunctions {
  decltype(&cpu::max_pool2d_forward<float>) max_forward;
  decltype(&cpu::max_pool2d_backward<float>) max_backward;
  decltype(&cpu::avg_pool2d_forward<float>) avg_forward;
  decltype(&cpu::avg_pool2d_backward<float>) avg_backward;
  decltype(&cpu::adaptive_avg_pool2d_forward<float>) adaptive_forward;
  decltype(&cpu::adaptive_avg_pool2d_backward<float>) adaptive_backward;
};

constexpr BackendTable<PoolFunctions> kPool = {
    .cpu = {&cpu::max_pool2d_forward, &cpu::max_pool2d_backward, &cpu::avg_pool2d_forward, &cpu::avg_pool2d_backward,
            &cpu::adaptive_avg_pool2d_forward, &cpu::adaptive_avg_pool2d_backward},
    .cuda = {&cuda::max_pool2d_forward, &cuda::max_pool2d_backward, &cuda::avg_pool2d_forward,
             &cuda::avg_pool2d_backward, &cuda::adaptive_avg_pool2d_forward, &cuda::adaptive_avg_pool2d_backward}};

struct PoolCase {
  std::string name;
  Pool2dShape shape;
};

struct AdaptiveCase {
  std::string name;
  AdaptivePool2dShape shape;
};

Pool2dShape pool(int64_t N, int64_t H, int64_t W, int64_t C, int64_t window, int64_t stride, int64_t pad = 0) {
  return {N, H, W, C, window, window, stride, stride, pad, pad};
}

std::vector<PoolCase> pool_cases() {
  Pool2dShape rectangular{2, 9, 14, 21, 4, 3, 3, 2, 2, 1};
  return {
      {"alexnet_pool1", pool(2, 13, 13, 64, 3, 2)},
      {"alexnet_pool5", pool(2, 13, 13, 37, 3, 2)},
      {"cifar_pool", pool(3, 8, 8, 48, 2, 2)},
      {"resnet_stem_pool", pool(2, 14, 14, 16, 3, 2, 1)},
      {"overlapping_by_two_and_padded", pool(2, 7, 6, 20, 3, 1, 1)},
      {"stride_larger_than_window", pool(2, 11, 11, 5, 2, 3)},
      {"rectangular", rectangular},
      {"one_channel", pool(2, 6, 6, 1, 2, 2)},
      {"three_channels", pool(2, 7, 7, 3, 3, 2)},
      {"size_one", pool(1, 1, 1, 1, 1, 1)},
      {"global", pool(3, 6, 6, 10, 6, 6)},
      {"many_rows", pool(4, 33, 35, 17, 3, 2)},
      {"more_channels_than_a_block", pool(1, 5, 4, 260, 3, 2)},
      {"side_by_side_with_a_rest", pool(2, 8, 11, 35, 3, 3)},
      {"rows_between_windows", {2, 11, 8, 33, 2, 2, 4, 2, 1, 0}},
      {"empty_batch", pool(0, 6, 6, 4, 2, 2)},
  };
}

std::vector<AdaptiveCase> adaptive_cases() {
  return {
      {"alexnet_same_size", {2, 6, 6, 32, 6, 6}},
      {"shrinks_unevenly", {2, 13, 10, 19, 6, 4}},
      {"grows", {2, 2, 3, 16, 6, 7}},
      {"global", {3, 7, 7, 33, 1, 1}},
      {"size_one", {1, 1, 1, 1, 1, 1}},
      {"shrinks_and_grows", {1, 9, 2, 5, 4, 5}},
      {"three_channels", {2, 8, 8, 3, 3, 3}},
      {"empty_batch", {0, 7, 7, 4, 6, 6}},
  };
}

std::vector<int64_t> x_dims(const auto& s) { return {s.N, s.H, s.W, s.C}; }

class Pool2d : public BackendTest<OnBackend<PoolCase>> {
 protected:
  const PoolFunctions& functions() const { return kPool[backend()]; }
  const Pool2dShape& shape() const { return GetParam().value.shape; }
  std::vector<int64_t> y_dims() const { return {shape().N, shape().P(), shape().Q(), shape().C}; }
  TestContext context_;
};

TEST_P(Pool2d, MaxForward) {
  // Few values, so that windows hold ties; NaN and −∞ among them.
  auto x = small_integers<float>(shape().x_size(), 1);
  for (size_t i = 0; i < x.size(); i += 31) x[i] = NAN;
  for (size_t i = 7; i < x.size(); i += 11) x[i] = -INFINITY;
  const GuardedBuffer<float> input(x);
  GuardedBuffer<float> y(shape().y_size()), expected(shape().y_size());
  GuardedBuffer<uint8_t> index(shape().y_size(), 255), expected_index(shape().y_size(), 255);
  reference::max_pool2d_forward(input.data(), expected.data(), expected_index.data(), shape(), context_);
  functions().max_forward(input.data(), y.data(), index.data(), shape(), context_);
  EXPECT_TRUE(all_equal(y, expected, y_dims()));
  EXPECT_TRUE(all_equal(index, expected_index, y_dims()));
  EXPECT_TRUE(y.intact() && index.intact() && input.intact());
}

TEST_P(Pool2d, MaxBackward) {
  const auto x = uniform<float>(shape().x_size(), 2);
  Values<float> y(static_cast<size_t>(shape().y_size()));
  Values<uint8_t> index(y.size());
  reference::max_pool2d_forward(x.data(), y.data(), index.data(), shape(), context_);
  const auto dy = small_integers<float>(shape().y_size(), 3);
  GuardedBuffer<float> dx(shape().x_size()), expected(shape().x_size());
  reference::max_pool2d_backward(dy.data(), index.data(), expected.data(), shape(), context_);
  functions().max_backward(dy.data(), index.data(), dx.data(), shape(), context_);
  EXPECT_TRUE(all_equal(dx, expected, x_dims(shape())));  // sums of small integers are exact
  EXPECT_TRUE(dx.intact());
}

TEST_P(Pool2d, MaxTakesTheBackwardOfAReluAlong) {
  // Half of the values at zero, so that whole windows are; NaN goes through a ReLU.
  auto x = small_integers<float>(shape().x_size(), 1);
  for (size_t i = 0; i < x.size(); ++i) x[i] = i % 31 == 3 ? NAN : std::max(0.0f, x[i] - 1.0f);
  const auto dy = small_integers<float>(shape().y_size(), 3);
  Values<float> y(dy.size()), dx(x.size()), relu_dx(x.size());
  Values<uint8_t> index(dy.size());
  reference::max_pool2d_forward(x.data(), y.data(), index.data(), shape(), context_);
  reference::max_pool2d_backward(dy.data(), index.data(), dx.data(), shape(), context_);
  reference::activation_backward(Activation::relu, x.data(), dx.data(), relu_dx.data(), shape().x_size(), context_);

  Pool2dShape after_relu = shape();
  after_relu.after_relu = true;
  GuardedBuffer<float> found_y(shape().y_size()), found(shape().x_size());
  GuardedBuffer<uint8_t> marked(shape().y_size()), expected_marks(shape().y_size());
  functions().max_forward(x.data(), found_y.data(), marked.data(), after_relu, context_);
  functions().max_backward(dy.data(), marked.data(), found.data(), after_relu, context_);
  EXPECT_TRUE(all_equal(found_y, y, y_dims()));
  EXPECT_TRUE(all_equal(found, relu_dx, x_dims(shape())));
  reference::max_pool2d_forward(x.data(), y.data(), expected_marks.data(), after_relu, context_);
  EXPECT_TRUE(all_equal(marked, expected_marks, y_dims()));
}

TEST_P(Pool2d, AvgForwardAndBackward) {
  const auto x = uniform<float>(shape().x_size(), 4), dy = uniform<float>(shape().y_size(), 5);
  GuardedBuffer<float> y(shape().y_size()), expected(shape().y_size());
  reference::avg_pool2d_forward(x.data(), expected.data(), shape(), context_);
  functions().avg_forward(x.data(), y.data(), shape(), context_);
  EXPECT_TRUE(all_close(y, expected, {1e-6, 1e-6}, y_dims()));  // up to 36 float additions of values below 1
  EXPECT_TRUE(y.intact());
  GuardedBuffer<float> dx(shape().x_size()), expected_dx(shape().x_size());
  reference::avg_pool2d_backward(dy.data(), expected_dx.data(), shape(), context_);
  functions().avg_backward(dy.data(), dx.data(), shape(), context_);
  EXPECT_TRUE(all_close(dx, expected_dx, {1e-6, 1e-6}, x_dims(shape())));
  EXPECT_TRUE(dx.intact());
}

TEST_P(Pool2d, TensorsNeedNoAlignmentBeyondTheirValues) {
  const auto x = uniform<float>(shape().x_size() + 1, 8), dy = uniform<float>(shape().y_size() + 1, 9);
  const auto run = [&](size_t x_offset, size_t y_offset, size_t index_offset) {
    const Values<float> x_from(x.begin() + 1 - x_offset, x.end()), dy_from(dy.begin() + 1 - y_offset, dy.end());
    Values<float> y(static_cast<size_t>(shape().y_size()) + y_offset, 5.0f), dx(x.size(), 5.0f);
    Values<uint8_t> index(y.size() + index_offset);
    functions().max_forward(x_from.data() + x_offset, y.data() + y_offset, index.data() + index_offset, shape(),
                            context_);
    functions().max_backward(dy_from.data() + y_offset, index.data() + index_offset, dx.data() + x_offset, shape(),
                             context_);
    Values<float> results(y.begin() + static_cast<int64_t>(y_offset), y.end());
    results.insert(results.end(), dx.begin() + static_cast<int64_t>(x_offset), dx.end() - 1 + x_offset);
    return results;
  };
  const auto aligned = run(0, 0, 0);
  EXPECT_TRUE(all_equal(run(1, 0, 0), aligned));
  EXPECT_TRUE(all_equal(run(0, 1, 0), aligned));
  EXPECT_TRUE(all_equal(run(0, 0, 1), aligned));
}

TEST_P(Pool2d, NumberOfThreadsDoesNotMatter) {
  const auto x = uniform<float>(shape().x_size(), 6), dy = uniform<float>(shape().y_size(), 7);
  const auto run = [&](int threads) {
    TestContext context(threads);
    Values<float> y(static_cast<size_t>(shape().y_size())), max_dx(x.size()), avg_dx(x.size());
    Values<uint8_t> index(y.size());
    functions().max_forward(x.data(), y.data(), index.data(), shape(), context);
    functions().max_backward(dy.data(), index.data(), max_dx.data(), shape(), context);
    functions().avg_backward(dy.data(), avg_dx.data(), shape(), context);
    y.insert(y.end(), max_dx.begin(), max_dx.end());
    y.insert(y.end(), avg_dx.begin(), avg_dx.end());
    return y;
  };
  EXPECT_TRUE(all_equal(run(3), run(1)));
}

INSTANTIATE_TEST_SUITE_P(, Pool2d, on_every_backend(pool_cases()), case_name);

class AdaptivePool2d : public BackendTest<OnBackend<AdaptiveCase>> {};

TEST_P(AdaptivePool2d, ForwardAndBackward) {
  const PoolFunctions& functions = kPool[backend()];
  const AdaptivePool2dShape& shape = GetParam().value.shape;
  TestContext context;
  const auto x = uniform<float>(shape.x_size(), 1), dy = uniform<float>(shape.y_size(), 2);
  GuardedBuffer<float> y(shape.y_size()), expected(shape.y_size());
  reference::adaptive_avg_pool2d_forward(x.data(), expected.data(), shape, context);
  functions.adaptive_forward(x.data(), y.data(), shape, context);
  EXPECT_TRUE(all_close(y, expected, {1e-6, 1e-6}));  // up to 49 float additions of values below 1
  EXPECT_TRUE(y.intact());
  GuardedBuffer<float> dx(shape.x_size()), expected_dx(shape.x_size());
  reference::adaptive_avg_pool2d_backward(dy.data(), expected_dx.data(), shape, context);
  functions.adaptive_backward(dy.data(), dx.data(), shape, context);
  EXPECT_TRUE(all_close(dx, expected_dx, {1e-6, 1e-6}, x_dims(shape)));
  EXPECT_TRUE(dx.intact());
}

INSTANTIATE_TEST_SUITE_P(, AdaptivePool2d, on_every_backend(adaptive_cases()), case_name);

TEST(PoolReference, MaxTakesTheFirstOfEqualsAndNanBeforeAll) {
  TestContext context;
  const Values<float> x = {1,   3, 3,         3,  //
                           NAN, 9, -INFINITY, -INFINITY};
  // [1,2,4,1] in windows of 2×2: {1,3,NaN,9} and {3,3,−∞,−∞}.
  Values<float> y(2);
  Values<uint8_t> index(2);
  reference::max_pool2d_forward(x.data(), y.data(), index.data(), pool(1, 2, 4, 1, 2, 2), context);
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_EQ(index[0], 2);
  EXPECT_EQ(y[1], 3.0f);
  EXPECT_EQ(index[1], 0);
}

TEST(PoolReference, PaddingNeverWinsTheMaximumAndCountsAsZeroInTheAverage) {
  TestContext context;
  const Values<float> x = {-4, -8, -2, -6};  // [1,2,2,1]
  Values<float> y(4);
  Values<uint8_t> index(4);
  const Pool2dShape shape = pool(1, 2, 2, 1, 2, 2, 1);
  reference::max_pool2d_forward(x.data(), y.data(), index.data(), shape, context);
  EXPECT_EQ(y, x);
  EXPECT_EQ(index, (Values<uint8_t>{3, 2, 1, 0}));
  reference::avg_pool2d_forward(x.data(), y.data(), shape, context);
  EXPECT_EQ(y, (Values<float>{-1, -2, -0.5, -1.5}));
}

TEST(PoolReference, GradientsAgreeWithFiniteDifferences) {
  TestContext context;
  const Pool2dShape shape{2, 5, 6, 3, 3, 2, 2, 1, 1, 1};
  const auto x = distinct<double>(shape.x_size(), 1), dy = uniform<double>(shape.y_size(), 2);
  Values<double> y(dy.size()), dx(x.size());
  Values<uint8_t> index(dy.size());
  const auto max = [&](const Values<double>& at) {
    reference::max_pool2d_forward(at.data(), y.data(), index.data(), shape, context);
    return dot(y, dy);
  };
  max(x);
  reference::max_pool2d_backward(dy.data(), index.data(), dx.data(), shape, context);
  EXPECT_TRUE(check_gradient(max, x, dx));

  const auto avg = [&](const Values<double>& at) {
    reference::avg_pool2d_forward(at.data(), y.data(), shape, context);
    return dot(y, dy);
  };
  reference::avg_pool2d_backward(dy.data(), dx.data(), shape, context);
  EXPECT_TRUE(check_gradient(avg, x, dx));

  for (const AdaptivePool2dShape& cells :
       {AdaptivePool2dShape{2, 5, 6, 3, 2, 4}, AdaptivePool2dShape{2, 5, 6, 3, 7, 1}}) {
    const auto weights = uniform<double>(cells.y_size(), 3);
    Values<double> means(weights.size());
    const auto adaptive = [&](const Values<double>& at) {
      reference::adaptive_avg_pool2d_forward(at.data(), means.data(), cells, context);
      return dot(means, weights);
    };
    reference::adaptive_avg_pool2d_backward(weights.data(), dx.data(), cells, context);
    EXPECT_TRUE(check_gradient(adaptive, x, dx));
  }
}

class PoolErrors : public BackendTest<Backend> {};

TEST_P(PoolErrors, NameTheOpAndItsSizes) {
  const PoolFunctions& functions = kPool[backend()];
  TestContext context;
  float x = 0, y = 0;
  uint8_t index = 0;
  const auto shape = pool(1, 2, 2, 1, 3, 2);
  EXPECT_TRUE(throws_with<ShapeError>([&] { functions.max_forward(&x, &y, &index, shape, context); },
                                      {"pool2d", "[1,2,2,1]", "3x3", "larger input"}));
  EXPECT_TRUE(throws_with<ShapeError>([&] { functions.max_backward(&y, &index, &x, shape, context); }, {"pool2d"}));
  EXPECT_TRUE(throws_with<ShapeError>([&] { functions.avg_forward(&x, &y, shape, context); }, {"pool2d"}));
  EXPECT_TRUE(throws_with<ShapeError>([&] { functions.avg_backward(&y, &x, shape, context); }, {"pool2d"}));
  EXPECT_TRUE(throws_with<ShapeError>(
      [&] {
        functions.adaptive_forward(&x, &y, {1, 2, 2, 1, 0, 1}, context);
      },
      {"adaptive_avg_pool2d"}));
}

INSTANTIATE_TEST_SUITE_P(, PoolErrors, testing::ValuesIn(backends()), backend_name);

}  // namespace
}  // namespace striate::test
