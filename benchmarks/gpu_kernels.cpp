// MEASURED times of AlexNet's convolutions and linear layers on the GPU that is there: our kernels and, where this
// build has them, cuDNN's and cuBLAS's beside them, in the same run.
//   build-cuda/benchmarks/gpu_kernels [--batch N] [--filter TEXT] [--repetitions N] [--csv FILE]
// Nothing is timed whose results are not right: on small integers, which every precision multiplies exactly, two
// images must agree bit for bit with the cpu kernels. A time is the median over repetitions, each of enough calls
// between two events of the stream to last some milliseconds, after a warm-up.
// Ends with 1 where results differ, with 2 for a wrong command line or without a GPU.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "benchmarks/chips.h"
#include "benchmarks/device_values.h"
#include "benchmarks/kernel_cases.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/memory.h"
#include "kernels/gpu/stream.h"
#include "kernels/linear/linear.h"

namespace striate::bench {
namespace {

constexpr int64_t kCheckedBatch = 2;
constexpr float kRepetitionMilliseconds = 3.0f;  // long beside an event's resolution and a launch

struct Options {
  int64_t batch = 128;
  int repetitions = 20;
  std::string filter, csv;
};

/// conv2d's or linear's three functions on one backend.
template <typename Shape, typename T>
struct Functions {
  void (*forward)(const T*, const T*, const float*, T*, const Shape&, Activation, Context&);
  void (*backward_data)(const T*, const T*, T*, const Shape&, Context&);
  void (*backward_weight)(const T*, const T*, float*, float*, const Shape&, Accumulate, Context&);
};

template <typename T>
constexpr Functions<Conv2dShape, T> kOurConv2d{cuda::conv2d_forward<T>, cuda::conv2d_backward_data<T>,
                                               cuda::conv2d_backward_weight<T>};
template <typename T>
constexpr Functions<Conv2dShape, T> kCudnn{cudnn::conv2d_forward<T>, cudnn::conv2d_backward_data<T>,
                                           cudnn::conv2d_backward_weight<T>};
template <typename T>
constexpr Functions<Conv2dShape, T> kCpuConv2d{cpu::conv2d_forward<T>, cpu::conv2d_backward_data<T>,
                                               cpu::conv2d_backward_weight<T>};
template <typename T>
constexpr Functions<LinearShape, T> kOurLinear{cuda::linear_forward<T>, cuda::linear_backward_data<T>,
                                               cuda::linear_backward_weight<T>};
template <typename T>
constexpr Functions<LinearShape, T> kCublas{cublas::linear_forward<T>, cublas::linear_backward_data<T>,
                                            cublas::linear_backward_weight<T>};
template <typename T>
constexpr Functions<LinearShape, T> kCpuLinear{cpu::linear_forward<T>, cpu::linear_backward_data<T>,
                                               cpu::linear_backward_weight<T>};

using Floats = DeviceValues<float>;

/// A layer's operands and what its passes write.
template <typename T>
struct Tensors {
  DeviceValues<T> x, w, dy, y, dx;
  Floats b, dw, db;

  explicit Tensors(const Conv2dShape& s)
      : x(s.x_size()), w(s.w_size()), dy(s.y_size()), y(s.y_size()), dx(s.x_size()), b(s.K), dw(s.w_size()), db(s.K) {}
  explicit Tensors(const LinearShape& s)
      : x(s.N * s.C), w(s.K * s.C), dy(s.N * s.K), y(s.N * s.K), dx(s.N * s.C), b(s.K), dw(s.K * s.C), db(s.K) {}

  void fill(bool integers) {
    fill_one(x, 1, integers);
    fill_one(w, 2, integers);
    fill_one(b, 3, integers);
    fill_one(dy, 4, integers);
  }

