#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "tests/data/dataset_files.h"

namespace striate::test {

/// A file and what Pillow 13 makes of it: Image.open(file).convert("RGB").
struct PillowPicture {
  std::string name;
  int height, width;
  Bytes file, rgb;
  friend std::ostream& operator<<(std::ostream& out, const PillowPicture& picture) { return out << picture.name; }
};

/// Small pictures of every kind that training sets hold. YCCK is written by libjpeg, PNG and PNM by hand, the rest by
/// Pillow.
const std::vector<PillowPicture>& pillow_pictures();

}  // namespace striate::test
