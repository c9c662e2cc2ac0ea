#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/conv2d/conv2d.h"
#include "kernels/gemm/tile_choice.h"
#include "kernels/linear/linear.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/gradient_check.h"
#include "tests/support/guarded_buffer.h"
#include "tests/support/precision.h"

// What convolution and the linear layer are both held to. Shape is Conv2dShape or LinearShape.

namespace striate::test {

/// The functions of one of the two ops on a backend, of activations of type T.
template <typename Shape, typename T = float>
struct ProductFunctions {
  void (*forward)(const T* x, const T* w, const Parameter<T>* b, T* y, const Shape&, Activation, Context&);
  void (*backward_data)(const T* dy, const T* w, T* dx, const Shape&, Context&);
  void (*backward_weight)(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const Shape&, Accumulate,
                          Context&);
};

/// The extents of its tensors, and how many products make one of their values.
struct ProductTensors {
  std::vector<int64_t> x, w, y;
  int64_t K;
  int64_t summands_y, summands_dx, summands_dw;

  static int64_t size(const std::vector<int64_t>& extents) {
    return std::accumulate(extents.begin(), extents.end(), int64_t{1}, std::multiplies<>());
  }
  int64_t x_size() const { return size(x); }
  int64_t w_size() const { return size(w); }
  int64_t y_size() const { return size(y); }
};
inline ProductTensors tensors_of(const Conv2dShape& s) {
  return {{s.N, s.H, s.W, s.C},
          {s.K, s.R, s.S, s.group_channels()},
          {s.N, s.P(), s.Q(), s.K},
          s.K,
          s.taps(),
          s.group_kernels() * s.R * s.S,
          s.N * s.P() * s.Q()};
}
inline ProductTensors tensors_of(const LinearShape& s) {
  return {{s.N, s.C}, {s.K, s.C}, {s.N, s.K}, s.K, s.C, s.K, s.N};
}

template <typename T>
void reference_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const Conv2dShape& s, Activation act,
                       Context& c) {
  reference::conv2d_forward<T>(x, w, b, y, s, act, c);
}
template <typename T>
void reference_forward(const T* x, const T* w, const Parameter<T>* b, T* y, const LinearShape& s, Activation act,
                       Context& c) {
  reference::linear_forward<T>(x, w, b, y, s, act, c);
}
template <typename T>
void reference_backward_data(const T* dy, const T* w, T* dx, const Conv2dShape& s, Context& c) {
  reference::conv2d_backward_data(dy, w, dx, s, c);
}
template <typename T>
void reference_backward_data(const T* dy, const T* w, T* dx, const LinearShape& s, Context& c) {
  reference::linear_backward_data(dy, w, dx, s, c);
}
template <typename T>
void reference_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const Conv2dShape& s,
                               Accumulate a, Context& c) {
  reference::conv2d_backward_weight(x, dy, dw, db, s, a, c);
}
template <typename T>
void reference_backward_weight(const T* x, const T* dy, Parameter<T>* dw, Parameter<T>* db, const LinearShape& s,
                               Accumulate a, Context& c) {
  reference::linear_backward_weight(x, dy, dw, db, s, a, c);
}

/// The results of the reference. Parameters' gradients are added to `start`.
struct ProductResults {
  Values<double> y, dx, dw, db;

  template <typename Shape>
  ProductResults(const Shape& s, Activation activation, const Values<double>& x, const Values<double>& w,
                 const Values<double>& b, const Values<double>& dy, double start)
      : y(tensors_of(s).y_size()), dx(x.size()), dw(w.size(), start), db(b.size(), start) {
    TestContext context;
    reference_forward(x.data(), w.data(), b.data(), y.data(), s, activation, context);
    reference_backward_data(dy.data(), w.data(), dx.data(), s, context);
    reference_backward_weight<double>(x.data(), dy.data(), dw.data(), nullptr, s, Accumulate::yes, context);
  }
  /// The bias gradient is a sum, exact float32 in every precision: of dy as it is.
  void sum_bias_gradient(const Values<double>& dy) {
    for (size_t i = 0; i < dy.size(); ++i) db[i % db.size()] += dy[i];
  }
};

/// The products of inputs as a backend rounds them, and the sums of the products' magnitudes.
template <typename Shape>
struct Expected {
  ProductResults results, sums;

