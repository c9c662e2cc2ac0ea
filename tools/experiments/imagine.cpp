#include "tools/experiments/imagine.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/autograd.h"
#include "engine/nn/evaluation_mode.h"
#include "engine/ops/ops.h"
#include "engine/random.h"
#include "kernels/error.h"

namespace striate {
namespace {

/// Keeps a layer's output while the network runs.
class Capture : public nn::ForwardObserver {
 public:
  Capture(nn::Module& model, const std::string& layer) : layer_(layer), module_(&model) {
    if (!layer.empty()) module_ = &model.find(layer);
  }
  void observe(nn::Module& module, const Tensor&, const Tensor& output) override {
    if (&module == module_) output_ = output;
  }
  Tensor take() {
    require<ConfigError>(output_.defined(), "layer '{}' takes no part in the network's forward", layer_);
    return std::exchange(output_, {});
  }

 private:
  std::string layer_;
  nn::Module* module_;
  Tensor output_;
};

/// The network in evaluation mode with parameters that want no gradient; both as before afterwards.
class Frozen {
 public:
  explicit Frozen(nn::Module& model) : evaluation_(model) {
    for (const NamedTensor& p : model.named_parameters()) wanted_.emplace_back(p.tensor, p.tensor.requires_grad());
    for (auto& [parameter, wanted] : wanted_) parameter.set_requires_grad(false);
  }
  ~Frozen() {
    for (auto& [parameter, wanted] : wanted_) parameter.set_requires_grad(wanted);
  }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

 private:
  nn::EvaluationMode evaluation_;
  std::vector<std::pair<Tensor, bool>> wanted_;
};

Tensor run(nn::Module& model, Capture& capture, const Tensor& images) {
  const nn::ObserverGuard guard(capture);
  model(images);
  return capture.take();
}

/// Weights of a [1, N·…] row whose product with the output is the sum of every image's target.
std::vector<float> selection(const Shape& output, const std::vector<int64_t>& units, ImagineTarget target) {
  const int64_t channels = output.back(), places = element_count(output) / output[0] / channels;
  std::vector<float> weights(static_cast<size_t>(element_count(output)), 0.0f);
  for (size_t n = 0; n < units.size(); ++n) {
    const auto of = [&](int64_t place) -> float& {
      return weights[static_cast<size_t>((static_cast<int64_t>(n) * places + place) * channels + units[n])];
    };
    if (output.size() == 4 && target == ImagineTarget::centre) {
      of(output[1] / 2 * output[2] + output[2] / 2) = 1.0f;
    } else {
      for (int64_t place = 0; place < places; ++place) of(place) = 1.0f / static_cast<float>(places);
    }
  }
  return weights;
}

/// Values of the target, an image each.
std::vector<double> values(const Tensor& output, const std::vector<float>& weights) {
  const std::vector<float> host = output.to_vector<float>();
  const size_t images = static_cast<size_t>(output.dim(0)), each = host.size() / images;
  std::vector<double> sums(images, 0.0);
  for (size_t i = 0; i < host.size(); ++i) sums[i / each] += double{host[i]} * weights[i];
  return sums;
}

/// [H,W,C] images one after another, as the ascent holds them: on the host, normalised.
struct Images {
  int64_t count, height, width, channels;
  std::vector<float> x;
  size_t each() const { return static_cast<size_t>(height * width * channels); }

  /// Every image moved by (dy, dx), what leaves on one side coming back on the other.
  std::vector<float> shifted(const std::vector<float>& from, int64_t dy, int64_t dx) const {
    std::vector<float> to(from.size());
    for (int64_t n = 0; n < count; ++n) {
      for (int64_t h = 0; h < height; ++h) {
        for (int64_t w = 0; w < width; ++w) {
          const int64_t u = (h + dy + height) % height, v = (w + dx + width) % width;
          std::copy_n(from.data() + ((n * height + h) * width + w) * channels, channels,
                      to.data() + ((n * height + u) * width + v) * channels);
        }
      }
    }
    return to;
  }

