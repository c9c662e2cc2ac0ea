#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/distributed/sharding.h"
#include "engine/train/checkpoint.h"
#include "kernels/error.h"
#include "models/one_weird_trick.h"
#include "tests/engine/train_toy.h"
#include "tests/ranks/parts.h"
#include "tests/ranks/ranks.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using models::OneWeirdTrick;
using test::CallbackObserver;
using test::content;
using test::PartOfSource;
using test::ranks;
using test::ToySource;

Ranks all_ranks() { return {&ranks(), &ranks()}; }

/// A folder of the first rank's that all see.
class SharedFolder {
 public:
  SharedFolder() : path_(ranks().gathered_texts(ranks().rank() == 0 ? own_.path() : "").front()) {}
  ~SharedFolder() { ranks().barrier(); }  // it is removed when nobody needs it any more
  SharedFolder(const SharedFolder&) = delete;
  SharedFolder& operator=(const SharedFolder&) = delete;
  std::string path(const std::string& name = "") const { return name.empty() ? path_ : path_ + "/" + name; }

 private:
  test::TempDir own_;
  std::string path_;
};

/// Linear layers of 23, 17 and 4 outputs, which few numbers divide.
std::shared_ptr<nn::Module> network(uint64_t seed) {
  auto net = std::make_shared<nn::Sequential>(std::vector<nn::ModulePtr>{
      std::make_shared<nn::Conv2d>(1, 4, 3, 1, 1), std::make_shared<nn::ActivationLayer>(Activation::relu),
      std::make_shared<nn::Flatten>(), std::make_shared<nn::Dropout>(0.25f), std::make_shared<nn::Linear>(64, 23),
      std::make_shared<nn::ActivationLayer>(Activation::relu), std::make_shared<nn::Dropout>(0.25f),
      std::make_shared<nn::Linear>(23, 17, false), std::make_shared<nn::ActivationLayer>(Activation::silu),
      std::make_shared<nn::Linear>(17, ToySource::kClasses)});
  nn::initialize(*net, {}, seed);
  return net;
}

std::shared_ptr<nn::Module> divided(uint64_t seed) {
  DistributedOptions options;
  options.scheme = Scheme::one_weird_trick;
  return std::make_shared<OneWeirdTrick>(network(seed), all_ranks(), options);
}

/// State that differs from value to value, the same on every rank: of a plain network's optimizer.
std::unique_ptr<Optimizer> optimizer_for(nn::Module& net, const std::string& name) {
  OptimizerConfig config;
  config.name = name;
  config.momentum = 0.9;
  return make_optimizer(config, net.named_parameters(), 0.1);
}

void count_up(const std::vector<NamedTensor>& tensors, float from) {
  for (NamedTensor t : tensors) {
    if (t.tensor.dtype() != DType::float32) continue;
    for (int64_t i = 0; i < t.tensor.size(); ++i) t.tensor.data<float>()[i] = from++;
  }
}

RunState state_at(int64_t step) {
  RunState state;
  state.step = step;
  state.options = "a=1\n";
  return state;
}

