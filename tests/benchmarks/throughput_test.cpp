#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/train/safetensors.h"
#include "kernels/gpu/device.h"
#include "tests/support/backend.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;
using Flags = std::vector<std::string>;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

Outcome throughput(const Flags& flags) { return run_tool("../benchmarks/throughput", flags); }

Flags quick(const Flags& more) {
  Flags flags = {"--model", "lenet", "--seconds", "0.02", "--threads", "1", "--device", "cpu"};
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

TEST(Throughput, WritesARowForEveryBatchSize) {
  TempDir folder;
  const fs::path csv = folder / "t.csv", json = folder / "t.json", plot = folder / "t.png";
  const Outcome outcome =
      throughput(quick({"--batches", "1,3", "--csv", csv.string(), "--json", json.string(), "--plot", plot.string()}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  std::vector<std::string> lines = read_lines(csv);
  EXPECT_TRUE(lines.at(0).starts_with("# commit: ")) << lines[0];
  std::erase_if(lines, [](const std::string& line) { return line.starts_with("#"); });
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0],
            "model,device,mode,precision,threads,batch,images_per_second,step_ms,peak_memory_bytes,percent_of_limit");
  EXPECT_TRUE(lines[1].starts_with("lenet,cpu,train,fp32,1,1,")) << lines[1];
  EXPECT_TRUE(lines[2].starts_with("lenet,cpu,train,fp32,1,3,")) << lines[2];
  const nlohmann::json document = nlohmann::json::parse(read_text(json));
  ASSERT_EQ(document.at("rows").size(), 2u);
  for (const auto& row : document["rows"]) {
    const double rate = row.at("images_per_second"), step = row.at("step_ms"), batch = row.at("batch");
    EXPECT_NEAR(rate * step / 1e3, batch, 1e-6 * batch);
    EXPECT_GT(row.at("percent_of_limit").get<double>(), 0.0);
    EXPECT_GT(row.at("peak_memory_bytes").get<int64_t>(), 1 << 20);
  }
  for (const char* fact : {"commit", "version", "compiler", "machine", "date"}) {
    EXPECT_FALSE(document.at("provenance").at(fact).get<std::string>().empty()) << fact;
  }
  EXPECT_TRUE(document.at("largest_batch_that_fits").is_null()) << "nothing stopped it";
  EXPECT_GT(document.at("limit").at("flops_per_second").get<double>(), 1e8);
  EXPECT_GT(fs::file_size(plot), 10000u);
}

TEST(Throughput, InfersAndReadsADataset) {
  Outcome outcome = throughput(quick({"--batches", "2", "--mode", "infer"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "infer")) << outcome.out;
  outcome = throughput(quick({"--batches", "8", "--data", "config", "--set", "data.dataset=synthetic"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "\n      8  ")) << outcome.out;
}

// Whether the pictures are there from the beginning or come from a loader, which transforms them there.
TEST(Throughput, FeedsCudaFromItsMemory) {
  skip_unless_runnable(Backend::cuda);
  for (const std::string mode : {"train", "infer"}) {
    for (const std::string data : {"synthetic", "config"}) {
      const Outcome outcome =
          throughput({"--model", "lenet", "--seconds", "0.02", "--threads", "1", "--batches", "2", "--mode", mode,
                      "--data", data, "--set", "data.dataset=synthetic", "--device", "cuda", "--precision", "bf16"});
      ASSERT_EQ(outcome.code, 0) << outcome.err;
      EXPECT_TRUE(has(outcome.out, "\n      2  ")) << outcome.out;
    }
  }
}

TEST(Throughput, DoesNotTryWhatCannotFit) {
  const Outcome outcome = throughput({"--model", "alexnet", "--batches", "1048576", "--device", "cpu"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out, "batch 1048576: takes ")) << outcome.out;
}

#if !defined(__SANITIZE_ADDRESS__)  // which takes terabytes of addresses itself
TEST(Throughput, ReportsTheLargestBatchWhereMemoryRunsOut) {
  if (gpu::built_for_gpu()) GTEST_SKIP() << "the driver takes more addresses than the limit set here";
  TempDir folder;
  const fs::path json = folder / "t.json", out = folder / "out.txt";
  // On device cuda nothing is known beforehand of how much is free. 64 GiB of addresses are host execution's own.
  const std::string command = fmt::format(
      "ulimit -v 72000000; exec {}/../benchmarks/throughput --model lenet --device cuda --mode infer --seconds 0.01 "
      "--batches 1,900000,1000000 --json {} > {} 2>&1",
      STRIATE_TOOLS_DIR, json.string(), out.string());
  ASSERT_EQ(std::system(command.c_str()), 0) << read_text(out);
  const std::string text = read_text(out);
  EXPECT_TRUE(has(text, "batch 900000: out of memory")) << text;
  EXPECT_FALSE(has(text, "batch 1000000")) << text;
  EXPECT_TRUE(has(text, "The largest batch that fits: 1\n")) << text;
  EXPECT_TRUE(has(text, "Times of device cuda mean nothing here")) << text;
  const nlohmann::json document = nlohmann::json::parse(read_text(json));
  EXPECT_EQ(document.at("largest_batch_that_fits"), 1);
  EXPECT_EQ(document.at("stopped").at("batch"), 900000);
  EXPECT_EQ(document.at("rows").size(), 1u);
}
#endif

TEST(Throughput, SaysWhatIsWrong) {
  for (const auto& [flags, message] : std::vector<std::pair<Flags, std::string>>{
           {{"--batches", "1,x"}, "--batches 1,x: 'x' is no batch size"},
           {{"--batches", "0"}, "'0' is no batch size"},
           {{"--mode", "fly"}, "--mode fly: expected train or infer"},
           {{"--data", "nowhere"}, "--data nowhere: expected synthetic or config"},
           {{"--data", "config"}, "no dataset is named"},
           {{"--precision", "fp8"}, "fp8"},
           {{"--seconds", "0"}, "--seconds 0"}}) {
    const Outcome outcome = throughput({"--model", "lenet", flags[0], flags[1]});
    EXPECT_EQ(outcome.code, 2) << flags[0] << " " << flags[1];
    EXPECT_TRUE(has(outcome.err, message)) << outcome.err;
  }
}

TEST(TimedSteps, WritesLogitsLossAndGradients) {
  TempDir folder;
  const fs::path batch = folder / "batch.safetensors", results = folder / "results.safetensors";
  Tensor images = Tensor::full({3, 32, 32, 3}, 0.5f, Device::cpu);
  write_safetensors(batch.string(), {{"images", images}, {"labels", Tensor::zeros({3}, DType::int32, Device::cpu)}},
                    {});
  const Outcome outcome = run_tool("../benchmarks/timed_steps", {"--model", "lenet", "--batch", batch.string(),
                                                                 "--results", results.string(), "--device", "cpu"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Safetensors found = read_safetensors(results.string());
  ASSERT_NE(found.find("logits"), nullptr);
  EXPECT_EQ(found.find("logits")->shape(), (Shape{3, 10}));
  ASSERT_NE(found.find("loss"), nullptr);
  ASSERT_NE(found.find("gradient.features.0.weight"), nullptr);
  EXPECT_EQ(found.find("gradient.features.0.weight")->shape(), (Shape{6, 3, 5, 5})) << "PyTorch's layout";
}

TEST(TimedSteps, RefusesAnotherBatch) {
  TempDir folder;
  const fs::path batch = folder / "batch.safetensors";
  write_safetensors(batch.string(),
                    {{"images", Tensor::full({3, 8, 8, 3}, 0.5f, Device::cpu)},
                     {"labels", Tensor::zeros({3}, DType::int32, Device::cpu)}},
                    {});
  const Outcome outcome =
      run_tool("../benchmarks/timed_steps", {"--model", "lenet", "--batch", batch.string(), "--device", "cpu"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_TRUE(has(outcome.err, "images [3,8,8,3], expected [3,32,32,3]")) << outcome.err;
}

}  // namespace
}  // namespace striate::test
