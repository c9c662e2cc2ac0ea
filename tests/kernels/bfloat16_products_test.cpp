// Convolution and the linear layer of bfloat16 in memory: products exact, sums in float, one rounding at the store. The
// references compute the same in double. (By kernels that come in tiles: forced ones, too, which only large products
// are given.)
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/gemm/tile_choice.h"
#include "kernels/linear/linear.h"
#include "tests/kernels/product_checks.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

using Halves = Values<bfloat16>;

/// The functions of an op on a backend.
template <typename Shape>
struct HalfFunctions {
  void (*forward)(const bfloat16* x, const bfloat16* w, const float* b, bfloat16* y, const Shape&, Activation,
                  Context&);
  void (*backward_data)(const bfloat16* dy, const bfloat16* w, bfloat16* dx, const Shape&, Context&);
  void (*backward_weight)(const bfloat16* x, const bfloat16* dy, float* dw, float* db, const Shape&, Accumulate,
                          Context&);
};

constexpr HalfFunctions<Conv2dShape> kConv2dReference = {&reference::conv2d_forward<bfloat16>,
                                                         &reference::conv2d_backward_data<bfloat16>,
                                                         &reference::conv2d_backward_weight<bfloat16>};
constexpr HalfFunctions<LinearShape> kLinearReference = {&reference::linear_forward<bfloat16>,
                                                         &reference::linear_backward_data<bfloat16>,
                                                         &reference::linear_backward_weight<bfloat16>};
constexpr HalfFunctions<Conv2dShape> kConv2dCuda = {
    &cuda::conv2d_forward<bfloat16>, &cuda::conv2d_backward_data<bfloat16>, &cuda::conv2d_backward_weight<bfloat16>};
constexpr HalfFunctions<LinearShape> kLinearCuda = {
    &cuda::linear_forward<bfloat16>, &cuda::linear_backward_data<bfloat16>, &cuda::linear_backward_weight<bfloat16>};

constexpr HalfFunctions<LinearShape> kLinearCublas = {&cublas::linear_forward<bfloat16>,
                                                      &cublas::linear_backward_data<bfloat16>,
                                                      &cublas::linear_backward_weight<bfloat16>};

Halves halves(const Values<float>& values) {
  Halves result;
  for (const float v : values) result.push_back(to_bfloat16(v));
  return result;
}
template <typename Range>
Values<double> widened(const Range& values) {
  Values<double> result;
  for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i) {
    result.push_back(double{to_float(values.data()[i])});
  }
  return result;
}
template <typename Range>
Values<float> floats(const Range& values) {
  Values<float> result;
  for (const double v : widened(values)) result.push_back(static_cast<float>(v));
  return result;
}

constexpr bfloat16 kPoison{0x7FC1};

/// What a backend makes of operands, its buffers guarded and prefilled: activations with NaN, gradients of parameters
/// with what they are added to.
struct HalfResults {
  GuardedBuffer<bfloat16> y, dx;
  GuardedBuffer<float> dw, db;

  template <typename Shape>
  HalfResults(const HalfFunctions<Shape>& op, const Shape& s, const Halves& x, const Halves& w, const Values<float>& b,
              const Halves& dy, Activation activation, Accumulate accumulate)
      : y(tensors_of(s).y_size(), kPoison),
        dx(tensors_of(s).x_size(), kPoison),
        dw(tensors_of(s).w_size(), accumulate == Accumulate::yes ? -3.0f : poison<float>()),
        db(tensors_of(s).K, accumulate == Accumulate::yes ? -3.0f : poison<float>()) {
    const GuardedBuffer<bfloat16> gx(x), gw(w), gdy(dy);
    const GuardedBuffer<float> gb(b);
    TestContext context;
    op.forward(gx.data(), gw.data(), gb.data(), y.data(), s, activation, context);
    op.backward_data(gdy.data(), gw.data(), dx.data(), s, context);
    op.backward_weight(gx.data(), gdy.data(), dw.data(), db.data(), s, accumulate, context);
    EXPECT_TRUE(y.intact() && dx.intact() && dw.intact() && db.intact());
    EXPECT_TRUE(gx.intact() && gw.intact() && gdy.intact() && gb.intact());
  }
};

enum class Bias { integers, zero };

