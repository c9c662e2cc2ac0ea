#include "engine/profiler.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engine/ops/ops.h"
#include "kernels/error.h"

namespace striate::test {
namespace {

const ProfileRow* find(const std::vector<ProfileRow>& rows, const std::string& kernel) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const ProfileRow& r) { return r.kernel == kernel; });
  return found == rows.end() ? nullptr : &*found;
}

TEST(Profiler, TellsKernelsAndSizesApart) {
  Tensor w = Tensor::full({5, 4}, 0.5f, Device::cpu), none;
  w.set_requires_grad(true);
  std::vector<ProfileRow> rows;
  {
    Profiler profiler;
    for (const int64_t n : {3, 3, 7}) {
      const Tensor x = Tensor::full({n, 4}, 1.0f, Device::cpu);
      const Tensor labels = Tensor::zeros({n}, DType::int32, Device::cpu);
      ops::softmax_cross_entropy(ops::linear(x, w, none, Activation::none), labels, 0.0f).loss.backward();
    }
    rows = profiler.rows();
  }
  std::vector<ProfileRow> forward;
  std::copy_if(rows.begin(), rows.end(), std::back_inserter(forward),
               [](const ProfileRow& r) { return r.kernel == "linear_forward"; });
  ASSERT_EQ(forward.size(), 2u);
  std::sort(forward.begin(), forward.end(), [](const auto& a, const auto& b) { return a.calls > b.calls; });
  EXPECT_EQ(forward[0].calls, 2);
  EXPECT_EQ(forward[1].calls, 1);
  EXPECT_EQ(forward[0].size, (LinearShape{3, 4, 5}.to_string()));
  EXPECT_DOUBLE_EQ(forward[0].flops, 2.0 * 2 * 3 * 4 * 5);
  EXPECT_DOUBLE_EQ(forward[1].flops, 2.0 * 7 * 4 * 5);
  EXPECT_GT(forward[0].seconds, 0.0);
  ASSERT_NE(find(rows, "linear_backward_weight"), nullptr);
  EXPECT_EQ(find(rows, "linear_backward_data"), nullptr) << "x wants no gradient";
  ASSERT_NE(find(rows, "softmax_cross_entropy_backward"), nullptr);
  EXPECT_EQ(find(rows, "softmax_cross_entropy_backward")->flops, 0.0);
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    return a.seconds > b.seconds;
  })) << "the slowest first";
}

TEST(Profiler, SeesNothingBeforeAndAfter) {
  Tensor x = Tensor::full({8}, 1.0f, Device::cpu);
  {
    Profiler profiler;
    EXPECT_TRUE(profiler.rows().empty());
    x.fill(2.0f);
    ASSERT_EQ(profiler.rows().size(), 1u);
    EXPECT_EQ(profiler.rows()[0].kernel, "fill");
    EXPECT_EQ(profiler.rows()[0].size, "8");
    profiler.clear();
    EXPECT_TRUE(profiler.rows().empty());
    EXPECT_THROW(Profiler{}, Error) << "one at a time";
  }
  EXPECT_EQ(Profiler::current(), nullptr);
  x.fill(3.0f);
  Profiler next;
  EXPECT_TRUE(next.rows().empty());
}

}  // namespace
}  // namespace striate::test
