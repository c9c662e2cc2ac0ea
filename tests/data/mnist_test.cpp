#include "data/datasets/mnist.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::Bytes;
using test::gzipped;
using test::idx_images;
using test::idx_labels;
using test::TempDir;
using test::write_bytes;

class Idx : public ::testing::Test {
 protected:
  void write(const Bytes& images, const Bytes& labels) {
    write_bytes(images_, images);
    write_bytes(labels_, labels);
  }
  PictureBlock read() const { return read_idx(images_, labels_, 10); }
  void expect_refused(std::initializer_list<std::string> parts) {
    EXPECT_TRUE(test::throws_with<IoError>([&] { read(); }, parts));
  }

  TempDir dir_;
  std::filesystem::path images_ = dir_ / "images", labels_ = dir_ / "labels";
};

TEST_F(Idx, PlainAndGzippedHoldTheSame) {
  write(idx_images(12, 3, 4), idx_labels(12));
  const auto plain = read();
  EXPECT_EQ(plain.height, 3);
  EXPECT_EQ(plain.width, 4);
  EXPECT_EQ(plain.channels, 1);
  ASSERT_EQ(plain.pixels.size(), 144u);
  for (int i = 0; i < 144; ++i) EXPECT_EQ(plain.pixels[i], (7 * i + 3) % 256);
  ASSERT_EQ(plain.labels.size(), 12u);
  for (int i = 0; i < 12; ++i) EXPECT_EQ(plain.labels[i], i % 10);
  write(gzipped(idx_images(12, 3, 4)), gzipped(idx_labels(12)));
  const auto unzipped = read();
  EXPECT_EQ(unzipped.pixels, plain.pixels);
  EXPECT_EQ(unzipped.labels, plain.labels);
}

TEST_F(Idx, WrongMagic) {
  write(idx_labels(12), idx_labels(12));
  expect_refused({"images", "magic", "0x00000803", "0x00000801"});
  write(idx_images(12, 3, 4), idx_images(12, 3, 4));
  expect_refused({"labels", "magic", "0x00000801", "0x00000803"});
}

TEST_F(Idx, TruncatedGzip) {
  Bytes cut = gzipped(idx_images(12, 28, 28));
  cut.resize(cut.size() / 2);
  write(cut, idx_labels(12));
  expect_refused({images_.string(), "truncated"});
}

TEST_F(Idx, GzipWithABadChecksum) {
  Bytes bad = gzipped(idx_images(12, 28, 28));
  bad[bad.size() - 6] ^= 1;  // in the stored CRC
  write(bad, idx_labels(12));
  expect_refused({images_.string()});
}

TEST_F(Idx, SizesThatTheFileDoesNotHave) {
  Bytes images = idx_images(12, 3, 4);
  images.pop_back();
  write(images, idx_labels(12));
  expect_refused({"expected 144 bytes", "found 143"});
  images = idx_images(12, 3, 4);
  images.push_back(0);
  write(images, idx_labels(12));
  expect_refused({"expected 144 bytes", "found 145", "follows the data"});
  Bytes labels = idx_labels(12);
  labels.pop_back();
  write(idx_images(12, 3, 4), labels);
  expect_refused({labels_.string(), "expected 12 bytes", "found 11"});
}

TEST_F(Idx, AHeaderThatPromisesMoreThanMemory) {
  Bytes images = idx_images(1, 3, 4);
  for (int i = 4; i < 8; ++i) images[i] = 0xFF;              // 4 billion images
  images[10] = images[11] = images[14] = images[15] = 0xFF;  // of 65535×65535
  write(images, idx_labels(12));
  expect_refused({"4294967295 images of 65535×65535", "cut short"});
  images[8] = 1;  // more than 65535 rows
  write(images, idx_labels(12));
  expect_refused({"impossible sizes"});
}

TEST_F(Idx, ZeroImages) {
  write(idx_images(0, 3, 4), idx_labels(0));
  expect_refused({"impossible sizes", "0 images"});
}

TEST_F(Idx, ShorterThanItsHeader) {
  write({0, 0, 8, 3, 0}, idx_labels(1));
  expect_refused({"too short", "16 bytes", "found 5"});
  write({}, idx_labels(1));
  expect_refused({"too short", "found 0"});
}

TEST_F(Idx, LabelOutOfRange) {
  write(idx_images(12, 3, 4), idx_labels(12, 12));
  expect_refused({labels_.string(), "out of range", "byte 18", "0 to 9", "found 10"});
}

TEST_F(Idx, AsManyLabelsAsImages) {
  write(idx_images(12, 3, 4), idx_labels(11));
  expect_refused({"11 labels", "12 images"});
}

TEST(Mnist, PartsComeFromTheirFiles) {
  TempDir dir;
  test::write_mnist(dir.path(), 30, 20);
  const auto parts = open_mnist(dir.path());
  EXPECT_EQ(parts.train->size(), 30);
  EXPECT_EQ(parts.test->size(), 20);
  EXPECT_EQ(parts.train->classes(), 10);
  EXPECT_EQ(parts.train->channels(), 1);
  EXPECT_EQ(parts.train->label(13), 3);
  const Image image = parts.test->load(1);
  EXPECT_EQ(image.height, 28);
  EXPECT_EQ(image.pixels[0], (7 * 784 + 3) % 256);
  EXPECT_NE(parts.test->describe(1).find("t10k-images-idx3-ubyte, image 1"), std::string::npos);
}

TEST(Mnist, TorchvisionsFolderIsFound) {
  TempDir dir;
  test::write_mnist(dir / "MNIST/raw", 3, 2);
  EXPECT_EQ(open_mnist(dir.path()).train->size(), 3);
}

TEST(Mnist, AMissingFileIsNamed) {
  TempDir dir;
  test::write_mnist(dir.path(), 3, 2);
  std::filesystem::remove(dir / "t10k-labels-idx1-ubyte");
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_mnist(dir.path()); },
                                         {dir.path().string(), "t10k-labels-idx1-ubyte", "https://"}));
}

TEST(Mnist, AMissingPathSaysWhereToGetTheFiles) {
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { open_mnist(""); }, {"data.path", "https://"}));
}

TEST(FashionMnist, AMissingFolderNamesThePackage) {
  EXPECT_TRUE(test::throws_with<IoError>([] { open_fashion_mnist("/no/such/folder"); },
                                         {"/no/such/folder", "apt-get install dataset-fashion-mnist"}));
}

TEST(FashionMnist, DebiansPackage) {
  if (!std::filesystem::is_directory(kFashionMnistFolder)) GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  const auto parts = open_fashion_mnist("");
  EXPECT_EQ(parts.train->size(), 60000);
  EXPECT_EQ(parts.test->size(), 10000);
  EXPECT_EQ(parts.train->class_names()[9], "Ankle boot");
  EXPECT_EQ(parts.train->label(0), 9);
  std::vector<int> counts(10, 0);
  for (int64_t i = 0; i < parts.train->size(); ++i) ++counts[parts.train->label(i)];
  EXPECT_EQ(counts, std::vector<int>(10, 6000));
  const Image image = parts.train->load(0);
  EXPECT_EQ(image.height, 28);
  EXPECT_EQ(image.width, 28);
  double sum = 0;
  for (const uint8_t pixel : image.pixels) sum += pixel;
  EXPECT_EQ(sum, 76247);  // numpy's sum of the first training picture
}

}  // namespace
}  // namespace striate
