#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
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
  decltype(&cpu::softmax_forward<float>) softmax;
  decltype(&cpu::softmax_cross_entropy_forward<float>) forward;
  decltype(&cpu::softmax_cross_entropy_backward<float>) backward;
};

constexpr BackendTable<LossFunctions> kLoss = {
    .cpu = {&cpu::softmax_forward, &cpu::softmax_cross_entropy_forward, &cpu::softmax_cross_entropy_backward},
    .cuda = {&cuda::softmax_forward, &cuda::softmax_cross_entropy_forward, &cuda::softmax_cross_entropy_backward}};

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
      {"odd_and_more_than_a_warp_holds", {3, 1027, 0.1f}},
      {"imagenet_21k", {3, 21844, 0.1f}},
      {"imagenet_21k_odd", {2, 21841, 0.0f}},
      {"vectors_in_a_block", {3, 4096, 0.1f}},
      {"one_class", {3, 1, 0.0f}},
      {"two_classes_one_sample", {1, 2, 0.0f}},
      {"large_logits", {9, 100, 0.1f}, 500.0},
      {"far_from_zero", {9, 100, 0.1f}, 5.0, 10000.0},
      {"empty_batch", {0, 10, 0.1f}},
  };
}

// What forward saves for backward, besides what it reports.
struct LossOutputs {
  GuardedBuffer<float> loss{1}, sample_loss, row_max, log_sum;
  GuardedBuffer<int32_t> rank;
  Values<StepResult> result{{-1.0f, -1}};

  explicit LossOutputs(int64_t N) : sample_loss(N), row_max(N), log_sum(N), rank(N) {}
  bool intact() const {
    return loss.intact() && sample_loss.intact() && row_max.intact() && log_sum.intact() && rank.intact();
  }
};

void run_forward(decltype(&cpu::softmax_cross_entropy_forward<float>) forward, const Values<float>& logits,
                 const Values<int32_t>& labels, LossOutputs& out, const SoftmaxCrossEntropyShape& shape,
                 Context& context) {
  forward(logits.data(), labels.data(), out.loss.data(), out.sample_loss.data(), out.row_max.data(), out.log_sum.data(),
          out.rank.data(), out.result.data(), shape, context);
}

class SoftmaxCrossEntropy : public BackendTest<OnBackend<LossCase>> {
 protected:
  const LossFunctions& functions() const { return kLoss[backend()]; }
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
  functions().softmax(x.data(), p.data(), shape().N, shape().classes, context_);
  functions().softmax(in_place.data(), in_place.data(), shape().N, shape().classes, context_);
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
  LossOutputs found(N), expected(N);
  GuardedBuffer<float> dx(size()), expected_dx(size());
  run_forward(&reference::softmax_cross_entropy_forward<float>, x, label, expected, shape(), context_);
  run_forward(functions().forward, x, label, found, shape(), context_);
  EXPECT_TRUE(all_close(found.loss, expected.loss, {2e-6, 1e-6}));
  EXPECT_TRUE(all_close(found.sample_loss, expected.sample_loss, {2e-6, 1e-6}));
  EXPECT_TRUE(all_equal(found.row_max, expected.row_max));
  EXPECT_TRUE(all_close(found.log_sum, expected.log_sum, {1e-6, 1e-6}));
  EXPECT_TRUE(all_equal(found.rank, expected.rank));

  const Values<float> dloss = {0.7f};
  reference::softmax_cross_entropy_backward(x.data(), label.data(), expected.row_max.data(), expected.log_sum.data(),
                                            dloss.data(), expected_dx.data(), shape(), context_);
  functions().backward(x.data(), label.data(), expected.row_max.data(), expected.log_sum.data(), dloss.data(),
                       dx.data(), shape(), context_);
  // The exponent's argument, at least −88 where p is not 0, is rounded twice to 2^-24 of itself: 1e-5 of p.
  const double scale = N > 0 ? 1.0 / static_cast<double>(N) : 1.0;
  EXPECT_TRUE(all_close(dx, expected_dx, {1e-6 * scale, 1e-5}, {N, shape().classes}));
  EXPECT_TRUE(found.intact() && dx.intact());

  const float mean = found.loss[0];
  functions().forward(x.data(), label.data(), nullptr, found.sample_loss.data(), found.row_max.data(),
                      found.log_sum.data(), found.rank.data(), nullptr, shape(), context_);
  EXPECT_EQ(found.loss[0], mean);
  EXPECT_EQ(found.result[0].loss, mean);
  const auto places = found.rank.values();
  EXPECT_EQ(found.result[0].correct, std::count(places.begin(), places.end(), 0));
  EXPECT_EQ(found.result[0].correct, expected.result[0].correct);
  functions().forward(x.data(), label.data(), nullptr, found.sample_loss.data(), found.row_max.data(),
                      found.log_sum.data(), found.rank.data(), found.result.data(), shape(), context_);
  EXPECT_EQ(found.result[0].loss, mean);
}

