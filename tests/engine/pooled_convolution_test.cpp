// Sequential takes a convolution, its ReLU and the max-pool behind them as one op, where that pays: the bits of the
// three modules' ops, forward and backward.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/autograd.h"
#include "engine/nn/init.h"
#include "engine/nn/layers.h"
#include "engine/ops/ops.h"
#include "engine/storage.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"

namespace striate::nn {
namespace {

using test::device_name;
using test::devices;
using test::random_tensor;

struct Case {
  const char* name;
  Conv2d::Options conv;
  ops::Pool2dOptions pool;
  Shape input;
};

std::vector<Case> cases() {
  const ops::Pool2dOptions overlapping{3, 3, 2, 2, 0, 0}, side_by_side{2, 2, 2, 2, 0, 0};
  return {
      {"overlapping", {3, 8, 3, 3, {1, 1, 1, 1}}, overlapping, {5, 13, 13, 3}},
      {"side by side", {3, 8, 3, 3, {1, 1, 1, 1}}, side_by_side, {5, 12, 12, 3}},
      {"odd sizes, padded pool", {2, 7, 3, 2, {2, 1, 2, 0}}, {3, 2, 2, 3, 1, 1}, {5, 17, 15, 2}},
      {"stride 1", {3, 5, 2, 2, {2, 2}}, {3, 3, 1, 1, 1, 1}, {6, 19, 23, 3}},
      {"gaps between windows", {3, 5, 3, 3, {1, 1}}, {2, 2, 3, 3, 0, 0}, {4, 16, 17, 3}},
      {"two groups", {4, 6, 3, 3, {1, 1, 1, 1, 1, 1, 2}}, overlapping, {5, 11, 12, 4}},
      {"no bias", {3, 8, 3, 3, {1, 1, 1, 1}, false}, overlapping, {5, 13, 13, 3}},
  };
}

/// With one thread, so that small batches are enough for it to pay.
class OneThread {
 public:
  OneThread() { set_num_threads(1); }
  ~OneThread() { set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_ = context(Device::cpu).threads->size();
};

class PooledConvolutionOn : public test::DeviceTest {
  OneThread one_thread_;
};
class PooledConvolution : public testing::Test {
  OneThread one_thread_;
};
INSTANTIATE_TEST_SUITE_P(, PooledConvolutionOn, testing::ValuesIn(devices()), device_name);

/// A convolution's output, by the network or op by op, and the gradients of all that went in.
struct Result {
  std::string op;
  std::vector<std::vector<float>> values;
};

Result result_of(const Case& c, Device device, DType type, bool input_from_relu, bool fused) {
  const auto conv = std::make_shared<Conv2d>(c.conv);
  Sequential network({conv, std::make_shared<ActivationLayer>(Activation::relu), std::make_shared<MaxPool2d>(c.pool)});
  initialize(network, {}, 5);
  if (conv->bias.defined()) conv->bias.copy_from(random_tensor(conv->bias.shape(), 6));
  network.to(device);
  Tensor x = random_tensor(c.input, 7, device).set_requires_grad(true);
  Tensor input = type == DType::bfloat16 ? x.to(type) : x;
  if (input_from_relu) input = ops::activation(input, Activation::relu);
  Tensor y =
      fused ? network(input)
            : ops::max_pool2d(ops::conv2d(input, conv->weight, conv->bias, c.conv.geometry, Activation::relu), c.pool);
  Result result{y.impl()->grad_fn->name, {y.to(DType::float32).to_vector<float>()}};
  input = Tensor();
  const Tensor flat = y.to(DType::float32).reshape({1, y.size()});
  ops::linear(flat, random_tensor({1, y.size()}, 8, device), Tensor()).reshape({1}).backward();
  result.values.push_back(x.grad().to_vector<float>());
  for (const NamedTensor& p : network.named_parameters()) result.values.push_back(p.tensor.grad().to_vector<float>());
  return result;
}

void compare(const Case& c, Device device) {
  for (const DType type : {DType::float32, DType::bfloat16}) {
    for (const bool input_from_relu : {false, true}) {
      SCOPED_TRACE(std::string(c.name) + ", " + to_string(type) + (input_from_relu ? ", from a ReLU" : ""));
      const Result at_once = result_of(c, device, type, input_from_relu, true);
      const Result one_by_one = result_of(c, device, type, input_from_relu, false);
      EXPECT_EQ(at_once.op, device == Device::cpu ? "conv2d_max_pool2d" : "max_pool2d");
      EXPECT_EQ(one_by_one.op, "max_pool2d");
      ASSERT_EQ(at_once.values.size(), c.conv.bias ? 4u : 3u);
      EXPECT_EQ(at_once.values, one_by_one.values);
      for (const std::vector<float>& gradient : one_by_one.values) {
        EXPECT_NE(gradient, std::vector<float>(gradient.size())) << "nothing but zeros was compared";
      }
    }
  }
}

TEST_P(PooledConvolutionOn, HasTheBitsOfTheOpsOneByOne) {
  for (const Case& c : cases()) compare(c, GetParam());
}

TEST_F(PooledConvolution, HasThemWhereWinogradsAlgorithmIsTaken) {
  compare({"Winograd", {32, 33, 5, 5, {1, 1, 2, 2}}, {3, 3, 2, 2, 0, 0}, {24, 12, 13, 32}}, Device::cpu);
}

TEST_F(PooledConvolution, LeavesAnotherActivationAndOneImageToTwoOps) {
  const ops::Pool2dOptions pool{2, 2, 2, 2, 0, 0};
  const auto last_op = [&](Activation activation, const Shape& input) {
    Sequential network({std::make_shared<Conv2d>(3, 4, 3), std::make_shared<ActivationLayer>(activation),
                        std::make_shared<MaxPool2d>(pool)});
    return network(random_tensor(input, 1)).impl()->grad_fn->name;
  };
  EXPECT_EQ(last_op(Activation::relu, {4, 20, 20, 3}), "conv2d_max_pool2d");
  EXPECT_EQ(last_op(Activation::leaky_relu, {4, 20, 20, 3}), "max_pool2d");
  EXPECT_EQ(last_op(Activation::relu, {1, 20, 20, 3}), "max_pool2d");
  Sequential without_pool({std::make_shared<Conv2d>(3, 4, 3), std::make_shared<ActivationLayer>(Activation::relu)});
  EXPECT_EQ(without_pool(random_tensor({2, 20, 20, 3}, 1)).impl()->grad_fn->name, "conv2d");
}

TEST_F(PooledConvolution, SaysWhatItTakes) {
  const Tensor x = random_tensor({2, 20, 20, 3}, 1), w = random_tensor({4, 3, 3, 3}, 2);
  const ops::Pool2dOptions pool{2, 2, 2, 2, 0, 0};
  EXPECT_THROW(ops::conv2d_max_pool2d(x, w, Tensor(), {}, pool, Activation::leaky_relu), ShapeError);
  EXPECT_THROW(
      ops::conv2d_max_pool2d(x.to(Device::reference), w.to(Device::reference), Tensor(), {}, pool, Activation::relu),
      ConfigError);
  EXPECT_FALSE(ops::conv2d_max_pool2d_pays(x, w, {}, ops::Kernels::vendor));
  EXPECT_THROW(ops::conv2d_max_pool2d_pays(x, random_tensor({4, 30, 3, 3}, 2), {}, ops::Kernels::own), ShapeError);
}

}  // namespace
}  // namespace striate::nn
