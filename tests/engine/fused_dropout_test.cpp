// A linear layer, a ReLU and dropout in one op: what the three give one after another, in less memory.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/allocator.h"
#include "engine/autograd.h"
#include "engine/nn/init.h"
#include "engine/nn/layers.h"
#include "engine/ops/ops.h"
#include "engine/saved.h"
#include "engine/step_state.h"
#include "tests/engine/devices.h"
#include "tests/engine/precision.h"
#include "tests/engine/train_toy.h"

namespace striate {
namespace {

using test::device_name;
using test::devices;
using test::random_tensor;

class FusedDropoutOn : public test::DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (!IsSkipped()) dropout_state(device()) = {5, 2, 0};
  }
  void TearDown() override {
    if (!IsSkipped()) dropout_state(device()) = {};
  }
  static Device device() { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(, FusedDropoutOn, testing::ValuesIn(devices()), device_name);

/// Nothing is fused while one is installed.
class Watching : public nn::ForwardObserver {
 public:
  void observe(nn::Module& module, const Tensor&, const Tensor&) override { seen.push_back(module.type()); }
  std::vector<std::string> seen;
};

nn::ModulePtr activation(Activation a) { return std::make_shared<nn::ActivationLayer>(a); }
nn::ModulePtr dropout(float p) { return std::make_shared<nn::Dropout>(p); }
nn::ModulePtr linear(int64_t in, int64_t out) { return std::make_shared<nn::Linear>(in, out); }

// What stands behind SiLU is not fused.
std::shared_ptr<nn::Sequential> network(float p, Device device) {
  auto net = std::make_shared<nn::Sequential>(
      std::vector<nn::ModulePtr>{dropout(p), linear(21, 40), activation(Activation::relu), dropout(p), linear(40, 36),
                                 activation(Activation::silu), dropout(p), linear(36, 31), activation(Activation::relu),
                                 dropout(p), linear(31, 5)});
  nn::initialize(*net, {}, 3);
  net->to(device);
  return net;
}

struct Step {
  std::vector<std::vector<float>> results;  // logits, loss, gradients
  size_t kept = 0;                          // bytes
};

Step step(nn::Module& net, Device device) {
  Tensor x = random_tensor({9, 21}, 2, device);
  x.set_requires_grad(true);
  const Tensor labels = Tensor::from<int32_t>({0, 1, 2, 0, 4, 3, 1, 1, 2}, {9}, device);
  for (const NamedTensor& p : net.named_parameters()) Tensor(p.tensor).clear_grad();
  const size_t before = allocator(device).stats().in_use;
  const Tensor logits = net(x);
  const Tensor loss = ops::softmax_cross_entropy(logits, labels).loss;
  Step result;
  result.kept = allocator(device).stats().in_use - before;
  loss.backward();
  result.results = {logits.to(DType::float32).to_vector<float>(), loss.to_vector<float>(), x.grad().to_vector<float>()};
  for (const NamedTensor& p : net.named_parameters()) result.results.push_back(p.tensor.grad().to_vector<float>());
  return result;
}

void expect_agree(const Step& fused, const Step& apart, bool same_bits, const std::string& what) {
  ASSERT_EQ(fused.results.size(), apart.results.size());
  for (size_t r = 0; r < fused.results.size(); ++r) {
    if (same_bits) {
      EXPECT_EQ(fused.results[r], apart.results[r]) << what << ", result " << r;
      continue;
    }
    for (size_t i = 0; i < fused.results[r].size(); ++i)
      EXPECT_NEAR(fused.results[r][i], apart.results[r][i], 2e-6f) << what << ", result " << r;
  }
}

TEST_P(FusedDropoutOn, GivesTheBitsOfTheLayersOneByOne) {
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    const test::PrecisionGuard guard(device(), precision);
    for (const float p : {0.5f, 0.3f}) {
      if (precision == Precision::bf16 && p != 0.5f) continue;  // rounded less often
      const auto net = network(p, device());
      step(*net, device());  // weights are rounded for the first time, gradients given their memory
      const Step fused = step(*net, device());
      Watching watching;
      const nn::ObserverGuard observed(watching);
      const Step apart = step(*net, device());
      ASSERT_EQ(watching.seen.size(), 12u);
      // The reference rounds what is fused once: with p = 0.3 not the same.
      expect_agree(fused, apart, device() != Device::reference || p == 0.5f, to_string(precision));
      EXPECT_GT(apart.kept, fused.kept) << "the values before dropout were kept";
    }
  }
}

TEST_P(FusedDropoutOn, IsThereInTrainingOnly) {
  const auto net = network(0.4f, device()), without = network(0.0f, device());
  NoGradGuard no_grad;
  const Tensor x = random_tensor({9, 21}, 2, device());
  EXPECT_NE((*net)(x).to_vector<float>(), (*without)(x).to_vector<float>());
  net->eval();
  EXPECT_EQ((*net)(x).to_vector<float>(), (*without)(x).to_vector<float>());
}

TEST_P(FusedDropoutOn, RecomputesTheSameBits) {
  const auto net = network(0.3f, device());
  step(*net, device());
  const Step stored = step(*net, device());
  const RecomputeGuard recompute(true);
  const Step again = step(*net, device());
  expect_agree(again, stored, true, "again");
  EXPECT_LE(again.kept, stored.kept);
}

/// Σ cᵢ·yᵢ with fixed random c, through a linear op.
Tensor weighted_sum(const Tensor& y, uint64_t seed) {
  const Tensor c = random_tensor({1, y.size()}, seed, y.device(), 0.5f, 1.5f);
  return ops::linear(y.reshape({1, y.size()}), c, Tensor());
}

// Its users take the gradient through ReLU and dropout all together or not at all: the scale must be there once.
TEST_P(FusedDropoutOn, ScalesOnceWhoeverUsesTheOutput) {
  const Tensor v = random_tensor({3, 6}, 8, device()), v2 = random_tensor({2, 6}, 9, device());
  const auto through = [](const Tensor& y, const Tensor& w) { return weighted_sum(ops::linear(y, w, Tensor()), 11); };
  const std::vector<std::pair<const char*, std::function<Tensor(const Tensor&)>>> users = {
      {"a linear layer", [&](const Tensor& y) { return through(y, v); }},
      {"two", [&](const Tensor& y) { return ops::add(through(y, v), through(y, v2)); }},
      {"one and another op",
       [&](const Tensor& y) { return ops::add(through(y, v), weighted_sum(ops::scale(y, 3.0f), 12)); }},
      {"another op", [&](const Tensor& y) { return weighted_sum(ops::scale(y, 3.0f), 12); }},
      {"one by way of a view",
       [&](const Tensor& y) {
         return through(y.reshape({6, 5}).reshape({5, 6}), v);
       }},
      {"one, and one by way of a view",
       [&](const Tensor& y) {
         return ops::add(through(y, v), through(y.reshape({6, 5}).reshape({5, 6}), v2));
       }},
      {"one as its input and its weights", [&](const Tensor& y) { return through(y, y); }},
      {"a convolution",
       [&](const Tensor& y) {
         return weighted_sum(ops::conv2d(y.reshape({1, 5, 6, 1}), v.reshape({2, 3, 3, 1}), {}, {}), 13);
       }},
      {"a pool",
       [&](const Tensor& y) {
         return weighted_sum(ops::max_pool2d(y.reshape({1, 5, 6, 1}), {}), 13);
       }},
  };
  for (const auto& [name, use] : users) {
    std::vector<std::vector<float>> gradients[2];
    for (const bool fused : {false, true}) {
      Tensor x = random_tensor({5, 4}, 1, device()).set_requires_grad(true);
      Tensor w = random_tensor({6, 4}, 2, device()).set_requires_grad(true);
      Tensor b = random_tensor({6}, 3, device()).set_requires_grad(true);
      Tensor y = fused ? ops::linear(x, w, b, Activation::relu, ops::Kernels::own, {0.4f, 1})
                       : ops::dropout(ops::linear(x, w, b, Activation::relu), {0.4f, 1});
      EXPECT_FALSE(comes_out_of_relu(y));
      EXPECT_EQ(dropped_behind_relu(y).has_value(), fused);
      Tensor loss = use(y);
      y = Tensor();
      loss.backward();
      gradients[fused] = {x.grad().to_vector<float>(), w.grad().to_vector<float>(), b.grad().to_vector<float>()};
    }
    for (size_t g = 0; g < gradients[0].size(); ++g) {
      for (size_t i = 0; i < gradients[0][g].size(); ++i)
        EXPECT_NEAR(gradients[1][g][i], gradients[0][g][i], 1e-5f * (1 + std::abs(gradients[0][g][i]))) << name;
    }
  }
}

TEST_P(FusedDropoutOn, TrainsToTheWeightsOfTheLayersOneByOne) {
  if (device() == Device::reference) GTEST_SKIP() << "it rounds what is fused once";
  std::vector<float> weights[2];
  for (const bool fused : {false, true}) {
    const auto net = std::make_shared<nn::Sequential>(std::vector<nn::ModulePtr>{
        std::make_shared<nn::Flatten>(), dropout(0.3f), linear(16, 24), activation(Activation::relu), dropout(0.3f),
        linear(24, 20), activation(Activation::relu), dropout(0.3f), linear(20, test::ToySource::kClasses)});
    nn::initialize(*net, {}, 1);
    net->to(device());
    test::ToySource train(54, 8, 1);
    Watching watching;
    std::unique_ptr<nn::ObserverGuard> observed;
    if (!fused) observed = std::make_unique<nn::ObserverGuard>(watching);
    Trainer(*net, {&train, nullptr, nullptr}, test::quick_options()).run();
    EXPECT_EQ(watching.seen.empty(), fused);
    weights[fused] = test::all_weights(*net);
  }
  EXPECT_EQ(weights[1], weights[0]);
}

}  // namespace
}  // namespace striate
