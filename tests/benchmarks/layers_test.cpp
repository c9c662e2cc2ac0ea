#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "benchmarks/layer_times.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tool.h"

namespace striate::bench {
namespace {

ProfileEvent kernel(const std::string& layer, Pass pass, double begin, double seconds, double flops, double bytes) {
  ProfileEvent event;
  event.name = "kernel";
  event.layer = layer;
  event.pass = pass;
  event.is_kernel = true;
  event.begin = begin;
  event.seconds = seconds;
  event.flops = flops;
  event.bytes = bytes;
  return event;
}

ProfileEvent step(double begin, double seconds) {
  ProfileEvent event = kernel("", Pass::step, begin, seconds, 0, 0);
  event.is_kernel = false;
  return event;
}

models::LayerSummary layer(const std::string& name, const std::string& type, const std::string& form) {
  models::LayerSummary l;
  l.name = name;
  l.type = type;
  l.short_form = form;
  return l;
}

TEST(LayerTimes, NameTheLayersThatAreComputedAlong) {
  models::ModelSummary summary;
  summary.layers = {layer("0", "Conv2d", "conv 4@3×3"), layer("1", "ReLU", ""), layer("2", "MaxPool2d", "pool 2/2"),
                    layer("3", "Linear", "fc 8→2"),     layer("4", "ReLU", ""), layer("5", "Dropout", "")};
  std::vector<ProfileEvent> events = {step(0.0, 8.0), kernel("0", Pass::forward, 0.5, 1.0, 1, 1),
                                      kernel("3", Pass::forward, 2.0, 1.0, 1, 1)};
  const LayerTimes inference = layer_times(events, summary, std::nullopt);
  EXPECT_EQ(inference.rows[0].what, "conv 4@3×3 + ReLU + MaxPool2d");
  EXPECT_EQ(inference.rows[1].what, "fc 8→2 + ReLU") << "which drops nothing";
  events.push_back(kernel("3", Pass::backward, 4.0, 1.0, 1, 1));
  EXPECT_EQ(layer_times(events, summary, std::nullopt).rows[1].what, "fc 8→2 + ReLU + Dropout");
}

TEST(LayerTimes, AreTheMediansOfAStepsKernels) {
  models::ModelSummary summary;
  summary.layers = {layer("0", "Conv2d", "conv 4@3×3"), layer("1", "ReLU", ""), layer("2", "Linear", "fc 8→2"),
                    layer("3", "ReLU", "")};
  std::vector<ProfileEvent> events = {kernel("0", Pass::forward, -2.0, 1.0, 1, 1)};  // before the first step
  for (int s = 0; s < 3; ++s) {
    const double t = 10.0 * s, slow = s == 1 ? 5.0 : 1.0;
    events.push_back(step(t, 8.0 * slow));
    events.push_back(kernel("0", Pass::forward, t + 0.5, 1.0 * slow, 100, 10));
    events.push_back(kernel("0", Pass::forward, t + 1.6, 1.0 * slow, 0, 10));
    events.push_back(kernel("3", Pass::forward, t + 2.7, 0.5, 0, 10));
    events.push_back(kernel("2", Pass::backward, t + 3.5, 2.0, 40, 10));
    events.push_back(kernel("", Pass::optimizer, t + 6.0, 0.5, 0, 20));
  }
  events[1].seconds = events[7].seconds = 8.0;  // steps of 8, 8 and 8 seconds: the kernels of one are slow
  const LayerTimes times = layer_times(events, summary, MachineLimit{100.0, 20.0});
  EXPECT_EQ(times.steps, 3);
  EXPECT_DOUBLE_EQ(times.step_seconds, 8.0);
  ASSERT_EQ(times.rows.size(), 5u);
  EXPECT_EQ(times.rows[0].layer, "0");
  EXPECT_EQ(times.rows[0].what, "conv 4@3×3 + ReLU") << "no kernel is its ReLU's own";
  EXPECT_DOUBLE_EQ(times.rows[0].seconds, 2.0);
  EXPECT_DOUBLE_EQ(times.rows[0].flops, 100.0);
  EXPECT_DOUBLE_EQ(times.rows[0].share, 0.25);
  EXPECT_DOUBLE_EQ(times.rows[0].of_limit.value(), (1.0 + 0.5) / 2.0) << "kernel by kernel";
  EXPECT_EQ(times.rows[1].layer, "3");
  EXPECT_EQ(times.rows[2].what, "fc 8→2") << "that ReLU has a kernel of its own";
  EXPECT_EQ(times.rows[2].pass, Pass::backward);
  EXPECT_DOUBLE_EQ(times.rows[2].of_limit.value(), 0.5 / 2.0) << "its bytes take longer than its flops";
  EXPECT_EQ(times.rows[3].layer, "optimizer");
  EXPECT_EQ(times.rows[3].what, "kernel") << "what is no layer is told by its kernel";
  EXPECT_EQ(times.rows[4].layer, "between kernels");
  EXPECT_DOUBLE_EQ(times.rows[4].seconds, 8.0 - 5.0);
  EXPECT_FALSE(layer_times(events, summary, std::nullopt).rows[0].of_limit.has_value());
}

TEST(LayerTimes, OnAGpuAreByItsClock) {
  ProfileEvent event = kernel("0", Pass::forward, 0.5, 0.1, 1, 1);
  event.on_gpu = true;
  event.gpu_begin = 0.6;
  event.gpu_seconds = 3.0;
  EXPECT_DOUBLE_EQ(layer_times({step(0.0, 4.0), event}, {}, std::nullopt).rows[0].seconds, 3.0);
}

}  // namespace
}  // namespace striate::bench

