#pragma once

#include <string>

#include "data/transforms/framing.h"
#include "data/transforms/resample.h"

namespace striate {

/// `resize: S`: the shorter side becomes S and the other int(S·long/short), as in torchvision.
/// `resize: [H, W]`: both sides.
class Resize final : public GeometricTransform {
 public:
  explicit Resize(int shorter_side) : shorter_side_(shorter_side) {}
  Resize(int height, int width) : height_(height), width_(width) {}
  bool frame(Framing& framing, Random& random) const override;
  std::string text() const;  ///< the sides as a configuration has them: "256", "[224, 224]"

 private:
  int shorter_side_ = 0, height_ = 0, width_ = 0;
};

}  // namespace striate
