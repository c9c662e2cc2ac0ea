#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "data/image.h"

namespace striate {

/// A pass over the pictures of a dataset that `indices` names.
struct PictureWalk {
  std::span<const int64_t> indices;
  int threads = 1;
  bool skip_broken = false;  ///< leaves out pictures that cannot be read
  /// What a pass that takes long is for, and who is told every few seconds how far it is.
  std::string purpose{};
  std::function<void(const std::string&)> notice{};

  int parts() const { return threads > 1 ? threads : 1; }
};

/// Calls `visit` for every picture, on several threads, with memory to load it into. The indices are cut into
/// walk.parts() runs; those of a part come one after another, so that `visit` may keep sums a part without a lock.
/// IoErrors that it throws pass, unless walk.skip_broken.
void walk_pictures(const PictureWalk& walk,
                   const std::function<void(int64_t part, int64_t index, Image& memory)>& visit);

}  // namespace striate
