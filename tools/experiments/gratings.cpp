#include "tools/experiments/gratings.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <complex>
#include <numbers>
#include <set>
#include <string_view>
#include <utility>

#include "kernels/error.h"

namespace striate {
namespace {

constexpr int64_t kCourseWidth = 224;
constexpr double kLowest = 5.5, kEnd = 110.0;
constexpr int kFrequencies = 8;

/// linspace(5.5, 110, 9)[:-1].
std::vector<double> course_frequencies() {
  std::vector<double> frequencies;
  for (int i = 0; i < kFrequencies; ++i) frequencies.push_back(kLowest + i * (kEnd - kLowest) / kFrequencies);
  return frequencies;
}

/// With one decimal, or as many more as keep the values apart.
std::vector<std::string> decimal_texts(const std::vector<double>& values) {
  std::vector<std::string> texts;
  for (int decimals = 1; decimals <= 6; ++decimals) {
    texts.clear();
    for (const double value : values) texts.push_back(fmt::format("{:.{}f}", value, decimals));
    if (std::set<std::string>(texts.begin(), texts.end()).size() == values.size()) break;
  }
  return texts;
}

/// cos and sin of offset + step·i.
void turn(double offset, double step, int64_t count, std::vector<double>& cosine, std::vector<double>& sine) {
  cosine.resize(static_cast<size_t>(count));
  sine.resize(static_cast<size_t>(count));
  for (size_t i = 0; i < cosine.size(); ++i) {
    const double angle = offset + step * static_cast<double>(i);
    cosine[i] = std::cos(angle);
    sine[i] = std::sin(angle);
  }
}

/// Takes `text` off the front; false where it does not stand there.
bool skip(std::string_view& rest, std::string_view text) {
  if (!rest.starts_with(text)) return false;
  rest.remove_prefix(text.size());
  return true;
}

/// Takes digits and points off the front: a number, or nothing.
std::optional<double> take_number(std::string_view& rest) {
  const std::string_view text = rest.substr(0, rest.find_first_not_of("0123456789."));
  rest.remove_prefix(text.size());
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string to_string(GratingColour colour) { return colour == GratingColour::black_white ? "bw" : "rc"; }

int64_t GratingGrid::size() const {
  return static_cast<int64_t>(orientations_deg.size() * cycles_per_image.size() * phases_rad.size() * colours.size());
}

Grating GratingGrid::at(int64_t index) const {
  auto rest = static_cast<size_t>(index);
  const auto next = [&](const auto& values) {
    const auto value = values[rest % values.size()];
    rest /= values.size();
    return value;
  };
  Grating grating;
  grating.colour = next(colours);
  grating.phase_rad = next(phases_rad);
  grating.cycles_per_image = next(cycles_per_image);
  grating.orientation_deg = next(orientations_deg);
  return grating;
}

bool GratingGrid::uneven() const {
  std::complex<double> sum = 0.0;
  for (const double degrees : orientations_deg) sum += std::polar(1.0, degrees * std::numbers::pi / 90.0);
  // Names of files have a decimal: their orientations are off by up to 0.05°.
  return std::abs(sum) > 0.005 * static_cast<double>(orientations_deg.size());
}

void check_grid(const GratingGrid& grid, const std::string& what) {
  require<ConfigError>(grid.orientations_deg.size() >= 3,
                       "{}: {} orientation{}; at least 3 are needed to tell what a unit prefers", what,
                       grid.orientations_deg.size(), grid.orientations_deg.size() == 1 ? "" : "s");
  require<ConfigError>(!grid.cycles_per_image.empty() && !grid.phases_rad.empty() && !grid.colours.empty(),
                       "{}: at least one spatial frequency, one phase and one colour are needed", what);
  for (const auto* values : {&grid.orientations_deg, &grid.cycles_per_image, &grid.phases_rad}) {
    for (const double value : *values) {
      require<ConfigError>(std::isfinite(value), "{}: {} is not a value for a grating", what, value);
    }
    const std::set<double> distinct(values->begin(), values->end());
    require<ConfigError>(distinct.size() == values->size(), "{}: a value is given twice", what);
  }
  for (const double frequency : grid.cycles_per_image) {
    require<ConfigError>(frequency > 0.0, "{}: a spatial frequency of {} cycles/image; it must be positive", what,
                         frequency);
  }
}

std::vector<double> even_orientations(int64_t count) {
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i) values.push_back(180.0 * static_cast<double>(i) / static_cast<double>(count));
  return values;
}

std::vector<double> even_phases(int64_t count) {
  std::vector<double> values;
  for (int64_t i = 0; i < count; ++i) {
    values.push_back(2.0 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(count));
  }
  return values;
}

bool course_frequencies_fit(int64_t width) { return 2.0 * course_frequencies().back() <= static_cast<double>(width); }

GratingGrid course_grid(int64_t width, int64_t channels) {
  GratingGrid grid{even_orientations(8), course_frequencies(), even_phases(5), {GratingColour::black_white}};
  if (channels != 1) grid.colours.push_back(GratingColour::red_cyan);
  if (!course_frequencies_fit(width)) {
    for (double& f : grid.cycles_per_image) f *= static_cast<double>(width) / static_cast<double>(kCourseWidth);
  }
  return grid;
}

std::vector<std::string> grating_names(const GratingGrid& grid) {
  const std::vector<std::string> orientations = decimal_texts(grid.orientations_deg),
                                 frequencies = decimal_texts(grid.cycles_per_image),
                                 phases = decimal_texts(grid.phases_rad);
  std::vector<std::string> names;
  for (const std::string& orientation : orientations) {
    for (const std::string& frequency : frequencies) {
      for (const std::string& phase : phases) {
        for (const GratingColour colour : grid.colours) {
          names.push_back(
              fmt::format("fullfield_{}deg_{}sf_{}phase_{}.jpg", orientation, frequency, phase, to_string(colour)));
        }
      }
    }
  }
  return names;
}

std::optional<GratingName> parse_grating_name(const std::string& name) {
  std::string lower = name;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::string_view rest = lower;
  if (!rest.ends_with(".jpg") && !rest.ends_with(".jpeg")) return std::nullopt;
  rest = rest.substr(0, rest.rfind('.'));
  if (!skip(rest, "fullfield_")) return std::nullopt;
  const std::optional<double> orientation = take_number(rest);
  if (!orientation || !skip(rest, "deg_")) return std::nullopt;
  const std::optional<double> frequency = take_number(rest);
  if (!frequency || !skip(rest, "sf_")) return std::nullopt;

  GratingName parsed{*orientation, *frequency, {}, {}};
  while (!rest.empty()) {
    std::string_view field = rest.substr(0, rest.find('_'));
    rest.remove_prefix(std::min(rest.size(), field.size() + 1));
    if (rest.empty() && (field == "bw" || field == "rc")) {
      parsed.colour = field == "rc" ? GratingColour::red_cyan : GratingColour::black_white;
    }
    if (!field.ends_with("phase")) continue;
    const std::optional<double> phase = take_number(field);
    if (!phase || field != "phase") return std::nullopt;
    parsed.phase_rad = phase;
  }
  return parsed;
}

void draw_grating(const Grating& grating, int64_t height, int64_t width, int64_t channels, float* pixels) {
  require<ConfigError>(channels == 1 || (channels == 3),
                       "gratings: the network's input has {} channels; gratings have 1 (luminance) or 3 (RGB)",
                       channels);
  const double theta = grating.orientation_deg * std::numbers::pi / 180.0;
  const double step = 2.0 * std::numbers::pi * grating.cycles_per_image / static_cast<double>(width);
  // cos(a + b) from the parts along x and along y: sines for a row and a column instead of for every pixel.
  std::vector<double> cos_x, sin_x, cos_y, sin_y;
  turn(grating.phase_rad, step * std::cos(theta), width, cos_x, sin_x);
  turn(0.0, -step * std::sin(theta), height, cos_y, sin_y);
  const bool red_cyan = grating.colour == GratingColour::red_cyan;
  for (size_t y = 0; y < cos_y.size(); ++y) {
    for (size_t x = 0; x < cos_x.size(); ++x) {
      const double wave = cos_x[x] * cos_y[y] - sin_x[x] * sin_y[y];
      const auto g = static_cast<float>(0.5 + 0.5 * wave);
      *pixels++ = g;
      for (int64_t c = 1; c < channels; ++c) *pixels++ = red_cyan ? 1.0f - g : g;
    }
  }
}

GratingPictures drawn_gratings(GratingGrid grid, int64_t height, int64_t width, int64_t channels) {
  GratingPictures pictures{std::move(grid), {}};
  pictures.draw = [grid = pictures.grid, height, width, channels](int64_t index, float* pixels) {
    draw_grating(grid.at(index), height, width, channels, pixels);
  };
  return pictures;
}

}  // namespace striate
