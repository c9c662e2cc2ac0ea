#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/data/archive_files.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A picture whose colours tell its class; what it is called says nothing of its format.
std::string picture(int label, int number) {
  std::string text = "P6 40 36 255\n";
  for (int v = 0; v < 40 * 36 * 3; ++v) {
    text += static_cast<char>(v % 3 == label ? 200 + (v + number) % 40 : (v * v + 31 * number) % 60);
  }
  return text;
}

/// Three classes, 6 training and 2 validation pictures of each.
class ImagenetTools : public testing::Test {
 protected:
  ImagenetTools() {
    std::vector<TarEntry> tars, val;
    for (int c = 0; c < 3; ++c) {
      std::vector<TarEntry> pictures;
      for (int i = 0; i < 6; ++i) {
        const std::string name = fmt::format("{}_{}.JPEG", ids_[c], i), text = picture(c, i);
        pictures.push_back({name, Bytes(text.begin(), text.end())});
        fs::create_directories(dir_ / "folders/train" / ids_[c]);
        write_text(dir_ / "folders/train" / ids_[c] / name, text);
      }
      tars.push_back({ids_[c] + ".tar", tar(pictures)});
    }
    for (int i = 0; i < 6; ++i) {
      const std::string name = fmt::format("ILSVRC2012_val_{:08}.JPEG", i + 1), text = picture(i / 2, 10 + i);
      val.push_back({name, Bytes(text.begin(), text.end())});
      fs::create_directories(dir_ / "folders/val" / ids_[i / 2]);
      write_text(dir_ / "folders/val" / ids_[i / 2] / name, text);
    }
    const fs::path kit = dir_ / "tars/ILSVRC2012_devkit_t12/data";
    fs::create_directories(kit);
    write(dir_ / "tars/ILSVRC2012_img_train.tar", tar(tars));
    write(dir_ / "tars/ILSVRC2012_img_val.tar", tar(val));
    write(kit / "meta.mat", mat_file({{1, ids_[2], "volcano"}, {2, ids_[0], "tench"}, {3, ids_[1], "Samoyed"}}));
    write_text(kit / "ILSVRC2012_validation_ground_truth.txt", "2\n2\n3\n3\n1\n1\n");
  }

  static void write(const fs::path& file, const Bytes& bytes) {
    write_text(file, std::string(bytes.begin(), bytes.end()));
  }
  Outcome train(const std::string& data, const std::string& run) const {
    return run_tool("train", {"--set", "model.name=alexnet_mini", "--set", "threads=1", "--set",
                              "data.dataset=imagenet", "--set", "data.path=" + (dir_ / data).string(), "--set",
                              "data.train_transforms=[{random_crop: 32}, horizontal_flip]", "--set",
                              "data.test_transforms=[{center_crop: 32}]", "--set", "train.epochs=2", "--set",
                              "train.batch_size=6", "--output", (dir_ / run).string()});
  }
  json evaluate(const std::string& run, std::string& err) const {
    const std::string file = (dir_ / "out.json").string();
    const Outcome outcome = run_tool("evaluate", {"--run", (dir_ / run).string(), "--json", file});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    err = outcome.err;
    return json::parse(read_text(file));
  }

  const std::vector<std::string> ids_ = {"n01440764", "n02111889", "n09472597"};
  TempDir dir_;
};

TEST_F(ImagenetTools, TrainFromTarsAsFromFolders) {
  const Outcome from_tars = train("tars", "a");
  ASSERT_EQ(from_tars.code, 0) << from_tars.err;
  EXPECT_TRUE(has(from_tars.err, "18 pictures indexed")) << from_tars.err;
  EXPECT_TRUE(has(from_tars.err, "6 pictures indexed")) << from_tars.err;
  EXPECT_EQ(read_text(dir_ / "a/class_names.txt"), "tench\nSamoyed\nvolcano\n");
  const Outcome from_folders = train("folders", "b");
  ASSERT_EQ(from_folders.code, 0) << from_folders.err;
  EXPECT_EQ(from_folders.err, "");
  EXPECT_EQ(read_text(dir_ / "b/class_names.txt"), read_text(dir_ / "a/class_names.txt"));
  EXPECT_EQ(read_text(dir_ / "b/steps.csv"), read_text(dir_ / "a/steps.csv"));
  ASSERT_EQ(read_lines(dir_ / "a/steps.csv").size(), 7u);

  std::string err;
  const json whole = evaluate("a", err);
  EXPECT_EQ(err, "") << "the index was kept";
  EXPECT_EQ(whole["images"], 6);
  EXPECT_EQ(evaluate("b", err), whole);
  // The validation part alone is enough to measure with, and nothing to train on.
  fs::remove(dir_ / "tars/ILSVRC2012_img_train.tar");
  EXPECT_EQ(evaluate("a", err), whole);
  const Outcome refused = train("tars", "c");
  EXPECT_EQ(refused.code, 2);
  EXPECT_TRUE(has(refused.err, "no training part")) << refused.err;
  EXPECT_FALSE(fs::exists(dir_ / "c"));
}

TEST_F(ImagenetTools, AnOldRunWithIdsForNamesGoesOn) {
  ASSERT_EQ(train("folders", "a").code, 0);
  // As it was before the ids had names.
  write_text(dir_ / "a/class_names.txt", "n01440764\nn02111889\nn09472597\n");
  const Outcome resumed = run_tool("train", {"--resume", (dir_ / "a").string(), "--set", "train.epochs=3"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(read_lines(dir_ / "a/steps.csv").size(), 10u);
  EXPECT_EQ(read_text(dir_ / "a/class_names.txt"), "tench\nSamoyed\nvolcano\n");
  write_text(dir_ / "picture.ppm", picture(1, 3));
  const Outcome predicted = run_tool("predict", {"--run", (dir_ / "a").string(), (dir_ / "picture.ppm").string()});
  ASSERT_EQ(predicted.code, 0) << predicted.err;
  EXPECT_TRUE(has(predicted.out, "Image of a Samoyed (probability: ")) << predicted.out;
}

TEST_F(ImagenetTools, ANetworkForAllClassesIsNotMeasuredOnThree) {
  const Outcome outcome =
      run_tool("evaluate", {"--model", "alexnet_mini", "--classes", "1000", "--set", "data.dataset=imagenet", "--set",
                            "data.path=" + (dir_ / "folders").string()});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(has(outcome.err, "holds 3 classes")) << outcome.err;
}

TEST_F(ImagenetTools, ATarThatIsCutShortIsOneLine) {
  const fs::path file = dir_ / "tars/ILSVRC2012_img_train.tar";
  fs::resize_file(file, fs::file_size(file) - 20000);
  const Outcome outcome = train("tars", "a");
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(has(outcome.err, "train: " + file.string())) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "fetch the file again")) << outcome.err;
  EXPECT_FALSE(fs::exists(dir_ / "a"));
  EXPECT_FALSE(fs::exists(file.string() + ".index"));
}

}  // namespace
}  // namespace striate::test
