#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "engine/autograd.h"
#include "engine/config.h"
#include "engine/ops/ops.h"
#include "engine/optim/optimizer.h"
#include "engine/step_state.h"
#include "models/registry.h"
#include "tests/models/random_tensor.h"

namespace striate::models {
namespace {

Tensor images(int64_t count, const Shape& input, uint32_t seed) {
  const Shape shape = {count, input[0], input[1], input[2]};
  return test::random_tensor(shape, seed);
}

Tensor labels(int64_t count, int64_t classes) {
  std::vector<int32_t> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) values[static_cast<size_t>(i)] = static_cast<int32_t>(i * 3 % classes);
  return Tensor::from(values, {count});
}

double norm(const std::vector<float>& values) {
  double sum = 0.0;
  for (const float v : values) sum += static_cast<double>(v) * v;
  return std::sqrt(sum);
}

struct Family {
  const char* model;
  Shape input;
  double width;
};

class Overfit : public testing::TestWithParam<Family> {};

// Eight images of noise with arbitrary labels: whatever reaches no parameter, or reaches it wrongly, shows here.
TEST_P(Overfit, EightImagesToALossBelowOnePercent) {
  const Family& family = GetParam();
  ModelConfig config;
  config.name = family.model;
  config.width = family.width;
  config.dropout = 0.0f;
  // The paper's N(0, 0.01) needs its own width: eight times narrower, the signal dies on the way.
  config.init = nn::InitScheme::kaiming_normal;
  const auto model = build_model(config, family.input, 4, 11);
  Adam optimizer(model->named_parameters(), 2e-3);
  const Tensor x = images(8, family.input, 5), y = labels(8, 4);
  float loss = 0.0f;
  int step = 0;
  for (; step < 300; ++step) {
    optimizer.clear_grad();
    const Tensor mean = ops::softmax_cross_entropy((*model)(x), y).loss;
    loss = mean.item();
    if (loss < 0.01f) break;
    mean.backward();
    optimizer.step();
  }
  EXPECT_LT(loss, 0.01f) << "after " << step << " steps";
}

INSTANTIATE_TEST_SUITE_P(
    Families, Overfit,
    testing::Values(Family{"alexnet", {63, 63, 3}, 0.125}, Family{"alexnet_owt", {63, 63, 3}, 0.125},
                    Family{"alexnet_paper", {63, 63, 3}, 0.125}, Family{"alexnet_bn", {67, 67, 3}, 0.125},
                    Family{"alexnet_cifar", {32, 32, 3}, 0.125}, Family{"alexnet_mini", {32, 32, 3}, 0.25},
                    Family{"lenet", {28, 28, 1}, 1.0}, Family{"resnet18", {16, 16, 3}, 0.125}),
    [](const auto& test) { return std::string(test.param.model); });

// Every kind of layer that is smooth, on the reference device with its double accumulators. The loss is a float32, so
// derivatives are taken along a direction through a whole parameter: its change is then far above the rounding.
TEST(Gradient, OfATinyNetworkAgreesWithFiniteDifferences) {
  const ModelConfig config = ModelConfig::parse(ConfigReader::parse(R"(layers: [
      {conv: {channels: 4, kernel: 3, stride: 2, padding: 1}}, {batch_norm: {}}, silu, {local_response_norm: {alpha: 0.1}},
      {conv: {channels: 4, kernel: 3, groups: 2, bias: false}}, gelu, {avg_pool: {kernel: 2, stride: 1}},
      {adaptive_avg_pool: 2}, flatten, {dropout: 0.3}, {linear: 6}, silu, linear]
init: kaiming_normal)"));
  const Shape input = {11, 11, 3};
  const auto model = build_model(config, input, 3, 7);
  model->to(Device::reference);
  dropout_state(Device::reference) = {};
  const Tensor x = images(4, input, 2).to(Device::reference), y = labels(4, 3).to(Device::reference);
  const auto loss = [&] { return ops::softmax_cross_entropy((*model)(x), y, 0.1f).loss; };

  loss().backward();
  constexpr double kStep = 1e-2;  // error ~ step²·f‴/6 and ~ 1e-7/step: both near 1e-5
  uint32_t seed = 100;
  for (NamedTensor& parameter : model->named_parameters()) {
    const std::vector<float> gradient = parameter.tensor.grad().to_vector<float>();
    const std::vector<float> values = parameter.tensor.to_vector<float>();
    // Half along the gradient, so that the change is large, half at random, so that nothing stays unseen.
    auto direction = test::uniform<float>(parameter.tensor.size(), ++seed);
    const double gradient_norm = norm(gradient), random_norm = norm({direction.begin(), direction.end()});
    double expected = 0.0;
    for (size_t i = 0; i < gradient.size(); ++i) {
      const double along = gradient_norm > 0.0 ? gradient[i] / gradient_norm : 0.0;
      direction[i] = static_cast<float>(along + direction[i] / random_norm);
      expected += static_cast<double>(gradient[i]) * direction[i];
    }

    const NoGradGuard no_grad;
    const auto loss_at = [&](double step) {
      float* moved = parameter.tensor.data<float>();
      for (size_t i = 0; i < values.size(); ++i) moved[i] = values[i] + static_cast<float>(step) * direction[i];
      return static_cast<double>(loss().item());
    };
    const double difference = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    loss_at(0.0);
    EXPECT_NEAR(expected, difference, 3e-5 + 1e-3 * std::abs(difference)) << parameter.name;
  }
}

}  // namespace
}  // namespace striate::models
