// Runs the CUDA kernels in the checking build and prints what they asked of memory against the least that would do.
//   build-race/benchmarks/kernel_counters [--quick] [--filter TEXT] [--csv FILE] [--launches FILE]
// Ends with 1 where a kernel passes its limits (docs/kernels.md explains the columns), with 2 for a wrong command line.
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "benchmarks/kernel_cases.h"
#include "benchmarks/launch_tile.h"
#include "kernels/error.h"
#include "kernels/gemm/tile_choice.h"
#include "kernels/gpu/host/checked/counters.h"
#include "tools/build_facts.h"

namespace striate::bench {
namespace {

using gpu::host::checked::BlockSample;
using gpu::host::checked::Counting;
using gpu::host::checked::GlobalCounters;
using gpu::host::checked::KernelCounters;

/// The most that a kernel may have of what is ideal.
struct Limits {
  double sectors, wavefronts;
};
constexpr Limits kMemoryBound{1.05, 1.1}, kProduct{1.15, 1.1};

struct Row {
  std::string name, kernel;
  KernelCounters counters;
  Limits limits;
  bool product;
  std::string faults;
};

double ratio(uint64_t a, uint64_t b) { return b == 0 ? 1.0 : static_cast<double>(a) / static_cast<double>(b); }

void judge(Row& row, const KernelCase& c) {
  const KernelCounters& k = row.counters;
  const auto fault = [&row](const char* what) { row.faults += (row.faults.empty() ? "" : ", ") + std::string(what); };
  if (c.whole_sectors) {
    if (ratio(k.global_read.sectors, k.global_read.ideal_sectors) > row.limits.sectors) fault("load sectors");
    if (ratio(k.global_write.sectors, k.global_write.ideal_sectors) > row.limits.sectors) fault("store sectors");
  }
  const uint64_t wavefronts = k.shared_read.wavefronts + k.shared_write.wavefronts;
  if (ratio(wavefronts, k.shared_read.ideal_wavefronts + k.shared_write.ideal_wavefronts) > row.limits.wavefronts) {
    fault("wavefronts");
  }
  if (!row.product) {
    if (ratio(k.global_read.bytes, k.global_read.launch_bytes) > c.reads) fault("bytes read again");
    if (ratio(k.global_write.bytes, k.global_write.launch_bytes) > 1.05) fault("bytes written again");
  }
}

/// What a case's kernels did; nothing where a product's tile is `last`.
std::vector<Row> count(const KernelCase& c, Precision precision, const char* precision_name,
                       std::optional<LaunchTile>* last, std::set<std::string>& launches) {
  const Counting counting;
  run_case(c, precision);
  std::optional<LaunchTile> tile;
  for (const auto& launch : gpu::host::checked::counted_launches()) {
    launches.insert(fmt::format("{}\t{}\t{}", resource_name(launch), launch.threads, launch.shared_bytes));
    if (!tile) tile = tile_of(launch);
  }
  if (last) {
    if (tile == *last) return {};
    *last = tile;
  }
  std::vector<Row> rows;
  for (const std::string& kernel : gpu::host::checked::counted_kernels()) {
    const bool product = c.macs > 0 && kernel.starts_with("product_kernel");
    Row row{product ? fmt::format("{} {} {}", c.name, precision_name, tile->to_string()) : c.name,
            kernel.substr(0, kernel.find_first_of("<[")),
            gpu::host::checked::counters(kernel),
            product ? kProduct : kMemoryBound,
            product,
            ""};
    judge(row, c);
    rows.push_back(std::move(row));
  }
  return rows;
}

constexpr const char* kHeader =
    "case                                  kernel                          launches   load sectors  of ideal  "
    "asked/used  "
    "store sectors  of ideal  asked/used   wavefronts  of ideal  barriers        flops";

std::string text(const Row& row) {
  const KernelCounters& k = row.counters;
  const auto global = [](const GlobalCounters& g) {
    return g.requests == 0 ? fmt::format("{:>15}  {:>8}  {:>10}", "-", "-", "-")
                           : fmt::format("{:>15}  {:>8.3f}  {:>10.2f}", g.sectors, ratio(g.sectors, g.ideal_sectors),
                                         ratio(g.bytes, g.launch_bytes));
  };
  const uint64_t wavefronts = k.shared_read.wavefronts + k.shared_write.wavefronts;
  const uint64_t ideal = k.shared_read.ideal_wavefronts + k.shared_write.ideal_wavefronts;
  return fmt::format("{:<37} {:<31} {:>8}{}{}  {}  {:>8}  {:>11}{}", row.name, row.kernel, k.launches,
                     global(k.global_read), global(k.global_write),
                     ideal == 0 ? fmt::format("{:>11}  {:>8}", "-", "-")
                                : fmt::format("{:>11}  {:>8.3f}", wavefronts, ratio(wavefronts, ideal)),
                     k.barriers, k.flops, row.faults.empty() ? "" : "   OVER THE LIMIT: " + row.faults);
}

void write_csv(const std::string& path, const std::vector<Row>& rows) {
  std::ofstream out(path);
  out << comment_of(build_facts())
      << "case,kernel,launches,grid_blocks,counted_blocks,load_requests,load_sectors,load_ideal_sectors,"
         "load_bytes,load_block_bytes,load_launch_bytes,store_requests,store_sectors,store_ideal_sectors,store_bytes,"
         "store_launch_bytes,shared_wavefronts,shared_ideal_wavefronts,barriers,flops,over_the_limit\n";
  for (const Row& row : rows) {
    const KernelCounters& k = row.counters;
    const GlobalCounters &r = k.global_read, &w = k.global_write;
    out << fmt::format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},\"{}\"\n", row.name, row.kernel,
                       k.launches, k.grid_blocks, k.blocks, r.requests, r.sectors, r.ideal_sectors, r.bytes,
                       r.block_bytes, r.launch_bytes, w.requests, w.sectors, w.ideal_sectors, w.bytes, w.launch_bytes,
                       k.shared_read.wavefronts + k.shared_write.wavefronts,
                       k.shared_read.ideal_wavefronts + k.shared_write.ideal_wavefronts, k.barriers, k.flops,
                       row.faults);
  }
  out.close();
  require<IoError>(out.good(), "{}: could not be written", path);
}

