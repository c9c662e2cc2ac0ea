#pragma once

namespace striate {

/// What every exception for used-up memory is besides an error of its device, so that who can go on with less may tell
/// it from other failures.
struct OutOfMemory {
  virtual ~OutOfMemory() = default;
};

template <typename E>
struct OutOfMemoryError : E, OutOfMemory {
  using E::E;
};

}  // namespace striate
