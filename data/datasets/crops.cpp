#include "data/datasets/crops.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "data/datasets/picture_files.h"
#include "data/image_file.h"
#include "data/transforms/channels.h"
#include "data/transforms/crop.h"
#include "data/transforms/resize.h"
#include "engine/random.h"
#include "kernels/error.h"
#include "kernels/thread_pool.h"

namespace striate {
namespace {

namespace fs = std::filesystem;

struct Region {
  int top = 0, left = 0, height = 0, width = 0;
};

struct Photograph {
  std::string path;
  Image image;         // RGB
  Region train, test;  // test is empty where nothing is held out
};

class Crops final : public Dataset {
 public:
  struct Shared {
    CropsOptions options;
    std::vector<Photograph> photographs;
    std::vector<std::string> class_names;
  };

  Crops(std::shared_ptr<const Shared> shared, bool test) : shared_(std::move(shared)), test_(test) {}

  int64_t size() const override { return test_ ? shared_->options.test_crops : shared_->options.train_crops; }
  const std::vector<std::string>& class_names() const override { return shared_->class_names; }
  int channels() const override { return 3; }
  int label(int64_t index) const override { return static_cast<int>(index % classes()); }
  std::string describe(int64_t index) const override {
    return fmt::format("{}, {} crop {}", photograph(index).path, test_ ? "test" : "training", index);
  }
  void load(int64_t index, Image& image) const override { load_in_epoch(index, 0, image); }

  void load_in_epoch(int64_t index, int64_t epoch, Image& image) const override {
    const CropsOptions& options = shared_->options;
    const Photograph& from = photograph(index);
    const Region& region = test_ ? from.test : from.train;
    // 0 is the test part's, which every epoch measures on the same crops.
    Random random(options.seed, RandomPurpose::crop, static_cast<uint64_t>(index),
                  test_ ? 0 : static_cast<uint32_t>(epoch + 1));
    const double fits = std::min(static_cast<double>(region.height) / options.height,
                                 static_cast<double>(region.width) / options.width);
    const double low = std::min(options.scale_min, fits), high = std::min(options.scale_max, fits);
    const double scale = low * std::pow(high / low, static_cast<double>(random.uniform()));
    const int height = std::min(static_cast<int>(std::lround(options.height * scale)), region.height);
    const int width = std::min(static_cast<int>(std::lround(options.width * scale)), region.width);
    const int top = region.top + static_cast<int>(random.below(static_cast<uint64_t>(region.height - height + 1)));
    const int left = region.left + static_cast<int>(random.below(static_cast<uint64_t>(region.width - width + 1)));
    if (height == options.height && width == options.width) {
      crop(from.image, top, left, height, width, image);
      return;
    }
    thread_local Image window;
    thread_local TransformScratch scratch;
    crop(from.image, top, left, height, width, window);
    resize_bilinear(window, options.height, options.width, image, scratch);
  }

 private:
  const Photograph& photograph(int64_t index) const { return shared_->photographs[label(index)]; }

