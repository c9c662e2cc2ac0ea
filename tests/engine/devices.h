#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "engine/random.h"
#include "engine/tensor.h"
#include "tests/support/backend.h"

namespace striate {

/// Test names and messages print devices as words.
inline void PrintTo(Device device, std::ostream* out) { *out << to_string(device); }

}  // namespace striate

namespace striate::test {

/// Every device a test of the engine runs on.
inline std::vector<Device> devices() { return {Device::reference, Device::cpu, Device::cuda}; }

/// For SetUp(): where the GPU that a test needs is missing it says SKIPPED, or fails where STRIATE_REQUIRE_GPU=1.
inline void skip_unless_runnable(Device device) {
  if (device == Device::cuda) skip_unless_runnable(Backend::cuda);
}

/// A suite over devices().
class DeviceTest : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override { skip_unless_runnable(GetParam()); }
};

inline constexpr auto device_name = [](const auto& info) { return to_string(info.param); };

/// Values uniform in [low, high), from (seed, stream) alone.
inline Tensor random_tensor(Shape shape, uint64_t seed, Device device = Device::cpu, float low = -1.0f,
                            float high = 1.0f) {
  Tensor t = Tensor::empty(std::move(shape));
  Random random(seed, RandomPurpose::test);
  for (int64_t i = 0; i < t.size(); ++i) t.data<float>()[i] = random.uniform(low, high);
  return t.to(device);
}

}  // namespace striate::test
