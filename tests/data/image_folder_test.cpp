#include "data/datasets/image_folder.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "kernels/error.h"
#include "tests/data/dataset_files.h"
#include "tests/data/picture_formula.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using test::formula_picture;
using test::jpeg;
using test::png;
using test::TempDir;
using test::write_bytes;
using test::write_text;

TEST(ImageFolder, TrainAndVal) {
  TempDir dir;
  write_bytes(dir / "train/cat/b.png", png(formula_picture(4, 4, 3)));
  write_bytes(dir / "train/cat/a.PNG", png(formula_picture(5, 4, 1)));
  write_bytes(dir / "train/ant/deep/x.jpeg", jpeg(formula_picture(6, 4, 3)));
  write_text(dir / "train/ant/notes.txt", "not a picture");
  write_bytes(dir / "val/cat/c.png", png(formula_picture(7, 4, 3)));
  write_bytes(dir / "val/ant/d.png", png(formula_picture(8, 4, 3)));
  const auto parts = open_image_folder(dir.path());
  EXPECT_EQ(parts.train->class_names(), (std::vector<std::string>{"ant", "cat"}));
  ASSERT_EQ(parts.train->size(), 3);
  EXPECT_EQ(parts.train->label(0), 0);
  EXPECT_EQ(parts.train->label(1), 1);
  EXPECT_EQ(parts.train->load(0).height, 6);
  EXPECT_EQ(parts.train->load(1).height, 5);
  EXPECT_EQ(parts.train->load(2).height, 4);
  const Image grey = parts.train->load(1);
  ASSERT_EQ(grey.channels, 3);
  EXPECT_EQ(grey.pixels[3], grey.pixels[4]);
  EXPECT_EQ(grey.pixels[3], formula_picture(5, 4, 1).pixels[1]);
  ASSERT_EQ(parts.test->size(), 2);
  EXPECT_EQ(parts.test->describe(1), (dir / "val/cat/c.png").string());
}

TEST(ImageFolder, ClassFoldersAloneHaveNoTestPart) {
  TempDir dir;
  write_bytes(dir / "b/1.png", png(formula_picture(4, 4, 3)));
  write_bytes(dir / "a/1.png", png(formula_picture(4, 4, 3)));
  const auto parts = open_image_folder(dir.path());
  EXPECT_EQ(parts.train->size(), 2);
  EXPECT_EQ(parts.test, nullptr);
}

TEST(ImageFolder, LinksAreFollowedButNotInCirclesAndHiddenFilesAreNoPictures) {
  TempDir dir;
  const auto picture = png(formula_picture(4, 4, 3));
  for (const char* file : {"data/a/1.png", "data/a/._1.png", "data/a/.ipynb_checkpoints/1.png", "data/b/deep/2.png",
                           "elsewhere/3.png", "elsewhere/further/4.png"}) {
    write_bytes(dir / file, picture);
  }
  namespace fs = std::filesystem;
  fs::create_directory_symlink("..", dir / "data/a/up");
  fs::create_directory_symlink("../..", dir / "data/b/deep/up");
  fs::create_directory_symlink(".", dir / "data/b/self");
  fs::create_directory_symlink("../../elsewhere", dir / "data/a/more");
  fs::create_directory_symlink("../../elsewhere", dir / "elsewhere/further/back");
  fs::create_symlink("nowhere.png", dir / "data/a/dangling.png");
  const auto train = open_image_folder(dir / "data").train;
  ASSERT_EQ(train->size(), 4);
  for (int64_t i = 0; i < 4; ++i) {
    const char* names[] = {"data/a/1.png", "data/a/more/3.png", "data/a/more/further/4.png", "data/b/deep/2.png"};
    EXPECT_EQ(train->describe(i), (dir / names[i]).string());
  }
}

TEST(ImageFolder, ATestFolderWithoutClassesIsUnlabelled) {
  TempDir dir;
  for (const char* file : {"train/ant/0.png", "train/bee/0.png", "test/2.png", "test/deep/1.png"}) {
    write_bytes(dir / file, png(formula_picture(4, 4, 3)));
  }
  // With folders in it that are no classes it could be a spelling mistake, unless val/ has been found.
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_image_folder(dir.path()); }, {"differ", "deep"}));
  for (const char* file : {"val/ant/0.png", "val/bee/0.png"}) write_bytes(dir / file, png(formula_picture(4, 4, 3)));
  auto parts = open_image_folder(dir.path());
  EXPECT_EQ(parts.test->size(), 2);
  ASSERT_NE(parts.unlabelled, nullptr);
  ASSERT_EQ(parts.unlabelled->size(), 2);
  EXPECT_EQ(parts.unlabelled->describe(0), (dir / "test/2.png").string());
  EXPECT_EQ(parts.unlabelled->label(0), kUnlabelled);
  EXPECT_EQ(parts.unlabelled->class_names(), parts.train->class_names());

  std::filesystem::remove_all(dir / "val");
  std::filesystem::remove_all(dir / "test/deep");
  parts = open_image_folder(dir.path());
  EXPECT_EQ(parts.test, nullptr);
  ASSERT_NE(parts.unlabelled, nullptr);
  EXPECT_EQ(parts.unlabelled->size(), 1);

  std::filesystem::remove_all(dir / "test");
  for (const char* part : {"val", "test"}) {
    for (const char* name : {"ant/0.png", "bee/0.png"}) {
      write_bytes(dir / part / name, png(formula_picture(4, 4, 3)));
    }
  }
  EXPECT_EQ(open_image_folder(dir.path()).unlabelled, nullptr) << "class folders have labels";
}

TEST(ImageFolder, BadFoldersAreRefused) {
  TempDir dir;
  EXPECT_TRUE(test::throws_with<ConfigError>([&] { open_image_folder(""); }, {"data.path"}));
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_image_folder(dir / "none"); }, {"none", "no such folder"}));
  EXPECT_TRUE(
      test::throws_with<IoError>([&] { open_image_folder(dir.path()); }, {dir.path().string(), "no class folders"}));
  write_text(dir / "train/cat/notes.txt", "not a picture");
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_image_folder(dir.path()); }, {"train/cat", "without a picture"}));
  write_bytes(dir / "train/cat/a.png", png(formula_picture(4, 4, 3)));
  write_bytes(dir / "val/dog/a.png", png(formula_picture(4, 4, 3)));
  EXPECT_TRUE(test::throws_with<IoError>([&] { open_image_folder(dir.path()); }, {"differ", "cat", "dog"}));
}

}  // namespace
}  // namespace striate
