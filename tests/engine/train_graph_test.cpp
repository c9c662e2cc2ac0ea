// Training steps that are captured once and replayed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/allocator.h"
#include "engine/train/checkpoint.h"
#include "kernels/error.h"
#include "kernels/gpu/stream.h"
#include "tests/engine/devices.h"
#include "tests/engine/train_toy.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

namespace fs = std::filesystem;
using test::CallbackObserver;
using test::content;
using test::TempDir;
using test::toy_network;
using test::ToySource;

constexpr int64_t kBatches = 7;  // of an epoch: six of 8 images and one of 6
constexpr int64_t kImages = 54;

class NoticeObserver : public CallbackObserver {
 public:
  std::vector<std::string> notices;
  void notice(const std::string& message) override { notices.push_back(message); }
};

struct Outcome {
  std::string last, best, steps, metrics;
  bool operator==(const Outcome&) const = default;
};

int64_t replays() { return context(Device::cuda).stream->counts().replays; }

class TrainGraph : public testing::Test {
 protected:
  void SetUp() override {
    test::skip_unless_runnable(Device::cuda);
    options_.epochs = 3;
    options_.learning_rate = 0.02;
    options_.seed = 9;
    options_.handle_signals = false;
    options_.model_name = "toy";
    options_.output = dir_ / "run";
  }

  /// One process's part of a run: everything is made anew.
  Outcome train(GraphMode mode, bool resume = false, BatchSource* source = nullptr) {
    options_.cuda_graph = mode;
    const auto network = toy_network();
    network->to(Device::cuda);
    ToySource train_part(kImages, 8, 1), val(20, 8, 2);
    RunLog log(options_.output);
    Trainer trainer(*network, {source ? source : &train_part, &val, nullptr}, options_);
    trainer.add_observer(log);
    trainer.add_observer(seen_);
    if (resume) trainer.resume();
    const int64_t before = replays();
    trainer.run();
    replays_ = replays() - before;
    const fs::path folder = options_.output;
    return {content(folder / "last.safetensors"), content(folder / "best.safetensors"), content(folder / "steps.csv"),
            test::untimed(content(folder / "metrics.csv"))};
  }

  TempDir dir_;
  TrainOptions options_;
  NoticeObserver seen_;
  int64_t replays_ = 0;  // of the last train()
};

struct GraphCase {
  const char* name;
  const char* optimizer;
  const char* schedule;
  double clip, smoothing;

  friend void PrintTo(const GraphCase& c, std::ostream* out) { *out << c.name; }
};

class TrainGraphCases : public TrainGraph, public testing::WithParamInterface<GraphCase> {
 protected:
  void SetUp() override {
    TrainGraph::SetUp();
    options_.optimizer.name = GetParam().optimizer;
    options_.schedule.name = GetParam().schedule;
    options_.schedule.warmup_epochs = 1.5;
    options_.clip_grad_norm = GetParam().clip;
    options_.label_smoothing = GetParam().smoothing;
  }
};

INSTANTIATE_TEST_SUITE_P(, TrainGraphCases,
                         testing::Values(GraphCase{"sgd_cosine_clipped", "sgd", "cosine", 2.0, 0.0},
                                         GraphCase{"adam_plateau_smoothed", "adam", "plateau", 0.0, 0.1},
                                         GraphCase{"rmsprop_constant", "rmsprop", "constant", 0.0, 0.0}),
                         [](const auto& c) { return c.param.name; });

TEST_P(TrainGraphCases, GivesTheBitsOfStepsThatAreLaunched) {
  const Outcome launched = train(GraphMode::off);
  EXPECT_EQ(replays_, 0);
  const Outcome replayed = train(GraphMode::on);
  EXPECT_EQ(replays_, 3 * (kBatches - 1) - 2);  // all full batches but two
  EXPECT_TRUE(replayed == launched);
  EXPECT_TRUE(seen_.notices.empty());
  for (size_t i = 0; i < 3 * kBatches; ++i) {
    EXPECT_EQ(seen_.steps[i].step, static_cast<int64_t>(i) + 1);
    EXPECT_EQ(seen_.steps[i].top1, seen_.steps[i + 3 * kBatches].top1);
    EXPECT_EQ(std::isnan(seen_.steps[i].gradient_norm), options_.clip_grad_norm == 0.0);
    if (options_.clip_grad_norm > 0.0) {
      EXPECT_EQ(seen_.steps[i].gradient_norm, seen_.steps[i + 3 * kBatches].gradient_norm);
    }
  }
}

