// What a captured training step must not miss when something changes under it, step by step.
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/autograd.h"
#include "engine/profiler.h"
#include "engine/storage.h"
#include "engine/train/train_step.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"
#include "tests/engine/precision.h"
#include "tests/engine/train_toy.h"
#include "tests/support/error.h"

namespace striate {
namespace {

using test::PrecisionGuard;
using test::random_tensor;
using test::toy_network;

constexpr int64_t kBatch = 8;

Batch batch_of(uint64_t seed, Shape images = {kBatch, 4, 4, 1}, Device device = Device::cpu) {
  Batch batch;
  batch.images = random_tensor(std::move(images), seed, device);
  std::vector<int32_t> labels;
  for (int64_t i = 0; i < kBatch; ++i) labels.push_back(static_cast<int32_t>((static_cast<int64_t>(seed) + i) % 4));
  batch.labels = Tensor::from(labels, {kBatch});
  return batch;
}

/// Steps of a network on the GPU, one after another.
class Steps {
 public:
  explicit Steps(GraphMode mode, std::shared_ptr<nn::Module> made = toy_network()) : network(std::move(made)) {
    network->to(Device::cuda);
    network->train();
    TrainOptions options;
    options.cuda_graph = mode;
    optimizer_ = std::make_unique<Sgd>(network->named_parameters(), 0.05, SgdOptions{0.9f, false, false}, 0.0);
    step_ = std::make_unique<TrainStep>(
        *network, *optimizer_, options, kBatch, [](double) {},
        [this](const std::string& notice) { notices.push_back(notice); });
  }

  void launch(const Batch& batch) {
    step_->begin(steps_++, 0.05);
    step_->add(batch);
    step_->finish();
  }
  double take() { return step_->take().loss_sum; }
  double train(const Batch& batch) {
    launch(batch);
    return take();
  }
  bool is_captured() const { return step_->graph().graph() != nullptr; }
  std::vector<float> weights() const { return test::all_weights(*network); }

  std::shared_ptr<nn::Module> network;
  std::vector<std::string> notices;

 private:
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<TrainStep> step_;
  int64_t steps_ = 0;
};

int64_t replays() { return context(Device::cuda).stream->counts().replays; }

class StepGraphTest : public testing::Test {
 protected:
  void SetUp() override { test::skip_unless_runnable(Device::cuda); }
};

TEST_F(StepGraphTest, GivesUpWhereImagesOfAFullBatchChangeTheirShape) {
  const auto run = [](Steps& steps) {
    for (uint64_t i = 0; i < 4; ++i) steps.train(batch_of(i));
    const bool captured = steps.is_captured();
    for (uint64_t i = 4; i < 6; ++i) steps.train(batch_of(i, {kBatch, 2, 8, 1}));
    steps.train(batch_of(6));
    return captured;
  };
  Steps launched(GraphMode::off), captured(GraphMode::automatic), demanded(GraphMode::on);
  EXPECT_FALSE(run(launched));
  const int64_t before = replays();
  EXPECT_TRUE(run(captured));
  EXPECT_EQ(replays() - before, 2);
  EXPECT_FALSE(captured.is_captured());
  EXPECT_EQ(captured.weights(), launched.weights());
  ASSERT_EQ(captured.notices.size(), 1u);
  EXPECT_NE(captured.notices[0].find("images changed from [8,4,4,1] to [8,2,8,1]"), std::string::npos)
      << captured.notices[0];
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { run(demanded); }, {"train.cuda_graph: true", "images changed"}));
}

/// Counts its forwards.
class Counting : public nn::Module {
 public:
  int64_t forwards = 0;
  Tensor forward(const Tensor& x) override {
    ++forwards;
    return x;
  }
  std::string type() const override { return "Counting"; }
};

TEST_F(StepGraphTest, AsksTheNetworkForNothingAtAReplay) {
  context(Device::cuda).workspace->reserve(1);
  const auto counting = std::make_shared<Counting>();
  Steps steps(GraphMode::on, std::make_shared<nn::Sequential>(std::vector<nn::ModulePtr>{counting, toy_network()}));
  for (uint64_t i = 0; i < 6; ++i) steps.train(batch_of(i));
  EXPECT_EQ(counting->forwards, 3) << "two that are launched, one that is captured";
}

/// Waits for the device in its backward, which no graph can hold: the layers behind it have their gradients by then.
class WaitingBackward : public nn::Module {
 public:
  Tensor forward(const Tensor& x) override {
    Tensor y = x.clone().detach();
    if (!any_requires_grad({x})) return y;
    record("waiting", y, {x}, [](const Tensor& dy, Gradients& gradients) {
      synchronize(dy.device());
      gradients.add(0, dy);
    });
    return y;
  }
  std::string type() const override { return "WaitingBackward"; }
};

