#include "kernels/linear/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

struct LinearFunctions {
  decltype(&cpu::linear_forward) forward;
  decltype(&cpu::linear_backward_data) backward_data;
  decltype(&cpu::linear_backward_weight) backward_weight;
};

constexpr BackendTable<LinearFunctions> kLinear = {
    .cpu = {&cpu::linear_forward, &cpu::linear_backward_data, &cpu::linear_backward_weight}};

struct LinearCase {
  std::string name;
  LinearShape shape;
};

std::vector<LinearCase> cases() {
  return {
      {"size_one", {1, 1, 1}},        {"one_row", {1, 300, 130}},         {"two_rows", {2, 65, 67}},
      {"three_rows", {3, 1037, 31}},  {"eight_rows", {8, 100, 45}},       {"nine_rows", {9, 77, 33}},
      {"alexnet_fc", {32, 576, 256}}, {"classifier", {37, 128, 10}},      {"one_output", {20, 50, 1}},
      {"one_input", {20, 1, 50}},     {"odd_sizes", {29, 515, 263}},      {"batch_of_128", {128, 256, 64}},
      {"many_rows", {300, 33, 70}},   {"many_more_rows", {1201, 16, 32}}, {"empty_batch", {0, 12, 7}},
  };
}

using OnLinear = OnBackend<LinearCase>;

struct Results {
  Values<double> y, dx, dw, db;
};

Results reference_results(const LinearShape& s, const Values<double>& x, const Values<double>& w,
                          const Values<double>& b, const Values<double>& dy, double start) {
  Results r{Values<double>(s.N * s.K), Values<double>(s.N * s.C), Values<double>(s.K * s.C, start),
            Values<double>(s.K, start)};
  TestContext context;
  reference::linear_forward(x.data(), w.data(), b.data(), r.y.data(), s, Activation::none, context);
  reference::linear_backward_data(dy.data(), w.data(), r.dx.data(), s, context);
  reference::linear_backward_weight(x.data(), dy.data(), r.dw.data(), r.db.data(), s, Accumulate::yes, context);
  return r;
}

Values<double> magnitudes(const Values<float>& values) {
  Values<double> result;
  for (const float v : values) result.push_back(std::abs(double{v}));
  return result;
}

/// |a − e| ≤ 2⁻²⁴·(2·√n + 8)·S, where S = Σ|products| of that output and n its number of summands: the rounding of a
/// chain of n additions, as a random walk with a margin.
testing::AssertionResult within_rounding(const GuardedBuffer<float>& actual, const Values<double>& expected,
                                         const Values<double>& sums, int64_t summands) {
  const double unit = std::ldexp(1.0, -24) * (2.0 * std::sqrt(static_cast<double>(summands)) + 8.0);
  for (int64_t i = 0; i < actual.size(); ++i) {
    const auto e = expected[static_cast<size_t>(i)], allowed = unit * sums[static_cast<size_t>(i)] + 1e-30;
    if (!(std::abs(double{actual[i]} - e) <= allowed)) {
      return testing::AssertionFailure() << "element " << i << " is " << actual[i] << ", expected " << e << " ± "
                                         << allowed;
    }
  }
  return testing::AssertionSuccess();
}

class Linear : public testing::TestWithParam<OnLinear> {};

TEST_P(Linear, agrees_with_the_reference) {
  const LinearShape s = GetParam().value.shape;
  const LinearFunctions& op = kLinear[GetParam().backend];
  const auto x = uniform<float>(s.N * s.C, 1), w = uniform<float>(s.K * s.C, 2), b = uniform<float>(s.K, 3);
  const auto dy = uniform<float>(s.N * s.K, 4);
  const Results expected = reference_results(s, as<double>(x), as<double>(w), as<double>(b), as<double>(dy), 0.5);
  const Results sums = reference_results(s, magnitudes(x), magnitudes(w), magnitudes(b), magnitudes(dy), 0.5);

  TestContext context;
  const GuardedBuffer<float> gx(x), gw(w), gb(b), gdy(dy);
  GuardedBuffer<float> y(s.N * s.K), dx(s.N * s.C), dw(s.K * s.C, 0.5f), db(s.K, 0.5f);
  op.forward(gx.data(), gw.data(), gb.data(), y.data(), s, Activation::none, context);
  op.backward_data(gdy.data(), gw.data(), dx.data(), s, context);
  op.backward_weight(gx.data(), gdy.data(), dw.data(), db.data(), s, Accumulate::yes, context);
  EXPECT_TRUE(within_rounding(y, expected.y, sums.y, s.C + 1));
  EXPECT_TRUE(within_rounding(dx, expected.dx, sums.dx, s.K));
  EXPECT_TRUE(within_rounding(dw, expected.dw, sums.dw, s.N + 1));
  EXPECT_TRUE(within_rounding(db, expected.db, sums.db, s.N + 1));
  for (const auto* buffer : {&gx, &gw, &gb, &gdy}) EXPECT_TRUE(buffer->intact());
  for (const auto* buffer : {&y, &dx, &dw, &db}) EXPECT_TRUE(buffer->intact());
}

