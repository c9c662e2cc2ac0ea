// GFLOP/s of the cpu kernels and their share of the multiply–add peak measured in the same run, of float32 or, for
// names that end in _bf16, of bfloat16 where the CPU has instructions for it; for those that memory bounds
// (kernels_memory.h) GB/s and their share of the copy bandwidth. Every shape's results are checked against the
// reference, on its first image or rows, before it is timed.
//   build/benchmarks/kernels --benchmark_filter=alexnet_cifar --benchmark_repetitions=5
// STRIATE_THREADS sets the number of threads; all cores otherwise.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "benchmarks/kernels_machine.h"
#include "benchmarks/kernels_memory.h"
#include "kernels/bfloat16.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/linear/linear.h"
#include "tools/machine.h"

namespace striate::bench {

Machine& machine() {
  static Machine m;
  return m;
}

Floats values(int64_t count, uint32_t seed) {
  Floats v(static_cast<size_t>(count));
  for (float& f : v) {
    seed = seed * 1664525u + 1013904223u;
    f = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return v;
}

bool close(const Floats& a, const Floats& b) {
  double error = 0.0, size = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    error = std::max(error, std::abs(double{a[i]} - double{b[i]}));
    size = std::max(size, std::abs(double{b[i]}));
  }
  return error <= 2e-5 * size;
}

namespace {

template <typename T>
Lines<T> values_of(int64_t count, uint32_t seed) {
  const Floats v = values(count, seed);
  if constexpr (std::is_same_v<T, float>) {
    return v;
  } else {
    Lines<T> rounded(v.size());
    std::transform(v.begin(), v.end(), rounded.begin(), to_bfloat16);
    return rounded;
  }
}

/// Of bfloat16, which the reference rounds from another sum: to a unit in the last place of the largest.
bool close(const Lines<bfloat16>& a, const Lines<bfloat16>& b) {
  float error = 0.0f, size = 0.0f;
  for (size_t i = 0; i < a.size(); ++i) {
    error = std::max(error, std::abs(to_float(a[i]) - to_float(b[i])));
    size = std::max(size, std::abs(to_float(b[i])));
  }
  return error <= size / 128.0f;
}

enum class Direction { forward, backward_data, backward_weight };

template <typename T>
struct ConvData {
  Conv2dShape shape;
  Lines<T> x, w, y, dx;
  Floats b, dw, db;
  explicit ConvData(const Conv2dShape& s)
      : shape(s),
        x(values_of<T>(s.x_size(), 1)),
        w(values_of<T>(s.w_size(), 2)),
        y(values_of<T>(s.y_size(), 4)),
        dx(x.size()),
        b(values(s.K, 3)),
        dw(w.size()),
        db(b.size()) {}

  void run(Direction direction) {
    Context& context = machine().context;
    if (direction == Direction::forward) {
      cpu::conv2d_forward(x.data(), w.data(), b.data(), y.data(), shape, Activation::relu, context);
    } else if (direction == Direction::backward_data) {
      cpu::conv2d_backward_data(y.data(), w.data(), dx.data(), shape, context);
    } else {
      cpu::conv2d_backward_weight(x.data(), y.data(), dw.data(), db.data(), shape, Accumulate::no, context);
    }
  }

  /// On the first image of the batch, as the size of the batch decides how it is computed.
  bool check(Direction direction) {
    Context& context = machine().context;
    Conv2dShape one = shape;
    one.N = 1;
    if (direction == Direction::backward_weight) std::fill(y.begin() + one.y_size(), y.end(), T{});
    run(direction);
    if (direction == Direction::forward) {
      Lines<T> expected(one.y_size());
      reference::conv2d_forward(x.data(), w.data(), b.data(), expected.data(), one, Activation::relu, context);
      y.resize(expected.size());
      return close(y, expected);
    }
    if (direction == Direction::backward_data) {
      Lines<T> expected(one.x_size());
      reference::conv2d_backward_data(y.data(), w.data(), expected.data(), one, context);
      dx.resize(expected.size());
      return close(dx, expected);
    }
    Floats expected(dw.size()), expected_db(db.size());
    reference::conv2d_backward_weight(x.data(), y.data(), expected.data(), expected_db.data(), one, Accumulate::no,
                                      context);
    return close(dw, expected) && close(db, expected_db);
  }
};

template <typename T>
struct LinearData {
  LinearShape shape;
  Lines<T> x, w, y, dx;
  Floats b, dw, db;
  explicit LinearData(const LinearShape& s)
      : shape(s),
        x(values_of<T>(s.N * s.C, 1)),
        w(values_of<T>(s.K * s.C, 2)),
        y(values_of<T>(s.N * s.K, 4)),
        dx(x.size()),
        b(values(s.K, 3)),
        dw(w.size()),
        db(b.size()) {}

