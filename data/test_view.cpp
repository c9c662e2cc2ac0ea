#include "data/test_view.h"

#include <memory>
#include <utility>
#include <vector>

#include "data/datasets/packed/packed.h"
#include "data/transforms/channels.h"
#include "data/transforms/resize.h"
#include "data/transforms/settle.h"
#include "kernels/error.h"

namespace striate {

Normalization dataset_normalization(const DataConfig& config) {
  return config.dataset == "packed" ? packed_normalization(config.path) : published_normalization(config.dataset);
}

Normalization with_mean_image(const DataConfig& config, int channels, MeanImage image) {
  // Deviations of other channels become those of these as a normalization's do.
  Normalization result{image.channel_means(), with_channels({config.given.std, config.given.std}, channels).std,
                       std::make_shared<const MeanImage>(std::move(image))};
  return result;
}

std::optional<Normalization> known_normalization(const DataConfig& config, int channels) {
  switch (config.normalize_by) {
    case NormalizeBy::none:
      return Normalization{std::vector(channels, 0.0), std::vector(channels, 1.0)};
    case NormalizeBy::given:
      return with_channels(config.given, channels);
    case NormalizeBy::imagenet:
      return with_channels(published_normalization("imagenet"), channels);
    case NormalizeBy::dataset: {
      const Normalization published = dataset_normalization(config);
      require<ConfigError>(!published.mean.empty(),
                           "data.normalize: {} has no published mean and deviation; use computed, imagenet or none, or "
                           "give them",
                           config.path.empty() ? config.dataset : config.path);
      return with_channels(published, channels);
    }
    case NormalizeBy::mean_image:
      if (config.mean_image != "computed") {
        return with_mean_image(config, channels, load_mean_image(config.mean_image));
      }
      break;
    case NormalizeBy::computed:
      break;
  }
  return std::nullopt;
}

TestView test_view(const DataConfig& config, int height, int width, int channels) {
  const auto normalization = known_normalization(config, channels);
  require<ConfigError>(
      normalization.has_value(),
      "data.normalize: computed needs the training images to be measured; give {{mean: [...], std: "
      "[...]}} or {{mean_image: FILE, std: [...]}}, or name a run, whose folder holds what was measured");
  check_fits(*normalization, height, width, channels);
  TestView view{{}, *normalization, height, width, channels};
  view.transforms.add(std::make_shared<ConvertChannels>(channels));
  view.transforms.add(settled(config.test_transforms, normalization->mean, std::nullopt));
  if (config.test_transforms.empty()) view.transforms.add(std::make_shared<Resize>(height, width));
  return view;
}

}  // namespace striate