// The backend's own saved state against double all the way: where the logits are near 10⁴, a float of their
// log-sum-exp would be wrong by up to 5e-4, and every probability with it.
TEST_P(SoftmaxCrossEntropy, GradientKeepsItsDigitsHoweverLargeTheLogits) {
  const auto x = logits();
  const auto label = labels();
  const int64_t N = shape().N;
  LossOutputs found(N);
  GuardedBuffer<float> dx(size());
  const Values<float> dloss = {1.0f};
  run_forward(functions().forward, x, label, found, shape(), context_);
  functions().backward(x.data(), label.data(), found.row_max.data(), found.log_sum.data(), dloss.data(), dx.data(),
                       shape(), context_);
  const auto wide = as<double>(x);
  const double wide_dloss = 1.0;
  double loss = 0.0;
  Values<double> sample_loss(label.size()), row_max(label.size()), log_sum(label.size()), expected(x.size());
  Values<int32_t> rank(label.size());
  reference::softmax_cross_entropy_forward(wide.data(), label.data(), &loss, sample_loss.data(), row_max.data(),
                                           log_sum.data(), rank.data(), nullptr, shape(), context_);
  reference::softmax_cross_entropy_backward(wide.data(), label.data(), row_max.data(), log_sum.data(), &wide_dloss,
                                            expected.data(), shape(), context_);
  const double scale = N > 0 ? 1.0 / static_cast<double>(N) : 1.0;
  EXPECT_TRUE(all_close(dx, expected, {1e-6 * scale, 1e-5}, {N, shape().classes}));
  EXPECT_TRUE(all_close(found.sample_loss, sample_loss, {2e-6, 1e-6}));
}

TEST_P(SoftmaxCrossEntropy, NumberOfThreadsDoesNotMatter) {
  const auto x = logits();
  const auto label = labels();
  const auto run = [&](int threads) {
    TestContext context(threads);
    LossOutputs found(shape().N);
    Values<float> dx(x.size());
    const Values<float> dloss = {1.0f};
    run_forward(functions().forward, x, label, found, shape(), context);
    functions().backward(x.data(), label.data(), found.row_max.data(), found.log_sum.data(), dloss.data(), dx.data(),
                         shape(), context);
    dx.push_back(found.loss[0]);
    return dx;
  };
  EXPECT_TRUE(all_equal(run(3), run(1)));
}

INSTANTIATE_TEST_SUITE_P(, SoftmaxCrossEntropy, on_every_backend(loss_cases()), case_name);

class SoftmaxCrossEntropyEdges : public BackendTest<Backend> {
 protected:
  const LossFunctions& functions() const { return kLoss[backend()]; }
  TestContext context_;
};

// A row of a few vectors, and rows long enough to be worked on by many threads, or in many pieces.
constexpr int64_t kRowLengths[] = {20, 19, 2000, 2001, 9000, 9001};

TEST_P(SoftmaxCrossEntropyEdges, RankCountsGreaterLogitsThenLowerClasses) {
  for (const int64_t classes : kRowLengths) {
    Values<float> row = {1, 3, 2, 3, 3, -INFINITY, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1};
    row.resize(static_cast<size_t>(classes), -1.0f);
    const Values<int32_t> label = {1, 3, 4, 17, 2, 6, 0, 18, 5};
    const Values<int32_t> expected = {0, 1, 2, 3, 4, 5, 6, 7, static_cast<int32_t>(classes - 1)};
    const auto N = static_cast<int64_t>(label.size());
    Values<float> x;
    for (int64_t n = 0; n < N; ++n) x.insert(x.end(), row.begin(), row.end());
    LossOutputs found(N);
    run_forward(functions().forward, x, label, found, {N, classes}, context_);
    EXPECT_TRUE(all_equal(found.rank, expected)) << classes;
    EXPECT_EQ(found.sample_loss[8], INFINITY);  // the true class has probability 0
  }
}

