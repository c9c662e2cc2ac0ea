#include "engine/autograd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <utility>

#include "engine/allocator.h"
#include "engine/ops/ops.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"

namespace striate {
namespace {

using test::device_name;
using test::devices;
using test::random_tensor;

/// Σ cᵢ·yᵢ with fixed random c: a scalar every element of y matters to.
Tensor weighted_sum(const Tensor& y) {
  const Tensor c = random_tensor({1, y.size()}, 99, y.device(), 0.5f, 1.5f);
  return ops::linear(y.reshape({1, y.size()}), c, Tensor());
}

struct OpCase {
  std::string name;
  std::vector<Shape> inputs;
  std::function<Tensor(const std::vector<Tensor>&)> apply;
  friend void PrintTo(const OpCase& c, std::ostream* out) { *out << c.name; }
};

std::vector<OpCase> op_cases() {
  using ops::Conv2dOptions;
  const auto labels = [](Device device) { return Tensor::from<int32_t>({2, 0, 4}, {3}, device); };
  return {
      {"conv2d_grouped_strided",
       {{2, 5, 6, 4}, {6, 3, 2, 2}, {6}},
       [](auto& t) {
         return ops::conv2d(t[0], t[1], t[2], Conv2dOptions{2, 1, 1, 0, 1, 2, 2});
       }},
      {"conv2d_leaky_relu",
       {{1, 4, 4, 3}, {2, 3, 3, 3}, {2}},
       [](auto& t) {
         return ops::conv2d(t[0], t[1], t[2], Conv2dOptions{1, 1, 1, 1, 1, 1, 1}, Activation::leaky_relu);
       }},
      {"conv2d_no_bias",
       {{1, 4, 4, 1}, {2, 3, 3, 1}},
       [](auto& t) { return ops::conv2d(t[0], t[1], Tensor(), Conv2dOptions{}); }},
      {"linear", {{3, 5}, {4, 5}, {4}}, [](auto& t) { return ops::linear(t[0], t[1], t[2]); }},
      {"linear_relu", {{3, 5}, {4, 5}, {4}}, [](auto& t) { return ops::linear(t[0], t[1], t[2], Activation::relu); }},
      {"linear_relu_dropout",
       {{3, 5}, {4, 5}, {4}},
       [](auto& t) {
         return ops::linear(t[0], t[1], t[2], Activation::relu, ops::Kernels::own, {0.4f, 1});
       }},
      {"linear_relu_dropout_linear",
       {{5, 6}, {9, 6}, {9}, {4, 9}},
       [](auto& t) {
         return ops::linear(ops::linear(t[0], t[1], t[2], Activation::relu, ops::Kernels::own, {0.4f, 1}), t[3],
                            Tensor());
       }},
      {"relu", {{4, 7}}, [](auto& t) { return ops::activation(t[0], Activation::relu); }},
      {"leaky_relu", {{4, 7}}, [](auto& t) { return ops::activation(t[0], Activation::leaky_relu); }},
      {"gelu", {{4, 7}}, [](auto& t) { return ops::activation(t[0], Activation::gelu); }},
      {"silu", {{4, 7}}, [](auto& t) { return ops::activation(t[0], Activation::silu); }},
      {"max_pool2d",
       {{2, 5, 5, 3}},
       [](auto& t) {
         return ops::max_pool2d(t[0], {3, 3, 2, 2, 1, 1});
       }},
      {"avg_pool2d",
       {{2, 5, 5, 3}},
       [](auto& t) {
         return ops::avg_pool2d(t[0], {3, 2, 2, 1, 1, 0});
       }},
      {"adaptive_avg_pool2d", {{2, 5, 7, 3}}, [](auto& t) { return ops::adaptive_avg_pool2d(t[0], 3, 2); }},
      {"dropout",
       {{4, 9}},
       [](auto& t) {
         return ops::dropout(t[0], {0.4f, 1});
       }},
      {"batch_norm_training",
       {{6, 2, 2, 3}, {3}, {3}},
       [](auto& t) {
         Tensor mean = Tensor::zeros({3}, DType::float32, t[0].device()), var = Tensor::full({3}, 1, t[0].device());
         return ops::batch_norm(t[0], t[1], t[2], mean, var, true, 0.1f, 1e-5f);
       }},
      {"batch_norm_eval",
       {{6, 2, 2, 3}, {3}, {3}},
       [](auto& t) {
         Tensor mean = Tensor::full({3}, 0.3f, t[0].device()), var = Tensor::full({3}, 2, t[0].device());
         return ops::batch_norm(t[0], t[1], t[2], mean, var, false, 0.1f, 1e-5f);
       }},
      {"local_response_norm",
       {{2, 2, 2, 7}},
       [](auto& t) {
         return ops::local_response_norm(t[0], {5, 2, 0.5f, 0.75f, false});
       }},
      {"add_relu", {{3, 4}, {3, 4}}, [](auto& t) { return ops::add(t[0], t[1], Activation::relu); }},
      {"scale", {{3, 4}}, [](auto& t) { return ops::scale(t[0], -1.5f); }},
      {"reshape", {{3, 2, 2, 2}}, [](auto& t) { return ops::flatten(t[0]); }},
      {"softmax_cross_entropy",
       {{3, 5}},
       [labels](auto& t) { return ops::softmax_cross_entropy(t[0], labels(t[0].device()), 0.1f).loss; }},
      {"same_input_twice", {{3, 4}}, [](auto& t) { return ops::add(t[0], ops::scale(t[0], 3.0f)); }},
      {"diamond",
       {{3, 4}},
       [](auto& t) {
         const Tensor a = ops::activation(t[0], Activation::silu);
         return ops::add(ops::add(a, a), ops::activation(a, Activation::gelu));
       }},
      {"shared_weight",
       {{2, 4}, {4, 4}, {4}},
       [](auto& t) { return ops::linear(ops::linear(t[0], t[1], t[2], Activation::leaky_relu), t[1], t[2]); }},
  };
}

class GradientOf : public testing::TestWithParam<std::tuple<Device, OpCase>> {
 protected:
  void SetUp() override { test::skip_unless_runnable(std::get<0>(GetParam())); }
};
INSTANTIATE_TEST_SUITE_P(, GradientOf, testing::Combine(testing::ValuesIn(devices()), testing::ValuesIn(op_cases())),
                         [](const auto& test) {
                           return to_string(std::get<0>(test.param)) + "_" + std::get<1>(test.param).name;
                         });

// The kernels' gradients are checked in double in tests/kernels; this checks what the engine adds: that each gradient
// reaches its input, summed over all its uses. Central differences in float32 with h = 2⁻⁷ carry an error of about
// ulp(loss)/h ≈ 1e-4 and h²·f‴/6; kinks are stepped round by leaving out elements that two step sizes disagree on.
TEST_P(GradientOf, MatchesFiniteDifferences) {
  const auto& [device, op] = GetParam();
  std::vector<Tensor> inputs;
  for (size_t i = 0; i < op.inputs.size(); ++i) {
    inputs.push_back(random_tensor(op.inputs[i], 10 + i, device));
    inputs.back().set_requires_grad(true);
  }
  weighted_sum(op.apply(inputs)).backward();

  NoGradGuard no_grad;
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_TRUE(inputs[i].grad().defined()) << "input " << i;
    const std::vector<float> gradient = inputs[i].grad().to_vector<float>();
    std::vector<float> values = inputs[i].to_vector<float>();
    const auto sum_at = [&](size_t e, float change) {
      const float value = std::exchange(values[e], values[e] + change);
      inputs[i].copy_from(Tensor::from(values, inputs[i].shape()));
      values[e] = value;
      return weighted_sum(op.apply(inputs)).item();
    };
    int64_t checked = 0;
    for (size_t e = 0; e < values.size(); ++e) {
      const auto slope = [&](float h) { return (sum_at(e, h) - sum_at(e, -h)) / (2 * h); };
      const float wide = slope(0x1p-6f), narrow = slope(0x1p-7f);
      if (std::abs(wide - narrow) > 0.02f) continue;
      ++checked;
      EXPECT_NEAR(gradient[e], narrow, 5e-3f + 5e-3f * std::abs(narrow)) << "input " << i << " [" << e << "]";
    }
    inputs[i].copy_from(Tensor::from(values, inputs[i].shape()));
    EXPECT_GE(checked, inputs[i].size() / 2) << "too many kinks at input " << i;
  }
}

class AutogradOn : public test::DeviceTest {};
INSTANTIATE_TEST_SUITE_P(, AutogradOn, testing::ValuesIn(devices()), device_name);

TEST_P(AutogradOn, AddsUpOverBackwardsUntilCleared) {
  Tensor w = random_tensor({2, 3}, 1, GetParam()).set_requires_grad(true);
  const Tensor x = random_tensor({4, 3}, 2, GetParam());
  const auto run = [&] { weighted_sum(ops::linear(x, w, Tensor())).backward(); };
  run();
  const std::vector<float> once = w.grad().to_vector<float>();
  run();
  const std::vector<float> twice = w.grad().to_vector<float>();
  for (size_t i = 0; i < once.size(); ++i) EXPECT_FLOAT_EQ(twice[i], 2 * once[i]);
  w.clear_grad();
  EXPECT_FALSE(w.grad().defined());
  run();
  EXPECT_EQ(w.grad().to_vector<float>(), once);
}

TEST_P(AutogradOn, EveryBackwardStartsFromOneWhateverTheLastOpDoesToIt) {
  Tensor x = Tensor::full({1}, -1.0f, GetParam());
  x.set_requires_grad(true);
  for (int i = 0; i < 2; ++i) {
    x.clear_grad();
    ops::activation(x, Activation::leaky_relu).backward();
    EXPECT_FLOAT_EQ(x.grad().item(), 0.01f) << "backward " << i;
  }
}

TEST_P(AutogradOn, SharedGradientIsNotChangedByOneOfItsHolders) {
  // add hands one gradient tensor to both sides; a then collects a second one from scale.
  Tensor a = Tensor::full({1}, 1, GetParam()), b = Tensor::full({1}, 1, GetParam());
  a.set_requires_grad(true), b.set_requires_grad(true);
  const Tensor a2 = ops::scale(a, 1), b2 = ops::scale(b, 1);
  ops::add(ops::add(a2, b2), ops::scale(a2, 5)).backward();
  EXPECT_EQ(a.grad().item(), 6.0f);
  EXPECT_EQ(b.grad().item(), 1.0f);
}

TEST_P(AutogradOn, AReluThatAPoolTakesAlongChangesNoGradient) {
  // A scale by one between the two hides the ReLU from the pool, so that its own backward runs.
  const auto with_others = [](const Tensor& y, const Tensor& seen, int uses) {
    Tensor loss = weighted_sum(ops::max_pool2d(seen, {3, 3, 2, 2, 1, 1}));
    if (uses > 1) loss = ops::add(loss, weighted_sum(ops::max_pool2d(seen, {2, 2, 2, 2, 0, 0})));
    if (uses > 2) loss = ops::add(loss, weighted_sum(ops::scale(y, -3)));
    return loss;
  };
  const std::vector<std::function<Tensor(const Tensor&, const Tensor&)>> ops_with_relu = {
      [](const Tensor& x, const Tensor& w) { return ops::conv2d(x, w, Tensor(), {}, Activation::relu); },
      [](const Tensor& x, const Tensor& w) {
        return ops::activation(ops::conv2d(x, w, Tensor(), {}), Activation::relu);
      },
      [](const Tensor& x, const Tensor& w) {
        return ops::add(ops::conv2d(x, w, Tensor(), {}), ops::conv2d(x, w, Tensor(), {}), Activation::relu);
      },
      [](const Tensor& x, const Tensor& w) {
        return ops::linear(x.reshape({-1, 3}), w.reshape({4, 3}), Tensor(), Activation::relu).reshape({2, 7, 6, 4});
      }};
  for (size_t op = 0; op < ops_with_relu.size(); ++op) {
    for (int uses = 1; uses <= 3; ++uses) {
      std::vector<std::vector<float>> found;
      for (const bool hidden : {false, true}) {
        Tensor x = random_tensor({2, 7, 6, 3}, 1, GetParam()).set_requires_grad(true);
        Tensor w = random_tensor({4, 1, 1, 3}, 2, GetParam()).set_requires_grad(true);
        const Tensor y = ops_with_relu[op](x, w);
        EXPECT_TRUE(comes_out_of_relu(y));
        const Tensor scaled = ops::scale(y, 1);
        EXPECT_FALSE(comes_out_of_relu(scaled));
        with_others(y, hidden ? scaled : y, uses).backward();
        found.push_back(x.grad().to_vector<float>());
        found.push_back(w.grad().to_vector<float>());
      }
      // A third use adds its terms in another order.
      const float tolerance = uses < 3 ? 0.0f : 1e-5f;
      for (size_t i = 0; i < found[0].size(); ++i) EXPECT_NEAR(found[0][i], found[2][i], tolerance) << op << uses;
      for (size_t i = 0; i < found[1].size(); ++i) EXPECT_NEAR(found[1][i], found[3][i], 10 * tolerance) << op << uses;
    }
  }
}

TEST_P(AutogradOn, LeavesOutWhatWantsNoGradient) {
  Tensor w = random_tensor({2, 3}, 1, GetParam()), b = random_tensor({2}, 2, GetParam());
  b.set_requires_grad(true);
  weighted_sum(ops::linear(random_tensor({4, 3}, 3, GetParam()), w, b)).backward();
  EXPECT_FALSE(w.grad().defined());
  EXPECT_TRUE(b.grad().defined());
}

TEST_P(AutogradOn, RecordsNothingInsideANoGradGuard) {
  Tensor w = random_tensor({2, 3}, 1, GetParam()).set_requires_grad(true);
  NoGradGuard guard;
  const Tensor y = ops::linear(random_tensor({4, 3}, 3, GetParam()), w, Tensor());
  EXPECT_FALSE(y.requires_grad());
}

TEST_P(AutogradOn, GraphIsFreedByTheWalkAndCannotBeWalkedTwice) {
  Tensor x = random_tensor({1, 64, 64, 4}, 1, GetParam()).set_requires_grad(true);
  Tensor loss;
  const size_t before = allocator(GetParam()).stats().in_use;
  {
    Tensor y = ops::activation(x, Activation::silu);
    for (int i = 0; i < 8; ++i) y = ops::activation(y, Activation::silu);
    loss = weighted_sum(y);
  }
  EXPECT_GT(allocator(GetParam()).stats().in_use, before + 8 * x.bytes());
  loss.backward();
  // The gradient of x, the loss and the weights of the sum: no activation is left.
  EXPECT_LT(allocator(GetParam()).stats().in_use, before + 3 * x.bytes());
  EXPECT_THROW(loss.backward(), Error);
}

TEST_P(AutogradOn, WalkFreesActivationsAsItGoes) {
  const Tensor w = random_tensor({8, 1, 1, 8}, 1, GetParam()).set_requires_grad(true);
  Tensor x = random_tensor({1, 16, 16, 8}, 2, GetParam()).set_requires_grad(true);
  Allocator& memory = allocator(GetParam());
  const size_t before = memory.stats().in_use;
  size_t at_the_bottom = 0;
  Tensor y = x.detach().clone();
  record("bottom", y, {x}, [&](const Tensor&, Gradients&) { at_the_bottom = memory.stats().in_use; });
  for (int i = 0; i < 8; ++i) y = ops::activation(ops::conv2d(y, w, Tensor(), {}), Activation::silu);
  Tensor loss = weighted_sum(y);
  y = Tensor();
  const size_t kept = memory.stats().in_use - before;
  EXPECT_GT(kept, 16 * x.bytes());
  memory.reset_peak();
  loss.backward();
  // What was kept, the gradients at work of the last layer, and at the end the gradient there and no activation.
  EXPECT_LT(memory.stats().peak - before, kept + 3 * x.bytes());
  EXPECT_LT(at_the_bottom - before, 3 * x.bytes());
}

TEST_P(AutogradOn, OutputThatAPoolTookThroughItsReluIsLetGo) {
  const Tensor image = random_tensor({1, 16, 16, 8}, 2, GetParam());
  const Tensor w = random_tensor({8, 1, 1, 8}, 1, GetParam()).set_requires_grad(true);
  Allocator& memory = allocator(GetParam());
  enum Use { pooled, pooled_twice, held, pooled_and_scaled };
  std::vector<std::vector<float>> gradients;
  for (const Use use : {pooled, pooled_twice, held, pooled_and_scaled}) {
    const size_t before = memory.stats().in_use;
    Tensor held_on, loss;
    {
      const Tensor y = ops::conv2d(image, w, Tensor(), {}, Activation::relu);
      Tensor z = ops::max_pool2d(y, {});
      if (use == pooled_twice) z = ops::add(z, ops::max_pool2d(y, {}));
      loss = weighted_sum(z);
      if (use == pooled_and_scaled) loss = ops::add(loss, weighted_sum(ops::scale(y, 0.5f)));
      if (use == held) held_on = y;
    }
    const bool let_go = use == pooled || use == pooled_twice;
    // A pool's output, its weights and its index take a good half of the bytes of what it pools.
    EXPECT_EQ(memory.stats().in_use - before < image.bytes(), let_go) << use;
    const Tensor late = held_on.defined() ? weighted_sum(held_on) : Tensor();
    if (late.defined()) loss = ops::add(loss, late);
    held_on = Tensor();
    loss.backward();
    gradients.push_back(w.grad().to_vector<float>());
    Tensor(w).clear_grad();
  }
  for (size_t i = 0; i < gradients[0].size(); ++i) EXPECT_NEAR(gradients[1][i], 2 * gradients[0][i], 1e-4f);
  EXPECT_NE(gradients[2], gradients[0]);
  EXPECT_NE(gradients[3], gradients[0]);
}

TEST_P(AutogradOn, GraphThatIsNeverWalkedLeavesNothingBehind) {
  Tensor x = random_tensor({100}, 1, GetParam()).set_requires_grad(true);
  const size_t before = allocator(GetParam()).stats().in_use;
  for (const Activation a : {Activation::relu, Activation::leaky_relu, Activation::gelu, Activation::silu}) {
    ops::add(ops::activation(x, a), x, Activation::relu);
  }
  EXPECT_EQ(allocator(GetParam()).stats().in_use, before) << "a node holds its own output";
}

TEST_P(AutogradOn, CopiesPassTheGradientOn) {
  Tensor x = random_tensor({4}, 1).set_requires_grad(true);
  const Tensor y = ops::scale(x.to(GetParam()).clone(), 3).to(Device::cpu);
  EXPECT_TRUE(y.requires_grad());
  weighted_sum(y).backward();
  Tensor z = x.detach().clone().set_requires_grad(true);
  weighted_sum(ops::scale(z, 3)).backward();
  EXPECT_EQ(x.grad().device(), Device::cpu);
  EXPECT_EQ(x.grad().to_vector<float>(), z.grad().to_vector<float>());
}

TEST_P(AutogradOn, BatchNormsBackwardUsesTheStatisticsOfItsForward) {
  const Tensor x = random_tensor({6, 3}, 1, GetParam());
  const auto gradient = [&](bool train_between) {
    Tensor gamma = Tensor::full({3}, 1, GetParam()), beta = Tensor::zeros({3}, DType::float32, GetParam());
    Tensor mean = Tensor::full({3}, 0.5f, GetParam()), var = Tensor::full({3}, 2, GetParam());
    gamma.set_requires_grad(true);
    const Tensor loss = weighted_sum(ops::batch_norm(x, gamma, beta, mean, var, false, 0.5f, 1e-5f));
    if (train_between) ops::batch_norm(x, gamma, beta, mean, var, true, 0.5f, 1e-5f);
    loss.backward();
    return gamma.grad().to_vector<float>();
  };
  EXPECT_EQ(gradient(true), gradient(false));
}

TEST(Autograd, FreesLongGraphsThatAreNeverWalked) {
  // 200,000 calls within calls would overflow the stack.
  const std::vector<std::function<Tensor(const Tensor&)>> ops = {
      [](const Tensor& x) { return ops::activation(x, Activation::relu); },
      [](const Tensor& x) { return ops::add(x, x); },
      [](const Tensor& x) {  // keeps its input with all that led to it
        Tensor y = x.clone().detach();
        record("copy", y, {x}, [x](const Tensor& dy, Gradients& gradients) { gradients.add(0, dy); });
        return y;
      }};
  for (size_t op = 0; op < ops.size(); ++op) {
    const Tensor x = random_tensor({1, 1}, 7, Device::reference).set_requires_grad(true);
    const size_t before = allocator(Device::reference).stats().in_use;
    Tensor y = x;
    for (int i = 0; i < 200'000; ++i) y = ops[op](y);
    y = Tensor();
    EXPECT_EQ(allocator(Device::reference).stats().in_use, before) << op;
  }
}

TEST(Autograd, RefusesWhatHasNoGradient) {
  Tensor x = random_tensor({2, 2}, 1).set_requires_grad(true);
  EXPECT_THROW(ops::scale(x, 2).backward(), ShapeError);
  EXPECT_THROW(Tensor::full({1}, 1).backward(), Error);
  EXPECT_THROW(Tensor::zeros({1}, DType::int32).set_requires_grad(true), Error);
}

}  // namespace
}  // namespace striate
