#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "data/image.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"
#include "tools/experiments/png.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++found;
  return found;
}

/// An SVG's lines of text, in the order in which they were set.
std::vector<std::string> texts(const std::string& svg) {
  std::vector<std::string> lines;
  std::istringstream in(svg);
  for (std::string line; std::getline(in, line);) {
    if (line.find("<text>") == std::string::npos) continue;
    std::string text = line;
    for (size_t at; (at = text.find('<')) != std::string::npos;) text.erase(at, text.find('>', at) - at + 1);
    const size_t begin = text.find_first_not_of(" \t");
    if (begin != std::string::npos) lines.push_back(text.substr(begin));
  }
  for (std::string& line : lines) {
    for (const auto& [entity, character] : {std::pair{"&lt;", "<"}, std::pair{"&gt;", ">"}, std::pair{"&amp;", "&"}}) {
      for (size_t at; (at = line.find(entity)) != std::string::npos;)
        line.replace(at, std::string(entity).size(), character);
    }
  }
  return lines;
}

/// A run of tiny_flags() that all tests look at.
class Visualize : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempDir();
    train_tiny(run(), {"--set", "model.width=1", "--set", "train.epochs=1"});
  }
  static void TearDownTestSuite() {
    delete folder_;
    folder_ = nullptr;
  }
  static fs::path run() { return *folder_ / "run"; }
  static fs::path path(const std::string& name) { return *folder_ / name; }

  /// The SVG that a subcommand draws with these flags.
  static std::string drawn(const std::string& subcommand, std::vector<std::string> flags) {
    const fs::path file = path("drawn.svg");
    flags.insert(flags.begin(), subcommand);
    flags.insert(flags.end(), {"--output", file.string()});
    const Outcome outcome = run_tool("visualize", flags);
    EXPECT_EQ(outcome.code, 0) << outcome.out << outcome.err;
    EXPECT_EQ(outcome.err, "");
    EXPECT_NE(outcome.out.find("wrote " + file.string()), std::string::npos) << outcome.out;
    const std::string svg = read_text(file);
    fs::remove(file);
    return svg;
  }
  static std::string of_run(const std::string& subcommand, std::vector<std::string> flags = {}) {
    flags.insert(flags.begin(), {"--run", run().string()});
    return drawn(subcommand, flags);
  }

 private:
  static inline TempDir* folder_ = nullptr;
};

TEST_F(Visualize, SamplesNeedADatasetOnly) {
  const std::vector<std::string> data = {"--set", "data.dataset=synthetic", "--set",
                                         "data.synthetic={train_images: 200, test_images: 50}"};
  const std::string svg = drawn("samples", data);
  EXPECT_EQ(count(svg, "<image "), 10u);
  // One of each of the ten classes: ten names, all different, behind title and subtitle.
  const std::vector<std::string> lines = texts(svg);
  ASSERT_EQ(lines.size(), 12u);
  EXPECT_EQ(lines[0], "synthetic, train part");
  EXPECT_NE(lines[1].find("10 of 200 images"), std::string::npos) << lines[1];
  std::vector<std::string> names(lines.begin() + 2, lines.end());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());

  std::vector<std::string> more = data;
  more.insert(more.end(), {"--count", "25", "--split", "test"});
  const std::string first = drawn("samples", more);
  EXPECT_EQ(count(first, "<image "), 25u);
  EXPECT_EQ(drawn("samples", more), first) << "the same choice again";
  more.insert(more.end(), {"--seed", "9"});
  EXPECT_NE(drawn("samples", more), first);
}

TEST_F(Visualize, SamplesAsTheNetworkSeesThem) {
  const std::string original = of_run("samples", {"--split", "val"});
  const auto pixels = [](const std::string& svg) { return svg.substr(svg.find("base64")); };
  EXPECT_EQ(pixels(of_run("samples", {"--split", "val", "--view", "test"})), pixels(original));
  const std::string augmented = of_run("samples", {"--split", "val", "--view", "train"});
  EXPECT_NE(augmented.find("augmented"), std::string::npos);
  EXPECT_EQ(count(augmented, "<image "), 10u);
  EXPECT_NE(pixels(augmented), pixels(original)) << "crops and flips";
}

