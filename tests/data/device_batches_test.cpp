// Batches for a GPU have the bits of those for a CPU, whatever their pictures go through.
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "data/datasets/memory_dataset.h"
#include "data/load_transformed.h"
#include "data/loader.h"
#include "data/transforms/channels.h"
#include "data/transforms/color.h"
#include "data/transforms/crop.h"
#include "data/transforms/geometry.h"
#include "data/transforms/local_contrast.h"
#include "data/transforms/rand_augment.h"
#include "data/transforms/random_erasing.h"
#include "data/transforms/resize.h"
#include "engine/nn/init.h"
#include "engine/nn/layers.h"
#include "engine/train/observer.h"
#include "engine/train/trainer.h"
#include "kernels/error.h"
#include "tests/data/picture_formula.h"
#include "tests/support/backend.h"

namespace striate {
namespace {

constexpr int64_t kPictures = 13;

/// Pictures of several sizes, all of kSide at least; or of one.
class Formulas final : public Dataset {
 public:
  static constexpr int kSide = 18;
  Formulas(int channels, bool one_size) : channels_(channels), one_size_(one_size) {}
  int64_t size() const override { return kPictures; }
  const std::vector<std::string>& class_names() const override { return names_; }
  int channels() const override { return channels_; }
  int label(int64_t index) const override { return static_cast<int>(index % 3); }
  void load(int64_t index, Image& image) const override {
    require<IoError>(index != 5 || !broken, "picture 5: broken");
    const int i = one_size_ ? 0 : static_cast<int>(index);
    image = test::formula_picture(kSide + 3 * i, kSide + 5 * (i % 3), channels_);
    for (uint8_t& level : image.pixels) level = static_cast<uint8_t>(level + 17 * index);
  }
  std::string describe(int64_t index) const override { return "picture " + std::to_string(index); }

  bool broken = false;

 private:
  int channels_;
  bool one_size_;
  std::vector<std::string> names_ = {"a", "b", "c"};
};

int within(Random& random, int low, int high) {
  return low + static_cast<int>(random.below(static_cast<uint64_t>(high - low + 1)));
}

/// One that keeps the size of a picture [height, width].
std::shared_ptr<const Transform> any_that_keeps_the_size(Random& random, int height, int width, int channels) {
  const auto strength = [&] { return random.chance(0.3f) ? 0.0f : 0.5f * random.uniform(); };
  switch (random.below(12)) {
    case 0:
    case 1:
      return std::make_shared<HorizontalFlip>();
    case 2:
      return std::make_shared<RandomCrop>(height, width, within(random, 0, 9));
    case 3:
    case 4:
      return std::make_shared<ColorJitter>(ColorJitter::Strengths{strength(), strength(), strength(), strength()});
    case 5:
      if (channels == 3) return std::make_shared<PcaColor>(PcaColor::Options{});
      return std::make_shared<HorizontalFlip>();
    case 6:
    case 7: {
      const auto fill = static_cast<RandomErasing::Fill>(random.below(3));
      return std::make_shared<RandomErasing>(RandomErasing::Options{.probability = 0.8, .fill = fill},
                                             std::array<uint8_t, 3>{120, 5, 250});
    }
    case 8:
      return std::make_shared<Rotation>(30.0, random.chance(0.5f));
    case 9:
      return std::make_shared<RandAugment>(2, within(random, 0, 30));
    case 10:
      return std::make_shared<LocalContrast>(1.5, 4.0);
    default:
      return std::make_shared<Resize>(height, width);
  }
}

/// Ends with pictures [height, width, channels].
Pipeline any_pipeline(Random& random, int height, int width, int channels, bool keeps_size) {
  Pipeline pipeline;
  if (random.chance(0.7f)) pipeline.add(std::make_shared<ConvertChannels>(channels));
  while (random.chance(0.3f)) {
    if (random.chance(0.5f)) {
      pipeline.add(std::make_shared<Pad>(within(random, 0, 4)));
    } else {
      pipeline.add(std::make_shared<HorizontalFlip>());
    }
  }
  if (!keeps_size || random.chance(0.5f)) {
    switch (random.below(4)) {
      case 0:
        pipeline.add(std::make_shared<RandomResizedCrop>(RandomResizedCrop::Options{.height = height, .width = width}));
        break;
      case 1:
        pipeline.add(std::make_shared<RandomCrop>(height, width, within(random, 0, 8)));
        break;
      case 2:
        pipeline.add(std::make_shared<CenterCrop>(height, width));
        break;
      default:
        pipeline.add(std::make_shared<Resize>(height, width));
    }
  } else {
    pipeline.add(std::make_shared<CenterCrop>(height, width));
  }
  pipeline.add(std::make_shared<ConvertChannels>(channels));
  for (int i = within(random, 0, 4); i > 0; --i) {
    pipeline.add(any_that_keeps_the_size(random, height, width, channels));
  }
  return pipeline;
}

class DeviceBatches : public testing::Test {
 protected:
  void SetUp() override { test::skip_unless_runnable(test::Backend::cuda); }

