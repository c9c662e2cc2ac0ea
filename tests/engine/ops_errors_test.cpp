#include <gtest/gtest.h>

#include <cmath>

#include "engine/ops/ops.h"
#include "kernels/error.h"
#include "tests/engine/devices.h"

namespace striate {
namespace {

TEST(Ops, NameTheOpAndTheShapesInErrors) {
  const auto message = [](auto&& call) -> std::string {
    try {
      call();
    } catch (const Error& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  const Tensor image = Tensor::zeros({1, 4, 4, 3});
  EXPECT_EQ(message([&] {
              ops::conv2d(image, Tensor::zeros({2, 3, 3, 4}), Tensor(), {});
            }),
            "conv2d: x [1,4,4,3] with 1 groups needs w [K,R,S,3], found [2,3,3,4]");
  EXPECT_EQ(message([&] {
              ops::conv2d(image, Tensor::zeros({2, 3, 3, 3}), Tensor::zeros({3}), {});
            }),
            "conv2d: expected a bias [2], found [3]");
  EXPECT_EQ(message([&] {
              ops::linear(image, Tensor::zeros({2, 3}), Tensor());
            }),
            "linear: expected x [N,C] of float32 or bfloat16, found [1,4,4,3] of float32");
  EXPECT_EQ(message([&] { ops::add(image, Tensor::zeros({3})); }), "add: [1,4,4,3] and [3] differ");
  EXPECT_EQ(message([&] {
              ops::softmax_cross_entropy(Tensor::zeros({2, 5}), Tensor::zeros({3}, DType::int32));
            }),
            "softmax_cross_entropy: logits [2,5] need labels [2] of int32, found [3] of int32");
  EXPECT_EQ(message([&] {
              ops::linear(Tensor::zeros({2, 3}), Tensor::zeros({2, 3}, DType::float32, Device::reference), Tensor());
            }),
            "linear: inputs live on cpu and reference; move one with to()");
  const Tensor bias_elsewhere = Tensor::zeros({2}, DType::float32, Device::reference);
  EXPECT_EQ(message([&] {
              ops::linear(Tensor::zeros({2, 3}), Tensor::zeros({2, 3}), bias_elsewhere);
            }),
            "linear: inputs live on cpu and reference; move one with to()");
  EXPECT_EQ(message([&] {
              ops::conv2d(image, Tensor::zeros({2, 3, 3, 3}), bias_elsewhere, {});
            }),
            "conv2d: inputs live on cpu and reference; move one with to()");
  EXPECT_NE(message([&] {
              ops::conv2d(image, Tensor::zeros({2, 5, 5, 3}), Tensor(), {});
            }).find("larger than the padded image"),
            std::string::npos);
}

}  // namespace
}  // namespace striate