 private:
  template <typename Value>
  static void fill_one(DeviceValues<Value>& values, uint32_t seed, bool integers) {
    Floats drawn(values.size());
    drawn.fill(seed);
    for (int64_t i = 0; i < values.size(); ++i) {
      const float v = integers ? static_cast<float>(static_cast<int>(drawn[i] * 5.0f) - 2) : drawn[i];
      if constexpr (std::is_same_v<Value, float>) {
        values[i] = v;
      } else {
        values[i] = to_bfloat16(v);
      }
    }
  }
};

template <typename Shape, typename T>
void run(const Functions<Shape, T>& f, Pass pass, Tensors<T>& t, const Shape& s, Context& context) {
  switch (pass) {
    case Pass::forward:
      return f.forward(t.x, t.w, t.b, t.y, s, Activation::relu, context);
    case Pass::backward_data:
      return f.backward_data(t.dy, t.w, t.dx, s, context);
    case Pass::backward_weight:
      return f.backward_weight(t.x, t.dy, t.dw, t.db, s, Accumulate::no, context);
  }
}

template <typename T>
bool equal(DeviceValues<T>& a, DeviceValues<T>& b) {
  for (int64_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) return false;
  }
  return true;
}

/// Whether a few images give what the cpu kernels give.
template <typename Shape, typename T>
bool agrees(const Functions<Shape, T>& f, const Functions<Shape, T>& expected, Pass pass, Shape s, Context& context) {
  s.N = kCheckedBatch;
  Tensors<T> on_gpu(s), on_cpu(s);
  on_gpu.fill(true);
  on_cpu.fill(true);
  run(f, pass, on_gpu, s, context);
  context.stream->synchronize();
  ThreadPool threads(0);
  HostWorkspace workspace;
  Context cpu{&threads, &workspace};
  run(expected, pass, on_cpu, s, cpu);
  if (pass == Pass::forward) return equal(on_gpu.y, on_cpu.y);
  if (pass == Pass::backward_data) return equal(on_gpu.dx, on_cpu.dx);
  return equal(on_gpu.dw, on_cpu.dw) && equal(on_gpu.db, on_cpu.db);
}

/// Median milliseconds of a call.
template <typename Shape, typename T>
double time(const Functions<Shape, T>& f, Pass pass, Tensors<T>& t, const Shape& s, int repetitions, Context& context) {
  gpu::Event start, end;
  const auto milliseconds = [&](int calls) {
    start.record(*context.stream);
    for (int i = 0; i < calls; ++i) run(f, pass, t, s, context);
    end.record(*context.stream);
    end.synchronize();
    return end.milliseconds_since(start) / static_cast<float>(calls);
  };
  milliseconds(3);
  const float once = std::max(milliseconds(3), 1e-3f);
  const int calls = std::max(1, static_cast<int>(kRepetitionMilliseconds / once));
  std::vector<float> times;
  for (int r = 0; r < repetitions; ++r) times.push_back(milliseconds(calls));
  std::nth_element(times.begin(), times.begin() + repetitions / 2, times.end());
  return times[static_cast<size_t>(repetitions / 2)];
}

struct Row {
  std::string name, precision, library;
  double ours = 0;                   ///< milliseconds
  double rate = 0;                   ///< flop/s
  std::optional<double> of_limit{};  ///< where the chip's limits are known
  std::optional<double> theirs{};    ///< milliseconds
};

class Bench {
 public:
  explicit Bench(const Options& options) : options_(options) {
    const std::string& name = gpu::properties().name;
    for (const Chip* chip : {&kA100, &kH100}) {
      const std::string chip_name = chip->name;
      if (name.find(chip_name.substr(0, chip_name.find(' '))) != std::string::npos) chip_ = chip;
    }
  }

  template <typename Shape, typename T>
  void measure(const Shape& s, const KernelCase& c, Pass pass, const Functions<Shape, T>& ours,
               const Functions<Shape, T>& theirs, const Functions<Shape, T>& expected, const char* library) {
    if (c.name.find(options_.filter) == std::string::npos) return;
    std::optional<Tensors<T>> tensors;
    for (const auto& [precision, text] :
         {std::pair{Precision::fp32, "fp32"}, {Precision::tf32, "tf32"}, {Precision::bf16, "bf16"}}) {
      if ((precision == Precision::bf16) != std::is_same_v<T, bfloat16>) continue;  // bf16 in memory, too
      context_.precision = precision;
      if (!agrees(ours, expected, pass, s, context_)) fail(c.name, text, "our kernels");
      if (!tensors) {
        tensors.emplace(s);
        tensors->fill(false);
      }
      Row row{c.name, text, library};
      row.ours = time(ours, pass, *tensors, s, options_.repetitions, context_);
      row.rate = 2.0 * static_cast<double>(c.macs) / row.ours * 1e3;
      if (chip_) row.of_limit = limit(c, precision) / (row.ours / 1e3);
      try {
        if (!agrees(theirs, expected, pass, s, context_)) fail(c.name, text, library);
        row.theirs = time(theirs, pass, *tensors, s, options_.repetitions, context_);
      } catch (const ConfigError& error) {  // not in this build, or not in this precision
        note(error.what());
      }
      print(row);
      rows_.push_back(row);
    }
  }

  int finish() {
    if (rows_.empty()) {
      fmt::print(stderr, "gpu_kernels: no layer's name contains '{}'\n", options_.filter);
      return 2;
    }
    for (const std::string& said : notes_) fmt::print("{}\n", said);
    if (!options_.csv.empty()) write_csv();
    return failed_ ? 1 : 0;
  }

  void print_head() const {
    const gpu::DeviceProperties& gpu = gpu::properties();
    fmt::print("{}, {} multiprocessors; batch {}, median of {}\n", gpu.name, gpu.multiprocessors, options_.batch,
               options_.repetitions);
    fmt::print("{:<24} {:>9} {:>10} {:>9} {:>9} {:>8} {:>10} {:>9}\n", "layer", "precision", "ours, ms", "TFLOP/s",
               "of limit", "library", "its, ms", "its/ours");
  }

