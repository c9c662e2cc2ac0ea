#pragma once

#include "engine/device.h"
#include "engine/profiler.h"

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

/// The same, or of `library`, the namespace of a vendor's fallback for device cuda, where an op was asked for that.
#define STRIATE_DISPATCH_OR(library, kernels, device, function, ...)                                   \
  do {                                                                                                 \
    if (kernels == ::striate::ops::Kernels::vendor) {                                                  \
      const ::striate::KernelTimer striate_kernel_timer(device, #library "::" #function, __VA_ARGS__); \
      ::striate::library::function(__VA_ARGS__);                                                       \
    } else {                                                                                           \
      STRIATE_DISPATCH(device, function, __VA_ARGS__);                                                 \
    }                                                                                                  \
  } while (false)
