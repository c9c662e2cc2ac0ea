// Convolutions and linear layers on random small shapes, many of which lie where one algorithm takes over from another:
// each result is checked against the reference and has to be the same bits for every number of threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/conv2d/winograd_choice.h"
#include "tests/kernels/product_checks.h"
#include "tests/kernels/random_shapes.h"
#include "tests/support/fill.h"

namespace striate::test {
namespace {

constexpr int64_t kMostProducts = 600'000;  // of a direction: the reference takes them one by one

/// Winograd's sizes, right at the least channels and tiles that earn it.
Conv2dShape winograd_like(Random& random) {
  Conv2dShape s;
  s.R = s.S = random.one_of({3, 3, 3, 5});
  s.N = random.between(1, 5);
  s.H = random.between(1, 17), s.W = random.between(1, 17);
  s.pad_h = random.between(0, s.R - 1), s.pad_w = random.between(0, s.S - 1);
  s.C = random.one_of({31, 32, 33, 35, 48, 64, 65}), s.K = random.one_of({31, 32, 34, 47, 64, 66});
  return s;
}

/// The kernel covers its image, or all but a pixel.
Conv2dShape covering(Random& random) {
  Conv2dShape s;
  s.N = random.between(0, 20);
  s.H = s.R = random.between(1, 6), s.W = s.S = random.between(1, 6);
  s.W += random.chance(20);
  s.C = channels(random), s.K = channels(random);
  return s;
}

/// A first layer: few channels, long rows, strides.
Conv2dShape first_layer(Random& random) {
  Conv2dShape s;
  s.N = random.between(1, 4);
  s.H = random.between(7, 40), s.W = random.between(7, 40);
  s.C = random.between(1, 7), s.K = channels(random);
  s.R = random.between(1, 11), s.S = random.between(1, 11);
  s.stride_h = random.between(1, 5), s.stride_w = random.between(1, 5);
  s.pad_h = random.between(0, 6), s.pad_w = random.between(0, 6);
  return s;
}

Conv2dShape any(Random& random) {
  Conv2dShape s;
  s.N = random.chance(5) ? 0 : random.between(1, 9);
  s.H = random.between(1, 20), s.W = random.between(1, 20);
  s.groups = random.chance(70) ? 1 : random.between(2, 5);
  s.C = s.groups * random.one_of({1, 2, 3, 5, 6, 7, 8, 13, 16, 17, 29, 32, 33});
  s.K = s.groups * random.one_of({1, 2, 3, 5, 7, 8, 15, 16, 17, 31, 32, 33, 40});
  s.R = random.between(1, 5), s.S = random.between(1, 5);
  s.stride_h = random.between(1, 4), s.stride_w = random.between(1, 4);
  s.pad_h = random.between(0, 6), s.pad_w = random.between(0, 6);
  s.dilation_h = random.chance(70) ? 1 : random.between(2, 4);
  s.dilation_w = random.chance(70) ? 1 : random.between(2, 4);
  return s;
}

Conv2dShape random_conv2d(Random& random) {
  for (;;) {
    const int64_t kind = random.between(1, 10);
    const Conv2dShape s = kind <= 3   ? winograd_like(random)
                          : kind == 4 ? covering(random)
                          : kind <= 6 ? first_layer(random)
                                      : any(random);
    if (is_valid(s) && s.macs() <= (kind <= 3 ? 5 : 1) * kMostProducts) return s;
  }
}

LinearShape random_linear(Random& random) {
  for (;;) {
    LinearShape s;
    s.N = random.one_of({0, 1, 2, 3, 5, 7, 8, 9, 10, 13, 16, 31, 32, 33, 48, 63, 65, 100, 130, 511, 512, 513});
    s.C = random.chance(50) ? channels(random) : random.between(1, 300);
    s.K = random.chance(50) ? channels(random) : random.between(1, 300);
    if (s.macs() <= kMostProducts) return s;
  }
}

/// What a product's three directions make of the same inputs.
template <typename T>
struct Results {
  Edged<T> y, dx;
  Floats dw, db;
  bool same_bits(const Results& other) const {
    return y.same_bits(other.y) && dx.same_bits(other.dx) && dw.same_bits(other.dw) && db.same_bits(other.db);
  }
  bool intact() const { return y.intact() && dx.intact() && dw.intact() && db.intact(); }
};

/// Whether Winograd's algorithm computes y, dx, dw: its error is a share of the largest value.
template <typename T>
std::array<bool, 3> by_winograd(const Conv2dShape& s) {
  const cpu::WinogradChoice choice = cpu::winograd_choice<T>(s);
  return {choice.forward, choice.backward_data, choice.backward_weight};
}
template <typename T>
std::array<bool, 3> by_winograd(const LinearShape&) {
  return {};
}

class RandomProducts : public testing::TestWithParam<Precision> {
 protected:
  static bool of_bfloat16() { return GetParam() == Precision::bf16; }

