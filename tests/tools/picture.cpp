#include "tests/tools/picture.h"

#include "data/image_file.h"

namespace striate::test {

Picture Picture::read(const std::filesystem::path& file) {
  Image image = read_image(file);
  return {image.width, image.height, std::move(image.pixels)};
}

int64_t Picture::count(uint32_t colour) const {
  int64_t found = 0;
  for (size_t i = 0; i + 2 < rgb.size(); i += 3) {
    found += (uint32_t{rgb[i]} << 16 | uint32_t{rgb[i + 1]} << 8 | rgb[i + 2]) == colour;
  }
  return found;
}

}  // namespace striate::test
