#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "engine/config.h"
#include "engine/ops/ops.h"
#include "engine/optim/optimizer_config.h"
#include "engine/step_state.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"
#include "tests/support/compare.h"

namespace striate {
namespace {

using test::all_close;

// One weight on either device; its gradient is set by a linear op, so that it comes through the engine.
struct OptimCase {
  const char* name;
  Device device;

  friend void PrintTo(const OptimCase& c, std::ostream* out) { *out << c.name; }
};

const auto case_name = [](const auto& info) { return std::string(info.param.name); };

class OptimizerTest : public testing::TestWithParam<OptimCase> {
 protected:
  void SetUp() override { test::skip_unless_runnable(GetParam().device); }
  Tensor make_weight(const std::vector<float>& values) {
    Tensor w = Tensor::from<float>(values, {1, static_cast<int64_t>(values.size())}, GetParam().device);
    w.set_requires_grad(true);
    return w;
  }
  // d/dw of Σ g·w is g.
  void set_gradient(const Tensor& w, const std::vector<float>& g) {
    const Tensor x = Tensor::from<float>(g, {1, static_cast<int64_t>(g.size())}, GetParam().device);
    ops::linear(x, w, Tensor()).backward();
  }
  // Runs `steps` steps with gradients g·(t + 1) and checks every weight against `expected`, which is told (w, g, t).
  void follow(Optimizer& optimizer, Tensor w, const std::function<double(size_t i, double w, double g, int t)>& formula,
              int steps = 4) {
    const std::vector<float> gradient = {0.5f, -1.0f, 2.0f};
    std::vector<double> expected;
    for (float value : w.to_vector<float>()) expected.push_back(value);
    for (int t = 1; t <= steps; ++t) {
      std::vector<float> g;
      for (float value : gradient) g.push_back(value * static_cast<float>(t));
      optimizer.clear_grad();
      set_gradient(w, g);
      optimizer.step();
      for (size_t i = 0; i < 3; ++i) expected[i] = formula(i, expected[i], static_cast<double>(g[i]), t);
      ASSERT_TRUE(all_close(w.to_vector<float>(), expected, {1e-6, 1e-5})) << "step " << t;
    }
    EXPECT_EQ(optimizer.steps(), steps);
  }
  const std::vector<float> start = {1.0f, -2.0f, 0.25f};
};

TEST_P(OptimizerTest, SgdPlain) {
  Tensor w = make_weight(start);
  Sgd sgd({{"w", w}}, 0.1);
  follow(sgd, w, [](size_t, double x, double g, int) { return x - 0.1 * g; });
  EXPECT_EQ(sgd.state().size(), 1u);  // steps alone
}

TEST_P(OptimizerTest, SgdMomentumAndDecay) {
  Tensor w = make_weight(start);
  Sgd sgd({{"w", w}}, 0.1, {0.9f, false, false}, 0.01);
  std::vector<double> v(3, 0.0);
  follow(sgd, w, [&](size_t i, double x, double g, int) {
    v[i] = 0.9 * v[i] + g + 0.01 * x;
    return x - 0.1 * v[i];
  });
}

TEST_P(OptimizerTest, SgdNesterov) {
  Tensor w = make_weight(start);
  Sgd sgd({{"w", w}}, 0.1, {0.9f, true, false}, 0.01);
  std::vector<double> v(3, 0.0);
  follow(sgd, w, [&](size_t i, double x, double g, int) {
    const double d = g + 0.01 * x;
    v[i] = 0.9 * v[i] + d;
    return x - 0.1 * (d + 0.9 * v[i]);
  });
}

TEST_P(OptimizerTest, SgdPaperUpdate) {
  Tensor w = make_weight(start);
  Sgd sgd({{"w", w}}, 0.1, {0.9f, false, true}, 0.0005);
  std::vector<double> v(3, 0.0);
  follow(sgd, w, [&](size_t i, double x, double g, int t) {
    // The rate changes after each step: what is in v keeps its old one, unlike in PyTorch's update.
    const double rate = 0.1 / t;
    v[i] = 0.9 * v[i] - 0.0005 * rate * x - rate * g;
    if (i == 2) sgd.set_learning_rate(0.1 / (t + 1));
    return x + v[i];
  });
}

TEST_P(OptimizerTest, AdamAndAdamW) {
  for (const bool decoupled : {false, true}) {
    Tensor w = make_weight(start);
    Adam adam({{"w", w}}, 0.01, {0.9f, 0.99f, 1e-8f, decoupled}, 0.1);
    EXPECT_EQ(adam.name(), decoupled ? "adamw" : "adam");
    std::vector<double> m(3, 0.0), v(3, 0.0);
    follow(adam, w, [&](size_t i, double x, double g, int t) {
      const double decayed = decoupled ? x - 0.01 * 0.1 * x : x;
      if (!decoupled) g += 0.1 * x;
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.99 * v[i] + 0.01 * g * g;
      const double m_hat = m[i] / (1 - std::pow(0.9, t)), v_hat = v[i] / (1 - std::pow(0.99, t));
      return decayed - 0.01 * m_hat / (std::sqrt(v_hat) + 1e-8);
    });
  }
}

TEST_P(OptimizerTest, RmspropWithAndWithoutMomentum) {
  for (const double momentum : {0.0, 0.9}) {
    Tensor w = make_weight(start);
    Rmsprop rmsprop({{"w", w}}, 0.01, {0.99f, 1e-8f, static_cast<float>(momentum)}, 0.1);
    std::vector<double> s(3, 0.0), b(3, 0.0);
    follow(rmsprop, w, [&](size_t i, double x, double g, int) {
      g += 0.1 * x;
      s[i] = 0.99 * s[i] + 0.01 * g * g;
      b[i] = momentum * b[i] + g / (std::sqrt(s[i]) + 1e-8);
      return x - 0.01 * b[i];
    });
  }
}

TEST_P(OptimizerTest, ScaleThenClipOverAllParameters) {
  Tensor a = make_weight({0.0f, 0.0f}), b = make_weight({0.0f, 0.0f});
  Sgd sgd({{"a", a}, {"b", b}}, 1.0);
  sgd.set_gradient_scale(0.5f);
  sgd.set_max_norm(2.5f);
  set_gradient(a, {6.0f, 0.0f});
  set_gradient(b, {0.0f, 8.0f});
  sgd.step();  // (3, 4) has norm 5 and is halved
  EXPECT_FLOAT_EQ(sgd.last_norm(), 5.0f);
  EXPECT_TRUE(all_close(a.to_vector<float>(), std::vector<float>{-1.5f, 0.0f}, {1e-6, 1e-6}));
  EXPECT_TRUE(all_close(b.to_vector<float>(), std::vector<float>{0.0f, -2.0f}, {1e-6, 1e-6}));

  sgd.clear_grad();
  set_gradient(a, {2.0f, 0.0f});
  set_gradient(b, {0.0f, 0.0f});
  sgd.step();  // below the limit: as it is
  EXPECT_FLOAT_EQ(sgd.last_norm(), 1.0f);
  EXPECT_TRUE(all_close(a.to_vector<float>(), std::vector<float>{-2.5f, 0.0f}, {1e-6, 1e-6}));

  sgd.set_max_norm(0.0f);
  sgd.step();
  EXPECT_TRUE(std::isnan(sgd.last_norm()));
}

TEST_P(OptimizerTest, LeavesParametersWithoutGradientAlone) {
  Tensor used = make_weight({1.0f}), unused = make_weight({1.0f});
  Sgd sgd({{"used", used}, {"unused", unused}}, 0.1, {0.9f, false, false}, 0.5);
  for (int i = 0; i < 2; ++i) {
    sgd.clear_grad();
    set_gradient(used, {1.0f});
    sgd.step();
  }
  EXPECT_LT(used.item(), 1.0f);
  EXPECT_EQ(unused.item(), 1.0f);  // no decay either
  sgd.clear_grad();
  EXPECT_THROW(sgd.step(), Error);
}

TEST_P(OptimizerTest, StepMovesTheDropoutMasksOn) {
  Tensor w = make_weight({1.0f});
  Sgd sgd({{"w", w}}, 0.1);
  dropout_state(GetParam().device) = {7, 41, 96};
  set_gradient(w, {1.0f});
  sgd.step();
  EXPECT_EQ(dropout_state(GetParam().device).seed, 7u);
  EXPECT_EQ(dropout_state(GetParam().device).step, 42u);
  EXPECT_EQ(dropout_state(GetParam().device).first_sample, 0u);
}

TEST_P(OptimizerTest, StateGoesOverToAnotherOptimizer) {
  Tensor w = make_weight(start), copy = make_weight(start);
  Adam first({{"features.0.weight", w}}, 0.01);
  for (int i = 0; i < 3; ++i) {
    first.clear_grad();
    set_gradient(w, {0.1f, 0.2f, -0.3f});
    first.step();
  }
  std::vector<std::string> names;
  for (const NamedTensor& t : first.state()) names.push_back(t.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"first_moment.features.0.weight", "second_moment.features.0.weight", "steps"}));

