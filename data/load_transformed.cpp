#include "data/load_transformed.h"

#include <utility>

#include "data/transforms/framing.h"
#include "kernels/error.h"

namespace striate {

void load_transformed(const Dataset& dataset, int64_t index, const Pipeline& transforms, uint64_t seed, int64_t epoch,
                      Image& image, TransformScratch& scratch) {
  try {
    Framing framing(0, 0);
    size_t framed = 0;
    const auto choose = [&](int height, int width) {
      framing = Framing(height, width);
      framed = transforms.frame(framing, seed, epoch, index);
      return framing.part();
    };
    const Part have = dataset.load_part(index, epoch, choose, image);
    if (!framing.changes_nothing()) {
      framing.apply(image, have, scratch.image, scratch);
      std::swap(image, scratch.image);
    }
    transforms.apply(image, seed, epoch, index, scratch, framed);
  } catch (const ShapeError& error) {
    throw ShapeError(fmt::format("{}: {}", dataset.describe(index), error.what()));
  }
}

}  // namespace striate
