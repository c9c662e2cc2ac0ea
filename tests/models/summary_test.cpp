#include "models/summary.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/allocator.h"
#include "engine/config.h"
#include "engine/ops/ops.h"
#include "engine/optim/optimizer.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "tests/engine/precision.h"
#include "tests/models/random_tensor.h"

namespace striate::models {
namespace {

std::shared_ptr<nn::Module> named(const std::string& name, const Shape& input = {}) {
  ModelConfig config;
  config.name = name;
  return make_model(config, input);
}

const LayerSummary& layer(const ModelSummary& summary, const std::string& name) {
  for (const LayerSummary& l : summary.layers) {
    if (l.name == name) return l;
  }
  throw Error("no layer " + name);
}

TEST(Summary, OfAlexNetHasThePublishedFigures) {
  const ModelSummary summary = summarize(*named("alexnet"), {224, 224, 3}, 128);
  EXPECT_EQ(summary.parameters, 61'100'840);
  EXPECT_EQ(summary.macs, 714'188'480);  // torchvision says 0.714 G
  EXPECT_EQ(summary.layers.size(), 22u);
  EXPECT_EQ(summary.layers.front().name, "features.0");
  const LayerSummary& conv1 = layer(summary, "features.0");
  EXPECT_EQ(conv1.type, "Conv2d");
  EXPECT_EQ(conv1.output, (Shape{128, 55, 55, 64}));
  EXPECT_EQ(conv1.parameters, 23'296);
  EXPECT_EQ(conv1.macs, 55 * 55 * 64 * 363);
  EXPECT_EQ(layer(summary, "avgpool").output, (Shape{128, 6, 6, 256}));
  EXPECT_EQ(layer(summary, "classifier.6").output, (Shape{128, 1000}));
  int64_t parameters = 0;
  for (const LayerSummary& l : summary.layers) parameters += l.parameters;
  EXPECT_EQ(parameters, summary.parameters);
}

TEST(Summary, InALineIsAsTheCoursesGiveIt) {
  EXPECT_EQ(one_line(summarize(*named("alexnet_mini"), {32, 32, 3})),
            "conv 32@5×5 p2, pool 2, conv 64@3×3 p1, pool 2, dropout, fc 4096→128, dropout, fc 10");
  EXPECT_EQ(one_line(summarize(*named("lenet"), {32, 32, 3})),
            "conv 6@5×5 p2, avgpool 2, conv 16@5×5, avgpool 2, fc 576→120, fc 84, fc 10");
  EXPECT_EQ(one_line(summarize(*named("alexnet_paper"), {224, 224, 3})),
            "conv 96@11×11 s4 p2, local response norm, pool 3/2, conv 256@5×5 p2 g2, local response norm, pool 3/2, "
            "conv 384@3×3 p1, conv 384@3×3 p1 g2, conv 256@3×3 p1 g2, pool 3/2, fc 9216→4096, dropout, fc 4096, "
            "dropout, fc 1000");
  const std::string alexnet = one_line(summarize(*named("alexnet"), {224, 224, 3}));
  EXPECT_NE(alexnet.find("avgpool to 6×6, dropout, fc 9216→4096"), std::string::npos) << alexnet;
  ModelConfig odd = ModelConfig::parse(ConfigReader::parse(
      "layers: [{conv: {channels: 4, kernel: [3, 1], dilation: 2, stride: [1, 2]}}, {max_pool: {kernel: 2, stride: 1, "
      "padding: 1}}, batch_norm, flatten, linear]"));
  EXPECT_EQ(one_line(summarize(*make_model(odd, {9, 9, 1}, 2), {9, 9, 1}))
                .rfind("conv 4@3×1 s1×2 d2, pool 2/1 p1, "
                       "batch norm, fc ",
                       0),
            0u);
}

TEST(Summary, OfResNetCountsEveryLayerOnce) {
  const ModelSummary summary = summarize(*named("resnet18"), {224, 224, 3});
  EXPECT_EQ(summary.macs, 1'814'073'344);  // torchvision says 1.81 G
  int64_t parameters = 0;
  for (const LayerSummary& l : summary.layers) parameters += l.parameters;
  EXPECT_EQ(parameters, 11'689'512);
  EXPECT_EQ(layer(summary, "layer2.0.downsample.0").output, (Shape{1, 28, 28, 128}));
}

TEST(Summary, LeavesModeAndStatisticsAsTheyWere) {
  const auto model = named("alexnet_bn", {67, 67, 3});
  const auto before = model->named_buffers()[0].tensor.to_vector<float>();
  summarize(*model, {67, 67, 3});
  EXPECT_TRUE(model->training());
  EXPECT_EQ(model->named_buffers()[0].tensor.to_vector<float>(), before);
  model->eval();
  summarize(*model, {67, 67, 3});
  EXPECT_FALSE(model->training());
  model->train();
  nn::Module& frozen = *model->named_modules().back().module;
  frozen.eval();
  summarize(*model, {67, 67, 3});
  EXPECT_TRUE(model->training());
  EXPECT_FALSE(frozen.training());
}

TEST(Summary, OfAWrongInputNamesWhatIsWrong) {
  EXPECT_THROW(summarize(*named("lenet"), {32, 32}), ShapeError);
  EXPECT_THROW(summarize(*named("lenet"), {32, 32, 3}, 0), ShapeError);
}

struct Trained {
  const char* model;
  Precision precision;
};

class TrainingMemory : public testing::TestWithParam<Trained> {};

TEST_P(TrainingMemory, PredictedIsWhatAStepTakes) {
  const Shape input = {32, 32, 3};
  const int64_t batch = 32;
  const int64_t before = static_cast<int64_t>(allocator(Device::cpu).stats().in_use);
  ModelConfig config;
  config.name = GetParam().model;
  config.width = 0.5;
  const test::PrecisionGuard guard(Device::cpu, GetParam().precision);
  const auto model = build_model(config, input, 10, 1);
  const ModelSummary summary = summarize(*model, input, batch);
  SgdOptions options;
  options.momentum = 0.9f;
  Sgd optimizer(model->named_parameters(), 1e-4, options);
  const Shape shape = {batch, input[0], input[1], input[2]};
  const Tensor x = test::random_tensor(shape, 1);
  const Tensor y = Tensor::from(std::vector<int32_t>(static_cast<size_t>(batch), 1), {batch});
  for (int step = 0; step < 2; ++step) {
    allocator(Device::cpu).reset_peak();
    optimizer.clear_grad();
    ops::softmax_cross_entropy((*model)(x), y).loss.backward();
    optimizer.step();
  }
  auto measured = static_cast<double>(allocator(Device::cpu).stats().peak) - static_cast<double>(before);
  if (GetParam().precision == Precision::bf16) measured -= static_cast<double>(x.bytes());  // the loader's, unrounded
  // In bf16 what is not halved, the images and their rounding, weighs more beside what is.
  EXPECT_NEAR(static_cast<double>(summary.training_bytes) / measured, 1.0,
              GetParam().precision == Precision::bf16 ? 0.1 : 0.05)
      << summary.training_bytes << " predicted, " << measured << " measured";
}

std::vector<Trained> trained() {
  std::vector<Trained> all;
  for (const char* model : {"alexnet_cifar", "alexnet_mini", "lenet", "resnet18"}) {
    for (const Precision precision : {Precision::fp32, Precision::bf16}) all.push_back({model, precision});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Models, TrainingMemory, testing::ValuesIn(trained()),
                         [](const auto& test) { return test.param.model + ("_" + to_string(test.param.precision)); });

}  // namespace
}  // namespace striate::models
