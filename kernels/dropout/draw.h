#pragma once

#include "kernels/dropout/dropout.h"
#include "kernels/gpu/platform.h"

namespace striate::dropout {

/// The four draws of a block on CUDA as words, by dropout_uniform()'s counter and key.
__device__ __forceinline__ uint4 draw(const DropoutState& state, uint32_t layer, uint64_t block) {
  const auto words = philox4x32(
      {static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), static_cast<uint32_t>(state.step), layer},
      {static_cast<uint32_t>(state.seed),
       static_cast<uint32_t>(state.seed >> 32) ^ static_cast<uint32_t>(state.step >> 32)});
  return make_uint4(words[0], words[1], words[2], words[3]);
}

}  // namespace striate::dropout
