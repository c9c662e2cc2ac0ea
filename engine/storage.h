#pragma once

#include <cstddef>
#include <memory>

#include "engine/device.h"
#include "engine/tensor.h"

namespace striate {

struct ArrivingUpdate;
struct Recipe;

/// Bytes of a device; given back to its allocator at the end.
class Storage {
 public:
  Storage(size_t bytes, Device device);
  /// Somebody else's, who keeps them.
  Storage(void* data, size_t bytes, Device device) : data_(data), bytes_(bytes), device_(device), is_own_(false) {}
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  /// For writing: a rounded copy of the values is out of date from now on.
  void* data() {
    if (rounded) rounded_is_current = false;
    return data_;
  }
  const void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  /// Left by an optimizer for one step; null otherwise.
  std::shared_ptr<ArrivingUpdate> arriving_update;
  /// Values of float32 as bfloat16, and whether they still are these values (rounded_copy.h); null until a product
  /// asked for them.
  std::shared_ptr<Storage> rounded;
  bool rounded_is_current = false;

 private:
  void* data_;
  size_t bytes_;
  Device device_;
  bool is_own_ = true;
};

/// What a Tensor is a handle to.
struct TensorImpl {
  TensorImpl() = default;
  ~TensorImpl();
  TensorImpl(const TensorImpl&) = delete;
  TensorImpl& operator=(const TensorImpl&) = delete;

  Shape shape;
  DType dtype = DType::float32;
  std::shared_ptr<Storage> storage;
  bool requires_grad = false;  ///< a leaf that wants a gradient
  Tensor grad;                 ///< memory of a leaf's gradient, kept from step to step
  bool has_grad = false;       ///< whether `grad` holds values
  std::shared_ptr<Node> grad_fn;
  std::shared_ptr<Recipe> recipe;  ///< how the values can be made again (saved.h); null: they are kept where needed
};

}  // namespace striate
