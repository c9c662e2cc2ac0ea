// Winograd's convolution by itself, on shapes that conv2d would not give it too: edges of every kind.
#include "kernels/conv2d/winograd.h"

#include <gtest/gtest.h>

// Before Highway: the sets that the kernels are compiled for.
#include "kernels/simd_targets.h"

#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/kernels/product_checks.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

namespace winograd = cpu::winograd;

Conv2dShape conv(int64_t N, int64_t H, int64_t W, int64_t C, int64_t K, int64_t taps, int64_t pad) {
  return {N, H, W, C, K, taps, taps, 1, 1, pad, pad, 1, 1, 1};
}

struct Case {
  std::string name;
  Conv2dShape shape;
  friend void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }
};

std::vector<Case> cases() {
  Conv2dShape uneven_padding = conv(2, 9, 6, 18, 20, 5, 0);
  uneven_padding.pad_w = 4;
  return {
      {"alexnet_conv2", conv(2, 27, 27, 16, 40, 5, 2)},
      {"alexnet_conv3", conv(4, 13, 13, 48, 70, 3, 1)},
      {"whole_tiles", conv(3, 8, 16, 32, 64, 3, 1)},
      {"small_maps", conv(9, 4, 4, 33, 70, 3, 1)},
      {"one_pixel", conv(3, 1, 1, 5, 7, 3, 1)},
      {"one_pixel_five_taps", conv(5, 1, 1, 5, 7, 5, 2)},
      {"one_pixel_out", conv(3, 5, 5, 7, 9, 5, 0)},
      {"odd_sizes", conv(3, 11, 7, 5, 37, 3, 1)},
      {"no_padding", conv(2, 9, 10, 8, 33, 3, 0)},
      {"no_padding_five_taps", conv(3, 9, 13, 17, 5, 5, 0)},
      {"most_padding", conv(2, 5, 6, 19, 21, 3, 2)},
      {"most_padding_five_taps", conv(2, 5, 6, 19, 21, 5, 4)},
      {"uneven_padding", uneven_padding},
      {"one_channel", conv(2, 9, 10, 1, 1, 3, 1)},
      {"mosaics_not_full", conv(7, 13, 6, 6, 17, 3, 1)},
      {"many_blocks", conv(5, 33, 31, 6, 17, 3, 1)},
      {"deep", conv(1, 9, 9, 300, 34, 3, 1)},
      {"panels_of_own", conv(2, 9, 9, 20, 100, 3, 1)},
      {"panels_of_own_five_taps", conv(9, 8, 8, 70, 65, 5, 2)},
      {"more_threads_than_panels", conv(1, 9, 9, 70, 130, 3, 1)},
      {"several_chunks", conv(1, 7, 9, 20, 300, 3, 1)},
      {"empty_batch", conv(0, 8, 8, 3, 5, 3, 1)},
  };
}

/// The error of the largest element by the largest expected value; of bfloat16 beyond that of their rounding.
template <typename T>
double error_of(const GuardedBuffer<T>& actual, const Values<double>& expected) {
  double error = 0.0, largest = 1e-30;
  for (int64_t i = 0; i < actual.size(); ++i) {
    const double a = reference::value_of(actual[i]), e = expected[static_cast<size_t>(i)];
    const double rounding = std::is_same_v<T, bfloat16> ? std::abs(a) / 256 : 0.0;
    error = std::isnan(a) ? HUGE_VAL : std::max(error, std::abs(a - e) - rounding);
    largest = std::max(largest, std::abs(e));
  }
  return error / largest;
}

class Winograd : public testing::TestWithParam<Case> {
 protected:
  void TearDown() override { choose(0); }

