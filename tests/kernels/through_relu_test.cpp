// Gradients through the ReLU before a layer, and the dropout behind that, in the pass of the layer's own: the bits of
// the passes.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/gemm/tile_choice.h"
#include "kernels/linear/linear.h"
#include "tests/kernels/product_checks.h"
#include "tests/support/backend.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"
#include "tests/support/guarded_buffer.h"

namespace striate::test {
namespace {

template <typename Shape, typename T>
struct Backward {
  void (*plain)(const T* dy, const T* w, T* dx, const Shape&, Context&);
  void (*through_relu)(const T* dy, const T* w, const T* x, T* dx, const Shape&, float p, Context&);
};

/// A convolution takes no dropout along.
template <typename T, void (*kFunction)(const T*, const T*, const T*, T*, const Conv2dShape&, Context&)>
void without_dropout(const T* dy, const T* w, const T* x, T* dx, const Conv2dShape& s, float p, Context& context) {
  ASSERT_EQ(p, 0.0f);
  kFunction(dy, w, x, dx, s, context);
}

constexpr BackendTable<Backward<Conv2dShape, float>> kConv2d = {
    .cpu = {&cpu::conv2d_backward_data, &without_dropout<float, cpu::conv2d_backward_data_through_relu>},
    .cuda = {&cuda::conv2d_backward_data, &without_dropout<float, cuda::conv2d_backward_data_through_relu>}};
constexpr BackendTable<Backward<LinearShape, float>> kLinear = {
    .cpu = {&cpu::linear_backward_data, &cpu::linear_backward_data_through_relu},
    .cuda = {&cuda::linear_backward_data, &cuda::linear_backward_data_through_relu}};
constexpr Backward<Conv2dShape, bfloat16> kHalfConv2d = {
    &cuda::conv2d_backward_data, &without_dropout<bfloat16, cuda::conv2d_backward_data_through_relu>};
constexpr Backward<LinearShape, bfloat16> kHalfLinear = {&cuda::linear_backward_data,
                                                         &cuda::linear_backward_data_through_relu};

template <typename T>
T value(float v) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return to_bfloat16(v);
  } else {
    return v;
  }
}
float number(float v) { return v; }
float number(bfloat16 v) { return to_float(v); }

template <typename T>
Values<T> values(int64_t count, uint32_t seed) {
  Values<T> result;
  for (const float v : uniform<float>(count, seed)) result.push_back(value<T>(v));
  return result;
}

template <typename T, typename Shape>
void check(const Backward<Shape, T>& op, const Shape& s, float p = 0.0f) {
  const ProductTensors t = tensors_of(s);
  const Values<T> dy = values<T>(t.y_size(), 1), w = values<T>(t.w_size(), 2);
  GuardedBuffer<T> x(values<T>(t.x_size(), 3));
  // What a ReLU gives: positive, or zero of either sign; and a NaN, whose gradient goes through.
  for (int64_t i = 0; i < x.size(); ++i) {
    if (number(x[i]) < 0.0f) x[i] = value<T>(i % 2 == 0 ? 0.0f : -0.0f);
  }
  if (x.size() > 2) x[1] = value<T>(std::numeric_limits<float>::quiet_NaN());
  const T poisoned = value<T>(std::numeric_limits<float>::quiet_NaN());
  GuardedBuffer<T> plain(t.x_size(), poisoned), found(t.x_size(), poisoned);
  TestContext context;
  op.plain(dy.data(), w.data(), plain.data(), s, context);
  op.through_relu(dy.data(), w.data(), x.data(), found.data(), s, p, context);
  const auto scale = static_cast<float>(1.0 / (1.0 - double{p}));
  Values<float> expected, actual;
  for (int64_t i = 0; i < x.size(); ++i) {
    expected.push_back(number(x[i]) <= 0.0f ? 0.0f : scale * number(plain[i]));
    actual.push_back(number(found[i]));
  }
  EXPECT_TRUE(all_equal(actual, expected, t.x)) << s.to_string() << " p " << p;
  EXPECT_TRUE(found.intact() && x.intact());
}

Conv2dShape conv(int64_t N, int64_t H, int64_t W, int64_t C, int64_t K, int64_t R, int64_t stride, int64_t pad,
                 int64_t groups = 1) {
  return {N, H, W, C, K, R, R, stride, stride, pad, pad, 1, 1, groups};
}

const std::vector<Conv2dShape> kConvolutions = {conv(2, 9, 10, 16, 24, 3, 1, 1), conv(2, 9, 10, 16, 24, 3, 2, 1),
                                                conv(1, 7, 9, 5, 37, 3, 1, 1), conv(2, 8, 8, 32, 16, 5, 1, 2, 2),
                                                conv(1, 13, 13, 3, 8, 2, 3, 0)};
const std::vector<LinearShape> kLinears = {{1, 64, 20}, {37, 130, 45}, {70, 136, 264}, {1, 1, 1}};

class ThroughRelu : public BackendTest<Backend> {};

TEST_P(ThroughRelu, gives_the_bits_of_two_passes) {
  for (const Conv2dShape& s : kConvolutions) check(kConv2d[backend()], s);
  for (const LinearShape& s : kLinears) {
    for (const float p : {0.0f, 0.3f, 0.999f}) check(kLinear[backend()], s, p);
  }
}

TEST(ThroughReluOnCpu, gives_the_bits_of_two_passes_in_bfloat16) {
  const Backward<Conv2dShape, bfloat16> convolution{&cpu::conv2d_backward_data,
                                                    &without_dropout<bfloat16, cpu::conv2d_backward_data_through_relu>};
  const Backward<LinearShape, bfloat16> linear{&cpu::linear_backward_data, &cpu::linear_backward_data_through_relu};
  for (const Conv2dShape& s : kConvolutions) check(convolution, s);
  for (const LinearShape& s : kLinears) {
    for (const float p : {0.0f, 0.5f, 0.75f}) check(linear, s, p);  // scaled by powers of two: one rounding or two
  }
}

INSTANTIATE_TEST_SUITE_P(, ThroughRelu, testing::ValuesIn(backends()), backend_name);

class ThroughReluTile : public testing::TestWithParam<TileCase> {
 protected:
  void SetUp() override { skip_unless_runnable(Backend::cuda); }
};

TEST_P(ThroughReluTile, gives_the_bits_of_two_passes) {
  const tile::ForcedChoice choice(GetParam().tile, GetParam().shares);
  for (const Conv2dShape& s : kConvolutions) check(kHalfConv2d, s);
  for (const LinearShape& s : kLinears) {
    for (const float p : {0.0f, 0.75f}) check(kHalfLinear, s, p);
  }
  for (const LinearShape& s : kLinears) check(kLinear[Backend::cuda], s, 0.3f);
}

INSTANTIATE_TEST_SUITE_P(cuda, ThroughReluTile,
                         testing::Values(TileCase{0, 1, Precision::bf16}, TileCase{0, 2, Precision::bf16},
                                         TileCase{3, 1, Precision::bf16}, TileCase{4, 3, Precision::bf16}),
                         [](const auto& c) { return c.param.name(); });

}  // namespace
}  // namespace striate::test
