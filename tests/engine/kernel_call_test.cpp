#include "engine/kernel_call.h"

#include <gtest/gtest.h>

#include "kernels/activation/activation.h"

namespace striate::test {
namespace {

// The pointers are not followed.
float value = 0.0f;
bfloat16 half_value;
uint8_t byte = 0;
float *a = &value, *b = &value, *c = &value;
bfloat16* half = &half_value;
uint8_t* index = &byte;
const float* none = nullptr;

TEST(KernelCall, CountsProductsAndEveryOperandOnce) {
  const Conv2dShape conv{2, 8, 8, 3, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  const KernelCall forward("conv2d_forward", a, b, none, c, conv, Activation::none);
  EXPECT_DOUBLE_EQ(forward.flops(), 2.0 * 2 * 8 * 8 * 16 * 27);
  EXPECT_DOUBLE_EQ(forward.bytes(), 4.0 * (2 * 8 * 8 * 3 + 16 * 27 + 2 * 8 * 8 * 16));
  EXPECT_EQ(forward.size(), conv.to_string());
  EXPECT_DOUBLE_EQ(KernelCall("conv2d_forward", half, half, c, half, conv).bytes(), forward.bytes() / 2);
  const Pool2dShape pool{2, 8, 8, 16, 2, 2, 2, 2};
  const KernelCall pooled("conv2d_max_pool_forward", a, b, none, c, index, conv, pool);
  EXPECT_DOUBLE_EQ(pooled.flops(), forward.flops());
  EXPECT_EQ(pooled.size(), conv.to_string());
  EXPECT_DOUBLE_EQ(pooled.bytes(), 4.0 * (2 * 8 * 8 * 3 + 16 * 27 + 2 * 4 * 4 * 16) + 2 * 4 * 4 * 16);
  const LinearShape linear{5, 7, 11};
  EXPECT_DOUBLE_EQ(KernelCall("linear_backward_weight", a, b, c, c, linear).bytes(), 4.0 * (5 * 7 + 7 * 11 + 5 * 11));
}

TEST(KernelCall, CountsTheOutputOfTheReluThatAGradientIsTakenThrough) {
  const Conv2dShape conv{2, 8, 8, 3, 16, 3, 3, 1, 1, 1, 1, 1, 1, 1};
  const KernelCall plain("conv2d_backward_data", a, b, c, conv),
      through("conv2d_backward_data_through_relu", a, b, a, c, conv);
  EXPECT_DOUBLE_EQ(through.bytes() - plain.bytes(), 4.0 * 2 * 8 * 8 * 3);
  EXPECT_DOUBLE_EQ(through.flops(), plain.flops());
  const LinearShape linear{5, 7, 11};
  EXPECT_DOUBLE_EQ(KernelCall("linear_backward_data_through_relu", half, half, half, half, linear).bytes(),
                   2.0 * (2 * 5 * 7 + 7 * 11 + 5 * 11));
}

TEST(KernelCall, CountsWeightsAndStateOfAnUpdate) {
  ParameterUpdate<float> update;
  update.n = 77;
  update.s1 = c;
  const LinearShape linear{5, 7, 11};
  const KernelCall whole("linear_backward_update", a, b, c, linear, update),
      last("linear_backward_update", a, b, none, linear, update);
  EXPECT_DOUBLE_EQ(whole.flops(), 4.0 * 5 * 7 * 11) << "the gradients of data and of weights";
  EXPECT_DOUBLE_EQ(last.flops(), 2.0 * 5 * 7 * 11) << "of weights alone";
  EXPECT_DOUBLE_EQ(whole.bytes(), 4.0 * (2 * 5 * 7 + 5 * 11 + 4 * 77));
  EXPECT_DOUBLE_EQ(last.bytes(), 4.0 * (5 * 7 + 5 * 11 + 4 * 77));
  update.g = b;
  const ParameterUpdate<float> updates[] = {update, update};
  EXPECT_DOUBLE_EQ(KernelCall("sgd_update", &updates[0], int64_t{2}, SgdOptions{}).bytes(), 4.0 * 2 * 5 * 77);
  EXPECT_DOUBLE_EQ(KernelCall("sgd_update", &updates[0], int64_t{2}, SgdOptions{}, Clipping{&value, 1.0f}).bytes(),
                   4.0 * 2 * 6 * 77)
      << "gradients are read for their norm, too";
  EXPECT_DOUBLE_EQ(KernelCall("sgd_update", &updates[0], int64_t{2}, SgdOptions{}, Clipping{}).bytes(),
                   4.0 * 2 * 5 * 77);
  update.rounded = half;
  EXPECT_DOUBLE_EQ(KernelCall("sgd_update", &update, int64_t{1}, SgdOptions{}).bytes(), (4.0 * 5 + 2) * 77)
      << "the rounded weights are written";
  EXPECT_DOUBLE_EQ(KernelCall("linear_backward_update", half, half, half, linear, update).bytes(),
                   2.0 * (2 * 5 * 7 + 5 * 11) + (4.0 * 5 + 2) * 77);
}

TEST(KernelCall, CountsAByteReadForEveryValueOfAnImage) {
  const ImageBatchShape shape{.N = 2, .slot_h = 9, .slot_w = 9, .H = 5, .W = 4, .C = 3};
  const KernelCall floats("image_batch", a, shape);
  EXPECT_DOUBLE_EQ(floats.bytes(), 5.0 * 2 * 5 * 4 * 3);
  EXPECT_DOUBLE_EQ(KernelCall("image_batch", half, shape).bytes(), 3.0 * 2 * 5 * 4 * 3);
  EXPECT_EQ(floats.size(), shape.to_string());
}

TEST(KernelCall, CountsWhatMemoryBounds) {
  EXPECT_DOUBLE_EQ(KernelCall("fill", a, 1.0f, int64_t{8}).bytes(), 32.0);
  EXPECT_EQ(KernelCall("fill", a, 1.0f, int64_t{8}).size(), "8");
  EXPECT_DOUBLE_EQ(KernelCall("add", a, b, c, int64_t{8}, Activation::relu).bytes(), 96.0);
  EXPECT_DOUBLE_EQ(KernelCall("accumulate", a, b, int64_t{8}).bytes(), 96.0) << "y is read, too";
  EXPECT_DOUBLE_EQ(KernelCall("softmax_forward", a, b, int64_t{3}, int64_t{10}).bytes(), 240.0);
  EXPECT_EQ(KernelCall("softmax_forward", a, b, int64_t{3}, int64_t{10}).size(), "3×10");
  Pool2dShape pool{1, 4, 4, 2, 2, 2, 2, 2};
  EXPECT_DOUBLE_EQ(KernelCall("max_pool2d_forward", a, b, index, pool).bytes(), 4.0 * (32 + 8) + 8);
  EXPECT_DOUBLE_EQ(KernelCall("avg_pool2d_forward", a, b, pool).bytes(), 4.0 * (32 + 8));
  EXPECT_DOUBLE_EQ(KernelCall("dropout_forward", half, half, DropoutShape{2, 8, 0.5f, 0}).bytes(), 2.0 * 2 * 16);
  EXPECT_DOUBLE_EQ(KernelCall("batch_norm_forward_train", a, b, c, BatchNormShape{6, 5}).bytes(), 3 * 4.0 * 30)
      << "once for the mean";
  EXPECT_DOUBLE_EQ(KernelCall("local_response_norm_backward", a, b, c, LocalResponseNormShape{6, 5}).bytes(),
                   3 * 4.0 * 30);
  EXPECT_DOUBLE_EQ(KernelCall("softmax_cross_entropy_backward", a, b, SoftmaxCrossEntropyShape{6, 5, 0.0f}).bytes(),
                   2 * 4.0 * 30);
}

}  // namespace
}  // namespace striate::test
