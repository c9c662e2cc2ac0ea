// A picture: JPEG, PNG, BMP or PNM.
#include "data/image_file.h"

#include "tests/fuzz/input.h"

namespace striate::fuzz {

void read_input(std::string_view input) {
  static Image image;  // its memory is reused, as in the loader
  decode_image({reinterpret_cast<const uint8_t*>(input.data()), input.size()}, "picture", image);
  expect(image.height > 0 && image.width > 0 && (image.channels == 1 || image.channels == 3), "a picture of some size");
  const size_t row = static_cast<size_t>(image.width) * static_cast<size_t>(image.channels);
  expect(image.pixels.size() == static_cast<size_t>(image.height) * row, "all of its pixels");
}

}  // namespace striate::fuzz
