// Maps over runs of floats, bound by memory: one read of each input, one write of the output.
#include "kernels/elementwise/elementwise.h"

#include <numeric>

#include "kernels/elementwise/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise/cpu.cpp"
#include "kernels/simd.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {
namespace {

// 64 KiB of floats: below that, waking a thread costs more than it saves.
constexpr int64_t kGrain = 16384;

void Fill(float* y, float value, int64_t n, Context& context) {
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    const auto v = hn::Set(Floats(), value);
    for_each_output_vector(begin, end, y, past_the_caches(4 * n),
                           [=](int64_t i, auto part) HWY_ATTR { part.store(v, y + i); });
  });
}

void Scale(const float* x, float* y, float factor, int64_t n, Context& context) {
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    const auto f = hn::Set(Floats(), factor);
    for_each_output_vector(begin, end, y, y != x && past_the_caches(4 * n),
                           [=](int64_t i, auto part) HWY_ATTR { part.store(hn::Mul(f, part.load(x + i)), y + i); });
  });
}

void AddActivation(const float* a, const float* b, float* y, int64_t n, Activation activation, Context& context) {
  // none, relu and leaky_relu are one formula: the sum where it is positive, else slope·sum (slope 1, 0, 0.01).
  const float slope = activation == Activation::relu ? 0.0f : activation == Activation::leaky_relu ? kLeakySlope : 1.0f;
  const bool streamed = y != a && y != b && past_the_caches(4 * n);
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    const auto zero = hn::Zero(Floats());
    const auto below = hn::Set(Floats(), slope);
    for_each_output_vector(begin, end, y, streamed, [=](int64_t i, auto part) HWY_ATTR {
      const auto sum = hn::Add(part.load(a + i), part.load(b + i));
      if (slope == 0.0f) {  // not 0·sum, which is NaN for −∞
        part.store(hn::IfThenZeroElse(hn::Le(sum, zero), sum), y + i);
      } else {
        part.store(hn::IfThenElse(hn::Gt(sum, zero), sum, hn::Mul(below, sum)), y + i);
      }
    });
  });
}

void AccumulateInto(const float* x, float* y, int64_t n, Context& context) {
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    for_each_vector(begin, end, [=](int64_t i, auto part) HWY_ATTR {
      part.store(hn::Add(part.load(y + i), part.load(x + i)), y + i);
    });
  });
}

void NormalizeU8(const uint8_t* x, float* y, const float* scale, const float* shift, int64_t rows, int64_t channels,
                 Context& context) {
  const Floats d;
  const hn::Rebind<int32_t, Floats> integers;
  const hn::Rebind<uint8_t, Floats> bytes;
  const int64_t lanes = float_lanes();
  // The channel pattern repeats every `period` values, a whole number of vectors.
  const int64_t period = std::lcm(channels, lanes);
  float* scales = context.workspace->get<float>(2 * period);
  float* shifts = scales + period;
  for (int64_t i = 0; i < period; ++i) {
    scales[i] = scale[i % channels];
    shifts[i] = shift[i % channels];
  }
  const int64_t n = rows * channels;
  // Ranges begin at multiples of a vector.
  const bool streamed =
      reinterpret_cast<uintptr_t>(y) % (sizeof(float) * static_cast<size_t>(lanes)) == 0 && past_the_caches(4 * n);
  const int64_t grain = (kGrain + period - 1) / period * period;
  context.threads->parallel_for(n, grain, [=](int64_t begin, int64_t end) HWY_ATTR {
    const auto vectors = [=](auto how) HWY_ATTR {
      int64_t i = begin, j = 0;
      for (; i + lanes <= end; i += lanes) {
        const auto pixel = hn::ConvertTo(d, hn::PromoteTo(integers, hn::LoadU(bytes, x + i)));
        how.store(hn::MulAdd(pixel, hn::Load(d, scales + j), hn::Load(d, shifts + j)), y + i);
        j = j + lanes == period ? 0 : j + lanes;
      }
      return i;
    };
    int64_t i = streamed ? vectors(StreamedVector()) : vectors(WholeVector());
    if (streamed) hwy::FlushStream();
    for (; i < end; ++i) y[i] = static_cast<float>(double{scales[i % period]} * x[i] + shifts[i % period]);
  });
}

// Plain loops over integers, which the compiler vectorises for every instruction set.
void FloatToBf16(const float* x, uint16_t* y, int64_t n, Context& context) {
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t i = begin; i < end; ++i) {
      uint32_t bits;
      std::memcpy(&bits, x + i, sizeof(bits));
      // Half a unit of the last kept place, a little less where that is even; a carry runs into the exponent.
      const uint32_t rounded = (bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16;
      y[i] = static_cast<uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? 0x7FFFu : rounded);
    }
  });
}

void Bf16ToFloat(const uint16_t* x, float* y, int64_t n, Context& context) {
  const hn::Rebind<uint16_t, Floats> halves;
  const hn::Rebind<uint32_t, Floats> words;
  const int64_t lanes = float_lanes();
  const bool streamed = past_the_caches(4 * n);
  context.threads->parallel_for(n, kGrain, [=](int64_t begin, int64_t end) HWY_ATTR {
    for_each_output_vector(begin, end, y, streamed, [=](int64_t i, auto part) HWY_ATTR {
      if (i + lanes <= n) {
        const auto bits = hn::PromoteTo(words, hn::LoadU(halves, x + i));
        part.store(hn::BitCast(Floats(), hn::ShiftLeft<16>(bits)), y + i);
      } else {
        for (int64_t j = i; j < end; ++j) {
          const uint32_t bits = uint32_t{x[j]} << 16;
          std::memcpy(y + j, &bits, sizeof(bits));
        }
      }
    });
  });
}

}  // namespace
}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate::cpu {

HWY_EXPORT(Fill);
HWY_EXPORT(Scale);
HWY_EXPORT(AddActivation);
HWY_EXPORT(AccumulateInto);
HWY_EXPORT(NormalizeU8);
HWY_EXPORT(FloatToBf16);
HWY_EXPORT(Bf16ToFloat);

void fill(float* y, float value, int64_t n, Context& context) { HWY_DYNAMIC_DISPATCH(Fill)(y, value, n, context); }

void scale(const float* x, float* y, float factor, int64_t n, Context& context) {
  HWY_DYNAMIC_DISPATCH(Scale)(x, y, factor, n, context);
}

void add(const float* a, const float* b, float* y, int64_t n, Activation activation, Context& context) {
  check_fused_into_add(activation);
  HWY_DYNAMIC_DISPATCH(AddActivation)(a, b, y, n, activation, context);
}

void accumulate(const float* x, float* y, int64_t n, Context& context) {
  HWY_DYNAMIC_DISPATCH(AccumulateInto)(x, y, n, context);
}

void normalize_u8(const uint8_t* x, float* y, const float* scale, const float* shift, int64_t rows, int64_t channels,
                  Context& context) {
  if (rows == 0) return;
  HWY_DYNAMIC_DISPATCH(NormalizeU8)(x, y, scale, shift, rows, channels, context);
}

void float_to_bf16(const float* x, uint16_t* y, int64_t n, Context& context) {
  HWY_DYNAMIC_DISPATCH(FloatToBf16)(x, y, n, context);
}

void bf16_to_float(const uint16_t* x, float* y, int64_t n, Context& context) {
  HWY_DYNAMIC_DISPATCH(Bf16ToFloat)(x, y, n, context);
}

}  // namespace striate::cpu
#endif
