#include "models/layer_list.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "engine/autograd.h"
#include "engine/config.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "tests/support/error.h"

namespace striate::models {
namespace {

ModelConfig layers(const std::string& list) { return ModelConfig::parse(ConfigReader::parse("layers: " + list)); }

template <typename E>
testing::AssertionResult build_throws(const std::string& list, std::initializer_list<std::string> parts,
                                      const Shape& input = {16, 16, 3}, int64_t classes = 4) {
  return test::throws_with<E>([&] { make_model(layers(list), input, classes); }, parts);
}

testing::AssertionResult parse_throws(const std::string& list, std::initializer_list<std::string> parts) {
  return test::throws_with<ConfigError>([&] { layers(list); }, parts);
}

TEST(LayerList, EveryTypeWithItsOptions) {
  const auto model = make_model(layers(R"([
      {conv: {channels: 8, kernel: [5, 3], stride: 2, padding: [2, 1], groups: 1, bias: true}}, relu,
      {batch_norm: {momentum: 0.2, epsilon: 1e-3}}, {local_response_norm: {size: 3, divide_alpha: true}},
      {max_pool: {kernel: 3, stride: 1, padding: 1}}, {conv: {channels: 4, kernel: 3, dilation: 2, groups: 2, bias: false}},
      leaky_relu, {avg_pool: 2}, gelu, {adaptive_avg_pool: [1, 2]}, flatten, {dropout: 0.25}, {linear: 6}, silu,
      dropout, linear])"),
                                {16, 16, 3}, 4);
  std::vector<std::string> found;
  for (auto& [name, module] : model->children()) found.push_back(module->description());
  const std::vector<std::string> expected = {"Conv2d(3, 8, kernel 5x3, stride 2, padding 2x1)",
                                             "ReLU()",
                                             "BatchNorm2d(8)",
                                             "LocalResponseNorm(size 3, k 2, alpha 0.0001/n, beta 0.75)",
                                             "MaxPool2d(3, stride 1, padding 1)",
                                             "Conv2d(8, 4, kernel 3, stride 1, dilation 2, groups 2, no bias)",
                                             "LeakyReLU()",
                                             "AvgPool2d(2, stride 2)",
                                             "GELU()",
                                             "AdaptiveAvgPool2d(1x2)",
                                             "Flatten()",
                                             "Dropout(0.25)",
                                             "Linear(8, 6)",
                                             "SiLU()",
                                             "Dropout(0.5)",
                                             "Linear(6, 4)"};
  EXPECT_EQ(found, expected);
  EXPECT_EQ(model->named_parameters().front().name, "0.weight");
  const NoGradGuard no_grad;
  EXPECT_EQ((*model)(Tensor::zeros({2, 16, 16, 3})).shape(), (Shape{2, 4}));
}

TEST(LayerList, TorchvisionsAlexNetWrittenOut) {
  const auto model = make_model(layers(R"([
      {conv: {channels: 64, kernel: 11, stride: 4, padding: 2}}, relu, {max_pool: {kernel: 3, stride: 2}},
      {conv: {channels: 192, kernel: 5, padding: 2}}, relu, {max_pool: {kernel: 3, stride: 2}},
      {conv: {channels: 384, kernel: 3, padding: 1}}, relu, {conv: {channels: 256, kernel: 3, padding: 1}}, relu,
      {conv: {channels: 256, kernel: 3, padding: 1}}, relu, {max_pool: {kernel: 3, stride: 2}},
      {adaptive_avg_pool: 6}, flatten, dropout, {linear: 4096}, relu, dropout, {linear: 4096}, relu, linear])"),
                                {224, 224, 3}, 1000);
  EXPECT_EQ(model->parameter_count(), 61'100'840);
}

TEST(LayerList, ClassesFollowFromTheLastLayerWhereNothingElseSays) {
  EXPECT_EQ(resolve_classes(layers("[flatten, {linear: 7}]"), 0), 0);
  EXPECT_EQ(make_model(layers("[flatten, {linear: 7}]"), {2, 2, 1}, 0)->parameter_count(), 35);
  EXPECT_TRUE(build_throws<ShapeError>("[flatten, linear]", {"1 (linear): expected a positive"}, {2, 2, 1}, 0));
}

