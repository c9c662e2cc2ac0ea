#pragma once

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "benchmarks/kernels_machine.h"

// The kernels that memory bounds. GB/s counts each byte that must move once, as the label says: what is read from
// memory and what is written to it. Where a pass needs a result over all of its input before it can write (batch_norm),
// the input moves twice. %copy is the share of the copy bandwidth measured when the benchmark starts.
//
// Each timed call has operands that no cache holds any more: the calls take turns over as many sets of them as fill
// kFootprint bytes. In a training step the operands of a small layer may still lie in the caches.
namespace striate::bench {

void add_pooling();
void add_normalization();
void add_elementwise();
void add_updates();

constexpr double kFootprint = 384e6;

inline double floats(int64_t count) { return 4.0 * static_cast<double>(count); }

/// Elementwise kernels: a shape is a number of values.
struct Values {
  int64_t size;
};

/// Checks a kernel and times it. A Kernel has a Shape, kName, kMoved (what its bytes(shape) count), part(shape), small
/// enough for the reference, a constructor from a shape, run() on its operands, and agrees(), whether what run() wrote
/// is what the reference writes.
template <class Kernel>
void measure_row(benchmark::State& state, const typename Kernel::Shape& shape) {
  {
    Kernel part(Kernel::part(shape));
    part.run();
    if (!part.agrees()) return state.SkipWithError("differs from the reference");
  }
  const double bytes = Kernel::bytes(shape);
  std::vector<std::unique_ptr<Kernel>> sets;
  const auto count = static_cast<size_t>(std::clamp(kFootprint / bytes + 1.0, 2.0, 512.0));
  for (size_t i = 0; i < count; ++i) sets.push_back(std::make_unique<Kernel>(shape));
  for (const auto& set : sets) set->run();
  size_t turn = 0;
  std::vector<double> seconds;
  const double copy_before = copy_rate_now(machine().context);
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    sets[turn]->run();
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    turn = turn + 1 == count ? 0 : turn + 1;
  }
  const double copy = (copy_before + copy_rate_now(machine().context)) / 2.0;
  std::sort(seconds.begin(), seconds.end());
  const double rate = bytes / seconds[seconds.size() / 2];
  state.counters["GB/s"] = rate / 1e9;
  state.counters["%copy"] = 100.0 * rate / copy;
  state.SetLabel(fmt::format("{}: {:.1f} MB", Kernel::kMoved, bytes / 1e6));
}

template <class Kernel>
void add_row(const std::string& name, const typename Kernel::Shape& shape) {
  benchmark::RegisterBenchmark(fmt::format("memory/{}/{}", Kernel::kName, name).c_str(),
                               [shape](benchmark::State& state) { measure_row<Kernel>(state, shape); })
      ->UseRealTime()
      ->Unit(benchmark::kMillisecond)
      ->ComputeStatistics("max", [](const std::vector<double>& v) { return *std::max_element(v.begin(), v.end()); });
}

template <class Forward, class Backward>
void add_rows(const std::string& name, const typename Forward::Shape& shape) {
  add_row<Forward>(name, shape);
  add_row<Backward>(name, shape);
}

}  // namespace striate::bench