/// Small integers, whose products and sums are exact in any order: every result is the reference's, rounded once.
template <typename Shape>
void check_exact(const HalfFunctions<Shape>& op, const HalfFunctions<Shape>& reference, const Shape& s,
                 Activation activation = Activation::relu, Accumulate accumulate = Accumulate::yes,
                 Bias bias = Bias::integers) {
  const ProductTensors t = tensors_of(s);
  const Halves x = halves(small_integers<float>(t.x_size(), 5)), w = halves(small_integers<float>(t.w_size(), 6));
  const Halves dy = halves(small_integers<float>(t.y_size(), 8));
  const auto b = bias == Bias::zero ? Values<float>(t.K) : small_integers<float>(t.K, 7);
  const HalfResults found(op, s, x, w, b, dy, activation, accumulate);
  const HalfResults expected(reference, s, x, w, b, dy, activation, accumulate);
  EXPECT_TRUE(all_equal(floats(found.y), floats(expected.y), t.y)) << s.to_string();
  EXPECT_TRUE(all_equal(floats(found.dx), floats(expected.dx), t.x)) << s.to_string();
  EXPECT_TRUE(all_equal(found.dw, expected.dw, t.w)) << s.to_string();
  EXPECT_TRUE(all_equal(found.db, expected.db)) << s.to_string();
}

/// |a − e| ≤ unit·S + 2⁻⁸·|e|: the sum's error, and half a unit of bfloat16's last place.
testing::AssertionResult near(double unit, const GuardedBuffer<bfloat16>& actual, const Values<double>& expected,
                              const Values<double>& sums) {
  for (int64_t i = 0; i < actual.size(); ++i) {
    const auto at = static_cast<size_t>(i);
    const double found = double{to_float(actual[i])};
    const double most = unit * sums[at] + std::ldexp(std::abs(expected[at]) + unit * sums[at], -8) + 1e-30;
    if (!(std::abs(found - expected[at]) <= most)) {
      return testing::AssertionFailure() << "element " << i << " is " << found << ", expected " << expected[at] << " ± "
                                         << most;
    }
  }
  return testing::AssertionSuccess();
}

template <typename Shape>
void check_random(const HalfFunctions<Shape>& op, Backend backend, const Shape& s) {
  const ProductTensors t = tensors_of(s);
  const Halves x = halves(uniform<float>(t.x_size(), 1)), w = halves(uniform<float>(t.w_size(), 2));
  const Halves dy = halves(uniform<float>(t.y_size(), 4));
  const auto b = uniform<float>(t.K, 3);
  const HalfResults found(op, s, x, w, b, dy, Activation::relu, Accumulate::yes);
  const Values<double> wide_b(b.begin(), b.end());
  ProductResults expected(s, Activation::relu, widened(x), widened(w), wide_b, widened(dy), -3.0);
  ProductResults sums(s, Activation::none, magnitudes(widened(x)), magnitudes(widened(w)), magnitudes(wide_b),
                      magnitudes(widened(dy)), 3.0);
  expected.sum_bias_gradient(widened(dy));
  sums.sum_bias_gradient(magnitudes(widened(dy)));
  const auto unit = [&](int64_t summands) { return rounding_unit(backend, Precision::bf16, summands); };
  EXPECT_TRUE(near(unit(t.summands_y + 1), found.y, expected.y, sums.y));
  EXPECT_TRUE(near(unit(t.summands_dx), found.dx, expected.dx, sums.dx));
  EXPECT_TRUE(within(unit(t.summands_dw + 1), found.dw, expected.dw, sums.dw));
  EXPECT_TRUE(within(rounding_unit(backend, Precision::fp32, t.summands_dw + 1), found.db, expected.db, sums.db));
}

template <typename Shape>
struct HalfCase {
  std::string name;
  Shape shape;
};

Conv2dShape conv(int64_t N, int64_t H, int64_t W, int64_t C, int64_t K, int64_t R, int64_t S, int64_t stride = 1,
                 int64_t pad = 0, int64_t dilation = 1, int64_t groups = 1) {
  return {N, H, W, C, K, R, S, stride, stride, pad, pad, dilation, dilation, groups};
}

