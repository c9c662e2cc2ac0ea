#include "data/datasets/packed/packed.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "data/datasets/packed/packed_writer.h"
#include "engine/crc32c.h"
#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/data/picture_formula.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

namespace fs = std::filesystem;
using test::Bytes;
using test::formula_picture;
using test::TempDir;
using test::throws_with;
using test::write_bytes;

Bytes bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

PackedWriter::Contents contents() {
  return {.metadata = {"made up", "dataset: made_up\nresize: none\n", {{0.5, 0.4, 0.3}, {0.2, 0.2, 0.1}}, {"a", "b"}},
          .channels = 3,
          .pictures = {3, 0, 1, 2}};
}

/// Picture `number` of the file that the tests share.
Image picture(int number) { return formula_picture(5 + number, 9, 3); }
int label_of(int number) { return number > 3 ? kUnlabelled : number % 2; }

void append(PackedWriter& writer) {
  const Image image = picture(static_cast<int>(writer.next()));
  writer.append(image, label_of(static_cast<int>(writer.next())), crc32c(image.pixels.data(), image.pixels.size()));
}

/// Six pictures: three train, one test, two unlabelled.
fs::path packed(const TempDir& dir) {
  const fs::path file = dir / "a.pack";
  PackedWriter writer(file, contents());
  while (writer.next() < 6) append(writer);
  writer.finish();
  return file;
}

