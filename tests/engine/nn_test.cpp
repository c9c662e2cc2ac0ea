#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/autograd.h"
#include "engine/nn/init.h"
#include "engine/nn/layers.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"

namespace striate::nn {
namespace {

using test::device_name;
using test::devices;
using test::random_tensor;

ModulePtr small_network() {
  auto features = std::make_shared<Sequential>();
  features->add(std::make_shared<Conv2d>(3, 8, 3, 1, 1));
  features->add(std::make_shared<ActivationLayer>(Activation::relu));
  features->add(std::make_shared<MaxPool2d>(2, 2));
  auto network = std::make_shared<Sequential>();
  network->add("features", features);
  network->add("flatten", std::make_shared<Flatten>());
  network->add("drop1", std::make_shared<Dropout>(0.5f));
  network->add("fc", std::make_shared<Linear>(8 * 4 * 4, 10));
  network->add("act", std::make_shared<ActivationLayer>(Activation::leaky_relu));
  network->add("drop2", std::make_shared<Dropout>(0.5f));
  initialize(*network, {}, 1);
  return network;
}

class Recorder : public ForwardObserver {
 public:
  void observe(Module& module, const Tensor&, const Tensor& output) override {
    seen.emplace_back(module.type(), output);
  }
  std::vector<std::pair<std::string, Tensor>> seen;
};

class ModuleOn : public test::DeviceTest {};
INSTANTIATE_TEST_SUITE_P(, ModuleOn, testing::ValuesIn(devices()), device_name);

TEST_P(ModuleOn, FusedAndObservedForwardsAgree) {
  const ModulePtr network = small_network();
  network->to(GetParam());
  network->eval();
  const Tensor x = random_tensor({2, 8, 8, 3}, 3, GetParam());
  NoGradGuard no_grad;
  const Tensor fused = (*network)(x);
  Recorder recorder;
  Tensor seen;
  {
    ObserverGuard guard(recorder);
    seen = (*network)(x);
  }
  // The reference rounds a fused output once, an unfused one twice.
  const std::vector<float> at_once = fused.to_vector<float>(), step_by_step = seen.to_vector<float>();
  for (size_t i = 0; i < at_once.size(); ++i) EXPECT_FLOAT_EQ(at_once[i], step_by_step[i]);
  ASSERT_EQ(recorder.seen.size(), 10u);
  EXPECT_EQ(recorder.seen[0].first, "Conv2d");
  EXPECT_EQ(recorder.seen[1].first, "ReLU");
  const std::vector<float> before = recorder.seen[0].second.to_vector<float>();
  EXPECT_LT(*std::min_element(before.begin(), before.end()), 0.0f) << "the convolution was seen after its ReLU";
}

TEST_P(ModuleOn, TrainsEveryParameterAfterTheMove) {
  const ModulePtr network = small_network();
  network->to(GetParam());
  const Tensor x = random_tensor({2, 8, 8, 3}, 3, GetParam());
  const Tensor labels = Tensor::from<int32_t>({1, 2}, {2}, GetParam());
  ops::softmax_cross_entropy((*network)(x), labels).loss.backward();
  for (const NamedTensor& p : network->named_parameters()) {
    EXPECT_EQ(p.tensor.device(), GetParam());
    ASSERT_TRUE(p.tensor.grad().defined()) << p.name;
    EXPECT_EQ(p.tensor.grad().shape(), p.tensor.shape()) << p.name;
  }
}

TEST(Module, NamesParametersAndModulesAsPyTorchDoes) {
  const ModulePtr network = small_network();
  std::vector<std::string> names;
  for (const NamedTensor& p : network->named_parameters()) names.push_back(p.name);
  EXPECT_EQ(names, (std::vector<std::string>{"features.0.weight", "features.0.bias", "fc.weight", "fc.bias"}));
  EXPECT_EQ(network->parameter_count(), 8 * 27 + 8 + 1280 + 10);
  EXPECT_EQ(network->find("features.2").description(), "MaxPool2d(2, stride 2)");
  try {
    network->find("features.9");
    FAIL() << "found a layer that is not there";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("features.0, features.1, features.2, flatten"), std::string::npos) << e.what();
  }
}

TEST(Module, DropoutLayersDifferAndRestInEval) {
  const ModulePtr network = small_network();
  const Tensor ones = Tensor::full({64, 10}, 1);
  Module& first = network->find("drop1");
  Module& second = network->find("drop2");
  EXPECT_NE(first(ones).to_vector<float>(), second(ones).to_vector<float>()) << "both layers drew the same mask";
  network->eval();
  EXPECT_EQ(first(ones).to_vector<float>(), ones.to_vector<float>());
  network->train();
  EXPECT_NE(first(ones).to_vector<float>(), ones.to_vector<float>());
}

TEST(Module, DropoutLayersDifferWhereTheOuterModuleIsBuiltFirst) {
  const auto first = std::make_shared<Sequential>(), second = std::make_shared<Sequential>();
  {
    Sequential network;
    network.add(first);
    network.add(second);
    first->add(std::make_shared<Dropout>(0.5f));
    second->add(std::make_shared<Dropout>(0.5f));
    const Tensor ones = Tensor::full({64, 10}, 1);
    EXPECT_NE((*first)(ones).to_vector<float>(), (*second)(ones).to_vector<float>()) << "both drew the same mask";
  }
  first->add(std::make_shared<Dropout>(0.5f));  // the outer module is gone
  EXPECT_EQ(first->children().size(), 2u);
}

TEST_P(ModuleOn, BatchNormMovesItsBuffersInTrainingOnly) {
  BatchNorm2d norm(3);
  norm.to(GetParam());
  const Tensor x = random_tensor({4, 2, 2, 3}, 1, GetParam(), 2, 4);
  norm(x);
  const std::vector<float> mean = norm.named_buffers()[0].tensor.to_vector<float>();
  EXPECT_NEAR(mean[0], 0.3f, 0.05f);  // a tenth of a batch mean of about 3
  norm.eval();
  norm(x);
  EXPECT_EQ(norm.named_buffers()[0].tensor.to_vector<float>(), mean);
}

TEST(Module, RefusesAChildOfATakenName) {
  Sequential s;
  s.add("a", std::make_shared<Flatten>());
  EXPECT_THROW(s.add("a", std::make_shared<Flatten>()), Error);
  EXPECT_THROW(Conv2d(4, 6, 3, 1, 0, /*groups=*/3), ShapeError);
  EXPECT_THROW(Dropout(1.0f), ShapeError);
}

struct Moments {
  double mean = 0, deviation = 0, largest = 0;
};
Moments moments(const Tensor& t) {
  Moments m;
  const std::vector<float> values = t.to_vector<float>();
  for (const float v : values) m.mean += v, m.largest = std::max<double>(m.largest, std::abs(v));
  m.mean /= static_cast<double>(values.size());
  for (const float v : values) m.deviation += (v - m.mean) * (v - m.mean);
  m.deviation = std::sqrt(m.deviation / static_cast<double>(values.size()));
  return m;
}

struct SchemeCase {
  const char* scheme;
  double conv_deviation, linear_deviation;  // of a 64→128 3×3 convolution and a 256→128 linear layer
  float gain = 1.0f;
};

class Scheme : public testing::TestWithParam<SchemeCase> {};
INSTANTIATE_TEST_SUITE_P(
    , Scheme,
    testing::Values(SchemeCase{"pytorch", 1 / std::sqrt(576.0) / std::sqrt(3.0), 1 / 16.0 / std::sqrt(3.0)},
                    SchemeCase{"kaiming_normal", std::sqrt(2 / 576.0), std::sqrt(2 / 256.0)},
                    SchemeCase{"kaiming_uniform", std::sqrt(2 / 576.0), std::sqrt(2 / 256.0)},
                    SchemeCase{"xavier_normal", 3 * std::sqrt(2 / (576.0 + 1152)), 3 * std::sqrt(2 / 384.0), 3.0f},
                    SchemeCase{"xavier_uniform", std::sqrt(2 / (576.0 + 1152)), std::sqrt(2 / 384.0)},
                    SchemeCase{"normal", 0.01, 0.01}, SchemeCase{"paper", 0.01, 0.01},
                    SchemeCase{"kaiming_xavier", std::sqrt(2 / 576.0), std::sqrt(2.0) * std::sqrt(2 / 384.0)}),
    [](const auto& test) { return test.param.scheme; });

TEST_P(Scheme, HasItsDeviation) {
  Sequential network;
  network.add("conv", std::make_shared<Conv2d>(64, 128, 3));
  network.add("fc", std::make_shared<Linear>(256, 128));
  initialize(network, {parse_init_scheme(GetParam().scheme), GetParam().gain, 0.01f}, 5);
  const auto parameters = network.named_parameters();
  // 73,728 and 32,768 draws: a deviation is known to about 0.4 %.
  EXPECT_NEAR(moments(parameters[0].tensor).deviation, GetParam().conv_deviation, 0.02 * GetParam().conv_deviation);
  EXPECT_NEAR(moments(parameters[2].tensor).deviation, GetParam().linear_deviation, 0.02 * GetParam().linear_deviation);
  EXPECT_NEAR(moments(parameters[0].tensor).mean, 0, 0.02 * GetParam().conv_deviation);
  if (std::string(GetParam().scheme) == "pytorch") {
    EXPECT_LE(moments(parameters[1].tensor).largest, 1 / std::sqrt(576.0));
    EXPECT_GT(moments(parameters[1].tensor).largest, 0.8 / std::sqrt(576.0));
  } else {
    EXPECT_EQ(moments(parameters[1].tensor).largest, 0);
  }
}

TEST_P(ModuleOn, StartsFromTheSameValuesOnEveryDevice) {
  const ModulePtr here = small_network(), there = small_network();
  there->to(GetParam());
  initialize(*here, {InitScheme::kaiming_normal}, 5);
  initialize(*there, {InitScheme::kaiming_normal}, 5);
  const auto expected = here->named_parameters(), found = there->named_parameters();
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(found[i].tensor.device(), GetParam());
    EXPECT_EQ(found[i].tensor.to_vector<float>(), expected[i].tensor.to_vector<float>()) << expected[i].name;
  }
}