  static void choose(int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  template <typename T>
  static void check_on_every_instruction_set(const Conv2dShape& s);
};

/// Sums of C·taps² products are right to about 1.5e-6 of the largest value. The transforms lose more the larger their
/// coefficients: with 6 points twice that, with 8 up to 6e-6. A wrong or missing term shows as 1e-2.
double tolerance(const Conv2dShape& s) { return s.R == 3 ? 4e-6 : 1e-5; }

template <typename T>
void Winograd::check_on_every_instruction_set(const Conv2dShape& s) {
  ASSERT_TRUE(winograd::fits(s));
  const auto x = uniform<T>(s.x_size(), 1), w = uniform<T>(s.w_size(), 2), dy = uniform<T>(s.y_size(), 4);
  const auto b = uniform<float>(s.K, 3);
  const auto rx = as<double>(x), rw = as<double>(w), rb = as<double>(b), rdy = as<double>(dy);
  Values<double> y(s.y_size()), dx(s.x_size()), dw(s.w_size()), dw_added(s.w_size(), 0.5);
  TestContext context;
  reference::conv2d_forward(rx.data(), rw.data(), rb.data(), y.data(), s, Activation::leaky_relu, context);
  reference::conv2d_backward_data(rdy.data(), rw.data(), dx.data(), s, context);
  reference::conv2d_backward_weight<double>(rx.data(), rdy.data(), dw.data(), nullptr, s, Accumulate::no, context);
  reference::conv2d_backward_weight<double>(rx.data(), rdy.data(), dw_added.data(), nullptr, s, Accumulate::yes,
                                            context);
  const GuardedBuffer<T> gx(x), gw(w), gdy(dy);
  const GuardedBuffer<float> gb(b);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    choose(target);
    SCOPED_TRACE(hwy::TargetName(target));
    GuardedBuffer<T> y2(s.y_size()), dx2(s.x_size());
    winograd::forward(gx.data(), gw.data(), gb.data(), y2.data(), s, Activation::leaky_relu, context);
    winograd::backward_data(gdy.data(), gw.data(), dx2.data(), s, context);
    EXPECT_LE(error_of(y2, y), tolerance(s));
    EXPECT_LE(error_of(dx2, dx), tolerance(s));
    EXPECT_TRUE(gx.intact() && gw.intact() && gb.intact() && gdy.intact());
    for (const auto* buffer : {&y2, &dx2}) EXPECT_TRUE(buffer->intact());
    if (s.N == 0) continue;
    GuardedBuffer<float> dw2(s.w_size()), dw2_added(s.w_size(), 0.5f);
    winograd::backward_weight(gx.data(), gdy.data(), dw2.data(), s, Accumulate::no, context);
    winograd::backward_weight(gx.data(), gdy.data(), dw2_added.data(), s, Accumulate::yes, context);
    EXPECT_LE(error_of(dw2, dw), tolerance(s));
    EXPECT_LE(error_of(dw2_added, dw_added), tolerance(s));
    for (const auto* buffer : {&dw2, &dw2_added}) EXPECT_TRUE(buffer->intact());
    for (const auto* buffer : {&gx, &gdy}) EXPECT_TRUE(buffer->intact());
  }
}

TEST_P(Winograd, agrees_with_the_reference_on_every_instruction_set) {
  check_on_every_instruction_set<float>(GetParam().shape);
}
TEST_P(Winograd, agrees_with_the_reference_in_bfloat16) { check_on_every_instruction_set<bfloat16>(GetParam().shape); }

TEST_P(Winograd, gives_the_same_bits_for_any_number_of_threads) {
  const Conv2dShape s = GetParam().shape;
  const auto x = uniform<float>(s.x_size(), 5), w = uniform<float>(s.w_size(), 6), dy = uniform<float>(s.y_size(), 7);
  Values<float> first;
  for (const int threads : {1, 1, 2, 3, 8}) {
    TestContext context(threads);
    Values<float> y(s.y_size()), dx(s.x_size()), dw(s.w_size()), all;
    winograd::forward(x.data(), w.data(), nullptr, y.data(), s, Activation::relu, context);
    winograd::backward_data(dy.data(), w.data(), dx.data(), s, context);
    if (s.N > 0) winograd::backward_weight(x.data(), dy.data(), dw.data(), s, Accumulate::no, context);
    for (const auto* part : {&y, &dx, &dw}) all.insert(all.end(), part->begin(), part->end());
    if (threads == 1 && first.empty()) first = all;
    EXPECT_TRUE(all_equal(all, first)) << "with " << threads << " threads";
  }
}

TEST(WinogradAlone, refuses_what_it_cannot_do) {
  TestContext context;
  float v[1] = {0};
  Conv2dShape strided = conv(1, 8, 8, 3, 5, 3, 1), dilated = strided, grouped = conv(1, 8, 8, 4, 4, 3, 1);
  strided.stride_h = 2, dilated.dilation_w = 2, grouped.groups = 2;
  Conv2dShape rectangular = conv(1, 8, 8, 3, 5, 3, 1);
  rectangular.S = 5;
  for (const Conv2dShape& s :
       {strided, dilated, grouped, rectangular, conv(1, 8, 8, 3, 5, 3, 3), conv(1, 8, 8, 3, 5, 7, 1)}) {
    EXPECT_FALSE(winograd::fits(s)) << s.to_string();
    EXPECT_FALSE(winograd::forward_pays(s) || winograd::backward_data_pays(s) || winograd::backward_weight_pays(s))
        << s.to_string();
    EXPECT_THROW(winograd::forward<float>(v, v, v, v, s, Activation::none, context), ShapeError);
    EXPECT_THROW(winograd::backward_data(v, v, v, s, context), ShapeError);
    EXPECT_THROW(winograd::backward_weight(v, v, v, s, Accumulate::no, context), ShapeError);
  }
}

