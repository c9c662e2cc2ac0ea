#include "kernels/optimizer/optimizer.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

struct OptimizerFunctions {
  decltype(&cpu::sgd_update) sgd;
  decltype(&cpu::adam_update) adam;
  decltype(&cpu::rmsprop_update) rmsprop;
};

constexpr BackendTable<OptimizerFunctions> kOptimizer = {
    .cpu = {&cpu::sgd_update, &cpu::adam_update, &cpu::rmsprop_update},
    .cuda = {&cuda::sgd_update, &cuda::adam_update, &cuda::rmsprop_update}};

// One element's history, written out from the documented formulas of each method, in double.
struct Element {
  double w, s1 = 0.0, s2 = 0.0;
};

// PyTorch's SGD, with dampening 0.
void pytorch_sgd(Element& e, double g, double rate, double decay, double momentum, bool nesterov, int64_t step) {
  g += decay * e.w;
  if (momentum != 0.0) {
    e.s1 = step == 0 ? g : momentum * e.s1 + g;
    g = nesterov ? g + momentum * e.s1 : e.s1;
  }
  e.w -= rate * g;
}

// Krizhevsky et al. 2012, §5: v ← 0.9·v − 0.0005·ε·w − ε·g.
void paper_sgd(Element& e, double g, double rate, double decay, double momentum) {
  e.s1 = momentum * e.s1 - decay * rate * e.w - rate * g;
  e.w += e.s1;
}

void adam(Element& e, double g, double rate, double decay, const AdamOptions& o, int64_t step) {
  if (o.decoupled) {
    e.w = e.w * (1.0 - rate * decay);
  } else {
    g += decay * e.w;
  }
  e.s1 = o.beta1 * e.s1 + (1.0 - o.beta1) * g;
  e.s2 = o.beta2 * e.s2 + (1.0 - o.beta2) * g * g;
  double power1 = 1.0, power2 = 1.0;
  for (int64_t t = 0; t <= step; ++t) power1 *= o.beta1, power2 *= o.beta2;
  const double m_hat = e.s1 / (1.0 - power1), v_hat = e.s2 / (1.0 - power2);
  e.w -= rate * m_hat / (std::sqrt(v_hat) + o.eps);
}

void rmsprop(Element& e, double g, double rate, double decay, const RmspropOptions& o) {
  g += decay * e.w;
  e.s1 = o.alpha * e.s1 + (1.0 - o.alpha) * g * g;
  const double u = g / (std::sqrt(e.s1) + o.eps);
  if (o.momentum > 0.0f) {
    e.s2 = o.momentum * e.s2 + u;
    e.w -= rate * e.s2;
  } else {
    e.w -= rate * u;
  }
}

// The method as a kernel of a backend or of the reference, and as the history of one element.
struct OptimizerCase {
  std::string name;
  std::function<void(const OptimizerFunctions*, const ParameterUpdate<float>*, int64_t, const UpdateState*, Context&)>
      update;  // on the reference where the functions are null
  std::function<void(Element&, double g, double rate, double decay, int64_t step)> element;
  bool uses_s1, uses_s2;
};

OptimizerCase sgd_case(const std::string& name, const SgdOptions& o) {
  return {name,
          [o](const OptimizerFunctions* f, const auto* updates, int64_t count, const auto* state, Context& context) {
            (f != nullptr ? f->sgd : &reference::sgd_update<float>)(updates, count, o, state, {}, context);
          },
          [o](Element& e, double g, double rate, double decay, int64_t step) {
            if (o.paper_update) {
              paper_sgd(e, g, rate, decay, o.momentum);
            } else {
              pytorch_sgd(e, g, rate, decay, o.momentum, o.nesterov, step);
            }
          },
          o.momentum != 0.0f, false};
}

OptimizerCase adam_case(const std::string& name, const AdamOptions& o) {
  return {name,
          [o](const OptimizerFunctions* f, const auto* updates, int64_t count, const auto* state, Context& context) {
            (f != nullptr ? f->adam : &reference::adam_update<float>)(updates, count, o, state, {}, context);
          },
          [o](Element& e, double g, double rate, double decay, int64_t step) { adam(e, g, rate, decay, o, step); },
          true, true};
}

OptimizerCase rmsprop_case(const std::string& name, const RmspropOptions& o) {
  return {name,
          [o](const OptimizerFunctions* f, const auto* updates, int64_t count, const auto* state, Context& context) {
            (f != nullptr ? f->rmsprop : &reference::rmsprop_update<float>)(updates, count, o, state, {}, context);
          },
          [o](Element& e, double g, double rate, double decay, int64_t) { rmsprop(e, g, rate, decay, o); }, true,
          o.momentum > 0.0f};
}

