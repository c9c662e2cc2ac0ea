#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/context.h"
#include "kernels/reference_values.h"
#include "tests/support/backend.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {

inline std::string to_string(Precision precision) {
  return precision == Precision::fp32 ? "fp32" : precision == Precision::tf32 ? "tf32" : "bf16";
}

/// A case of a matrix product in one precision, printed as `conv3_tf32`.
template <typename Shape>
struct InPrecision {
  std::string name;
  Shape shape;
  Precision precision = Precision::fp32;
};

/// Every case of floats on every backend, in every precision that it multiplies them in: the cpu's kernels know fp32
/// alone, and bf16 is bfloat16's.
template <typename Shape>
auto in_every_precision(const std::vector<InPrecision<Shape>>& cases, const std::vector<Backend>& on) {
  std::vector<OnBackend<InPrecision<Shape>>> product;
  for (const Backend backend : on) {
    for (const Precision precision : {Precision::fp32, Precision::tf32}) {
      if (backend == Backend::cpu && precision != Precision::fp32) continue;
      for (const InPrecision<Shape>& c : cases) {
        std::string name = c.name;
        if (backend != Backend::cpu || precision != Precision::fp32) name.append("_").append(to_string(precision));
        product.push_back({backend, {name, c.shape, precision}});
      }
    }
  }
  return testing::ValuesIn(product);
}

/// What a product in this precision makes of its inputs: tf32 keeps 10 bits of fraction, to nearest, ties away from
/// zero; bf16 keeps 7, ties to even.
inline Values<double> rounded(const Values<float>& values, Precision precision) {
  Values<double> result;
  result.reserve(values.size());
  for (float v : values) {
    if (precision != Precision::fp32) {
      uint32_t bits;
      std::memcpy(&bits, &v, sizeof(bits));
      bits = precision == Precision::tf32 ? (bits + 0x1000u) & 0xFFFFE000u
                                          : (bits + 0x7FFFu + (bits >> 16 & 1u)) & 0xFFFF0000u;
      std::memcpy(&v, &bits, sizeof(v));
    }
    result.push_back(v);
  }
  return result;
}

/// Whether a backend's products say what they make of their inputs. A vendor's library is only allowed to round them.
inline bool rounds_as_documented(Backend backend) { return backend == Backend::cpu || backend == Backend::cuda; }

/// What the reference is to be given for a backend: its inputs as it rounds them, or as they are.
inline Values<double> inputs_of(Backend backend, const Values<float>& values, Precision precision) {
  return rounded(values, rounds_as_documented(backend) ? precision : Precision::fp32);
}

inline Values<double> magnitudes(Values<double> values) {
  for (double& v : values) v = std::abs(v);
  return values;
}

/// |a − e| ≤ unit·S + share·max|e| for every output, where S = Σ|products| of it; and, where the output is bfloat16,
/// the one rounding of what lies within: to 8 bits, by at most 2⁻⁸ of it.
template <typename Buffer>
testing::AssertionResult within(double unit, const Buffer& actual, const Values<double>& expected,
                                const Values<double>& sums, double share = 0.0) {
  constexpr bool kRounded = std::is_same_v<std::decay_t<decltype(*actual.data())>, bfloat16>;
  double largest = 0.0;
  for (const double e : expected) largest = std::max(largest, std::abs(e));
  for (int64_t i = 0; i < actual.size(); ++i) {
    const auto at = static_cast<size_t>(i);
    const double a = reference::value_of(actual.data()[i]);
    double allowed = unit * sums[at] + share * largest + 1e-30;
    if (kRounded) allowed += (std::abs(expected[at]) + allowed) / 256;
    if (std::abs(a - expected[at]) <= allowed) continue;
    return testing::AssertionFailure() << "element " << i << " is " << a << ", expected " << expected[at] << " ± "
                                       << allowed;
  }
  return testing::AssertionSuccess();
}

/// The share of S that a sum of n products may be wrong by, given inputs as `inputs_of` gives them. In float32
/// 2⁻²⁴·(2·√n + 8): the rounding of a chain of n additions, as a random walk with a margin. Tensor cores may cut off
/// where float32 rounds, and keep fewer bits while they add: 1e-5. Floats that a library rounds to tf32 as it likes, by
/// cutting off perhaps: 2⁻¹⁰ for each of two factors.
inline double rounding_unit(Backend backend, Precision precision, int64_t summands) {
  const double chain = std::ldexp(1.0, -24) * (2.0 * std::sqrt(static_cast<double>(summands)) + 8.0);
  if (precision == Precision::fp32) return chain;
  const double sum = std::max(chain, 1e-5);
  return precision == Precision::bf16 || rounds_as_documented(backend) ? sum : sum + std::ldexp(1.0, -9);
}

}  // namespace striate::test
