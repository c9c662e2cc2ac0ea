#include "engine/tensor.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "engine/allocator.h"
#include "engine/autograd.h"
#include "engine/copy.h"
#include "engine/dispatch.h"
#include "engine/storage.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/error.h"

namespace striate {

Storage::Storage(size_t bytes, Device device)
    : data_(allocator(device).allocate(bytes)), bytes_(bytes), device_(device) {}

Storage::~Storage() {
  if (is_own_) allocator(device_).deallocate(data_, bytes_);
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ",")); }

int64_t element_count(const Shape& shape) {
  int64_t count = 1;
  for (int64_t size : shape) {
    require<ShapeError>(size >= 0, "tensor {}: sizes must not be negative", to_string(shape));
    require<ShapeError>(!__builtin_mul_overflow(count, size, &count), "tensor {}: too many elements", to_string(shape));
  }
  return count;
}

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::float32:
    case DType::int32:
      return 4;
    case DType::int64:
      return 8;
    case DType::uint8:
      return 1;
    case DType::bfloat16:
      return 2;
  }
  return 0;
}

std::string to_string(DType dtype) {
  switch (dtype) {
    case DType::float32:
      return "float32";
    case DType::int32:
      return "int32";
    case DType::int64:
      return "int64";
    case DType::uint8:
      return "uint8";
    case DType::bfloat16:
      return "bfloat16";
  }
  return "?";
}

namespace {
const TensorImpl& checked(const std::shared_ptr<TensorImpl>& impl) {
  require<Error>(impl != nullptr, "tensor: used before it was given values");
  return *impl;
}

template <typename T>
void require_type(const TensorImpl& t) {
  require<Error>(t.dtype == dtype_of<T>(), "tensor {}: holds {}, not {}", to_string(t.shape), to_string(t.dtype),
                 to_string(dtype_of<T>()));
}
}  // namespace

void throw_no_activations(const Tensor& t) {
  throw ShapeError(fmt::format("tensor {}: holds {}; ops compute on float32 and bfloat16", to_string(t.shape()),
                               to_string(t.dtype())));
}

void throw_not_of_library(const char* function) {
  throw ConfigError(fmt::format("{} knows no bfloat16; use own kernels, or precision fp32 or tf32", function));
}

Tensor Tensor::empty(Shape shape, DType dtype, Device device) {
  size_t bytes = 0;
  require<ShapeError>(!__builtin_mul_overflow(static_cast<size_t>(element_count(shape)), size_of(dtype), &bytes) &&
                          bytes <= static_cast<size_t>(PTRDIFF_MAX),
                      "tensor {}: too many elements", to_string(shape));
  auto impl = std::make_shared<TensorImpl>();
  impl->shape = std::move(shape);
  impl->dtype = dtype;
  impl->storage = std::make_shared<Storage>(bytes, device);
  return Tensor(std::move(impl));
}

Tensor Tensor::zeros(Shape shape, DType dtype, Device device) {
  Tensor t = empty(std::move(shape), dtype, device);
  set_bytes(t.impl_->storage->data(), device, 0, t.bytes());
  return t;
}

Tensor Tensor::full(Shape shape, float value, Device device) {
  Tensor t = empty(std::move(shape), DType::float32, device);
  t.fill(value);
  return t;
}

template <typename T>
Tensor Tensor::from(const std::vector<T>& values, Shape shape, Device device) {
  Tensor t = empty(std::move(shape), dtype_of<T>(), device);
  require<ShapeError>(static_cast<int64_t>(values.size()) == t.size(), "tensor {}: needs {} values, got {}",
                      to_string(t.shape()), t.size(), values.size());
  copy_bytes(t.data<T>(), device, values.data(), Device::cpu, t.bytes());
  return t;
}

const Shape& Tensor::shape() const { return checked(impl_).shape; }

int64_t Tensor::dim(int64_t axis) const {
  const int64_t i = axis < 0 ? axis + rank() : axis;
  require<ShapeError>(i >= 0 && i < rank(), "tensor {}: has no axis {}", to_string(shape()), axis);
  return shape()[static_cast<size_t>(i)];
}

bool Tensor::is_only_handle() const { return impl_.use_count() == 1 && checked(impl_).storage.use_count() == 1; }

int64_t Tensor::size() const { return element_count(shape()); }
size_t Tensor::bytes() const { return static_cast<size_t>(size()) * size_of(dtype()); }
DType Tensor::dtype() const { return checked(impl_).dtype; }
Device Tensor::device() const { return checked(impl_).storage->device(); }

template <typename T>
T* Tensor::data() {
  require_type<T>(checked(impl_));
  return static_cast<T*>(impl_->storage->data());
}

template <typename T>
const T* Tensor::data() const {
  require_type<T>(checked(impl_));
  return static_cast<const T*>(std::as_const(*impl_->storage).data());
}

Tensor Tensor::reshape(Shape new_shape) const {
  const TensorImpl& t = checked(impl_);
  const auto unknown = std::find(new_shape.begin(), new_shape.end(), -1);
  if (unknown != new_shape.end()) {
    *unknown = 1;
    const int64_t rest = element_count(new_shape);
    *unknown = rest > 0 ? size() / rest : 0;
  }
  require<ShapeError>(element_count(new_shape) == size(), "reshape: {} does not fit into {}", to_string(t.shape),
                      to_string(new_shape));
  auto impl = std::make_shared<TensorImpl>();
  impl->shape = std::move(new_shape);
  impl->dtype = t.dtype;
  impl->storage = t.storage;
  Tensor result(std::move(impl));
  if (any_requires_grad({*this})) {
    record("reshape", result, {*this}, [shape = t.shape](const Tensor& dy, Gradients& g) {
      g.add(0, dy.reshape(shape), g.through_relu() ? ThroughRelu::yes : ThroughRelu::no);
    });
    if (comes_out_of_relu(*this)) ends_in_relu(result);
    if (is_held(*this))
      recomputable(result, [x = Saved(*this), shape = result.shape()] { return x.get().reshape(shape); });
  }
  return result;
}

