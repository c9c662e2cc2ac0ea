// A task owns a block of tiles: it transforms their pixels, point by point multiplies them with the transformed weights
// (packed once, in panels for the register tile), a chunk of outputs at a time, and transforms the products back into
// y, bias and activation included. No transformed tensor is ever whole. The blocks are so large that the weights, which
// cross the cache once a block, are not what bounds it: 56 tiles make 28 operations of each of their bytes.
// Each product is one chain over the channels, so that the bits do not depend on how the tiles are cut.
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

constexpr int64_t kBlockRows = 4;        // register tiles in a block of tiles: 56 with AVX-512
constexpr int64_t kChunkColumns = 128;   // outputs multiplied before they are transformed back
constexpr int64_t kPackedChannels = 32;  // of nr kernels, transformed before they are packed

/// y = act(conv(x, g) + bias).
struct Convolution {
  const float* x;
  float* y;
  const float* bias;
  Activation activation;
  Tiling tiling;
  int64_t depth, columns;  ///< channels of x and of y
};

/// pack_panel(k0, columns, to, point, scratch) transforms the kernels of outputs [k0, k0 + columns), nr at the most,
/// into panels [depth, nr], `point` floats from a point to the next; scratch holds `pack_floats`.
template <typename PackPanel>
void convolve(const Convolution& conv, const Transforms& transforms, int64_t pack_floats, Context& context,
              const PackPanel& pack_panel) {
  const gemm::MicroKernels micro = gemm::micro_kernels();
  const int64_t points = transforms.n * transforms.n, tiles = conv.tiling.count(), threads = context.threads->size();
  const int64_t panels = ceil_div(conv.columns, micro.nr);

  // As many blocks for each thread, and where there are few, parts of the outputs.
  const int64_t wanted = round_up(ceil_div(tiles, kBlockRows * micro.mr), threads);
  const Parts blocks(tiles, micro.mr, ceil_div(tiles, wanted));
  const Parts parts(panels, 1, std::max<int64_t>(1, panels / ceil_div(threads, blocks.count)));
  const int64_t chunk = std::min(std::max<int64_t>(1, kChunkColumns / micro.nr), parts.longest());

  const int64_t x_stride = gemm::padded_stride(conv.depth), y_stride = gemm::padded_stride(chunk * micro.nr);
  const int64_t x_point = gemm::padded_stride(blocks.longest() * x_stride);
  const int64_t y_point = gemm::padded_stride(blocks.longest() * y_stride);
  const int64_t offset_floats = round_up(2 * blocks.longest(), 16);
  const int64_t scratch = round_up(std::max(offset_floats + points * (x_point + y_point), pack_floats), 16);
  const int64_t panel_floats = conv.depth * micro.nr, weight_floats = round_up(panels * points * panel_floats, 16);
  const int64_t zero_floats = round_up(conv.depth, 16);
  float* const weights = context.workspace->get<float>(weight_floats + zero_floats + threads * scratch);
  float* const zeros = weights + weight_floats;
  std::fill(zeros, zeros + zero_floats, 0.0f);

  gemm::for_each_item(panels, zeros + zero_floats, scratch, context, [&](int64_t panel, float* memory) {
    const int64_t k0 = panel * micro.nr;
    pack_panel(k0, std::min(micro.nr, conv.columns - k0), weights + panel * points * panel_floats, panel_floats,
               memory);
  });

  const auto convolve_block = [&](int64_t item, float* memory) {
    const int64_t t0 = blocks.begin(item / parts.count), t1 = blocks.end(item / parts.count);
    int64_t* const offsets = reinterpret_cast<int64_t*>(memory);
    float* const x = memory + offset_floats;
    float* const y = x + points * x_point;
    for (int64_t t = t0; t < t1; ++t) {
      const float* pixels[kLargestTile * kLargestTile];
      conv.tiling.inputs(t, transforms.n, conv.x, conv.depth, zeros, pixels);
      transforms.input(pixels, 0, conv.depth, x + (t - t0) * x_stride, x_point);
      offsets[t - t0] = (t - t0) * y_stride;
    }
    gemm::Block block;
    block.a_stride = x_stride;
    block.run = conv.depth;
    block.rows = t1 - t0;
    block.columns = micro.nr;
    block.c_rows = offsets;
    const int64_t last_panel = parts.end(item % parts.count);
    for (int64_t p0 = parts.begin(item % parts.count); p0 < last_panel; p0 += chunk) {
      const int64_t p1 = std::min(p0 + chunk, last_panel);
      for (int64_t point = 0; point < points; ++point) {
        block.a = x + point * x_point;
        for (int64_t panel = p0; panel < p1; ++panel) {
          block.b = weights + (panel * points + point) * panel_floats;
          block.c = y + point * y_point + (panel - p0) * micro.nr;
          micro.multiply_rows(block);
        }
      }
      const int64_t k0 = p0 * micro.nr, columns = std::min(p1 * micro.nr, conv.columns) - k0;
      for (int64_t t = t0; t < t1; ++t) {
        float* pixels[kTile * kTile];
        conv.tiling.outputs(t, conv.y, conv.columns, k0, pixels);
        transforms.output(y + (t - t0) * y_stride, y_point, columns, conv.bias ? conv.bias + k0 : nullptr,
                          conv.activation, pixels);
      }
    }
  };
  gemm::for_each_item(blocks.count * parts.count, zeros + zero_floats, scratch, context, convolve_block);
}

}  // namespace