  std::shared_ptr<const Shared> shared_;
  bool test_;
};

void check(const CropsOptions& options) {
  require<ConfigError>(std::min(options.height, options.width) > 0,
                       "crops: expected a crop of 1 pixel at least, found {}×{}", options.height, options.width);
  require<ConfigError>(options.scale_min >= 1 && options.scale_max >= options.scale_min,
                       "crops: scale: expected [low, high], 1 ≤ low ≤ high, found [{}, {}]; a crop is never enlarged",
                       options.scale_min, options.scale_max);
  require<ConfigError>(options.train_crops > 0 && options.test_crops > 0,
                       "crops: expected at least one training and one test crop, found {} and {}", options.train_crops,
                       options.test_crops);
  require<ConfigError>(options.held_out >= 0 && options.held_out <= 0.5,
                       "crops: held_out: expected a part from 0 to 0.5, found {}", options.held_out);
  require<ConfigError>(options.largest_side >= std::max(options.height, options.width),
                       "crops: largest_side: expected at least the crop's {} pixels, found {}",
                       std::max(options.height, options.width), options.largest_side);
}

/// The pictures, each once, however many links lead to it.
std::vector<std::string> distinct_files(const fs::path& folder) {
  std::vector<std::string> kept;
  std::set<fs::path> seen;
  for (std::string& file : picture_files(folder)) {
    std::error_code code;
    const fs::path target = fs::canonical(file, code);
    if (code || seen.insert(target).second) kept.push_back(std::move(file));
  }
  return kept;
}

/// Shrinks to the largest side that is kept; RGB afterwards.
void read_photograph(const std::string& path, int largest_side, Image& image) {
  read_image(path, image);
  Image other;
  if (image.channels != 3) {
    convert_channels(image, 3, other);
    std::swap(image, other);
  }
  const int longer = std::max(image.height, image.width);
  if (longer > largest_side) {
    TransformScratch scratch;
    const auto shrunk = [&](int side) {
      return std::max(1, static_cast<int>(std::lround(static_cast<double>(side) * largest_side / longer)));
    };
    resize_bilinear(image, shrunk(image.height), shrunk(image.width), other, scratch);
    std::swap(image, other);
  }
  image.pixels.shrink_to_fit();
}

/// Cuts the held-out strip off the longer side.
void part(Photograph& photograph, const CropsOptions& options) {
  const Image& image = photograph.image;
  photograph.train = {0, 0, image.height, image.width};
  const bool wide = image.width >= image.height;
  const int along = wide ? image.width : image.height, crop_along = wide ? options.width : options.height;
  const int strip =
      options.held_out > 0 ? std::max(static_cast<int>(std::lround(along * options.held_out)), crop_along) : 0;
  require<IoError>(
      (wide ? image.height >= options.height : image.width >= options.width) && along - strip >= crop_along,
      "{}: {}×{} pixels are too few for a crop of {}×{}{}; take the picture out, or set a smaller data.image_size",
      photograph.path, image.height, image.width, options.height, options.width,
      strip > 0 ? " beside a held-out strip of the same size" : "");
  if (strip == 0) return;
  photograph.test = photograph.train;
  (wide ? photograph.train.width : photograph.train.height) -= strip;
  (wide ? photograph.test.left : photograph.test.top) = along - strip;
  (wide ? photograph.test.width : photograph.test.height) = strip;
}

std::vector<Photograph> read_photographs(const std::vector<std::string>& files, const CropsOptions& options) {
  std::vector<Photograph> read(files.size());
  std::vector<std::string> wrong(files.size());
  ThreadPool pool(std::max(options.threads, 1));
  pool.run(static_cast<int64_t>(files.size()), [&](int64_t i) {
    try {
      read[i].path = files[i];
      read_photograph(files[i], options.largest_side, read[i].image);
      part(read[i], options);
    } catch (const IoError& error) {
      wrong[i] = error.what();
    }
  });
  std::vector<Photograph> kept;
  for (size_t i = 0; i < files.size(); ++i) {
    if (wrong[i].empty()) {
      kept.push_back(std::move(read[i]));
      continue;
    }
    if (!options.skip_broken) throw IoError(wrong[i]);
    if (options.on_broken) options.on_broken(wrong[i]);
  }
  return kept;
}

std::vector<std::string> name_classes(const std::vector<Photograph>& photographs, const fs::path& folder) {
  std::map<std::string, int> uses;
  for (const Photograph& photograph : photographs) ++uses[fs::path(photograph.path).stem().string()];
  std::vector<std::string> names;
  for (const Photograph& photograph : photographs) {
    const fs::path path = photograph.path;
    const std::string stem = path.stem().string();
    names.push_back(uses[stem] == 1 ? stem : path.lexically_relative(folder).string());
  }
  return names;
}

}  // namespace

DatasetParts open_crops(const fs::path& folder, const CropsOptions& options) {
  check(options);
  require<ConfigError>(!folder.empty(), "data.path is not set; crops needs a folder of photographs");
  std::error_code code;
  require<IoError>(fs::is_directory(folder, code), "crops: {}: no such folder; set data.path to one of photographs",
                   folder.string());
  const auto files = distinct_files(folder);
  require<IoError>(!files.empty(), "crops: {}: no picture (jpg, png, bmp, ppm) in it or in a folder below it",
                   folder.string());
  const int64_t bytes = int64_t{3} * options.largest_side * options.largest_side;
  require<ConfigError>(
      static_cast<int64_t>(files.size()) <= kMostPhotographBytes / bytes,
      "crops: {}: {} photographs may need {} MiB of memory, more than {}; lower data.crops.largest_side from {}",
      folder.string(), files.size(), static_cast<int64_t>(files.size()) * bytes >> 20, kMostPhotographBytes >> 20,
      options.largest_side);
  auto shared = std::make_shared<Crops::Shared>();
  shared->options = options;
  shared->photographs = read_photographs(files, options);
  require<IoError>(!shared->photographs.empty(), "crops: {}: none of its {} pictures can be used; the first is {}",
                   folder.string(), files.size(), files.front());
  shared->class_names = name_classes(shared->photographs, folder);
  const bool has_test = options.held_out > 0;
  return {std::make_shared<Crops>(shared, false), has_test ? std::make_shared<Crops>(shared, true) : nullptr};
}

}  // namespace striate