  void run(Direction direction) {
    Context& context = machine().context;
    if (direction == Direction::forward) {
      cpu::linear_forward(x.data(), w.data(), b.data(), y.data(), shape, Activation::relu, context);
    } else if (direction == Direction::backward_data) {
      cpu::linear_backward_data(y.data(), w.data(), dx.data(), shape, context);
    } else {
      cpu::linear_backward_weight(x.data(), y.data(), dw.data(), db.data(), shape, Accumulate::no, context);
    }
  }

  bool check(Direction direction) {
    Context& context = machine().context;
    run(direction);
    if (direction == Direction::forward) {
      Lines<T> expected(y.size());
      reference::linear_forward(x.data(), w.data(), b.data(), expected.data(), shape, Activation::relu, context);
      return close(y, expected);
    }
    if (direction == Direction::backward_data) {
      Lines<T> expected(dx.size());
      reference::linear_backward_data(y.data(), w.data(), expected.data(), shape, context);
      return close(dx, expected);
    }
    Floats expected(dw.size()), expected_db(db.size());
    reference::linear_backward_weight(x.data(), y.data(), expected.data(), expected_db.data(), shape, Accumulate::no,
                                      context);
    return close(dw, expected) && close(db, expected_db);
  }
};

template <class Data, class Shape>
void measure(benchmark::State& state, const Shape& shape, Direction direction, Precision precision) {
  {
    Shape checked = shape;
    if constexpr (std::is_same_v<Shape, LinearShape>) checked.N = 1;
    if (!Data(checked).check(direction)) return state.SkipWithError("differs from the reference");
  }
  Data data(shape);
  data.run(direction);
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) data.run(direction);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double rate = 2.0 * static_cast<double>(shape.macs()) * static_cast<double>(state.iterations()) / seconds;
  state.counters["GFLOP/s"] = rate / 1e9;
  const Limits& limits = machine().limits;
  const bool multiplies_bf16 = precision == Precision::bf16 && limits.bf16_flops > 0.0;
  state.counters["%peak"] = 100.0 * rate / (multiplies_bf16 ? limits.bf16_flops : limits.flops);
}

template <template <typename> class Data, class Shape>
void add(const std::string& name, const Shape& shape, bool first_layer = false) {
  const std::pair<Direction, const char*> directions[] = {{Direction::forward, "forward"},
                                                          {Direction::backward_data, "backward_data"},
                                                          {Direction::backward_weight, "backward_weight"}};
  const std::pair<Precision, const char*> precisions[] = {{Precision::fp32, ""}, {Precision::bf16, "_bf16"}};
  for (const auto& [direction, text] : directions) {
    if (first_layer && direction == Direction::backward_data) continue;  // training never asks for it
    for (const auto& [precision, suffix] : precisions) {
      benchmark::RegisterBenchmark(fmt::format("{}/{}{}", name, text, suffix).c_str(),
                                   [shape, direction = direction, precision = precision](benchmark::State& state) {
                                     if (precision == Precision::bf16) {
                                       measure<Data<bfloat16>>(state, shape, direction, precision);
                                     } else {
                                       measure<Data<float>>(state, shape, direction, precision);
                                     }
                                   })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond)
          ->ComputeStatistics("max",
                              [](const std::vector<double>& v) { return *std::max_element(v.begin(), v.end()); });
    }
  }
}

void add_conv(const std::string& name, int64_t batch, int64_t size, int64_t C, int64_t K, int64_t kernel,
              int64_t stride, int64_t pad, int64_t groups = 1) {
  add<ConvData>(name, Conv2dShape{batch, size, size, C, K, kernel, kernel, stride, stride, pad, pad, 1, 1, groups},
                C <= 3);
}

