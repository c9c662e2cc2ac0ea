// The requests of the matrix products' CUDA kernels, as the checking build (preset host-race) counts them.
#if defined(STRIATE_CHECKED_HOST)

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

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

struct Operands {
  Values<float> x, w, b, dy;
};

struct Product {
  std::string name;
  int64_t macs;
  std::function<void(Context&)> run;
};

Product conv(const std::string& name, const Conv2dShape& s) {
  const auto operands =
      std::make_shared<Operands>(Operands{uniform<float>(s.x_size(), 1), uniform<float>(s.w_size(), 2),
                                          uniform<float>(s.K, 3), uniform<float>(s.y_size(), 4)});
  const auto result = std::make_shared<Values<float>>(std::max({s.x_size(), s.w_size(), s.y_size()}));
  if (name.ends_with("_forward")) {
    return {name, s.macs(), [=](Context& context) {
              cuda::conv2d_forward(operands->x.data(), operands->w.data(), operands->b.data(), result->data(), s,
                                   Activation::relu, context);
            }};
  }
  if (name.ends_with("_backward_data")) {
    return {name, s.macs(), [=](Context& context) {
              cuda::conv2d_backward_data(operands->dy.data(), operands->w.data(), result->data(), s, context);
            }};
  }
  return {name, s.macs(), [=](Context& context) {
            cuda::conv2d_backward_weight(operands->x.data(), operands->dy.data(), result->data(), operands->b.data(), s,
                                         Accumulate::no, context);
          }};
}

Product linear(const std::string& name, const LinearShape& s) {
  const auto operands = std::make_shared<Operands>(Operands{uniform<float>(s.N * s.C, 1), uniform<float>(s.K * s.C, 2),
                                                            uniform<float>(s.K, 3), uniform<float>(s.N * s.K, 4)});
  const auto result = std::make_shared<Values<float>>(std::max({s.N * s.C, s.K * s.C, s.N * s.K}));
  if (name.ends_with("_forward")) {
    return {name, s.macs(), [=](Context& context) {
              cuda::linear_forward(operands->x.data(), operands->w.data(), operands->b.data(), result->data(), s,
                                   Activation::relu, context);
            }};
  }
  if (name.ends_with("_backward_data")) {
    return {name, s.macs(), [=](Context& context) {
              cuda::linear_backward_data(operands->dy.data(), operands->w.data(), result->data(), s, context);
            }};
  }
  return {name, s.macs(), [=](Context& context) {
            cuda::linear_backward_weight(operands->x.data(), operands->dy.data(), result->data(), operands->b.data(), s,
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

std::vector<TrafficCase> cases() {
  std::vector<TrafficCase> result;
  for (const Precision precision : {Precision::fp32, Precision::tf32, Precision::bf16}) {
    for (const std::string pass : {"_forward", "_backward_data", "_backward_weight"}) {
      const size_t tiles = precision == Precision::fp32 ? 2 : 4;
      for (size_t t = 0; t < tiles; ++t) {
        const std::string suffix = pass + "_" + to_string(precision) + "_tile_" + std::to_string(t);
        result.push_back({"conv3" + suffix, 1.01, precision, t, [pass] {
                            return conv("conv3" + pass, {2, 13, 13, 64, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1});
                          }});
        result.push_back({"fc" + suffix, 1.01, precision, t, [pass] { return linear("fc" + pass, {128, 256, 256}); }});
      }
      const std::string suffix = pass + "_" + to_string(precision);
      result.push_back({"resnet_downsample" + suffix, 1.01, precision, 1, [pass] {
                          return conv("resnet" + pass, {2, 14, 14, 64, 128, 3, 3, 2, 2, 1, 1, 1, 1, 1});
                        }});
      result.push_back({"fc_few_rows" + suffix, 1.01, precision, 4, [pass] {
                          return linear("fc" + pass, {8, 512, 256});
                        }});
      // 33 floats of an RGB row are 5 sectors, wherever they begin; cut in two by a tile's edge they are ideally still
      // 5, but mostly 6. Neighbouring cuts are in the L1. (Nobody asks for the gradient of the pictures.)
      if (pass != "_backward_data") {
        result.push_back({"conv1" + suffix, 1.2, precision, 0, [pass] {
                            return conv("conv1" + pass, {1, 63, 63, 3, 64, 11, 11, 4, 4, 2, 2, 1, 1, 1});
                          }});
        // 36 floats that begin at 16 bytes, cut in pieces of 64; the filters' rows of 33, and those of their gradient,
        // begin anywhere.
        result.push_back({"conv1_rows_of_quads" + suffix, 1.2, precision, 0,
                          [pass] {
                            return conv("conv1" + pass, {1, 63, 64, 3, 64, 11, 11, 4, 4, 2, 2, 1, 1, 1});
                          },
                          1.15});
      }
    }
  }
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
