// Layers of a network with their output shapes, parameters, multiply–accumulates and memory.

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "models/registry.h"
#include "models/summary.h"
#include "models/weights/weights.h"
#include "tools/command_line.h"
#include "tools/experiments/number_text.h"
#include "tools/memory_rehearsal.h"
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

/// What training takes; empty where it cannot be, with the reason in `why_not`.
std::optional<TrainingMemory> training_memory(NetworkSource source, int64_t batch, std::string& why_not) {
  // Host execution of a large network's kernels takes minutes.
  if (source.config.device == Device::cuda && !gpu::built_for_gpu()) source.config.device = Device::cpu;
  try {
    return MemoryRehearsal(source, batch).predict(batch);
  } catch (const Error& error) {
    why_not = error.what();
    return std::nullopt;
  }
}

nlohmann::ordered_json to_json(const std::string& model, const models::ModelSummary& summary,
                               const std::optional<TrainingMemory>& memory) {
  nlohmann::ordered_json layers = nlohmann::ordered_json::array();
  for (const auto& layer : summary.layers) {
    layers.push_back({{"name", layer.name},
                      {"type", layer.type},
                      {"output", layer.output},
                      {"parameters", layer.parameters},
                      {"macs", layer.macs}});
  }
  nlohmann::ordered_json training, tensors, workspace, process;
  if (memory) {
    training = memory->total();
    tensors = memory->tensors;
    workspace = memory->workspace;
    process = memory->process;
  }
  return {{"model", model},
          {"input", summary.input},
          {"batch", summary.batch},
          {"architecture", models::one_line(summary)},
          {"parameters", summary.parameters},
          {"macs", summary.macs},
          {"activation_bytes", summary.activation_bytes},
          {"training_bytes", training},
          {"tensor_bytes", tensors},
          {"workspace_bytes", workspace},
          {"process_bytes", process},
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
  std::string why_not;  // first, while nothing else takes memory
  const std::optional<TrainingMemory> memory = training_memory(source, batch, why_not);
  const NetworkSizes sizes = source.sizes();
  const Shape input = models::resolve_input(source.config.model, sizes.input);
  const auto model = models::make_model(source.config.model, input, sizes.classes);
  if (!source.weights.empty()) models::load_weights(source.weights.string(), *model, input);
  if (source.config.train.precision == Precision::bf16) set_precision(Device::cpu, Precision::bf16);
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
  if (memory) {
    fmt::print(
        "training           {}: {} in tensors, {} more kept for reuse, {} of scratch memory; besides {} of this "
        "process, and the batches that a loader holds\n",
        megabytes(memory->total()), megabytes(memory->tensors), megabytes(memory->kept), megabytes(memory->workspace),
        megabytes(memory->process));
  } else {
    fmt::print("training           impossible: {}\n", why_not);
  }
  if (!json.empty()) {
    write_file_atomically(json, to_json(source.config.model_name(), summary, memory).dump(2) + "\n");
  }
  return kDone;
}

}  // namespace
}  // namespace striate

int main(int argc, char** argv) {
  return striate::run_tool("inspect", [&] { return striate::inspect(argc, argv); });
}
