// Recomputation: less memory between forward and backward, and the same bits.
#include "engine/saved.h"
#include "engine/step_state.h"

#include <gtest/gtest.h>

#include <cstddef>
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
#include "tests/engine/devices.h"
#include "tests/engine/precision.h"
#include "tests/engine/train_toy.h"

namespace striate {
namespace {

using test::device_name;
using test::devices;
using test::random_tensor;

class RecomputeOn : public test::DeviceTest {
 protected:
  static Device device() { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(, RecomputeOn, testing::ValuesIn(devices()), device_name);

using Layers = std::vector<nn::ModulePtr>;

nn::ModulePtr conv() { return std::make_shared<nn::Conv2d>(8, 8, 1); }
nn::ModulePtr norm() { return std::make_shared<nn::BatchNorm2d>(8); }
nn::ModulePtr activation(Activation a) { return std::make_shared<nn::ActivationLayer>(a); }

struct Case {
  const char* name;
  std::function<Layers()> block;
  double less;  ///< bytes kept by a block that recomputation spares, in units of the image
};

const std::vector<Case> kCases{// A convolution's input is made again from the one before.
                               {"silu",
                                [] {
                                  return Layers{conv(), activation(Activation::silu)};
                                },
                                1.0},
                               {"gelu",
                                [] {
                                  return Layers{conv(), activation(Activation::gelu)};
                                },
                                1.0},
                               {"batch norm and relu",
                                [] {
                                  return Layers{conv(), norm(), activation(Activation::relu)};
                                },
                                1.0},
                               {"batch norm and silu",
                                [] {
                                  return Layers{conv(), norm(), activation(Activation::silu)};
                                },
                                2.0},
                               {"relu and dropout",
                                [] {
                                  return Layers{conv(), activation(Activation::relu), std::make_shared<nn::Dropout>()};
                                },
                                1.0},
                               // Nothing that is kept would give these back.
                               {"relu",
                                [] {
                                  return Layers{conv(), activation(Activation::relu)};
                                },
                                0.0},
                               {"dropout",
                                [] {
                                  return Layers{conv(), std::make_shared<nn::Dropout>()};
                                },
                                0.0}};

struct Step {
  size_t kept = 0, peak = 0;
  std::vector<std::vector<float>> results;  // the loss, gradients of parameters and image, running statistics
};

Step step(const Case& c, Device device, bool recompute) {
  nn::Sequential network;
  for (int i = 0; i < 3; ++i) {
    for (const nn::ModulePtr& layer : c.block()) network.add(layer);
  }
  network.add(std::make_shared<nn::Flatten>());
  network.add(std::make_shared<nn::Linear>(8 * 16 * 16, 3));
  nn::initialize(network, {}, 1);
  network.to(device);
  dropout_state(device) = {5, 2, 0};
  Tensor images = random_tensor({4, 16, 16, 8}, 2, device);
  images.set_requires_grad(true);
  const Tensor labels = Tensor::from<int32_t>({0, 1, 2, 0}, {4}, device);
  const RecomputeGuard guard(recompute);
  Allocator& memory = allocator(device);
  const size_t before = memory.stats().in_use;
  const Tensor loss = ops::softmax_cross_entropy(network(images), labels).loss;
  Step result;
  result.kept = memory.stats().in_use - before;
  memory.reset_peak();
  loss.backward();
  result.peak = memory.stats().peak - before;
  result.results = {loss.to_vector<float>(), images.grad().to_vector<float>()};
  for (const NamedTensor& p : network.named_parameters()) result.results.push_back(p.tensor.grad().to_vector<float>());
  for (const NamedTensor& b : network.named_buffers()) result.results.push_back(b.tensor.to_vector<float>());
  return result;
}

TEST_P(RecomputeOn, GivesTheSameBitsInLessMemory) {
  constexpr double kImage = 4 * 16 * 16 * 8 * sizeof(float);
  for (const Case& c : kCases) {
    const Step stored = step(c, device(), false), again = step(c, device(), true);
    EXPECT_EQ(again.results, stored.results) << c.name;
    // All but the last block's: its output is a row for the linear layer, kept or made again like the others'.
    EXPECT_NEAR(static_cast<double>(stored.kept) - static_cast<double>(again.kept), 3 * c.less * kImage, 0.1 * kImage)
        << c.name;
    EXPECT_LE(again.peak, stored.peak) << c.name;
    if (c.less > 0.0) {
      EXPECT_LE(static_cast<double>(again.peak), static_cast<double>(stored.peak) - kImage) << c.name;
    }
  }
}

TEST_P(RecomputeOn, ComputesWhatSeveralKeptOnceAndLetsItGo) {
  const RecomputeGuard guard(true);
  Allocator& memory = allocator(device());
  const size_t before = memory.stats().in_use;
  int made = 0;
  Tensor y = Tensor::zeros({1024}, DType::float32, device());
  recomputable(y, [&] {
    ++made;
    EXPECT_FALSE(grad_enabled());
    return Tensor::full({1024}, 3.0f, device());
  });
  Saved first(y), second(y);
  y = Tensor();
  EXPECT_TRUE(first.defined());
  EXPECT_EQ(memory.stats().in_use, before);
  EXPECT_EQ(made, 0);
  EXPECT_EQ(first.get().to_vector<float>(), std::vector<float>(1024, 3.0f));
  first = Saved();
  EXPECT_GT(memory.stats().in_use, before);
  EXPECT_EQ(second.get().to_vector<float>(), std::vector<float>(1024, 3.0f));
  EXPECT_EQ(made, 1);
  second = Saved();
  EXPECT_EQ(memory.stats().in_use, before);
}

TEST_P(RecomputeOn, TrainsToTheSameCheckpointInEveryPrecision) {
  const auto trained = [&](Precision precision, bool recompute) {
    const test::PrecisionGuard guard(device(), precision);
    const auto network = test::toy_network();
    network->to(device());
    test::ToySource train(54, 8, 1), val(20, 8, 2);
    TrainOptions options = test::quick_options();
    options.precision = precision;
    options.recompute = recompute;
    Trainer(*network, {&train, &val, nullptr}, options).run();
    return test::all_weights(*network);
  };
  const auto exact = trained(Precision::fp32, false), rounded = trained(Precision::bf16, false);
  EXPECT_NE(rounded, exact);
  EXPECT_EQ(trained(Precision::fp32, true), exact);
  EXPECT_EQ(trained(Precision::bf16, true), rounded);
}

TEST(Saved, HoldsTheValuesWhereNothingIsToBeComputedAgain) {
  Tensor y = Tensor::full({4}, 2.0f);
  recomputable(y, [] { return Tensor(); });  // recomputation is off
  const Saved saved(y);
  EXPECT_EQ(saved.get().to_vector<float>(), std::vector<float>(4, 2.0f));
  EXPECT_FALSE(Saved().defined());
  EXPECT_FALSE(Saved(Tensor()).defined());
}

}  // namespace
}  // namespace striate
