// A batch of no images, as a rank has it where there are fewer images than ranks: every op takes it, forward and
// backward, and the parameters' gradients are zeros.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/autograd.h"
#include "engine/nn/layers.h"
#include "engine/ops/ops.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"
#include "tests/engine/precision.h"

namespace striate {
namespace {

using test::random_tensor;

constexpr int64_t kChannels = 16;

/// x [0,8,8,16] and a parameter [16,3,3,16], [16] or [32,16] each.
struct Op {
  std::string name;
  std::vector<Shape> parameters;
  std::function<Tensor(const Tensor& x, const std::vector<Tensor>& p)> run;
  bool on_cpu_alone = false;
};

std::vector<Op> ops_of_images() {
  const Shape kernel{kChannels, 3, 3, kChannels}, wide{32, 8 * 8 * kChannels}, channels{kChannels};
  const ops::Conv2dOptions same{1, 1, 1, 1};
  std::vector<Op> result;
  const auto add = [&](std::string name, std::vector<Shape> parameters, auto run, bool on_cpu_alone = false) {
    result.push_back({std::move(name), std::move(parameters), run, on_cpu_alone});
  };
  add("conv2d", {kernel, channels}, [=](const Tensor& x, auto& p) { return ops::conv2d(x, p[0], p[1], same); });
  add("conv2d_without_bias", {kernel}, [=](const Tensor& x, auto& p) { return ops::conv2d(x, p[0], {}, same); });
  add("conv2d_strided", {kernel, channels}, [=](const Tensor& x, auto& p) {
    return ops::conv2d(x, p[0], p[1], {2, 2}, Activation::leaky_relu);
  });
  add("conv2d_with_relu_behind_another", {kernel, channels}, [=](const Tensor& x, auto& p) {
    const Tensor y = ops::conv2d(x, p[0], p[1], same, Activation::relu);
    return ops::conv2d(y, p[0], p[1], same, Activation::relu);
  });
  add(
      "conv2d_max_pool2d", {kernel, channels},
      [=](const Tensor& x, auto& p) { return ops::conv2d_max_pool2d(x, p[0], p[1], same, {}, Activation::relu); },
      true);
  add("linear", {wide, {32}}, [](const Tensor& x, auto& p) { return ops::linear(ops::flatten(x), p[0], p[1]); });
  add("linear_without_bias", {wide}, [](const Tensor& x, auto& p) { return ops::linear(ops::flatten(x), p[0], {}); });
  add("linear_with_dropout_behind", {wide, {32}}, [](const Tensor& x, auto& p) {
    return ops::linear(ops::flatten(x), p[0], p[1], Activation::relu, ops::Kernels::own, {0.5f, 1});
  });
  for (const Activation a : {Activation::relu, Activation::leaky_relu, Activation::gelu, Activation::silu}) {
    add("activation_" + std::to_string(static_cast<int>(a)), {},
        [a](const Tensor& x, auto&) { return ops::activation(x, a); });
  }
  add("max_pool2d", {}, [](const Tensor& x, auto&) { return ops::max_pool2d(x, {3, 3, 2, 2, 1, 1}); });
  add("avg_pool2d", {}, [](const Tensor& x, auto&) { return ops::avg_pool2d(x, {}); });
  add("adaptive_avg_pool2d", {}, [](const Tensor& x, auto&) { return ops::adaptive_avg_pool2d(x, 3, 3); });
  add("dropout", {}, [](const Tensor& x, auto&) { return ops::dropout(x, {0.5f, 1}); });
  for (const bool training : {true, false}) {
    add(training ? "batch_norm" : "batch_norm_in_evaluation", {channels, channels}, [=](const Tensor& x, auto& p) {
      Tensor mean = Tensor::zeros(channels, DType::float32, x.device());
      Tensor variance = Tensor::full(channels, 2.0f, x.device());
      return ops::batch_norm(x, p[0], p[1], mean, variance, training, 0.1f, 1e-5f);
    });
  }
  add("local_response_norm", {}, [](const Tensor& x, auto&) { return ops::local_response_norm(x, {}); });
  add("add", {}, [](const Tensor& x, auto&) { return ops::add(x, ops::scale(x, 2.0f), Activation::relu); });
  add("scale", {}, [](const Tensor& x, auto&) { return ops::scale(x, 2.0f); });
  add("flatten", {}, [](const Tensor& x, auto&) { return ops::flatten(x); });
  add("reshape", {}, [](const Tensor& x, auto&) { return x.reshape({0, 64, kChannels}); });
  add("clone", {}, [](const Tensor& x, auto&) { return x.clone(); });
  return result;
}

struct Case {
  Device device;
  Precision precision;
  Op op;
};

std::vector<Case> cases() {
  std::vector<Case> result;
  for (const Device device : test::devices()) {
    for (const Precision precision : {Precision::fp32, Precision::bf16}) {
      for (const Op& op : ops_of_images()) {
        if (!op.on_cpu_alone || device == Device::cpu) result.push_back({device, precision, op});
      }
    }
  }
  return result;
}

class NoRows : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { test::skip_unless_runnable(GetParam().device); }
};
constexpr auto case_name = [](const auto& info) {
  const Case& c = info.param;
  return to_string(c.device) + "_" + to_string(c.precision) + "_" + c.op.name;
};
INSTANTIATE_TEST_SUITE_P(, NoRows, testing::ValuesIn(cases()), case_name);

TEST_P(NoRows, AreTakenByTheOpAndGiveItsParametersGradientsOfZero) {
  const auto& [device, precision, op] = GetParam();
  const test::PrecisionGuard guard(device, precision);
  Tensor x = Tensor::empty({0, 8, 8, kChannels}, DType::float32, device);
  x.set_requires_grad(true);
  std::vector<Tensor> parameters;
  for (const Shape& shape : op.parameters) {
    parameters.push_back(random_tensor(shape, parameters.size(), device));
    parameters.back().set_requires_grad(true);
  }
  const Tensor labels = Tensor::empty({0}, DType::int32, device);
  const auto step = [&] {
    const Tensor given = precision == Precision::bf16 ? x.to(DType::bfloat16) : x;
    const Tensor y = op.run(given, parameters);
    EXPECT_EQ(y.dim(0), 0);
    EXPECT_EQ(y.dtype(), given.dtype());
    const auto result = ops::softmax_cross_entropy(ops::flatten(y), labels);
    EXPECT_EQ(result.loss.item(), 0.0f);
    EXPECT_EQ(result.sample_loss.size() + result.rank.size(), 0);
    result.loss.backward();
    EXPECT_EQ(x.grad().shape(), x.shape());
  };
  const auto expect_gradients_of = [&](float value) {
    for (const Tensor& p : parameters) {
      EXPECT_EQ(p.grad().to_vector<float>(), std::vector<float>(static_cast<size_t>(p.size()), value));
    }
  };
  step();
  expect_gradients_of(0.0f);
  for (Tensor& p : parameters) {
    p.grad().fill(std::numeric_limits<float>::quiet_NaN());
    p.clear_grad();  // its memory is overwritten
  }
  step();
  expect_gradients_of(0.0f);
  for (Tensor& p : parameters) p.grad().fill(3.0f);
  step();
  expect_gradients_of(3.0f);
}

class NoRowsOn : public test::DeviceTest {};
INSTANTIATE_TEST_SUITE_P(, NoRowsOn, testing::ValuesIn(test::devices()), test::device_name);

TEST_P(NoRowsOn, LeaveTheRunningStatisticsOfBatchNormAsTheyAre) {
  nn::BatchNorm2d norm(3);
  norm.to(GetParam());
  norm(Tensor::empty({0, 4, 4, 3}, DType::float32, GetParam()));
  EXPECT_EQ(norm.running_mean.to_vector<float>(), std::vector<float>(3, 0.0f));
  EXPECT_EQ(norm.running_var.to_vector<float>(), std::vector<float>(3, 1.0f));
  EXPECT_THROW(norm(Tensor::zeros({1, 1, 1, 3}, DType::float32, GetParam())), ShapeError) << "one row has no variance";
}

TEST_P(NoRowsOn, HaveNoProbabilities) {
  EXPECT_EQ(ops::softmax(Tensor::empty({0, 5}, DType::float32, GetParam())).shape(), (Shape{0, 5}));
}

}  // namespace
}  // namespace striate
