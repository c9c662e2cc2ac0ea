#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>

#include "data/image_file.h"
#include "data/jpeg_encoder.h"
#include "tests/support/temp_dir.h"
#include "tests/tools/tiny_run.h"
#include "tests/tools/tool.h"

namespace striate::test {
namespace {

namespace fs = std::filesystem;

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// JPEGs of several sizes in four classes: train/, and val/ with a quarter as many.
void write_photographs(const fs::path& folder, int train, int side = 60) {
  for (int i = 0; i < train + train / 4; ++i) {
    Image image;
    image.reshape(side + i % 7, side + 20 - i % 5, 3);
    for (size_t p = 0; p < image.pixels.size(); ++p) image.pixels[p] = static_cast<uint8_t>(p / 3 * (i % 4 + 1) + i);
    const fs::path file = folder / (i < train ? "train" : "val") / ("class" + std::to_string(i % 4)) /
                          ("photograph" + std::to_string(1000 + i) + ".jpg");
    fs::create_directories(file.parent_path());
    const auto bytes = encode_jpeg(image, 90);
    write_text(file, std::string(bytes.begin(), bytes.end()));
  }
}

std::vector<std::string> set(const std::vector<std::string>& values) {
  std::vector<std::string> flags;
  for (const std::string& value : values) flags.insert(flags.end(), {"--set", value});
  return flags;
}

std::vector<std::string> operator+(std::vector<std::string> flags, const std::vector<std::string>& more) {
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

void pack(const std::vector<std::string>& flags) {
  const Outcome outcome = run_tool("pack", flags);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(has(outcome.out, "--set data.dataset=packed --set data.path=")) << outcome.out;
}

/// Trains a few steps on both, which must be the same ones.
void expect_same_training(const TempDir& dir, const std::vector<std::string>& flags,
                          const std::vector<std::string>& source, const fs::path& packed) {
  const std::vector<std::string> from_packed = set({"data.dataset=packed", "data.path=" + packed.string()});
  const std::vector<std::pair<const char*, std::vector<std::string>>> runs = {{"source", source},
                                                                              {"packed", from_packed}};
  for (const auto& [name, data] : runs) {
    const Outcome outcome =
        run_tool("train", flags + data + std::vector<std::string>{"--output", (dir / name).string()});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
  }
  EXPECT_EQ(read_text(dir / "packed/steps.csv"), read_text(dir / "source/steps.csv"));
  EXPECT_GE(read_lines(dir / "packed/steps.csv").size(), 7u);
  EXPECT_EQ(metrics_without_times(dir / "packed"), metrics_without_times(dir / "source"));
  EXPECT_TRUE(read_text(dir / "packed/last.safetensors") == read_text(dir / "source/last.safetensors"));
}

const std::vector<std::string> kShort = {
    "seed=5", "threads=1", "model.name=alexnet_mini", "train.batch_size=16", "train.max_steps=6", "train.epochs=2"};

TEST(Pack, TrainsAsItsSourceDoesPhotographs) {
  const TempDir dir;
  write_photographs(dir / "photographs", 64);
  const std::vector<std::string> source =
      set({"data.dataset=image_folder", "data.path=" + (dir / "photographs").string()});
  const std::vector<std::string> flags =
      set(kShort) + set({"data.train_transforms=[{resize: 40}, {random_crop: 32}, horizontal_flip]",
                         "data.test_transforms=[{resize: [32, 32]}]"});
  pack(flags + source + std::vector<std::string>{"--output", (dir / "p.pack").string()});
  expect_same_training(dir, flags, source, dir / "p.pack");
}

TEST(Pack, TrainsAsItsSourceDoesSmallImages) {
  const TempDir dir;
  const std::vector<std::string> source =
      set({"data.dataset=synthetic", "data.synthetic={train_images: 100, test_images: 20, seed: 3}"});
  const std::vector<std::string> flags =
      set(kShort) + set({"data.validation_fraction=0.2", "data.image_size=32",
                         "data.train_transforms=[{random_crop: {size: 32, padding: 4}}, horizontal_flip]"});
  pack(flags + source + std::vector<std::string>{"--output", (dir / "p.pack").string()});
  expect_same_training(dir, flags, source, dir / "p.pack");
  EXPECT_TRUE(has(read_text(dir / "packed/config.yaml"), "mean: [0.5, 0.5, 0.5]")) << "predict needs no packed file";
}

TEST(Pack, StoppedAndKilledItGoesOnToTheSameFile) {
  const TempDir dir;
  write_photographs(dir / "photographs", 160, 400);
  const std::vector<std::string> flags =
      set({"data.dataset=image_folder", "data.path=" + (dir / "photographs").string()}) +
      std::vector<std::string>{"--resize", "64", "--output"};
  pack(flags + std::vector<std::string>{(dir / "whole").string()});
  const fs::path file = dir / "p", partial = dir / "p.partial";
  const std::vector<std::string> call = flags + std::vector<std::string>{file.string(), "--threads", "1"};
  const auto stop = [&](int signal, uintmax_t bytes) {
    Tool tool("pack", call);
    EXPECT_TRUE(tool.wait_until([&] { return fs::exists(partial) && fs::file_size(partial) > bytes; }));
    tool.signal(signal);
    return tool.wait();
  };
  const uintmax_t whole = fs::file_size(dir / "whole");
  const Outcome stopped = stop(SIGINT, whole / 5);
  EXPECT_EQ(stopped.code, 130) << stopped.out << stopped.err;
  EXPECT_TRUE(has(stopped.out, "stay in " + partial.string())) << stopped.out;
  EXPECT_EQ(stop(SIGKILL, whole / 2).code, 128 + SIGKILL);
  EXPECT_FALSE(fs::exists(file));
  const Outcome last = run_tool("pack", call);
  EXPECT_EQ(last.code, 0) << last.err;
  EXPECT_TRUE(has(last.out, "going on after ")) << last.out;
  EXPECT_TRUE(read_text(file) == read_text(dir / "whole"));

  const Outcome check = run_tool("pack", {"--check", file.string()});
  EXPECT_EQ(check.code, 0) << check.err;
  EXPECT_TRUE(has(check.out, "whole. 160 train, 40 test, 4 classes, RGB")) << check.out;
  fs::resize_file(file, whole - 1);
  const Outcome cut = run_tool("pack", {"--check", file.string()});
  EXPECT_EQ(cut.code, 1);
  EXPECT_TRUE(has(cut.err, "cut short")) << cut.err;
}

TEST(Pack, SaysWhatIsMissingOrWrong) {
  const TempDir dir;
  write_photographs(dir / "photographs", 16);
  const std::vector<std::string> data =
      set({"data.dataset=image_folder", "data.path=" + (dir / "photographs").string()});
  const auto refused = [&](const std::vector<std::string>& flags, int code, const std::string& part) {
    const Outcome outcome = run_tool("pack", flags);
    EXPECT_EQ(outcome.code, code) << outcome.out;
    EXPECT_TRUE(has(outcome.err, part)) << outcome.err;
  };
  using Flags = std::vector<std::string>;
  const std::string file = dir / "p";
  refused({"--output", file}, 2, "nothing to pack");
  refused(data, 2, "--output F is missing");
  refused(data + Flags{"--output", file, "--check", file}, 2, "--check F looks at a packed file alone");
  refused(data + Flags{"--output", file, "--resize", "big"}, 2, "--resize big");
  refused(data + Flags{"--output", dir / "no/p"}, 1, "there is no folder");
  refused(data + Flags{"--output", dir.path()}, 1, "that is a folder");
  refused(data + set({"data.dataset=crops"}) + Flags{"--output", file}, 2, "every epoch");
  refused(data + set({"data.path=nosuch"}) + Flags{"--output", file}, 1, "nosuch");
  refused({"--check", dir / "photographs/val/class0/photograph1016.jpg"}, 1, "not a packed file");
  refused({"--check", dir / "nosuch"}, 1, "nosuch");
  write_text(dir / "photographs/train/class1/broken.jpg", "no picture");
  refused(data + Flags{"--output", file}, 1, "broken.jpg");
  EXPECT_FALSE(fs::exists(file));

  const Outcome skipped = run_tool("pack", data + set({"data.skip_broken=true"}) + Flags{"--output", file});
  EXPECT_EQ(skipped.code, 0) << skipped.err;
  EXPECT_TRUE(has(skipped.err, "left out: ") && has(skipped.err, "broken.jpg")) << skipped.err;
  EXPECT_TRUE(has(skipped.out, "20 images, 1 left out")) << skipped.out;
}

}  // namespace
}  // namespace striate::test
