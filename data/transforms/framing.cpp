#include "data/transforms/framing.h"

#include <algorithm>
#include <utility>

#include "data/transforms/channels.h"
#include "data/transforms/crop.h"
#include "data/transforms/geometry.h"
#include "kernels/error.h"

namespace striate {

bool Framing::crop(const Window& window) {
  Window& kept = resampling_.kept;
  const int left = mirrored_ ? kept.width - window.right() : window.left;
  const Window next{kept.top + window.top, kept.left + left, window.height, window.width};
  if ((next.top < kept.top && kept.top > 0) || (next.left < kept.left && kept.left > 0) ||
      (next.bottom() > kept.bottom() && kept.bottom() < resampling_.height) ||
      (next.right() > kept.right() && kept.right() < resampling_.width)) {
    return false;
  }
  kept = next;
  return true;
}

bool Framing::resizable() const { return !resampled_ && !mirrored_ && inside() == resampling_.kept; }

void Framing::resize(int height, int width) {
  if (height == this->height() && width == this->width()) return;
  require<Error>(resizable(), "framing: cannot be resized once it is resampled, mirrored or padded");
  resampling_ = {resampling_.kept, height, width, {0, 0, height, width}};
  resampled_ = true;
}

bool Framing::convert(int channels) {
  if (resampled_ || (channels_ != 0 && channels_ != channels)) return false;
  channels_ = channels;
  return true;
}

Window Framing::inside() const {
  const Window& kept = resampling_.kept;
  // A crop may lie wholly in the black: then one pixel stands for none.
  const int top = std::clamp(kept.top, 0, resampling_.height - 1);
  const int left = std::clamp(kept.left, 0, resampling_.width - 1);
  return {top, left, std::clamp(kept.bottom(), top + 1, resampling_.height) - top,
          std::clamp(kept.right(), left + 1, resampling_.width) - left};
}

int Framing::reduction() const {
  constexpr int kRest = 4;  // times that the reduced picture is shrunk at least
  const auto& [source, height, width, kept] = resampling_;
  int reduction = 1;
  while (may_reduce_ && reduction < 8 && source.height >= 2 * kRest * reduction * height &&
         source.width >= 2 * kRest * reduction * width) {
    reduction *= 2;
  }
  return reduction;
}

Part Framing::part() const {
  Resampling of_inside = resampling_;
  of_inside.kept = inside();
  const Window exact = inputs_of(of_inside);
  const int k = reduction();
  if (k == 1) return {exact};
  // Whoever does not reduce needs the one, who does the other.
  const Window reduced = inputs_of(of_inside, k);
  const int top = std::min(exact.top, k * reduced.top), left = std::min(exact.left, k * reduced.left);
  const int bottom = std::max(exact.bottom(), std::min(k * reduced.bottom(), whole_.height));
  const int right = std::max(exact.right(), std::min(k * reduced.right(), whole_.width));
  return {{top, left, bottom - top, right - left}, k};
}

bool Framing::changes_nothing() const {
  return !resampled_ && !mirrored_ && resampling_.kept == whole_ && channels_ == 0;
}

const Image& Framing::converted(const Image& from, TransformScratch& scratch) const {
  if (channels_ == 0 || channels_ == from.channels) return from;
  convert_channels(from, channels_, scratch.converted);
  return scratch.converted;
}

void Framing::make(const Image& picture, const Part& have, const Window& wanted, Image& to,
                   TransformScratch& scratch) const {
  if (!resampled_) {
    striate::crop(picture, wanted.top - have.window.top, wanted.left - have.window.left, wanted.height, wanted.width,
                  to);
    return;
  }
  Resampling of_wanted = resampling_;
  of_wanted.kept = wanted;
  resample(picture, have, of_wanted, to, scratch);
}

void Framing::apply(const Image& from, const Part& have, Image& to, TransformScratch& scratch) const {
  const Image& picture = converted(from, scratch);
  const Window& kept = resampling_.kept;
  const Window of_picture = inside();
  if (!resampled_ || of_picture == kept) {
    make(picture, have, kept, to, scratch);
  } else {
    make(picture, have, of_picture, scratch.inside, scratch);
    striate::crop(scratch.inside, kept.top - of_picture.top, kept.left - of_picture.left, kept.height, kept.width, to);
  }
  if (mirrored_) flip_horizontally(to);
}

ImagePlacement Framing::leave_to_device(Image& from, const Part& have, const Window& room, Image& to,
                                        TransformScratch& scratch) const {
  const Window& kept = resampling_.kept;
  Window there = have.window;
  const bool fits = from.height <= room.height && from.width <= room.width;
  if (!resampled_ && fits && (channels_ == 0 || channels_ == from.channels)) {
    std::swap(from, to);
  } else {
    there = inside();
    make(converted(from, scratch), have, there, to, scratch);
  }
  return {.rows = to.height,
          .columns = to.width,
          .top = kept.top - there.top,
          .left = kept.left - there.left,
          .mirrored = mirrored_ ? 1 : 0};
}

void GeometricTransform::apply(Image& image, Random& random, TransformScratch& scratch) const {
  Framing framing(image.height, image.width);
  frame(framing, random);
  if (framing.changes_nothing()) return;
  framing.apply(image, {{0, 0, image.height, image.width}}, scratch.image, scratch);
  std::swap(image, scratch.image);
}

}  // namespace striate