TEST_P(TrainGraphCases, GoesOnInMidEpochAsIfItHadNeverStopped) {
  const Outcome whole = train(GraphMode::off);
  options_.save_every_steps = 3;
  struct Killed {};
  seen_.on_step = [](const StepRecord& step) {
    if (step.step == 11) throw Killed();
  };
  EXPECT_THROW(train(GraphMode::on), Killed);
  seen_.on_step = nullptr;
  EXPECT_TRUE(train(GraphMode::on, true) == whole);
  EXPECT_EQ(replays_, 10 - 2);  // step 9 was the last that was saved; 12 to go, of which two are of fewer images
}

TEST_F(TrainGraph, IsHowCudaTrainsUnlessToldOtherwise) {
  train(GraphMode::automatic);
  EXPECT_GT(replays_, 0);
  EXPECT_TRUE(seen_.notices.empty());
}

TEST_F(TrainGraph, AsksTheSystemForNothingOnceItIsCaptured) {
  std::vector<int64_t> requests;
  seen_.on_step = [&](const StepRecord&) { requests.push_back(allocator(Device::cuda).stats().system_allocations); };
  train(GraphMode::on);
  ASSERT_EQ(requests.size(), 3u * kBatches);
  // From the second epoch on: the first met the last, smaller batch and was followed by a validation.
  for (size_t i = kBatches; i < requests.size(); ++i) EXPECT_EQ(requests[i], requests[kBatches]) << "step " << i + 1;
  // The third is captured. A step is told of once the next was launched, and the seventh is the smaller batch.
  EXPECT_EQ(requests[2], requests[4]);
}

TEST_F(TrainGraph, TellsOfAStepWhileTheNextIsUnderWay) {
  options_.epochs = 1;
  const int64_t before = replays();
  std::vector<int64_t> done;
  seen_.on_step = [&](const StepRecord&) { done.push_back(replays() - before); };
  train(GraphMode::on);
  // The third step is the first that is replayed, the seventh the smaller batch.
  EXPECT_EQ(done, (std::vector<int64_t>{0, 1, 2, 3, 4, 4, 4}));
}

TEST_F(TrainGraph, IsCapturedAnewWhenTheWorkspaceHasMoved) {
  const Outcome launched = train(GraphMode::off);
  Tensor taken;  // where the workspace was
  std::vector<float> expected;
  seen_.on_step = [&](const StepRecord& step) {
    if (step.step != 10) return;
    Workspace& workspace = *context(Device::cuda).workspace;
    const void* before = workspace.reserve(0);
    size_t bytes = 4096;
    while (workspace.reserve(bytes) == before) bytes *= 2;
    taken = Tensor::full({static_cast<int64_t>(bytes / 8)}, 7.0f, Device::cuda);
    expected.assign(bytes / 8, 7.0f);
  };
  EXPECT_TRUE(train(GraphMode::on) == launched);
  EXPECT_EQ(replays_, 3 * (kBatches - 1) - 2);
  EXPECT_EQ(taken.to_vector<float>(), expected);
}

/// Hands on what another source gives after `change`.
class ChangedSource : public BatchSource {
 public:
  explicit ChangedSource(std::function<void(Batch&)> change) : change_(std::move(change)) {}
  int64_t samples() const override { return toys_.samples(); }
  int64_t batch_size() const override { return toys_.batch_size(); }
  void start(int64_t epoch, int64_t first_batch) override { toys_.start(epoch, first_batch); }
  bool next(Batch& batch) override {
    if (!toys_.next(batch)) return false;
    change_(batch);
    return true;
  }

 private:
  ToySource toys_{kImages, 8, 1};
  std::function<void(Batch&)> change_;
};

