#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "engine/train/safetensors.h"
#include "engine/train/weights.h"
#include "models/registry.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/gabor_bank.h"
#include "tests/tools/picture.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"
#include "tools/experiments/metrics_table.h"
#include "tools/run_config.h"

namespace striate::test {
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// A network file whose first convolution has these filters: conv, ReLU, a second convolution, pool, logits.
struct SavedBank {
  std::filesystem::path config, weights;

  SavedBank(const TempDir& folder, const std::vector<Gabor>& filters, int64_t size)
      : config(folder / "bank.yaml"), weights(folder / "bank.safetensors") {
    write_text(config,
               fmt::format("model:\n  num_classes: 10\n  layers:\n    - conv: {{channels: {}, kernel: {}, stride: "
                           "4}}\n    - relu\n    - conv: {{channels: 2, kernel: 1}}\n    - adaptive_avg_pool: "
                           "1\n    - flatten\n    - linear\ndata: {{normalize: {{mean: [0.5, 0.5, 0.5], std: "
                           "[0.25, 0.25, 0.25]}}, dataset: synthetic, image_size: 64}}\n",
                           filters.size(), size));
    const RunConfig read = RunConfig::load(config.string(), {});
    const auto model = models::build_model(read.model, {64, 64, 3}, 10, 1);
    for (const NamedTensor& parameter : model->named_parameters()) {
      Tensor values = parameter.tensor;
      if (parameter.name == "0.weight") values.copy_from(gabor_weights(filters, size, 3));
      if (parameter.name == "0.bias") values.fill(0.0f);
    }
    save_weights(weights.string(), *model, {{"model", "layers"}});
  }

  Outcome tune(std::vector<std::string> more) const {
    more.insert(more.begin(), {"--config", config.string(), "--weights", weights.string(), "--threads", "1"});
    return run_tool("tune", more);
  }
};

const std::vector<Gabor> kFilters = {
    {0.0, 0.2, 5.0},          {30.0, 0.2, 5.0}, {77.0, 0.1, 5.0}, {135.0, 0.3, 5.0}, {0.0, 0.0, 3.0, 0.0, 1.0, true},
    {0.0, 0.2, 5.0, 0.0, 0.0}};

TEST(Tune, FindsWhatTheFiltersPrefer) {
  TempDir folder;
  const SavedBank bank(folder, kFilters, 25);
  const std::filesystem::path out = folder / "tuning";
  const Outcome outcome = bank.tune(
      {"--orientations", "18", "--frequencies", "6.4,12.8,19.2", "--phases", "8", "--polar", "--output", out.string()});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(has(outcome.out, "layer 0, pre-relu")) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "864 gratings: 18 orientations, 3 frequencies, 8 phases, 2 colours")) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "5 of 6 kernels respond")) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "circular variance, pooled over all gratings")) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "circular variance at the preferred frequency")) << outcome.out;

  const MetricsTable table = MetricsTable::read(out / "tuning.csv");
  ASSERT_EQ(table.rows.size(), kFilters.size());
  for (size_t k = 0; k < 4; ++k) {
    const double orientation = table.column("preferred_orientation_deg")[k].value();
    EXPECT_LT(std::abs(std::remainder(orientation - kFilters[k].orientation_deg, 180.0)), 2.0) << k;
    EXPECT_NEAR(table.column("preferred_sf_cycles_per_pixel")[k].value(), kFilters[k].cycles_per_pixel, 1e-6) << k;
    EXPECT_LT(table.column("circular_variance_at_preferred_sf")[k].value(), 0.3) << k;
  }
  EXPECT_GT(table.column("circular_variance")[4].value(), 0.95) << "the blob";
  EXPECT_EQ(table.column("responsive")[5], 0.0);
  EXPECT_FALSE(table.column("circular_variance")[5].has_value());

  for (size_t k = 0; k < kFilters.size(); ++k) {
    const Picture picture = Picture::read(out / fmt::format("kernel_{:02}.png", k));
    EXPECT_GT(picture.width, 1200);
    EXPECT_GT(picture.count(0x0072B2), 500) << "the curves";
    EXPECT_EQ(picture.count(0xD55E00) > 50, k != 5) << "what it prefers is marked: " << k;
    EXPECT_GT(Picture::read(out / fmt::format("kernel_{:02}_polar.png", k)).width, 800);
  }
  EXPECT_GT(Picture::read(out / "circular_variance_histogram.png").count(0xD55E00), 100);
  const Safetensors file = read_safetensors((out / "responses.safetensors").string());
  EXPECT_EQ(file.find("responses")->shape(), (Shape{6, 18, 3, 8, 2}));
  EXPECT_EQ(file.find("kernels")->shape(), (Shape{6, 25, 25, 3}));
  for (const auto& entry : std::filesystem::directory_iterator(out)) EXPECT_NE(entry.path().extension(), ".partial");
}

