// Outputs so large that they are stored past the caches: every value must be there, whatever the alignment, and no
// neighbour touched.
#include <gtest/gtest.h>

#include <vector>

#include "kernels/activation/activation.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/local_response_norm/local_response_norm.h"
#include "kernels/pool2d/pool2d.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

// 17 MiB, no multiple of a vector.
constexpr int64_t kMany = (int64_t{17} << 18) + 13;

class PastTheCaches : public testing::Test {
 protected:
  // Runs `kernel` on outputs that begin at a cache line and four bytes behind one.
  template <typename Kernel>
  void expect_the_same(int64_t size, const Values<float>& expected, Kernel&& kernel) {
    for (const int64_t offset : {0, 1}) {
      GuardedBuffer<float> out(size + offset);
      out[0] = 77.0f;
      kernel(out.data() + offset);
      if (offset == 1) {
        EXPECT_EQ(out[0], 77.0f);
      }
      const Values<float> found(out.data() + offset, out.data() + offset + size);
      EXPECT_TRUE(all_equal(found, expected)) << "offset " << offset;
      EXPECT_TRUE(out.intact());
    }
  }
  TestContext context_{2};
};

TEST_F(PastTheCaches, MapsOverValues) {
  const auto a = small_integers<float>(kMany, 1), b = small_integers<float>(kMany, 2);
  Values<float> expected(kMany);
  reference::activation_forward(Activation::relu, a.data(), expected.data(), kMany, context_);
  expect_the_same(kMany, expected,
                  [&](float* y) { cpu::activation_forward(Activation::relu, a.data(), y, kMany, context_); });
  reference::activation_backward(Activation::relu, a.data(), b.data(), expected.data(), kMany, context_);
  expect_the_same(kMany, expected, [&](float* dx) {
    cpu::activation_backward(Activation::relu, a.data(), b.data(), dx, kMany, context_);
  });
  reference::add(a.data(), b.data(), expected.data(), kMany, Activation::relu, context_);
  expect_the_same(kMany, expected,
                  [&](float* y) { cpu::add(a.data(), b.data(), y, kMany, Activation::relu, context_); });
  reference::scale(a.data(), expected.data(), 3.0f, kMany, context_);
  expect_the_same(kMany, expected, [&](float* y) { cpu::scale(a.data(), y, 3.0f, kMany, context_); });
  reference::fill(expected.data(), 5.0f, kMany, context_);
  expect_the_same(kMany, expected, [&](float* y) { cpu::fill(y, 5.0f, kMany, context_); });
}

TEST_F(PastTheCaches, InPlace) {
  auto a = small_integers<float>(kMany, 1), expected = a;
  reference::activation_forward(Activation::relu, a.data(), expected.data(), kMany, context_);
  cpu::activation_forward(Activation::relu, a.data(), a.data(), kMany, context_);
  EXPECT_TRUE(all_equal(a, expected));
}

TEST_F(PastTheCaches, Conversions) {
  Values<bfloat16> halves(kMany);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = {static_cast<uint16_t>(0x3F80u + i % 61u)};
  Values<float> expected(kMany);
  reference::bf16_to_float(halves.data(), expected.data(), kMany, context_);
  expect_the_same(kMany, expected, [&](float* y) { cpu::bf16_to_float(halves.data(), y, kMany, context_); });
}

TEST_F(PastTheCaches, Dropout) {
  const DropoutShape shape{1031, 4325, 0.5f, 2};
  const DropoutState state{5, 9, 1};  // the first element lies within a block of four
  const auto x = small_integers<float>(shape.size(), 1);
  Values<float> expected(x.size());
  reference::dropout_forward(x.data(), expected.data(), shape, &state, context_);
  expect_the_same(shape.size(), expected,
                  [&](float* y) { cpu::dropout_forward(x.data(), y, shape, &state, context_); });
}

TEST_F(PastTheCaches, Pools) {
  for (const Pool2dShape& s : {Pool2dShape{9, 101, 103, 48, 3, 3, 2, 2, 0, 0}, Pool2dShape{3, 175, 173, 48, 2, 2, 2, 2},
                               Pool2dShape{11, 98, 96, 48, 3, 3, 1, 1, 1, 1}}) {
    const auto x = small_integers<float>(s.x_size(), 1), dy = small_integers<float>(s.y_size(), 2);
    Values<float> y(dy.size()), dx(x.size());
    Values<uint8_t> index(dy.size()), found(dy.size());
    reference::max_pool2d_forward(x.data(), y.data(), index.data(), s, context_);
    expect_the_same(s.y_size(), y, [&](float* out) {
      cpu::max_pool2d_forward(x.data(), out, found.data(), s, context_);
      EXPECT_TRUE(all_equal(found, index));
    });
    reference::max_pool2d_backward(dy.data(), index.data(), dx.data(), s, context_);
    expect_the_same(s.x_size(), dx,
                    [&](float* out) { cpu::max_pool2d_backward(dy.data(), index.data(), out, s, context_); });
    Values<float> average(dx.size());
    cpu::avg_pool2d_backward(dy.data(), average.data(), s, context_);
    reference::avg_pool2d_backward(dy.data(), dx.data(), s, context_);
    EXPECT_TRUE(all_close(average, dx, {1e-5, 1e-6}));  // nine small integers divided by nine
  }
}

TEST_F(PastTheCaches, Normalizations) {
  const BatchNormShape shape{71003, 64};
  const auto x = uniform<float>(shape.size(), 1), dy = uniform<float>(shape.size(), 2);
  const auto gamma = uniform<float>(shape.C, 3), beta = uniform<float>(shape.C, 4);
  const auto batch_norm = [&](const auto& forward, const auto& backward) {
    Values<float> y(x.size()), dx(x.size()), mean(gamma.size()), inv_std(gamma.size());
    Values<float> running_mean(gamma.size(), 0.0f), running_var(gamma.size(), 1.0f), dgamma(gamma.size());
    forward(x.data(), gamma.data(), beta.data(), y.data(), mean.data(), inv_std.data(), running_mean.data(),
            running_var.data(), shape, context_);
    backward(x.data(), dy.data(), gamma.data(), mean.data(), inv_std.data(), dx.data(), dgamma.data(), nullptr, shape,
             true, Accumulate::no, context_);
    y.insert(y.end(), dx.begin(), dx.end());
    return y;
  };
  EXPECT_TRUE(all_close(batch_norm(cpu::batch_norm_forward_train<float>, cpu::batch_norm_backward<float>),
                        batch_norm(reference::batch_norm_forward_train<float>, reference::batch_norm_backward<float>),
                        {2e-6, 2e-6}));  // values up to 4, a few roundings each

  const LocalResponseNormShape lrn{71003, 64, 5, 2.0f, 0.5f, 0.75f};
  Values<float> y(x.size()), expected(x.size());
  cpu::local_response_norm_forward(x.data(), y.data(), lrn, context_);
  reference::local_response_norm_forward(x.data(), expected.data(), lrn, context_);
  EXPECT_TRUE(all_close(y, expected, {1e-6, 2e-6}));
  cpu::local_response_norm_backward(x.data(), dy.data(), y.data(), lrn, context_);
  reference::local_response_norm_backward(x.data(), dy.data(), expected.data(), lrn, context_);
  EXPECT_TRUE(all_close(y, expected, {1e-6, 2e-6}));
}

}  // namespace
}  // namespace striate::test