  Adam second({{"features.0.weight", copy}}, 0.01);
  second.load_state(first.state());
  copy.copy_from(w);
  EXPECT_EQ(second.steps(), 3);
  for (Optimizer* optimizer : {static_cast<Optimizer*>(&first), static_cast<Optimizer*>(&second)})
    optimizer->clear_grad();
  set_gradient(w, {1.0f, 1.0f, 1.0f});
  set_gradient(copy, {1.0f, 1.0f, 1.0f});
  first.step();
  second.step();
  EXPECT_EQ(w.to_vector<float>(), copy.to_vector<float>());

  Tensor other = make_weight({1.0f});
  Adam third({{"features.0.weight", other}}, 0.01);
  try {
    third.load_state(first.state());
    FAIL() << "accepted a state of another shape";
  } catch (const ShapeError& e) {
    EXPECT_NE(std::string(e.what()).find("first_moment.features.0.weight: expected float32 [1,1], found float32 [1,3]"),
              std::string::npos)
        << e.what();
  }
  EXPECT_EQ(third.steps(), 0);
  EXPECT_THROW(Sgd({{"features.0.weight", w}}, 0.1, {0.9f, false, false}).load_state(first.state()), ShapeError);
}

INSTANTIATE_TEST_SUITE_P(, OptimizerTest,
                         testing::Values(OptimCase{"reference", Device::reference}, OptimCase{"cpu", Device::cpu},
                                         OptimCase{"cuda", Device::cuda}),
                         case_name);

