#include "kernels/conv2d/conv2d.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/gemm/micro_bf16.h"
#include "tests/kernels/product_checks.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/precision.h"

namespace striate::test {
namespace {

using Conv2dFunctions = ProductFunctions<Conv2dShape>;

constexpr BackendTable<Conv2dFunctions> kConv2d = {
    .cpu = {&cpu::conv2d_forward, &cpu::conv2d_backward_data, &cpu::conv2d_backward_weight},
    .cuda = {&cuda::conv2d_forward, &cuda::conv2d_backward_data, &cuda::conv2d_backward_weight},
    .cudnn = {&cudnn::conv2d_forward, &cudnn::conv2d_backward_data, &cudnn::conv2d_backward_weight}};

using StoredFunctions = ProductFunctions<Conv2dShape, bfloat16>;

constexpr BackendTable<StoredFunctions> kStoredConv2d = {
    .cpu = {&cpu::conv2d_forward, &cpu::conv2d_backward_data, &cpu::conv2d_backward_weight}};

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
      // AlexNet's layers with fewer channels and smaller images: none for Winograd's algorithm, which has tests of its
      // own, as it is not exact on integers
      {"alexnet_conv1", conv(2, 43, 43, 3, 20, 11, 11, 4, 2)},
      {"alexnet_conv1_rows_of_quads", conv(2, 40, 44, 3, 20, 11, 11, 4, 2)},
      {"alexnet_conv2", conv(2, 13, 13, 16, 48, 5, 5, 1, 2)},
      {"alexnet_conv2_two_groups", conv(2, 13, 13, 24, 40, 5, 5, 1, 2, 1, 2)},
      {"alexnet_conv3", conv(2, 13, 13, 24, 64, 3, 3, 1, 1)},
      {"cifar_conv1", conv(3, 32, 32, 3, 64, 3, 3, 2, 1)},
      {"cifar_conv3_small_maps", conv(9, 4, 4, 33, 70, 3, 3, 1, 1)},
      {"mini_conv1_grey", conv(2, 32, 32, 1, 32, 5, 5, 1, 2)},
      {"mini_conv2", conv(2, 16, 16, 16, 64, 3, 3, 1, 1)},
      {"resnet_stem", conv(1, 31, 31, 3, 16, 7, 7, 2, 3)},
      {"grey_rows_of_quads", conv(2, 13, 16, 1, 12, 5, 5, 4, 1)},
      {"six_channels_rows_of_quads", conv(3, 9, 10, 6, 9, 3, 3, 2, 1)},
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

class Conv2d : public BackendTest<OnConv2d> {
 protected:
  Conv2dShape shape() const { return GetParam().value.shape; }
  Precision precision() const { return GetParam().value.precision; }
  const Conv2dFunctions& op() const { return kConv2d[backend()]; }
};

TEST_P(Conv2d, agrees_with_the_reference) { check_against_reference(op(), backend(), precision(), shape()); }
TEST_P(Conv2d, is_exact_on_small_integers) { check_exact_on_small_integers(op(), precision(), shape()); }
TEST_P(Conv2d, gives_the_same_bits_for_any_number_of_threads) {
  check_same_bits(op(), backend(), precision(), shape());
}

INSTANTIATE_TEST_SUITE_P(, Conv2d, in_every_precision(cases(), backends_and(Backend::cudnn)), case_name);

/// Activations and gradients stored in bfloat16.
class StoredConv2d : public BackendTest<OnConv2d> {
 protected:
  Conv2dShape shape() const { return GetParam().value.shape; }
  const StoredFunctions& op() const { return kStoredConv2d[backend()]; }
};

TEST_P(StoredConv2d, agrees_with_the_reference) { check_against_reference(op(), backend(), Precision::bf16, shape()); }
TEST_P(StoredConv2d, is_exact_on_small_integers) { check_exact_on_small_integers(op(), Precision::bf16, shape()); }
TEST_P(StoredConv2d, gives_the_same_bits_for_any_number_of_threads) {
  check_same_bits(op(), backend(), Precision::bf16, shape());
}
TEST_P(StoredConv2d, fuses_bias_and_activation) { check_bias_and_activation(op(), shape()); }

INSTANTIATE_TEST_SUITE_P(, StoredConv2d, on_every_backend(cases(), {Backend::cpu}), case_name);

/// The same as CPUs compute it that have no instruction for it.
class WidenedConv2d : public testing::TestWithParam<Conv2dCase> {
  const gemm::WithoutBf16Instructions without_;
};

TEST_P(WidenedConv2d, agrees_with_the_reference) {
  check_against_reference(kStoredConv2d[Backend::cpu], Backend::cpu, Precision::bf16, GetParam().shape);
}
TEST_P(WidenedConv2d, is_exact_on_small_integers) {
  check_exact_on_small_integers(kStoredConv2d[Backend::cpu], Precision::bf16, GetParam().shape);
}

INSTANTIATE_TEST_SUITE_P(cpu, WidenedConv2d, testing::ValuesIn(cases()), [](const auto& c) { return c.param.name; });

class Conv2dOnce : public BackendTest<OnConv2d> {};

TEST_P(Conv2dOnce, fuses_bias_and_activation) {
  check_bias_and_activation(kConv2d[GetParam().backend], GetParam().value.shape);
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

template <typename T>
void check_nan_goes_through(const ProductFunctions<Conv2dShape, T>& op, const Conv2dShape& s) {
  Values<T> x = as<T>(Values<float>(s.x_size(), 1.0f));
  const auto w = uniform<T>(s.w_size(), 2);
  x[0] = poison<T>();
  TestContext context;
  GuardedBuffer<T> y(s.y_size(), T{});
  op.forward(x.data(), w.data(), nullptr, y.data(), s, Activation::relu, context);
  EXPECT_TRUE(std::isnan(reference::value_of(y[0])));
  EXPECT_FALSE(std::isnan(reference::value_of(y[y.size() - 1])));
}

TEST_P(Conv2dOnce, lets_nan_through) { check_nan_goes_through(kConv2d[GetParam().backend], GetParam().value.shape); }

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

TEST(StoredConv2dNan, goes_through_with_instructions_and_without) {
  const Conv2dShape s = conv(2, 7, 9, 5, 37, 3, 3, 1, 1);
  check_nan_goes_through(kStoredConv2d[Backend::cpu], s);
  const gemm::WithoutBf16Instructions without;
  check_bias_and_activation(kStoredConv2d[Backend::cpu], s);
  check_nan_goes_through(kStoredConv2d[Backend::cpu], s);
}

TEST(Conv2dTf32, rounds_its_inputs_to_nearest) {
  check_rounding_of_tf32(kConv2d[Backend::cuda], conv(2, 9, 10, 12, 20, 3, 3, 1, 1));
}

class Conv2dOfFloatsInBf16 : public BackendTest<Backend> {};

TEST_P(Conv2dOfFloatsInBf16, gives_the_bits_of_fp32) {
  for (const auto& s : {conv(2, 9, 10, 12, 20, 3, 3, 1, 1), conv(1, 11, 12, 3, 5, 5, 5, 4, 2)})
    check_floats_in_bf16(kConv2d[backend()], s);
}

INSTANTIATE_TEST_SUITE_P(, Conv2dOfFloatsInBf16, testing::ValuesIn(backends()), backend_name);

class Conv2dTile : public testing::TestWithParam<TileCase> {};

TEST_P(Conv2dTile, is_exact_on_small_integers) {
  check_tile<Conv2dShape>(GetParam(), kConv2d[Backend::cuda],
                          {conv(2, 13, 12, 16, 136, 3, 3, 1, 1), conv(1, 19, 18, 24, 16, 5, 3, 1, 2, 1, 2),
                           conv(1, 15, 14, 12, 20, 3, 3, 2, 1)});
}

INSTANTIATE_TEST_SUITE_P(cuda, Conv2dTile, tile_cases(4), [](const auto& c) { return c.param.name(); });

class Conv2dGradient : public testing::TestWithParam<Conv2dCase> {};

TEST_P(Conv2dGradient, agrees_with_finite_differences) { check_finite_differences(GetParam().shape); }

INSTANTIATE_TEST_SUITE_P(reference, Conv2dGradient,
                         testing::Values(Conv2dCase{"plain", conv(2, 5, 4, 3, 4, 3, 3, 1, 1)},
                                         Conv2dCase{"strided", conv(1, 7, 6, 2, 3, 3, 2, 2, 1)},
                                         Conv2dCase{"dilated", conv(1, 7, 7, 2, 3, 3, 3, 2, 2, 2)},
                                         Conv2dCase{"grouped", conv(2, 4, 5, 4, 6, 3, 3, 1, 1, 1, 2)}),
                         [](const auto& c) { return c.param.name; });

}  // namespace
}  // namespace striate::test