TEST_F(Visualize, FiltersOfAnyConvolution) {
  const Outcome outcome = run_tool("visualize", {"filters", "--run", run().string()});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_GT(Picture::read(run() / "filters_features.0.png").width, 1000) << "beside the run by default";
  const std::string first = of_run("filters");
  EXPECT_EQ(count(first, "<image "), 32u);
  EXPECT_NE(first.find("5×5 weights, three channels"), std::string::npos);
  EXPECT_NE(first.find("kernel by kernel"), std::string::npos);
  EXPECT_NE(of_run("filters", {"--normalize", "layer"}).find("layer's largest weight"), std::string::npos);
  const std::string second = of_run("filters", {"--layer", "features.3", "--count", "7"});
  EXPECT_EQ(count(second, "<image "), 7u);
  EXPECT_NE(second.find("mosaic of its 32 input channels"), std::string::npos);
  EXPECT_NE(second.find("the first 7 of 64"), std::string::npos);
  EXPECT_EQ(count(of_run("filters", {"--unit", "31"}), "<image "), 1u);
  // Three rows of eight: pictures at three heights.
  const std::string rows = of_run("filters", {"--count", "24", "--columns", "8"});
  std::set<std::string> heights;
  for (size_t at = 0; (at = rows.find("<image x='", at)) != std::string::npos; ++at) {
    const size_t y = rows.find("y='", at) + 3;
    heights.insert(rows.substr(y, rows.find('\'', y) - y));
  }
  EXPECT_EQ(heights.size(), 3u);
  // A network without a run, untrained.
  const std::string untrained = drawn("filters", {"--model", "lenet"});
  EXPECT_EQ(count(untrained, "<image "), 6u);
  EXPECT_NE(untrained.find("untrained"), std::string::npos);
}

TEST_F(Visualize, FilteredHasAColumnAKernel) {
  // Three kernels above, then for each of two pictures itself and three maps.
  EXPECT_EQ(count(of_run("filtered", {"--count", "2", "--kernels", "3"}), "<image "), 3u + 2u * 4u);
  const std::string one = of_run("filtered", {"--count", "1", "--unit", "5", "--layer", "features.3"});
  EXPECT_EQ(count(one, "<image "), 3u);
  EXPECT_NE(one.find("16×16"), std::string::npos) << "the map of the second convolution";
}

/// Truth, prediction and the probabilities of both, by `evaluate --per-image`.
struct Row {
  int label, prediction;
  double of_prediction, of_label;
};
std::vector<Row> per_image(const fs::path& run, const fs::path& csv) {
  const Outcome outcome = run_tool("evaluate", {"--run", run.string(), "--per-image", csv.string()});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  std::vector<Row> rows;
  for (const std::string& line : read_lines(csv)) {
    if (line.rfind("image", 0) == 0) continue;
    std::vector<double> cells;
    std::istringstream in(line);
    for (std::string cell; std::getline(in, cell, ',');) cells.push_back(std::stod(cell));
    const auto label = static_cast<size_t>(cells[1]), prediction = static_cast<size_t>(cells[2]);
    rows.push_back({static_cast<int>(label), static_cast<int>(prediction), cells[3 + prediction], cells[3 + label]});
  }
  return rows;
}