std::vector<OptimizerCase> optimizer_cases() {
  return {
      sgd_case("sgd", {}),
      sgd_case("sgd_momentum", {0.9f}),
      sgd_case("sgd_nesterov", {0.9f, true}),
      sgd_case("sgd_paper", {0.9f, false, true}),
      sgd_case("sgd_paper_without_momentum", {0.0f, false, true}),
      adam_case("adam", {}),
      adam_case("adamw", {0.9f, 0.999f, 1e-8f, true}),
      adam_case("adam_other_betas", {0.8f, 0.95f, 1e-3f, false}),
      rmsprop_case("rmsprop", {}),
      rmsprop_case("rmsprop_momentum", {0.9f, 1e-6f, 0.9f}),
  };
}

// Parameters of sizes round a vector and a chunk of 16384; every other one without weight decay, as biases have it.
const std::vector<int64_t> kSizes = {1, 37, 16384, 0, 50000, 16};

struct Parameters {
  std::vector<GuardedBuffer<float>> w, s1, s2;
  std::vector<Values<float>> g;
  std::vector<ParameterUpdate<float>> updates;

  explicit Parameters(const OptimizerCase& method) {
    for (size_t i = 0; i < kSizes.size(); ++i) {
      const auto seed = static_cast<uint32_t>(i);
      w.emplace_back(uniform<float>(kSizes[i], 100 + seed));
      g.emplace_back(static_cast<size_t>(kSizes[i]));
      s1.emplace_back(kSizes[i], 0.0f);
      s2.emplace_back(kSizes[i], 0.0f);
    }
    for (size_t i = 0; i < kSizes.size(); ++i) {
      updates.push_back({w[i].data(), g[i].data(), method.uses_s1 ? s1[i].data() : nullptr,
                         method.uses_s2 ? s2[i].data() : nullptr, kSizes[i], i % 2 == 0 ? 0.01f : 0.0f});
    }
  }

  // Gradients of `step`; the values stay where `updates` points.
  void set_gradients(int64_t step) {
    for (size_t i = 0; i < g.size(); ++i) {
      const auto values = uniform<float>(kSizes[i], static_cast<uint32_t>(1000 + 10 * step + static_cast<int64_t>(i)));
      std::copy(values.begin(), values.end(), g[i].begin());
    }
  }
};

constexpr int kSteps = 5;

UpdateState state_of(int64_t step) { return {step < 3 ? 0.01f : 0.001f, 0.5f, step}; }

class Optimizer : public BackendTest<OnBackend<OptimizerCase>> {
 protected:
  const OptimizerFunctions& functions() const { return kOptimizer[backend()]; }
  const OptimizerCase& method() const { return GetParam().value; }

  Parameters run(const OptimizerFunctions* on, int threads) const {
    TestContext context(threads);
    Parameters parameters(method());
    for (int64_t step = 0; step < kSteps; ++step) {
      parameters.set_gradients(step);
      const Values<UpdateState> state = {state_of(step)};
      method().update(on, parameters.updates.data(), static_cast<int64_t>(kSizes.size()), state.data(), context);
    }
    return parameters;
  }
};

// Each step adds an error of a few 1e-7 of the step (at most 0.03) to a weight below 1 that is rounded itself. Adam's
// first steps divide small gradients by themselves, so an update is good to its own relative error.
constexpr Tolerance kUpdateTolerance{3e-7, 1e-6};

TEST_P(Optimizer, AgreesWithTheFormulasStepByStep) {
  for (const OptimizerFunctions* on : {static_cast<const OptimizerFunctions*>(nullptr), &functions()}) {
    const Parameters found = run(on, 2);
    for (size_t i = 0; i < kSizes.size(); ++i) {
      const auto start = uniform<float>(kSizes[i], 100 + static_cast<uint32_t>(i));
      std::vector<Element> elements(start.begin(), start.end());
      for (int64_t step = 0; step < kSteps; ++step) {
        const auto g = uniform<float>(kSizes[i], static_cast<uint32_t>(1000 + 10 * step + static_cast<int64_t>(i)));
        for (size_t j = 0; j < g.size(); ++j) {
          method().element(elements[j], 0.5 * g[j], state_of(step).learning_rate, i % 2 == 0 ? double{0.01f} : 0.0,
                           step);
        }
      }
      Values<double> w, s1, s2;
      for (const Element& e : elements) w.push_back(e.w), s1.push_back(e.s1), s2.push_back(e.s2);
      EXPECT_TRUE(all_close(found.w[i], w, kUpdateTolerance)) << "parameter " << i;
      if (method().uses_s1) {
        EXPECT_TRUE(all_close(found.s1[i], s1, kUpdateTolerance)) << "parameter " << i;
      }
      if (method().uses_s2) {
        EXPECT_TRUE(all_close(found.s2[i], s2, {1e-6, 1e-6})) << "parameter " << i;
      }
      EXPECT_TRUE(found.w[i].intact() && found.s1[i].intact() && found.s2[i].intact());
    }
  }
}