TEST(Init, DoesNotHangOnTheNumberOfThreads) {
  std::vector<std::vector<float>> values;
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    Linear layer(301, 217);  // more than a thread's share, and no multiple of it
    for (const InitScheme scheme : {InitScheme::kaiming_normal, InitScheme::pytorch}) {
      initialize(layer, {scheme}, 5);
      values.emplace_back(layer.weight.data<float>(), layer.weight.data<float>() + layer.weight.size());
    }
  }
  set_num_threads(0);
  EXPECT_EQ(values[0], values[2]);
  EXPECT_EQ(values[1], values[3]);
}

TEST(Init, HangsOnTheSeed) {
  const auto weights = [](uint64_t seed) {
    Linear layer(8, 8);
    initialize(layer, {}, seed);
    return layer.weight.to_vector<float>();
  };
  EXPECT_EQ(weights(1), weights(1));
  EXPECT_NE(weights(1), weights(2));
}

TEST(Init, PaperSetsTheBiasesTheTextNames) {
  Sequential network;
  for (int i = 0; i < 5; ++i) network.add(std::make_shared<Conv2d>(2, 2, 1));
  for (int i = 0; i < 3; ++i) network.add(std::make_shared<Linear>(2, 2));
  initialize(network, {parse_init_scheme("paper")}, 1);
  std::vector<float> biases;
  for (const NamedTensor& p : network.named_parameters()) {
    if (p.name.ends_with("bias")) biases.push_back(p.tensor.to_vector<float>()[0]);
  }
  EXPECT_EQ(biases, (std::vector<float>{0, 1, 0, 1, 1, 1, 1, 0}));
}

TEST(Init, NamesTheNearestScheme) {
  try {
    parse_init_scheme("kaiming");
    FAIL() << "took an unknown scheme";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("kaiming_normal"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace striate::nn