TEST_F(Visualize, ErrorsAreSortedByConfidence) {
  std::vector<Row> wrong = per_image(run(), path("images.csv"));
  std::erase_if(wrong, [](const Row& row) { return row.label == row.prediction; });
  ASSERT_GE(wrong.size(), 5u);
  std::stable_sort(wrong.begin(), wrong.end(),
                   [](const Row& a, const Row& b) { return a.of_prediction > b.of_prediction; });
  const std::vector<std::string> lines = texts(of_run("errors", {"--count", "5"}));
  ASSERT_EQ(lines.size(), 2u + 5u * 3u);
  EXPECT_NE(lines[1].find("5 of " + std::to_string(wrong.size()) + " wrong among 50"), std::string::npos) << lines[1];
  for (size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(lines[2 + 3 * i].rfind("✗ ", 0), 0u) << lines[2 + 3 * i];
    EXPECT_EQ(lines[3 + 3 * i].rfind("true: ", 0), 0u) << lines[3 + 3 * i];
    const double shown = std::stod(lines[4 + 3 * i]);
    EXPECT_NEAR(shown, 100.0 * wrong[i].of_prediction, 0.051) << i;
    EXPECT_NEAR(std::stod(lines[4 + 3 * i].substr(lines[4 + 3 * i].find("/ ") + 2)), 100.0 * wrong[i].of_label, 0.051)
        << i;
  }
}

TEST_F(Visualize, PredictionsMarkTheWrongOnes) {
  // All 50 test images, so that right and wrong ones can be counted.
  const std::vector<Row> rows = per_image(run(), path("images.csv"));
  const auto right = static_cast<size_t>(
      std::count_if(rows.begin(), rows.end(), [](const Row& row) { return row.label == row.prediction; }));
  const std::string svg = of_run("predictions", {"--count", "60"});
  EXPECT_EQ(count(svg, "<image "), 50u);
  EXPECT_EQ(count(svg, "✓"), right);
  EXPECT_EQ(count(svg, "✗"), 50u - right);
  EXPECT_EQ(count(svg, "fill='#D55E00'"), 50u - right) << "orange frames";
  EXPECT_NE(svg.find("50 of 50 images, " + std::to_string(right)), std::string::npos);
}

TEST_F(Visualize, PredictionsOfFiles) {
  fs::create_directories(path("pictures"));
  Image image;
  image.reshape(32, 32, 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i % 251);
  write_png(image, path("pictures/one.png"));
  write_png(image, path("two.png"));
  const std::string svg =
      of_run("predictions", {"--images", path("pictures").string(), path("two.png").string(), "--count", "9"});
  EXPECT_EQ(count(svg, "<image "), 2u);
  EXPECT_NE(svg.find("one.png"), std::string::npos);
  EXPECT_NE(svg.find("two.png"), std::string::npos);
  EXPECT_EQ(count(svg, "✗") + count(svg, "✓"), 0u) << "nobody knows";
  EXPECT_EQ(count(of_run("filtered", {"--kernels", "2", "--images", path("two.png").string()}), "<image "), 2u + 3u);
}

TEST_F(Visualize, ImagesWithoutLabels) {
  Image image;
  image.reshape(32, 32, 3);
  for (const char* name : {"train/cat/a.png", "train/dog/b.png", "val/cat/c.png", "val/dog/h.png", "test/d.png",
                           "test/e.png", "test/f.png", "test/g.png"}) {
    for (size_t i = 0; i < image.pixels.size(); ++i)
      image.pixels[i] = static_cast<uint8_t>((i * 7 + name[6] * 31) % 253);
    fs::create_directories(path("animals") / fs::path(name).parent_path());
    write_png(image, path("animals") / name);
  }
  const std::vector<std::string> data = {"--set", "data.dataset=image_folder", "--set",
                                         "data.path=" + path("animals").string()};
  std::vector<std::string> network = data;
  network.insert(network.end(), {"--model", "lenet", "--set", "data.image_size=32"});
  std::vector<std::string> samples = data;
  samples.insert(samples.end(), {"--split", "test"});
  EXPECT_EQ(count(drawn("samples", samples), "no label"), 4u);
  const std::string svg = drawn("predictions", network);
  EXPECT_EQ(count(svg, "<image "), 4u);
  EXPECT_EQ(count(svg, "✗") + count(svg, "✓"), 0u) << "nobody knows";
  std::vector<std::string> quick = network;
  quick.insert(quick.end(), {"--iterations", "5"});
  EXPECT_NE(drawn("embedding", quick).find("no label"), std::string::npos);
  for (const char* subcommand : {"errors", "confusion"}) {
    std::vector<std::string> flags = network;
    flags.insert(flags.begin(), subcommand);
    const Outcome outcome = run_tool("visualize", flags);
    EXPECT_EQ(outcome.code, 2) << subcommand;
    EXPECT_NE(outcome.err.find("no labels"), std::string::npos) << outcome.err;
  }
}

