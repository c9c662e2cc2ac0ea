#include "kernels/conv2d/conv2d.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/gemm/tile_choice.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/precision.h"

namespace striate::test {
namespace {

struct Conv2dFunctions {
  decltype(&cpu::conv2d_forward) forward;
  decltype(&cpu::conv2d_backward_data) backward_data;
  decltype(&cpu::conv2d_backward_weight) backward_weight;
};

constexpr BackendTable<Conv2dFunctions> kConv2d = {
    .cpu = {&cpu::conv2d_forward, &cpu::conv2d_backward_data, &cpu::conv2d_backward_weight},
    .cuda = {&cuda::conv2d_forward, &cuda::conv2d_backward_data, &cuda::conv2d_backward_weight},
    .cudnn = {&cudnn::conv2d_forward, &cudnn::conv2d_backward_data, &cudnn::conv2d_backward_weight}};

using Conv2dCase = InPrecision<Conv2dShape>;

Conv2dShape conv(int64_t N, int64_t H, int64_t W, int64_t C, int64_t K, int64_t R, int64_t S, int64_t stride = 1,
                 int64_t pad = 0, int64_t dilation = 1, int64_t groups = 1) {
  return {N, H, W, C, K, R, S, stride, stride, pad, pad, dilation, dilation, groups};
}

std::vector<Conv2dCase> cases() {
  Conv2dShape rectangular = conv(2, 9, 14, 5, 7, 3, 2);
  rectangular.stride_h = 2, rectangular.stride_w = 3, rectangular.pad_h = 2, rectangular.pad_w = 1;
  Conv2dShape uneven_dilation = conv(2, 17, 15, 3, 6, 3, 4);
  uneven_dilation.stride_h = 4, uneven_dilation.stride_w = 3, uneven_dilation.pad_h = 3;
  uneven_dilation.dilation_h = 2, uneven_dilation.dilation_w = 3;
  return {
      // AlexNet's layers with fewer channels and smaller images
      {"alexnet_conv1", conv(2, 43, 43, 3, 20, 11, 11, 4, 2)},
      {"alexnet_conv2", conv(2, 13, 13, 16, 48, 5, 5, 1, 2)},
      {"alexnet_conv2_two_groups", conv(2, 13, 13, 24, 40, 5, 5, 1, 2, 1, 2)},
      {"alexnet_conv3", conv(2, 13, 13, 48, 64, 3, 3, 1, 1)},
      {"cifar_conv1", conv(3, 32, 32, 3, 64, 3, 3, 2, 1)},
      {"cifar_conv3_small_maps", conv(9, 4, 4, 33, 70, 3, 3, 1, 1)},
      {"mini_conv1_grey", conv(2, 32, 32, 1, 32, 5, 5, 1, 2)},
      {"mini_conv2", conv(2, 16, 16, 32, 64, 3, 3, 1, 1)},
      {"resnet_stem", conv(1, 31, 31, 3, 16, 7, 7, 2, 3)},
      {"resnet_downsample", conv(2, 8, 8, 16, 32, 1, 1, 2)},
      // edges of every kind
      {"size_one", conv(1, 1, 1, 1, 1, 1, 1)},
      {"one_pixel_padded", conv(3, 1, 1, 5, 7, 3, 3, 1, 1)},
      {"one_pixel_unseen", conv(2, 1, 1, 3, 4, 1, 1, 4, 1)},
      {"one_pixel_out", conv(3, 5, 5, 7, 9, 5, 5)},
      {"odd_sizes", conv(3, 11, 7, 5, 37, 3, 3, 1, 1)},
      {"no_padding", conv(2, 9, 9, 8, 33, 3, 3)},
      {"one_channel", conv(2, 9, 10, 1, 1, 3, 3, 1, 1)},
      {"stride_larger_than_kernel", conv(2, 13, 13, 4, 6, 2, 2, 3)},
      {"stride_larger_than_kernel_padded", conv(2, 10, 11, 3, 5, 1, 1, 4, 1)},
      {"padding_larger_than_kernel", conv(1, 4, 4, 3, 5, 2, 2, 1, 3)},
      {"last_pixels_unseen", conv(2, 10, 10, 3, 5, 3, 3, 4)},
      {"rectangular", rectangular},
      {"dilation", conv(2, 13, 12, 6, 10, 3, 3, 1, 2, 2)},
      {"dilation_and_stride", conv(2, 17, 17, 3, 6, 3, 3, 2, 2, 2)},
      {"dilation_coprime_to_stride", uneven_dilation},
      {"two_groups", conv(2, 8, 8, 10, 14, 3, 3, 1, 1, 1, 2)},
      {"depthwise", conv(2, 9, 9, 12, 12, 3, 3, 1, 1, 1, 12)},
      {"depthwise_two_outputs_each", conv(2, 9, 9, 5, 10, 3, 3, 2, 1, 1, 5)},
      {"many_panels", conv(2, 6, 6, 70, 140, 3, 3, 1, 1)},
      {"many_rows", conv(5, 19, 21, 6, 17, 3, 3, 1, 1)},
      {"several_shares_of_the_pixels", conv(3, 33, 31, 2, 35, 3, 3, 1, 1)},
      {"deep", conv(1, 9, 9, 300, 34, 3, 3, 1, 1)},
      {"deep_small_maps", conv(2, 3, 3, 150, 34, 3, 3, 1, 1)},
      {"deep_wide_maps", conv(1, 12, 13, 230, 33, 3, 3, 1, 1)},
      {"strided_groups", conv(2, 23, 25, 6, 8, 3, 3, 2, 1, 1, 2)},
      {"empty_batch", conv(0, 8, 8, 3, 5, 3, 3, 1, 1)},
  };
}

using OnConv2d = OnBackend<Conv2dCase>;

/// The three results of the reference. Parameters' gradients are added to `start`.
struct Expected {
  Values<double> y, dx, dw, db;

