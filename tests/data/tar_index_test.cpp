#include "data/datasets/imagenet/tar_index.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "kernels/error.h"
#include "tests/data/archive_files.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

namespace fs = std::filesystem;
using test::Bytes;
using test::tar;
using test::TarEntry;
using test::TarFormat;
using test::TempDir;
using test::write_bytes;
using Layout = TarIndex::Layout;

Bytes text(const std::string& content) { return Bytes(content.begin(), content.end()); }

class TarIndexTest : public testing::Test {
 protected:
  TarIndexTest() { ::setenv("XDG_CACHE_HOME", (dir_ / "cache").c_str(), 1); }
  ~TarIndexTest() override { ::unsetenv("XDG_CACHE_HOME"); }

  fs::path file() const { return dir_ / "pictures.tar"; }

  TarIndex build(Layout layout) const {
    const RandomAccessFile in(file());
    return TarIndex::build(in, layout, [](uint64_t, size_t) {});
  }

  TarIndex cached(Layout layout = Layout::pictures) {
    told_.clear();
    const RandomAccessFile in(file());
    return cached_tar_index(in, layout, [this](const std::string& line) { told_.push_back(line); });
  }

  std::string content(const TarIndex& index, size_t i) const {
    const RandomAccessFile in(file());
    std::string bytes(index[i].size, '\0');
    in.read(index[i].offset, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
    return bytes;
  }

  testing::AssertionResult refused(const Bytes& bytes, Layout layout, std::initializer_list<std::string> parts) const {
    write_bytes(file(), bytes);
    if (auto named = test::throws_with<IoError>([&] { build(layout); }, {file().string()}); !named) return named;
    return test::throws_with<IoError>([&] { build(layout); }, parts);
  }

  TempDir dir_;
  std::vector<std::string> told_;
};

TEST_F(TarIndexTest, PicturesOfATarAreSortedAndOthersLeftOut) {
  write_bytes(file(), tar({{"b.JPEG", text("bb")},
                           {"folder/", {}, TarEntry::Kind::folder},
                           {"notes.txt", text("no picture")},
                           {"./a.jpg", text("a")},
                           {"._a.jpg", text("what macOS adds")},
                           {"empty.png", {}},
                           {"a.link", {}, TarEntry::Kind::symbolic_link, "a.jpg"}}));
  const TarIndex index = build(Layout::pictures);
  ASSERT_EQ(index.size(), 3u);
  EXPECT_EQ(index.name(0), "a.jpg");
  EXPECT_EQ(index.name(1), "b.JPEG");
  EXPECT_EQ(index.name(2), "empty.png");
  EXPECT_EQ(content(index, 0), "a");
  EXPECT_EQ(content(index, 1), "bb");
  EXPECT_EQ(index[2].size, 0u);
  EXPECT_EQ(index.folders(), std::vector<std::string>{""});
}

class TarFormats : public TarIndexTest, public testing::WithParamInterface<TarFormat> {};

TEST_P(TarFormats, TarsWithinATarAndLongNamesAreFound) {
  const std::string long_name = "deep/" + std::string(180, 'x') + ".jpg";
  const std::string longest = std::string(GetParam() == TarFormat::ustar ? 90 : 3000, 'y') + ".png";
  const Bytes one = tar({{"1.jpg", text("one")}, {longest, text("one too")}}, GetParam());
  const Bytes two = tar({{long_name.substr(GetParam() == TarFormat::ustar ? 100 : 0), text("two")}}, GetParam());
  write_bytes(file(), tar({{"z.tar", one}, {"readme.txt", text("x")}, {"a.tar", two}}, GetParam()));
  const TarIndex index = build(Layout::tars_of_pictures);
  EXPECT_EQ(index.folders(), (std::vector<std::string>{"a", "z"}));
  ASSERT_EQ(index.size(), 3u);
  EXPECT_EQ(index[0].folder, 0u);
  EXPECT_EQ(content(index, 0), "two");
  EXPECT_EQ(index[1].folder, 1u);
  EXPECT_EQ(index.name(1), "1.jpg");
  EXPECT_EQ(content(index, 1), "one");
  EXPECT_EQ(index.name(2), longest);
  EXPECT_EQ(content(index, 2), "one too");
}

INSTANTIATE_TEST_SUITE_P(Of, TarFormats, testing::Values(TarFormat::ustar, TarFormat::pax, TarFormat::gnu),
                         [](const auto& tested) {
                           return tested.param == TarFormat::ustar ? "ustar"
                                  : tested.param == TarFormat::pax ? "pax"
                                                                   : "gnu";
                         });

TEST_F(TarIndexTest, ATarThatIsCutShortIsRefusedWhereverItIsCut) {
  Bytes bytes = tar({{"a.jpg", Bytes(3000, 1)}, {"b.jpg", Bytes(700, 2)}});
  const size_t end = test::tar_header(bytes, "b.jpg") + 512 + 1024;  // of the last member
  for (const size_t length : {end, end - 512, end - 1024, end - 1, size_t{512}, size_t{511}, size_t{2000}, size_t{1},
                              test::tar_header(bytes, "b.jpg"), test::tar_header(bytes, "b.jpg") + 200}) {
    EXPECT_TRUE(refused(Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(length)), Layout::pictures,
                        {"fetch the file again"}))
        << length;
  }
  EXPECT_TRUE(refused({}, Layout::pictures, {"byte 0"}));
  // The inner tar's end is cut, and the outer one is whole.
  const Bytes cut(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(end));
  EXPECT_TRUE(refused(tar({{"n.tar", cut}}), Layout::tars_of_pictures, {"n.tar", "cut short"}));
  const Bytes shorter(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(end - 600));
  EXPECT_TRUE(refused(tar({{"n.tar", shorter}, {"m.tar", bytes}}), Layout::tars_of_pictures, {"b.jpg", "700 bytes"}));
}

