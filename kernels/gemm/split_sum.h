#pragma once

#include "kernels/gemm/tile_row_sums.h"
#include "kernels/gpu/launch.h"

namespace striate::tile {

/// out = the sum, first share first, of `shares` results that lie densely in `partial` [shares, groups, rows, columns],
/// with out's bias, activation and accumulation. One thread a result or four, each read once: bound by bytes. Sums of
/// rows [shares, groups, rows] follow them where out wants any.
template <typename From, typename Out>
void sum_shares(const From* partial, int shares, int groups, const Out& out, gpu::Stream& stream);

/// sums[c] (+)= Σ_r x[r, c] over x [rows, columns]: a bias gradient. Two passes through `workspace`, with a fixed tree.
template <typename T>
void sum_columns(const T* x, float* sums, int64_t rows, int64_t columns, bool accumulate, Workspace& workspace,
                 gpu::Stream& stream);

}  // namespace striate::tile