  Expected(const Conv2dShape& s, Activation activation, const Values<double>& x, const Values<double>& w,
           const Values<double>& b, const Values<double>& dy, double start)
      : y(s.y_size()), dx(s.x_size()), dw(s.w_size(), start), db(s.K, start) {
    TestContext context;
    reference::conv2d_forward(x.data(), w.data(), b.data(), y.data(), s, activation, context);
    reference::conv2d_backward_data(dy.data(), w.data(), dx.data(), s, context);
    reference::conv2d_backward_weight<double>(x.data(), dy.data(), dw.data(), nullptr, s, Accumulate::yes, context);
  }
  /// The bias gradient is a sum, exact float32 in every precision: of dy as it is.
  void sum_bias_gradient(const Values<double>& dy) {
    for (size_t i = 0; i < dy.size(); ++i) db[i % db.size()] += dy[i];
  }
};

class Conv2d : public BackendTest<OnConv2d> {
 protected:
  Conv2dShape shape() const { return GetParam().value.shape; }
  Precision precision() const { return GetParam().value.precision; }
  const Conv2dFunctions& op() const { return kConv2d[backend()]; }
};

TEST_P(Conv2d, agrees_with_the_reference) {
  const Conv2dShape s = shape();
  const auto x = uniform<float>(s.x_size(), 1), w = uniform<float>(s.w_size(), 2), b = uniform<float>(s.K, 3);
  const auto dy = uniform<float>(s.y_size(), 4);
  const auto rx = inputs_of(backend(), x, precision()), rw = inputs_of(backend(), w, precision());
  const auto rdy = inputs_of(backend(), dy, precision());
  Expected expected(s, Activation::relu, rx, rw, as<double>(b), rdy, 0.5);
  Expected sums(s, Activation::none, magnitudes(rx), magnitudes(rw), magnitudes(as<double>(b)), magnitudes(rdy), 0.5);
  expected.sum_bias_gradient(as<double>(dy));
  sums.sum_bias_gradient(magnitudes(as<double>(dy)));

  TestContext context;
  context->precision = precision();
  const GuardedBuffer<float> gx(x), gw(w), gb(b), gdy(dy);
  GuardedBuffer<float> y(s.y_size()), dx(s.x_size()), dw(s.w_size(), 0.5f), db(s.K, 0.5f);
  op().forward(gx.data(), gw.data(), gb.data(), y.data(), s, Activation::relu, context);
  op().backward_data(gdy.data(), gw.data(), dx.data(), s, context);
  op().backward_weight(gx.data(), gdy.data(), dw.data(), db.data(), s, Accumulate::yes, context);

  const int64_t pixels = s.N * s.P() * s.Q();
  EXPECT_TRUE(within(rounding_unit(backend(), precision(), s.taps() + 1), y, expected.y, sums.y));
  EXPECT_TRUE(within(rounding_unit(backend(), precision(), s.group_kernels() * s.R * s.S), dx, expected.dx, sums.dx));
  EXPECT_TRUE(within(rounding_unit(backend(), precision(), pixels + 1), dw, expected.dw, sums.dw));
  EXPECT_TRUE(within(rounding_unit(backend(), Precision::fp32, pixels + 1), db, expected.db, sums.db));
  for (const auto* buffer : {&gx, &gw, &gb, &gdy}) EXPECT_TRUE(buffer->intact());
  for (const auto* buffer : {&y, &dx, &dw, &db}) EXPECT_TRUE(buffer->intact());
}

TEST_P(Conv2d, is_exact_on_small_integers) {
  const Conv2dShape s = shape();
  const auto x = small_integers<float>(s.x_size(), 5), w = small_integers<float>(s.w_size(), 6);
  const auto b = small_integers<float>(s.K, 7), dy = small_integers<float>(s.y_size(), 8);
  TestContext context;
  context->precision = precision();
  for (const Activation activation : {Activation::none, Activation::relu}) {
    Values<float> expected(s.y_size());
    reference::conv2d_forward(x.data(), w.data(), b.data(), expected.data(), s, activation, context);
    GuardedBuffer<float> y(s.y_size());
    op().forward(x.data(), w.data(), b.data(), y.data(), s, activation, context);
    EXPECT_TRUE(all_equal(y, expected, {s.N, s.P(), s.Q(), s.K}));
  }
  Values<float> expected(s.x_size());
  reference::conv2d_backward_data(dy.data(), w.data(), expected.data(), s, context);
  GuardedBuffer<float> dx(s.x_size());
  op().backward_data(dy.data(), w.data(), dx.data(), s, context);
  EXPECT_TRUE(all_equal(dx, expected, {s.N, s.H, s.W, s.C}));
  for (const Accumulate accumulate : {Accumulate::no, Accumulate::yes}) {
    // Overwriting must not read: the output holds NaN before.
    const float start = accumulate == Accumulate::yes ? -3.0f : poison<float>();
    Values<float> expected_dw(s.w_size(), -3.0f), expected_db(s.K, -3.0f);
    reference::conv2d_backward_weight(x.data(), dy.data(), expected_dw.data(), expected_db.data(), s, accumulate,
                                      context);
    GuardedBuffer<float> dw(s.w_size(), start), db(s.K, start);
    op().backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, accumulate, context);
    EXPECT_TRUE(all_equal(dw, expected_dw, {s.K, s.R, s.S, s.group_channels()}));
    EXPECT_TRUE(all_equal(db, expected_db));
  }
}

TEST_P(Conv2d, gives_the_same_bits_for_any_number_of_threads) {
  const Conv2dShape s = shape();
  const auto x = uniform<float>(s.x_size(), 9), w = uniform<float>(s.w_size(), 10), b = uniform<float>(s.K, 11);
  const auto dy = uniform<float>(s.y_size(), 12);
  Values<float> first;
  // On cuda the host's threads compute nothing.
  for (const int threads : backend() == Backend::cpu ? std::vector{1, 1, 2, 3} : std::vector{1, 1}) {
    TestContext context(threads);
    context->precision = precision();
    Values<float> y(s.y_size()), dx(s.x_size()), dw(s.w_size()), db(s.K), all;
    op().forward(x.data(), w.data(), b.data(), y.data(), s, Activation::leaky_relu, context);
    op().backward_data(dy.data(), w.data(), dx.data(), s, context);
    op().backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
    for (const auto* part : {&y, &dx, &dw, &db}) all.insert(all.end(), part->begin(), part->end());
    if (first.empty()) first = all;
    EXPECT_TRUE(all_equal(all, first)) << "with " << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(, Conv2d, in_every_precision(cases(), backends_and(Backend::cudnn)), case_name);

class Conv2dOnce : public BackendTest<OnConv2d> {};

TEST_P(Conv2dOnce, fuses_bias_and_activation) {
  const Conv2dShape s = GetParam().value.shape;
  const auto x = small_integers<float>(s.x_size(), 1), w = small_integers<float>(s.w_size(), 2);
  const auto b = small_integers<float>(s.K, 3);
  TestContext context;
  for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu}) {
    for (const float* bias : {b.data(), static_cast<const float*>(nullptr)}) {
      Values<float> expected(s.y_size());
      GuardedBuffer<float> y(s.y_size());
      reference::conv2d_forward(x.data(), w.data(), bias, expected.data(), s, activation, context);
      kConv2d[GetParam().backend].forward(x.data(), w.data(), bias, y.data(), s, activation, context);
      // One rounding of 0.01·v, in float here and from double there.
      EXPECT_TRUE(all_close(y, expected, {0.0, 2e-7}, {s.N, s.P(), s.Q(), s.K}));
    }
  }
}

TEST_P(Conv2dOnce, needs_no_bias_gradient) {
  const Conv2dShape s = GetParam().value.shape;
  const auto x = small_integers<float>(s.x_size(), 1), dy = small_integers<float>(s.y_size(), 2);
  TestContext context;
  Values<float> expected(s.w_size());
  GuardedBuffer<float> dw(s.w_size());
  reference::conv2d_backward_weight<float>(x.data(), dy.data(), expected.data(), nullptr, s, Accumulate::no, context);
  kConv2d[GetParam().backend].backward_weight(x.data(), dy.data(), dw.data(), nullptr, s, Accumulate::no, context);
  EXPECT_TRUE(all_equal(dw, expected));
}

TEST_P(Conv2dOnce, lets_nan_through) {
  const Conv2dShape s = GetParam().value.shape;
  Values<float> x(s.x_size(), 1.0f);
  const auto w = uniform<float>(s.w_size(), 2);
  x[0] = poison<float>();
  TestContext context;
  GuardedBuffer<float> y(s.y_size(), 0.0f);
  kConv2d[GetParam().backend].forward(x.data(), w.data(), nullptr, y.data(), s, Activation::relu, context);
  EXPECT_TRUE(std::isnan(y[0]));
  EXPECT_FALSE(std::isnan(y[y.size() - 1]));
}

TEST_P(Conv2dOnce, refuses_what_does_not_fit) {
  const Conv2dFunctions& op = kConv2d[GetParam().backend];
  TestContext context;
  float v[1] = {0};
  const auto message = [&](Conv2dShape s, Activation activation = Activation::none) -> std::string {
    try {
      op.forward(v, v, v, v, s, activation, context);
    } catch (const ShapeError& e) {
      return e.what();
    }
    return "no error";
  };
  EXPECT_NE(message(conv(1, 4, 4, 3, 4, 5, 5)).find("larger than the padded image"), std::string::npos);
  EXPECT_NE(message(conv(1, 8, 8, 6, 4, 3, 3, 1, 1, 1, 4)).find("groups must divide"), std::string::npos);
  EXPECT_NE(message(conv(1, 8, 8, 6, 4, 3, 3, 0)).find("strides"), std::string::npos);
  EXPECT_NE(message(conv(1, 8, 8, 6, 4, 3, 3, 1, -1)).find("padding"), std::string::npos);
  EXPECT_NE(message(conv(1, 8, 8, 6, 4, 3, 3), Activation::gelu).find("only none, relu and leaky_relu"),
            std::string::npos);
  EXPECT_THROW(op.backward_data(v, v, v, conv(1, 4, 4, 3, 4, 5, 5), context), ShapeError);
  EXPECT_THROW(op.backward_weight(v, v, v, v, conv(1, 4, 4, 3, 4, 5, 5), Accumulate::no, context), ShapeError);
}

INSTANTIATE_TEST_SUITE_P(, Conv2dOnce,
                         on_every_backend(std::vector<Conv2dCase>{{"odd", conv(2, 7, 9, 5, 37, 3, 3, 1, 1)}},
                                          backends_and(Backend::cudnn)),
                         case_name);

/// TensorFloat-32 of positive values, whose roundings do not cancel as signs do: cutting off instead of rounding would
/// be wrong by 7e-4 of the sum.
TEST(Conv2dTf32, rounds_its_inputs_to_nearest) {
  if (!can_run(Backend::cuda)) GTEST_SKIP() << "no GPU here";
  const Conv2dShape s = conv(2, 9, 10, 12, 20, 3, 3, 1, 1);
  const auto x = uniform<float>(s.x_size(), 1, 0.0, 1.0), w = uniform<float>(s.w_size(), 2, 0.0, 1.0);
  const auto dy = uniform<float>(s.y_size(), 3, 0.0, 1.0);
  const Expected expected(s, Activation::none, as<double>(x), as<double>(w), Values<double>(s.K), as<double>(dy), 0.0);
  TestContext context;
  context->precision = Precision::tf32;
  GuardedBuffer<float> y(s.y_size()), dx(s.x_size()), dw(s.w_size());
  cuda::conv2d_forward(x.data(), w.data(), nullptr, y.data(), s, Activation::none, context);
  cuda::conv2d_backward_data(dy.data(), w.data(), dx.data(), s, context);
  cuda::conv2d_backward_weight(x.data(), dy.data(), dw.data(), nullptr, s, Accumulate::no, context);
  EXPECT_TRUE(within(2.5e-4, y, expected.y, expected.y));
  EXPECT_TRUE(within(2.5e-4, dx, expected.dx, expected.dx));
  EXPECT_TRUE(within(2.5e-4, dw, expected.dw, expected.dw));
}

struct TileCase {
  size_t tile;
  int shares;
  Precision precision;
};

/// Tiles that only large layers are given, and sums in shares, on shapes small enough for a test.
class Conv2dTile : public testing::TestWithParam<TileCase> {};

TEST_P(Conv2dTile, is_exact_on_small_integers) {
  if (!can_run(Backend::cuda)) GTEST_SKIP() << "no GPU here";
  const tile::ForcedChoice choice(GetParam().tile, GetParam().shares);
  Conv2dShape strided = conv(1, 15, 14, 12, 20, 3, 3, 2, 1, 1, 1);
  TestContext context;
  context->precision = GetParam().precision;
  for (const Conv2dShape& s :
       {conv(2, 13, 12, 16, 136, 3, 3, 1, 1), conv(1, 19, 18, 24, 16, 5, 3, 1, 2, 1, 2), strided}) {
    const auto x = small_integers<float>(s.x_size(), 1), w = small_integers<float>(s.w_size(), 2);
    const auto b = small_integers<float>(s.K, 3), dy = small_integers<float>(s.y_size(), 4);
    Values<float> y(s.y_size()), dx(s.x_size()), dw(s.w_size(), 2.0f), db(s.K, 2.0f);
    reference::conv2d_forward(x.data(), w.data(), b.data(), y.data(), s, Activation::relu, context);
    reference::conv2d_backward_data(dy.data(), w.data(), dx.data(), s, context);
    reference::conv2d_backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::yes, context);
    GuardedBuffer<float> y2(s.y_size()), dx2(s.x_size()), dw2(s.w_size(), 2.0f), db2(s.K, 2.0f);
    cuda::conv2d_forward(x.data(), w.data(), b.data(), y2.data(), s, Activation::relu, context);
    cuda::conv2d_backward_data(dy.data(), w.data(), dx2.data(), s, context);
    cuda::conv2d_backward_weight(x.data(), dy.data(), dw2.data(), db2.data(), s, Accumulate::yes, context);
    EXPECT_TRUE(all_equal(y2, y, {s.N, s.P(), s.Q(), s.K})) << s.to_string();
    EXPECT_TRUE(all_equal(dx2, dx, {s.N, s.H, s.W, s.C})) << s.to_string();
    EXPECT_TRUE(all_equal(dw2, dw, {s.K, s.R, s.S, s.group_channels()})) << s.to_string();
    EXPECT_TRUE(all_equal(db2, db)) << s.to_string();
    for (const auto* buffer : {&y2, &dx2, &dw2, &db2}) EXPECT_TRUE(buffer->intact());
  }
}

