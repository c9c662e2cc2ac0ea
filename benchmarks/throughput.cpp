// Images a second of a network by batch size, with the memory it takes and its share of what the machine allows. Every
// batch size is measured in a process of its own, so that its memory is its own, and so that running out of it ends
// nothing but that.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <sstream>

#include "benchmarks/machine_limit.h"
#include "benchmarks/step_limit.h"
#include "benchmarks/throughput_table.h"
#include "benchmarks/timed_network.h"
#include "engine/allocator.h"
#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "kernels/out_of_memory.h"
#include "models/registry.h"
#include "models/weights/weights.h"
#include "tools/child_process.h"
#include "tools/command_line.h"
#include "tools/experiment.h"
#include "tools/machine.h"
#include "tools/network_flags.h"

namespace striate::bench {
namespace {

constexpr int kWarmUp = 2;    // steps that allocate and touch memory
constexpr int kFewest = 3;    // steps measured
constexpr int kMost = 10000;  // … at the most
constexpr int64_t kLargest = 1 << 20;

struct Flags {
  CommonFlags common;
  NetworkFlags network;
  std::string batches, mode = "train", precision, data = "synthetic", csv, json, plot, row;
  double seconds = 2.0;
};

std::vector<int64_t> parse_batches(const std::string& text) {
  std::vector<int64_t> batches;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    size_t end = 0;
    int64_t n = 0;
    try {
      n = std::stoll(part, &end);
    } catch (const std::exception&) {
      end = 0;
    }
    require<ConfigError>(end == part.size() && n > 0 && n <= kLargest,
                         "--batches {}: '{}' is no batch size; expected numbers like 1,32,128, up to {}", text, part,
                         kLargest);
    batches.push_back(n);
  }
  require<ConfigError>(!batches.empty(), "--batches: no batch size is given");
  return batches;
}

/// How far a measurement has come.
struct Measured {
  std::vector<double> seconds;
  int steps = 0;
  std::chrono::steady_clock::time_point begin;
};

/// Measures the one batch size in this process.
ThroughputRow measure(const Flags& flags, const NetworkSource& source, int64_t batch, bool train) {
  const RunConfig config = source.config.with({fmt::format("train.batch_size={}", batch)});
  const bool from_config = flags.data == "config";
  std::optional<Experiment> experiment;
  TimedNetwork network;
  if (from_config) {
    experiment.emplace(config);
    if (!source.weights.empty())
      models::load_weights(source.weights.string(), experiment->model(), experiment->input());
  } else {
    network = build_network(source);
  }
  nn::Module& model = experiment ? experiment->model() : *network.model;

  std::optional<Repeated> repeated;
  if (!from_config) {
    const int64_t classes = models::summarize(model, network.input).layers.back().output.back();
    repeated.emplace(random_batch(batch, network.input, classes, config));
  }
  BatchSource& batches = from_config ? *experiment->train_data().train : static_cast<BatchSource&>(*repeated);

  Measured measured;
  Until source_until(batches, [&] {
    if (measured.steps == kWarmUp) measured.begin = std::chrono::steady_clock::now();
    if (measured.steps < kWarmUp + kFewest) return true;
    const double passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - measured.begin).count();
    return passed < flags.seconds && measured.steps < kMost;
  });
  const auto done = [&](const StepTime& step) {
    if (++measured.steps > kWarmUp) measured.seconds.push_back(step.seconds + (from_config ? step.data_seconds : 0.0));
  };
  if (train) {
    TrainOptions options = config.train;
    options.seed = config.seed;
    options.max_steps = 0;
    timed_training(model, source_until, options, done);
  } else {
    set_precision(config.device, config.train.precision);
    timed_inference(model, source_until, config.device, done);
  }
  require<ConfigError>(!measured.seconds.empty(), "--data config: the dataset has fewer than {} batches of {}",
                       kWarmUp + 1, batch);

  ThroughputRow row;
  row.model = config.model_name();
  row.device = to_string(config.device);
  row.mode = train ? "train" : "infer";
  row.precision = to_string(config.train.precision);
  row.threads = num_threads();
  row.batch = batch;
  row.step_ms = median(measured.seconds) * 1e3;
  row.images_per_second = static_cast<double>(batch) / median(measured.seconds);
  row.peak_memory_bytes =
      on_host(config.device) ? peak_resident_bytes() : static_cast<int64_t>(allocator(config.device).stats().reserved);
  return row;
}

/// The rest of the command line for the process that measures one batch size.
std::vector<std::string> child_arguments(int argc, char** argv, int64_t batch, const std::string& row) {
  std::vector<std::string> arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const std::string flag = argument.substr(0, argument.find('='));
    if (flag == "--batches" || flag == "--csv" || flag == "--json" || flag == "--plot") {
      if (flag == argument) ++i;
    } else {
      arguments.push_back(argument);
    }
  }
  arguments.insert(arguments.end(), {"--batches", std::to_string(batch), "--row", row});
  return arguments;
}

