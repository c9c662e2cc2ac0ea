// The optimizer's step taken inside the backward gives the bits of the step taken after it, and is not taken where
// something needs the whole gradient.
#include "engine/arriving_update.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <memory>
#include <vector>

#include "engine/ops/ops.h"
#include "engine/optim/optimizer.h"
#include "engine/storage.h"
#include "engine/train/batch_loss.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"
#include "tests/engine/train_toy.h"
#include "tests/support/compare.h"

namespace striate {
namespace {

using test::all_equal;
using test::quick_options;
using test::random_tensor;
using test::toy_network;
using test::ToySource;

Tensor parameter(Shape shape, uint64_t seed, Device device = Device::cpu) {
  Tensor t = random_tensor(std::move(shape), seed, device);
  t.set_requires_grad(true);
  return t;
}

bool has_update(const Tensor& t) { return t.impl()->storage->arriving_update != nullptr; }

using MakeOptimizer = std::function<std::unique_ptr<Optimizer>(std::vector<NamedTensor>)>;

/// Two linear layers, 37 → 21 → 5, and their optimizer.
struct Network {
  explicit Network(const MakeOptimizer& make, Device device = Device::cpu)
      : w1(parameter({21, 37}, 1, device)),
        b1(parameter({21}, 2, device)),
        w2(parameter({5, 21}, 3, device)),
        optimizer(make({{"w1", w1}, {"b1", b1}, {"w2", w2}})) {}

  Tensor loss(const Tensor& x) {
    const Tensor hidden = ops::linear(x, w1, b1, Activation::relu);
    const auto all = [&](int32_t label) {
      return Tensor::from<int32_t>(std::vector<int32_t>(static_cast<size_t>(x.dim(0)), label), {x.dim(0)});
    };
    Batch batch;
    batch.labels = all(2).to(x.device());
    if (mixes_labels) {
      batch.partner_labels = all(4).to(x.device());
      batch.share = 0.7f;
    }
    return batch_loss(ops::linear(hidden, w2, Tensor()), batch, 0.0f).loss;
  }
  void step(int t, bool on_arrival, int64_t rows = 3) {
    optimizer->clear_grad();
    optimizer->set_learning_rate(0.1 / (t + 1));
    if (on_arrival) optimizer->update_on_arrival();
    loss(random_tensor({rows, 37}, 100 + static_cast<uint64_t>(t), w1.device())).backward();
    was_updated_early = !w1.grad().defined() && !w2.grad().defined();
    optimizer->step();
  }

  Tensor w1, b1, w2;
  std::unique_ptr<Optimizer> optimizer;
  bool was_updated_early = false;
  bool mixes_labels = false;
};

testing::AssertionResult same(const Network& a, const Network& b) {
  const auto equal = [](const Tensor& x, const Tensor& y) {
    return all_equal(x.to_vector<float>(), y.to_vector<float>());
  };
  for (const auto& [x, y] : {std::pair{a.w1, b.w1}, {a.b1, b.b1}, {a.w2, b.w2}}) {
    if (auto result = equal(x, y); !result) return result;
  }
  const auto states = a.optimizer->state(), expected = b.optimizer->state();
  for (size_t i = 0; i + 1 < states.size(); ++i) {
    if (auto result = equal(states[i].tensor, expected[i].tensor); !result) return result << " in " << states[i].name;
  }
  return testing::AssertionSuccess();
}

struct Method {
  const char* name;
  MakeOptimizer make;

