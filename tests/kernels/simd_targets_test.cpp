// The vectorised kernels on every instruction set that this build and this machine have, not only on the best: the same
// source with other lengths of vectors, and other ways round what a set lacks.
#include <gtest/gtest.h>

// Before Highway: the sets that the kernels are compiled for.
#include "kernels/simd_targets.h"

#include <hwy/highway.h>

#include <array>
#include <string>
#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gemm/micro.h"
#include "kernels/linear/linear.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
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

TEST_P(SimdTarget, is_the_one_that_runs) { EXPECT_STREQ(gemm::micro_kernels().target, hwy::TargetName(GetParam())); }

TEST_P(SimdTarget, convolves_exactly_on_small_integers) {
  TestContext context;
  const Conv2dShape in_place{2, 15, 17, 3, 37, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  const Conv2dShape gathered{3, 5, 4, 21, 19, 3, 3, 2, 2, 1, 1, 1, 1, 1};
  const Conv2dShape grouped{2, 13, 12, 6, 10, 3, 3, 1, 1, 2, 2, 2, 2, 2};
  for (const Conv2dShape& s : {in_place, gathered, grouped}) {
    const auto x = small_integers<float>(s.x_size(), 1), w = small_integers<float>(s.w_size(), 2);
    const auto b = small_integers<float>(s.K, 3), dy = small_integers<float>(s.y_size(), 4);
    Values<float> y(s.y_size()), dx(s.x_size()), dw(s.w_size()), db(s.K);
    reference::conv2d_forward(x.data(), w.data(), b.data(), y.data(), s, Activation::relu, context);
    reference::conv2d_backward_data(dy.data(), w.data(), dx.data(), s, context);
    reference::conv2d_backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
    GuardedBuffer<float> y2(s.y_size()), dx2(s.x_size()), dw2(s.w_size()), db2(s.K);
    cpu::conv2d_forward(x.data(), w.data(), b.data(), y2.data(), s, Activation::relu, context);
    cpu::conv2d_backward_data(dy.data(), w.data(), dx2.data(), s, context);
    cpu::conv2d_backward_weight(x.data(), dy.data(), dw2.data(), db2.data(), s, Accumulate::no, context);
    EXPECT_TRUE(all_equal(y2, y)) << s.to_string();
    EXPECT_TRUE(all_equal(dx2, dx)) << s.to_string();
    EXPECT_TRUE(all_equal(dw2, dw)) << s.to_string();
    EXPECT_TRUE(all_equal(db2, db)) << s.to_string();
    for (const auto* buffer : {&y2, &dx2, &dw2, &db2}) EXPECT_TRUE(buffer->intact());
  }
}

TEST_P(SimdTarget, multiplies_exactly_on_small_integers) {
  TestContext context;
  for (const LinearShape& s : {LinearShape{1, 131, 45}, LinearShape{7, 45, 131}, LinearShape{29, 515, 103}}) {
    const auto x = small_integers<float>(s.N * s.C, 1), w = small_integers<float>(s.K * s.C, 2);
    const auto b = small_integers<float>(s.K, 3), dy = small_integers<float>(s.N * s.K, 4);
    Values<float> y(s.N * s.K), dx(s.N * s.C), dw(s.K * s.C), db(s.K);
    reference::linear_forward(x.data(), w.data(), b.data(), y.data(), s, Activation::relu, context);
    reference::linear_backward_data(dy.data(), w.data(), dx.data(), s, context);
    reference::linear_backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
    GuardedBuffer<float> y2(s.N * s.K), dx2(s.N * s.C), dw2(s.K * s.C), db2(s.K);
    cpu::linear_forward(x.data(), w.data(), b.data(), y2.data(), s, Activation::relu, context);
    cpu::linear_backward_data(dy.data(), w.data(), dx2.data(), s, context);
    cpu::linear_backward_weight(x.data(), dy.data(), dw2.data(), db2.data(), s, Accumulate::no, context);
    EXPECT_TRUE(all_equal(y2, y)) << s.to_string();
    EXPECT_TRUE(all_equal(dx2, dx)) << s.to_string();
    EXPECT_TRUE(all_equal(dw2, dw)) << s.to_string();
    EXPECT_TRUE(all_equal(db2, db)) << s.to_string();
    for (const auto* buffer : {&y2, &dx2, &dw2, &db2}) EXPECT_TRUE(buffer->intact());
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
    for (const int64_t channels : {1, 3, 5}) {
      const auto pixels = small_integers<uint8_t>(n * channels, 3, 0, 255);
      GuardedBuffer<float> images(n * channels), expected_images(n * channels);
      const auto scale = uniform<float>(channels, 4), shift = uniform<float>(channels, 5);
      reference::normalize_u8(pixels.data(), expected_images.data(), scale.data(), shift.data(), n, channels, context);
      cpu::normalize_u8(pixels.data(), images.data(), scale.data(), shift.data(), n, channels, context);
      // A set without fused multiply-add rounds the product too: half an ulp of 255.
      EXPECT_TRUE(all_close(images, expected_images, {2e-5, 0})) << n << " × " << channels;
      EXPECT_TRUE(images.intact());
    }
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
    GuardedBuffer<float> sample(3), max(3), log_sum(3), dx(3 * classes), p(3 * classes);
    GuardedBuffer<float> expected_sample(3), expected_max(3), expected_log_sum(3), expected_dx(3 * classes);
    GuardedBuffer<float> expected_p(3 * classes);
    GuardedBuffer<int32_t> rank(3), expected_rank(3);
    reference::softmax_cross_entropy_forward(x.data(), label.data(), &expected_loss, expected_sample.data(),
                                             expected_max.data(), expected_log_sum.data(), expected_rank.data(), shape,
                                             context);
    reference::softmax_cross_entropy_backward(x.data(), label.data(), expected_max.data(), expected_log_sum.data(),
                                              &dloss, expected_dx.data(), shape, context);
    reference::softmax_forward(x.data(), expected_p.data(), 3, classes, context);
    cpu::softmax_cross_entropy_forward(x.data(), label.data(), &loss, sample.data(), max.data(), log_sum.data(),
                                       rank.data(), shape, context);
    cpu::softmax_cross_entropy_backward(x.data(), label.data(), max.data(), log_sum.data(), &dloss, dx.data(), shape,
                                        context);
    cpu::softmax_forward(x.data(), p.data(), 3, classes, context);
    EXPECT_NEAR(loss, expected_loss, 3e-6) << classes;
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
    const auto run = [&](auto&& sgd, auto&& adam, auto&& rmsprop, auto&& global_norm) {
      std::array<GuardedBuffer<float>, 3> buffers = {GuardedBuffer<float>(w), GuardedBuffer<float>(s1),
                                                     GuardedBuffer<float>(s2)};
      const ParameterUpdate<float> update{buffers[0].data(), g.data(), buffers[1].data(), buffers[2].data(), n, 0.1f};
      UpdateState state{0.1f, 1.0f, 3};
      float norm = 0;
      Context& c = context;
      global_norm(&update, 1, 0.5f, &state, &norm, c);
      adam(&update, 1, AdamOptions{}, &state, c);
      rmsprop(&update, 1, RmspropOptions{0.9f, 1e-8f, 0.5f}, &state, c);
      sgd(&update, 1, SgdOptions{0.9f, true, false}, &state, c);
      sgd(&update, 1, SgdOptions{0.9f, false, true}, &state, c);
      Values<float> result = {norm, state.gradient_scale};
      for (const auto& buffer : buffers) {
        EXPECT_TRUE(buffer.intact());
        result.insert(result.end(), buffer.data(), buffer.data() + n);
      }
      return result;
    };
    EXPECT_TRUE(all_close(run(cpu::sgd_update, cpu::adam_update, cpu::rmsprop_update, cpu::global_norm),
                          run(reference::sgd_update<float>, reference::adam_update<float>,
                              reference::rmsprop_update<float>, reference::global_norm<float>),
                          {1e-6, 2e-6}))
        << n;
  }
}

INSTANTIATE_TEST_SUITE_P(, SimdTarget, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& c) { return std::string(hwy::TargetName(c.param)); });

}  // namespace
}  // namespace striate::test
