#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "data/imagenet_classes.h"
#include "engine/train/weights.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "tests/support/backend.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tests/tools/tool.h"
#include "tools/class_labels.h"
#include "tools/experiments/probability_figure.h"
#include "tools/run_config.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A picture of one colour, as PPM; with one value as PGM.
void write_plain(const fs::path& file, int height, int width, const std::vector<uint8_t>& colour) {
  std::string text = fmt::format("P{} {} {} 255\n", colour.size() == 1 ? 5 : 6, width, height);
  for (int pixel = 0; pixel < height * width; ++pixel) text.append(colour.begin(), colour.end());
  write_text(file, text);
}

/// A network on 2×2 pixels in [0, 1] whose logit c is the sum of channel c: 4 for a picture of that pure colour.
struct ColourNetwork {
  TempDir folder;
  std::vector<std::string> flags;

  ColourNetwork() {
    const std::string config = (folder / "colours.yaml").string();
    write_text(config,
               "threads: 1\nmodel:\n  layers: [flatten, linear]\n  num_classes: 3\n"
               "data: {dataset: image_folder, image_size: 2, channels: 3, normalize: none}\n");
    const RunConfig read = RunConfig::load(config, {});
    const auto model = models::make_model(read.model, {2, 2, 3}, 3);
    auto parameters = model->named_parameters();
    float* weight = parameters[0].tensor.data<float>();
    for (int c = 0; c < 3; ++c) {
      for (int pixel = 0; pixel < 4; ++pixel) weight[12 * c + 3 * pixel + c] = 1.0f;
    }
    save_weights((folder / "colours.safetensors").string(), *model);
    write_text(folder / "names.txt", "Samoyed\napple green\nultramarine\n");
    flags = {"--config", config, "--weights", (folder / "colours.safetensors").string()};
    write_plain(folder / "red.ppm", 2, 2, {255, 0, 0});
    write_plain(folder / "blue.ppm", 9, 5, {0, 0, 255});
    write_plain(folder / "grey.pgm", 3, 2, {51});
  }

  std::string path(const std::string& name) const { return (folder / name).string(); }
  Outcome predict(std::vector<std::string> more) const {
    more.insert(more.begin(), flags.begin(), flags.end());
    return run_tool("predict", more);
  }
  Outcome predict_named(std::vector<std::string> more) const {
    more.insert(more.end(), {"--labels", path("names.txt")});
    return predict(std::move(more));
  }
};

TEST(Predict, SaysWhatItSeesInTheCoursesWords) {
  const ColourNetwork network;
  const Outcome outcome = network.predict_named({network.path("red.ppm"), network.path("blue.ppm")});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  // Logits 4, 0, 0: e⁴/(e⁴ + 2) = 0.96466.
  EXPECT_TRUE(has(outcome.out, network.path("red.ppm") +
                                   "\nImage of a Samoyed (probability: 96.5%)\nImage of an apple green (probability: "
                                   "1.8%)\nImage of an ultramarine (probability: 1.8%)\n"))
      << outcome.out;
  EXPECT_TRUE(has(outcome.out, network.path("blue.ppm") + "\nImage of an ultramarine (probability: 96.5%)"))
      << outcome.out;
}

TEST(Predict, WritesLogitsOfGreyAndColour) {
  const ColourNetwork network;
  const std::string file = network.path("out.json");
  const Outcome outcome = network.predict_named({network.path("red.ppm"), network.path("grey.pgm"), "--json", file});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const json result = json::parse(read_text(file));
  ASSERT_EQ(result.size(), 2u);
  EXPECT_EQ(result[0]["file"], network.path("red.ppm"));
  EXPECT_EQ(result[0]["logits"], (json{4.0, 0.0, 0.0}));
  ASSERT_EQ(result[0]["top"].size(), 3u) << "no more than there are classes";
  EXPECT_EQ(result[0]["top"][0]["class"], 0);
  EXPECT_EQ(result[0]["top"][0]["label"], "Samoyed");
  EXPECT_NEAR(result[0]["top"][0]["probability"], std::exp(4.0) / (std::exp(4.0) + 2.0), 1e-6);
  EXPECT_EQ(result[0]["top"][1]["class"], 1) << "of equals the first";
  for (const json& logit : result[1]["logits"]) EXPECT_NEAR(logit, 4 * 0.2, 1e-6) << "grey is all three channels";
}

