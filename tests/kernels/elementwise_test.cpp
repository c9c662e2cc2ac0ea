#include "kernels/elementwise/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/error.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

struct ElementwiseFunctions {
  decltype(&cpu::fill) fill;
  decltype(&cpu::scale) scale;
  decltype(&cpu::add) add;
  decltype(&cpu::accumulate) accumulate;
  decltype(&cpu::normalize_u8) normalize_u8;
};

constexpr BackendTable<ElementwiseFunctions> kElementwise = {
    .cpu = {&cpu::fill, &cpu::scale, &cpu::add, &cpu::accumulate, &cpu::normalize_u8},
    .cuda = {&cuda::fill, &cuda::scale, &cuda::add, &cuda::accumulate, &cuda::normalize_u8}};

struct LengthCase {
  std::string name;
  int64_t n;
};

std::vector<LengthCase> length_cases() {
  return {{"empty", 0}, {"one", 1}, {"three", 3}, {"sixteen", 16}, {"thirty_three", 33}, {"many", 50003}};
}

// Every result here is one rounded operation: the same bits as the reference.
class Elementwise : public BackendTest<OnBackend<LengthCase>> {
 protected:
  const ElementwiseFunctions& functions() const { return kElementwise[backend()]; }
  int64_t n() const { return GetParam().value.n; }
  TestContext context_;
};

TEST_P(Elementwise, Fill) {
  GuardedBuffer<float> y(n());
  functions().fill(y.data(), -2.5f, n(), context_);
  EXPECT_TRUE(all_equal(y, Values<float>(static_cast<size_t>(n()), -2.5f)));
  EXPECT_TRUE(y.intact());
}

TEST_P(Elementwise, ScaleAlsoInPlace) {
  const auto x = uniform<float>(n(), 1);
  GuardedBuffer<float> y(n()), expected(n()), in_place(x);
  reference::scale(x.data(), expected.data(), 0.3f, n(), context_);
  functions().scale(x.data(), y.data(), 0.3f, n(), context_);
  functions().scale(in_place.data(), in_place.data(), 0.3f, n(), context_);
  EXPECT_TRUE(all_equal(y, expected));
  EXPECT_TRUE(all_equal(in_place, expected));
  EXPECT_TRUE(y.intact() && in_place.intact());
}

TEST_P(Elementwise, AddWithEveryActivationItFuses) {
  auto a = uniform<float>(n(), 1), b = uniform<float>(n(), 2);
  for (size_t i = 0; i < a.size(); i += 9) a[i] = NAN;
  for (size_t i = 4; i < a.size(); i += 9) a[i] = i % 2 == 0 ? INFINITY : -INFINITY;
  for (const Activation activation : {Activation::none, Activation::relu, Activation::leaky_relu}) {
    GuardedBuffer<float> y(n()), expected(n()), in_a(a), in_b(b);
    reference::add(a.data(), b.data(), expected.data(), n(), activation, context_);
    functions().add(a.data(), b.data(), y.data(), n(), activation, context_);
    functions().add(in_a.data(), b.data(), in_a.data(), n(), activation, context_);
    functions().add(a.data(), in_b.data(), in_b.data(), n(), activation, context_);
    const Tolerance tolerance{0, activation == Activation::leaky_relu ? 1e-7 : 0.0};
    EXPECT_TRUE(all_close(y, expected, tolerance));
    EXPECT_TRUE(all_equal(in_a, y) && all_equal(in_b, y));
    EXPECT_TRUE(y.intact() && in_a.intact() && in_b.intact());
  }
}

TEST_P(Elementwise, AccumulateAddsToWhatIsThere) {
  const auto x = uniform<float>(n(), 1);
  GuardedBuffer<float> y(n(), 0.75f), expected(n(), 0.75f);
  reference::accumulate(x.data(), expected.data(), n(), context_);
  functions().accumulate(x.data(), y.data(), n(), context_);
  EXPECT_TRUE(all_equal(y, expected));
  EXPECT_TRUE(y.intact());
}