Tensor Tensor::detach() const {
  const TensorImpl& t = checked(impl_);
  auto impl = std::make_shared<TensorImpl>();
  impl->shape = t.shape;
  impl->dtype = t.dtype;
  impl->storage = t.storage;
  return Tensor(std::move(impl));
}

Tensor Tensor::clone() const {
  Tensor copy = empty(shape(), dtype(), device());
  copy.copy_from(*this);
  if (any_requires_grad({*this})) {
    record("clone", copy, {*this}, [](const Tensor& dy, Gradients& g) { g.add(0, dy); });
  }
  return copy;
}

Tensor Tensor::to(Device target) const {
  if (device() == target) return *this;
  Tensor copy = empty(shape(), dtype(), target);
  copy.copy_from(*this);
  if (any_requires_grad({*this})) {
    record("to", copy, {*this}, [source = device()](const Tensor& dy, Gradients& g) { g.add(0, dy.to(source)); });
  }
  return copy;
}

Tensor Tensor::to(DType target) const {
  if (dtype() == target) return *this;
  const bool rounds = dtype() == DType::float32 && target == DType::bfloat16;
  require<Error>(rounds || (dtype() == DType::bfloat16 && target == DType::float32),
                 "to: {} {} to {}; float32 and bfloat16 are what is converted", to_string(dtype()), to_string(shape()),
                 to_string(target));
  Tensor copy = empty(shape(), target, device());
  if (rounds) {
    STRIATE_DISPATCH(device(), float_to_bf16, data<float>(), copy.data<bfloat16>(), size(), context(device()));
  } else {
    STRIATE_DISPATCH(device(), bf16_to_float, data<bfloat16>(), copy.data<float>(), size(), context(device()));
  }
  if (any_requires_grad({*this})) {
    record("to", copy, {*this}, [source = dtype()](const Tensor& dy, Gradients& g) { g.add(0, dy.to(source)); });
  }
  return copy;
}

void Tensor::copy_from(const Tensor& source) {
  require<ShapeError>(shape() == source.shape() && dtype() == source.dtype(), "copy: {} {} into {} {}",
                      to_string(source.dtype()), to_string(source.shape()), to_string(dtype()), to_string(shape()));
  copy_bytes(impl_->storage->data(), device(), std::as_const(*source.impl_->storage).data(), source.device(), bytes());
}

void Tensor::fill(float value) {
  in_type_of(*this,
             [&]<typename T>(T) { STRIATE_DISPATCH(device(), fill, data<T>(), value, size(), context(device())); });
}

float Tensor::item() const {
  require<ShapeError>(size() == 1, "item: expected one element, found {}", to_string(shape()));
  return to_vector<float>().front();
}

template <typename T>
std::vector<T> Tensor::to_vector() const {
  if constexpr (std::is_same_v<T, float>) {
    if (dtype() == DType::bfloat16) return detach().to(DType::float32).to_vector<float>();
  }
  std::vector<T> values(static_cast<size_t>(size()));
  copy_bytes(values.data(), Device::cpu, data<T>(), device(), bytes());
  return values;
}

bool Tensor::requires_grad() const {
  const TensorImpl& t = checked(impl_);
  return t.requires_grad || t.grad_fn != nullptr;
}

Tensor& Tensor::set_requires_grad(bool requires_grad) {
  require<Error>(checked(impl_).grad_fn == nullptr, "set_requires_grad: only leaves can be marked; detach() it first");
  require<Error>(!requires_grad || dtype() == DType::float32,
                 "set_requires_grad: only float32 has gradients; mark it before to(DType::bfloat16)");
  impl_->requires_grad = requires_grad;
  return *this;
}

Tensor Tensor::grad() const { return checked(impl_).has_grad ? impl_->grad : Tensor(); }

void Tensor::clear_grad() {
  if (impl_) impl_->has_grad = false;
}

template Tensor Tensor::from(const std::vector<float>&, Shape, Device);
template Tensor Tensor::from(const std::vector<int32_t>&, Shape, Device);
template Tensor Tensor::from(const std::vector<int64_t>&, Shape, Device);
template Tensor Tensor::from(const std::vector<uint8_t>&, Shape, Device);
template Tensor Tensor::from(const std::vector<bfloat16>&, Shape, Device);
template float* Tensor::data();
template int32_t* Tensor::data();
template int64_t* Tensor::data();
template uint8_t* Tensor::data();
template bfloat16* Tensor::data();
template const float* Tensor::data() const;
template const int32_t* Tensor::data() const;
template const int64_t* Tensor::data() const;
template const uint8_t* Tensor::data() const;
template const bfloat16* Tensor::data() const;
template std::vector<float> Tensor::to_vector() const;
template std::vector<int32_t> Tensor::to_vector() const;
template std::vector<int64_t> Tensor::to_vector() const;
template std::vector<uint8_t> Tensor::to_vector() const;
template std::vector<bfloat16> Tensor::to_vector() const;

}  // namespace striate