TEST_F(Visualize, EmbeddingOfFeaturesAndLogits) {
  const std::vector<std::string> quick = {"--iterations", "30", "--perplexity", "5"};
  const std::string svg = of_run("embedding", quick);
  EXPECT_NE(svg.find("4,096 dimensions"), std::string::npos) << "what the classifier sees: 8·8·64";
  EXPECT_NE(svg.find("Principal component 2"), std::string::npos);
  EXPECT_EQ(of_run("embedding", quick), svg) << "the same again";
  std::vector<std::string> logits = quick;
  logits.insert(logits.end(), {"--layer", "logits", "--count", "20", "--split", "train"});
  const std::string few = of_run("embedding", logits);
  EXPECT_NE(few.find("20 of 160 images, 10 dimensions"), std::string::npos);
  EXPECT_NE(few.find("perplexity 5;"), std::string::npos);
  logits[3] = "50";
  EXPECT_NE(of_run("embedding", logits).find("perplexity 6.33;"), std::string::npos) << "of 19 other points";
  logits[5] = "features.3";
  EXPECT_NE(of_run("embedding", logits).find("20 of 160 images, 16,384 dimensions"), std::string::npos);
}

TEST_F(Visualize, ImagineRaisesWhatItIsAskedFor) {
  for (const std::vector<std::string>& flags :
       {std::vector<std::string>{"--steps", "20"},
        {"--steps", "20", "--layer", "features.3", "--count", "3"},
        {"--steps", "20", "--layer", "features.0", "--unit", "7", "--target", "centre"}}) {
    const std::string svg = of_run("imagine", flags);
    size_t units = 0;
    for (const std::string& line : texts(svg)) {
      const size_t arrow = line.find(" → ");
      if (arrow == std::string::npos) continue;
      ++units;
      EXPECT_GT(std::stod(line.substr(arrow + std::string(" → ").size())), std::stod(line)) << line;
    }
    EXPECT_EQ(units, count(svg, "<image "));
    EXPECT_EQ(units, flags.size() == 2 ? 10u : flags.size() == 6 ? 3u : 1u);
  }
}

TEST_F(Visualize, ConfusionAndComparison) {
  EXPECT_EQ(run_tool("visualize", {"confusion", "--run", run().string(), "--split", "val"}).code, 0);
  EXPECT_GT(Picture::read(run() / "confusion_val.png").width, 1000);
  fs::create_directories(path("other"));
  for (const char* name : {"config.yaml", "metrics.csv"}) fs::copy_file(run() / name, path("other") / name);
  const std::vector<std::string> lines =
      texts(drawn("compare", {"--runs", run().string(), path("other").string() + "/", "--title", "two of a kind"}));
  const auto has = [&](const std::string& text) { return std::find(lines.begin(), lines.end(), text) != lines.end(); };
  EXPECT_TRUE(has("two of a kind"));
  EXPECT_TRUE(has("run"));
  EXPECT_TRUE(has("other"));
  EXPECT_EQ(run_tool("visualize", {"compare", "--runs", run().string()}).code, 0);
  EXPECT_GT(Picture::read(path("comparison.png")).width, 1000) << "beside the run";
}