TEST(OptimizerConfig, ReadsEveryKey) {
  const auto parse = [](const std::string& text) { return OptimizerConfig::parse(ConfigReader::parse(text)); };
  const OptimizerConfig defaults = parse("");
  EXPECT_EQ(defaults.name, "sgd");
  EXPECT_EQ(defaults.momentum, 0.9);
  EXPECT_EQ(parse("name: rmsprop").momentum, 0.0);
  const OptimizerConfig adam = parse("{name: adamw, betas: [0.8, 0.95], eps: 1.0e-6, weight_decay: 0.05}");
  EXPECT_EQ(adam.beta1, 0.8);
  EXPECT_EQ(adam.beta2, 0.95);
  EXPECT_EQ(adam.eps, 1e-6);
  EXPECT_EQ(adam.weight_decay, 0.05);
  EXPECT_EQ(parse("{update: paper}").update, "paper");
  EXPECT_THROW(parse("{name: sdg}"), ConfigError);
  EXPECT_THROW(parse("{momentun: 0.9}"), ConfigError);
  EXPECT_THROW(parse("{momentum: 1.5}"), ConfigError);
  EXPECT_THROW(parse("{momentum: 0, nesterov: true}"), ConfigError);
  EXPECT_THROW(parse("{betas: [0.9]}"), ConfigError);

  Tensor w = Tensor::zeros({2}).set_requires_grad(true);
  for (const char* name : {"sgd", "adam", "adamw", "rmsprop"}) {
    EXPECT_EQ(make_optimizer(parse(std::string("name: ") + name), {{"w", w}}, 0.1)->name(), name);
  }
  EXPECT_THROW(make_optimizer({}, {}, 0.1), ConfigError);
  EXPECT_THROW(make_optimizer({}, {{"w", w}, {"w", w}}, 0.1), ConfigError);
}

}  // namespace
}  // namespace striate
