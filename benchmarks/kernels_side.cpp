#include "benchmarks/kernels_side.h"

#include <algorithm>
#include <cmath>

#include "engine/device.h"

namespace striate::bench {

Context& side_context(Side side, Precision precision) {
  Context& context = striate::context(on_gpu(side) ? Device::cuda : Device::cpu);
  context.precision = precision;
  return context;
}

Floats values(int64_t count, uint32_t seed, bool integers) {
  Floats v(static_cast<size_t>(count));
  for (float& f : v) {
    seed = seed * 1664525u + 1013904223u;
    f = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
    if (integers) f = std::floor(2.5f * f + 0.5f);
  }
  return v;
}

bool agree(const Results& results, const Results& expected, double tolerance) {
  if (results.size() != expected.size()) return false;
  for (size_t output = 0; output < expected.size(); ++output) {
    const Floats &a = results[output], &b = expected[output];
    if (a.size() < b.size()) return false;
    double size = 0.0;
    for (const float value : b) size = std::max(size, std::abs(double{value}));
    for (size_t i = 0; i < b.size(); ++i) {
      if (!(std::abs(double{a[i]} - double{b[i]}) <= tolerance * size)) return false;
    }
  }
  return true;
}

}  // namespace striate::bench
