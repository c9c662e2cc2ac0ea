// A picture, JPEG, PNG, BMP or PNM: all of it, then a part. Where that part lies is taken from the input's bytes.
#include "data/image_file.h"

#include <cstring>

#include "kernels/error.h"
#include "tests/fuzz/input.h"

namespace striate::fuzz {
namespace {

/// Some place and length within `side`.
std::pair<int, int> range(uint64_t& random, int side) {
  const int begin = static_cast<int>(random % static_cast<uint64_t>(side));
  random /= 7;
  const int length = 1 + static_cast<int>(random % static_cast<uint64_t>(side - begin));
  random /= 7;
  return {begin, length};
}

Part some_part(std::string_view input, int height, int width) {
  uint64_t random = 0;
  for (const char byte : input) random = random * 0x100000001b3 + static_cast<uint8_t>(byte);
  const auto [top, rows] = range(random, height);
  const auto [left, columns] = range(random, width);
  return {{top, left, rows, columns}};
}

void check(const Image& image) {
  expect(image.height > 0 && image.width > 0 && (image.channels == 1 || image.channels == 3), "a picture of some size");
  expect(image.pixels.size() == static_cast<size_t>(image.height) * image.row_bytes(), "all of its pixels");
}

}  // namespace

void read_input(std::string_view input) {
  static Image whole, part;  // their memory is reused, as in the loader
  const std::span<const uint8_t> bytes{reinterpret_cast<const uint8_t*>(input.data()), input.size()};
  Window wanted;
  const auto choose = [&](int height, int width) {
    expect(height > 0 && width > 0, "a size to choose a part of");
    const Part chosen = some_part(input, height, width);
    wanted = chosen.window;
    return chosen;
  };
  const Window held = decode_image_part(bytes, "picture", choose, part).window;
  check(part);
  expect(held.top <= wanted.top && held.left <= wanted.left && held.bottom() >= wanted.bottom() &&
             held.right() >= wanted.right() && part.height == held.height && part.width == held.width,
         "the part that was asked for, or more");

  decode_image(bytes, "picture", whole);
  check(whole);
  expect(held.bottom() <= whole.height && held.right() <= whole.width, "a part of the whole");
}

}  // namespace striate::fuzz
