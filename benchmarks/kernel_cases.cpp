#include "benchmarks/kernel_cases.h"

#include <fmt/format.h>

#include <type_traits>
#include <utility>

#include "benchmarks/device_values.h"
#include "kernels/activation/activation.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/column_blocks/column_blocks.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/gpu/memory.h"
#include "kernels/gpu/stream.h"
#include "kernels/image_batch/image_batch.h"
#include "kernels/local_response_norm/local_response_norm.h"
#include "kernels/optimizer/optimizer.h"
#include "kernels/pool2d/pool2d.h"
#include "kernels/softmax_cross_entropy/softmax_cross_entropy.h"

namespace striate::bench {

namespace {

using Floats = DeviceValues<float>;
using Cases = std::vector<KernelCase>;

KernelCase memory_bound(std::string name, std::function<void(Context&)> run, double reads = 1.3) {
  return {std::move(name), std::move(run), 0, reads, 0, 0, true};
}

/// What is named behind a size: float32 is not.
template <typename T>
constexpr const char* kType = std::is_same_v<T, bfloat16> ? " bf16" : "";

/// Pictures of `side` pixels that only become floats, and ones that are also mirrored and jittered: two launches. Of a
/// step every warp reads a few words for every pixel of a thread.
template <typename T>
void add_images(Cases& cases, int64_t n, int side) {
  for (const bool jittered : {false, true}) {
    const auto run = [n, side, jittered](Context& context) {
      constexpr LevelStepKind kJitter[] = {LevelStepKind::hue, LevelStepKind::contrast, LevelStepKind::shift};
      const int steps = jittered ? 3 : 0;
      const ImageBatchShape shape{n, side, side, side, side, 3, steps, jittered};
      DeviceValues<uint8_t> x(n * shape.slot_size());
      DeviceValues<ImagePlacement> placements(n);
      DeviceValues<LevelStep> all_steps(n * steps);
      DeviceValues<T> y(n * shape.image_size());
      for (int64_t i = 0; i < n; ++i) placements[i] = {side, side, 0, 0, jittered ? 1 : 0, steps};
      for (int64_t i = 0; i < n * steps; ++i) all_steps[i] = {.kind = kJitter[i % 3], .amount = {0.4f, 0.4f, 0.4f}};
      cuda::image_batch<T>({x.fill(1), placements, all_steps, {.scale = {1, 1, 1}}, {}}, y, shape, context);
    };
    cases.push_back(memory_bound(fmt::format("{}images/{}{}", jittered ? "jittered " : "", side, kType<T>), run,
                                 jittered ? 1.5 : 1.3));
  }
}

template <typename T>
void add_maps(Cases& cases, int64_t n) {
  const std::string of = fmt::format("/{}{}", n, kType<T>);
  cases.push_back(memory_bound("relu forward" + of, [n](Context& context) {
    DeviceValues<T> x(n), y(n);
    cuda::activation_forward<T>(Activation::relu, x.fill(1), y, n, context);
  }));
  cases.push_back(memory_bound("gelu backward" + of, [n](Context& context) {
    DeviceValues<T> x(n), dy(n), dx(n);
    cuda::activation_backward<T>(Activation::gelu, x.fill(1), dy.fill(2), dx, n, context);
  }));
  cases.push_back(memory_bound("fill" + of, [n](Context& context) {
    DeviceValues<T> y(n);
    cuda::fill<T>(y, 1.0f, n, context);
  }));
  cases.push_back(memory_bound("scale" + of, [n](Context& context) {
    DeviceValues<T> x(n), y(n);
    cuda::scale<T>(x.fill(1), y, 2.0f, n, context);
  }));
  cases.push_back(memory_bound("residual add" + of, [n](Context& context) {
    DeviceValues<T> a(n), b(n), y(n);
    cuda::add<T>(a.fill(1), b.fill(2), y, n, Activation::relu, context);
  }));
  cases.push_back(memory_bound("accumulate" + of, [n](Context& context) {
    DeviceValues<T> x(n), y(n);
    cuda::accumulate<T>(x.fill(1), y.fill(2), n, context);
  }));
  for (const bool backward : {false, true}) {
    const std::string name = backward ? "dropout backward" : "dropout forward";
    cases.push_back(memory_bound(name + of, [n, backward](Context& context) {
      DeviceValues<T> x(n), y(n);
      DeviceValues<DropoutState> state(1);
      state[0] = {};
      const DropoutShape shape{1, n, 0.5f, 0};
      (backward ? cuda::dropout_backward<T> : cuda::dropout_forward<T>)(x.fill(1), y, shape, state, context);
    }));
  }
}

template <typename T>
void add_column_blocks(Cases& cases, int64_t rows, int64_t columns, int64_t parts) {
  const ColumnBlocksShape shape{rows, columns, parts};
  const std::string of = fmt::format("/{}x{}, {} parts{}", rows, columns, parts, kType<T>);
  for (const bool to_blocks : {true, false}) {
    const auto run = [shape, to_blocks](Context& context) {
      DeviceValues<T> x(shape.size()), y(shape.size());
      (to_blocks ? cuda::columns_to_blocks<T> : cuda::blocks_to_columns<T>)(x.fill(1), y, shape, context);
    };
    cases.push_back(memory_bound((to_blocks ? "columns to blocks" : "blocks to columns") + of, run));
  }
}

void add_casts(Cases& cases, int64_t n) {
  const std::string of = fmt::format("/{}", n);
  cases.push_back(memory_bound("float to bf16" + of, [n](Context& context) {
    Floats x(n);
    DeviceValues<bfloat16> y(n);
    cuda::float_to_bf16(x.fill(1), y, n, context);
  }));
  cases.push_back(memory_bound("bf16 to float" + of, [n](Context& context) {
    DeviceValues<bfloat16> x(n);
    Floats y(n);
    cuda::bf16_to_float(x.fill(1), y, n, context);
  }));
}

// Three parameters, of which the middle one is no multiple of 4.
void add_updates(Cases& cases) {
  enum class Update { sgd, adam, rmsprop, clipped };
  struct Named {
    const char* name;
    Update update;
    bool rounds = false;
  };
  for (const auto& [name, update, rounds] :
       {Named{"sgd", Update::sgd}, Named{"adam", Update::adam}, Named{"rmsprop", Update::rmsprop},
        Named{"sgd clipped", Update::clipped}, Named{"sgd and bf16 weights", Update::sgd, true},
        Named{"adam and bf16 weights", Update::adam, true}, Named{"rmsprop and bf16 weights", Update::rmsprop, true}}) {
    cases.push_back(memory_bound(name, [update = update, rounds = rounds](Context& context) {
      constexpr int64_t kSizes[] = {30000, 1001, 12288}, kAll = 30000 + 1008 + 12288;
      Floats w(kAll), g(kAll), s1(kAll), s2(kAll), norm(1);
      w.fill(1), g.fill(2), s1.fill(3), s2.fill(4);
      DeviceValues<bfloat16> rounded(kAll);
      DeviceValues<UpdateState> state(1);
      state[0] = {0.01f, 1.0f, 3};
      ParameterUpdate<float> parameters[3];
      int64_t offset = 0, rounded_offset = 0;
      for (int i = 0; i < 3; ++i) {
        parameters[i] = {w + offset, g + offset, s1 + offset, s2 + offset, kSizes[i], 5e-4f};
        if (rounds) parameters[i].rounded = rounded + rounded_offset;
        offset += (kSizes[i] + 3) / 4 * 4;
        rounded_offset += (kSizes[i] + 7) / 8 * 8;  // as the engine's tensors, on 16 bytes
      }
      switch (update) {
        case Update::sgd:
          return cuda::sgd_update(parameters, 3, {0.9f, false, false}, state, {}, context);
        case Update::adam:
          return cuda::adam_update(parameters, 3, {}, state, {}, context);
        case Update::rmsprop:
          return cuda::rmsprop_update(parameters, 3, {0.99f, 1e-8f, 0.9f}, state, {}, context);
        case Update::clipped:
          return cuda::sgd_update(parameters, 3, {0.9f, false, false}, state, {norm, 1.0f}, context);
      }
    }));
  }
}

template <typename T>
void add_normalizations(Cases& cases, int64_t rows, int64_t C) {
  const std::string of = fmt::format("/{}x{}{}", rows, C, kType<T>);
  const BatchNormShape batch{rows, C};
  // Every block reads the channels' parameters, floats whatever the activations are.
  const double reads = 1.0 + 0.3 * sizeof(float) / sizeof(T);
  enum class Mode { train, eval, backward };
  for (const auto& [name, mode] : {std::pair{"batch norm train", Mode::train}, std::pair{"batch norm eval", Mode::eval},
                                   std::pair{"batch norm backward", Mode::backward}}) {
    const auto run = [batch, mode = mode](Context& context) {
      DeviceValues<T> x(batch.size()), y(batch.size()), dx(batch.size());
      Floats gamma(batch.C), beta(batch.C), mean(batch.C), inv_std(batch.C), running_mean(batch.C),
          running_var(batch.C);
      x.fill(1), y.fill(2), gamma.fill(3), beta.fill(4), mean.fill(5), inv_std.fill(6);
      running_mean.fill(7), running_var.fill(8);
      if (mode == Mode::train) {
        cuda::batch_norm_forward_train<T>(x, gamma, beta, y, mean, inv_std, running_mean, running_var, batch, context);
      } else if (mode == Mode::eval) {
        cuda::batch_norm_forward_eval<T>(x, gamma, beta, running_mean, running_var, y, inv_std, batch, context);
      } else {
        cuda::batch_norm_backward<T>(x, y, gamma, mean, inv_std, dx, gamma, beta, batch, true, Accumulate::no, context);
      }
    };
    cases.push_back(memory_bound(name + of, run, reads));
  }
  const LocalResponseNormShape local{rows, C};
  cases.push_back(memory_bound("lrn forward" + of, [local](Context& context) {
    DeviceValues<T> x(local.rows * local.C), y(local.rows * local.C);
    cuda::local_response_norm_forward<T>(x.fill(1), y, local, context);
  }));
  cases.push_back(memory_bound("lrn backward" + of, [local](Context& context) {
    DeviceValues<T> x(local.rows * local.C), dy(local.rows * local.C), dx(local.rows * local.C);
    cuda::local_response_norm_backward<T>(x.fill(1), dy.fill(2), dx, local, context);
  }));
}

template <typename T>
void add_losses(Cases& cases, int64_t N, int64_t classes) {
  const std::string of = fmt::format("/{}x{}{}", N, classes, kType<T>);
  cases.push_back(memory_bound("softmax" + of, [N, classes](Context& context) {
    DeviceValues<T> x(N * classes), y(N * classes);
    cuda::softmax_forward<T>(x.fill(1), y, N, classes, context);
  }));
  const SoftmaxCrossEntropyShape shape{N, classes};
  for (const bool backward : {false, true}) {
    const std::string name = backward ? "loss backward" : "loss forward";
    cases.push_back(memory_bound(name + of, [shape, backward](Context& context) {
      DeviceValues<T> logits(shape.N * shape.classes), dlogits(shape.N * shape.classes);
      Floats loss(1), sample_loss(shape.N), row_max(shape.N), log_sum(shape.N);
      DeviceValues<int32_t> labels(shape.N), rank(shape.N);
      DeviceValues<StepResult> result(1);
      logits.fill(1), labels.fill(2), loss.fill(3), row_max.fill(4), log_sum.fill(5);
      if (backward) {
        cuda::softmax_cross_entropy_backward<T>(logits, labels, row_max, log_sum, loss, dlogits, shape, context);
      } else {
        cuda::softmax_cross_entropy_forward<T>(logits, labels, loss, sample_loss, row_max, log_sum, rank, result, shape,
                                               context);
      }
    }));
  }
}

double windows_of_a_pixel(const Pool2dShape& s) {
  return static_cast<double>((s.R + s.stride_h - 1) / s.stride_h * ((s.S + s.stride_w - 1) / s.stride_w));
}

template <typename T>
void add_pools(Cases& cases, const std::string& name, const Pool2dShape& s) {
  const std::string type = kType<T>;
  cases.push_back(max_pool<T>("max pool " + name + " forward" + type, s, Pass::forward));
  cases.push_back(max_pool<T>("max pool " + name + " backward" + type, s, Pass::backward_data));
  const double again = windows_of_a_pixel(s);
  cases.push_back(memory_bound(
      "avg pool " + name + " forward" + type,
      [s](Context& context) {
        DeviceValues<T> x(s.x_size()), y(s.y_size());
        cuda::avg_pool2d_forward<T>(x.fill(1), y, s, context);
      },
      again));
  cases.push_back(memory_bound(
      "avg pool " + name + " backward" + type,
      [s](Context& context) {
        DeviceValues<T> dy(s.y_size()), dx(s.x_size());
        cuda::avg_pool2d_backward<T>(dy.fill(1), dx, s, context);
      },
      static_cast<double>(s.R * s.S)));
}

template <typename T>
void add_adaptive_pools(Cases& cases) {
  for (const bool backward : {false, true}) {
    const std::string name = backward ? "adaptive pool backward" : "adaptive pool forward";
    cases.push_back(memory_bound(
        name + kType<T>,
        [backward](Context& context) {
          const AdaptivePool2dShape s{2, 13, 13, 256, 6, 6};
          DeviceValues<T> x(s.x_size()), y(s.y_size());
          if (backward) {
            cuda::adaptive_avg_pool2d_backward<T>(y.fill(1), x, s, context);
          } else {
            cuda::adaptive_avg_pool2d_forward<T>(x.fill(1), y, s, context);
          }
        },
        backward ? 10.0 : 2.0));
  }
}

template <typename T>
void add_all(Cases& cases) {
  for (const int64_t n : {64 * 1024, 4099}) add_maps<T>(cases, n);
  add_column_blocks<T>(cases, 64, 1024, 4);
  add_images<T>(cases, 4, 64);
  add_normalizations<T>(cases, 300, 64);
  add_normalizations<T>(cases, 98, 256);
  add_normalizations<T>(cases, 37, 10);
  add_losses<T>(cases, 24, 1008);
  add_losses<T>(cases, 33, 16);
  const size_t first_loss = cases.size();
  add_losses<T>(cases, 24, 1000);
  add_losses<T>(cases, 33, 10);
  // Rows of bfloat16 that begin inside a sector: what a run of a warp touches beside its own is its neighbour's, and in
  // the cache.
  if (std::is_same_v<T, bfloat16>) {
    for (size_t i = first_loss; i < cases.size(); ++i) cases[i].whole_sectors = false;
  }
  add_pools<T>(cases, "3/2 c64", {2, 15, 15, 64, 3, 3, 2, 2});
  add_pools<T>(cases, "3/2 c192", {1, 13, 13, 192, 3, 3, 2, 2});
  const size_t first_odd = cases.size();
  add_pools<T>(cases, "2/2 c7", {2, 8, 9, 7, 2, 2, 2, 2});
  for (size_t i = first_odd; i < cases.size(); ++i) cases[i].whole_sectors = false;
  add_adaptive_pools<T>(cases);
}

}  // namespace

void run_case(const KernelCase& c, Precision precision) {
  gpu::GpuWorkspace workspace(gpu::MemoryKind::device);
  gpu::Stream stream;
  Context context{nullptr, &workspace, precision, &stream};
  c.run(context);
}

template <typename T>
KernelCase max_pool(const std::string& name, const Pool2dShape& s, Pass pass) {
  const auto x_bytes = static_cast<double>(sizeof(T)) * static_cast<double>(s.x_size());
  const auto y_bytes = static_cast<double>(sizeof(T) + 1) * static_cast<double>(s.y_size());  // and the index
  if (pass == Pass::forward) {
    return {name,
            [s](Context& context) {
              DeviceValues<T> x(s.x_size()), y(s.y_size());
              DeviceValues<uint8_t> index(s.y_size());
              cuda::max_pool2d_forward<T>(x.fill(1), y, index, s, context);
            },
            0,
            windows_of_a_pixel(s),
            x_bytes,
            y_bytes};
  }
  return {name,
          [s](Context& context) {
            DeviceValues<T> dy(s.y_size()), dx(s.x_size());
            DeviceValues<uint8_t> index(s.y_size());
            cuda::max_pool2d_backward<T>(dy.fill(1), index.fill(2), dx, s, context);
          },
          0,
          static_cast<double>(s.R * s.S),
          y_bytes,
          x_bytes};
}
template KernelCase max_pool<float>(const std::string&, const Pool2dShape&, Pass);
template KernelCase max_pool<bfloat16>(const std::string&, const Pool2dShape&, Pass);

std::vector<KernelCase> memory_bound_cases() {
  Cases cases;
  add_all<float>(cases);
  for (const int64_t n : {64 * 1024, 4099}) add_casts(cases, n);
  add_updates(cases);
  add_all<bfloat16>(cases);
  return cases;
}

AlexNetLayers alexnet_layers(int64_t batch) {
  return {{{"conv1", {batch, 224, 224, 3, 64, 11, 11, 4, 4, 2, 2}},
           {"conv2", {batch, 27, 27, 64, 192, 5, 5, 1, 1, 2, 2}},
           {"conv3", {batch, 13, 13, 192, 384, 3, 3, 1, 1, 1, 1}},
           {"conv4", {batch, 13, 13, 384, 256, 3, 3, 1, 1, 1, 1}},
           {"conv5", {batch, 13, 13, 256, 256, 3, 3, 1, 1, 1, 1}}},
          {{"fc6", {batch, 9216, 4096}}, {"fc7", {batch, 4096, 4096}}, {"fc8", {batch, 4096, 1000}}},
          {{"pool1", {batch, 55, 55, 64, 3, 3, 2, 2}},
           {"pool2", {batch, 27, 27, 192, 3, 3, 2, 2}},
           {"pool5", {batch, 13, 13, 256, 3, 3, 2, 2}}}};
}

}  // namespace striate::bench
