#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/image.h"
#include "engine/random.h"

namespace striate {

class Framing;

/// Outputs [begin, end) of the stretch [origin, origin + length) of `in` pixels that is resampled to `out`. A stretch
/// of a reduced picture need not begin and end with a pixel.
struct ResizeSpan {
  double origin = 0.0, length = 0.0;
  int in = 0, out = 0, begin = 0, end = 0;
  bool operator==(const ResizeSpan&) const = default;
};

/// Weights of a resize along one axis; made anew when the sizes change.
struct ResizeAxis {
  ResizeSpan span;
  int taps = 0;              // weights that each output has room for
  std::vector<int> first;    // first input of each output, from the first input of all of them on
  std::vector<int> count;    // inputs of each output
  std::vector<int> weights;  // [end − begin, taps], fixed point with 22 fractional bits
};

/// What a worker needs to transform pictures without allocating.
struct TransformScratch {
  Image loaded;             // a picture, or the part of it that is needed, as it was read
  Image image;              // where a transform writes its result before it swaps it in
  Image intermediate;       // between the two passes of a resize
  Image converted, inside;  // a framing's: the picture in the channels wanted, and what is not black
  ResizeAxis horizontal, vertical;
  std::array<std::vector<float>, 3> planes;  // of a local mean: the picture, its mean, and between the two passes
};

/// A step between a decoded picture and the network. Stateless, so that all workers share one.
class Transform {
 public:
  virtual ~Transform() = default;
  /// Changes `image` in place. Every draw comes from `random`. Throws ShapeError if the picture does not fit.
  virtual void apply(Image& image, Random& random, TransformScratch& scratch) const = 0;
  /// Does the same to a framing, with the same draws: true. False, and the framing is as it was, where it takes the
  /// pixels, or more than one framing. Throws as apply() does.
  virtual bool frame(Framing& /*framing*/, Random& /*random*/) const { return false; }
};

/// Transforms in order; copies share them. The draws of the transform at a position hang on (seed, epoch, sample index,
/// position) alone.
class Pipeline {
 public:
  bool empty() const { return transforms_.empty(); }
  const Transform& last() const { return *transforms_.back(); }  ///< of a pipeline that is not empty
  Pipeline without_last() const {
    Pipeline rest = *this;
    rest.transforms_.pop_back();
    return rest;
  }
  void add(std::shared_ptr<const Transform> transform) { transforms_.push_back(std::move(transform)); }
  void add(const Pipeline& more) {
    transforms_.insert(transforms_.end(), more.transforms_.begin(), more.transforms_.end());
  }
  const std::vector<std::shared_ptr<const Transform>>& transforms() const { return transforms_; }
  /// `sample` is the picture's index in its dataset; sample < 2⁴⁰, epoch < 2²⁴. Transforms before `first` and from
  /// `end` on are left out.
  void apply(Image& image, uint64_t seed, int64_t epoch, int64_t sample, TransformScratch& scratch, size_t first = 0,
             size_t end = SIZE_MAX) const;
  /// Has transforms from `first` on do their work to a framing as far as they can. Returns where they stop.
  size_t frame(Framing& framing, uint64_t seed, int64_t epoch, int64_t sample, size_t first = 0) const;
  /// What the transform at a position draws from.
  static Random draws(uint64_t seed, int64_t epoch, int64_t sample, size_t position);

 private:
  std::vector<std::shared_ptr<const Transform>> transforms_;
};

}  // namespace striate