TEST_F(TarIndexTest, WhatIsBehindATarsEndIsRefusedWhereItIsATarAndElseIgnored) {
  const Bytes one = tar({{"a.jpg", text("a")}}), two = tar({{"b.jpg", text("b")}});
  const auto joined = [&](size_t zeros, const Bytes& more) {
    const size_t end = test::tar_header(one, "a.jpg") + 1024;  // of the member
    Bytes bytes(one.begin(), one.begin() + static_cast<ptrdiff_t>(end));
    bytes.resize(end + zeros);
    bytes.insert(bytes.end(), more.begin(), more.end());
    return bytes;
  };
  for (const size_t zeros : {size_t{512}, size_t{1024}, size_t{9216}, size_t{99840}}) {
    const Bytes both = joined(zeros, two);
    EXPECT_TRUE(refused(both, Layout::pictures, {"byte 1024", "another begins"})) << zeros;
    EXPECT_TRUE(refused(tar({{"n.tar", both}}), Layout::tars_of_pictures, {"n.tar", "another begins"})) << zeros;
    write_bytes(file(), joined(zeros, text("no header")));
    EXPECT_EQ(build(Layout::pictures).size(), 1u) << zeros;
  }
}

TEST_F(TarIndexTest, AbsurdSizesAreRefused) {
  const Bytes bytes = tar({{"a.jpg", Bytes(100, 1)}, {"b.jpg", Bytes(100, 2)}});
  for (const auto& [size, base256] : {std::pair{uint64_t{1} << 62, true}, std::pair{uint64_t{1} << 35, false},
                                      std::pair{~uint64_t{0}, true}, std::pair{uint64_t{20000}, false}}) {
    Bytes changed = bytes;
    test::set_tar_size(changed, test::tar_header(changed, "a.jpg"), size, base256);
    EXPECT_TRUE(refused(changed, Layout::pictures, {})) << size;
    EXPECT_TRUE(refused(tar({{"n.tar", changed}, {"o.tar", bytes}}), Layout::tars_of_pictures, {"n.tar"})) << size;
  }
  // A member of the inner tar that reaches into the outer one's next.
  Bytes inner = bytes;
  test::set_tar_size(inner, test::tar_header(inner, "b.jpg"), inner.size(), false);
  EXPECT_TRUE(refused(tar({{"n.tar", inner}, {"o.tar", bytes}}), Layout::tars_of_pictures, {"n.tar", "b.jpg"}));
}