  friend void PrintTo(const Method& m, std::ostream* out) { *out << m.name; }
};

template <class Optimizer, class Options>
Method method(const char* name, const Options& options, double weight_decay) {
  return {name, [=](std::vector<NamedTensor> parameters) {
            return std::make_unique<Optimizer>(std::move(parameters), 0.1, options, weight_decay);
          }};
}

const Method kMomentum = method<Sgd>("momentum", SgdOptions{0.9f}, 0.01);

class ArrivingUpdateOf : public testing::TestWithParam<Method> {};

TEST_P(ArrivingUpdateOf, GivesTheBitsOfAPassOverStoredGradients) {
  Network early(GetParam().make), late(GetParam().make);
  for (int t = 0; t < 5; ++t) {
    early.step(t, true);
    late.step(t, false);
    ASSERT_TRUE(early.was_updated_early);
    ASSERT_FALSE(late.was_updated_early);
    ASSERT_TRUE(same(early, late)) << "step " << t;
  }
  EXPECT_EQ(early.optimizer->steps(), 5);
  EXPECT_TRUE(early.b1.grad().defined());  // left to the pass at the end
}

INSTANTIATE_TEST_SUITE_P(, ArrivingUpdateOf,
                         testing::Values(method<Sgd>("sgd", SgdOptions{}, 0.0), kMomentum,
                                         method<Sgd>("nesterov", SgdOptions{0.9f, true}, 0.01),
                                         method<Sgd>("paper", SgdOptions{0.9f, false, true}, 0.0005),
                                         method<Adam>("adam", AdamOptions{}, 0.01),
                                         method<Adam>("adamw", AdamOptions{0.9f, 0.99f, 1e-8f, true}, 0.1),
                                         method<Rmsprop>("rmsprop", RmspropOptions{}, 0.01),
                                         method<Rmsprop>("rmsprop_momentum", RmspropOptions{0.9f, 1e-8f, 0.9f}, 0.0)),
                         [](const auto& c) { return std::string(c.param.name); });

TEST(ArrivingUpdate, SeesTheSumOfTwoLossesOnTheSameLogits) {
  Network early(kMomentum.make), late(kMomentum.make), unmixed(kMomentum.make);
  early.mixes_labels = late.mixes_labels = true;
  for (int t = 0; t < 4; ++t) {
    early.step(t, true);
    late.step(t, false);
    unmixed.step(t, true);
    ASSERT_TRUE(early.was_updated_early);
    ASSERT_TRUE(same(early, late)) << "step " << t;
    ASSERT_FALSE(same(early, unmixed));
  }
}

TEST(ArrivingUpdate, MixesWithStepsThatStoreTheirGradients) {
  Network mixed(kMomentum.make), late(kMomentum.make);
  for (int t = 0; t < 6; ++t) {
    mixed.step(t, t % 3 != 1);
    late.step(t, false);
    EXPECT_EQ(mixed.was_updated_early, t % 3 != 1);
  }
  EXPECT_TRUE(same(mixed, late));
}

TEST(ArrivingUpdate, WaitsWhereGradientsAreClipped) {
  Network early(kMomentum.make), late(kMomentum.make);
  for (Network* network : {&early, &late}) network->optimizer->set_max_norm(0.01f);
  for (int t = 0; t < 3; ++t) {
    early.step(t, true);
    late.step(t, false);
    EXPECT_FALSE(early.was_updated_early);
    EXPECT_EQ(early.optimizer->last_norm(), late.optimizer->last_norm());
    EXPECT_GT(early.optimizer->last_norm(), 0.01f);
  }
  EXPECT_TRUE(same(early, late));
}

TEST(ArrivingUpdate, WaitsOnOtherDevices) {
  Network network(kMomentum.make, Device::reference);
  network.step(0, true);
  EXPECT_FALSE(network.was_updated_early);
}

TEST(ArrivingUpdate, WaitsWhereAParameterIsUsedTwice) {
  Network early(kMomentum.make), late(kMomentum.make);
  const Tensor x = random_tensor({3, 37}, 7), more = random_tensor({2, 37}, 8);
  for (Network* network : {&early, &late}) {
    network->optimizer->clear_grad();
    if (network == &early) network->optimizer->update_on_arrival();
    ops::add(network->loss(x), network->loss(more)).backward();
    EXPECT_TRUE(network->w1.grad().defined() && network->w2.grad().defined());
    network->optimizer->step();
  }
  EXPECT_TRUE(same(early, late));
}

// The second use asks for no gradient of the values, but its backward reads them.
TEST(ArrivingUpdate, WaitsWhereTheValuesAreUsedTwice) {
  Tensor w = parameter({4, 4}, 1), x = parameter({1, 4}, 2);
  Sgd sgd({{"w", w}}, 0.1);
  sgd.update_on_arrival();
  const Tensor y = ops::linear(ops::linear(x, w.detach(), Tensor()), w, Tensor());
  ops::softmax_cross_entropy(y, Tensor::from<int32_t>({1}, {1})).loss.backward();
  EXPECT_TRUE(w.grad().defined());
}

TEST(ArrivingUpdate, WaitsWhereAGradientIsThereAlready) {
  Network early(kMomentum.make), late(kMomentum.make);
  const Tensor x = random_tensor({3, 37}, 7), more = random_tensor({2, 37}, 8);
  for (Network* network : {&early, &late}) {
    network->loss(x).backward();
    if (network == &early) network->optimizer->update_on_arrival();
    network->loss(more).backward();
    EXPECT_TRUE(network->w1.grad().defined());
    network->optimizer->step();
  }
  EXPECT_TRUE(same(early, late));
}

TEST(ArrivingUpdate, IsNotForAGraphRecordedBefore) {
  Network network(kMomentum.make);
  const Tensor loss = network.loss(random_tensor({3, 37}, 7));
  network.optimizer->update_on_arrival();
  loss.backward();
  EXPECT_TRUE(network.w1.grad().defined() && network.w2.grad().defined());
}

TEST(ArrivingUpdate, IsGoneAfterTheStepAndWithTheOptimizer) {
  Network network(kMomentum.make);
  network.optimizer->update_on_arrival();
  EXPECT_TRUE(has_update(network.w1));
  network.loss(random_tensor({3, 37}, 7)).backward();
  network.optimizer->step();
  EXPECT_FALSE(has_update(network.w1) || has_update(network.b1) || has_update(network.w2));
  network.loss(random_tensor({3, 37}, 7)).backward();
  EXPECT_TRUE(network.w1.grad().defined());
  network.optimizer->update_on_arrival();
  network.optimizer.reset();
  EXPECT_FALSE(has_update(network.w1));
}

// Another tensor on a parameter's storage is a leaf of its own: its gradient is not the parameter's.
TEST(ArrivingUpdate, IsNotForAnotherLeafWithTheSameValues) {
  Network network(kMomentum.make);
  const std::vector<float> before = network.w1.to_vector<float>();
  network.optimizer->update_on_arrival();
  Tensor alias = network.w1.detach().set_requires_grad(true);
  const Tensor y = ops::linear(random_tensor({3, 37}, 7), alias, Tensor());
  ops::softmax_cross_entropy(y, Tensor::from<int32_t>({1, 2, 3}, {3})).loss.backward();
  EXPECT_TRUE(alias.grad().defined());
  EXPECT_FALSE(network.w1.grad().defined());
  EXPECT_TRUE(all_equal(network.w1.to_vector<float>(), before));
}

TEST(ArrivingUpdate, DropsNoGradientOfASecondBackwardInSilence) {
  Network network(kMomentum.make);
  network.optimizer->update_on_arrival();
  for (const uint64_t seed : {7, 8}) network.loss(random_tensor({3, 37}, seed)).backward();
  EXPECT_THROW(network.optimizer->step(), Error);
}

TEST(ArrivingUpdate, CanBeTakenBack) {
  Network network(kMomentum.make);
  const std::vector<float> before = network.w1.to_vector<float>();
  network.optimizer->update_on_arrival();
  const Tensor loss = network.loss(random_tensor({3, 37}, 7));
  network.optimizer->withdraw_updates();
  loss.backward();
  EXPECT_TRUE(network.w1.grad().defined() && network.w2.grad().defined());
  EXPECT_TRUE(all_equal(network.w1.to_vector<float>(), before));
}

TEST(ArrivingUpdate, RefusesToBeChangedHalfWay) {
  Network network(kMomentum.make);
  network.optimizer->update_on_arrival();
  network.loss(random_tensor({3, 37}, 7)).backward();
  EXPECT_THROW(network.optimizer->update_on_arrival(), Error);
  network.optimizer->set_learning_rate(0.2);
  EXPECT_THROW(network.optimizer->step(), Error);
}

// A limit that no gradient reaches clips nothing but keeps the trainer from updating early.
TEST(ArrivingUpdate, LeavesATrainersRunAsItWas) {
  for (const char* name : {"sgd", "adamw"}) {
    std::vector<std::vector<float>> weights[2];
    for (const bool early : {false, true}) {
      const auto network = toy_network();
      ToySource train(22, 4, 1);
      TrainOptions options = quick_options();
      options.optimizer.name = name;
      options.optimizer.weight_decay = 0.01;
      options.clip_grad_norm = early ? 0.0 : 1e30;
      Trainer trainer(*network, {&train, nullptr, nullptr}, options);
      trainer.run();
      for (const NamedTensor& w : named_weights(*network)) weights[early].push_back(w.tensor.to_vector<float>());
      const Tensor w = network->named_parameters().at(4).tensor;  // the linear layer's
      ASSERT_EQ(w.shape(), (Shape{4, 64}));
      EXPECT_EQ(w.grad().defined(), !early);
    }
    for (size_t i = 0; i < weights[0].size(); ++i) EXPECT_TRUE(all_equal(weights[1][i], weights[0][i])) << name << i;
  }
}

/// A backward that is no step of the trainer: it leaves the weights as they are, and a gradient.
void expect_others_move_nothing(nn::Module& network) {
  const std::vector<float> before = test::all_weights(network);
  for (NamedTensor& p : network.named_parameters()) p.tensor.clear_grad();
  network.eval();
  const Tensor logits = network(random_tensor({2, 4, 4, 1}, 3));
  ops::softmax_cross_entropy(logits, Tensor::from<int32_t>({1, 2}, {2})).loss.backward();
  network.train();
  for (const NamedTensor& p : network.named_parameters()) EXPECT_TRUE(p.tensor.grad().defined()) << p.name;
  EXPECT_TRUE(all_equal(test::all_weights(network), before));
}

TEST(ArrivingUpdate, EndsWithAStepThatFails) {
  const auto network = toy_network();
  ToySource train(16, 4, 1);
  Trainer trainer(*network, {&train, nullptr, nullptr}, quick_options());
  test::CallbackObserver seen;
  std::vector<float> last;  // parameters alone: the failing forward adds to batch norm's statistics
  const auto parameters = [&] {
    std::vector<float> all;
    for (const NamedTensor& p : network->named_parameters()) {
      const std::vector<float> some = p.tensor.to_vector<float>();
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  };
  seen.on_step = [&](const StepRecord& step) {
    last = parameters();
    if (step.step == 5) train.brightness = std::numeric_limits<float>::quiet_NaN();
  };
  trainer.add_observer(seen);
  EXPECT_THROW(trainer.run(), Error);
  EXPECT_EQ(seen.steps.size(), 5u);
  EXPECT_TRUE(all_equal(parameters(), last)) << "a loss that is not finite moved the weights";
  for (const NamedTensor& p : network->named_parameters()) EXPECT_FALSE(has_update(p.tensor)) << p.name;
  expect_others_move_nothing(*network);
}

/// Ends each epoch a batch before it said it would, as one whose last files cannot be read.
class ShortSource : public ToySource {
 public:
  using ToySource::ToySource;
  int64_t samples() const override { return ToySource::samples() + batch_size(); }
  bool next(Batch& batch) override {
    if (given_ == ToySource::samples() / batch_size()) return false;
    ++given_;
    return ToySource::next(batch);
  }
  void start(int64_t epoch, int64_t first_batch = 0) override {
    ToySource::start(epoch, first_batch);
    given_ = first_batch;
  }

 private:
  int64_t given_ = 0;
};

TEST(ArrivingUpdate, EndsWithTheData) {
  const auto network = toy_network();
  ShortSource train(16, 4, 1);
  Trainer trainer(*network, {&train, nullptr, nullptr}, quick_options());
  test::CallbackObserver seen;
  int64_t epochs = 0;
  seen.on_epoch = [&](const EpochRecord&) { expect_others_move_nothing(*network), ++epochs; };
  trainer.add_observer(seen);
  trainer.run();
  EXPECT_EQ(epochs, 4);
  EXPECT_EQ(seen.steps.size(), 12u);
}

TEST(ArrivingUpdate, WaitsWhereATrainerAccumulates) {
  const auto network = toy_network();
  ToySource train(16, 4, 1);
  TrainOptions options = quick_options();
  options.accumulate = 2;
  Trainer trainer(*network, {&train, nullptr, nullptr}, options);
  trainer.run();
  for (const NamedTensor& p : network->named_parameters()) EXPECT_TRUE(p.tensor.grad().defined()) << p.name;
}

}  // namespace
}  // namespace striate
