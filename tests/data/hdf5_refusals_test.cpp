#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "data/datasets/file_bytes.h"
#include "tests/data/dataset_files.h"
#include "tests/data/hdf5_pictures.h"

namespace striate::test {
namespace {

TEST_F(Hdf5File, RefusesWhatIsNoHdf5File) {
  EXPECT_TRUE(throws_with<ConfigError>([] { open_hdf5("", ""); }, {"data.path", "images-train"}));
  EXPECT_TRUE(refuses({"a.h5", "cannot open", "No such file"}));
  EXPECT_TRUE(throws_with<IoError>([&] { open_hdf5(dir_.path(), ""); }, {"found a folder"}));
  test::write_text(path(), "");
  EXPECT_TRUE(refuses({"a.h5", "not an HDF5 file"}));
  test::write_text(path(), std::string(5000, 'x'));
  EXPECT_TRUE(refuses({"a.h5", "not an HDF5 file", "signature"}));
}

TEST_F(Hdf5File, RefusesATruncatedFile) {
  { write_part(*std::make_unique<Hdf5Writer>(path()), "train"); }
  const auto size = std::filesystem::file_size(path());
  for (const uint64_t kept : {size - 1, size / 2, uint64_t{100}}) {
    std::filesystem::resize_file(path(), kept);
    EXPECT_TRUE(refuses({"a.h5", "cut short", "fetch it again"})) << kept;
  }
}

TEST_F(Hdf5File, RefusesWithoutTheExpectedNames) {
  { Hdf5Writer(path()).integers("other", {1}, {1}); }
  EXPECT_TRUE(refuses({"a.h5", "expected images-train and labels-train", "found other"}));
  { Hdf5Writer file(path()); }
  EXPECT_TRUE(refuses({"found nothing"}));
  { Hdf5Writer(path()).bytes("images-train", extents_of(Order::pixels), values_of(Order::pixels)); }
  EXPECT_TRUE(refuses({"has images-train but no labels-train", "found images-train"}));
  { Hdf5Writer(path()).group("images-train"); }
  EXPECT_TRUE(refuses({"images-train", "expected a dataset, found a group"}));
}

struct Wrong {
  const char* name;
  Extents extents;
  Hdf5Type type;
  std::vector<std::string> expected;
};

class Hdf5RefusesImages : public ::testing::TestWithParam<Wrong> {};

TEST_P(Hdf5RefusesImages, AndSaysWhy) {
  TempDir dir;
  {
    Hdf5Writer file(dir / "a.h5");
    if (GetParam().type == Hdf5Type::text) {
      file.bytes("images-train", GetParam().extents, {}, {.written = 0}, GetParam().type);
    } else {
      file.integers("images-train", GetParam().extents, {}, GetParam().type, {.written = 0});
    }
    file.integers("labels-train", {4}, labels_of(4));
  }
  for (const auto& part : GetParam().expected) {
    EXPECT_TRUE(throws_with<IoError>([&] { open_hdf5(dir / "a.h5", ""); }, {"a.h5: images-train", part}));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Arrays, Hdf5RefusesImages,
    ::testing::Values(
        Wrong{"rank_2", {4, 12}, Hdf5Type::uint8, {"N×3×H×W", "found 4×12"}},
        Wrong{"rank_5", {4, 1, 3, 8, 8}, Hdf5Type::uint8, {"found 4×1×3×8×8"}},
        Wrong{"four_channels", {4, 8, 8, 4}, Hdf5Type::uint8, {"found 4×8×8×4", "neither the second nor the last"}},
        Wrong{"ambiguous", {4, 3, 8, 3}, Hdf5Type::uint8, {"4×3×8×3", "N×C×H×W", "N×H×W×C"}},
        Wrong{"ambiguous_grey", {4, 1, 8, 3}, Hdf5Type::uint8, {"cannot be told apart"}},
        Wrong{"no_images", {0, 8, 8, 3}, Hdf5Type::uint8, {"holds none"}},
        Wrong{"no_height", {4, 3, 0, 8}, Hdf5Type::uint8, {"holds none"}},
        Wrong{"absurd_count", {uint64_t{1} << 60, 3, 8, 8}, Hdf5Type::uint8, {"declares 1152921504606846976 images"}},
        Wrong{"absurd_side", {4, 3, uint64_t{1} << 40, 8}, Hdf5Type::uint8, {"at most 32768"}},
        Wrong{"absurd_image", {4, 32768, 32768, 3}, Hdf5Type::uint8, {"more than 1024 MiB"}},
        Wrong{"floats", {4, 8, 8, 3}, Hdf5Type::float32, {"32-bit floating-point", "astype('uint8')"}},
        Wrong{"big_endian", {4, 8, 8, 3}, Hdf5Type::int64_big_endian, {"64-bit signed integers, big-endian"}},
        Wrong{"signed_bytes", {4, 8, 8, 3}, Hdf5Type::int8, {"8-bit signed integers"}},
        Wrong{"text", {4, 8, 8, 3}, Hdf5Type::text, {"texts"}}),
    [](const auto& tested) { return tested.param.name; });

TEST_F(Hdf5File, RefusesLabelsThatDoNotFit) {
  const auto write = [&](const Extents& extents, const std::vector<int64_t>& values, Hdf5Type type = Hdf5Type::int32,
                         const Hdf5Storage& storage = {}) {
    Hdf5Writer file(path());
    file.bytes("images-train", extents_of(Order::pixels), values_of(Order::pixels));
    file.integers("labels-train", extents, values, type, storage);
  };
  auto labels = labels_of();
  write({kImages - 1}, labels);
  EXPECT_TRUE(refuses({"labels-train", "expected 23 labels", "found 22"}));
  write({kImages, 2}, std::vector<int64_t>(2 * kImages));
  EXPECT_TRUE(refuses({"labels-train", "N or N×1", "found 23×2"}));
  write({kImages}, labels, Hdf5Type::float32);
  EXPECT_TRUE(refuses({"labels-train", "integers", "32-bit floating-point"}));
  labels[7] = -1;
  write({kImages}, labels);
  EXPECT_TRUE(refuses({"labels-train", "image 7", "found -1"}));
  labels[7] = 1 << 30;
  write({kImages}, labels);
  EXPECT_TRUE(refuses({"labels-train", "image 7", "found 1073741824"}));
}

TEST_F(Hdf5File, RefusesManyLabelsThatWereNeverWritten) {
  constexpr uint64_t kMany = 1 << 20;
  {
    Hdf5Writer file(path());
    file.bytes("images-train", {kMany, 8, 8, 3}, {}, {.chunk = {1024, 8, 8, 3}, .written = 0});
    file.integers("labels-train", {kMany}, {}, Hdf5Type::int32, {.chunk = {1024}, .written = 0});
  }
  EXPECT_TRUE(refuses({"labels-train", "declares 1048576 labels", "only 0 bytes"}));
}

TEST_F(Hdf5File, RefusesPartsThatDiffer) {
  {
    Hdf5Writer file(path());
    write_part(file, "train");
    write_part(file, "val", 7, Order::grey);
  }
  EXPECT_TRUE(refuses({"images-val", "expected 3 channels", "found 1", "7×10×14"}));
}

TEST_F(Hdf5File, RefusesRunsThatFitNoMemory) {
  {
    Hdf5Writer file(path());
    file.bytes("images-train", {60000, 3, 128, 256}, {}, {.chunk = {60000, 1, 1, 16}, .deflate = 1, .written = 0});
    file.integers("labels-train", {60000}, std::vector<int64_t>(60000));
  }
  EXPECT_TRUE(refuses({"images-train", "60000 images", "5625 MiB", "h5repack -l images-train:CHUNK=1x3x128x256"}));
}

TEST_F(Hdf5File, RefusesChunksThatReachFarBeyondTheImages) {
  {
    Hdf5Writer file(path());
    file.bytes("images-train", {2, 3, 32, 32}, {}, {.chunk = {1 << 20, 3, 32, 32}, .deflate = 1, .written = 0});
    file.integers("labels-train", {2}, {0, 1});
  }
  EXPECT_TRUE(refuses({"images-train", "1048576 images", "3072 MiB", "h5repack"}));
}

TEST_F(Hdf5File, NamesTheFilterThatTheLibraryHasNotGot) {
  {
    Hdf5Writer file(path());
    file.bytes("images-train", extents_of(Order::pixels), values_of(Order::pixels),
               {.chunk = {1, kHeight, kWidth, 3}, .lzf = true});
    file.integers("labels-train", {kImages}, labels_of());
  }
  const auto train = open().train;
  EXPECT_TRUE(
      throws_with<IoError>([&] { train->load(0); }, {"images-train", "filter 32000", "lzf", "compression='gzip'"}));
}

TEST_F(Hdf5File, TheLibraryClosesInSilenceAfterManyThreadsThatFailed) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // a forked process may not start threads everywhere
  test::write_text(path(), "no HDF5 file");
  const auto fail_and_exit = [&] {
    // It forgives a hundred errors that are left behind.
    for (int i = 0; i < 200; ++i) std::thread([&] { EXPECT_THROW(open(), IoError); }).join();
    std::exit(0);
  };
  EXPECT_EXIT(fail_and_exit(), testing::ExitedWithCode(0), testing::Eq(""));
}

TEST_F(Hdf5File, ADamagedChunkIsTheFaultOfItsImages) {
  const Extents extents{kImages, kHeight, kWidth, 3};
  {
    Hdf5Writer file(path());
    file.bytes("images-train", extents, values_of(Order::pixels), {.chunk = {6, kHeight, kWidth, 3}, .deflate = 6});
    file.integers("labels-train", {kImages}, labels_of());
  }
  auto bytes = read_file(path());
  // A deflated stream at this level begins like this; the second one is that of images 6 to 11.
  const uint8_t begin[] = {0x78, 0x9c};
  const auto first = std::search(bytes.begin(), bytes.end(), begin, begin + 2);
  const auto second = std::search(first + 2, bytes.end(), begin, begin + 2);
  ASSERT_GT(bytes.end() - second, 30);
  std::fill(second + 2, second + 30, uint8_t{0xff});
  test::write_bytes(path(), bytes);
  const auto train = open().train;
  EXPECT_TRUE(is_right(train->load(0), 0, 3));
  EXPECT_TRUE(is_right(train->load(12), 12, 3));
  for (const int64_t index : {6, 11}) {
    EXPECT_TRUE(throws_with<IoError>([&] { train->load(index); }, {"a.h5: images-train", "damaged", "unpack to 2520",
                                                                   "image " + std::to_string(index)}));
  }
}

}  // namespace
}  // namespace striate::test
