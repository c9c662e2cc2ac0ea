// A PREDICTION of how training scales over many ranks, by data parallelism and by one weird trick (Krizhevsky 2014):
// the bytes that each sends, the time of its own work and what of the communication that does not hide. Nothing is run.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "benchmarks/chips.h"
#include "benchmarks/scaling_compute.h"
#include "benchmarks/scaling_figure.h"
#include "benchmarks/scaling_model.h"
#include "benchmarks/timed_network.h"
#include "engine/train/atomic_file.h"
#include "kernels/error.h"
#include "models/registry.h"
#include "tools/build_facts.h"
#include "tools/command_line.h"
#include "tools/experiments/figure.h"
#include "tools/network_flags.h"

namespace striate::bench {
namespace {

struct Flags {
  CommonFlags common;
  NetworkFlags network;
  std::string precision = "bf16", reduce = "fp32", compute, csv, plot;
  int64_t images = 128, batch = 8192, ranks = 1024, rounds = 0;
  double bucket_mb = 25.0, link_rate = 0.0;
};

struct Scheme {
  std::string name, key;
  PredictedStep (*predict)(const std::vector<LayerWork>&, const Compute&, const Fabric&, const ScalingOptions&);
  int64_t rounds;
};

struct Row {
  int64_t ranks = 1;
  double images = 0.0;  ///< of a rank
  PredictedStep step;
  double images_per_second = 0.0, efficiency = 0.0;
};

std::string count(int64_t ranks) { return fmt::format("{} {}", ranks, ranks == 1 ? "rank" : "ranks"); }

/// Where it stops paying, in a sentence.
std::string verdict(const std::vector<Row>& rows) {
  std::string text;
  const auto half = std::find_if(rows.begin(), rows.end(), [](const Row& row) { return row.efficiency < 0.5; });
  text += half == rows.end() ? fmt::format("at least half efficient up to {}", count(rows.back().ranks))
                             : fmt::format("less than half efficient from {}", count(half->ranks));
  const auto best = std::max_element(
      rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.images_per_second < b.images_per_second; });
  text += best + 1 == rows.end() ? "; each doubling raises images/s"
                                 : fmt::format("; images/s rise no further from {}", count(best->ranks));
  return text;
}

/// From how many to how many ranks it is faster than the other, in a sentence.
std::string comparison(const std::vector<Row>& rows, const std::vector<Row>& other) {
  int64_t first = 0, last = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].images_per_second <= other[i].images_per_second) continue;
    if (first == 0) first = rows[i].ranks;
    last = rows[i].ranks;
  }
  return first == 0 ? "never faster than data parallel"
                    : fmt::format("faster than data parallel for {} to {} ranks", first, last);
}

std::vector<Row> predict(const Flags& flags, const Scheme& scheme, bool weak, const std::vector<LayerWork>& layers,
                         const Compute& compute, const Fabric& fabric) {
  std::vector<Row> rows;
  for (int64_t ranks = 1; ranks <= flags.ranks && (weak || ranks <= flags.batch); ranks *= 2) {
    ScalingOptions options;
    options.ranks = ranks;
    // The rank with most images is the one that the others wait for.
    options.images = weak ? static_cast<double>(flags.images)
                          : std::ceil(static_cast<double>(flags.batch) / static_cast<double>(ranks));
    options.wire_bytes = flags.reduce == "bf16" ? 2.0 : 4.0;
    options.activation_bytes = flags.precision == "bf16" ? 2.0 : 4.0;
    options.bucket_bytes = flags.bucket_mb * (1 << 20);
    options.rounds = scheme.rounds;
    Row row;
    row.ranks = ranks;
    row.images = options.images;
    row.step = scheme.predict(layers, compute, fabric, options);
    const double all = weak ? options.images * static_cast<double>(ranks) : static_cast<double>(flags.batch);
    row.images_per_second = all / row.step.seconds;
    const double one = rows.empty() ? row.images_per_second : rows.front().images_per_second;
    row.efficiency = row.images_per_second / (one * static_cast<double>(ranks));
    rows.push_back(row);
  }
  return rows;
}