std::vector<HalfCase<Conv2dShape>> convolutions() {
  Conv2dShape rectangular = conv(2, 9, 14, 5, 7, 3, 2);
  rectangular.stride_h = 2, rectangular.stride_w = 3, rectangular.pad_h = 2, rectangular.pad_w = 1;
  return {{"alexnet_conv1", conv(2, 43, 43, 3, 24, 11, 11, 4, 2)},
          {"alexnet_conv1_rows_of_quads", conv(2, 40, 44, 3, 24, 11, 11, 4, 2)},
          {"alexnet_conv1_rows_of_quads_odd_kernels", conv(1, 40, 44, 3, 20, 11, 11, 4, 2)},
          {"alexnet_conv2", conv(2, 13, 13, 16, 48, 5, 5, 1, 2)},
          {"alexnet_conv2_two_groups", conv(2, 13, 13, 32, 48, 5, 5, 1, 2, 1, 2)},
          {"alexnet_conv3", conv(2, 13, 13, 24, 64, 3, 3, 1, 1)},
          {"cifar_conv1", conv(3, 16, 16, 3, 64, 3, 3, 2, 1)},
          {"mini_conv1_grey", conv(2, 16, 16, 1, 32, 5, 5, 1, 2)},
          {"grey_rows_of_quads", conv(2, 13, 16, 1, 16, 5, 5, 4, 1)},
          {"six_channels_rows_of_quads", conv(3, 9, 10, 6, 9, 3, 3, 2, 1)},
          {"twelve_channels", conv(2, 9, 8, 12, 20, 3, 3, 1, 1)},
          {"resnet_downsample", conv(2, 8, 8, 16, 32, 1, 1, 2)},
          {"size_one", conv(1, 1, 1, 1, 1, 1, 1)},
          {"odd_sizes", conv(3, 11, 7, 5, 37, 3, 3, 1, 1)},
          {"stride_larger_than_kernel", conv(2, 13, 13, 4, 6, 2, 2, 3)},
          {"padding_larger_than_kernel", conv(1, 4, 4, 3, 5, 2, 2, 1, 3)},
          {"rectangular", rectangular},
          {"dilation_and_stride", conv(2, 17, 17, 8, 8, 3, 3, 2, 2, 2)},
          {"depthwise", conv(2, 9, 9, 12, 12, 3, 3, 1, 1, 1, 12)},
          {"several_shares_of_the_pixels", conv(3, 33, 31, 8, 40, 3, 3, 1, 1)},
          {"deep", conv(1, 9, 9, 304, 40, 3, 3, 1, 1)},
          {"empty_batch", conv(0, 8, 8, 3, 5, 3, 3, 1, 1)}};
}

std::vector<HalfCase<LinearShape>> linears() {
  return {{"size_one", {1, 1, 1}},          {"one_row", {1, 304, 136}},         {"three_rows", {3, 1037, 31}},
          {"eight_rows", {8, 104, 48}},     {"alexnet_fc", {32, 576, 256}},     {"classifier", {37, 128, 10}},
          {"one_output", {20, 50, 1}},      {"one_input", {20, 1, 50}},         {"odd_sizes", {29, 515, 263}},
          {"batch_of_128", {128, 256, 64}}, {"many_more_rows", {1201, 16, 32}}, {"empty_batch", {0, 12, 7}}};
}

class CudaTest : public testing::Test {
 protected:
  void SetUp() override { skip_unless_runnable(Backend::cuda); }
};

class Bfloat16Conv2d : public CudaTest, public testing::WithParamInterface<HalfCase<Conv2dShape>> {};

TEST_P(Bfloat16Conv2d, is_exact_on_small_integers) {
  check_exact(kConv2dCuda, kConv2dReference, GetParam().shape);
  check_exact(kConv2dCuda, kConv2dReference, GetParam().shape, Activation::none, Accumulate::no);
}
TEST_P(Bfloat16Conv2d, agrees_with_the_reference) { check_random(kConv2dCuda, Backend::cuda, GetParam().shape); }

INSTANTIATE_TEST_SUITE_P(cuda, Bfloat16Conv2d, testing::ValuesIn(convolutions()),
                         [](const auto& c) { return c.param.name; });

class Bfloat16Linear : public CudaTest, public testing::WithParamInterface<HalfCase<LinearShape>> {};

TEST_P(Bfloat16Linear, is_exact_on_small_integers) {
  check_exact(kLinearCuda, kLinearReference, GetParam().shape);
  check_exact(kLinearCuda, kLinearReference, GetParam().shape, Activation::none, Accumulate::no);
}
TEST_P(Bfloat16Linear, agrees_with_the_reference) { check_random(kLinearCuda, Backend::cuda, GetParam().shape); }