TEST_P(SoftmaxCrossEntropyEdges, NanGivesNanAndARankBeyondTheLast) {
  for (const int64_t classes : kRowLengths) {
    for (const float bad : {NAN, INFINITY}) {
      Values<float> x = uniform<float>(2 * classes, 1);
      x[static_cast<size_t>(classes + classes * 4 / 5)] = bad;  // the second of two rows
      const Values<int32_t> label = {4, 4};
      LossOutputs found(2);
      GuardedBuffer<float> dx(2 * classes), p(2 * classes);
      const SoftmaxCrossEntropyShape shape{2, classes, 0.1f};
      run_forward(functions().forward, x, label, found, shape, context_);
      EXPECT_TRUE(std::isnan(found.loss[0]) && std::isnan(found.sample_loss[1]) && std::isnan(found.log_sum[1]));
      EXPECT_TRUE(std::isfinite(found.sample_loss[0]) && std::isfinite(found.log_sum[0]));
      if (std::isnan(bad)) {
        EXPECT_EQ(found.rank[1], classes);
      }
      const Values<float> dloss = {1.0f};
      functions().backward(x.data(), label.data(), found.row_max.data(), found.log_sum.data(), dloss.data(), dx.data(),
                           shape, context_);
      functions().softmax(x.data(), p.data(), 2, classes, context_);
      for (int64_t c = 0; c < classes; ++c) {
        ASSERT_TRUE(std::isfinite(dx[c]) && std::isfinite(p[c])) << c << " of " << classes;
        ASSERT_TRUE(std::isnan(dx[classes + c]) && std::isnan(p[classes + c])) << c << " of " << classes;
      }
    }
  }
}

// Host devices refuse it by name; a GPU, where nobody can throw, lets it show as NaN in that sample alone.
TEST_P(SoftmaxCrossEntropyEdges, ALabelOutOfRangeIsNeverTakenForAClass) {
  for (const int64_t classes : kRowLengths) {
    const SoftmaxCrossEntropyShape shape{3, classes, 0.1f};
    const auto x = uniform<float>(3 * classes, 1);
    const Values<float> dloss = {1.0f};
    for (const int32_t bad : {static_cast<int32_t>(classes), -1, std::numeric_limits<int32_t>::max(),
                              std::numeric_limits<int32_t>::min()}) {
      const Values<int32_t> label = {0, static_cast<int32_t>(classes - 1), bad};
      LossOutputs found(3);
      GuardedBuffer<float> dx(3 * classes);
      const auto forward = [&] { run_forward(functions().forward, x, label, found, shape, context_); };
      const auto backward = [&] {
        functions().backward(x.data(), label.data(), found.row_max.data(), found.log_sum.data(), dloss.data(),
                             dx.data(), shape, context_);
      };
      if (backend() != Backend::cuda) {
        EXPECT_TRUE(
            throws_with<ShapeError>(forward, {"softmax_cross_entropy", "sample 2", "label " + std::to_string(bad),
                                              std::to_string(classes) + " classes"}));
        EXPECT_TRUE(throws_with<ShapeError>(backward, {"sample 2", "label " + std::to_string(bad)}));
        continue;
      }
      forward();
      backward();
      EXPECT_TRUE(std::isnan(found.loss[0]) && std::isnan(found.sample_loss[2]));
      EXPECT_TRUE(std::isfinite(found.sample_loss[0]) && std::isfinite(found.sample_loss[1]));
      EXPECT_EQ(found.rank[2], classes);
      for (int64_t c = 0; c < classes; ++c) {
        ASSERT_TRUE(std::isfinite(dx[c]) && std::isfinite(dx[classes + c]) && std::isnan(dx[2 * classes + c])) << c;
      }
      EXPECT_TRUE(found.intact() && dx.intact());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, SoftmaxCrossEntropyEdges, testing::ValuesIn(backends()), backend_name);

TEST(SoftmaxCrossEntropyReference, GivesKnownValues) {
  TestContext context;
  const Values<double> x = {std::log(1.0), std::log(2.0), std::log(5.0)};
  const Values<int32_t> label = {1};
  double loss = 0, sample_loss = 0, row_max = 0, log_sum = 0;
  int32_t rank = -1;
  reference::softmax_cross_entropy_forward(x.data(), label.data(), &loss, &sample_loss, &row_max, &log_sum, &rank,
                                           nullptr, {1, 3}, context);
  EXPECT_NEAR(loss, -std::log(0.25), 1e-15);
  EXPECT_EQ(row_max, std::log(5.0));
  EXPECT_NEAR(log_sum, std::log(8.0 / 5.0), 1e-15);
  EXPECT_EQ(rank, 1);
  reference::softmax_cross_entropy_forward(x.data(), label.data(), &loss, &sample_loss, &row_max, &log_sum, &rank,
                                           nullptr, {1, 3, 0.25f}, context);
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
    Values<double> sample_loss(4), row_max(4), log_sum(4), dx(20);
    Values<int32_t> rank(4);
    const auto f = [&](const Values<double>& at) {
      reference::softmax_cross_entropy_forward(at.data(), label.data(), &loss, sample_loss.data(), row_max.data(),
                                               log_sum.data(), rank.data(), nullptr, shape, context);
      return dloss * loss;
    };
    f(x);
    reference::softmax_cross_entropy_backward(x.data(), label.data(), row_max.data(), log_sum.data(), &dloss, dx.data(),
                                              shape, context);
    EXPECT_TRUE(check_gradient(f, x, dx));
  }
}

}  // namespace
}  // namespace striate::test
