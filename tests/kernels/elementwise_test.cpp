#include "kernels/elementwise/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <iterator>
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
  decltype(&cpu::fill<float>) fill;
  decltype(&cpu::scale<float>) scale;
  decltype(&cpu::add<float>) add;
  decltype(&cpu::accumulate<float>) accumulate;
  decltype(&cpu::float_to_bf16) float_to_bf16;
  decltype(&cpu::bf16_to_float) bf16_to_float;
};

constexpr BackendTable<ElementwiseFunctions> kElementwise = {
    .cpu = {&cpu::fill, &cpu::scale, &cpu::add, &cpu::accumulate, &cpu::float_to_bf16, &cpu::bf16_to_float},
    .cuda = {&cuda::fill, &cuda::scale, &cuda::add, &cuda::accumulate, &cuda::float_to_bf16, &cuda::bf16_to_float}};

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

TEST_P(Elementwise, CastsToBf16AndBack) {
  auto x = uniform<float>(n(), 1, -4.0, 4.0);
  for (size_t i = 0; i < x.size(); i += 5) x[i] *= 1e-38f;  // bfloat16's subnormals too
  GuardedBuffer<bfloat16> y(n()), expected(n());
  reference::float_to_bf16(x.data(), expected.data(), n(), context_);
  functions().float_to_bf16(x.data(), y.data(), n(), context_);
  EXPECT_TRUE(all_equal(y, expected));
  GuardedBuffer<float> back(n()), expected_back(n());
  reference::bf16_to_float(expected.data(), expected_back.data(), n(), context_);
  functions().bf16_to_float(expected.data(), back.data(), n(), context_);
  EXPECT_TRUE(all_equal(back, expected_back));
  EXPECT_TRUE(y.intact() && back.intact());
}

INSTANTIATE_TEST_SUITE_P(, Elementwise, on_every_backend(length_cases()), case_name);

// More elements than one wave of threads takes: each thread comes round again, with its place in the channels.
class ElementwiseLong : public BackendTest<Backend> {};

TEST_P(ElementwiseLong, EveryElementOnce) {
  TestContext context;
  constexpr int64_t n = 1'200'005;
  const auto x = uniform<float>(n, 1);
  GuardedBuffer<float> y(n), expected(n);
  reference::scale(x.data(), expected.data(), 0.3f, n, context);
  kElementwise[backend()].scale(x.data(), y.data(), 0.3f, n, context);
  EXPECT_TRUE(all_equal(y, expected));
  kElementwise[backend()].accumulate(expected.data(), y.data(), n, context);
  kElementwise[backend()].scale(y.data(), y.data(), 0.5f, n, context);
  EXPECT_TRUE(all_equal(y, expected));
  EXPECT_TRUE(y.intact());
}

TEST_P(ElementwiseLong, PointersThatNoVectorFits) {
  TestContext context;
  constexpr int64_t n = 4 * 301;
  const auto a = uniform<float>(n + 1, 1), b = uniform<float>(n + 2, 2);
  const ElementwiseFunctions& functions = kElementwise[backend()];
  // One buffer, its parts in the order of the calls, at addresses that are no multiples of 16 bytes.
  GuardedBuffer<float> y(3 * n + 1, 0.5f), expected(3 * n + 1, 0.5f);
  const auto run = [&](const auto& f, GuardedBuffer<float>& out) {
    float* to = out.data() + 1;
    f.fill(to, -2.5f, n, context);
    f.scale(a.data() + 1, to + n, 0.3f, n, context);
    f.add(a.data() + 1, b.data() + 2, to + 2 * n, n, Activation::relu, context);
    f.accumulate(a.data() + 1, to + 2 * n, n, context);
  };
  run(functions, y);
  struct {
    decltype(&reference::fill<float>) fill = &reference::fill<float>;
    decltype(&reference::scale<float>) scale = &reference::scale<float>;
    decltype(&reference::add<float>) add = &reference::add<float>;
    decltype(&reference::accumulate<float>) accumulate = &reference::accumulate<float>;
  } oracle;
  run(oracle, expected);
  EXPECT_TRUE(all_close(y, expected, {6e-7, 0}));
  EXPECT_TRUE(y.intact());
}

INSTANTIATE_TEST_SUITE_P(, ElementwiseLong, testing::ValuesIn(backends()), backend_name);

class Bf16 : public BackendTest<Backend> {};

