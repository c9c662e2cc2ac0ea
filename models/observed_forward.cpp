#include "models/observed_forward.h"

#include "engine/autograd.h"
#include "engine/nn/evaluation_mode.h"
#include "kernels/error.h"

namespace striate::models {

Tensor observed_forward(nn::Module& model, const Shape& input, nn::ForwardObserver& observer,
                        const std::function<void(const Tensor&)>& begin) {
  require<ShapeError>(input.size() == 3, "expected an input [H,W,C], found {}", striate::to_string(input));
  const std::vector<NamedTensor> parameters = model.named_parameters();
  const Device device = parameters.empty() ? Device::cpu : parameters.front().tensor.device();
  const Tensor image = Tensor::zeros({1, input[0], input[1], input[2]}, DType::float32, device);
  if (begin) begin(image);
  const NoGradGuard no_grad;
  const nn::EvaluationMode evaluation(model);
  const nn::ObserverGuard observing(observer);
  return model(image);
}

}  // namespace striate::models
