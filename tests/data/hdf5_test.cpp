#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "data/loader.h"
#include "data/open.h"
#include "tests/data/dataset_files.h"
#include "tests/data/hdf5_pictures.h"

namespace striate::test {
namespace {

/// `part_image` is the part of `image` that `part` says, and that has all of `wanted`.
bool holds(const Image& image, const Part& part, const Image& part_image, const Window& wanted) {
  const Window& have = part.window;
  if (have.top > wanted.top || have.left > wanted.left || have.bottom() < wanted.bottom() ||
      have.right() < wanted.right()) {
    return false;
  }
  Image expected;
  copy_window(image.pixels.data(), image.row_bytes(), have, image.channels, expected);
  return part_image.height == have.height && part_image.width == have.width && part_image.pixels == expected.pixels;
}

struct Stored {
  const char* name;
  Hdf5Storage storage;  // of three or four extents, for planes; the last are cut off or turned for other orders
  bool newest_format = false;
};

/// The chunk of a storage that is given for N×3×H×W.
Extents turned(const Extents& chunk, Order order) {
  if (chunk.empty() || order == Order::planes) return chunk;
  if (order == Order::grey) return {chunk[0], chunk[2], chunk[3]};
  if (order == Order::grey_first) return {chunk[0], 1, chunk[2], chunk[3]};
  return {chunk[0], chunk[2], chunk[3], order == Order::grey_last ? 1 : chunk[1]};
}

std::string stored_name(const testing::TestParamInfo<std::tuple<Stored, Order>>& tested) {
  constexpr const char* kOrders[] = {"planes", "pixels", "grey", "grey_first", "grey_last"};
  return std::string(std::get<0>(tested.param).name) + "_" + kOrders[static_cast<int>(std::get<1>(tested.param))];
}

class Hdf5Stored : public ::testing::TestWithParam<std::tuple<Stored, Order>> {};

TEST_P(Hdf5Stored, GivesEveryPixelToSeveralThreads) {
  const auto& [stored, order] = GetParam();
  TempDir dir;
  Hdf5Storage storage = stored.storage;
  storage.chunk = turned(storage.chunk, order);
  {
    Hdf5Writer file(dir / "a.h5", stored.newest_format);
    file.bytes("images-train", extents_of(order), values_of(order), storage);
    file.integers("labels-train", {kImages}, labels_of());
  }
  const auto train = open_hdf5(dir / "a.h5", "").train;
  ASSERT_EQ(train->size(), kImages);
  EXPECT_EQ(train->channels(), channels_of(order));
  const auto written = std::min<uint64_t>(storage.written, kImages);
  std::atomic<int> right{0};
  std::atomic<int> right_parts{0};
  const auto read = [&, channels = channels_of(order)](int step) {
    Image image, part_image;
    for (int i = 0; i < kImages; ++i) {
      const int64_t index = int64_t{i} * step % kImages;
      train->load(index, image);
      right += is_right(image, index, channels, static_cast<int64_t>(written)) ? 1 : 0;
      const Window wanted{i % 4, i % 3, 1 + i % 6, 2 + i % 9};
      const Part part = train->load_part(
          index, 0, [&](int, int) { return Part{wanted}; }, part_image);
      right_parts += holds(image, part, part_image, wanted) ? 1 : 0;
    }
  };
  std::thread one(read, 1), two(read, 5), three(read, 22);
  one.join();
  two.join();
  three.join();
  EXPECT_EQ(right, 3 * kImages);
  EXPECT_EQ(right_parts, 3 * kImages);
  for (int i = 0; i < kImages; ++i) EXPECT_EQ(train->label(i), i % 5);
  const bool is_packed = storage.deflate > 0 || storage.fletcher32;
  EXPECT_EQ(train->runs().length, is_packed ? static_cast<int64_t>(storage.chunk[0]) : 1);
}

INSTANTIATE_TEST_SUITE_P(
    Storages, Hdf5Stored,
    ::testing::Combine(
        ::testing::Values(
            Stored{"contiguous", {}}, Stored{"compact", {.compact = true}}, Stored{"never_written", {.written = 0}},
            Stored{"image_a_chunk", {.chunk = {1, 3, kHeight, kWidth}}},
            Stored{"six_a_chunk", {.chunk = {6, 3, kHeight, kWidth}}}, Stored{"split", {.chunk = {4, 1, 3, 5}}},
            Stored{"half_written", {.chunk = {4, 1, 3, 5}, .written = 10}},
            Stored{"newest_split", {.chunk = {4, 1, 3, 5}}, true},
            Stored{"newest_image_a_chunk", {.chunk = {1, 3, kHeight, kWidth}}, true},
            Stored{"deflated_image_a_chunk", {.chunk = {1, 3, kHeight, kWidth}, .deflate = 1}},
            Stored{"deflated_six_a_chunk", {.chunk = {6, 3, kHeight, kWidth}, .deflate = 4}},
            Stored{"deflated_split", {.chunk = {4, 1, 3, 5}, .deflate = 9}},
            Stored{"deflated_half", {.chunk = {4, 2, 10, 7}, .deflate = 4, .written = 10}},
            Stored{"shuffled", {.chunk = {6, 3, kHeight, kWidth}, .deflate = 4, .shuffle = true}},
            Stored{"shuffled_newest", {.chunk = {6, 2, 4, 14}, .deflate = 4, .shuffle = true}, true},
            Stored{"checksummed", {.chunk = {6, 2, kHeight, 9}, .deflate = 4, .shuffle = true, .fletcher32 = true}}),
        ::testing::Values(Order::planes, Order::pixels, Order::grey, Order::grey_first, Order::grey_last)),
    stored_name);

TEST(Hdf5, ChunksThatDeflateMakesNoSmallerAreReadAsTheyAre) {
  TempDir dir;
  const Extents extents{4, 16, 16, 3};
  std::vector<uint8_t> noise(4 * 16 * 16 * 3);
  uint32_t state = 1;
  for (auto& value : noise) value = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
  {
    Hdf5Writer file(dir / "a.h5");
    file.bytes("images-train", extents, noise, {.chunk = {2, 16, 16, 3}, .deflate = 6});
    file.integers("labels-train", {4}, labels_of(4));
  }
  const auto train = open_hdf5(dir / "a.h5", "").train;
  std::vector<uint8_t> read;
  for (int i = 0; i < 4; ++i) {
    const Image image = train->load(i);
    read.insert(read.end(), image.pixels.begin(), image.pixels.end());
  }
  EXPECT_EQ(read, noise);
}

TEST(Hdf5, ImagesMayLieInOtherFiles) {
  TempDir dir;
  const auto values = values_of(Order::pixels);
  test::write_bytes(dir / "raw.bin", values);
  { write_part(*std::make_unique<Hdf5Writer>(dir / "source.h5"), "train"); }
  {
    Hdf5Writer file(dir / "a.h5", true);
    file.virtual_bytes("images-train", extents_of(Order::pixels), dir / "source.h5", "images-train");
    file.integers("labels-train", {kImages}, labels_of());
    file.external_bytes("images-val", extents_of(Order::pixels), dir / "raw.bin");
    file.integers("labels-val", {kImages}, labels_of());
  }
  const auto parts = open_hdf5(dir / "a.h5", "");
  for (int i = 0; i < kImages; ++i) {
    EXPECT_TRUE(is_right(parts.train->load(i), i, 3)) << i;
    EXPECT_TRUE(is_right(parts.test->load(i), i, 3)) << i;
  }
}
TEST_F(Hdf5File, PartsAndTheirMeaning) {
  {
    Hdf5Writer file(path());
    write_part(file, "train");
    write_part(file, "val", 7, Order::planes);
    file.bytes("images-test", extents_of(Order::pixels, 9), values_of(Order::pixels, 9));
  }
  const auto parts = open();
  EXPECT_EQ(parts.train->size(), kImages);
  EXPECT_EQ(parts.test->size(), 7);
  EXPECT_EQ(parts.validation, nullptr);
  ASSERT_NE(parts.unlabelled, nullptr);
  EXPECT_EQ(parts.unlabelled->size(), 9);
  EXPECT_EQ(parts.unlabelled->label(3), kUnlabelled);
  EXPECT_EQ(parts.unlabelled->class_names(), (std::vector<std::string>{"0", "1", "2", "3", "4"}));
  EXPECT_EQ(parts.test->describe(3), path() + ": images-val, image 3");
  EXPECT_TRUE(is_right(parts.test->load(3), 3, 3));
}

TEST_F(Hdf5File, LabelledTestImagesAreMeasuredBesideValidationImages) {
  {
    Hdf5Writer file(path());
    write_part(file, "train");
    write_part(file, "val", 7);
    write_part(file, "test", 9);
  }
  const auto data = [&](const std::string& more) {
    return open_data(read_data_config(ConfigReader::parse("{dataset: hdf5, path: " + path() + more + "}")),
                     {.batch_size = 4});
  };
  const Data whole = data("");
  EXPECT_EQ(whole.val->samples(), 7);
  EXPECT_EQ(whole.test->samples(), 9);
  EXPECT_EQ(whole.evaluation_loader("val", 4)->samples(), 7);
  EXPECT_EQ(whole.evaluation_loader("test", 4)->samples(), 9);
  EXPECT_EQ(whole.normalization.mean[0], 0.485);
  const Data split = data(", validation_fraction: 0.2");
  EXPECT_EQ(split.val->samples(), 5);
  EXPECT_EQ(split.test->samples(), 9);
}

TEST_F(Hdf5File, TheTrainingPartAloneIsEnough) {
  { write_part(*std::make_unique<Hdf5Writer>(path()), "train"); }
  const auto parts = open();
  EXPECT_EQ(parts.test, nullptr);
  EXPECT_EQ(parts.unlabelled, nullptr);
}

TEST_F(Hdf5File, ClassNamesComeFromAFile) {
  { write_part(*std::make_unique<Hdf5Writer>(path()), "train"); }
  test::write_text(dir_ / "names.txt", "a\nb\nc\nd\ne\nf\n");
  EXPECT_EQ(open(dir_ / "names.txt").train->class_names(), (std::vector<std::string>{"a", "b", "c", "d", "e", "f"}))
      << "no image need have the last class";
  const std::string config =
      "{dataset: hdf5, path: " + path() + ", class_names: " + (dir_ / "names.txt").string() + "}";
  EXPECT_EQ(open_data(read_data_config(ConfigReader::parse(config)), {.batch_size = 4}).class_names.size(), 6u);
  test::write_text(dir_ / "names.txt", "a\nb\nc\n");
  EXPECT_TRUE(throws_with<IoError>([&] { open(dir_ / "names.txt"); },
                                   {"labels-train", "image 3", "0 to 2", "names.txt", "found 3"}));
}

TEST_F(Hdf5File, LabelsOfAnyIntegersInARowOrAColumn) {
  for (const Hdf5Type type : {Hdf5Type::uint8, Hdf5Type::int8, Hdf5Type::int32, Hdf5Type::int64_big_endian}) {
    for (const Extents& extents : {Extents{kImages}, Extents{kImages, 1}}) {
      {
        Hdf5Writer file(path());
        file.bytes("images-train", extents_of(Order::pixels), values_of(Order::pixels));
        file.integers("labels-train", extents, labels_of(), type,
                      {.chunk = extents.size() == 1 ? Extents{4} : Extents{4, 1}, .deflate = 1, .shuffle = true});
      }
      const auto train = open().train;
      for (int i = 0; i < kImages; ++i) EXPECT_EQ(train->label(i), i % 5);
    }
  }
}

TEST_F(Hdf5File, ShuffledLoadersGiveThePicturesOfTheirOrder) {
  constexpr int kMany = 4000;
  std::vector<uint8_t> values(size_t{kMany} * 12 * 12);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<uint8_t>(i / (12 * 12));
  {
    Hdf5Writer file(path());
    file.bytes("images-train", {kMany, 12, 12}, values, {.chunk = {100, 12, 12}, .deflate = 1});
    file.integers("labels-train", {kMany}, labels_of(kMany));
  }
  const auto train = open().train;
  EXPECT_EQ(train->runs().length, 100);
  EXPECT_GT(train->runs().open, kMany / 100) << "all of it is kept: a plain shuffle";
  SampleSet set{train, std::vector<int64_t>(kMany), {}};
  std::iota(set.indices.begin(), set.indices.end(), int64_t{0});
  Loader loader(set, {{0.0}, {1.0 / 255.0}},
                {.batch_size = 64, .height = 12, .width = 12, .channels = 1, .workers = 2, .shuffle = true, .seed = 1});
  loader.start(3);
  Batch batch;
  for (int64_t place = 0; loader.next(batch);) {
    const auto images = batch.images.to_vector<float>();
    for (int64_t row = 0; row < batch.images.dim(0); ++row, ++place) {
      EXPECT_EQ(images[row * 144 + 143], static_cast<float>(loader.order()[place] % 256));
    }
  }
}

}  // namespace
}  // namespace striate::test
