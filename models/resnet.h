#pragma once

#include <memory>

#include "engine/nn/layers.h"
#include "models/classifier.h"
#include "models/family.h"

namespace striate::models {

/// act(bn2(conv2(act(bn1(conv1(x))))) + shortcut(x)), 3×3 convolutions (He et al. 2016, figure 5 left). The shortcut
/// is a 1×1 convolution with batch norm (`downsample`) where the shape changes, else x.
class BasicBlock : public nn::Module {
 public:
  BasicBlock(int64_t in_channels, int64_t out_channels, int64_t stride, Activation activation);
  Tensor forward(const Tensor& x) override;
  std::string type() const override { return "BasicBlock"; }
  Activation activation() const { return activation_; }

 private:
  Activation activation_;
  nn::ModulePtr conv1_, bn1_, act_, conv2_, bn2_, downsample_;
};

/// ResNet-18 with torchvision's parameter names, for any input size.
class ResNet18 : public Classifier {
 public:
  explicit ResNet18(const FamilyOptions& options);
  Tensor features(const Tensor& x) override;
  Tensor classify(const Tensor& features) override;
  std::string type() const override { return "resnet18"; }
};

}  // namespace striate::models
