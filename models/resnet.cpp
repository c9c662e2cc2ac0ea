#include "models/resnet.h"

#include <algorithm>

#include "kernels/error.h"

namespace striate::models {
namespace {

// Inputs up to this many pixels take the CIFAR stem unless told otherwise: after the ImageNet stem's /4 and the
// stages' /8, a 64×64 image would be left with 2×2 pixels.
constexpr int64_t kLargestCifarInput = 64;
constexpr int64_t kBlocksPerStage = 2;

std::shared_ptr<nn::Conv2d> conv_without_bias(int64_t in, int64_t out, int64_t kernel, int64_t stride) {
  return std::make_shared<nn::Conv2d>(in, out, kernel, stride, kernel / 2, 1, false);
}

}  // namespace

BasicBlock::BasicBlock(int64_t in_channels, int64_t out_channels, int64_t stride, Activation activation)
    : activation_(activation) {
  conv1_ = register_module("conv1", conv_without_bias(in_channels, out_channels, 3, stride));
  bn1_ = register_module("bn1", std::make_shared<nn::BatchNorm2d>(out_channels));
  act_ = register_module("relu", std::make_shared<nn::ActivationLayer>(activation));
  conv2_ = register_module("conv2", conv_without_bias(out_channels, out_channels, 3, 1));
  bn2_ = register_module("bn2", std::make_shared<nn::BatchNorm2d>(out_channels));
  if (stride == 1 && in_channels == out_channels) return;
  auto shortcut = std::make_shared<nn::Sequential>();
  shortcut->add(conv_without_bias(in_channels, out_channels, 1, stride));
  shortcut->add(std::make_shared<nn::BatchNorm2d>(out_channels));
  downsample_ = register_module("downsample", shortcut);
}

Tensor BasicBlock::forward(const Tensor& x) {
  const Tensor residual = (*bn2_)((*conv2_)((*act_)((*bn1_)((*conv1_)(x)))));
  const Tensor shortcut = downsample_ ? (*downsample_)(x) : x;
  if (derivative_from_output(activation_)) return ops::add(residual, shortcut, activation_);
  return ops::activation(ops::add(residual, shortcut), activation_);
}

ResNet18::ResNet18(const FamilyOptions& o) {
  require<ShapeError>(o.input.size() == 3 && *std::min_element(o.input.begin(), o.input.end()) > 0 && o.classes > 0,
                      "resnet18: expected an input [H,W,C] and a positive number of classes, found {} and {}",
                      striate::to_string(o.input), o.classes);
  const bool is_small = std::min(o.input[0], o.input[1]) <= kLargestCifarInput;
  const bool is_cifar = o.stem == Stem::cifar || (o.stem == Stem::automatic && is_small);

  int64_t channels = o.scaled(64);
  register_module("conv1", is_cifar ? conv_without_bias(o.input[2], channels, 3, 1)
                                    : conv_without_bias(o.input[2], channels, 7, 2));
  register_module("bn1", std::make_shared<nn::BatchNorm2d>(channels));
  register_module("relu", std::make_shared<nn::ActivationLayer>(o.activation));
  if (!is_cifar) register_module("maxpool", std::make_shared<nn::MaxPool2d>(3, 2, 1));
  for (int64_t stage = 1; stage <= 4; ++stage) {
    const int64_t out = o.scaled(64 << (stage - 1));
    auto blocks = std::make_shared<nn::Sequential>();
    for (int64_t block = 0; block < kBlocksPerStage; ++block) {
      const int64_t stride = stage > 1 && block == 0 ? 2 : 1;
      blocks->add(std::make_shared<BasicBlock>(channels, out, stride, o.activation));
      channels = out;
    }
    register_module(fmt::format("layer{}", stage), blocks);
  }
  register_module("avgpool", std::make_shared<nn::AdaptiveAvgPool2d>(1, 1));
  register_module("flatten", std::make_shared<nn::Flatten>());
  register_module("fc", std::make_shared<nn::Linear>(channels, o.classes));
}

Tensor ResNet18::features(const Tensor& x) {
  Tensor y = x;
  for (size_t i = 0; i + 1 < children().size(); ++i) y = (*children()[i].second)(y);
  return y;
}

Tensor ResNet18::classify(const Tensor& features) { return (*children().back().second)(features); }

}  // namespace striate::models