TEST_P(Linear, is_exact_on_small_integers) {
  const LinearShape s = GetParam().value.shape;
  const LinearFunctions& op = kLinear[GetParam().backend];
  const auto x = small_integers<float>(s.N * s.C, 5), w = small_integers<float>(s.K * s.C, 6);
  const auto b = small_integers<float>(s.K, 7), dy = small_integers<float>(s.N * s.K, 8);
  TestContext context;
  for (const Activation activation : {Activation::none, Activation::relu}) {
    for (const float* bias : {b.data(), static_cast<const float*>(nullptr)}) {
      Values<float> expected(s.N * s.K);
      GuardedBuffer<float> y(s.N * s.K);
      reference::linear_forward(x.data(), w.data(), bias, expected.data(), s, activation, context);
      op.forward(x.data(), w.data(), bias, y.data(), s, activation, context);
      EXPECT_TRUE(all_equal(y, expected, {s.N, s.K}));
    }
  }
  Values<float> expected(s.N * s.C);
  GuardedBuffer<float> dx(s.N * s.C);
  reference::linear_backward_data(dy.data(), w.data(), expected.data(), s, context);
  op.backward_data(dy.data(), w.data(), dx.data(), s, context);
  EXPECT_TRUE(all_equal(dx, expected, {s.N, s.C}));
  for (const Accumulate accumulate : {Accumulate::no, Accumulate::yes}) {
    // Overwriting must not read: the output holds NaN before.
    const float start = accumulate == Accumulate::yes ? -3.0f : poison<float>();
    Values<float> expected_dw(s.K * s.C, -3.0f), expected_db(s.K, -3.0f);
    GuardedBuffer<float> dw(s.K * s.C, start), db(s.K, start);
    reference::linear_backward_weight(x.data(), dy.data(), expected_dw.data(), expected_db.data(), s, accumulate,
                                      context);
    op.backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, accumulate, context);
    EXPECT_TRUE(all_equal(dw, expected_dw, {s.K, s.C}));
    EXPECT_TRUE(all_equal(db, expected_db));
  }
}

TEST_P(Linear, gives_the_same_bits_for_any_number_of_threads) {
  const LinearShape s = GetParam().value.shape;
  const LinearFunctions& op = kLinear[GetParam().backend];
  const auto x = uniform<float>(s.N * s.C, 9), w = uniform<float>(s.K * s.C, 10), b = uniform<float>(s.K, 11);
  const auto dy = uniform<float>(s.N * s.K, 12);
  Values<float> first;
  for (const int threads : {1, 1, 2, 3}) {
    TestContext context(threads);
    Values<float> y(s.N * s.K), dx(s.N * s.C), dw(s.K * s.C), db(s.K), all;
    op.forward(x.data(), w.data(), b.data(), y.data(), s, Activation::leaky_relu, context);
    op.backward_data(dy.data(), w.data(), dx.data(), s, context);
    op.backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
    for (const auto* part : {&y, &dx, &dw, &db}) all.insert(all.end(), part->begin(), part->end());
    if (first.empty()) first = all;
    EXPECT_TRUE(all_equal(all, first)) << "with " << threads << " threads";
  }
}

TEST_P(Linear, refuses_what_does_not_fit) {
  const LinearFunctions& op = kLinear[GetParam().backend];
  TestContext context;
  float v[1] = {0};
  const LinearShape shape{4, 0, 3};
  try {
    op.forward(v, v, v, v, shape, Activation::none, context);
    FAIL() << "no error";
  } catch (const ShapeError& e) {
    EXPECT_NE(std::string(e.what()).find("linear x [4,0], w [3,0]"), std::string::npos) << e.what();
  }
  EXPECT_THROW(op.forward(v, v, v, v, {1, 1, 1}, Activation::silu, context), ShapeError);
  EXPECT_THROW(op.backward_data(v, v, v, shape, context), ShapeError);
  EXPECT_THROW(op.backward_weight(v, v, v, v, shape, Accumulate::no, context), ShapeError);
}

INSTANTIATE_TEST_SUITE_P(, Linear, on_cpu(cases()), case_name);

TEST(LinearGradient, agrees_with_finite_differences) {
  const LinearShape s{3, 5, 4};
  const auto x = uniform<double>(s.N * s.C, 1), w = uniform<double>(s.K * s.C, 2), b = uniform<double>(s.K, 3);
  const auto dy = uniform<double>(s.N * s.K, 4);
  TestContext context(1);
  const auto loss = [&](const Values<double>& x_, const Values<double>& w_, const Values<double>& b_) {
    Values<double> y(s.N * s.K);
    reference::linear_forward(x_.data(), w_.data(), b_.data(), y.data(), s, Activation::none, context);
    return dot(y, dy);
  };
  Values<double> dx(s.N * s.C), dw(s.K * s.C), db(s.K);
  reference::linear_backward_data(dy.data(), w.data(), dx.data(), s, context);
  reference::linear_backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
  EXPECT_TRUE(check_gradient([&](const auto& v) { return loss(v, w, b); }, x, dx));
  EXPECT_TRUE(check_gradient([&](const auto& v) { return loss(x, v, b); }, w, dw));
  EXPECT_TRUE(check_gradient([&](const auto& v) { return loss(x, w, v); }, b, db));
}

}  // namespace
}  // namespace striate::test