// The words by hand, for the reference as for the others.
TEST_P(Bf16, RoundsToNearestEven) {
  struct {
    uint32_t x;
    uint16_t y;
  } cases[] = {
      {0x3F800000, 0x3F80}, {0xBF800000, 0xBF80}, {0x00000000, 0x0000}, {0x80000000, 0x8000},  // exact
      {0x3F807FFF, 0x3F80}, {0x3F808001, 0x3F81}, {0xBF808001, 0xBF81},                        // nearest
      {0x3F808000, 0x3F80}, {0x3F818000, 0x3F82}, {0xBF818000, 0xBF82},                        // halfway
      {0x3FFF8000, 0x4000}, {0x7F7F7FFF, 0x7F7F}, {0x7F7F8000, 0x7F80}, {0xFF7FFFFF, 0xFF80},  // into the exponent
      {0x7F800000, 0x7F80}, {0xFF800000, 0xFF80},                                              // infinities
      {0x7FC00000, 0x7FFF}, {0x7F800001, 0x7FFF}, {0xFFC12345, 0x7FFF}, {0xFF80FFFF, 0x7FFF},  // NaNs
      {0x00000001, 0x0000}, {0x00008000, 0x0000}, {0x00008001, 0x0001}, {0x00018000, 0x0002},  // subnormals
      {0x80018000, 0x8002}, {0x007F8000, 0x0080}, {0x007F7FFF, 0x007F},
  };
  TestContext context;
  const auto n = static_cast<int64_t>(std::size(cases));
  Values<float> x(std::size(cases));
  for (size_t i = 0; i < x.size(); ++i) {
    std::memcpy(&x[i], &cases[i].x, sizeof(float));
  }
  GuardedBuffer<bfloat16> y(n), oracle(n);
  reference::float_to_bf16(x.data(), oracle.data(), n, context);
  kElementwise[backend()].float_to_bf16(x.data(), y.data(), n, context);
  for (int64_t i = 0; i < n; ++i) {
    EXPECT_EQ(oracle[i].bits, cases[i].y) << std::hex << cases[i].x;
    EXPECT_EQ(y[i].bits, cases[i].y) << std::hex << cases[i].x;
  }
  EXPECT_TRUE(y.intact());
}

// Every bfloat16: exact as a float, the same again unless it is NaN, and rounded from the floats between its
// neighbours.
TEST_P(Bf16, EveryValue) {
  TestContext context;
  constexpr int64_t n = 0x10000;
  const ElementwiseFunctions& functions = kElementwise[backend()];
  GuardedBuffer<bfloat16> all(n), y(n), expected(n);
  for (int64_t i = 0; i < n; ++i) all[i] = {static_cast<uint16_t>(i)};
  GuardedBuffer<float> x(n);
  functions.bf16_to_float(all.data(), x.data(), n, context);
  functions.float_to_bf16(x.data(), y.data(), n, context);
  for (int64_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, &x[i], sizeof(bits));
    ASSERT_EQ(bits, static_cast<uint32_t>(i) << 16);
    ASSERT_EQ(y[i].bits, std::isnan(x[i]) ? 0x7FFF : all[i].bits);
  }
  for (const uint32_t rest : {0x7FFFu, 0x8000u, 0x8001u}) {
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t bits = static_cast<uint32_t>(i) << 16 | rest;
      std::memcpy(&x[i], &bits, sizeof(bits));
    }
    reference::float_to_bf16(x.data(), expected.data(), n, context);
    functions.float_to_bf16(x.data(), y.data(), n, context);
    EXPECT_TRUE(all_equal(y, expected)) << rest;
  }
}

TEST_P(Bf16, PointersThatNoVectorFits) {
  TestContext context;
  constexpr int64_t n = 4 * 301;
  const auto x = uniform<float>(n + 1, 1);
  GuardedBuffer<bfloat16> y(n + 1, bfloat16{}), expected(n + 1, bfloat16{});
  GuardedBuffer<float> back(n + 1, 0.0f), expected_back(n + 1, 0.0f);
  reference::float_to_bf16(x.data() + 1, expected.data() + 1, n, context);
  reference::bf16_to_float(expected.data() + 1, expected_back.data() + 1, n, context);
  kElementwise[backend()].float_to_bf16(x.data() + 1, y.data() + 1, n, context);
  kElementwise[backend()].bf16_to_float(y.data() + 1, back.data() + 1, n, context);
  EXPECT_TRUE(all_equal(y, expected));
  EXPECT_TRUE(all_equal(back, expected_back));
  EXPECT_TRUE(y.intact() && back.intact());
}

INSTANTIATE_TEST_SUITE_P(, Bf16, testing::ValuesIn(backends()), backend_name);

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
