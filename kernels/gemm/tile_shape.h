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

/// A tile whose operand is contiguous along the depth: row after row of kDepth values. The 16-byte chunks of a row are
/// permuted by XOR with bits of the row, so that the same chunk of 8 rows (an ldmatrix, or a quarter-warp of 16-byte
/// loads) lies in 8 different groups of 4 banks, as does a row that cp.async writes.
template <typename T, int kRows, int kDepth>
struct DepthTile {
  static constexpr bool kDepthContiguous = true;
  static constexpr int kChunk = 16 / static_cast<int>(sizeof(T));  ///< values in 16 bytes
  static constexpr int kRowBytes = kDepth * static_cast<int>(sizeof(T));
  static constexpr int kBytes = kRows * kRowBytes;
  static_assert(kRowBytes == 64 || kRowBytes % 128 == 0);

  __device__ __forceinline__ static int swizzle(int row) { return kRowBytes == 64 ? row >> 1 & 3 : row & 7; }
  /// Where the values from depth kChunk·chunk of `row` on begin.
  __device__ __forceinline__ static int chunk(int row, int chunk) {
    return row * kDepth + (chunk ^ swizzle(row)) * kChunk;
  }
  __device__ __forceinline__ static int at(int row, int depth) {
    return chunk(row, depth >> (kChunk == 4 ? 2 : 3)) + (depth & (kChunk - 1));
  }
};

/// A tile whose operand is contiguous along its rows (of the result's m or n): kDepth lines of kRows values. Lines are
/// 8 values apart beyond kRows, so that the 4 depths × 8 rows of a fragment of floats lie in 32 different banks, and a
/// chunk of 8 lines of bfloat16 in 8 groups of 4.
template <typename T, int kRows, int kDepth>
struct RowTile {
  static constexpr bool kDepthContiguous = false;
  static constexpr int kPitch = kRows + 8;
  static constexpr int kBytes = kPitch * kDepth * static_cast<int>(sizeof(T));
  static_assert(sizeof(T) == 4 ? kPitch % 32 == 8 || kPitch % 32 == 24 : kPitch % 16 == 8);

  __device__ __forceinline__ static int at(int row, int depth) { return depth * kPitch + row; }
};

}  // namespace striate::tile