int throughput(int argc, char** argv) {
  CommandLine command_line(
      "Measures images a second of a network for batches of 1, 2, 4, … until memory runs out, with the memory they "
      "take and the share of what the machine's arithmetic and memory allow.",
      {"--model alexnet --batches 1,32,128", "--model resnet18 --input 32,32,3 --classes 10 --mode infer",
       "--model alexnet --precision bf16 --batches 32,128 --csv alexnet.csv --plot alexnet.png",
       "--config tools/configs/quickstart.yaml --data config --batches 64,256"});
  Flags flags;
  flags.common.add_to(command_line);
  flags.network.add_to(command_line);
  command_line.option("--batches", flags.batches, "N,N,…", "Batch sizes (default: 1, 2, 4, … until memory runs out)")
      .option("--mode", flags.mode, "M", "train (default): whole training steps; infer: logits alone")
      .option("--precision", flags.precision, "P", "fp32, tf32 or bf16 (default: the configuration's, else fp32)")
      .option("--data", flags.data, "D",
              "synthetic (default): one batch over and over; config: the configuration's dataset, loading included")
      .option("--seconds", flags.seconds, "S", "Measure each batch size for so long (default 2)")
      .option("--csv", flags.csv, "F", "Write the table as CSV, a line as soon as it is measured")
      .option("--json", flags.json, "F", "Write the same as JSON")
      .option("--plot", flags.plot, "F", "Draw images a second over the batch size: a PNG or SVG")
      .option("--row", flags.row, "F",
              "Measure the one batch size of --batches in this process and write its row to F as JSON: how each row of "
              "the table is measured");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(flags.mode == "train" || flags.mode == "infer", "--mode {}: expected train or infer",
                       flags.mode);
  require<ConfigError>(flags.data == "synthetic" || flags.data == "config", "--data {}: expected synthetic or config",
                       flags.data);
  require<ConfigError>(flags.seconds > 0.0 && flags.seconds <= 3600.0, "--seconds {}: expected more than 0, up to 3600",
                       flags.seconds);
  if (!flags.precision.empty()) flags.common.set.push_back("train.precision=" + flags.precision);
  const bool train = flags.mode == "train";
  const auto data = flags.data == "config" ? NetworkFlags::Data::needed : NetworkFlags::Data::not_needed;
  const NetworkSource source = flags.network.resolve(flags.common, data);
  check_precision(source.config.device, source.config.train.precision);

  if (!flags.row.empty()) {
    const std::vector<int64_t> batches = parse_batches(flags.batches);
    require<ConfigError>(batches.size() == 1, "--row: --batches must be one batch size");
    nlohmann::ordered_json row;
    try {
      row = to_json(measure(flags, source, batches[0], train));
    } catch (const OutOfMemory& error) {
      row = {{"out_of_memory", dynamic_cast<const std::exception&>(error).what()}};
    } catch (const std::bad_alloc&) {
      row = {{"out_of_memory", "out of memory"}};
    }
    write_file_atomically(flags.row, row.dump() + "\n");
    return kDone;
  }

  const bool until_full = flags.batches.empty();
  std::vector<int64_t> batches = until_full ? std::vector<int64_t>{1} : parse_batches(flags.batches);
  const NetworkSizes sizes = source.sizes();
  const Shape input = models::resolve_input(source.config.model, sizes.input);
  const auto network = models::make_model(source.config.model, input, sizes.classes);
  set_num_threads(static_cast<int>(source.config.threads));

  ThroughputTable table(flags.csv);
  table.begin(
      fmt::format("{}, input {}, {}", source.config.model_name(), to_string(input), train ? "training" : "inference"),
      source.config, measure_machine_limit(source.config.device, source.config.train.precision));
  const HeldSignals signals;
  for (size_t i = 0; i < batches.size(); ++i) {
    const int64_t batch = batches[i];
    const models::ModelSummary summary = models::summarize(*network, input, batch);
    if (const std::string reason = table.too_large(summary, train); !reason.empty()) {
      table.stop(batch, reason);
      break;
    }
    const std::filesystem::path row_file = ThroughputTable::temporary_file();
    const ChildEnd end = run_child("/proc/self/exe", child_arguments(argc, argv, batch, row_file.string()));
    if (end.interrupted || HeldSignals::pending()) {
      std::filesystem::remove(row_file);
      fmt::print("Interrupted.\n");
      table.finish(flags.json, flags.plot);
      return kInterrupted;
    }
    if (end.code == 128 + 9) {
      table.stop(batch, "the system ran out of memory");
      break;
    }
    if (end.code != kDone) return end.code;  // the child has said why
    if (!table.add(row_file, summary, train)) break;
    if (until_full && batch < kLargest) batches.push_back(batch * 2);
  }
  table.finish(flags.json, flags.plot);
  return kDone;
}

}  // namespace
}  // namespace striate::bench

int main(int argc, char** argv) {
  return striate::run_tool("throughput", [&] { return striate::bench::throughput(argc, argv); });
}
