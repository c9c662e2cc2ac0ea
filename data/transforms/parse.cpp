#include "data/transforms/parse.h"

#include <yaml-cpp/yaml.h>

#include <cmath>
#include <functional>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "data/transforms/color.h"
#include "data/transforms/crop.h"
#include "data/transforms/geometry.h"
#include "data/transforms/local_contrast.h"
#include "data/transforms/rand_augment.h"
#include "data/transforms/random_erasing.h"
#include "data/transforms/resize.h"
#include "kernels/error.h"

namespace striate {
namespace {

constexpr double kLargestSide = 32768;

struct Size {
  int height, width;
};

/// The options of one transform, whether they stand as a map or as the value of the first one alone.
class Options {
 public:
  Options(ConfigReader& item, const std::string& name, std::string first)
      : item_(item),
        name_(name),
        first_(std::move(first)),
        is_short_(item.has(name) && !item.node(name).IsMap()),
        map_(is_short_ ? ConfigReader::parse("") : item.section(name)) {}

  std::vector<double> numbers(const std::string& key, const std::vector<double>& fallback) {
    return stands_alone(key) ? item_.get_numbers(name_, fallback) : map_.get_numbers(key, fallback);
  }
  double number(const std::string& key, double fallback, double least, double most) {
    const double value = stands_alone(key) ? item_.get(name_, fallback) : map_.get(key, fallback);
    require<ConfigError>(value >= least && value <= most, "{}: expected a number from {} to {}, found {}", where(key),
                         least, most, value);
    return value;
  }
  int whole(const std::string& key, int fallback, int least, int most) {
    const int64_t value = stands_alone(key) ? item_.get(name_, fallback) : map_.get(key, fallback);
    require<ConfigError>(value >= least && value <= most, "{}: expected a whole number from {} to {}, found {}",
                         where(key), least, most, value);
    return static_cast<int>(value);
  }
  /// [low, high].
  std::pair<double, double> range(const std::string& key, std::pair<double, double> fallback) {
    const auto values = numbers(key, {fallback.first, fallback.second});
    require<ConfigError>(values.size() == 2 && values[0] > 0 && values[0] <= values[1],
                         "{}: expected two numbers [low, high], 0 < low ≤ high", where(key));
    return {values[0], values[1]};
  }
  /// S or [H, W], pixels; required. One number is given back as `sides` of 1.
  std::vector<int> sides(const std::string& key) {
    const auto values = numbers(key, {});
    require<ConfigError>(!values.empty(), "{}: must be given: pixels, or [height, width]", where(key));
    require<ConfigError>(values.size() <= 2, "{}: expected pixels or [height, width], found {} numbers", where(key),
                         values.size());
    std::vector<int> sides;
    for (const double value : values) {
      require<ConfigError>(value >= 1 && value <= kLargestSide && value == std::floor(value),
                           "{}: expected whole pixels from 1 to {}, found {}", where(key), kLargestSide, value);
      sides.push_back(static_cast<int>(value));
    }
    return sides;
  }
  Size size(const std::string& key) {
    const auto both = sides(key);
    return {both.front(), both.back()};
  }
  bool has(const std::string& key) const { return stands_alone(key) || map_.has(key); }
  bool is_word(const std::string& key, const std::string& word) {
    if (stands_alone(key) || !map_.has(key)) return false;
    const YAML::Node node = map_.node(key);
    return node.IsScalar() && node.Scalar() == word;
  }
  std::string choice(const std::string& key, const std::string& fallback, const std::vector<std::string>& choices) {
    return map_.choice(key, fallback, choices);
  }
  std::string where(const std::string& key) const { return stands_alone(key) ? item_.where(name_) : map_.where(key); }
  void finish() const { map_.finish(); }

 private:
  bool stands_alone(const std::string& key) const { return is_short_ && key == first_; }

