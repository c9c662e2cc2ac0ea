// The three products of conv2d.h on the tile machinery of gemm/tile.h, as implicit GEMM: nothing is written that the
// layer does not ask for.
//   forward          y[pixel, k]    = Σ_taps   x[window of the pixel, tap] · w[k, tap]
//   backward-data    dx[pixel, c]   = Σ_taps,k dy[pixels whose windows hold it, k] · w[k, tap, c]
//   backward-weight  dw[k, (tap,c)] = Σ_pixels dy[pixel, k] · x[window, tap, c]
// Taps are (r, s, c), c fastest, so that a run of channels is a run of memory: 16 bytes at once where a group's
// channels are a multiple of that. Otherwise neighbouring threads copy neighbouring floats of a row of taps (AlexNet's
// first layer: 33), and the depth is packed: no channel is padded. Backward-data goes phase by phase, (row mod stride,
// column mod stride): the pixels of a phase are met by the same taps, so that no product with a zero between dy's
// strides is computed. Backward-weight splits its long sums into shares.
#include <algorithm>
#include <bit>
#include <numeric>

#include "kernels/conv2d/check.h"
#include "kernels/conv2d/pixel_operands.h"
#include "kernels/gemm/tile_launch.h"

namespace striate::cuda {

namespace {

using conv2d::FilterColumns;
using conv2d::FilterRuns;
using conv2d::WindowColumns;
using conv2d::WindowRows;
using tile::MatrixColumns;
using tile::MatrixRows;

/// Calls part(shape, first image) for parts of the batch that 32-bit offsets reach.
template <typename Part>
void in_parts(const Conv2dShape& shape, Part&& part) {
  const int64_t most = images_per_launch(shape);
  for (int64_t first = 0; first < shape.N; first += most) {
    Conv2dShape images = shape;
    images.N = std::min(most, shape.N - first);
    part(images, first);
  }
}

/// Bits that hold the first pixel of every window in a row.
int bits_of_columns(int64_t windows, int64_t stride) {
  return std::bit_width(static_cast<uint64_t>(std::max<int64_t>(windows - 1, 0) * stride));
}

template <typename Windows, typename T>
Windows windows_of_input(const T* x, const Conv2dShape& s) {
  Windows v{};
  v.data = x;
  v.group = s.group_channels();
  v.H = static_cast<int>(s.H), v.W = static_cast<int>(s.W), v.pixel_pitch = static_cast<int>(s.C);
  v.grid_columns = tile::FastDivision(s.Q()), v.grid_rows = tile::FastDivision(s.P());
  v.channels = tile::FastDivision(s.group_channels()), v.taps_w = tile::FastDivision(s.S);
  v.stride_h = static_cast<int>(s.stride_h), v.stride_w = static_cast<int>(s.stride_w);
  v.origin_h = -static_cast<int>(s.pad_h), v.origin_w = -static_cast<int>(s.pad_w);
  v.step_h = static_cast<int>(s.dilation_h), v.step_w = static_cast<int>(s.dilation_w);
  v.column_bits = bits_of_columns(s.Q(), s.stride_w);
  v.windows = static_cast<int>(s.N * s.P() * s.Q()), v.taps = static_cast<int>(s.taps());
  return v;
}

/// Rows of taps of few channels as runs of quads: where windows are a multiple of 4 floats apart, so are their rows
/// from a multiple of 16 bytes, a few floats before it. Those in front of the taps and behind them are multiplied by
/// zeros. (AlexNet's first layer: 36 floats for 33. An infinity or a NaN in a picture also reaches the window beside
/// it.)
struct TapRuns {
  int64_t front = 0, quads = 0;

  explicit TapRuns(const Conv2dShape& s) : front((4 - s.pad_w * s.C % 4) % 4), quads((front + s.S * s.C + 3) / 4) {}

