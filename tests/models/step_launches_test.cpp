// What a training step of alexnet, at full size, gives the GPU to do. Captured, not executed: the sequence is the one
// that a GPU gets, whatever the values are.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "engine/allocator.h"
#include "engine/optim/optimizer.h"
#include "engine/train/train_step.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/graph.h"
#include "models/registry.h"
#include "tests/support/backend.h"

namespace striate::models {
namespace {

using gpu::Work;

constexpr int64_t kBatch = 128, kClasses = 1000;
// The loader's, outside of the step: a batch's pictures copied, and transformed.
constexpr size_t kLoaderLaunches = 2;
constexpr size_t kLaunches = 52;

class StepLaunches : public testing::TestWithParam<Precision> {
 protected:
  void SetUp() override {
    test::skip_unless_runnable(test::Backend::cuda);
    ModelConfig config;
    config.name = "alexnet";
    model_ = make_model(config, {224, 224, 3}, kClasses);
    model_->to(Device::cuda);
    model_->train();
    options_.precision = GetParam();
    options_.cuda_graph = GraphMode::off;  // the test captures
    optimizer_ = std::make_unique<Sgd>(model_->named_parameters(), 0.01, SgdOptions{0.9f, false, false}, 5e-4);
    set_precision(Device::cuda, options_.precision);
    // As the loader leaves them.
    const DType type = GetParam() == Precision::bf16 ? DType::bfloat16 : DType::float32;
    batch_.images = Tensor::empty({kBatch, 224, 224, 3}, type, Device::cuda);
    batch_.labels = Tensor::from(std::vector<int32_t>(kBatch, 1), {kBatch});
  }
  void TearDown() override {
    if (!IsSkipped()) set_precision(Device::cuda, Precision::fp32);
  }

  std::vector<Work> step(int64_t number) {
    // Its results never come, so each has a TrainStep of its own.
    TrainStep step(
        *model_, *optimizer_, options_, kBatch, [](double) {}, [](const std::string&) {});
    gpu::GraphCapture capture(*context(Device::cuda).stream, gpu::CaptureMode::relaxed);
    step.begin(number, 0.01);
    step.add(batch_);
    step.finish();
    return capture.finish().work();
  }

  std::shared_ptr<nn::Module> model_;
  TrainOptions options_;
  std::unique_ptr<Optimizer> optimizer_;
  Batch batch_;
};

INSTANTIATE_TEST_SUITE_P(, StepLaunches, testing::Values(Precision::fp32, Precision::bf16),
                         [](const auto& precision) { return to_string(precision.param); });

std::vector<std::string> names(const std::vector<Work>& all) {
  std::vector<std::string> result;
  for (const Work& work : all) result.push_back(work.name());
  return result;
}

std::string listed(const std::vector<Work>& all) {
  std::string text;
  for (const Work& work : all) text += work.name() + " " + std::to_string(work.bytes) + "\n";
  return text;
}

// Eight layers have up to two launches that add up the shares of a product: what is left to save.
TEST_P(StepLaunches, AreTheSameEveryStepAndNotMoreThanTheyWere) {
  step(0);  // the workspace grows
  const std::vector<Work> first = step(1);
  EXPECT_LE(first.size() + kLoaderLaunches, kLaunches) << listed(first);
  const int64_t before = allocator(Device::cuda).stats().system_allocations;
  const std::vector<Work> second = step(2);
  EXPECT_EQ(names(second), names(first));
  EXPECT_EQ(allocator(Device::cuda).stats().system_allocations, before) << "a later step asked the system for memory";
}

// The norm of all gradients, clipping and the update are two launches; one copy brings the norm to the host.
TEST_P(StepLaunches, ClipWithOneLaunchMore) {
  step(0);
  const size_t unclipped = step(1).size();
  optimizer_->set_max_norm(1.0f);
  const std::vector<Work> all = step(2);
  const std::vector<std::string> kernels = names(all);
  EXPECT_EQ(std::count(kernels.begin(), kernels.end(), "sum_of_squares_kernel"), 1);
  EXPECT_EQ(std::count(kernels.begin(), kernels.end(), "sgd_kernel"), 1);
  EXPECT_EQ(all.size(), unclipped + 2) << listed(all);
}

// Of the work that is no matrix product: no pass more than there are ops. How many sectors each of these kernels moves
// for the bytes of the buffers that it is given, benchmarks/kernel_counters counts and limits, in the checking build.
TEST_P(StepLaunches, OutsideTheProductsTouchWhatTheOpsNeed) {
  if (gpu::built_for_gpu()) GTEST_SKIP() << "bytes behind a launch's arguments are known in host builds";
  double touched = 0.0;
  step(0);  // weights are rounded for the first time
  const std::vector<Work> all = step(1);
  for (const Work& work : all) {
    const std::string name = work.name();
    const bool of_product = name.starts_with("product_kernel") || name.starts_with("sum_");
    if (work.kind == Work::Kind::kernel && !of_product) touched += static_cast<double>(work.bytes);
  }
  constexpr double kFloat = 4.0, kIndex = 1.0;
  const bool rounds = GetParam() == Precision::bf16;
  const double value = rounds ? 2.0 : kFloat;  // an activation's or its gradient's
  double needed = 0.0;
  for (const double side_and_channels : {55.0 * 55 * 64, 27.0 * 27 * 192, 13.0 * 13 * 256}) {
    needed += 2 * kBatch * side_and_channels * value;  // max-pool: x, dx
  }
  for (const double side_and_channels : {27.0 * 27 * 64, 13.0 * 13 * 192, 6.0 * 6 * 256}) {
    needed += 2 * kBatch * side_and_channels * (value + kIndex);  // y and index, dy and index
  }
  needed += 4 * kBatch * 9216.0 * value;    // the first dropout, both ways
  needed += 3 * kBatch * kClasses * value;  // loss: forward, backward
  // Parameters, gradients and momentum, and the rounded weights.
  for (const NamedTensor& p : model_->named_parameters()) {
    const bool rounded = rounds && p.tensor.rank() > 1;
    needed += static_cast<double>(p.tensor.size()) * (3 * kFloat + (rounded ? value : 0.0));
  }
  constexpr double kSectorsForBytes = 1.05;
  EXPECT_LE(kSectorsForBytes * touched, 1.2 * needed) << listed(all);
  EXPECT_GE(touched, 0.9 * needed) << listed(all);  // it was counted
}

}  // namespace
}  // namespace striate::models
