#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "data/image.h"

namespace striate {

/// Calls `visit` for every picture of a dataset that `indices` names, on several threads, with memory to load it into.
/// The indices are cut into walk_parts(threads) runs; those of a part come one after another, so that `visit` may keep
/// sums a part without a lock. Pictures that it throws an IoError of are left out if `skip_broken`.
void walk_pictures(std::span<const int64_t> indices, int threads, bool skip_broken,
                   const std::function<void(int64_t part, int64_t index, Image& memory)>& visit);
int walk_parts(int threads);

}  // namespace striate