TEST_F(TarIndexTest, DamageIsNamedWithItsPlace) {
  Bytes bytes = tar({{"a.jpg", Bytes(100, 1)}, {"b.jpg", Bytes(100, 2)}});
  const size_t header = test::tar_header(bytes, "b.jpg");
  bytes[header + 20] = 'x';  // the checksum tells
  EXPECT_TRUE(refused(bytes, Layout::pictures, {"byte " + std::to_string(header), "damaged"}));
  EXPECT_TRUE(refused(text("this is no tar at all, but some text"), Layout::pictures, {"not a tar"}));
  EXPECT_TRUE(refused(tar({{"a.jpg", text("1")}, {"a.jpg", text("2")}}), Layout::pictures, {"a.jpg", "twice"}));
  const Bytes inner = tar({{"a.jpg", text("1")}});
  EXPECT_TRUE(refused(tar({{"n.tar", inner}, {"n.tar", inner}}), Layout::tars_of_pictures, {"n.tar", "twice"}));
  for (const auto kind : {TarEntry::Kind::symbolic_link, TarEntry::Kind::hard_link}) {
    EXPECT_TRUE(
        refused(tar({{"a.jpg", text("1")}, {"b.jpg", {}, kind, "a.jpg"}}), Layout::pictures, {"b.jpg", "link"}));
  }
}

TEST_F(TarIndexTest, APictureWithAHoleIsRefused) {
  EXPECT_TRUE(refused(tar({{"a.jpg", Bytes(8192, 1), TarEntry::Kind::with_a_hole}}, TarFormat::pax), Layout::pictures,
                      {"a.jpg", "holes"}));
}

TEST_F(TarIndexTest, TheKeptIndexIsUsedWithoutTheTarsHeaders) {
  Bytes bytes = tar({{"a.jpg", text("first")}, {"b.jpg", text("second")}});
  write_bytes(file(), bytes);
  EXPECT_EQ(cached().size(), 2u);
  ASSERT_EQ(told_.size(), 2u);
  EXPECT_NE(told_[0].find("looked up once"), std::string::npos) << told_[0];
  EXPECT_NE(told_[1].find("2 pictures indexed"), std::string::npos) << told_[1];
  EXPECT_NE(told_[1].find(file().string() + ".index"), std::string::npos) << told_[1];

  // With its headers gone and its size and time as they were, only the kept index can tell where the pictures lie.
  const auto time = fs::last_write_time(file());
  for (const char* name : {"a.jpg", "b.jpg"}) bytes[test::tar_header(bytes, name) + 1] = 0xFF;
  write_bytes(file(), bytes);
  fs::last_write_time(file(), time);
  const TarIndex index = cached();
  EXPECT_TRUE(told_.empty()) << told_[0];
  ASSERT_EQ(index.size(), 2u);
  EXPECT_EQ(index.name(1), "b.jpg");
  EXPECT_EQ(content(index, 1), "second");
  // Another time, and it is read again, which shows the damage.
  fs::last_write_time(file(), time + std::chrono::seconds(1));
  EXPECT_THROW(cached(), IoError);
  ASSERT_EQ(told_.size(), 1u);
  EXPECT_NE(told_[0].find("another version of the tar"), std::string::npos) << told_[0];
}

