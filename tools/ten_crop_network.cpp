#include "tools/ten_crop_network.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "engine/autograd.h"
#include "engine/ops/ops.h"
#include "kernels/error.h"

namespace striate {

TenCropNetwork::TenCropNetwork(std::shared_ptr<nn::Module> network)
    : network_(register_module("network", std::move(network))) {}

Tensor TenCropNetwork::forward(const Tensor& x) {
  require<ShapeError>(x.rank() == 4 && x.dim(1) % kCrops == 0, "ten crops: expected images [N, 10·H, W, C], found {}",
                      to_string(x.shape()));
  const NoGradGuard no_grad;
  const int64_t n = x.dim(0);
  const Tensor crops = x.reshape({kCrops * n, x.dim(1) / kCrops, x.dim(2), x.dim(3)});
  const Tensor probabilities = ops::softmax((*network_)(crops)).to(Device::cpu);
  const int64_t classes = probabilities.dim(1);
  const float* p = probabilities.data<float>();
  constexpr double kLeast = 1e-37;  // its logarithm is finite in float32
  std::vector<float> logits(static_cast<size_t>(n * classes));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t c = 0; c < classes; ++c) {
      double sum = 0.0;
      for (int64_t crop = 0; crop < kCrops; ++crop) sum += p[(i * kCrops + crop) * classes + c];
      // A NaN stays one, so that a broken network is seen to be broken.
      const double mean = sum / kCrops;
      logits[static_cast<size_t>(i * classes + c)] = static_cast<float>(std::log(mean < kLeast ? kLeast : mean));
    }
  }
  return Tensor::from(logits, {n, classes}).to(x.device());
}

}  // namespace striate