  Expected(const Shape& s, Backend backend, Precision precision, const Values<float>& x, const Values<float>& w,
           const Values<float>& b, const Values<float>& dy)
      : Expected(s, inputs_of(backend, x, precision), inputs_of(backend, w, precision), {b.begin(), b.end()},
                 inputs_of(backend, dy, precision), {dy.begin(), dy.end()}) {}

 private:
  Expected(const Shape& s, const Values<double>& x, const Values<double>& w, const Values<double>& b,
           const Values<double>& rounded_dy, const Values<double>& dy)
      : results(s, Activation::relu, x, w, b, rounded_dy, 0.5),
        sums(s, Activation::none, magnitudes(x), magnitudes(w), magnitudes(b), magnitudes(rounded_dy), 0.5) {
    results.sum_bias_gradient(dy);
    sums.sum_bias_gradient(magnitudes(dy));
  }
};

/// Random data, by the error of a sum of so many products.
template <typename Shape, typename T>
void check_against_reference(const ProductFunctions<Shape, T>& op, Backend backend, Precision precision,
                             const Shape& s) {
  const ProductTensors t = tensors_of(s);
  const auto x = uniform<T>(t.x_size(), 1), w = uniform<T>(t.w_size(), 2), dy = uniform<T>(t.y_size(), 4);
  const auto b = uniform<float>(t.K, 3);
  const auto fx = as<float>(x), fw = as<float>(w), fdy = as<float>(dy);
  const Expected<Shape> expected(s, backend, precision, fx, fw, b, fdy);

  TestContext context;
  context->precision = precision;
  const GuardedBuffer<T> gx(x), gw(w), gdy(dy);
  const GuardedBuffer<float> gb(b);
  GuardedBuffer<T> y(t.y_size()), dx(t.x_size());
  GuardedBuffer<float> dw(t.w_size(), 0.5f), db(t.K, 0.5f);
  op.forward(gx.data(), gw.data(), gb.data(), y.data(), s, Activation::relu, context);
  op.backward_data(gdy.data(), gw.data(), dx.data(), s, context);
  op.backward_weight(gx.data(), gdy.data(), dw.data(), db.data(), s, Accumulate::yes, context);
  const auto agrees = [&](Precision p, int64_t summands, const auto& actual, Values<double> ProductResults::*member) {
    return within(rounding_unit(backend, p, summands), actual, expected.results.*member, expected.sums.*member);
  };
  EXPECT_TRUE(agrees(precision, t.summands_y + 1, y, &ProductResults::y));
  EXPECT_TRUE(agrees(precision, t.summands_dx, dx, &ProductResults::dx));
  EXPECT_TRUE(agrees(precision, t.summands_dw + 1, dw, &ProductResults::dw));
  EXPECT_TRUE(agrees(Precision::fp32, t.summands_dw + 1, db, &ProductResults::db));
  EXPECT_TRUE(gx.intact() && gw.intact() && gb.intact() && gdy.intact());
  EXPECT_TRUE(y.intact() && dx.intact() && dw.intact() && db.intact());
}

struct ExactWays {
  std::vector<Activation> activations = {Activation::none, Activation::relu};
  std::vector<Accumulate> accumulates = {Accumulate::no, Accumulate::yes};
};

/// Small integers, whose products and sums are exact in every precision and order, bfloat16's but for their one
/// rounding: a missing or doubled term shows.
template <typename Shape, typename T>
void check_exact_on_small_integers(const ProductFunctions<Shape, T>& op, Precision precision, const Shape& s,
                                   const ExactWays& ways = {}) {
  const ProductTensors t = tensors_of(s);
  const auto x = small_integers<T>(t.x_size(), 5), w = small_integers<T>(t.w_size(), 6);
  const auto dy = small_integers<T>(t.y_size(), 8);
  const auto b = small_integers<float>(t.K, 7);
  TestContext context;
  context->precision = precision;
  for (const Activation activation : ways.activations) {
    Values<T> expected(t.y_size());
    GuardedBuffer<T> y(t.y_size());
    reference_forward(x.data(), w.data(), b.data(), expected.data(), s, activation, context);
    op.forward(x.data(), w.data(), b.data(), y.data(), s, activation, context);
    EXPECT_TRUE(all_equal(y, expected, t.y)) << s.to_string();
    EXPECT_TRUE(y.intact());
  }
  Values<T> expected(t.x_size());
  GuardedBuffer<T> dx(t.x_size());
  reference_backward_data(dy.data(), w.data(), expected.data(), s, context);
  op.backward_data(dy.data(), w.data(), dx.data(), s, context);
  EXPECT_TRUE(all_equal(dx, expected, t.x)) << s.to_string();
  EXPECT_TRUE(dx.intact());
  for (const Accumulate accumulate : ways.accumulates) {
    // Overwriting must not read: the output holds NaN before.
    const float start = accumulate == Accumulate::yes ? -3.0f : poison<float>();
    Values<float> expected_dw(t.w_size(), -3.0f), expected_db(t.K, -3.0f);
    GuardedBuffer<float> dw(t.w_size(), start), db(t.K, start);
    reference_backward_weight(x.data(), dy.data(), expected_dw.data(), expected_db.data(), s, accumulate, context);
    op.backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, accumulate, context);
    EXPECT_TRUE(all_equal(dw, expected_dw, t.w)) << s.to_string();
    EXPECT_TRUE(all_equal(db, expected_db)) << s.to_string();
    EXPECT_TRUE(dw.intact() && db.intact());
  }
}

