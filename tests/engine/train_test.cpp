#include <gtest/gtest.h>

#include <cmath>

#include "engine/allocator.h"
#include "engine/ops/ops.h"
#include "engine/step_state.h"
#include "engine/train/checkpoint.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"
#include "tests/engine/train_toy.h"
#include "tests/support/compare.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

namespace fs = std::filesystem;
using test::CallbackObserver;
using test::content;
using test::quick_options;
using test::split;
using test::TempDir;
using test::toy_network;
using test::ToySource;

class TrainOn : public test::DeviceTest {};
INSTANTIATE_TEST_SUITE_P(, TrainOn, testing::ValuesIn(test::devices()), test::device_name);

TEST_P(TrainOn, OverfitsAToyProblem) {
  const auto network = toy_network(1, 0.0f);
  network->to(GetParam());
  ToySource train(8, 8, 1), val(8, 8, 1);
  TrainOptions options = quick_options();
  options.epochs = 60;
  Trainer trainer(*network, {&train, &val, nullptr}, options);
  const TrainResult result = trainer.run();
  EXPECT_EQ(result.status, TrainStatus::finished);
  EXPECT_EQ(result.steps, 60);
  EXPECT_LT(result.last.train_loss, 0.01);
  EXPECT_EQ(result.last.val_top1, 1.0);
}

TEST(Train, InBf16OverfitsAToyProblemWithTheSameBitsTwice) {
  std::vector<float> weights[3];
  for (const int run : {0, 1, 2}) {
    const auto network = toy_network(1, 0.0f);
    ToySource train(8, 8, 1), val(8, 8, 1);
    TrainOptions options = quick_options();
    options.epochs = 60;
    options.precision = run < 2 ? Precision::bf16 : Precision::fp32;
    const TrainResult result = Trainer(*network, {&train, &val, nullptr}, options).run();
    set_precision(Device::cpu, Precision::fp32);
    EXPECT_LT(result.last.train_loss, 0.01);
    EXPECT_EQ(result.last.val_top1, 1.0);
    weights[run] = test::all_weights(*network);
  }
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_NE(weights[0], weights[2]);
}

TEST(Train, WritesTheRunsFolder) {
  const TempDir dir;
  const auto network = toy_network();
  ToySource train(50, 16, 1), val(20, 16, 2), test_part(24, 16, 3);
  TrainOptions options = quick_options();
  options.output = dir / "run";
  options.model_name = "toy";
  RunLog log(options.output);
  CallbackObserver seen;
  Trainer trainer(*network, {&train, &val, &test_part}, options);
  trainer.add_observer(log);
  trainer.add_observer(seen);
  const TrainResult result = trainer.run();
  EXPECT_EQ(result.steps, 12);  // 3 epochs of 16 + 16 + 16 + 2 images

  const std::vector<std::string> metrics = split(content(dir / "run/metrics.csv"), '\n');
  ASSERT_EQ(metrics.size(), 5u);
  EXPECT_EQ(metrics[0],
            "epoch,learning_rate,train_loss,train_top1,val_loss,val_top1,val_macro_f1,test_loss,test_top1,images_per_"
            "second,seconds");
  const std::vector<std::string> before = split(metrics[1], ','), first = split(metrics[2], ','),
                                 last = split(metrics[4], ',');
  ASSERT_EQ(before.size(), 11u);
  EXPECT_EQ(before[0], "0");
  EXPECT_EQ(before[2], "");  // nothing was trained yet
  EXPECT_NE(before[4], "");
  EXPECT_EQ(first[0], "1");
  EXPECT_EQ(first[1], "0.05");
  EXPECT_NE(first[2], "");
  EXPECT_EQ(first[7], "");  // the test part waits for the end
  EXPECT_EQ(last[0], "3");
  EXPECT_NE(last[7], "");
  EXPECT_GT(std::stod(last[8]), 0.0);
  EXPECT_LE(std::stod(last[8]), 1.0);

  const std::vector<std::string> steps = split(content(dir / "run/steps.csv"), '\n');
  ASSERT_EQ(steps.size(), 13u);
  EXPECT_EQ(steps[0], "step,epoch,loss,learning_rate");
  EXPECT_EQ(steps[1].substr(0, 4), "1,1,");
  EXPECT_EQ(steps[5].substr(0, 4), "5,2,");
  EXPECT_EQ(split(steps[12], ',')[0], "12");
  EXPECT_EQ(std::stof(split(steps[12], ',')[2]), static_cast<float>(seen.steps.back().loss));

  const std::string text = content(dir / "run/log.txt"), run = dir / "run";
  EXPECT_NE(text.find("finished after step 12; best weights " + run + "/best.safetensors; last weights " + run +
                      "/last.safetensors, resumed with " + run + "/resume-12-4.safetensors\n"),
            std::string::npos)
      << text;
  EXPECT_EQ(text.find("nan"), std::string::npos) << text;
  EXPECT_NE(text.find("epoch 0: learning rate 0.05, val loss "), std::string::npos) << text;
  EXPECT_NE(text.find("epoch 1: learning rate "), std::string::npos) << text;
  // One resume file, nothing half-written.
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(dir / "run")) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"best.safetensors", "last.safetensors", "log.txt", "metrics.csv",
                                             "resume-12-4.safetensors", "steps.csv"}));
  const Metadata metadata = read_safetensors_metadata(dir / "run/last.safetensors");
  EXPECT_EQ(metadata.at("model"), "toy");
  EXPECT_EQ(metadata.at("striate_layout"), "NHWC");
  EXPECT_EQ(metadata.at("step"), "12");
}

