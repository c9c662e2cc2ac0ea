#pragma once

#include "engine/device.h"

namespace striate::test {

/// A device's precision for the guard's lifetime.
class PrecisionGuard {
 public:
  PrecisionGuard(Device device, Precision precision) : device_(device), before_(context(device).precision) {
    set_precision(device, precision);
  }
  ~PrecisionGuard() { set_precision(device_, before_); }
  PrecisionGuard(const PrecisionGuard&) = delete;
  PrecisionGuard& operator=(const PrecisionGuard&) = delete;

 private:
  Device device_;
  Precision before_;
};

}  // namespace striate::test
