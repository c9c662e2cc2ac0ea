#include "data/datasets/cifar.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::cifar_records;
using test::TempDir;
using test::write_bytes;
using test::write_text;

void write_cifar10(const std::filesystem::path& folder) {
  for (int b = 1; b <= 5; ++b) {
    write_bytes(folder / ("data_batch_" + std::to_string(b) + ".bin"), cifar_records(3 + b, 1, 10));
  }
  write_bytes(folder / "test_batch.bin", cifar_records(12, 1, 10));
}

TEST(Cifar10, RecordsBecomeInterleavedPictures) {
  TempDir dir;
  write_cifar10(dir.path());
  const auto parts = open_cifar10(dir.path());
  EXPECT_EQ(parts.train->size(), 4 + 5 + 6 + 7 + 8);
  EXPECT_EQ(parts.test->size(), 12);
  EXPECT_EQ(parts.train->label(4 + 2), 2);  // record 2 of the second file
  const Image image = parts.train->load(4 + 2);
  ASSERT_EQ(image.height, 32);
  ASSERT_EQ(image.width, 32);
  ASSERT_EQ(image.channels, 3);
  for (int p = 0; p < 1024; ++p) {
    for (int c = 0; c < 3; ++c) ASSERT_EQ(image.pixels[3 * p + c], (2 + 50 * c + p) % 256);
  }
  EXPECT_EQ(parts.train->class_names()[9], "truck");
}

TEST(Cifar10, TheArchivesFolderAndItsNamesAreFound) {
  TempDir dir;
  write_cifar10(dir / "cifar-10-batches-bin");
  write_text(dir / "cifar-10-batches-bin/batches.meta.txt", "a\nb\r\nc\nd\ne\nf\ng\nh\ni\nj\n\n");
  EXPECT_EQ(open_cifar10(dir.path()).test->class_names()[1], "b");
  write_text(dir / "cifar-10-batches-bin/batches.meta.txt", "a\nb\n");
  EXPECT_TRUE(
      test::throws_with<IoError>([&] { open_cifar10(dir.path()); }, {"batches.meta.txt", "expected 10", "found 2"}));
}

TEST(Cifar10, BadFilesAreRefused) {
  TempDir dir;
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_cifar10(dir / "none"); },
                                         {"none", "no such folder", "cifar-10-binary.tar.gz"}));
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { open_cifar10(""); }, {"data.path"}));
  write_cifar10(dir.path());
  auto bytes = cifar_records(2, 1, 10);
  bytes.pop_back();
  write_bytes(dir / "data_batch_3.bin", bytes);
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_cifar10(dir.path()); },
                                         {"data_batch_3.bin", "3073-byte records", "3072 bytes more"}));
  write_bytes(dir / "data_batch_3.bin", {});
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_cifar10(dir.path()); }, {"data_batch_3.bin", "0 bytes"}));
  write_bytes(dir / "data_batch_3.bin", cifar_records(12, 1, 11));
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_cifar10(dir.path()); },
                                         {"data_batch_3.bin", "byte 30730", "0 to 9", "found 10"}));
  std::filesystem::remove(dir / "data_batch_3.bin");
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_cifar10(dir.path()); }, {"no data_batch_3.bin"}));
}

TEST(Cifar100, FineLabelsAreLearned) {
  TempDir dir;
  write_bytes(dir / "train.bin", cifar_records(120, 2, 100));
  write_bytes(dir / "test.bin", cifar_records(5, 2, 100));
  const auto parts = open_cifar100(dir.path());
  EXPECT_EQ(parts.train->size(), 120);
  EXPECT_EQ(parts.train->label(99), 99);
  EXPECT_EQ(parts.train->label(107), 7);
  ASSERT_EQ(parts.train->classes(), 100);
  EXPECT_EQ(parts.train->class_names()[0], "apple");
  EXPECT_EQ(parts.train->class_names()[99], "worm");
  EXPECT_EQ(parts.train->load(1).pixels[1], 51);
}

}  // namespace
}  // namespace striate
