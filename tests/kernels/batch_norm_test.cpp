#include "kernels/batch_norm/batch_norm.h"

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

struct BatchNormFunctions {
  decltype(&cpu::batch_norm_forward_train<float>) train;
  decltype(&cpu::batch_norm_forward_eval<float>) eval;
  decltype(&cpu::batch_norm_backward<float>) backward;
};

constexpr BackendTable<BatchNormFunctions> kBatchNorm = {
    .cpu = {&cpu::batch_norm_forward_train, &cpu::batch_norm_forward_eval, &cpu::batch_norm_backward},
    .cuda = {&cuda::batch_norm_forward_train, &cuda::batch_norm_forward_eval, &cuda::batch_norm_backward}};

struct BatchNormCase {
  std::string name;
  BatchNormShape shape;
  double mean = 0.0;
  bool outlier_first = false;  // the first row far from the rest: a shift by it would cancel
};

std::vector<BatchNormCase> batch_norm_cases() {
  return {
      {"alexnet_bn_conv1", {2 * 13 * 13, 96}},
      {"resnet_stage", {4 * 7 * 7, 64, 1e-5f, 0.1f}},
      {"odd_channels", {55, 37}},
      {"five_channels", {31, 5}},
      {"one_channel", {1000, 1}},
      {"two_rows", {2, 19}},
      {"many_rows", {5000, 70}},
      {"more_channels_than_a_chunk", {40, 2050}},
      {"mean_ten_thousand", {3000, 24}, 1e4},
      {"mean_ten_thousand_after_an_outlier", {3000, 24}, 1e4, true},
      {"momentum_one", {50, 8, 1e-3f, 1.0f}},
  };
}

class BatchNorm : public BackendTest<OnBackend<BatchNormCase>> {
 protected:
  BatchNorm()
      : x_(uniform<float>(shape().size(), 1, value().mean - 1.7, value().mean + 1.7)),  // a deviation near 1
        dy_(uniform<float>(shape().size(), 2)),
        gamma_(uniform<float>(shape().C, 3, 0.5, 2.0)),
        beta_(uniform<float>(shape().C, 4)) {
    if (value().outlier_first) std::fill(x_.begin(), x_.begin() + shape().C, 0.0f);
  }
  const BatchNormFunctions& functions() const { return kBatchNorm[backend()]; }
  const BatchNormCase& value() const { return GetParam().value; }
  const BatchNormShape& shape() const { return value().shape; }

  Values<float> x_, dy_, gamma_, beta_;
  TestContext context_;
};

TEST_P(BatchNorm, ForwardTrain) {
  const int64_t C = shape().C;
  struct Outputs {
    GuardedBuffer<float> y, mean, inv_std, running_mean, running_var;
    bool intact() const {
      return y.intact() && mean.intact() && inv_std.intact() && running_mean.intact() && running_var.intact();
    }
  };
  const auto outputs = [&] {
    return Outputs{GuardedBuffer<float>(shape().size()), GuardedBuffer<float>(C), GuardedBuffer<float>(C),
                   GuardedBuffer<float>(C, 0.5f), GuardedBuffer<float>(C, 2.0f)};
  };
  Outputs found = outputs(), expected = outputs();
  const auto run = [&](auto&& forward, Outputs& out) {
    forward(x_.data(), gamma_.data(), beta_.data(), out.y.data(), out.mean.data(), out.inv_std.data(),
            out.running_mean.data(), out.running_var.data(), shape(), context_);
  };
  run(reference::batch_norm_forward_train<float>, expected);
  run(functions().train, found);
  // An input of 1e4 carries an error of 5e-4 itself, the same for both; float sums of a chunk stay below 3e-6.
  EXPECT_TRUE(all_close(found.mean, expected.mean, {1e-6, 1e-7}));
  EXPECT_TRUE(all_close(found.inv_std, expected.inv_std, {0, 5e-6}));
  EXPECT_TRUE(all_close(found.running_mean, expected.running_mean, {1e-6, 1e-6}));
  EXPECT_TRUE(all_close(found.running_var, expected.running_var, {1e-6, 1e-5}));
  EXPECT_TRUE(all_close(found.y, expected.y, {5e-6, 5e-6}, {shape().rows, C}));
  EXPECT_TRUE(found.intact());
}

