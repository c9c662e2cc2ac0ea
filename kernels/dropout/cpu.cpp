// A tensor's draws are one run of elements, first_sample·features onwards, whatever the rows: blocks of four are drawn
// a vector at a time and compared as integers. Bound by Philox's twenty 32×32-bit products a block.
#include "kernels/dropout/dropout.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/dropout/cpu.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

struct Mask {
  const DropoutState& state;
  uint32_t layer;
  // uniform < p exactly where word >> 8 < ⌈p·2²⁴⌉.
  int32_t threshold;
  float factor;

  bool keeps(uint64_t element) const {
    return dropout_uniform(state, layer, element) >= static_cast<float>(threshold) * 0x1p-24f;
  }
};

template <typename T>
void apply_one_by_one(const Mask& mask, const T* x, T* y, uint64_t base, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) {
    const bool kept = mask.keeps(base + static_cast<uint64_t>(i));
    y[i] = stored_as<T>(kept ? mask.factor * to_float(x[i]) : 0.0f);
  }
}

#if HWY_TARGET != HWY_SCALAR
using Words = hn::Repartition<uint32_t, Floats>;
using Counters = hn::Repartition<uint64_t, Floats>;
using CounterVector = hn::Vec<Counters>;

// Four words of each block, one 64-bit lane a block and only its lower half in use: that is where MulEven reads, and
// its product comes out as the next round's two halves.
struct Blocks {
  CounterVector word[4];
};

// Two vectors of blocks side by side: a round waits for its products, and the keys are shared.
constexpr int64_t kSideBySide = 2;

