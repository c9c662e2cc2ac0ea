#include "data/batch_mixer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/open.h"
#include "kernels/error.h"
#include "tests/support/error.h"

namespace striate {
namespace {

TEST(Beta, HasItsMoments) {
  for (const double alpha : {0.1, 0.2, 1.0, 4.0}) {
    Random random(1, RandomPurpose::test, static_cast<uint64_t>(alpha * 10));
    const int draws = 40000;
    double sum = 0, squares = 0, fourth = 0;
    for (int i = 0; i < draws; ++i) {
      const double x = draw_beta(random, alpha);
      ASSERT_GE(x, 0.0);
      ASSERT_LE(x, 1.0);
      sum += x;
      squares += (x - 0.5) * (x - 0.5);
      fourth += std::pow(x - 0.5, 4);
    }
    // Variance 1/(4(2α + 1)), fourth central moment 3/(16(2α + 1)(2α + 3)); five standard errors or more.
    EXPECT_NEAR(sum / draws, 0.5, 0.0125) << alpha;
    EXPECT_NEAR(squares / draws, 0.25 / (2 * alpha + 1), 0.002) << alpha;
    EXPECT_NEAR(fourth / draws, 3.0 / (16 * (2 * alpha + 1) * (2 * alpha + 3)), 0.0006) << alpha;
  }
}

TEST(Beta, OfOneIsUniformAndOfNearlyNothingAnEnd) {
  Random random(2, RandomPurpose::test);
  std::array<int, 10> tenths{};
  for (int i = 0; i < 20000; ++i) ++tenths[std::min<size_t>(9, static_cast<size_t>(draw_beta(random, 1.0) * 10))];
  for (const int count : tenths) EXPECT_NEAR(count, 2000, 5 * std::sqrt(2000 * 0.9));
  int ones = 0;
  for (int i = 0; i < 1000; ++i) {
    const double x = draw_beta(random, 1e-4);
    EXPECT_TRUE(x < 1e-6 || x > 1 - 1e-6) << x;
    ones += x > 0.5;
  }
  EXPECT_NEAR(ones, 500, 80);
}

TEST(BatchMix, ACutsShareIsWhatItLeaves) {
  double touched = 0, share = 0;
  for (int64_t batch = 0; batch < 2000; ++batch) {
    const BatchMix mix = draw_batch_mix({.cutmix = 1.0}, 7, 3, batch, 30, 50);
    EXPECT_TRUE(mix.is_cut);
    EXPECT_TRUE(0 <= mix.top && mix.top <= mix.bottom && mix.bottom <= 30);
    EXPECT_TRUE(0 <= mix.left && mix.left <= mix.right && mix.right <= 50);
    const double cut = (mix.bottom - mix.top) * (mix.right - mix.left);
    EXPECT_FLOAT_EQ(mix.share, static_cast<float>(1.0 - cut / 1500.0));
    touched += mix.top == 0;
    share += mix.share;
  }
  EXPECT_GT(touched, 300) << "clipped at the upper edge";
  // E[1 − λ] = 1/2 unclipped. A side of s of the picture's about a uniform point keeps s − s²/4 of it on average; with
  // s² uniform E[(s − s²/4)²] = 1/2 − 1/5 + 1/48 = 0.321. Whole pixels are cut down, a little less.
  EXPECT_NEAR(share / 2000, 0.69, 0.02);
}

TEST(BatchMix, HangsOnSeedEpochAndBatchAndBothTakeTurns) {
  std::set<float> shares;
  int cuts = 0;
  for (const uint64_t seed : {1, 2}) {
    for (int64_t epoch = 0; epoch < 20; ++epoch) {
      for (int64_t batch = 0; batch < 20; ++batch) {
        const BatchMix mix = draw_batch_mix({.mixup = 1.0, .cutmix = 1.0}, seed, epoch, batch, 224, 224);
        EXPECT_EQ(mix.share, draw_batch_mix({.mixup = 1.0, .cutmix = 1.0}, seed, epoch, batch, 224, 224).share);
        cuts += mix.is_cut;
        shares.insert(mix.share);
      }
    }
  }
  EXPECT_NEAR(cuts, 400, 70);
  EXPECT_GT(shares.size(), 700u) << "a few cuts are as large as others";
}

TEST(MixImages, AreWeightedMeansOfNeighbours) {
  std::vector<float> images = {1, 2, 10, 20, 100, 200};  // three of 1×2×1
  const std::vector<float> last = {100, 200};
  mix_images(images.data(), 3, 1, 2, 1, {.share = 0.75f}, last.data());
  EXPECT_EQ(images, (std::vector<float>{0.75f + 25, 1.5f + 50, 7.5f + 0.25f, 15 + 0.5f, 75 + 2.5f, 150 + 5}));
}

TEST(MixImages, OrHoldARectangleOfTheNeighbour) {
  std::vector<float> images(2 * 3 * 4 * 2);
  std::iota(images.begin(), images.end(), 0.0f);
  const std::vector<float> before = images;
  mix_images(images.data(), 2, 3, 4, 2, {.share = 0.5f, .is_cut = true, .top = 1, .left = 1, .bottom = 3, .right = 3},
             before.data() + 24);
  for (int n = 0; n < 2; ++n) {
    for (int i = 0; i < 24; ++i) {
      const int y = i / 8, x = i / 2 % 4;
      const bool inside = y >= 1 && x >= 1 && x < 3;
      EXPECT_EQ(images[24 * n + i], before[24 * (inside ? 1 - n : n) + i]) << n << " " << y << " " << x;
    }
  }
}

/// Pictures of 4×4×3 that all hold the picture's index; label index mod 10. Those in `broken` cannot be read.
class Numbered final : public Dataset {
 public:
  explicit Numbered(std::set<int64_t> broken) : broken_(std::move(broken)) {}
  int64_t size() const override { return 41; }
  const std::vector<std::string>& class_names() const override { return names_; }
  int channels() const override { return 3; }
  int label(int64_t index) const override { return static_cast<int>(index % 10); }
  std::string describe(int64_t index) const override { return "picture " + std::to_string(index); }
  void load(int64_t index, Image& image) const override {
    require<IoError>(broken_.count(index) == 0, "picture {}: broken", index);
    image.reshape(4, 4, 3);
    std::fill(image.pixels.begin(), image.pixels.end(), static_cast<uint8_t>(index));
  }

