#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace striate {

/// The palette of Okabe and Ito (2008), which readers with any colour vision can tell apart.
namespace colour {
inline constexpr const char* kBlue = "#0072B2";
inline constexpr const char* kOrange = "#D55E00";
inline constexpr const char* kGreen = "#009E73";
inline constexpr const char* kPurple = "#AA4499";
inline constexpr const char* kText = "#222222";
inline constexpr const char* kMuted = "#777777";
inline constexpr const char* kGrid = "#E3E3E3";
}  // namespace colour

enum class FigureFormat { png, svg };
/// By the ending of a file's name; throws ConfigError for any but .png and .svg.
FigureFormat figure_format(const std::filesystem::path& file);

/// A figure drawn by gnuplot: the project's look, then lines of gnuplot script, with the data inline.
class Figure {
 public:
  /// Size in pixels; `font_size` in points.
  Figure(int width, int height, int font_size = 24);

  /// Appends a line of gnuplot script.
  Figure& line(const std::string& script);
  /// Appends a data block `$name`, a row a line; an absent value is a gap in a line.
  Figure& data(const std::string& name, const std::vector<std::vector<std::optional<double>>>& rows);

  /// The picture's bytes. Throws Error where gnuplot is missing (naming the package) or refuses the script (with what
  /// it said).
  std::string render(FigureFormat format) const;
  /// Draws and writes a PNG, or an SVG where the name ends so, whole or not at all. Throws as render() does, and
  /// IoError where the file cannot be written.
  void save(const std::filesystem::path& file) const;
  /// Saves several as PNGs, all drawn by one gnuplot: twenty times as fast as one by one.
  static void save_all(const std::vector<std::pair<std::filesystem::path, Figure>>& figures);

 private:
  std::string terminal(FigureFormat format) const;

  int width_, height_, font_size_;
  std::string script_;
};

/// Whether there is a gnuplot on the PATH.
bool gnuplot_available();
/// What to say where it is not.
extern const char* const kGnuplotMissing;

/// A gnuplot string of that very text: quoted, with the characters that "enhanced text" would take for markup escaped.
std::string plain_text(const std::string& text);

}  // namespace striate