HWY_INLINE void philox(Blocks (&blocks)[kSideBySide], const DropoutState& state) {
  const Counters d;
  const Words w;
  const auto factor0 = hn::Set(w, 0xD2511F53u), factor1 = hn::Set(w, 0xCD9E8D57u);
  auto key0 = static_cast<uint32_t>(state.seed);
  auto key1 = static_cast<uint32_t>(state.seed >> 32) ^ static_cast<uint32_t>(state.step >> 32);
  for (int round = 0; round < 10; ++round) {
    const auto k0 = hn::Set(d, uint64_t{key0}), k1 = hn::Set(d, uint64_t{key1});
    for (Blocks& b : blocks) {
      const auto product0 = hn::MulEven(hn::BitCast(w, b.word[0]), factor0);
      const auto product1 = hn::MulEven(hn::BitCast(w, b.word[2]), factor1);
      b.word[0] = hn::Xor3(hn::ShiftRight<32>(product1), b.word[1], k0);
      b.word[1] = product1;
      b.word[2] = hn::Xor3(hn::ShiftRight<32>(product0), b.word[3], k1);
      b.word[3] = product0;
    }
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

// y[i] = kept ? factor·x[i] : 0 from `begin`, where element base + begin starts a block of four; returns where it
// stopped, less than its stride before `end`.
template <typename T>
HWY_INLINE int64_t apply_blocks(const Mask& mask, const T* x, T* y, uint64_t base, int64_t begin, int64_t end,
                                bool past_the_caches) {
  const Counters d;
  const Floats floats;
  const hn::RebindToSigned<Words> integers;
  const int64_t lanes = float_lanes();
  const auto blocks_each = static_cast<uint64_t>(hn::Lanes(d));
  // Interleaving within 128 bits then puts blocks 0, 1, … in order: even lanes hold the lower half of them, odd lanes
  // the upper.
  HWY_ALIGN uint64_t order[hn::MaxLanes(d)];
  for (uint64_t i = 0; i < blocks_each / 2; ++i) {
    order[2 * i] = i;
    order[2 * i + 1] = i + blocks_each / 2;
  }
  const auto lane_block = hn::Load(d, order);
  const bool streamed =
      past_the_caches && reinterpret_cast<uintptr_t>(y + begin) % (static_cast<size_t>(lanes) * sizeof(T)) == 0;
  const auto low_half = hn::Set(d, 0xffffffffu);
  const auto step = hn::Set(d, mask.state.step & 0xffffffffu), layer = hn::Set(d, uint64_t{mask.layer});
  const auto threshold = hn::Set(integers, mask.threshold);
  const auto factor = hn::Set(floats, mask.factor);
  const auto store_drawn = [=](CounterVector words, const T* from, T* to) HWY_ATTR {
    const auto draw = hn::BitCast(integers, hn::ShiftRight<8>(hn::BitCast(Words(), words)));
    const auto dropped = hn::RebindMask(floats, hn::Lt(draw, threshold));
    store(floats, hn::IfThenZeroElse(dropped, hn::Mul(factor, load(floats, from))), to, streamed);
  };
  const int64_t stride = kSideBySide * 2 * lanes;
  int64_t i = begin;
  for (; i + stride <= end; i += stride) {
    uint64_t first_block = (base + static_cast<uint64_t>(i)) / 4;
    Blocks blocks[kSideBySide];
    for (Blocks& b : blocks) {
      const auto block = hn::Add(hn::Set(d, first_block), lane_block);
      b = {{block, hn::ShiftRight<32>(block), step, layer}};
      first_block += blocks_each;
    }
    philox(blocks, mask.state);
    int64_t at = i;
    for (const Blocks& b : blocks) {
      const auto words01 = hn::Or(hn::And(b.word[0], low_half), hn::ShiftLeft<32>(b.word[1]));
      const auto words23 = hn::Or(hn::And(b.word[2], low_half), hn::ShiftLeft<32>(b.word[3]));
      store_drawn(hn::InterleaveLower(d, words01, words23), x + at, y + at);
      store_drawn(hn::InterleaveUpper(d, words01, words23), x + at + lanes, y + at + lanes);
      at += 2 * lanes;
    }
  }
  hwy::FlushStream();
  return i;
}
#else
template <typename T>
int64_t apply_blocks(const Mask&, const T*, T*, uint64_t, int64_t begin, int64_t, bool) {
  return begin;
}
#endif

template <typename T>
void Apply(const T* x, T* y, const DropoutShape& shape, const DropoutState& state, Context& context) {
  const Mask mask{state, shape.layer, static_cast<int32_t>(std::ceil(double{shape.p} * 0x1p24)), shape.scale()};
  const uint64_t base = shape.first_element(state);
  const bool streamed = y != x && past_the_caches(bytes_of<T>(shape.size()));
  // About 10 µs of draws.
  constexpr int64_t kGrain = 8192;
  context.threads->parallel_for(shape.size(), kGrain, [&](int64_t begin, int64_t end) HWY_ATTR {
    const auto lead = static_cast<int64_t>((4 - (base + static_cast<uint64_t>(begin)) % 4) % 4);
    const int64_t aligned = std::min(end, begin + lead);
    apply_one_by_one(mask, x, y, base, begin, aligned);
    const int64_t rest = apply_blocks(mask, x, y, base, aligned, end, streamed);
    apply_one_by_one(mask, x, y, base, rest, end);
  });
}

template <typename T>
void ReluDropoutBackward(const T* y, const T* dy, T* dx, const DropoutShape& shape, Context& context) {
  const float factor = shape.scale();
  const bool streamed = dx != y && dx != dy && past_the_caches(bytes_of<T>(shape.size()));
  // As an activation's: below it, waking a thread costs more than it saves.
  constexpr int64_t kGrain = 16384;
  context.threads->parallel_for(shape.size(), kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    for_each_output_vector(begin, end, dx, streamed, [=](int64_t i, auto part) HWY_ATTR {
      const Floats d;
      const auto blocked = hn::Le(part.load(y + i), hn::Zero(d));
      part.store(hn::IfThenZeroElse(blocked, hn::Mul(hn::Set(d, factor), part.load(dy + i))), dx + i);
    });
  });
}

STRIATE_STORAGE_TYPES(Apply);
STRIATE_STORAGE_TYPES(ReluDropoutBackward);

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

STRIATE_EXPORT(Apply);
STRIATE_EXPORT(ReluDropoutBackward);

template <typename T>
void dropout_forward(const T* x, T* y, const DropoutShape& shape, const DropoutState* state, Context& context) {
  shape.check();
  STRIATE_FOR_TYPE(T, Apply)(x, y, shape, *state, context);
}

template <typename T>
void dropout_backward(const T* dy, T* dx, const DropoutShape& shape, const DropoutState* state, Context& context) {
  shape.check();
  STRIATE_FOR_TYPE(T, Apply)(dy, dx, shape, *state, context);
}

template <typename T>
void relu_dropout_backward(const T* y, const T* dy, T* dx, const DropoutShape& shape, Context& context) {
  shape.check();
  STRIATE_FOR_TYPE(T, ReluDropoutBackward)(y, dy, dx, shape, context);
}

#define STRIATE_INSTANTIATE(T)                                                                         \
  template void dropout_forward<T>(const T*, T*, const DropoutShape&, const DropoutState*, Context&);  \
  template void dropout_backward<T>(const T*, T*, const DropoutShape&, const DropoutState*, Context&); \
  template void relu_dropout_backward<T>(const T*, const T*, T*, const DropoutShape&, Context&);
STRIATE_INSTANTIATE(float)
STRIATE_INSTANTIATE(bfloat16)
#undef STRIATE_INSTANTIATE

}  // namespace striate::cpu
#endif
