#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace striate::test {

/// A decoded picture, for looking at figures.
struct Picture {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;

  /// Throws where the file is no whole picture.
  static Picture read(const std::filesystem::path& file);
  /// Pixels of exactly that colour, 0xRRGGBB.
  int64_t count(uint32_t colour) const;
};

}  // namespace striate::test
