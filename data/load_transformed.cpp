#include "data/load_transformed.h"

#include <utility>

#include "data/transforms/framing.h"
#include "kernels/error.h"

namespace striate {

void load_transformed(const Dataset& dataset, int64_t index, const Pipeline& transforms, uint64_t seed, int64_t epoch,
                      Image& image, TransformScratch& scratch, bool may_reduce) {
  try {
    Framing framing(0, 0);
    size_t framed = 0;
    const auto choose = [&](int height, int width) {
      framing = Framing(height, width);
      if (may_reduce) framing.allow_reduction();
      framed = transforms.frame(framing, seed, epoch, index);
      return framing.part();
    };
    // Read into memory of its own, which keeps its size: a vector that grows is filled with zeros.
    const Part have = dataset.load_part(index, epoch, choose, scratch.loaded);
    if (framing.changes_nothing()) {
      std::swap(image, scratch.loaded);
    } else {
      framing.apply(scratch.loaded, have, image, scratch);
    }
    transforms.apply(image, seed, epoch, index, scratch, framed);
  } catch (const ShapeError& error) {
    throw ShapeError(fmt::format("{}: {}", dataset.describe(index), error.what()));
  }
}

}  // namespace striate
