#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

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

struct LossFunctions {
  decltype(&cpu::softmax_forward) softmax;
  decltype(&cpu::softmax_cross_entropy_forward) forward;
  decltype(&cpu::softmax_cross_entropy_backward) backward;
};

constexpr BackendTable<LossFunctions> kLoss = {
    .cpu = {&cpu::softmax_forward, &cpu::softmax_cross_entropy_forward, &cpu::softmax_cross_entropy_backward}};

struct LossCase {
  std::string name;
  SoftmaxCrossEntropyShape shape;
  double range = 5.0;   // logits lie within ± this …
  double offset = 0.0;  // … of this
};

std::vector<LossCase> loss_cases() {
  return {
      {"imagenet", {16, 1000, 0.0f}},
      {"imagenet_smoothed", {16, 1000, 0.1f}},
      {"cifar", {128, 10, 0.0f}},
      {"cifar_smoothed", {37, 10, 0.1f}},
      {"odd_classes", {5, 37, 0.2f}},
      {"one_class", {3, 1, 0.0f}},
      {"two_classes_one_sample", {1, 2, 0.0f}},
      {"large_logits", {9, 100, 0.1f}, 500.0},
      {"far_from_zero", {9, 100, 0.1f}, 5.0, 10000.0},
      {"empty_batch", {0, 10, 0.1f}},
  };
}

class SoftmaxCrossEntropy : public testing::TestWithParam<OnBackend<LossCase>> {
 protected:
  const LossFunctions& backend() const { return kLoss[GetParam().backend]; }
  const SoftmaxCrossEntropyShape& shape() const { return GetParam().value.shape; }
  int64_t size() const { return shape().N * shape().classes; }
  Values<float> logits() const {
    const auto& value = GetParam().value;
    return uniform<float>(size(), 1, value.offset - value.range, value.offset + value.range);
  }
  Values<int32_t> labels() const { return small_integers<int32_t>(shape().N, 2, 0, shape().classes - 1); }
  TestContext context_;
};

TEST_P(SoftmaxCrossEntropy, Softmax) {
  const auto x = logits();
  GuardedBuffer<float> p(size()), expected(size()), in_place(x);
  reference::softmax_forward(x.data(), expected.data(), shape().N, shape().classes, context_);
  backend().softmax(x.data(), p.data(), shape().N, shape().classes, context_);
  backend().softmax(in_place.data(), in_place.data(), shape().N, shape().classes, context_);
  // The argument of the exponential is exact to half an ulp of its size, up to 2^-15 of a thousand; far below 1 the
  // probability is relative to that.
  EXPECT_TRUE(
      all_close(p, expected, {1e-30, GetParam().value.range > 100 ? 1e-4 : 5e-6}, {shape().N, shape().classes}));
  EXPECT_TRUE(all_equal(in_place, p));
  EXPECT_TRUE(p.intact() && in_place.intact());
}

TEST_P(SoftmaxCrossEntropy, ForwardAndBackward) {
  const auto x = logits();
  const auto label = labels();
  const int64_t N = shape().N;
  GuardedBuffer<float> loss(1), sample_loss(N), lse(N), dx(size());
  GuardedBuffer<float> expected_loss(1), expected_sample_loss(N), expected_lse(N), expected_dx(size());
  GuardedBuffer<int32_t> rank(N), expected_rank(N);
  reference::softmax_cross_entropy_forward(x.data(), label.data(), expected_loss.data(), expected_sample_loss.data(),
                                           expected_lse.data(), expected_rank.data(), shape(), context_);
  backend().forward(x.data(), label.data(), loss.data(), sample_loss.data(), lse.data(), rank.data(), shape(),
                    context_);
  EXPECT_TRUE(all_close(loss, expected_loss, {2e-6, 1e-6}));
  EXPECT_TRUE(all_close(sample_loss, expected_sample_loss, {2e-6, 1e-6}));
  EXPECT_TRUE(all_close(lse, expected_lse, {2e-6, 1e-6}));
  EXPECT_TRUE(all_equal(rank, expected_rank));

  const float dloss = 0.7f;
  reference::softmax_cross_entropy_backward(x.data(), label.data(), expected_lse.data(), &dloss, expected_dx.data(),
                                            shape(), context_);
  backend().backward(x.data(), label.data(), expected_lse.data(), &dloss, dx.data(), shape(), context_);
  // logit − log_sum_exp is rounded relative to the logits: 2^-11 … of ten thousand is the worst a float can do.
  const double scale = N > 0 ? 1.0 / static_cast<double>(N) : 1.0;
  EXPECT_TRUE(all_close(dx, expected_dx, {2e-6 * scale, 5e-5}, {N, shape().classes}));
  EXPECT_TRUE(loss.intact() && sample_loss.intact() && lse.intact() && rank.intact() && dx.intact());

  const float mean = loss[0];
  backend().forward(x.data(), label.data(), nullptr, sample_loss.data(), lse.data(), rank.data(), shape(), context_);
  EXPECT_EQ(loss[0], mean);
}

