#include "models/weights/layout.h"

#include <gtest/gtest.h>

#include "engine/autograd.h"
#include "engine/nn/layers.h"
#include "engine/train/weights.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "tests/models/random_tensor.h"
#include "tests/support/error.h"

namespace striate::models {
namespace {

/// 0 … n − 1.
Tensor counted(const Shape& shape) {
  std::vector<float> values;
  for (int64_t i = 0; i < element_count(shape); ++i) values.push_back(static_cast<float>(i));
  return Tensor::from(values, shape);
}

/// Logits of conv 3×3 → ReLU → flatten → linear for an NCHW image, by PyTorch's definitions and weights.
std::vector<float> pytorch_logits(const std::vector<float>& image, int64_t channels, int64_t side,
                                  const std::vector<float>& conv, int64_t maps, int64_t groups,
                                  const std::vector<float>& linear, int64_t classes) {
  const int64_t out = side - 2, in_group = channels / groups, maps_a_group = maps / groups;
  std::vector<double> features;  // in the order of [C,H,W]
  for (int64_t k = 0; k < maps; ++k) {
    for (int64_t p = 0; p < out; ++p) {
      for (int64_t q = 0; q < out; ++q) {
        double sum = 0.0;
        for (int64_t c = 0; c < in_group; ++c) {
          const int64_t from = k / maps_a_group * in_group + c;
          for (int64_t r = 0; r < 3; ++r) {
            for (int64_t s = 0; s < 3; ++s) {
              sum += double{image[static_cast<size_t>((from * side + p + r) * side + q + s)]} *
                     conv[static_cast<size_t>(((k * in_group + c) * 3 + r) * 3 + s)];
            }
          }
        }
        features.push_back(std::max(sum, 0.0));
      }
    }
  }
  std::vector<float> logits;
  for (int64_t c = 0; c < classes; ++c) {
    double sum = 0.0;
    for (size_t i = 0; i < features.size(); ++i)
      sum += features[i] * linear[static_cast<size_t>(c) * features.size() + i];
    logits.push_back(static_cast<float>(sum));
  }
  return logits;
}

class PyTorchLogits : public testing::TestWithParam<int64_t> {};

TEST_P(PyTorchLogits, AreOurs) {
  const int64_t groups = GetParam(), side = 6, channels = 4, maps = 6, classes = 3;
  nn::Sequential network({std::make_shared<nn::Conv2d>(channels, maps, 3, 1, 0, groups, false),
                          std::make_shared<nn::Flatten>(), std::make_shared<nn::Dropout>(),
                          std::make_shared<nn::ActivationLayer>(Activation::relu),
                          std::make_shared<nn::Linear>(maps * 4 * 4, classes, false)});
  const PyTorchLayout layout(network, {side, side, channels});
  ASSERT_EQ(layout.entries().size(), 2u);
  EXPECT_EQ(layout.entries()[0].shape, (Shape{maps, channels / groups, 3, 3}));
  EXPECT_EQ(layout.entries()[1].shape, (Shape{classes, maps * 16}));
  EXPECT_TRUE(network.training());

  const Tensor conv = test::random_tensor(layout.entries()[0].shape, 1);
  const Tensor linear = test::random_tensor(layout.entries()[1].shape, 2);
  for (NamedTensor& weight : named_weights(network)) {
    weight.tensor.copy_from(layout.from_pytorch({weight.name, weight.name == "0.weight" ? conv : linear}));
  }
  const Tensor image = test::random_tensor({channels, side * side}, 3);
  std::vector<float> nhwc;
  for (int64_t pixel = 0; pixel < side * side; ++pixel) {
    for (int64_t c = 0; c < channels; ++c) nhwc.push_back(image.data<float>()[c * side * side + pixel]);
  }
  network.eval();
  const NoGradGuard no_grad;
  const std::vector<float> found = network(Tensor::from(nhwc, {1, side, side, channels})).to_vector<float>();
  const std::vector<float> expected = pytorch_logits(image.to_vector<float>(), channels, side, conv.to_vector<float>(),
                                                     maps, groups, linear.to_vector<float>(), classes);
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 1e-4f * std::abs(expected[i]) + 1e-4f);
}

INSTANTIATE_TEST_SUITE_P(Groups, PyTorchLogits, testing::Values(1, 2), testing::PrintToStringParamName());

TEST(PyTorchLayout, PermutesByHand) {
  nn::Sequential network({std::make_shared<nn::Conv2d>(2, 1, 2, 1, 0, 1, false), std::make_shared<nn::Flatten>(),
                          std::make_shared<nn::Linear>(2, 1, false)});
  const PyTorchLayout layout(network, {2, 3, 2});  // the linear layer sees [1,2,1]: nothing to permute
  // Ours counts [K,R,S,C]; PyTorch asks for [K,C,R,S].
  const Tensor conv = layout.to_pytorch({"0.weight", counted({1, 2, 2, 2})});
  EXPECT_EQ(conv.shape(), (Shape{1, 2, 2, 2}));
  EXPECT_EQ(conv.to_vector<float>(), (std::vector<float>{0, 2, 4, 6, 1, 3, 5, 7}));
  EXPECT_EQ(layout.from_pytorch({"0.weight", conv}).to_vector<float>(), counted({8}).to_vector<float>());
  EXPECT_EQ(layout.to_pytorch({"2.weight", counted({1, 2})}).to_vector<float>(), (std::vector<float>{0, 1}));
}

TEST(PyTorchLayout, OnlyTheFirstLinearBehindAFlattenIsPermuted) {
  ModelConfig config;
  config.name = "lenet";
  const auto model = make_model(config, {28, 28, 1}, 10);
  const PyTorchLayout layout(*model, {28, 28, 1});
  for (const NamedTensor& weight : model->named_parameters()) {
    const Tensor values = counted(weight.tensor.shape());
    const bool moved = layout.to_pytorch({weight.name, values}).to_vector<float>() != values.to_vector<float>();
    const bool first_linear = weight.tensor.rank() == 2 && weight.tensor.dim(1) == 400;
    const bool conv_of_channels = weight.tensor.rank() == 4 && weight.tensor.dim(3) > 1;
    EXPECT_EQ(moved, first_linear || conv_of_channels) << weight.name;
  }
}

TEST(PyTorchLayout, EveryModelComesBackFromIt) {
  for (const ModelInfo& info : model_list()) {
    ModelConfig config;
    config.name = info.name;
    config.width = 0.2;
    const auto model = build_model(config, info.input, 7, 1);
    const PyTorchLayout layout(*model, info.input);
    const std::vector<NamedTensor> weights = named_weights(*model);
    ASSERT_EQ(layout.entries().size(), weights.size());
    int moved = 0;
    for (size_t i = 0; i < weights.size(); ++i) {
      const Tensor theirs = layout.to_pytorch(weights[i]);
      EXPECT_EQ(theirs.shape(), layout.entries()[i].shape) << info.name << " " << weights[i].name;
      const Tensor back = layout.from_pytorch({weights[i].name, theirs});
      EXPECT_EQ(back.shape(), weights[i].tensor.shape());
      EXPECT_EQ(back.to_vector<float>(), weights[i].tensor.to_vector<float>()) << info.name << " " << weights[i].name;
      moved += theirs.to_vector<float>() != weights[i].tensor.to_vector<float>() ? 1 : 0;
    }
    EXPECT_GT(moved, 1) << info.name;
  }
}

TEST(PyTorchLayout, WeightsForFlattenedPixelsAreLinear) {
  nn::Sequential network({std::make_shared<nn::Flatten>(), std::make_shared<nn::BatchNorm2d>(12)});
  EXPECT_TRUE(test::throws_with<ConfigError>(
      [&] {
        PyTorchLayout(network, {2, 2, 3});
      },
      {"1 (BatchNorm2d(12))", "only linear layers"}));
  EXPECT_TRUE(network.training());
}

}  // namespace
}  // namespace striate::models
