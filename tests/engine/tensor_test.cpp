#include "engine/tensor.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "engine/allocator.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"

namespace striate {
namespace {

using test::device_name;
using test::devices;

class TensorOn : public testing::TestWithParam<Device> {};
INSTANTIATE_TEST_SUITE_P(, TensorOn, testing::ValuesIn(devices()), device_name);

TEST_P(TensorOn, HoldsWhatItWasGiven) {
  const Tensor t = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3}, GetParam());
  EXPECT_EQ(t.shape(), (Shape{2, 3}));
  EXPECT_EQ(t.size(), 6);
  EXPECT_EQ(t.bytes(), 24u);
  EXPECT_EQ(t.dim(-1), 3);
  EXPECT_EQ(t.device(), GetParam());
  EXPECT_EQ(t.to_vector<float>(), (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST_P(TensorOn, FillsAndZeroes) {
  EXPECT_EQ(Tensor::full({3}, 2.5f, GetParam()).to_vector<float>(), (std::vector<float>{2.5f, 2.5f, 2.5f}));
  EXPECT_EQ(Tensor::zeros({2}, DType::int64, GetParam()).to_vector<int64_t>(), (std::vector<int64_t>{0, 0}));
}

TEST_P(TensorOn, ReshapeSharesValuesAndCloneDoesNot) {
  Tensor t = Tensor::from<float>({1, 2, 3, 4}, {4}, GetParam());
  Tensor view = t.reshape({2, -1});
  Tensor copy = t.clone();
  EXPECT_EQ(view.shape(), (Shape{2, 2}));
  t.data<float>()[3] = 9;
  EXPECT_EQ(view.data<float>()[3], 9);
  EXPECT_EQ(copy.data<float>()[3], 4);
}

TEST_P(TensorOn, MovesBetweenDevices) {
  const Tensor t = Tensor::from<float>({1, 2}, {2}, Device::cpu);
  const Tensor moved = t.to(GetParam());
  EXPECT_EQ(moved.device(), GetParam());
  EXPECT_EQ(moved.to_vector<float>(), t.to_vector<float>());
}

TEST(Tensor, RefusesShapesThatDoNotFit) {
  EXPECT_THROW(Tensor::from<float>({1, 2, 3}, {2, 2}), ShapeError);
  EXPECT_THROW(Tensor::empty({2, -1}), ShapeError);
  EXPECT_THROW(Tensor::empty({int64_t{1} << 40, int64_t{1} << 40}), ShapeError);
  EXPECT_THROW(Tensor::zeros({int64_t{1} << 62}), ShapeError);  // 2^64 bytes wrap to none
  EXPECT_THROW(Tensor::empty({int64_t{1} << 61}), ShapeError);  // more than one object may have
  const Tensor t = Tensor::zeros({2, 3});
  EXPECT_THROW(t.reshape({4}), ShapeError);
  EXPECT_THROW(t.dim(2), ShapeError);
  EXPECT_THROW(t.item(), ShapeError);
  EXPECT_THROW(t.data<int32_t>(), Error);
  EXPECT_THROW(Tensor().shape(), Error);
}

TEST(Tensor, HoldsNoElements) {
  const Tensor t = Tensor::zeros({0, 5});
  EXPECT_EQ(t.size(), 0);
  EXPECT_TRUE(t.to_vector<float>().empty());
}

TEST(Allocator, ReusesWhatWasFreed) {
  Allocator& memory = allocator(Device::cpu);
  { const Tensor warm_up = Tensor::empty({1000, 1000}); }
  const AllocatorStats before = memory.stats();
  for (int i = 0; i < 10; ++i) {
    const Tensor t = Tensor::empty({1000, 1000});
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.data<float>()) % 64, 0u);
    EXPECT_GE(memory.stats().in_use, before.in_use + t.bytes());
  }
  const AllocatorStats after = memory.stats();
  EXPECT_EQ(after.system_allocations, before.system_allocations);
  EXPECT_EQ(after.in_use, before.in_use);
  EXPECT_EQ(after.reserved, before.reserved);
}

TEST(Allocator, CountsThePeakAndTrims) {
  Allocator& memory = allocator(Device::cpu);
  memory.reset_peak();
  const size_t base = memory.stats().in_use;
  { const Tensor a = Tensor::empty({1 << 20}), b = Tensor::empty({1 << 20}); }
  EXPECT_EQ(memory.stats().peak, base + 2 * (size_t{4} << 20));
  EXPECT_EQ(memory.stats().in_use, base);
  memory.trim();
  EXPECT_EQ(memory.stats().reserved, memory.stats().in_use);
}

TEST(Allocator, SaysHowMuchWasAskedForWhenThereIsNoMore) {
  try {
    Tensor::empty({int64_t{1} << 56});
    FAIL() << "2^58 bytes were granted";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("out of memory"), std::string::npos) << e.what();
  }
}

TEST(Allocator, RefusesWhatNoObjectCanBe) {
  EXPECT_THROW(allocator(Device::cpu).allocate(SIZE_MAX), Error);
  EXPECT_THROW(allocator(Device::cpu).allocate(size_t{PTRDIFF_MAX} + 1), Error);
}

TEST(Device, IsParsedAndNamed) {
  EXPECT_EQ(parse_device("auto"), Device::cpu);
  EXPECT_EQ(parse_device("reference"), Device::reference);
  EXPECT_THROW(parse_device("tpu"), ConfigError);
  try {
    parse_device("cuda");
    FAIL() << "a build without CUDA took device cuda";
  } catch (const ConfigError& e) {
    EXPECT_NE(std::string(e.what()).find("no CUDA kernels"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace striate
