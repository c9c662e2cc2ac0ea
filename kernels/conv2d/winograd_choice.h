#pragma once

#include <algorithm>
#include <type_traits>

#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/winograd.h"

namespace striate::cpu {

/// Whether the kernel covers its image, one output pixel: a matrix product, which conv2d computes as such.
inline bool covers_image(const Conv2dShape& s) {
  return s.R == s.H && s.S == s.W && s.pad_h == 0 && s.pad_w == 0 && s.dilation_h == 1 && s.dilation_w == 1 &&
         s.groups == 1;
}

/// What of a convolution is computed by Winograd's algorithm.
struct WinogradChoice {
  bool forward, backward_data, backward_weight;
};

/// Where that is faster than the direct sums. Those of bfloat16 take half the time of float's, which Winograd's
/// algorithm knows alone: of 3×3 layers it then needs more tiles to spread the transformed weights over, and for the
/// weights' gradient more channels to spread the tiles' transforms over. (ResNet's 56×56×64 to 7×7×512 at batch 32,
/// AlexNet's layers.) It does not ask whether the CPU multiplies bfloat16: what is computed is the same everywhere.
template <typename T>
WinogradChoice winograd_choice(const Conv2dShape& s) {
  if (covers_image(s)) return {false, false, false};
  WinogradChoice choice{winograd::forward_pays(s), winograd::backward_data_pays(s), winograd::backward_weight_pays(s)};
  if (std::is_same_v<T, float> || s.R == 5) return choice;
  constexpr int64_t kTile = 4, kFewestTiles = 256, kFewestChannels = 64;
  const int64_t tiles = s.N * ((s.P() + kTile - 1) / kTile) * ((s.Q() + kTile - 1) / kTile);
  const int64_t channels = std::min(s.C, s.K);
  const bool pays = tiles >= kFewestTiles && channels >= kFewestChannels;
  choice.forward &= pays;
  choice.backward_data &= pays;
  choice.backward_weight &= pays && channels > kFewestChannels;
  return choice;
}

}  // namespace striate::cpu
