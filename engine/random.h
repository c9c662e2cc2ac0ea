#pragma once

#include <array>
#include <cstdint>

#include "kernels/philox.h"

namespace striate {

/// What a random stream is drawn for: streams of different purposes share no draw.
enum class RandomPurpose : uint32_t {
  initialization = 1,
  shuffle,
  split,
  augmentation,
  synthetic,
  test,
  crop,
  figure,
  mixing
};

/// A stream of random numbers that hangs on (seed, purpose, a, b) alone — (epoch, sample index), say — and on nothing
/// that was drawn before, so that the number of workers or a resume changes nothing. Philox 4x32-10 underneath.
class Random {
 public:
  Random(uint64_t seed, RandomPurpose purpose, uint64_t a = 0, uint32_t b = 0);

  /// Goes to the stream's words 4·block, …: several threads can draw parts of one stream. Four draws of uniform() or
  /// normal() take one block.
  void start_at(uint32_t block);

  uint32_t word();                       ///< 32 random bits
  float uniform();                       ///< in [0, 1), 24 bits
  float uniform(float low, float high);  ///< in [low, high)
  float normal();                        ///< mean 0, variance 1 (Box & Muller 1958)
  uint64_t below(uint64_t n);            ///< 0 … n − 1 without bias (Lemire 2019); n > 0
  bool chance(float p) { return uniform() < p; }

  /// Where the next word() comes from: word k of the stream is the (k mod 4)th of philox4x32({k/4, stream}, key).
  struct Position {
    uint32_t word;
    std::array<uint32_t, 3> stream;
    std::array<uint32_t, 2> key;
  };
  Position position() const;

 private:
  std::array<uint32_t, 4> counter_;
  std::array<uint32_t, 2> key_;
  std::array<uint32_t, 4> words_{};
  int used_ = 4;
  bool has_spare_ = false;
  float spare_ = 0.0f;
};

}  // namespace striate
