#include "engine/nn/init.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "engine/config.h"
#include "engine/nn/layers.h"
#include "engine/random.h"
#include "kernels/error.h"

namespace striate::nn {

namespace {

struct SchemeName {
  const char* name;
  InitScheme scheme;
};
constexpr std::array<SchemeName, 8> kSchemes{{{"pytorch", InitScheme::pytorch},
                                              {"kaiming_normal", InitScheme::kaiming_normal},
                                              {"kaiming_uniform", InitScheme::kaiming_uniform},
                                              {"xavier_normal", InitScheme::xavier_normal},
                                              {"xavier_uniform", InitScheme::xavier_uniform},
                                              {"normal", InitScheme::normal},
                                              {"paper", InitScheme::paper},
                                              {"kaiming_xavier", InitScheme::kaiming_xavier}}};

/// A convolution or linear layer as initialisation sees it.
struct Layer {
  Tensor weight, bias;
  bool linear = false;
  int64_t receptive_field() const { return linear ? 1 : weight.dim(1) * weight.dim(2); }
  double fan_in() const { return static_cast<double>(weight.size() / weight.dim(0)); }
  double fan_out() const { return static_cast<double>(weight.dim(0) * receptive_field()); }
};

class Filler {
 public:
  explicit Filler(uint64_t seed) : seed_(seed) {}

  void uniform(Tensor& t, double bound) {
    const auto b = static_cast<float>(bound);
    fill(t, [b](Random& random) { return random.uniform(-b, b); });
  }
  void normal(Tensor& t, double std) {
    const auto s = static_cast<float>(std);
    fill(t, [s](Random& random) { return s * random.normal(); });
  }
  void constant(Tensor& t, float value) {
    next();
    t.fill(value);
  }

 private:
  // Drawn on the host for every device: the same values on each.
  void fill(Tensor& t, auto&& draw) {
    const Random stream = next();
    Tensor host = on_host(t.device()) ? t : Tensor::empty(t.shape());
    float* values = host.data<float>();
    constexpr int64_t kDrawsABlock = 4, kGrain = 4096 * kDrawsABlock;
    context(Device::cpu).threads->parallel_for(t.size(), kGrain, [&](int64_t begin, int64_t end) {
      Random random = stream;
      random.start_at(static_cast<uint32_t>(begin / kDrawsABlock));
      for (int64_t i = begin; i < end; ++i) values[i] = draw(random);
    });
    if (!on_host(t.device())) t.copy_from(host);
  }
  Random next() { return Random(seed_, RandomPurpose::initialization, place_++); }
  uint64_t seed_;
  uint64_t place_ = 0;
};

void fill_weight(Layer& layer, const InitOptions& options, Filler& fill) {
  const double in = layer.fan_in(), both = in + layer.fan_out();
  InitScheme scheme = options.scheme;
  double gain = options.gain;
  if (scheme == InitScheme::kaiming_xavier) {
    scheme = layer.linear ? InitScheme::xavier_normal : InitScheme::kaiming_normal;
    gain = std::sqrt(2.0);
  }
  switch (scheme) {
    case InitScheme::pytorch:
      return fill.uniform(layer.weight, 1.0 / std::sqrt(in));
    case InitScheme::kaiming_normal:
      return fill.normal(layer.weight, std::sqrt(2.0 / in));
    case InitScheme::kaiming_uniform:
      return fill.uniform(layer.weight, std::sqrt(6.0 / in));
    case InitScheme::xavier_normal:
      return fill.normal(layer.weight, gain * std::sqrt(2.0 / both));
    case InitScheme::xavier_uniform:
      return fill.uniform(layer.weight, gain * std::sqrt(6.0 / both));
    case InitScheme::normal:
      return fill.normal(layer.weight, options.std);
    case InitScheme::paper:
      return fill.normal(layer.weight, 0.01);
    case InitScheme::kaiming_xavier:
      break;
  }
}

}  // namespace

InitScheme parse_init_scheme(const std::string& name) {
  std::vector<std::string> names;
  for (const SchemeName& s : kSchemes) {
    if (name == s.name) return s.scheme;
    names.emplace_back(s.name);
  }
  const std::string near = nearest(name, names);
  throw ConfigError(fmt::format("initialisation '{}' is not known{}; there are {}", name,
                                near.empty() ? "" : fmt::format(", did you mean '{}'?", near), fmt::join(names, ", ")));
}

std::string to_string(InitScheme scheme) {
  return std::find_if(kSchemes.begin(), kSchemes.end(), [&](const SchemeName& s) { return s.scheme == scheme; })->name;
}

void initialize(Module& module, const InitOptions& options, uint64_t seed) {
  std::vector<Layer> layers;
  int64_t linear_layers = 0;
  for (const NamedModule& m : module.named_modules()) {
    if (auto* conv = dynamic_cast<Conv2d*>(m.module)) {
      layers.push_back({conv->weight, conv->bias, false});
    } else if (auto* linear = dynamic_cast<Linear*>(m.module)) {
      layers.push_back({linear->weight, linear->bias, true});
      ++linear_layers;
    }
  }
  Filler fill(seed);
  int64_t convolution = 0, linear = 0;
  for (Layer& layer : layers) {
    (layer.linear ? linear : convolution) += 1;
    fill_weight(layer, options, fill);
    if (!layer.bias.defined()) continue;
    if (options.scheme == InitScheme::pytorch) {
      fill.uniform(layer.bias, 1.0 / std::sqrt(layer.fan_in()));
    } else if (options.scheme == InitScheme::paper) {
      const bool one = layer.linear ? linear < linear_layers : convolution == 2 || convolution == 4 || convolution == 5;
      fill.constant(layer.bias, one ? 1.0f : 0.0f);
    } else {
      fill.constant(layer.bias, 0.0f);
    }
  }
}

}  // namespace striate::nn