/// Shapes that conv2d gives to Winograd's algorithm.
class WinogradInConv2d : public testing::TestWithParam<Case> {};

TEST_P(WinogradInConv2d, takes_its_results) {
  const Conv2dShape s = GetParam().shape;
  ASSERT_TRUE(winograd::forward_pays(s) && winograd::backward_data_pays(s) && winograd::backward_weight_pays(s));
  const auto x = uniform<float>(s.x_size(), 1), w = uniform<float>(s.w_size(), 2), b = uniform<float>(s.K, 3);
  const auto dy = uniform<float>(s.y_size(), 4);
  TestContext context;
  GuardedBuffer<float> y(s.y_size()), dx(s.x_size()), expected_y(s.y_size()), expected_dx(s.x_size());
  cpu::conv2d_forward(x.data(), w.data(), b.data(), y.data(), s, Activation::relu, context);
  cpu::conv2d_backward_data(dy.data(), w.data(), dx.data(), s, context);
  winograd::forward(x.data(), w.data(), b.data(), expected_y.data(), s, Activation::relu, context);
  winograd::backward_data(dy.data(), w.data(), expected_dx.data(), s, context);
  EXPECT_TRUE(all_equal(y, expected_y));
  EXPECT_TRUE(all_equal(dx, expected_dx));
  GuardedBuffer<float> dw(s.w_size()), expected_dw(s.w_size());
  cpu::conv2d_backward_weight(x.data(), dy.data(), dw.data(), nullptr, s, Accumulate::no, context);
  winograd::backward_weight(x.data(), dy.data(), expected_dw.data(), s, Accumulate::no, context);
  EXPECT_TRUE(all_equal(dw, expected_dw));
}

// The tolerance of direct sums, which is by the sum of the products' magnitudes.
TEST_P(WinogradInConv2d, keeps_to_the_tolerance_of_direct_sums) {
  check_against_reference<Conv2dShape, float>(
      {&cpu::conv2d_forward, &cpu::conv2d_backward_data, &cpu::conv2d_backward_weight}, Backend::cpu, Precision::fp32,
      GetParam().shape);
}

TEST_P(WinogradInConv2d, lets_nan_through_to_the_tiles_that_see_it) {
  const Conv2dShape s = GetParam().shape;
  Values<float> x(s.x_size(), 1.0f);
  const auto w = uniform<float>(s.w_size(), 2);
  x[0] = poison<float>();
  TestContext context;
  GuardedBuffer<float> y(s.y_size(), 0.0f);
  cpu::conv2d_forward(x.data(), w.data(), nullptr, y.data(), s, Activation::relu, context);
  EXPECT_TRUE(std::isnan(y[0]));
  for (int64_t p = s.R; p < s.P(); ++p) EXPECT_EQ(std::isnan(y[p * s.Q() * s.K]), p < 4) << "row " << p;
  EXPECT_FALSE(std::isnan(y[y.size() - 1]));
}

TEST(WinogradAlone, is_left_out_where_tiles_or_channels_are_few) {
  const Conv2dShape one_image = conv(1, 13, 13, 64, 64, 3, 1);
  EXPECT_TRUE(winograd::backward_weight_pays(one_image));
  EXPECT_FALSE(winograd::forward_pays(one_image) || winograd::backward_data_pays(one_image));
  for (const Conv2dShape& s : {conv(1, 12, 13, 64, 64, 3, 1), conv(8, 13, 13, 31, 64, 3, 1),
                               conv(8, 13, 13, 64, 31, 5, 2), conv(0, 13, 13, 64, 64, 3, 1)}) {
    EXPECT_FALSE(winograd::forward_pays(s) || winograd::backward_data_pays(s) || winograd::backward_weight_pays(s))
        << s.to_string();
  }
}

INSTANTIATE_TEST_SUITE_P(, WinogradInConv2d,
                         testing::Values(Case{"three_taps", conv(4, 13, 13, 33, 40, 3, 1)},
                                         Case{"five_taps", conv(2, 27, 27, 32, 35, 5, 2)},
                                         Case{"one_image", conv(1, 22, 16, 64, 70, 3, 1)},
                                         Case{"fewest_tiles_to_the_data", conv(2, 12, 16, 32, 32, 3, 1)},
                                         Case{"small_maps", conv(40, 4, 3, 64, 33, 3, 1)}),
                         [](const auto& c) { return c.param.name; });

INSTANTIATE_TEST_SUITE_P(, Winograd, testing::ValuesIn(cases()), [](const auto& c) { return c.param.name; });

}  // namespace
}  // namespace striate::test