  template <typename T>
  static bool fit(const T* x, const Conv2dShape& s) {
    return s.groups == 1 && s.dilation_w == 1 && s.C % 4 != 0 && s.S > 1 && tile::in_runs(x, s.W * s.C, 4) &&
           s.stride_w * s.C % 4 == 0;
  }
  /// The picture as one of 4 channels.
  template <typename Windows, typename T>
  Windows windows_of_input(const T* x, const Conv2dShape& s) const {
    Windows v = cuda::windows_of_input<Windows>(x, s);
    v.W = static_cast<int>(s.W * s.C / 4), v.pixel_pitch = 4;
    v.channels = tile::FastDivision(4), v.taps_w = tile::FastDivision(quads);
    v.stride_w = static_cast<int>(s.stride_w * s.C / 4);
    v.origin_w = -static_cast<int>((s.pad_w * s.C + front) / 4);
    v.column_bits = bits_of_columns(s.Q(), v.stride_w);
    v.taps = static_cast<int>(s.R * quads * 4);
    return v;
  }
};

/// One direction of a phase of backward-data: pixels `phase` + stride·i, i < count, are met by taps first + step·t, t <
/// taps, each from the output pixel i + origin − output_step·t.
struct Phase {
  int count = 0, first = 0, step = 1, taps = 0, origin = 0, output_step = 0;