  template <typename Shape, typename T>
  static void check(const ProductFunctions<Shape, T>& op, const Shape& s, uint32_t seed) {
    const Precision precision = GetParam();
    const ProductTensors t = tensors_of(s);
    const auto sx = uniform<T>(t.x_size(), seed), sw = uniform<T>(t.w_size(), seed + 1);
    const auto sdy = uniform<T>(t.y_size(), seed + 3);
    const auto x = as<float>(sx), w = as<float>(sw), b = uniform<float>(t.K, seed + 2), dy = as<float>(sdy);
    const bool inputs_end = seed % 4 != 0;
    const Edged<T> ux(sx, inputs_end), uw(sw, inputs_end), udy(sdy, inputs_end);
    const Floats ub(b, inputs_end);
    const auto results = [&](int threads, Accumulate accumulate) {
      ThreadPool pool(threads);
      PoisonedWorkspace workspace;
      Context context{&pool, &workspace};
      const float start = accumulate == Accumulate::yes ? 0.5f : poison<float>();
      const bool end = threads != 3;
      Results<T> r{Edged<T>(t.y_size(), end), Edged<T>(t.x_size(), end), Floats(t.w_size(), end, start),
                   Floats(t.K, end, start)};
      op.forward(ux.data(), uw.data(), ub.data(), r.y.data(), s, Activation::relu, context);
      op.backward_data(udy.data(), uw.data(), r.dx.data(), s, context);
      op.backward_weight(ux.data(), udy.data(), r.dw.data(), r.db.data(), s, accumulate, context);
      EXPECT_TRUE(r.intact() && workspace.intact());
      return r;
    };
    const Results<T> added = results(1, Accumulate::yes), stored = results(2, Accumulate::no);
    const Expected<Shape> expected(s, Backend::cpu, precision, x, w, b, dy);
    const std::array<bool, 3> winograd = by_winograd<T>(s);
    const auto agrees = [&](Precision p, bool by_winograd, int64_t summands, const auto& actual,
                            Values<double> ProductResults::*member, double offset) {
      Values<double> values = expected.results.*member;
      for (double& v : values) v -= offset;
      return within(rounding_unit(Backend::cpu, p, summands), actual, values, expected.sums.*member,
                    by_winograd ? 1e-5 : 0.0);
    };
    EXPECT_TRUE(agrees(precision, winograd[0], t.summands_y + 1, added.y, &ProductResults::y, 0.0));
    EXPECT_TRUE(agrees(precision, winograd[1], t.summands_dx, added.dx, &ProductResults::dx, 0.0));
    for (const Results<T>* r : {&added, &stored}) {
      const double offset = r == &added ? 0.0 : 0.5;
      EXPECT_TRUE(agrees(precision, winograd[2], t.summands_dw + 1, r->dw, &ProductResults::dw, offset));
      EXPECT_TRUE(agrees(Precision::fp32, false, t.summands_dw + 1, r->db, &ProductResults::db, offset));
    }
    EXPECT_TRUE(added.y.same_bits(stored.y) && added.dx.same_bits(stored.dx)) << "with 1 and 2 threads";
    for (const int threads : {1, 3, 4}) {
      EXPECT_TRUE(results(threads, Accumulate::no).same_bits(stored)) << "with " << threads << " threads";
    }
    EXPECT_TRUE(results(3, Accumulate::yes).same_bits(added)) << "with 3 threads, added";
  }
};

TEST_P(RandomProducts, convolve) {
  Random random(first_seed());
  for (int i = 0; i < rounds(60); ++i) {
    const Conv2dShape s = random_conv2d(random);
    const RandomTarget target(random);
    SCOPED_TRACE(s.to_string() + " on " + target.name());
    const auto seed = static_cast<uint32_t>(i);
    if (of_bfloat16()) {
      check(ProductFunctions<Conv2dShape, bfloat16>{&cpu::conv2d_forward, &cpu::conv2d_backward_data,
                                                    &cpu::conv2d_backward_weight},
            s, seed);
    } else {
      check(
          ProductFunctions<Conv2dShape>{&cpu::conv2d_forward, &cpu::conv2d_backward_data, &cpu::conv2d_backward_weight},
          s, seed);
    }
    if (HasFailure()) return;
  }
}

TEST_P(RandomProducts, multiply) {
  Random random(first_seed() + 1000);
  for (int i = 0; i < rounds(60); ++i) {
    const LinearShape s = random_linear(random);
    const RandomTarget target(random);
    SCOPED_TRACE(s.to_string() + " on " + target.name());
    const auto seed = static_cast<uint32_t>(i);
    if (of_bfloat16()) {
      check(ProductFunctions<LinearShape, bfloat16>{&cpu::linear_forward, &cpu::linear_backward_data,
                                                    &cpu::linear_backward_weight},
            s, seed);
    } else {
      check(
          ProductFunctions<LinearShape>{&cpu::linear_forward, &cpu::linear_backward_data, &cpu::linear_backward_weight},
          s, seed);
    }
    if (HasFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(, RandomProducts, testing::Values(Precision::fp32, Precision::bf16),
                         [](const auto& p) { return to_string(p.param); });

}  // namespace
}  // namespace striate::test
