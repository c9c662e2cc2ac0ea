#include <gtest/gtest.h>

#include <filesystem>

#include "benchmarks/scaling_compute.h"
#include "benchmarks/scaling_model.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tool.h"

namespace striate::bench {
namespace {

using test::Outcome;

/// A second forward and two backward for each layer, whatever its size; a head's in proportion.
Compute seconds_a_layer() {
  Compute compute;
  compute.layer = [](const LayerWork& layer, double images, int64_t parts) {
    const double share = layer.head ? images / static_cast<double>(parts) : 1.0;
    return Compute::Passes{share, 2.0 * share};
  };
  compute.loss = [](int64_t, double) { return 0.0; };
  compute.update = [](double) { return 0.0; };
  return compute;
}

/// A byte a second and no latency.
Fabric slow_link() {
  Fabric fabric = network(1.0);
  fabric.ways = {{}};
  return fabric;
}

std::vector<LayerWork> two_layers() {
  return {{.name = "conv", .type = "Conv2d", .parameters = 4, .macs = 4, .inputs = 4, .outputs = 4, .channels = 1},
          {.name = "fc",
           .type = "Linear",
           .head = true,
           .parameters = 8,
           .macs = 8,
           .inputs = 4,
           .outputs = 2,
           .channels = 2}};
}

std::vector<LayerWork> alexnet() {
  models::ModelConfig config;
  config.name = "alexnet";
  const Shape input = models::resolve_input(config);
  const auto model = models::make_model(config, input);
  return layer_works(models::summarize(*model, input));
}

TEST(Scaling, HidesTheReductionsUnderTheBackward) {
  ScalingOptions options{.ranks = 2, .images = 1.0, .wire_bytes = 0.25, .bucket_bytes = 8 * 4.0};
  // fc's 2 bytes take 2 s under conv's backward of 2 s, conv's byte its second behind it.
  PredictedStep step = predict_data_parallel(two_layers(), seconds_a_layer(), slow_link(), options);
  EXPECT_DOUBLE_EQ(step.compute, 6.0);
  EXPECT_DOUBLE_EQ(step.sent_bytes, 3.0) << "twice half of 3 bytes";
  EXPECT_DOUBLE_EQ(step.communication, 3.0);
  EXPECT_DOUBLE_EQ(step.exposed, 1.0);
  EXPECT_DOUBLE_EQ(step.seconds, 7.0);

  options.bucket_bytes = 100.0;  // all wait for the last
  step = predict_data_parallel(two_layers(), seconds_a_layer(), slow_link(), options);
  EXPECT_DOUBLE_EQ(step.exposed, 3.0);

  options.ranks = 1;
  step = predict_data_parallel(two_layers(), seconds_a_layer(), slow_link(), options);
  EXPECT_DOUBLE_EQ(step.seconds, 6.0);
  EXPECT_DOUBLE_EQ(step.sent_bytes, 0.0);
}

TEST(Scaling, SendsActivationsInsteadOfTheHead) {
  ScalingOptions options{.ranks = 2, .images = 1.0, .wire_bytes = 0.25, .bucket_bytes = 8 * 4.0};
  const PredictedStep step = predict_one_weird_trick(two_layers(), seconds_a_layer(), slow_link(), options);
  // For each of two images: 16 bytes of features and 1 of their gradients from one rank to the other, half of the 8 of
  // the columns; then the byte of conv's gradients.
  EXPECT_DOUBLE_EQ(step.sent_bytes, 2 * (8.0 + 0.5 + 4.0) + 1.0);
  EXPECT_DOUBLE_EQ(step.compute, 6.0) << "the head has twice the images and half the columns";
  // The second broadcast lies under the first round's work and under nothing else; so does the first reduction.
  EXPECT_DOUBLE_EQ(step.communication, 2 * (16.0 + 1.0 + 4.0) + 1.0);
  EXPECT_DOUBLE_EQ(step.seconds, step.compute + step.exposed);
  EXPECT_LT(step.exposed, step.communication);

  options.rounds = 1;
  const PredictedStep at_once = predict_one_weird_trick(two_layers(), seconds_a_layer(), slow_link(), options);
  EXPECT_DOUBLE_EQ(at_once.sent_bytes, step.sent_bytes);
  EXPECT_DOUBLE_EQ(at_once.exposed, at_once.communication) << "nothing to hide it under";
}

TEST(Scaling, TakesTheSlowestLinkAndTheFastestWay) {
  Fabric fabric{.name = "", .ranks_a_node = 4, .inside = 100.0, .between = 50.0, .ways = {{false, 1.0, 0.1, 1.0, 1.0}}};
  EXPECT_DOUBLE_EQ(fabric.seconds(Collective::all_gather, 400.0, 1), 0.0);
  EXPECT_DOUBLE_EQ(fabric.seconds(Collective::all_gather, 400.0, 4), 1.0 + 3 * 0.1 + 300.0 / 100.0);
  EXPECT_DOUBLE_EQ(fabric.seconds(Collective::all_gather, 400.0, 8), 1.0 + 6 * 0.1 + 1 * 1.0 + 350.0 / 50.0);
  EXPECT_DOUBLE_EQ(fabric.seconds(Collective::all_reduce, 400.0, 4), 1.0 + 2 * 3 * 0.1 + 600.0 / 100.0);
  EXPECT_DOUBLE_EQ(fabric.seconds(Collective::broadcast, 400.0, 4), 1.0 + 3 * 0.1 + 400.0 / 100.0);
  // A tree has fewer hops than 15 nodes' ring.
  fabric.ways.push_back({true, 1.0, 0.1, 1.0, 0.5});
  EXPECT_DOUBLE_EQ(fabric.seconds(Collective::all_reduce, 0.0, 64), 1.0 + 2 * (3 * 0.1 + 4 * 1.0));
  EXPECT_DOUBLE_EQ(fabric.seconds(Collective::all_gather, 0.0, 64), 1.0 + 48 * 0.1 + 15 * 1.0);
}

TEST(Scaling, CountsAlexNetsBytes) {
  const std::vector<LayerWork> layers = alexnet();
  const Compute compute = chip_compute(kH100, Precision::bf16, layers);
  const ScalingOptions options{.ranks = 4, .images = 32.0};
  const PredictedStep data = predict_data_parallel(layers, compute, h100_nodes(), options);
  EXPECT_DOUBLE_EQ(data.sent_bytes, 2.0 * 0.75 * 4.0 * 61100840);
  const PredictedStep trick = predict_one_weird_trick(layers, compute, h100_nodes(), options);
  // Features there and their gradients back, three layers' columns, two layers' gradients; 2,469,696 parameters of
  // convolutions.
  const double values = 2.0 * 9216 + (4096 + 4096 + 1000) + (4096 + 4096);
  EXPECT_DOUBLE_EQ(trick.sent_bytes, 0.75 * 4.0 * 128.0 * values + 2.0 * 0.75 * 4.0 * 2469696);
  // As one GPU by itself, whatever the scheme.
  const ScalingOptions one{.ranks = 1, .images = 32.0};
  EXPECT_DOUBLE_EQ(predict_one_weird_trick(layers, compute, h100_nodes(), one).seconds,
                   predict_data_parallel(layers, compute, h100_nodes(), one).seconds);
}

TEST(Scaling, PredictsFromMeasuredLayers) {
  test::TempDir folder;
  const std::string json = (folder / "layers.json").string(), csv = (folder / "scaling.csv").string();
  const std::vector<std::string> network = {"--model", "lenet", "--device", "cpu", "--threads", "1"};
  const auto run = [&](const std::string& tool, std::vector<std::string> flags) {
    flags.insert(flags.end(), network.begin(), network.end());
    return test::run_tool("../benchmarks/" + tool, flags);
  };
  Outcome outcome = run("layers", {"--batch", "4", "--seconds", "0.02", "--json", json});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const std::string plot = (folder / "scaling.svg").string();
  outcome = run("scaling", {"--compute", json, "--images", "4", "--batch", "8", "--link-rate", "1e6", "--ranks", "2",
                            "--csv", csv, "--plot", plot});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("PREDICTION"), std::string::npos);
  EXPECT_NE(test::read_text(plot).find("PREDICTION"), std::string::npos);
  std::vector<std::string> lines = test::read_lines(csv);
  std::erase_if(lines, [](const std::string& line) { return line.starts_with("#"); });
  ASSERT_EQ(lines.size(), 1u + 2 * 3 * 2) << "weak and strong, three schemes, one and two ranks";
  EXPECT_TRUE(lines[1].starts_with("weak,data,1,4,0,")) << lines[1];

  test::write_text(json, "{\"mode\": \"train\"}");
  outcome = run("scaling", {"--compute", json});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("--compute"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace striate::bench