struct Options {
  bool quick = false;
  std::string filter, csv, launches;
};

int usage(std::FILE* to) {
  std::fputs(
      "usage: kernel_counters [--quick] [--filter TEXT] [--csv FILE] [--launches FILE]\n"
      "  --quick        a few blocks of each launch of the products\n"
      "  --filter TEXT  only cases whose name has TEXT in it\n"
      "  --csv FILE     the table as a file, with everything that was counted\n"
      "  --launches FILE  block sizes and dynamic shared memory, for benchmarks/kernel_resources.sh\n",
      to);
  return to == stdout ? 0 : 2;
}

// AlexNet's layers with a batch of 2 or 16: few blocks of each launch are enough to see how every tile reads and
// writes.
template <typename Run>
void run_products(const Options& options, Run&& run) {
  const BlockSample sample(options.quick ? 2 : 6);
  const AlexNetLayers few = alexnet_layers(2), many = alexnet_layers(16);
  std::vector<std::pair<KernelCase, KernelCase>> cases;  // of float32, of bfloat16
  for (const Pass pass : {Pass::forward, Pass::backward_data, Pass::backward_weight}) {
    for (const auto& [name, shape] : few.convolutions) {
      if (options.quick && (name == "conv4" || name == "conv5")) continue;
      cases.emplace_back(convolution<float>(name, shape, pass), convolution<bfloat16>(name, shape, pass));
    }
    for (const auto& [name, shape] : many.linears) {
      if (options.quick && name != "fc8") continue;
      cases.emplace_back(linear<float>(name, shape, pass), linear<bfloat16>(name, shape, pass));
    }
  }
  const auto in_every_tile = [&](const KernelCase& c, const char* name, Precision precision) {
    // Two to five tiles, or one where runs of channels are odd.
    std::optional<LaunchTile> last;
    for (size_t tile = 0; tile < 5; ++tile) {
      const tile::ForcedChoice forced(tile, 2);
      if (!run(c, precision, name, &last)) break;
    }
  };
  for (const auto& [of_floats, of_bfloat16] : cases) {
    in_every_tile(of_floats, "fp32", Precision::fp32);
    in_every_tile(of_floats, "tf32", Precision::tf32);
    in_every_tile(of_bfloat16, "bf16", Precision::bf16);
  }
}

int main_of(const Options& options) {
  std::vector<Row> all;
  std::set<std::string> launches;
  fmt::print("{}", comment_of(build_facts()));
  std::puts(kHeader);
  const auto run = [&](const KernelCase& c, Precision precision, const char* precision_name,
                       std::optional<LaunchTile>* last) {
    if (c.name.find(options.filter) == std::string::npos) return false;
    std::vector<Row> rows = count(c, precision, precision_name, last, launches);
    for (Row& row : rows) {
      std::puts(text(row).c_str());
      std::fflush(stdout);
      all.push_back(std::move(row));
    }
    return !rows.empty();
  };
  for (const KernelCase& c : memory_bound_cases()) run(c, Precision::fp32, "", nullptr);
  run_products(options, run);
  require<Error>(!all.empty(), "no case has '{}' in its name", options.filter);
  const auto over = std::count_if(all.begin(), all.end(), [](const Row& row) { return !row.faults.empty(); });
  fmt::print("{} rows; {} over the limit (memory-bound: {}x sectors, products: {}x sectors, all: {}x wavefronts)\n",
             all.size(), over, kMemoryBound.sectors, kProduct.sectors, kProduct.wavefronts);
  if (!options.csv.empty()) write_csv(options.csv, all);
  if (!options.launches.empty()) {
    std::ofstream out(options.launches);
    for (const std::string& line : launches) out << line << '\n';
    out.close();
    require<IoError>(out.good(), "{}: could not be written", options.launches);
  }
  return over == 0 ? 0 : 1;
}

}  // namespace
}  // namespace striate::bench

int main(int argc, char** argv) {
  using namespace striate::bench;
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--help" || argument == "-h") return usage(stdout);
    if (argument == "--quick") {
      options.quick = true;
    } else if (argument == "--filter" && i + 1 < argc) {
      options.filter = argv[++i];
    } else if (argument == "--csv" && i + 1 < argc) {
      options.csv = argv[++i];
    } else if (argument == "--launches" && i + 1 < argc) {
      options.launches = argv[++i];
    } else {
      fmt::print(stderr, "kernel_counters: unknown or incomplete option '{}'\n", argument);
      return usage(stderr);
    }
  }
  try {
    return main_of(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "kernel_counters: {}\n", error.what());
    return 2;
  }
}
