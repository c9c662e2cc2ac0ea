#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace striate {

/// Pictures of one size held in memory as they lie in their file: [N, height, width, channels].
struct PictureBlock {
  int height = 0, width = 0, channels = 0;
  std::vector<uint8_t> pixels;
  std::vector<uint8_t> labels;
  /// What `describe` calls them: "FILE, image I".
  std::string source;
};

/// A small dataset held in memory.
class MemoryDataset final : public Dataset {
 public:
  MemoryDataset(PictureBlock block, std::vector<std::string> class_names)
      : block_(std::move(block)), class_names_(std::move(class_names)) {}

  int64_t size() const override { return static_cast<int64_t>(block_.labels.size()); }
  const std::vector<std::string>& class_names() const override { return class_names_; }
  int channels() const override { return block_.channels; }
  int label(int64_t index) const override { return block_.labels[index]; }
  void load(int64_t index, Image& image) const override;
  Part load_part(int64_t index, int64_t epoch, const ChoosePart& choose, Image& image) const override;
  std::string describe(int64_t index) const override;

 private:
  PictureBlock block_;
  std::vector<std::string> class_names_;
};

}  // namespace striate
