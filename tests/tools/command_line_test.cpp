#include "tools/command_line.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

#include "kernels/error.h"

namespace striate {
namespace {

struct Flags {
  std::string output;
  int64_t batch = 1;
  CommonFlags common;
  CommandLine line{"Shows flags.", {"--output x", "--batch 3"}};

  Flags() {
    common.add_to(line);
    line.option("--output", output, "DIR", "A folder").option("--batch", batch, "N", "Images");
  }
  bool parse(std::vector<const char*> arguments) {
    arguments.insert(arguments.begin(), "build/tools/demo");
    return line.parse(static_cast<int>(arguments.size()), arguments.data());
  }
  std::string error(std::vector<const char*> arguments) {
    try {
      parse(std::move(arguments));
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "accepted";
  }
};

TEST(CommandLine, SetsWhatIsGiven) {
  Flags flags;
  EXPECT_TRUE(flags.parse({"--output", "runs/a b", "--batch=32", "--set", "data.train_transforms=[{pad: 2}, flip]",
                           "--set", "[odd]=[1,2]", "--threads", "2", "--device", "cpu"}));
  EXPECT_EQ(flags.output, "runs/a b");
  EXPECT_EQ(flags.batch, 32);
  EXPECT_EQ(flags.common.overrides(), (std::vector<std::string>{"data.train_transforms=[{pad: 2}, flip]", "[odd]=[1,2]",
                                                                "device=cpu", "threads=2"}));
  EXPECT_TRUE(flags.line.given("--batch"));
  EXPECT_FALSE(flags.line.given("--config"));
}

TEST(CommandLine, KeepsDefaults) {
  Flags flags;
  EXPECT_TRUE(flags.parse({}));
  EXPECT_EQ(flags.batch, 1);
  EXPECT_TRUE(flags.common.overrides().empty());
}

TEST(CommandLine, HelpHasEveryFlagAndTheExamples) {
  Flags flags;
  testing::internal::CaptureStdout();
  EXPECT_FALSE(flags.parse({"--help"}));
  const std::string help = testing::internal::GetCapturedStdout();
  for (const char* expected :
       {"Shows flags.", "--output DIR", "--set KEY=VALUE", "--threads N", "Examples:", "build/tools/demo --batch 3"}) {
    EXPECT_NE(help.find(expected), std::string::npos) << expected << " is missing from\n" << help;
  }
}

TEST(CommandLine, NamesTheNearestFlag) {
  EXPECT_NE(Flags().error({"--ouput", "x"}).find("'--output'"), std::string::npos);
  EXPECT_NE(Flags().error({"--bach=3"}).find("'--batch'"), std::string::npos);
  EXPECT_NE(Flags().error({"--zzzzzzzzz"}).find("--help"), std::string::npos);
  EXPECT_NE(Flags().error({"stray"}).find("'stray'"), std::string::npos);
}

TEST(CommandLine, RefusesMissingAndWrongValues) {
  EXPECT_NE(Flags().error({"--output"}).find("--output"), std::string::npos);
  EXPECT_NE(Flags().error({"--batch", "many"}).find("--batch"), std::string::npos);
  EXPECT_NE(Flags().error({"--batch", "1", "--batch", "2"}).find("--batch"), std::string::npos);
}

TEST(RunTool, TurnsErrorsIntoExitCodes) {
  const auto code_of = [](const std::function<int()>& body, const std::string& expected) {
    testing::internal::CaptureStderr();
    const int code = run_tool("demo", body);
    EXPECT_EQ(testing::internal::GetCapturedStderr(), expected);
    return code;
  };
  EXPECT_EQ(code_of([] { return 0; }, ""), 0);
  EXPECT_EQ(code_of([] { return 130; }, ""), 130);
  EXPECT_EQ(code_of([]() -> int { throw ConfigError("wrong key"); }, "demo: wrong key\n"), 2);
  EXPECT_EQ(code_of([]() -> int { throw ShapeError("too small"); }, "demo: too small\n"), 2);
  EXPECT_EQ(code_of([]() -> int { throw IoError("gone"); }, "demo: gone\n"), 1);
  EXPECT_EQ(code_of([]() -> int { throw std::runtime_error("odd"); }, "demo: odd\n"), 1);
  EXPECT_EQ(code_of([]() -> int { throw std::bad_alloc(); },
                    "demo: out of memory; a smaller train.batch_size or data.image_size needs less\n"),
            1);
}

}  // namespace
}  // namespace striate