  SampleSet set(const Pipeline& pipeline, int channels, bool one_size = false, bool broken = false) {
    auto dataset = std::make_shared<Formulas>(channels, one_size);
    dataset->broken = broken;
    SampleSet samples{std::move(dataset), std::vector<int64_t>(kPictures), pipeline};
    std::iota(samples.indices.begin(), samples.indices.end(), int64_t{0});
    return samples;
  }

  /// Two epochs on both devices.
  void expect_same(const SampleSet& samples, const Normalization& normalization, LoaderOptions options) {
    Loader on_cpu(samples, normalization, options);
    options.device = Device::cuda;
    Loader on_gpu(samples, normalization, options);
    for (int64_t epoch = 0; epoch < 2; ++epoch) {
      on_cpu.start(epoch);
      on_gpu.start(epoch);
      Batch expected, found;
      while (on_cpu.next(expected)) {
        ASSERT_TRUE(on_gpu.next(found));
        ASSERT_EQ(found.images.device(), Device::cuda);
        ASSERT_EQ(found.images.shape(), expected.images.shape());
        ASSERT_EQ(found.images.to_vector<float>(), expected.images.to_vector<float>())
            << "batch " << expected.index << " of epoch " << epoch;
        EXPECT_EQ(found.labels.to_vector<int32_t>(), expected.labels.to_vector<int32_t>());
        EXPECT_EQ(found.index, expected.index);
        EXPECT_EQ(found.places, expected.places);
        EXPECT_EQ(found.share, expected.share);
        EXPECT_EQ(found.partner_labels.defined(), expected.partner_labels.defined());
      }
      EXPECT_FALSE(on_gpu.next(found));
    }
    EXPECT_EQ(on_gpu.broken(), on_cpu.broken());
  }

