#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "models/registry.h"

namespace striate::models {
namespace {

struct Statistics {
  double mean = 0.0, std = 0.0, largest = 0.0;
};

Statistics of(const Tensor& tensor) {
  Statistics s;
  const std::vector<float> values = tensor.to_vector<float>();
  for (const float v : values) {
    s.mean += v;
    s.largest = std::max(s.largest, std::abs(static_cast<double>(v)));
  }
  s.mean /= static_cast<double>(values.size());
  for (const float v : values) s.std += (v - s.mean) * (v - s.mean);
  s.std = std::sqrt(s.std / static_cast<double>(values.size()));
  return s;
}

struct SchemeCase {
  const char* print_as;
  nn::InitScheme scheme;
  bool uniform;
  double (*conv_std)(double fan_in, double fan_out);
  double (*linear_std)(double fan_in, double fan_out);
};

double kaiming(double in, double) { return std::sqrt(2.0 / in); }
double xavier(double in, double out) { return std::sqrt(2.0 / (in + out)); }
double xavier_gain(double in, double out) { return 2.0 / std::sqrt(in + out); }
double pytorch(double in, double) { return 1.0 / std::sqrt(3.0 * in); }
double hundredth(double, double) { return 0.01; }

class Init : public testing::TestWithParam<SchemeCase> {};

TEST_P(Init, WeightsHaveTheSchemesMeanAndDeviation) {
  const SchemeCase& c = GetParam();
  ModelConfig config;
  config.name = "alexnet_mini";
  config.init = c.scheme;
  const auto model = build_model(config, {}, 0, 42);
  int checked = 0;
  for (const NamedTensor& p : model->named_parameters()) {
    const int64_t n = p.tensor.size();
    if (p.tensor.rank() == 1 || n < 2000) continue;  // the last layer is too small for statistics
    const bool is_conv = p.tensor.rank() == 4;
    const double fan_in = static_cast<double>(n) / static_cast<double>(p.tensor.dim(0));
    const double fan_out =
        static_cast<double>(p.tensor.dim(0)) * (is_conv ? static_cast<double>(p.tensor.dim(1) * p.tensor.dim(2)) : 1.0);
    const double std = (is_conv ? c.conv_std : c.linear_std)(fan_in, fan_out);
    const Statistics s = of(p.tensor);
    // The deviation of n draws lies within std/√(2n) of the truth two times in three; four times that.
    EXPECT_NEAR(s.std, std, 4.0 * std / std::sqrt(2.0 * static_cast<double>(n))) << p.name;
    EXPECT_NEAR(s.mean, 0.0, 4.0 * std / std::sqrt(static_cast<double>(n))) << p.name;
    // A uniform ends at √3·std; a normal does not.
    const double end = std::sqrt(3.0) * std;
    EXPECT_EQ(s.largest <= end * (1.0 + 1e-6), c.uniform) << p.name << ": " << s.largest << " against " << end;
    ++checked;
  }
  EXPECT_EQ(checked, 3);
}

TEST_P(Init, BiasesAreTheSchemes) {
  ModelConfig config;
  config.name = "alexnet_paper";
  config.width = 0.05;
  config.init = GetParam().scheme;
  const auto model = build_model(config, {224, 224, 3}, 10, 42);
  for (const NamedTensor& p : model->named_parameters()) {
    if (p.tensor.rank() != 1) continue;
    const Statistics s = of(p.tensor);
    if (GetParam().scheme == nn::InitScheme::pytorch) {
      EXPECT_GT(s.std, 0.0) << p.name;
      continue;
    }
    // Krizhevsky et al. 2012, §5: 1 in the second, fourth and fifth convolution and in the hidden linear layers.
    const bool is_one = p.name == "features.4.bias" || p.name == "features.10.bias" || p.name == "features.12.bias" ||
                        p.name == "classifier.1.bias" || p.name == "classifier.4.bias";
    EXPECT_EQ(s.std, 0.0) << p.name;
    EXPECT_EQ(s.mean, GetParam().scheme == nn::InitScheme::paper && is_one ? 1.0 : 0.0) << p.name;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Schemes, Init,
    testing::Values(SchemeCase{"pytorch", nn::InitScheme::pytorch, true, pytorch, pytorch},
                    SchemeCase{"kaiming_normal", nn::InitScheme::kaiming_normal, false, kaiming, kaiming},
                    SchemeCase{"kaiming_uniform", nn::InitScheme::kaiming_uniform, true, kaiming, kaiming},
                    SchemeCase{"xavier_normal", nn::InitScheme::xavier_normal, false, xavier, xavier},
                    SchemeCase{"xavier_uniform", nn::InitScheme::xavier_uniform, true, xavier, xavier},
                    SchemeCase{"normal", nn::InitScheme::normal, false, hundredth, hundredth},
                    SchemeCase{"paper", nn::InitScheme::paper, false, hundredth, hundredth},
                    SchemeCase{"kaiming_xavier", nn::InitScheme::kaiming_xavier, false, kaiming, xavier_gain}),
    [](const auto& test) { return std::string(test.param.print_as); });

TEST(ModelsOwnInit, IsThePapersAndTheTutorials) {
  const auto deviation = [](const std::string& name, const Shape& input, const std::string& layer) {
    ModelConfig config;
    config.name = name;
    config.width = 0.25;
    const auto model = build_model(config, input, 10, 1);
    for (const NamedTensor& p : model->named_parameters()) {
      if (p.name == layer) return of(p.tensor);
    }
    return Statistics{};
  };
  EXPECT_NEAR(deviation("alexnet_paper", {63, 63, 3}, "classifier.4.weight").std, 0.01, 1e-4);
  EXPECT_NEAR(deviation("alexnet_cifar", {32, 32, 3}, "classifier.4.weight").std, 2.0 / std::sqrt(2048.0), 1e-3);
  EXPECT_NEAR(deviation("alexnet", {63, 63, 3}, "classifier.4.weight").std, 1.0 / std::sqrt(3.0 * 1024.0), 1e-4);
}

}  // namespace
}  // namespace striate::models
