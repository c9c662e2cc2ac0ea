// Any dataset into one file of 8-bit images, for training that does not wait for JPEGs.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "data/datasets/packed/packed.h"
#include "data/pack.h"
#include "engine/config.h"
#include "engine/device.h"
#include "engine/train/interrupt.h"
#include "kernels/error.h"
#include "tools/command_line.h"
#include "tools/experiments/number_text.h"
#include "tools/progress_line.h"
#include "tools/run_config.h"

namespace striate {
namespace {

constexpr double kSecondsBetweenLines = 10;  // where there is no terminal

struct Flags {
  CommonFlags common;
  std::string output, resize, check;
};

std::string size_text(uint64_t bytes) {
  const auto b = static_cast<double>(bytes);
  return b < 1e6   ? fmt::format("{:.1f} kB", b / 1e3)
         : b < 1e9 ? fmt::format("{:.1f} MB", b / 1e6)
                   : fmt::format("{:.2f} GB", b / 1e9);
}

struct Input {
  DataConfig data;
  OpenOptions options;
  int64_t threads = 0;
};

/// Of a configuration, which need not name a model.
Input read_input(const CommonFlags& flags) {
  const std::vector<std::string> overrides = flags.overrides();
  ConfigReader reader = ConfigReader::load(flags.config, overrides);
  if (reader.has("model")) {
    const RunConfig config = RunConfig::load(flags.config, overrides);
    return {config.data, config.open_options(), config.threads};
  }
  Input input;
  input.options.seed = static_cast<uint64_t>(reader.get("seed", 0));
  input.threads = reader.get("threads", 0);
  require<ConfigError>(input.threads >= 0 && input.threads <= 1024, "{}: expected 0 (all cores) to 1024, found {}",
                       reader.where("threads"), input.threads);
  input.data = read_data_config(reader.section("data"));
  reader.get("device", "auto");
  reader.finish();
  return input;
}

int check(const std::string& file) {
  const InterruptGuard guard;
  const PackedSummary packed = check_packed(file, progress_line("verified", kSecondsBetweenLines));
  if (InterruptGuard::requested()) return kInterrupted;
  std::string parts;
  for (const auto& [name, images] : packed.parts) parts += fmt::format("{} {}, ", grouped(images), name);
  fmt::print("{}: whole. {}{} classes, {}, {}\n{}", file, parts, packed.classes, packed.channels == 1 ? "grey" : "RGB",
             size_text(packed.bytes), packed.recipe);
  return kDone;
}

int pack(int argc, char** argv) {
  CommandLine command_line(
      "Packs a dataset into one file of 8-bit images, so that training need not decode JPEGs: data.dataset packed "
      "reads "
      "it. Each part is packed as the resize leaves it that its transforms begin with (data.train_transforms for "
      "train, "
      "data.test_transforms for test), so that training with the same transforms sees the same pixels: resize: 256 "
      "changes nothing on an image that was packed with it. An image that would grow stays as it is. After Ctrl-C, and "
      "after a crash, the same call goes on where it stopped; a file appears under its name only when it is whole. "
      "--threads is how many images are decoded at a time.",
      {"--config tools/configs/e1_alexnet_owt.yaml --set data.path=/data/imagenet10 --output imagenet10.pack",
       "--set data.dataset=image_folder --set data.path=photos --resize 256 --output photos.pack",
       "--check imagenet10.pack"});
  Flags flags;
  flags.common.add_to(command_line);
  command_line.option("--output", flags.output, "F", "The file to make, or to go on with")
      .option("--resize", flags.resize, "S|H,W|none",
              "Instead of what the transforms begin with: the shorter side's pixels, both sides', or no resize")
      .option("--check", flags.check, "F", "Verify every checksum of a packed file, and say what it holds");
  if (!command_line.parse(argc, argv)) return kDone;
  if (!flags.check.empty()) {
    require<ConfigError>(
        flags.output.empty() && flags.common.config.empty() && flags.common.set.empty(),
        "--check F looks at a packed file alone; --output, --config and --set cannot be given with it");
    return check(flags.check);
  }
  require<ConfigError>(!flags.common.config.empty() || !flags.common.set.empty(),
                       "nothing to pack: --config F, or --set data.dataset=NAME --set data.path=DIR");
  require<ConfigError>(!flags.output.empty(), "--output F is missing: the file to make");
  Input input = read_input(flags.common);
  int64_t first = -1, done_now = 0;
  const auto warn = [](const std::string& message) {
    std::fflush(stdout);
    fmt::print(stderr, "pack: {}\n", message);
  };
  input.options.on_broken = [warn](const std::string& message) { warn("left out: " + message); };
  input.options.on_notice = warn;
  set_num_threads(static_cast<int>(input.threads));
  PackOptions how;
  how.resize = flags.resize;
  how.threads = num_threads();
  how.note = [](const std::string& line) {
    fmt::print("{}\n", line);
    std::fflush(stdout);
  };
  how.progress = [&, show = progress_line("packed", kSecondsBetweenLines)](int64_t done, int64_t total) {
    if (first < 0) first = done;
    done_now = done - first;
    return show(done, total);
  };

  const InterruptGuard guard;
  const auto begin = std::chrono::steady_clock::now();
  const PackResult result = pack_dataset(input.data, input.options, flags.output, how);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const std::string left_out = result.left_out > 0 ? fmt::format(", {} left out", grouped(result.left_out)) : "";
  if (!result.is_finished) {
    fmt::print("\nStopped after {} images{}, which stay in {}.partial; the same call goes on with them\n",
               grouped(result.images), left_out, flags.output);
    return kInterrupted;
  }
  fmt::print("{}: {} images{}, {}, {:.0f} images/s\n", flags.output, grouped(result.images), left_out,
             size_text(result.bytes), static_cast<double>(done_now) / std::max(seconds, 1e-9));
  fmt::print("Train with --set data.dataset=packed --set data.path={}; the transforms stay as they are\n",
             flags.output);
  return kDone;
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_tool("pack", [&] { return striate::pack(argc, argv); });
}
