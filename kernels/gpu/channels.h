#pragma once

#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "kernels/gpu/floats.h"

// Channels of an NHWC tensor, as the kernels that go through one pixel by pixel read and write them.

namespace striate::gpu {

/// Calls fn(std::integral_constant<int, channels a thread takes>): kMost where C channels a pixel can be taken so many
/// at a time in all of these tensors (some may be null), else 1.
template <int kMost = 4, typename Fn>
void with_channels(int64_t C, std::initializer_list<const void*> tensors, Fn&& fn) {
  if (in_runs_of(kMost, C, tensors)) {
    fn(std::integral_constant<int, kMost>());
  } else {
    fn(std::integral_constant<int, 1>());
  }
}

/// How a pixel's C channels are cut into blocks: `chunks` blocks side by side of `threads` threads and 128 channels at
/// most, with as few threads idle as can be.
struct ChannelBlocks {
  unsigned threads, chunks;
};

inline ChannelBlocks channel_blocks(int C, int channels_a_thread) {
  const unsigned accesses = static_cast<unsigned>((C + channels_a_thread - 1) / channels_a_thread);
  const unsigned most = 128 / static_cast<unsigned>(channels_a_thread), chunks = (accesses + most - 1) / most;
  return {(accesses + chunks - 1) / chunks, chunks};
}

}  // namespace striate::gpu