std::vector<TileCase> tile_cases(size_t tiles) {
  std::vector<TileCase> cases;
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    for (size_t t = 0; t < tiles; ++t) {
      for (const int shares : {1, 3}) cases.push_back({t, shares, precision});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(cuda, Conv2dTile, testing::ValuesIn(tile_cases(4)), [](const auto& c) {
  return to_string(c.param.precision) + "_tile_" + std::to_string(c.param.tile) + "_shares_" +
         std::to_string(c.param.shares);
});

class Conv2dGradient : public testing::TestWithParam<Conv2dCase> {};

TEST_P(Conv2dGradient, agrees_with_finite_differences) {
  const Conv2dShape s = GetParam().shape;
  const auto x = uniform<double>(s.x_size(), 1), w = uniform<double>(s.w_size(), 2), b = uniform<double>(s.K, 3);
  const auto dy = uniform<double>(s.y_size(), 4);
  TestContext context(1);
  const auto loss = [&](const Values<double>& x_, const Values<double>& w_, const Values<double>& b_) {
    Values<double> y(s.y_size());
    reference::conv2d_forward(x_.data(), w_.data(), b_.data(), y.data(), s, Activation::none, context);
    return dot(y, dy);
  };
  Values<double> dx(s.x_size()), dw(s.w_size()), db(s.K);
  reference::conv2d_backward_data(dy.data(), w.data(), dx.data(), s, context);
  reference::conv2d_backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
  EXPECT_TRUE(check_gradient([&](const auto& v) { return loss(v, w, b); }, x, dx));
  EXPECT_TRUE(check_gradient([&](const auto& v) { return loss(x, v, b); }, w, dw));
  EXPECT_TRUE(check_gradient([&](const auto& v) { return loss(x, w, v); }, b, db));
}

INSTANTIATE_TEST_SUITE_P(reference, Conv2dGradient,
                         testing::Values(Conv2dCase{"plain", conv(2, 5, 4, 3, 4, 3, 3, 1, 1)},
                                         Conv2dCase{"strided", conv(1, 7, 6, 2, 3, 3, 2, 2, 1)},
                                         Conv2dCase{"dilated", conv(1, 7, 7, 2, 3, 3, 3, 2, 2, 2)},
                                         Conv2dCase{"grouped", conv(2, 4, 5, 4, 6, 3, 3, 1, 1, 1, 2)}),
                         [](const auto& c) { return c.param.name; });

}  // namespace
}  // namespace striate::test
