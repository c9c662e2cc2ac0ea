// Whole networks trained side by side on cpu and cuda: same start, same images, same dropout masks.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/ops/ops.h"
#include "engine/optim/optimizer.h"
#include "engine/step_state.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/error.h"
#include "kernels/linear/linear.h"
#include "models/registry.h"
#include "tests/models/random_tensor.h"
#include "tests/support/backend.h"
#include "tests/support/error.h"

namespace striate::models {
namespace {

struct Followed {
  const char* model;
  Shape input;
  double width;
  int64_t batch;

  friend void PrintTo(const Followed& f, std::ostream* out) { *out << f.model; }
};

class DeviceTraining : public testing::TestWithParam<Followed> {
 protected:
  void SetUp() override { test::skip_unless_runnable(test::Backend::cuda); }
};

std::vector<float> losses(const Followed& followed, Device device, int steps, ModelConfig config = {}) {
  constexpr int64_t kClasses = 5;
  config.name = followed.model;
  config.width = followed.width;
  const auto model = build_model(config, followed.input, kClasses, 3);
  model->to(device);
  Sgd optimizer(model->named_parameters(), 0.01, {0.9f, false, false}, 5e-4);
  dropout_state(device) = {17, 0, 0};
  std::vector<float> all;
  for (int step = 0; step < steps; ++step) {
    const auto seed = static_cast<uint32_t>(step % 4);
    const Tensor x =
        test::random_tensor({followed.batch, followed.input[0], followed.input[1], followed.input[2]}, 100 + seed);
    std::vector<int32_t> labels;
    for (int64_t i = 0; i < followed.batch; ++i) labels.push_back(static_cast<int32_t>((seed * 3 + i) % kClasses));
    optimizer.clear_grad();
    const Tensor loss = ops::softmax_cross_entropy((*model)(x.to(device)), Tensor::from(labels, {followed.batch})).loss;
    all.push_back(loss.item());
    loss.backward();
    optimizer.step();
  }
  return all;
}

#if defined(__SANITIZE_ADDRESS__)
constexpr int kSteps = 5;  // every one of them is the same code
#else
constexpr int kSteps = 20;
#endif

TEST_P(DeviceTraining, CudaFollowsCpu) {
  const std::vector<float> cpu = losses(GetParam(), Device::cpu, kSteps);
  const std::vector<float> cuda = losses(GetParam(), Device::cuda, kSteps);
  for (size_t step = 0; step < cpu.size(); ++step) {
    EXPECT_NEAR(cuda[step], cpu[step], 1e-4f * cpu[step]) << "step " << step + 1;
  }
  EXPECT_NE(cpu.front(), cpu[4]) << "the same images gave the same loss: nothing was trained";
}

INSTANTIATE_TEST_SUITE_P(, DeviceTraining,
                         testing::Values(Followed{"alexnet_mini", {32, 32, 3}, 1.0, 4},
                                         Followed{"alexnet", {63, 63, 3}, 0.25, 2}),
                         [](const auto& test) { return std::string(test.param.model); });

/// The vendor's kernels in place of ours, where this build has them: by rounding the same run.
class VendorTraining : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { test::skip_unless_runnable(test::Backend::cuda); }
};

TEST_P(VendorTraining, FollowsOurKernels) {
  const bool conv = std::string(GetParam()) == "cudnn";
  const Followed followed{"alexnet_mini", {32, 32, 3}, 0.25, 3};
  ModelConfig vendor;
  (conv ? vendor.conv : vendor.linear) = ops::Kernels::vendor;
  Context& cuda = context(Device::cuda);
  std::shared_ptr<void>& handle = conv ? cuda.cudnn_handle : cuda.cublas_handle;
  handle.reset();
  const std::vector<float> own = losses(followed, Device::cuda, 5);
  EXPECT_EQ(handle, nullptr) << GetParam() << " was used unasked";
  const std::vector<float> other = losses(followed, Device::cuda, 5, vendor);
  EXPECT_NE(handle, nullptr) << GetParam() << " was not used";
  for (size_t step = 0; step < own.size(); ++step) {
    EXPECT_NEAR(other[step], own[step], 1e-4f * own[step]) << "step " << step + 1;
  }
  EXPECT_EQ(losses(followed, Device::cuda, 3, vendor), std::vector<float>(other.begin(), other.begin() + 3));
}

std::vector<const char*> vendors() {
  std::vector<const char*> all;
  if (cublas::missing().empty()) all.push_back("cublas");
  if (cudnn::missing().empty()) all.push_back("cudnn");
  return all;
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(VendorTraining);
INSTANTIATE_TEST_SUITE_P(, VendorTraining, testing::ValuesIn(vendors()),
                         [](const auto& test) { return std::string(test.param); });

TEST(VendorKernels, AreRefusedOnOtherDevices) {
  ModelConfig config;
  config.name = "alexnet_mini";
  config.linear = ops::Kernels::vendor;
  const auto model = build_model(config, {32, 32, 3}, 5, 3);
  EXPECT_TRUE(test::throws_with<ConfigError>(
      [&] {
        (*model)(test::random_tensor({1, 32, 32, 3}, 1));
      },
      {"linear: cublas", "device cuda", "live on cpu"}));
}

}  // namespace
}  // namespace striate::models