  ConfigReader& item_;
  std::string name_, first_;
  bool is_short_;
  ConfigReader map_;
};

std::shared_ptr<const Transform> make_resize(Options& options) {
  const auto sides = options.sides("size");
  if (sides.size() == 1) return std::make_shared<Resize>(sides[0]);
  return std::make_shared<Resize>(sides[0], sides[1]);
}

std::shared_ptr<const Transform> make_random_resized_crop(Options& options) {
  const Size size = options.size("size");
  RandomResizedCrop::Options crop{.height = size.height, .width = size.width};
  std::tie(crop.scale_min, crop.scale_max) = options.range("scale", {crop.scale_min, crop.scale_max});
  require<ConfigError>(crop.scale_max <= 1.0, "{}: expected shares of the picture, at most 1, found {}",
                       options.where("scale"), crop.scale_max);
  std::tie(crop.ratio_min, crop.ratio_max) = options.range("ratio", {crop.ratio_min, crop.ratio_max});
  return std::make_shared<RandomResizedCrop>(crop);
}

std::shared_ptr<const Transform> make_rotation(Options& options) {
  require<ConfigError>(options.has("degrees"), "{}: must be given", options.where("degrees"));
  const double degrees = options.number("degrees", 0, 0, 180);
  return std::make_shared<Rotation>(degrees,
                                    options.choice("interpolation", "nearest", {"nearest", "bilinear"}) == "bilinear");
}

std::shared_ptr<const Transform> make_color_jitter(Options& options) {
  ColorJitter::Strengths strengths;
  strengths.brightness = static_cast<float>(options.number("brightness", 0, 0, 10));
  strengths.contrast = static_cast<float>(options.number("contrast", 0, 0, 10));
  strengths.saturation = static_cast<float>(options.number("saturation", 0, 0, 10));
  strengths.hue = static_cast<float>(options.number("hue", 0, 0, 0.5));
  return std::make_shared<ColorJitter>(strengths);
}

std::shared_ptr<const Transform> make_pca_color(Options& options) {
  PcaColor::Options pca;
  pca.std = static_cast<float>(options.number("std", pca.std, 0, 10));
  if (options.is_word("eigenvalues", "computed")) {
    require<ConfigError>(!options.has("eigenvectors"), "{}: they are computed with the eigenvalues; leave them out",
                         options.where("eigenvectors"));
    pca.is_computed = true;
    return std::make_shared<PcaColor>(pca);
  }
  const auto values = options.numbers("eigenvalues", {}), vectors = options.numbers("eigenvectors", {});
  require<ConfigError>(values.empty() == vectors.empty(), "{}: eigenvalues and eigenvectors must be given together",
                       options.where(values.empty() ? "eigenvalues" : "eigenvectors"));
  if (!values.empty()) {
    require<ConfigError>(values.size() == 3 && vectors.size() == 9,
                         "{}: expected 3 eigenvalues and 9 numbers of eigenvectors, found {} and {}",
                         options.where("eigenvectors"), values.size(), vectors.size());
    for (int i = 0; i < 3; ++i) {
      pca.eigenvalues[i] = static_cast<float>(values[i]);
      for (int j = 0; j < 3; ++j) pca.eigenvectors[i][j] = static_cast<float>(vectors[3 * i + j]);
    }
  }
  return std::make_shared<PcaColor>(pca);
}

std::shared_ptr<const Transform> make_random_erasing(Options& options) {
  RandomErasing::Options erasing;
  erasing.probability = options.number("probability", erasing.probability, 0, 1);
  std::tie(erasing.scale_min, erasing.scale_max) = options.range("scale", {erasing.scale_min, erasing.scale_max});
  require<ConfigError>(erasing.scale_max <= 1.0, "{}: expected shares of the picture, at most 1, found {}",
                       options.where("scale"), erasing.scale_max);
  std::tie(erasing.ratio_min, erasing.ratio_max) = options.range("ratio", {erasing.ratio_min, erasing.ratio_max});
  const std::string fill = options.choice("value", "mean", {"mean", "black", "random"});
  erasing.fill = fill == "mean"    ? RandomErasing::Fill::mean
                 : fill == "black" ? RandomErasing::Fill::black
                                   : RandomErasing::Fill::random;
  return std::make_shared<RandomErasing>(erasing);
}

std::shared_ptr<const Transform> make_local_contrast(Options& options) {
  const double sigma = options.number("sigma", 3, 0.5, 100);
  return std::make_shared<LocalContrast>(sigma, options.number("floor", 8, 0.1, 255));
}

struct Kind {
  std::string first_option;
  std::function<std::shared_ptr<const Transform>(Options&)> make;
};

const std::map<std::string, Kind>& kinds() {
  static const std::map<std::string, Kind> all = {
      {"resize", {"size", make_resize}},
      {"center_crop",
       {"size",
        [](Options& options) {
          const Size size = options.size("size");
          return std::make_shared<CenterCrop>(size.height, size.width);
        }}},
      {"random_crop",
       {"size",
        [](Options& options) {
          const Size size = options.size("size");
          return std::make_shared<RandomCrop>(size.height, size.width, options.whole("padding", 0, 0, 4096));
        }}},
      {"random_resized_crop", {"size", make_random_resized_crop}},
      {"pad",
       {"padding",
        [](Options& options) {
          require<ConfigError>(options.has("padding"), "{}: must be given", options.where("padding"));
          return std::make_shared<Pad>(options.whole("padding", 0, 0, 4096));
        }}},
      {"horizontal_flip",
       {"probability",
        [](Options& options) { return std::make_shared<HorizontalFlip>(options.number("probability", 0.5, 0, 1)); }}},
      {"rotation", {"degrees", make_rotation}},
      {"color_jitter", {"brightness", make_color_jitter}},
      {"pca_color", {"std", make_pca_color}},
      {"rand_augment",
       {"operations",
        [](Options& options) {
          const int operations = options.whole("operations", 2, 1, 100);
          return std::make_shared<RandAugment>(operations,
                                               options.whole("magnitude", 9, 0, RandAugment::kLargestMagnitude));
        }}},
      {"random_erasing", {"probability", make_random_erasing}},
      {"local_contrast", {"sigma", make_local_contrast}},
  };
  return all;
}

}  // namespace

Pipeline parse_transforms(ConfigReader& reader, const std::string& key) {
  Pipeline pipeline;
  for (ConfigReader& item : reader.list(key)) {
    const auto names = item.keys();
    require<ConfigError>(names.size() == 1, "{}: each transform is an item of its own; found {} in one",
                         reader.where(key), names.size());
    const auto kind = kinds().find(names[0]);
    if (kind == kinds().end()) {
      std::vector<std::string> known;
      std::string list;
      for (const auto& entry : kinds()) {
        known.push_back(entry.first);
        list += (list.empty() ? "" : ", ") + entry.first;
      }
      const auto near = nearest(names[0], known);
      throw ConfigError(fmt::format("{}: no transform of this name{}; there are {}", item.where(names[0]),
                                    near.empty() ? "" : fmt::format("; did you mean '{}'?", near), list));
    }
    Options options(item, names[0], kind->second.first_option);
    pipeline.add(kind->second.make(options));
    options.finish();
  }
  return pipeline;
}

}  // namespace striate
