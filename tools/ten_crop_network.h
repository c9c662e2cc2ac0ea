#pragma once

#include <memory>

#include "engine/nn/module.h"

namespace striate {

/// A network asked ten times: x [N, 10·H, W, C], ten views of each picture one below the other (data's TenCrop) →
/// [N, classes], the logarithm of the mean of their softmax, so that a softmax of it gives that mean (Krizhevsky et al.
/// 2012, §4.1). For evaluation only: nothing is recorded for a backward.
class TenCropNetwork : public nn::Module {
 public:
  static constexpr int64_t kCrops = 10;
  explicit TenCropNetwork(std::shared_ptr<nn::Module> network);
  Tensor forward(const Tensor& x) override;
  std::string type() const override { return "TenCropNetwork"; }

 private:
  std::shared_ptr<nn::Module> network_;
};

}  // namespace striate