TEST_P(BatchNorm, ForwardEval) {
  const int64_t C = shape().C;
  const auto mean = uniform<float>(C, 5, value().mean - 1, value().mean + 1), var = uniform<float>(C, 6, 0.1, 2.0);
  GuardedBuffer<float> y(shape().size()), expected(shape().size()), inv_std(C), expected_inv_std(C);
  reference::batch_norm_forward_eval(x_.data(), gamma_.data(), beta_.data(), mean.data(), var.data(), expected.data(),
                                     expected_inv_std.data(), shape(), context_);
  functions().eval(x_.data(), gamma_.data(), beta_.data(), mean.data(), var.data(), y.data(), inv_std.data(), shape(),
                   context_);
  EXPECT_TRUE(all_close(y, expected, {2e-6, 1e-6}));
  EXPECT_TRUE(all_close(inv_std, expected_inv_std, {0, 1e-6}));
  EXPECT_TRUE(y.intact() && inv_std.intact());
  const auto before = y.values();
  functions().eval(x_.data(), gamma_.data(), beta_.data(), mean.data(), var.data(), y.data(), nullptr, shape(),
                   context_);
  EXPECT_TRUE(all_equal(y, before));
}

TEST_P(BatchNorm, Backward) {
  const int64_t C = shape().C;
  // The statistics of an outlier would leave all else near zero: any will do for a backward.
  const auto mean = uniform<float>(C, 5, value().mean - 0.1, value().mean + 0.1);
  const auto inv_std = uniform<float>(C, 6, 0.8, 1.2);
  for (const bool batch_statistics : {true, false}) {
    for (const Accumulate accumulate : {Accumulate::no, Accumulate::yes}) {
      const float prefill = accumulate == Accumulate::yes ? 3.0f : NAN;
      GuardedBuffer<float> dx(shape().size()), dgamma(C, prefill), dbeta(C, prefill);
      GuardedBuffer<float> expected_dx(shape().size()), expected_dgamma(C, prefill), expected_dbeta(C, prefill);
      reference::batch_norm_backward(x_.data(), dy_.data(), gamma_.data(), mean.data(), inv_std.data(),
                                     expected_dx.data(), expected_dgamma.data(), expected_dbeta.data(), shape(),
                                     batch_statistics, accumulate, context_);
      functions().backward(x_.data(), dy_.data(), gamma_.data(), mean.data(), inv_std.data(), dx.data(), dgamma.data(),
                           dbeta.data(), shape(), batch_statistics, accumulate, context_);
      // Sums of up to 5,000 terms near 1 (1e4 for the outlier), in float within a chunk.
      const double size = value().outlier_first ? 1e4 : 1.0;
      EXPECT_TRUE(all_close(dgamma, expected_dgamma, {5e-5 * size, 5e-6}));
      EXPECT_TRUE(all_close(dbeta, expected_dbeta, {5e-5, 5e-6}));
      EXPECT_TRUE(all_close(dx, expected_dx, {2e-6 * size, 5e-6}, {shape().rows, C}));
      EXPECT_TRUE(dx.intact() && dgamma.intact() && dbeta.intact());
    }
  }
}

