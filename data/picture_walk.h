#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "data/dataset.h"

namespace striate {

/// Shows every picture of a dataset that `indices` names to `visit`, which may change it, on several threads. The
/// indices are cut into walk_parts(threads) runs; what a part sees comes one after another, so that `visit` may keep
/// sums a part without a lock. Broken pictures are left out if `skip_broken`, else the first one's IoError is thrown.
void walk_pictures(const Dataset& dataset, std::span<const int64_t> indices, int threads, bool skip_broken,
                   const std::function<void(int64_t part, int64_t index, Image& image)>& visit);
int walk_parts(int threads);

}  // namespace striate
