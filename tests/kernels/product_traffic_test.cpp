// The requests of the matrix products' CUDA kernels, as the checking build (preset host-race) counts them.
#if defined(STRIATE_CHECKED_HOST)

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/bfloat16.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/gemm/tile_choice.h"
#include "kernels/gpu/host/checked/counters.h"
#include "kernels/linear/linear.h"
#include "tests/support/backend.h"
#include "tests/support/fill.h"
#include "tests/support/precision.h"

namespace striate::test {
namespace {

using gpu::host::checked::KernelCounters;

/// Of rows of taps of bfloat16 that begin anywhere.
constexpr double kOddHalves = 1.6;

struct Product {
  std::string name;
  int64_t macs;
  std::function<void(Context&)> run;
};

template <typename T>
Values<T> random_values(int64_t count, uint32_t seed) {
  const Values<float> drawn = uniform<float>(count, seed);
  Values<T> result(drawn.size());
  for (size_t i = 0; i < drawn.size(); ++i) {
    if constexpr (std::is_same_v<T, bfloat16>) {
      result[i] = to_bfloat16(drawn[i]);
    } else {
      result[i] = drawn[i];
    }
  }
  return result;
}

/// What a product reads, and room for what it writes: activations, or gradients of parameters.
template <typename T>
struct Operands {
  Values<T> x, w, dy;
  Values<float> b, gradient;
  Values<T> result;

  Operands(int64_t x_size, int64_t w_size, int64_t y_size, int64_t K)
      : x(random_values<T>(x_size, 1)),
        w(random_values<T>(w_size, 2)),
        dy(random_values<T>(y_size, 4)),
        b(uniform<float>(K, 3)),
        gradient(static_cast<size_t>(w_size)),
        result(static_cast<size_t>(std::max(x_size, y_size))) {}
};

template <typename T>
Product conv(const std::string& name, const Conv2dShape& s) {
  const auto o = std::make_shared<Operands<T>>(s.x_size(), s.w_size(), s.y_size(), s.K);
  if (name.ends_with("_forward")) {
    return {name, s.macs(), [=](Context& context) {
              cuda::conv2d_forward<T>(o->x.data(), o->w.data(), o->b.data(), o->result.data(), s, Activation::relu,
                                      context);
            }};
  }
  if (name.ends_with("_backward_data")) {
    return {name, s.macs(), [=](Context& context) {
              cuda::conv2d_backward_data<T>(o->dy.data(), o->w.data(), o->result.data(), s, context);
            }};
  }
  return {name, s.macs(), [=](Context& context) {
            cuda::conv2d_backward_weight<T>(o->x.data(), o->dy.data(), o->gradient.data(), o->b.data(), s,
                                            Accumulate::no, context);
          }};
}

template <typename T>
Product linear(const std::string& name, const LinearShape& s) {
  const auto o = std::make_shared<Operands<T>>(s.N * s.C, s.K * s.C, s.N * s.K, s.K);
  if (name.ends_with("_forward")) {
    return {name, s.macs(), [=](Context& context) {
              cuda::linear_forward<T>(o->x.data(), o->w.data(), o->b.data(), o->result.data(), s, Activation::relu,
                                      context);
            }};
  }
  if (name.ends_with("_backward_data")) {
    return {name, s.macs(), [=](Context& context) {
              cuda::linear_backward_data<T>(o->dy.data(), o->w.data(), o->result.data(), s, context);
            }};
  }
  return {name, s.macs(), [=](Context& context) {
            cuda::linear_backward_weight<T>(o->x.data(), o->dy.data(), o->gradient.data(), o->b.data(), s,
                                            Accumulate::no, context);
          }};
}

struct TrafficCase {
  std::string name;
  double sectors;  ///< found against the ideal
  Precision precision;
  size_t tile;
  std::function<Product()> product;
  double store_sectors = 1.01;  ///< likewise

