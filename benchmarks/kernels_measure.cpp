#include "benchmarks/kernels_measure.h"

#include <benchmark/benchmark.h>

#include <chrono>
#include <optional>
#include <regex>

#include "benchmarks/kernels_limits.h"
#include "kernels/error.h"
#include "kernels/gpu/stream.h"

namespace striate::bench {
namespace {

// Each timed call of a kernel that memory bounds has operands that no cache holds any more: the calls take turns over
// as many sets of them as fill so many bytes. In a training step the operands of a small layer may still lie in the
// caches.
constexpr double kFootprint = 384e6;
// Between two events of a stream: long beside an event's resolution and a launch.
constexpr double kBatchMilliseconds = 2.0;

bool differed = false;

Side side_of(Device device) { return device == Device::cuda ? Side::cuda : Side::cpu; }

bool agrees(const KernelRow& row, Side side) {
  const auto ours = row.make_checked(side), expected = row.make_expected(Side::reference);
  ours->prepare_check();
  expected->prepare_check();
  ours->run();
  expected->run();
  return agree(ours->results(), expected->results(), row.tolerance);
}

/// Operands of the row that is being measured: Google Benchmark calls it again for every repetition.
struct Prepared {
  std::vector<std::unique_ptr<Work>> sets;
  size_t turn = 0;

  Prepared(const KernelRow& row, Side side) {
    const double wanted = row.flops > 0.0 ? 1.0 : std::clamp(kFootprint / row.bytes + 1.0, 2.0, 512.0);
    for (size_t i = 0; i < static_cast<size_t>(wanted); ++i) sets.push_back(row.make(side));
    for (const auto& set : sets) set->run();
  }
  void run() {
    sets[turn]->run();
    turn = turn + 1 == sets.size() ? 0 : turn + 1;
  }
};

/// A row on one side, from its registration on.
struct Timed {
  KernelRow row;
  Side side = Side::cpu;
  Peaks peaks;
  std::optional<bool> checked;
  double seconds = 0.0;  ///< the median of the last repetition
  std::shared_ptr<Timed> theirs;
};

Prepared& prepared(const Timed& timed) {
  static const Timed* owner = nullptr;
  static std::unique_ptr<Prepared> current;
  if (owner != &timed) {
    current.reset();  // before the next takes memory
    current = std::make_unique<Prepared>(timed.row, timed.side);
    owner = &timed;
  }
  return *current;
}

double median(std::vector<double>& seconds) {
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2), seconds.end());
  return seconds[seconds.size() / 2];
}

/// The median of calls by the wall clock.
double time_on_host(benchmark::State& state, Prepared& work) {
  std::vector<double> seconds;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    work.run();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    state.SetIterationTime(seconds.back());
  }
  return median(seconds);
}

/// The median of batches of calls by the GPU's clock.
double time_on_gpu(benchmark::State& state, Prepared& work) {
  gpu::Stream& stream = *context(Device::cuda).stream;
  gpu::Event start, end;
  const auto milliseconds = [&](int64_t calls) {
    start.record(stream);
    for (int64_t i = 0; i < calls; ++i) work.run();
    end.record(stream);
    end.synchronize();
    return double{end.milliseconds_since(start)};
  };
  milliseconds(2);
  const double once = std::max(milliseconds(3) / 3.0, 1e-3);
  const int64_t calls = std::max<int64_t>(1, static_cast<int64_t>(kBatchMilliseconds / once));
  std::vector<double> seconds;
  while (state.KeepRunningBatch(calls)) {
    const double batch = milliseconds(calls) * 1e-3;
    seconds.push_back(batch / static_cast<double>(calls));
    state.SetIterationTime(batch);
  }
  return median(seconds);
}

