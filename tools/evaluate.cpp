// Measures a trained network on a part of its dataset: loss, accuracies, macro-F1, confusion matrix.

#include <fmt/format.h>

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
#include "tools/progress_line.h"
#include "tools/submission.h"
#include "tools/writable.h"

namespace striate {
namespace {

struct Flags {
  CommonFlags common;
  NetworkFlags network;
  std::string split = "test", output, json, per_image, submission;
  bool ten_crop = false;
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

/// What is written of each image, as the flags ask for it.
class PerImageFiles {
 public:
  PerImageFiles(const Flags& flags, Experiment& experiment, const std::string& model, int64_t images) {
    if (!flags.per_image.empty()) table_.emplace(flags.per_image, experiment.classes());
    if (!flags.submission.empty()) submission_.emplace(flags.submission);
    if (flags.features[1].empty()) return;
    features_.emplace(flags.features[1], experiment.model(), flags.features[0], images,
                      Metadata{{"model", model}, {"split", flags.split}});
    observing_.emplace(*features_);
  }

  void add(const Batch& batch, const Tensor& logits) {
    if (table_) table_->add(batch, logits);
    if (submission_) submission_->add(batch, logits);
    if (features_) features_->add(batch);
  }
  void commit() {
    if (table_) table_->commit();
    if (submission_) submission_->commit();
    if (features_) features_->commit();
  }

 private:
  std::optional<PerImageTable> table_;
  std::optional<Submission> submission_;
  std::optional<LayerFeatures> features_;
  std::optional<nn::ObserverGuard> observing_;
};

void check(const Flags& flags) {
  const std::vector<std::string> parts = {"train", "val", "test", "unlabelled"};
  require<ConfigError>(std::find(parts.begin(), parts.end(), flags.split) != parts.end(),
                       "--split {}: expected train, val, test or unlabelled", flags.split);
  require<ConfigError>(!flags.ten_crop || flags.features[0].empty(),
                       "--ten-crop shows the network ten crops of each image: --features would have ten rows for each");
  if (!flags.json.empty()) require_writable("--json", flags.json);
  if (!flags.per_image.empty()) require_writable("--per-image", flags.per_image);
  if (!flags.submission.empty()) require_writable("--submission", flags.submission);
  if (!flags.features[1].empty()) require_writable("--features", flags.features[1]);
  if (!flags.output.empty()) {
    std::error_code error;
    std::filesystem::create_directories(flags.output, error);
    require<IoError>(!error, "--output {}: the folder cannot be made: {}", flags.output, error.message());
    require_writable("--output", flags.output + "/confusion_" + flags.split + ".csv");
  }
}

/// A part whose labels nobody knows: what can be written of it, and nothing measured.
void require_no_measures(const Flags& flags) {
  require<ConfigError>(flags.json.empty() && flags.output.empty(),
                       "--split {}: this part has no labels, so there is nothing to measure for {}", flags.split,
                       flags.json.empty() ? "--output" : "--json");
  require<ConfigError>(
      !flags.submission.empty() || !flags.per_image.empty() || !flags.features[0].empty(),
      "--split {}: this part has no labels to measure by; --submission F.csv, --per-image F.csv and --features LAYER F "
      "write what the network makes of it",
      flags.split);
}

int evaluate_network(int argc, char** argv) {
  CommandLine command_line(
      "Measures a trained network: loss, top-1, top-5, macro-F1, accuracy of each class, and the "
      "confusion matrix as a picture and a table.",
      {"--run runs/quickstart", "--run runs/quickstart --checkpoint last --split val --json result.json",
       "--run runs/imagenet --ten-crop", "--run runs/quickstart --submission submission.csv",
       "--config tools/configs/quickstart.yaml --weights runs/quickstart/best.safetensors",
       "--run runs/quickstart --per-image predictions.csv",
       "--run runs/quickstart --features classifier.2 features.safetensors"});
  Flags flags;
  flags.common.add_to(command_line);
  flags.network.add_to(command_line);
  command_line
      .option("--split", flags.split, "PART",
              "train, val, test (default) or unlabelled; test is the unlabelled part where it is "
              "all that the dataset has beside val")
      .option("--output", flags.output, "DIR",
              "Where confusion_PART.png and .csv go (default: the run's folder; without a run they are not made)")
      .option("--json", flags.json, "F", "Write the numbers as JSON")
      .option("--per-image", flags.per_image, "F.csv", "Write label, prediction and probabilities of every image")
      .option("--submission", flags.submission, "F.csv",
              "Write the likeliest class of every image, Id (from 1) and Category; needs no labels")
      .flag("--ten-crop", flags.ten_crop,
            "Average the softmax of ten crops: the corners, the centre, and all five mirrored; for networks whose test "
            "transforms end with a centre crop")
      .option("--features", flags.features, "LAYER F",
              "Write the output of a layer (inspect lists them) for every image, and the labels, as safetensors");
  if (!command_line.parse(argc, argv)) return kDone;
  check(flags);

  const NetworkSource source = flags.network.resolve(flags.common, NetworkFlags::Data::needed);
  Experiment experiment(source.config);
  if (!source.weights.empty()) models::load_weights(source.weights.string(), experiment.model(), experiment.input());
  BatchSource& images = flags.ten_crop ? experiment.ten_crops(flags.split) : experiment.part(flags.split);
  nn::Module& model = flags.ten_crop ? experiment.ten_crop_model() : experiment.model();
  const bool has_labels = experiment.has_labels(flags.split);
  if (!has_labels) require_no_measures(flags);
  fmt::print("{}, {} part{}, {}\n\n", experiment.title(), flags.split, flags.ten_crop ? " in ten crops" : "",
             source.weights_description());
  for (const std::string& notice : {device_notice(source.config.device), source.config.model.kernels_notice()}) {
    if (!notice.empty()) fmt::print("{}\n\n", notice);
  }

  PerImageFiles files(flags, experiment, source.config.model_name(), images.samples());
  EvaluateOptions options;
  options.progress = progress_line("evaluating");
  options.on_batch = [&](const Batch& batch, const Tensor& logits) { files.add(batch, logits); };
  if (!has_labels) {
    infer(model, images, source.config.device, options);
    files.commit();
    fmt::print("images     {}, without labels: nothing is measured\n", images.samples() - experiment.broken());
    return kDone;
  }
  const Evaluation result = evaluate(model, images, source.config.device, options);
  files.commit();
  print_result(result, experiment.class_names());

  if (!flags.json.empty()) write_file_atomically(flags.json, to_json(result).dump() + "\n");
  const std::string output = flags.output.empty() && source.run ? source.run->path().string() : flags.output;
  if (!output.empty()) {
    std::error_code error;
    std::filesystem::create_directories(output, error);
    const std::filesystem::path base =
        std::filesystem::path(output) / ("confusion_" + flags.split + (flags.ten_crop ? "_ten_crop" : ""));
    write_confusion_csv(result.confusion, experiment.class_names(), base.string() + ".csv");
    draw_confusion(result.confusion, experiment.class_names(),
                   fmt::format("{}, {} part{}", experiment.title(), flags.split, flags.ten_crop ? ", ten crops" : ""),
                   base.string() + ".png");
    fmt::print("\nconfusion matrix: {0}.png, {0}.csv\n", base.string());
  }
  return kDone;
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_tool("evaluate", [&] { return striate::evaluate_network(argc, argv); });
}