TEST_P(BatchNorm, EachGradientMayBeLeftOut) {
  const int64_t C = shape().C;
  const Values<float> mean(static_cast<size_t>(C), static_cast<float>(value().mean)), inv_std(mean.size(), 1.0f);
  Values<float> dx(x_.size()), dgamma(mean.size()), dbeta(mean.size());
  const auto run = [&](float* dx_out, float* dgamma_out, float* dbeta_out) {
    functions().backward(x_.data(), dy_.data(), gamma_.data(), mean.data(), inv_std.data(), dx_out, dgamma_out,
                         dbeta_out, shape(), true, Accumulate::no, context_);
  };
  run(dx.data(), dgamma.data(), dbeta.data());
  Values<float> only_dx(dx.size()), only_dgamma(dgamma.size()), only_dbeta(dbeta.size());
  run(only_dx.data(), nullptr, nullptr);
  run(nullptr, only_dgamma.data(), nullptr);
  run(nullptr, nullptr, only_dbeta.data());
  EXPECT_TRUE(all_equal(only_dx, dx) && all_equal(only_dgamma, dgamma) && all_equal(only_dbeta, dbeta));
}

TEST_P(BatchNorm, NumberOfThreadsDoesNotMatter) {
  const auto run = [&](int threads) {
    TestContext context(threads);
    const auto C = static_cast<size_t>(shape().C);
    Values<float> y(x_.size()), dx(x_.size()), mean(C), inv_std(C), running_mean(C), running_var(C), dgamma(C),
        dbeta(C);
    functions().train(x_.data(), gamma_.data(), beta_.data(), y.data(), mean.data(), inv_std.data(),
                      running_mean.data(), running_var.data(), shape(), context);
    functions().backward(x_.data(), dy_.data(), gamma_.data(), mean.data(), inv_std.data(), dx.data(), dgamma.data(),
                         dbeta.data(), shape(), true, Accumulate::no, context);
    for (const auto* part : {&dx, &mean, &inv_std, &running_var, &dgamma, &dbeta}) {
      y.insert(y.end(), part->begin(), part->end());
    }
    return y;
  };
  EXPECT_TRUE(all_equal(run(3), run(1)));
}

INSTANTIATE_TEST_SUITE_P(, BatchNorm, on_every_backend(batch_norm_cases()), case_name);

class BatchNormEdges : public BackendTest<Backend> {
 protected:
  const BatchNormFunctions& functions() const { return kBatchNorm[backend()]; }
  TestContext context_;
};

TEST_P(BatchNormEdges, TrainingNeedsTwoRows) {
  float v[8] = {};
  EXPECT_TRUE(throws_with<ShapeError>(
      [&] {
        functions().train(v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7, {1, 1}, context_);
      },
      {"batch_norm", "[1,1]", "larger batch"}));
}

TEST_P(BatchNormEdges, AConstantChannelHasNoVariance) {
  struct Constant {
    BatchNormShape shape;
    float value;
  };
  for (const Constant& c : {Constant{{16384, 1}, 11484.0f}, Constant{{2048, 8}, 103710.0f}}) {
    const auto channels = static_cast<size_t>(c.shape.C);
    const Values<float> x(static_cast<size_t>(c.shape.size()), c.value), gamma(channels, 1.0f), beta(channels);
    Values<float> y(x.size(), NAN), mean(channels), inv_std(channels), running_mean(channels),
        running_var(channels, 1.0f);
    functions().train(x.data(), gamma.data(), beta.data(), y.data(), mean.data(), inv_std.data(), running_mean.data(),
                      running_var.data(), c.shape, context_);
    EXPECT_TRUE(all_equal(y, Values<float>(x.size(), 0.0f)));
    EXPECT_TRUE(all_equal(mean, Values<float>(channels, c.value)));
    EXPECT_TRUE(all_close(inv_std, Values<float>(channels, 316.227766f), {0, 1e-6}));  // 1/√1e-5
    EXPECT_TRUE(all_close(running_var, Values<float>(channels, 0.9f), {0, 1e-6}));
  }
}

