#include "kernels/shapes.h"

#include <gtest/gtest.h>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/dropout/dropout.h"
#include "kernels/error.h"
#include "kernels/local_response_norm/local_response_norm.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"
#include "tests/support/error.h"

namespace striate::test {
namespace {

template <typename Shape>
testing::AssertionResult refuses(const Shape& shape, std::initializer_list<std::string> parts) {
  return throws_with<ShapeError>([&] { shape.check(); }, parts);
}

TEST(Conv2dShape, HasTheSizesOfAlexNet) {
  const Conv2dShape conv1{.N = 128,
                          .H = 224,
                          .W = 224,
                          .C = 3,
                          .K = 64,
                          .R = 11,
                          .S = 11,
                          .stride_h = 4,
                          .stride_w = 4,
                          .pad_h = 2,
                          .pad_w = 2};
  conv1.check();
  EXPECT_EQ(conv1.P(), 55);
  EXPECT_EQ(conv1.Q(), 55);
  EXPECT_EQ(conv1.taps(), 363);
  EXPECT_EQ(conv1.macs(), int64_t{128} * 55 * 55 * 64 * 363);
  Conv2dShape dilated{.N = 1, .H = 10, .W = 9, .C = 4, .K = 6, .R = 3, .S = 3};
  dilated.dilation_h = 2;
  dilated.groups = 2;
  dilated.check();
  EXPECT_EQ(dilated.P(), 6);
  EXPECT_EQ(dilated.Q(), 7);
  EXPECT_EQ(dilated.w_size(), 6 * 3 * 3 * 2);
}

TEST(Conv2dShape, RefusesWhatDoesNotFit) {
  const Conv2dShape good{.N = 2, .H = 8, .W = 8, .C = 4, .K = 6, .R = 3, .S = 3};
  good.check();
  auto shape = good;
  shape.N = 0;
  shape.check();
  shape.N = -1;
  EXPECT_TRUE(refuses(shape, {"conv2d", "positive"}));
  shape = good;
  shape.stride_w = 0;
  EXPECT_TRUE(refuses(shape, {"conv2d", "strides"}));
  shape = good;
  shape.pad_h = -1;
  EXPECT_TRUE(refuses(shape, {"conv2d", "padding"}));
  shape = good;
  shape.groups = 3;
  EXPECT_TRUE(refuses(shape, {"conv2d", "groups", "(4)", "(6)"}));
  shape = good;
  shape.R = 9;
  EXPECT_TRUE(refuses(shape, {"conv2d", "larger than the padded image (8x8)"}));
}

TEST(Pool2dShape, RefusesWhatDoesNotFit) {
  const Pool2dShape good{.N = 2, .H = 13, .W = 13, .C = 4, .R = 3, .S = 3, .stride_h = 2, .stride_w = 2};
  good.check();
  EXPECT_EQ(good.P(), 6);
  auto shape = good;
  shape.pad_h = 2;
  EXPECT_TRUE(refuses(shape, {"pool2d", "half the window"}));
  shape = good;
  shape.H = 2;
  EXPECT_TRUE(refuses(shape, {"pool2d", "window is larger", "2x13"}));
  shape = good;
  shape.H = shape.W = shape.R = shape.S = 16;
  EXPECT_TRUE(refuses(shape, {"pool2d", "255"}));
  shape = good;
  shape.C = 0;
  EXPECT_TRUE(refuses(shape, {"pool2d", "[2,13,13,0]"}));
  EXPECT_TRUE(refuses(AdaptivePool2dShape{.N = 1, .H = 3, .W = 3, .C = 1, .P = 0, .Q = 1}, {"adaptive_avg_pool2d"}));
}

TEST(OtherShapes, RefuseWhatTheyMust) {
  LinearShape{0, 3, 4}.check();
  EXPECT_TRUE(refuses(LinearShape{1, 0, 4}, {"linear", "[1,0]"}));
  DropoutShape{0, 3, 0.0f}.check();
  EXPECT_TRUE(refuses(DropoutShape{1, 3, 1.0f}, {"dropout", "[0, 1)", "1"}));
  EXPECT_TRUE(refuses(DropoutShape{1, 3, -0.5f}, {"dropout", "-0.5"}));
  EXPECT_TRUE(refuses(DropoutShape{1, 0, 0.5f}, {"dropout", "[1,0]"}));
  SoftmaxCrossEntropyShape{0, 1, 0.0f}.check();
  EXPECT_TRUE(refuses(SoftmaxCrossEntropyShape{1, 0, 0.0f}, {"softmax_cross_entropy", "[1,0]"}));
  EXPECT_TRUE(refuses(SoftmaxCrossEntropyShape{1, 2, 1.0f}, {"smoothing", "1"}));
  BatchNormShape{0, 1}.check();
  EXPECT_TRUE(refuses(BatchNormShape{2, 0}, {"batch_norm", "[2,0]"}));
  EXPECT_TRUE(refuses(BatchNormShape{2, 1, 0.0f}, {"epsilon"}));
  EXPECT_TRUE(refuses(BatchNormShape{2, 1, 1e-5f, 1.5f}, {"momentum", "1.5"}));
  LocalResponseNormShape{0, 1}.check();
  EXPECT_TRUE(refuses(LocalResponseNormShape{1, 0}, {"local_response_norm", "[1,0]"}));
  EXPECT_TRUE(refuses(LocalResponseNormShape{1, 1, 0}, {"window"}));
  EXPECT_TRUE(refuses(LocalResponseNormShape{1, 1, 5, 0.0f}, {"k must be positive"}));
  EXPECT_TRUE(refuses(LocalResponseNormShape{1, 1, 5, 2.0f, -1.0f}, {"alpha", "-1"}));
}

}  // namespace
}  // namespace striate::test
