// A convolution and its max-pool in one, against the two one after the other: the same bits, on random small shapes.
#include "kernels/conv2d/max_pooled.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/winograd_choice.h"
#include "kernels/error.h"
#include "kernels/pool2d/pool2d.h"
#include "tests/kernels/random_shapes.h"
#include "tests/support/backend.h"
#include "tests/support/error.h"
#include "tests/support/fill.h"

namespace striate::test {
namespace {

Pool2dShape pool_of(const Conv2dShape& c, int64_t window, int64_t stride, int64_t pad = 0) {
  return {c.N, c.P(), c.Q(), c.K, window, window, stride, stride, pad, pad};
}

/// Of direct sums, or what Winograd's algorithm takes.
Conv2dShape random_convolution(Random& random, bool winograd) {
  Conv2dShape s;
  do {
    s = {};
    s.N = random.between(1, winograd ? 40 : 14);
    if (winograd) {
      s.H = random.between(5, 12), s.W = random.between(5, 12);
      s.C = random.one_of({32, 33, 40, 64}), s.K = random.one_of({32, 37, 48, 64, 72});
      s.R = s.S = random.one_of({3, 5});
      s.pad_h = random.between(0, 2), s.pad_w = random.between(0, 2);
    } else {
      s.H = random.between(7, 26), s.W = random.between(7, 26);
      s.groups = random.one_of({1, 1, 2, 3});
      s.C = s.groups * random.between(1, 6), s.K = s.groups * random.one_of({1, 2, 5, 8, 17, 32, 33});
      s.R = random.between(1, 5), s.S = random.between(1, 5);
      s.stride_h = random.between(1, 3), s.stride_w = random.between(1, 3);
      s.pad_h = random.between(0, 2), s.pad_w = random.between(0, 2);
      s.dilation_h = random.between(1, 2), s.dilation_w = random.between(1, 2);
    }
  } while (!is_valid(s));
  return s;
}

template <typename T>
void compare_with_two_ops(uint32_t seed) {
  Random random(first_seed() + seed);
  int direct = 0, by_winograd = 0;
  for (int i = 0; i < rounds(120); ++i) {
    const bool winograd = random.chance(40);
    const Conv2dShape s = random_convolution(random, winograd);
    Pool2dShape p;
    do {
      p = {s.N, s.P(), s.Q(), s.K};
      p.R = random.between(1, 4), p.S = random.between(1, 4);
      p.stride_h = random.between(1, 4), p.stride_w = random.between(1, 4);
      p.pad_h = random.between(0, p.R / 2), p.pad_w = random.between(0, p.S / 2);
    } while (!is_valid(p));
    const Activation activation = random.chance(70) ? Activation::relu : Activation::none;
    p.after_relu = activation == Activation::relu;
    const RandomTarget target(random);
    SCOPED_TRACE(s.to_string() + " and " + p.to_string() + " on " + target.name());

    const bool end = i % 4 != 0, has_bias = random.chance(80);
    const auto at = static_cast<uint32_t>(3 * i);
    const Edged<T> x(uniform<T>(s.x_size(), at), end), w(uniform<T>(s.w_size(), at + 1), end);
    const Floats b(uniform<float>(s.K, at + 2), end);
    const float* const bias = has_bias ? b.data() : nullptr;
    Edged<T> between(s.y_size(), end), expected(p.y_size(), end);
    Edged<uint8_t> expected_index(p.y_size(), end);
    ThreadPool two(2);
    PoisonedWorkspace of_two;
    Context unfused{&two, &of_two};
    cpu::conv2d_forward(x.data(), w.data(), bias, between.data(), s, activation, unfused);
    cpu::max_pool2d_forward(between.data(), expected.data(), expected_index.data(), p, unfused);

    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      PoisonedWorkspace workspace;
      Context context{&pool, &workspace};
      if (!cpu::conv2d_max_pool_pays<T>(s, context)) continue;
      ++(cpu::winograd_choice<T>(s).forward ? by_winograd : direct);
      Edged<T> y(p.y_size(), threads == 1);
      Edged<uint8_t> index(p.y_size(), threads == 1);
      cpu::conv2d_max_pool_forward(x.data(), w.data(), bias, y.data(), index.data(), s, p, activation, context);
      EXPECT_TRUE(y.same_bits(expected)) << threads << " threads";
      EXPECT_TRUE(index.same_bits(expected_index)) << threads << " threads";
      EXPECT_TRUE(y.intact() && index.intact() && workspace.intact());
    }
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(direct, 20);
  EXPECT_GT(by_winograd, 20);
}

TEST(MaxPooledConvolution, HasTheBitsOfTwoOps) { compare_with_two_ops<float>(5000); }
TEST(MaxPooledConvolution, HasTheBitsOfTwoOpsInBfloat16) { compare_with_two_ops<bfloat16>(6000); }

/// Notes how much was asked for.
class CountedWorkspace : public HostWorkspace {
 public:
  void* reserve(size_t bytes) override {
    most = std::max(most, bytes);
    return HostWorkspace::reserve(bytes);
  }
  size_t most = 0;
};

TEST(MaxPooledConvolution, NeedsNoMemoryForItsWholeOutput) {
  // 32 images more take as much scratch memory: nothing of it is theirs.
  for (const Conv2dShape& one :
       {Conv2dShape{0, 31, 31, 3, 24, 5, 5}, Conv2dShape{0, 15, 15, 32, 64, 5, 5, 1, 1, 2, 2}}) {
    size_t most[2];
    for (const int64_t N : {16, 48}) {
      Conv2dShape s = one;
      s.N = N;
      const Pool2dShape p = pool_of(s, 3, 2);
      ThreadPool pool(2);
      CountedWorkspace workspace;
      Context context{&pool, &workspace};
      const auto x = uniform<float>(s.x_size(), 1), w = uniform<float>(s.w_size(), 2);
      Values<float> y(static_cast<size_t>(p.y_size()));
      Values<uint8_t> index(y.size());
      ASSERT_TRUE(cpu::conv2d_max_pool_pays<float>(s, context)) << s.to_string();
      cpu::conv2d_max_pool_forward<float>(x.data(), w.data(), nullptr, y.data(), index.data(), s, p, Activation::relu,
                                          context);
      most[N == 48] = workspace.most;
    }
    EXPECT_EQ(most[0], most[1]) << one.to_string();
  }
}

TEST(MaxPooledConvolution, RefusesWhatItCannotDo) {
  TestContext context(2);
  const Conv2dShape s{8, 20, 20, 3, 8, 3, 3}, small{8, 6, 6, 3, 8, 3, 3};
  const auto run = [&](const Conv2dShape& conv, const Pool2dShape& pool, Activation activation) {
    cpu::conv2d_max_pool_forward<float>(nullptr, nullptr, nullptr, nullptr, nullptr, conv, pool, activation, context);
  };
  Pool2dShape other = pool_of(s, 2, 2);
  other.H = 17;
  EXPECT_TRUE(throws_with<ShapeError>([&] { run(s, other, Activation::relu); }, {"conv2d_max_pool", "[8,18,18,8]"}));
  EXPECT_THROW(run(s, pool_of(s, 2, 2), Activation::gelu), ShapeError);
  EXPECT_FALSE(cpu::conv2d_max_pool_pays<float>(small, context));
  EXPECT_TRUE(throws_with<ShapeError>([&] { run(small, pool_of(small, 2, 2), Activation::relu); }, {"too few"}));
  Conv2dShape empty = s;
  empty.N = 0;
  run(empty, pool_of(empty, 2, 2), Activation::relu);
}

}  // namespace
}  // namespace striate::test
