// Tensors of bfloat16: conversions, which op gives what type, and the gradients of a network that computes in them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "engine/allocator.h"
#include "engine/nn/evaluation_mode.h"
#include "engine/nn/init.h"
#include "engine/nn/layers.h"
#include "engine/ops/ops.h"
#include "engine/step_state.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"
#include "tests/engine/precision.h"
#include "tests/support/error.h"

namespace striate {
namespace {

using test::device_name;
using test::devices;
using test::PrecisionGuard;
using test::random_tensor;
using test::throws_with;

class Bfloat16On : public test::DeviceTest {
 protected:
  static Device device() { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(, Bfloat16On, testing::ValuesIn(devices()), device_name);

TEST(Bfloat16, IsATypeOfTensors) {
  EXPECT_EQ(size_of(DType::bfloat16), 2u);
  EXPECT_EQ(to_string(DType::bfloat16), "bfloat16");
  const Tensor t = Tensor::empty({3, 5}, DType::bfloat16);
  EXPECT_EQ(t.bytes(), 30u);
  EXPECT_TRUE(throws_with<Error>([&] { t.data<float>(); }, {"[3,5]", "bfloat16", "float32"}));
}

TEST_P(Bfloat16On, IsRoundedToAndWidenedFrom) {
  const std::vector<float> values{0.0f, -1.5f, 1.0f + 0x1p-9f, 1.0f + 0x1.8p-8f, -3.1415927f, 1e38f, 0x1p-130f};
  const Tensor x = Tensor::from(values, {7}, device());
  const Tensor rounded = x.to(DType::bfloat16);
  EXPECT_EQ(rounded.dtype(), DType::bfloat16);
  EXPECT_EQ(rounded.device(), device());
  std::vector<float> expected;
  for (const float v : values) expected.push_back(to_float(to_bfloat16(v)));
  EXPECT_EQ(rounded.to_vector<float>(), expected);
  EXPECT_EQ(rounded.to(DType::float32).dtype(), DType::float32);
  EXPECT_EQ(rounded.to(DType::float32).to_vector<float>(), expected);
  EXPECT_EQ(rounded.to(Device::cpu).to(device()).clone().to_vector<float>(), expected);
  EXPECT_EQ(x.to(DType::float32).impl(), x.impl());
  EXPECT_EQ(rounded.to(DType::bfloat16).impl(), rounded.impl());
  const std::vector<bfloat16> stored = rounded.to_vector<bfloat16>();
  EXPECT_EQ(Tensor::from(stored, {7}, device()).to_vector<float>(), expected);

  Tensor filled = Tensor::zeros({3}, DType::bfloat16, device());
  EXPECT_EQ(filled.to_vector<float>(), (std::vector<float>{0, 0, 0}));
  filled.fill(2.0f);
  EXPECT_EQ(filled.to_vector<float>(), (std::vector<float>{2, 2, 2}));
  EXPECT_EQ(Tensor::from<bfloat16>({to_bfloat16(-0.5f)}, {1}, device()).item(), -0.5f);

  const Tensor index = Tensor::from<int32_t>({1}, {1}, device());
  EXPECT_TRUE(throws_with<Error>([&] { index.to(DType::bfloat16); }, {"int32", "bfloat16"}));
  EXPECT_TRUE(throws_with<Error>([&] { x.to(DType::uint8); }, {"float32", "uint8"}));
  EXPECT_TRUE(throws_with<Error>([&] { filled.set_requires_grad(true); }, {"float32", "to(DType::bfloat16)"}));
}

TEST_P(Bfloat16On, HandsGradientsThroughTheConversion) {
  Tensor x = random_tensor({4, 6}, 1, device());
  x.set_requires_grad(true);
  const Tensor y = ops::scale(x.to(DType::bfloat16), 0.5f).to(DType::float32);
  ops::linear(y.reshape({1, 24}), Tensor::full({1, 24}, 3.0f, device()), Tensor()).backward();
  EXPECT_EQ(x.grad().dtype(), DType::float32);
  EXPECT_EQ(x.grad().to_vector<float>(), std::vector<float>(24, 1.5f));
}

TEST_P(Bfloat16On, SumsTheGradientsOfSeveralUses) {
  Tensor x = random_tensor({8, 8}, 1, device());
  x.set_requires_grad(true);
  const Tensor h = ops::scale(x.to(DType::bfloat16), 2.0f);
  const Tensor y = ops::add(ops::add(h, ops::scale(h, 0.25f)), h).to(DType::float32);
  ops::linear(y.reshape({1, 64}), Tensor::full({1, 64}, 1.0f, device()), Tensor()).backward();
  EXPECT_EQ(x.grad().to_vector<float>(), std::vector<float>(64, 4.5f));
}

TEST_P(Bfloat16On, StaysTheTypeOfWhatFollows) {
  const Tensor x = random_tensor({2, 6, 6, 8}, 1, device()).to(DType::bfloat16);
  const Tensor gamma = Tensor::full({8}, 1.0f, device()), beta = Tensor::full({8}, 0.5f, device());
  Tensor mean = Tensor::zeros({8}, DType::float32, device()), var = Tensor::full({8}, 1.0f, device());
  const std::vector<std::pair<const char*, std::function<Tensor(const Tensor&)>>> ops{
      {"relu", [](const Tensor& t) { return ops::activation(t, Activation::relu); }},
      {"gelu", [](const Tensor& t) { return ops::activation(t, Activation::gelu); }},
      {"max_pool2d", [](const Tensor& t) { return ops::max_pool2d(t, {}); }},
      {"avg_pool2d", [](const Tensor& t) { return ops::avg_pool2d(t, {}); }},
      {"adaptive_avg_pool2d", [](const Tensor& t) { return ops::adaptive_avg_pool2d(t, 2, 3); }},
      {"dropout",
       [](const Tensor& t) {
         return ops::dropout(t, {0.5f, 1});
       }},
      {"training batch_norm",
       [&](const Tensor& t) { return ops::batch_norm(t, gamma, beta, mean, var, true, 0.1f, 1e-5f); }},
      {"batch_norm", [&](const Tensor& t) { return ops::batch_norm(t, gamma, beta, mean, var, false, 0.1f, 1e-5f); }},
      {"local_response_norm", [](const Tensor& t) { return ops::local_response_norm(t, {}); }},
      {"add", [](const Tensor& t) { return ops::add(t, t, Activation::relu); }},
      {"scale", [](const Tensor& t) { return ops::scale(t, 0.7f); }},
      {"flatten", [](const Tensor& t) { return ops::flatten(t); }}};
  dropout_state(device()) = {};
  for (const auto& [name, op] : ops) {
    const Tensor y = op(x), exact = op(x.to(DType::float32));
    EXPECT_EQ(y.dtype(), DType::bfloat16) << name;
    EXPECT_EQ(exact.dtype(), DType::float32) << name;
    const std::vector<float> a = y.to_vector<float>(), b = exact.to_vector<float>();
    ASSERT_EQ(a.size(), b.size()) << name;
    // One rounding of a result that is float32's to a few units of its last place.
    for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 0x1.02p-8f * std::abs(b[i]) + 1e-6f) << name;
  }
}

TEST_P(Bfloat16On, IsWhatProductsComputeInWherePrecisionSaysSo) {
  const Tensor images = random_tensor({2, 5, 5, 3}, 1, device()), w = random_tensor({4, 3, 3, 3}, 2, device());
  const Tensor rows = random_tensor({3, 10}, 3, device()), v = random_tensor({4, 10}, 4, device());
  const Tensor b = random_tensor({4}, 5, device());
  EXPECT_EQ(ops::conv2d(images, w, b, {}).dtype(), DType::float32);
  EXPECT_EQ(ops::linear(rows, v, b).dtype(), DType::float32);
  const PrecisionGuard guard(device(), Precision::bf16);
  EXPECT_EQ(ops::conv2d(images, w, b, {}).dtype(), DType::bfloat16);
  EXPECT_EQ(ops::linear(rows, v, b).dtype(), DType::bfloat16);
  EXPECT_EQ(ops::softmax(ops::linear(rows, v, b)).dtype(), DType::float32);
  const ops::CrossEntropy result =
      ops::softmax_cross_entropy(ops::linear(rows, v, b), Tensor::from<int32_t>({0, 1, 3}, {3}, device()));
  EXPECT_EQ(result.loss.dtype(), DType::float32);
  EXPECT_EQ(result.sample_loss.dtype(), DType::float32);
  // What comes before the first product is computed in the images' own type.
  EXPECT_EQ(ops::max_pool2d(images, {}).dtype(), DType::float32);
}

TEST(Bfloat16, IsNotMixedWithFloat32InOneOp) {
  const Tensor x = random_tensor({2, 4}, 1), half = x.to(DType::bfloat16);
  EXPECT_TRUE(throws_with<Error>([&] { ops::add(x, half); }, {"add", "float32", "bfloat16", "to()"}));
  const Tensor w = random_tensor({3, 4}, 2), b = random_tensor({3}, 3);
  EXPECT_TRUE(throws_with<Error>([&] { ops::linear(half, w.to(DType::bfloat16), b); }, {"linear", "w is bfloat16"}));
  EXPECT_TRUE(throws_with<Error>([&] { ops::linear(half, w, b.to(DType::bfloat16)); }, {"linear", "bias is bfloat16"}));
  const Tensor index = Tensor::from<int32_t>({1, 2}, {1, 2});
  EXPECT_TRUE(throws_with<ShapeError>([&] { ops::activation(index, Activation::relu); }, {"[1,2]", "int32"}));
  Tensor leaf = random_tensor({1, 4}, 4);
  leaf.set_requires_grad(true);
  const Tensor scalar = ops::linear(leaf.to(DType::bfloat16), random_tensor({1, 4}, 5), Tensor());
  EXPECT_TRUE(throws_with<Error>([&] { scalar.backward(); }, {"backward", "bfloat16"}));
}

/// Every kind of layer, a residual sum with a fused activation, and a classifier of two linear layers.
class Everything : public nn::Module {
 public:
  explicit Everything(Device device) {
    nn::initialize(*this, {}, 7);
    to(device);
  }
  Tensor forward(const Tensor& x) override {
    Tensor h = conv1->forward(x, Activation::relu);
    h = (*norm)(ops::local_response_norm(ops::max_pool2d(h, {3, 3, 2, 2, 1, 1}), {}));
    h = ops::add(h, (*conv2)(ops::activation(h, Activation::silu)), Activation::leaky_relu);
    h = ops::adaptive_avg_pool2d(ops::avg_pool2d(h, {2, 2, 1, 1, 0, 0}), 2, 2);
    return (*fc2)(fc1->forward(ops::dropout(ops::flatten(h), {0.25f, 0}), Activation::relu));
  }
  std::string type() const override { return "Everything"; }

