#include "data/pack.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "data/datasets/packed/packed.h"
#include "data/transforms/resize.h"
#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/data/picture_formula.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

namespace fs = std::filesystem;
using test::formula_picture;
using test::TempDir;
using test::throws_with;
using test::write_bytes;

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// 12 train and 4 test pictures of many sizes in two classes.
void write_pictures(const fs::path& folder) {
  for (int i = 0; i < 16; ++i) {
    const auto file =
        folder / (i < 12 ? "train" : "val") / (i % 2 == 0 ? "a" : "b") / (std::to_string(10 + i) + ".png");
    write_bytes(file, test::png(formula_picture(20 + 5 * i, 100 - 4 * i, 3)));
  }
}

DataConfig config(const std::string& text) { return read_data_config(ConfigReader::parse("{" + text + "}")); }

DataConfig pictures(const TempDir& dir, const std::string& more = "") {
  return config("dataset: image_folder, path: " + (dir / "pictures").string() + more);
}

PackResult pack(const DataConfig& data, const fs::path& file, const PackOptions& options = {}) {
  return pack_dataset(data, {}, file, options);
}

Image resized(Image image, const Resize& resize) {
  TransformScratch scratch;
  Random random(0, RandomPurpose::augmentation);
  resize.apply(image, random, scratch);
  return image;
}

TEST(Pack, ByTheResizeThatTransformsBeginWith) {
  const TempDir dir;
  write_pictures(dir / "pictures");
  const DataConfig data = pictures(dir,
                                   ", train_transforms: [{resize: 32}, {random_crop: 24}], "
                                   "test_transforms: [{resize: [24, 24]}]");
  const PackResult result = pack(data, dir / "p");
  EXPECT_TRUE(result.is_finished);
  EXPECT_EQ(result.images, 16);
  const DatasetParts source = open_parts(data, {}), packed = open_packed(dir / "p");
  int grown = 0;
  for (const auto& [from, to, resize] :
       {std::tuple{source.train, packed.train, Resize(32)}, std::tuple{source.test, packed.test, Resize(24, 24)}}) {
    ASSERT_EQ(from->size(), to->size());
    for (int64_t i = 0; i < from->size(); ++i) {
      const Image image = from->load(i), seen = resized(image, resize);
      EXPECT_EQ(to->label(i), from->label(i));
      EXPECT_EQ(resized(to->load(i), resize).pixels, seen.pixels) << "training sees the same";
      const bool grows = seen.pixels.size() > image.pixels.size();
      grown += grows;
      EXPECT_EQ(to->load(i).pixels, grows ? image.pixels : seen.pixels);
    }
  }
  EXPECT_EQ(grown, 3) << "shorter sides 20, 25 and 30";
}

TEST(Pack, ResizesOnRequestOrNotAtAll) {
  const TempDir dir;
  write_pictures(dir / "pictures");
  const auto first = [&](const DataConfig& data, const std::string& resize, const OpenOptions& open = {}) {
    pack_dataset(data, open, dir / "p", {.resize = resize});
    const Image image = open_packed(dir / "p").train->load(4);  // 60×68
    return std::pair{image.height, image.width};
  };
  const std::pair own{60, 68};
  EXPECT_EQ(first(pictures(dir), ""), own);
  EXPECT_EQ(first(pictures(dir, ", train_transforms: [{random_resized_crop: 24}]"), ""), own);
  EXPECT_EQ(first(pictures(dir, ", train_transforms: [{resize: 32}, {random_crop: 24}]"), "none"), own);
  EXPECT_EQ(first(pictures(dir), "30"), (std::pair{30, 34}));
  EXPECT_EQ(first(pictures(dir), "30,20"), (std::pair{30, 20}));
  EXPECT_EQ(first(pictures(dir, ", image_size: 16"), ""), (std::pair{16, 16}));
  EXPECT_EQ(first(pictures(dir), "", {.model_height = 12, .model_width = 14}), (std::pair{12, 14}));
  for (const char* wrong : {"0", "x", "32,", "32,32,32", "-1", "99999999999", "32 "}) {
    EXPECT_TRUE(throws_with<ConfigError>([&] { first(pictures(dir), wrong); }, {"--resize", wrong, "H,W"}));
  }
}

