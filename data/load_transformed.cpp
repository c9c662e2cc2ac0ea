#include "data/load_transformed.h"

#include <utility>

#include "data/transforms/channels.h"
#include "data/transforms/framing.h"
#include "kernels/error.h"

namespace striate {
namespace {

/// The part of a picture that its leading transforms leave.
struct Framed {
  Framing framing{0, 0};
  size_t transforms = 0;  ///< that the framing stands for
  Part have;
};

/// Reads into memory of its own, which keeps its size: a vector that grows is filled with zeros.
Framed load_framed(const Dataset& dataset, int64_t index, const Pipeline& transforms, uint64_t seed, int64_t epoch,
                   TransformScratch& scratch, bool may_reduce) {
  Framed framed;
  const auto choose = [&](int height, int width) {
    framed.framing = Framing(height, width);
    if (may_reduce) framed.framing.allow_reduction();
    framed.transforms = transforms.frame(framed.framing, seed, epoch, index);
    return framed.framing.part();
  };
  framed.have = dataset.load_part(index, epoch, choose, scratch.loaded);
  return framed;
}

void apply(const Framed& framed, Image& image, TransformScratch& scratch) {
  if (framed.framing.changes_nothing()) {
    std::swap(image, scratch.loaded);
  } else {
    framed.framing.apply(scratch.loaded, framed.have, image, scratch);
  }
}

template <typename Load>
void naming_the_picture(const Dataset& dataset, int64_t index, Load&& load) {
  try {
    load();
  } catch (const ShapeError& error) {
    throw ShapeError(fmt::format("{}: {}", dataset.describe(index), error.what()));
  }
}

}  // namespace

void load_transformed(const Dataset& dataset, int64_t index, const Pipeline& transforms, uint64_t seed, int64_t epoch,
                      Image& image, TransformScratch& scratch, bool may_reduce) {
  naming_the_picture(dataset, index, [&] {
    const Framed framed = load_framed(dataset, index, transforms, seed, epoch, scratch, may_reduce);
    apply(framed, image, scratch);
    transforms.apply(image, seed, epoch, index, scratch, framed.transforms);
  });
}

DeviceShare device_share(const Pipeline& transforms) {
  const auto& all = transforms.transforms();
  DeviceShare share;
  share.levels = all.size();
  while (share.levels > 0) {
    const auto* levels = dynamic_cast<const LevelTransform*>(all[share.levels - 1].get());
    if (levels == nullptr || share.steps + levels->most_steps() > ImageBatchShape::kMostSteps ||
        (share.has_contrast && levels->has_contrast())) {
      break;
    }
    share.steps += levels->most_steps();
    share.has_contrast = share.has_contrast || levels->has_contrast();
    --share.levels;
  }
  const auto is_geometric = [](const Transform* transform) {
    return dynamic_cast<const GeometricTransform*>(transform) != nullptr ||
           dynamic_cast<const ConvertChannels*>(transform) != nullptr;
  };
  share.geometry = share.levels;
  while (share.geometry > 0 && is_geometric(all[share.geometry - 1].get())) --share.geometry;
  return share;
}

void load_for_device(const Dataset& dataset, int64_t index, const Pipeline& transforms, const DeviceShare& share,
                     uint64_t seed, int64_t epoch, const Window& room, DevicePicture& picture, LevelPlan& plan,
                     TransformScratch& scratch, bool may_reduce) {
  naming_the_picture(dataset, index, [&] {
    Framed framed = load_framed(dataset, index, transforms, seed, epoch, scratch, may_reduce);
    if (framed.transforms < share.levels) {
      // Something between takes the pixels. What frames come after it begin anew.
      apply(framed, picture.image, scratch);
      size_t position = framed.transforms;
      if (position < share.geometry) {
        transforms.apply(picture.image, seed, epoch, index, scratch, position, share.geometry);
        position = share.geometry;
      }
      const auto whole = [&] { return Framing(picture.image.height, picture.image.width); };
      framed.framing = whole();
      if (transforms.frame(framed.framing, seed, epoch, index, position) < share.levels) {
        transforms.apply(picture.image, seed, epoch, index, scratch, position, share.levels);
        framed.framing = whole();
      }
      framed.have = whole_picture(picture.image.height, picture.image.width);
      std::swap(scratch.loaded, picture.image);
    }
    picture.placement = framed.framing.leave_to_device(scratch.loaded, framed.have, room, picture.image, scratch);
    picture.seen = {framed.framing.height(), framed.framing.width(), picture.image.channels};
    const auto& all = transforms.transforms();
    for (size_t position = share.levels; position < all.size(); ++position) {
      Random random = Pipeline::draws(seed, epoch, index, position);
      static_cast<const LevelTransform&>(*all[position]).plan(picture.seen, random, plan);
    }
    picture.placement.steps = plan.size();
  });
}

}  // namespace striate
