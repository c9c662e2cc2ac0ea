// The tiles of x are transformed, multiplied point by point with the transformed weights, which are packed in panels
// for the register tile, and the products transformed back into y, bias and activation included. Tasks own tiles where
// these are many, so that no transformed tensor is ever whole, and panels where the weights are more, so that these are
// not. Each product is one chain over the channels: the bits do not depend on how the work is cut.
#include <algorithm>

#include "kernels/conv2d/winograd.h"
#include "kernels/conv2d/winograd_tiles.h"
#include "kernels/conv2d/winograd_transforms.h"
#include "kernels/error.h"
#include "kernels/gemm/micro.h"

namespace striate::cpu::winograd {

namespace {

using gemm::ceil_div;
using gemm::Parts;
using gemm::round_up;

constexpr int64_t kBlockRows = 4;            // register tiles in a block of tiles: 56 with AVX-512
constexpr int64_t kChunkColumns = 128;       // outputs multiplied before they are transformed back
constexpr int64_t kTransformedTogether = 4;  // tiles
constexpr int64_t kPackedChannels = 32;      // of nr kernels, transformed before they are packed

// Where they beat the direct sums, measured with AVX-512 on two cores. Fewer tiles do not earn the transforms of the
// weights: AlexNet's conv3 to conv5 at batch 1, 16 tiles, take 1.0 to 1.4 times less for the weights' gradient, as long
// forward while all lies in the caches and longer in a network, whose linear layers have turned the weights out (a
// tenth of an inference), and 1.2 times more to the data, whose weights lie across; at batch 2 all take 1.2 to 1.8
// times less. Fewer channels than these were not measured.
constexpr int64_t kFewestTiles = 24, kFewestGradientTiles = 16;
constexpr int64_t kFewestChannels = 32;

bool fills_vectors(const Conv2dShape& s) { return s.C >= kFewestChannels && s.K >= kFewestChannels; }

/// Of the convolution of dy with the turned kernel.
Tiling turned(const Conv2dShape& s) {
  return Tiling(s.N, Axis{s.P(), s.H, s.R - 1 - s.pad_h}, Axis{s.Q(), s.W, s.S - 1 - s.pad_w});
}

/// y = act(conv(x, g) + bias).
template <typename T>
struct Convolution {
  const T* x;
  T* y;
  const float* bias;
  Activation activation;
  Tiling tiling;
  int64_t depth, columns;  ///< channels of x and of y
};

/// How transformed tiles, or their products, lie: [points, tiles, stride].
struct Tiles {
  int64_t stride, point;
  Tiles(int64_t tiles, int64_t channels)
      : stride(gemm::padded_stride(channels)), point(gemm::padded_stride(tiles * stride)) {}
};

/// What both orders of the loops are made of.
template <typename T>
struct Steps {
  const Convolution<T>& conv;
  const Transforms<T>& transforms;
  gemm::MicroKernels<float> micro = gemm::micro_kernels<float>();
  int64_t points = transforms.n * transforms.n;
  int64_t panels = ceil_div(conv.columns, micro.nr);
  int64_t panel_floats = conv.depth * micro.nr;  ///< of one point

  /// Tiles [t0, t1) of x.
  void transform_inputs(int64_t t0, int64_t t1, const T* zeros, float* x, const Tiles& layout) const {
    for (int64_t t = t0; t < t1; ++t, x += layout.stride) {
      const T* pixels[kLargestTile * kLargestTile];
      conv.tiling.inputs(t, transforms.n, conv.x, conv.depth, zeros, pixels);
      transforms.input(pixels, 0, conv.depth, x, layout.point);
    }
  }

  /// `count` panels of all points' weights, by `tiles` tiles of x.
  void multiply(const float* x, const Tiles& x_layout, int64_t tiles, const float* weights, int64_t count, float* y,
                const Tiles& y_layout, const int64_t* offsets) const {
    gemm::Block block;
    block.a_stride = x_layout.stride;
    block.run = conv.depth;
    block.rows = tiles;
    block.columns = micro.nr;
    block.c_rows = offsets;
    for (int64_t point = 0; point < points; ++point) {
      block.a = x + point * x_layout.point;
      for (int64_t panel = 0; panel < count; ++panel) {
        block.b = weights + (panel * points + point) * panel_floats;
        block.c = y + point * y_layout.point + panel * micro.nr;
        micro.multiply_rows(block);
      }
    }
  }