TEST_P(SoftmaxCrossEntropy, NumberOfThreadsDoesNotMatter) {
  const auto x = logits();
  const auto label = labels();
  const auto run = [&](int threads) {
    TestContext context(threads);
    Values<float> loss(1), sample_loss(label.size()), lse(label.size()), dx(x.size());
    Values<int32_t> rank(label.size());
    const float dloss = 1.0f;
    backend().forward(x.data(), label.data(), loss.data(), sample_loss.data(), lse.data(), rank.data(), shape(),
                      context);
    backend().backward(x.data(), label.data(), lse.data(), &dloss, dx.data(), shape(), context);
    dx.push_back(loss[0]);
    return dx;
  };
  EXPECT_TRUE(all_equal(run(3), run(1)));
}

INSTANTIATE_TEST_SUITE_P(, SoftmaxCrossEntropy, on_cpu(loss_cases()), case_name);

class SoftmaxCrossEntropyEdges : public testing::TestWithParam<Backend> {
 protected:
  const LossFunctions& backend() const { return kLoss[GetParam()]; }
  TestContext context_;
};

TEST_P(SoftmaxCrossEntropyEdges, RankCountsGreaterLogitsThenLowerClasses) {
  const Values<float> row = {1, 3, 2, 3, 3, -INFINITY, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1};
  const auto classes = static_cast<int64_t>(row.size());
  const Values<int32_t> label = {1, 3, 4, 17, 2, 6, 0, 18, 5};
  const Values<int32_t> expected = {0, 1, 2, 3, 4, 5, 6, 7, 18};
  const auto N = static_cast<int64_t>(label.size());
  Values<float> x;
  for (int64_t n = 0; n < N; ++n) x.insert(x.end(), row.begin(), row.end());
  GuardedBuffer<float> loss(1), sample_loss(N), lse(N);
  GuardedBuffer<int32_t> rank(N);
  backend().forward(x.data(), label.data(), loss.data(), sample_loss.data(), lse.data(), rank.data(), {N, classes},
                    context_);
  EXPECT_TRUE(all_equal(rank, expected));
  EXPECT_EQ(sample_loss[8], INFINITY);  // the true class has probability 0
}

