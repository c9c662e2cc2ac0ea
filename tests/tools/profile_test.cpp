#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/temp_dir.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(Profile, PrintsKernelsAndLeavesNoRun) {
  const Outcome outcome = run_tool("train", tiny_flags({"--profile", "3"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  for (const char* expected : {"conv2d_forward", "conv2d_backward_weight", "linear_forward", "_update",
                               "waiting for batches", "everything else", "over 3 steps"}) {
    EXPECT_TRUE(has(outcome.out, expected)) << expected << " is not in\n" << outcome.out;
  }
  EXPECT_FALSE(has(outcome.out, "Weights")) << outcome.out;
}

TEST(Profile, RefusesWhatContradictsIt) {
  TempDir folder;
  Outcome outcome = run_tool("train", tiny_flags({"--profile", "0"}));
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(has(outcome.err, "--profile 0: at least one step")) << outcome.err;
  outcome = run_tool("train", tiny_flags({"--profile", "3", "--output", (folder / "run").string()}));
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(has(outcome.err, "--profile writes no run")) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "run"));
}

}  // namespace
}  // namespace striate::test