  Phase(int64_t phase, int64_t size, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
    // Tap r meets the pixel where phase + pad − r·dilation is a multiple of the stride.
    const int64_t shared = std::gcd(stride, dilation);
    count = static_cast<int>((size - phase + stride - 1) / stride);
    step = static_cast<int>(stride / shared);
    output_step = static_cast<int>(dilation / shared);
    for (int64_t r = 0; r < std::min<int64_t>(kernel, step); ++r) {
      const int64_t moved = phase + pad - r * dilation;
      if (moved % stride != 0) continue;
      first = static_cast<int>(r);
      taps = static_cast<int>((kernel - 1 - r) / step + 1);
      origin = static_cast<int>(moved / stride);
      break;
    }
  }
};

template <typename T>
void backward_data_phase(const T* dy, const T* w, const T* through_relu, T* dx, const Conv2dShape& s, int64_t phase_h,
                         int64_t phase_w, Context& context) {
  const Phase h(phase_h, s.H, s.R, s.stride_h, s.pad_h, s.dilation_h);
  const Phase v(phase_w, s.W, s.S, s.stride_w, s.pad_w, s.dilation_w);
  const int64_t kernels = s.group_kernels(), channels = s.group_channels();
  const int depth = static_cast<int>(h.taps * v.taps * kernels);
  WindowRows<T> a{};
  a.data = dy;
  a.group = kernels;
  a.H = static_cast<int>(s.P()), a.W = static_cast<int>(s.Q()), a.pixel_pitch = static_cast<int>(s.K);
  a.grid_columns = tile::FastDivision(v.count), a.grid_rows = tile::FastDivision(h.count);
  a.channels = tile::FastDivision(kernels), a.taps_w = tile::FastDivision(std::max(v.taps, 1));
  a.stride_h = a.stride_w = 1;
  a.origin_h = h.origin, a.origin_w = v.origin;
  a.step_h = -h.output_step, a.step_w = -v.output_step;
  a.column_bits = bits_of_columns(v.count, 1);
  a.windows = static_cast<int>(s.N * h.count * v.count), a.taps = depth;
  FilterColumns<T> b{};
  b.data = w;
  b.group = kernels * s.taps();
  b.kernels = a.channels, b.taps_w = a.taps_w;
  b.S = static_cast<int>(s.S), b.channels = static_cast<int>(channels), b.kernel_pitch = static_cast<int>(s.taps());
  b.first_h = h.first, b.first_w = v.first, b.step_h = h.step, b.step_w = v.step;
  b.depth = depth;
  const int64_t first_pixel = (phase_h * s.W + phase_w) * s.C;
  auto out = tile::matrix_output<tile::Fused::relu_backward>(dx + first_pixel, a.windows, channels);
  out.read_through_relu(through_relu, first_pixel);
  out.row_pixels = a.grid_columns, out.image_rows = a.grid_rows;
  out.image_pitch = static_cast<int>(s.H * s.W * s.C);
  out.row_pitch = static_cast<int>(s.stride_h * s.W * s.C);
  out.pixel_pitch = static_cast<int>(s.stride_w * s.C);
  out.group = channels;
  const int groups = static_cast<int>(s.groups);
  if (tile::in_wholes(dy, kernels) && tile::in_wholes(w, channels)) {
    tile::multiply<tile::kWhole<T>, tile::kWhole<T>, tile::Tiles>(a, b, out, depth, groups, context);
  } else {
    tile::multiply<1, 1, tile::Tiles>(a, b, out, depth, groups, context);
  }
}

template <typename T>
void backward_data(const T* dy, const T* w, const T* through_relu, T* dx, const Conv2dShape& shape, Context& context) {
  shape.check();
  in_parts(shape, [&](const Conv2dShape& s, int64_t image) {
    const int64_t first_x = image * s.H * s.W * s.C;
    const T* const part_of_relu = through_relu ? through_relu + first_x : nullptr;
    for (int64_t phase_h = 0; phase_h < std::min(s.stride_h, s.H); ++phase_h) {
      for (int64_t phase_w = 0; phase_w < std::min(s.stride_w, s.W); ++phase_w) {
        backward_data_phase(dy + image * s.P() * s.Q() * s.K, w, part_of_relu, dx + first_x, s, phase_h, phase_w,
                            context);
      }
    }
  });
}

}  // namespace

template <typename T>
void conv2d_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const Conv2dShape& shape,
                    Activation activation, Context& context) {
  check_forward(shape, activation);
  in_parts(shape, [&](const Conv2dShape& s, int64_t image) {
    const auto a = windows_of_input<WindowRows<T>>(x + image * s.H * s.W * s.C, s);
    const int64_t kernels = s.group_kernels();
    const MatrixRows<T> filters{w, kernels * s.taps(), static_cast<int>(s.taps()), static_cast<int>(kernels),
                                static_cast<int>(s.taps())};
    auto out = tile::matrix_output(y + image * s.P() * s.Q() * s.K, a.windows, kernels);
    out.image_pitch = static_cast<int>(s.K);
    out.group = kernels;
    out.bias = b;
    out.bias_quads = tile::in_wholes(b, out.columns);
    out.activation = activation;
    const int groups = static_cast<int>(s.groups);
    if (TapRuns::fit(x, s)) {
      const TapRuns runs(s);
      const auto quads = runs.windows_of_input<WindowRows<T>>(x + image * s.H * s.W * s.C, s);
      const FilterRuns<T> padded{w,
                                 tile::FastDivision(4 * runs.quads),
                                 static_cast<int>(runs.front),
                                 static_cast<int>(s.S * s.C),
                                 filters.pitch,
                                 filters.rows,
                                 quads.taps};
      tile::multiply<4, 1, tile::RunTiles>(quads, padded, out, quads.taps, groups, context);
    } else if (tile::in_wholes(x, s.group_channels()) && tile::in_wholes(w, s.group_channels())) {
      tile::multiply<tile::kWhole<T>, tile::kWhole<T>, tile::ForwardTiles>(a, filters, out, s.taps(), groups, context);
    } else {
      tile::multiply<1, 1, tile::Tiles>(a, filters, out, s.taps(), groups, context);
    }
  });
}

template <typename T>
void conv2d_backward_data(const T* dy, const T* w, T* dx, const Conv2dShape& shape, Context& context) {
  backward_data<T>(dy, w, nullptr, dx, shape, context);
}