  std::shared_ptr<nn::Conv2d> conv1 = register_module("conv1", std::make_shared<nn::Conv2d>(3, 8, 3, 1, 1));
  std::shared_ptr<nn::BatchNorm2d> norm = register_module("norm", std::make_shared<nn::BatchNorm2d>(8));
  std::shared_ptr<nn::Conv2d> conv2 = register_module("conv2", std::make_shared<nn::Conv2d>(8, 8, 3, 1, 1, 2));
  std::shared_ptr<nn::Linear> fc1 = register_module("fc1", std::make_shared<nn::Linear>(32, 16));
  std::shared_ptr<nn::Linear> fc2 = register_module("fc2", std::make_shared<nn::Linear>(16, 5));
};

struct NetworkGradients {
  float loss = 0.0f;
  std::vector<NamedTensor> all;  // of the parameters and the images, on the host
};

NetworkGradients gradients_of(Device device, Precision precision) {
  const PrecisionGuard guard(device, precision);
  Everything network(device);
  dropout_state(device) = {};
  Tensor images = random_tensor({12, 8, 8, 3}, 11, device);
  images.set_requires_grad(true);
  const Tensor labels = Tensor::from<int32_t>({0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1}, {12}, device);
  const ops::CrossEntropy result = ops::softmax_cross_entropy(network(images), labels, 0.1f);
  result.loss.backward();
  NetworkGradients gradients{result.loss.item(), {{"images", images.grad().to(Device::cpu)}}};
  for (const NamedTensor& p : network.named_parameters()) {
    EXPECT_EQ(p.tensor.grad().dtype(), DType::float32) << p.name;
    gradients.all.push_back({p.name, p.tensor.grad().to(Device::cpu)});
  }
  return gradients;
}

/// ‖a − b‖ / ‖b‖
double distance(const Tensor& a, const Tensor& b) {
  double difference = 0.0, norm = 0.0;
  for (int64_t i = 0; i < a.size(); ++i) {
    const double p = a.data<float>()[i], q = b.data<float>()[i];
    difference += (p - q) * (p - q);
    norm += q * q;
  }
  return std::sqrt(difference / norm);
}

TEST_P(Bfloat16On, GivesTheGradientsOfFloat32ToItsRounding) {
  const NetworkGradients exact = gradients_of(Device::reference, Precision::fp32);
  const NetworkGradients rounded = gradients_of(device(), Precision::bf16);
  const NetworkGradients reference = gradients_of(Device::reference, Precision::bf16);
  EXPECT_NEAR(rounded.loss, exact.loss, 0.01f * exact.loss);
  EXPECT_NE(rounded.loss, exact.loss);
  ASSERT_EQ(rounded.all.size(), exact.all.size());
  for (size_t i = 0; i < exact.all.size(); ++i) {
    // A rounding (2⁻⁸ at most) at each of some ten stores on the way, and the gradients of a maximum or a rectifier
    // that goes the other way.
    EXPECT_LT(distance(rounded.all[i].tensor, exact.all[i].tensor), 0.1) << exact.all[i].name;
    EXPECT_GT(distance(rounded.all[i].tensor, exact.all[i].tensor), 1e-5) << exact.all[i].name;
    EXPECT_LT(distance(rounded.all[i].tensor, reference.all[i].tensor), 0.02) << exact.all[i].name;
  }
}

/// Bytes that a forward keeps for its backward, and the most that both held.
std::pair<size_t, size_t> forward_and_peak(Device device, Precision precision) {
  const PrecisionGuard guard(device, precision);
  nn::Sequential network;
  for (int i = 0; i < 6; ++i) {
    network.add(std::make_shared<nn::Conv2d>(8, 8, 1));
    network.add(std::make_shared<nn::BatchNorm2d>(8));
    network.add(std::make_shared<nn::ActivationLayer>(Activation::relu));
  }
  network.add(std::make_shared<nn::Flatten>());
  network.add(std::make_shared<nn::Linear>(16 * 16 * 8, 4));
  nn::initialize(network, {}, 1);
  network.to(device);
  const Tensor images = random_tensor({8, 16, 16, 8}, 2, device);
  const Tensor labels = Tensor::from<int32_t>({0, 1, 2, 3, 0, 1, 2, 3}, {8}, device);
  const auto step = [&] { return ops::softmax_cross_entropy(network(images), labels).loss; };
  step().backward();  // gradients and rounded copies stay from here on
  Allocator& memory = allocator(device);
  const size_t before = memory.stats().in_use;
  const Tensor loss = step();
  const size_t forward = memory.stats().in_use - before;
  memory.reset_peak();
  loss.backward();
  return {forward, memory.stats().peak - before};
}

TEST_P(Bfloat16On, HalvesTheBytesOfActivations) {
  const auto [forward, peak] = forward_and_peak(device(), Precision::fp32);
  const auto [half_forward, half_peak] = forward_and_peak(device(), Precision::bf16);
  const size_t images = 8 * 16 * 16 * 8 * sizeof(bfloat16);
  // 6 inputs of convolutions, 6 of batch norms, 6 outputs of rectifiers, of which 5 are a convolution's inputs: 13, of
  // which the first is the caller's in float32, and its rounded copy is kept in bfloat16.
  EXPECT_NEAR(static_cast<double>(half_forward - images), static_cast<double>(forward) / 2, 0.02 * forward);
  EXPECT_NEAR(static_cast<double>(half_peak - images), static_cast<double>(peak) / 2, 0.02 * peak);
}

}  // namespace
}  // namespace striate