 private:
  void fail(const std::string& name, const char* precision, const char* whose) {
    fmt::print("{} {}: {} differ from the cpu kernels\n", name, precision, whose);
    failed_ = true;
  }

  /// Said once, below the table.
  void note(const std::string& text) {
    if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) notes_.push_back(text);
  }

  /// Seconds that the chip's published peak and memory rate allow.
  double limit(const KernelCase& c, Precision precision) const {
    const double peak = precision == Precision::fp32   ? chip_->fp32_flops
                        : precision == Precision::tf32 ? chip_->tf32_flops
                                                       : chip_->bf16_flops;
    return std::max(2.0 * static_cast<double>(c.macs) / peak, (c.read_bytes + c.written_bytes) / chip_->memory_bytes);
  }

  static void print(const Row& r) {
    fmt::print("{:<24} {:>9} {:>10.4f} {:>9.1f} {:>9} {:>8} {:>10} {:>9}\n", r.name, r.precision, r.ours, r.rate / 1e12,
               r.of_limit ? fmt::format("{:.0f}%", 100.0 * *r.of_limit) : "-", r.library,
               r.theirs ? fmt::format("{:.4f}", *r.theirs) : "-",
               r.theirs ? fmt::format("{:.2f}", *r.theirs / r.ours) : "-");
    std::fflush(stdout);
  }

  void write_csv() const {
    std::ofstream out(options_.csv);
    out << "layer,precision,milliseconds,flops_per_second,share_of_limit,library,library_milliseconds\n";
    for (const Row& r : rows_) {
      out << fmt::format("{},{},{},{},{},{},{}\n", r.name, r.precision, r.ours, r.rate,
                         r.of_limit ? fmt::format("{}", *r.of_limit) : "", r.theirs ? r.library : "",
                         r.theirs ? fmt::format("{}", *r.theirs) : "");
    }
    require<IoError>(out.flush().good(), "{}: cannot be written", options_.csv);
  }

  Options options_;
  const Chip* chip_ = nullptr;
  gpu::GpuWorkspace workspace_{gpu::MemoryKind::device};
  gpu::Stream stream_;
  Context context_{nullptr, &workspace_, Precision::fp32, &stream_};
  std::vector<Row> rows_;
  std::vector<std::string> notes_;
  bool failed_ = false;
};

int measure_all(const Options& options) {
  Bench bench(options);
  bench.print_head();
  const AlexNetLayers layers = alexnet_layers(options.batch);
  constexpr Pass kPasses[] = {Pass::forward, Pass::backward_data, Pass::backward_weight};
  for (const auto& [name, shape] : layers.convolutions) {
    for (const Pass pass : kPasses) {
      if (name == "conv1" && pass == Pass::backward_data) continue;  // training never asks for it
      const auto measure = [&]<typename T>(T) {
        bench.measure(shape, convolution<T>(name, shape, pass), pass, kOurConv2d<T>, kCudnn<T>, kCpuConv2d<T>, "cudnn");
      };
      measure(float{});
      measure(bfloat16{});
    }
  }
  for (const auto& [name, shape] : layers.linears) {
    for (const Pass pass : kPasses) {
      const auto measure = [&]<typename T>(T) {
        bench.measure(shape, linear<T>(name, shape, pass), pass, kOurLinear<T>, kCublas<T>, kCpuLinear<T>, "cublas");
      };
      measure(float{});
      measure(bfloat16{});
    }
  }
  return bench.finish();
}

int64_t positive(const std::string& flag, const char* text) {
  char* end = nullptr;
  const long long value = std::strtoll(text, &end, 10);
  require<ConfigError>(*text != '\0' && *end == '\0' && value > 0 && value <= 1 << 20,
                       "{} {}: expected a positive number", flag, text);
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    require<ConfigError>(flag == "--batch" || flag == "--repetitions" || flag == "--filter" || flag == "--csv",
                         "unknown flag '{}'; there are --batch N, --repetitions N, --filter TEXT, --csv FILE", flag);
    require<ConfigError>(i + 1 < argc, "{} needs a value", flag);
    const char* value = argv[++i];
    if (flag == "--batch") options.batch = positive(flag, value);
    if (flag == "--repetitions") options.repetitions = static_cast<int>(positive(flag, value));
    if (flag == "--filter") options.filter = value;
    if (flag == "--csv") options.csv = value;
  }
  require<ConfigError>(gpu::built_for_gpu() && gpu::available(), "there is no GPU here that this build can use");
  return options;
}

}  // namespace
}  // namespace striate::bench

int main(int argc, char** argv) {
  try {
    return striate::bench::measure_all(striate::bench::parse(argc, argv));
  } catch (const striate::ConfigError& error) {
    fmt::print(stderr, "gpu_kernels: {}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "gpu_kernels: {}\n", error.what());
    return 1;
  }
}
