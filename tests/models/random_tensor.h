#pragma once

#include <vector>

#include "engine/tensor.h"
#include "tests/support/fill.h"

namespace striate::test {

/// Values uniform in [−1, 1), on the host.
inline Tensor random_tensor(const Shape& shape, uint32_t seed) {
  const auto values = uniform<float>(element_count(shape), seed);
  return Tensor::from(std::vector<float>(values.begin(), values.end()), shape);
}

}  // namespace striate::test
