#include "engine/autotune.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/config.h"
#include "engine/device.h"
#include "engine/ops/ops.h"
#include "engine/tensor.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "tests/engine/train_toy.h"
#include "tests/support/temp_dir.h"

namespace striate::test {
namespace {

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

/// $XDG_CACHE_HOME as long as it lives.
class CacheHome {
 public:
  explicit CacheHome(const std::string& folder) {
    if (const char* const before = std::getenv(kName)) before_ = before;
    setenv(kName, folder.c_str(), 1);
  }
  ~CacheHome() {
    if (before_) {
      setenv(kName, before_->c_str(), 1);
    } else {
      unsetenv(kName);
    }
  }
  CacheHome(const CacheHome&) = delete;
  CacheHome& operator=(const CacheHome&) = delete;

 private:
  static constexpr const char* kName = "XDG_CACHE_HOME";
  std::optional<std::string> before_;
};

TEST_F(AutotuneTest, ItsFileIsNamedAfterTheGpu) {
  const CacheHome home("/somewhere");
  EXPECT_TRUE(autotune_path().starts_with("/somewhere/striate/autotune-")) << autotune_path();
  EXPECT_TRUE(autotune_path().ends_with(".txt"));
}

struct NoticeObserver : TrainObserver {
  std::vector<std::string> notices;
  void notice(const std::string& message) override { notices.push_back(message); }
};

TEST_F(AutotuneTest, ServesATrainingRunAndIsOffUnlessAskedFor) {
  const CacheHome home(dir_.path().string());
  const auto train = [&](bool autotune, Device device) {
    ToySource source(16, 8, 1);
    const auto network = toy_network();
    network->to(device);
    TrainOptions options = quick_options();
    options.epochs = 1;
    options.autotune = autotune;
    Trainer trainer(*network, {&source}, options);
    NoticeObserver observer;
    trainer.add_observer(observer);
    trainer.run();
    return std::pair(all_weights(*network), observer.notices.empty() ? "" : observer.notices.front());
  };
  const auto plain = train(false, Device::cuda);
  EXPECT_EQ(plain.second, "");
  EXPECT_FALSE(std::filesystem::exists(autotune_path()));
  EXPECT_EQ(train(true, Device::cpu).second, "train.autotune: on device cpu there is nothing to time");
  EXPECT_FALSE(std::filesystem::exists(autotune_path()));
  const auto tuned = train(true, Device::cuda);
  EXPECT_NE(tuned.second.find(" 0 of them in " + autotune_path()), std::string::npos) << tuned.second;
  const std::string text = content(autotune_path());
  for (const char* operands : {"windows/", "window_columns/", " rows/", " columns/"}) {
    EXPECT_NE(text.find(operands), std::string::npos) << operands << " in " << text;
  }
  const auto again = train(true, Device::cuda);
  EXPECT_EQ(again.first, tuned.first);
  EXPECT_EQ(content(autotune_path()), text);
  EXPECT_EQ(again.second.find(" 0 of them"), std::string::npos) << again.second;
  if (!gpu::built_for_gpu()) {
    EXPECT_EQ(tuned.first, plain.first);  // the same prediction
  }
  EXPECT_EQ(tile::tuning_table(), nullptr);
}

TEST(AutotuneOption, IsPartOfTheConfigurationAndOfWhatAResumedRunKeeps) {
  TrainOptions options = TrainOptions::parse(ConfigReader::parse("{}"));
  EXPECT_FALSE(options.autotune);
  EXPECT_EQ(options.fixed_by_resume().find("autotune"), std::string::npos);
  options = TrainOptions::parse(ConfigReader::parse("autotune: true"));
  EXPECT_TRUE(options.autotune);
  EXPECT_NE(options.fixed_by_resume().find("train.autotune=true"), std::string::npos);
}

}  // namespace
}  // namespace striate::test
