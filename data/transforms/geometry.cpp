#include "data/transforms/geometry.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

namespace striate {
namespace {

/// Pixels beyond the border repeat it, as in Pillow's bilinear_filter8.
void sample_bilinear(const Image& from, double x, double y, uint8_t* out) {
  x -= 0.5;
  y -= 0.5;
  const int x0 = static_cast<int>(std::floor(x)), y0 = static_cast<int>(std::floor(y));
  const double dx = x - x0, dy = y - y0;
  const auto column = [&](int i) { return std::clamp(i, 0, from.width - 1) * from.channels; };
  const uint8_t* upper = from.row(std::clamp(y0, 0, from.height - 1));
  const uint8_t* lower = from.row(std::clamp(y0 + 1, 0, from.height - 1));
  const int left = column(x0), right = column(x0 + 1);
  for (int c = 0; c < from.channels; ++c) {
    const double top = upper[left + c] + (upper[right + c] - upper[left + c]) * dx;
    const double bottom = lower[left + c] + (lower[right + c] - lower[left + c]) * dx;
    out[c] = static_cast<uint8_t>(top + (bottom - top) * dy);
  }
}

}  // namespace

void flip_horizontally(Image& image) {
  for (int y = 0; y < image.height; ++y) {
    uint8_t* row = image.row(y);
    if (image.channels == 1) {
      std::reverse(row, row + image.width);
    } else {
      for (int left = 0, right = image.width - 1; left < right; ++left, --right) {
        std::swap_ranges(row + 3 * left, row + 3 * left + 3, row + 3 * right);
      }
    }
  }
}

void map_affinely(const Image& from, const std::array<double, 6>& m, Image& to) {
  to.reshape(from.height, from.width, from.channels);
  const auto fixed = [](double value) { return static_cast<int64_t>(std::floor(value * 65536.0 + 0.5)); };
  const int64_t right_x = fixed(m[0]), right_y = fixed(m[3]), down_x = fixed(m[1]), down_y = fixed(m[4]);
  const int64_t first_x = fixed(m[2] + 0.5 * m[0] + 0.5 * m[1]), first_y = fixed(m[5] + 0.5 * m[3] + 0.5 * m[4]);
  for (int y = 0; y < to.height; ++y) {
    uint8_t* out = to.row(y);
    for (int x = 0; x < to.width; ++x, out += to.channels) {
      const int64_t source_x = (first_x + right_x * x + down_x * y) >> 16;
      const int64_t source_y = (first_y + right_y * x + down_y * y) >> 16;
      if (source_x < 0 || source_y < 0 || source_x >= from.width || source_y >= from.height) {
        std::fill_n(out, to.channels, uint8_t{0});
      } else {
        std::copy_n(from.row(static_cast<int>(source_y)) + static_cast<size_t>(source_x) * from.channels, from.channels,
                    out);
      }
    }
  }
}

void rotate(const Image& from, double degrees, bool bilinear, Image& to) {
  const double angle = degrees * std::numbers::pi / 180.0;
  const double cosine = std::cos(angle), sine = std::sin(angle);
  const double centre_x = from.width / 2.0, centre_y = from.height / 2.0;
  if (!bilinear) {
    return map_affinely(from,
                        {cosine, -sine, centre_x - cosine * centre_x + sine * centre_y, sine, cosine,
                         centre_y - sine * centre_x - cosine * centre_y},
                        to);
  }
  to.reshape(from.height, from.width, from.channels);
  for (int y = 0; y < to.height; ++y) {
    uint8_t* out = to.row(y);
    const double dy = y + 0.5 - centre_y;
    for (int x = 0; x < to.width; ++x, out += to.channels) {
      const double dx = x + 0.5 - centre_x;
      const double source_x = cosine * dx - sine * dy + centre_x, source_y = sine * dx + cosine * dy + centre_y;
      if (source_x < 0 || source_y < 0 || source_x >= from.width || source_y >= from.height) {
        std::fill_n(out, to.channels, uint8_t{0});
      } else {
        sample_bilinear(from, source_x, source_y, out);
      }
    }
  }
}

bool HorizontalFlip::frame(Framing& framing, Random& random) const {
  if (random.uniform() < probability_) framing.mirror();
  return true;
}

void Rotation::apply(Image& image, Random& random, TransformScratch& scratch) const {
  const double degrees = degrees_ * (2.0 * random.uniform() - 1.0);
  rotate(image, degrees, bilinear_, scratch.image);
  std::swap(image, scratch.image);
}

}  // namespace striate
