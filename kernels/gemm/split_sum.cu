// Sums in a fixed order: the shares of a product's depth, and the columns of a matrix. Both read every value once, four
// a thread where columns allow, neighbouring threads neighbouring columns; bound by bytes.
#include "kernels/gemm/split_sum.h"

#include <algorithm>

#include "kernels/gpu/device.h"
#include "kernels/gpu/shared.h"

namespace striate::tile {

namespace {

constexpr int kThreads = 256;
/// Blocks a multiprocessor that sum shares: unless told, ptxas aims at more and spills for it.
constexpr int kBlocks = 5;

__device__ __forceinline__ float4 quad_of(const float* p) { return gpu::load_16_constant(p); }
__device__ __forceinline__ float4 quad_of(const bfloat16* p) {
  const uint2 v = gpu::load_8<uint2>(p);
  return make_float4(__uint_as_float(v.x << 16), __uint_as_float(v.x & 0xFFFF0000u), __uint_as_float(v.y << 16),
                     __uint_as_float(v.y & 0xFFFF0000u));
}
__device__ __forceinline__ float value_of(const float* p) { return __ldg(p); }
__device__ __forceinline__ float value_of(const bfloat16* p) { return gpu::from_bf16(__ldg(&p->bits)); }

/// A row's sum over the depth from those over its shares, [shares, groups, rows].
__device__ __forceinline__ void sum_row_sums(const float* of_share, int shares, int m, OutputWithRowSums out) {
  const int groups = static_cast<int>(gridDim.z), group = static_cast<int>(blockIdx.z);
  if (m >= out.rows) return;
  float sum = 0.0f;
  for (int share = 0; share < shares; ++share) sum += __ldg(of_share + (share * groups + group) * out.rows + m);
  out.enter(group, 0);
  out.row_sums[m] = out.accumulate ? out.row_sums[m] + sum : sum;
}

/// The first `blocks` blocks of a row of the grid sum results; those behind them sums of rows.
template <int kWidth, typename From, typename Out>
__global__ void __launch_bounds__(kThreads, kBlocks)
    sum_shares_kernel(const From* partial, int shares, int64_t share_pitch, Out out, FastDivision runs_in_row,
                      int blocks) {
  const int runs = out.rows * runs_in_row.divisor;
  if constexpr (kSumsRows<Out>) {
    if (static_cast<int>(blockIdx.x) >= blocks) {
      const int m = (static_cast<int>(blockIdx.x) - blocks) * kThreads + static_cast<int>(threadIdx.x);
      sum_row_sums(partial + shares * share_pitch, shares, m, out);
      return;
    }
  }
  partial += static_cast<int64_t>(blockIdx.z) * out.rows * out.columns;
  out.enter(static_cast<int>(blockIdx.z), 0);
  // Which of a row's columns from n on dropout keeps.
  const auto kept_of = [&out](int m, int n) {
    if constexpr (Out::kDropout) return out.mask.quad(m, n, out.columns);
    return 0xFu;
  };
  for (int run = static_cast<int>(blockIdx.x * kThreads + threadIdx.x); run < runs; run += blocks * kThreads) {
    int column;
    const int m = runs_in_row.divide(run, column);
    const auto row = out.row(m);
    const int n = column * kWidth;
    const From* from = partial + static_cast<int64_t>(run) * kWidth;
    if constexpr (kWidth == 4) {
      float4 sum = quad_of(from);
      for (int share = 1; share < shares; ++share) {
        const float4 v = quad_of(from + share * share_pitch);
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
      }
      const float4 bias = out.bias_of_quad(n);
      const uint32_t kept = kept_of(m, n);
      out.store_quad(row, n,
                     make_float4(out.finish(sum.x, bias.x, kept & 1u), out.finish(sum.y, bias.y, kept & 2u),
                                 out.finish(sum.z, bias.z, kept & 4u), out.finish(sum.w, bias.w, kept & 8u)));
    } else {
      float sum = value_of(from);
      for (int share = 1; share < shares; ++share) sum += value_of(from + share * share_pitch);
      out.store(row, n, out.finish(sum, out.bias_of(n), kept_of(m, n) & 1u));
    }
  }
}

/// Block (x, y) sums the columns of its threads over the y-th part of the rows; its lines of threads take rows in turn
/// and are added up in shared memory, line 0 first. blockDim = (runs of columns, lines).
template <int kWidth, typename T>
__global__ void __launch_bounds__(kThreads)
    sum_columns_kernel(const T* x, float* sums, int64_t rows, int64_t rows_per_part, int columns, bool accumulate) {
  STRIATE_SHARED(float4, quads_of_line, [kThreads * kWidth / 4]);
  float* const of_line = reinterpret_cast<float*>(quads_of_line);  // [line][column]
  const int n = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * kWidth;
  const int64_t begin = blockIdx.y * rows_per_part;
  const int64_t end = min(static_cast<long long>(rows), static_cast<long long>(begin + rows_per_part));
  float sum[kWidth] = {};
  if (n < columns) {
    for (int64_t r = begin + threadIdx.y; r < end; r += blockDim.y) {
      if constexpr (kWidth == 4) {
        const float4 v = quad_of(x + r * columns + n);
        sum[0] += v.x, sum[1] += v.y, sum[2] += v.z, sum[3] += v.w;
      } else {
        sum[0] += value_of(x + r * columns + n);
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

template <typename T>
void launch_sum_columns(const T* x, float* sums, int64_t rows, int64_t columns, int64_t parts, bool accumulate,
                        gpu::Stream& stream) {
  const bool quads = columns % 4 == 0 && reinterpret_cast<uintptr_t>(x) % (4 * sizeof(T)) == 0;
  const int64_t runs = quads ? columns / 4 : columns;
  unsigned across = 1;
  while (across < 32 && across < runs) across *= 2;
  // No more lines of threads than rows to sum.
  const int64_t rows_per_part = (rows + parts - 1) / parts;
  unsigned lines = 1;
  while (lines < kThreads / across && lines < rows_per_part) lines *= 2;
  const dim3 grid(static_cast<unsigned>((runs + across - 1) / across), static_cast<unsigned>(parts));
  if (quads) {
    gpu::launch(sum_columns_kernel<4, T>, grid, dim3(across, lines), 0, stream, x, sums, rows, rows_per_part,
                static_cast<int>(columns), accumulate);
  } else {
    gpu::launch(sum_columns_kernel<1, T>, grid, dim3(across, lines), 0, stream, x, sums, rows, rows_per_part,
                static_cast<int>(columns), accumulate);
  }
}

}  // namespace

template <typename From, typename Out>
void sum_shares(const From* partial, int shares, int groups, const Out& out, gpu::Stream& stream) {
  const int64_t elements = int64_t{out.rows} * out.columns;
  const bool quads = out.quads;
  const int64_t runs = quads ? elements / 4 : elements;
  const int64_t enough = kBlocks * gpu::properties().multiprocessors;
  const auto blocks = static_cast<int>(std::min((runs + kThreads - 1) / kThreads, enough));
  int of_rows = 0;
  if constexpr (kSumsRows<Out>) of_rows = out.row_sums ? (out.rows + kThreads - 1) / kThreads : 0;
  const dim3 grid(static_cast<unsigned>(blocks + of_rows), 1, static_cast<unsigned>(groups));
  if (quads) {
    gpu::launch(sum_shares_kernel<4, From, Out>, grid, dim3(kThreads), 0, stream, partial, shares, elements * groups,
                out, FastDivision(out.columns / 4), blocks);
  } else {
    gpu::launch(sum_shares_kernel<1, From, Out>, grid, dim3(kThreads), 0, stream, partial, shares, elements * groups,
                out, FastDivision(out.columns), blocks);
  }
}

template <typename T>
void sum_columns(const T* x, float* sums, int64_t rows, int64_t columns, bool accumulate, Workspace& workspace,
                 gpu::Stream& stream) {
  // Enough blocks to fill the chip; a part of fewer than 256 rows, a linear layer's batch, costs less than another
  // launch.
  const int64_t across = (columns + 127) / 128, wanted = 4 * gpu::properties().multiprocessors;
  const int64_t parts = std::clamp<int64_t>(std::min(wanted / across, rows / 256), 1, 65535);
  if (parts == 1) {
    launch_sum_columns(x, sums, rows, columns, 1, accumulate, stream);
    return;
  }
  float* const partial = workspace.get<float>(parts * columns);
  launch_sum_columns(x, partial, rows, columns, parts, false, stream);
  launch_sum_columns(partial, sums, parts, columns, 1, accumulate, stream);
}

template void sum_shares(const float*, int, int, const Output<float>&, gpu::Stream&);
template void sum_shares(const float*, int, int, const Output<bfloat16>&, gpu::Stream&);
template void sum_shares(const bfloat16*, int, int, const Output<bfloat16>&, gpu::Stream&);
template void sum_shares(const float*, int, int, const Output<float, Fused::dropout>&, gpu::Stream&);
template void sum_shares(const float*, int, int, const Output<bfloat16, Fused::dropout>&, gpu::Stream&);
template void sum_shares(const float*, int, int, const Output<float, Fused::relu_backward>&, gpu::Stream&);
template void sum_shares(const float*, int, int, const Output<bfloat16, Fused::relu_backward>&, gpu::Stream&);
template void sum_shares(const float*, int, int, const OutputWithRowSums&, gpu::Stream&);
template void sum_columns(const float*, float*, int64_t, int64_t, bool, Workspace&, gpu::Stream&);
template void sum_columns(const bfloat16*, float*, int64_t, int64_t, bool, Workspace&, gpu::Stream&);

}  // namespace striate::tile
