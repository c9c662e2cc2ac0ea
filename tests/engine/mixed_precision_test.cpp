// Training in bfloat16: the same bits twice and after a resume, checkpoints that are float32's, and a run that other
// devices follow.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "engine/allocator.h"
#include "engine/train/checkpoint.h"
#include "engine/train/evaluate.h"
#include "engine/train/safetensors.h"
#include "tests/engine/devices.h"
#include "tests/engine/precision.h"
#include "tests/engine/train_toy.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::CallbackObserver;
using test::content;
using test::device_name;
using test::devices;
using test::PrecisionGuard;
using test::TempDir;
using test::toy_network;
using test::ToySource;

class MixedPrecisionOn : public test::DeviceTest {
 protected:
  static Device device() { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(, MixedPrecisionOn, testing::ValuesIn(devices()), device_name);

TrainOptions options_of(const std::string& folder, const char* optimizer, Precision precision) {
  TrainOptions options = test::quick_options();
  options.learning_rate = 0.01;
  options.optimizer.name = optimizer;
  options.optimizer.eps = 1e-2;  // as devices_agree_test.cpp has it
  options.label_smoothing = 0.1;
  options.precision = precision;
  options.output = folder;
  options.model_name = "toy";
  return options;
}

struct ToyRun {
  std::vector<double> losses;  // of the steps
  TrainResult result;
};

/// Three epochs of 7 steps on a new network, or from where the folder's run was left; the network is evaluated in the
/// run's precision.
ToyRun train(Device device, const TrainOptions& options, bool resume = false, double clip = 0.0) {
  const PrecisionGuard guard(device, options.precision);
  const auto network = toy_network();
  network->to(device);
  ToySource train_part(54, 8, 1), val(20, 8, 2), test_part(20, 8, 3);
  TrainOptions all = options;
  all.clip_grad_norm = clip;
  CallbackObserver seen;
  Trainer trainer(*network, {&train_part, &val, &test_part}, all);
  trainer.add_observer(seen);
  if (resume) trainer.resume();
  ToyRun run;
  run.result = trainer.run();
  for (const StepRecord& step : seen.steps) run.losses.push_back(step.loss);
  return run;
}

TEST_P(MixedPrecisionOn, TrainsToTheSameBitsTwice) {
  const TempDir dir;
  for (const char* optimizer : {"sgd", "adamw"}) {
    const std::string first = dir / (std::string(optimizer) + "1"), second = dir / (std::string(optimizer) + "2");
    const ToyRun a = train(device(), options_of(first, optimizer, Precision::bf16));
    const ToyRun b = train(device(), options_of(second, optimizer, Precision::bf16));
    const ToyRun exact = train(device(), options_of("", optimizer, Precision::fp32));
    EXPECT_EQ(a.losses, b.losses);
    EXPECT_EQ(content(first + "/last.safetensors"), content(second + "/last.safetensors"));
    ASSERT_EQ(a.losses.size(), exact.losses.size());
    EXPECT_NE(a.losses, exact.losses);
    for (size_t i = 0; i < a.losses.size(); ++i) {
      EXPECT_NEAR(a.losses[i], exact.losses[i], 0.03 * exact.losses[i]) << optimizer << " step " << i + 1;
    }
  }
}

TEST_P(MixedPrecisionOn, GoesOnAfterAResumeAsIfNeverStopped) {
  const TempDir dir;
  for (const double clip : {0.0, 2.0}) {
    const std::string whole = dir / (clip > 0.0 ? "whole_clipped" : "whole"),
                      parts = dir / (clip > 0.0 ? "parts_clipped" : "parts");
    train(device(), options_of(whole, "adam", Precision::bf16), false, clip);
    TrainOptions options = options_of(parts, "adam", Precision::bf16);
    options.max_steps = 10;
    EXPECT_EQ(train(device(), options, false, clip).result.steps, 10);
    options.max_steps = 0;
    EXPECT_EQ(train(device(), options, true, clip).result.steps, 21);
    EXPECT_EQ(content(parts + "/last.safetensors"), content(whole + "/last.safetensors"));
    EXPECT_EQ(content(parts + "/best.safetensors"), content(whole + "/best.safetensors"));
  }
}

TEST_P(MixedPrecisionOn, FollowsTheReference) {
  const ToyRun expected = train(Device::reference, options_of("", "sgd", Precision::bf16));
  const ToyRun run = train(device(), options_of("", "sgd", Precision::bf16));
  ASSERT_EQ(run.losses.size(), expected.losses.size());
  for (size_t i = 0; i < run.losses.size(); ++i) {
    EXPECT_NEAR(run.losses[i], expected.losses[i], 0.01 * expected.losses[i]) << "step " << i + 1;
  }
}

TEST_P(MixedPrecisionOn, KeepsCheckpointsOfFloat32) {
  const TempDir dir;
  train(device(), options_of(dir / "bf16", "adam", Precision::bf16));
  train(device(), options_of(dir / "fp32", "adam", Precision::fp32));
  ToySource images(40, 8, 5);
  for (const auto& file : {"last.safetensors", "best.safetensors"}) {
    const Safetensors half = read_safetensors(dir / "bf16" / file), full = read_safetensors(dir / "fp32" / file);
    ASSERT_EQ(half.tensors.size(), full.tensors.size());
    for (size_t i = 0; i < half.tensors.size(); ++i) {
      EXPECT_EQ(half.tensors[i].name, full.tensors[i].name);
      EXPECT_EQ(half.tensors[i].tensor.dtype(), DType::float32) << half.tensors[i].name;
      EXPECT_EQ(half.tensors[i].tensor.shape(), full.tensors[i].tensor.shape()) << half.tensors[i].name;
    }
    // Either's weights are the other's start, and give nearly the same losses in both precisions.
    for (const char* run : {"bf16", "fp32"}) {
      const auto network = toy_network(2);
      network->to(device());
      load_weights((dir / run / file).string(), *network);
      const Evaluation exact = evaluate(*network, images, device());
      const PrecisionGuard guard(device(), Precision::bf16);
      const Evaluation rounded = evaluate(*network, images, device());
      EXPECT_NE(rounded.loss, exact.loss);
      EXPECT_NEAR(rounded.loss, exact.loss, 0.01 * exact.loss) << run;
      EXPECT_NEAR(rounded.top1, exact.top1, 0.051) << run;
    }
  }
}

TEST_P(MixedPrecisionOn, GivesLogitsOfFloat32ToWhoeverEvaluates) {
  const PrecisionGuard guard(device(), Precision::bf16);
  const auto network = toy_network();
  network->to(device());
  ToySource images(10, 4, 5);
  int64_t seen = 0;
  EvaluateOptions options;
  options.on_batch = [&](const Batch& batch, const Tensor& logits) {
    EXPECT_EQ(logits.dtype(), DType::float32);
    EXPECT_EQ(logits.device(), device());
    seen += batch.labels.size();
  };
  infer(*network, images, device(), options);
  EXPECT_EQ(seen, 10);
}

TEST_P(MixedPrecisionOn, AllocatesNothingAfterTheFirstSteps) {
  const PrecisionGuard guard(device(), Precision::bf16);
  const auto network = toy_network();
  network->to(device());
  ToySource images(48, 8, 1);
  CallbackObserver seen;
  std::vector<int64_t> allocations;
  seen.on_step = [&](const StepRecord&) { allocations.push_back(allocator(device()).stats().system_allocations); };
  TrainOptions options = options_of("", "sgd", Precision::bf16);
  Trainer trainer(*network, {&images, nullptr, nullptr}, options);
  trainer.add_observer(seen);
  trainer.run();
  ASSERT_EQ(allocations.size(), 18u);
  EXPECT_EQ(allocations.back(), allocations[2]);
}

}  // namespace
}  // namespace striate
