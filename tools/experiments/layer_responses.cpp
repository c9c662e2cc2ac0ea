#include "tools/experiments/layer_responses.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "engine/autograd.h"
#include "engine/nn/evaluation_mode.h"
#include "engine/train/safetensors.h"
#include "kernels/error.h"

namespace striate {
namespace {

/// Ends a forward whose rest nobody needs.
struct LayerReached {};

/// Keeps a layer's output and, if wanted, what stands between it and the end of its activation.
class LayerObserver : public nn::ForwardObserver {
 public:
  LayerObserver(const nn::Module& layer, ResponseStage stage) : layer_(&layer), stage_(stage) {}

  void observe(nn::Module& module, const Tensor&, const Tensor& output) override {
    if (&module == layer_) {
      output_ = output;
      if (stage_ == ResponseStage::pre_relu) throw LayerReached{};
      return;
    }
    // Containers are seen after their last module; pooling may stand before the activation, and leaves the unit alone.
    if (!output_.defined() || !module.children().empty()) return;
    const std::string type = module.type();
    if (type == "Conv2d" || type == "Linear") throw LayerReached{};
    if (type == "BatchNorm2d") following_.push_back(&module);
    if (dynamic_cast<nn::ActivationLayer*>(&module) != nullptr) {
      following_.push_back(&module);
      activated_ = true;
      throw LayerReached{};
    }
  }

  Tensor take() { return std::exchange(output_, {}); }
  bool activated() const { return activated_; }
  const std::vector<nn::Module*>& following() const { return following_; }

 private:
  const nn::Module* layer_;
  ResponseStage stage_;
  Tensor output_;
  std::vector<nn::Module*> following_;
  bool activated_ = false;
};

/// [n, 1, 1, K]: the centre of [n, P, Q, K].
Tensor centre_unit(const Tensor& maps) {
  const Tensor host = maps.to(DType::float32).to(Device::cpu);
  const int64_t n = host.dim(0), p = host.dim(1), q = host.dim(2), k = host.dim(3);
  Tensor unit = Tensor::empty({n, 1, 1, k});
  const float* centre = host.data<float>() + ((p / 2) * q + q / 2) * k;
  for (int64_t i = 0; i < n; ++i) std::copy_n(centre + i * p * q * k, k, unit.data<float>() + i * k);
  return unit;
}

/// As many images at once as 64 MB hold, in parts of one size.
int64_t images_at_once(int64_t images, int64_t pixels) {
  constexpr int64_t kMost = int64_t{1} << 24;  // floats
  const int64_t fit = std::max<int64_t>(1, kMost / std::max<int64_t>(1, pixels));
  const int64_t parts = (images + fit - 1) / fit;
  return (images + parts - 1) / parts;
}

}  // namespace

bool NetworkInput::is_consistent() const {
  const auto per_channel = static_cast<size_t>(channels);
  return std.size() == per_channel &&
         (mean.size() == per_channel || mean.size() == static_cast<size_t>(height * width * channels));
}

void check_input_channels(int64_t channels) {
  require<ConfigError>(
      channels == 1 || channels == 3,
      "the network's first layer sees {} channels; gratings can be shown to networks that see 1 (luminance) or 3 (RGB)",
      channels);
}

std::string to_string(ResponseStage stage) { return stage == ResponseStage::pre_relu ? "pre-relu" : "post-relu"; }

ConvLayer find_conv(nn::Module& model, const std::string& name) {
  std::vector<std::string> convolutions;
  std::string other_type;
  for (const nn::NamedModule& named : model.named_modules()) {
    auto* conv = dynamic_cast<nn::Conv2d*>(named.module);
    if (conv != nullptr && (name.empty() || named.name == name)) return {named.name, conv};
    if (!named.name.empty() && named.name == name) other_type = named.module->type();
    if (conv != nullptr) convolutions.push_back(named.name);
  }
  require<ConfigError>(!convolutions.empty(), "the network has no convolution layer");
  const std::string there = fmt::format("its convolutions are {}", fmt::join(convolutions, ", "));
  require<ConfigError>(other_type.empty(), "layer '{}' is a {}, not a convolution; {}", name, other_type, there);
  throw ConfigError(fmt::format("no layer '{}' in this network; {}", name, there));
}

LayerResponses measure_responses(nn::Module& model, const ConvLayer& layer, const GratingPictures& gratings,
                                 const NetworkInput& input, Device device, ResponseStage stage,
                                 const std::function<void(int64_t, int64_t)>& progress) {
  check_input_channels(input.channels);
  require<ConfigError>(input.is_consistent(), "gratings: {} means and {} deviations for an input of {}x{}x{}",
                       input.mean.size(), input.std.size(), input.height, input.width, input.channels);
  check_grid(gratings.grid, "gratings");
  const int64_t images = gratings.grid.size(), pixels = input.height * input.width * input.channels;
  const int64_t batch = images_at_once(images, pixels);
  LayerResponses result;
  result.layer = layer.name;
  result.stage = stage;
  result.grid = gratings.grid;
  result.width = input.width;
  result.weight = layer.conv->weight.detach().to(Device::cpu).clone();
  result.kernels = layer.conv->weight.dim(0);
  result.values.resize(static_cast<size_t>(images * result.kernels));

  const nn::EvaluationMode evaluation(model);
  const NoGradGuard no_grad;
  for (int64_t first = 0; first < images; first += batch) {
    const int64_t n = std::min(batch, images - first);
    Tensor x = Tensor::empty({n, input.height, input.width, input.channels});
    float* values = x.data<float>();
    for (int64_t i = 0; i < n; ++i) gratings.draw(first + i, values + i * pixels);
    for (size_t i = 0; i < static_cast<size_t>(n * pixels); ++i) {
      const double mean = input.mean[i % input.mean.size()], deviation = input.std[i % input.std.size()];
      values[i] = static_cast<float>((static_cast<double>(values[i]) - mean) / deviation);
    }
    LayerObserver observer(*layer.conv, stage);
    {
      const nn::ObserverGuard observing(observer);
      try {
        model(x.to(device));
      } catch (const LayerReached&) {
      }
    }
    const Tensor maps = observer.take();
    require<Error>(maps.defined(), "layer '{}' takes no part in the network's forward", layer.name);
    require<ConfigError>(stage == ResponseStage::pre_relu || observer.activated(),
                         "layer '{}': no activation of its own follows it, so there is no --post-relu response; use "
                         "--pre-relu",
                         layer.name);
    result.map_height = maps.dim(1), result.map_width = maps.dim(2);
    Tensor unit = centre_unit(maps).to(device);
    for (nn::Module* module : observer.following()) unit = (*module)(unit);
    unit = unit.to(Device::cpu);
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t k = 0; k < result.kernels; ++k) {
        result.values[static_cast<size_t>(k * images + first + i)] = unit.data<float>()[i * result.kernels + k];
      }
    }
    if (progress) progress(first + n, images);
  }
  result.unit_y = result.map_height / 2, result.unit_x = result.map_width / 2;
  return result;
}