TEST_F(TrainGraph, SaysOnceWhyStepsOfSeveralBatchesAreLaunched) {
  options_.accumulate = 2;
  train(GraphMode::automatic);
  EXPECT_EQ(replays_, 0);
  ASSERT_EQ(seen_.notices.size(), 1u);
  EXPECT_NE(seen_.notices[0].find("train.accumulate: 2 batches make a step"), std::string::npos) << seen_.notices[0];
  EXPECT_NE(content(fs::path(options_.output) / "log.txt").find(seen_.notices[0]), std::string::npos);
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { train(GraphMode::on); }, {"train.cuda_graph: true", "accumulate"}));
  seen_.notices.clear();
  train(GraphMode::off);
  EXPECT_TRUE(seen_.notices.empty());
}

TEST_F(TrainGraph, LaunchesStepsOnMixedImages) {
  ChangedSource mixed([](Batch& batch) {
    batch.partner_labels = batch.index == 4 ? batch.labels.clone() : Tensor();
    batch.share = 0.75f;
  });
  const Outcome launched = train(GraphMode::off, false, &mixed);
  const Outcome captured = train(GraphMode::automatic, false, &mixed);
  EXPECT_EQ(replays_, 2);  // batches 2 and 3 of the first epoch
  ASSERT_EQ(seen_.notices.size(), 1u);
  EXPECT_NE(seen_.notices[0].find("images are mixed"), std::string::npos) << seen_.notices[0];
  EXPECT_TRUE(captured == launched);
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { train(GraphMode::on, false, &mixed); }, {"images are mixed"}));
}

TEST_F(TrainGraph, ReadsImagesOnTheDeviceWhereTheSourceKeepsThem) {
  const Outcome launched = train(GraphMode::off);
  const auto copied_bytes = [] { return context(Device::cuda).stream->counts().copied_bytes; };
  Tensor kept, fewer, moved;
  int64_t steps = 0;
  ChangedSource on_device([&](Batch& batch) {
    // From the second epoch on elsewhere.
    Tensor& place = batch.labels.size() < 8 ? fewer : ++steps <= kBatches ? kept : moved;
    if (!place.defined()) place = Tensor::empty(batch.images.shape(), DType::float32, Device::cuda);
    place.copy_from(batch.images);
    batch.images = place;
  });
  EXPECT_TRUE(train(GraphMode::on, false, &on_device) == launched);
  EXPECT_EQ(replays_, 3 * (kBatches - 1) - 2);

  options_.epochs = 1;
  steps = 0;
  std::vector<int64_t> bytes;
  seen_.on_step = [&](const StepRecord&) { bytes.push_back(copied_bytes()); };
  train(GraphMode::on, false, &on_device);
  // The source's copy, labels, the step's state and result; no other copy of the images.
  EXPECT_EQ(bytes[4] - bytes[3], 8 * 16 * 4 + 8 * 4 + 40 + 8);
}

TEST_F(TrainGraph, NamesTheStepWhoseLossIsNotFinite) {
  options_.save_every_steps = 4;
  int64_t steps = 0;
  ChangedSource broken([&](Batch& batch) {
    if (++steps == 11) batch.images.data<float>()[5] = std::numeric_limits<float>::quiet_NaN();
  });
  EXPECT_TRUE(test::throws_with<Error>([&] { train(GraphMode::on, false, &broken); },
                                       {"the loss is nan at step 11 (epoch 2", "the last good checkpoint, of step 8"}));
  EXPECT_EQ(seen_.steps.size(), 10u);
  EXPECT_EQ(read_safetensors_metadata(dir_ / "run/last.safetensors").at("step"), "8");
}

TEST_F(TrainGraph, NamesALabelThatTheNetworkHasNoClassForBeforeAReplay) {
  int64_t steps = 0;
  ChangedSource broken([&](Batch& batch) {
    if (++steps == 5) batch.labels.data<int32_t>()[3] = ToySource::kClasses;
  });
  EXPECT_TRUE(test::throws_with<ShapeError>([&] { train(GraphMode::on, false, &broken); }, {"label"}));
}

/// Waits for the device in its forward, which no graph can hold.
class Waiting : public nn::Module {
 public:
  Tensor forward(const Tensor& x) override {
    synchronize(x.device());
    return x;
  }
  std::string type() const override { return "Waiting"; }
};