namespace striate::test {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Outcome layers(std::vector<std::string> more) {
  const std::vector<std::string> flags = {"--model", "lenet", "--batch", "4", "--seconds", "0.01", "--threads", "1"};
  more.insert(more.begin(), flags.begin(), flags.end());
  return run_tool("../benchmarks/layers", more);
}

TEST(Layers, MeasuresEveryLayerBothWays) {
  TempDir folder;
  const fs::path csv = folder / "l.csv", json = folder / "l.json", plot = folder / "l.png";
  const Outcome outcome =
      layers({"--device", "cpu", "--csv", csv.string(), "--json", json.string(), "--plot", plot.string()});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(has(outcome.out, "conv 6@5×5 p2 + ReLU")) << outcome.out;
  EXPECT_TRUE(has(outcome.out, "commit: ")) << outcome.out;
  EXPECT_GT(fs::file_size(plot), 10000u);
  const nlohmann::json document = nlohmann::json::parse(read_text(json));
  EXPECT_GT(document.at("limit").at("flops_per_second").get<double>(), 1e8);
  EXPECT_FALSE(document.at("provenance").at("machine").get<std::string>().empty());
  double total = 0.0;
  int convolutions = 0;
  for (const auto& row : document.at("layers")) {
    total += row.at("percent_of_step").get<double>();
    if (row.at("kind") != "Conv2d") continue;
    ++convolutions;
    EXPECT_GT(row.at("gflops").get<double>(), 0.0) << row;
    EXPECT_GT(row.at("percent_of_limit").get<double>(), 0.0) << row;
    EXPECT_LT(row.at("percent_of_limit").get<double>(), 400.0) << row;  // Winograd passes 100
  }
  EXPECT_EQ(convolutions, 4) << "two, forward and backward";
  EXPECT_NEAR(total, 100.0, 30.0) << "medians of each layer";
  const std::vector<std::string> lines = read_lines(csv);
  EXPECT_TRUE(lines[0].starts_with("# commit: ")) << lines[0];
  const auto columns = std::find(lines.begin(), lines.end(),
                                 "layer,what,kind,pass,ms,percent_of_step,gflops,gbytes_per_second,percent_of_limit");
  ASSERT_NE(columns, lines.end());
  EXPECT_EQ(static_cast<size_t>(lines.end() - columns) - 1, document.at("layers").size());
}

TEST(Layers, InfersAndSaysThatHostExecutionIsNoMeasurement) {
  Outcome outcome = layers({"--device", "cpu", "--mode", "infer"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_FALSE(has(outcome.out, "optimizer")) << outcome.out;
  outcome = layers({"--device", "cuda", "--mode", "infer"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  if (!has(outcome.out, "cuda: CUDA")) {
    EXPECT_TRUE(has(outcome.out, "Times of device cuda mean nothing here")) << outcome.out;
  }
}

TEST(Layers, SaysWhatIsWrong) {
  for (const auto& [flags, message] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--batch", "0"}, "--batch 0: expected 1 to 1048576"},
           {{"--mode", "fly"}, "--mode fly: expected train or infer"},
           {{"--plot", "x.jpg"}, "x.jpg"},
           {{"--seconds", "0"}, "--seconds 0"}}) {
    const Outcome outcome = run_tool("../benchmarks/layers", {"--model", "lenet", flags[0], flags[1]});
    EXPECT_EQ(outcome.code, 2) << flags[0];
    EXPECT_TRUE(has(outcome.err, message)) << outcome.err;
  }
}

}  // namespace
}  // namespace striate::test
