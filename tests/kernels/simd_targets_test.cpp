// The vectorised kernels on every instruction set that this build and this machine have, not only on the best: the same
// source with other lengths of vectors, and other ways round what a set lacks.
#include <gtest/gtest.h>

// Before Highway: the sets that the kernels are compiled for.
#include "kernels/simd_targets.h"

#include <hwy/highway.h>

#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/micro.h"
#include "kernels/linear/linear.h"
#include "kernels/local_response_norm/local_response_norm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool2d/pool2d.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "tests/kernels/product_checks.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

class SimdTarget : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { choose(GetParam()); }
  void TearDown() override { choose(0); }

  static void choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
};

TEST_P(SimdTarget, is_the_one_that_runs) {
  EXPECT_STREQ(gemm::micro_kernels<float>().target, hwy::TargetName(GetParam()));
}

template <typename T>
constexpr ProductFunctions<Conv2dShape, T> kConv2d{&cpu::conv2d_forward, &cpu::conv2d_backward_data,
                                                   &cpu::conv2d_backward_weight};
template <typename T>
constexpr ProductFunctions<LinearShape, T> kLinear{&cpu::linear_forward, &cpu::linear_backward_data,
                                                   &cpu::linear_backward_weight};

TEST_P(SimdTarget, convolves_exactly_on_small_integers) {
  const Conv2dShape in_place{2, 15, 17, 3, 37, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  const Conv2dShape gathered{3, 5, 4, 21, 19, 3, 3, 2, 2, 1, 1, 1, 1, 1};
  const Conv2dShape grouped{2, 13, 12, 6, 10, 3, 3, 1, 1, 2, 2, 2, 2, 2};
  for (const Conv2dShape& s : {in_place, gathered, grouped}) {
    check_exact_on_small_integers(kConv2d<float>, Precision::fp32, s);
    check_exact_on_small_integers(kConv2d<bfloat16>, Precision::fp32, s);
  }
}

TEST_P(SimdTarget, multiplies_exactly_on_small_integers) {
  for (const LinearShape& s : {LinearShape{1, 131, 45}, {7, 45, 131}, {29, 515, 103}, {29, 514, 103}}) {
    check_exact_on_small_integers(kLinear<float>, Precision::fp32, s);
    check_exact_on_small_integers(kLinear<bfloat16>, Precision::fp32, s);
  }
}

// Lengths round every vector's.
constexpr int64_t kLengths[] = {1, 3, 4, 7, 8, 15, 16, 17, 31, 67};

TEST_P(SimdTarget, activates) {
  TestContext context;
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::leaky_relu, Activation::gelu, Activation::silu}) {
    for (const int64_t n : kLengths) {
      const auto x = uniform<float>(n, 1, -6.0, 6.0), dy = uniform<float>(n, 2);
      GuardedBuffer<float> y(n), dx(n), expected_y(n), expected_dx(n);
      reference::activation_forward(activation, x.data(), expected_y.data(), n, context);
      reference::activation_backward(activation, x.data(), dy.data(), expected_dx.data(), n, context);
      cpu::activation_forward(activation, x.data(), y.data(), n, context);
      cpu::activation_backward(activation, x.data(), dy.data(), dx.data(), n, context);
      // A few ulp of the exponential; where there is none, one product.
      EXPECT_TRUE(all_close(y, expected_y, {1e-7, 2e-6})) << static_cast<int>(activation) << " of " << n;
      EXPECT_TRUE(all_close(dx, expected_dx, {5e-7, 2e-6})) << static_cast<int>(activation) << " of " << n;
      EXPECT_TRUE(y.intact() && dx.intact());
    }
  }
}

TEST_P(SimdTarget, maps_element_by_element) {
  TestContext context;
  for (const int64_t n : kLengths) {
    const auto a = uniform<float>(n, 1), b = uniform<float>(n, 2);
    GuardedBuffer<float> y(n), expected(n);
    for (const Activation activation : {Activation::none, Activation::relu}) {
      reference::add(a.data(), b.data(), expected.data(), n, activation, context);
      cpu::add(a.data(), b.data(), y.data(), n, activation, context);
      EXPECT_TRUE(all_equal(y, expected)) << n;
    }
    reference::accumulate(b.data(), expected.data(), n, context);
    cpu::accumulate(b.data(), y.data(), n, context);
    EXPECT_TRUE(all_equal(y, expected)) << n;
    reference::scale(a.data(), expected.data(), 0.3f, n, context);
    cpu::scale(a.data(), y.data(), 0.3f, n, context);
    EXPECT_TRUE(all_equal(y, expected)) << n;
    cpu::fill(y.data(), 2.5f, n, context);
    EXPECT_TRUE(all_equal(y, Values<float>(static_cast<size_t>(n), 2.5f))) << n;
    GuardedBuffer<bfloat16> bf16(n), expected_bf16(n);
    reference::float_to_bf16(a.data(), expected_bf16.data(), n, context);
    cpu::float_to_bf16(a.data(), bf16.data(), n, context);
    EXPECT_TRUE(all_equal(bf16, expected_bf16)) << n;
    reference::bf16_to_float(bf16.data(), expected.data(), n, context);
    cpu::bf16_to_float(bf16.data(), y.data(), n, context);
    EXPECT_TRUE(all_equal(y, expected)) << n;
    EXPECT_TRUE(bf16.intact());
    EXPECT_TRUE(y.intact());
  }
}

