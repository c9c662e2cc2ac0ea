// Training on images that are mixed from two: soft labels as two cross-entropies on the same logits.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "engine/train/batch_loss.h"
#include "engine/train/learning_rate_finder.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"
#include "tests/engine/train_toy.h"
#include "tests/support/compare.h"

namespace striate {
namespace {

using test::all_equal;
using test::all_weights;
using test::quick_options;
using test::random_tensor;
using test::toy_network;
using test::ToySource;

/// ToySource with every batch mixed, the shares hanging on the batch.
class MixedSource : public BatchSource {
 public:
  explicit MixedSource(float share = -1.0f) : share_(share) {}
  int64_t samples() const override { return toys_.samples(); }
  int64_t batch_size() const override { return toys_.batch_size(); }
  void start(int64_t epoch, int64_t first_batch) override { toys_.start(epoch, first_batch); }
  bool next(Batch& batch) override {
    if (!toys_.next(batch)) return false;
    const std::vector<float> images = batch.images.to_vector<float>();
    const std::vector<int32_t> labels = batch.labels.to_vector<int32_t>();
    batch.share = share_ >= 0 ? share_ : 0.1f * static_cast<float>(1 + batch.index % 9);
    const size_t rows = labels.size();
    std::vector<float> mixed(images.size());
    std::vector<int32_t> partners(rows);
    for (size_t i = 0; i < rows; ++i) {
      const size_t partner = (i + rows - 1) % rows;
      partners[i] = labels[partner];
      for (size_t p = 0; p < 16; ++p) {
        mixed[16 * i + p] = batch.share * images[16 * i + p] + (1 - batch.share) * images[16 * partner + p];
      }
    }
    batch.images = Tensor::from(mixed, batch.images.shape());
    batch.partner_labels = Tensor::from(partners, batch.labels.shape());
    return true;
  }

 private:
  ToySource toys_{44, 8, 1};
  float share_;
};

class MixedLabels : public test::DeviceTest {};
INSTANTIATE_TEST_SUITE_P(Devices, MixedLabels, testing::ValuesIn(test::devices()), test::device_name);

TEST_P(MixedLabels, LossAndGradientAreTheSoftLabels) {
  constexpr int64_t kRows = 5, kClasses = 7;
  for (const float smoothing : {0.0f, 0.1f}) {
    for (const float share : {1.0f, 0.7f, 0.25f}) {
      Tensor logits = random_tensor({kRows, kClasses}, 3, GetParam(), -2.0f, 2.0f);
      logits.set_requires_grad(true);
      const std::vector<int32_t> own = {0, 3, 6, 2, 2}, other = {2, 0, 3, 6, 2};
      Batch batch;
      batch.labels = Tensor::from(own, {kRows});
      batch.partner_labels = Tensor::from(other, {kRows});
      batch.share = share;
      const BatchLoss result = batch_loss(logits, batch, smoothing);
      result.loss.backward();

      const std::vector<float> z = logits.to_vector<float>(), found = logits.grad().to_vector<float>();
      const std::vector<int32_t> ranks = result.rank.to_vector<int32_t>();
      double loss = 0;
      for (int64_t n = 0; n < kRows; ++n) {
        const float* row = z.data() + n * kClasses;
        double sum = 0;
        for (int64_t k = 0; k < kClasses; ++k) sum += std::exp(static_cast<double>(row[k]));
        const double lambda = static_cast<double>(share);
        const int32_t counted = share >= 0.5f ? own[n] : other[n];
        int32_t rank = 0;
        for (int64_t k = 0; k < kClasses; ++k) {
          const double soft = lambda * (own[n] == k) + (1 - lambda) * (other[n] == k);
          const double target = (1 - static_cast<double>(smoothing)) * soft + static_cast<double>(smoothing) / kClasses;
          const double probability = std::exp(static_cast<double>(row[k])) / sum;
          loss -= target * std::log(probability) / kRows;
          EXPECT_NEAR(found[n * kClasses + k], (probability - target) / kRows, 1e-6);
          rank += row[k] > row[counted];
        }
        EXPECT_EQ(ranks[n], rank);
      }
      EXPECT_NEAR(result.loss.item(), loss, 1e-5);
    }
  }
}

TEST(MixedLabelsTraining, LearnsAndCountsTheLargerShare) {
  auto network = toy_network(1, 0.0f);
  MixedSource train(0.8f);
  ToySource val(40, 8, 2);
  TrainOptions options = quick_options();
  options.epochs = 40;
  Trainer trainer(*network, {&train, &val, nullptr}, options);
  const TrainResult result = trainer.run();
  EXPECT_GT(result.last.val_top1, 0.8);
  EXPECT_GT(result.last.train_top1, 0.7);
  // The entropy of (0.8, 0.2) is 0.5: no network gets below it where the two classes differ.
  EXPECT_GT(result.last.train_loss, 0.3);
}

/// A whole run's weights.
std::vector<float> trained(const TrainOptions& options, BatchSource& source, Device device) {
  auto network = toy_network();
  network->to(device);
  Trainer trainer(*network, {&source, nullptr, nullptr}, options);
  trainer.run();
  return all_weights(*network);
}

TEST(MixedLabelsTraining, EveryWayOfSteppingAgrees) {
  TrainOptions options = quick_options();
  options.label_smoothing = 0.1;
  MixedSource source;
  // On the reference device no update is taken inside the backward.
  const std::vector<float> reference = trained(options, source, Device::reference);
  const std::vector<float> cpu = trained(options, source, Device::cpu);
  ASSERT_EQ(reference.size(), cpu.size());
  for (size_t i = 0; i < cpu.size(); ++i) EXPECT_NEAR(cpu[i], reference[i], 2e-4) << i;
  EXPECT_TRUE(all_equal(trained(options, source, Device::cpu), cpu));

  options.accumulate = 2;
  options.clip_grad_norm = 0.5;
  const std::vector<float> accumulated = trained(options, source, Device::cpu);
  const std::vector<float> expected = trained(options, source, Device::reference);
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(accumulated[i], expected[i], 2e-4) << i;
}

TEST(MixedLabelsTraining, RateFinderTakesThem) {
  auto network = toy_network();
  MixedSource source;
  const RateSearch search =
      find_learning_rate(*network, source, quick_options(), {.steps = 20, .handle_signals = false});
  EXPECT_GT(search.trials.size(), 10u);
}

}  // namespace
}  // namespace striate