TEST(ShardedCheckpoint, IsTheSameFileAsOneProcessWrites) {
  const SharedFolder folder;
  for (const std::string name : {"sgd", "adam"}) {
    // Written by the first rank alone, from a plain network…
    if (ranks().rank() == 0) {
      const auto plain = network(1);
      const auto optimizer = optimizer_for(*plain, name);
      count_up(optimizer->state(), 1.0f);
      std::filesystem::create_directories(folder.path("one"));
      save_checkpoint(folder.path("one"), *plain, *optimizer, state_at(7), {{"model", "toy"}});
    }
    ranks().barrier();
    // … read by all, each its rows, and written by all together.
    const auto model = divided(2);
    const auto optimizer = optimizer_for(*model, name);
    const RunState state = load_checkpoint(folder.path("one"), *model, *optimizer, "a=1\n", all_ranks());
    EXPECT_EQ(state.step, 7);
    if (ranks().rank() == 0) std::filesystem::create_directories(folder.path("many"));
    ranks().barrier();
    save_checkpoint(folder.path("many"), *model, *optimizer, state, {{"model", "toy"}}, all_ranks());
    for (const char* file : {"last.safetensors", "resume-7-0.safetensors"}) {
      EXPECT_EQ(content(folder.path("many") + "/" + file), content(folder.path("one") + "/" + file)) << name << file;
    }
    // And one process reads it again.
    const auto again = network(3);
    const auto again_optimizer = optimizer_for(*again, name);
    load_checkpoint(folder.path("many"), *again, *again_optimizer, "a=1\n", all_ranks());
    EXPECT_EQ(test::all_weights(*again), test::all_weights(*network(1)));
    const std::vector<float> slots = again_optimizer->state().front().tensor.to_vector<float>();
    for (size_t i = 0; i < slots.size(); ++i) ASSERT_EQ(slots[i], static_cast<float>(i + 1));
    ranks().barrier();
  }
}

// As another number of ranks would leave it, and find it: parts of three are put together and cut in two by hand.
TEST(ShardedCheckpoint, HoldsWholeTensorsWhateverTheNumberOfRanks) {
  const Tensor whole = test::toy_network(1)->named_parameters().front().tensor;
  for (const int parts : {1, 2, 3, 4}) {
    for (int part = 0; part < parts; ++part) {
      const nn::NamedShard shard{"w", whole.dim(0), part_of(whole.dim(0), part, parts)};
      const Tensor held = held_rows({"w", whole}, {shard});
      EXPECT_EQ(held.dim(0), shard.held.size());
      EXPECT_EQ(whole_shape({"w", held}, {shard}), whole.shape());
    }
  }
  EXPECT_EQ(held_rows({"b", whole}, {{"w", 4, {0, 1}}}).impl(), whole.impl());
}

TEST(ShardedCheckpoint, RefusesToWriteAPartForTheWhole) {
  if (ranks().size() == 1) GTEST_SKIP() << "one rank has everything";
  const SharedFolder folder;
  const auto model = divided(1);
  EXPECT_TRUE(test::throws_with<Error>([&] { save_weights(folder.path("w.safetensors"), *model); },
                                       {"4.weight", "of 23", "rank 0 of 1"}));
}

TEST(ShardedCheckpoint, NamesTheWholeShapeOfWhatDoesNotFit) {
  const SharedFolder folder;
  const auto other = test::toy_network(1);
  if (ranks().rank() == 0) save_weights(folder.path("w.safetensors"), *other);
  ranks().barrier();
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { load_weights(folder.path("w.safetensors"), *divided(1)); },
                                             {"4.weight, expected float32 [23,64]"}));
}

struct Outcome {
  std::vector<StepRecord> steps;
  std::vector<EpochRecord> epochs;
};

enum class By { one, data, trick };

/// Goes on in the folder where there is a run, to that many epochs.
Outcome train(const std::string& folder, By scheme, int64_t epochs, int64_t rounds = 0, double clip = 0.0) {
  TrainOptions options = test::quick_options();
  options.batch_size = 13;
  options.epochs = epochs;
  options.optimizer.momentum = 0.9;
  options.optimizer.weight_decay = 1e-3;
  options.output = folder;
  options.clip_grad_norm = clip;
  options.distributed.scheme = scheme == By::trick ? Scheme::one_weird_trick : Scheme::data;
  options.distributed.rounds = rounds;
  std::shared_ptr<nn::Module> net = network(1);
  if (scheme == By::trick) net = std::make_shared<OneWeirdTrick>(net, all_ranks(), options.distributed);
  const auto source = [&](int64_t samples, uint64_t seed) -> std::unique_ptr<BatchSource> {
    auto whole = std::make_unique<ToySource>(samples, 13, seed);
    if (scheme == By::one) return whole;
    return std::make_unique<PartOfSource>(std::move(whole), ranks().rank(), ranks().size());
  };
  const auto train_source = source(57, 5), val_source = source(31, 6), test_source = source(20, 7);
  Trainer trainer(*net, {train_source.get(), val_source.get(), test_source.get()}, options,
                  scheme == By::one ? Ranks{} : all_ranks());
  CallbackObserver observer;
  trainer.add_observer(observer);
  if (std::filesystem::exists(last_weights_path(folder))) trainer.resume();
  trainer.run();
  return {observer.steps, observer.epochs};
}