  static Normalization plain(int channels) {
    Normalization normalization{{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}};
    normalization.mean.resize(static_cast<size_t>(channels));
    normalization.std.resize(static_cast<size_t>(channels));
    return normalization;
  }
};

TEST_F(DeviceBatches, AnyPipelineGivesTheBitsOfTheCpu) {
  Random random(3, RandomPurpose::test);
  for (int i = 0; i < 120; ++i) {
    SCOPED_TRACE("pipeline " + std::to_string(i));
    const bool one_size = random.chance(0.4f);
    const bool whole = one_size && random.chance(0.5f);
    const int least = whole ? Formulas::kSide : 5;
    const int height = within(random, least, Formulas::kSide), width = within(random, least, Formulas::kSide);
    const int channels = random.chance(0.3f) ? 1 : 3, own = random.chance(0.3f) ? 1 : 3;
    LoaderOptions options{.batch_size = within(random, 1, 6), .height = height, .width = width, .channels = channels};
    options.workers = within(random, 0, 2);
    options.shuffle = random.chance(0.5f);
    options.seed = static_cast<uint64_t>(i);
    options.skip_broken = random.chance(0.3f);
    options.may_reduce = random.chance(0.5f);
    if (random.chance(0.2f)) options.mix.mixup = 0.4;
    if (random.chance(0.2f)) options.mix.cutmix = 1.0;
    Normalization normalization = plain(channels);
    if (random.chance(0.3f)) {
      auto mean = std::make_shared<MeanImage>(MeanImage{height, width, channels, {}});
      for (int p = 0; p < height * width * channels; ++p) mean->values.push_back(random.uniform());
      normalization.mean_image = mean;
    }
    expect_same(set(any_pipeline(random, height, width, channels, one_size), own, one_size, options.skip_broken),
                normalization, options);
    if (HasFatalFailure()) return;
  }
}

// A scale of 44 bits does not give what the division does for this one: it is looked up.
TEST_F(DeviceBatches, NormalizationThatIsLookedUp) {
  Random random(1, RandomPurpose::test);
  Normalization normalization{{0.3}, {0.3}};
  for (int tries = 0; tries < 100000 && PixelNormalizer(normalization).scales(); ++tries) {
    normalization = {{random.uniform()}, {0.05 + random.uniform()}};
  }
  ASSERT_FALSE(PixelNormalizer(normalization).scales());
  Pipeline pipeline;
  pipeline.add(std::make_shared<RandomCrop>(18, 18, 3));
  LoaderOptions options{.batch_size = 4, .height = 18, .width = 18, .channels = 1};
  expect_same(set(pipeline, 1, true), normalization, options);
}

TEST_F(DeviceBatches, AsBfloat16TheyAreRoundedOnce) {
  Pipeline pipeline;
  pipeline.add(std::make_shared<RandomCrop>(18, 18, 3));
  LoaderOptions options{.batch_size = 5, .height = 18, .width = 18, .channels = 3};
  options.mix.mixup = 0.4;
  Loader floats(set(pipeline, 3, true), plain(3), options);
  options.dtype = DType::bfloat16;
  EXPECT_THROW(Loader(set(pipeline, 3, true), plain(3), options), ConfigError);
  options.device = Device::cuda;
  Loader rounded(set(pipeline, 3, true), plain(3), options);
  floats.start(0);
  rounded.start(0);
  Batch expected, found;
  while (floats.next(expected)) {
    ASSERT_TRUE(rounded.next(found));
    ASSERT_EQ(found.images.dtype(), DType::bfloat16);
    EXPECT_EQ(found.images.to_vector<float>(), expected.images.to(DType::bfloat16).to_vector<float>());
  }
}

TEST_F(DeviceBatches, StacksOfCropsWithAMeanImage) {
  Normalization normalization = plain(3);
  auto mean = std::make_shared<MeanImage>(MeanImage{9, 7, 3, {}});
  for (int p = 0; p < 9 * 7 * 3; ++p) mean->values.push_back(static_cast<float>(p) / 200.0f);
  normalization.mean_image = mean;
  Pipeline pipeline;
  pipeline.add(std::make_shared<TenCrop>(9, 7));
  LoaderOptions options{.batch_size = 3, .height = 90, .width = 7, .channels = 3};
  expect_same(set(pipeline, 3), normalization, options);
}

TEST(DeviceShare, IsWhatIsLeftBehindTheLastTransformThatTakesPixels) {
  const auto jitter = std::make_shared<ColorJitter>(ColorJitter::Strengths{0.1f, 0.1f, 0.0f, 0.1f});
  const auto pca = std::make_shared<PcaColor>(PcaColor::Options{});
  const auto erasing = std::make_shared<RandomErasing>(RandomErasing::Options{});
  const auto flip = std::make_shared<HorizontalFlip>();
  const auto crop = std::make_shared<CenterCrop>(4, 4);
  const auto rotation = std::make_shared<Rotation>(10.0, false);
  const auto share = [](const std::vector<std::shared_ptr<const Transform>>& transforms) {
    Pipeline pipeline;
    for (const auto& transform : transforms) pipeline.add(transform);
    const DeviceShare s = device_share(pipeline);
    return std::array<size_t, 4>{s.geometry, s.levels, static_cast<size_t>(s.steps), s.has_contrast ? 1u : 0u};
  };
  using Share = std::array<size_t, 4>;
  EXPECT_EQ(share({}), (Share{0, 0, 0, 0}));
  EXPECT_EQ(share({crop, flip, jitter, pca, erasing}), (Share{0, 2, 5, 1}));
  EXPECT_EQ(share({crop, rotation, flip, pca}), (Share{2, 3, 1, 0}));
  EXPECT_EQ(share({jitter, crop, flip}), (Share{1, 3, 0, 0}));
  EXPECT_EQ(share({flip, jitter, jitter}), (Share{2, 2, 3, 1}));  // one mean a picture
  EXPECT_EQ(share({pca, rotation}), (Share{2, 2, 0, 0}));
  EXPECT_EQ(share(std::vector<std::shared_ptr<const Transform>>(10, pca)), (Share{2, 2, 8, 0}));
}

/// The losses of a run's steps.
class Losses final : public TrainObserver {
 public:
  void step_done(const StepRecord& record) override { losses.push_back(record.loss); }
  void epoch_done(const EpochRecord& record) override { losses.push_back(record.val_loss); }
  std::vector<double> losses;
};

TEST_F(DeviceBatches, ATrainingRunHasTheSameLosses) {
  Pipeline pipeline;
  pipeline.add(std::make_shared<RandomResizedCrop>(RandomResizedCrop::Options{.height = 8, .width = 8}));
  pipeline.add(std::make_shared<HorizontalFlip>());
  pipeline.add(std::make_shared<ColorJitter>(ColorJitter::Strengths{0.4f, 0.4f, 0.4f, 0.1f}));
  pipeline.add(std::make_shared<RandomErasing>(RandomErasing::Options{}));
  Pipeline evaluated;
  evaluated.add(std::make_shared<Resize>(8, 8));
  const auto run = [&](Device feed) {
    LoaderOptions options{.batch_size = 4, .height = 8, .width = 8, .channels = 3, .workers = 1};
    options.device = feed;
    Loader val(set(evaluated, 3), plain(3), options);
    options.shuffle = true;
    options.mix.mixup = 0.5;
    Loader train(set(pipeline, 3), plain(3), options);
    nn::Sequential model;
    model.add("flatten", std::make_shared<nn::Flatten>());
    model.add("linear", std::make_shared<nn::Linear>(8 * 8 * 3, 3));
    nn::initialize(model, {}, 1);
    model.to(Device::cuda);
    TrainOptions training;
    training.epochs = 3;
    training.learning_rate = 0.05;
    training.handle_signals = false;
    Trainer trainer(model, {&train, &val, nullptr}, training);
    Losses losses;
    trainer.add_observer(losses);
    trainer.run();
    return losses.losses;
  };
  const auto expected = run(Device::cpu);
  EXPECT_EQ(expected.size(), 3u * 4 + 4);
  EXPECT_EQ(run(Device::cuda), expected);
}

}  // namespace
}  // namespace striate