TEST(Train, SameSeedSameBits) {
  std::string steps[2];
  std::vector<float> weights[2];
  for (int run = 0; run < 2; ++run) {
    const TempDir dir;
    const auto network = toy_network();
    ToySource train(50, 16, 1), val(20, 16, 2);
    TrainOptions options = quick_options();
    options.output = dir / "run";
    RunLog log(options.output);
    CallbackObserver seen;
    seen.on_step = [](const StepRecord& step) {
      EXPECT_EQ(dropout_state(Device::cpu).seed, 3u);
      EXPECT_EQ(dropout_state(Device::cpu).step, static_cast<uint64_t>(step.step));  // moved on by the optimizer
    };
    Trainer trainer(*network, {&train, &val, nullptr}, options);
    trainer.add_observer(log);
    trainer.add_observer(seen);
    trainer.run();
    steps[run] = content(dir / "run/steps.csv");
    weights[run] = test::all_weights(*network);
  }
  EXPECT_EQ(steps[0], steps[1]);
  EXPECT_EQ(weights[0], weights[1]);

  const auto network = toy_network();
  ToySource train(50, 16, 1);
  TrainOptions options = quick_options();
  options.seed = 4;  // other dropout masks
  Trainer(*network, {&train, nullptr, nullptr}, options).run();
  EXPECT_NE(test::all_weights(*network), weights[0]);
}

// Batches of 8, three at a time, take the steps that batches of 24 take: the same mean loss, the same dropout masks,
// and a last group of 10 images, one batch full and one not. Without batch norm, whose statistics are a batch's own.
TEST(Train, AccumulatedStepsAreThoseOfOneBigBatch) {
  const auto make = [] {
    auto network = std::make_shared<nn::Sequential>(
        std::vector<nn::ModulePtr>{std::make_shared<nn::Flatten>(), std::make_shared<nn::Dropout>(0.25f),
                                   std::make_shared<nn::Linear>(16, ToySource::kClasses)});
    nn::initialize(*network, {}, 5);
    return network;
  };
  const auto big = make(), small = make();
  CallbackObserver big_seen, small_seen;
  TrainOptions options = quick_options();
  ToySource big_source(58, 24, 1), small_source(58, 8, 1);
  Trainer big_trainer(*big, {&big_source, nullptr, nullptr}, options);
  big_trainer.add_observer(big_seen);
  big_trainer.run();
  options.accumulate = 3;
  Trainer small_trainer(*small, {&small_source, nullptr, nullptr}, options);
  small_trainer.add_observer(small_seen);
  small_trainer.run();

  ASSERT_EQ(small_seen.steps.size(), 9u);
  ASSERT_EQ(big_seen.steps.size(), 9u);
  for (size_t i = 0; i < 9; ++i) {
    EXPECT_EQ(small_seen.steps[i].images, big_seen.steps[i].images);
    EXPECT_EQ(small_seen.steps[i].step_in_epoch, big_seen.steps[i].step_in_epoch);
    EXPECT_NEAR(small_seen.steps[i].loss, big_seen.steps[i].loss, 1e-5) << "step " << i + 1;
  }
  // Sums in another order: a few roundings of float apart.
  EXPECT_TRUE(test::all_close(test::all_weights(*small), test::all_weights(*big), {1e-6, 1e-5}));
}

