#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>

#include "data/image_file.h"
#include "engine/train/safetensors.h"
#include "kernels/error.h"
#include "tests/support/error.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/picture.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"
#include "tools/experiments/animated_png.h"
#include "tools/experiments/circular_variance_history.h"
#include "tools/experiments/metrics_table.h"
#include "tools/run_config.h"

namespace striate::test {
namespace {

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

uint32_t big_endian(const std::string& bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

struct Chunk {
  std::string name, contents;
};

std::vector<Chunk> chunks_of(const std::string& png) {
  std::vector<Chunk> chunks;
  for (size_t at = 8; at + 12 <= png.size();) {
    const size_t length = big_endian(png, at);
    chunks.push_back({png.substr(at + 4, 4), png.substr(at + 8, length)});
    at += 12 + length;
  }
  return chunks;
}

Image picture(uint8_t level) {
  Image image;
  image.reshape(4, 6, 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(level + 3 * i);
  return image;
}

TEST(AnimatedPng, HoldsEveryFrameInOrder) {
  const std::string bytes = encode_animated_png({{picture(10), 0.25}, {picture(90), 0.1}, {picture(200), 2.0}});
  std::string names;
  uint32_t sequence = 0;
  std::vector<uint32_t> delays;
  std::vector<std::string> data;
  for (const Chunk& chunk : chunks_of(bytes)) {
    names += chunk.name + " ";
    if (chunk.name == "acTL") {
      EXPECT_EQ(big_endian(chunk.contents, 0), 3u) << "frames";
      EXPECT_EQ(big_endian(chunk.contents, 4), 0u) << "for ever";
    }
    if (chunk.name == "fcTL" || chunk.name == "fdAT") {
      EXPECT_EQ(big_endian(chunk.contents, 0), sequence++);
    }
    if (chunk.name == "fcTL") delays.push_back(big_endian(chunk.contents, 20));
    if (chunk.name == "IDAT") data.push_back(chunk.contents);
    if (chunk.name == "fdAT") data.push_back(chunk.contents.substr(4));
  }
  EXPECT_EQ(names, "IHDR acTL fcTL IDAT fcTL fdAT fcTL fdAT IEND ");
  EXPECT_EQ(delays, (std::vector<uint32_t>{25 << 16 | 100, 10 << 16 | 100, 200 << 16 | 100}));

  // Each frame's data are those of a picture by itself, which another decoder reads.
  for (size_t i = 0; i < 3; ++i) {
    const Image expected = picture(std::array<uint8_t, 3>{10, 90, 200}[i]);
    const std::string alone = encode_animated_png({{expected, 1.0}});
    EXPECT_EQ(chunks_of(alone)[3].contents, data[i]);
    Image decoded;
    decode_image({reinterpret_cast<const uint8_t*>(alone.data()), alone.size()}, "frame", decoded);
    EXPECT_EQ(decoded.pixels, expected.pixels);
  }
}

TEST(AnimatedPng, RefusesFramesThatDoNotFit) {
  Image small = picture(0);
  small.reshape(2, 2, 3);
  EXPECT_TRUE(throws_with<ShapeError>([&] { encode_animated_png({{picture(0)}, {small}}); }, {"2×2", "4×6"}));
  EXPECT_TRUE(throws_with<ShapeError>([] { encode_animated_png({}); }, {"no frames"}));
}

TEST(CircularVarianceHistory, LeavesGapsWhereNothingWasMeasured) {
  TempDir folder;
  EXPECT_TRUE(read_circular_variance(folder.path(), {0.0, 1.0}).empty());
  for (const int epoch : {1, 12}) {
    const auto responses = folder / fmt::format("kernel_responses_{:02}", epoch);
    std::filesystem::create_directories(responses);
    write_text(responses / "tuning.csv", fmt::format("kernel,responsive,circular_variance\n0,1,0.{}\n1,0,\n", epoch));
  }
  const auto kernels = read_circular_variance(folder.path(), {0.0, 1.0, 12.0});
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_EQ(kernels[0], (std::vector<std::optional<double>>{std::nullopt, 0.1, 0.12}));
  EXPECT_EQ(kernels[1], (std::vector<std::optional<double>>{std::nullopt, std::nullopt, std::nullopt}));
}

const std::vector<std::string> kOn = {"--set", "analysis={kernels: true, tuning: true}"};

/// lenet instead of alexnet_mini: six kernels are drawn sooner than 32.
std::vector<std::string> analysed(int epochs, std::vector<std::string> more = {}) {
  more.insert(more.end(), kOn.begin(), kOn.end());
  more.insert(more.end(),
              {"--set", "model.name=lenet", "--set", "model.width=1", "--set", fmt::format("train.epochs={}", epochs)});
  return more;
}

int frames_of(const std::filesystem::path& apng) {
  int frames = 0;
  for (const Chunk& chunk : chunks_of(read_text(apng))) frames += chunk.name == "fcTL";
  return frames;
}

TEST(Analysis, LeavesKernelsAndTuningOfEveryEpoch) {
  TempDir folder;
  const std::filesystem::path run = folder / "run";
  train_tiny(run, analysed(2));
  for (int epoch = 0; epoch <= 2; ++epoch) {
    SCOPED_TRACE(epoch);
    const std::string base = "conv1_kernels_epoch_" + std::to_string(epoch);
    EXPECT_GT(Picture::read(run / (base + ".png")).width, 200);
    const Safetensors kernels = read_safetensors((run / (base + ".safetensors")).string());
    ASSERT_NE(kernels.find("kernels"), nullptr);
    EXPECT_EQ(kernels.find("kernels")->shape(), (Shape{6, 5, 5, 3}));
    EXPECT_EQ(kernels.text("epoch"), std::to_string(epoch));

    const std::filesystem::path responses = run / fmt::format("kernel_responses_{:02}", epoch);
    for (int kernel = 0; kernel < 6; ++kernel) {
      EXPECT_GT(Picture::read(responses / fmt::format("kernel_{:02}.png", kernel)).count(0x0072B2), 500);
    }
    EXPECT_GT(Picture::read(responses / "circular_variance_histogram.png").count(0xD55E00), 100);
    EXPECT_EQ(MetricsTable::read(responses / "tuning.csv").rows.size(), 6u);
    const Safetensors file = read_safetensors((responses / "responses.safetensors").string());
    EXPECT_EQ(file.find("responses")->shape(), (Shape{6, 8, 8, 5, 2}));
    EXPECT_EQ(file.text("epoch"), std::to_string(epoch));
    EXPECT_EQ(file.find("kernels")->to_vector<float>(), kernels.find("kernels")->to_vector<float>());
  }
  EXPECT_EQ(frames_of(run / "conv1_kernels.apng"), 3);
  // A panel more than without.
  EXPECT_EQ(Picture::read(run / "training_metrics.png").height, 2680);
  EXPECT_GT(Picture::read(run / "training_metrics.png").count(0x7FA9C9), 300);
  // The last epoch's kernels are those of the last weights, and not those of the first.
  const auto kernels_of = [&](int epoch) {
    const auto file = run / fmt::format("conv1_kernels_epoch_{}.safetensors", epoch);
    return read_safetensors(file.string()).find("kernels")->to_vector<float>();
  };
  const Safetensors weights = read_safetensors((run / "last.safetensors").string());
  EXPECT_EQ(weights.tensors.front().tensor.to_vector<float>(), kernels_of(2)) << weights.tensors.front().name;
  EXPECT_NE(kernels_of(0), kernels_of(2));
}

TEST(Analysis, TrainingGoesOnAsWithoutIt) {
  TempDir folder;
  train_tiny(folder / "with", analysed(1));
  train_tiny(folder / "without", {"--set", "model.name=lenet", "--set", "model.width=1", "--set", "train.epochs=1"});
  EXPECT_EQ(metrics_without_times(folder / "with"), metrics_without_times(folder / "without"));
  EXPECT_EQ(read_text(folder / "with" / "last.safetensors"), read_text(folder / "without" / "last.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(folder / "without" / "conv1_kernels.apng"));
  EXPECT_FALSE(std::filesystem::exists(folder / "without" / "kernel_responses_00"));
}

TEST(Analysis, AResumedRunContinuesAllOfIt) {
  TempDir folder;
  const std::filesystem::path whole = folder / "whole", parts = folder / "parts";
  train_tiny(whole, analysed(2));
  train_tiny(parts, analysed(2, {"--set", "train.max_steps=14"}));  // within the second epoch
  const Outcome resumed = run_tool("train", {"--resume", parts.string(), "--set", "train.max_steps=0"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  for (int epoch = 0; epoch <= 2; ++epoch) {
    SCOPED_TRACE(epoch);
    const std::string responses = fmt::format("kernel_responses_{:02}", epoch);
    for (const std::string& name : {fmt::format("conv1_kernels_epoch_{}.safetensors", epoch), responses + "/tuning.csv",
                                    responses + "/responses.safetensors"}) {
      EXPECT_EQ(read_text(whole / name), read_text(parts / name)) << name;
    }
  }
  EXPECT_EQ(read_text(whole / "conv1_kernels.apng"), read_text(parts / "conv1_kernels.apng"));
  EXPECT_EQ(Picture::read(parts / "training_metrics.png").height, 2680);
}

TEST(Analysis, WhatCannotBeDrawnIsAWarning) {
  TempDir folder;
  const std::filesystem::path run = folder / "run";
  std::filesystem::create_directories(run / "conv1_kernels_epoch_1.png");  // a folder where a figure should be
  write_text(run / "kernel_responses_01", "a file where a folder should be");
  std::vector<std::string> flags = tiny_flags(analysed(2));
  flags.insert(flags.end(), {"--output", run.string()});
  const Outcome outcome = run_tool("train", flags);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_TRUE(has(outcome.out + outcome.err, "analysis: ")) << outcome.out << outcome.err;
  EXPECT_TRUE(has(outcome.out + outcome.err, "conv1_kernels_epoch_1.png")) << outcome.out << outcome.err;
  EXPECT_TRUE(has(outcome.out + outcome.err, "kernel_responses_01")) << outcome.out << outcome.err;
  EXPECT_TRUE(std::filesystem::exists(run / "kernel_responses_02" / "tuning.csv")) << "the next epoch is measured";
  EXPECT_TRUE(std::filesystem::exists(run / "last.safetensors"));
}

TEST(Analysis, NeedsAConvolution) {
  TempDir folder;
  std::vector<std::string> flags = tiny_flags(kOn);
  flags.insert(flags.end(), {"--set", "model={layers: [flatten, linear]}", "--output", (folder / "run").string()});
  const Outcome outcome = run_tool("train", flags);
  EXPECT_EQ(outcome.code, 2);
  EXPECT_TRUE(has(outcome.err, "no convolution")) << outcome.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "run")) << "said before anything is made";
}

TEST(E1, RunsEndToEndAtSmallScale) {
  TempDir folder;
  const std::string configs = STRIATE_CONFIGS_DIR;
  const RunConfig full = RunConfig::load(configs + "/e1_alexnet_owt.yaml", {});
  EXPECT_TRUE(full.analysis.kernels);
  EXPECT_TRUE(full.analysis.tuning);
  const std::filesystem::path run = folder / "run";
  const Outcome trained =
      run_tool("train", {"--config", configs + "/e1_synthetic.yaml", "--threads", "1", "--set", "train.epochs=1",
                         "--set", "model.width=0.0625", "--set", "data.synthetic={train_images: 64, test_images: 20}",
                         "--output", run.string()});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_EQ(trained.err, "");
  for (const char* name :
       {"training_metrics.png", "conv1_kernels_epoch_0.png", "conv1_kernels_epoch_1.png", "conv1_kernels.apng",
        "kernel_responses_00/tuning.csv", "kernel_responses_00/kernel_00.png", "kernel_responses_01/kernel_03.png",
        "kernel_responses_01/circular_variance_histogram.png"}) {
    EXPECT_TRUE(std::filesystem::exists(run / name)) << name;
  }
  // What tune says of the run is what training said of its last epoch.
  const Outcome tuned = run_tool("tune", {"--run", run.string(), "--checkpoint", "last", "--threads", "1"});
  ASSERT_EQ(tuned.code, 0) << tuned.err;
  EXPECT_EQ(read_text(run / "tuning_features.0" / "tuning.csv"), read_text(run / "kernel_responses_01" / "tuning.csv"));
}

}  // namespace
}  // namespace striate::test