void add_all() {
  add_conv("alexnet_mini/conv1_grey", 128, 32, 1, 32, 5, 1, 2);
  add_conv("alexnet_mini/conv1", 128, 32, 3, 32, 5, 1, 2);
  add_conv("alexnet_mini/conv2", 128, 16, 32, 64, 3, 1, 1);
  add<LinearData>("alexnet_mini/fc1", LinearShape{128, 4096, 128});
  add<LinearData>("alexnet_mini/fc2", LinearShape{128, 128, 10});
  add_conv("alexnet_cifar/conv1", 256, 32, 3, 64, 3, 2, 1);
  add_conv("alexnet_cifar/conv2", 256, 8, 64, 192, 3, 1, 1);
  add_conv("alexnet_cifar/conv3", 256, 4, 192, 384, 3, 1, 1);
  add_conv("alexnet_cifar/conv4", 256, 4, 384, 256, 3, 1, 1);
  add_conv("alexnet_cifar/conv5", 256, 4, 256, 256, 3, 1, 1);
  add<LinearData>("alexnet_cifar/fc1", LinearShape{256, 1024, 4096});
  add<LinearData>("alexnet_cifar/fc2", LinearShape{256, 4096, 4096});
  add<LinearData>("alexnet_cifar/fc3", LinearShape{256, 4096, 10});
  add_conv("alexnet/conv1", 32, 224, 3, 64, 11, 4, 2);
  for (const int64_t batch : {32, 1, 128}) {
    const std::string suffix = batch == 32 ? "" : fmt::format("_batch_{}", batch);
    add_conv("alexnet/conv2" + suffix, batch, 27, 64, 192, 5, 1, 2);
    add_conv("alexnet/conv3" + suffix, batch, 13, 192, 384, 3, 1, 1);
    add_conv("alexnet/conv4" + suffix, batch, 13, 384, 256, 3, 1, 1);
    add_conv("alexnet/conv5" + suffix, batch, 13, 256, 256, 3, 1, 1);
  }
  add_conv("alexnet_paper/conv2", 32, 27, 96, 256, 5, 1, 2, 2);
  for (int64_t size = 56, channels = 64; channels <= 512; size /= 2, channels *= 2) {
    add_conv(fmt::format("resnet18/maps_of_{}", size), 32, size, channels, channels, 3, 1, 1);
  }
  for (int64_t size = 32, channels = 64; channels <= 512; size /= 2, channels *= 2) {
    add_conv(fmt::format("resnet18_cifar/maps_of_{}", size), 128, size, channels, channels, 3, 1, 1);
  }
  for (const int64_t batch : {1, 32, 128}) {
    add<LinearData>(fmt::format("alexnet/fc6_batch_{}", batch), LinearShape{batch, 9216, 4096});
    add<LinearData>(fmt::format("alexnet/fc7_batch_{}", batch), LinearShape{batch, 4096, 4096});
    add<LinearData>(fmt::format("alexnet/fc8_batch_{}", batch), LinearShape{batch, 4096, 1000});
  }
}

}  // namespace
}  // namespace striate::bench

int main(int argc, char** argv) {
  using namespace striate::bench;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const Machine& m = machine();
  for (const auto& [name, value] : striate::provenance(striate::Device::cpu)) {
    if (name != "date") benchmark::AddCustomContext(name, value);  // which the library says
  }
  benchmark::AddCustomContext("kernels", m.limits.simd);
  benchmark::AddCustomContext("threads", std::to_string(m.threads.size()));
  benchmark::AddCustomContext("multiply-add peak", fmt::format("{:.0f} GFLOP/s", m.limits.flops / 1e9));
  benchmark::AddCustomContext("bfloat16 peak", m.limits.bf16_flops > 0.0
                                                   ? fmt::format("{:.0f} GFLOP/s", m.limits.bf16_flops / 1e9)
                                                   : "none: this CPU has no AVX-512 BF16");
  benchmark::AddCustomContext("copy bandwidth",
                              fmt::format("{:.1f} GB/s, read and written; with ordinary stores {:.1f}, "
                                          "reading alone {:.1f}",
                                          m.limits.copy / 1e9, m.limits.ordinary_copy / 1e9, m.limits.read / 1e9));
  add_all();
  add_pooling();
  add_normalization();
  add_elementwise();
  add_updates();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
