#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/part.h"

namespace striate {

/// The class of a picture whose class is not known.
inline constexpr int kUnlabelled = -1;

/// Consecutive pictures 0 … length − 1, length … 2·length − 1, … that are costly to reach one by one and cheap
/// together. Whoever goes through all of them in random order should have at most `open` such runs on hand at a time.
struct PictureRuns {
  int64_t length = 1, open = 1;
};

/// Labelled pictures by index. Every const method may be called from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;

  virtual int64_t size() const = 0;
  virtual const std::vector<std::string>& class_names() const = 0;
  int classes() const { return static_cast<int>(class_names().size()); }
  /// Channels of every picture: 1 or 3.
  virtual int channels() const = 0;

  /// The class of a picture, in [0, classes()); kUnlabelled where nobody says.
  virtual int label(int64_t index) const = 0;
  /// Reads a picture into `image`, whose memory is reused. Throws IoError that names the file if it cannot be read.
  virtual void load(int64_t index, Image& image) const = 0;
  /// The picture as an epoch of training sees it: load() but for datasets that draw their pictures anew every epoch.
  virtual void load_in_epoch(int64_t index, int64_t /*epoch*/, Image& image) const { load(index, image); }
  /// The same, of which only what `choose` names, given the picture's size, must be read, where that is cheaper.
  /// Returns what `image` holds: the part that was asked for or more. What `choose` throws passes through.
  virtual Part load_part(int64_t index, int64_t epoch, const ChoosePart& choose, Image& image) const {
    load_in_epoch(index, epoch, image);
    choose(image.height, image.width);
    return whole_picture(image.height, image.width);
  }
  virtual PictureRuns runs() const { return {}; }
  /// Where a picture comes from, for messages: its file, or its number in a file of many.
  virtual std::string describe(int64_t index) const = 0;

  Image load(int64_t index) const {
    Image image;
    load(index, image);
    return image;
  }
};

/// The parts that a dataset is published in. `test` is null where it has none, `train` where only a test part was
/// fetched, `unlabelled` but where it has pictures whose classes the publisher keeps to himself, `validation` but where
/// it has labelled ones besides `test`.
struct DatasetParts {
  std::shared_ptr<const Dataset> train, test, unlabelled{}, validation{};
};

}  // namespace striate
