// Measures a trained network on a part of its dataset: loss, accuracies, macro-F1, confusion matrix.

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "engine/train/atomic_file.h"
#include "engine/train/evaluate.h"
#include "kernels/error.h"
#include "models/weights/weights.h"
#include "tools/command_line.h"
#include "tools/experiment.h"
#include "tools/experiments/confusion_figure.h"
#include "tools/experiments/figure.h"
#include "tools/layer_features.h"
#include "tools/network_flags.h"
#include "tools/per_image_table.h"

namespace striate {
namespace {

struct Flags {
  CommonFlags common;
  NetworkFlags network;
  std::string split = "test", output, json, per_image;
  std::array<std::string, 2> features;  // layer, file
};

nlohmann::ordered_json to_json(const Evaluation& result) {
  nlohmann::ordered_json per_class = nlohmann::ordered_json::array();
  for (const double accuracy : result.per_class) {
    per_class.push_back(std::isnan(accuracy) ? nlohmann::ordered_json() : nlohmann::ordered_json(accuracy));
  }
  return {{"images", result.images},      {"loss", result.loss},         {"top1", result.top1},
          {"top5", result.top5},          {"macro_f1", result.macro_f1}, {"per_class", per_class},
          {"confusion", result.confusion}};
}

void print_result(const Evaluation& result, const std::vector<std::string>& names) {
  fmt::print("images     {}\n", result.images);
  fmt::print("loss       {:.4f}\n", result.loss);
  fmt::print("top-1      {:.2f} %\n", 100.0 * result.top1);
  if (names.size() > 5) fmt::print("top-5      {:.2f} %\n", 100.0 * result.top5);
  fmt::print("macro-F1   {:.4f}\n", result.macro_f1);

  // All classes, or where there are many the ones that are hardest.
  constexpr size_t kMostListed = 20, kHardest = 10;
  std::vector<size_t> order;
  for (size_t c = 0; c < names.size(); ++c) {
    if (!std::isnan(result.per_class[c])) order.push_back(c);
  }
  const bool all = order.size() <= kMostListed;
  if (!all) {
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return result.per_class[a] < result.per_class[b]; });
    order.resize(kHardest);
  }
  fmt::print("\naccuracy by class{}\n", all ? "" : ", the ten hardest");
  size_t width = 0;
  for (const size_t c : order) width = std::max(width, names[c].size());
  for (const size_t c : order) {
    const double accuracy = result.per_class[c];
    fmt::print("  {:<{}}  {:6.2f} %  {}\n", names[c], width, 100.0 * accuracy,
               std::string(static_cast<size_t>(std::lround(30.0 * accuracy)), '='));
  }
}

/// A line that a terminal overwrites; nothing elsewhere.
std::function<bool(int64_t, int64_t)> progress_line() {
  if (!isatty(STDOUT_FILENO)) return {};
  return [](int64_t done, int64_t total) {
    fmt::print("\r{:3.0f} %  {} of {} images", 100.0 * static_cast<double>(done) / static_cast<double>(total), done,
               total);
    if (done == total) fmt::print("\r\x1b[K");
    std::fflush(stdout);
    return true;
  };
}

/// Before anything is measured: that a file can be made where a flag wants one.
void require_writable(const char* flag, const std::string& file) {
  try {
    AtomicFile trial(file);
  } catch (const IoError& error) {
    throw IoError(fmt::format("{} {}: {}", flag, file, error.what()));
  }
  require<IoError>(!std::filesystem::is_directory(file), "{} {}: that is a folder; a file is wanted", flag, file);
}

