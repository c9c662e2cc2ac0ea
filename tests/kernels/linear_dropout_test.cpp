// A linear layer's forward with dropout in the pass that stores y: the bits of the two passes, but for roundings.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/dropout/dropout.h"
#include "kernels/error.h"
#include "kernels/gemm/tile_choice.h"
#include "kernels/linear/linear.h"
#include "kernels/reference_values.h"
#include "tests/kernels/product_checks.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/error.h"
#include "tests/support/fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

template <typename T>
struct Forward {
  decltype(&cpu::linear_forward<T>) plain;
  decltype(&cpu::linear_forward_dropout<T>) dropout;
};

constexpr BackendTable<Forward<float>> kFloat = {.cpu = {&cpu::linear_forward, &cpu::linear_forward_dropout},
                                                 .cuda = {&cuda::linear_forward, &cuda::linear_forward_dropout}};
constexpr BackendTable<Forward<bfloat16>> kBfloat16 = {.cpu = {&cpu::linear_forward, &cpu::linear_forward_dropout},
                                                       .cuda = {&cuda::linear_forward, &cuda::linear_forward_dropout}};

// Columns that are multiples of 8, of 4 alone, of 2 alone, odd; rows for every tile, and one.
const std::vector<LinearShape> kShapes = {{1, 64, 20}, {37, 130, 45}, {70, 136, 264}, {5, 33, 6}, {1, 1, 1}, {0, 3, 4}};
// What a block of four draws begins with is another element for each, where columns are odd; and beyond 32 bits.
const std::vector<DropoutState> kStates = {
    {1, 2, 0}, {1, 2, 1}, {0xfedcba9876543210, 0x123456789abcdef0, 3}, {42, 1, 0x4000000000}};

bool keeps(const DropoutBehind& dropout, const LinearShape& s, int64_t i) {
  const uint64_t first = dropout.state->first_sample * static_cast<uint64_t>(s.K);
  return dropout_uniform(*dropout.state, dropout.layer, first + static_cast<uint64_t>(i)) >= dropout.p;
}

float scale_of(const DropoutBehind& dropout) { return static_cast<float>(1.0 / (1.0 - double{dropout.p})); }

/// Floats: as dropout of what the product alone gives, bit for bit. A value that is not finite goes the same way.
void check_floats(const Forward<float>& op, const LinearShape& s, float p, const DropoutState& at,
                  Precision precision = Precision::fp32) {
  auto x = uniform<float>(s.N * s.C, 1);
  const auto w = uniform<float>(s.K * s.C, 2), b = uniform<float>(s.K, 3);
  if (s.N > 1) x[0] = std::numeric_limits<float>::quiet_NaN();
  const Values<DropoutState> state = {at};
  const DropoutBehind dropout{p, 7, state.data()};
  TestContext context;
  context->precision = precision;
  for (const Activation activation : {Activation::relu, Activation::none}) {
    GuardedBuffer<float> plain(s.N * s.K), y(s.N * s.K);
    op.plain(x.data(), w.data(), b.data(), plain.data(), s, activation, context);
    op.dropout(x.data(), w.data(), b.data(), y.data(), s, activation, dropout, context);
    Values<float> expected;
    for (int64_t i = 0; i < s.N * s.K; ++i) {
      expected.push_back(keeps(dropout, s, i) ? scale_of(dropout) * plain[i] : 0.0f);
    }
    EXPECT_TRUE(all_equal(y, expected, {s.N, s.K})) << s.to_string() << " p " << p << " from " << at.first_sample;
    EXPECT_TRUE(y.intact());
  }
}

/// bfloat16, of integers whose sums are exact but mostly no bfloat16: `rounded_once` or, the sum too, twice.
void check_bfloat16(const Forward<bfloat16>& op, const LinearShape& s, float p, const DropoutState& at,
                    bool rounded_once) {
  const auto x = small_integers<bfloat16>(s.N * s.C, 1), w = small_integers<bfloat16>(s.K * s.C, 2);
  const auto b = small_integers<float>(s.K, 3, 500, 700);
  const Values<DropoutState> state = {at};
  const DropoutBehind dropout{p, 0xffffffff, state.data()};
  TestContext context;
  Values<float> sums(s.N * s.K), expected;
  const auto wide_x = as<float>(x), wide_w = as<float>(w);
  reference::linear_forward<float>(wide_x.data(), wide_w.data(), b.data(), sums.data(), s, Activation::relu, context);
  GuardedBuffer<bfloat16> y(s.N * s.K);
  op.dropout(x.data(), w.data(), b.data(), y.data(), s, Activation::relu, dropout, context);
  for (int64_t i = 0; i < s.N * s.K; ++i) {
    const float sum = sums[static_cast<size_t>(i)];
    const float v = scale_of(dropout) * (rounded_once ? sum : to_float(to_bfloat16(sum)));
    expected.push_back(keeps(dropout, s, i) ? to_float(to_bfloat16(v)) : 0.0f);
  }
  EXPECT_TRUE(all_equal(y, expected, {s.N, s.K})) << s.to_string() << " p " << p << " from " << at.first_sample;
  EXPECT_TRUE(y.intact());
}

class LinearDropout : public BackendTest<Backend> {};

