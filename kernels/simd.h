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
#include <type_traits>

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
template <class D>
HWY_INLINE hn::Vec<D> widened(D d, hn::Vec<hn::Rebind<uint16_t, D>> bits) {
  const hn::RebindToUnsigned<D> words;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(words, bits)));
}
template <class D>
HWY_INLINE hn::Vec<hn::Rebind<uint16_t, D>> rounded(D d, hn::Vec<D> v) {
  const hn::RebindToUnsigned<D> words;
  const auto bits = hn::BitCast(words, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(words, 1u));
  const auto up = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(words, 0x7FFFu)), odd));
  const auto nan = hn::BitCast(words, hn::VecFromMask(d, hn::IsNaN(v)));
  const auto found = hn::IfVecThenElse(nan, hn::Set(words, 0x7FFFu), up);
  return hn::DemoteTo(hn::Rebind<uint16_t, D>(), hn::BitCast(hn::RebindToSigned<D>(), found));
}
HWY_INLINE FloatVector widened(HalfWordVector bits) { return widened(Floats(), bits); }
HWY_INLINE HalfWordVector rounded(FloatVector v) { return rounded(Floats(), v); }
HWY_INLINE const uint16_t* bits_of(const bfloat16* p) { return reinterpret_cast<const uint16_t*>(p); }
HWY_INLINE uint16_t* bits_of(bfloat16* p) { return reinterpret_cast<uint16_t*>(p); }

/// How a whole vector of floats is loaded and stored; as bfloat16, widened and rounded.
struct WholeVector {
  HWY_INLINE FloatVector load(const float* p) const { return hn::LoadU(Floats(), p); }
  HWY_INLINE FloatVector load(const bfloat16* p) const { return widened(hn::LoadU(HalfWords(), bits_of(p))); }
  HWY_INLINE void store(FloatVector v, bfloat16* p) const { hn::StoreU(rounded(v), HalfWords(), bits_of(p)); }
  template <typename T>
  HWY_INLINE FloatVector load_or(const T* p, FloatVector) const {
    return load(p);
  }
  HWY_INLINE void store(FloatVector v, float* p) const { hn::StoreU(v, Floats(), p); }
};

/// The same, but stored past the caches: at addresses that are multiples of a vector's size, and nobody sees it before
/// this thread's hwy::FlushStream().
struct StreamedVector : WholeVector {
  HWY_INLINE void store(FloatVector v, float* p) const { hn::Stream(v, Floats(), p); }
  HWY_INLINE void store(FloatVector v, bfloat16* p) const {
    if constexpr (hn::MaxLanes(HalfWords()) * sizeof(bfloat16) >= 16) {
      hn::Stream(rounded(v), HalfWords(), bits_of(p));
    } else {  // a stream of less than 16 bytes writes 16
      hn::StoreU(rounded(v), HalfWords(), bits_of(p));
    }
  }
};

/// Whether an output of so many bytes is stored past the caches. An ordinary store first reads the line it overwrites,
/// which costs a copy 30% of its bandwidth; but what still lies in the last cache when the next kernel reads it would
/// be lost. 16 MiB: with an input as large, that is all of a last cache of 32 MiB.
inline bool past_the_caches(int64_t bytes) { return bytes >= int64_t{16} << 20; }

template <typename T>
constexpr int64_t bytes_of(int64_t count) {
  return count * static_cast<int64_t>(sizeof(T));
}

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
  template <typename T>
  HWY_INLINE FloatVector load_or(const T* p, FloatVector beyond) const {
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

/// for_each_vector with fn's stores, all to out[i], past the caches where `streamed` says so. (As few calls of fn as
/// there can be: each is compiled by itself.)
template <typename T, typename Fn>
HWY_INLINE void for_each_output_vector(int64_t begin, int64_t end, const T* out, bool streamed, Fn&& fn) {
  const int64_t lanes = float_lanes();
  int64_t i = begin;
  if (streamed) {
    const auto misaligned = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out + begin) / sizeof(T)) % lanes;
    if (misaligned != 0) {
      i = std::min(end, begin + lanes - misaligned);
      fn(begin, PartOfVector{static_cast<size_t>(i - begin)});
    }
    for (; i + lanes <= end; i += lanes) fn(i, StreamedVector{});
    hwy::FlushStream();
  } else {
    for (; i + lanes <= end; i += lanes) fn(i, WholeVector{});
  }
  if (i < end) fn(i, PartOfVector{static_cast<size_t>(end - i)});
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

/// Whether with_channel_vectors gives `D` to channels that may fill four of its vectors: the whole register alone.
template <class D>
constexpr bool fills_four_vectors(D d) {
  return hn::MaxLanes(d) == hn::MaxLanes(Floats());
}

/// Whether an output of `values` values in rows of C channels is stored past the caches, in vectors of `d`.
template <class D, typename T>
HWY_INLINE bool streams_rows(D d, const T* out, int64_t values, int64_t C) {
  const size_t lanes = hn::Lanes(d);
  return lanes == static_cast<size_t>(float_lanes()) && static_cast<size_t>(C) % lanes == 0 &&
         lanes * sizeof(T) >= 16 && reinterpret_cast<uintptr_t>(out) % (lanes * sizeof(T)) == 0 &&
         past_the_caches(bytes_of<T>(values));
}

/// A vector of floats from memory, of floats or of bfloat16 that are widened.
template <class D>
HWY_INLINE hn::Vec<D> load(D d, const float* p) {
  return hn::LoadU(d, p);
}
template <class D>
HWY_INLINE hn::Vec<D> load(D d, const bfloat16* p) {
  return widened(d, hn::LoadU(hn::Rebind<uint16_t, D>(), bits_of(p)));
}

template <class D>
HWY_INLINE void store(D d, hn::Vec<D> v, bfloat16* p, bool streamed) {
  const hn::Rebind<uint16_t, D> halves;
  if constexpr (hn::MaxLanes(halves) * sizeof(bfloat16) >= 16) {
    if (streamed) return hn::Stream(rounded(d, v), halves, bits_of(p));
  }
  hn::StoreU(rounded(d, v), halves, bits_of(p));
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

// Highway's tables hold functions, not templates. In the namespace of an instruction set STRIATE_STORAGE_TYPES(Forward)
// names Forward<float> and Forward<bfloat16>; after HWY_ONCE, STRIATE_EXPORT(Forward) makes tables of both, and
// STRIATE_FOR_TYPE(T, Forward) is the one of T for this machine.
#if !defined(STRIATE_STORAGE_TYPES)
#define STRIATE_STORAGE_TYPES(function)               \
  constexpr auto& function##Floats = function<float>; \
  constexpr auto& function##Bfloat16 = function<bfloat16>
#define STRIATE_EXPORT(function) \
  HWY_EXPORT(function##Floats);  \
  HWY_EXPORT(function##Bfloat16)
#define STRIATE_FOR_TYPE(T, function) \
  ::striate::cpu::of_type<T>(HWY_DYNAMIC_DISPATCH(function##Floats), HWY_DYNAMIC_DISPATCH(function##Bfloat16))

namespace striate::cpu {
template <typename T, typename OfFloats, typename OfBfloat16>
constexpr auto of_type([[maybe_unused]] OfFloats* of_floats, [[maybe_unused]] OfBfloat16* of_bfloat16) {
  if constexpr (std::is_same_v<T, float>) {
    return of_floats;
  } else {
    return of_bfloat16;
  }
}
}  // namespace striate::cpu
#endif

#endif