TEST_F(StepGraphTest, ForgetsTheGradientsOfACaptureInVain) {
  std::vector<std::vector<float>> weights;
  for (const GraphMode mode : {GraphMode::off, GraphMode::automatic}) {
    Steps steps(mode,
                std::make_shared<nn::Sequential>(std::vector<nn::ModulePtr>{
                    std::make_shared<nn::Conv2d>(1, 1, 3, 1, 1), std::make_shared<WaitingBackward>(), toy_network()}));
    nn::initialize(*steps.network, {}, 1);
    for (uint64_t i = 0; i < 4; ++i) steps.train(batch_of(i));
    weights.push_back(steps.weights());
    EXPECT_FALSE(steps.is_captured());
    EXPECT_EQ(steps.notices.size(), mode == GraphMode::off ? 0u : 1u);
  }
  EXPECT_EQ(weights[0], weights[1]);
}

TEST_F(StepGraphTest, IsLeftAloneWhileThereIsAProfile) {
  Steps launched(GraphMode::off), captured(GraphMode::on);
  for (uint64_t i = 0; i < 3; ++i) {
    const Profiler profiler;
    captured.train(batch_of(i));
    EXPECT_FALSE(captured.is_captured());
  }
  for (uint64_t i = 3; i < 6; ++i) captured.train(batch_of(i));
  ASSERT_TRUE(captured.is_captured());
  const int64_t before = replays();
  {
    Profiler profiler;
    captured.train(batch_of(6));
    EXPECT_EQ(replays(), before);
    EXPECT_FALSE(profiler.rows().empty());
  }
  captured.train(batch_of(7));
  EXPECT_EQ(replays(), before + 1);
  for (uint64_t i = 0; i < 8; ++i) launched.train(batch_of(i));
  EXPECT_EQ(captured.weights(), launched.weights());
}

TEST_F(StepGraphTest, ReadsRoundedWeightsThatWereWrittenBetweenReplays) {
  const PrecisionGuard precision(Device::cuda, Precision::bf16);
  std::vector<std::vector<float>> weights;
  for (const GraphMode mode : {GraphMode::off, GraphMode::on}) {
    Steps steps(mode);
    for (uint64_t i = 0; i < 4; ++i) steps.train(batch_of(i));
    for (NamedTensor& p : steps.network->named_parameters()) {
      if (p.tensor.rank() > 1) p.tensor.copy_from(random_tensor(p.tensor.shape(), 5));
    }
    steps.train(batch_of(4));
    EXPECT_EQ(steps.is_captured(), mode == GraphMode::on);
    weights.push_back(steps.weights());
  }
  EXPECT_EQ(weights[0], weights[1]);
}

TEST_F(StepGraphTest, TellsOfTheOldestOfTwoStepsUnderWay) {
  Steps waited(GraphMode::on), ahead(GraphMode::on);
  std::vector<double> expected, told;
  for (uint64_t i = 0; i < 6; ++i) expected.push_back(waited.train(batch_of(i)));
  ahead.launch(batch_of(0));
  for (uint64_t i = 1; i < 6; ++i) {
    ahead.launch(batch_of(i));
    told.push_back(ahead.take());
  }
  told.push_back(ahead.take());
  EXPECT_EQ(told, expected);
  EXPECT_TRUE(test::throws_with<Error>([&] { ahead.take(); }, {"none is under way"}));
  ahead.launch(batch_of(6)), ahead.launch(batch_of(7));
  EXPECT_TRUE(test::throws_with<Error>([&] { ahead.launch(batch_of(8)); }, {"2 are under way; take one first"}));
}

TEST_F(StepGraphTest, InputNeverWritesToMemoryOfTheSource) {
  const Shape shape{kBatch, 4, 4, 1};
  const Batch first = batch_of(1, shape, Device::cuda), second = batch_of(2, shape, Device::cuda);
  const auto place = [](const Tensor& tensor) { return std::as_const(*tensor.impl()->storage).data(); };
  const std::vector<float> in_first = first.images.to_vector<float>(), in_second = second.images.to_vector<float>();
  StepInput input(first, Device::cuda);
  EXPECT_TRUE(input.load(first));
  EXPECT_EQ(place(input.batch().images), place(first.images));
  EXPECT_EQ(input.batch().labels.to_vector<int32_t>(), first.labels.to_vector<int32_t>());
  EXPECT_FALSE(input.load(second)) << "it lies elsewhere now";
  const void* own = place(input.batch().images);
  EXPECT_NE(own, place(first.images));
  EXPECT_NE(own, place(second.images));
  EXPECT_EQ(input.batch().images.to_vector<float>(), in_second);
  EXPECT_EQ(input.batch().labels.to_vector<int32_t>(), second.labels.to_vector<int32_t>());
  EXPECT_TRUE(input.load(first)) << "and stays there";
  EXPECT_EQ(place(input.batch().images), own);
  EXPECT_EQ(input.batch().images.to_vector<float>(), in_first);
  EXPECT_EQ(first.images.to_vector<float>(), in_first);
  EXPECT_EQ(second.images.to_vector<float>(), in_second);
}

}  // namespace
}  // namespace striate
