#include "data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <set>
#include <string>
#include <thread>

#include "data/datasets/memory_dataset.h"
#include "data/datasets/synthetic.h"
#include "data/sampler.h"
#include "data/transforms/crop.h"
#include "data/transforms/geometry.h"
#include "data/transforms/resize.h"
#include "engine/allocator.h"
#include "kernels/error.h"
#include "tests/support/backend.h"
#include "tests/support/error.h"

namespace striate {
namespace {

const Normalization kPlain{{0.0}, {1.0 / 255.0}};  // leaves levels as they are

/// Grey pictures of 2×2 pixels that all hold the picture's index; label index mod 10. Those in `broken` cannot be read.
class Numbered final : public Dataset {
 public:
  explicit Numbered(int64_t size, std::set<int64_t> broken = {}) : size_(size), broken_(std::move(broken)) {}
  int64_t size() const override { return size_; }
  const std::vector<std::string>& class_names() const override { return names_; }
  int channels() const override { return 1; }
  int label(int64_t index) const override { return static_cast<int>(index % 10); }
  std::string describe(int64_t index) const override { return "picture " + std::to_string(index); }
  void load(int64_t index, Image& image) const override {
    require<IoError>(broken_.count(index) == 0, "picture {}: broken", index);
    // The first of a batch are the slowest: they must not come out later for it.
    if (index % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(200));
    image.reshape(2, 2, 1);
    std::fill(image.pixels.begin(), image.pixels.end(), static_cast<uint8_t>(index));
  }

 private:
  int64_t size_;
  std::set<int64_t> broken_;
  std::vector<std::string> names_ = std::vector<std::string>(10, "name");
};

SampleSet numbered(int64_t size, std::set<int64_t> broken = {}) {
  SampleSet set{
      std::make_shared<Numbered>(size, std::move(broken)), std::vector<int64_t>(static_cast<size_t>(size)), {}};
  std::iota(set.indices.begin(), set.indices.end(), int64_t{0});
  return set;
}

/// How batches are made, and where they are wanted.
struct Way {
  Way(int number_of_workers, Device wanted_on = Device::cpu) : workers(number_of_workers), device(wanted_on) {}
  int workers;
  Device device;
};

LoaderOptions small(const Way& way, int64_t batch_size = 16) {
  LoaderOptions options{.batch_size = batch_size, .height = 2, .width = 2, .channels = 1, .workers = way.workers};
  options.seed = 3;
  options.device = way.device;
  return options;
}

struct Read {
  std::vector<float> images;
  std::vector<int32_t> labels;
  std::vector<int64_t> batch_sizes, batch_indices, places;
  bool operator==(const Read&) const = default;
};

void read_rest(Loader& loader, Read& read, int64_t most = 1 << 30) {
  Batch batch;
  while (most-- > 0 && loader.next(batch)) {
    const auto images = batch.images.to_vector<float>();
    const auto labels = batch.labels.to_vector<int32_t>();
    read.images.insert(read.images.end(), images.begin(), images.end());
    read.labels.insert(read.labels.end(), labels.begin(), labels.end());
    read.batch_sizes.push_back(batch.images.dim(0));
    read.batch_indices.push_back(batch.index);
    read.places.insert(read.places.end(), batch.places.begin(), batch.places.end());
  }
}

Read read_epoch(Loader& loader, int64_t epoch, int64_t first_batch = 0) {
  Read read;
  loader.start(epoch, first_batch);
  read_rest(loader, read);
  return read;
}

class LoaderWorkers : public ::testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (GetParam().device == Device::cuda) test::skip_unless_runnable(test::Backend::cuda);
  }
};
INSTANTIATE_TEST_SUITE_P(Workers, LoaderWorkers,
                         ::testing::Values(0, 1, 2, 4, Way(0, Device::cuda), Way(1, Device::cuda),
                                           Way(3, Device::cuda)),
                         [](const auto& way) {
                           return "workers_" + std::to_string(way.param.workers) + "_" + to_string(way.param.device);
                         });

TEST_P(LoaderWorkers, PicturesComeInOrderWithTheirLabels) {
  Loader loader(numbered(50), kPlain, small(GetParam()));
  EXPECT_EQ(loader.batches(), 4);
  const Read read = read_epoch(loader, 0);
  EXPECT_EQ(read.batch_sizes, (std::vector<int64_t>{16, 16, 16, 2}));
  EXPECT_EQ(read.batch_indices, (std::vector<int64_t>{0, 1, 2, 3}));
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(read.labels[i], i % 10);
    for (int p = 0; p < 4; ++p) EXPECT_FLOAT_EQ(read.images[4 * i + p], static_cast<float>(i));
  }
}