// 0.2 is none that bfloat16 has: the first product rounds it on the cpu, the transforms do on cuda.
TEST(Predict, SeesTheSameOnCudaInEveryPrecision) {
  skip_unless_runnable(Backend::cuda);
  const ColourNetwork network;
  const auto logits = [&](const std::string& device, const std::string& precision) {
    const std::string file = network.path(device + ".json");
    const Outcome outcome = network.predict_named({network.path("red.ppm"), network.path("grey.pgm"), "--json", file,
                                                   "--device", device, "--set", "train.precision=" + precision});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    const json result = json::parse(read_text(file));
    return std::array<json, 2>{result[0]["logits"], result[1]["logits"]};
  };
  for (const std::string precision : {"fp32", "bf16"}) {
    SCOPED_TRACE(precision);
    const auto there = logits("cuda", precision);
    EXPECT_EQ(there, logits("cpu", precision));
    EXPECT_EQ(there[0], (json{4.0, 0.0, 0.0}));
  }
  EXPECT_NE(logits("cuda", "bf16")[1], logits("cuda", "fp32")[1]);
}

TEST(Predict, TellsColourByItsLuminanceToAGreyNetwork) {
  TempDir folder;
  write_plain(folder / "red.ppm", 28, 28, {255, 0, 0});
  write_plain(folder / "as_grey.pgm", 28, 28, {76});  // 0.299·255
  const Outcome outcome =
      run_tool("predict", {"--model", "lenet", "--input", "28,28,1", (folder / "red.ppm").string(),
                           (folder / "as_grey.pgm").string(), "--json", (folder / "out.json").string()});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "freshly initialised")) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "No dataset is named")) << outcome.out;
  const json result = json::parse(read_text(folder / "out.json"));
  EXPECT_EQ(result[0]["logits"], result[1]["logits"]);
}

TEST(Predict, GoesOnPastWhatItCannotRead) {
  const ColourNetwork network;
  fs::create_directories(network.folder / "album" / "deep");
  fs::create_directories(network.folder / "empty");
  write_plain(network.folder / "album" / "b.ppm", 2, 2, {0, 255, 0});
  write_plain(network.folder / "album" / "deep" / "a.ppm", 2, 2, {0, 0, 255});
  write_text(network.folder / "album" / "a.png", "no picture at all");
  write_text(network.folder / "album" / "cut.ppm", "P6 9 9 255\n123");
  write_text(network.folder / "album" / "notes.txt", "text");
  const std::string file = network.path("out.json");
  const Outcome outcome =
      network.predict({network.path("none.jpg"), network.path("empty"), network.path("album"), "--json", file});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  for (const char* bad : {"none.jpg", "empty", "album/a.png", "album/cut.ppm"}) {
    EXPECT_TRUE(has(outcome.err, "predict: " + network.path(bad) + ": ")) << bad << " is not in " << outcome.err;
  }
  EXPECT_FALSE(has(outcome.err, "notes.txt")) << outcome.err;
  const json result = json::parse(read_text(file));
  ASSERT_EQ(result.size(), 2u);
  EXPECT_EQ(result[0]["file"], network.path("album/b.ppm")) << "in the order of their paths";
  EXPECT_EQ(result[0]["top"][0]["class"], 1);
  EXPECT_EQ(result[0]["top"][0]["label"], "class 1") << "nobody says how the classes are called";
  EXPECT_EQ(result[1]["top"][0]["class"], 2);

  fs::remove(file);
  for (const char* bad : {"album/a.png", "none.jpg", "empty"}) {
    const Outcome nothing = network.predict({network.path(bad), "--json", file});
    EXPECT_EQ(nothing.code, 1) << bad;
    EXPECT_TRUE(has(nothing.err, network.path(bad))) << nothing.err;
    EXPECT_FALSE(fs::exists(file)) << bad;
    EXPECT_FALSE(fs::exists(file + ".partial")) << bad;
  }
}

TEST(Predict, NamesAPictureThatTheTransformsDoNotTake) {
  const ColourNetwork network;
  const std::vector<std::string> padded = {"--set", "data.test_transforms=[{pad: 0}]"};
  std::vector<std::string> flags = {network.path("blue.ppm"), network.path("red.ppm")};
  flags.insert(flags.end(), padded.begin(), padded.end());
  const Outcome outcome = network.predict(flags);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.err, network.path("blue.ppm") + ": the test transforms make it 9×5×3")) << outcome.err;
  EXPECT_TRUE(has(outcome.err, "resize: [2, 2]")) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "Image of a class 0")) << outcome.out;
}