 private:
  std::set<int64_t> broken_;
  std::vector<std::string> names_ = std::vector<std::string>(10, "name");
};

std::unique_ptr<Loader> numbered(const MixOptions& mix, int workers, std::set<int64_t> broken = {}) {
  SampleSet set{std::make_shared<Numbered>(std::move(broken)), std::vector<int64_t>(41), {}};
  std::iota(set.indices.begin(), set.indices.end(), int64_t{0});
  LoaderOptions options{.batch_size = 8, .height = 4, .width = 4, .channels = 3, .workers = workers, .shuffle = true};
  options.skip_broken = true;
  options.seed = 5;
  options.mix = mix;
  return std::make_unique<Loader>(set, Normalization{{0, 0, 0}, {1 / 255.0, 1 / 255.0, 1 / 255.0}}, options);
}

class MixedLoader : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Workers, MixedLoader, testing::Values(0, 1, 3),
                         [](const auto& workers) { return "workers_" + std::to_string(workers.param); });

TEST_P(MixedLoader, MixesWhatItWouldHaveGiven) {
  for (const MixOptions& options : {MixOptions{.mixup = 0.5}, MixOptions{.cutmix = 1.0}}) {
    for (const std::set<int64_t>& broken : {std::set<int64_t>{}, std::set<int64_t>{3, 17, 18, 40}}) {
      const auto plain = numbered({}, GetParam(), broken), mixed = numbered(options, GetParam(), broken);
      for (const int64_t first : {0, 2}) {  // as a resumed run begins
        plain->start(1, first);
        mixed->start(1, first);
        Batch expected, found;
        int batches = 0;
        while (plain->next(expected)) {
          ASSERT_TRUE(mixed->next(found));
          ++batches;
          EXPECT_FALSE(expected.partner_labels.defined());
          std::vector<float> images = expected.images.to_vector<float>();
          std::vector<int32_t> labels = expected.labels.to_vector<int32_t>();
          EXPECT_EQ(found.labels.to_vector<int32_t>(), labels);
          const int64_t rows = expected.labels.size();
          if (rows == 1) {
            EXPECT_FALSE(found.partner_labels.defined());
            EXPECT_EQ(found.images.to_vector<float>(), images);
            continue;
          }
          const BatchMix mix = draw_batch_mix(options, 5, 1, found.index, 4, 4);
          EXPECT_EQ(found.share, mix.share);
          const std::vector<float> last(images.end() - 4 * 4 * 3, images.end());
          mix_images(images.data(), rows, 4, 4, 3, mix, last.data());
          EXPECT_EQ(found.images.to_vector<float>(), images);
          std::rotate(labels.begin(), labels.end() - 1, labels.end());
          EXPECT_EQ(found.partner_labels.to_vector<int32_t>(), labels);
        }
        EXPECT_FALSE(mixed->next(found));
        EXPECT_EQ(batches, 6 - first - (broken.count(plain->order().back())));
      }
    }
  }
}

TEST(MixedLoader, OnlyTrainingBatchesAreMixed) {
  const std::string text =
      "{dataset: synthetic, synthetic: {train_images: 40, test_images: 8}, image_size: 16, mixup: 0.2}";
  const Data data = open_data(read_data_config(ConfigReader::parse(text)), {.batch_size = 8});
  const auto is_mixed = [](BatchSource& source) {
    source.start(0);
    Batch batch;
    EXPECT_TRUE(source.next(batch));
    return batch.partner_labels.defined();
  };
  EXPECT_TRUE(is_mixed(*data.train));
  EXPECT_FALSE(is_mixed(*data.val));
  EXPECT_FALSE(is_mixed(*data.evaluation_loader("train", 8)));
}

TEST(MixedLoader, RefusesWhatCannotBeMixed) {
  const auto read = [](const std::string& keys) {
    read_data_config(ConfigReader::parse("{dataset: synthetic, image_size: 16, " + keys + "}"));
  };
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { read("mixup: -0.2"); }, {"mixup", "-0.2"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { read("cutmix: .nan"); }, {"cutmix"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { read("cutmx: 1"); }, {"'cutmix'"}));
}

}  // namespace
}  // namespace striate
