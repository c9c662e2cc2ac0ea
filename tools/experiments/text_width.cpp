#include "tools/experiments/text_width.h"

#include <array>
#include <cstdint>
#include <sstream>

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

std::string fitted(const std::string& text, double points, double pixels) {
  if (text_width(text, points) <= pixels) return text;
  for (size_t comma = text.rfind(", "); comma != std::string::npos && comma > 0; comma = text.rfind(", ", comma - 1)) {
    std::string synonyms = text.substr(0, comma);
    if (text_width(synonyms, points) <= pixels) return synonyms;
  }
  std::string start = text;
  while (!start.empty()) {
    // A whole character, however many bytes it has.
    while (start.size() > 1 && (static_cast<unsigned char>(start.back()) & 0xC0) == 0x80) start.pop_back();
    start.pop_back();
    while (!start.empty() && (start.back() == ' ' || start.back() == ',')) start.pop_back();
    if (text_width(start + "…", points) <= pixels) break;
  }
  return start + "…";
}

std::vector<std::string> wrapped(const std::string& text, double points, double pixels) {
  std::vector<std::string> lines;
  std::string line;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const std::string longer = line.empty() ? word : line + " " + word;
    if (!line.empty() && text_width(longer, points) > pixels) {
      lines.push_back(line);
      line = word;
    } else {
      line = longer;
    }
  }
  if (!line.empty()) lines.push_back(line);
  for (std::string& l : lines) l = fitted(l, points, pixels);
  return lines;
}

}  // namespace striate