TEST_P(SimdTarget, draws_the_same_dropout_mask) {
  TestContext context;
  for (const int64_t features : {1, 3, 37, 300}) {
    const DropoutShape shape{5, features, 0.3f, 2};
    const DropoutState state{0xfedcba9876543210, 0x123456789abcdef0, 3};
    const auto x = uniform<float>(shape.size(), 1, 1.0, 2.0);
    GuardedBuffer<float> y(shape.size()), expected(shape.size());
    reference::dropout_forward(x.data(), expected.data(), shape, &state, context);
    cpu::dropout_forward(x.data(), y.data(), shape, &state, context);
    EXPECT_TRUE(all_close(y, expected, {0, 2e-7})) << features;
    EXPECT_TRUE(y.intact());
  }
}

TEST_P(SimdTarget, reduces_the_loss) {
  TestContext context;
  for (const int64_t classes : kLengths) {
    const SoftmaxCrossEntropyShape shape{3, classes, 0.1f};
    const auto x = uniform<float>(3 * classes, 1, -5.0, 5.0);
    const auto label = small_integers<int32_t>(3, 2, 0, classes - 1);
    const float dloss = 0.7f;
    float loss = 0, expected_loss = 0;
    StepResult result, expected_result;
    GuardedBuffer<float> sample(3), max(3), log_sum(3), dx(3 * classes), p(3 * classes);
    GuardedBuffer<float> expected_sample(3), expected_max(3), expected_log_sum(3), expected_dx(3 * classes);
    GuardedBuffer<float> expected_p(3 * classes);
    GuardedBuffer<int32_t> rank(3), expected_rank(3);
    reference::softmax_cross_entropy_forward(x.data(), label.data(), &expected_loss, expected_sample.data(),
                                             expected_max.data(), expected_log_sum.data(), expected_rank.data(),
                                             &expected_result, shape, context);
    reference::softmax_cross_entropy_backward(x.data(), label.data(), expected_max.data(), expected_log_sum.data(),
                                              &dloss, expected_dx.data(), shape, context);
    reference::softmax_forward(x.data(), expected_p.data(), 3, classes, context);
    cpu::softmax_cross_entropy_forward(x.data(), label.data(), &loss, sample.data(), max.data(), log_sum.data(),
                                       rank.data(), &result, shape, context);
    cpu::softmax_cross_entropy_backward(x.data(), label.data(), max.data(), log_sum.data(), &dloss, dx.data(), shape,
                                        context);
    cpu::softmax_forward(x.data(), p.data(), 3, classes, context);
    EXPECT_NEAR(loss, expected_loss, 3e-6) << classes;
    EXPECT_EQ(result.loss, loss) << classes;
    EXPECT_EQ(result.correct, expected_result.correct) << classes;
    EXPECT_TRUE(all_close(sample, expected_sample, {2e-6, 1e-6})) << classes;
    EXPECT_TRUE(all_equal(max, expected_max)) << classes;
    EXPECT_TRUE(all_equal(rank, expected_rank)) << classes;
    EXPECT_TRUE(all_close(dx, expected_dx, {5e-7, 1e-5})) << classes;
    EXPECT_TRUE(all_close(p, expected_p, {0, 5e-6})) << classes;
    for (const auto* buffer : {&sample, &max, &log_sum, &dx, &p}) EXPECT_TRUE(buffer->intact());
    EXPECT_TRUE(rank.intact());
  }
}

