#pragma once

#include "data/dataset.h"
#include "data/transforms/level_transform.h"
#include "data/transforms/transform.h"

namespace striate {

/// A picture of an epoch as its transforms leave it: load_in_epoch() and Pipeline::apply(), bit for bit, but what the
/// leading crops, resizes and flips cut away is neither decoded nor computed. With `may_reduce` a picture that is
/// shrunk much may be decoded smaller, and then is not the same bit for bit: Framing::allow_reduction(). Throws IoError
/// if the picture cannot be read, ShapeError that names it if the transforms cannot take it.
void load_transformed(const Dataset& dataset, int64_t index, const Pipeline& transforms, uint64_t seed, int64_t epoch,
                      Image& image, TransformScratch& scratch, bool may_reduce = false);

/// What of a pipeline a device does, by kernels/image_batch: the LevelTransforms at its end, as many as there is room
/// for, and before them the last crops and flips, of which only windows are left. The rest is done on the host.
struct DeviceShare {
  size_t geometry = 0;        ///< where the crops, resizes and flips before the levels begin
  size_t levels = 0;          ///< where the levels begin
  int steps = 0;              ///< of one picture at most
  bool has_contrast = false;  ///< whether one of them may be contrast
};
DeviceShare device_share(const Pipeline& transforms);

/// A picture as it goes to a device.
struct DevicePicture {
  Image image;
  ImagePlacement placement;  ///< in a slot whose upper left is the image
  PictureSize seen;          ///< after all transforms
};

/// load_transformed() up to the device's share, of which it makes a plan with the draws of load_transformed(): the same
/// bits in the end. A picture is sent whole where it fits into `room`, else what is seen of it, never more than that.
void load_for_device(const Dataset& dataset, int64_t index, const Pipeline& transforms, const DeviceShare& share,
                     uint64_t seed, int64_t epoch, const Window& room, DevicePicture& picture, LevelPlan& plan,
                     TransformScratch& scratch, bool may_reduce = false);

}  // namespace striate