/// |a − b| over |b|, of the last weights in two folders.
double distance(const std::string& a, const std::string& b) {
  const auto x = network(2), y = network(3);
  load_weights(last_weights_path(a), *x);
  load_weights(last_weights_path(b), *y);
  const std::vector<float> of_a = test::all_weights(*x), of_b = test::all_weights(*y);
  double difference = 0.0, norm = 0.0;
  for (size_t i = 0; i < of_a.size(); ++i) {
    difference += (double{of_a[i]} - of_b[i]) * (double{of_a[i]} - of_b[i]);
    norm += double{of_b[i]} * of_b[i];
  }
  return std::sqrt(difference / norm);
}

TEST(ShardedTraining, FollowsOneProcess) {
  const SharedFolder folder;
  // Each rank's run of its own, which all compare with.
  const test::TempDir alone;
  const Outcome expected = train(alone.path(), By::one, 4);
  for (const int64_t rounds : {0, 1}) {
    const std::string together = folder.path(fmt::format("rounds{}", rounds));
    const Outcome found = train(together, By::trick, 4, rounds);
    ASSERT_EQ(found.steps.size(), expected.steps.size());
    ASSERT_EQ(found.steps.size(), 20u);
    for (size_t s = 0; s < expected.steps.size(); ++s) {
      EXPECT_NEAR(found.steps[s].loss, expected.steps[s].loss, 1e-5 * expected.steps[s].loss) << "step " << s;
      EXPECT_EQ(found.steps[s].images, expected.steps[s].images) << "step " << s;
    }
    for (size_t e = 0; e < expected.epochs.size(); ++e) {
      EXPECT_NEAR(found.epochs[e].val_loss, expected.epochs[e].val_loss, 1e-5 * expected.epochs[e].val_loss);
      EXPECT_EQ(found.epochs[e].val_top1, expected.epochs[e].val_top1);
    }
    EXPECT_NEAR(found.epochs.back().test_loss, expected.epochs.back().test_loss,
                1e-5 * expected.epochs.back().test_loss);
    EXPECT_LE(distance(together, alone.path()), 1e-5);
    ranks().barrier();
  }
}

TEST(ShardedTraining, ClipsByTheNormOfAllRanksGradients) {
  const SharedFolder folder;
  const test::TempDir alone;
  const Outcome expected = train(alone.path(), By::one, 2, 0, 0.1),
                found = train(folder.path("run"), By::trick, 2, 0, 0.1);
  ASSERT_EQ(found.steps.size(), expected.steps.size());
  for (size_t s = 0; s < expected.steps.size(); ++s) {
    EXPECT_GT(expected.steps[s].gradient_norm, 0.1);  // else nothing is clipped
    EXPECT_NEAR(found.steps[s].gradient_norm, expected.steps[s].gradient_norm, 1e-5 * expected.steps[s].gradient_norm);
  }
  EXPECT_LE(distance(folder.path("run"), alone.path()), 1e-5);
}

// Begun by one process, by data-parallel ranks or by these, and taken up by the others in turn.
TEST(ShardedTraining, GoesOnWhereAnotherSchemeStopped) {
  const SharedFolder folder;
  const test::TempDir alone;
  train(alone.path(), By::one, 4);
  if (ranks().rank() == 0) train(folder.path("run"), By::one, 1);
  ranks().barrier();
  train(folder.path("run"), By::trick, 2);
  train(folder.path("run"), By::data, 3);
  train(folder.path("run"), By::trick, 4, 1);
  EXPECT_LE(distance(folder.path("run"), alone.path()), 1e-5);
}

}  // namespace
}  // namespace striate
