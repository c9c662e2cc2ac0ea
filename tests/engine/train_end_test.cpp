// How a training ends: which weights are the best, when it stops, and what it leaves when the loss is no number.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/train/checkpoint.h"
#include "kernels/error.h"
#include "tests/engine/train_toy.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::CallbackObserver;
using test::quick_options;
using test::TempDir;
using test::toy_network;
using test::ToySource;

TEST(TrainEnd, BestIsByTheMeasureAskedFor) {
  for (const char* best_by : {"val_loss", "val_top1"}) {
    const TempDir dir;
    const auto network = toy_network();
    ToySource train(32, 16, 1), val(40, 16, 2), test_part(40, 16, 2);  // test equals val: same figures to be seen
    TrainOptions options = quick_options();
    options.epochs = 8;
    options.schedule.name = "steps";
    options.schedule.steps = {{1, 0.05}, {5, 3.0}};  // ends worse than it was
    options.best_by = best_by;
    options.output = dir / "run";
    CallbackObserver seen;
    std::vector<std::vector<float>> weights_of_epoch;
    seen.on_epoch = [&](const EpochRecord&) { weights_of_epoch.push_back(test::all_weights(*network)); };
    Trainer trainer(*network, {&train, &val, &test_part}, options);
    trainer.add_observer(seen);
    trainer.run();

    size_t best = 1;
    for (size_t e = 2; e < seen.epochs.size(); ++e) {
      const bool better = std::string(best_by) == "val_loss" ? seen.epochs[e].val_loss < seen.epochs[best].val_loss
                                                             : seen.epochs[e].val_top1 > seen.epochs[best].val_top1;
      if (better) best = e;
    }
    ASSERT_LT(best, 8u) << "this run was to get worse at its end";
    const EpochRecord& last = seen.epochs.back();
    EXPECT_EQ(last.best_epoch, static_cast<int64_t>(best)) << best_by;
    EXPECT_EQ(last.test_loss, seen.epochs[best].val_loss);
    EXPECT_EQ(last.test_top1, seen.epochs[best].val_top1);

    const auto loaded = toy_network(99);
    load_weights(best_weights_path(options.output), *loaded);
    EXPECT_EQ(test::all_weights(*loaded), weights_of_epoch[best]);
    load_weights(last_weights_path(options.output), *loaded);
    EXPECT_EQ(test::all_weights(*loaded), weights_of_epoch.back());
    EXPECT_EQ(test::all_weights(*network), weights_of_epoch.back());  // its own again after the test

    // Without a folder the best weights wait in memory.
    const auto again = toy_network();
    options.output.clear();
    CallbackObserver seen_again;
    Trainer without_folder(*again, {&train, &val, &test_part}, options);
    without_folder.add_observer(seen_again);
    without_folder.run();
    EXPECT_EQ(seen_again.epochs.back().test_loss, last.test_loss);
  }
}

TEST(TrainEnd, WithoutValidationTheLastIsTheBest) {
  const TempDir dir;
  const auto network = toy_network();
  ToySource train(32, 16, 1);
  TrainOptions options = quick_options();
  options.output = dir / "run";
  CallbackObserver seen;
  Trainer trainer(*network, {&train, nullptr, nullptr}, options);
  trainer.add_observer(seen);
  trainer.run();
  ASSERT_EQ(seen.epochs.size(), 4u);
  EXPECT_TRUE(std::isnan(seen.epochs[3].val_loss));
  EXPECT_EQ(seen.epochs[3].best_epoch, 3);
  const auto best = toy_network(99);
  load_weights(best_weights_path(options.output), *best);
  EXPECT_EQ(test::all_weights(*best), test::all_weights(*network));
}

TEST(TrainEnd, StopsEarly) {
  const auto network = toy_network();
  ToySource train(32, 16, 1), val(40, 16, 2);
  TrainOptions options = quick_options();
  options.epochs = 50;
  options.learning_rate = 0.0;  // never better than after the first epoch, whose batch norm statistics it sees
  options.best_by = "val_top1";
  options.early_stop_patience = 3;
  CallbackObserver seen;
  Trainer trainer(*network, {&train, &val, nullptr}, options);
  trainer.add_observer(seen);
  const TrainResult result = trainer.run();
  EXPECT_EQ(result.status, TrainStatus::early_stopped);
  EXPECT_EQ(result.last.epoch, result.last.best_epoch + 3);
  EXPECT_LT(result.last.epoch, 50);

  options.early_stop_patience = 1;
  EXPECT_THROW(Trainer(*network, {&train, nullptr, nullptr}, options), ConfigError);
}

TEST(TrainEnd, StopsAfterMaxSteps) {
  const TempDir dir;
  const auto network = toy_network();
  ToySource train(50, 16, 1), val(20, 16, 2), test_part(20, 16, 3);
  TrainOptions options = quick_options();
  options.max_steps = 6;  // in the second epoch of four steps
  options.output = dir / "run";
  CallbackObserver seen;
  Trainer trainer(*network, {&train, &val, &test_part}, options);
  trainer.add_observer(seen);
  const TrainResult result = trainer.run();
  EXPECT_EQ(result.status, TrainStatus::finished);
  EXPECT_EQ(result.steps, 6);
  EXPECT_EQ(seen.steps.size(), 6u);
  ASSERT_EQ(seen.epochs.size(), 3u);
  EXPECT_EQ(seen.epochs[2].epoch, 2);
  EXPECT_FALSE(std::isnan(seen.epochs[2].test_top1));
}

TEST(TrainEnd, NonFiniteLossKeepsTheLastGoodCheckpoint) {
  const TempDir dir;
  const auto network = toy_network();
  ToySource train(48, 16, 1);
  TrainOptions options = quick_options();
  options.output = dir / "run";
  options.save_every_steps = 1;
  CallbackObserver seen;
  std::vector<float> good;
  seen.on_step = [&](const StepRecord& step) {
    if (step.step == 4) good = test::all_weights(*network);
    if (step.step == 5) {
      for (NamedTensor& p : network->named_parameters()) p.tensor.fill(std::nanf(""));
    }
  };
  Trainer trainer(*network, {&train, nullptr, nullptr}, options);
  trainer.add_observer(seen);
  try {
    trainer.run();
    FAIL() << "went on";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("after step 5"), std::string::npos) << e.what();
  }
  const auto loaded = toy_network(99);
  load_weights(last_weights_path(options.output), *loaded);
  EXPECT_EQ(test::all_weights(*loaded), good);

  // The same with no checkpoint in between: the loss shows it one step later.
  const auto other = toy_network();
  options.output = dir / "other";
  options.save_every_steps = 0;
  seen.on_step = [&](const StepRecord& step) {
    if (step.step == 5) other->named_parameters()[0].tensor.fill(INFINITY);
  };
  Trainer second(*other, {&train, nullptr, nullptr}, options);
  second.add_observer(seen);
  try {
    second.run();
    FAIL() << "went on";
  } catch (const Error& e) {
    const std::string said = e.what();
    for (const char* part : {"the loss is", "at step 6", "epoch 2", "learning rate 0.05", "of step 3"}) {
      EXPECT_NE(said.find(part), std::string::npos) << part << " in: " << said;
    }
  }
}

}  // namespace
}  // namespace striate
