// PREDICTED times of AlexNet's layers on an A100 and an H100. Nothing is measured: blocks of each launch are run by the
// checking build, what they ask of each resource is counted, and the chip's published limits say how long that takes.
//   build-race/benchmarks/predicted_times [--batch N] [--filter TEXT] [--resources FILE] [--csv FILE]
//
// Of a launch of G blocks on S multiprocessors, B of them resident on each:
//   clocks of a block  c = max(products / peak, wavefronts / 1, issues / 4, conversions / 2)
//   launch             t = max((⌈G/S⌉·c + ⌈G/(S·B)⌉·2·latency) / clock, L2 bytes / L2 rate, memory bytes / memory rate)
//   layer              the sum over its launches; its limit: max(2·multiply–adds / peak, tensors once / memory rate)
// docs/kernels.md says what that leaves out.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "benchmarks/chips.h"
#include "benchmarks/kernel_cases.h"
#include "benchmarks/launch_tile.h"
#include "kernels/error.h"
#include "kernels/gpu/host/checked/counters.h"
#include "tools/build_facts.h"

namespace striate::bench {
namespace {

using gpu::host::checked::BlockSample;
using gpu::host::checked::Counting;
using gpu::host::checked::KernelCounters;
using gpu::host::checked::LaunchRecord;

/// What the launches of one kernel ask for, all their blocks together.
struct Work {
  std::string kernel, tile;
  double blocks = 0, threads = 0, shared_bytes = 0;
  int launches = 0, launch_bounds = 0;  ///< blocks that the kernel's bounds let reside at least; 0: none given
  double flops = 0, wavefronts = 0, issues = 0, conversions = 0;
  double cache_bytes = 0, memory_bytes = 0;
};

struct Layer {
  std::string name, pass;
  Precision precision;
  double macs = 0, tensor_bytes = 0;
  std::vector<Work> work;
};

Work work_of(const std::string& kernel, const KernelCase& c, Precision precision) {
  const KernelCounters k = gpu::host::checked::counters(kernel);
  const double all = static_cast<double>(k.grid_blocks) / static_cast<double>(k.blocks);
  Work w;
  w.blocks = static_cast<double>(k.grid_blocks);
  w.launches = static_cast<int>(k.launches);
  w.flops = all * static_cast<double>(k.flops);
  w.wavefronts = all * static_cast<double>(k.shared_read.wavefronts + k.shared_write.wavefronts);
  w.issues = all * static_cast<double>(k.global_read.requests + k.global_write.requests + k.shared_read.requests +
                                       k.shared_write.requests);
  const double loaded = 32.0 * all * static_cast<double>(k.global_read.sectors);
  const double stored = 32.0 * all * static_cast<double>(k.global_write.sectors);
  w.cache_bytes = loaded + stored;
  bool product = false;
  for (const LaunchRecord& launch : gpu::host::checked::counted_launches()) {
    if (launch.kernel != kernel) continue;
    w.kernel = resource_name(launch);
    w.threads = launch.threads;
    w.shared_bytes = static_cast<double>(launch.shared_bytes);
    if (const auto tile = tile_of(launch)) {
      product = true;
      w.tile = tile->to_string();
      w.launch_bounds = tile->blocks;
    }
  }
  if (product) {
    // A fragment for tf32 is rounded as it is read, a register a lane. bfloat16 is as it lies in memory.
    if (precision == Precision::tf32) w.conversions = all * static_cast<double>(k.shared_read.bytes) / 128.0;
    const double flops_of_issue = precision == Precision::fp32 ? 64.0 : precision == Precision::tf32 ? 2048.0 : 4096.0;
    w.issues += w.flops / flops_of_issue + w.conversions;
  }
  // Tiles that read the same meet in the L2: memory is asked for a tensor once.
  w.memory_bytes = stored + (product || c.macs == 0 ? std::min(loaded, c.read_bytes) : loaded);
  return w;
}

Layer count(const std::string& layer, const std::string& pass, const KernelCase& c, Precision precision) {
  const BlockSample sample(3);
  const Counting counting;
  run_case(c, precision);
  Layer result{layer, pass, precision, static_cast<double>(c.macs), c.read_bytes + c.written_bytes, {}};
  for (const std::string& kernel : gpu::host::checked::counted_kernels()) {
    result.work.push_back(work_of(kernel, c, precision));
  }
  return result;
}

double peak(const Chip& chip, Precision precision) {
  return precision == Precision::fp32   ? chip.fp32_flops
         : precision == Precision::tf32 ? chip.tf32_flops
                                        : chip.bf16_flops;
}

/// Blocks of the kernel that reside on a multiprocessor, from the table of benchmarks/kernel_resources.sh --csv; else
/// what its launch bounds promise or its threads allow, as far as its shared memory fits.
int resident_blocks(const Work& w, const Chip& chip, const std::vector<std::string>& resources) {
  int blocks = 0;
  for (const std::string& line : resources) {
    if (!line.starts_with(fmt::format("{},", chip.arch))) continue;
    const size_t name = line.find('"'), end = line.rfind('"');
    if (name == std::string::npos || line.compare(name + 1, w.kernel.size(), w.kernel) != 0) continue;
    // registers, static, dynamic, stack, spill stores, spill loads, threads, then the blocks
    size_t at = end + 1;
    for (int column = 0; column < 7; ++column) at = line.find(',', at + 1);
    const int found = std::atoi(line.c_str() + at + 1);
    if (found > 0) blocks = blocks == 0 ? found : std::min(blocks, found);
  }
  if (blocks > 0) return blocks;
  const int fit = static_cast<int>(chip.shared_bytes / (w.shared_bytes + 1024));
  return std::max(1, std::min(fit, w.launch_bounds > 0 ? w.launch_bounds : static_cast<int>(2048 / w.threads)));
}

struct Time {
  double seconds = 0;
  std::string bound;
};

/// Of all launches of a kernel, which follow each other.
Time predict(const Work& w, Precision precision, const Chip& chip, int resident) {
  const double share = precision == Precision::fp32 ? 1.0 : chip.mma_share;
  const double flops_per_clock = peak(chip, precision) * share / (chip.multiprocessors * chip.clock);
  const std::pair<double, const char*> of_block[] = {{w.flops / flops_per_clock, "products"},
                                                     {w.wavefronts / chip.wavefronts_per_clock, "shared memory"},
                                                     {w.issues / chip.issues_per_clock, "issue"},
                                                     {w.conversions / chip.conversions_per_clock, "conversions"}};
  const auto slowest = std::max_element(std::begin(of_block), std::end(of_block));
  const double blocks = w.blocks / w.launches, clocks = slowest->first / w.blocks;
  const double in_turn = std::ceil(blocks / chip.multiprocessors);
  const double waves = std::ceil(blocks / (chip.multiprocessors * resident));
  const double on_chip = w.launches * (in_turn * clocks + waves * 2.0 * chip.memory_latency) / chip.clock;
  const double cache = w.cache_bytes / (chip.cache_bytes_per_clock * chip.clock);
  const double memory = w.memory_bytes / chip.memory_bytes;
  const double seconds = std::max({on_chip, cache, memory});
  if (seconds == memory) return {seconds, "memory"};
  if (seconds == cache) return {seconds, "L2"};
  return {seconds, in_turn * clocks > waves * 2.0 * chip.memory_latency ? slowest->second : "latency"};
}

struct Options {
  int64_t batch = 128;
  std::string filter, resources, csv;
};

std::string_view name_of(Precision precision) {
  return precision == Precision::fp32 ? "fp32" : precision == Precision::tf32 ? "tf32" : "bf16";
}

void print_chip(const Chip& chip, const std::vector<Layer>& layers, const std::vector<std::string>& resources,
                std::FILE* csv) {
  fmt::print(
      "\nPREDICTION for {}: {} multiprocessors at {:.2f} GHz; peaks {:.1f} (fp32), {:.1f} (tf32), {:.1f} (bf16) "
      "TFLOP/s, memory {:.0f} GB/s\n",
      chip.name, chip.multiprocessors, chip.clock / 1e9, chip.fp32_flops / 1e12, chip.tf32_flops / 1e12,
      chip.bf16_flops / 1e12, chip.memory_bytes / 1e9);
  if (chip.mma_share < 1.0) {
    fmt::print(
        "mma.sync reaches {:.1f}% of the tensor cores' peak here, which takes wgmma: {:.1f} (tf32), {:.1f} (bf16)\n",
        100 * chip.mma_share, chip.tf32_flops * chip.mma_share / 1e12, chip.bf16_flops * chip.mma_share / 1e12);
  }
  fmt::print("{:<6} {:<16} {:<5} {:<11} {:>7} {:>9} {:>12}  {:<14} {:>12} {:>9}{}\n", "layer", "pass", "", "tile",
             "blocks", "resident", "predicted us", "bound by", "limit us", "of limit",
             chip.mma_share < 1 ? "  of mma.sync's" : "");
  for (const Layer& layer : layers) {
    double seconds = 0.0;
    Time longest;
    const Work* main = nullptr;
    for (const Work& w : layer.work) {
      const Time time = predict(w, layer.precision, chip, resident_blocks(w, chip, resources));
      seconds += time.seconds;
      if (!main || time.seconds > longest.seconds) {
        main = &w;
        longest = time;
      }
    }
    const double memory = layer.tensor_bytes / chip.memory_bytes;
    const double products = 2.0 * layer.macs / peak(chip, layer.precision);
    const double share = layer.precision == Precision::fp32 ? 1.0 : chip.mma_share;
    const double limit = std::max(memory, products), own_limit = std::max(memory, products / share);
    const std::string precision(layer.macs > 0 ? name_of(layer.precision) : "");
    fmt::print("{:<6} {:<16} {:<5} {:<11} {:>7.0f} {:>9} {:>12.1f}  {:<14} {:>12.1f} {:>8.1f}%{}\n", layer.name,
               layer.pass, precision, main->tile.empty() ? "-" : main->tile, main->blocks,
               resident_blocks(*main, chip, resources), seconds * 1e6, longest.bound, limit * 1e6,
               100 * limit / seconds, chip.mma_share < 1 ? fmt::format("  {:>13.1f}%", 100 * own_limit / seconds) : "");
    if (csv) {
      fmt::print(csv, "{},{},{},{},{},{:.0f},{:.3f},{},{:.3f},{:.4f},{:.4f}\n", chip.name, layer.name, layer.pass,
                 precision, main->tile, main->blocks, seconds * 1e6, longest.bound, limit * 1e6, limit / seconds,
                 own_limit / seconds);
    }
  }
}

int main_of(const Options& options) {
  std::vector<std::string> resources;
  if (!options.resources.empty()) {
    std::ifstream in(options.resources);
    require<IoError>(in.good(), "{}: cannot be read", options.resources);
    for (std::string line; std::getline(in, line);) resources.push_back(line);
  }
  const AlexNetLayers alexnet = alexnet_layers(options.batch);
  std::vector<Layer> layers;
  const auto add = [&](const std::string& layer, const std::string& pass, const KernelCase& c, Precision precision) {
    const std::string name = fmt::format("{} {} {}", layer, pass, name_of(precision));
    if (name.find(options.filter) != std::string::npos) layers.push_back(count(layer, pass, c, precision));
  };
  const std::pair<Pass, const char*> passes[] = {
      {Pass::forward, "forward"}, {Pass::backward_data, "backward data"}, {Pass::backward_weight, "backward weight"}};
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    const bool half = precision == Precision::bf16;  // in memory, too
    for (const auto& [pass, text] : passes) {
      for (const auto& [name, shape] : alexnet.convolutions) {
        // Nobody asks for the gradient of the images.
        if (name == "conv1" && pass == Pass::backward_data) continue;
        add(name, text, (half ? convolution<bfloat16> : convolution<float>)(name, shape, pass), precision);
      }
      for (const auto& [name, shape] : alexnet.linears) {
        add(name, text, (half ? linear<bfloat16> : linear<float>)(name, shape, pass), precision);
      }
    }
  }
  for (const auto& [name, shape] : alexnet.pools) {
    add(name, "forward", max_pool(name, shape, Pass::forward), Precision::fp32);
    add(name, "backward", max_pool(name, shape, Pass::backward_data), Precision::fp32);
  }
  require<Error>(!layers.empty(), "no layer has '{}' in its name", options.filter);
  std::FILE* csv = options.csv.empty() ? nullptr : std::fopen(options.csv.c_str(), "w");
  require<IoError>(options.csv.empty() || csv, "{}: cannot be written", options.csv);
  if (csv)
    fmt::print(csv, "{}chip,layer,pass,precision,tile,blocks,predicted_us,bound_by,limit_us,of_limit,of_mma_sync\n",
               comment_of(build_facts()));
  fmt::print("{}AlexNet (torchvision's) at batch {}: PREDICTED from counts and published limits, not measured\n",
             comment_of(build_facts()), options.batch);
  for (const Chip& chip : {kA100, kH100}) print_chip(chip, layers, resources, csv);
  if (csv) std::fclose(csv);
  return 0;
}

int usage(std::FILE* to) {
  std::fputs(
      "usage: predicted_times [--batch N] [--filter TEXT] [--resources FILE] [--csv FILE]\n"
      "  --batch N         images (128)\n"
      "  --filter TEXT     only layers whose name, as in 'conv3 forward tf32', has TEXT in it\n"
      "  --resources FILE  what benchmarks/kernel_resources.sh --csv wrote: how many blocks reside\n"
      "  --csv FILE        the table as a file\n",
      to);
  return to == stdout ? 0 : 2;
}

}  // namespace
}  // namespace striate::bench

int main(int argc, char** argv) {
  using namespace striate::bench;
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--help" || argument == "-h") return usage(stdout);
    std::string* const text = argument == "--filter"      ? &options.filter
                              : argument == "--resources" ? &options.resources
                              : argument == "--csv"       ? &options.csv
                                                          : nullptr;
    if (text && i + 1 < argc) {
      *text = argv[++i];
    } else if (argument == "--batch" && i + 1 < argc && std::atoll(argv[i + 1]) > 0) {
      options.batch = std::atoll(argv[++i]);
    } else {
      fmt::print(stderr, "predicted_times: unknown or incomplete option '{}'\n", argument);
      return usage(stderr);
    }
  }
  try {
    return main_of(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "predicted_times: {}\n", error.what());
    return 2;
  }
}
