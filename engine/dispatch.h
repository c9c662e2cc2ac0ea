#pragma once

#include "engine/device.h"

/// Calls `function(arguments…)` of the namespace that belongs to the device: the one place where a backend is chosen.
#define STRIATE_DISPATCH(device, function, ...)      \
  do {                                               \
    switch (device) {                                \
      case ::striate::Device::reference:             \
        ::striate::reference::function(__VA_ARGS__); \
        break;                                       \
      case ::striate::Device::cpu:                   \
        ::striate::cpu::function(__VA_ARGS__);       \
        break;                                       \
      case ::striate::Device::cuda:                  \
        ::striate::cuda::function(__VA_ARGS__);      \
        break;                                       \
    }                                                \
  } while (false)
