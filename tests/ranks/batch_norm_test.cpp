// Synchronised batch norm: ranks with parts of a batch against one process with all of it.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "engine/autograd.h"
#include "engine/nn/layers.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"
#include "tests/ranks/ranks.h"
#include "tests/support/compare.h"

namespace striate {
namespace {

using test::random_tensor;
using test::ranks;

constexpr int64_t kChannels = 6;

struct Case {
  std::string name;
  Device device;
  DType dtype;
  int64_t pixels;               ///< of an image
  std::vector<int64_t> images;  ///< of each rank
};

std::vector<Case> cases() {
  std::vector<Case> result;
  for (const Device device : test::devices()) {
    for (const DType dtype : {DType::float32, DType::bfloat16}) {
      const std::string name = to_string(device) + (dtype == DType::float32 ? "_fp32" : "_bf16");
      result.push_back({name + "_unequal_parts", device, dtype, 12, {3, 5, 1, 2}});
      result.push_back({name + "_an_empty_part", device, dtype, 12, {4, 0, 7, 1}});
      result.push_back({name + "_one_row_here_and_there", device, dtype, 1, {7, 1, 0, 1}});
    }
  }
  return result;
}

/// Of the whole batch, [images, pixels, channels] each.
struct Values {
  Tensor x, dy, gamma, beta;
};

Values values_of(int64_t images, int64_t pixels) {
  const Shape shape{images, 1, pixels, kChannels};
  // Far from zero beside their deviation, so that statistics of squares would not do.
  return {random_tensor(shape, 1, Device::cpu, 3.0f, 5.0f), random_tensor(shape, 2), random_tensor({kChannels}, 3),
          random_tensor({kChannels}, 4)};
}

Tensor rows(const Tensor& all, int64_t begin, int64_t end) {
  Shape shape = all.shape();
  const int64_t each = all.size() / shape[0];
  shape[0] = end - begin;
  const std::vector<float> values = all.to_vector<float>();
  return Tensor::from(std::vector<float>(values.begin() + begin * each, values.begin() + end * each), shape);
}

struct Result {
  std::vector<float> y, dx, dgamma, dbeta, running_mean, running_var;
};

/// A training step of a network with the layer in it, its output's gradient being dy.
Result trained(const Values& values, Device device, DType dtype, Communicator* over) {
  const auto norm = std::make_shared<nn::BatchNorm2d>(kChannels);
  nn::Sequential network({norm});
  norm->weight.copy_from(values.gamma);
  norm->bias.copy_from(values.beta);
  network.to(device);
  if (over != nullptr) nn::synchronise_batch_norm(network, *over);
  Tensor leaf = values.x.to(device).clone();
  leaf.set_requires_grad(true);
  Tensor y = network(leaf.to(dtype));
  Tensor loss = Tensor::zeros({1}, DType::float32, device);
  record("weighed", loss, {y},
         [dy = values.dy.to(device).to(dtype)](const Tensor&, Gradients& gradients) { gradients.add(0, dy.clone()); });
  loss.backward();
  return {y.to_vector<float>(),
          leaf.grad().to_vector<float>(),
          norm->weight.grad().to_vector<float>(),
          norm->bias.grad().to_vector<float>(),
          norm->running_mean.to_vector<float>(),
          norm->running_var.to_vector<float>()};
}

/// A share of the greatest, for what is a difference of greater values.
testing::AssertionResult close(const std::vector<float>& actual, const std::vector<float>& expected, double share,
                               const std::vector<float>& among) {
  double greatest = 0.0;
  for (const float value : among) greatest = std::max(greatest, std::abs(double{value}));
  return test::all_close(actual, expected, {share * greatest, share});
}

class SynchronisedBatchNorm : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override { test::skip_unless_runnable(GetParam().device); }
};
constexpr auto case_name = [](const auto& info) { return info.param.name; };
INSTANTIATE_TEST_SUITE_P(, SynchronisedBatchNorm, testing::ValuesIn(cases()), case_name);

TEST_P(SynchronisedBatchNorm, IsThatOfOneProcessWithTheWholeBatch) {
  const auto& [name, device, dtype, pixels, images] = GetParam();
  const int rank = ranks().rank();
  const int64_t begin = std::accumulate(images.begin(), images.begin() + rank, int64_t{0});
  const int64_t end = begin + images[static_cast<size_t>(rank)];
  const int64_t all = std::accumulate(images.begin(), images.begin() + ranks().size(), int64_t{0});
  const Values whole = values_of(all, pixels);
  const Result expected = trained(whole, device, dtype, nullptr);
  const Values part{rows(whole.x, begin, end), rows(whole.dy, begin, end), whole.gamma, whole.beta};
  Result actual = trained(part, device, dtype, &ranks());

  const int64_t each = pixels * kChannels;
  const auto own = [&](const std::vector<float>& values) {
    return std::vector<float>(values.begin() + begin * each, values.begin() + end * each);
  };
  // Of bfloat16 a rounding more: dx is the sum of two that are rounded.
  const double share = dtype == DType::float32 ? 1e-5 : 1.0 / 128;
  EXPECT_TRUE(close(actual.y, own(expected.y), share, expected.y));
  EXPECT_TRUE(close(actual.dx, own(expected.dx), share, expected.dx));
  EXPECT_TRUE(close(actual.running_mean, expected.running_mean, 1e-5, expected.running_mean));
  EXPECT_TRUE(close(actual.running_var, expected.running_var, 1e-5, expected.running_var));
  ranks().all_reduce(actual.dgamma.data(), kChannels).wait();
  ranks().all_reduce(actual.dbeta.data(), kChannels).wait();
  EXPECT_TRUE(close(actual.dgamma, expected.dgamma, 1e-5, expected.dgamma));
  EXPECT_TRUE(close(actual.dbeta, expected.dbeta, 1e-5, expected.dbeta));
}

TEST_P(SynchronisedBatchNorm, MovesTheRunningStatisticsToTheSameBitsOnEveryRank) {
  const auto& [name, device, dtype, pixels, images] = GetParam();
  const Values part = values_of(images[static_cast<size_t>(ranks().rank())], pixels);
  const Result result = trained(part, device, dtype, &ranks());
  for (const auto* running : {&result.running_mean, &result.running_var}) {
    std::vector<float> first = *running;
    ranks().broadcast(first.data(), kChannels * 4, 0).wait();
    EXPECT_EQ(*running, first);
  }
}

TEST_P(SynchronisedBatchNorm, GivesTheSameBitsWhereItsOutputIsMadeAgainForTheBackward) {
  const auto& [name, device, dtype, pixels, images] = GetParam();
  const Values values = values_of(images[static_cast<size_t>(ranks().rank())], pixels);
  const auto gradient = [&](bool recompute) {
    const RecomputeGuard guard(recompute);
    nn::BatchNorm2d norm(kChannels);
    norm.to(device);
    norm.synchronise(ranks());
    Tensor leaf = values.x.to(device).clone();
    leaf.set_requires_grad(true);
    const Tensor y = ops::activation(norm(leaf.to(dtype)), Activation::silu);
    Tensor loss = Tensor::zeros({1}, DType::float32, device);
    record("weighed", loss, {y}, [dy = values.dy.to(device).to(dtype)](const Tensor&, Gradients& gradients) {
      gradients.add(0, dy.clone());
    });
    loss.backward();
    return leaf.grad().to_vector<float>();
  };
  EXPECT_EQ(gradient(true), gradient(false));
}

TEST(BatchNormOverRanks, NeedsTwoRowsAmongAllRanks) {
  nn::BatchNorm2d norm(kChannels);
  norm.synchronise(ranks());
  const Tensor x = random_tensor({ranks().rank() == 0 ? 1 : 0, kChannels}, 1);
  EXPECT_THROW(norm(x), ShapeError) << "and no rank waits for another";
  EXPECT_NO_THROW(norm(random_tensor({2, kChannels}, 1)));
}

}  // namespace
}  // namespace striate