TEST_F(TarIndexTest, AnIndexOfAnotherSizeOrLayoutIsBuiltAnew) {
  write_bytes(file(), tar({{"a.jpg", text("first")}}));
  const auto time = fs::last_write_time(file());
  cached();
  // Larger by some zeros, which a tar may have at its end.
  Bytes larger = tar({{"a.jpg", text("first")}});
  larger.resize(larger.size() + 1024);
  write_bytes(file(), larger);
  fs::last_write_time(file(), time);
  EXPECT_EQ(cached().size(), 1u);
  EXPECT_EQ(told_.size(), 2u);
  cached();
  EXPECT_TRUE(told_.empty());
  EXPECT_EQ(cached(Layout::tars_of_pictures).size(), 0u);
  EXPECT_EQ(told_.size(), 2u);
}

TEST_F(TarIndexTest, ADamagedIndexIsBuiltAnew) {
  write_bytes(file(), tar({{"a.jpg", text("first")}, {"b.jpg", text("second")}}));
  cached();
  const fs::path kept = file().string() + ".index";
  std::ifstream in(kept, std::ios::binary);
  const Bytes good((std::istreambuf_iterator<char>(in)), {});
  ASSERT_GT(good.size(), 100u);
  for (size_t byte = 0; byte < good.size(); byte += 3) {  // one in every field
    Bytes damaged = good;
    damaged[byte] ^= 0x10;
    write_bytes(kept, damaged);
    ASSERT_EQ(cached().size(), 2u) << byte;
    ASSERT_EQ(told_.size(), 2u) << byte;
    ASSERT_NE(told_[0].find(kept.string()), std::string::npos) << told_[0];
  }
  for (size_t length = 0; length < good.size(); length += 23) {
    write_bytes(kept, Bytes(good.begin(), good.begin() + static_cast<ptrdiff_t>(length)));
    ASSERT_EQ(cached().size(), 2u) << length;
    ASSERT_EQ(told_.size(), 2u) << length;
  }
  cached();
  EXPECT_TRUE(told_.empty()) << "the last one was kept";
}

TEST_F(TarIndexTest, WhereTheFolderCannotBeWrittenTheUsersCacheIsUsed) {
  write_bytes(file(), tar({{"a.jpg", text("first")}}));
  // Root may write everywhere, but nobody puts a file where a folder is.
  fs::create_directories(file().string() + ".index/x");
  cached();
  ASSERT_EQ(told_.size(), 2u);
  const fs::path kept = tar_index_files(file())[1];
  EXPECT_NE(told_[1].find(kept.string()), std::string::npos) << told_[1];
  EXPECT_TRUE(kept.string().starts_with((dir_ / "cache/striate/pictures.tar-").string())) << kept;
  EXPECT_TRUE(fs::exists(kept));
  EXPECT_EQ(cached().size(), 1u);
  EXPECT_TRUE(told_.empty());
  fs::remove(kept);
  fs::create_directories(kept / "x");
  EXPECT_EQ(cached().size(), 1u);
  ASSERT_EQ(told_.size(), 2u);
  EXPECT_NE(told_[1].find("cannot be kept"), std::string::npos) << told_[1];
}

TEST_F(TarIndexTest, TheIndexOfAnotherProcessThatWasFasterWillDo) {
  write_bytes(file(), tar({{"a.jpg", text("first")}}));
  const RandomAccessFile in(file());
  std::vector<std::string> told;
  const TarIndex index = cached_tar_index(in, Layout::pictures, [&](const std::string& line) {
    told.push_back(line);
    if (told.size() > 1) return;
    cached();
    fs::create_directories(file().string() + ".index.partial/x");  // ours cannot be written any more
  });
  EXPECT_EQ(index.size(), 1u);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_NE(told[1].find("kept in " + file().string() + ".index"), std::string::npos) << told[1];
  EXPECT_FALSE(fs::exists(tar_index_files(file())[1]));
}

}  // namespace
}  // namespace striate
