// What must be the same on every device: dropout masks bit for bit, losses to rounding, checkpoints in both directions.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "engine/ops/ops.h"
#include "engine/step_state.h"
#include "engine/train/checkpoint.h"
#include "tests/engine/devices.h"
#include "tests/engine/train_toy.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::CallbackObserver;
using test::device_name;
using test::devices;
using test::TempDir;
using test::toy_network;
using test::ToySource;

class SameOn : public test::DeviceTest {};
INSTANTIATE_TEST_SUITE_P(, SameOn, testing::ValuesIn(devices()), device_name);

TEST_P(SameOn, DropoutMasksBitForBit) {
  const Tensor ones = Tensor::full({5, 3, 3, 7}, 1.0f);
  for (const DropoutState& state : {DropoutState{}, DropoutState{uint64_t{3} << 40 | 11, uint64_t{1} << 33 | 5, 250}}) {
    for (const float p : {0.25f, 0.5f}) {
      dropout_state(Device::cpu) = dropout_state(GetParam()) = state;
      const std::vector<float> expected = ops::dropout(ones, {p, 2}).to_vector<float>();
      EXPECT_EQ(ops::dropout(ones.to(GetParam()), {p, 2}).to_vector<float>(), expected) << "step " << state.step;

      // The backward draws the forward's mask again, also after the state was written anew with the same values.
      Tensor x = ones.to(GetParam()).clone().set_requires_grad(true);
      const Tensor y = ops::dropout(x, {p, 2});
      dropout_state(GetParam()) = DropoutState{state};
      ops::linear(y.reshape({1, y.size()}), Tensor::full({1, y.size()}, 1.0f, GetParam()), Tensor()).backward();
      EXPECT_EQ(x.grad().to_vector<float>(), expected);
    }
  }
  dropout_state(Device::cpu) = dropout_state(GetParam()) = {};
}

struct ToyRun {
  std::vector<double> losses;  // of the steps, by step from 1
  std::vector<double> norms;
  std::vector<float> weights;
  double val_loss = 0.0, test_loss = 0.0;
};

// 21 steps with dropout, batch norm, clipping and Adam or SGD; ends before `stop` where one is given.
void train_toy(const std::string& folder, Device device, const char* optimizer, bool resume, int64_t stop,
               ToyRun& run) {
  const auto network = toy_network();
  network->to(device);
  ToySource train_part(54, 8, 1), val(20, 8, 2), test_part(20, 8, 3);
  TrainOptions options;
  options.epochs = 3;
  options.learning_rate = 0.01;
  options.optimizer.name = optimizer;
  // The gradient of a bias before batch norm is rounding alone; with a small eps Adam would make steps of it.
  options.optimizer.eps = 1e-2;
  options.clip_grad_norm = 2.0;
  options.label_smoothing = 0.1;
  options.seed = 9;
  options.max_steps = stop;
  options.output = folder;
  options.model_name = "toy";
  options.handle_signals = false;
  CallbackObserver seen;
  RunLog log(folder);
  Trainer trainer(*network, {&train_part, &val, &test_part}, options);
  trainer.add_observer(log);
  trainer.add_observer(seen);
  if (resume) trainer.resume();
  const TrainResult result = trainer.run();
  for (const StepRecord& step : seen.steps) {
    run.losses.push_back(step.loss);
    run.norms.push_back(step.gradient_norm);
  }
  run.weights = test::all_weights(*network);
  run.val_loss = result.last.val_loss;
  run.test_loss = result.last.test_loss;
}

void expect_same_run(const ToyRun& run, const ToyRun& expected) {
  ASSERT_EQ(run.losses.size(), expected.losses.size());
  for (size_t i = 0; i < run.losses.size(); ++i) {
    EXPECT_NEAR(run.losses[i], expected.losses[i], 1e-4 * expected.losses[i]) << "step " << i + 1;
    EXPECT_NEAR(run.norms[i], expected.norms[i], 1e-3 * expected.norms[i]) << "step " << i + 1;
  }
  EXPECT_NEAR(run.val_loss, expected.val_loss, 1e-4 * expected.val_loss);
  EXPECT_NEAR(run.test_loss, expected.test_loss, 1e-4 * expected.test_loss);
}

TEST_P(SameOn, AWholeTrainingRun) {
  for (const char* optimizer : {"sgd", "adam"}) {
    const TempDir dir;
    ToyRun here, there;
    train_toy(dir / "cpu", Device::cpu, optimizer, false, 0, here);
    train_toy(dir / "other", GetParam(), optimizer, false, 0, there);
    ASSERT_EQ(here.losses.size(), 21u);
    expect_same_run(there, here);
  }
}

TEST_P(SameOn, ARunThatIsTakenUpOnAnotherDevice) {
  for (const auto& [first, second] : {std::pair{Device::cpu, GetParam()}, std::pair{GetParam(), Device::cpu}}) {
    const TempDir dir;
    ToyRun never_stopped, stopped;
    train_toy(dir / "whole", Device::cpu, "adam", false, 0, never_stopped);
    train_toy(dir / "parts", first, "adam", false, 10, stopped);
    ASSERT_EQ(stopped.losses.size(), 10u);
    const std::vector<float> before = stopped.weights;
    train_toy(dir / "parts", second, "adam", true, 0, stopped);
    expect_same_run(stopped, never_stopped);
    EXPECT_NE(stopped.weights, before);
  }
}

TEST_P(SameOn, CheckpointsByteForByte) {
  const TempDir dir;
  const auto network = toy_network(), other = toy_network(2);
  save_weights(dir / "here.safetensors", *network, {});
  other->to(GetParam());
  load_weights(dir / "here.safetensors", *other);
  save_weights(dir / "there.safetensors", *other, {});
  EXPECT_TRUE(test::content(dir / "here.safetensors") == test::content(dir / "there.safetensors"));
}

}  // namespace
}  // namespace striate
