#include "kernels/linear/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/gemm/tile_choice.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/precision.h"

namespace striate::test {
namespace {

struct LinearFunctions {
  decltype(&cpu::linear_forward) forward;
  decltype(&cpu::linear_backward_data) backward_data;
  decltype(&cpu::linear_backward_weight) backward_weight;
};

constexpr BackendTable<LinearFunctions> kLinear = {
    .cpu = {&cpu::linear_forward, &cpu::linear_backward_data, &cpu::linear_backward_weight},
    .cuda = {&cuda::linear_forward, &cuda::linear_backward_data, &cuda::linear_backward_weight},
    .cublas = {&cublas::linear_forward, &cublas::linear_backward_data, &cublas::linear_backward_weight}};

using LinearCase = InPrecision<LinearShape>;

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

/// The three results of the reference. Parameters' gradients are added to `start`.
struct Expected {
  Values<double> y, dx, dw, db;

  Expected(const LinearShape& s, const Values<double>& x, const Values<double>& w, const Values<double>& b,
           const Values<double>& dy, double start)
      : y(s.N * s.K), dx(s.N * s.C), dw(s.K * s.C, start), db(s.K, start) {
    TestContext context;
    reference::linear_forward(x.data(), w.data(), b.data(), y.data(), s, Activation::none, context);
    reference::linear_backward_data(dy.data(), w.data(), dx.data(), s, context);
    reference::linear_backward_weight<double>(x.data(), dy.data(), dw.data(), nullptr, s, Accumulate::yes, context);
  }
  /// The bias gradient is a sum, exact float32 in every precision: of dy as it is.
  void sum_bias_gradient(const Values<double>& dy) {
    for (size_t i = 0; i < dy.size(); ++i) db[i % db.size()] += dy[i];
  }
};

class Linear : public BackendTest<OnLinear> {
 protected:
  LinearShape shape() const { return GetParam().value.shape; }
  Precision precision() const { return GetParam().value.precision; }
  const LinearFunctions& op() const { return kLinear[backend()]; }
};

TEST_P(Linear, agrees_with_the_reference) {
  const LinearShape s = shape();
  const auto x = uniform<float>(s.N * s.C, 1), w = uniform<float>(s.K * s.C, 2), b = uniform<float>(s.K, 3);
  const auto dy = uniform<float>(s.N * s.K, 4);
  const auto rx = inputs_of(backend(), x, precision()), rw = inputs_of(backend(), w, precision());
  const auto rdy = inputs_of(backend(), dy, precision());
  Expected expected(s, rx, rw, as<double>(b), rdy, 0.5);
  Expected sums(s, magnitudes(rx), magnitudes(rw), magnitudes(as<double>(b)), magnitudes(rdy), 0.5);
  expected.sum_bias_gradient(as<double>(dy));
  sums.sum_bias_gradient(magnitudes(as<double>(dy)));

  TestContext context;
  context->precision = precision();
  const GuardedBuffer<float> gx(x), gw(w), gb(b), gdy(dy);
  GuardedBuffer<float> y(s.N * s.K), dx(s.N * s.C), dw(s.K * s.C, 0.5f), db(s.K, 0.5f);
  op().forward(gx.data(), gw.data(), gb.data(), y.data(), s, Activation::none, context);
  op().backward_data(gdy.data(), gw.data(), dx.data(), s, context);
  op().backward_weight(gx.data(), gdy.data(), dw.data(), db.data(), s, Accumulate::yes, context);
  EXPECT_TRUE(within(rounding_unit(backend(), precision(), s.C + 1), y, expected.y, sums.y));
  EXPECT_TRUE(within(rounding_unit(backend(), precision(), s.K), dx, expected.dx, sums.dx));
  EXPECT_TRUE(within(rounding_unit(backend(), precision(), s.N + 1), dw, expected.dw, sums.dw));
  EXPECT_TRUE(within(rounding_unit(backend(), Precision::fp32, s.N + 1), db, expected.db, sums.db));
  for (const auto* buffer : {&gx, &gw, &gb, &gdy}) EXPECT_TRUE(buffer->intact());
  for (const auto* buffer : {&y, &dx, &dw, &db}) EXPECT_TRUE(buffer->intact());
}

TEST_P(Linear, is_exact_on_small_integers) {
  const LinearShape s = shape();
  const auto x = small_integers<float>(s.N * s.C, 5), w = small_integers<float>(s.K * s.C, 6);
  const auto b = small_integers<float>(s.K, 7), dy = small_integers<float>(s.N * s.K, 8);
  TestContext context;
  context->precision = precision();
  for (const Activation activation : {Activation::none, Activation::relu}) {
    for (const float* bias : {b.data(), static_cast<const float*>(nullptr)}) {
      Values<float> expected(s.N * s.K);
      GuardedBuffer<float> y(s.N * s.K);
      reference::linear_forward(x.data(), w.data(), bias, expected.data(), s, activation, context);
      op().forward(x.data(), w.data(), bias, y.data(), s, activation, context);
      EXPECT_TRUE(all_equal(y, expected, {s.N, s.K}));
    }
  }
  Values<float> expected(s.N * s.C);
  GuardedBuffer<float> dx(s.N * s.C);
  reference::linear_backward_data(dy.data(), w.data(), expected.data(), s, context);
  op().backward_data(dy.data(), w.data(), dx.data(), s, context);
  EXPECT_TRUE(all_equal(dx, expected, {s.N, s.C}));
  for (const Accumulate accumulate : {Accumulate::no, Accumulate::yes}) {
    // Overwriting must not read: the output holds NaN before.
    const float start = accumulate == Accumulate::yes ? -3.0f : poison<float>();
    Values<float> expected_dw(s.K * s.C, -3.0f), expected_db(s.K, -3.0f);
    GuardedBuffer<float> dw(s.K * s.C, start), db(s.K, start);
    reference::linear_backward_weight(x.data(), dy.data(), expected_dw.data(), expected_db.data(), s, accumulate,
                                      context);
    op().backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, accumulate, context);
    EXPECT_TRUE(all_equal(dw, expected_dw, {s.K, s.C}));
    EXPECT_TRUE(all_equal(db, expected_db));
  }
}

TEST_P(Linear, gives_the_same_bits_for_any_number_of_threads) {
  const LinearShape s = shape();
  const auto x = uniform<float>(s.N * s.C, 9), w = uniform<float>(s.K * s.C, 10), b = uniform<float>(s.K, 11);
  const auto dy = uniform<float>(s.N * s.K, 12);
  Values<float> first;
  // On cuda the host's threads compute nothing.
  for (const int threads : backend() == Backend::cpu ? std::vector{1, 1, 2, 3} : std::vector{1, 1}) {
    TestContext context(threads);
    context->precision = precision();
    Values<float> y(s.N * s.K), dx(s.N * s.C), dw(s.K * s.C), db(s.K), all;
    op().forward(x.data(), w.data(), b.data(), y.data(), s, Activation::leaky_relu, context);
    op().backward_data(dy.data(), w.data(), dx.data(), s, context);
    op().backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
    for (const auto* part : {&y, &dx, &dw, &db}) all.insert(all.end(), part->begin(), part->end());
    if (first.empty()) first = all;
    EXPECT_TRUE(all_equal(all, first)) << "with " << threads << " threads";
  }
}

TEST_P(Linear, refuses_what_does_not_fit) {
  TestContext context;
  float v[1] = {0};
  const LinearShape empty{4, 0, 3};
  try {
    op().forward(v, v, v, v, empty, Activation::none, context);
    FAIL() << "no error";
  } catch (const ShapeError& e) {
    EXPECT_NE(std::string(e.what()).find("linear x [4,0], w [3,0]"), std::string::npos) << e.what();
  }
  EXPECT_THROW(op().forward(v, v, v, v, {1, 1, 1}, Activation::silu, context), ShapeError);
  EXPECT_THROW(op().backward_data(v, v, v, empty, context), ShapeError);
  EXPECT_THROW(op().backward_weight(v, v, v, v, empty, Accumulate::no, context), ShapeError);
}

INSTANTIATE_TEST_SUITE_P(, Linear, in_every_precision(cases(), backends_and(Backend::cublas)), case_name);

/// TensorFloat-32 of positive values, whose roundings do not cancel as signs do: cutting off instead of rounding would
/// be wrong by 7e-4 of the sum.
TEST(LinearTf32, rounds_its_inputs_to_nearest) {
  if (!can_run(Backend::cuda)) GTEST_SKIP() << "no GPU here";
  const LinearShape s{70, 132, 100};
  const auto x = uniform<float>(s.N * s.C, 1, 0.0, 1.0), w = uniform<float>(s.K * s.C, 2, 0.0, 1.0);
  const auto dy = uniform<float>(s.N * s.K, 3, 0.0, 1.0);
  const Expected expected(s, as<double>(x), as<double>(w), Values<double>(s.K), as<double>(dy), 0.0);
  TestContext context;
  context->precision = Precision::tf32;
  GuardedBuffer<float> y(s.N * s.K), dx(s.N * s.C), dw(s.K * s.C);
  cuda::linear_forward(x.data(), w.data(), nullptr, y.data(), s, Activation::none, context);
  cuda::linear_backward_data(dy.data(), w.data(), dx.data(), s, context);
  cuda::linear_backward_weight(x.data(), dy.data(), dw.data(), nullptr, s, Accumulate::no, context);
  EXPECT_TRUE(within(2.5e-4, y, expected.y, expected.y));
  EXPECT_TRUE(within(2.5e-4, dx, expected.dx, expected.dx));
  EXPECT_TRUE(within(2.5e-4, dw, expected.dw, expected.dw));
}

struct TileCase {
  size_t tile;
  int shares;
  Precision precision;
};

/// Tiles that only large layers are given, and sums in shares, on shapes small enough for a test.
class LinearTile : public testing::TestWithParam<TileCase> {};

TEST_P(LinearTile, is_exact_on_small_integers) {
  if (!can_run(Backend::cuda)) GTEST_SKIP() << "no GPU here";
  const tile::ForcedChoice choice(GetParam().tile, GetParam().shares);
  TestContext context;
  context->precision = GetParam().precision;
  for (const LinearShape& s : {LinearShape{5, 260, 144}, LinearShape{268, 100, 132}, LinearShape{13, 97, 50}}) {
    const auto x = small_integers<float>(s.N * s.C, 1), w = small_integers<float>(s.K * s.C, 2);
    const auto b = small_integers<float>(s.K, 3), dy = small_integers<float>(s.N * s.K, 4);
    Values<float> y(s.N * s.K), dx(s.N * s.C), dw(s.K * s.C, 2.0f), db(s.K, 2.0f);
    reference::linear_forward(x.data(), w.data(), b.data(), y.data(), s, Activation::relu, context);
    reference::linear_backward_data(dy.data(), w.data(), dx.data(), s, context);
    reference::linear_backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::yes, context);
    GuardedBuffer<float> y2(s.N * s.K), dx2(s.N * s.C), dw2(s.K * s.C, 2.0f), db2(s.K, 2.0f);
    cuda::linear_forward(x.data(), w.data(), b.data(), y2.data(), s, Activation::relu, context);
    cuda::linear_backward_data(dy.data(), w.data(), dx2.data(), s, context);
    cuda::linear_backward_weight(x.data(), dy.data(), dw2.data(), db2.data(), s, Accumulate::yes, context);
    EXPECT_TRUE(all_equal(y2, y, {s.N, s.K})) << s.to_string();
    EXPECT_TRUE(all_equal(dx2, dx, {s.N, s.C})) << s.to_string();
    EXPECT_TRUE(all_equal(dw2, dw, {s.K, s.C})) << s.to_string();
    EXPECT_TRUE(all_equal(db2, db)) << s.to_string();
    for (const auto* buffer : {&y2, &dx2, &dw2, &db2}) EXPECT_TRUE(buffer->intact());
  }
}

std::vector<TileCase> tile_cases(size_t tiles) {
  std::vector<TileCase> cases;
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    for (size_t t = 0; t < tiles; ++t) {
      for (const int shares : {1, 3}) cases.push_back({t, shares, precision});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(cuda, LinearTile, testing::ValuesIn(tile_cases(5)), [](const auto& c) {
  return to_string(c.param.precision) + "_tile_" + std::to_string(c.param.tile) + "_shares_" +
         std::to_string(c.param.shares);
});

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