TEST_F(Visualize, HelpOfToolAndSubcommands) {
  const Outcome help = run_tool("visualize", {"--help"});
  EXPECT_EQ(help.code, 0);
  for (const char* name :
       {"samples", "filters", "filtered", "predictions", "errors", "embedding", "imagine", "confusion", "compare"}) {
    EXPECT_NE(help.out.find(std::string("  ") + name), std::string::npos) << name;
    const Outcome one = run_tool("visualize", {name, "--help"});
    EXPECT_EQ(one.code, 0) << name;
    EXPECT_NE(one.out.find("Examples:"), std::string::npos) << name;
    EXPECT_NE(one.out.find(std::string("visualize ") + name + " --"), std::string::npos) << name;
  }
}

TEST_F(Visualize, RefusesWithWhatToDo) {
  fs::create_directories(path("empty"));
  write_text(path("notes.txt"), "no picture");
  struct Refused {
    std::vector<std::string> flags;
    int code;
    std::vector<std::string> expected;
  };
  const std::string at = run().string();
  const Refused cases[] = {
      {{}, 2, {"SUBCOMMAND"}},
      {{"sample"}, 2, {"did you mean 'samples'"}},
      {{"samples"}, 2, {"data.dataset"}},
      {{"samples", "--run", at, "--split", "tests"}, 2, {"train, val", "'tests'"}},
      {{"samples", "--run", at, "--view", "raw"}, 2, {"original, test or train"}},
      {{"samples", "--run", at, "--count", "0"}, 2, {"--count 0"}},
      {{"filters", "--run", at, "--layer", "feature.0"}, 2, {"no layer 'feature.0'", "features.0, features.3"}},
      {{"filters", "--run", at, "--layer", "features.1"}, 2, {"ReLU", "features.0, features.3"}},
      {{"filters", "--run", at, "--unit", "32"}, 2, {"kernels 0 to 31"}},
      {{"filters", "--run", at, "--normalize", "image"}, 2, {"kernel or layer"}},
      {{"filters", "--run", at, "--output", "x.gif"}, 2, {".png or .svg"}},
      {{"filters", "--run", at, "--output", path("none/x.png").string()}, 2, {"there is no folder"}},
      {{"filters", "--run", at, "--ouput", "x.png"}, 2, {"--output"}},
      {{"predictions", "--run", at, "--split", "none"}, 2, {"train, val or test"}},
      {{"predictions", "--run", at, "--images", path("empty").string()}, 1, {"no pictures"}},
      {{"predictions", "--run", at, "--images", path("none.png").string()}, 1, {"no such file"}},
      {{"predictions", "--run", at, "--images", path("notes.txt").string()}, 1, {"notes.txt", "not a picture"}},
      {{"predictions", "--model", "lenet"}, 2, {"data.dataset"}},
      {{"embedding", "--run", at, "--layer", "fc9"}, 2, {"fc9", "features.3"}},
      {{"embedding", "--run", at, "--perplexity", "0"}, 2, {"--perplexity"}},
      {{"embedding", "--run", at, "--count", "2"}, 2, {"three at least"}},
      {{"imagine", "--run", at, "--layer", "fc9"}, 2, {"fc9", "features.3"}},
      {{"imagine", "--run", at, "--unit", "10"}, 2, {"units 0 to 9"}},
      {{"imagine", "--run", at, "--rate", "-1"}, 2, {"rate"}},
      {{"imagine", "--run", at, "--rate", "fast"}, 2, {"--rate", "fast"}},
      {{"compare"}, 2, {"--runs"}},
      {{"compare", "--runs", path("empty").string()}, 2, {"config.yaml"}},
  };
  for (const Refused& refused : cases) {
    const Outcome outcome = run_tool("visualize", refused.flags);
    std::string all;
    for (const std::string& flag : refused.flags) all += flag + " ";
    EXPECT_EQ(outcome.code, refused.code) << all << outcome.out << outcome.err;
    EXPECT_EQ(outcome.err.rfind("visualize: ", 0), 0u) << all << outcome.err;
    for (const std::string& part : refused.expected) {
      EXPECT_NE(outcome.err.find(part), std::string::npos) << all << "said: " << outcome.err;
    }
  }
}

}  // namespace
}  // namespace striate::test