TEST_P(Optimizer, NumberOfThreadsDoesNotMatter) {
  const Parameters one = run(&functions(), 1), three = run(&functions(), 3);
  for (size_t i = 0; i < kSizes.size(); ++i) {
    EXPECT_TRUE(all_equal(three.w[i], one.w[i]));
    EXPECT_TRUE(all_equal(three.s1[i], one.s1[i]));
    EXPECT_TRUE(all_equal(three.s2[i], one.s2[i]));
  }
}

INSTANTIATE_TEST_SUITE_P(, Optimizer, on_every_backend(optimizer_cases()), case_name);

class OptimizerByHand : public BackendTest<Backend> {
 protected:
  // One weight 1, gradients 0.5 then −0.25, decay 0.1, rate 0.1: few enough digits to follow on paper.
  template <typename Update>
  Values<double> two_steps(float decay, Update&& update) {
    TestContext context;
    Values<float> w = {1.0f}, g = {0.5f}, s1 = {0.0f}, s2 = {0.0f};
    const ParameterUpdate<float> parameter{w.data(), g.data(), s1.data(), s2.data(), 1, decay};
    Values<double> weights;
    for (int64_t step = 0; step < 2; ++step) {
      const Values<UpdateState> state = {{0.1f, 1.0f, step}};
      update(&parameter, state.data(), static_cast<Context&>(context));
      weights.push_back(w[0]);
      g[0] = -0.25f;
    }
    return weights;
  }
  const OptimizerFunctions& functions() const { return kOptimizer[backend()]; }
};

TEST_P(OptimizerByHand, SgdMomentum) {
  // g = .6, v = .6, w = .94; g = −.25 + .094 = −.156, v = .54 − .156 = .384, w = .9016
  const auto w =
      two_steps(0.1f, [&](const auto* u, const auto* s, Context& c) { functions().sgd(u, 1, {0.9f}, s, {}, c); });
  EXPECT_TRUE(all_close(w, Values<double>{0.94, 0.9016}, {2e-7, 0}));
}

TEST_P(OptimizerByHand, SgdNesterov) {
  // g = .6, v = .6, w = 1 − .1·(.6 + .54) = .886; g = −.25 + .0886 = −.1614, v = .54 − .1614 = .3786,
  // w = .886 − .1·(−.1614 + .34074) = .868066
  const auto w = two_steps(0.1f, [&](const auto* u, const auto* s, Context& c) {
    functions().sgd(u, 1, {0.9f, true}, s, {}, c);
  });
  EXPECT_TRUE(all_close(w, Values<double>{0.886, 0.868066}, {2e-7, 0}));
}

TEST_P(OptimizerByHand, SgdOfThePaper) {
  // v = −.1·.1·1 − .1·.5 = −.06, w = .94; v = −.054 − .0094 + .025 = −.0384, w = .9016
  const auto w = two_steps(0.1f, [&](const auto* u, const auto* s, Context& c) {
    functions().sgd(u, 1, {0.9f, false, true}, s, {}, c);
  });
  EXPECT_TRUE(all_close(w, Values<double>{0.94, 0.9016}, {2e-7, 0}));
}

TEST_P(OptimizerByHand, AdamAndAdamW) {
  // The first step of Adam is the rate against the gradient's sign, whatever its size: w = .9. AdamW shrinks to .99
  // first: .89. Second step, AdamW: w = .89·.99 = .8811, m̂ = (.09·.5 − .1·.25)/.19 = .105263,
  // v̂ = (.000999·.25·… ) = (.999·.25 + .0625)/1.999 = .156203, √v̂ = .395225, w = .8811 − .1·.266337 = .854466
  const auto adamw = two_steps(0.1f, [&](const auto* u, const auto* s, Context& c) {
    functions().adam(u, 1, {0.9f, 0.999f, 1e-8f, true}, s, {}, c);
  });
  EXPECT_TRUE(all_close(adamw, Values<double>{0.89, 0.854466}, {1e-6, 0}));
  // Adam, decay 0: m̂, v̂ are the same, w = .9 − .0266337
  const auto adam =
      two_steps(0.0f, [&](const auto* u, const auto* s, Context& c) { functions().adam(u, 1, {}, s, {}, c); });
  EXPECT_TRUE(all_close(adam, Values<double>{0.9, 0.873366}, {1e-6, 0}));
}

