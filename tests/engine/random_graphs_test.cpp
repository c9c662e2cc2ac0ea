// Gradients of random graphs against derivatives carried along with the values: whatever ReLUs, pools that take a ReLU
// along, sums in place and views meet in them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "engine/autograd.h"
#include "engine/ops/ops.h"
#include "kernels/activation/activation.h"
#include "tests/engine/devices.h"

namespace striate {
namespace {

using test::device_name;
using test::devices;
using test::random_tensor;

constexpr int64_t kSize = 24;
const Shape kImage{2, 2, 3, 2}, kRows{2, 12};

/// A tensor whose elements each depend on the same element of two leaves: its values, and in double both derivatives.
struct Dual {
  Tensor tensor;
  std::vector<double> value, by_a, by_b;
};

Dual leaf(uint64_t seed, bool is_a, Device device) {
  Dual x{random_tensor(kImage, seed, device).set_requires_grad(true), {}, {}, {}};
  for (const float v : x.tensor.to_vector<float>()) x.value.push_back(v);
  x.by_a.assign(kSize, is_a ? 1.0 : 0.0);
  x.by_b.assign(kSize, is_a ? 0.0 : 1.0);
  return x;
}

/// p·x + q·y, then the slope below zero.
Dual combined(Tensor tensor, double p, const Dual& x, double q, const Dual& y, std::optional<double> slope) {
  Dual z{std::move(tensor), {}, {}, {}};
  for (size_t i = 0; i < kSize; ++i) {
    const double value = p * x.value[i] + q * y.value[i];
    const double factor = slope && value <= 0.0 ? *slope : 1.0;
    z.value.push_back(factor * value);
    z.by_a.push_back(factor * (p * x.by_a[i] + q * y.by_a[i]));
    z.by_b.push_back(factor * (p * x.by_b[i] + q * y.by_b[i]));
  }
  return z;
}

Dual same(Tensor tensor, const Dual& x) { return combined(std::move(tensor), 1, x, 0, x, {}); }

/// One op on tensors of the graph so far, the late ones first.
Dual random_op(const std::vector<Dual>& graph, Random& random) {
  const auto pick = [&]() -> const Dual& {
    const size_t back =
        random.below(2) == 0 ? random.below(std::min<size_t>(3, graph.size())) : random.below(graph.size());
    return graph[graph.size() - 1 - back];
  };
  const Dual &x = pick(), &y = pick();
  const Tensor image = x.tensor.reshape(kImage);
  switch (random.below(8)) {
    case 0:
      return combined(ops::activation(x.tensor, Activation::relu), 1, x, 0, x, 0.0);
    case 1:
      return combined(ops::activation(x.tensor, Activation::leaky_relu), 1, x, 0, x, double{kLeakySlope});
    case 2:
      return combined(ops::add(image, y.tensor.reshape(kImage)), 1, x, 1, y, {});
    case 3:
      return combined(ops::add(image, y.tensor.reshape(kImage), Activation::relu), 1, x, 1, y, 0.0);
    case 4:
      return combined(ops::scale(x.tensor, -0.75f), -0.75, x, 0, x, {});
    case 5:
      return same(ops::max_pool2d(image, {1, 1, 1, 1, 0, 0}), x);
    case 6:
      return same(x.tensor.rank() == 4 ? x.tensor.reshape(kRows) : image, x);
    default:
      return same(x.tensor.clone(), x);
  }
}

class RandomGraphsOn : public test::DeviceTest {};

TEST_P(RandomGraphsOn, GiveTheDerivativesCarriedAlong) {
  const int graphs = GetParam() == Device::cuda ? 60 : 400;
  for (int number = 0; number < graphs; ++number) {
    Random random(static_cast<uint64_t>(number), RandomPurpose::test);
    const auto seed = static_cast<uint64_t>(2 * number);
    std::vector<Dual> graph{leaf(seed, true, GetParam()), leaf(seed + 1, false, GetParam())};
    const Tensor a = graph[0].tensor, b = graph[1].tensor;
    const uint64_t ops = 3 + random.below(14);
    for (uint64_t i = 0; i < ops; ++i) graph.push_back(random_op(graph, random));

    // The last tensor and another one, weighted.
    std::vector<double> expected_a(kSize), expected_b(kSize);
    const Tensor weights = random_tensor({1, kSize}, 7, GetParam());
    const std::vector<float> factors = weights.to_vector<float>();
    Tensor loss;
    double largest = 1.0;
    for (const Dual& end : {graph.back(), graph[2 + random.below(graph.size() - 2)]}) {
      const Tensor part = ops::linear(end.tensor.reshape({1, kSize}), weights, Tensor());
      loss = loss.defined() ? ops::add(loss, part) : part;
      for (size_t i = 0; i < kSize; ++i) {
        expected_a[i] += double{factors[i]} * end.by_a[i];
        expected_b[i] += double{factors[i]} * end.by_b[i];
        largest = std::max({largest, std::abs(end.by_a[i]), std::abs(end.by_b[i])});
      }
    }
    const bool keeps_graph = random.below(2) == 0;  // whether the test holds the tensors between, too
    if (!keeps_graph) graph.clear();
    loss.backward();
    for (const auto& [x, expected] : {std::pair{a, expected_a}, {b, expected_b}}) {
      const std::vector<float> found = x.grad().defined() ? x.grad().to_vector<float>() : std::vector<float>(kSize);
      for (size_t i = 0; i < kSize; ++i) {
        ASSERT_NEAR(double{found[i]}, expected[i], 1e-5 * largest) << "graph " << number << ", element " << i;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(, RandomGraphsOn, testing::ValuesIn(devices()), device_name);

}  // namespace
}  // namespace striate
