#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "engine/device.h"
#include "kernels/gpu/device.h"
#include "kernels/linear/linear.h"
#include "tests/support/backend.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// Six steps of four images: host execution takes its time.
std::vector<std::string> few_steps(const fs::path& run, const std::string& device) {
  return tiny_flags({"--device", device, "--output", run.string(), "--set", "model.width=0.25", "--set",
                     "data.synthetic={train_images: 15, test_images: 8}", "--set", "train.batch_size=4", "--set",
                     "train.epochs=2"});
}

class CudaTools : public testing::Test {
 protected:
  void SetUp() override { skip_unless_runnable(Backend::cuda); }
};

TEST_F(CudaTools, TrainEvaluateAndResumeOnAnotherDevice) {
  TempDir folder;
  const fs::path run = folder / "run", other = folder / "cpu";
  const Outcome trained = run_tool("train", few_steps(run, "cuda"));
  ASSERT_EQ(trained.code, 0) << trained.out << trained.err;
  EXPECT_EQ(trained.err, "");
  const std::string notice = device_notice(Device::cuda);
  ASSERT_FALSE(notice.empty());
  EXPECT_EQ(count_of(trained.out, notice), 1) << trained.out;
  EXPECT_EQ(count_of(read_text(run / "log.txt"), notice), 1);
  ASSERT_EQ(read_lines(run / "steps.csv").size(), 7u);

  // The same run on cpu, to rounding.
  ASSERT_EQ(run_tool("train", few_steps(other, "cpu")).code, 0);
  const auto losses = [](const fs::path& folder_of_run) {
    std::vector<double> all;
    for (const std::string& line : read_lines(folder_of_run / "steps.csv")) {
      if (line.rfind("step", 0) == 0) continue;
      const size_t loss = line.find(',', line.find(',') + 1) + 1;
      all.push_back(std::stod(line.substr(loss)));
    }
    return all;
  };
  const std::vector<double> cuda = losses(run), cpu = losses(other);
  ASSERT_EQ(cuda.size(), cpu.size());
  for (size_t i = 0; i < cuda.size(); ++i) EXPECT_NEAR(cuda[i], cpu[i], 1e-4 * cpu[i]) << "step " << i + 1;

  const auto evaluate = [&](const std::string& device) {
    const fs::path json = folder / (device + ".json");
    const Outcome outcome = run_tool("evaluate", {"--run", run.string(), "--device", device, "--json", json.string()});
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    EXPECT_EQ(count_of(outcome.out, notice), device == "cuda" ? 1 : 0) << outcome.out;
    return nlohmann::json::parse(read_text(json));
  };
  const auto there = evaluate("cuda"), here = evaluate("cpu");
  EXPECT_EQ(there["images"], 8);
  EXPECT_NEAR(there["loss"].get<double>(), here["loss"].get<double>(), 1e-4 * here["loss"].get<double>());

  const Outcome resumed = run_tool("train", {"--resume", run.string(), "--device", "cpu", "--set", "train.epochs=3"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(count_of(resumed.out, notice), 0);
  EXPECT_EQ(read_lines(run / "steps.csv").size(), 10u);
}

TEST_F(CudaTools, TrainWithCublasAndGoOnWithout) {
  if (!cublas::missing().empty()) GTEST_SKIP() << "this build has no cuBLAS";
  TempDir folder;
  const fs::path run = folder / "run";
  std::vector<std::string> flags = few_steps(run, "cuda");
  flags.insert(flags.end(), {"--set", "model.linear=cublas", "--set", "train.max_steps=2"});
  const Outcome trained = run_tool("train", flags);
  ASSERT_EQ(trained.code, 0) << trained.out << trained.err;
  EXPECT_EQ(count_of(trained.out, "answered by our own product"), gpu::built_for_gpu() ? 0 : 1) << trained.out;

  const Outcome elsewhere = run_tool("evaluate", {"--run", run.string(), "--device", "cpu"});
  EXPECT_EQ(elsewhere.code, 2);
  EXPECT_NE(elsewhere.err.find("model.linear: 'cublas' computes on device cuda"), std::string::npos) << elsewhere.err;
  const Outcome resumed = run_tool("train", {"--resume", run.string(), "--device", "cpu", "--set", "model.linear=own",
                                             "--set", "train.max_steps=3"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_EQ(read_lines(run / "steps.csv").size(), 4u);
}

TEST(Device, TheCpuTrainsInBf16) {
  TempDir folder;
  const fs::path run = folder / "run";
  std::vector<std::string> flags = tiny_flags({"--device", "cpu", "--output", run.string()});
  flags.insert(flags.end(), {"--set", "train.precision=bf16", "--set", "train.max_steps=3"});
  const Outcome trained = run_tool("train", flags);
  ASSERT_EQ(trained.code, 0) << trained.out << trained.err;
  EXPECT_NE(read_text(run / "config.yaml").find("precision: bf16"), std::string::npos);
  flags = tiny_flags({"--device", "cpu", "--output", (folder / "fp32").string()});
  flags.insert(flags.end(), {"--set", "train.max_steps=3"});
  ASSERT_EQ(run_tool("train", flags).code, 0);
  EXPECT_NE(read_text(run / "steps.csv"), read_text(folder / "fp32" / "steps.csv"));
}

TEST(Device, PrecisionsThatItDoesNotHaveAreRefused) {
  TempDir folder;
  const Outcome outcome = run_tool(
      "train", tiny_flags({"--device", "cpu", "--output", (folder / "run").string(), "--set", "train.precision=tf32"}));
  EXPECT_EQ(outcome.code, 2);
  EXPECT_NE(outcome.err.find("train.precision: precision tf32: device cpu computes in fp32 or bf16"), std::string::npos)
      << outcome.err;
}

}  // namespace
}  // namespace striate::test
