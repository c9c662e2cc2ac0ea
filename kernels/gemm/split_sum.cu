// Sums in a fixed order: the shares of a product's depth, and the columns of a matrix. Both read every float once, 16
// bytes a thread where columns allow, neighbouring threads neighbouring columns; bound by bytes.
#include "kernels/gemm/split_sum.h"

#include <algorithm>

#include "kernels/gpu/device.h"
#include "kernels/gpu/shared.h"

namespace striate::tile {

namespace {

constexpr int kThreads = 256;

template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    sum_shares_kernel(const float* partial, int shares, int64_t share_pitch, Output out, FastDivision runs_in_row) {
  const int runs = out.rows * runs_in_row.divisor;
  partial += static_cast<int64_t>(blockIdx.z) * out.rows * out.columns;
  out.enter(static_cast<int>(blockIdx.z), 0);
  for (int run = static_cast<int>(blockIdx.x * kThreads + threadIdx.x); run < runs;
       run += static_cast<int>(gridDim.x) * kThreads) {
    int column;
    float* const row = out.row(runs_in_row.divide(run, column));
    const int n = column * kWidth;
    const float* from = partial + static_cast<int64_t>(run) * kWidth;
    if constexpr (kWidth == 4) {
      float4 sum = gpu::load_16(from);
      for (int share = 1; share < shares; ++share) {
        const float4 v = gpu::load_16(from + share * share_pitch);
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
      }
      const float4 bias = out.bias_of_quad(n);
      out.store_quad(row, n,
                     make_float4(out.finish(sum.x, bias.x), out.finish(sum.y, bias.y), out.finish(sum.z, bias.z),
                                 out.finish(sum.w, bias.w)));
    } else {
      float sum = *from;
      for (int share = 1; share < shares; ++share) sum += from[share * share_pitch];
      out.store(row, n, out.finish(sum, out.bias_of(n)));
    }
  }
}

/// Block (x, y) sums the columns of its threads over the y-th part of the rows; its lines of threads take rows in turn
/// and are added up in shared memory, line 0 first. blockDim = (runs of columns, lines).
template <int kWidth>
__global__ void __launch_bounds__(kThreads)
    sum_columns_kernel(const float* x, float* sums, int64_t rows, int64_t rows_per_part, int columns, bool accumulate) {
  STRIATE_SHARED(float4, quads_of_line, [kThreads * kWidth / 4]);
  float* const of_line = reinterpret_cast<float*>(quads_of_line);  // [line][column]
  const int n = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kWidth;
  const int64_t begin = blockIdx.y * rows_per_part;
  const int64_t end = min(static_cast<long long>(rows), static_cast<long long>(begin + rows_per_part));
  float sum[kWidth] = {};
  if (n < columns) {
    for (int64_t r = begin + threadIdx.y; r < end; r += blockDim.y) {
      if constexpr (kWidth == 4) {
        const float4 v = gpu::load_16_constant(x + r * columns + n);
        sum[0] += v.x, sum[1] += v.y, sum[2] += v.z, sum[3] += v.w;
      } else {
        sum[0] += x[r * columns + n];
      }
    }
  }
  const unsigned thread = threadIdx.y * blockDim.x + threadIdx.x;
  if constexpr (kWidth == 4) {
    gpu::store_16(quads_of_line + thread, make_float4(sum[0], sum[1], sum[2], sum[3]));
  } else {
    of_line[thread] = sum[0];
  }
  __syncthreads();
  // The first threads of the block, in order, write the block's columns in order.
  const unsigned block_columns = blockDim.x * kWidth;
  const int first = static_cast<int>(blockIdx.x * block_columns);
  for (unsigned c = thread; c < block_columns; c += blockDim.x * blockDim.y) {
    if (first + static_cast<int>(c) >= columns) continue;
    float total = 0.0f;
    for (unsigned line = 0; line < blockDim.y; ++line) {
      total += of_line[line * block_columns + c];
    }
    float* const to = sums + static_cast<int64_t>(blockIdx.y) * columns + first + static_cast<int>(c);
    *to = accumulate ? *to + total : total;
  }
}

void launch_sum_columns(const float* x, float* sums, int64_t rows, int64_t columns, int64_t parts, bool accumulate,
                        gpu::Stream& stream) {
  const bool quads = columns % 4 == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0;
  const int64_t runs = quads ? columns / 4 : columns;
  unsigned across = 1;
  while (across < 32 && across < runs) across *= 2;
  // No more lines of threads than rows to sum.
  const int64_t rows_per_part = (rows + parts - 1) / parts;
  unsigned lines = 1;
  while (lines < kThreads / across && lines < rows_per_part) lines *= 2;
  const dim3 grid(static_cast<unsigned>((runs + across - 1) / across), static_cast<unsigned>(parts));
  if (quads) {
    gpu::launch(sum_columns_kernel<4>, grid, dim3(across, lines), 0, stream, x, sums, rows, rows_per_part,
                static_cast<int>(columns), accumulate);
  } else {
    gpu::launch(sum_columns_kernel<1>, grid, dim3(across, lines), 0, stream, x, sums, rows, rows_per_part,
                static_cast<int>(columns), accumulate);
  }
}

}  // namespace

void sum_shares(const float* partial, int shares, int groups, const Output& out, gpu::Stream& stream) {
  const int64_t elements = int64_t{out.rows} * out.columns;
  const bool quads = out.quads;
  const int64_t runs = quads ? elements / 4 : elements;
  const int64_t enough = 8 * gpu::properties().multiprocessors;
  const dim3 grid(static_cast<unsigned>(std::min((runs + kThreads - 1) / kThreads, enough)), 1,
                  static_cast<unsigned>(groups));
  if (quads) {
    gpu::launch(sum_shares_kernel<4>, grid, dim3(kThreads), 0, stream, partial, shares, elements * groups, out,
                FastDivision(out.columns / 4));
  } else {
    gpu::launch(sum_shares_kernel<1>, grid, dim3(kThreads), 0, stream, partial, shares, elements * groups, out,
                FastDivision(out.columns));
  }
}

void sum_columns(const float* x, float* sums, int64_t rows, int64_t columns, bool accumulate, Workspace& workspace,
                 gpu::Stream& stream) {
  // Enough blocks to fill the chip; a part of fewer than 64 rows costs more than it saves.
  const int64_t across = (columns + 127) / 128, wanted = 4 * gpu::properties().multiprocessors;
  const int64_t parts = std::clamp<int64_t>(std::min(wanted / across, rows / 64), 1, 65535);
  if (parts == 1) {
    launch_sum_columns(x, sums, rows, columns, 1, accumulate, stream);
    return;
  }
  float* const partial = workspace.get<float>(parts * columns);
  launch_sum_columns(x, partial, rows, columns, parts, false, stream);
  launch_sum_columns(partial, sums, parts, columns, 1, accumulate, stream);
}

}  // namespace striate::tile
