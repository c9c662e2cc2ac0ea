#include "data/config.h"

#include <yaml-cpp/yaml.h>

#include <cmath>
#include <utility>

#include "data/transforms/parse.h"
#include "kernels/error.h"

namespace striate {
namespace {

int whole(ConfigReader& reader, const std::string& key, int fallback, int64_t least, int64_t most) {
  const int64_t value = reader.get(key, fallback);
  require<ConfigError>(value >= least && value <= most, "{}: expected a whole number from {} to {}, found {}",
                       reader.where(key), least, most, value);
  return static_cast<int>(value);
}

void read_image_size(ConfigReader& data, DataConfig& config) {
  if (!data.given("image_size")) return;
  const auto sides = data.get_numbers("image_size");
  if (sides.empty()) return;
  require<ConfigError>(sides.size() <= 2, "{}: expected pixels or [height, width], found {} numbers",
                       data.where("image_size"), sides.size());
  for (const double side : sides) {
    require<ConfigError>(side >= 1 && side <= 32768 && side == std::floor(side),
                         "{}: expected whole pixels from 1 to 32768, found {}", data.where("image_size"), side);
  }
  config.height = static_cast<int>(sides.front());
  config.width = static_cast<int>(sides.back());
}

void read_normalize(ConfigReader& data, DataConfig& config) {
  if (data.has("normalize") && data.node("normalize").IsMap()) {
    ConfigReader given = data.section("normalize");
    config.given = {given.get_numbers("mean"), given.get_numbers("std")};
    config.mean_image = given.get("mean_image", "");
    given.finish();
    const size_t count = config.given.mean.size(), deviations = config.given.std.size();
    if (config.mean_image.empty()) {
      config.normalize_by = NormalizeBy::given;
      require<ConfigError>((count == 1 || count == 3) && deviations == count,
                           "{}: expected mean and std with 1 or 3 numbers each, found {} and {}",
                           data.where("normalize"), count, deviations);
    } else {
      config.normalize_by = NormalizeBy::mean_image;
      require<ConfigError>(count == 0 && (deviations == 1 || deviations == 3),
                           "{}: expected mean_image and std with 1 or 3 numbers, and no mean beside them",
                           data.where("normalize"));
    }
    for (const double deviation : config.given.std) {
      require<ConfigError>(deviation > 0, "{}: expected deviations above 0, found {}", given.where("std"), deviation);
    }
    return;
  }
  const std::vector<std::pair<std::string, NormalizeBy>> named = {{"dataset", NormalizeBy::dataset},
                                                                  {"computed", NormalizeBy::computed},
                                                                  {"imagenet", NormalizeBy::imagenet},
                                                                  {"none", NormalizeBy::none}};
  std::vector<std::string> names;
  for (const auto& [name, by] : named) names.push_back(name);
  const std::string chosen = data.choice("normalize", "dataset", names);
  for (const auto& [name, by] : named) {
    if (name == chosen) config.normalize_by = by;
  }
}

double read_alpha(ConfigReader& data, const char* key) {
  const double alpha = data.get(key, 0.0);
  require<ConfigError>(alpha >= 0 && alpha <= 1000,
                       "{}: expected the α of a Beta(α, α) from 0 (off) to 1000, 0.2 or 1 mostly, found {}",
                       data.where(key), alpha);
  return alpha;
}

void read_synthetic(ConfigReader& data, DataConfig& config) {
  ConfigReader synthetic = data.section("synthetic");
  config.synthetic_train_images = whole(synthetic, "train_images", 10000, 1, 1 << 30);
  config.synthetic_test_images = whole(synthetic, "test_images", 2000, 1, 1 << 30);
  config.synthetic_seed = static_cast<uint64_t>(synthetic.get("seed", 0));
  synthetic.finish();
}

void read_crops(ConfigReader& data, DataConfig& config) {
  require<ConfigError>(config.validation_fraction == 0,
                       "{}: crops holds out a strip of every photograph, crops.held_out, which is measured as val; a "
                       "fraction of the crops would show what training has seen: leave it at 0",
                       data.where("validation_fraction"));
  ConfigReader crops = data.section("crops");
  const auto scale = crops.get_numbers("scale", {config.crops_scale.first, config.crops_scale.second});
  require<ConfigError>(scale.size() == 2 && scale[0] >= 1 && scale[0] <= scale[1] && scale[1] <= 1000,
                       "{}: expected two numbers [low, high], 1 ≤ low ≤ high ≤ 1000", crops.where("scale"));
  config.crops_scale = {scale[0], scale[1]};
  config.crops_train = whole(crops, "train_crops", 10000, 1, 1 << 30);
  config.crops_test = whole(crops, "test_crops", 2000, 1, 1 << 30);
  config.crops_held_out = crops.get("held_out", config.crops_held_out);
  require<ConfigError>(config.crops_held_out >= 0 && config.crops_held_out <= 0.5,
                       "{}: expected a number from 0 to 0.5, found {}", crops.where("held_out"), config.crops_held_out);
  config.crops_largest_side = whole(crops, "largest_side", config.crops_largest_side, 16, 32768);
  crops.finish();
}

}  // namespace

const std::vector<std::string>& known_datasets() {
  static const std::vector<std::string> names = {"mnist",    "fashion_mnist", "cifar10", "cifar100", "image_folder",
                                                 "imagenet", "hdf5",          "packed",  "crops",    "synthetic"};
  return names;
}

DataConfig read_data_config(ConfigReader data) {
  DataConfig config;
  data.require_string("dataset");
  config.dataset = data.choice("dataset", "", known_datasets());
  config.path = data.get("path", "");
  config.class_names = data.get("class_names", "");
  read_image_size(data, config);
  config.channels = data.given("channels") ? whole(data, "channels", 0, 0, 3) : 0;
  require<ConfigError>(config.channels != 2, "{}: expected 1 (grey) or 3 (RGB), found 2", data.where("channels"));
  config.validation_fraction = data.get("validation_fraction", 0.0);
  require<ConfigError>(config.validation_fraction >= 0 && config.validation_fraction < 1,
                       "{}: expected a number in [0, 1), found {}", data.where("validation_fraction"),
                       config.validation_fraction);
  config.shuffle = data.get("shuffle", true);
  config.workers = whole(data, "workers", 2, 0, 1024);
  config.skip_broken = data.get("skip_broken", false);
  config.train_transforms = parse_transforms(data, "train_transforms");
  config.test_transforms = parse_transforms(data, "test_transforms");
  config.mix = {read_alpha(data, "mixup"), read_alpha(data, "cutmix")};
  read_normalize(data, config);
  if (config.dataset == "synthetic") read_synthetic(data, config);
  if (config.dataset == "crops") read_crops(data, config);
  data.finish();
  return config;
}

}  // namespace striate