TEST_P(SoftmaxCrossEntropyEdges, NanGivesNanAndARankBeyondTheLast) {
  for (const float bad : {NAN, INFINITY}) {
    Values<float> x = uniform<float>(40, 1);
    x[20 + 17] = bad;  // the second of two rows
    const Values<int32_t> label = {4, 4};
    GuardedBuffer<float> loss(1), sample_loss(2), lse(2), dx(40), p(40);
    GuardedBuffer<int32_t> rank(2);
    const SoftmaxCrossEntropyShape shape{2, 20};
    backend().forward(x.data(), label.data(), loss.data(), sample_loss.data(), lse.data(), rank.data(), shape,
                      context_);
    EXPECT_TRUE(std::isnan(loss[0]) && std::isnan(sample_loss[1]) && std::isnan(lse[1]));
    EXPECT_TRUE(std::isfinite(sample_loss[0]) && std::isfinite(lse[0]));
    if (std::isnan(bad)) {
      EXPECT_EQ(rank[1], 20);
    }
    const float dloss = 1.0f;
    backend().backward(x.data(), label.data(), lse.data(), &dloss, dx.data(), shape, context_);
    backend().softmax(x.data(), p.data(), 2, 20, context_);
    for (int64_t c = 0; c < 20; ++c) {
      EXPECT_TRUE(std::isfinite(dx[c]) && std::isfinite(p[c]));
      EXPECT_TRUE(std::isnan(dx[20 + c]) && std::isnan(p[20 + c]));
    }
  }
}

TEST_P(SoftmaxCrossEntropyEdges, ALabelOutOfRangeIsNamedWithItsSample) {
  const Values<float> x(30, 0.0f);
  Values<float> y(30, 1.0f);
  float loss = 0, dloss = 1;
  Values<int32_t> rank(3);
  for (const int32_t bad : {10, -1}) {
    const Values<int32_t> label = {0, 9, bad};
    const SoftmaxCrossEntropyShape shape{3, 10};
    EXPECT_TRUE(throws_with<ShapeError>(
        [&] { backend().forward(x.data(), label.data(), &loss, y.data(), y.data() + 3, rank.data(), shape, context_); },
        {"softmax_cross_entropy", "sample 2", "label " + std::to_string(bad), "10 classes"}));
    EXPECT_TRUE(throws_with<ShapeError>(
        [&] { backend().backward(x.data(), label.data(), y.data(), &dloss, y.data(), shape, context_); },
        {"sample 2", "label " + std::to_string(bad)}));
  }
}

INSTANTIATE_TEST_SUITE_P(, SoftmaxCrossEntropyEdges, testing::Values(Backend::cpu), backend_name);

TEST(SoftmaxCrossEntropyReference, GivesKnownValues) {
  TestContext context;
  const Values<double> x = {std::log(1.0), std::log(2.0), std::log(5.0)};
  const Values<int32_t> label = {1};
  double loss = 0, sample_loss = 0, lse = 0;
  int32_t rank = -1;
  reference::softmax_cross_entropy_forward(x.data(), label.data(), &loss, &sample_loss, &lse, &rank, {1, 3}, context);
  EXPECT_NEAR(loss, -std::log(0.25), 1e-15);
  EXPECT_NEAR(lse, std::log(8.0), 1e-15);
  EXPECT_EQ(rank, 1);
  reference::softmax_cross_entropy_forward(x.data(), label.data(), &loss, &sample_loss, &lse, &rank, {1, 3, 0.25f},
                                           context);
  EXPECT_NEAR(loss, -(0.75 * std::log(0.25) + 0.25 / 3 * std::log(0.125 * 0.25 * 0.625)), 1e-15);
}

TEST(SoftmaxCrossEntropyReference, GradientAgreesWithFiniteDifferences) {
  TestContext context;
  for (const float smoothing : {0.0f, 0.125f}) {
    const SoftmaxCrossEntropyShape shape{4, 5, smoothing};
    const auto x = uniform<double>(20, 1, -2, 2);
    const Values<int32_t> label = {0, 4, 2, 2};
    double loss = 0;
    const double dloss = 1.5;
    Values<double> sample_loss(4), lse(4), dx(20);
    Values<int32_t> rank(4);
    const auto f = [&](const Values<double>& at) {
      reference::softmax_cross_entropy_forward(at.data(), label.data(), &loss, sample_loss.data(), lse.data(),
                                               rank.data(), shape, context);
      return dloss * loss;
    };
    f(x);
    reference::softmax_cross_entropy_backward(x.data(), label.data(), lse.data(), &dloss, dx.data(), shape, context);
    EXPECT_TRUE(check_gradient(f, x, dx));
  }
}

}  // namespace
}  // namespace striate::test
