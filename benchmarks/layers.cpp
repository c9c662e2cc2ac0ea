// Where a network's time goes: each layer's forward and backward, its share of the step, and how near it comes to what
// the machine's arithmetic and memory allow, measured in the same run.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "benchmarks/layer_figure.h"
#include "benchmarks/layer_times.h"
#include "benchmarks/timed_network.h"
#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "tools/command_line.h"
#include "tools/experiments/figure.h"
#include "tools/machine.h"
#include "tools/network_flags.h"

namespace striate::bench {
namespace {

constexpr int kWarmUp = 2;  // steps that allocate and touch memory
constexpr int kFewest = 3, kMost = 1000;
constexpr int64_t kLargest = 1 << 20;

struct Flags {
  CommonFlags common;
  NetworkFlags network;
  int64_t batch = 32;
  std::string mode = "train", precision, csv, json, plot;
  double seconds = 2.0;
};

/// The profile of some steps after those for warming up.
std::vector<ProfileEvent> profile(const Flags& flags, const RunConfig& config, const TimedNetwork& network,
                                  const models::ModelSummary& summary) {
  Repeated repeated(random_batch(flags.batch, network.input, summary.layers.back().output.back(), config));
  Profiler profiler;
  for (const nn::NamedModule& named : network.model->named_modules()) {
    profiler.name_layer(named.module, named.name, named.module->type());
  }
  int steps = 0;
  std::chrono::steady_clock::time_point begin;
  Until until(repeated, [&] {
    if (steps < kWarmUp + kFewest) return true;
    const double passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return passed < flags.seconds && steps < kWarmUp + kMost;
  });
  const auto done = [&](const StepTime& step) {
    ++steps;
    if (steps == kWarmUp) {
      profiler.clear();
      begin = std::chrono::steady_clock::now();
    }
    if (steps > kWarmUp) profiler.add_step(step.seconds);
  };
  if (flags.mode == "train") {
    TrainOptions options = config.train;
    options.seed = config.seed;
    options.max_steps = 0;
    options.cuda_graph = GraphMode::off;  // whose replay is one piece of work, without layers
    timed_training(*network.model, until, options, done);
  } else {
    set_precision(config.device, config.train.precision);
    timed_inference(*network.model, until, config.device, done);
  }
  return profiler.events();
}

double rate(double amount, double seconds) { return seconds > 0.0 ? amount / seconds / 1e9 : 0.0; }

std::string number(double value, const char* form) {
  return value > 0.0 ? fmt::format(fmt::runtime(form), value) : std::string();
}

/// A layer a line, its two passes side by side; what is neither on lines of their own.
void print_table(const LayerTimes& times) {
  struct Line {
    const LayerTime* forward = nullptr;
    const LayerTime* backward = nullptr;
    const LayerTime* other = nullptr;
  };
  std::vector<std::pair<std::string, Line>> lines;
  size_t name_width = 5, what_width = 4;
  for (const LayerTime& row : times.rows) {
    const bool is_pass = row.pass == Pass::forward || row.pass == Pass::backward;
    auto found = std::find_if(lines.begin(), lines.end(),
                              [&](const auto& l) { return is_pass && l.first == row.layer && !l.second.other; });
    if (found == lines.end()) found = lines.insert(lines.end(), {row.layer, {}});
    (row.pass == Pass::forward    ? found->second.forward
     : row.pass == Pass::backward ? found->second.backward
                                  : found->second.other) = &row;
    name_width = std::max(name_width, row.layer.size());
    what_width = std::max(what_width, row.what.size());
  }
  const auto cells = [](const LayerTime* row, const char* form, const auto& value) {
    return row == nullptr ? std::string() : number(value(*row), form);
  };
  fmt::print("{:<{}}  {:<{}}  {:>17}  {:>6}  {:>13}  {:>13}  {:>11}\n", "", name_width, "", what_width, "ms a step",
             "share", "GFLOP/s", "GB/s", "% of limit");
  fmt::print("{:<{}}  {:<{}}  {:>8} {:>8}  {:>6}  {:>6} {:>6}  {:>6} {:>6}  {:>5} {:>5}\n", "layer", name_width, "what",
             what_width, "forward", "backward", "", "fwd", "bwd", "fwd", "bwd", "fwd", "bwd");
  for (const auto& [name, line] : lines) {
    const LayerTime* f = line.other != nullptr ? line.other : line.forward;
    const LayerTime* b = line.backward;
    const std::string& what = f != nullptr ? f->what : b->what;
    const double share = (f != nullptr ? f->share : 0.0) + (b != nullptr ? b->share : 0.0);
    const auto ms = [](const LayerTime& r) { return r.seconds * 1e3; };
    const auto flops = [](const LayerTime& r) { return rate(r.flops, r.seconds); };
    const auto bytes = [](const LayerTime& r) { return rate(r.bytes, r.seconds); };
    const auto limit = [](const LayerTime& r) { return r.of_limit.value_or(0.0) * 100.0; };
    // "×" is one character of two bytes.
    fmt::print("{:<{}}  {:<{}}  {:>8} {:>8}  {:>5.1f}%  {:>6} {:>6}  {:>6} {:>6}  {:>5} {:>5}\n", name, name_width,
               what, what_width, cells(f, "{:.3f}", ms), cells(b, "{:.3f}", ms), share * 100.0,
               cells(f, "{:.0f}", flops), cells(b, "{:.0f}", flops), cells(f, "{:.1f}", bytes),
               cells(b, "{:.1f}", bytes), cells(f, "{:.0f}", limit), cells(b, "{:.0f}", limit));
  }
}

void write_csv(const std::string& file, const LayerTimes& times, Device device) {
  std::string text = provenance_comment(device);
  text += "layer,what,kind,pass,ms,percent_of_step,gflops,gbytes_per_second,percent_of_limit\n";
  for (const LayerTime& row : times.rows) {
    text += fmt::format("{},{},{},{},{:.6g},{:.3f},{},{},{}\n", row.layer, row.what, row.kind, to_string(row.pass),
                        row.seconds * 1e3, row.share * 100.0, number(rate(row.flops, row.seconds), "{:.5g}"),
                        number(rate(row.bytes, row.seconds), "{:.5g}"),
                        row.of_limit ? fmt::format("{:.1f}", *row.of_limit * 100.0) : "");
  }
  write_file_atomically(file, text);
}

void write_json(const std::string& file, const LayerTimes& times, const std::string& title, const RunConfig& config,
                const Flags& flags, const std::optional<MachineLimit>& limit) {
  nlohmann::ordered_json document = {{"title", title},
                                     {"model", config.model_name()},
                                     {"device", to_string(config.device)},
                                     {"mode", flags.mode},
                                     {"precision", to_string(config.train.precision)},
                                     {"threads", num_threads()},
                                     {"batch", flags.batch},
                                     {"steps", times.steps},
                                     {"step_ms", times.step_seconds * 1e3},
                                     {"limit", nullptr}};
  if (limit) document["limit"] = {{"flops_per_second", limit->flops}, {"bytes_per_second", limit->bytes}};
  for (const auto& [name, value] : provenance(config.device)) document["provenance"][name] = value;
  document["layers"] = nlohmann::ordered_json::array();
  for (const LayerTime& row : times.rows) {
    nlohmann::ordered_json json = {{"layer", row.layer},
                                   {"what", row.what},
                                   {"kind", row.kind},
                                   {"pass", to_string(row.pass)},
                                   {"ms", row.seconds * 1e3},
                                   {"percent_of_step", row.share * 100.0},
                                   {"gflops", rate(row.flops, row.seconds)},
                                   {"gbytes_per_second", rate(row.bytes, row.seconds)},
                                   {"percent_of_limit", nullptr}};
    if (row.of_limit) json["percent_of_limit"] = *row.of_limit * 100.0;
    document["layers"].push_back(json);
  }
  write_file_atomically(file, document.dump(2) + "\n");
}

int layers(int argc, char** argv) {
  CommandLine command_line(
      "Measures each layer of a network, forward and backward: time, share of the step, GFLOP/s, GB/s and the share of "
      "what the machine's arithmetic and memory allow.",
      {"--model alexnet --batch 128", "--model resnet18 --input 32,32,3 --classes 10 --batch 64 --plot layers.png",
       "--model alexnet --batch 1 --mode infer --csv layers.csv --json layers.json"});
  Flags flags;
  flags.common.add_to(command_line);
  flags.network.add_to(command_line);
  command_line.option("--batch", flags.batch, "N", "Images a batch (default 32)")
      .option("--mode", flags.mode, "M", "train (default): whole training steps; infer: logits alone")
      .option("--precision", flags.precision, "P", "fp32, tf32 or bf16 (default: the configuration's, else fp32)")
      .option("--seconds", flags.seconds, "S", "Measure for so long (default 2), three steps at least")
      .option("--csv", flags.csv, "F", "Write the table as CSV, a line a layer and pass")
      .option("--json", flags.json, "F", "Write the same as JSON")
      .option("--plot", flags.plot, "F", "Draw a bar for each pass, divided by layers: a PNG or SVG");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(flags.mode == "train" || flags.mode == "infer", "--mode {}: expected train or infer",
                       flags.mode);
  require<ConfigError>(flags.batch > 0 && flags.batch <= kLargest, "--batch {}: expected 1 to {}", flags.batch,
                       kLargest);
  require<ConfigError>(flags.seconds > 0.0 && flags.seconds <= 3600.0, "--seconds {}: expected more than 0, up to 3600",
                       flags.seconds);
  if (!flags.plot.empty()) figure_format(flags.plot);
  if (!flags.precision.empty()) flags.common.set.push_back("train.precision=" + flags.precision);
  const NetworkSource source = flags.network.resolve(flags.common, NetworkFlags::Data::not_needed);
  const RunConfig& config = source.config;
  check_precision(config.device, config.train.precision);
  const TimedNetwork network = build_network(source);
  const models::ModelSummary summary = models::summarize(*network.model, network.input, flags.batch);

  const std::string title = fmt::format(
      "{}, input {}, batch {}, {}, {} on {}", config.model_name(), to_string(network.input), flags.batch,
      flags.mode == "train" ? "training" : "inference", to_string(config.train.precision), to_string(config.device));
  fmt::print("{}\n", title);
  for (const auto& [name, value] : provenance(config.device)) fmt::print("{}: {}\n", name, value);
  fmt::print("{} threads\n", num_threads());
  const std::optional<MachineLimit> limit = measure_machine_limit(config.device, config.train.precision);
  if (limit) {
    fmt::print("limit: {:.0f} GFLOP/s of multiply-adds, {:.0f} GB/s of memory copied (measured just now)\n",
               limit->flops / 1e9, limit->bytes / 1e9);
  }
  std::fflush(stdout);
  const LayerTimes times = layer_times(profile(flags, config, network, summary), summary, limit);
  fmt::print("\n");
  print_table(times);
  if (limit) {
    fmt::print(
        "% of limit: of what multiply-adds and memory allow with direct products; Winograd's need fewer, and "
        "pass 100\n");
  }
  fmt::print("\n{:.2f} ms a step over {} steps, {:.1f} images/s\n", times.step_seconds * 1e3, times.steps,
             static_cast<double>(flags.batch) / times.step_seconds);
  if (!flags.csv.empty()) write_csv(flags.csv, times, config.device);
  if (!flags.json.empty()) write_json(flags.json, times, title, config, flags, limit);
  if (!flags.plot.empty()) {
    draw_layers(times, title,
                (limit ? "100 % of limit: what multiply-adds and memory allow; Winograd needs fewer. " : "") +
                    provenance_line(config.device),
                flags.plot);
  }
  return kDone;
}

}  // namespace
}  // namespace striate::bench

int main(int argc, char** argv) {
  return striate::run_tool("layers", [&] { return striate::bench::layers(argc, argv); });
}
