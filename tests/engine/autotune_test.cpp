#include "engine/autotune.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/ops/ops.h"
#include "engine/tensor.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "tests/support/temp_dir.h"

namespace striate::test {
namespace {

std::string content(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}
void write(const std::filesystem::path& path, const std::string& text) { std::ofstream(path) << text; }

std::vector<float> product() {
  Tensor x = Tensor::full({24, 40}, 0.25f, Device::cuda), w = Tensor::full({48, 40}, 0.5f, Device::cuda);
  const Tensor y = ops::linear(x, w, Tensor(), Activation::none).to(Device::cpu);
  return {y.data<float>(), y.data<float>() + y.size()};
}

class AutotuneTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!gpu::available()) GTEST_SKIP() << "no GPU here";
  }
  /// A file with what product() needs.
  std::string tuned_file() {
    const std::string path = (dir_ / "cache" / "tiles.txt").string();
    Autotune autotune(path);
    product();
    autotune.save();
    return path;
  }
  TempDir dir_;
};

TEST_F(AutotuneTest, KeepsWhatItTimedInAFileAndReadsItAgain) {
  const std::string path = tuned_file(), text = content(path);
  EXPECT_TRUE(text.starts_with("striate autotune 1\ngpu ")) << text;
  EXPECT_NE(text.find("fp32 rows/4 rows/4 m=24 n=48 k=40 "), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("end 1\n")) << text;
  Autotune again(path);
  EXPECT_EQ(again.notice(), "");
  EXPECT_EQ(again.table().tiles().size(), 1u);
  std::filesystem::remove(path);
  product();
  again.save();  // there is nothing new
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(AutotuneTest, TakesTheFilesTilesWhateverTheTimesWouldBe) {
  const std::string path = tuned_file();
  std::string text = content(path);
  const size_t line = text.find('\n', text.find("\nversion ") + 1) + 1;
  text.replace(line, text.find(" | ") - line, "16x128x32 shares 1");
  write(path, text);
  const std::vector<float> expected = product();
  Autotune autotune(path);
  EXPECT_EQ(product(), expected);  // exact whatever the tile
  const tile::TunedTile kept = autotune.table().tiles().begin()->second;
  EXPECT_EQ(kept, (tile::TunedTile{16, 128, 32, 1}));
}

TEST_F(AutotuneTest, IsTheSameForTheSameFile) {
  const std::string path = tuned_file();
  std::vector<float> results[2];
  for (auto& result : results) {
    Autotune autotune(path);
    result = product();
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST_F(AutotuneTest, TimesAnewWithANoticeWhatDoesNotCount) {
  const std::string path = tuned_file(), text = content(path);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    return changed;
  };
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "its first line is not 'striate autotune 1'"},
      {with("autotune 1", "autotune 9"), "its first line is not 'striate autotune 1'"},
      {with("gpu ", "gpu Another "), "it is for 'gpu Another "},
      {with("version ", "version 99."), "it is of 'version 99."},
      {with(" shares ", " sharks "), "line 4 is damaged: '"},
      {with(" shares ", " shares -"), "line 4 is damaged: '"},
      {with("end 1", "end 2"), "line 5 does not end it as it should"},
      {text + "more\n", "line 5 does not end it as it should"},
      {text.substr(0, text.find("end 1")), "it is cut off after line 4"},
  };
  for (const auto& [damaged, reason] : cases) {
    write(path, damaged);
    Autotune autotune(path);
    EXPECT_NE(autotune.notice().find(path + ": " + reason), std::string::npos) << autotune.notice();
    EXPECT_TRUE(autotune.notice().ends_with("; the tiles are timed anew")) << autotune.notice();
    EXPECT_TRUE(autotune.table().tiles().empty());
    product();
    autotune.save();
    EXPECT_EQ(content(path).substr(0, text.find("version")), text.substr(0, text.find("version")));
    EXPECT_TRUE(content(path).ends_with("end 1\n"));
  }
}

TEST_F(AutotuneTest, SaysWhereItCannotWrite) {
  write(dir_ / "file", "");
  Autotune autotune((dir_ / "file" / "tiles.txt").string());
  product();
  EXPECT_THROW(autotune.save(), IoError);
}

TEST_F(AutotuneTest, IsOneAtATime) {
  Autotune first((dir_ / "a").string());
  EXPECT_THROW(Autotune((dir_ / "b").string()), ConfigError);
}

TEST_F(AutotuneTest, ItsFileIsNamedAfterTheGpu) {
  const char* const before = std::getenv("XDG_CACHE_HOME");
  const std::string kept = before ? before : "";
  setenv("XDG_CACHE_HOME", "/somewhere", 1);
  EXPECT_TRUE(autotune_path().starts_with("/somewhere/striate/autotune-")) << autotune_path();
  EXPECT_TRUE(autotune_path().ends_with(".txt"));
  if (before) {
    setenv("XDG_CACHE_HOME", kept.c_str(), 1);
  } else {
    unsetenv("XDG_CACHE_HOME");
  }
}

}  // namespace
}  // namespace striate::test