TEST(LayerList, NamesAWrongLayerByIndexAndType) {
  EXPECT_TRUE(build_throws<ShapeError>(
      "[{conv: {channels: 8, kernel: 5}}, {max_pool: 14}, flatten, linear]",
      {"configuration:1: layers with input [16,16,3]: layer 1 (max_pool)", "12x12", "the smallest input is 18x18"}));
  EXPECT_TRUE(build_throws<ShapeError>(
      "[{conv: {channels: 8, kernel: 5}}, relu, linear]",
      {"2 (linear): expected flat features, found an image [12,12,8]; put `flatten` before it"}));
  EXPECT_TRUE(build_throws<ShapeError>("[flatten, {conv: {channels: 8, kernel: 5}}, linear]",
                                       {"1 (conv): expected an image [H,W,C], found [768]"}));
  EXPECT_TRUE(build_throws<ShapeError>("[{conv: {channels: 8, kernel: 5, groups: 2}}, flatten, linear]",
                                       {"0 (conv)", "groups must divide"}));
  EXPECT_TRUE(build_throws<ConfigError>("[flatten, {linear: 5}]",
                                        {"configuration:1: layers", "1 (linear), gives [5] values", "4 classes"}));
  EXPECT_TRUE(build_throws<ConfigError>("[{conv: {channels: 4, kernel: 1}}]", {"0 (conv), gives [16,16,4]"}));
  EXPECT_TRUE(build_throws<ConfigError>("[flatten, linear]", {"a list of layers needs an input size"}, {}));
}

TEST(LayerList, NamesAWrongKeyWithItsPlace) {
  EXPECT_TRUE(parse_throws("[flatten, {cnov: {channels: 8}}]",
                           {"configuration:1: layers[1].cnov: unknown layer, did you mean 'conv'?"}));
  EXPECT_TRUE(
      parse_throws("[{conv: {channels: 8, kernel: 3, sride: 2}}]", {"layers[0].conv.sride: unknown key", "'stride'"}));
  EXPECT_TRUE(parse_throws("[{conv: {kernel: 3}}]", {"layers[0].conv.channels: expected a positive number"}));
  EXPECT_TRUE(parse_throws("[{conv: {channels: 8}}]", {"layers[0].conv.kernel must be given"}));
  EXPECT_TRUE(parse_throws("[{conv: {channels: 8, kernel: 2.5}}]",
                           {"layers[0].conv.kernel: expected a whole number of at least 1, found 2.5"}));
  EXPECT_TRUE(parse_throws("[{conv: {channels: 8, kernel: [1, 2, 3]}}]", {"expected a number or [h, w]"}));
  EXPECT_TRUE(parse_throws("[{conv: {channels: 8, kernel: 3, padding: -1}}]", {"padding: expected a whole number"}));
  EXPECT_TRUE(parse_throws("[{conv: 3}]", {"layers[0].conv: expected a map of keys"}));
  EXPECT_TRUE(parse_throws("[{relu: 3}]", {"layers[0].relu: expected a map of keys"}));
  EXPECT_TRUE(parse_throws("[max_pool]", {"layers[0].max_pool.kernel must be given"}));
  EXPECT_TRUE(parse_throws("[{linear: -4}]", {"layers[0].linear.features: expected a positive number, found -4"}));
  EXPECT_TRUE(parse_throws("[{dropout: 1}]", {"layers[0].dropout.p: expected a probability"}));
  EXPECT_TRUE(parse_throws("[{relu: , flatten: }]", {"layers[0]: expected one layer, found relu, flatten"}));
  EXPECT_TRUE(parse_throws("[]", {"expected at least one layer"}));
  EXPECT_TRUE(parse_throws("flatten", {"layers: expected a list"}));
}

}  // namespace
}  // namespace striate::models
