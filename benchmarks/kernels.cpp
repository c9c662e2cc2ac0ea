// Every op's kernels, on a device, over the shapes of the networks: ours, and on a GPU cuDNN's and cuBLAS's beside
// them. GFLOP/s and the share of the multiply–add peak, GB/s and the share of the copy bandwidth, both measured in the
// same run. Every kernel is checked against the reference before it is timed.
//   conv2d/alexnet_conv2/forward/fp32/cuda/own      op, shape, pass, precision, device, whose
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <vector>

#include "benchmarks/cuda_limits.h"
#include "benchmarks/kernels_limits.h"
#include "benchmarks/kernels_measure.h"
#include "benchmarks/simd_target.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "kernels/linear/linear.h"
#include "tools/command_line.h"
#include "tools/machine.h"

namespace striate::bench {
namespace {

KernelList kernels_of(Device device, bool tiny) {
  KernelList list{device, tiny, {}};
  add_convolutions(list);
  add_linears(list);
  add_pooling(list);
  add_normalization(list);
  add_losses(list);
  add_elementwise(list);
  add_optimizers(list);
  add_images(list);
  return list;
}

std::string gflops(double flops) {
  return flops > 0.0 ? fmt::format("{:.0f} GFLOP/s", flops / 1e9) : "none: there are no instructions for it";
}

/// Measures the device and says so, in the file of results too.
Peaks measure_peaks(Device device) {
  if (device == Device::cuda) {
    const CudaLimits limits = measure_cuda_limits(context(device));
    benchmark::AddCustomContext("multiply-add peak", gflops(limits.flops));
    benchmark::AddCustomContext("tf32 peak", gflops(limits.tf32_flops));
    benchmark::AddCustomContext("bfloat16 peak", gflops(limits.bf16_flops));
    benchmark::AddCustomContext("copy bandwidth", fmt::format("{:.0f} GB/s, read and written", limits.copy / 1e9));
    for (const auto& [name, missing] : {std::pair{"cuDNN", cudnn::missing()}, std::pair{"cuBLAS", cublas::missing()}}) {
      benchmark::AddCustomContext(name, missing.empty() ? "in this build" : missing);
    }
    return {limits.flops, limits.tf32_flops, limits.bf16_flops, limits.copy};
  }
  const Limits limits = measure_limits(context(device));
  benchmark::AddCustomContext("kernels", limits.simd);
  benchmark::AddCustomContext("threads", std::to_string(num_threads()));
  benchmark::AddCustomContext("multiply-add peak", gflops(limits.flops));
  benchmark::AddCustomContext("bfloat16 peak", gflops(limits.bf16_flops));
  benchmark::AddCustomContext("copy bandwidth",
                              fmt::format("{:.1f} GB/s, read and written; with ordinary stores {:.1f}, reading alone "
                                          "{:.1f}",
                                          limits.copy / 1e9, limits.ordinary_copy / 1e9, limits.read / 1e9));
  return {limits.flops, 0.0, limits.bf16_flops, limits.copy};
}

int kernels(int argc, char** argv) {
  // Google Benchmark's own flags are not ours to know.
  std::vector<char*> theirs{argv[0]}, ours{argv[0]};
  for (int i = 1; i < argc; ++i) {
    (std::string(argv[i]).starts_with("--benchmark_") ? theirs : ours).push_back(argv[i]);
  }
  const std::string targets = fmt::format("{}", fmt::join(simd_targets(), ", "));
  CommandLine command_line(
      "Measures every op's kernels on a device over the shapes of the networks, each checked against the reference "
      "first: GFLOP/s, GB/s and their shares of what the device reaches, measured in the same run. Names are "
      "op/shape/pass/precision/device/whose, as in conv2d/alexnet_conv2/forward/fp32/cuda/own. Flags that begin with "
      "--benchmark_ are Google Benchmark's: --benchmark_filter=REGEX, --benchmark_list_tests, "
      "--benchmark_repetitions=N, "
      "--benchmark_min_time=S, --benchmark_out=FILE (JSON), --benchmark_counters_tabular=true.",
      {"--benchmark_filter=conv2d/alexnet_conv3/", "--target avx2 --benchmark_filter=linear/.*/fp32 --threads 1",
       "--device cuda --benchmark_filter=alexnet --benchmark_out=kernels.json", "--device cuda --check"});
  std::string device_name = "auto", target = "best";
  int64_t threads = 0;
  bool check = false;
  command_line.option("--device", device_name, "D", "auto (default), cpu or cuda")
      .option("--threads", threads, "N", "Threads of the cpu kernels (default: one a core)")
      .option("--target", target, "T",
              fmt::format("Instruction set of the cpu kernels and of the peak they are measured by: {} or best "
                          "(default); this CPU has {}",
                          targets, fmt::join(supported_simd_targets(), ", ")))
      .flag("--check", check, "Check every kernel on a tiny shape and time nothing");
  if (!command_line.parse(static_cast<int>(ours.size()), ours.data())) return kDone;
  int count = static_cast<int>(theirs.size());
  benchmark::Initialize(&count, theirs.data());
  if (benchmark::ReportUnrecognizedArguments(count, theirs.data())) return kBadUsage;
  require<ConfigError>(threads >= 0 && threads <= 4096, "--threads {}: expected 0 to 4096", threads);
  const Device device = parse_device(device_name);
  require<ConfigError>(device != Device::reference, "--device reference: it is what the others are checked against");
  require<ConfigError>(!command_line.given("--target") || device == Device::cpu,
                       "--target {}: the instruction set is the cpu kernels'; there is none for device cuda", target);
  require<ConfigError>(device == Device::cpu || check || gpu::built_for_gpu(),
                       "--device cuda: this build executes its kernels on the host, where their times mean nothing. "
                       "--check checks their results; build the preset cuda to time them on a GPU.");
  use_simd_target(target);
  set_num_threads(static_cast<int>(threads));

  const std::string filter = benchmark::GetBenchmarkFilter();
  const KernelList list = kernels_of(device, check);
  if (check) return check_kernels(list, filter == "all" ? "" : filter) == 0 ? kDone : kFailed;
  for (const auto& [name, value] : provenance(device)) {
    if (name != "date") benchmark::AddCustomContext(name, value);  // which the library says
  }
  const bool lists =
      std::ranges::any_of(theirs, [](const std::string& flag) { return flag.starts_with("--benchmark_list_tests"); });
  register_kernels(list, lists ? Peaks{} : measure_peaks(device));
  const size_t ran = benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  require<ConfigError>(ran > 0, "--benchmark_filter={}: no kernel's name holds it", filter);
  return any_differed() ? kFailed : kDone;
}

}  // namespace
}  // namespace striate::bench

int main(int argc, char** argv) {
  return striate::run_tool("kernels", [&] { return striate::bench::kernels(argc, argv); });
}
