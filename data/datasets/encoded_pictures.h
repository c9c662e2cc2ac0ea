#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace striate {

/// Pictures that lie encoded (JPEG, PNG, …) in files or in archives; each is decoded when it is asked for, and is RGB.
class EncodedPictures : public Dataset {
 public:
  int channels() const final { return 3; }
  using Dataset::load;
  void load(int64_t index, Image& image) const final;
  Part load_part(int64_t index, int64_t epoch, const ChoosePart& choose, Image& image) const final;

 protected:
  /// The bytes of a picture as they lie, in `buffer` or wherever they stay while the dataset lives. Throws IoError that
  /// names what cannot be read.
  virtual std::span<const uint8_t> read(int64_t index, std::vector<uint8_t>& buffer) const = 0;
};

}  // namespace striate