TEST(Predict, SeesWhatEvaluateSees) {
  TempDir folder;
  // Gradients of several sizes, so that resize and crop matter; 37 of them, so that batches differ.
  std::map<std::string, int> files;
  for (int i = 0; i < 37; ++i) {
    const fs::path place = folder / "data" / "val" / (i % 2 == 0 ? "even" : "odd");
    fs::create_directories(place);
    const int height = 20 + i % 7, width = 24 + i % 5;
    std::string text = fmt::format("P6 {} {} 255\n", width, height);
    for (int v = 0; v < height * width * 3; ++v) text += static_cast<char>((i * 31 + v * v / (7 + i)) % 251);
    write_text(place / fmt::format("{:02}.ppm", i), text);
  }
  fs::create_directories(folder / "data" / "train");
  for (const char* name : {"even", "odd"}) {
    fs::copy(folder / "data" / "val" / name, folder / "data" / "train" / name);
  }
  const std::string run = (folder / "run").string();
  const Outcome trained =
      run_tool("train", {"--set", "model.name=lenet", "--set", "data.dataset=image_folder", "--set",
                         "data.path=" + (folder / "data").string(), "--set",
                         "data.test_transforms=[{resize: 18}, {center_crop: 16}]", "--set",
                         "data.train_transforms=[{resize: 18}, {random_crop: 16}]", "--set", "data.normalize=computed",
                         "--set", "train.max_steps=3", "--set", "train.batch_size=8", "--output", run});
  ASSERT_EQ(trained.code, 0) << trained.err;
  const Outcome evaluated = run_tool("evaluate", {"--run", run, "--per-image", (folder / "images.csv").string()});
  ASSERT_EQ(evaluated.code, 0) << evaluated.err;
  const auto rows = read_lines(folder / "images.csv");
  // The run alone says all: sizes, transforms, what was measured, and what the classes are called.
  fs::rename(folder / "data", folder / "moved");
  const Outcome predicted = run_tool(
      "predict", {"--run", run, (folder / "moved" / "val").string(), "--json", (folder / "out.json").string()});
  ASSERT_EQ(predicted.code, 0) << predicted.err;
  const json result = json::parse(read_text(folder / "out.json"));
  ASSERT_EQ(result.size(), 37u);
  ASSERT_EQ(rows.size(), 38u);
  std::set<std::string> labels;
  for (size_t i = 0; i < 37; ++i) {
    std::istringstream cells(rows[i + 1]);
    std::vector<double> row;
    for (std::string cell; std::getline(cells, cell, ',');) row.push_back(std::stod(cell));
    for (const json& place : result[i]["top"]) {
      EXPECT_NEAR(place["probability"], row[3 + place["class"].get<size_t>()], 2e-6) << i;
      labels.insert(place["label"].get<std::string>());
    }
    EXPECT_EQ(result[i]["top"][0]["class"], row[2]) << i;
  }
  EXPECT_EQ(labels, (std::set<std::string>{"even", "odd"}));
}