TEST_P(Elementwise, NormalizeImagesOfAnyNumberOfChannels) {
  for (const int64_t channels : {1, 3, 4, 5, 16, 19}) {
    const int64_t rows = n() / channels;
    const auto x = small_integers<uint8_t>(rows * channels, 1, 0, 255);
    const auto scale = uniform<float>(channels, 2, 0.01, 0.02), shift = uniform<float>(channels, 3, -3, -1);
    GuardedBuffer<float> y(rows * channels), expected(rows * channels);
    reference::normalize_u8(x.data(), expected.data(), scale.data(), shift.data(), rows, channels, context_);
    functions().normalize_u8(x.data(), y.data(), scale.data(), shift.data(), rows, channels, context_);
    // A machine without fused multiply-add rounds the product too: half an ulp of a product below 6.
    EXPECT_TRUE(all_close(y, expected, {3e-7, 0})) << channels;
    EXPECT_TRUE(y.intact());
  }
}

INSTANTIATE_TEST_SUITE_P(, Elementwise, on_every_backend(length_cases()), case_name);

// More elements than one wave of threads takes: each thread comes round again, with its place in the channels.
class ElementwiseLong : public BackendTest<Backend> {};

TEST_P(ElementwiseLong, EveryElementOnce) {
  TestContext context;
  constexpr int64_t rows = 240001, channels = 5, n = rows * channels;
  const auto x = small_integers<uint8_t>(n, 1, 0, 255);
  const Values<float> scale = {0.01f, 0.02f, 0.04f, 0.015f, 0.025f}, shift = {-1, -2, -3, -4, -5};
  GuardedBuffer<float> y(n), expected(n);
  reference::normalize_u8(x.data(), expected.data(), scale.data(), shift.data(), rows, channels, context);
  kElementwise[backend()].normalize_u8(x.data(), y.data(), scale.data(), shift.data(), rows, channels, context);
  EXPECT_TRUE(all_close(y, expected, {6e-7, 0}));
  kElementwise[backend()].accumulate(expected.data(), y.data(), n, context);
  kElementwise[backend()].scale(y.data(), y.data(), 0.5f, n, context);
  EXPECT_TRUE(all_close(y, expected, {6e-7, 0}));
  EXPECT_TRUE(y.intact());
}

TEST_P(ElementwiseLong, PointersThatNoVectorFits) {
  TestContext context;
  constexpr int64_t n = 4 * 301;
  const auto a = uniform<float>(n + 1, 1), b = uniform<float>(n + 2, 2);
  const auto bytes = small_integers<uint8_t>(n + 1, 3, 0, 255);
  const Values<float> scale = {0.01f, 0.02f, 0.04f, 0.03f}, shift = {-1, -2, -3, -4};
  const ElementwiseFunctions& functions = kElementwise[backend()];
  // One buffer, its parts in the order of the calls, at addresses that are no multiples of 16 bytes.
  GuardedBuffer<float> y(4 * n + 1, 0.5f), expected(4 * n + 1, 0.5f);
  const auto run = [&](const auto& f, GuardedBuffer<float>& out) {
    float* to = out.data() + 1;
    f.fill(to, -2.5f, n, context);
    f.scale(a.data() + 1, to + n, 0.3f, n, context);
    f.add(a.data() + 1, b.data() + 2, to + 2 * n, n, Activation::relu, context);
    f.accumulate(a.data() + 1, to + 2 * n, n, context);
    f.normalize_u8(bytes.data() + 1, to + 3 * n, scale.data(), shift.data(), n / 4, 4, context);
  };
  run(functions, y);
  struct {
    decltype(&reference::fill<float>) fill = &reference::fill<float>;
    decltype(&reference::scale<float>) scale = &reference::scale<float>;
    decltype(&reference::add<float>) add = &reference::add<float>;
    decltype(&reference::accumulate<float>) accumulate = &reference::accumulate<float>;
    decltype(&reference::normalize_u8<float>) normalize_u8 = &reference::normalize_u8<float>;
  } oracle;
  run(oracle, expected);
  EXPECT_TRUE(all_close(y, expected, {6e-7, 0}));
  EXPECT_TRUE(y.intact());
}

INSTANTIATE_TEST_SUITE_P(, ElementwiseLong, testing::ValuesIn(backends()), backend_name);

class ElementwiseErrors : public BackendTest<Backend> {};

TEST_P(ElementwiseErrors, AddRefusesAnActivationThatNeedsItsInput) {
  TestContext context;
  Values<float> x(1);
  EXPECT_TRUE(throws_with<ShapeError>(
      [&] { kElementwise[backend()].add(x.data(), x.data(), x.data(), 1, Activation::gelu, context); },
      {"add", "activation"}));
}

INSTANTIATE_TEST_SUITE_P(, ElementwiseErrors, testing::ValuesIn(backends()), backend_name);

}  // namespace
}  // namespace striate::test