template <typename T>
void conv2d_backward_data_through_relu(const T* dy, const T* w, const T* x, T* dx, const Conv2dShape& shape,
                                       Context& context) {
  backward_data(dy, w, x, dx, shape, context);
}

template <typename T>
void conv2d_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const Conv2dShape& shape,
                            Accumulate accumulate, Context& context) {
  shape.check();
  const bool add = accumulate == Accumulate::yes;
  const auto part = [&](const Conv2dShape& s, int64_t image, bool accumulate_part) {
    const int64_t kernels = s.group_kernels(), pixels = s.N * s.P() * s.Q();
    const T* const part_x = x + image * s.H * s.W * s.C;
    const T* const part_dy = dy + image * s.P() * s.Q() * s.K;
    const auto b = windows_of_input<WindowColumns<T>>(part_x, s);
    const MatrixColumns<T> a{part_dy, kernels, static_cast<int>(s.K), static_cast<int>(kernels),
                             static_cast<int>(pixels)};
    auto out = tile::gradient_output(dw, db, kernels, s.taps(), accumulate_part);
    out.group = kernels * s.taps();
    const int groups = static_cast<int>(s.groups);
    constexpr int kWhole = tile::kWhole<T>;
    const bool dy_wholes = tile::in_wholes(dy, kernels), x_wholes = tile::in_wholes(x, s.group_channels());
    if (dy_wholes && TapRuns::fit(x, s)) {
      const TapRuns runs(s);
      out.gaps = true;
      out.run = tile::FastDivision(4 * runs.quads);
      out.front = static_cast<int>(runs.front), out.kept = static_cast<int>(s.S * s.C), out.stored = out.columns;
      // Whole sectors, so that shares' rows begin at one.
      out.columns = static_cast<int>((s.R * runs.quads + 1) / 2 * 8);
      out.pairs = out.quads = false;
      tile::multiply<kWhole, 4, tile::GradientTiles>(a, runs.windows_of_input<WindowColumns<T>>(part_x, s), out, pixels,
                                                     groups, context);
    } else if (dy_wholes && x_wholes) {
      tile::multiply<kWhole, kWhole, tile::GradientTiles>(a, b, out, pixels, groups, context);
    } else if (dy_wholes) {
      tile::multiply<kWhole, 1, tile::GradientTiles>(a, b, out, pixels, groups, context);
    } else {
      tile::multiply<1, 1, tile::GradientTiles>(a, b, out, pixels, groups, context);
    }
  };
  if (shape.N == 0) part(shape, 0, add);  // sums of nothing: zeros, or what was there
  bool first = true;
  in_parts(shape, [&](const Conv2dShape& s, int64_t image) {
    part(s, image, add || !first);
    first = false;
  });
}

template void conv2d_forward<float>(const float*, const float*, const float*, float*, const Conv2dShape&, Activation,
                                    Context&);
template void conv2d_backward_data<float>(const float*, const float*, float*, const Conv2dShape&, Context&);
template void conv2d_backward_data_through_relu<float>(const float*, const float*, const float*, float*,
                                                       const Conv2dShape&, Context&);
template void conv2d_backward_weight<float>(const float*, const float*, float*, float*, const Conv2dShape&, Accumulate,
                                            Context&);

template void conv2d_forward<bfloat16>(const bfloat16*, const bfloat16*, const float*, bfloat16*, const Conv2dShape&,
                                       Activation, Context&);
template void conv2d_backward_data<bfloat16>(const bfloat16*, const bfloat16*, bfloat16*, const Conv2dShape&, Context&);
template void conv2d_backward_data_through_relu<bfloat16>(const bfloat16*, const bfloat16*, const bfloat16*, bfloat16*,
                                                          const Conv2dShape&, Context&);
template void conv2d_backward_weight<bfloat16>(const bfloat16*, const bfloat16*, float*, float*, const Conv2dShape&,
                                               Accumulate, Context&);

}  // namespace striate::cuda