TEST_F(TrainGraph, LaunchesWhatCannotBeCaptured) {
  std::vector<std::vector<float>> weights;
  for (const GraphMode mode : {GraphMode::off, GraphMode::automatic, GraphMode::on}) {
    auto network =
        std::make_shared<nn::Sequential>(std::vector<nn::ModulePtr>{toy_network(), std::make_shared<Waiting>()});
    network->to(Device::cuda);
    ToySource source(kImages, 8, 1);
    options_.cuda_graph = mode;
    options_.output.clear();
    Trainer trainer(*network, {&source, nullptr, nullptr}, options_);
    trainer.add_observer(seen_);
    if (mode == GraphMode::on) {
      EXPECT_TRUE(test::throws_with<ConfigError>([&] { trainer.run(); }, {"not permitted when stream is capturing"}));
    } else {
      trainer.run();
      weights.push_back(test::all_weights(*network));
    }
  }
  EXPECT_EQ(weights[0], weights[1]);
  ASSERT_EQ(seen_.notices.size(), 1u);
  EXPECT_NE(seen_.notices[0].find("not permitted when stream is capturing"), std::string::npos) << seen_.notices[0];
}

TEST(TrainGraphOptions, NeedTheDevice) {
  const auto network = toy_network();
  ToySource source(16, 8, 1);
  TrainOptions options = test::quick_options();
  options.cuda_graph = GraphMode::on;
  EXPECT_TRUE(test::throws_with<ConfigError>(
      [&] {
        Trainer(*network, {&source, nullptr, nullptr}, options);
      },
      {"train.cuda_graph: true needs device cuda", "cpu"}));
}

// ---- the memory that a graph comes back to ----

class MemoryPoolTest : public testing::Test {
 protected:
  void SetUp() override { test::skip_unless_runnable(Device::cuda); }
  Allocator& memory_ = allocator(Device::cuda);
  static constexpr size_t kBytes = 3000;
};

TEST_F(MemoryPoolTest, KeepsWhatIsFreedForItself) {
  MemoryPool pool(Device::cuda);
  void* first = nullptr;
  {
    const MemoryPool::Use use(pool);
    first = memory_.allocate(kBytes);
    memory_.deallocate(first, kBytes);
    EXPECT_EQ(memory_.allocate(kBytes), first);
  }
  memory_.deallocate(first, kBytes);  // outside of its use, too
  std::vector<void*> others;
  for (int i = 0; i < 8; ++i) others.push_back(memory_.allocate(kBytes));
  EXPECT_EQ(std::count(others.begin(), others.end(), first), 0);
  const MemoryPool::Use use(pool);
  EXPECT_EQ(memory_.allocate(kBytes), first);
  memory_.deallocate(first, kBytes);
  for (void* other : others) memory_.deallocate(other, kBytes);
}

TEST_F(MemoryPoolTest, TakesWhatOthersLeftAndGivesItBackAtItsEnd) {
  memory_.trim();
  void* left = memory_.allocate(kBytes);
  memory_.deallocate(left, kBytes);
  const int64_t before = memory_.stats().system_allocations;
  void* still_used = nullptr;
  {
    MemoryPool pool(Device::cuda);
    const MemoryPool::Use use(pool);
    void* block = memory_.allocate(kBytes);
    EXPECT_EQ(block, left);
    still_used = memory_.allocate(2 * kBytes);
    memory_.deallocate(block, kBytes);
    memory_.trim();  // leaves it the pool's
    EXPECT_EQ(memory_.allocate(kBytes), left);
    memory_.deallocate(left, kBytes);
  }
  EXPECT_EQ(memory_.stats().system_allocations, before + 1);
  EXPECT_EQ(memory_.allocate(kBytes), left);
  memory_.deallocate(left, kBytes);
  memory_.deallocate(still_used, 2 * kBytes);
  EXPECT_EQ(memory_.allocate(2 * kBytes), still_used);
  memory_.deallocate(still_used, 2 * kBytes);
}

}  // namespace
}  // namespace striate