TEST_P(BatchNormEdges, NoRowsGiveNoGradient) {
  const Values<float> gamma = {1, 1}, mean = {0, 0}, inv_std = {1, 1};
  GuardedBuffer<float> dgamma(2), dbeta(2, 5.0f), y(0);
  functions().eval(nullptr, gamma.data(), gamma.data(), mean.data(), inv_std.data(), y.data(), nullptr, {0, 2},
                   context_);
  functions().backward(nullptr, nullptr, gamma.data(), mean.data(), inv_std.data(), y.data(), dgamma.data(),
                       dbeta.data(), {0, 2}, true, Accumulate::no, context_);
  EXPECT_TRUE(all_equal(dgamma, Values<float>{0, 0}) && all_equal(dbeta, Values<float>{0, 0}));
  EXPECT_TRUE(y.intact());
}

INSTANTIATE_TEST_SUITE_P(, BatchNormEdges, testing::ValuesIn(backends()), backend_name);

TEST(BatchNormReference, GivesKnownValues) {
  TestContext context;
  const Values<double> x = {1, 3, 5, 7};  // one channel: mean 5 − 1 = 4, biased variance 5, unbiased 20/3
  const double gamma = 2, beta = 1;
  Values<double> y(4);
  double mean = 0, inv_std = 0, running_mean = 1, running_var = 1;
  const BatchNormShape shape{4, 1, 0.25f, 0.5f};
  reference::batch_norm_forward_train(x.data(), &gamma, &beta, y.data(), &mean, &inv_std, &running_mean, &running_var,
                                      shape, context);
  EXPECT_DOUBLE_EQ(mean, 4.0);
  EXPECT_DOUBLE_EQ(inv_std, 1.0 / std::sqrt(5.25));
  EXPECT_DOUBLE_EQ(y[0], 1.0 - 6.0 / std::sqrt(5.25));
  EXPECT_DOUBLE_EQ(running_mean, 2.5);
  EXPECT_DOUBLE_EQ(running_var, 0.5 + 0.5 * 20.0 / 3.0);
}

TEST(BatchNormReference, GradientsAgreeWithFiniteDifferences) {
  TestContext context;
  const BatchNormShape shape{7, 3, 1e-3f, 0.1f};
  const auto x = uniform<double>(21, 1), dy = uniform<double>(21, 2);
  const auto gamma = uniform<double>(3, 3, 0.5, 2.0), beta = uniform<double>(3, 4);
  for (const bool batch_statistics : {true, false}) {
    Values<double> y(21), mean(3), inv_std(3), dx(21), dgamma(3), dbeta(3);
    const auto fixed_mean = uniform<double>(3, 5), fixed_var = uniform<double>(3, 6, 0.5, 2.0);
    const auto f = [&](const Values<double>& x_at, const Values<double>& gamma_at, const Values<double>& beta_at) {
      if (batch_statistics) {
        Values<double> running_mean(3), running_var(3);
        reference::batch_norm_forward_train(x_at.data(), gamma_at.data(), beta_at.data(), y.data(), mean.data(),
                                            inv_std.data(), running_mean.data(), running_var.data(), shape, context);
      } else {
        mean = fixed_mean;
        reference::batch_norm_forward_eval(x_at.data(), gamma_at.data(), beta_at.data(), fixed_mean.data(),
                                           fixed_var.data(), y.data(), inv_std.data(), shape, context);
      }
      return dot(y, dy);
    };
    f(x, gamma, beta);
    reference::batch_norm_backward(x.data(), dy.data(), gamma.data(), mean.data(), inv_std.data(), dx.data(),
                                   dgamma.data(), dbeta.data(), shape, batch_statistics, Accumulate::no, context);
    EXPECT_TRUE(check_gradient([&](const auto& at) { return f(at, gamma, beta); }, x, dx));
    EXPECT_TRUE(check_gradient([&](const auto& at) { return f(x, at, beta); }, gamma, dgamma));
    EXPECT_TRUE(check_gradient([&](const auto& at) { return f(x, gamma, at); }, beta, dbeta));
  }
}

}  // namespace
}  // namespace striate::test
