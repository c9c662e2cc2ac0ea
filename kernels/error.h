#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace striate {

/// Base of every error Striate throws. A message names the op or file, what was expected, what was
/// found, and what to do.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Shapes that do not fit each other.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// A wrong configuration: an unknown key, a value of the wrong type, options that contradict each other.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// A file that is missing, damaged or cannot be written.
class IoError : public Error {
 public:
  using Error::Error;
};

/// A CUDA call that failed, or a GPU that is missing.
class CudaError : public Error {
 public:
  using Error::Error;
};

/// Throws `E` with a formatted message unless `condition` holds.
template <typename E, typename... Args>
void require(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) throw E(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace striate
