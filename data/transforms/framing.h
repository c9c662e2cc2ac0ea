#pragma once

#include "data/part.h"
#include "data/transforms/resample.h"
#include "data/transforms/transform.h"
#include "kernels/image_batch/image_batch.h"

namespace striate {

/// What is seen of a picture: a window of it is resampled to another size, and of that a window is kept, which may
/// reach beyond it into black; it may be mirrored. Crops, resizes and flips only change numbers here, before a picture
/// is decoded: pixels that are cut away are never computed, and where a dataset can help it never decoded. What is kept
/// equals bit for bit what the steps one after the other make of the whole picture.
class Framing {
 public:
  /// The whole of a picture.
  Framing(int height, int width) : whole_{0, 0, height, width}, resampling_{whole_, height, width, whole_} {}

  // Of what is seen.
  int height() const { return resampling_.kept.height; }
  int width() const { return resampling_.kept.width; }

  /// Narrows it to a window of what is seen, or widens it with black. False, and nothing is changed, if there would be
  /// black between pixels that are kept and pixels that were cut away.
  bool crop(const Window& window);
  void mirror() { mirrored_ = !mirrored_; }
  /// Whether resize() can be expressed: pixels are resampled once, and before they are mirrored or padded.
  bool resizable() const;
  void resize(int height, int width);
  /// Gives the picture other channels. False if it would have to be after it was resampled: grey values of resampled
  /// pixels are not resampled grey values.
  bool convert(int channels);

  /// Lets a JPEG be decoded at a half, a quarter or an eighth of its size where the picture is shrunk four times as
  /// much on both axes: the filter still reaches over eight pixels of what is decoded. What is kept then differs a
  /// little from what the whole picture gives: on 31 photographs, and crops of them, shrunk to 32 to 256 pixels, by
  /// 0.16 of the 256 levels on average (0.44 on the worst) and by 12 levels at most.
  void allow_reduction() { may_reduce_ = true; }
  /// The pixels of the picture that are needed.
  Part part() const;
  /// Whether all of the picture is seen as it is.
  bool changes_nothing() const;
  /// Makes what is seen from a picture of which `have` is there, part() at least. `to` must not be `from`.
  void apply(const Image& from, const Part& have, Image& to, TransformScratch& scratch) const;
  /// The same up to what a device does: `to` becomes what of the picture is seen, or all of `from` where that has no
  /// more pixels than `room` and is not resampled; then where the window that is seen lies in it, and whether it is
  /// mirrored. Black is left to the device. `from` is used up.
  ImagePlacement leave_to_device(Image& from, const Part& have, const Window& room, Image& to,
                                 TransformScratch& scratch) const;

 private:
  /// The picture in the channels that are wanted.
  const Image& converted(const Image& from, TransformScratch& scratch) const;
  /// Makes a window of what is kept of the picture itself.
  void make(const Image& picture, const Part& have, const Window& wanted, Image& to, TransformScratch& scratch) const;
  /// What is kept of the resampled picture itself.
  Window inside() const;
  int reduction() const;

  Window whole_;
  Resampling resampling_;
  bool resampled_ = false, mirrored_ = false, may_reduce_ = false;
  int channels_ = 0;  // 0: the picture's
};

/// A transform that needs sizes only. It is written once, as what it does to a framing.
class GeometricTransform : public Transform {
 public:
  void apply(Image& image, Random& random, TransformScratch& scratch) const final;
};

}  // namespace striate
