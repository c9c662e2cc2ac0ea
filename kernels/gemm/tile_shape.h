#pragma once

#include "kernels/gpu/platform.h"

// How a block's tiles lie in shared memory.
namespace striate::tile {

/// A block computes kM × kN results, kK products deep at a time; its warps stand kWarpsM × kWarpsN on them. kStages
/// pieces of depth kK are in shared memory or on their way. kBlocks blocks are to fit on a multiprocessor.
template <int kM_, int kN_, int kK_, int kWarpsM_, int kWarpsN_, int kStages_, int kBlocks_>
struct Shape {
  static constexpr int kM = kM_, kN = kN_, kK = kK_;
  static constexpr int kWarpsM = kWarpsM_, kWarpsN = kWarpsN_;
  static constexpr int kStages = kStages_, kBlocks = kBlocks_;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr int kWarpM = kM / kWarpsM, kWarpN = kN / kWarpsN;
};

/// A tile whose operand is contiguous along the depth: row after row of kDepth floats. The 16-byte chunks of a row are
/// permuted by XOR with bits of the row, so that the same chunk of 8 rows (an ldmatrix, or a quarter-warp of 16-byte
/// loads) lies in 8 different groups of 4 banks, as does a row that cp.async writes.
template <int kRows, int kDepth>
struct DepthTile {
  static constexpr bool kDepthContiguous = true;
  static constexpr int kFloats = kRows * kDepth;
  static_assert(kDepth == 16 || kDepth % 32 == 0);

  __device__ __forceinline__ static int swizzle(int row) { return kDepth == 16 ? row >> 1 & 3 : row & 7; }
  /// Where the 4 floats at depth 4·chunk of `row` begin.
  __device__ __forceinline__ static int chunk(int row, int chunk) { return row * kDepth + (chunk ^ swizzle(row)) * 4; }
  __device__ __forceinline__ static int at(int row, int depth) { return chunk(row, depth >> 2) + (depth & 3); }
};

/// A tile whose operand is contiguous along its rows (of the result's m or n): kDepth lines of kRows floats. Lines are
/// 8 floats apart beyond kRows, so that the 4 depths × 8 rows of a fragment lie in 32 different banks.
template <int kRows, int kDepth>
struct RowTile {
  static constexpr bool kDepthContiguous = false;
  static constexpr int kPitch = kRows + 8;
  static constexpr int kFloats = kPitch * kDepth;
  static_assert(kPitch % 32 == 8 || kPitch % 32 == 24);

  __device__ __forceinline__ static int at(int row, int depth) { return depth * kPitch + row; }
};

/// The same two of bfloat16. A row's 16-byte chunks hold 8 values; a chunk of 8 rows lies in 8 groups of 4 banks.
template <int kRows, int kDepth>
struct HalfDepthTile {
  static constexpr bool kDepthContiguous = true;
  static constexpr int kFloats = kRows * kDepth / 2;
  static_assert(kDepth == 32);

  __device__ __forceinline__ static int at(int row, int depth) {
    return row * kDepth + ((depth >> 3) ^ (row >> 1 & 3)) * 8 + (depth & 7);
  }
};

/// Lines are 16 bytes apart beyond kRows, so that a chunk of 8 of them lies in 8 groups of 4 banks.
template <int kRows, int kDepth>
struct HalfRowTile {
  static constexpr bool kDepthContiguous = false;
  static constexpr int kPitch = kRows + 8;
  static constexpr int kFloats = kPitch * kDepth / 2;
  static_assert(kPitch % 16 == 8);

  __device__ __forceinline__ static int at(int row, int depth) { return depth * kPitch + row; }
};

}  // namespace striate::tile