void print(const std::string& title, const std::vector<Row>& rows) {
  fmt::print("\n{}: PREDICTION\n{:>6}  {:>8}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}  {:>12}  {:>10}\n", title, "ranks",
             "images", "MB sent", "own work", "link busy", "waited", "step", "images/s", "efficiency");
  fmt::print("{:>6}  {:>8}  {:>9}  {:>9}  {:>9}  {:>9}  {:>9}\n", "", "a rank", "a rank", "ms", "ms", "ms", "ms");
  for (const Row& row : rows) {
    fmt::print("{:>6}  {:>8.0f}  {:>9.1f}  {:>9.2f}  {:>9.2f}  {:>9.2f}  {:>9.2f}  {:>12.0f}  {:>9.1f}%\n", row.ranks,
               row.images, row.step.sent_bytes / 1e6, row.step.compute * 1e3, row.step.communication * 1e3,
               row.step.exposed * 1e3, row.step.seconds * 1e3, row.images_per_second, 100.0 * row.efficiency);
  }
  fmt::print("{}: {}\n", title, verdict(rows));
}

int scaling(int argc, char** argv) {
  CommandLine command_line(
      "PREDICTS how training scales from one rank to many, by data parallelism and by one weird trick: bytes sent, "
      "time of a step and images a second, with as many images for each rank (weak) and with one batch for all "
      "(strong). Nothing is run; the ranks are the GPUs of H100 nodes unless --link-rate says otherwise.",
      {"--model alexnet --csv scaling.csv --plot scaling.png", "--model resnet18 --precision tf32 --reduce bf16",
       "--model alexnet --images 32 --compute layers.json --link-rate 12.5e6 --ranks 2"});
  Flags flags;
  flags.common.add_to(command_line);
  flags.network.add_to(command_line);
  command_line.option("--images", flags.images, "N", "Images of each rank, weak scaling (default 128)")
      .option("--batch", flags.batch, "N", "Images of all ranks together, strong scaling (default 8192)")
      .option("--ranks", flags.ranks, "N", "Up to so many, doubling from 1 (default 1024)")
      .option("--precision", flags.precision, "P", "fp32, tf32 or bf16 (default): what is computed in")
      .option("--reduce", flags.reduce, "T", "fp32 (default) or bf16: what gradients are sent as")
      .option("--bucket-mb", flags.bucket_mb, "MB", "Gradients that are reduced together (default 25)")
      .option("--rounds", flags.rounds, "N", "One weird trick's rounds (default: both as many as ranks, and 1)")
      .option("--compute", flags.compute, "F",
              "Layers' times as benchmarks/layers --json measured them, instead of an H100's by its limits")
      .option("--link-rate", flags.link_rate, "B", "Bytes a second each way between ranks, instead of H100 nodes")
      .option("--csv", flags.csv, "F", "Write the tables as CSV")
      .option("--plot", flags.plot, "F", "Draw images a second and efficiency over the ranks: a PNG or SVG");
  if (!command_line.parse(argc, argv)) return kDone;
  require<ConfigError>(flags.reduce == "fp32" || flags.reduce == "bf16", "--reduce {}: expected fp32 or bf16",
                       flags.reduce);
  const auto in_range = [](const char* flag, int64_t n, int64_t least) {
    require<ConfigError>(n >= least && n <= (1 << 24), "{} {}: expected {} to {}", flag, n, least, 1 << 24);
  };
  in_range("--images", flags.images, 1);
  in_range("--batch", flags.batch, 1);
  in_range("--ranks", flags.ranks, 1);
  in_range("--rounds", flags.rounds, 0);
  require<ConfigError>(flags.bucket_mb > 0.0, "--bucket-mb {}: expected more than 0", flags.bucket_mb);
  require<ConfigError>(!command_line.given("--link-rate") || flags.link_rate > 0.0,
                       "--link-rate {}: expected bytes a second, such as 12.5e6", flags.link_rate);
  if (!flags.plot.empty()) figure_format(flags.plot);

  const NetworkSource source = flags.network.resolve(flags.common, NetworkFlags::Data::not_needed);
  const TimedNetwork network = build_network(source);
  const models::ModelSummary summary = models::summarize(*network.model, network.input);
  const std::vector<LayerWork> layers = layer_works(summary);
  const Fabric fabric = flags.link_rate > 0.0 ? bench::network(flags.link_rate) : h100_nodes();
  const Compute compute = flags.compute.empty() ? chip_compute(kH100, parse_precision(flags.precision), layers)
                                                : measured_compute(flags.compute, layers).compute;

  std::vector<Scheme> schemes = {{"data parallel", "data", predict_data_parallel, 0}};
  const bool has_head = layers.back().head;
  if (has_head && (flags.rounds == 0 || flags.rounds > 1)) {
    const std::string rounds = flags.rounds == 0 ? "a round a rank" : fmt::format("{} rounds", flags.rounds);
    schemes.push_back({"one weird trick, " + rounds, "one_weird_trick", predict_one_weird_trick, flags.rounds});
  }
  if (has_head && flags.rounds <= 1) {
    schemes.push_back({"one weird trick, one round", "one_weird_trick_one_round", predict_one_weird_trick, 1});
  }

  fmt::print("PREDICTION, not measured: {}, input {}, {:.1f} million parameters\n", source.config.model_name(),
             to_string(network.input), static_cast<double>(summary.parameters) / 1e6);
  fmt::print("work: {}\nlinks: {}\ngradients sent as {} in buckets of {:g} MiB\n", compute.name, fabric.name,
             flags.reduce, flags.bucket_mb);
  std::string csv = comment_of(build_facts()) + "# PREDICTION: work: " + compute.name + "; links: " + fabric.name +
                    "\n" +
                    "scaling,scheme,ranks,images_per_rank,sent_bytes,work_ms,link_ms,waited_ms,step_ms,"
                    "images_per_second,efficiency\n";
  std::vector<ScalingPanel> panels;
  for (const bool weak : {true, false}) {
    panels.push_back({weak ? fmt::format("Weak: {} images a rank", flags.images)
                           : fmt::format("Strong: {} images in all", flags.batch),
                      {}});
    std::vector<Row> data_parallel;
    for (const Scheme& scheme : schemes) {
      const std::vector<Row> rows = predict(flags, scheme, weak, layers, compute, fabric);
      print(fmt::format("{}, {}", weak ? "weak" : "strong", scheme.name), rows);
      if (data_parallel.empty()) {
        data_parallel = rows;
      } else {
        fmt::print("{}, {}: {}\n", weak ? "weak" : "strong", scheme.name, comparison(rows, data_parallel));
      }
      ScalingCurve curve{scheme.name, {}};
      for (const Row& row : rows) {
        csv += fmt::format("{},{},{},{:g},{:.0f},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.4f}\n", weak ? "weak" : "strong",
                           scheme.key, row.ranks, row.images, row.step.sent_bytes, row.step.compute * 1e3,
                           row.step.communication * 1e3, row.step.exposed * 1e3, row.step.seconds * 1e3,
                           row.images_per_second, row.efficiency);
        curve.points.push_back({static_cast<double>(row.ranks), row.images_per_second, row.efficiency});
      }
      panels.back().curves.push_back(std::move(curve));
    }
  }
  if (!flags.csv.empty()) write_file_atomically(flags.csv, csv);
  if (!flags.plot.empty()) {
    draw_scaling(
        panels, fmt::format("{}: PREDICTION, not measured", source.config.model_name()),
        fmt::format("Predicted. Work: {}; links: {}; gradients sent as {}", compute.name, fabric.name, flags.reduce),
        flags.plot);
  }
  return kDone;
}

}  // namespace
}  // namespace striate::bench

int main(int argc, char** argv) {
  return striate::run_tool("scaling", [&] { return striate::bench::scaling(argc, argv); });
}
