#include "engine/random.h"

#include <cmath>
#include <numbers>

namespace striate {

Random::Random(uint64_t seed, RandomPurpose purpose, uint64_t a, uint32_t b)
    : counter_{0, b, static_cast<uint32_t>(a), static_cast<uint32_t>(a >> 32)},
      // The purpose sits in the key's top byte, where a dropout key holds the step's (below 2^56): no stream meets a
      // mask.
      key_{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32) ^ (static_cast<uint32_t>(purpose) << 24)} {}

void Random::start_at(uint32_t block) {
  counter_[0] = block;
  used_ = 4;
  has_spare_ = false;
}

uint32_t Random::word() {
  if (used_ == 4) {
    words_ = philox4x32(counter_, key_);
    ++counter_[0];
    used_ = 0;
  }
  return words_[static_cast<size_t>(used_++)];
}

float Random::uniform() { return uniform_from_word(word()); }

float Random::uniform(float low, float high) { return low + (high - low) * uniform(); }

float Random::normal() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  // 1 − u lies in (0, 1]: the logarithm is finite.
  const double radius = std::sqrt(-2.0 * std::log(1.0 - static_cast<double>(uniform())));
  const double angle = 2.0 * std::numbers::pi * static_cast<double>(uniform());
  spare_ = static_cast<float>(radius * std::sin(angle));
  has_spare_ = true;
  return static_cast<float>(radius * std::cos(angle));
}

uint64_t Random::below(uint64_t n) {
  const auto draw = [this] { return (static_cast<uint64_t>(word()) << 32) | word(); };
  __extension__ using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(draw()) * n;
  if (static_cast<uint64_t>(product) < n) {
    const uint64_t threshold = -n % n;
    while (static_cast<uint64_t>(product) < threshold) product = static_cast<Wide>(draw()) * n;
  }
  return static_cast<uint64_t>(product >> 64);
}

Random::Position Random::position() const {
  // A block that is not used up was counted already.
  const uint32_t word = 4 * counter_[0] + static_cast<uint32_t>(used_) - 4;
  return {word, {counter_[1], counter_[2], counter_[3]}, key_};
}

}  // namespace striate
