// The rounded copies that products in bfloat16 read are always those of the values: after an optimizer's step, which
// writes both, and after every other way of changing them.
#include "engine/rounded_copy.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "engine/nn/init.h"
#include "engine/nn/layers.h"
#include "engine/ops/ops.h"
#include "engine/optim/optimizer.h"
#include "engine/storage.h"
#include "engine/train/weights.h"
#include "tests/engine/devices.h"
#include "tests/engine/precision.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::device_name;
using test::devices;
using test::PrecisionGuard;
using test::random_tensor;

std::vector<float> rounded(const std::vector<float>& values) {
  std::vector<float> result;
  for (const float v : values) result.push_back(to_float(to_bfloat16(v)));
  return result;
}

bool is_current(const Tensor& t) { return t.impl()->storage->rounded_is_current; }

testing::AssertionResult holds_the_values(const Tensor& parameter) {
  if (!is_current(parameter)) return testing::AssertionFailure() << "the copy is out of date";
  if (rounded_copy(parameter).to_vector<float>() != rounded(parameter.to_vector<float>()))
    return testing::AssertionFailure() << "the copy holds other values";
  return testing::AssertionSuccess();
}

class RoundedCopyOn : public test::DeviceTest {
 protected:
  static Device device() { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(, RoundedCopyOn, testing::ValuesIn(devices()), device_name);

TEST_P(RoundedCopyOn, IsMadeOnceAndSharedByEveryHandle) {
  const Tensor w = random_tensor({3, 5}, 1, device());
  EXPECT_EQ(w.impl()->storage->rounded, nullptr);
  const Tensor copy = rounded_copy(w);
  EXPECT_EQ(copy.dtype(), DType::bfloat16);
  EXPECT_EQ(copy.shape(), (Shape{3, 5}));
  EXPECT_TRUE(holds_the_values(w));
  EXPECT_EQ(rounded_copy(w).impl()->storage, copy.impl()->storage);
  EXPECT_EQ(rounded_copy(w.detach()).impl()->storage, copy.impl()->storage);
  EXPECT_EQ(rounded_copy(w.reshape({15})).impl()->storage, copy.impl()->storage);
  EXPECT_EQ(rounded_copy(w.reshape({15})).shape(), Shape{15});
  EXPECT_NE(rounded_copy(w.clone()).impl()->storage, copy.impl()->storage);
}

TEST_P(RoundedCopyOn, FollowsEveryWayOfWritingTheValues) {
  const test::TempDir dir;
  nn::Linear other(5, 3, false);
  nn::initialize(other, {}, 3);
  save_weights(dir / "other.safetensors", other);
  const std::vector<std::pair<const char*, std::function<void(nn::Linear&)>>> ways{
      {"fill", [](nn::Linear& l) { l.weight.fill(0.3f); }},
      {"copy_from",
       [](nn::Linear& l) {
         l.weight.copy_from(random_tensor({3, 5}, 8));
       }},
      {"copy_from into a view", [](nn::Linear& l) { l.weight.reshape({15}).copy_from(random_tensor({15}, 9)); }},
      {"data of a detached handle",
       [](nn::Linear& l) {
         if (on_host(l.weight.device())) {
           l.weight.detach().data<float>()[4] = 0.7f;
         } else {
           l.weight.detach().fill(0.7f);
         }
       }},
      {"initialize", [](nn::Linear& l) { nn::initialize(l, {}, 11); }},
      {"load_weights", [&](nn::Linear& l) { load_weights(dir / "other.safetensors", l); }},
      {"a move there and back", [](nn::Linear& l) {
         const Device device = l.weight.device();
         l.to(device == Device::cpu ? Device::reference : Device::cpu);
         l.weight.fill(0.9f);
         l.to(device);
       }}};
  const PrecisionGuard guard(device(), Precision::bf16);
  for (const auto& [name, change] : ways) {
    nn::Linear layer(5, 3, false), fresh(5, 3, false);
    nn::initialize(layer, {}, 1);
    layer.to(device());
    const Tensor x = random_tensor({2, 5}, 2, device());
    const std::vector<float> before = layer(x).to_vector<float>();
    change(layer);
    const std::vector<float> after = layer(x).to_vector<float>();
    EXPECT_TRUE(holds_the_values(layer.weight)) << name;
    fresh.weight.copy_from(layer.weight);
    fresh.to(device());
    EXPECT_EQ(after, fresh(x).to_vector<float>()) << name;
    EXPECT_NE(after, before) << name;
  }
}

TEST_P(RoundedCopyOn, IsRefreshedForAReplayOnlyWhereThereIsOne) {
  Tensor w = random_tensor({3, 5}, 1, device());
  const Tensor b = random_tensor({3}, 2, device());
  rounded_copy(w);
  w.fill(0.1f);
  EXPECT_FALSE(is_current(w));
  refresh_rounded_copies({{"w", w}, {"b", b}});
  EXPECT_TRUE(holds_the_values(w));
  EXPECT_EQ(b.impl()->storage->rounded, nullptr);
}

using MakeOptimizer = std::function<std::unique_ptr<Optimizer>(std::vector<NamedTensor>)>;

const std::vector<std::pair<const char*, MakeOptimizer>> kOptimizers{
    {"sgd", [](auto p) { return std::make_unique<Sgd>(std::move(p), 0.1, SgdOptions{0.9f}, 0.01); }},
    {"adam", [](auto p) { return std::make_unique<Adam>(std::move(p), 0.01); }},
    {"rmsprop", [](auto p) { return std::make_unique<Rmsprop>(std::move(p), 0.01); }}};

TEST_P(RoundedCopyOn, IsWrittenByTheOptimizersPass) {
  const PrecisionGuard guard(device(), Precision::bf16);
  for (const auto& [name, make] : kOptimizers) {
    for (const bool on_arrival : {false, true}) {
      nn::Sequential network({std::make_shared<nn::Conv2d>(2, 6, 3), std::make_shared<nn::Flatten>(),
                              std::make_shared<nn::Linear>(24, 7), std::make_shared<nn::Linear>(7, 3)});
      nn::initialize(network, {}, 1);
      network.to(device());
      const std::vector<NamedTensor> parameters = network.named_parameters();
      const auto optimizer = make(parameters);
      for (int step = 0; step < 3; ++step) {
        optimizer->clear_grad();
        if (on_arrival) optimizer->update_on_arrival();
        const Tensor logits = network(random_tensor({5, 4, 4, 2}, 20, device()));
        ops::softmax_cross_entropy(logits, Tensor::from<int32_t>({0, 1, 2, 0, 1}, {5}, device())).loss.backward();
        optimizer->step();
        for (const NamedTensor& p : parameters) {
          if (p.name.ends_with("weight")) {
            EXPECT_TRUE(holds_the_values(p.tensor)) << name << (on_arrival ? " on arrival, " : ", ") << p.name;
          } else {
            EXPECT_EQ(p.tensor.impl()->storage->rounded, nullptr) << p.name;
          }
        }
      }
    }
  }
}

TEST_P(RoundedCopyOn, IsLeftAloneWhereAParameterGetsNoGradient) {
  Tensor w = random_tensor({3, 5}, 1, device()), v = random_tensor({3, 5}, 2, device());
  w.set_requires_grad(true), v.set_requires_grad(true);
  const PrecisionGuard guard(device(), Precision::bf16);
  Sgd optimizer({{"w", w}, {"v", v}}, 0.1);
  rounded_copy(v);
  v.fill(0.2f);  // out of date when the step comes, which does not move it
  const Tensor labels = Tensor::from<int32_t>({0, 1}, {2}, device());
  ops::softmax_cross_entropy(ops::linear(random_tensor({2, 5}, 3, device()), w, Tensor()), labels).loss.backward();
  optimizer.step();
  EXPECT_TRUE(holds_the_values(w));
  EXPECT_FALSE(is_current(v));
}

}  // namespace
}  // namespace striate
