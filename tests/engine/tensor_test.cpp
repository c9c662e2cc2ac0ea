#include "engine/tensor.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "engine/allocator.h"
#include "kernels/error.h"
#include "kernels/gpu/device.h"
#include "tests/engine/devices.h"
#include "tests/support/error.h"

namespace striate {
namespace {

using test::device_name;
using test::devices;
using test::throws_with;

class TensorOn : public test::DeviceTest {};
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
  t.copy_from(Tensor::from<float>({1, 2, 3, 9}, {4}));
  EXPECT_EQ(view.to_vector<float>(), (std::vector<float>{1, 2, 3, 9}));
  EXPECT_EQ(copy.to_vector<float>(), (std::vector<float>{1, 2, 3, 4}));
}

TEST_P(TensorOn, MovesBetweenDevices) {
  const Tensor t = Tensor::from<float>({1, 2}, {2}, Device::cpu);
  const Tensor moved = t.to(GetParam());
  EXPECT_EQ(moved.device(), GetParam());
  EXPECT_EQ(moved.to_vector<float>(), t.to_vector<float>());
}

TEST_P(TensorOn, CopiesMoreThanOnePieceOfTheWayThere) {
  // Uploads go in pieces of 4 MiB through a ring of four; the source is free as soon as each has been taken.
  std::vector<int32_t> values((20 << 20) / sizeof(int32_t) + 7);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int32_t>(i * 2654435761u);
  const Tensor t = Tensor::from(values, {static_cast<int64_t>(values.size())}, GetParam());
  const Tensor again = t.clone();
  EXPECT_TRUE(again.to(Device::cpu).to_vector<int32_t>() == values);
  EXPECT_EQ(Tensor::full({1}, -2.5f, GetParam()).item(), -2.5f);
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

class AllocatorOf : public test::DeviceTest {};
INSTANTIATE_TEST_SUITE_P(, AllocatorOf, testing::Values(Device::cpu, Device::cuda), device_name);

TEST_P(AllocatorOf, ReusesWhatWasFreed) {
  Allocator& memory = allocator(GetParam());
  { const Tensor warm_up = Tensor::empty({1000, 1000}, DType::float32, GetParam()); }
  const AllocatorStats before = memory.stats();
  for (int i = 0; i < 10; ++i) {
    const Tensor t = Tensor::empty({1000, 1000}, DType::float32, GetParam());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(t.data<float>()) % 64, 0u);
    EXPECT_GE(memory.stats().in_use, before.in_use + t.bytes());
  }
  const AllocatorStats after = memory.stats();
  EXPECT_EQ(after.system_allocations, before.system_allocations);
  EXPECT_EQ(after.in_use, before.in_use);
  EXPECT_EQ(after.reserved, before.reserved);
}

TEST_P(AllocatorOf, CountsThePeakAndTrims) {
  Allocator& memory = allocator(GetParam());
  memory.reset_peak();
  const size_t base = memory.stats().in_use;
  for (int i = 0; i < 2; ++i) {
    const Tensor a = Tensor::zeros({1 << 20}, DType::float32, GetParam());
    const Tensor b = Tensor::zeros({1 << 20}, DType::float32, GetParam());
  }
  EXPECT_EQ(memory.stats().peak, base + 2 * (size_t{4} << 20));
  EXPECT_EQ(memory.stats().in_use, base);
  memory.trim();
  EXPECT_EQ(memory.stats().reserved, memory.stats().in_use);
}

TEST_P(AllocatorOf, SaysHowMuchWasAskedForWhenThereIsNoMore) {
  EXPECT_TRUE(throws_with<Error>([] { Tensor::empty({int64_t{1} << 56}, DType::float32, GetParam()); },
                                 {"out of", "memory", "288230376151711744 bytes asked for", "use a smaller batch"}));
}

TEST_P(AllocatorOf, RefusesWhatNoObjectCanBe) {
  EXPECT_THROW(allocator(GetParam()).allocate(SIZE_MAX), Error);
  EXPECT_THROW(allocator(GetParam()).allocate(size_t{PTRDIFF_MAX} + 1), Error);
}

#if !defined(__SANITIZE_ADDRESS__)  // which would note down every byte of memory that nobody touches
TEST(Allocator, GivesUpWhatItKeepsBeforeItRefuses) {
  if (gpu::built_for_gpu()) GTEST_SKIP() << "how much a GPU has is not known";
  // Host execution has 64 GiB of addresses for the GPU's memory.
  constexpr int64_t kGiB = int64_t{1} << 30;
  Allocator& memory = allocator(Device::cuda);
  memory.trim();
  { const Tensor kept = Tensor::empty({40 * kGiB}, DType::uint8, Device::cuda); }
  EXPECT_GE(memory.stats().reserved, size_t{40 * kGiB});
  { const Tensor needs_room = Tensor::empty({48 * kGiB}, DType::uint8, Device::cuda); }
  EXPECT_LT(memory.stats().reserved, size_t{56 * kGiB});
  memory.trim();
  EXPECT_EQ(memory.stats().reserved, memory.stats().in_use);
}
#endif

#if defined(GTEST_HAS_DEATH_TEST)
TEST(TensorDeathTest, HostCodeCannotReadTheGpusMemory) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  if (gpu::built_for_gpu()) GTEST_SKIP() << "the driver's own affair";
  const Tensor t = Tensor::zeros({1}, DType::float32, Device::cuda);
  const volatile float* value = t.data<float>();
  EXPECT_DEATH(static_cast<void>(*value), "");
}
#endif

