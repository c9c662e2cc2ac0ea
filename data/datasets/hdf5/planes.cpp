#include "data/datasets/hdf5/planes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "data/datasets/hdf5/planes.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace striate::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void interleave(const uint8_t* planes, int64_t count, uint8_t* out) {
  const hn::ScalableTag<uint8_t> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const uint8_t *first = planes, *second = planes + count, *third = planes + 2 * count;
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    hn::StoreInterleaved3(hn::LoadU(d, first + i), hn::LoadU(d, second + i), hn::LoadU(d, third + i), d, out + 3 * i);
  }
  for (; i < count; ++i) {
    out[3 * i] = first[i];
    out[3 * i + 1] = second[i];
    out[3 * i + 2] = third[i];
  }
}

}  // namespace striate::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace striate {

HWY_EXPORT(interleave);

void interleave_planes(const uint8_t* planes, int64_t count, uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(interleave)(planes, count, out);
}

}  // namespace striate
#endif