TEST(Tune, WrittenGratingsGiveTheSameNumbers) {
  TempDir folder;
  const SavedBank bank(folder, kFilters, 25);
  const std::vector<std::string> grid = {"--orientations", "6", "--frequencies", "6.4,12.8,19.2", "--phases", "4"};
  std::vector<std::string> flags = grid;
  flags.insert(flags.end(), {"--write-gratings", (folder / "gratings").string(), "--output", (folder / "a").string()});
  const Outcome written = bank.tune(flags);
  ASSERT_EQ(written.code, 0) << written.err;
  EXPECT_TRUE(has(written.out, "144 gratings in ")) << written.out;
  EXPECT_TRUE(std::filesystem::exists(folder / "gratings" / "fullfield_150.0deg_12.8sf_4.7phase_rc.jpg"));

  const Outcome read = bank.tune({"--gratings", (folder / "gratings").string(), "--output", (folder / "b").string()});
  ASSERT_EQ(read.code, 0) << read.err;
  EXPECT_EQ(read.err, "");
  const MetricsTable a = MetricsTable::read(folder / "a" / "tuning.csv"),
                     b = MetricsTable::read(folder / "b" / "tuning.csv");
  for (size_t k = 0; k < 5; ++k) {
    for (const char* column : {"circular_variance", "circular_variance_at_preferred_sf", "f1_f0"}) {
      EXPECT_NEAR(a.column(column)[k].value(), b.column(column)[k].value(), 0.03) << column << k;
    }
  }
  // The zero filter sees nothing in JPEGs either.
  EXPECT_EQ(b.column("responsive")[5], 0.0);

  std::ofstream(folder / "gratings" / "notes.txt") << "x";
  const Outcome warned = bank.tune({"--gratings", (folder / "gratings").string()});
  EXPECT_EQ(warned.code, 0) << warned.err;
  EXPECT_TRUE(has(warned.err, "1 name does not parse")) << warned.err;
  EXPECT_TRUE(has(warned.err, "notes.txt")) << warned.err;
  EXPECT_TRUE(has(warned.out, "--output DIR")) << warned.out;

  // 180° is 0° once more: what is there twice weighs twice.
  for (const auto& entry : std::filesystem::directory_iterator(folder / "gratings")) {
    std::string name = entry.path().filename().string();
    if (!name.starts_with("fullfield_0.0deg")) continue;
    name.replace(0, 16, "fullfield_180.0deg");
    std::filesystem::copy_file(entry.path(), folder / "gratings" / name);
  }
  const Outcome uneven = bank.tune({"--gratings", (folder / "gratings").string()});
  EXPECT_EQ(uneven.code, 0) << uneven.err;
  EXPECT_TRUE(has(uneven.err, "not spread evenly over 180°")) << uneven.err;

  write_text(folder / "gratings" / "fullfield_60.0deg_6.4sf_0.0phase_bw.jpg", "no picture");
  const Outcome broken = bank.tune({"--gratings", (folder / "gratings").string()});
  EXPECT_EQ(broken.code, 1);
  EXPECT_TRUE(has(broken.err, "fullfield_60.0deg_6.4sf_0.0phase_bw.jpg")) << broken.err;

  write_text(folder / "file", "");
  const Outcome nowhere = bank.tune({"--output", (folder / "file" / "below").string()});
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_TRUE(has(nowhere.err, "--output")) << nowhere.err;
}

TEST(Tune, OtherLayersAndAfterTheRelu) {
  TempDir folder;
  const SavedBank bank(folder, {{0.0, 0.2, 3.0}, {45.0, 0.2, 3.0}}, 11);
  const Outcome second = bank.tune({"--layer", "2", "--output", (folder / "second").string()});
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_TRUE(has(second.out, "layer 2, pre-relu")) << second.out;
  EXPECT_EQ(MetricsTable::read(folder / "second" / "tuning.csv").rows.size(), 2u);
  const Outcome post = bank.tune({"--post-relu"});
  ASSERT_EQ(post.code, 0) << post.err;
  EXPECT_TRUE(has(post.out, "layer 0, post-relu")) << post.out;
  const Outcome none = bank.tune({"--layer", "2", "--post-relu"});
  EXPECT_EQ(none.code, 2);
  EXPECT_TRUE(has(none.err, "no activation of its own follows")) << none.err;
}

