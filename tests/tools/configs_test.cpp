#include <gtest/gtest.h>

#include <filesystem>

#include "kernels/error.h"
#include "models/registry.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tool.h"
#include "tools/run_config.h"

namespace striate {
namespace {

using test::TempDir;
using test::write_text;

std::vector<std::filesystem::path> shipped_configs() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(STRIATE_CONFIGS_DIR)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

TEST(Configs, AreAllReadable) {
  int named = 0;
  for (const auto& file : shipped_configs()) {
    SCOPED_TRACE(file.filename().string());
    ASSERT_EQ(file.extension(), ".yaml");
    if (file.filename() == "e2_base.yaml") {  // names no model: it is inherited from
      EXPECT_NO_THROW(RunConfig::load(file.string(), {"model.name=lenet"}));
      continue;
    }
    RunConfig config;
    ASSERT_NO_THROW(config = RunConfig::load(file.string(), {}));
    if (config.model_name() != "layers") {
      EXPECT_NO_THROW(models::model_info(config.model_name()));
    }
    ++named;
  }
  EXPECT_GE(named, 10);
}

TEST(Configs, E4InheritedByFashionMnist) {
  const auto folder = std::filesystem::path(STRIATE_CONFIGS_DIR);
  const RunConfig e4 = RunConfig::load((folder / "e4_alexnet_cifar10.yaml").string(), {});
  const RunConfig fashion = RunConfig::load((folder / "fashion_mnist_alexnet_cifar.yaml").string(), {});
  EXPECT_EQ(e4.data.dataset, "cifar10");
  EXPECT_EQ(fashion.data.dataset, "fashion_mnist");
  EXPECT_EQ(fashion.model_name(), "alexnet_cifar");
  EXPECT_EQ(fashion.seed, 504u);
  EXPECT_EQ(fashion.data.validation_fraction, 0.1);
  EXPECT_EQ(e4.train.batch_size, 256);
  EXPECT_EQ(e4.train.optimizer.name, "adam");
  EXPECT_EQ(fashion.train.batch_size, 64);
  EXPECT_EQ(fashion.train.optimizer.name, "sgd");
  // The restart must hold back the same validation images as the run whose weights it takes.
  const RunConfig restart = RunConfig::load((folder / "fashion_mnist_alexnet_cifar_restart.yaml").string(), {});
  EXPECT_EQ(restart.seed, fashion.seed);
  EXPECT_EQ(restart.data.validation_fraction, fashion.data.validation_fraction);
  EXPECT_EQ(restart.train.optimizer.weight_decay, fashion.train.optimizer.weight_decay);
  EXPECT_LT(restart.train.epochs, fashion.train.epochs);
}

TEST(RunConfig, DefaultsAreTheDocumentedOnes) {
  const RunConfig config = RunConfig::load("", {"model.name=lenet", "data.dataset=synthetic"});
  EXPECT_EQ(config.seed, 0u);
  EXPECT_EQ(config.device, parse_device("auto"));
  EXPECT_EQ(config.train.precision, Precision::fp32);
  EXPECT_EQ(config.threads, 0);
  EXPECT_FLOAT_EQ(config.model.dropout, 0.5f);
  EXPECT_EQ(config.model.activation, Activation::relu);
  EXPECT_EQ(config.data.validation_fraction, 0.0);
  EXPECT_TRUE(config.data.shuffle);
  EXPECT_EQ(config.data.workers, 2);
  EXPECT_FALSE(config.data.skip_broken);
  EXPECT_EQ(config.train.epochs, 10);
  EXPECT_EQ(config.train.max_steps, 0);
  EXPECT_EQ(config.train.batch_size, 128);
  EXPECT_EQ(config.train.accumulate, 1);
  EXPECT_EQ(config.train.learning_rate, 0.01);
  EXPECT_EQ(config.train.optimizer.name, "sgd");
  EXPECT_EQ(config.train.optimizer.momentum, 0.9);
  EXPECT_EQ(config.train.schedule.name, "constant");
  EXPECT_EQ(config.train.best_by, "val_loss");
  EXPECT_EQ(config.train.print_every, 50);
  EXPECT_EQ(config.train.save_every, 1);
  EXPECT_EQ(config.train.save_every_steps, 0);
  EXPECT_EQ(config.train.distributed.scheme, Scheme::none);
}

TEST(RunConfig, AcceptsSectionsAtTheirDefaults) {
  EXPECT_NO_THROW(
      RunConfig::load("", {"model.name=lenet", "data.dataset=synthetic", "analysis={kernels: false, tuning: false}",
                           "distributed={scheme: none}", "train.submission=''"}));
}

struct Refused {
  const char* name;
  const char* override_text;
  const char* expected;
};

class RunConfigRefuses : public testing::TestWithParam<Refused> {};

TEST_P(RunConfigRefuses, AndSaysWhy) {
  try {
    RunConfig::load("", {"model.name=lenet", "data.dataset=synthetic", GetParam().override_text});
    ADD_FAILURE() << "accepted";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find(GetParam().expected), std::string::npos) << error.what();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Overrides, RunConfigRefuses,
    testing::Values(Refused{"top_level_key", "sede=1", "seed"}, Refused{"model_key", "model.dropuot=0.1", "dropout"},
                    Refused{"data_key", "data.wrokers=1", "workers"},
                    Refused{"train_key", "train.learning_rat=1", "learning_rate"},
                    Refused{"model_name", "model.name=alexnett", "alexnet"},
                    Refused{"dataset", "data.dataset=cifar", "cifar10"},
                    Refused{"type", "train.epochs=many", "train.epochs"}, Refused{"negative_seed", "seed=-1", "seed"},
                    Refused{"threads", "threads=-2", "threads"}, Refused{"device", "device=gpu", "device"},
                    Refused{"analysis", "analysis.tuning=often", "analysis.tuning"},
                    Refused{"analysis_key", "analysis.kernel=true", "kernels"},
                    Refused{"submission", "train.submission=[x]", "train.submission"},
                    Refused{"distributed", "distributed.scheme=date", "distributed.scheme"},
                    Refused{"distributed_key", "distributed.sheme=none", "scheme"},
                    Refused{"bucket", "distributed.bucket_mb=0", "distributed.bucket_mb"}),
    [](const auto& tested) { return tested.param.name; });

TEST(RunConfig, TextReadsBackTheSame) {
  TempDir folder;
  write_text(folder / "base.yaml",
             "model: {name: lenet}\ndata: {dataset: synthetic, workers: 1}\ntrain: {epochs: 3}\n");
  write_text(folder / "run.yaml", "base: base.yaml\ntrain: {batch_size: 16}\n");
  const RunConfig config = RunConfig::load((folder / "run.yaml").string(), {"seed=7"});
  write_text(folder / "resolved.yaml", config.with({"data.image_size=[32, 48]"}).text);
  const RunConfig again = RunConfig::load((folder / "resolved.yaml").string(), {});
  EXPECT_EQ(again.seed, 7u);
  EXPECT_EQ(again.train.epochs, 3);
  EXPECT_EQ(again.train.batch_size, 16);
  EXPECT_EQ(again.data.workers, 1);
  EXPECT_EQ(again.data.width, 48);
  EXPECT_EQ(again.text, config.with({"data.image_size=[32, 48]"}).text);
}

}  // namespace
}  // namespace striate
