#include "data/pnm.h"

#include <algorithm>

#include "kernels/error.h"

namespace striate {
namespace {

class Header {
 public:
  Header(std::span<const uint8_t> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  /// The next number, behind white space and comments.
  int64_t number(const char* what, int64_t most) {
    while (place_ < bytes_.size() && (is_space(bytes_[place_]) || bytes_[place_] == '#')) {
      if (bytes_[place_] == '#') {
        while (place_ < bytes_.size() && bytes_[place_] != '\n') ++place_;
      } else {
        ++place_;
      }
    }
    const size_t begin = place_;
    int64_t value = 0;
    for (; place_ < bytes_.size() && bytes_[place_] >= '0' && bytes_[place_] <= '9' && value <= most; ++place_) {
      value = 10 * value + (bytes_[place_] - '0');
    }
    require<IoError>(place_ > begin && value >= 1 && value <= most, "{}: broken picture: expected {} from 1 to {}",
                     name_, what, most);
    return value;
  }
  /// What stands behind the one character that ends the header.
  std::span<const uint8_t> rest() {
    require<IoError>(place_ < bytes_.size() && is_space(bytes_[place_]), "{}: broken picture: its header does not end",
                     name_);
    return bytes_.subspan(place_ + 1);
  }

 private:
  static bool is_space(uint8_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

  std::span<const uint8_t> bytes_;
  const std::string& name_;
  size_t place_ = 2;  // behind P5 or P6
};

}  // namespace

void decode_pnm(std::span<const uint8_t> bytes, const std::string& name, Image& image) {
  require<IoError>(bytes.size() > 2 && bytes[0] == 'P' && (bytes[1] == '5' || bytes[1] == '6'),
                   "{}: expected a binary PGM or PPM", name);
  Header header(bytes, name);
  const int64_t width = header.number("a width", kMostPixels);
  const int64_t height = header.number("a height", kMostPixels);
  const auto levels = static_cast<uint32_t>(header.number("a number of levels", 65535));
  require<IoError>(width * height <= kMostPixels, "{}: {}×{} pixels; expected 1 to {} pixels", name, height, width,
                   kMostPixels);
  const auto values = header.rest();
  const int channels = bytes[1] == '5' ? 1 : 3;
  const auto count = static_cast<size_t>(width * height * channels);
  const size_t each = levels > 255 ? 2 : 1;
  require<IoError>(values.size() >= count * each,
                   "{}: broken picture: expected {} bytes of pixels, found {}; it is cut short", name, count * each,
                   values.size());
  image.reshape(static_cast<int>(height), static_cast<int>(width), channels);
  if (levels == 255) {
    std::copy_n(values.begin(), count, image.pixels.begin());
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const uint32_t value = each == 1 ? values[i] : static_cast<uint32_t>(values[2 * i] << 8 | values[2 * i + 1]);
    image.pixels[i] = static_cast<uint8_t>((2 * 255 * std::min(value, levels) + levels) / (2 * levels));
  }
}

}  // namespace striate
