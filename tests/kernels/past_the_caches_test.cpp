// Outputs so large that they are stored past the caches: every value must be there, whatever the alignment, and no
// neighbour touched.
#include <gtest/gtest.h>

#include <cstring>
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
  // Runs `kernel` on outputs that begin at a cache line and a value behind one.
  template <typename T, typename Kernel>
  void expect_the_same(int64_t size, const Values<T>& expected, Kernel&& kernel) {
    for (const int64_t offset : {0, 1}) {
      GuardedBuffer<T> out(size + offset);
      out[0] = stored_as<T>(77.0f);
      kernel(out.data() + offset);
      if (offset == 1) {
        EXPECT_EQ(to_float(out[0]), 77.0f);
      }
      const Values<T> found(out.data() + offset, out.data() + offset + size);
      // Values with the same bits, nearly always, are not widened to be compared: that takes most of the time.
      if (std::memcmp(found.data(), expected.data(), found.size() * sizeof(T)) != 0) {
        EXPECT_TRUE(all_equal(found, expected)) << "offset " << offset;
      }
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

/// Rows of bfloat16, 17 MiB of them, together and in parts that are stored through the caches, as the other tests of
/// bfloat16 have them.
class Bfloat16PastTheCaches : public PastTheCaches {
 protected:
  // kernel(first row, rows, output)
  template <typename Kernel>
  void expect_the_same_in_parts(int64_t rows, int64_t width, Kernel&& kernel) {
    ASSERT_GE(rows * width * int64_t{sizeof(bfloat16)}, int64_t{17} << 20);
    Values<bfloat16> expected(static_cast<size_t>(rows * width));
    for (const int64_t part : {0, 1, 2}) {
      const int64_t first = rows * part / 3, end = rows * (part + 1) / 3;
      kernel(first, end - first, expected.data() + first * width);
    }
    expect_the_same(rows * width, expected, [&](bfloat16* out) { kernel(0, rows, out); });
  }
  // Multiples of `unit` from −6 to 6: cheap to make.
  static Values<bfloat16> values(int64_t count, uint32_t seed, float unit = 1.0f) {
    Values<bfloat16> values(static_cast<size_t>(count));
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = to_bfloat16(unit * (static_cast<float>((i * 37 + seed * i / 1021) % 13) - 6.0f));
    }
    return values;
  }
};

TEST_F(Bfloat16PastTheCaches, MapsOverValues) {
  constexpr int64_t n = (int64_t{17} << 19) + 13;
  const auto a = values(n, 1), b = values(n, 2);
  expect_the_same_in_parts(n, 1, [&](int64_t first, int64_t count, bfloat16* y) {
    cpu::activation_backward(Activation::silu, &a[first], &b[first], y, count, context_);
  });
  expect_the_same_in_parts(n, 1, [&](int64_t first, int64_t count, bfloat16* y) {
    cpu::add(&a[first], &b[first], y, count, Activation::relu, context_);
  });
  Values<float> floats(n);
  for (size_t i = 0; i < floats.size(); ++i) floats[i] = 0.1f * static_cast<float>(i % 1000);
  expect_the_same_in_parts(
      n, 1, [&](int64_t first, int64_t count, bfloat16* y) { cpu::float_to_bf16(&floats[first], y, count, context_); });
}

TEST_F(Bfloat16PastTheCaches, Dropout) {
  constexpr int64_t kRows = 2063, kFeatures = 4325;
  const auto x = values(kRows * kFeatures, 1);
  expect_the_same_in_parts(kRows, kFeatures, [&](int64_t first, int64_t rows, bfloat16* y) {
    const DropoutState state{5, 9, static_cast<uint64_t>(1 + first)};
    cpu::dropout_forward(&x[first * kFeatures], y, {rows, kFeatures, 0.5f, 2}, &state, context_);
  });
}

TEST_F(Bfloat16PastTheCaches, Pools) {
  const Pool2dShape s{19, 99, 101, 48, 3, 3, 2, 2};
  const int64_t x_width = s.x_size() / s.N, y_width = s.y_size() / s.N;
  const auto dy = values(s.y_size(), 2, 0.125f);
  Values<uint8_t> index(static_cast<size_t>(s.x_size()));
  for (size_t i = 0; i < index.size(); ++i) index[i] = static_cast<uint8_t>(i % 9);
  const auto of = [&](int64_t images) {
    Pool2dShape part = s;
    part.N = images;
    return part;
  };
  expect_the_same_in_parts(s.N, x_width, [&](int64_t first, int64_t images, bfloat16* dx) {
    cpu::max_pool2d_backward(&dy[first * y_width], &index[first * y_width], dx, of(images), context_);
  });
  expect_the_same_in_parts(s.N, x_width, [&](int64_t first, int64_t images, bfloat16* dx) {
    cpu::avg_pool2d_backward(&dy[first * y_width], dx, of(images), context_);
  });
  // Windows of one pixel, so that what is written is as large.
  const Pool2dShape single{19, 99, 101, 48, 1, 1, 1, 1};
  const auto x = values(single.x_size(), 1);
  expect_the_same_in_parts(single.N, x_width, [&](int64_t first, int64_t images, bfloat16* y) {
    Pool2dShape part = single;
    part.N = images;
    cpu::max_pool2d_forward(&x[first * x_width], y, &index[static_cast<size_t>(first * x_width)], part, context_);
  });
}

TEST_F(Bfloat16PastTheCaches, Normalizations) {
  constexpr int64_t kRows = 140003, kChannels = 64;
  const auto x = values(kRows * kChannels, 1, 0.125f), dy = values(kRows * kChannels, 2, 0.125f);
  const auto gamma = uniform<float>(kChannels, 3), beta = uniform<float>(kChannels, 4);
  const auto mean = uniform<float>(kChannels, 5), var = uniform<float>(kChannels, 6, 0.5, 1.0);
  Values<float> inv_std(kChannels), dgamma(kChannels), dbeta(kChannels);
  expect_the_same_in_parts(kRows, kChannels, [&](int64_t first, int64_t rows, bfloat16* y) {
    cpu::batch_norm_forward_eval(&x[first * kChannels], gamma.data(), beta.data(), mean.data(), var.data(), y,
                                 inv_std.data(), {rows, kChannels}, context_);
  });
  expect_the_same_in_parts(kRows, kChannels, [&](int64_t first, int64_t rows, bfloat16* dx) {
    cpu::batch_norm_backward(&x[first * kChannels], &dy[first * kChannels], gamma.data(), mean.data(), inv_std.data(),
                             dx, dgamma.data(), dbeta.data(), {rows, kChannels}, false, Accumulate::no, context_);
  });
  expect_the_same_in_parts(kRows, kChannels, [&](int64_t first, int64_t rows, bfloat16* y) {
    cpu::local_response_norm_forward(&x[first * kChannels], y, {rows, kChannels}, context_);
  });
  expect_the_same_in_parts(kRows, kChannels, [&](int64_t first, int64_t rows, bfloat16* dx) {
    cpu::local_response_norm_backward(&x[first * kChannels], &dy[first * kChannels], dx, {rows, kChannels}, context_);
  });
}

}  // namespace
}  // namespace striate::test
