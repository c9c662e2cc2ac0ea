#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace striate {

/// Visual angle that a whole image subtends, as the course shows it.
inline constexpr double kImageDegrees = 8.0;

enum class GratingColour { black_white, red_cyan };
std::string to_string(GratingColour colour);  ///< "bw", "rc": as in a file's name

/// A full-field sinusoid. Orientation is the direction in which it varies: 0 along x (vertical bars), counter-clockwise
/// as the picture is seen.
struct Grating {
  double orientation_deg = 0.0;
  double cycles_per_image = 0.0;  ///< over the image's width
  double phase_rad = 0.0;
  GratingColour colour = GratingColour::black_white;
};

/// Every combination of its values; the colour changes fastest, then phase, frequency, orientation.
struct GratingGrid {
  std::vector<double> orientations_deg, cycles_per_image, phases_rad;
  std::vector<GratingColour> colours;

  int64_t size() const;
  Grating at(int64_t index) const;
  /// Orientations that are not spread evenly over 180°, so that a unit without any preference would seem to have one.
  bool uneven() const;
};

/// Throws ConfigError, after `what`, for fewer than three orientations, an empty axis, values that are not finite, no
/// positive frequency.
void check_grid(const GratingGrid& grid, const std::string& what);

/// N orientations from 0 in steps of 180°/N; N phases from 0 in steps of 2π/N.
std::vector<double> even_orientations(int64_t count);
std::vector<double> even_phases(int64_t count);

/// The course's: 8 orientations × 8 frequencies (5.5 to 96.9 cycles/image) × 5 phases × 2 colours = 640 gratings. On an
/// image of fewer than two pixels a cycle those frequencies cannot be shown: they then keep their cycles per pixel at
/// 224 pixels. An input of one channel sees the luminance gratings only.
GratingGrid course_grid(int64_t width, int64_t channels);
/// Whether course_grid() takes the frequencies as they are.
bool course_frequencies_fit(int64_t width);

/// "fullfield_22.5deg_18.6sf_1.3phase_bw.jpg" for each in order: a decimal, or as many as tell the grid's values apart.
std::vector<std::string> grating_names(const GratingGrid& grid);

/// What a file's name says by the course's pattern fullfield_{deg}deg_{sf}sf_….jpg.
struct GratingName {
  double orientation_deg = 0.0, cycles_per_image = 0.0;
  std::optional<double> phase_rad;
  std::optional<GratingColour> colour;
};
std::optional<GratingName> parse_grating_name(const std::string& name);

/// Luminance g = ½ + ½·cos(2πf(x·cosθ + y·sinθ)/width + φ), x to the right and y upwards from the first pixel; channels
/// (g,g,g), or for red/cyan (g,1−g,1−g); or g alone. `pixels` is [height, width, channels], channels 1 or 3.
void draw_grating(const Grating& grating, int64_t height, int64_t width, int64_t channels, float* pixels);

/// Pictures for every grating of a grid, however they come about.
struct GratingPictures {
  GratingGrid grid;
  /// Writes [height, width, channels] in [0, 1] for grating `index` of the grid.
  std::function<void(int64_t index, float* pixels)> draw;
};
GratingPictures drawn_gratings(GratingGrid grid, int64_t height, int64_t width, int64_t channels);

}  // namespace striate