TEST_P(OptimizerByHand, Rmsprop) {
  // α = .75: s = .0625, u = .5/.25 = 2, w = .8; s = .046875 + .015625 = .0625, u = −1, w = .9
  const auto w = two_steps(0.0f, [&](const auto* u, const auto* s, Context& c) {
    functions().rmsprop(u, 1, {0.75f, 1e-10f, 0.0f}, s, {}, c);
  });
  EXPECT_TRUE(all_close(w, Values<double>{0.8, 0.9}, {2e-7, 0}));
  // with momentum .5: b = 2, w = .8; b = 1 − 1 = 0, w = .8
  const auto heavy = two_steps(0.0f, [&](const auto* u, const auto* s, Context& c) {
    functions().rmsprop(u, 1, {0.75f, 1e-10f, 0.5f}, s, {}, c);
  });
  EXPECT_TRUE(all_close(heavy, Values<double>{0.8, 0.8}, {2e-7, 0}));
}

// More parameters than one launch takes, among them empty ones, and none at an address that a vector fits.
TEST_P(OptimizerByHand, ManyParametersAtOddAddresses) {
  TestContext context;
  constexpr int64_t count = 401;
  Values<int64_t> first;  // of each parameter in one long array
  int64_t total = 1;
  for (int64_t u = 0; u < count; ++u) {
    first.push_back(total);
    total += u == 70 ? 5000 : u % 7;
  }
  first.push_back(total);
  const auto w = uniform<float>(total, 1), g = uniform<float>(total, 2), m = uniform<float>(total, 3, 0.2, 1.0);
  const auto v = uniform<float>(total, 4, 0.0, 1.0);
  const auto run = [&](const OptimizerFunctions& f) {
    std::array<GuardedBuffer<float>, 3> state = {GuardedBuffer<float>(w), GuardedBuffer<float>(m),
                                                 GuardedBuffer<float>(v)};
    std::vector<ParameterUpdate<float>> updates;
    for (size_t u = 0; u < count; ++u) {
      const int64_t i = first[u];
      updates.push_back({state[0].data() + i, g.data() + i, state[1].data() + i, state[2].data() + i, first[u + 1] - i,
                         u % 2 == 0 ? 0.1f : 0.0f});
    }
    Values<float> norm(1);
    Values<UpdateState> step = {{0.1f, 1.0f, 7}};
    f.adam(updates.data(), count, {}, step.data(), {norm.data(), 1.0f}, context);
    f.rmsprop(updates.data(), count, {0.9f, 1e-8f, 0.5f}, step.data(), {}, context);
    f.sgd(updates.data(), count, {0.9f}, step.data(), {}, context);
    for (const auto& buffer : state) EXPECT_TRUE(buffer.intact());
    Values<float> result = {norm[0]};
    for (const auto& buffer : state) result.insert(result.end(), buffer.data(), buffer.data() + total);
    return result;
  };
  const OptimizerFunctions oracle = {&reference::sgd_update<float>, &reference::adam_update<float>,
                                     &reference::rmsprop_update<float>};
  // Three updates in turn: a few roundings each, of values that no root or quotient makes much less exact.
  EXPECT_TRUE(all_close(run(functions()), run(oracle), {2e-6, 2e-6}));
}

// βᵗ in float would leave 1 − βᵗ four digits at the first step, and log βᵗ grows with t.
TEST_P(OptimizerByHand, AdamsCorrectionsKeepTheirDigitsFromTheFirstStepToTheLast) {
  TestContext context;
  for (const int64_t step : {0, 1, 10, 1000, 100000, 100000000}) {
    const Values<UpdateState> state = {{1.0f, 1.0f, step}};
    const AdamOptions options{0.9f, 0.9999f, 0.0f};
    const auto updated = [&](const auto& adam) {
      Values<float> w = {0.0f}, g = {0.5f}, m = {0.25f}, v = {0.125f};
      const ParameterUpdate<float> update{w.data(), g.data(), m.data(), v.data(), 1, 0.0f};
      adam(&update, 1, options, state.data(), Clipping{}, static_cast<Context&>(context));
      return w;
    };
    EXPECT_TRUE(all_close(updated(functions().adam), updated(reference::adam_update<float>), {0, 5e-7})) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(, OptimizerByHand, testing::ValuesIn(backends()), backend_name);

}  // namespace
}  // namespace striate::test
