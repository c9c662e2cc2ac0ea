#pragma once

#include "kernels/error.h"

namespace striate {

/// An image that cannot be read, to whoever does not leave such images out.
inline IoError broken_image(const IoError& error) {
  return IoError(fmt::format("{}; data.skip_broken: true leaves out images that cannot be read", error.what()));
}

}  // namespace striate
