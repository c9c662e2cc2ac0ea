#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <regex>

#include "benchmarks/kernels_side.h"
#include "benchmarks/simd_target.h"
#include "kernels/gpu/device.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tool.h"

namespace striate::bench {
namespace {

TEST(KernelResults, AgreeWithinTheirTolerance) {
  const Results expected = {{1.0f, -4.0f}, {2.0f}};
  EXPECT_TRUE(agree(expected, expected, 0.0));
  EXPECT_TRUE(agree({{1.0f, -4.0f, 9.0f}, {2.0f}}, expected, 0.0)) << "images after the first do not count";
  EXPECT_TRUE(agree({{1.03f, -4.0f}, {2.0f}}, expected, 0.01)) << "of the greatest value";
  EXPECT_FALSE(agree({{1.05f, -4.0f}, {2.0f}}, expected, 0.01));
  EXPECT_FALSE(agree({{1.0f, -4.0f}, {2.1f}}, expected, 0.01)) << "each output by its own greatest value";
  EXPECT_FALSE(agree({{1.0f}, {2.0f}}, expected, 0.01));
  EXPECT_FALSE(agree({{1.0f, -4.0f}}, expected, 0.01));
  EXPECT_FALSE(agree({{std::numeric_limits<float>::quiet_NaN(), -4.0f}, {2.0f}}, expected, 0.01));
}

TEST(KernelOperands, KeepTheirValuesOnEverySide) {
  for (const Side side : {Side::cpu, Side::cuda}) {
    if (side == Side::cuda && !gpu::available()) continue;
    Operand<bfloat16> operand(side, 6);
    EXPECT_EQ(operand.get(), Floats(6, 0.0f));
    operand.fill(3, true, 4);
    Floats expected = values(6, 3, true);
    for (const float value : expected) EXPECT_EQ(value, std::round(value));
    expected[4] = expected[5] = 0.0f;
    EXPECT_EQ(operand.get(), expected);
  }
}

}  // namespace
}  // namespace striate::bench