TEST(Pack, ValidationPicturesMustBeginAsTrainingOnesDo) {
  const TempDir dir;
  write_pictures(dir / "pictures");
  const std::string apart =
      ", train_transforms: [{resize: 32}, {random_crop: 24}], test_transforms: [{resize: [24, 24]}]";
  EXPECT_TRUE(throws_with<ConfigError>([&] { pack(pictures(dir, apart + ", validation_fraction: 0.2"), dir / "p"); },
                                       {"validation_fraction", "(32)", "([24, 24])", "--resize none"}));
  EXPECT_FALSE(fs::exists(dir / "p.partial"));
  pack(pictures(dir,
                ", validation_fraction: 0.2, train_transforms: [{resize: 32}, {random_crop: 24}], "
                "test_transforms: [{resize: 32}, {center_crop: 24}]"),
       dir / "p");
  EXPECT_EQ(open_packed(dir / "p").train->size(), 12) << "the fraction is taken when the file is used";
}

TEST(Pack, KeepsGreyNamesAndNormalization) {
  const TempDir dir;
  test::write_mnist(dir / "mnist", 20, 10);
  const std::string path = ", path: " + (dir / "mnist").string();
  pack(config("dataset: mnist" + path), dir / "m");
  const DatasetParts source = open_parts(config("dataset: mnist" + path), {});
  const std::string packed = "dataset: packed, path: " + (dir / "m").string();
  const Data data = open_data(config(packed), {}), from_source = open_data(config("dataset: mnist" + path), {});
  EXPECT_EQ(data.channels, 1);
  EXPECT_EQ(data.class_names, from_source.class_names);
  EXPECT_EQ(data.normalization.mean, from_source.normalization.mean);
  EXPECT_EQ(data.normalization.std, from_source.normalization.std);

  // Colour becomes grey before it is resized, as in training.
  write_pictures(dir / "pictures");
  pack(pictures(dir, ", channels: 1"), dir / "g", {.resize = "16,16"});
  const auto view = [&](const DataConfig& seen) {
    const Data opened = open_data(seen, {});
    opened.train->start(0);
    Batch batch;
    opened.train->next(batch);
    return batch.images.to_vector<float>();
  };
  const std::string options = ", image_size: 16, channels: 1, shuffle: false";
  EXPECT_EQ(view(config("dataset: packed, path: " + (dir / "g").string() + options)), view(pictures(dir, options)));
}

TEST(Pack, HowOftenItStopsAndWithHowManyThreadsChangesNoByte) {
  const TempDir dir;
  write_pictures(dir / "pictures");
  const DataConfig data = pictures(dir, ", train_transforms: [{resize: 32}, {random_crop: 24}]");
  pack(data, dir / "whole");
  const std::string whole = text_of(dir / "whole");
  const fs::path file = dir / "p", partial = dir / "p.partial";
  const auto stop_at = [&](int64_t images, int threads) {
    const PackResult result =
        pack(data, file, {.threads = threads, .progress = [&](int64_t done, int64_t) { return done < images; }});
    EXPECT_EQ(result.is_finished, images >= 16);
    EXPECT_EQ(result.images, std::min<int64_t>(images, 16));
    EXPECT_EQ(fs::exists(file), result.is_finished);
  };
  for (const int64_t step : {1, 5, 15}) {
    for (int64_t images = step; images < 16; images += step) stop_at(images, 1 + static_cast<int>(images % 3));
    stop_at(16, 2);
    EXPECT_TRUE(text_of(file) == whole) << step;
    EXPECT_FALSE(fs::exists(partial));
    fs::remove(file);
  }

  // What a crash may leave: a last picture that is not whole, an entry without its picture, nothing but zeros.
  stop_at(9, 1);
  const std::string nine = text_of(partial);
  const auto goes_on_from = [&](const std::string& left) {
    std::ofstream(partial, std::ios::binary) << left;
    stop_at(16, 2);
    EXPECT_TRUE(text_of(file) == whole);
    fs::remove(file);
  };
  goes_on_from(nine.substr(0, nine.size() - 100));
  goes_on_from(nine + std::string(1000, 'x'));
  for (const size_t back : {size_t{1}, size_t{5000}}) {
    std::string damaged = nine;
    damaged[nine.size() - back] ^= 1;
    goes_on_from(damaged);
  }
  for (const size_t size : {0, 50, 100, 1000}) goes_on_from(std::string(size, '\0'));
  // Complete but for its name.
  goes_on_from(whole);
}