TEST(Tune, EveryDeviceSaysTheSame) {
  TempDir folder;
  const SavedBank bank(folder, {{20.0, 0.2, 3.0}, {110.0, 0.2, 3.0}}, 11);
  std::vector<MetricsTable> tables;
  for (const std::string device : {"reference", "cpu", "cuda"}) {
    const Outcome outcome = bank.tune({"--orientations", "3", "--frequencies", "12.8", "--phases", "3", "--device",
                                       device, "--output", (folder / device).string()});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    tables.push_back(MetricsTable::read(folder / device / "tuning.csv"));
  }
  for (const char* column : {"preferred_orientation_deg", "circular_variance", "f1_f0", "peak_response"}) {
    for (size_t k = 0; k < 2; ++k) {
      const double expected = tables[0].column(column)[k].value();
      for (const MetricsTable& table : tables) EXPECT_NEAR(table.column(column)[k].value(), expected, 1e-4 * expected);
    }
  }
}

TEST(Tune, OneChannelSeesLuminanceAlone) {
  const Outcome outcome = run_tool("tune", {"--model", "lenet", "--input", "28,28,1"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "320 gratings: 8 orientations, 8 frequencies, 5 phases, 1 colour;")) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "keep their cycles per pixel")) << outcome.out;
}

TEST(Tune, SaysWhatIsWrong) {
  TempDir folder;
  const SavedBank bank(folder, {{0.0, 0.2, 3.0}, {45.0, 0.2, 3.0}}, 11);
  std::filesystem::create_directories(folder / "empty");
  std::filesystem::create_directories(folder / "one");
  for (const char* name : {"fullfield_0.0deg_5.5sf_0.0phase_bw.jpg", "fullfield_0.0deg_5.5sf_1.3phase_bw.jpg"}) {
    std::ofstream(folder / "one" / name) << "not opened";
  }
  const struct {
    std::vector<std::string> flags;
    std::string expected;
  } cases[] = {{{"--gratings", (folder / "empty").string()}, "the folder is empty"},
               {{"--gratings", (folder / "one").string()}, "1 orientation; at least 3"},
               {{"--layer", "9"}, "no layer '9' in this network; its convolutions are 0, 2"},
               {{"--layer", "5"}, "layer '5' is a Linear, not a convolution; its convolutions are 0, 2"},
               {{"--pre-relu", "--post-relu"}, "exclude each other"},
               {{"--orientations", "2"}, "--orientations 2: expected 3 to 1800"},
               {{"--orientations", "0"}, "--orientations 0"},
               {{"--phases", "0"}, "--phases 0"},
               {{"--frequencies", "5,x"}, "'x' is not a number"},
               {{"--frequencies", "5,-1"}, "must be positive"},
               {{"--frequencies", ""}, "at least one spatial frequency"},
               {{"--frequencies", "5,5"}, "given twice"},
               {{"--gratings", "g", "--phases", "3"}, "--phases cannot be given with it"},
               {{"--polr"}, "did you mean '--polar'"}};
  for (const auto& [flags, expected] : cases) {
    const Outcome outcome = bank.tune(flags);
    EXPECT_EQ(outcome.code, 2) << expected << outcome.err;
    EXPECT_TRUE(has(outcome.err, expected)) << outcome.err;
  }
  const Outcome channels = run_tool("tune", {"--model", "alexnet_mini", "--set", "model.in_channels=2"});
  EXPECT_EQ(channels.code, 2) << channels.out;
  EXPECT_TRUE(has(channels.err, "first layer sees 2 channels")) << channels.err;
  // Two pixels a cycle are the least that a grating needs.
  const Outcome aliased = bank.tune({"--frequencies", "8,40"});
  EXPECT_EQ(aliased.code, 0);
  EXPECT_TRUE(has(aliased.err, "40 cycles/image are less than two pixels a cycle")) << aliased.err;
}

}  // namespace
}  // namespace striate::test
