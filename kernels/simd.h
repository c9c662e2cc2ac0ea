// What the vectorised cpu kernels share: Highway with run-time dispatch, and loops over runs of floats.
//
// A cpu.cpp defines HWY_TARGET_INCLUDE as its own path and includes this file, which compiles it once for each
// instruction set. No `#pragma once`: the lower part is compiled for each of them too.

#include "kernels/simd_targets.h"

#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>
// After highway.h, which decides the targets.
#include <hwy/cache_control.h>

#if defined(STRIATE_KERNELS_SIMD_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef STRIATE_KERNELS_SIMD_H_
#undef STRIATE_KERNELS_SIMD_H_
#else
#define STRIATE_KERNELS_SIMD_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "kernels/bfloat16.h"

HWY_BEFORE_NAMESPACE();
namespace striate::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using FloatVector = hn::Vec<Floats>;

inline HWY_ATTR int64_t float_lanes() { return static_cast<int64_t>(hn::Lanes(Floats())); }

/// As many bfloat16 as a vector holds floats, by their bits.
using HalfWords = hn::Rebind<uint16_t, Floats>;
using HalfWordVector = hn::Vec<HalfWords>;

/// to_float() and to_bfloat16() of a vector.
HWY_INLINE FloatVector widened(HalfWordVector bits) {
  const hn::RebindToUnsigned<Floats> words;
  return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(words, bits)));
}
HWY_INLINE HalfWordVector rounded(FloatVector v) {
  const hn::RebindToUnsigned<Floats> words;
  const auto bits = hn::BitCast(words, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1u));
  const auto up = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(words, 0x7FFFu)), odd));
  const auto nan = hn::BitCast(words, hn::VecFromMask(Floats(), hn::IsNaN(v)));
  const auto found = hn::IfVecThenElse(nan, hn::Set(words, 0x7FFFu), up);
  return hn::DemoteTo(HalfWords(), hn::BitCast(hn::RebindToSigned<Floats>(), found));
}
HWY_INLINE const uint16_t* bits_of(const bfloat16* p) { return reinterpret_cast<const uint16_t*>(p); }
HWY_INLINE uint16_t* bits_of(bfloat16* p) { return reinterpret_cast<uint16_t*>(p); }

/// How a whole vector of floats is loaded and stored; as bfloat16, widened and rounded.
struct WholeVector {
  HWY_INLINE FloatVector load(const float* p) const { return hn::LoadU(Floats(), p); }
  HWY_INLINE FloatVector load(const bfloat16* p) const { return widened(hn::LoadU(HalfWords(), bits_of(p))); }
  HWY_INLINE void store(FloatVector v, bfloat16* p) const { hn::StoreU(rounded(v), HalfWords(), bits_of(p)); }
  HWY_INLINE FloatVector load_or(const float* p, FloatVector) const { return load(p); }
  HWY_INLINE void store(FloatVector v, float* p) const { hn::StoreU(v, Floats(), p); }
};

/// The same, but stored past the caches: at addresses that are multiples of a vector's size, and nobody sees it before
/// this thread's hwy::FlushStream().
struct StreamedVector : WholeVector {
  HWY_INLINE void store(FloatVector v, float* p) const { hn::Stream(v, Floats(), p); }
  HWY_INLINE void store(FloatVector v, bfloat16* p) const { hn::Stream(rounded(v), HalfWords(), bits_of(p)); }
};

/// Whether an output of so many bytes is stored past the caches. An ordinary store first reads the line it overwrites,
/// which costs a copy 30% of its bandwidth; but what still lies in the last cache when the next kernel reads it would
/// be lost. 16 MiB: with an input as large, that is all of a last cache of 32 MiB.
inline bool past_the_caches(int64_t bytes) { return bytes >= int64_t{16} << 20; }

/// The same for the first `count` lanes only: nothing beyond them is touched; load gives zeros there.
struct PartOfVector {
  size_t count;