TEST_P(SimdTarget, updates_parameters) {
  TestContext context;
  for (const int64_t n : kLengths) {
    const auto w = uniform<float>(n, 1), g = uniform<float>(n, 2), s1 = uniform<float>(n, 3, 0.1, 1.0);
    const auto s2 = uniform<float>(n, 4, 0.1, 1.0);
    // Every method in turn on the same three arrays.
    const auto run = [&](auto&& sgd, auto&& adam, auto&& rmsprop) {
      std::array<GuardedBuffer<float>, 3> buffers = {GuardedBuffer<float>(w), GuardedBuffer<float>(s1),
                                                     GuardedBuffer<float>(s2)};
      const ParameterUpdate<float> update{buffers[0].data(), g.data(), buffers[1].data(), buffers[2].data(), n, 0.1f};
      const UpdateState state{0.1f, 1.0f, 3};
      float norm = 0;
      Context& c = context;
      adam(&update, 1, AdamOptions{}, &state, Clipping{&norm, 0.5f}, c);
      rmsprop(&update, 1, RmspropOptions{0.9f, 1e-8f, 0.5f}, &state, Clipping{}, c);
      sgd(&update, 1, SgdOptions{0.9f, true, false}, &state, Clipping{}, c);
      sgd(&update, 1, SgdOptions{0.9f, false, true}, &state, Clipping{}, c);
      Values<float> result = {norm};
      for (const auto& buffer : buffers) {
        EXPECT_TRUE(buffer.intact());
        result.insert(result.end(), buffer.data(), buffer.data() + n);
      }
      return result;
    };
    EXPECT_TRUE(
        all_close(run(cpu::sgd_update, cpu::adam_update, cpu::rmsprop_update),
                  run(reference::sgd_update<float>, reference::adam_update<float>, reference::rmsprop_update<float>),
                  {1e-6, 2e-6}))
        << n;
  }
}

TEST_P(SimdTarget, pools) {
  TestContext context;
  for (const int64_t C : kLengths) {
    for (const Pool2dShape& s :
         {Pool2dShape{2, 7, 6, C, 3, 3, 2, 2, 0, 0}, Pool2dShape{1, 6, 5, C, 2, 3, 2, 1, 1, 1},
          Pool2dShape{2, 5, 7, C, 2, 2, 2, 2, 0, 0}, Pool2dShape{2, 6, 6, C, 3, 3, 2, 2, 0, 0, true}}) {
      // Few values, so that windows hold ties, and NaN among them.
      auto x = small_integers<float>(s.x_size(), 1);
      for (size_t i = 5; i < x.size(); i += 13) x[i] = NAN;
      const auto dy = small_integers<float>(s.y_size(), 2);
      GuardedBuffer<float> y(s.y_size()), expected_y(s.y_size()), dx(s.x_size()), expected_dx(s.x_size());
      GuardedBuffer<uint8_t> index(s.y_size()), expected_index(s.y_size());
      reference::max_pool2d_forward(x.data(), expected_y.data(), expected_index.data(), s, context);
      cpu::max_pool2d_forward(x.data(), y.data(), index.data(), s, context);
      EXPECT_TRUE(all_equal(y, expected_y)) << s.to_string();
      EXPECT_TRUE(all_equal(index, expected_index)) << s.to_string();
      reference::max_pool2d_backward(dy.data(), expected_index.data(), expected_dx.data(), s, context);
      cpu::max_pool2d_backward(dy.data(), expected_index.data(), dx.data(), s, context);
      EXPECT_TRUE(all_equal(dx, expected_dx)) << s.to_string();

      const auto image = uniform<float>(s.x_size(), 3);
      reference::avg_pool2d_forward(image.data(), expected_y.data(), s, context);
      cpu::avg_pool2d_forward(image.data(), y.data(), s, context);
      EXPECT_TRUE(all_close(y, expected_y, {1e-6, 1e-6})) << s.to_string();  // nine values below 1
      reference::avg_pool2d_backward(dy.data(), expected_dx.data(), s, context);
      cpu::avg_pool2d_backward(dy.data(), dx.data(), s, context);
      EXPECT_TRUE(all_close(dx, expected_dx, {1e-6, 1e-6})) << s.to_string();
      EXPECT_TRUE(y.intact() && dx.intact() && index.intact());
    }
    const AdaptivePool2dShape cells{2, 7, 5, C, 3, 4};
    const auto x = uniform<float>(cells.x_size(), 4), dy = uniform<float>(cells.y_size(), 5);
    GuardedBuffer<float> y(cells.y_size()), expected_y(cells.y_size()), dx(cells.x_size()), expected_dx(cells.x_size());
    reference::adaptive_avg_pool2d_forward(x.data(), expected_y.data(), cells, context);
    reference::adaptive_avg_pool2d_backward(dy.data(), expected_dx.data(), cells, context);
    cpu::adaptive_avg_pool2d_forward(x.data(), y.data(), cells, context);
    cpu::adaptive_avg_pool2d_backward(dy.data(), dx.data(), cells, context);
    EXPECT_TRUE(all_close(y, expected_y, {1e-6, 1e-6})) << cells.to_string();
    EXPECT_TRUE(all_close(dx, expected_dx, {1e-6, 1e-6})) << cells.to_string();
    EXPECT_TRUE(y.intact() && dx.intact());
  }
}

