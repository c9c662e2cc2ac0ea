#pragma once

#include <optional>
#include <vector>

#include "data/image.h"
#include "data/mean_image.h"
#include "data/normalization.h"
#include "kernels/image_batch/image_batch.h"

namespace striate {

/// Turns 8-bit pixels into what the network sees: the values of Normalization::table(), bit for bit, or what its
/// mean image leaves.
class PixelNormalizer {
 public:
  explicit PixelNormalizer(const Normalization& normalization);
  /// The image has as many channels as the normalization. `streamed`: written past the caches, for outputs too large
  /// to stay in them.
  void apply(const Image& image, bool streamed, float* out) const;
  /// Whether it scales pixels, which takes half as long as to look them up: nearly always.
  bool scales() const { return scales_; }
  /// The same for kernels/image_batch; its pointers are to memory of this.
  PixelScaling scaling() const;

 private:
  std::optional<MeanImageSubtraction> mean_image_;
  std::vector<float> table_;
  // level·scale + shift in double precision gives the table; it is used where it does so for all levels.
  std::vector<double> scale_, shift_;
  bool scales_ = false;
};

}  // namespace striate