  friend void PrintTo(const TrafficCase& c, std::ostream* out) { *out << c.name; }
};

/// Of T in memory.
template <typename T>
void add_cases(std::vector<TrafficCase>& result, Precision precision) {
  // A row of a tile ends within a sector more often the more values a sector has.
  const double odd = sizeof(T) == 2 ? kOddHalves : 1.2;
  for (const std::string pass : {"_forward", "_backward_data", "_backward_weight"}) {
    const size_t tiles = precision == Precision::fp32 ? 2 : 4;
    const std::string suffix = pass + "_" + to_string(precision);
    for (size_t t = 0; t < tiles; ++t) {
      const std::string of_tile = suffix + "_tile_" + std::to_string(t);
      result.push_back({"conv3" + of_tile, 1.01, precision, t, [pass] {
                          return conv<T>("conv3" + pass, {2, 13, 13, 64, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1});
                        }});
      result.push_back({"fc" + of_tile, 1.01, precision, t, [pass] {
                          return linear<T>("fc" + pass, {128, 256, 256});
                        }});
    }
    result.push_back({"resnet_downsample" + suffix, 1.01, precision, 1, [pass] {
                        return conv<T>("resnet" + pass, {2, 14, 14, 64, 128, 3, 3, 2, 2, 1, 1, 1, 1, 1});
                      }});
    result.push_back({"fc_few_rows" + suffix, 1.01, precision, 4, [pass] {
                        return linear<T>("fc" + pass, {8, 512, 256});
                      }});
    // 33 floats of an RGB row are 5 sectors, wherever they begin; cut in two by a tile's edge they are ideally still
    // 5, but mostly 6. Neighbouring cuts are in the L1. (Nobody asks for the gradient of the pictures.)
    if (pass != "_backward_data") {
      result.push_back({"conv1" + suffix, odd, precision, 0, [pass] {
                          return conv<T>("conv1" + pass, {1, 63, 63, 3, 64, 11, 11, 4, 4, 2, 2, 1, 1, 1});
                        }});
      // 36 floats that begin at 16 bytes, cut in pieces of 64; the filters' rows of 33, and those of their gradient,
      // begin anywhere.
      result.push_back({"conv1_rows_of_quads" + suffix, odd, precision, 0,
                        [pass] {
                          return conv<T>("conv1" + pass, {1, 63, 64, 3, 64, 11, 11, 4, 4, 2, 2, 1, 1, 1});
                        },
                        1.15});
    }
  }
}

std::vector<TrafficCase> cases() {
  std::vector<TrafficCase> result;
  add_cases<float>(result, Precision::fp32);
  add_cases<float>(result, Precision::tf32);
  add_cases<bfloat16>(result, Precision::bf16);
  return result;
}

class ProductTraffic : public testing::TestWithParam<TrafficCase> {};

TEST_P(ProductTraffic, IsWhatTheTilesNeed) {
  TestContext context;
  context->precision = GetParam().precision;
  const tile::ForcedChoice choice(GetParam().tile, 2);
  const Product product = GetParam().product();
  {
    const gpu::host::checked::Counting counting;
    product.run(context);
  }
  const auto kernels = gpu::host::checked::counted_kernels();
  ASSERT_FALSE(kernels.empty());
  uint64_t flops = 0;
  for (const std::string& name : kernels) {
    SCOPED_TRACE(name);
    const KernelCounters k = gpu::host::checked::counters(name);
    flops += k.flops;
    const auto at_most = [](uint64_t found, double factor, uint64_t ideal) {
      EXPECT_LE(static_cast<double>(found), factor * static_cast<double>(ideal));
    };
    ASSERT_GT(k.global_read.requests, 0u);
    ASSERT_GT(k.global_write.requests, 0u);
    at_most(k.global_read.sectors, GetParam().sectors, k.global_read.ideal_sectors);
    at_most(k.global_write.sectors, GetParam().store_sectors, k.global_write.ideal_sectors);
    EXPECT_EQ(k.global_write.bytes, k.global_write.launch_bytes);  // each byte once
    at_most(k.shared_read.wavefronts, 1.01, k.shared_read.ideal_wavefronts);
    at_most(k.shared_write.wavefronts, 1.01, k.shared_write.ideal_wavefronts);
  }
  const auto needed = static_cast<uint64_t>(2 * product.macs);
  EXPECT_GE(flops, needed);
  if (GetParam().tile == 0 && GetParam().precision == Precision::fp32 && product.name.starts_with("fc_")) {
    EXPECT_EQ(flops, needed);  // tiles of 128 × 128 × 16 have no padding there
  }
}

INSTANTIATE_TEST_SUITE_P(, ProductTraffic, testing::ValuesIn(cases()), [](const auto& c) { return c.param.name; });

}  // namespace
}  // namespace striate::test

#endif