TEST_P(SimdTarget, normalizes_across_channels) {
  TestContext context;
  for (const int64_t C : kLengths) {
    for (const float beta : {0.75f, 0.5f, 1.0f, 0.61f}) {
      const LocalResponseNormShape s{19, C, 5, 2.0f, 0.5f, beta};
      const auto x = uniform<float>(s.rows * C, 1, -3.0, 3.0), dy = uniform<float>(s.rows * C, 2);
      GuardedBuffer<float> y(s.rows * C), dx(s.rows * C), expected_y(s.rows * C), expected_dx(s.rows * C);
      reference::local_response_norm_forward(x.data(), expected_y.data(), s, context);
      reference::local_response_norm_backward(x.data(), dy.data(), expected_dx.data(), s, context);
      cpu::local_response_norm_forward(x.data(), y.data(), s, context);
      cpu::local_response_norm_backward(x.data(), dy.data(), dx.data(), s, context);
      // A power costs a few ulp; the sum of the gradient's terms up to ten of the greatest.
      EXPECT_TRUE(all_close(y, expected_y, {0, 1e-6})) << C << " channels, beta " << beta;
      EXPECT_TRUE(all_close(dx, expected_dx, {1e-6, 2e-6})) << C << " channels, beta " << beta;
      EXPECT_TRUE(y.intact() && dx.intact());
    }
  }
}

TEST_P(SimdTarget, normalizes_over_the_batch) {
  TestContext context;
  for (const int64_t C : kLengths) {
    const BatchNormShape s{61, C};
    const auto x = uniform<float>(s.size(), 1, 8.0, 12.0), dy = uniform<float>(s.size(), 2);
    const auto gamma = uniform<float>(C, 3, 0.5, 2.0), beta = uniform<float>(C, 4);
    struct Outputs {
      GuardedBuffer<float> y, dx, mean, inv_std, running_mean, running_var, dgamma, dbeta;
    };
    const auto outputs = [&] {
      return Outputs{GuardedBuffer<float>(s.size()), GuardedBuffer<float>(s.size()), GuardedBuffer<float>(C),
                     GuardedBuffer<float>(C),        GuardedBuffer<float>(C, 0.5f),  GuardedBuffer<float>(C, 2.0f),
                     GuardedBuffer<float>(C),        GuardedBuffer<float>(C)};
    };
    Outputs found = outputs(), expected = outputs();
    const auto run = [&](auto&& train, auto&& backward, Outputs& out) {
      train(x.data(), gamma.data(), beta.data(), out.y.data(), out.mean.data(), out.inv_std.data(),
            out.running_mean.data(), out.running_var.data(), s, context);
      backward(x.data(), dy.data(), gamma.data(), out.mean.data(), out.inv_std.data(), out.dx.data(), out.dgamma.data(),
               out.dbeta.data(), s, true, Accumulate::no, context);
    };
    run(reference::batch_norm_forward_train<float>, reference::batch_norm_backward<float>, expected);
    run(cpu::batch_norm_forward_train<float>, cpu::batch_norm_backward<float>, found);
    // Sums of 61 deviations near 1.
    EXPECT_TRUE(all_close(found.mean, expected.mean, {1e-6, 1e-7})) << C;
    EXPECT_TRUE(all_close(found.inv_std, expected.inv_std, {0, 2e-6})) << C;
    EXPECT_TRUE(all_close(found.running_mean, expected.running_mean, {1e-6, 1e-6})) << C;
    EXPECT_TRUE(all_close(found.running_var, expected.running_var, {1e-6, 2e-6})) << C;
    EXPECT_TRUE(all_close(found.y, expected.y, {5e-6, 5e-6})) << C;
    EXPECT_TRUE(all_close(found.dgamma, expected.dgamma, {1e-5, 5e-6})) << C;
    EXPECT_TRUE(all_close(found.dbeta, expected.dbeta, {1e-5, 5e-6})) << C;
    EXPECT_TRUE(all_close(found.dx, expected.dx, {2e-6, 5e-6})) << C;

    GuardedBuffer<float> y(s.size()), expected_y(s.size());
    const auto& mean = expected.mean;
    const auto& var = expected.running_var;
    reference::batch_norm_forward_eval(x.data(), gamma.data(), beta.data(), mean.data(), var.data(), expected_y.data(),
                                       expected.inv_std.data(), s, context);
    cpu::batch_norm_forward_eval(x.data(), gamma.data(), beta.data(), mean.data(), var.data(), y.data(),
                                 found.inv_std.data(), s, context);
    EXPECT_TRUE(all_close(y, expected_y, {2e-6, 1e-6})) << C;
    for (const auto* buffer : {&found.y, &found.dx, &found.mean, &found.inv_std, &found.running_mean,
                               &found.running_var, &found.dgamma, &found.dbeta, &y}) {
      EXPECT_TRUE(buffer->intact());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, SimdTarget, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& c) { return std::string(hwy::TargetName(c.param)); });

}  // namespace
}  // namespace striate::test
