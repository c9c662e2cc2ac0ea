// What micro.cpp, micro_copy.cpp and a linear layer's tiles share for each instruction set: the register tile's size,
// vectors that end at an edge. Included once for each of Highway's targets.
#if defined(STRIATE_KERNELS_GEMM_MICRO_TARGET_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef STRIATE_KERNELS_GEMM_MICRO_TARGET_H_
#undef STRIATE_KERNELS_GEMM_MICRO_TARGET_H_
#else
#define STRIATE_KERNELS_GEMM_MICRO_TARGET_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace striate::gemm::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;
constexpr Tag kTag;
constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(kTag));
constexpr int64_t kColumns = 2 * kLanes;
#if HWY_ARCH_X86 && HWY_TARGET < HWY_AVX3
#error "No tile is tuned for this refinement of AVX-512: disable it in kernels/simd_targets.h"
#elif HWY_TARGET == HWY_AVX3
constexpr int kRows = 14;
#elif HWY_TARGET == HWY_AVX2
constexpr int kRows = 6;
#elif HWY_ARCH_ARM_A64
constexpr int kRows = 12;
#else
constexpr int kRows = 4;
#endif

/// A tile of a pixel's channels, in whole vectors.
constexpr int64_t kPlanePixel = (kRows + kLanes - 1) / kLanes * kLanes;

/// Vectors that end at an edge: no byte beyond `n` floats is touched.
HWY_INLINE Vector load_part(const float* p, int64_t n) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  return hn::MaskedLoad(hn::FirstN(kTag, static_cast<size_t>(n)), kTag, p);
#else
  HWY_ALIGN float lanes[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) lanes[i] = p[i];
  return hn::Load(kTag, lanes);
#endif
}

HWY_INLINE void store_part(Vector v, float* p, int64_t n) {
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2
  hn::BlendedStore(v, hn::FirstN(kTag, static_cast<size_t>(n)), kTag, p);
#else
  HWY_ALIGN float lanes[kLanes];
  hn::Store(v, kTag, lanes);
  for (int64_t i = 0; i < n; ++i) p[i] = lanes[i];
#endif
}

}  // namespace striate::gemm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