TEST_P(LinearDropout, GivesTheBitsOfTwoPassesInFloat) {
  for (const LinearShape& s : kShapes) {
    for (const DropoutState& at : kStates) check_floats(kFloat[backend()], s, 0.3f, at);
    for (const float p : {0.0f, 0.5f, 0.99999994f}) check_floats(kFloat[backend()], s, p, kStates[2]);
  }
}

TEST_P(LinearDropout, RoundsBfloat16AsItSays) {
  const bool once = backend() != Backend::cpu;
  for (const LinearShape& s : kShapes) {
    for (const DropoutState& at : kStates) check_bfloat16(kBfloat16[backend()], s, 0.3f, at, once);
    for (const float p : {0.0f, 0.5f, 0.99999994f}) check_bfloat16(kBfloat16[backend()], s, p, kStates[2], once);
  }
}

TEST_P(LinearDropout, RefusesAProbabilityOfOne) {
  const Values<float> v(4, 0.0f);
  Values<float> y(4);
  const Values<DropoutState> state(1);
  TestContext context;
  EXPECT_TRUE(throws_with<ShapeError>(
      [&] {
        kFloat[backend()].dropout(v.data(), v.data(), nullptr, y.data(), {2, 2, 2}, Activation::relu,
                                  {1.0f, 0, state.data()}, context);
      },
      {"dropout", "[0, 1)"}));
}

INSTANTIATE_TEST_SUITE_P(, LinearDropout, testing::ValuesIn(backends()), backend_name);

/// Every way in which a tile's threads hold its results, and the sum of shares.
class LinearDropoutTile : public testing::TestWithParam<TileCase> {
 protected:
  void SetUp() override { skip_unless_runnable(Backend::cuda); }
};

TEST_P(LinearDropoutTile, GivesTheBitsOfTwoPasses) {
  const tile::ForcedChoice choice(GetParam().tile, GetParam().shares);
  for (const LinearShape& s : {LinearShape{37, 584, 136}, LinearShape{21, 581, 70}}) {  // deep enough for three shares
    for (const DropoutState& at : {kStates[0], kStates[2]}) {
      if (GetParam().precision == Precision::bf16) {
        check_bfloat16(kBfloat16[Backend::cuda], s, 0.4f, at, true);
      } else {
        check_floats(kFloat[Backend::cuda], s, 0.4f, at, GetParam().precision);
      }
    }
  }
}

std::vector<TileCase> tiles() {
  std::vector<TileCase> cases;
  for (const int shares : {1, 3}) {
    for (const size_t tile : {0, 1, 2}) cases.push_back({tile, shares, Precision::fp32});
    for (const size_t tile : {0, 1, 2, 3, 4}) {
      cases.push_back({tile, shares, Precision::tf32});
      cases.push_back({tile, shares, Precision::bf16});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(cuda, LinearDropoutTile, testing::ValuesIn(tiles()),
                         [](const auto& c) { return c.param.name(); });

TEST(LinearDropoutReference, RoundsOnce) {
  for (const LinearShape& s : kShapes) {
    check_bfloat16({&reference::linear_forward<bfloat16>, &reference::linear_forward_dropout<bfloat16>}, s, 0.5f,
                   kStates[1], true);
  }
}

TEST(LinearDropoutReference, GradientAgreesWithFiniteDifferencesWhileTheMaskIsHeld) {
  // Two layers: dropout behind the first one's ReLU, taken through by the second one's backward.
  const LinearShape first{6, 5, 7}, second{6, 7, 3};
  const auto x = uniform<double>(first.N * first.C, 1), w1 = uniform<double>(first.K * first.C, 2);
  const auto b1 = uniform<double>(first.K, 3), w2 = uniform<double>(second.K * second.C, 4);
  const auto dy = uniform<double>(second.N * second.K, 5);
  const DropoutState state{3, 4, 5};
  const DropoutBehind dropout{0.4f, 1, &state};
  TestContext context(1);
  Values<double> h(first.N * first.K), y(second.N * second.K), d(h.size()), dw(w1.size()), db(b1.size());
  const auto loss = [&](const Values<double>& w, const Values<double>& b) {
    reference::linear_forward_dropout(x.data(), w.data(), b.data(), h.data(), first, Activation::relu, dropout,
                                      context);
    reference::linear_forward<double>(h.data(), w2.data(), nullptr, y.data(), second, Activation::none, context);
    return dot(y, dy);
  };
  loss(w1, b1);
  reference::linear_backward_data_through_relu(dy.data(), w2.data(), h.data(), d.data(), second, dropout.p, context);
  reference::linear_backward_weight(x.data(), d.data(), dw.data(), db.data(), first, Accumulate::no, context);
  EXPECT_TRUE(check_gradient([&](const auto& v) { return loss(v, b1); }, w1, dw));
  EXPECT_TRUE(check_gradient([&](const auto& v) { return loss(w1, v); }, b1, db));
  // The same by passes of their own.
  Values<double> behind(h.size()), before(h.size());
  reference::linear_backward_data(dy.data(), w2.data(), behind.data(), second, context);
  reference::relu_dropout_backward(h.data(), behind.data(), before.data(), dropout.shape(first.N, first.K), context);
  EXPECT_TRUE(all_equal(d, before));
}

}  // namespace
}  // namespace striate::test