PackedHeader header_of(const Bytes& bytes) {
  PackedHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

/// The bytes with another header, its checksum right.
Bytes with_header(Bytes bytes, const std::function<void(PackedHeader&)>& change) {
  PackedHeader header = header_of(bytes);
  change(header);
  header.header_checksum = header_checksum(header);
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

/// The bytes with another first entry, all checksums right.
Bytes with_entry(Bytes bytes, const std::function<void(PackedEntry&)>& change) {
  const uint64_t index = header_of(bytes).index_offset;
  PackedEntry entry;
  std::memcpy(&entry, &bytes[index], sizeof entry);
  change(entry);
  entry.entry_checksum = entry_checksum(entry);
  std::memcpy(&bytes[index], &entry, sizeof entry);
  const uint32_t checksum = crc32c(&bytes[index], 6 * sizeof entry);
  return with_header(std::move(bytes), [&](PackedHeader& header) { header.index_checksum = checksum; });
}

TEST(Packed, GivesBackWhatWasWritten) {
  const TempDir dir;
  const fs::path file = packed(dir);
  EXPECT_FALSE(fs::exists(file.string() + ".partial"));
  const DatasetParts parts = open_packed(file);
  EXPECT_EQ(parts.validation, nullptr);
  int number = 0;
  for (const auto& [part, name, count] : {std::tuple{parts.train, "train", 3}, std::tuple{parts.test, "test", 1},
                                          std::tuple{parts.unlabelled, "unlabelled", 2}}) {
    ASSERT_NE(part, nullptr);
    EXPECT_EQ(part->size(), count);
    EXPECT_EQ(part->channels(), 3);
    EXPECT_EQ(part->class_names(), (std::vector<std::string>{"a", "b"}));
    for (int i = 0; i < count; ++i, ++number) {
      const Image image = part->load(i);
      EXPECT_EQ(image.height, 5 + number);
      EXPECT_EQ(image.width, 9);
      EXPECT_EQ(image.pixels, picture(number).pixels);
      EXPECT_EQ(part->label(i), label_of(number));
      EXPECT_EQ(part->describe(i), file.string() + ", " + name + " image " + std::to_string(i));
    }
  }
  EXPECT_EQ(packed_normalization(file).mean, (std::vector<double>{0.5, 0.4, 0.3}));
  EXPECT_EQ(packed_normalization(file).std, (std::vector<double>{0.2, 0.2, 0.1}));
  const PackedSummary summary = check_packed(file, nullptr);
  EXPECT_EQ(summary.parts,
            (std::vector<std::pair<std::string, int64_t>>{{"train", 3}, {"test", 1}, {"unlabelled", 2}}));
  EXPECT_EQ(summary.images, 6);
  EXPECT_EQ(summary.bytes, fs::file_size(file));
}

TEST(Packed, ForeseesItsSizeByThePicturesSoFar) {
  const TempDir dir;
  PackedWriter::Contents many = contents();
  many.pictures = {1 << 20, 0, 0, 0};
  PackedWriter writer(dir / "a.pack", many);
  const Image image = formula_picture(64, 64, 3);
  for (int i = 0; i < 10; ++i) writer.append(image, 0, 0);
  // Each takes its pixels and an entry, whatever room the index has.
  EXPECT_EQ(writer.bytes_to_come(), uint64_t{(1 << 20) - 10} * (64 * 64 * 3 + sizeof(PackedEntry)));
}

TEST(Packed, RefusesWhatIsNoPackedFile) {
  const TempDir dir;
  const auto refused = [](const fs::path& file, std::initializer_list<std::string> parts) {
    EXPECT_TRUE(throws_with<IoError>([&] { open_packed(file); }, parts)) << file;
  };
  EXPECT_TRUE(throws_with<ConfigError>([] { open_packed(""); }, {"data.path"}));
  refused(dir / "none", {"none", "No such file"});
  refused(dir.path(), {"expected a file"});
  write_bytes(dir / "empty", {});
  refused(dir / "empty", {"is empty"});
  write_bytes(dir / "short", Bytes(100, 0x89));
  refused(dir / "short", {"not a packed file"});
  write_bytes(dir / "jpeg", test::jpeg(formula_picture(40, 40, 3)));
  refused(dir / "jpeg", {"not a packed file"});
  PackedWriter unfinished(dir / "u", contents());
  append(unfinished);
  refused(dir / "u.partial", {"not finished"});
}

TEST(Packed, CutShortAnywhereIsRefused) {
  const TempDir dir;
  const Bytes whole = bytes_of(packed(dir));
  write_bytes(dir / "cut", whole);
  for (size_t size = whole.size(); size-- > 0;) {
    fs::resize_file(dir / "cut", size);
    EXPECT_THROW(open_packed(dir / "cut"), IoError) << size;
  }
  write_bytes(dir / "cut", Bytes(whole.begin(), whole.end() - 1));
  EXPECT_TRUE(throws_with<IoError>([&] { open_packed(dir / "cut"); }, {"cut short", std::to_string(whole.size())}));
  Bytes longer = whole;
  longer.push_back(0);
  write_bytes(dir / "long", longer);
  EXPECT_TRUE(throws_with<IoError>([&] { open_packed(dir / "long"); }, {"too long"}));
}

TEST(Packed, EveryFlippedBitIsNoticed) {
  const TempDir dir;
  const Bytes whole = bytes_of(packed(dir));
  const PackedHeader header = header_of(whole);
  std::fstream stream(dir / "a.pack", std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](size_t at, uint8_t byte) {
    stream.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte)).flush();
  };
  size_t last = 0;
  const auto flipped = [&](size_t at) {
    put(last, whole[last]);
    put(at, static_cast<uint8_t>(whole[at] ^ (1u << (at % 8))));
    last = at;
    return dir / "a.pack";
  };
  for (size_t at = 0; at < sizeof header + header.metadata_bytes; ++at) {
    EXPECT_THROW(open_packed(flipped(at)), IoError) << at;
  }
  EXPECT_TRUE(throws_with<IoError>([&] { open_packed(flipped(30)); }, {"checksum of its header"}));
  EXPECT_TRUE(throws_with<IoError>([&] { open_packed(flipped(140)); }, {"checksum of its metadata", "bytes 128 to"}));
  for (size_t at = header.index_offset; at < header.index_offset + 6 * sizeof(PackedEntry); ++at) {
    EXPECT_TRUE(throws_with<IoError>([&] { open_packed(flipped(at)); }, {"checksum of its index"})) << at;
  }
  PackedEntry second;
  std::memcpy(&second, &whole[header.index_offset + sizeof second], sizeof second);
  const fs::path file = flipped(second.offset + 100);
  const DatasetParts parts = open_packed(file);
  const std::string place = "bytes " + std::to_string(second.offset) + " to " + std::to_string(second.offset + 6 * 27);
  for (int again = 0; again < 2; ++again) {
    EXPECT_TRUE(throws_with<IoError>([&] { parts.train->load(1); }, {file, "train image 1", "checksum", place}));
  }
  EXPECT_EQ(parts.train->load(0).pixels, picture(0).pixels) << "the others can be read";
  EXPECT_TRUE(throws_with<IoError>([&] { check_packed(file, nullptr); }, {"train image 1"}));
}