  /// Outputs of `count` panels from `panel` on, of tiles [t0, t1).
  void transform_outputs(int64_t t0, int64_t t1, int64_t panel, int64_t count, const float* y,
                         const Tiles& layout) const {
    const int64_t k0 = panel * micro.nr, columns = std::min(k0 + count * micro.nr, conv.columns) - k0;
    for (int64_t t = t0; t < t1; ++t, y += layout.stride) {
      T* pixels[kTile * kTile];
      conv.tiling.outputs(t, conv.y, conv.columns, k0, pixels);
      transforms.output(y, layout.point, columns, conv.bias ? conv.bias + k0 : nullptr, conv.activation, pixels);
    }
  }
};

/// How many tiles are cut: a task owns a block of them and, where these are few, a part of the panels.
struct TileTasks {
  Parts blocks, parts;
  int64_t chunk;
  Tiles x_layout, y_layout;
  int64_t offset_floats, zero_floats, scratch;

  // As many blocks for each thread, of a whole register tile at least.
  template <typename T>
  TileTasks(const Steps<T>& steps, int64_t threads)
      : blocks(steps.conv.tiling.count(), steps.micro.mr,
               std::max(steps.micro.mr,
                        ceil_div(steps.conv.tiling.count(),
                                 round_up(ceil_div(steps.conv.tiling.count(), kBlockRows * steps.micro.mr), threads)))),
        parts(steps.panels, 1, std::max<int64_t>(1, steps.panels / ceil_div(threads, blocks.count))),
        chunk(std::min(std::max<int64_t>(1, kChunkColumns / steps.micro.nr), parts.longest())),
        x_layout(blocks.longest(), steps.conv.depth),
        y_layout(blocks.longest(), chunk * steps.micro.nr),
        offset_floats(round_up(2 * blocks.longest(), 16)),
        zero_floats(round_up(steps.conv.depth, 16)),
        scratch(round_up(offset_floats + steps.points * (x_layout.point + y_layout.point), 16)) {}
};

template <typename T, typename PackPanel>
void pack_panels(const Steps<T>& steps, int64_t pack_floats, float* weights, float* scratch, Context& context,
                 const PackPanel& pack_panel) {
  const int64_t panel_floats = steps.points * steps.panel_floats;
  gemm::for_each_item(steps.panels, scratch, pack_floats, context,
                      [&](int64_t panel, float* memory) { pack_panel(panel, weights + panel * panel_floats, memory); });
}

/// Many tiles, by weights that were packed before. `memory`: for zeros and every thread's scratch.
template <typename T>
void convolve_packed(const Steps<T>& steps, const TileTasks& tasks, const float* weights, float* memory,
                     Context& context) {
  const int64_t panel_floats = steps.points * steps.panel_floats;
  T* const zeros = reinterpret_cast<T*>(memory);
  std::fill(zeros, zeros + tasks.zero_floats, T{});
  const auto convolve_block = [&](int64_t item, float* own) {
    const int64_t t0 = tasks.blocks.begin(item / tasks.parts.count), t1 = tasks.blocks.end(item / tasks.parts.count);
    int64_t* const offsets = reinterpret_cast<int64_t*>(own);
    float* const x = own + tasks.offset_floats;
    float* const y = x + steps.points * tasks.x_layout.point;
    for (int64_t t = 0; t < t1 - t0; ++t) offsets[t] = t * tasks.y_layout.stride;
    steps.transform_inputs(t0, t1, zeros, x, tasks.x_layout);
    const int64_t end = tasks.parts.end(item % tasks.parts.count);
    for (int64_t panel = tasks.parts.begin(item % tasks.parts.count); panel < end; panel += tasks.chunk) {
      const int64_t count = std::min(tasks.chunk, end - panel);
      steps.multiply(x, tasks.x_layout, t1 - t0, weights + panel * panel_floats, count, y, tasks.y_layout, offsets);
      steps.transform_outputs(t0, t1, panel, count, y, tasks.y_layout);
    }
  };
  gemm::for_each_item(tasks.blocks.count * tasks.parts.count, memory + tasks.zero_floats, tasks.scratch, context,
                      convolve_block);
}

/// Many tiles: the weights are packed once.
template <typename T, typename PackPanel>
void convolve_by_tiles(const Steps<T>& steps, int64_t pack_floats, Context& context, const PackPanel& pack_panel) {
  const int64_t threads = context.threads->size();
  const TileTasks tasks(steps, threads);
  const int64_t weight_floats = round_up(steps.panels * steps.points * steps.panel_floats, 16);
  const int64_t rest = std::max(tasks.zero_floats + threads * tasks.scratch, threads * pack_floats);
  float* const weights = context.workspace->get<float>(weight_floats + rest);
  pack_panels(steps, pack_floats, weights, weights + weight_floats, context, pack_panel);
  convolve_packed(steps, tasks, weights, weights + weight_floats, context);
}

/// Few tiles: all are transformed once. A task owns a panel of the weights and packs it for itself, so that the
/// transformed weights never leave the thread's cache.
template <typename T, typename PackPanel>
void convolve_by_panels(const Steps<T>& steps, int64_t pack_floats, Context& context, const PackPanel& pack_panel) {
  const Convolution<T>& conv = steps.conv;
  const int64_t threads = context.threads->size(), mr = steps.micro.mr, tiles = conv.tiling.count();
  const Parts blocks(tiles, mr, kBlockRows * mr);

  const Tiles x_layout(tiles, conv.depth), y_layout(blocks.longest(), steps.micro.nr);
  const int64_t offset_floats = round_up(2 * blocks.longest(), 16), zero_floats = round_up(conv.depth, 16);
  const int64_t weight_floats = round_up(steps.points * steps.panel_floats, 16);
  const int64_t scratch =
      round_up(offset_floats + weight_floats + std::max(steps.points * y_layout.point, pack_floats), 16);
  float* const x = context.workspace->get<float>(steps.points * x_layout.point + zero_floats + threads * scratch);
  T* const zeros = reinterpret_cast<T*>(x + steps.points * x_layout.point);
  float* const own = x + steps.points * x_layout.point + zero_floats;
  std::fill(zeros, zeros + zero_floats, T{});

  context.threads->parallel_for(tiles, kTransformedTogether, [&](int64_t begin, int64_t end) {
    steps.transform_inputs(begin, end, zeros, x + begin * x_layout.stride, x_layout);
  });
  const auto convolve_panel = [&](int64_t panel, float* memory) {
    int64_t* const offsets = reinterpret_cast<int64_t*>(memory);
    float* const weights = memory + offset_floats;
    float* const y = weights + weight_floats;
    pack_panel(panel, weights, y);
    for (int64_t t = 0; t < blocks.longest(); ++t) offsets[t] = t * y_layout.stride;
    for (int64_t i = 0; i < blocks.count; ++i) {
      const int64_t t0 = blocks.begin(i), t1 = blocks.end(i);
      steps.multiply(x + t0 * x_layout.stride, x_layout, t1 - t0, weights, 1, y, y_layout, offsets);
      steps.transform_outputs(t0, t1, panel, 1, y, y_layout);
    }
  };
  gemm::for_each_item(steps.panels, own, scratch, context, convolve_panel);
}

/// By panels ResNet's layers of 512 channels take 0.7 times as long at batch 32; from 1.5 times as many tiles as
/// outputs on it takes longer.
bool goes_by_panels(int64_t tiles, int64_t columns, const Context& context) {
  const int64_t panels = ceil_div(columns, gemm::micro_kernels<float>().nr);
  return panels >= context.threads->size() && 3 * tiles <= 4 * columns;
}

/// pack_panel(panel, to, scratch) transforms the kernels of a panel's outputs into [points, depth, nr]; scratch holds
/// `pack_floats`.
template <typename T, typename PackPanel>
void convolve(const Convolution<T>& conv, const Transforms<T>& transforms, int64_t pack_floats, Context& context,
              const PackPanel& pack_panel) {
  const Steps<T> steps{conv, transforms};
  if (goes_by_panels(conv.tiling.count(), conv.columns, context)) {
    convolve_by_panels(steps, pack_floats, context, pack_panel);
  } else {
    convolve_by_tiles(steps, pack_floats, context, pack_panel);
  }
}

/// Packs a panel of the forward direction's weights.
template <typename T>
struct ForwardWeights {
  const T* w;
  const Conv2dShape& s;
  Transforms<T> f = transforms<T>(s.R);
  gemm::MicroKernels<float> micro = gemm::micro_kernels<float>();
  // A row of a kernel's transformed channels, then of the next; the same for the next point.
  int64_t row = gemm::padded_stride(kPackedChannels), point_rows = micro.nr * row;

