// The poolings on random small shapes, against the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/pool2d/pool2d.h"
#include "tests/kernels/random_shapes.h"
#include "tests/support/backend.h"
#include "tests/support/fill.h"

namespace striate::test {
namespace {

/// Everything a pooling gives out, by the functions of `cpu` or of the reference.
struct Pooled {
  Floats y, dx, average, daverage;
  Edged<uint8_t> index;
  Pooled(const Pool2dShape& s, bool at_end)
      : y(s.y_size(), at_end),
        dx(s.x_size(), at_end),
        average(s.y_size(), at_end),
        daverage(s.x_size(), at_end),
        index(s.y_size(), at_end) {}
  bool intact() const { return y.intact() && dx.intact() && average.intact() && daverage.intact() && index.intact(); }
};

testing::AssertionResult close(const Floats& actual, const Floats& expected) {
  for (int64_t i = 0; i < actual.size(); ++i) {
    const float a = actual.data()[i], e = expected.data()[i];
    if ((std::isnan(a) && std::isnan(e)) || std::abs(a - e) <= 4e-6f + 2e-6f * std::abs(e)) continue;
    return testing::AssertionFailure() << "element " << i << " is " << a << ", expected " << e;
  }
  return testing::AssertionSuccess();
}

TEST(RandomPools, agree_with_the_reference) {
  Random random(first_seed() + 2000);
  for (int i = 0; i < rounds(150); ++i) {
    Pool2dShape s;
    do {
      s.N = random.chance(5) ? 0 : random.between(1, 5);
      s.H = random.between(1, 15), s.W = random.between(1, 15), s.C = channels(random);
      s.R = random.between(1, 5), s.S = random.between(1, 5);
      s.stride_h = random.between(1, 5), s.stride_w = random.between(1, 5);
      s.pad_h = random.between(0, s.R / 2), s.pad_w = random.between(0, s.S / 2);
      s.after_relu = random.chance(40);
    } while (!is_valid(s));
    AdaptivePool2dShape cells{s.N, s.H, s.W, s.C, random.between(1, 8), random.between(1, 8)};
    const RandomTarget target(random);
    SCOPED_TRACE(s.to_string() + " and " + cells.to_string() + " on " + target.name());

    auto few = small_integers<float>(s.x_size(), static_cast<uint32_t>(i));  // ties
    if (s.after_relu) {
      for (float& v : few) v = std::max(v, 0.0f);
    }
    if (random.chance(30)) {
      for (size_t k = 5; k < few.size(); k += 13) few[k] = NAN;
    }
    const bool end = i % 4 != 0;
    const Floats x(few, end), image(uniform<float>(s.x_size(), static_cast<uint32_t>(i)), end);
    const Floats dy(uniform<float>(s.y_size(), static_cast<uint32_t>(i) + 1), end);
    const Floats dcells(uniform<float>(cells.y_size(), static_cast<uint32_t>(i) + 2), end);
    TestContext reference_context(1);
    Pooled expected(s, end);
    Floats expected_cells(cells.y_size(), end), expected_dimage(s.x_size(), end);
    reference::max_pool2d_forward(x.data(), expected.y.data(), expected.index.data(), s, reference_context);
    reference::max_pool2d_backward(dy.data(), expected.index.data(), expected.dx.data(), s, reference_context);
    reference::avg_pool2d_forward(image.data(), expected.average.data(), s, reference_context);
    reference::avg_pool2d_backward(dy.data(), expected.daverage.data(), s, reference_context);
    reference::adaptive_avg_pool2d_forward(image.data(), expected_cells.data(), cells, reference_context);
    reference::adaptive_avg_pool2d_backward(dcells.data(), expected_dimage.data(), cells, reference_context);
    for (const int threads : {1, 3}) {
      ThreadPool pool(threads);
      PoisonedWorkspace workspace;
      Context context{&pool, &workspace};
      Pooled found(s, threads == 1);
      Floats found_cells(cells.y_size(), threads == 1), found_dimage(s.x_size(), threads == 1);
      cpu::max_pool2d_forward(x.data(), found.y.data(), found.index.data(), s, context);
      cpu::max_pool2d_backward(dy.data(), expected.index.data(), found.dx.data(), s, context);
      cpu::avg_pool2d_forward(image.data(), found.average.data(), s, context);
      cpu::avg_pool2d_backward(dy.data(), found.daverage.data(), s, context);
      cpu::adaptive_avg_pool2d_forward(image.data(), found_cells.data(), cells, context);
      cpu::adaptive_avg_pool2d_backward(dcells.data(), found_dimage.data(), cells, context);
      EXPECT_TRUE(close(found.y, expected.y));
      EXPECT_TRUE(found.index.same_bits(expected.index));
      EXPECT_TRUE(close(found.dx, expected.dx));
      EXPECT_TRUE(close(found.average, expected.average));
      EXPECT_TRUE(close(found.daverage, expected.daverage));
      EXPECT_TRUE(close(found_cells, expected_cells));
      EXPECT_TRUE(close(found_dimage, expected_dimage));
      EXPECT_TRUE(found.intact() && found_cells.intact() && found_dimage.intact() && workspace.intact());
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace striate::test
