#include "engine/rounded_copy.h"

#include <memory>
#include <utility>

#include "engine/dispatch.h"
#include "engine/storage.h"
#include "kernels/elementwise/elementwise.h"

namespace striate {

Tensor rounded_copy(const Tensor& values) {
  Storage& storage = *values.impl()->storage;
  const Device device = values.device();
  if (!storage.rounded) {
    const auto count = static_cast<int64_t>(storage.bytes() / size_of(DType::float32));
    storage.rounded = Tensor::empty({count}, DType::bfloat16, device).impl()->storage;
    storage.rounded_is_current = false;
  }
  auto impl = std::make_shared<TensorImpl>();
  impl->shape = values.shape();
  impl->dtype = DType::bfloat16;
  impl->storage = storage.rounded;
  Tensor rounded(std::move(impl));
  if (!storage.rounded_is_current) {
    STRIATE_DISPATCH(device, float_to_bf16, values.data<float>(), rounded.data<bfloat16>(), values.size(),
                     context(device));
    storage.rounded_is_current = true;
  }
  return rounded;
}

void aim_update(ParameterUpdate<float>& update, Tensor& parameter) {
  update.w = parameter.data<float>();
  Storage& storage = *parameter.impl()->storage;
  update.rounded = storage.rounded ? static_cast<bfloat16*>(storage.rounded->data()) : nullptr;
  storage.rounded_is_current = update.rounded != nullptr;
}

void refresh_rounded_copies(const std::vector<NamedTensor>& parameters) {
  for (const NamedTensor& parameter : parameters) {
    if (parameter.tensor.impl()->storage->rounded) rounded_copy(parameter.tensor);
  }
}

}  // namespace striate