TEST_P(LoaderWorkers, ShuffledEpochsFollowTheSampler) {
  auto options = small(GetParam());
  options.shuffle = true;
  Loader loader(numbered(50), kPlain, options);
  for (const int64_t epoch : {0, 1, 0}) {
    const Read read = read_epoch(loader, epoch);
    const auto order = epoch_order(50, true, 3, epoch);
    EXPECT_EQ(loader.order(), order);
    for (int i = 0; i < 50; ++i) EXPECT_FLOAT_EQ(read.images[4 * i], static_cast<float>(order[i]));
  }
}

/// Shuffled, augmented synthetic pictures.
std::unique_ptr<Loader> augmented(const Way& way) {
  SampleSet set{open_synthetic({.height = 16, .width = 16, .train_images = 70}).train, std::vector<int64_t>(70), {}};
  std::iota(set.indices.begin(), set.indices.end(), int64_t{0});
  set.transforms.add(std::make_shared<Resize>(20, 20));
  set.transforms.add(std::make_shared<RandomCrop>(18, 18, 2));
  set.transforms.add(std::make_shared<HorizontalFlip>());
  LoaderOptions options{.batch_size = 16, .height = 18, .width = 18, .channels = 3, .workers = way.workers};
  options.device = way.device;
  options.shuffle = true;
  options.seed = 11;
  return std::make_unique<Loader>(set, Normalization{{0.5, 0.5, 0.5}, {0.25, 0.25, 0.25}}, options);
}

TEST_P(LoaderWorkers, WorkersChangeNoBit) {
  const auto one = augmented(1), some = augmented(GetParam());
  for (const int64_t epoch : {0, 1}) EXPECT_EQ(read_epoch(*one, epoch), read_epoch(*some, epoch));
  EXPECT_NE(read_epoch(*one, 0).images, read_epoch(*some, 1).images);
}

TEST_P(LoaderWorkers, AResumedEpochIsTheRestOfTheWholeOne) {
  const auto whole = augmented(2), resumed = augmented(GetParam());
  Read first;
  whole->start(3);
  read_rest(*whole, first, 2);
  const Read expected = [&] {
    Read rest;
    read_rest(*whole, rest);
    return rest;
  }();
  ASSERT_EQ(expected.batch_indices, (std::vector<int64_t>{2, 3, 4}));
  EXPECT_EQ(read_epoch(*resumed, 3, 2), expected);
}

TEST_P(LoaderWorkers, StartingAnewInTheMiddleOfAnEpoch) {
  Loader loader(numbered(200), kPlain, small(GetParam()));
  for (int round = 0; round < 20; ++round) {
    Read read;
    loader.start(round);
    read_rest(loader, read, round % 3);
  }
  EXPECT_EQ(read_epoch(loader, 0).images.size(), 800u);
}

TEST_P(LoaderWorkers, StoppingAnywhereDoesNotHang) {
  for (int batches = 0; batches < 4; ++batches) {
    Loader loader(numbered(200), kPlain, small(GetParam()));
    Read read;
    loader.start(0);
    read_rest(loader, read, batches);
  }
  Loader never_started(numbered(200), kPlain, small(GetParam()));
}

TEST_P(LoaderWorkers, ABrokenPictureIsAnErrorThatNamesTheFirst) {
  Loader loader(numbered(50, {37, 35, 47}), kPlain, small(GetParam()));
  loader.start(0);
  Batch batch;
  EXPECT_TRUE(loader.next(batch));
  EXPECT_TRUE(loader.next(batch));
  EXPECT_TRUE(test::throws_with<IoError>([&] { loader.next(batch); }, {"picture 35", "data.skip_broken"}));
  loader.start(0, 3);
  EXPECT_TRUE(loader.next(batch));
  EXPECT_EQ(batch.images.dim(0), 2);
}

TEST_P(LoaderWorkers, BrokenPicturesAreSkippedCountedAndReported) {
  std::set<int64_t> broken = {0, 7, 20};
  for (int64_t i = 32; i < 48; ++i) broken.insert(i);  // the whole third batch
  auto options = small(GetParam());
  options.skip_broken = true;
  std::vector<std::string> reports;
  options.on_broken = [&](const std::string& report) { reports.push_back(report); };
  Loader loader(numbered(50, broken), kPlain, options);
  for (const int64_t epoch : {0, 1}) {
    const Read read = read_epoch(loader, epoch);
    EXPECT_EQ(read.batch_sizes, (std::vector<int64_t>{14, 15, 2}));
    EXPECT_EQ(read.batch_indices, (std::vector<int64_t>{0, 1, 3}));
    std::vector<float> expected;
    for (int64_t i = 0; i < 50; ++i) {
      if (broken.count(i) == 0) expected.push_back(static_cast<float>(i));
    }
    ASSERT_EQ(read.images.size(), 4 * expected.size());
    EXPECT_EQ(read.places, std::vector<int64_t>(expected.begin(), expected.end()));
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_FLOAT_EQ(read.images[4 * i], expected[i]);
      EXPECT_EQ(read.labels[i], static_cast<int>(expected[i]) % 10);
    }
  }
  EXPECT_EQ(loader.broken(), 19);
  ASSERT_EQ(reports.size(), 19u);
  EXPECT_NE(reports[1].find("picture 7"), std::string::npos);
}

