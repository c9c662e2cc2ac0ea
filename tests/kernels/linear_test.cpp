#include "kernels/linear/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "kernels/gemm/micro_bf16.h"
#include "tests/kernels/product_checks.h"
#include "tests/support/backend.h"
#include "tests/support/precision.h"

namespace striate::test {
namespace {

using LinearFunctions = ProductFunctions<LinearShape>;

constexpr BackendTable<LinearFunctions> kLinear = {
    .cpu = {&cpu::linear_forward, &cpu::linear_backward_data, &cpu::linear_backward_weight},
    .cuda = {&cuda::linear_forward, &cuda::linear_backward_data, &cuda::linear_backward_weight},
    .cublas = {&cublas::linear_forward, &cublas::linear_backward_data, &cublas::linear_backward_weight}};

using StoredFunctions = ProductFunctions<LinearShape, bfloat16>;

constexpr BackendTable<StoredFunctions> kStoredLinear = {
    .cpu = {&cpu::linear_forward, &cpu::linear_backward_data, &cpu::linear_backward_weight}};

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

class Linear : public BackendTest<OnLinear> {
 protected:
  LinearShape shape() const { return GetParam().value.shape; }
  Precision precision() const { return GetParam().value.precision; }
  const LinearFunctions& op() const { return kLinear[backend()]; }
};

TEST_P(Linear, agrees_with_the_reference) { check_against_reference(op(), backend(), precision(), shape()); }
TEST_P(Linear, is_exact_on_small_integers) { check_exact_on_small_integers(op(), precision(), shape()); }
TEST_P(Linear, gives_the_same_bits_for_any_number_of_threads) {
  check_same_bits(op(), backend(), precision(), shape());
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

/// Activations and gradients stored in bfloat16.
class StoredLinear : public BackendTest<OnLinear> {
 protected:
  LinearShape shape() const { return GetParam().value.shape; }
  const StoredFunctions& op() const { return kStoredLinear[backend()]; }
};

TEST_P(StoredLinear, agrees_with_the_reference) { check_against_reference(op(), backend(), Precision::bf16, shape()); }
TEST_P(StoredLinear, is_exact_on_small_integers) { check_exact_on_small_integers(op(), Precision::bf16, shape()); }
TEST_P(StoredLinear, gives_the_same_bits_for_any_number_of_threads) {
  check_same_bits(op(), backend(), Precision::bf16, shape());
}
TEST_P(StoredLinear, fuses_bias_and_activation) { check_bias_and_activation(op(), shape()); }

INSTANTIATE_TEST_SUITE_P(, StoredLinear, on_every_backend(cases(), {Backend::cpu}), case_name);

/// The same as CPUs compute it that have no instruction for it.
class WidenedLinear : public testing::TestWithParam<LinearCase> {
  const gemm::WithoutBf16Instructions without_;
};

TEST_P(WidenedLinear, agrees_with_the_reference) {
  check_against_reference(kStoredLinear[Backend::cpu], Backend::cpu, Precision::bf16, GetParam().shape);
}
TEST_P(WidenedLinear, is_exact_on_small_integers) {
  check_exact_on_small_integers(kStoredLinear[Backend::cpu], Precision::bf16, GetParam().shape);
}

INSTANTIATE_TEST_SUITE_P(cpu, WidenedLinear, testing::ValuesIn(cases()), [](const auto& c) { return c.param.name; });

TEST(LinearBfloat16, writes_a_large_gradient_past_the_caches) {
  const LinearShape s{9, 4112, 1030};
  const auto x = small_integers<bfloat16>(s.N * s.C, 1), dy = small_integers<bfloat16>(s.N * s.K, 2);
  const int64_t size = s.K * s.C, line = 16;
  Values<float> expected(size), expected_db(s.K), db(s.K), memory(size + 3 * line, -7.0f);
  TestContext context;
  reference::linear_backward_weight(x.data(), dy.data(), expected.data(), expected_db.data(), s, Accumulate::no,
                                    context);
  const auto place = reinterpret_cast<uintptr_t>(memory.data() + line);
  float* const first_line = memory.data() + line + (64 - place % 64) % 64 / sizeof(float);
  for (const int64_t offset : {int64_t{0}, int64_t{3}}) {  // on cache lines, and not
    std::fill(memory.begin(), memory.end(), -7.0f);
    float* const dw = first_line + offset;
    cpu::linear_backward_weight(x.data(), dy.data(), dw, db.data(), s, Accumulate::no, context);
    EXPECT_TRUE(std::equal(expected.begin(), expected.end(), dw));
    EXPECT_EQ(db, expected_db);
    EXPECT_TRUE(std::all_of(memory.data(), dw, [](float v) { return v == -7.0f; }));
    EXPECT_TRUE(std::all_of(dw + size, memory.data() + memory.size(), [](float v) { return v == -7.0f; }));
  }
}

class LinearOnce : public BackendTest<OnLinear> {};

TEST_P(LinearOnce, fuses_bias_and_activation) {
  check_bias_and_activation(kLinear[GetParam().backend], GetParam().value.shape);
}

INSTANTIATE_TEST_SUITE_P(, LinearOnce,
                         on_every_backend(std::vector<LinearCase>{{"odd", {29, 77, 43}}, {"one_row", {1, 64, 20}}},
                                          backends_and(Backend::cublas)),
                         case_name);

TEST(LinearTf32, rounds_its_inputs_to_nearest) {
  check_rounding_of_tf32(kLinear[Backend::cuda], LinearShape{70, 132, 100});
}

class LinearOfFloatsInBf16 : public BackendTest<Backend> {};

TEST_P(LinearOfFloatsInBf16, gives_the_bits_of_fp32) {
  for (const auto& s : {LinearShape{70, 132, 100}, LinearShape{5, 33, 7}}) check_floats_in_bf16(kLinear[backend()], s);
}

INSTANTIATE_TEST_SUITE_P(, LinearOfFloatsInBf16, testing::ValuesIn(backends_and(Backend::cublas)), backend_name);

class LinearTile : public testing::TestWithParam<TileCase> {};

TEST_P(LinearTile, is_exact_on_small_integers) {
  check_tile<LinearShape>(GetParam(), kLinear[Backend::cuda], {{5, 260, 144}, {268, 100, 132}, {13, 97, 50}});
}

INSTANTIATE_TEST_SUITE_P(cuda, LinearTile, tile_cases(5), [](const auto& c) { return c.param.name(); });

TEST(LinearGradient, agrees_with_finite_differences) { check_finite_differences(LinearShape{3, 5, 4}); }

}  // namespace
}  // namespace striate::test
