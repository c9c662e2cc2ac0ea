#include "tools/memory_rehearsal.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/allocator.h"
#include "engine/train/trainer.h"
#include "models/registry.h"

namespace striate::test {
namespace {

NetworkSource source_of(const std::string& model, const std::string& device, const std::vector<std::string>& more) {
  NetworkFlags flags;
  flags.model = model;
  flags.input = "32,32,3";
  flags.classes = 10;
  CommonFlags common;
  common.device = device;
  common.threads = "2";
  common.set = more;
  return flags.resolve(common, NetworkFlags::Data::not_needed);
}

class OneBatch : public BatchSource {
 public:
  explicit OneBatch(int64_t images) {
    batch_.images = Tensor::full({images, 32, 32, 3}, 0.5f, Device::cpu);
    batch_.labels = Tensor::zeros({images}, DType::int32, Device::cpu);
  }
  int64_t samples() const override { return 3 * batch_size(); }
  int64_t batch_size() const override { return batch_.labels.size(); }
  void start(int64_t, int64_t first_batch) override { batch_.index = first_batch; }
  bool next(Batch& batch) override {
    batch = batch_;
    return batch_.index++ < 3;
  }

 private:
  Batch batch_;
};

struct Case {
  const char* model;
  const char* device;
  int64_t batch;
};

class MemoryRehearsalOn : public testing::TestWithParam<Case> {};

// What the allocator counts: the most in use, in size classes.
TEST_P(MemoryRehearsalOn, PredictsWhatTheAllocatorCounts) {
  const auto& [model, device, batch] = GetParam();
  const NetworkSource source = source_of(model, device, {"model.width=0.25"});
  const TrainingMemory predicted = MemoryRehearsal(source, batch).predict(batch);
  Allocator& counted = allocator(source.config.device);
  counted.trim();
  const auto before = counted.stats();
  {
    const auto network = models::build_model(source.config.model, {32, 32, 3}, 10, 1);
    network->to(source.config.device);
    OneBatch images(batch);
    TrainOptions options = source.config.train;
    options.epochs = 1;
    options.handle_signals = false;
    counted.reset_peak();
    Trainer(*network, {&images, nullptr, nullptr}, options).run();
  }
  const auto after = counted.stats();
  const double measured = static_cast<double>(after.peak - before.in_use);
  EXPECT_NEAR(static_cast<double>(predicted.tensors) / measured, 1.0, 0.1)
      << predicted.tensors << " predicted, " << measured << " counted";
  const double held = static_cast<double>(after.reserved - before.reserved);
  EXPECT_NEAR(static_cast<double>(predicted.tensors + predicted.kept) / held, 1.0, 0.1)
      << predicted.tensors + predicted.kept << " predicted, " << held << " counted";
  EXPECT_GT(predicted.workspace, 0);
}

INSTANTIATE_TEST_SUITE_P(Networks, MemoryRehearsalOn,
                         testing::Values(Case{"alexnet_mini", "cpu", 3}, Case{"alexnet_mini", "cpu", 64},
                                         Case{"resnet18", "cpu", 40}, Case{"alexnet_cifar", "cpu", 96},
                                         Case{"lenet", "cpu", 64}, Case{"alexnet_mini", "cuda", 3}),
                         [](const auto& test) {
                           return fmt::format("{}_{}_{}", test.param.model, test.param.device, test.param.batch);
                         });

TEST(MemoryRehearsal, KnowsOptimizerStateAndGradients) {
  const auto total = [](const std::vector<std::string>& more) {
    return MemoryRehearsal(source_of("alexnet_cifar", "cpu", more), 2).predict(2).total();
  };
  const double weights = 4.0 * 23'272'266;
  const auto sgd = static_cast<double>(total({"train.optimizer={name: sgd}"}));
  EXPECT_NEAR(static_cast<double>(total({"train.optimizer={name: adam}"})) - sgd, weights, 0.05 * weights)
      << "a moment more than the momentum";
  // Gradients of linear layers, most of the weights, are written down only where they are clipped.
  EXPECT_GT(static_cast<double>(total({"train.optimizer={name: sgd}", "train.clip_grad_norm=1"})) - sgd, 0.8 * weights);
}

TEST(PretendedAllocator, CountsAsTheOthersDo) {
  const auto pretended = make_pretended_allocator();
  void* a = pretended->allocate(1000);
  void* b = pretended->allocate(1000);
  EXPECT_NE(a, b);
  pretended->deallocate(a, 1000);
  EXPECT_EQ(pretended->allocate(1000), a) << "reused";
  const AllocatorStats stats = pretended->stats();
  EXPECT_EQ(stats.reserved, stats.in_use);
  EXPECT_GE(stats.in_use, 2000u);
  EXPECT_EQ(stats.system_allocations, 2);
}

}  // namespace
}  // namespace striate::test
