#pragma once

#include "engine/device.h"
#include "engine/profiler.h"
#include "engine/tensor.h"
#include "kernels/bfloat16.h"

namespace striate {

[[noreturn]] void throw_no_activations(const Tensor& t);
[[noreturn]] void throw_not_of_library(const char* function);

/// Calls `body`, a generic lambda `[&]<typename T>(T)`, with the type of the values that an op computes on: the one
/// place where kernels of float and of bfloat16 part. Throws ShapeError for a tensor of any other type.
template <typename Body>
void in_type_of(const Tensor& t, Body&& body) {
  switch (t.dtype()) {
    case DType::float32:
      return body(float{});
    case DType::bfloat16:
      return body(bfloat16{});
    default:
      throw_no_activations(t);
  }
}

}  // namespace striate

/// Calls `function(arguments…)` of the namespace that belongs to the device: the one place where a backend is chosen.
#define STRIATE_DISPATCH(device, function, ...)                                                      \
  do {                                                                                               \
    const ::striate::KernelTimer striate_kernel_timer(device, #function __VA_OPT__(, ) __VA_ARGS__); \
    switch (device) {                                                                                \
      case ::striate::Device::reference:                                                             \
        ::striate::reference::function(__VA_ARGS__);                                                 \
        break;                                                                                       \
      case ::striate::Device::cpu:                                                                   \
        ::striate::cpu::function(__VA_ARGS__);                                                       \
        break;                                                                                       \
      case ::striate::Device::cuda:                                                                  \
        ::striate::cuda::function(__VA_ARGS__);                                                      \
        break;                                                                                       \
    }                                                                                                \
  } while (false)

/// The same, or of `library`, the namespace of a vendor's fallback for device cuda, where an op was asked for that. In
/// a body of in_type_of(): a library may lack one of the types, which throws ConfigError.
#define STRIATE_DISPATCH_OR(library, kernels, device, function, ...)                                   \
  do {                                                                                                 \
    if (kernels == ::striate::ops::Kernels::vendor) {                                                  \
      const ::striate::KernelTimer striate_kernel_timer(device, #library "::" #function, __VA_ARGS__); \
      if constexpr (requires { ::striate::library::function(__VA_ARGS__); }) {                         \
        ::striate::library::function(__VA_ARGS__);                                                     \
      } else {                                                                                         \
        ::striate::throw_not_of_library(#library "::" #function);                                      \
      }                                                                                                \
    } else {                                                                                           \
      STRIATE_DISPATCH(device, function, __VA_ARGS__);                                                 \
    }                                                                                                  \
  } while (false)
