#include "models/weights/onnx.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "engine/autograd.h"
#include "engine/config.h"
#include "engine/nn/layers.h"
#include "engine/train/weights.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "tests/models/random_tensor.h"
#include "tests/models/weights/onnx_evaluator.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate::models {
namespace {

onnx::ModelProto exported(nn::Module& model, const Shape& input) {
  const test::TempDir dir;
  const std::string path = (dir / "m.onnx").string();
  save_onnx(path, model, input, {{"model", "a name"}});
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  onnx::ModelProto proto;
  EXPECT_TRUE(proto.ParseFromString(bytes.str()));
  return proto;
}

/// Running statistics and batch norm's weights as they are after some training.
void disturb(nn::Module& model) {
  uint32_t seed = 100;
  for (NamedTensor& t : named_weights(model)) {
    if (t.tensor.rank() != 1) continue;
    std::vector<float> values = test::random_tensor(t.tensor.shape(), ++seed).to_vector<float>();
    const bool positive = t.name.size() > 11 && t.name.compare(t.name.size() - 11, 11, "running_var") == 0;
    for (float& v : values) v = positive ? std::abs(v) + 0.5f : 0.3f * v + (t.name.back() == 't' ? 1.0f : 0.0f);
    t.tensor.copy_from(Tensor::from(values, t.tensor.shape()));
  }
}

Tensor nchw(const Tensor& images) {
  const int64_t N = images.dim(0), pixels = images.dim(1) * images.dim(2), C = images.dim(3);
  std::vector<float> values;
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t c = 0; c < C; ++c) {
      for (int64_t p = 0; p < pixels; ++p) values.push_back(images.data<float>()[(n * pixels + p) * C + c]);
    }
  }
  return Tensor::from(values, {N, C, images.dim(1), images.dim(2)});
}

/// The file says of two images what the network says.
void expect_same_logits(nn::Module& model, const Shape& input) {
  disturb(model);
  model.eval();
  const onnx::ModelProto proto = exported(model, input);
  const Tensor images = test::random_tensor({2, input[0], input[1], input[2]}, 7);
  const NoGradGuard no_grad;
  const std::vector<float> expected = model(images).to_vector<float>();
  const std::vector<float> found = test::evaluate_onnx(proto.graph(), nchw(images)).to_vector<float>();
  ASSERT_EQ(found.size(), expected.size());
  float largest = 0.0f;
  for (const float v : expected) largest = std::max(largest, std::abs(v));
  EXPECT_GT(largest, 0.0f);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-4f * largest);
}

struct OnnxCase {
  const char* print_as;
  const char* model;
  Shape input;
  Activation activation = Activation::relu;
};

class OnnxOfModel : public testing::TestWithParam<OnnxCase> {};

TEST_P(OnnxOfModel, GivesTheNetworksLogits) {
  const OnnxCase& c = GetParam();
  ModelConfig config;
  config.name = c.model;
  config.width = 0.05;
  config.activation = c.activation;
  expect_same_logits(*build_model(config, c.input, 5, 3), c.input);
}

INSTANTIATE_TEST_SUITE_P(Models, OnnxOfModel,
                         testing::Values(OnnxCase{"alexnet_pooled_to_larger", "alexnet", {63, 63, 3}},
                                         OnnxCase{"alexnet_owt", "alexnet_owt", {67, 67, 3}},
                                         OnnxCase{"alexnet_paper_groups_and_lrn", "alexnet_paper", {67, 67, 3}},
                                         OnnxCase{"alexnet_bn", "alexnet_bn", {67, 67, 3}},
                                         OnnxCase{"alexnet_cifar", "alexnet_cifar", {32, 32, 3}},
                                         OnnxCase{
                                             "alexnet_mini_leaky", "alexnet_mini", {32, 32, 3}, Activation::leaky_relu},
                                         OnnxCase{"lenet_grey_gelu", "lenet", {28, 28, 1}, Activation::gelu},
                                         OnnxCase{"resnet18", "resnet18", {70, 66, 3}},
                                         OnnxCase{"resnet18_cifar_silu", "resnet18", {32, 32, 3}, Activation::silu}),
                         [](const auto& test) { return std::string(test.param.print_as); });

