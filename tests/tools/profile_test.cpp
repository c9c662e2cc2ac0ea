#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/support/temp_dir.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

using Json = nlohmann::json;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

constexpr int kSteps = 3;

struct Profiled {
  TempDir folder;
  Outcome outcome;
  Json trace;
};

void profile(const std::vector<std::string>& more, Profiled& result) {
  const auto output = result.folder / "profile";
  std::vector<std::string> flags = {"--profile", std::to_string(kSteps), "--output", output.string()};
  flags.insert(flags.end(), more.begin(), more.end());
  result.outcome = run_tool("train", tiny_flags(flags));
  ASSERT_EQ(result.outcome.code, 0) << result.outcome.err;
  EXPECT_EQ(result.outcome.err, "");
  result.trace = Json::parse(read_text(output / "trace.json"));
}

std::vector<Json> complete_events(const Json& trace, int process) {
  std::vector<Json> events;
  for (const Json& event : trace.at("traceEvents")) {
    if (event.at("ph") == "X" && event.at("pid") == process) events.push_back(event);
  }
  return events;
}

double begin_of(const Json& event) { return event.at("ts"); }
double end_of(const Json& event) { return begin_of(event) + event.at("dur").get<double>(); }

/// Row by row each event lies inside the one before it or behind its end.
void expect_nested(const std::vector<Json>& events) {
  std::map<int, std::vector<Json>> rows;
  for (const Json& event : events) rows[event.at("tid")].push_back(event);
  for (auto& [row, all] : rows) {
    std::stable_sort(all.begin(), all.end(), [](const Json& a, const Json& b) {
      return begin_of(a) != begin_of(b) ? begin_of(a) < begin_of(b) : end_of(a) > end_of(b);
    });
    std::vector<double> open;
    for (const Json& event : all) {
      while (!open.empty() && open.back() <= begin_of(event) + 1e-3) open.pop_back();
      if (!open.empty()) {
        EXPECT_LE(end_of(event), open.back() + 2e-3) << event << " in row " << row;
      }
      open.push_back(end_of(event));
    }
  }
}

/// The share of the steps in which something else than the step itself goes on.
double covered(const std::vector<Json>& events) {
  double whole = 0.0, inside = 0.0;
  for (const Json& step : events) {
    if (step.at("name") != "step") continue;
    whole += step.at("dur").get<double>();
    double reached = begin_of(step);
    for (const Json& event : events) {  // in order of their beginning
      if (event.at("name") == "step" || event.at("tid") >= 100 || end_of(event) <= reached) continue;
      if (begin_of(event) >= end_of(step)) continue;
      inside += std::min(end_of(event), end_of(step)) - std::max(begin_of(event), reached);
      reached = std::min(end_of(event), end_of(step));
    }
  }
  return inside / whole;
}

int count(const std::vector<Json>& events, const std::string& name, const std::string& category) {
  return static_cast<int>(std::count_if(events.begin(), events.end(), [&](const Json& event) {
    return event.at("name") == name && has(event.at("cat"), category);
  }));
}

TEST(Profile, PrintsKernelsAndLeavesNoRun) {
  Profiled p;
  profile({}, p);
  for (const char* expected : {"conv2d_backward_data", "conv2d_backward_weight", "linear_forward", "_update",
                               "waiting for batches", "everything else", "over 3 steps", "trace.json"}) {
    EXPECT_TRUE(has(p.outcome.out, expected)) << expected << " is not in\n" << p.outcome.out;
  }
  EXPECT_FALSE(has(p.outcome.out, "Weights")) << p.outcome.out;
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(p.folder / "profile"), {}), 1) << "the trace alone";
}

