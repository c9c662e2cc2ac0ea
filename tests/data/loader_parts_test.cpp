// What several loaders deliver of every batch, one part each, is what one delivers.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/open.h"
#include "data/transforms/color.h"
#include "data/transforms/crop.h"
#include "data/transforms/geometry.h"
#include "engine/allocator.h"
#include "kernels/error.h"
#include "tests/support/backend.h"
#include "tests/support/error.h"

namespace striate {
namespace {

/// Pictures of 6×7×3, each of other levels, label index mod 10, which keep count of who was loaded. Those in `broken`
/// cannot be read.
class Counted final : public Dataset {
 public:
  explicit Counted(int64_t size, std::set<int64_t> broken = {})
      : loads(static_cast<size_t>(size)), broken_(std::move(broken)) {}
  int64_t size() const override { return static_cast<int64_t>(loads.size()); }
  const std::vector<std::string>& class_names() const override { return names_; }
  int channels() const override { return 3; }
  int label(int64_t index) const override { return static_cast<int>(index % 10); }
  std::string describe(int64_t index) const override { return "picture " + std::to_string(index); }
  void load(int64_t index, Image& image) const override {
    ++loads[static_cast<size_t>(index)];
    require<IoError>(broken_.count(index) == 0, "picture {}: broken", index);
    image.reshape(6, 7, 3);
    for (size_t i = 0; i < image.pixels.size(); ++i) {
      image.pixels[i] = static_cast<uint8_t>(11 * index + 7 * static_cast<int64_t>(i));
    }
  }

  mutable std::vector<std::atomic<int>> loads;