bool fits(const Conv2dShape& s) {
  return s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 && s.dilation_w == 1 && s.groups == 1 && s.R == s.S &&
         (s.R == 3 || s.R == 5) && s.pad_h < s.R && s.pad_w < s.S;
}

bool forward_pays(const Conv2dShape& s) {
  return fits(s) && s.C >= 32 && s.K >= 32 && s.N * ceil_div(s.P(), kTile) * ceil_div(s.Q(), kTile) >= 40;
}

bool backward_data_pays(const Conv2dShape& s) { return forward_pays(s); }

void forward(const float* x, const float* w, const float* b, float* y, const Conv2dShape& s, Activation activation,
             Context& context) {
  require<ShapeError>(fits(s), "{}: not a convolution that Winograd's algorithm takes; use the direct sums",
                      s.to_string());
  if (s.N == 0) return;
  const gemm::MicroKernels micro = gemm::micro_kernels();
  const Transforms f = transforms(s.R);
  const Convolution conv{x, y, b, activation, Tiling(s), s.C, s.K};
  // A row of a kernel's transformed channels, then of the next; the same for the next point.
  const int64_t row = gemm::padded_stride(kPackedChannels), point_rows = micro.nr * row;
  convolve(conv, f, f.n * f.n * point_rows, context,
           [&](int64_t k0, int64_t columns, float* to, int64_t point, float* scratch) {
             for (int64_t c = 0; c < s.C; c += kPackedChannels) {
               const int64_t channels = std::min(kPackedChannels, s.C - c);
               for (int64_t k = 0; k < columns; ++k) {
                 f.weights(w + (k0 + k) * s.taps() + c, s.S * s.C, s.C, channels, scratch + k * row, point_rows);
               }
               for (int64_t i = 0; i < f.n * f.n; ++i) {
                 micro.pack_transposed(scratch + i * point_rows, row, columns, channels, to + i * point + c * micro.nr);
               }
             }
           });
}

void backward_data(const float* dy, const float* w, float* dx, const Conv2dShape& s, Context& context) {
  require<ShapeError>(fits(s), "{}: not a convolution that Winograd's algorithm takes; use the direct sums",
                      s.to_string());
  if (s.N == 0) return;
  const gemm::MicroKernels micro = gemm::micro_kernels();
  const Transforms f = transforms(s.R);
  // The convolution of dy with the turned kernel.
  const Convolution conv{dy,
                         dx,
                         nullptr,
                         Activation::none,
                         Tiling(s.N, Axis{s.P(), s.H, s.R - 1 - s.pad_h}, Axis{s.Q(), s.W, s.S - 1 - s.pad_w}),
                         s.K,
                         s.C};
  const float* const last_tap = w + (s.R * s.S - 1) * s.C;
  convolve(conv, f, 0, context, [&](int64_t c0, int64_t columns, float* to, int64_t point, float*) {
    for (int64_t k = 0; k < s.K; ++k) {
      f.weights(last_tap + k * s.taps() + c0, -s.S * s.C, -s.C, columns, to + k * micro.nr, point);
    }
  });
}

}  // namespace striate::cpu::winograd
