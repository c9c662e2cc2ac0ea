#include "tools/experiments/text_width.h"

#include <array>
#include <cstdint>

namespace striate {
namespace {

constexpr double kPixelsPerPoint = 96.0 / 72.0;  // of gnuplot's pngcairo
// The font's own advance widths from ' ' to '~', in hundredths of its size.
constexpr std::array<uint8_t, 95> kAdvance = {
    32, 40, 46, 84, 64, 95, 78, 27, 39,  39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 34, 34, 84, 84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79,
    60, 79, 69, 63, 61, 73, 68, 99, 69,  61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35, 63,
    63, 28, 28, 58, 28, 97, 63, 61, 63,  63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84};

}  // namespace

double text_width(const std::string& text, double points) {
  double hundredths = 0.0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80) {
      hundredths += (byte & 0xC0) == 0x80 ? 0.0 : 100.0;  // once a character, not once a byte
    } else if (byte >= ' ' && byte <= '~') {
      hundredths += kAdvance[byte - ' '];
    }
  }
  return 0.01 * hundredths * points * kPixelsPerPoint;
}

}  // namespace striate