TEST(Predict, NamesTheClassesOfImagenetsNetworks) {
  TempDir folder;
  const RunConfig config = RunConfig::load("", {"model.name=alexnet", "model.width=0.03", "data.dataset=synthetic"});
  const std::string weights = (folder / "alexnet.safetensors").string(), out = (folder / "out.json").string();
  save_weights(weights, *models::build_model(config.model, {224, 224, 3}, 1000, 0));
  write_plain(folder / "red.ppm", 256, 256, {255, 0, 0});
  std::vector<std::string> arguments = {
      "--model", "alexnet", "--set", "model.width=0.03", (folder / "red.ppm").string(), "--json", out};
  const auto labels = [&] {
    const Outcome outcome = run_tool("predict", arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    const json top = json::parse(read_text(out))[0]["top"];
    std::map<size_t, std::string> names;
    for (const json& place : top) names[place["class"]] = place["label"];
    EXPECT_EQ(names.size(), 5u);
    return names;
  };
  for (const auto& [c, name] : labels()) EXPECT_EQ(name, fmt::format("class {}", c)) << "random weights know none";
  arguments.insert(arguments.end(), {"--weights", weights});
  for (const auto& [c, name] : labels()) EXPECT_EQ(name, imagenet_classes()[c].name);
  std::string names;
  for (int c = 0; c < 1000; ++c) names += fmt::format("own {}\n", c);
  write_text(folder / "names.txt", names);
  arguments.insert(arguments.end(), {"--labels", (folder / "names.txt").string()});
  for (const auto& [c, name] : labels()) EXPECT_EQ(name, fmt::format("own {}", c));
}

TEST(Predict, DrawsAHeatMapForEachPicture) {
  const ColourNetwork network;
  fs::create_directories(network.folder / "more");
  write_plain(network.folder / "more" / "red.ppm", 4, 4, {255, 0, 0});
  const Outcome one = network.predict_named({network.path("red.ppm"), "--heatmap", network.path("one.png")});
  ASSERT_EQ(one.code, 0) << one.err;
  EXPECT_TRUE(has(one.out, "heat map: " + network.path("one.png"))) << one.out;
  EXPECT_GT(Picture::read(network.folder / "one.png").count(0xD55E00), 200) << "the likeliest classes are marked";
  EXPECT_GT(Picture::read(network.folder / "one.png").count(0xFF0000), 10000) << "the picture is shown";

  const Outcome several = network.predict_named({network.path("red.ppm"), network.path("more/red.ppm"),
                                                 network.path("grey.pgm"), "--heatmap", network.path("map.png")});
  ASSERT_EQ(several.code, 0) << several.err;
  for (const char* name : {"map_red.png", "map_red-2.png", "map_grey.png"}) {
    EXPECT_GT(Picture::read(network.folder / name).width, 600) << name;
  }
  EXPECT_FALSE(fs::exists(network.folder / "map.png"));
}

TEST(ProbabilityGrid, LaysOutAnyNumber) {
  using Grid = std::pair<int64_t, int64_t>;
  EXPECT_EQ(probability_grid(1000), Grid(25, 40));
  EXPECT_EQ(probability_grid(10), Grid(2, 5));
  EXPECT_EQ(probability_grid(100), Grid(10, 10));
  EXPECT_EQ(probability_grid(2), Grid(1, 2));
  EXPECT_EQ(probability_grid(1), Grid(1, 1));
  for (int64_t n = 1; n < 1200; ++n) {
    const auto [rows, columns] = probability_grid(n);
    ASSERT_GE(rows * columns, n) << n;
    ASSERT_LT((rows - 1) * columns, n) << n << ": an empty row";
    ASSERT_LE(columns, 7 * rows) << n;
  }
}

class HeatMapSize : public testing::TestWithParam<int> {};

TEST_P(HeatMapSize, MarksFiveAmongAny) {
  TempDir folder;
  const auto n = static_cast<size_t>(GetParam());
  std::vector<double> p(n, 0.5 / static_cast<double>(n));
  p[n / 2] = 0.6;
  std::vector<std::string> names(n, "a class whose name is long enough for two lines, {braces}_and^signs & \"quotes\"");
  draw_probabilities(p, names, {}, "picture.png", "network", folder / "map.png");
  const Picture map = Picture::read(folder / "map.png");
  EXPECT_GT(map.count(0xD55E00), 100);
  EXPECT_LT(map.width, 2700);
  EXPECT_THROW(draw_probabilities(p, {"one"}, {}, "", "", folder / "none.png"), ShapeError);
}

INSTANTIATE_TEST_SUITE_P(Classes, HeatMapSize, testing::Values(2, 7, 100, 1000), testing::PrintToStringParamName());

TEST(Labels, AreReadInEveryForm) {
  TempDir folder;
  const std::vector<std::string> expected = {"tench", "great white shark"};
  for (const char* text :
       {"tench\ngreat white shark\n", "\xEF\xBB\xBFtench\r\ngreat white shark", "[\"tench\", \"great white shark\"]",
        "\n{\"1\": [\"n01484850\", \"great white shark\"], \"0\": [\"n01440764\", \"tench\"]}",
        "{\"0\": \"tench\", \"1\": \"great white shark\"}"}) {
    write_text(folder / "labels", text);
    EXPECT_EQ(read_labels(folder / "labels", 2), expected) << text;
  }
}

TEST(Labels, RefuseWhatDoesNotFit) {
  TempDir folder;
  const auto error = [&](const std::string& text) -> std::string {
    write_text(folder / "labels", text);
    try {
      read_labels(folder / "labels", 2);
    } catch (const IoError& e) {
      return e.what();
    }
    return "accepted";
  };
  EXPECT_TRUE(has(error("a\nb\nc\n"), "3 names, but the network has 2 classes"));
  EXPECT_TRUE(has(error(""), "0 names"));
  EXPECT_TRUE(has(error("[\"a\", "), "looks like JSON"));
  EXPECT_TRUE(has(error("[\"a\", 2]"), "class 1"));
  EXPECT_TRUE(has(error("{\"0\": \"a\", \"2\": \"b\"}"), "none is \"1\""));
  EXPECT_TRUE(has(error("{\"0\": [], \"1\": \"b\"}"), "class 0"));
  EXPECT_THROW(read_labels(folder / "none", 2), IoError);
}

}  // namespace
}  // namespace striate::test