template <typename Shape, typename T>
void check_same_bits(const ProductFunctions<Shape, T>& op, Backend backend, Precision precision, const Shape& s) {
  const ProductTensors t = tensors_of(s);
  const auto x = uniform<T>(t.x_size(), 9), w = uniform<T>(t.w_size(), 10), dy = uniform<T>(t.y_size(), 12);
  const auto b = uniform<float>(t.K, 11);
  Values<float> first;
  // But on cpu the host's threads compute nothing.
  for (const int threads : backend == Backend::cpu ? std::vector{1, 1, 2, 3} : std::vector{1, 1}) {
    TestContext context(threads);
    context->precision = precision;
    Values<T> y(t.y_size()), dx(t.x_size());
    Values<float> dw(t.w_size()), db(t.K);
    op.forward(x.data(), w.data(), b.data(), y.data(), s, Activation::leaky_relu, context);
    op.backward_data(dy.data(), w.data(), dx.data(), s, context);
    op.backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
    Values<float> all = as<float>(y);
    for (const auto& part : {as<float>(dx), dw, db}) all.insert(all.end(), part.begin(), part.end());
    if (first.empty()) first = all;
    EXPECT_TRUE(all_equal(all, first)) << "with " << threads << " threads";
  }
}

template <typename Shape, typename T>
void check_bias_and_activation(const ProductFunctions<Shape, T>& op, const Shape& s,
                               Precision precision = Precision::fp32) {
  const ProductTensors t = tensors_of(s);
  const auto x = small_integers<T>(t.x_size(), 1), w = small_integers<T>(t.w_size(), 2);
  const auto b = small_integers<float>(t.K, 3);
  TestContext context;
  context->precision = precision;
  for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu}) {
    for (const float* bias : {b.data(), static_cast<const float*>(nullptr)}) {
      Values<T> expected(t.y_size());
      GuardedBuffer<T> y(t.y_size());
      reference_forward(x.data(), w.data(), bias, expected.data(), s, activation, context);
      op.forward(x.data(), w.data(), bias, y.data(), s, activation, context);
      // One rounding of 0.01·v, in float here and from double there, which in bfloat16 may decide a tie.
      EXPECT_TRUE(all_close(y, expected, {0.0, std::is_same_v<T, float> ? 2e-7 : 0x1p-7}, t.y));
    }
  }
}

/// Precision::bf16 is that of bfloat16 alone: floats give the bits of fp32.
template <typename Shape>
void check_floats_in_bf16(const ProductFunctions<Shape>& op, const Shape& s) {
  const ProductTensors t = tensors_of(s);
  const auto x = uniform<float>(t.x_size(), 1), w = uniform<float>(t.w_size(), 2), b = uniform<float>(t.K, 3);
  const auto dy = uniform<float>(t.y_size(), 4);
  Values<float> expected;
  for (const Precision precision : {Precision::fp32, Precision::bf16}) {
    TestContext context;
    context->precision = precision;
    Values<float> y(t.y_size()), dx(t.x_size()), dw(t.w_size()), db(t.K);
    op.forward(x.data(), w.data(), b.data(), y.data(), s, Activation::relu, context);
    op.backward_data(dy.data(), w.data(), dx.data(), s, context);
    op.backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
    for (const auto& part : {dx, dw, db}) y.insert(y.end(), part.begin(), part.end());
    if (precision == Precision::fp32) expected = y;
    EXPECT_TRUE(all_equal(y, expected)) << s.to_string();
  }
}