TEST(Pack, GoesOnWithTheSameOnly) {
  const TempDir dir;
  write_pictures(dir / "pictures");
  const auto stop = [](int64_t done, int64_t) { return done < 4; };
  pack(pictures(dir), dir / "p", {.resize = "32", .progress = stop});
  const std::string before = text_of(dir / "p.partial");
  const auto refused = [&](const DataConfig& data, const char* resize, std::initializer_list<std::string> parts) {
    EXPECT_TRUE(throws_with<ConfigError>([&] { pack(data, dir / "p", {.resize = resize}); }, parts));
    EXPECT_TRUE(text_of(dir / "p.partial") == before);
  };
  refused(pictures(dir), "24", {"p.partial", "train resize: 32 there, 24 now", "delete it"});
  refused(pictures(dir, ", channels: 1"), "32", {"channels: 3 there, 1 now"});
  refused(config("dataset: synthetic"), "32", {"dataset: image_folder there, synthetic now"});
  write_bytes(dir / "pictures/train/a/99.png", test::png(formula_picture(9, 9, 3)));
  refused(pictures(dir), "32", {"train images: 12 there, 13 now"});
  fs::remove(dir / "pictures/train/a/99.png");
  fs::rename(dir / "pictures/train/a/14.png", dir / "pictures/train/b/14.png");
  refused(pictures(dir), "32", {"checksum of names and classes"});
  test::write_text(dir / "p.partial", std::string(300, 'x'));
  EXPECT_TRUE(throws_with<IoError>([&] { pack(pictures(dir), dir / "p"); }, {"p.partial", "not a packed file"}));
}

TEST(Pack, BrokenPicturesAreErrorsOrLeftOut) {
  const TempDir dir;
  write_pictures(dir / "pictures");
  write_bytes(dir / "pictures/train/a/14.png", {1, 2, 3});
  EXPECT_TRUE(throws_with<IoError>([&] { pack(pictures(dir), dir / "p", {.threads = 3}); }, {"14.png", "skip_broken"}));
  OpenOptions open;
  std::vector<std::string> told;
  open.on_broken = [&](const std::string& message) { told.push_back(message); };
  // What was packed before the error is not packed again.
  std::vector<int64_t> done;
  const PackResult result =
      pack_dataset(pictures(dir, ", skip_broken: true"), open, dir / "p", {.progress = [&](int64_t images, int64_t) {
                     done.push_back(images);
                     return true;
                   }});
  EXPECT_EQ(done.front(), 2);
  EXPECT_EQ(result.images, 15);
  EXPECT_EQ(result.left_out, 1);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_NE(told[0].find("14.png"), std::string::npos);
  const DatasetParts parts = open_packed(dir / "p");
  EXPECT_EQ(parts.train->size(), 11);
  EXPECT_EQ(parts.test->size(), 4);
  EXPECT_EQ(parts.train->load(2).pixels, formula_picture(20 + 5 * 6, 100 - 4 * 6, 3).pixels);
  EXPECT_EQ(parts.test->load(0).pixels, formula_picture(20 + 5 * 12, 100 - 4 * 12, 3).pixels);
}

TEST(Pack, RefusesWhatCannotBePackedOrWritten) {
  const TempDir dir;
  write_pictures(dir / "pictures");
  EXPECT_TRUE(
      throws_with<ConfigError>([&] { pack(config("dataset: crops, path: " + (dir / "pictures").string()), dir / "p"); },
                               {"crops", "every epoch"}));
  EXPECT_TRUE(throws_with<IoError>([&] { pack(pictures(dir), dir / "no/p"); }, {"there is no folder"}));
  EXPECT_TRUE(throws_with<IoError>([&] { pack(pictures(dir), dir.path()); }, {"that is a folder"}));
  pack(pictures(dir), dir / "p");
  const DataConfig itself = config("dataset: packed, path: " + (dir / "p").string());
  EXPECT_TRUE(throws_with<ConfigError>([&] { pack(itself, dir / "p"); }, {"--output", "data.path"}));
  pack(itself, dir / "smaller", {.resize = "16"});
  EXPECT_EQ(open_packed(dir / "smaller").train->load(4).height, 16) << "a packed file can be packed again";
}

}  // namespace
}  // namespace striate
