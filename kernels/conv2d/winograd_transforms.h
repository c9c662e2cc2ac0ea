#pragma once

#include <cstdint>

#include "kernels/activation/activation.h"
#include "kernels/bfloat16.h"

namespace striate::cpu::winograd {

constexpr int64_t kTile = 4;         ///< outputs of a tile along an axis
constexpr int64_t kLargestTile = 8;  ///< the most pixels it reads along an axis

/// The maps of F(4×4, r×r) in two dimensions, on vectors of channels. Tiles are given by pointers to their pixels,
/// row by row; transformed values are floats and lie `stride` floats from a point to the next, n² points.
template <typename T>
struct Transforms {
  int64_t n = 0;  ///< points, and pixels read, along an axis: 4 + r − 1

  /// Bᵀ d B of n² pixels' channels [first, first + channels). May write up to a vector of zeros past a point's last
  /// channel.
  void (*input)(const T* const* pixels, int64_t first, int64_t channels, float* to, int64_t stride) = nullptr;
  /// act(Aᵀ M A + bias) → 4×4 pixels, but for those that are null. bias may be null.
  void (*output)(const float* from, int64_t stride, int64_t channels, const float* bias, Activation activation,
                 T* const* pixels) = nullptr;
  /// G g Gᵀ of taps w[i·row + j·column + c]. May write up to a vector of zeros past a point's last channel.
  void (*weights)(const T* w, int64_t row, int64_t column, int64_t channels, float* to, int64_t stride) = nullptr;
  /// A dy Aᵀ of 4×4 pixels' channels. May write up to a vector of zeros past a point's last channel.
  void (*gradient)(const T* const* pixels, int64_t channels, float* to, int64_t stride) = nullptr;
  /// Gᵀ M G → (or, where `add`, +=) dw[(i·r + j)·tap + c].
  void (*weight_gradient)(const float* from, int64_t stride, int64_t channels, bool add, float* dw,
                          int64_t tap) = nullptr;
};

/// For kernels of 3 and of 5 taps along an axis.
template <typename T>
Transforms<T> transforms(int64_t taps);
template <>
Transforms<float> transforms(int64_t taps);
template <>
Transforms<bfloat16> transforms(int64_t taps);

}  // namespace striate::cpu::winograd