  ForwardWeights(const T* weights, const Conv2dShape& shape) : w(weights), s(shape) {}
  int64_t scratch_floats() const { return f.n * f.n * point_rows; }

  void operator()(int64_t panel, float* to, float* scratch) const {
    const int64_t k0 = panel * micro.nr, columns = std::min(micro.nr, s.K - k0), point = s.C * micro.nr;
    for (int64_t c = 0; c < s.C; c += kPackedChannels) {
      const int64_t channels = std::min(kPackedChannels, s.C - c);
      for (int64_t k = 0; k < columns; ++k) {
        f.weights(w + (k0 + k) * s.taps() + c, s.S * s.C, s.C, channels, scratch + k * row, point_rows);
      }
      for (int64_t i = 0; i < f.n * f.n; ++i) {
        micro.pack_transposed(scratch + i * point_rows, row, columns, channels, to + i * point + c * micro.nr);
      }
    }
  }
};

}  // namespace

bool fits(const Conv2dShape& s) {
  return s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 && s.dilation_w == 1 && s.groups == 1 && s.R == s.S &&
         (s.R == 3 || s.R == 5) && s.pad_h < s.R && s.pad_w < s.S;
}

bool forward_pays(const Conv2dShape& s) { return fits(s) && fills_vectors(s) && Tiling(s).count() >= kFewestTiles; }
bool backward_data_pays(const Conv2dShape& s) {
  return fits(s) && fills_vectors(s) && turned(s).count() >= kFewestTiles;
}
bool backward_weight_pays(const Conv2dShape& s) {
  return fits(s) && fills_vectors(s) && Tiling(s).count() >= kFewestGradientTiles;
}

template <typename T>
void forward(const T* x, const T* w, const Parameter<T>* b, T* y, const Conv2dShape& s, Activation activation,
             Context& context) {
  require<ShapeError>(fits(s), "{}: not a convolution that Winograd's algorithm takes; use the direct sums",
                      s.to_string());
  if (s.N == 0) return;
  const Convolution<T> conv{x, y, b, activation, Tiling(s), s.C, s.K};
  const ForwardWeights<T> weights(w, s);
  convolve(conv, weights.f, weights.scratch_floats(), context, weights);
}

bool forward_by_tiles(const Conv2dShape& s, const Context& context) {
  return !goes_by_panels(Tiling(s).count(), s.K, context);
}

int64_t mosaic_images(const Conv2dShape& s) { return Tiling(s).images(); }

template <typename T>
int64_t packed_floats(const Conv2dShape& s) {
  const gemm::MicroKernels<float> micro = gemm::micro_kernels<float>();
  const int64_t n = transforms<T>(s.R).n;
  return round_up(n * n * round_up(s.K, micro.nr) * s.C, 16);
}

template <typename T>
int64_t scratch_floats(const Conv2dShape& s, int64_t images, const Context& context) {
  const Transforms<T> f = transforms<T>(s.R);
  const Convolution<T> conv{nullptr, nullptr, nullptr, Activation::none, Tiling(s).of(images), s.C, s.K};
  const int64_t threads = context.threads->size();
  const TileTasks tasks(Steps<T>{conv, f}, threads);
  return std::max(tasks.zero_floats + threads * tasks.scratch,
                  threads * ForwardWeights<T>(nullptr, s).scratch_floats());
}

template <typename T>
void pack(const T* w, const Conv2dShape& s, float* to, Context& context) {
  const ForwardWeights<T> weights(w, s);
  const Convolution<T> conv{nullptr, nullptr, nullptr, Activation::none, Tiling(s), s.C, s.K};
  float* const scratch = context.workspace->get<float>(context.threads->size() * weights.scratch_floats());
  pack_panels(Steps<T>{conv, weights.f}, weights.scratch_floats(), to, scratch, context, weights);
}

template <typename T>
void forward_packed(const T* x, const float* packed, const Parameter<T>* b, T* y, const Conv2dShape& s, int64_t images,
                    Activation activation, Context& context) {
  const Transforms<T> f = transforms<T>(s.R);
  const Convolution<T> conv{x, y, b, activation, Tiling(s).of(images), s.C, s.K};
  const Steps<T> steps{conv, f};
  const TileTasks tasks(steps, context.threads->size());
  float* const memory = context.workspace->get<float>(tasks.zero_floats + context.threads->size() * tasks.scratch);
  convolve_packed(steps, tasks, packed, memory, context);
}

template <typename T>
void backward_data(const T* dy, const T* w, T* dx, const Conv2dShape& s, Context& context) {
  require<ShapeError>(fits(s), "{}: not a convolution that Winograd's algorithm takes; use the direct sums",
                      s.to_string());
  if (s.N == 0) return;
  const gemm::MicroKernels<float> micro = gemm::micro_kernels<float>();
  const Transforms<T> f = transforms<T>(s.R);
  const Convolution<T> conv{dy, dx, nullptr, Activation::none, turned(s), s.K, s.C};
  const T* const last_tap = w + (s.R * s.S - 1) * s.C;
  convolve(conv, f, 0, context, [&](int64_t panel, float* to, float*) {
    const int64_t c0 = panel * micro.nr, columns = std::min(micro.nr, s.C - c0);
    for (int64_t k = 0; k < s.K; ++k) {
      f.weights(last_tap + k * s.taps() + c0, -s.S * s.C, -s.C, columns, to + k * micro.nr, s.K * micro.nr);
    }
  });
}

#define STRIATE_INSTANTIATE(T)                                                                                    \
  template void forward(const T*, const T*, const float*, T*, const Conv2dShape&, Activation, Context&);          \
  template int64_t packed_floats<T>(const Conv2dShape&);                                                          \
  template int64_t scratch_floats<T>(const Conv2dShape&, int64_t, const Context&);                                \
  template void pack(const T*, const Conv2dShape&, float*, Context&);                                             \
  template void forward_packed(const T*, const float*, const float*, T*, const Conv2dShape&, int64_t, Activation, \
                               Context&);                                                                         \
  template void backward_data(const T*, const T*, T*, const Conv2dShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu::winograd
