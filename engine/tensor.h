#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"
#include "kernels/bfloat16.h"

namespace striate {

using Shape = std::vector<int64_t>;

/// "[2,3]".
std::string to_string(const Shape& shape);
int64_t element_count(const Shape& shape);

/// bfloat16 is what activations and their gradients are stored in with train.precision bf16.
enum class DType { float32, int32, int64, uint8, bfloat16 };
size_t size_of(DType dtype);
std::string to_string(DType dtype);

template <typename T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::float32;
}
template <>
constexpr DType dtype_of<int32_t>() {
  return DType::int32;
}
template <>
constexpr DType dtype_of<int64_t>() {
  return DType::int64;
}
template <>
constexpr DType dtype_of<uint8_t>() {
  return DType::uint8;
}
template <>
constexpr DType dtype_of<bfloat16>() {
  return DType::bfloat16;
}

class Node;
struct TensorImpl;

/// A handle to contiguous values of a device. Copying the handle shares the values. Images are [N,H,W,C].
class Tensor {
 public:
  Tensor() = default;  ///< undefined: no values
  /// Throws ShapeError for a negative size, or more bytes than can be addressed.
  static Tensor empty(Shape shape, DType dtype = DType::float32, Device device = Device::cpu);
  static Tensor zeros(Shape shape, DType dtype = DType::float32, Device device = Device::cpu);
  static Tensor full(Shape shape, float value, Device device = Device::cpu);
  /// Throws ShapeError unless values.size() is the shape's element count.
  template <typename T>
  static Tensor from(const std::vector<T>& values, Shape shape, Device device = Device::cpu);

  bool defined() const { return impl_ != nullptr; }
  const Shape& shape() const;
  int64_t rank() const { return static_cast<int64_t>(shape().size()); }
  /// Size along an axis; negative axes count from the end. Throws ShapeError out of range.
  int64_t dim(int64_t axis) const;
  int64_t size() const;  ///< elements
  size_t bytes() const;
  DType dtype() const;
  Device device() const;

  /// In the device's memory: host code follows it only where on_host(device()). Throws Error where T is not the
  /// tensor's dtype. Write through what data() of a non-const tensor gave last, before the next op reads the values: it
  /// is what tells rounded_copy() that they change.
  template <typename T>
  T* data();
  template <typename T>
  const T* data() const;

  /// The same values under another shape (one size may be −1: the rest). Recorded for the backward.
  Tensor reshape(Shape shape) const;
  /// The same values, cut off from the graph.
  Tensor detach() const;
  bool is_only_handle() const;     ///< whether nobody else holds the values
  Tensor clone() const;            ///< recorded for the backward
  Tensor to(Device device) const;  ///< itself where it is there already, else a copy; recorded for the backward
  /// Itself where it holds that type already, else a copy, float32 rounded to bfloat16 or back; recorded for the
  /// backward. Throws Error for other types.
  Tensor to(DType dtype) const;
  void copy_from(const Tensor& source);
  void fill(float value);
  /// The value of a one-element float tensor; waits for the device's work, as to_vector() and to(host) do.
  float item() const;
  /// On the host; bfloat16 may be asked for as float, too.
  template <typename T>
  std::vector<T> to_vector() const;

  /// Leaves (parameters) are marked; results of ops need gradients when an input does.
  bool requires_grad() const;
  Tensor& set_requires_grad(bool requires_grad);
  /// Gradient of a leaf after backward(); undefined before it and after clear_grad().
  Tensor grad() const;
  /// Forgets the gradient's values but keeps its memory: the next backward overwrites instead of adding.
  void clear_grad();
  /// Gradients of every leaf this scalar depends on, added to what they hold; the graph is freed as it is walked.
  void backward() const;

  const std::shared_ptr<TensorImpl>& impl() const { return impl_; }
  explicit Tensor(std::shared_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<TensorImpl> impl_;
};

/// A tensor and its name in a network, in PyTorch's manner ("features.0.weight").
struct NamedTensor {
  std::string name;
  Tensor tensor;
};

}  // namespace striate
