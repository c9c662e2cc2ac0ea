#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/autograd.h"
#include "engine/ops/ops.h"
#include "engine/storage.h"
#include "tests/engine/devices.h"

namespace striate {
namespace {

using test::random_tensor;

Tensor sum_of(const Tensor& y) {
  return ops::linear(y.reshape({1, y.size()}), Tensor::full({1, y.size()}, 1.0f), Tensor());
}

/// Leaves in the order in which they were complete, and their gradients then.
struct Completed : GradientListener {
  std::vector<std::pair<const TensorImpl*, std::vector<float>>> leaves;
  void gradient_complete(TensorImpl& leaf) override { leaves.emplace_back(&leaf, leaf.grad.to_vector<float>()); }
};

TEST(Autograd, AListenerIsToldOfEachLeafOnceWhenAllItsUsesAreIn) {
  Tensor twice = random_tensor({2, 3}, 1, Device::cpu), once = random_tensor({2, 3}, 2, Device::cpu);
  Tensor unused = random_tensor({2, 3}, 3, Device::cpu);
  for (Tensor* leaf : {&twice, &once, &unused}) leaf->set_requires_grad(true);
  const auto loss = [&] { return sum_of(ops::add(ops::add(twice, once), ops::scale(twice, 3.0f))); };
  Completed completed;
  {
    const ListenToGradients listen(completed);
    loss().backward();
  }
  ASSERT_EQ(completed.leaves.size(), 2u);
  for (const Tensor& leaf : {twice, once}) {
    const auto of_leaf = [&](const auto& told) { return told.first == leaf.impl().get(); };
    const auto told = std::find_if(completed.leaves.begin(), completed.leaves.end(), of_leaf);
    ASSERT_NE(told, completed.leaves.end());
    EXPECT_EQ(told->second, leaf.grad().to_vector<float>());  // nothing was added afterwards
  }
  loss().backward();  // nobody listens any more
  EXPECT_EQ(completed.leaves.size(), 2u);
}

}  // namespace
}  // namespace striate