TEST(Packed, NothingIsBelievedForItsChecksum) {
  const TempDir dir;
  const Bytes whole = bytes_of(packed(dir));
  const auto refused = [&](const Bytes& bytes, std::initializer_list<std::string> parts) {
    write_bytes(dir / "forged", bytes);
    EXPECT_TRUE(throws_with<IoError>([&] { open_packed(dir / "forged"); }, parts));
  };
  const auto header = [&](const std::function<void(PackedHeader&)>& change, const std::string& what) {
    refused(with_header(whole, change), {"forged", what});
  };
  header([](PackedHeader& h) { h.version = 2; }, "version 2 of the format, this build reads 1");
  header([](PackedHeader& h) { h.version = 0; }, "damaged");
  header([](PackedHeader& h) { h.channels = 2; }, "channels");
  header([](PackedHeader& h) { h.classes = UINT32_MAX; }, "classes");
  header([](PackedHeader& h) { h.classes = 3; }, "class name");
  header([](PackedHeader& h) { h.metadata_bytes = UINT64_MAX; }, "metadata_bytes");
  header([](PackedHeader& h) { h.index_offset = UINT64_MAX - 63; }, "index_offset");
  header([](PackedHeader& h) { h.capacity = UINT64_MAX; }, "capacity");
  header([](PackedHeader& h) { h.pixels_offset = 0; }, "pixels_offset");
  header([](PackedHeader& h) { h.pictures[1] = UINT64_MAX; }, "pictures");
  header([](PackedHeader& h) { h.pictures = {0, 4, 0, 2}; }, "neither train nor test");
  header([](PackedHeader& h) { h.file_bytes = UINT64_MAX; }, "cut short");
  header(
      [](PackedHeader& h) {
        h.capacity = uint64_t{1} << 32;
        h.pixels_offset = h.index_offset + (h.capacity << 5);
        h.pictures = {h.capacity, 0, 0, 0};
      },
      "file_bytes");

  const auto entry = [&](const std::function<void(PackedEntry&)>& change) {
    refused(with_entry(whole, change), {"forged, train image 0", "makes no sense"});
  };
  entry([](PackedEntry& e) { e.offset = 0; });
  entry([](PackedEntry& e) { e.offset += 1; });
  entry([](PackedEntry& e) { e.offset = UINT64_MAX - 63; });
  entry([](PackedEntry& e) { e.offset = uint64_t{1} << 40; });
  entry([](PackedEntry& e) { e.height = 0; });
  entry([](PackedEntry& e) { e.width = UINT32_MAX; });
  entry([](PackedEntry& e) { e.height = e.width = UINT32_MAX; });
  entry([](PackedEntry& e) { e.height = 1000; });
  entry([](PackedEntry& e) { e.label = 2; });
  entry([](PackedEntry& e) { e.label = -1; });
  entry([](PackedEntry& e) { e.label = INT32_MIN; });
}

TEST(Packed, AFileCutShortWhileItIsReadIsAnError) {
  void* const page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const bool can_tell = madvise(page, 4096, MADV_POPULATE_READ) == 0;
  munmap(page, 4096);
  if (!can_tell) GTEST_SKIP() << "this Linux does not tell before the bytes are looked at";
  const TempDir dir;
  PackedWriter::Contents one = contents();
  one.pictures = {1, 0, 0, 0};
  PackedWriter writer(dir / "a", one);
  const Image image = formula_picture(200, 200, 3);
  writer.append(image, 0, crc32c(image.pixels.data(), image.pixels.size()));
  writer.finish();
  const DatasetParts parts = open_packed(dir / "a");
  fs::resize_file(dir / "a", 8192);
  EXPECT_TRUE(throws_with<IoError>([&] { parts.train->load(0); }, {(dir / "a").string(), "cut short"}));
}

}  // namespace
}  // namespace striate
