#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/bfloat16.h"
#include "kernels/column_blocks/column_blocks.h"
#include "kernels/dropout/dropout.h"
#include "kernels/image_batch/image_batch.h"
#include "kernels/local_response_norm/local_response_norm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/shapes.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace striate {

/// What a kernel's arguments say of the call: its size in words, and what it computes and moves.
class KernelCall {
 public:
  template <typename... Arguments>
  explicit KernelCall(std::string_view kernel, const Arguments&... arguments) : kernel_(kernel) {
    (see(arguments), ...);
  }

  const std::string& size() const { return size_; }  ///< as the shape says it, or the number of values
  double flops() const { return flops_; }            ///< of a matrix product; 0 elsewhere
  /// Bytes that it moves at least: every value of its operands read or written once, twice where a sum over all of them
  /// comes before what it is needed for (batch norm). Parameters of normalizations and sums a row are not counted.
  double bytes() const;

 private:
  void see(const Conv2dShape& shape);
  void see(const LinearShape& shape);
  void see(const Pool2dShape& shape);
  void see(const AdaptivePool2dShape& shape);
  void see(const DropoutShape& shape);
  void see(const ColumnBlocksShape& shape);
  void see(const BatchNormShape& shape);
  void see(const LocalResponseNormShape& shape);
  void see(const SoftmaxCrossEntropyShape& shape);
  void see(const ImageBatchShape& shape);
  void see(int64_t count);
  void see(const Clipping& clipping) { measures_norm_ = clipping.norm != nullptr; }
  void see(const ParameterUpdate<float>& update) { update_bytes_ += bytes_of(update); }

  template <typename T>
  void see(const T& argument) {
    if constexpr (std::is_pointer_v<T>) {
      using Value = std::remove_const_t<std::remove_pointer_t<T>>;
      if constexpr (std::is_same_v<Value, float> || std::is_same_v<Value, bfloat16>) {
        if (argument == nullptr) return;
        if (value_bytes_ == 0) value_bytes_ = sizeof(Value);
        ++operands_;
        operand_bytes_ += static_cast<int64_t>(sizeof(Value));
      } else if constexpr (std::is_same_v<Value, ParameterUpdate<float>>) {
        updates_ = argument;
      }
    } else if constexpr (requires {
                           { argument.to_string() } -> std::convertible_to<std::string>;
                         }) {
      size_ = argument.to_string();
    }
  }
  static double bytes_of(const ParameterUpdate<float>& update);
  bool is(std::string_view part) const { return kernel_.find(part) != std::string_view::npos; }

  std::string_view kernel_;
  std::string size_;
  double flops_ = 0.0;
  int64_t values_ = 0;       // of the activations' type, each moved once
  int64_t byte_values_ = 0;  // of a max-pool's index, of pictures
  double update_bytes_ = 0.0;
  int64_t operands_ = 0, operand_bytes_ = 0;  // pointers to values, and the bytes of one of each
  int64_t value_bytes_ = 0;                   // of the first operand's type: that of the activations
  int64_t count_ = 0;                         // where numbers say the size: their product
  const ParameterUpdate<float>* updates_ = nullptr;
  bool measures_norm_ = false;  // which reads every gradient once more
};

}  // namespace striate