#if defined(STRIATE_KERNELS_BENCHMARK)  // Google Benchmark is optional
namespace striate::test {
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Outcome kernels(const std::vector<std::string>& flags) { return run_tool("../benchmarks/kernels", flags); }

constexpr const char* kOps[] = {"conv2d",
                                "linear",
                                "max_pool",
                                "avg_pool",
                                "adaptive_avg_pool",
                                "local_response_norm",
                                "batch_norm",
                                "softmax",
                                "relu",
                                "gelu",
                                "softmax_cross_entropy",
                                "add",
                                "add_relu",
                                "accumulate",
                                "scale",
                                "fill",
                                "dropout",
                                "adamw",
                                "rmsprop",
                                "sgd_momentum",
                                "image_batch"};

TEST(Kernels, OfEveryOpAgreeWithTheReferenceInBothPrecisions) {
  for (const std::string device : {"cpu", "cuda"}) {
    if (device == "cuda" && !gpu::available()) continue;
    const Outcome outcome = kernels({"--device", device, "--check", "--threads", "1"});
    ASSERT_EQ(outcome.code, 0) << outcome.out << outcome.err;
    EXPECT_TRUE(has(outcome.out, ", 0 differ\n")) << outcome.out;
    for (const std::string op : kOps) {
      for (const std::string precision : {"fp32", "bf16"}) {
        const std::regex row("(^|\n)" + op + "/tiny/[a-z_]+/" + precision + "/" + device + "/own +ok\n");
        EXPECT_TRUE(std::regex_search(outcome.out, row)) << op << " " << precision << "\n" << outcome.out;
      }
    }
    if (device == "cuda") {
      EXPECT_TRUE(has(outcome.out, "conv2d/tiny/forward/tf32/cuda/own ")) << outcome.out;
    }
  }
}

TEST(Kernels, AreTimedBesideThePeaksAndNameTheirMachine) {
  TempDir folder;
  const std::string json = (folder / "k.json").string();
  const std::string target = bench::supported_simd_targets().back();
  const Outcome outcome = kernels(
      {"--device", "cpu", "--threads", "1", "--target", target, "--benchmark_min_time=0.001",
       "--benchmark_filter=^(linear/alexnet_mini_fc2|dropout/alexnet_fc6)/forward/", "--benchmark_out=" + json});
  ASSERT_EQ(outcome.code, 0) << outcome.out << outcome.err;
  const nlohmann::json document = nlohmann::json::parse(read_text(json));
  for (const char* fact : {"commit", "version", "compiler", "machine", "date", "multiply-add peak", "copy bandwidth"}) {
    EXPECT_FALSE(document.at("context").at(fact).get<std::string>().empty()) << fact;
  }
  EXPECT_EQ(document.at("context").at("threads"), "1");
  std::string used = document.at("context").at("kernels").get<std::string>();
  std::transform(used.begin(), used.end(), used.begin(), [](unsigned char c) { return std::tolower(c); });
  EXPECT_EQ(used == "avx3" ? "avx512" : used, target);
  std::vector<std::string> names;
  for (const auto& row : document.at("benchmarks")) {
    names.push_back(row.at("name"));
    EXPECT_GT(row.at("GB/s").get<double>(), 0.0) << row;
    EXPECT_GT(row.at("%copy").get<double>(), 0.0) << row;
    const bool product = names.back().starts_with("linear");
    EXPECT_EQ(row.contains("GFLOP/s") && row.contains("%peak"), product) << row;
    if (product) {
      EXPECT_GT(row.at("%peak").get<double>(), 0.0) << row;
    }
  }
  EXPECT_EQ(names, (std::vector<std::string>{"linear/alexnet_mini_fc2/forward/fp32/cpu/own/manual_time",
                                             "linear/alexnet_mini_fc2/forward/bf16/cpu/own/manual_time",
                                             "dropout/alexnet_fc6/forward/fp32/cpu/own/manual_time",
                                             "dropout/alexnet_fc6/forward/bf16/cpu/own/manual_time"}));
}

TEST(Kernels, AreNotTimedWhereTheHostExecutesThem) {
  if (gpu::built_for_gpu()) GTEST_SKIP() << "they are timed, here";
  const Outcome outcome = kernels({"--device", "cuda"});
  EXPECT_EQ(outcome.code, 2);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err,
            "kernels: --device cuda: this build executes its kernels on the host, where their times mean nothing. "
            "--check checks their results; build the preset cuda to time them on a GPU.\n");
  const Outcome listed = kernels({"--benchmark_list_tests"});
  EXPECT_TRUE(has(listed.out, "conv2d/alexnet_conv2/forward/fp32/cpu/own")) << listed.out;
  EXPECT_FALSE(has(listed.out, "cuda"));
  EXPECT_FALSE(has(listed.out, "tiny"));
}

TEST(Kernels, SayWhatIsWrong) {
  for (const auto& [flags, message] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--device", "cpu", "--target", "avx7"}, "--target avx7: the kernels of this build are compiled for "},
           {{"--device", "cuda", "--target", "best"}, "--target best: the instruction set is the cpu kernels'"},
           {{"--device", "tpu"}, "tpu"},
           {{"--threads", "-1"}, "--threads -1: expected 0 to 4096"},
           {{"--check", "--benchmark_filter=nothing"}, "--benchmark_filter=nothing: no kernel's name holds it"},
           {{"--check", "--benchmark_filter=("}, "--benchmark_filter=(: "},
           {{"--fast"}, "--fast"}}) {
    if (flags[0] == "--device" && flags[1] == "cuda" && !gpu::available()) continue;
    const Outcome outcome = kernels(flags);
    EXPECT_EQ(outcome.code, 2) << flags[0];
    EXPECT_TRUE(has(outcome.err, message)) << outcome.err;
  }
  const Outcome help = kernels({"--help"});
  EXPECT_EQ(help.code, 0);
  for (const std::string& target : bench::simd_targets()) EXPECT_TRUE(has(help.out, target)) << help.out;
}

}  // namespace
}  // namespace striate::test
#endif