int evaluate_network(int argc, char** argv) {
  CommandLine command_line(
      "Measures a trained network: loss, top-1, top-5, macro-F1, accuracy of each class, and the "
      "confusion matrix as a picture and a table.",
      {"--run runs/quickstart", "--run runs/quickstart --checkpoint last --split val --json result.json",
       "--config tools/configs/quickstart.yaml --weights runs/quickstart/best.safetensors",
       "--run runs/quickstart --per-image predictions.csv",
       "--run runs/quickstart --features classifier.2 features.safetensors"});
  Flags flags;
  flags.common.add_to(command_line);
  flags.network.add_to(command_line);
  command_line.option("--split", flags.split, "PART", "train, val or test (default test)")
      .option("--output", flags.output, "DIR",
              "Where confusion_PART.png and .csv go (default: the run's folder; without a run they are not made)")
      .option("--json", flags.json, "F", "Write the numbers as JSON")
      .option("--per-image", flags.per_image, "F.csv", "Write label, prediction and probabilities of every image")
      .option("--features", flags.features, "LAYER F",
              "Write the output of a layer (inspect lists them) for every image, and the labels, as safetensors");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(flags.split == "train" || flags.split == "val" || flags.split == "test",
                       "--split {}: expected train, val or test", flags.split);

  if (!flags.json.empty()) require_writable("--json", flags.json);
  if (!flags.per_image.empty()) require_writable("--per-image", flags.per_image);
  if (!flags.features[1].empty()) require_writable("--features", flags.features[1]);
  if (!flags.output.empty()) {
    std::error_code error;
    std::filesystem::create_directories(flags.output, error);
    require<IoError>(!error, "--output {}: the folder cannot be made: {}", flags.output, error.message());
    require_writable("--output", flags.output + "/confusion_" + flags.split + ".csv");
  }

  const NetworkSource source = flags.network.resolve(flags.common, NetworkFlags::Data::needed);
  Experiment experiment(source.config);
  if (!source.weights.empty()) models::load_weights(source.weights.string(), experiment.model(), experiment.input());
  BatchSource& images = experiment.part(flags.split);
  fmt::print("{}, {} part, {}\n\n", experiment.title(), flags.split, source.weights_description());
  for (const std::string& notice : {device_notice(source.config.device), source.config.model.kernels_notice()}) {
    if (!notice.empty()) fmt::print("{}\n\n", notice);
  }

  EvaluateOptions options;
  options.progress = progress_line();
  std::unique_ptr<PerImageTable> table;
  if (!flags.per_image.empty()) {
    table = std::make_unique<PerImageTable>(flags.per_image, experiment.classes());
  }
  std::unique_ptr<LayerFeatures> features;
  std::optional<nn::ObserverGuard> observing;
  if (!flags.features[1].empty()) {
    features =
        std::make_unique<LayerFeatures>(flags.features[1], experiment.model(), flags.features[0], images.samples(),
                                        Metadata{{"model", source.config.model_name()}, {"split", flags.split}});
    observing.emplace(*features);
  }
  options.on_batch = [&](const Batch& batch, const Tensor& logits) {
    if (table) table->add(batch, logits);
    if (features) features->add(batch);
  };
  const Evaluation result = evaluate(experiment.model(), images, source.config.device, options);
  if (table) table->commit();
  if (features) features->commit();
  print_result(result, experiment.class_names());

  if (!flags.json.empty()) write_file_atomically(flags.json, to_json(result).dump() + "\n");
  const std::string output = flags.output.empty() && source.run ? source.run->path().string() : flags.output;
  if (!output.empty()) {
    std::error_code error;
    std::filesystem::create_directories(output, error);
    const std::filesystem::path base = std::filesystem::path(output) / ("confusion_" + flags.split);
    write_confusion_csv(result.confusion, experiment.class_names(), base.string() + ".csv");
    draw_confusion(result.confusion, experiment.class_names(),
                   fmt::format("{}, {} part", experiment.title(), flags.split), base.string() + ".png");
    fmt::print("\nconfusion matrix: {0}.png, {0}.csv\n", base.string());
  }
  return kDone;
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_tool("evaluate", [&] { return striate::evaluate_network(argc, argv); });
}