TEST(Profile, TracesEveryKernelOfTheSteps) {
  Profiled p;
  profile({"--set", "data.workers=1", "--set", "train.batch_size=40"}, p);
  const std::vector<Json> events = complete_events(p.trace, 1);
  expect_nested(events);
  EXPECT_GT(covered(events), 0.95);
  EXPECT_EQ(count(events, "step", "step"), kSteps);
  EXPECT_EQ(count(events, "wait for a batch", "wait"), kSteps);
  EXPECT_EQ(count(events, "optimizer", "optimizer"), kSteps);
  EXPECT_EQ(count(events, "backward", "backward"), kSteps);
  EXPECT_GE(count(events, "load images", "load"), 1);
  // alexnet_mini: two convolutions, two linear layers; the first convolution's data gradient is not asked for.
  // With their max-pools or, where many threads have few images each, without.
  EXPECT_EQ(
      count(events, "conv2d_max_pool_forward", "forward,kernel") + count(events, "conv2d_forward", "forward,kernel"),
      2 * kSteps);
  EXPECT_EQ(count(events, "conv2d_backward_data", "backward,kernel"), kSteps);
  EXPECT_EQ(count(events, "conv2d_backward_weight", "backward,kernel"), 2 * kSteps);
  EXPECT_EQ(count(events, "linear_forward_dropout", "forward,kernel"), kSteps) << "the hidden layer";
  EXPECT_EQ(count(events, "linear_forward", "forward,kernel"), kSteps);
  EXPECT_EQ(count(events, "softmax_cross_entropy_forward", "forward,kernel"), kSteps);
  EXPECT_EQ(count(events, "features.0", "forward"), kSteps) << "the layer, in the forward pass";

  std::map<std::string, int> layers;
  for (const Json& event : events) {
    const Json& args = event.at("args");
    if (!has(event.at("cat"), "kernel")) continue;
    EXPECT_EQ(args.at("op"), event.at("name"));
    EXPECT_GT(args.at("bytes").get<double>(), 0.0) << event;
    if (event.at("name") != "conv2d_backward_weight") continue;
    ++layers[args.at("layer")];
    const bool first = args.at("layer") == "features.0";  // 16 of 5×5×3 on 32×32, then 32 of 3×3×16 on 16×16
    EXPECT_DOUBLE_EQ(args.at("flops"), 2.0 * 40 * (first ? 32 * 32 * 16 * 75 : 16 * 16 * 32 * 144));
    EXPECT_TRUE(has(args.at("shape"), first ? "w [16,5,5,3]" : "w [32,3,3,16]")) << args;
  }
  EXPECT_EQ(layers.size(), 2u) << "each convolution's backward under its own name";
  EXPECT_EQ(layers["features.0"], kSteps);

  std::map<std::string, int> rows;
  for (const Json& event : p.trace.at("traceEvents")) {
    if (event.at("name") == "thread_name") ++rows[event.at("args").at("name")];
  }
  for (const char* row : {"steps", "waits", "forward", "backward", "optimizer", "loader worker 1"}) {
    EXPECT_EQ(rows[row], 1) << row;
  }
  for (const char* fact : {"network", "commit", "compiler", "machine", "date"}) {
    EXPECT_FALSE(p.trace.at("otherData").at(fact).get<std::string>().empty()) << fact;
  }
}

TEST(Profile, TracesTheGpusClockAndSaysWhatHostExecutionIsWorth) {
  Profiled p;
  profile({"--device", "cuda", "--set", "train.batch_size=2", "--set", "model.width=0.25"}, p);
  const std::vector<Json> host = complete_events(p.trace, 1), gpu = complete_events(p.trace, 2);
  expect_nested(host);
  expect_nested(gpu);
  EXPECT_EQ(count(gpu, "conv2d_forward", "forward,kernel"), 2 * kSteps);
  EXPECT_GE(count(gpu, "copy to device", "copy,kernel"), kSteps) << "the labels";
  // The images' copies have a row of their own, and end before their images are transformed.
  std::vector<Json> copies, transforms;
  for (const Json& event : gpu) {
    if (event.at("name") == "copy batch ahead") copies.push_back(event);
    if (event.at("name") == "image_batch") transforms.push_back(event);
  }
  EXPECT_GE(copies.size(), 2u) << "some came before the first step";
  ASSERT_EQ(transforms.size(), static_cast<size_t>(kSteps));
  for (const Json& event : copies) {
    EXPECT_EQ(event.at("args").at("bytes"), copies[0].at("args").at("bytes"));
    EXPECT_GE(event.at("args").at("bytes").get<double>(), 2.0 * 2 * 32 * 32 * 3) << "read and written";
    for (const Json& other : gpu) {
      EXPECT_TRUE(other.at("name") == event.at("name") || other.at("tid") != event.at("tid")) << other;
    }
  }
  EXPECT_LE(end_of(copies[0]), begin_of(transforms.back()));
  EXPECT_DOUBLE_EQ(transforms[0].at("args").at("bytes"), 2.0 * 32 * 32 * 3 * (1 + 4));
  EXPECT_TRUE(has(p.outcome.out, "(beside the kernels)")) << p.outcome.out;
  EXPECT_EQ(count(gpu, "step", "step"), 0);
  // Both clocks tell the same order and, on the host, the same times.
  for (const Json& event : gpu) EXPECT_GT(event.at("ts").get<double>(), -1.0) << event;
  if (p.trace.at("otherData").contains("cuda")) return;
  EXPECT_TRUE(has(p.outcome.out, "Times of device cuda mean nothing here")) << p.outcome.out;
  EXPECT_TRUE(has(p.trace.at("otherData").at("notice"), "mean nothing")) << p.trace.at("otherData");
}

TEST(Profile, RefusesWhatContradictsIt) {
  TempDir folder;
  Outcome outcome = run_tool("train", tiny_flags({"--profile", "0"}));
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(has(outcome.err, "--profile 0: at least one step")) << outcome.err;
  outcome = run_tool("train", tiny_flags({"--profile", "3", "--find-lr", "--output", (folder / "run").string()}));
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(has(outcome.err, "--profile trains no run: nor does --find-lr")) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
}

}  // namespace
}  // namespace striate::test
