#include "engine/distributed/exchange.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "tests/ranks/ranks.h"

namespace striate {
namespace {

using test::ranks;

TEST(SharedRows, AnErrorBetweenTheirRoundsFreesNothingThatIsStillWrittenTo) {
  constexpr int64_t kRows = 64, kColumns = 5000;
  const std::vector<int64_t> counts(static_cast<size_t>(ranks().size()), kRows);
  for (int time = 0; time < 20; ++time) {
    const auto value = [&](int rank) { return static_cast<float>(10 * rank + time); };
    const auto stop_after_a_round = [&] {
      const Tensor mine = Tensor::full({kRows, kColumns}, value(ranks().rank()));
      SharedRows shared(mine, counts, ranks().size(), test::ranks_on(Device::cpu));
      const Tensor first = shared.take();
      EXPECT_EQ(first.to_vector<float>(), std::vector<float>(kRows * kColumns, value(0)));
      throw std::runtime_error("while the second round is under way");
    };
    EXPECT_THROW(stop_after_a_round(), std::runtime_error);
    // What is allocated next must not be where the round still arrives.
    std::vector<Tensor> next;
    for (int i = 0; i < 4; ++i) next.push_back(Tensor::full({kRows, kColumns}, -1.0f));
    const std::vector<int> all = ranks().gathered(ranks().rank());
    for (int rank = 0; rank < ranks().size(); ++rank) EXPECT_EQ(all[static_cast<size_t>(rank)], rank);
    for (const Tensor& t : next) {
      ASSERT_EQ(t.to_vector<float>(), std::vector<float>(kRows * kColumns, -1.0f));
    }
  }
}

}  // namespace
}  // namespace striate