TEST(Device, IsParsedAndNamed) {
  EXPECT_EQ(parse_device("cpu"), Device::cpu);
  EXPECT_EQ(parse_device("reference"), Device::reference);
  EXPECT_THROW(parse_device("tpu"), ConfigError);
  for (const Device device : devices()) {
    if (device == Device::cuda && !gpu::available()) continue;
    EXPECT_EQ(parse_device(to_string(device)), device);
  }
}

TEST(Device, AutoIsNeverTheHostExecutionOfCudaKernels) {
  EXPECT_EQ(parse_device("auto"), gpu::built_for_gpu() && gpu::available() ? Device::cuda : Device::cpu);
}

TEST(Device, SaysWhatCudaIsHere) {
  EXPECT_EQ(device_notice(Device::cpu), "");
  EXPECT_EQ(device_notice(Device::reference), "");
  if (!gpu::available()) {
    EXPECT_TRUE(throws_with<CudaError>([] { parse_device("cuda"); }, {"no GPU", "nvidia-smi", "--device cpu"}));
    return;
  }
  const std::string notice = device_notice(Device::cuda);
  EXPECT_EQ(notice.find("executed on the host") != std::string::npos, !gpu::built_for_gpu()) << notice;
}

TEST(Device, HasItsPrecisions) {
  EXPECT_EQ(parse_precision("tf32"), Precision::tf32);
  EXPECT_THROW(parse_precision("fp16"), ConfigError);
  EXPECT_TRUE(throws_with<ConfigError>([] { set_precision(Device::cpu, Precision::tf32); },
                                       {"tf32", "device cpu", "fp32 or bf16", "device cuda"}));
  EXPECT_EQ(context(Device::cpu).precision, Precision::fp32);
  set_precision(Device::cpu, Precision::bf16);
  EXPECT_EQ(context(Device::cpu).precision, Precision::bf16);
  set_precision(Device::cpu, Precision::fp32);
  EXPECT_TRUE(throws_with<ConfigError>([&] { set_precision(Device::reference, Precision::tf32); },
                                       {"tf32", "device reference", "fp32 or bf16"}));
  EXPECT_EQ(context(Device::reference).precision, Precision::fp32);
  set_precision(Device::reference, Precision::bf16);
  EXPECT_EQ(context(Device::reference).precision, Precision::bf16);
  set_precision(Device::reference, Precision::fp32);
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    if (!gpu::available()) continue;
    set_precision(Device::cuda, precision);
    EXPECT_EQ(context(Device::cuda).precision, precision);
    set_precision(Device::cuda, Precision::fp32);
  }
}

}  // namespace
}  // namespace striate