/// TensorFloat-32 of positive values, whose roundings do not cancel as signs do: cutting off instead of rounding would
/// be wrong by 7e-4 of the sum.
template <typename Shape>
void check_rounding_of_tf32(const ProductFunctions<Shape>& op, const Shape& s) {
  if (!can_run(Backend::cuda)) GTEST_SKIP() << "no GPU here";
  const ProductTensors t = tensors_of(s);
  const auto x = uniform<float>(t.x_size(), 1, 0.0, 1.0), w = uniform<float>(t.w_size(), 2, 0.0, 1.0);
  const auto dy = uniform<float>(t.y_size(), 3, 0.0, 1.0);
  const ProductResults expected(s, Activation::none, {x.begin(), x.end()}, {w.begin(), w.end()}, Values<double>(t.K),
                                {dy.begin(), dy.end()}, 0.0);
  TestContext context;
  context->precision = Precision::tf32;
  GuardedBuffer<float> y(t.y_size()), dx(t.x_size()), dw(t.w_size());
  op.forward(x.data(), w.data(), nullptr, y.data(), s, Activation::none, context);
  op.backward_data(dy.data(), w.data(), dx.data(), s, context);
  op.backward_weight(x.data(), dy.data(), dw.data(), nullptr, s, Accumulate::no, context);
  EXPECT_TRUE(within(2.5e-4, y, expected.y, expected.y));
  EXPECT_TRUE(within(2.5e-4, dx, expected.dx, expected.dx));
  EXPECT_TRUE(within(2.5e-4, dw, expected.dw, expected.dw));
}

/// The reference's gradients against its own forward.
template <typename Shape>
void check_finite_differences(const Shape& s) {
  const ProductTensors t = tensors_of(s);
  const auto x = uniform<double>(t.x_size(), 1), w = uniform<double>(t.w_size(), 2), b = uniform<double>(t.K, 3);
  const auto dy = uniform<double>(t.y_size(), 4);
  TestContext context(1);
  const auto loss = [&](const Values<double>& x_, const Values<double>& w_, const Values<double>& b_) {
    Values<double> y(t.y_size());
    reference_forward(x_.data(), w_.data(), b_.data(), y.data(), s, Activation::none, context);
    return dot(y, dy);
  };
  Values<double> dx(t.x_size()), dw(t.w_size()), db(t.K);
  reference_backward_data(dy.data(), w.data(), dx.data(), s, context);
  reference_backward_weight(x.data(), dy.data(), dw.data(), db.data(), s, Accumulate::no, context);
  EXPECT_TRUE(check_gradient([&](const auto& v) { return loss(v, w, b); }, x, dx));
  EXPECT_TRUE(check_gradient([&](const auto& v) { return loss(x, v, b); }, w, dw));
  EXPECT_TRUE(check_gradient([&](const auto& v) { return loss(x, w, v); }, b, db));
}

/// A tile of the CUDA kernels that only large products are given, forced on small ones, and sums in so many shares.
struct TileCase {
  size_t tile;
  int shares;
  Precision precision;

  std::string name() const {
    return to_string(precision) + "_tile_" + std::to_string(tile) + "_shares_" + std::to_string(shares);
  }
  friend void PrintTo(const TileCase& c, std::ostream* out) { *out << c.name(); }
};

template <typename Shape>
void check_tile(const TileCase& c, const ProductFunctions<Shape>& op, const std::vector<Shape>& shapes) {
  if (!can_run(Backend::cuda)) GTEST_SKIP() << "no GPU here";
  const tile::ForcedChoice choice(c.tile, c.shares);
  for (const Shape& s : shapes)
    check_exact_on_small_integers(op, c.precision, s, {{Activation::relu}, {Accumulate::yes}});
}

/// Of floats.
inline auto tile_cases(size_t tiles) {
  std::vector<TileCase> cases;
  for (const Precision precision : {Precision::fp32, Precision::tf32}) {
    for (size_t t = 0; t < tiles; ++t) {
      for (const int shares : {1, 3}) cases.push_back({t, shares, precision});
    }
  }
  return testing::ValuesIn(cases);
}

}  // namespace striate::test