void write_responses(const std::string& file, const LayerResponses& responses,
                     const std::vector<std::pair<std::string, std::string>>& more) {
  const GratingGrid& grid = responses.grid;
  const auto axis = [](const std::vector<double>& values) {
    return Tensor::from(std::vector<float>(values.begin(), values.end()), {static_cast<int64_t>(values.size())});
  };
  const auto size = [](const auto& values) { return static_cast<int64_t>(values.size()); };
  std::vector<std::string> colours;
  for (const GratingColour colour : grid.colours) colours.push_back(to_string(colour));
  Metadata metadata = {{"layer", responses.layer},
                       {"responses", to_string(responses.stage)},
                       {"colours", fmt::format("{}", fmt::join(colours, ","))},
                       {"unit", fmt::format("{},{} of {}x{}", responses.unit_y, responses.unit_x, responses.map_height,
                                            responses.map_width)},
                       {"image_width", fmt::format("{}", responses.width)},
                       {"layout", "NHWC"}};
  for (const auto& [key, value] : more) metadata[key] = value;
  const Shape shape = {responses.kernels, size(grid.orientations_deg), size(grid.cycles_per_image),
                       size(grid.phases_rad), size(grid.colours)};
  write_safetensors(file,
                    {{"responses", Tensor::from(responses.values, shape)},
                     {"kernels", responses.weight},
                     {"orientation_deg", axis(grid.orientations_deg)},
                     {"spatial_frequency_cycles_per_image", axis(grid.cycles_per_image)},
                     {"phase_rad", axis(grid.phases_rad)}},
                    metadata);
}

}  // namespace striate