void measure(benchmark::State& state, Timed& timed) {
  const KernelRow& row = timed.row;
  double copy = 0.0;
  try {
    if (!timed.checked) timed.checked = agrees(row, timed.side);
    if (!*timed.checked) {
      differed = true;
      return state.SkipWithError("differs from the reference");
    }
    Prepared& work = prepared(timed);
    const bool host = timed.side == Side::cpu;
    // A machine's neighbours take and give back bandwidth from second to second.
    const bool copies = host && row.flops == 0.0;
    const double before = copies ? copy_rate_now(context(Device::cpu)) : 0.0;
    timed.seconds = host ? time_on_host(state, work) : time_on_gpu(state, work);
    copy = copies ? (before + copy_rate_now(context(Device::cpu))) / 2.0 : timed.peaks.copy;
  } catch (const ConfigError& error) {  // the library has it not in this precision or shape
    return state.SkipWithError(error.what());
  }
  if (row.flops > 0.0) {
    const double rate = row.flops / timed.seconds;
    state.counters["GFLOP/s"] = rate / 1e9;
    state.counters["%peak"] = 100.0 * rate / timed.peaks.flops(row.precision);
  }
  const double rate = row.bytes / timed.seconds;
  state.counters["GB/s"] = rate / 1e9;
  state.counters["%copy"] = 100.0 * rate / copy;
  if (timed.theirs && timed.theirs->seconds > 0.0) {
    state.counters[row.library + "/own"] = timed.theirs->seconds / timed.seconds;
  }
  state.SetLabel(fmt::format("{}: {:.1f} MB", row.moved, row.bytes / 1e6));
}

std::shared_ptr<Timed> register_one(const KernelRow& row, Side side, const Peaks& peaks,
                                    std::shared_ptr<Timed> theirs) {
  auto timed = std::make_shared<Timed>();
  timed->row = row;
  timed->side = side;
  timed->peaks = peaks;
  timed->theirs = std::move(theirs);
  benchmark::RegisterBenchmark(row.name(side).c_str(), [timed](benchmark::State& state) { measure(state, *timed); })
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond)
      ->ComputeStatistics("max", [](const std::vector<double>& v) { return *std::max_element(v.begin(), v.end()); });
  return timed;
}

}  // namespace

std::string KernelRow::name(Side side) const {
  return fmt::format("{}/{}/{}/{}/{}/{}", op, shape, pass, to_string(precision), on_gpu(side) ? "cuda" : "cpu",
                     side == Side::library ? library : "own");
}

bool any_differed() { return differed; }

int check_kernels(const KernelList& list, const std::string& pattern) {
  const bool inverted = pattern.starts_with('-');
  std::regex wanted;
  try {
    wanted = inverted ? pattern.substr(1) : pattern;
  } catch (const std::regex_error& error) {
    throw ConfigError(fmt::format("--benchmark_filter={}: {}", pattern, error.what()));
  }
  int checked = 0, failed = 0;
  for (const KernelRow& row : list.rows) {
    for (const Side side : {side_of(list.device), Side::library}) {
      if (side == Side::library && row.library.empty()) continue;
      const std::string name = row.name(side);
      if (std::regex_search(name, wanted) == inverted) continue;
      ++checked;
      std::string says = "ok";
      try {
        if (!agrees(row, side)) says = "DIFFERS from the reference", ++failed;
      } catch (const ConfigError& error) {
        says = error.what(), --checked;  // the library has it not in this precision or shape
      }
      fmt::print("{:<72} {}\n", name, says);
    }
  }
  fmt::print("{} kernels agree with the reference, {} differ\n", checked - failed, failed);
  require<ConfigError>(checked > 0, "--benchmark_filter={}: no kernel's name holds it", pattern);
  return failed;
}

void register_kernels(const KernelList& list, const Peaks& peaks) {
  for (const KernelRow& row : list.rows) {
    std::shared_ptr<Timed> theirs;
    if (!row.library.empty()) theirs = register_one(row, Side::library, peaks, nullptr);
    register_one(row, side_of(list.device), peaks, theirs);
  }
}

}  // namespace striate::bench
