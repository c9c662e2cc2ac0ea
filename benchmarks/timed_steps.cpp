// A network that works a step at a time at another program's word, for compare_pytorch.py: with given weights on a
// given batch, so that both sides do the same.
#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "benchmarks/timed_network.h"
#include "engine/allocator.h"
#include "engine/autograd.h"
#include "engine/nn/evaluation_mode.h"
#include "engine/ops/ops.h"
#include "engine/train/safetensors.h"
#include "kernels/error.h"
#include "models/weights/layout.h"
#include "tools/command_line.h"
#include "tools/machine.h"
#include "tools/network_flags.h"

namespace striate::bench {
namespace {

/// "images" [N,H,W,C] float32 and "labels" [N] int32 of a safetensors file.
Batch read_batch(const std::string& file, const Shape& input) {
  const Safetensors tensors = read_safetensors(file);
  const Tensor* images = tensors.find("images");
  const Tensor* labels = tensors.find("labels");
  require<IoError>(images != nullptr && labels != nullptr && images->dtype() == DType::float32 &&
                       labels->dtype() == DType::int32 && images->shape().size() == 4 && labels->shape().size() == 1,
                   "{}: expected float32 'images' [N,H,W,C] and int32 'labels' [N]", file);
  const Shape expected{labels->size(), input[0], input[1], input[2]};
  require<IoError>(images->shape() == expected, "{}: images {}, expected {}", file, to_string(images->shape()),
                   to_string(expected));
  Batch batch;
  batch.images = *images;
  batch.labels = *labels;
  return batch;
}

/// Logits, and with `train` the loss and every gradient, in PyTorch's layout.
void write_results(const std::string& file, nn::Module& model, const Batch& batch, const Shape& input, Device device,
                   bool train) {
  std::vector<NamedTensor> results;
  if (!train) {
    const nn::EvaluationMode mode(model);
    const NoGradGuard no_grad;
    results.push_back({"logits", model(batch.images.to(device)).to(DType::float32).to(Device::cpu)});
  } else {
    const models::PyTorchLayout layout(model, input);
    model.train();
    const Tensor logits = model(batch.images.to(device));
    const ops::CrossEntropy result = ops::softmax_cross_entropy(logits, batch.labels);
    result.loss.backward();
    results.push_back({"logits", logits.detach().to(DType::float32).to(Device::cpu)});
    results.push_back({"loss", result.loss.detach().to(Device::cpu)});
    for (const NamedTensor& parameter : model.named_parameters()) {
      const Tensor gradient = parameter.tensor.grad().to(Device::cpu);
      results.push_back({"gradient." + parameter.name, layout.to_pytorch({parameter.name, gradient})});
    }
  }
  write_safetensors(file, results, {});
}

/// Lines of standard input: "go N" runs N steps and answers with a line of their seconds, "memory" with the most bytes
/// that this process has held (on a GPU: that tensors have taken of it), "provenance" with what made it.
class Commands {
 public:
  explicit Commands(Device device) : device_(device) {}
  bool more() {
    if (left_ > 0) return --left_ >= 0;
    answer();
    for (std::string line; std::getline(std::cin, line);) {
      if (line == "memory") {
        fmt::print("{}\n", on_host(device_) ? peak_resident_bytes()
                                            : static_cast<int64_t>(allocator(device_).stats().reserved));
        std::fflush(stdout);
        continue;
      }
      if (line == "provenance") {
        nlohmann::ordered_json facts;
        for (const auto& [name, value] : provenance(device_)) facts[name] = value;
        fmt::print("{}\n", facts.dump());
        std::fflush(stdout);
        continue;
      }
      int64_t steps = 0;
      require<ConfigError>(std::sscanf(line.c_str(), "go %ld", &steps) == 1 && steps > 0,
                           "standard input: '{}', expected \"go N\", \"memory\" or \"provenance\"", line);
      left_ = steps - 1;
      return true;
    }
    return false;
  }
  void done(const StepTime& step) { answer_ += fmt::format("{}{:.9g}", answer_.empty() ? "" : " ", step.seconds); }

 private:
  void answer() {
    if (answer_.empty()) return;
    fmt::print("{}\n", answer_);
    std::fflush(stdout);
    answer_.clear();
  }

  Device device_;
  int64_t left_ = 0;
  std::string answer_;
};

int timed_steps(int argc, char** argv) {
  CommandLine command_line(
      "Runs a network on one batch, a step at a time, as it is told on standard input (\"go N\", \"memory\"): the side "
      "of Striate in compare_pytorch.py.",
      {"--model alexnet --weights w.safetensors --batch batch.safetensors --results results.safetensors",
       "--model alexnet --weights w.safetensors --batch batch.safetensors --mode infer"});
  CommonFlags common;
  NetworkFlags network;
  std::string batch_file, mode = "train", results, precision;
  common.add_to(command_line);
  network.add_to(command_line);
  command_line.option("--batch", batch_file, "F", "safetensors with images [N,H,W,C] and labels [N]")
      .option("--mode", mode, "M", "train (default): training steps; infer: logits alone")
      .option("--precision", precision, "P", "fp32 (default), tf32 or bf16")
      .option("--results", results, "F", "Write logits and, in training, loss and gradients of one step, and end");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(mode == "train" || mode == "infer", "--mode {}: expected train or infer", mode);
  require<ConfigError>(!batch_file.empty(), "--batch F is missing");
  if (!precision.empty()) common.set.push_back("train.precision=" + precision);
  const NetworkSource source = network.resolve(common, NetworkFlags::Data::not_needed);
  const RunConfig& config = source.config;
  const auto [input, model] = build_network(source);
  set_precision(config.device, config.train.precision);
  Batch batch = read_batch(batch_file, input);
  if (!results.empty()) {
    write_results(results, *model, batch, input, config.device, mode == "train");
    return kDone;
  }

  batch.images = batch.images.to(config.device);  // as PyTorch's lie there
  Repeated repeated(std::move(batch));
  Commands commands(config.device);
  Until until(repeated, [&] { return commands.more(); });
  const auto done = [&](const StepTime& step) { commands.done(step); };
  if (mode == "train") {
    TrainOptions options = config.train;
    options.seed = config.seed;
    timed_training(*model, until, options, done);
  } else {
    timed_inference(*model, until, config.device, done);
  }
  return kDone;
}

}  // namespace
}  // namespace striate::bench

int main(int argc, char** argv) {
  return striate::run_tool("timed_steps", [&] { return striate::bench::timed_steps(argc, argv); });
}
