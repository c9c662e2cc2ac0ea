#include "kernels/error.h"
#include "kernels/image_batch/image_batch.h"

namespace striate {

std::string ImageBatchShape::to_string() const {
  return fmt::format("{} images of {}x{}x{} from {}x{}, {} steps", N, H, W, C, slot_h, slot_w, steps);
}

void ImageBatchShape::check() const {
  require<ShapeError>(N >= 0 && slot_h > 0 && slot_w > 0 && H > 0 && W > 0 && (C == 1 || C == 3),
                      "image_batch: impossible sizes: {}; expected positive ones, and 1 or 3 channels", to_string());
  require<ShapeError>(steps >= 0 && steps <= kMostSteps, "image_batch: {} steps, expected 0 to {}", steps, kMostSteps);
  require<ShapeError>(halo == 0 || halo == 1, "image_batch: {} pictures behind the others, expected 0 or 1", halo);
  require<ShapeError>(slot_size() <= INT32_MAX && image_size() <= INT32_MAX,
                      "image_batch: {}: a picture has 2^31 values or more; make it smaller", to_string());
}

}  // namespace striate