TEST_P(Bfloat16Linear, is_exact_on_small_integers_by_cublas) {
  if (!cublas::missing().empty()) GTEST_SKIP() << cublas::missing();
  // Whose y is rounded once more before the bias.
  check_exact(kLinearCublas, kLinearReference, GetParam().shape, Activation::none, Accumulate::no, Bias::zero);
}

INSTANTIATE_TEST_SUITE_P(cuda, Bfloat16Linear, testing::ValuesIn(linears()),
                         [](const auto& c) { return c.param.name; });

/// Tiles that only large products are given, forced on small ones.
class Bfloat16Tile : public CudaTest, public testing::WithParamInterface<TileCase> {};

TEST_P(Bfloat16Tile, is_exact_on_small_integers) {
  const tile::ForcedChoice choice(GetParam().tile, GetParam().shares);
  for (const Conv2dShape& s : {conv(2, 13, 12, 16, 136, 3, 3, 1, 1), conv(1, 19, 18, 48, 32, 5, 3, 1, 2, 1, 2),
                               conv(1, 15, 14, 16, 24, 3, 3, 2, 1), conv(1, 31, 32, 3, 72, 7, 7, 4, 3)}) {
    check_exact(kConv2dCuda, kConv2dReference, s);
  }
  for (const LinearShape& s : {LinearShape{5, 264, 144}, LinearShape{268, 104, 136}, LinearShape{13, 97, 50}}) {
    check_exact(kLinearCuda, kLinearReference, s);
  }
}

std::vector<TileCase> half_tiles() {
  std::vector<TileCase> cases;
  for (size_t tile = 0; tile < 5; ++tile) {
    for (const int shares : {1, 3}) cases.push_back({tile, shares, Precision::bf16});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(cuda, Bfloat16Tile, testing::ValuesIn(half_tiles()),
                         [](const auto& c) { return c.param.name(); });

class Bfloat16Products : public CudaTest {};

TEST_F(Bfloat16Products, fuse_bias_and_activation_and_need_neither) {
  const Conv2dShape s = conv(2, 7, 9, 8, 40, 3, 3, 1, 1);
  for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu}) {
    check_exact(kConv2dCuda, kConv2dReference, s, activation);
    check_exact(kLinearCuda, kLinearReference, {29, 80, 44}, activation);
  }
  const Halves x = halves(small_integers<float>(s.x_size(), 1)), w = halves(small_integers<float>(s.w_size(), 2));
  const Halves dy = halves(small_integers<float>(s.y_size(), 3));
  TestContext context;
  Halves y(s.y_size()), expected(s.y_size());
  cuda::conv2d_forward<bfloat16>(x.data(), w.data(), nullptr, y.data(), s, Activation::none, context);
  reference::conv2d_forward<bfloat16>(x.data(), w.data(), nullptr, expected.data(), s, Activation::none, context);
  EXPECT_TRUE(all_equal(floats(y), floats(expected)));
  Values<float> dw(s.w_size()), expected_dw(s.w_size());
  cuda::conv2d_backward_weight<bfloat16>(x.data(), dy.data(), dw.data(), nullptr, s, Accumulate::no, context);
  reference::conv2d_backward_weight<bfloat16>(x.data(), dy.data(), expected_dw.data(), nullptr, s, Accumulate::no,
                                              context);
  EXPECT_TRUE(all_equal(dw, expected_dw));
}

TEST_F(Bfloat16Products, let_nan_and_infinity_through) {
  const Conv2dShape s = conv(1, 6, 6, 8, 16, 3, 3, 1, 1);
  Halves x(s.x_size(), to_bfloat16(1.0f)), w(s.w_size(), to_bfloat16(1.0f)), y(s.y_size());
  x[0] = {0x7FC0};
  x[static_cast<size_t>(s.x_size()) - 1] = {0x7F80};
  TestContext context;
  cuda::conv2d_forward<bfloat16>(x.data(), w.data(), nullptr, y.data(), s, Activation::relu, context);
  EXPECT_TRUE(std::isnan(to_float(y.front())));
  EXPECT_TRUE(std::isinf(to_float(y.back())));
  EXPECT_EQ(to_float(y[static_cast<size_t>(14 * s.K)]), 72.0f);  // pixel (2, 2), which sees neither
}

}  // namespace
}  // namespace striate::test
