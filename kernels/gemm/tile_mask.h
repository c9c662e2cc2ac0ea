#pragma once

#include "kernels/dropout/draw.h"
#include "kernels/gpu/warp.h"

namespace striate::tile {

/// Dropout of a product's results, by the element's place in the matrix of them all (kernels/dropout/dropout.h).
struct Mask {
  const DropoutState* state = nullptr;  ///< in the device's memory; null: everything is kept
  uint32_t layer = 0;
  uint32_t threshold = 0;  ///< ⌈p·2²⁴⌉: what is drawn is below p where its upper 24 bits are below this

  /// Draws the mask of results in rows of `columns`.
  class Draws {
   public:
    __device__ __forceinline__ Draws(const Mask& mask, int columns)
        : state_(*mask.state),
          first_(state_.first_sample * static_cast<uint64_t>(columns)),
          columns_(static_cast<uint32_t>(columns)),
          layer_(mask.layer),
          threshold_(mask.threshold) {}

    /// Which of columns n to n + 3 of row m are kept: a bit each, column n's the lowest.
    __device__ __forceinline__ uint32_t quad(int m, int n) const {
      const uint64_t element = first_ + static_cast<uint64_t>(m) * columns_ + static_cast<uint64_t>(n);
      const auto first = static_cast<uint32_t>(element % 4);
      uint32_t kept = 0;
      // A loop, so that there is one copy of the draw.
      STRIATE_UNROLL_BY(1)
      for (uint32_t block = 0; block <= (first != 0 ? 1u : 0u); ++block) {
        kept |= of_block(element / 4 + block) << 4 * block;
      }
      return kept >> first & 0xFu;
    }

   private:
    __device__ __forceinline__ uint32_t of_block(uint64_t block) const {
      const uint4 words = dropout::draw(state_, layer_, block);
      return bit(words.x) | bit(words.y) << 1 | bit(words.z) << 2 | bit(words.w) << 3;
    }
    __device__ __forceinline__ uint32_t bit(uint32_t word) const { return word >> 8 >= threshold_ ? 1u : 0u; }

    DropoutState state_;
    uint64_t first_;
    uint32_t columns_, layer_, threshold_;
  };

  /// The same of one place.
  __device__ __forceinline__ uint32_t quad(int m, int n, int columns) const {
    return state ? Draws(*this, columns).quad(m, n) : 0xFu;
  }
};

/// Which of a thread's results are kept, a bit each.
template <int kResults>
class Kept {
 public:
  __device__ __forceinline__ explicit Kept(bool all) {
    STRIATE_UNROLL
    for (uint32_t& word : words_) word = all ? 0xFFFFFFFFu : 0u;
  }
  /// The next four. The words move down together: an index known at run time only would put them into local memory.
  __device__ __forceinline__ void push(uint32_t bits) {
    STRIATE_UNROLL
    for (int word = 0; word < kWords; ++word) {
      words_[word] = words_[word] >> 4 | (word + 1 < kWords ? words_[word + 1] : bits) << 28;
    }
  }
  __device__ __forceinline__ bool operator[](int result) const {
    const int bit = 32 * kWords - kResults + result;
    return (words_[bit / 32] >> bit % 32 & 1u) != 0;
  }

 private:
  static constexpr int kWords = (kResults + 31) / 32;
  uint32_t words_[kWords];
};
struct AllKept {
  __device__ __forceinline__ bool operator[](int) const { return true; }
};

/// The bits of all results of a thread. Every four of them, `group` by `group`, are kRun neighbours each in 4/kRun
/// quads of columns, which as many neighbouring lanes share: each lane draws the quad of its own number, quad(group,
/// number) → (row, first column), and they exchange them. The whole warp must call it. Drawn in a loop before anything
/// is stored: unrolled among the stores, the draws would be most of the kernel.
template <int kResults, int kRun, typename Quad>
__device__ __forceinline__ Kept<kResults> draw_kept(const Mask& mask, int columns, Quad&& quad) {
  constexpr int kLanes = 4 / kRun;
  static_assert(kResults % 4 == 0);
  Kept<kResults> kept(mask.state == nullptr);
  if (mask.state == nullptr) return kept;
  const Mask::Draws draws(mask, columns);
  const auto lane = static_cast<int>(threadIdx.x) % kLanes;
  STRIATE_UNROLL_BY(1)
  for (int group = 0; group < kResults / 4; ++group) {
    const int2 place = quad(group, lane);
    const uint32_t own = draws.quad(place.x, place.y);
    uint32_t bits = 0;
    STRIATE_UNROLL
    for (int run = 0; run < kLanes; ++run) {
      const uint32_t of_quad = kLanes == 1 ? own : __shfl_sync(0xFFFFFFFFu, own, run, kLanes);
      bits |= (of_quad >> lane * kRun & ((1u << kRun) - 1u)) << run * kRun;
    }
    kept.push(bits);
  }
  return kept;
}

}  // namespace striate::tile
