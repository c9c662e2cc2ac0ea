#include "tools/experiments/grating_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "data/image_file.h"
#include "data/jpeg_encoder.h"
#include "data/transforms/channels.h"
#include "data/transforms/resize.h"
#include "engine/train/atomic_file.h"
#include "kernels/error.h"

namespace striate {
namespace {

constexpr size_t kNamed = 5;  // files that a message names

/// "a, b, c and 4 more".
std::string some_of(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kNamed);
  const std::vector<std::string> first(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown));
  const std::string text = fmt::format("{}", fmt::join(first, ", "));
  return names.size() > shown ? fmt::format("{} and {} more", text, names.size() - shown) : text;
}

struct NamedFile {
  std::filesystem::path path;
  GratingName name;
};

struct Listing {
  std::vector<NamedFile> gratings;
  std::vector<std::string> others;  ///< names that do not parse
};

Listing list(const std::filesystem::path& folder) {
  std::error_code error;
  require<ConfigError>(std::filesystem::is_directory(folder, error), "--gratings {}: there is no such folder",
                       folder.string());
  Listing listing;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) files.push_back(entry.path());
  require<IoError>(!error, "--gratings {}: the folder cannot be read: {}", folder.string(), error.message());
  std::sort(files.begin(), files.end());
  for (const std::filesystem::path& file : files) {
    const std::string name = file.filename().string();
    if (const auto parsed = parse_grating_name(name)) {
      listing.gratings.push_back({file, *parsed});
    } else {
      listing.others.push_back(name);
    }
  }
  return listing;
}

/// Phases as named, or where every one of them is an even phase rounded to the decimals of a name, that.
std::vector<double> restored_phases(const std::vector<double>& named) {
  std::vector<double> even = even_phases(static_cast<int64_t>(named.size()));
  for (size_t i = 0; i < named.size(); ++i) {
    if (std::abs(named[i] - even[i]) > 0.0501) return named;
  }
  return even;
}

using Key = std::tuple<double, double, double, GratingColour>;

Key key_of(const GratingName& name) {
  return {name.orientation_deg, name.cycles_per_image, name.phase_rad.value_or(0.0),
          name.colour.value_or(GratingColour::black_white)};
}

template <typename T>
std::vector<T> sorted(const std::set<T>& values) {
  return {values.begin(), values.end()};
}

/// Decodes, converts, resizes.
class FolderPictures {
 public:
  FolderPictures(std::vector<std::filesystem::path> files, int height, int width, int channels)
      : files_(std::move(files)), height_(height), width_(width), channels_(channels) {}

  void draw(int64_t index, float* pixels) {
    read_image(files_[static_cast<size_t>(index)], image_);
    if (image_.channels != channels_) {
      convert_channels(image_, channels_, scratch_.image);
      std::swap(image_, scratch_.image);
    }
    if (image_.height != height_ || image_.width != width_) {
      Image& resized = scratch_.image;
      resize_bilinear(image_, height_, width_, resized, scratch_);
      std::swap(image_, resized);
    }
    for (const uint8_t level : image_.pixels) *pixels++ = static_cast<float>(level) / 255.0f;
  }

 private:
  std::vector<std::filesystem::path> files_;
  int height_, width_, channels_;
  Image image_;
  TransformScratch scratch_;
};

}  // namespace

void write_gratings(const std::filesystem::path& folder, const GratingGrid& grid, int height, int width,
                    const std::function<void(int64_t, int64_t)>& progress) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  require<IoError>(!error, "--write-gratings {}: the folder cannot be made: {}", folder.string(), error.message());
  const std::vector<std::string> names = grating_names(grid);
  Image image;
  image.reshape(height, width, 3);
  std::vector<float> pixels(image.pixels.size());
  for (size_t i = 0; i < names.size(); ++i) {
    draw_grating(grid.at(static_cast<int64_t>(i)), height, width, 3, pixels.data());
    std::transform(pixels.begin(), pixels.end(), image.pixels.begin(),
                   [](float value) { return static_cast<uint8_t>(std::lround(255.0f * value)); });
    const std::vector<uint8_t> jpeg = encode_jpeg(image, 100);
    write_file_atomically((folder / names[i]).string(),
                          std::string_view(reinterpret_cast<const char*>(jpeg.data()), jpeg.size()), Sync::no);
    if (progress) progress(static_cast<int64_t>(i) + 1, static_cast<int64_t>(names.size()));
  }
}

GratingPictures read_gratings(const std::filesystem::path& folder, int height, int width, int channels,
                              const std::function<void(const std::string&)>& warn) {
  const Listing listing = list(folder);
  const std::string where = fmt::format("--gratings {}", folder.string());
  constexpr const char* kPattern = "fullfield_{degrees}deg_{cycles per image}sf_{phase}phase_{bw or rc}.jpg";
  require<ConfigError>(!listing.gratings.empty() || !listing.others.empty(),
                       "{}: the folder is empty; files named {} are expected", where, kPattern);
  const std::string others =
      listing.others.empty()
          ? std::string()
          : fmt::format("{} name{} {} not parse as {}: {}", listing.others.size(),
                        listing.others.size() == 1 ? "" : "s", listing.others.size() == 1 ? "does" : "do", kPattern,
                        some_of(listing.others));
  require<ConfigError>(!listing.gratings.empty(), "{}: no grating is there; {}", where, others);
  if (!others.empty() && warn) warn(fmt::format("{}: {}; left out", where, others));

  std::map<Key, std::filesystem::path> files;
  std::set<double> orientations, frequencies, phases;
  std::set<GratingColour> colours;
  for (const NamedFile& file : listing.gratings) {
    const Key key = key_of(file.name);
    // Colours are lost on a network that sees luminance.
    if (channels == 1 && std::get<3>(key) != GratingColour::black_white) continue;
    const auto [place, is_new] = files.emplace(key, file.path);
    require<ConfigError>(is_new, "{}: {} and {} show the same grating by their names", where,
                         place->second.filename().string(), file.path.filename().string());
    orientations.insert(std::get<0>(key)), frequencies.insert(std::get<1>(key));
    phases.insert(std::get<2>(key)), colours.insert(std::get<3>(key));
  }
  require<ConfigError>(!files.empty(),
                       "{}: the network sees luminance alone, and none of the gratings is black and "
                       "white (_bw)",
                       where);

  const GratingGrid named{sorted(orientations), sorted(frequencies), sorted(phases), sorted(colours)};
  check_grid(named, where);
  std::vector<std::filesystem::path> in_order;
  std::vector<std::string> missing;
  const std::vector<std::string> names = grating_names(named);
  for (int64_t i = 0; i < named.size(); ++i) {
    const Grating g = named.at(i);
    const auto found = files.find({g.orientation_deg, g.cycles_per_image, g.phase_rad, g.colour});
    if (found == files.end()) {
      missing.push_back(names[static_cast<size_t>(i)]);
    } else {
      in_order.push_back(found->second);
    }
  }
  require<ConfigError>(
      missing.empty(),
      "{}: {} orientations × {} frequencies × {} phases × {} colours make {} gratings; {} missing: {}. "
      "A tuning curve with gaps would mean nothing",
      where, orientations.size(), frequencies.size(), phases.size(), colours.size(), named.size(), missing.size(),
      some_of(missing));
  GratingPictures pictures{named, {}};
  pictures.grid.phases_rad = restored_phases(named.phases_rad);
  pictures.draw = [reader = std::make_shared<FolderPictures>(std::move(in_order), height, width, channels)](
                      int64_t index, float* pixels) { reader->draw(index, pixels); };
  return pictures;
}

}  // namespace striate
