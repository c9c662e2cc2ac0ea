#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "data/open.h"
#include "engine/config.h"
#include "engine/random.h"
#include "kernels/error.h"
#include "tools/experiments/image_grid.h"
#include "tools/experiments/number_text.h"
#include "tools/run_config.h"
#include "tools/visualize/figure_output.h"
#include "tools/visualize/subcommands.h"

namespace striate::visualize {
namespace {

struct Flags {
  CommonFlags common;
  std::string run, split = "train", view = "original", output;
  int64_t count = 10, seed = -1;
};

/// The configuration with a model, which a dataset alone needs not name.
RunConfig load_config(const Flags& flags, std::optional<RunFolder>& run, bool& has_model) {
  require<ConfigError>(flags.run.empty() || flags.common.config.empty(),
                       "--run names the configuration; --config cannot be given with it");
  std::string file = flags.common.config;
  if (!flags.run.empty()) {
    run = RunFolder::existing(flags.run);
    file = run->config().string();
  }
  std::vector<std::string> overrides = flags.common.overrides();
  ConfigReader reader = ConfigReader::load(file, overrides);
  ConfigReader model = reader.section("model");
  has_model = model.has("name") || model.has("layers");
  if (!has_model) overrides.push_back("model.name=lenet");
  require<ConfigError>(reader.section("data").has("dataset"),
                       "no dataset is named: --config F, or --set data.dataset=NAME and --set data.path=PATH");
  return RunConfig::load(file, overrides);
}

/// Pictures of as many classes as there are, each class's drawn by the seed: one of every class, then a second, ….
/// Sorted by class.
std::vector<int64_t> choose(const SampleSet& set, int64_t count, uint64_t seed) {
  std::vector<int64_t> order = set.indices;
  Random random(seed, RandomPurpose::figure, 5);
  for (size_t i = 0; i + 1 < order.size(); ++i) std::swap(order[i], order[i + random.below(order.size() - i)]);
  std::map<int, std::vector<int64_t>> by_class;
  for (const int64_t index : order) by_class[set.dataset->label(index)].push_back(index);
  // Where there are more classes than places, the seed chooses among them too.
  std::vector<const std::vector<int64_t>*> classes;
  for (const auto& [label, indices] : by_class) classes.push_back(&indices);
  for (size_t i = 0; i + 1 < classes.size(); ++i) {
    std::swap(classes[i], classes[i + random.below(classes.size() - i)]);
  }
  std::vector<int64_t> chosen;
  const int64_t all = std::min(count, static_cast<int64_t>(order.size()));
  for (size_t round = 0; static_cast<int64_t>(chosen.size()) < all; ++round) {
    for (const auto* indices : classes) {
      if (round < indices->size() && static_cast<int64_t>(chosen.size()) < all) chosen.push_back((*indices)[round]);
    }
  }
  std::stable_sort(chosen.begin(), chosen.end(),
                   [&](int64_t a, int64_t b) { return set.dataset->label(a) < set.dataset->label(b); });
  return chosen;
}

}  // namespace

int samples(int argc, const char* const* argv) {
  CommandLine command_line(
      "Draws pictures of a dataset with their classes' names, one of each class before a second of any. Needs a "
      "configuration with a dataset, and no network.",
      {"--config tools/configs/quickstart.yaml",
       "--config tools/configs/e4_alexnet_cifar10.yaml --view train --count 40",
       "--set data.dataset=image_folder --set data.path=/data/flowers --output flowers.svg"});
  Flags flags;
  flags.common.add_to(command_line);
  command_line.option("--run", flags.run, "DIR", "A run's dataset, instead of --config")
      .option("--split", flags.split, "PART", "train, val or test (default train)")
      .option("--view", flags.view, "VIEW",
              "original (default); test or train: as the network sees them, train with one draw of the augmentation")
      .option("--count", flags.count, "N", "Pictures (default 10)")
      .option("--seed", flags.seed, "N", "Of the choice (default: the configuration's)")
      .option("--output", flags.output, "F", "PNG or SVG (default samples_PART.png, in the run's folder or here)");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(flags.view == "original" || flags.view == "test" || flags.view == "train",
                       "--view {}: expected original, test or train", flags.view);
  require_between("--count", flags.count, 1, 1000);

  std::optional<RunFolder> run;
  bool has_model = false;
  const RunConfig config = load_config(flags, run, has_model);
  const auto file = figure_file(flags.output, run, fmt::format("samples_{}.png", flags.split));
  OpenOptions options = config.open_options();
  if (!has_model) options.model_height = options.model_width = 0;
  const Data data = open_data(config.data, options);
  const auto loader = data.evaluation_loader(flags.split, 1);
  const SampleSet& set = loader->set();
  const uint64_t seed = flags.seed >= 0 ? static_cast<uint64_t>(flags.seed) : config.seed;

  std::vector<GridCell> cells;
  TransformScratch scratch;
  for (const int64_t index : choose(set, flags.count, seed)) {
    Image image;
    try {
      set.dataset->load(index, image);
    } catch (const IoError& error) {
      if (!config.data.skip_broken) throw;
      fmt::print(stderr, "visualize: {}\n", error.what());
      continue;
    }
    if (flags.view == "test") data.test_transforms.apply(image, config.seed, 0, index, scratch);
    if (flags.view == "train") data.train->set().transforms.apply(image, config.seed, 0, index, scratch);
    const int label = set.dataset->label(index);
    const std::string name = label == kUnlabelled ? "no label" : data.class_names[static_cast<size_t>(label)];
    cells.push_back({std::move(image), {{"", name, "", colour::kText}}});
  }
  const std::string mixed = config.data.mix.any() ? ", before batches are mixed" : "";
  const std::string seen = flags.view == "test"    ? ", as a network sees them when it is tested"
                           : flags.view == "train" ? ", augmented as in training" + mixed
                                                   : "";
  const size_t shown = cells.size();
  draw_image_grid(cells,
                  {fmt::format("{}, {} part", config.data.dataset, flags.split),
                   fmt::format("{} of {} images{}; {} classes", shown, grouped(loader->samples()), seen,
                               grouped(static_cast<int64_t>(data.class_names.size())))},
                  file);
  say_written(file);
  return kDone;
}

}  // namespace striate::visualize