 private:
  std::set<int64_t> broken_;
  std::vector<std::string> names_ = std::vector<std::string>(10, "name");
};

/// In an order that is not theirs, augmented.
SampleSet counted(int64_t size, std::set<int64_t> broken = {}) {
  SampleSet set{
      std::make_shared<Counted>(size, std::move(broken)), std::vector<int64_t>(static_cast<size_t>(size)), {}};
  std::iota(set.indices.rbegin(), set.indices.rend(), int64_t{0});
  set.transforms.add(std::make_shared<RandomCrop>(5, 5, 1));
  set.transforms.add(std::make_shared<HorizontalFlip>());
  set.transforms.add(std::make_shared<ColorJitter>(ColorJitter::Strengths{0.3f, 0.3f, 0.3f, 0.1f}));
  return set;
}

struct Way {
  Way(int number_of_workers, Device wanted_on = Device::cpu) : workers(number_of_workers), device(wanted_on) {}
  int workers;
  Device device;
};

LoaderOptions options_for(const Way& way, int64_t batch_size, const MixOptions& mix = {}) {
  LoaderOptions options{.batch_size = batch_size, .height = 5, .width = 5, .channels = 3, .workers = way.workers};
  options.seed = 7;
  options.device = way.device;
  options.mix = mix;
  return options;
}

Loader open(const SampleSet& set, const LoaderOptions& options) {
  return Loader(set, Normalization{{0.5, 0.4, 0.3}, {0.25, 0.25, 0.2}}, options);
}

/// Of one batch.
struct Pictures {
  std::vector<float> images;
  std::vector<int32_t> labels, partners;
  std::vector<int64_t> places;
  std::set<float> shares;  // told by whoever had pictures
  bool operator==(const Pictures&) const = default;
};
using Epoch = std::map<int64_t, Pictures>;

/// Reads the rest of an epoch to the end and adds it to what is read of its batches.
void read(Loader& loader, const LoaderOptions& options, Epoch& epoch) {
  const auto append = [](auto& to, const auto& values) { to.insert(to.end(), values.begin(), values.end()); };
  Batch batch;
  while (loader.next(batch)) {
    ASSERT_EQ(batch.images.shape(), (Shape{batch.labels.size(), 5, 5, 3}));
    ASSERT_EQ(batch.images.device(), options.device);
    Pictures& pictures = epoch[batch.index];
    append(pictures.images, batch.images.to_vector<float>());
    append(pictures.labels, batch.labels.to_vector<int32_t>());
    append(pictures.places, batch.places);
    if (batch.partner_labels.defined()) {
      ASSERT_EQ(batch.partner_labels.shape(), batch.labels.shape());
      append(pictures.partners, batch.partner_labels.to_vector<int32_t>());
    }
    if (batch.labels.size() > 0) pictures.shares.insert(batch.share);
  }
}

/// Two epochs, the second from a batch in its midst on: the parts together give what one loader gives, and each goes
/// through all batches.
void expect_parts_make_the_whole(const SampleSet& set, LoaderOptions options, int64_t parts) {
  SCOPED_TRACE(std::to_string(parts) + " parts of batches of " + std::to_string(options.batch_size));
  Loader one = open(set, options);
  std::vector<std::unique_ptr<Loader>> loaders;
  options.parts = parts;
  for (options.part = 0; options.part < parts; ++options.part) {
    loaders.push_back(std::make_unique<Loader>(set, Normalization{{0.5, 0.4, 0.3}, {0.25, 0.25, 0.2}}, options));
    EXPECT_EQ(loaders.back()->batches(), one.batches());
    EXPECT_EQ(loaders.back()->batch_size(), one.batch_size());
  }
  for (const int64_t epoch : {0, 1}) {
    const int64_t first = epoch == 0 ? 0 : one.batches() / 2;
    Epoch expected, found;
    one.start(epoch, first);
    read(one, options, expected);
    for (auto& loader : loaders) {
      loader->start(epoch, first);
      EXPECT_EQ(loader->order(), one.order());
      Epoch part;
      read(*loader, options, part);
      EXPECT_EQ(static_cast<int64_t>(part.size()), one.batches() - first);
      loader->start(epoch, first);
      read(*loader, options, found);
    }
    // One loader passes over what nothing is left of.
    for (int64_t batch = first; batch < one.batches(); ++batch) {
      EXPECT_EQ(found[batch], expected[batch]) << "batch " << batch << " of epoch " << epoch;
    }
  }
  int64_t broken = 0;
  for (auto& loader : loaders) broken += loader->broken();
  EXPECT_TRUE(options.shuffle || broken == one.broken()) << "shuffled, a picture is now in one part and now in another";
}

const std::vector<MixOptions> kMixes = {{}, {.mixup = 0.6}, {.cutmix = 1.0}};

class LoaderParts : public testing::TestWithParam<Way> {
 protected:
  void SetUp() override {
    if (GetParam().device == Device::cuda) test::skip_unless_runnable(test::Backend::cuda);
  }
};
INSTANTIATE_TEST_SUITE_P(Workers, LoaderParts, testing::Values(0, 1, 3, Way(0, Device::cuda), Way(3, Device::cuda)),
                         [](const auto& way) {
                           return "workers_" + std::to_string(way.param.workers) + "_" + to_string(way.param.device);
                         });

TEST_P(LoaderParts, TogetherMakeEveryBatch) {
  for (const MixOptions& mix : kMixes) {
    for (const int64_t parts : {2, 3, 4}) {
      // The last batch is a smaller one, one of two pictures and one of a single one, or there is none smaller.
      for (const int64_t batch_size : {8, 10, 7, 11}) {
        LoaderOptions options = options_for(GetParam(), batch_size, mix);
        options.shuffle = true;
        expect_parts_make_the_whole(counted(22), options, parts);
      }
    }
  }
}

TEST_P(LoaderParts, MayBeMoreThanABatchHasPictures) {
  for (const MixOptions& mix : kMixes) {
    expect_parts_make_the_whole(counted(7), options_for(GetParam(), 3, mix), 5);
    expect_parts_make_the_whole(counted(3), options_for(GetParam(), 8, mix), 4);
    expect_parts_make_the_whole(counted(4), options_for(GetParam(), 1, mix), 3);
  }
}

TEST_P(LoaderParts, LeaveOutBrokenPicturesAsOneLoaderDoes) {
  // Places count from the last picture. Beside and across the parts' borders; a part; all others; all but one; a batch.
  const std::set<int64_t> places = {3,  4,  7,                                   // of 0 … 11
                                    18, 19, 20, 21, 22, 23,                      // of 12 … 23
                                    24, 25, 26, 27, 28, 29, 30, 33, 34, 35,      // of 24 … 35
                                    36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46,  // of 36 … 47
                                    48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61};
  std::set<int64_t> broken;
  for (const int64_t place : places) broken.insert(62 - place);
  for (const MixOptions& mix : kMixes) {
    for (const bool shuffle : {false, true}) {
      LoaderOptions options = options_for(GetParam(), 12, mix);
      options.skip_broken = true;
      options.shuffle = shuffle;
      for (const int64_t parts : {2, 3, 4, 13}) expect_parts_make_the_whole(counted(63, broken), options, parts);
    }
  }
}

TEST_P(LoaderParts, HoweverManyAndWhateverIsBroken) {
  Random random(5, RandomPurpose::test);
  for (int i = 0; i < 25; ++i) {
    SCOPED_TRACE("draw " + std::to_string(i));
    const auto size = static_cast<int64_t>(1 + random.below(30));
    std::set<int64_t> broken;
    const float share = 0.8f * random.uniform();
    for (int64_t index = 1; index < size; ++index) {
      if (random.chance(share)) broken.insert(index);
    }
    LoaderOptions options =
        options_for(GetParam(), static_cast<int64_t>(1 + random.below(12)), kMixes[random.below(3)]);
    options.seed = static_cast<uint64_t>(i);
    options.skip_broken = true;
    options.shuffle = random.chance(0.5f);
    expect_parts_make_the_whole(counted(size, broken), options, static_cast<int64_t>(2 + random.below(5)));
  }
}

TEST_P(LoaderParts, LoadNothingThatTheyDoNotUse) {
  for (const MixOptions& mix : kMixes) {
    for (int64_t part = 0; part < 4; ++part) {
      const SampleSet set = counted(19);
      LoaderOptions options = options_for(GetParam(), 8, mix);
      options.shuffle = true;
      options.part = part;
      options.parts = 4;
      Loader loader = open(set, options);
      Epoch epoch;
      loader.start(0);
      read(loader, options, epoch);
      std::vector<int> expected(19), found(19);
      const auto& order = loader.order();
      for (int64_t begin = 0; begin < 19; begin += 8) {
        const int64_t rows = std::min<int64_t>(8, 19 - begin);
        const Range mine = part_of(rows, part, 4);
        for (int64_t row = mine.begin; row < mine.end; ++row) ++expected[order[begin + row]];
        if (mix.any() && mine.size() > 0) ++expected[order[begin + (mine.begin + rows - 1) % rows]];
      }
      const auto& loads = dynamic_cast<const Counted&>(*set.dataset).loads;
      std::copy(loads.begin(), loads.end(), found.begin());
      EXPECT_EQ(found, expected) << "part " << part;
    }
  }
}

TEST_P(LoaderParts, WithoutPicturesAreEmptyAndMixedAsTheOthers) {
  LoaderOptions options = options_for(GetParam(), 5, {.mixup = 0.6});
  options.parts = 3;
  if (GetParam().device == Device::cuda) options.dtype = DType::bfloat16;
  Loader loader = open(counted(7), options);  // the last batch is of two
  loader.start(0, 1);
  Batch batch;
  ASSERT_TRUE(loader.next(batch));
  EXPECT_EQ(batch.index, 1);
  EXPECT_EQ(batch.images.shape(), (Shape{0, 5, 5, 3}));
  EXPECT_EQ(batch.images.device(), options.device);
  EXPECT_EQ(batch.images.dtype(), options.dtype);
  EXPECT_EQ(batch.labels.shape(), Shape{0});
  EXPECT_EQ(batch.partner_labels.shape(), Shape{0});
  EXPECT_EQ(batch.share, draw_batch_mix(options.mix, options.seed, 0, 1, 5, 5).share);
  EXPECT_TRUE(batch.places.empty());
  EXPECT_FALSE(loader.next(batch));
}

TEST_P(LoaderParts, AreAnErrorWhenEveryPictureOfAllIsBroken) {
  LoaderOptions options = options_for(GetParam(), 4);
  options.skip_broken = true;
  options.parts = 2;
  Batch batch;
  for (options.part = 0; options.part < 2; ++options.part) {
    Loader all = open(counted(6, {0, 1, 2, 3, 4, 5}), options);
    all.start(0);
    EXPECT_TRUE(all.next(batch) && all.next(batch));
    EXPECT_TRUE(test::throws_with<IoError>([&] { all.next(batch); }, {"every image is broken", "picture"}));
    // The first part is places 0, 1 and 4: pictures 5, 4 and 1.
    Loader one = open(counted(6, {5, 4, 1}), options);
    one.start(0);
    EXPECT_TRUE(one.next(batch) && one.next(batch));
    EXPECT_EQ(batch.labels.size(), options.part);
    EXPECT_FALSE(one.next(batch));
    EXPECT_EQ(one.broken(), options.part == 0 ? 3 : 0);
  }
}

TEST_P(LoaderParts, ABrokenPartnerIsAnErrorUnlessBrokenOnesAreSkipped) {
  LoaderOptions options = options_for(GetParam(), 4, {.cutmix = 1.0});
  options.parts = 2;
  options.part = 1;
  Loader loader = open(counted(4, {2}), options);  // in the other part, at its end
  loader.start(0);
  Batch batch;
  EXPECT_TRUE(test::throws_with<IoError>([&] { loader.next(batch); }, {"picture 2", "data.skip_broken"}));
}

TEST_P(LoaderParts, StopAndStartAnewAnywhere) {
  LoaderOptions options = options_for(GetParam(), 5, {.mixup = 0.6});
  options.parts = 7;
  options.part = 3;
  Loader loader = open(counted(59), options);
  for (int round = 0; round < 20; ++round) {
    loader.start(round);
    Batch batch;
    for (int i = 0; i < round % 4; ++i) EXPECT_TRUE(loader.next(batch));
  }
}

TEST_P(LoaderParts, AllocateNoTensorInSteadyState) {
  LoaderOptions options = options_for(GetParam(), 10, {.mixup = 0.6});
  options.keeps_device_memory = true;
  options.parts = 3;
  Loader loader = open(counted(50), options);
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

TEST(LoaderPart, MustBeOneOfTheParts) {
  LoaderOptions options = options_for(0, 4);
  for (const auto& [part, parts] : {std::pair{2, 2}, {-1, 2}, {0, 0}}) {
    options.part = part;
    options.parts = parts;
    EXPECT_TRUE(test::throws_with<ConfigError>([&] { open(counted(4), options); },
                                               {"part " + std::to_string(part) + " of " + std::to_string(parts)}));
  }
}

TEST(LoaderPart, IsThatOfEveryLoaderOfAnOpenedDataset) {
  const auto config = read_data_config(
      ConfigReader::parse("{dataset: synthetic, synthetic: {train_images: 40, test_images: 8}, image_size: 16, "
                          "test_transforms: [{center_crop: 16}]}"));
  const Data data = open_data(config, {.batch_size = 8, .part = 1, .parts = 3});
  const auto first_batch = [](BatchSource& source) {
    source.start(0);
    Batch batch;
    EXPECT_TRUE(source.next(batch));
    return batch.places;
  };
  const std::vector<int64_t> mine = {2, 3, 4};
  EXPECT_EQ(data.train->batch_size(), 8);
  EXPECT_EQ(first_batch(*data.train), mine);
  EXPECT_EQ(first_batch(*data.val), mine);
  EXPECT_EQ(first_batch(*data.evaluation_loader("train", 8)), mine);
  EXPECT_EQ(first_batch(*data.ten_crop_loader("val", 8)), mine);
}

}  // namespace
}  // namespace striate
