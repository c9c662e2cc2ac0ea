#include "engine/kernel_call.h"

#include <fmt/format.h>

namespace striate {

void KernelCall::see(const Conv2dShape& shape) {
  size_ = shape.to_string();
  flops_ = 2.0 * static_cast<double>(shape.macs());
  values_ = shape.x_size() + shape.w_size() + shape.y_size();
  if (is("through_relu")) values_ += shape.x_size();  // the ReLU's output
}

void KernelCall::see(const LinearShape& shape) {
  size_ = shape.to_string();
  flops_ = 2.0 * static_cast<double>(shape.macs());
  values_ = shape.N * shape.C + shape.K * shape.C + shape.N * shape.K;
  if (is("through_relu")) values_ += shape.N * shape.C;  // the ReLU's output
  if (is("backward_update")) {  // x, dy and, where it is wanted, dx; the weights count as the parameter does
    const bool has_dx = operands_ == 3;
    if (has_dx) flops_ *= 2.0;
    values_ = shape.N * shape.C * (has_dx ? 2 : 1) + shape.N * shape.K;
  }
}

void KernelCall::see(const Pool2dShape& shape) {
  if (is("conv2d")) {  // whose output is not written down
    values_ += shape.y_size() - shape.x_size();
  } else {
    size_ = shape.to_string();
    values_ = shape.x_size() + shape.y_size();
  }
  if (is("max_pool")) byte_values_ = shape.y_size();
}

void KernelCall::see(const AdaptivePool2dShape& shape) {
  size_ = shape.to_string();
  values_ = shape.x_size() + shape.y_size();
}

void KernelCall::see(const DropoutShape& shape) {
  size_ = fmt::format("{}×{}", shape.N, shape.features);
  values_ = (is("relu") ? 3 : 2) * shape.size();
}

void KernelCall::see(const ColumnBlocksShape& shape) {
  size_ = shape.to_string();
  values_ = 2 * shape.size();
}

void KernelCall::see(const BatchNormShape& shape) {
  size_ = fmt::format("{}×{}", shape.rows, shape.C);
  const int64_t passes = is("backward") ? 5 : is("eval") ? 2 : 3;
  values_ = passes * shape.size();
}

void KernelCall::see(const LocalResponseNormShape& shape) {
  size_ = fmt::format("{}×{}", shape.rows, shape.C);
  values_ = (is("backward") ? 3 : 2) * shape.rows * shape.C;
}

void KernelCall::see(const SoftmaxCrossEntropyShape& shape) {
  size_ = fmt::format("{}×{}", shape.N, shape.classes);
  values_ = (is("backward") ? 2 : 1) * shape.N * shape.classes;
}

void KernelCall::see(const ImageBatchShape& shape) {
  size_ = shape.to_string();
  values_ = shape.N * shape.image_size();
  byte_values_ = shape.pictures() * shape.image_size();
}

void KernelCall::see(int64_t count) {
  if (values_ > 0) return;
  size_ += fmt::format("{}{}", size_.empty() ? "" : "×", count);
  count_ = count_ == 0 ? count : count_ * count;
}

double KernelCall::bytes_of(const ParameterUpdate<float>& update) {
  // Weights and state are read and written; a gradient is read, where it was ever written down; rounded weights are
  // written.
  const int64_t times = 2 + (update.g != nullptr ? 1 : 0) + 2 * (update.s1 != nullptr) + 2 * (update.s2 != nullptr);
  const double rounded = update.rounded != nullptr ? sizeof(bfloat16) : 0;
  return static_cast<double>(update.n) * (static_cast<double>(times) * sizeof(float) + rounded);
}

double KernelCall::bytes() const {
  double bytes = update_bytes_;
  if (updates_ != nullptr) {
    for (int64_t i = 0; i < count_; ++i) {
      bytes += bytes_of(updates_[i]);
      if (measures_norm_) bytes += static_cast<double>(updates_[i].n) * sizeof(float);
    }
    return bytes;
  }
  if (count_ > 0) {  // element by element; what is added to is read too
    return static_cast<double>((operand_bytes_ + (kernel_ == "accumulate" ? value_bytes_ : 0)) * count_);
  }
  return bytes + static_cast<double>(values_ * value_bytes_ + byte_values_);
}

}  // namespace striate