  /// A Gaussian along rows, then columns; beyond the edge lies the edge's pixel.
  void blur(double deviation) {
    const auto radius = static_cast<int64_t>(std::ceil(3.0 * deviation));
    std::vector<float> kernel;
    float sum = 0.0f;
    for (int64_t i = -radius; i <= radius; ++i) {
      kernel.push_back(static_cast<float>(std::exp(-0.5 * static_cast<double>(i * i) / (deviation * deviation))));
      sum += kernel.back();
    }
    std::vector<float> other(x.size());
    for (const bool rows : {true, false}) {
      for (int64_t n = 0; n < count; ++n) {
        for (int64_t h = 0; h < height; ++h) {
          for (int64_t w = 0; w < width; ++w) {
            for (int64_t c = 0; c < channels; ++c) {
              float total = 0.0f;
              for (int64_t i = -radius; i <= radius; ++i) {
                const int64_t u = rows ? h : std::clamp<int64_t>(h + i, 0, height - 1);
                const int64_t v = rows ? std::clamp<int64_t>(w + i, 0, width - 1) : w;
                total += kernel[static_cast<size_t>(i + radius)] * x[index(n, u, v, c)];
              }
              other[index(n, h, w, c)] = total / sum;
            }
          }
        }
      }
      x.swap(other);
    }
  }
  size_t index(int64_t n, int64_t h, int64_t w, int64_t c) const {
    return static_cast<size_t>(((n * height + h) * width + w) * channels + c);
  }
};

/// What black, mid-grey and white are to the network, per channel, or where a mean image is subtracted at every place.
struct Levels {
  std::vector<float> black, grey, white;
  explicit Levels(const NetworkInput& input) {
    for (size_t i = 0; i < input.mean.size(); ++i) {
      const double mean = input.mean[i], deviation = input.std[i % input.std.size()];
      black.push_back(static_cast<float>((0.0 - mean) / deviation));
      grey.push_back(static_cast<float>((0.5 - mean) / deviation));
      white.push_back(static_cast<float>((1.0 - mean) / deviation));
    }
  }
  size_t size() const { return grey.size(); }
};

void check(const NetworkInput& input, const ImagineOptions& options) {
  const auto channels = static_cast<size_t>(input.channels);
  require<ShapeError>(input.height > 0 && input.width > 0 && (channels == 1 || channels == 3) && input.is_consistent(),
                      "imagine: an input of {}x{}x{} with {} means and {} deviations; 1 or 3 channels are expected",
                      input.height, input.width, input.channels, input.mean.size(), input.std.size());
  require<ConfigError>(options.steps >= 0, "imagine: {} steps; expected 0 or more", options.steps);
  require<ConfigError>(options.rate > 0.0, "imagine: a rate of {}; expected more than 0", options.rate);
  require<ConfigError>(options.decay >= 0.0 && options.decay < 1.0, "imagine: a decay of {}; expected 0 to below 1",
                       options.decay);
  require<ConfigError>(options.blur >= 0.0 && options.blur <= 16.0, "imagine: a blur of {} pixels; expected 0 to 16",
                       options.blur);
  require<ConfigError>(options.jitter >= -1 && options.jitter < std::min(input.height, input.width),
                       "imagine: a jitter of {} pixels; expected 0 to below the image's {}", options.jitter,
                       std::min(input.height, input.width));
}

int64_t jitter_of(const ImagineOptions& options, const NetworkInput& input) {
  if (options.jitter >= 0) return options.jitter;
  return options.target == ImagineTarget::centre ? 0 : std::min<int64_t>(2, std::min(input.height, input.width) - 1);
}

}  // namespace

ImagineTarget parse_imagine_target(const std::string& text) {
  require<ConfigError>(text == "channel" || text == "centre", "--target {}: expected channel or centre", text);
  return text == "centre" ? ImagineTarget::centre : ImagineTarget::channel;
}

int64_t unit_count(nn::Module& model, const std::string& layer, const NetworkInput& input, Device device) {
  const Frozen frozen(model);
  const NoGradGuard no_grad;
  Capture capture(model, layer);
  return run(model, capture, Tensor::zeros({1, input.height, input.width, input.channels}, DType::float32, device))
      .shape()
      .back();
}

std::vector<Imagined> imagine(nn::Module& model, const std::string& layer, const std::vector<int64_t>& units,
                              const NetworkInput& input, Device device, const ImagineOptions& options) {
  check(input, options);
  const int64_t available = unit_count(model, layer, input, device);
  for (const int64_t unit : units) {
    require<ConfigError>(unit >= 0 && unit < available, "unit {}: {} has units 0 to {}", unit,
                         layer.empty() ? "the network's output" : "layer '" + layer + "'", available - 1);
  }
  if (units.empty()) return {};
  const Frozen frozen(model);
  Capture capture(model, layer);
  const Levels levels(input);
  Images images{static_cast<int64_t>(units.size()), input.height, input.width, input.channels, {}};
  const Shape shape = {images.count, input.height, input.width, input.channels};
  // Every unit starts from the same image, whatever others are asked for with it.
  for (size_t n = 0; n < units.size(); ++n) {
    Random random(options.seed, RandomPurpose::figure, 2);
    for (size_t i = 0; i < images.each(); ++i)
      images.x.push_back(levels.grey[i % levels.size()] + 0.05f * random.normal());
  }

  std::vector<Imagined> results(units.size());
  std::vector<float> weights;
  const auto measure = [&](double Imagined::*field) {
    const NoGradGuard no_grad;
    const Tensor output = run(model, capture, Tensor::from(images.x, shape).to(device));
    weights = selection(output.shape(), units, options.target);
    const std::vector<double> found = values(output, weights);
    for (size_t n = 0; n < found.size(); ++n) results[n].*field = found[n];
  };
  measure(&Imagined::before);

  Random random(options.seed, RandomPurpose::figure, 3);
  const int64_t jitter = jitter_of(options, input);
  const auto shift = [&] { return static_cast<int64_t>(random.below(2 * static_cast<uint64_t>(jitter) + 1)) - jitter; };
  const Tensor selector = Tensor::from(weights, {1, static_cast<int64_t>(weights.size())}).to(device);
  for (int step = 0; step < options.steps; ++step) {
    const int64_t dy = shift(), dx = shift();
    Tensor x = Tensor::from(images.shifted(images.x, dy, dx), shape).to(device);
    x.set_requires_grad(true);
    const Tensor output = run(model, capture, x);
    ops::linear(output.reshape({1, -1}), selector, {}).to(DType::float32).backward();
    const std::vector<float> gradient = images.shifted(x.grad().to_vector<float>(), -dy, -dx);
    for (size_t n = 0; n < units.size(); ++n) {
      double squares = 0.0;
      for (size_t i = n * images.each(); i < (n + 1) * images.each(); ++i) squares += double{gradient[i]} * gradient[i];
      const double length = std::sqrt(squares / static_cast<double>(images.each()));
      // A unit without a gradient (behind a dead activation, say) keeps its image.
      const auto factor = static_cast<float>(length > 0.0 && std::isfinite(length) ? options.rate / length : 0.0);
      for (size_t i = n * images.each(); i < (n + 1) * images.each(); ++i) {
        const float grey = levels.grey[i % levels.size()];
        const float raised = images.x[i] + factor * (factor > 0.0f ? gradient[i] : 0.0f);
        images.x[i] = grey + static_cast<float>(1.0 - options.decay) * (raised - grey);
      }
    }
    // Not after the last steps, so that the picture is as sharp as the ascent left it.
    if (options.blur > 0.0 && step % 4 == 3 && step + 8 < options.steps) images.blur(options.blur);
    for (size_t i = 0; i < images.x.size(); ++i) {
      images.x[i] = std::clamp(images.x[i], levels.black[i % levels.size()], levels.white[i % levels.size()]);
    }
    if (options.progress && !options.progress(step + 1, options.steps)) break;
  }
  measure(&Imagined::after);

  for (size_t n = 0; n < units.size(); ++n) {
    results[n].unit = units[n];
    Image& image = results[n].image;
    image.reshape(static_cast<int>(input.height), static_cast<int>(input.width), static_cast<int>(input.channels));
    for (size_t i = 0; i < images.each(); ++i) {
      const double pixel =
          double{images.x[n * images.each() + i]} * input.std[i % input.std.size()] + input.mean[i % input.mean.size()];
      image.pixels[i] = static_cast<uint8_t>(std::lround(255.0 * std::clamp(pixel, 0.0, 1.0)));
    }
  }
  return results;
}

}  // namespace striate