std::shared_ptr<nn::Module> from_list(const std::string& layers, const Shape& input) {
  return build_model(ModelConfig::parse(ConfigReader::parse("layers: " + layers)), input, 4, 1);
}

TEST(Onnx, EveryLayerOfAList) {
  const Shape input{17, 19, 4};
  const auto model = from_list(
      "[{conv: {channels: 6, kernel: [3, 2], stride: [1, 2], padding: [2, 1], dilation: [2, 1], groups: 2, bias: "
      "false}},"
      " {batch_norm: {epsilon: 0.1}}, relu, {local_response_norm: {size: 3, alpha: 0.5, k: 1, divide_alpha: true}},"
      " {max_pool: {kernel: 3, stride: 2, padding: 1}}, {avg_pool: {kernel: [3, 2], stride: 1, padding: 1}},"
      " {local_response_norm: {size: 5, alpha: 0.5, k: 1}}, {adaptive_avg_pool: [3, 2]}, flatten, dropout,"
      " {linear: {features: 5, bias: false}}, silu, linear]",
      input);
  expect_same_logits(*model, input);
}

TEST(Onnx, SaysWhatAReaderNeeds) {
  const Shape input{32, 32, 3};
  const auto model = from_list("[{conv: {channels: 2, kernel: 3}}, relu, flatten, {dropout: 0.5}, linear]", input);
  model->train();
  const onnx::ModelProto proto = exported(*model, input);
  EXPECT_TRUE(model->training());
  EXPECT_EQ(proto.ir_version(), 8);
  ASSERT_EQ(proto.opset_import_size(), 1);
  EXPECT_EQ(proto.opset_import(0).version(), 17);
  EXPECT_EQ(proto.producer_name(), "striate");
  ASSERT_EQ(proto.metadata_props_size(), 1);
  EXPECT_EQ(proto.metadata_props(0).value(), "a name");

  const onnx::GraphProto& graph = proto.graph();
  const auto shape = [](const onnx::ValueInfoProto& value) {
    std::string text = value.name();
    for (const auto& dim : value.type().tensor_type().shape().dim()) {
      text += " " + (dim.has_dim_param() ? dim.dim_param() : fmt::format("{}", dim.dim_value()));
    }
    return text;
  };
  EXPECT_EQ(shape(graph.input(0)), "images batch 3 32 32");
  EXPECT_EQ(shape(graph.output(0)), "logits batch 4");
  std::string nodes;
  for (const onnx::NodeProto& node : graph.node()) nodes += node.op_type() + " ";
  EXPECT_EQ(nodes, "Conv Relu Flatten Gemm ");  // no dropout, no softmax
  std::string names;
  for (const onnx::TensorProto& tensor : graph.initializer()) names += tensor.name() + " ";
  EXPECT_EQ(names, "0.weight 0.bias 4.weight 4.bias ");
}

/// Doubles its input behind the back of its layers.
class Doubling : public nn::Module {
 public:
  Doubling() { child_ = register_module("child", std::make_shared<nn::Flatten>()); }
  Tensor forward(const Tensor& x) override { return ops::scale((*child_)(x), 2.0f); }
  std::string type() const override { return "Doubling"; }

 private:
  nn::ModulePtr child_;
};

TEST(Onnx, WhatItCannotSayIsRefusedAndLeavesNoFile) {
  const test::TempDir dir;
  const std::string path = (dir / "m.onnx").string();
  const Shape input{8, 8, 3};
  const auto even = from_list("[{local_response_norm: {size: 4}}, flatten, linear]", input);
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { save_onnx(path, *even, input); }, {"0 (LocalResponseNorm", "even"}));
  nn::Sequential own({std::make_shared<Doubling>()});
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { save_onnx(path, own, input); }, {"0 (Doubling", "no ONNX form"}));
  nn::Flatten alone;
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { save_onnx(path, alone, input); }, {"a network of layers"}));
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace striate::models
