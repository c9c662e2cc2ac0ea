#include "data/imagenet_classes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "data/datasets/image_folder.h"
#include "tests/data/dataset_files.h"
#include "tests/data/picture_formula.h"
#include "tests/support/temp_dir.h"

namespace striate {
namespace {

using Names = std::vector<std::string>;

TEST(ImagenetClasses, AreAThousandInTheOrderOfTheirIds) {
  const auto classes = imagenet_classes();
  ASSERT_EQ(classes.size(), 1000u);
  std::set<std::string_view> names;
  for (size_t c = 0; c < classes.size(); ++c) {
    EXPECT_TRUE(is_wordnet_id(classes[c].id)) << classes[c].id;
    EXPECT_FALSE(classes[c].name.empty()) << classes[c].id;
    if (c > 0) {
      EXPECT_LT(classes[c - 1].id, classes[c].id);
    }
    names.insert(classes[c].name);
  }
  EXPECT_EQ(names.size(), 1000u) << "a name for each";
  // Those that papers and other programs call by number.
  const auto expect = [&](size_t c, std::string_view id, std::string_view name) {
    EXPECT_EQ(classes[c].id, id);
    EXPECT_EQ(classes[c].name, name);
  };
  expect(0, "n01440764", "tench");
  expect(134, "n02012849", "crane bird");
  expect(207, "n02099601", "golden retriever");
  expect(258, "n02111889", "Samoyed");
  expect(281, "n02123045", "tabby");
  expect(517, "n03126707", "crane");
  expect(638, "n03710637", "maillot");
  expect(639, "n03710721", "maillot tank suit");
  expect(817, "n04285008", "sports car");
  expect(999, "n15075141", "toilet tissue");
}

TEST(ImagenetClasses, WordNetIdsAreNAndEightDigits) {
  EXPECT_TRUE(is_wordnet_id("n01440764"));
  for (const char* other : {"", "n0144076", "n014407640", "v01440764", "n0144076a", "tench"}) {
    EXPECT_FALSE(is_wordnet_id(other)) << other;
  }
}

TEST(ImagenetClasses, FoldersCalledByIdsGetNames) {
  EXPECT_EQ(readable_class_names({"n01440764", "n02111889", "n99999999"}), (Names{"tench", "Samoyed", "n99999999"}));
  // Where some are no ids the rest may be called so for another reason.
  EXPECT_EQ(readable_class_names({"n01440764", "tench"}), (Names{"n01440764", "tench"}));
  EXPECT_EQ(readable_class_names({}), Names{});
}

TEST(ImagenetClasses, ImageFolderShowsThemInTheOrderOfTheIds) {
  test::TempDir dir;
  for (const char* file :
       {"train/n15075141/0.png", "train/n01440764/0.png", "val/n15075141/0.png", "val/n01440764/0.png", "test/0.png"}) {
    test::write_bytes(dir / file, test::png(test::formula_picture(4, 4, 3)));
  }
  const DatasetParts parts = open_image_folder(dir.path());
  for (const auto& part : {parts.train, parts.test, parts.unlabelled}) {
    ASSERT_NE(part, nullptr);
    EXPECT_EQ(part->class_names(), (Names{"tench", "toilet tissue"}));
  }
  EXPECT_EQ(parts.train->describe(0), (dir / "train/n01440764/0.png").string());
  EXPECT_EQ(parts.train->label(1), 1);
}

}  // namespace
}  // namespace striate