  HWY_INLINE FloatVector load(const float* p) const {
    const Floats d;
#if HWY_TARGET == HWY_AVX2 || !HWY_MEM_OPS_MIGHT_FAULT  // AVX2's masked moves of 32-bit lanes do not fault
    return hn::MaskedLoad(hn::FirstN(d, count), d, p);
#else
    HWY_ALIGN float lanes[hn::MaxLanes(d)] = {};
    std::memcpy(lanes, p, count * sizeof(float));
    return hn::Load(d, lanes);
#endif
  }
  HWY_INLINE FloatVector load(const bfloat16* p) const {
    const HalfWords d;
#if !HWY_MEM_OPS_MIGHT_FAULT
    return widened(hn::MaskedLoad(hn::FirstN(d, count), d, bits_of(p)));
#else
    HWY_ALIGN uint16_t lanes[hn::MaxLanes(d)] = {};
    std::memcpy(lanes, p, count * sizeof(bfloat16));
    return widened(hn::Load(d, lanes));
#endif
  }
  HWY_INLINE void store(FloatVector v, bfloat16* p) const {
    const HalfWords d;
#if !HWY_MEM_OPS_MIGHT_FAULT
    hn::BlendedStore(rounded(v), hn::FirstN(d, count), d, bits_of(p));
#else
    HWY_ALIGN uint16_t lanes[hn::MaxLanes(d)];
    hn::Store(rounded(v), d, lanes);
    std::memcpy(p, lanes, count * sizeof(bfloat16));
#endif
  }
  HWY_INLINE FloatVector load_or(const float* p, FloatVector beyond) const {
    return hn::IfThenElse(hn::FirstN(Floats(), count), load(p), beyond);
  }
  HWY_INLINE void store(FloatVector v, float* p) const {
    const Floats d;
#if HWY_TARGET == HWY_AVX2 || !HWY_MEM_OPS_MIGHT_FAULT
    hn::BlendedStore(v, hn::FirstN(d, count), d, p);
#else
    HWY_ALIGN float lanes[hn::MaxLanes(d)];
    hn::Store(v, d, lanes);
    std::memcpy(p, lanes, count * sizeof(float));
#endif
  }
};

/// Calls fn(i, WholeVector or PartOfVector) for the vectors of [begin, end); reads and writes nothing past `end`, so it
/// serves in-place work.
template <typename Fn>
HWY_INLINE void for_each_vector(int64_t begin, int64_t end, Fn&& fn) {
  const int64_t lanes = float_lanes();
  int64_t i = begin;
  for (; i + lanes <= end; i += lanes) fn(i, WholeVector{});
  if (i < end) fn(i, PartOfVector{static_cast<size_t>(end - i)});
}

/// for_each_vector with fn's stores, all to out[i], past the caches where `streamed` says so.
template <typename T, typename Fn>
HWY_INLINE void for_each_output_vector(int64_t begin, int64_t end, const T* out, bool streamed, Fn&& fn) {
  if (!streamed) return for_each_vector(begin, end, fn);
  const int64_t lanes = float_lanes();
  const auto misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out + begin) / sizeof(T)) % lanes;
  const int64_t first = misaligned == 0 ? begin : std::min(end, begin + lanes - misaligned);
  for_each_vector(begin, first, fn);
  int64_t i = first;
  for (; i + lanes <= end; i += lanes) fn(i, StreamedVector{});
  for_each_vector(i, end, fn);
  hwy::FlushStream();
}

/// Calls fn(tag) with the widest vector that C channels fill: a whole register, 4 lanes or 1.
template <typename Fn>
HWY_INLINE void with_channel_vectors([[maybe_unused]] int64_t C, Fn&& fn) {
#if HWY_TARGET != HWY_SCALAR
  if (C >= float_lanes()) return fn(Floats());
  if (C >= 4) return fn(hn::FixedTag<float, 4>());
#endif
  fn(hn::FixedTag<float, 1>());
}

/// Whether an output of `values` floats in rows of C channels is stored past the caches, in vectors of `d`.
template <class D>
HWY_INLINE bool streams_rows(D d, const float* out, int64_t values, int64_t C) {
  const size_t lanes = hn::Lanes(d);
  return lanes == static_cast<size_t>(float_lanes()) && static_cast<size_t>(C) % lanes == 0 &&
         reinterpret_cast<uintptr_t>(out) % (lanes * sizeof(float)) == 0 && past_the_caches(4 * values);
}

template <class D>
HWY_INLINE void store(D d, hn::Vec<D> v, float* p, bool streamed) {
  if (streamed) {
    hn::Stream(v, d, p);
  } else {
    hn::StoreU(v, d, p);
  }
}

/// Calls fn(c) for the first channels of vectors that cover [0, C); the last one overlaps its neighbour where C is not
/// a multiple, so outputs must not be inputs.
template <class D, typename Fn>
HWY_INLINE void for_each_channel_vector(D d, int64_t C, Fn&& fn) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  // One call, so that it is inlined.
  for (int64_t c = 0; c < C; c += lanes) fn(c + lanes <= C ? c : C - lanes);
}

}  // namespace striate::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