TEST_P(LoaderWorkers, AnEpochOfBrokenPicturesIsAnError) {
  auto options = small(GetParam());
  options.skip_broken = true;
  Loader loader(numbered(3, {0, 1, 2}), kPlain, options);
  loader.start(0);
  Batch batch;
  EXPECT_TRUE(test::throws_with<IoError>([&] { loader.next(batch); }, {"every image is broken", "picture 2"}));
}

TEST_P(LoaderWorkers, TheRestOfAnEpochMayBeBroken) {
  auto options = small(GetParam());
  options.skip_broken = true;
  std::set<int64_t> broken;
  for (int64_t i = 16; i < 40; ++i) broken.insert(i);
  Loader loader(numbered(40, broken), kPlain, options);
  loader.start(0, 1);
  Batch batch;
  EXPECT_FALSE(loader.next(batch));
  EXPECT_EQ(loader.broken(), 24);
}

TEST_P(LoaderWorkers, APictureOfAnotherSizeIsNamedEvenWhenBrokenOnesAreSkipped) {
  auto options = small(GetParam());
  options.skip_broken = true;
  options.height = 3;
  Loader loader(numbered(3), kPlain, options);
  loader.start(0);
  Batch batch;
  EXPECT_TRUE(test::throws_with<ShapeError>([&] { loader.next(batch); }, {"picture 0", "2×2×1", "3×2×1"}));
  SampleSet crops = numbered(3);
  crops.transforms.add(std::make_shared<CenterCrop>(3, 3));
  Loader cropped(crops, kPlain, small(GetParam()));
  cropped.start(0);
  EXPECT_TRUE(test::throws_with<ShapeError>([&] { cropped.next(batch); }, {"picture 0", "center_crop", "2×2", "3×3"}));
}

TEST_P(LoaderWorkers, SmallerThanABatch) {
  Loader loader(numbered(3), kPlain, small(GetParam()));
  EXPECT_EQ(read_epoch(loader, 0).batch_sizes, std::vector<int64_t>{3});
  Loader singles(numbered(40), kPlain, small(GetParam(), 1));
  EXPECT_EQ(read_epoch(singles, 0).labels.size(), 40u);
}

TEST_P(LoaderWorkers, SteadyStateAllocatesNoTensor) {
  auto options = small(GetParam());
  options.keeps_device_memory = true;
  Loader loader(numbered(50), kPlain, options);
  Batch batch;
  const auto drain = [&](int64_t epoch) {
    loader.start(epoch);
    while (loader.next(batch)) {
    }
  };
  drain(0);
  for (const Device device : {Device::cpu, GetParam().device}) {
    const auto before = allocator(device).stats();
    allocator(device).reset_peak();
    for (int64_t epoch = 1; epoch < 4; ++epoch) drain(epoch);
    EXPECT_EQ(allocator(device).stats().system_allocations, before.system_allocations);
    EXPECT_EQ(allocator(device).stats().peak, before.in_use);
  }
}

TEST_P(LoaderWorkers, DeviceMemoryGoesBackAtTheEndOfAnEpoch) {
  const auto in_use = [] { return allocator(Device::cuda).stats().in_use; };
  const size_t before = in_use();
  Loader loader(numbered(50), kPlain, small(GetParam()));
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    const Read read = read_epoch(loader, epoch);
    EXPECT_EQ(read.labels.size(), 50u);
    EXPECT_EQ(in_use(), before);
  }
}

TEST(Loader, ImpossibleOptionsAreRefused) {
  EXPECT_THROW(Loader(numbered(3), kPlain, small(1, 0)), ConfigError);
  EXPECT_THROW(Loader(numbered(3), kPlain, small(-1)), ConfigError);
  EXPECT_THROW(Loader(numbered(0), kPlain, small(1)), ConfigError);
  EXPECT_THROW(Loader(numbered(3), published_normalization("cifar10"), small(1)), ConfigError);
  Loader loader(numbered(3), kPlain, small(1));
  Batch batch;
  EXPECT_THROW(loader.next(batch), Error);
  EXPECT_THROW(loader.start(0, 2), ConfigError);
}

}  // namespace
}  // namespace striate
