// Layers of a network with their output shapes, parameters, multiply–accumulates and memory.

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "models/summary.h"
#include "models/weights/weights.h"
#include "tools/command_line.h"
#include "tools/experiments/number_text.h"
#include "tools/network_flags.h"

namespace striate {
namespace {

std::string megabytes(int64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

void print_table(const models::ModelSummary& summary) {
  size_t name_width = 5, what_width = 5, shape_width = 6;
  for (const auto& layer : summary.layers) {
    name_width = std::max(name_width, layer.name.size());
    what_width = std::max(what_width, layer.description.size());
    shape_width = std::max(shape_width, to_string(layer.output).size());
  }
  fmt::print("{:<{}}  {:<{}}  {:<{}}  {:>12}  {:>14}\n", "name", name_width, "layer", what_width, "output", shape_width,
             "parameters", "MACs an image");
  for (const auto& layer : summary.layers) {
    fmt::print("{:<{}}  {:<{}}  {:<{}}  {:>12}  {:>14}\n", layer.name, name_width, layer.description, what_width,
               to_string(layer.output), shape_width, grouped(layer.parameters), grouped(layer.macs));
  }
}

nlohmann::ordered_json to_json(const std::string& model, const models::ModelSummary& summary) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const auto& layer : summary.layers) {
    layers.push_back({{"name", layer.name},
                      {"type", layer.type},
                      {"output", layer.output},
                      {"parameters", layer.parameters},
                      {"macs", layer.macs}});
  }
  return {{"model", model},
          {"input", summary.input},
          {"batch", summary.batch},
          {"architecture", models::one_line(summary)},
          {"parameters", summary.parameters},
          {"macs", summary.macs},
          {"activation_bytes", summary.activation_bytes},
          {"training_bytes", summary.training_bytes},
          {"layers", layers}};
}

int inspect(int argc, char** argv) {
  CommandLine command_line(
      "Lists a network's layers with output shapes, parameters and multiply-accumulates, and "
      "what memory it takes.",
      {"--model alexnet", "--model resnet18 --input 32,32,3 --classes 10",
       "--config tools/configs/e2_resnet18_cifar10.yaml", "--run runs/quickstart --batch 128 --json layers.json"});
  CommonFlags common;
  NetworkFlags network;
  int64_t batch = 1;
  std::string json;
  common.add_to(command_line);
  network.add_to(command_line);
  command_line.option("--batch", batch, "N", "Images a batch, for the memory (default 1)")
      .option("--json", json, "F", "Write the same as JSON");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(batch >= 1, "--batch {}: at least one image is needed", batch);

  const NetworkSource source = network.resolve(common, NetworkFlags::Data::not_needed);
  const NetworkSizes sizes = source.sizes();
  const Shape input = models::resolve_input(source.config.model, sizes.input);
  const auto model = models::make_model(source.config.model, input, sizes.classes);
  if (!source.weights.empty()) models::load_weights(source.weights.string(), *model, input);
  const models::ModelSummary summary = models::summarize(*model, input, batch);
  fmt::print("{}, input {}, batch {}\n\n", source.config.model_name(), to_string(input), batch);
  if (!sizes.known) {
    fmt::print("{}'s files are missing: sizes that the configuration leaves to them are the model's own\n\n",
               source.config.data.dataset);
  }
  print_table(summary);
  fmt::print("\n{}; {} parameters\n", models::one_line(summary), grouped(summary.parameters));
  fmt::print("\nparameters         {} ({})\n", grouped(summary.parameters), megabytes(4 * summary.parameters));
  fmt::print("MACs an image      {}\n", grouped(summary.macs));
  fmt::print("activations        {} kept for the backward, batch {}\n", megabytes(summary.activation_bytes), batch);
  fmt::print("training           {} with gradients and one momentum, scratch memory not counted\n",
             megabytes(summary.training_bytes));
  if (!json.empty()) write_file_atomically(json, to_json(source.config.model_name(), summary).dump(2) + "\n");
  return kDone;
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_tool("inspect", [&] { return striate::inspect(argc, argv); });
}