TEST(Train, ClipsAndReportsTheGradientNorm) {
  const auto network = toy_network();
  ToySource train(32, 16, 1);
  TrainOptions options = quick_options();
  options.learning_rate = 1.0;
  options.optimizer.momentum = 0.0;
  options.clip_grad_norm = 1e-3;
  CallbackObserver seen;
  std::vector<float> before = test::all_weights(*network);
  seen.on_step = [&](const StepRecord& step) {
    double moved = 0.0;
    std::vector<float> now;
    for (const NamedTensor& p : network->named_parameters()) {
      const auto values = p.tensor.to_vector<float>();
      now.insert(now.end(), values.begin(), values.end());
    }
    for (size_t i = 0; i < now.size(); ++i)
      moved += std::pow(static_cast<double>(now[i]) - static_cast<double>(before[i]), 2);
    before = now;
    EXPECT_GT(step.gradient_norm, 1e-3);
    EXPECT_NEAR(std::sqrt(moved), 1e-3, 2e-5);  // weights near 1 are rounded to 6e-8 each
  };
  Trainer trainer(*network, {&train, nullptr, nullptr}, options);
  trainer.add_observer(seen);
  trainer.run();
}

TEST_P(TrainOn, SteadyStateAsksTheSystemForNothing) {
  const auto network = toy_network();
  network->to(GetParam());
  ToySource train(50, 16, 1), val(20, 16, 2);
  TrainOptions options = quick_options();
  options.accumulate = 2;
  options.clip_grad_norm = 1.0;
  options.epochs = 5;
  CallbackObserver seen;
  std::vector<int64_t> requests;
  seen.on_step = [&](const StepRecord&) { requests.push_back(allocator(GetParam()).stats().system_allocations); };
  Trainer trainer(*network, {&train, &val, nullptr}, options);
  trainer.add_observer(seen);
  trainer.run();
  ASSERT_EQ(requests.size(), 10u);
  // The first epoch has met every size: full and last batch, training and evaluation.
  for (size_t i = 3; i < requests.size(); ++i) EXPECT_EQ(requests[i], requests[2]) << "step " << i + 1;
}

TEST_P(TrainOn, NamesALabelThatTheNetworkHasNoClassFor) {
  const auto network = toy_network();
  network->to(GetParam());
  const Tensor logits = (*network)(Tensor::zeros({2, 4, 4, 1}, DType::float32, GetParam()));
  EXPECT_TRUE(test::throws_with<ShapeError>(
      [&] {
        ops::softmax_cross_entropy(logits, Tensor::from<int32_t>({1, 4}, {2}));
      },
      {"sample 1", "label 4", "4 classes"}));
}

TEST(Train, RefusesWhatCannotWork) {
  const auto network = toy_network();
  ToySource train(32, 16, 1), nothing(0, 16, 1);
  EXPECT_THROW(Trainer(*network, {nullptr, nullptr, nullptr}, quick_options()), ConfigError);
  EXPECT_THROW(Trainer(*network, {&nothing, nullptr, nullptr}, quick_options()), ConfigError);
  TrainOptions options = quick_options();
  options.best_by = "loss";
  EXPECT_THROW(Trainer(*network, {&train, nullptr, nullptr}, options), ConfigError);
  options = quick_options();
  options.precision = Precision::tf32;
  EXPECT_THROW(Trainer(*network, {&train, nullptr, nullptr}, options), ConfigError);
}

}  // namespace
}  // namespace striate
